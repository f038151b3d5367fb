//! Honest evaluation: walk-forward folds, metrics, significance and calibration.
//!
//! [`evaluate`] fits every recipe anew in every fold of a walk-forward split, judges
//! all of them on identical out-of-sample rows and sets them against the random walk,
//! which is always among them. [`decide_promotion`] then says who is served. Everything
//! that is fitted (scalers, models, calibration) sees only what was known at the
//! decision it serves. Nothing here stores, prints or knows a price.

pub mod bootstrap;
pub mod classifier;
pub mod conformal;
pub mod coverage;
pub mod direction;
pub mod dm;
mod failed;
mod finished;
mod holm;
mod judge;
pub mod mcs;
pub mod metrics;
pub mod overfitting;
mod permutation;
mod promotion;
pub mod ranks;
pub mod realised;
mod report;
pub mod rolling;
mod seeds;
mod serial;
pub mod sharpe;
pub mod special;
mod spending;
pub mod spread;
pub mod volatility;
mod walk;

use std::sync::atomic::AtomicBool;

use foretell_market::Interval;
use foretell_panel::{Dataset, WalkForward};
use serde::{Deserialize, Serialize};

pub use classifier::{CalibrationGroup, DirectionSkill};
pub use conformal::CalibrationState;
pub use failed::{FailedAt, FailedRecipe, fail_ensembles};
pub use finished::FinishedFits;
pub use holm::holm;
use judge::judge_beside;
pub use judge::{Trial, judge};
pub use mcs::ConfidenceSet;
pub use permutation::{PermutationImportance, permutation_importance};
pub use promotion::{Aspect, CandidateVerdict, Promotion, decide_promotion};
pub use ranks::Ranks;
pub use realised::SquaredReturns;
pub use report::{
    Comparison, EVALUATION_VERSION, Evaluation, FoldMetrics, FoldSummary, IntervalReport, Metrics,
    Range, RecipeEvaluation,
};
pub use seeds::{Deviation, SeedScore, SeedSummary};
pub use spending::spent_alpha;
pub use spread::{SpreadEvaluation, SpreadSkill, VarianceProxy};
pub use volatility::{SpanForecaster, VolatilitySkill};
pub use walk::{EvaluationProgress, Walk, Walked, walk};

use crate::{EstimatorSpec, ModelError};

/// The name under which the random walk is added when no recipe is one.
pub const RANDOM_WALK: &str = "random_walk";

/// An estimator with its settings under the name that tables show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The name, unique in its pipeline.
    pub name: String,
    /// What to fit.
    pub spec: EstimatorSpec,
}

/// How recipes are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPlan {
    /// The folds: the refit cadence is the one of live use.
    pub walk_forward: WalkForward,
    /// The coverage that intervals aim at, between 0 and 1.
    pub level: f64,
    /// Seeds the fits and the bootstrap.
    pub seed: u64,
    /// How many fits run at once (at least 1); the result does not depend on it.
    pub threads: usize,
    /// Mean block length of the bootstrap in rows; chosen from the losses when absent.
    pub block_length: Option<f64>,
    /// Bootstrap draws.
    pub bootstrap_draws: usize,
    /// What it costs the sign strategy to trade its whole capital once, basis points.
    pub cost_bp: f64,
    /// Length of the spans whose realised variance is forecast; a whole multiple of the
    /// grid's interval. None is judged when absent.
    #[serde(default)]
    pub volatility_span: Option<Interval>,
    /// With how many seeds a recipe that draws is fitted in every fold (at least 1). The first
    /// is judged; the others say how much of the result is the draw.
    #[serde(default = "one")]
    pub seeds: usize,
    /// Only the last so many folds are judged; all of them when absent.
    #[serde(default)]
    pub folds: Option<usize>,
    /// How often every feature is shuffled on the rows of the last fold; 0 for never.
    #[serde(default)]
    pub shuffles: usize,
}

