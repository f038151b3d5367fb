//! Gradient boosting: trees on the pinball loss of each quantile level, grown by
//! `hessboost`, kept in our own versioned form and exchanged with XGBoost as JSON.
//!
//! Sources: Friedman (2001), *Greedy function approximation*, Annals of Statistics
//! 29(5), whose leaves for the absolute and pinball losses are residual quantiles; Chen &
//! Guestrin (2016), *XGBoost*; Koenker & Bassett (1978) for the loss. Crossing quantiles
//! are re-ordered (see [`Quantiles::rearranged`]). This module does not draw, print or
//! look at the machine: threads and seed are parameters.

mod tree;
mod ubjson;
mod xgboost;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use foretell_panel::{Dataset, Matrix};
use hessboost::config::{LeafEstimation, TrainingParams, TreeMethod};
use hessboost::data::DMatrix;
use hessboost::error::HessboostError;
use hessboost::model::BoostedModel;
use hessboost::objective::{Objective, Quantiles as Levels};
use hessboost::training::Trainer;
use serde::{Deserialize, Serialize};

pub use tree::BoostedTree;
pub use xgboost::{xgboost_feature_names, xgboost_to_json, xgboost_to_ubjson};

use crate::estimator::check_training;
use crate::explain::{Explanations, trees};
use crate::state::damaged;
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, MEDIAN, ModelError, ModelState,
    QUANTILE_LEVELS, Quantiles, Schema,
};

/// Leaves of the outer levels are quantiles of few rows; below this there are none.
const MIN_ROWS: usize = 100;

/// What boosting learnt: per level a start value and one tree per round, all in log
/// returns. Numbers are 32 bits wide, as XGBoost's are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostingState {
    /// The start value of each level.
    pub base: [f32; LEVELS],
    /// The trees, round by round, within a round level by level.
    pub trees: Vec<BoostedTree>,
}

impl BoostingState {
    /// How many rounds were boosted.
    pub fn rounds(&self) -> usize {
        self.trees.len() / LEVELS
    }

    /// Refuses what is not finite, does not form trees or reads columns that are absent.
    pub(crate) fn check(&self, columns: usize) -> Result<(), ModelError> {
        if let Some(level) = self.base.iter().position(|v| !v.is_finite()) {
            return Err(damaged(&format!("base[{level}]"), "the number is not finite"));
        }
        if !self.trees.len().is_multiple_of(LEVELS) {
            return Err(damaged("trees", "there are not nine per round"));
        }
        self.trees.iter().enumerate().try_for_each(|(t, tree)| tree.check(t, columns))
    }
}

/// Learns boosted trees.
#[derive(Debug)]
pub(crate) struct BoostingEstimator {
    spec: EstimatorSpec,
}

impl BoostingEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }
}

