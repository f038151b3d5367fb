//! Forecasts and what came of them as records of the topic `forecast`: JSON objects.

use foretell_feature::FeatureRow;
use foretell_forecaster::{FORECAST_FORMAT, Forecast};
use foretell_market::{Instrument, Timestamp};
use foretell_model::evaluate::CalibrationState;
use foretell_stream::codec::{Refusal, product_id};
use serde::{Deserialize, Serialize};

/// A record of the topic `forecast`.
#[derive(Debug, Clone, PartialEq)]
pub enum LiveRecord {
    /// A forecast, and everything that it was made from.
    Forecast(Box<LiveForecast>),
    /// What came of one.
    Outcome(Box<LiveOutcome>),
    /// A forecast whose target time has passed without a row: nobody knows what came of it.
    Unresolved(Unresolved),
}

/// A forecast with what makes it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveForecast {
    /// The forecast and its passport; it was made at the instant at which its row was known.
    #[serde(flatten)]
    pub forecast: Forecast,
    /// The run whose pipeline names the terms.
    pub run: String,
    /// The calibration that it was made with.
    pub calibration: Calibrated,
    /// The row that it was made from.
    pub row: FeatureRow,
    /// How many rows of decisions behind the newest one came so far: corrections, for which no
    /// forecast is made any more.
    pub passed_over: u64,
}

/// A calibration and when it came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// When the last outcome in it was known (UTC), a microsecond later where one before had
    /// the same instant; `None` as long as no outcome of the river is in it.
    pub as_of: Option<Timestamp>,
    /// The state.
    pub state: CalibrationState,
}

/// What came of a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveOutcome {
    /// The forecast.
    pub forecast_id: String,
    /// Its instrument.
    pub instrument: Instrument,
    /// The model that made it.
    pub model: String,
    /// The version of that.
    pub version: u32,
    /// Its decision time (UTC).
    pub as_of: Timestamp,
    /// The time that it spoke of (UTC).
    pub target_time: Timestamp,
    /// The price that came.
    pub price: f64,
    /// When that was known (UTC).
    pub known_at: Timestamp,
    /// Whether its interval held the price; `None` when it gave none.
    pub inside: Option<bool>,
    /// Whether another price was taken for the outcome before: calibration and skill keep that.
    pub corrects: bool,
    /// How this version has done in the river, this outcome included.
    pub live: LiveSkill,
}

/// How a version has done in the river so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LiveSkill {
    /// Forecasts with numbers that were judged.
    pub n: u64,
    /// Mean absolute error of the median log return over the random walk's on the same
    /// outcomes; `None` of none, and when no price moved.
    pub relative_mae: Option<f64>,
    /// The share of intervals that held their outcome; `None` of none.
    pub coverage: Option<f64>,
    /// How many intervals that is.
    pub intervals: u64,
}

/// A forecast that will have no outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unresolved {
    /// The forecast.
    pub forecast_id: String,
    /// Its instrument.
    pub instrument: Instrument,
    /// The model that made it.
    pub model: String,
    /// The version of that.
    pub version: u32,
    /// Its decision time (UTC).
    pub as_of: Timestamp,
    /// The time that it spoke of (UTC).
    pub target_time: Timestamp,
    /// When it was sure that no row comes (UTC).
    pub known_at: Timestamp,
}

/// What every record has, and then its content.
#[derive(Serialize)]
struct Wire<'a, T> {
    kind: &'static str,
    product_id: String,
    timestamp_ms: i64,
    #[serde(flatten)]
    content: &'a T,
}

fn write<T: Serialize>(
    kind: &'static str,
    instrument: &Instrument,
    time: Timestamp,
    content: &T,
) -> Vec<u8> {
    let (product_id, timestamp_ms) = (product_id(instrument), time.millis());
    let wire = Wire { kind, product_id, timestamp_ms, content };
    serde_json::to_vec(&wire).expect("plain fields are written to memory")
}

/// The bytes of a record: `kind`, `product_id`, `timestamp_ms` (of a forecast its decision
/// time, else the target time) and its content.
pub fn encode(record: &LiveRecord) -> Vec<u8> {
    match record {
        LiveRecord::Forecast(of) => {
            write("forecast", &of.forecast.instrument, of.forecast.as_of, &**of)
        }
        LiveRecord::Outcome(of) => write("outcome", &of.instrument, of.target_time, &**of),
        LiveRecord::Unresolved(of) => write("unresolved", &of.instrument, of.target_time, of),
    }
}

/// Reads a record. Fields that are not known are skipped, and so is a record of a kind that
/// is not known: others may add theirs.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode(value: &[u8]) -> Result<Option<LiveRecord>, Refusal> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
        /// Of a forecast, told before its other fields are read.
        format: Option<u64>,
    }
    let json = |e: serde_json::Error| Refusal(format!("JSON: {e}"));
    let Kind { kind, format } = serde_json::from_slice(value).map_err(json)?;
    Ok(Some(match &*kind {
        "forecast" => {
            if let Some(newer) = format.filter(|f| *f > u64::from(FORECAST_FORMAT)) {
                let text = format!("the forecast has format {newer}, {FORECAST_FORMAT} is known");
                return Err(Refusal(text));
            }
            LiveRecord::Forecast(serde_json::from_slice(value).map_err(json)?)
        }
        "outcome" => LiveRecord::Outcome(serde_json::from_slice(value).map_err(json)?),
        "unresolved" => LiveRecord::Unresolved(serde_json::from_slice(value).map_err(json)?),
        _ => return Ok(None),
    }))
}