fn one() -> usize {
    1
}

impl EvaluationPlan {
    /// The usual settings: 90 % intervals, 1,000 draws, 5 bp, one thread.
    pub fn new(walk_forward: WalkForward) -> Self {
        Self {
            walk_forward,
            level: 0.9,
            seed: 0,
            threads: 1,
            block_length: None,
            bootstrap_draws: 1_000,
            cost_bp: 5.0,
            volatility_span: None,
            seeds: 1,
            folds: None,
            shuffles: 0,
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ModelError::Setting`] naming the field and what it accepts.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |field: &str, value: f64, remedy: &str| {
            Err(ModelError::Setting {
                kind: "evaluation".to_owned(),
                field: field.to_owned(),
                value: value.to_string(),
                remedy: remedy.to_owned(),
            })
        };
        if !(0.5..1.0).contains(&self.level) {
            return refuse("level", self.level, "give 0.5 up to, but not including, 1");
        }
        if !(self.cost_bp >= 0.0 && self.cost_bp.is_finite()) {
            return refuse("cost_bp", self.cost_bp, "give 0 or more");
        }
        if self.seeds == 0 || self.folds == Some(0) {
            let field = if self.seeds == 0 { "seeds" } else { "folds" };
            return refuse(field, 0.0, "give 1 or more");
        }
        match self.block_length {
            Some(length) if !(length >= 1.0 && length.is_finite()) => {
                refuse("block_length", length, "give 1 or more rows, or leave it out")
            }
            _ => Ok(()),
        }
    }
}

/// Evaluates recipes on a dataset of labelled rows in time order, the lock-box already
/// removed. The random walk is added when no recipe is one. The result depends on the
/// rows, the recipes, the plan and its seed, not on threads.
///
/// `returns` are the squared one-interval log returns behind the rows, the lock-box
/// removed: what variance forecasts are judged by when the horizon has several intervals,
/// and what realised variances of spans are made of. Without them the squared label
/// stands in and no span is judged.
///
/// A recipe that fails by its own fault ([`crate::Concern::Recipe`]: its training diverges,
/// its model answers what is no forecast) fails alone and stands in [`Evaluation::failed`];
/// it may be that the random walk is all that is left.
///
/// # Errors
/// When a recipe name repeats, a label is missing, the data is too short for one fold,
/// a fit fails for a reason that concerns everything, or the stop flag is raised.
pub fn evaluate(
    dataset: &Dataset,
    returns: Option<&SquaredReturns>,
    recipes: &[Recipe],
    plan: &EvaluationPlan,
    stop: &AtomicBool,
    progress: &dyn EvaluationProgress,
) -> Result<Evaluation, ModelError> {
    plan.check()?;
    let recipes = with_random_walk(recipes)?;
    let Walked { walk, trials, failed } = walk(dataset, returns, &recipes, plan, stop, progress)?;
    let mut evaluation = judge_beside(&walk, trials, failed, plan)?;
    evaluation.volatility = returns
        .zip(plan.volatility_span)
        .and_then(|(returns, span)| walk.volatility(dataset, returns, span));
    Ok(evaluation)
}

/// The recipes, with the random walk first when none of them is one.
fn with_random_walk(recipes: &[Recipe]) -> Result<Vec<Recipe>, ModelError> {
    let mut all = Vec::with_capacity(recipes.len() + 1);
    if !recipes.iter().any(|r| r.spec == EstimatorSpec::RandomWalk) {
        all.push(Recipe { name: RANDOM_WALK.to_owned(), spec: EstimatorSpec::RandomWalk });
    }
    all.extend_from_slice(recipes);
    for (i, recipe) in all.iter().enumerate() {
        if all[..i].iter().any(|other| other.name == recipe.name) {
            let name = &recipe.name;
            let message = format!("two recipes are named `{name}`: give each its own name");
            return Err(ModelError::Evaluation(message));
        }
    }
    Ok(all)
}
