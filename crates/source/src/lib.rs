//! Connectors: one module per vendor, from bytes to rows.
//!
//! A source reads; it writes nothing and serves nothing. It keeps what it finds
//! (disorder, duplicates, cells that are no numbers) and refuses only what cannot be
//! understood at all: judging rows is the gate's work.

mod backfill;
pub mod binance;
pub mod coingecko;
mod cursor;
mod error;
pub mod file;
pub mod http;
pub mod kaggle;
pub mod kraken;
pub mod live;
mod rows;
mod secret;
mod spec;
mod wire;

pub use backfill::Backfill;
pub use binance::BinanceSpec;
pub use coingecko::{CoinGeckoPlan, CoinGeckoSpec};
pub use cursor::{BackfillCursor, BackfillRequest, Beginning, Changed};
pub use error::{Malformed, Position, SourceError};
pub use file::{ColumnMap, FileFormat, FileSpec, TimeFormat, read_csv};
pub use http::{HttpSettings, RateBudget};
pub use kaggle::KaggleSpec;
pub use kraken::{KrakenHistory, KrakenSpec};
pub use rows::{Rows, TimeIs};
pub use secret::Secret;
pub use spec::{ExtractRequest, Progress, SourceSpec, extract};
