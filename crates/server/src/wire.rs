//! The wire types of the API, converted by hand from the platform's plain data.

mod details;
mod explanation;
mod features;
mod predict;
mod recorded;
mod river;
mod searches;
mod told;

use std::fmt::Display;
use std::str::FromStr;

use foretell_platform as platform;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use details::{Gap, ModelDetail, RunDetail};
pub(crate) use explanation::Explanation;
pub(crate) use features::FeatureRecord;
pub(crate) use predict::{NextPrice, Predicted, Prices};
pub(crate) use recorded::{Parity, Period, Replay, Replayed};
pub(crate) use river::River;
pub(crate) use searches::Searches;
pub(crate) use told::Message;

use crate::problem::Problem;

/// Reads a parameter of a request.
pub(crate) fn parse_one<T: FromStr>(text: &str) -> Result<T, Problem>
where
    T::Err: Display,
{
    text.parse().map_err(|e: T::Err| Problem::bad_request(e.to_string()))
}

/// Reads an optional parameter of a request.
pub(crate) fn parse<T: FromStr>(text: Option<&str>) -> Result<Option<T>, Problem>
where
    T::Err: Display,
{
    text.map(parse_one).transpose()
}

/// Whether the service answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: String,
    /// The product's version.
    version: String,
    /// Instruments with a served forecast.
    instruments: usize,
    /// Runs under way.
    running: usize,
}

impl From<platform::Health> for Health {
    fn from(h: platform::Health) -> Self {
        let platform::Health { status, version, instruments, running } = h;
        Self { status, version, instruments, running }
    }
}

/// An instrument as one pipeline knows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Instrument {
    /// Its name, such as BTC-USD.
    instrument: String,
    /// The pipeline whose rows are described.
    pipeline: String,
    /// That pipeline alone: another one of the same instrument is another entry.
    pipelines: Vec<String>,
    /// The horizon that it forecasts, such as 1h.
    horizons: Vec<String>,
    /// Interval of its rows.
    interval: String,
    /// Open time of the first clean row.
    from: Option<String>,
    /// Open time of the last clean row.
    to: Option<String>,
    /// Number of clean rows.
    rows: usize,
    /// Where a historical demo's data ends.
    historical_demo: Option<String>,
}

impl From<platform::InstrumentView> for Instrument {
    fn from(v: platform::InstrumentView) -> Self {
        Self {
            instrument: v.instrument.to_string(),
            pipelines: vec![v.pipeline.clone()],
            pipeline: v.pipeline,
            horizons: vec![v.horizon.to_string()],
            interval: v.interval.to_string(),
            from: v.from.map(|t| t.to_string()),
            to: v.to.map(|t| t.to_string()),
            rows: v.rows,
            historical_demo: v.historical_demo.map(|t| t.to_string()),
        }
    }
}

/// One candle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Candle {
    /// Start of its interval.
    open_time: String,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    /// Traded amount, base asset.
    volume: f64,
    /// Number of trades, where known.
    trades: Option<u64>,
}

/// Candles in time order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Candles {
    instrument: String,
    /// The pipeline whose rows they are.
    pipeline: String,
    interval: String,
    candles: Vec<Candle>,
    /// Where a historical demo's data ends.
    historical_demo: Option<String>,
}

impl From<platform::CandlesView> for Candles {
    fn from(v: platform::CandlesView) -> Self {
        let candle = |c: &foretell_market::Candle| Candle {
            open_time: c.open_time.to_string(),
            open: c.open,
            high: c.high,
            low: c.low,
            close: c.close,
            volume: c.volume,
            trades: c.trades,
        };
        Self {
            instrument: v.instrument.to_string(),
            pipeline: v.pipeline,
            interval: v.interval.to_string(),
            candles: v.candles.iter().map(candle).collect(),
            historical_demo: v.historical_demo.map(|t| t.to_string()),
        }
    }
}

/// One version of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// The model's name: its pipeline's.
    name: String,
    version: u32,
    /// The recipe that made it.
    recipe: String,
    /// Kind of estimator.
    kind: String,
    /// `champion`, `challenger` or nothing.
    aliases: Vec<String>,
    /// Content hash of the fitted model.
    hash: String,
    /// The run that made it.
    run: String,
    /// Fingerprint of what it learnt from.
    dataset: String,
    /// When it was fitted, in data time.
    fitted_as_of: String,
    /// MAE skill against the random walk, out of sample.
    skill: Option<f64>,
    /// p-value of that skill (DM-HLN, Holm).
    p_value: Option<f64>,
    /// What its spread is worth; only for a recipe that promises one.
    spread: Option<SpreadSkill>,
    /// Whether it has learnt from an opened lock-box.
    includes_lock_box: bool,
    created_at: String,
    /// Where a historical demo's data ends.
    historical_demo: Option<String>,
}

