//! Binance: klines of its public REST interface.

mod client;
mod wire;

pub use self::client::BinanceSpec;
pub(crate) use self::client::{Session, check};
pub use self::wire::{Kline, parse_klines};
