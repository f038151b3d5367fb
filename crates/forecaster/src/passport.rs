//! The forecast as it is stored and shown, with everything needed to doubt it.
//!
//! A stored format: fields are only added, with the format number and a golden file of
//! every old version.

use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ForecastError, ServedVersion, Skill};

/// The format of a stored forecast that this program writes.
pub const FORECAST_FORMAT: u32 = 1;

/// A forecast of one instrument over one horizon, with its passport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The stored format, [`FORECAST_FORMAT`] when written by this program.
    pub format: u32,
    /// See [`forecast_id`].
    pub id: String,
    /// The instrument.
    pub instrument: Instrument,
    /// When it was made (UTC).
    pub made_at: Timestamp,
    /// The decision time (UTC): the close of the last row it may see.
    pub as_of: Timestamp,
    /// When the last of its inputs became known (UTC).
    pub known_at: Timestamp,
    /// The time it speaks of (UTC).
    pub target_time: Timestamp,
    /// From `as_of` to `target_time`.
    pub horizon: Interval,
    /// The instant from which it abstains (UTC); never for a historical demo.
    pub expires_at: Timestamp,
    /// The median price at the target time; `None` when it abstains.
    pub point: Option<f64>,
    /// The quote currency of every price.
    pub currency: String,
    /// The last known price, which quantiles are returns from.
    pub base_price: f64,
    /// The calibrated interval; `None` when it abstains.
    pub interval: Option<ForecastInterval>,
    /// The model's own nine quantiles, not falling; empty when there are none.
    pub quantiles: Vec<QuantilePrice>,
    /// What is known of the recipe's skill.
    pub skill: Skill,
    /// What the inputs were like.
    pub inputs: InputQuality,
    /// The version that made it.
    pub model: ModelUsed,
    /// Content hash of the version's training rows.
    pub dataset: Fingerprint,
    /// The features that it was made from.
    pub features: FeaturesUsed,
    /// The instant whose knowledge the version was fitted with (UTC).
    pub fitted_as_of: Timestamp,
    /// The end of the version's last training label (UTC).
    pub train_to: Timestamp,
    /// Says that the version is a refit, and on what.
    pub refitted_note: String,
    /// Whether the version has learnt from an opened lock-box; left out when it has not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub includes_lock_box: bool,
    /// Whether the data is a past sample shown as it was at its end.
    pub historical_demo: bool,
    /// Why it is not to be relied on, for people; `None` when it may be.
    pub abstained: Option<String>,
}

/// A calibrated interval of prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastInterval {
    /// The share of outcomes that it is calibrated to hold.
    pub level: f64,
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// How it was made.
    pub method: String,
    /// The share of the latest outcomes that earlier ones held; `None` before the
    /// first.
    pub realised_coverage: Option<f64>,
    /// How many outcomes that is.
    pub over: usize,
}

/// One quantile of the price at the target time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantilePrice {
    /// Its probability.
    pub level: f64,
    /// The price.
    pub price: f64,
    /// The log return from the base price, as the model gave it.
    pub log_return: f64,
}

/// What the rows behind the features were like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputQuality {
    /// Missing intervals in the window.
    pub gaps_in_window: usize,
    /// Filled rows in the window.
    pub filled_in_window: usize,
    /// Rows in the window that came late or were corrected.
    pub late_corrections: usize,
    /// The share of features outside their span in training.
    pub out_of_range_share: f64,
    /// Names of the quality marks on the rows in the window.
    pub flags: Vec<String>,
}

/// The version that made a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsed {
    /// The model's name.
    pub name: String,
    /// Its number.
    pub version: u32,
    /// The alias that it served under.
    pub alias: String,
    /// Content hash of the fitted model.
    pub hash: Fingerprint,
}

/// The features that a forecast was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeaturesUsed {
    /// Content hash of the definitions.
    pub set: Fingerprint,
    /// Content hash of the row.
    pub row: Fingerprint,
}

/// The id of a forecast: `f_` and the first 32 hexadecimal digits of a hash of
/// instrument, model version, decision time, horizon and the instant at which its
/// inputs were known. A replay makes the same id; a later correction of an input
/// another one.
pub fn forecast_id(version: &ServedVersion, as_of: Timestamp, known_at: Timestamp) -> String {
    let mut hasher = FingerprintHasher::new("forecast/1");
    hasher.text(version.instrument.as_str());
    hasher.text(&version.name).u64(u64::from(version.version)).fingerprint(&version.hash);
    hasher.time(as_of).i64(version.horizon.secs()).time(known_at);
    format!("f_{}", &hasher.finish().to_string()[..32])
}

impl Forecast {
    /// The stored body: one line of JSON, the same bytes for the same forecast.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a forecast is plain data with text keys")
    }

    /// Reads a stored body.
    ///
    /// # Errors
    /// [`ForecastError::NewerFormat`] when a newer program wrote it,
    /// [`ForecastError::Damaged`] when it is no forecast.
    pub fn from_json(text: &str) -> Result<Self, ForecastError> {
        /// Only the format, so that a newer body is recognised whatever else it holds.
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let damaged = |e: serde_json::Error| ForecastError::Damaged(e.to_string());
        let Format { format: found } = serde_json::from_str(text).map_err(damaged)?;
        if found > u64::from(FORECAST_FORMAT) {
            return Err(ForecastError::NewerFormat { found, known: FORECAST_FORMAT });
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// The hash of everything in it: equal hashes are equal forecasts, to the bit.
    pub fn hash(&self) -> Fingerprint {
        Fingerprint::of_bytes(self.to_json().as_bytes())
    }

    /// The nine quantiles as log returns, for calibration; empty when there are none.
    pub fn log_returns(&self) -> Vec<f64> {
        self.quantiles.iter().map(|q| q.log_return).collect()
    }
}
