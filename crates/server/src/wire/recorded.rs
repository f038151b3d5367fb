//! Recorded periods of the live river: what is asked of them, and the answers.

use std::collections::BTreeMap;

use foretell_platform::river::{ForecastsReplayed, ParityReport, ReplayReport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A recorded period.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Period {
    /// Names of pipelines that the river follows; all of them when left out.
    #[serde(default)]
    pub(crate) pipelines: Vec<String>,
    /// Its first instant of event time, RFC 3339 or a date (UTC).
    pub(crate) from: String,
    /// The first instant after it.
    pub(crate) to: String,
    /// The log that is meant, such as `embedded`: another one than the river's is refused.
    #[serde(default)]
    pub(crate) log: Option<String>,
}

/// A recorded period to be played.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// Names of pipelines that the river follows; all of them when left out.
    #[serde(default)]
    pub(crate) pipelines: Vec<String>,
    /// Its first instant of event time, RFC 3339 or a date (UTC).
    pub(crate) from: String,
    /// The first instant after it.
    pub(crate) to: String,
    /// The log that is meant, such as `embedded`: another one than the river's is refused.
    #[serde(default)]
    pub(crate) log: Option<String>,
    /// So many times as fast as it came; as fast as it goes when left out.
    #[serde(default)]
    pub(crate) speed: Option<f64>,
    /// The name of the job, which its topics end with; a new one when left out.
    #[serde(default)]
    pub(crate) job: Option<String>,
    /// Leave its topics in the log.
    #[serde(default)]
    pub(crate) keep: bool,
    /// The version of each pipeline that forecasts; its champion when left out.
    #[serde(default)]
    pub(crate) version: Option<u32>,
}

/// What a comparison of a period with its batch found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parity {
    /// Start of the period, RFC 3339 (UTC).
    from: String,
    /// Its end, exclusive.
    to: String,
    /// Trades of its windows that were read.
    trades: u64,
    /// Candle versions that were made again.
    candles: u64,
    /// Feature rows that were made again.
    rows: u64,
    /// Candles whose trades are not in the log any more.
    gone: u64,
    /// What differs, the first of them.
    differences: Vec<String>,
    /// How many differ.
    different: u64,
}

impl From<ParityReport> for Parity {
    fn from(report: ParityReport) -> Self {
        let ParityReport { from, to, trades, candles, rows, gone, differences, different } = report;
        let (from, to) = (from.to_string(), to.to_string());
        Self { from, to, trades, candles, rows, gone, differences, different }
    }
}

/// What a replay came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// The job.
    job: String,
    /// Events that were played: trades, heartbeats, gaps.
    events: u64,
    /// Candles of the past that it began with.
    history: u64,
    /// Records that followed, by topic.
    written: BTreeMap<String, u64>,
    /// What became of forecasts, pipeline by pipeline.
    forecasts: Vec<ReplayedForecasts>,
    /// How long it took, seconds.
    seconds: f64,
}

/// What a version forecast from the rows of a replay.
#[derive(Debug, Serialize, ToSchema)]
struct ReplayedForecasts {
    /// The pipeline.
    pipeline: String,
    /// The version; `null` without a champion, and nothing was forecast then.
    version: Option<u32>,
    /// Forecasts.
    forecasts: u64,
    /// Outcomes.
    outcomes: u64,
    /// Forecasts whose target time got no row.
    unresolved: u64,
    /// Forecasts that the river made just so.
    same: u64,
    /// Forecasts that the river made from another row or with another calibration.
    differing: u64,
    /// Forecasts that are not among the river's.
    unrecorded: u64,
}

impl From<ReplayReport> for Replayed {
    fn from(report: ReplayReport) -> Self {
        let ReplayReport { job, events, history, written, forecasts, seconds } = report;
        let forecasts = forecasts.into_iter().map(Into::into).collect();
        Self { job, events, history, written, forecasts, seconds }
    }
}

impl From<ForecastsReplayed> for ReplayedForecasts {
    fn from(of: ForecastsReplayed) -> Self {
        Self {
            pipeline: of.pipeline,
            version: of.version,
            forecasts: of.forecasts,
            outcomes: of.outcomes,
            unresolved: of.unresolved,
            same: of.same,
            differing: of.differing,
            unrecorded: of.unrecorded,
        }
    }
}
