//! What the use cases answer with: plain data for the command line and the API.

use foretell_market::{Candle, Fingerprint, Instrument, Interval, Timestamp};
use foretell_model::evaluate::{
    ConfidenceSet, DirectionSkill, FailedAt, FailedRecipe, PermutationImportance, SpreadSkill,
    VolatilitySkill,
};
use serde::{Deserialize, Serialize};

use crate::searches::SearchView;

/// One line of the closing table: a recipe against the random walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipeLine {
    /// The recipe's name.
    pub name: String,
    /// Mean absolute error of log returns, basis points.
    pub mae_bp: f64,
    /// MAE relative to the random walk's on the same rows.
    pub relative_mae: Option<f64>,
    /// Mean absolute error scaled by the in-sample naive one.
    pub mase: Option<f64>,
    /// Root mean squared error scaled likewise.
    pub rmsse: Option<f64>,
    /// Out-of-sample R² against zero.
    pub r2_zero: Option<f64>,
    /// Share of right directions; `None` when the forecast names none.
    pub directional_accuracy: Option<f64>,
    /// Its p-value.
    pub directional_p: Option<f64>,
    /// Continuous ranked probability score, basis points.
    pub crps_bp: f64,
    /// 1 − relative MAE; `None` for the random walk.
    pub skill: Option<f64>,
    /// Its bootstrap interval.
    pub skill_interval: Option<(f64, f64)>,
    /// One-sided DM-HLN p-value after Holm; `None` for the random walk.
    pub p_value: Option<f64>,
    /// Realised coverage of the calibrated interval, 0 to 1.
    pub coverage: f64,
    /// Its mean width, basis points.
    pub width_bp: f64,
    /// Mean return per row of trading the sign of the forecast one row late, after the
    /// pipeline's cost, basis points; `None` when the forecast names no direction.
    pub after_cost_bp: Option<f64>,
    /// Probability that the Sharpe ratio of those returns is above the best that luck
    /// gives among all distinct recipes of the ledger for the instrument and horizon, this
    /// run's included (deflated Sharpe ratio).
    pub deflated_sharpe: Option<f64>,
    /// Share by which the QLIKE of its variance is below the random walk's; `None` for a
    /// recipe that promises a point.
    pub qlike_skill: Option<f64>,
    /// One-sided p-value of that by the test for persistent differences, after Holm.
    pub spread_p: Option<f64>,
    /// Autocorrelation at lag one of the differences of absolute errors to the random
    /// walk's; the test of the point loses its size when the horizon does not explain it.
    pub lag1: Option<f64>,
    /// The same of the QLIKE differences, which the test of the spread allows for.
    pub spread_lag1: Option<f64>,
    /// What its seeds gave; absent in lines that were stored before several were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<SeedsLine>,
    /// What its probability of a rise is worth: log loss, Brier score, calibration and
    /// Matthews correlation; absent when no row moved, and in lines that were stored before
    /// it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<DirectionSkill>,
}

/// A recipe that failed while the others were judged: it has no line in the table, unless it
/// failed only in its final refit, and no version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedLine {
    /// The recipe's name.
    pub name: String,
    /// Where it failed first.
    #[serde(flatten)]
    pub at: FailedAt,
    /// What went wrong and what helps.
    pub reason: String,
}

impl FailedLine {
    /// Where and why: `failed in fold 3, seed 7: …`.
    pub fn words(&self) -> String {
        format!("{}: {}", self.at, self.reason)
    }
}

impl From<&FailedRecipe> for FailedLine {
    fn from(failed: &FailedRecipe) -> Self {
        let FailedRecipe { name, at, reason, .. } = failed.clone();
        Self { name, at, reason }
    }
}

