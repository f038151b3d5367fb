//! CoinGecko: snapshots of a coin's price, market capitalisation and volume.

mod client;
mod sample;
mod wire;

pub use self::client::{CoinGeckoPlan, CoinGeckoSpec};
pub(crate) use self::client::{Session, check};
pub use self::sample::sample;
pub use self::wire::{MarketChart, Snapshot, parse_market_chart};
