//! A feature row of the live river, as the document describes it: what is sent are the bytes
//! of its record, which `stream` writes.

use serde::Serialize;
use utoipa::ToSchema;

/// A feature row and its content hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureRecord {
    /// The product, `BTC/USD`.
    product_id: String,
    /// The decision time, milliseconds since 1970 (UTC).
    timestamp_ms: i64,
    /// Content hash of the row.
    hash: String,
    /// 1 for the first row of its decision time, and one more for every correction.
    version: u32,
    row: FeatureRow,
}

/// The inputs of one decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureRow {
    instrument: String,
    interval: String,
    /// The decision time: the close of the last candle.
    as_of: String,
    /// When the last of the candles behind it became known.
    known_at: String,
    names: Vec<String>,
    features: Vec<f64>,
    context_names: Vec<String>,
    context: Vec<f64>,
    /// The last known price.
    base_price: f64,
    /// Quality marks of the candles behind it.
    flags: u32,
    gaps_in_window: usize,
    filled_in_window: usize,
    /// Content hash of the feature set.
    feature_set: String,
}
