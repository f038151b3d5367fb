//! CoinGecko: snapshots of a coin's price, market capitalisation and volume.

mod client;
mod sample;
mod wire;

pub(crate) use self::client::Session;
pub use self::client::{CoinGeckoPlan, CoinGeckoSpec};
pub use self::sample::sample;
pub use self::wire::{MarketChart, Snapshot, parse_market_chart};
