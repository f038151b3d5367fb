//! CoinGecko: snapshots of a coin's price, market capitalisation and volume.

mod sample;
mod wire;

pub use self::sample::sample;
pub use self::wire::{MarketChart, Snapshot, parse_market_chart};