impl From<platform::ModelView> for Model {
    fn from(v: platform::ModelView) -> Self {
        Self {
            name: v.name,
            version: v.version,
            recipe: v.recipe,
            kind: v.kind,
            aliases: v.aliases,
            hash: v.hash,
            run: v.run,
            dataset: v.dataset,
            fitted_as_of: v.fitted_as_of.to_string(),
            skill: v.skill,
            p_value: v.p_value,
            spread: v.spread.map(Into::into),
            includes_lock_box: v.includes_lock_box,
            created_at: v.created_at.to_string(),
            historical_demo: v.historical_demo.map(|t| t.to_string()),
        }
    }
}

/// A wish to promote a version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promote {
    /// The version; `null` rolls back to the champion before the present one.
    pub(crate) version: Option<u32>,
}

/// A run as listed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    id: String,
    pipeline: String,
    /// `run`, `evaluate`, `advance` or `backfill`.
    kind: String,
    /// `running`, `succeeded`, `failed`, `refused` or `cancelled`.
    status: String,
    started_at: String,
    finished_at: Option<String>,
    error: Option<String>,
    /// Where a historical demo's data ends, once the run has seen its rows.
    historical_demo: Option<String>,
}

impl From<platform::RunView> for Run {
    fn from(v: platform::RunView) -> Self {
        Self {
            id: v.id,
            pipeline: v.pipeline,
            kind: v.kind,
            status: v.status,
            started_at: v.started_at.to_string(),
            finished_at: v.finished_at.map(|t| t.to_string()),
            error: v.error,
            historical_demo: v.historical_demo.map(|t| t.to_string()),
        }
    }
}

/// What is done with a pipeline.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Rows in, evaluated models and a forecast out.
    #[default]
    Run,
    /// New rows in, the champion's forecast out.
    Advance,
    /// The whole history in, piece by piece.
    Backfill,
}

/// A pipeline to work on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartRun {
    /// What is done; `run` when left out. `require_skill`, `lock_box`, `full` and `mended` are
    /// for a run alone.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// The text of the pipeline file.
    pub(crate) text: String,
    /// Its path: relative paths in it start at its folder.
    pub(crate) file: String,
    /// Fail when nothing beats the random walk.
    #[serde(default)]
    pub(crate) require_skill: bool,
    /// Open the lock-box.
    #[serde(default)]
    pub(crate) lock_box: bool,
    /// Judge with twenty seeds on every fold, whatever the file's bounds are.
    #[serde(default)]
    pub(crate) full: bool,
    /// Mended rows of a quarantine file, put back before the gate.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(crate) mended: Option<serde_json::Value>,
}

/// One comparison of a proof.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProofCheck {
    /// What was compared.
    what: String,
    stored: String,
    recomputed: String,
    equal: bool,
}

/// What recomputing found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proof {
    /// The forecast or run.
    subject: String,
    /// Whether everything matched to the bit.
    matches: bool,
    checks: Vec<ProofCheck>,
}

impl From<platform::Proof> for Proof {
    fn from(v: platform::Proof) -> Self {
        let check = |c: platform::ProofCheck| ProofCheck {
            what: c.what,
            stored: c.stored,
            recomputed: c.recomputed,
            equal: c.equal,
        };
        let checks = v.checks.into_iter().map(check).collect();
        Self { subject: v.subject, matches: v.matches, checks }
    }
}

/// A calibrated interval of prices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForecastInterval {
    /// The share of outcomes that it is calibrated to hold.
    level: f64,
    lower: f64,
    upper: f64,
    /// How it was made.
    method: String,
    /// The share of the latest outcomes that earlier intervals held.
    realised_coverage: Option<f64>,
    /// How many outcomes that is.
    over: usize,
}

/// One quantile of the price at the target time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quantile {
    /// Its probability.
    level: f64,
    price: f64,
}

/// What a spread is worth, out of sample.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpreadSkill {
    /// The recipe whose spread it is.
    recipe: String,
    /// Share by which the QLIKE of its variance is below the random walk's.
    qlike_skill: Option<f64>,
    /// One-sided p-value of that, by the test for persistent differences.
    p_value: f64,
    /// Whether it passed the promotion rule for spreads.
    better: bool,
    /// Whether the p-value is that of its own test, uncorrected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_test: bool,
}

