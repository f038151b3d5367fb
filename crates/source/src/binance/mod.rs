//! Binance: klines of its public REST interface.

mod client;
mod wire;

pub use self::client::BinanceSpec;
pub(crate) use self::client::{Session, VENDOR as VENUE, check};
pub(crate) use self::wire::judge;
pub use self::wire::{Kline, parse_klines};