impl Estimator for BoostingEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    fn min_rows(&self) -> usize {
        MIN_ROWS
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        let EstimatorSpec::GradientBoosting { rounds, .. } = self.spec else {
            let message = format!("cannot learn a {}", self.spec.kind());
            return Err(ModelError::Boosting(message));
        };
        let total = rounds as u64;
        context.go_on(0, total)?;
        check_training(self, train)?;
        let labels: Vec<f64> = train.labels.iter().map(|l| l.value).collect();
        let scale = power_of_two_scale(&labels);
        let scaled: Vec<f32> = labels.iter().map(|y| (y * scale) as f32).collect();
        let schema = Schema::of(train);
        let rows = single(&schema, &train.features)?;
        let data = DMatrix::from_dense_vec(rows, train.len(), train.features.cols())
            .and_then(|d| d.with_labels(&scaled))
            .map_err(refused)?;
        let params = parameters(&self.spec, context)?;
        let mut done = 0;
        let result = Trainer::new(&params, &data, rounds)
            .on_round(|_| {
                done += 1;
                context.progress.steps(done, total);
                if context.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .train()
            .map_err(refused)?;
        // A flag that is raised during the last round finds nothing left to stop.
        if done < total {
            return Err(ModelError::Stopped { done, total });
        }
        let state = adopt(&result.model, (1.0 / scale) as f32);
        Ok(Box::new(Boosting::new(state, schema)?))
    }
}

/// The settings in the library's terms.
fn parameters(
    spec: &EstimatorSpec,
    context: &FitContext<'_>,
) -> Result<TrainingParams, ModelError> {
    let mut params = TrainingParams::default();
    if let EstimatorSpec::GradientBoosting {
        rounds: _,
        depth,
        eta,
        min_child_weight,
        subsample,
        column_sample,
        lambda,
        max_bin,
    } = *spec
    {
        params.max_depth = NonZeroUsize::new(depth);
        params.eta = eta;
        params.min_child_weight = min_child_weight;
        params.subsample = subsample;
        params.colsample_bytree = column_sample;
        params.lambda = lambda;
        params.max_bin = max_bin;
    }
    params.objective = Objective::Quantile(Levels::new(QUANTILE_LEVELS).map_err(refused)?);
    params.tree_method = TreeMethod::Hist;
    params.leaf_estimation = LeafEstimation::Exact;
    params.nthread = NonZeroUsize::new(context.threads.max(1));
    params.seed = context.seed;
    Ok(params)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn refused(error: HessboostError) -> ModelError {
    ModelError::Boosting(error.to_string())
}

/// The power of two that brings the typical label near 1: the library compares gains
/// with a fixed threshold, and multiplying by a power of two can be undone exactly.
fn power_of_two_scale(labels: &[f64]) -> f64 {
    let mean_square = labels.iter().map(|y| y * y).sum::<f64>() / labels.len() as f64;
    let (_, exponent) = libm::frexp(libm::sqrt(mean_square));
    if mean_square > 0.0 { libm::ldexp(1.0, (-exponent).clamp(-60, 60)) } else { 1.0 }
}

/// Features in 32 bits, row by row, refusing what does not fit.
fn single(schema: &Schema, features: &Matrix) -> Result<Vec<f32>, ModelError> {
    let narrow: Vec<f32> = features.as_slice().iter().map(|v| *v as f32).collect();
    match narrow.iter().position(|v| !v.is_finite()) {
        None => Ok(narrow),
        Some(at) => Err(ModelError::NotFinite {
            row: at / features.cols(),
            column: schema.feature_names[at % features.cols()].clone(),
            value: features.as_slice()[at],
        }),
    }
}

/// The library's model in our form, its values multiplied by a power of two.
fn adopt(model: &BoostedModel, unscale: f32) -> BoostingState {
    let mut base = [0.0; LEVELS];
    for (level, value) in base.iter_mut().zip(model.base_scores()) {
        *level = value * unscale;
    }
    let trees = model.trees().iter().map(|t| BoostedTree::adopt(t, unscale)).collect();
    BoostingState { base, trees }
}

/// Fitted boosting.
#[derive(Debug)]
pub(crate) struct Boosting {
    state: BoostingState,
    schema: Schema,
    /// All nodes of all trees, for walking.
    nodes: Vec<tree::WalkNode>,
    /// The root of each tree.
    roots: Vec<u32>,
}

impl Boosting {
    /// From what was learnt.
    ///
    /// # Errors
    /// When the parts do not form a model of these columns.
    pub(crate) fn new(state: BoostingState, schema: Schema) -> Result<Self, ModelError> {
        state.check(schema.feature_names.len())?;
        let (mut nodes, mut roots) = (Vec::new(), Vec::with_capacity(state.trees.len()));
        for tree in &state.trees {
            roots.push(nodes.len() as u32);
            tree.append_to(&mut nodes);
        }
        Ok(Self { state, schema, nodes, roots })
    }

    /// The sum of the trees of each level for one row, added up in 32 bits in round
    /// order as XGBoost does.
    fn margins(&self, row: &[f32]) -> [f32; LEVELS] {
        let mut margins = self.state.base;
        for round in self.roots.chunks_exact(LEVELS) {
            for (margin, root) in margins.iter_mut().zip(round) {
                *margin += tree::walk(&self.nodes, *root, row);
            }
        }
        margins
    }
}

impl Fitted for Boosting {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let narrow = single(&self.schema, features)?;
        let cols = features.cols();
        let row = |i: usize| self.margins(&narrow[i * cols..(i + 1) * cols]).map(f64::from);
        Quantiles::rearranged((0..features.rows()).flat_map(row).collect())
    }

    fn state(&self) -> ModelState {
        ModelState::GradientBoosting(self.state.clone())
    }

    /// Of the trees of the median; where quantiles crossed, the rest is what re-ordering
    /// moved it by.
    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        let said = self.predict(features, context)?;
        let narrow = single(&self.schema, features)?;
        let of_median = self.state.trees.iter().skip(MEDIAN).step_by(LEVELS);
        let all: Vec<Vec<trees::Node>> = of_median.map(BoostedTree::nodes).collect();
        let base = f64::from(self.state.base[MEDIAN])
            + all.iter().map(|tree| trees::expected(tree, 0)).sum::<f64>();
        let columns = features.cols();
        let parts = |i: usize| {
            let row: Vec<f64> =
                narrow[i * columns..(i + 1) * columns].iter().copied().map(f64::from).collect();
            let mut parts = vec![0.0; columns];
            all.iter().for_each(|tree| trees::add_parts(tree, &row, &mut parts));
            (base, parts)
        };
        let parts = (0..features.rows()).map(parts).collect();
        Ok(Explanations::new(self.schema.feature_names.clone(), parts, &said))
    }

    /// The share of each feature in the total gain of all splits.
    fn importance(&self) -> Vec<(String, f64)> {
        let mut gains = vec![0.0; self.schema.feature_names.len()];
        self.state.trees.iter().for_each(|tree| tree.add_gains(&mut gains));
        crate::estimator::shares(&self.schema, &gains)
    }
}
