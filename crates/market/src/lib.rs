//! The vocabulary of markets.
//!
//! Instruments, UTC timestamps, intervals, trades, candles, quality flags and
//! content fingerprints, with the one builder from trades to candles. This crate
//! does no IO, reads no clock (it only names the [`Clock`] trait) and knows no
//! vendor.

mod candle;
mod clock;
mod counted;
mod feed;
mod fingerprint;
mod flags;
mod instrument;
mod interval;
mod timestamp;
mod trade;
mod tumbling;

pub use candle::{Candle, CandleBuilder, CandleError};
pub use clock::{Clock, FixedClock};
pub use counted::{BarSpec, BarSpecError, CountBar, CountSpec, Counting};
pub use feed::{Arrival, FeedEvent};
pub use fingerprint::{Fingerprint, FingerprintHasher, ParseFingerprintError};
pub use flags::RowFlags;
pub use instrument::{Instrument, InstrumentError};
pub use interval::{Interval, IntervalError};
pub use timestamp::{ParseTimestampError, Timestamp};
pub use trade::{Side, Trade};
pub use tumbling::{Bar, CandleVersion, Lateness, Silence, Tumbling};