/// How often a recipe was fitted, and what the seeds gave: mean and standard deviation,
/// which is absent for a single seed. The other columns of a line are of the first seed, the
/// one that is tested and served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedsLine {
    /// How many seeds went through every fold.
    pub seeds: usize,
    /// How many folds that is.
    pub folds: usize,
    /// Whether another seed would learn another model; where not, one seed is all there is.
    pub draws: bool,
    /// Mean absolute error, basis points.
    pub mae_bp: (f64, Option<f64>),
    /// 1 − relative MAE.
    pub skill: (f64, Option<f64>),
    /// Continuous ranked probability score, basis points.
    pub crps_bp: (f64, Option<f64>),
}

/// Mean ranks of recipes by absolute error over the folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RanksView {
    /// Every recipe with its mean rank, 1 being the best; the best first.
    pub mean: Vec<(String, f64)>,
    /// Over how many folds.
    pub folds: usize,
    /// p-value of Friedman's test that all are alike.
    pub p_value: Option<f64>,
    /// By how much two mean ranks must differ (Nemenyi).
    pub critical_difference: f64,
    /// The confidence of that.
    pub level: f64,
}

/// A forecast, taken apart: `base + parts + rest` is the forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplanationView {
    /// The forecast's id.
    pub forecast: String,
    /// What is forecast.
    pub instrument: Instrument,
    /// The recipe that made it.
    pub recipe: String,
    /// Name of the model: its pipeline's.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// The decision time.
    pub as_of: Timestamp,
    /// The time that is forecast.
    pub target_time: Timestamp,
    /// The last known price.
    pub base_price: f64,
    /// The price that is forecast.
    pub point: Option<f64>,
    /// What the model says when no feature is known, basis points of log return.
    pub base_bp: f64,
    /// What each feature adds, the largest first.
    pub parts: Vec<FeaturePart>,
    /// What belongs to no feature, basis points: a forest's median is not the mean of its
    /// trees.
    pub rest_bp: f64,
    /// The log return that is forecast, basis points: the sum of all these.
    pub forecast_bp: f64,
    /// Whether the forecast is of a historical demo.
    pub historical_demo: bool,
}

/// What one feature adds to a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeaturePart {
    /// The feature.
    pub feature: String,
    /// Its value at the decision.
    pub value: Option<f64>,
    /// What it adds, basis points of log return.
    pub bp: f64,
}

/// How far the number of trials may have spoilt the best of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overfitting {
    /// Probability of backtest overfitting over the trials on this run's out-of-sample
    /// rows; `None` for fewer than two or too few rows. Above one half is a red flag.
    pub probability: Option<f64>,
    /// How many distinct forecasts that is.
    pub trials: usize,
    /// The same over the variance forecasts, by QLIKE on rows that do not overlap.
    #[serde(default)]
    pub spread_probability: Option<f64>,
    /// How many distinct variance forecasts that is, the random walk's included.
    #[serde(default)]
    pub spread_trials: usize,
    /// Distinct series of returns with a Sharpe ratio, of all recipes ever judged for the
    /// instrument and horizon at this interval and cost, this run's included, and the recipes
    /// that failed and never were: what the deflated Sharpe ratio counts.
    pub recipes: usize,
}

