//! What an evaluation says: plain data, stored as JSON with NaN as null.

use std::collections::HashSet;

use foretell_market::{Fingerprint, FingerprintHasher, Interval, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::classifier::DirectionSkill;
use super::conformal::CalibrationState;
use super::coverage::{CoverageTests, RollingCoverage};
use super::direction::Direction;
use super::dm::DieboldMariano;
use super::failed::FailedRecipe;
use super::mcs::ConfidenceSet;
use super::permutation::PermutationImportance;
use super::ranks::Ranks;
use super::seeds::SeedSummary;
use super::serial::{number, numbers};
use super::sharpe::{SharpeEvidence, deflated_sharpe_beside};
use super::spread::{SpreadEvaluation, SpreadSkill};
use super::volatility::VolatilitySkill;
use crate::{EstimatorSpec, LEVELS};

/// The version of the stored form of [`Evaluation`].
pub const EVALUATION_VERSION: u32 = 1;

/// Refuses what another version of this program stored.
fn known_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let found = u32::deserialize(from)?;
    if found == EVALUATION_VERSION {
        return Ok(found);
    }
    let message = format!(
        "the evaluation has version {found}, this program reads {EVALUATION_VERSION}: \
         evaluate again"
    );
    Err(serde::de::Error::custom(message))
}

/// All recipes on identical out-of-sample rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of the stored form, [`EVALUATION_VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub version: u32,
    /// The step of the grid.
    pub interval: Interval,
    /// How far ahead the forecasts were.
    pub horizon: Interval,
    /// The horizon in steps of the grid.
    pub steps: usize,
    /// The coverage that intervals aimed at.
    pub level: f64,
    /// Cost of the sign strategy, basis points of what is traded.
    pub cost_bp: f64,
    /// Mean block length of the bootstrap, rows.
    pub block_length: f64,
    /// The fits, in time order.
    pub folds: Vec<FoldSummary>,
    /// Decision time of each out-of-sample row (UTC).
    pub times: Vec<Timestamp>,
    /// What came: log return of the horizon, per row.
    pub outcomes: Vec<f64>,
    /// The recipes in the order given; the random walk is among them.
    pub recipes: Vec<RecipeEvaluation>,
    /// The rival of every interval: quantiles of the latest outcomes.
    pub rival: IntervalReport,
    /// Whether the realised variance of spans was forecastable; absent when none was
    /// declared or too few spans are whole.
    pub volatility: Option<VolatilitySkill>,
    /// The recipes that cannot be told from the best, by each loss and statistic; empty
    /// without bootstrap draws, and in files that were stored before there were any.
    #[serde(default)]
    pub confidence_sets: Vec<ConfidenceSet>,
    /// Ranks by absolute error over the folds; absent of a single fold or recipe.
    #[serde(default)]
    pub ranks: Option<Ranks>,
    /// Recipes that failed and are not among the others, in the order given; and those that
    /// failed in their final refit, where there was one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRecipe>,
}

impl Evaluation {
    /// The recipe of that name.
    pub fn recipe(&self, name: &str) -> Option<&RecipeEvaluation> {
        self.recipes.iter().find(|r| r.name == name)
    }

    /// The random walk that all are compared with.
    ///
    /// # Panics
    /// When there is none: no evaluation is made without it.
    pub fn random_walk(&self) -> &RecipeEvaluation {
        let found = self.recipes.iter().find(|r| r.is_random_walk());
        found.expect("every evaluation has the random walk")
    }

    /// The same without its per-row series: small enough for a record.
    pub fn summary(&self) -> Self {
        let mut small = self.clone();
        small.times.clear();
        small.outcomes.clear();
        for recipe in &mut small.recipes {
            for series in [
                &mut recipe.median,
                &mut recipe.quantiles,
                &mut recipe.lower,
                &mut recipe.upper,
                &mut recipe.losses,
                &mut recipe.returns,
            ] {
                *series = Vec::new();
            }
            if let Some(spread) = &mut recipe.spread {
                spread.losses = Vec::new();
            }
        }
        small
    }

    /// The hash of what identifies the out-of-sample rows: decision times and outcomes.
    /// Recipes judged on rows of equal hash can be compared row by row.
    pub fn rows_fingerprint(&self) -> Fingerprint {
        let mut hasher = FingerprintHasher::new("out-of-sample-rows/1");
        hasher.u64(self.times.len() as u64);
        self.times.iter().for_each(|time| {
            hasher.time(*time);
        });
        hasher.f64s(&self.outcomes);
        hasher.finish()
    }

    /// Deflates the Sharpe ratios anew, with the returns of other recipes that were judged
    /// before this run counted as trials beside those of the run. Returns how many trials
    /// that is: a series that repeats another to the bit is the same trial under another
    /// name, and one without a ratio (nothing was traded) is none. A recipe that failed is
    /// one.
    pub fn deflate(&mut self, earlier: &[&[f64]]) -> usize {
        self.deflate_beside(earlier, 0)
    }

