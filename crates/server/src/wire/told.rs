//! What clients are told as it happens, on the wire.

use foretell_platform as platform;
use platform::{ForecastView, Told};
use serde::Serialize;
use utoipa::ToSchema;

use super::Forecast;

/// How a version has done in the live river.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveSkill {
    /// Forecasts with numbers that were judged.
    n: u64,
    /// Mean absolute error over the random walk's on the same outcomes.
    relative_mae: Option<f64>,
    /// The share of intervals that held their outcome.
    coverage: Option<f64>,
    /// How many intervals that is.
    intervals: u64,
}

/// What came of a forecast: the data of the event `outcome`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Outcome {
    forecast_id: String,
    instrument: String,
    /// The pipeline that made the forecast.
    pipeline: String,
    /// The version of its model.
    version: u32,
    as_of: String,
    target_time: String,
    /// The price that came; `null` when no row of the target time came in time: then nobody
    /// will know.
    price: Option<f64>,
    /// When that was known.
    known_at: String,
    /// Whether the interval held the price; `null` when there was none.
    inside: Option<bool>,
    /// Whether another price was told before.
    corrects: bool,
    /// `null` with an unknown price.
    live: Option<LiveSkill>,
}

/// A feature row that was committed: the data of the event `row`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RowTold {
    instrument: String,
    interval: String,
    as_of: String,
    /// Content hash of the row.
    hash: String,
}

/// A stretch of a feed that is missing: the data of the event `gap`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapTold {
    instrument: String,
    from: String,
    to: String,
    reason: String,
}

/// What a client was not told, because it read too slowly or was away for too long: the data
/// of the event `missed`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MissedTold {
    /// How many events of all kinds and instruments; `null` when nobody knows.
    missed: Option<u64>,
}

/// One event, as a WebSocket frame holds it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// `forecast`, `outcome`, `row`, `gap` or `missed`.
    pub(crate) event: &'static str,
    /// Of a forecast its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// What happened, by the kind of event.
    pub(crate) data: Data,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Data {
    Forecast(Box<Forecast>),
    Outcome(Outcome),
    Row(RowTold),
    Gap(GapTold),
    Missed(MissedTold),
}

impl Message {
    pub(crate) fn missed(missed: Option<u64>) -> Self {
        Self { event: "missed", id: None, data: Data::Missed(MissedTold { missed }) }
    }
}

impl From<ForecastView> for Message {
    fn from(view: ForecastView) -> Self {
        let forecast = Forecast::from(view);
        let id = Some(forecast.id.clone());
        Self { event: "forecast", id, data: Data::Forecast(Box::new(forecast)) }
    }
}

impl From<&Told> for Message {
    fn from(told: &Told) -> Self {
        let (event, data) = match told {
            Told::Forecast(view) => return ForecastView::clone(view).into(),
            Told::Outcome(of) => ("outcome", Data::Outcome(outcome(of))),
            Told::Unresolved(of) => ("outcome", Data::Outcome(unresolved(of))),
            Told::Row { instrument, interval, as_of, hash } => {
                let (instrument, interval) = (instrument.to_string(), interval.to_string());
                let (as_of, hash) = (as_of.to_string(), hash.to_string());
                ("row", Data::Row(RowTold { instrument, interval, as_of, hash }))
            }
            Told::Gap { instrument, from, to, reason } => {
                let (from, to) = (from.to_string(), to.to_string());
                let (instrument, reason) = (instrument.to_string(), reason.clone());
                ("gap", Data::Gap(GapTold { instrument, from, to, reason }))
            }
        };
        Self { event, id: None, data }
    }
}

fn outcome(of: &platform::live_forecasts::LiveOutcome) -> Outcome {
    let platform::live_forecasts::LiveSkill { n, relative_mae, coverage, intervals } = of.live;
    Outcome {
        forecast_id: of.forecast_id.clone(),
        instrument: of.instrument.to_string(),
        pipeline: of.model.clone(),
        version: of.version,
        as_of: of.as_of.to_string(),
        target_time: of.target_time.to_string(),
        price: Some(of.price),
        known_at: of.known_at.to_string(),
        inside: of.inside,
        corrects: of.corrects,
        live: Some(LiveSkill { n, relative_mae, coverage, intervals }),
    }
}

fn unresolved(of: &platform::live_forecasts::Unresolved) -> Outcome {
    Outcome {
        forecast_id: of.forecast_id.clone(),
        instrument: of.instrument.to_string(),
        pipeline: of.model.clone(),
        version: of.version,
        as_of: of.as_of.to_string(),
        target_time: of.target_time.to_string(),
        price: None,
        known_at: of.known_at.to_string(),
        inside: None,
        corrects: false,
        live: None,
    }
}