/// What a run ended with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What is forecast.
    pub instrument: Instrument,
    /// How far ahead.
    pub horizon: Interval,
    /// Whether the data is a historical demo, and then where it ends.
    pub historical_demo: Option<Timestamp>,
    /// Fingerprint of the dataset.
    pub dataset: Fingerprint,
    /// Walk-forward refits that were run.
    pub refits: usize,
    /// Out-of-sample rows.
    pub rows: usize,
    /// Level of the intervals.
    pub level: f64,
    /// Cost of a turn that the sign strategies paid, basis points.
    pub cost_bp: f64,
    /// One line per recipe, the random walk first.
    pub table: Vec<RecipeLine>,
    /// The recipes that failed.
    #[serde(default)]
    pub failed: Vec<FailedLine>,
    /// Name of the recipe that serves.
    pub champion: String,
    /// Whether its point beats the random walk by the evidence of this run.
    pub skilled: bool,
    /// What its spread is worth, when it serves for its spread: its point is the random
    /// walk's then.
    #[serde(default)]
    pub spread: Option<SpreadSkill>,
    /// Whether it was promoted in this run.
    pub promoted: bool,
    /// Why, in words.
    pub reason: String,
    /// Whether the realised variance of spans was forecastable.
    #[serde(default)]
    pub volatility: Option<VolatilitySkill>,
    /// How far the number of trials may have spoilt the best of them.
    #[serde(default)]
    pub overfitting: Option<Overfitting>,
    /// The searches of the final refits.
    #[serde(default)]
    pub searches: Vec<SearchView>,
    /// The recipes that cannot be told from the best, by each loss and statistic.
    #[serde(default)]
    pub confidence_sets: Vec<ConfidenceSet>,
    /// Ranks over the folds; absent of a single fold.
    #[serde(default)]
    pub ranks: Option<RanksView>,
    /// "lock-box opened N times", where there is a lock-box.
    pub lock_box: Option<String>,
    /// Recipes whose final refit learnt from the opened lock-box.
    #[serde(default)]
    pub refit_includes_lock_box: Vec<String>,
    /// The forecast, as the API serves it.
    pub forecast: serde_json::Value,
    /// Path of the report, relative to the data directory.
    pub report: String,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// An instrument as one pipeline knows it: pipelines of one instrument may have other rows
/// each, from other vendors and of other years.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstrumentView {
    /// Its name.
    pub instrument: Instrument,
    /// The pipeline that forecasts it, from rows of its own.
    pub pipeline: String,
    /// The horizon that is forecast.
    pub horizon: Interval,
    /// Interval of its rows.
    pub interval: Interval,
    /// First and last row's open time.
    pub from: Option<Timestamp>,
    /// Last row's open time.
    pub to: Option<Timestamp>,
    /// Number of clean rows.
    pub rows: usize,
    /// Where a historical demo's data ends.
    pub historical_demo: Option<Timestamp>,
}

/// Candles of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandlesView {
    /// The instrument.
    pub instrument: Instrument,
    /// The pipeline whose rows they are.
    pub pipeline: String,
    /// Their interval.
    pub interval: Interval,
    /// In time order. Snapshot sources have equal open, high, low and close.
    pub candles: Vec<Candle>,
    /// Where a historical demo's data ends.
    pub historical_demo: Option<Timestamp>,
}

/// Which candles are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct CandleRange {
    /// Whose rows; without it those of the forecast that would be served.
    pub pipeline: Option<String>,
    /// Their interval, when the instrument has several.
    pub interval: Option<Interval>,
    /// First open time.
    pub from: Option<Timestamp>,
    /// First open time after the last.
    pub to: Option<Timestamp>,
    /// The latest so many.
    pub limit: usize,
}

/// A forecast that is served now.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The instrument.
    pub instrument: Instrument,
    /// The pipeline that made it.
    pub pipeline: String,
    /// The horizon.
    pub horizon: Interval,
    /// Seconds since its decision time.
    pub age_seconds: i64,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// Name of the model: its pipeline's.
    pub name: String,
    /// Its number.
    pub version: u32,
    /// Recipe that made it.
    pub recipe: String,
    /// Kind of estimator.
    pub kind: String,
    /// `champion`, `challenger` or nothing.
    pub aliases: Vec<String>,
    /// Content hash.
    pub hash: String,
    /// The run that made it.
    pub run: String,
    /// Fingerprint of what it learnt from.
    pub dataset: String,
    /// When it was fitted, in data time.
    pub fitted_as_of: Timestamp,
    /// MAE skill against the random walk, out of sample.
    pub skill: Option<f64>,
    /// p-value of that skill.
    pub p_value: Option<f64>,
    /// What its spread is worth; only for a recipe that promises one.
    #[serde(default)]
    pub spread: Option<SpreadSkill>,
    /// Whether it has learnt from an opened lock-box.
    #[serde(default)]
    pub includes_lock_box: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Where a historical demo's data ends.
    pub historical_demo: Option<Timestamp>,
}

