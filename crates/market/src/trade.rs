//! One exchange of an amount at a price.

use serde::{Deserialize, Serialize};

use crate::{Instrument, Timestamp};

/// Who crossed the spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The buyer took the offer.
    Buy,
    /// The seller took the bid.
    Sell,
}

/// One trade as the venue reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// What was traded.
    pub instrument: Instrument,
    /// When the venue says it happened (UTC).
    pub time: Timestamp,
    /// The venue's trade id, where it gives one.
    pub id: Option<i64>,
    /// Price in the quote currency.
    pub price: f64,
    /// Amount in the base asset.
    pub quantity: f64,
    /// The aggressor, where the venue says so.
    pub side: Option<Side>,
}