impl From<platform::SpreadSkill> for SpreadSkill {
    fn from(s: platform::SpreadSkill) -> Self {
        let platform::SpreadSkill { recipe, qlike_skill, p_value, better, own_test } = s;
        Self { recipe, qlike_skill, p_value, better, own_test }
    }
}

/// What is known of the model's skill, out of sample.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Skill {
    /// The rival.
    against: String,
    /// One minus the ratio of mean absolute errors.
    mae_skill: Option<f64>,
    /// One-sided DM-HLN p-value after Holm; for the random walk the best of its rivals'.
    p_value: Option<f64>,
    /// The sentence on the point.
    verdict: String,
    /// Whether the p-value is that of its own test, uncorrected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_test: bool,
    /// Why nothing better is claimed although the p-value is significant.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<String>,
    /// What the spread is worth, for a recipe whose point is the random walk's.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<SpreadSkill>,
}

/// What the rows behind the forecast were like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Inputs {
    gaps_in_window: usize,
    filled_in_window: usize,
    late_corrections: usize,
    /// Share of features outside their span in training.
    out_of_range_share: f64,
    /// Quality marks of the rows in the window.
    flags: Vec<String>,
}

/// The version that made the forecast.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelUsed {
    pub(crate) name: String,
    version: u32,
    alias: String,
    hash: String,
}

/// The features behind the forecast.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeaturesUsed {
    /// Content hash of the definitions.
    set: String,
    /// Content hash of the row.
    row: String,
}

/// A forecast with its passport.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forecast {
    id: String,
    instrument: String,
    made_at: String,
    /// The decision time: the close of the last row that it knows.
    as_of: String,
    /// The time it speaks of.
    target_time: String,
    horizon: String,
    /// The median price; `null` when it abstains.
    point: Option<f64>,
    currency: String,
    interval: Option<ForecastInterval>,
    quantiles: Vec<Quantile>,
    skill: Skill,
    /// Seconds since `as_of`, at this reading.
    age_seconds: i64,
    /// When it stops to hold.
    expires_at: String,
    inputs: Inputs,
    pub(crate) model: ModelUsed,
    /// Fingerprint of the training rows.
    dataset: String,
    features: FeaturesUsed,
    /// When the model was fitted, in data time.
    fitted_as_of: String,
    /// The end of its last training label.
    train_to: String,
    refitted_note: String,
    /// Whether the version has learnt from an opened lock-box.
    includes_lock_box: bool,
    /// Whether the present is the end of recorded data.
    historical_demo: bool,
    /// Why it is not to be relied on.
    abstained: Option<String>,
}

impl From<platform::ForecastView> for Forecast {
    fn from(view: platform::ForecastView) -> Self {
        let age_seconds = view.age_seconds;
        let f = view.forecast;
        Self {
            id: f.id,
            instrument: f.instrument.to_string(),
            made_at: f.made_at.to_string(),
            as_of: f.as_of.to_string(),
            target_time: f.target_time.to_string(),
            horizon: f.horizon.to_string(),
            point: f.point,
            currency: f.currency,
            interval: f.interval.map(|i| ForecastInterval {
                level: i.level,
                lower: i.lower,
                upper: i.upper,
                method: i.method,
                realised_coverage: i.realised_coverage,
                over: i.over,
            }),
            quantiles: f
                .quantiles
                .iter()
                .map(|q| Quantile { level: q.level, price: q.price })
                .collect(),
            skill: Skill {
                verdict: serde_json::to_value(f.skill.verdict)
                    .ok()
                    .and_then(|v| v.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                against: f.skill.against,
                mae_skill: f.skill.mae_skill,
                p_value: f.skill.p_value,
                own_test: f.skill.own_test,
                withheld: f.skill.withheld,
                spread: f.skill.spread.map(Into::into),
            },
            age_seconds,
            expires_at: f.expires_at.to_string(),
            inputs: Inputs {
                gaps_in_window: f.inputs.gaps_in_window,
                filled_in_window: f.inputs.filled_in_window,
                late_corrections: f.inputs.late_corrections,
                out_of_range_share: f.inputs.out_of_range_share,
                flags: f.inputs.flags,
            },
            model: ModelUsed {
                name: f.model.name,
                version: f.model.version,
                alias: f.model.alias,
                hash: f.model.hash.to_string(),
            },
            dataset: f.dataset.to_string(),
            features: FeaturesUsed {
                set: f.features.set.to_string(),
                row: f.features.row.to_string(),
            },
            fitted_as_of: f.fitted_as_of.to_string(),
            train_to: f.train_to.to_string(),
            refitted_note: f.refitted_note,
            includes_lock_box: f.includes_lock_box,
            historical_demo: f.historical_demo,
            abstained: f.abstained,
        }
    }
}