/// A version of a model with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDetail {
    /// The version.
    #[serde(flatten)]
    pub model: ModelView,
    /// The estimator's specification.
    pub spec: serde_json::Value,
    /// Content hash of the feature set's definitions.
    pub feature_set: String,
    /// First decision time of its training rows.
    pub train_from: Timestamp,
    /// Last label end of its training rows.
    pub train_to: Timestamp,
    /// Whether it passed the promotion rule.
    pub passed: bool,
    /// Level of its intervals.
    pub level: Option<f64>,
    /// Its line of the closing table, where it can be read.
    pub evaluation: Option<RecipeLine>,
    /// The champions of the model, the present one first.
    pub champions: Vec<ChampionView>,
    /// Mean absolute Shapley value of its features on some of its latest rows, basis points of
    /// log return, the largest first; empty where none were computed.
    #[serde(default)]
    pub shap: Vec<(String, f64)>,
    /// What shuffling a feature does out of sample, in the last fold of its evaluation.
    #[serde(default)]
    pub permutation: Vec<PermutationImportance>,
}

/// Since when a version was the champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChampionView {
    /// The version.
    pub version: u32,
    /// Since when.
    pub at: Timestamp,
}

/// A run as listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// `run`, `evaluate` or `advance`.
    pub kind: String,
    /// `running`, `succeeded`, `failed`, `refused` or `cancelled`.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// Where a historical demo's data ends, once the run has seen its rows.
    pub historical_demo: Option<Timestamp>,
}

/// A station of a run; its latest attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// The station.
    pub name: String,
    /// How it stands.
    pub status: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Something that a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactView {
    /// Its name.
    pub name: String,
    /// Its path in the data directory, or its content hash in the lake.
    pub place: String,
}

/// A stretch of missing intervals in the rows of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GapView {
    /// Whose rows.
    pub pipeline: String,
    /// What they are prices of.
    pub instrument: Instrument,
    /// Their interval.
    pub interval: Interval,
    /// Start of the first missing interval.
    pub from: Timestamp,
    /// Start of the interval after the last missing one.
    pub to: Timestamp,
    /// How many intervals are missing.
    pub intervals: u64,
    /// The run that saw it first.
    pub first_seen_by: String,
    /// When.
    pub first_seen_at: Timestamp,
    /// The run that found rows there; `None` as long as it is open.
    pub closed_by: Option<String>,
    /// When.
    pub closed_at: Option<Timestamp>,
    /// Whether intervals in it were still missing then, which later records name.
    #[serde(default)]
    pub partly: bool,
}

/// A run with everything that is recorded of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// The pipeline file, as it was named.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Its stations in their order.
    pub steps: Vec<StepView>,
    /// What it left behind.
    pub artifacts: Vec<ArtifactView>,
    /// Parameters by name.
    pub params: Vec<(String, String)>,
    /// Metrics by name.
    pub metrics: Vec<(String, f64)>,
    /// The versions it registered.
    pub models: Vec<ModelView>,
}

/// What `verify` or `reproduce` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The forecast or the run.
    pub subject: String,
    /// Whether everything matched to the bit.
    pub matches: bool,
    /// Each comparison.
    pub checks: Vec<ProofCheck>,
}

/// One comparison of a [`Proof`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofCheck {
    /// What was compared.
    pub what: String,
    /// The stored value.
    pub stored: String,
    /// The recomputed value.
    pub recomputed: String,
    /// Whether they are equal.
    pub equal: bool,
}

impl ProofCheck {
    pub(crate) fn of(what: impl Into<String>, stored: String, recomputed: String) -> Self {
        let equal = stored == recomputed;
        Self { what: what.into(), stored, recomputed, equal }
    }
}

impl Proof {
    pub(crate) fn of(subject: &str, checks: Vec<ProofCheck>) -> Self {
        let matches = checks.iter().all(|c| c.equal);
        Self { subject: subject.to_owned(), matches, checks }
    }
}

/// What a health check tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The product's version.
    pub version: String,
    /// Instruments with a served forecast.
    pub instruments: usize,
    /// Runs under way.
    pub running: usize,
}
