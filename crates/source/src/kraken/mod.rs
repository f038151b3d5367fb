//! Kraken: bars, trades, pairs and tickers of its public REST interface.

mod client;
mod names;
mod wire;

pub use self::client::{KrakenHistory, KrakenSpec, Session, oldest_ohlc};
pub(crate) use self::client::{VENDOR as VENUE, check};
pub use self::names::pair_of;
pub(crate) use self::wire::judge;
pub use self::wire::{
    AssetPair, KrakenTrade, OhlcPage, Ticker, TradesPage, parse_asset_pairs, parse_ohlc,
    parse_ticker, parse_trades,
};
