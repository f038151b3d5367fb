//! Connectors: one module per vendor, from bytes to rows.
//!
//! A source reads; it writes nothing and serves nothing. It keeps what it finds
//! (disorder, duplicates, cells that are no numbers) and refuses only what cannot be
//! understood at all: judging rows is the gate's work.

pub mod coingecko;
mod error;
pub mod file;
pub mod http;
mod rows;
mod secret;
mod spec;

pub use error::{Malformed, Position, SourceError};
pub use file::{ColumnMap, FileFormat, FileSpec, TimeFormat, read_csv};
pub use http::{HttpSettings, RateBudget};
pub use rows::{Rows, TimeIs};
pub use secret::Secret;
pub use spec::{ExtractRequest, Progress, SourceSpec, extract};
