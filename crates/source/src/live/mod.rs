//! Live trades of the exchanges: one feed, three protocols, nothing lost unsaid.
//!
//! A feed keeps one connection with many instruments on it. It numbers nothing itself: the
//! venues number their trades one by one, and by these numbers each instrument's [`line`]
//! knows what came twice, what came in disorder and what did not come. What did not come
//! is fetched over HTTP while the socket goes on being read; what cannot be had is a
//! [`FeedEvent::Gap`](foretell_market::FeedEvent::Gap). What cannot be understood is a
//! [`Finding`]: nothing is dropped in silence.
//!
//! [`follow`] is the one way in. It reads no clock of the machine and keeps no state
//! between two calls but what its caller gives it: the last trade of each instrument.

mod binance;
mod coinbase;
mod finding;
mod kraken;
mod line;
mod message;
mod protocol;
mod ranges;
mod repair;
mod session;
mod settings;
mod tally;
#[cfg(test)]
mod tests;

pub use self::binance::BinanceTrades;
pub use self::coinbase::{CoinbaseChannel, CoinbaseTrades};
pub use self::finding::{FeedItem, Finding, FindingKind};
pub use self::kraken::KrakenTrades;
pub use self::line::Mark;
pub use self::message::Messages;
pub(crate) use self::protocol::TradeFeed;
pub use self::session::follow;
pub use self::settings::{FeedSpec, LiveSettings, Venue};
pub use self::tally::{FeedCounts, FeedTally};
