//! What the river carries beside trades: answers of windows, and feature rows.

use foretell_feature::FeatureRow;
use foretell_market::{Bar, CountBar, Fingerprint, Instrument, Interval};
use serde::{Deserialize, Serialize};

/// What a window of an instrument came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// The instrument.
    pub instrument: Instrument,
    /// The length of the window.
    pub interval: Interval,
    /// A candle, a silence, or a trade that came too late.
    pub bar: Bar,
}

/// A bar by count of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The instrument.
    pub instrument: Instrument,
    /// The bar.
    pub bar: CountBar,
}

/// What a record of `ohlcv` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Ohlcv {
    /// What a window came to.
    Closed(Closed),
    /// A bar by count.
    Counted(Counted),
}

/// A feature row as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRecord {
    /// The row's content hash.
    pub hash: Fingerprint,
    /// 1 for the first row of its decision time, and one more for every correction.
    pub version: u32,
    /// The row.
    pub row: FeatureRow,
}