    /// The recipes that were never judged because they failed.
    pub fn unjudged(&self) -> impl Iterator<Item = &FailedRecipe> {
        self.failed.iter().filter(|f| !f.was_judged())
    }

    /// [`Self::deflate`] with so many recipes counted that failed before this run.
    pub fn deflate_beside(&mut self, earlier: &[&[f64]], failed: usize) -> usize {
        let failed = failed + self.unjudged().count();
        let own = self.recipes.iter().map(|r| &r.returns[..]);
        let mut seen = HashSet::new();
        let distinct = own.chain(earlier.iter().copied()).filter(|returns| {
            seen.insert(returns.iter().map(|r| r.to_bits()).collect::<Vec<u64>>())
        });
        let ratios: Vec<f64> = distinct
            .map(|returns| SharpeEvidence::of(returns).sharpe)
            .filter(|ratio| ratio.is_finite())
            .collect();
        for recipe in &mut self.recipes {
            let deflated = deflated_sharpe_beside(&recipe.sharpe, &ratios, failed);
            recipe.sharpe.deflated = deflated.unwrap_or(f64::NAN);
        }
        ratios.len() + failed
    }
}

/// One fit of the walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldSummary {
    /// When the models were fitted (UTC).
    pub fit_at: Timestamp,
    /// Decision time of the first training row.
    pub train_from: Timestamp,
    /// When the last training label was known.
    pub train_to: Timestamp,
    /// Training rows.
    pub train_rows: usize,
    /// Rows left out because their labels end too late.
    pub purged: usize,
    /// Index of the first out-of-sample row in the evaluation.
    pub first_row: usize,
    /// Out-of-sample rows.
    pub rows: usize,
    /// Mean absolute label in training: the scale of MASE.
    pub naive_mae: f64,
    /// Mean squared label in training: the scale of RMSSE.
    pub naive_mse: f64,
    /// Share of rises among the training labels that moved, between 0.025 and 0.975; one half
    /// in files that were stored before it was known.
    #[serde(default = "even")]
    pub base_rate: f64,
}

fn even() -> f64 {
    0.5
}

/// One recipe on all out-of-sample rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipeEvaluation {
    /// Its name.
    pub name: String,
    /// What was fitted.
    pub spec: EstimatorSpec,
    /// The point forecast per row: the median log return.
    pub median: Vec<f64>,
    /// Nine quantiles per row, row by row.
    pub quantiles: Vec<f64>,
    /// Lower end of the adaptive conformal interval as it was known at the decision.
    pub lower: Vec<f64>,
    /// Its upper end.
    pub upper: Vec<f64>,
    /// Absolute log-return error per row.
    pub losses: Vec<f64>,
    /// Return per row of holding the sign of the forecast made one step earlier, after
    /// costs.
    #[serde(with = "numbers")]
    pub returns: Vec<f64>,
    /// Averages over all rows.
    pub metrics: Metrics,
    /// Against the random walk; for the random walk itself no difference.
    pub versus_random_walk: Comparison,
    /// Its variance forecasts against the random walk's; absent for a recipe that
    /// promises a point, and in files that were stored before it was judged.
    #[serde(default)]
    pub spread: Option<SpreadEvaluation>,
    /// Averages per fold.
    pub folds: Vec<FoldMetrics>,
    /// The adaptive conformal interval, which is what a forecast carries.
    pub adaptive: IntervalReport,
    /// The model's own interval before calibration.
    pub own: IntervalReport,
    /// The Sharpe ratio of `returns` and what it is worth.
    pub sharpe: SharpeEvidence,
    /// The calibration after the last row: live use starts from it.
    pub calibration: CalibrationState,
    /// What its seeds gave; absent in files that were stored before several were run.
    #[serde(default)]
    pub seeds: Option<SeedSummary>,
    /// What its probability of a rise is worth; absent when no row moved, and in files that
    /// were stored before it was judged.
    #[serde(default)]
    pub classifier: Option<DirectionSkill>,
    /// What shuffling each feature does on the rows of the last fold, the largest first;
    /// empty for a recipe without features.
    #[serde(default)]
    pub permutation: Vec<PermutationImportance>,
}

impl RecipeEvaluation {
    /// Whether this is the random walk.
    pub fn is_random_walk(&self) -> bool {
        self.spec == EstimatorSpec::RandomWalk
    }

    /// What its spread is worth, where it was judged: with the corrected p-value, or for a
    /// champion that was promoted before with its own.
    pub fn spread_skill(&self, better: bool, p_value: f64) -> Option<SpreadSkill> {
        let spread = self.spread.as_ref()?;
        Some(SpreadSkill {
            recipe: self.name.clone(),
            qlike_skill: spread.skill.is_finite().then_some(spread.skill),
            p_value,
            better,
            own_test: false,
        })
    }

    /// The nine quantiles of a row.
    pub fn quantiles_of(&self, row: usize) -> &[f64] {
        &self.quantiles[row * LEVELS..(row + 1) * LEVELS]
    }
}

/// Averages over out-of-sample rows; log returns unless the name says basis points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Out-of-sample rows.
    pub rows: usize,
    /// Mean absolute error of the log return, basis points.
    pub mae_bp: f64,
    /// Its 90 % block-bootstrap interval.
    pub mae_bp_interval: Range,
    /// Mean absolute error over that of the random walk: below 1 is better.
    #[serde(with = "number")]
    pub relative_mae: f64,
    /// Root mean squared error, basis points.
    pub rmse_bp: f64,
    /// Mean absolute error scaled by the naive error in training.
    #[serde(with = "number")]
    pub mase: f64,
    /// Root mean squared error scaled by the naive error in training.
    #[serde(with = "number")]
    pub rmsse: f64,
    /// Out-of-sample R² against the forecast zero.
    #[serde(with = "number")]
    pub r2_zero: f64,
    /// Share of rows whose direction was right; NaN for a forecast without direction.
    #[serde(with = "number")]
    pub directional_accuracy: f64,
    /// Exact binomial p-value of that share against a coin.
    pub directional_p: f64,
    /// Both tests of direction with their counts.
    pub direction: Direction,
    /// Continuous ranked probability score from the nine quantiles.
    pub crps: f64,
    /// Mean pinball loss at each quantile level.
    pub pinball: Vec<f64>,
    /// Share of outcomes inside the adaptive interval.
    pub coverage: f64,
    /// Its mean width, basis points.
    pub width_bp: f64,
    /// Its mean interval score.
    pub interval_score: f64,
}

/// Two ends of an interval; NaN without bootstrap draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The lower end.
    #[serde(with = "number")]
    pub lower: f64,
    /// The upper end.
    #[serde(with = "number")]
    pub upper: f64,
}

impl From<(f64, f64)> for Range {
    fn from((lower, upper): (f64, f64)) -> Self {
        Self { lower, upper }
    }
}

/// A recipe against the random walk on absolute log-return errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Mean of own loss minus rival loss, log return; negative is better.
    pub mean_diff: f64,
    /// Diebold–Mariano statistic with the small-sample correction; NaN if untestable.
    #[serde(with = "number")]
    pub statistic: f64,
    /// One-sided p-value of "more accurate than the random walk"; 1 if untestable.
    pub p_value: f64,
    /// The same after Holm's correction over all candidates of the run.
    pub p_holm: f64,
    /// `1 − relative MAE`: 0.01 is one per cent better.
    #[serde(with = "number")]
    pub skill: f64,
    /// 90 % block-bootstrap interval of the skill.
    pub skill_interval: Range,
    /// Skill in the continuous ranked probability score.
    #[serde(with = "number")]
    pub crps_skill: f64,
    /// 90 % block-bootstrap interval of that skill.
    pub crps_skill_interval: Range,
    /// One-sided p-value of "a better distribution than the random walk's": the same test
    /// on the ranked probability scores, uncorrected; 1 if untestable. It promotes nobody:
    /// volatility recipes are judged by [`RecipeEvaluation::spread`].
    pub crps_p_value: f64,
    /// Autocorrelation of the loss differential at lag one; NaN if untestable.
    #[serde(with = "number")]
    pub lag1_autocorrelation: f64,
    /// The test in full, with the reason when it could not be carried out.
    pub test: DieboldMariano,
}

/// Averages over the out-of-sample rows of one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldMetrics {
    /// Mean absolute error, basis points.
    pub mae_bp: f64,
    /// Over that of the random walk on the same rows.
    #[serde(with = "number")]
    pub relative_mae: f64,
    /// Continuous ranked probability score.
    pub crps: f64,
    /// Share of outcomes inside the adaptive interval.
    pub coverage: f64,
    /// Mean width of the adaptive interval, basis points.
    pub width_bp: f64,
    /// Mean interval score of the adaptive interval.
    pub interval_score: f64,
}

/// How an interval did: coverage and width together, and whether misses come in bunches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntervalReport {
    /// Share of outcomes inside.
    #[serde(with = "number")]
    pub coverage: f64,
    /// Its 90 % block-bootstrap interval.
    pub coverage_interval: Range,
    /// Mean width, basis points, of the rows that have a bound.
    #[serde(with = "number")]
    pub width_bp: f64,
    /// Mean interval score.
    #[serde(with = "number")]
    pub interval_score: f64,
    /// Rows on which calibration left no bound.
    pub unbounded_rows: usize,
    /// Coverage over the last 500 rows at each of about 200 points.
    pub rolling: RollingCoverage,
    /// Kupiec's and Christoffersen's tests. Forecasts that overlap (a horizon of
    /// several steps) miss in bunches by construction.
    pub tests: CoverageTests,
}
