//! Random forest: bagged regression trees whose leaves remember their rows, so that the
//! forest answers with a whole distribution.
//!
//! Sources: Breiman (2001), *Random forests*, Machine Learning 45; Meinshausen (2006),
//! *Quantile regression forests*, JMLR 7: the weight of a training label is its mean
//! share in the leaves that a row reaches, over all training rows, in the bag or not.
//! Columns are binned once per fit. Every tree has a random source of its own, so the
//! forest does not depend on threads. This module does not print or read a clock.

mod bins;
mod distribution;
mod grow;
mod tree;

use std::sync::{Mutex, PoisonError};

use foretell_panel::{Dataset, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use tree::ForestTree;

use crate::estimator::{check_training, shares};
use crate::explain::{Explanations, trees};
use crate::state::{check_finite, damaged};
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState, Quantiles, Schema,
};

/// Nine quantiles need some labels.
const MIN_ROWS: usize = 30;

/// What a forest learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestState {
    /// The training labels in rising order, log returns.
    pub labels: Vec<f64>,
    /// The share of each column in the decrease of variance, averaged over trees.
    pub importance: Vec<f64>,
    /// The trees.
    pub trees: Vec<ForestTree>,
}

impl ForestState {
    /// The mean forecast of each row, log returns: what scikit-learn's
    /// `RandomForestRegressor` answers. The rows must have the columns of the training.
    pub fn means(&self, features: &Matrix) -> Vec<f64> {
        let mean = |i: usize| {
            let row = features.row(i);
            let sum: f64 = self.trees.iter().map(|t| t.threshold[t.leaf_node(row)]).sum();
            sum / self.trees.len() as f64
        };
        (0..features.rows()).map(mean).collect()
    }
}

/// Learns a forest.
#[derive(Debug)]
pub(crate) struct ForestEstimator {
    spec: EstimatorSpec,
}

impl ForestEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }
}

impl Estimator for ForestEstimator {
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
        let EstimatorSpec::RandomForest { trees, depth, min_split, min_leaf, column_share } =
            self.spec
        else {
            let (kind, message) = (self.spec.kind().to_owned(), "is no forest".to_owned());
            return Err(ModelError::Numerical { kind, message });
        };
        let total = trees as u64;
        context.go_on(0, total)?;
        check_training(self, train)?;
        let columns = train.features.cols();
        let tried = libm::ceil(column_share * columns as f64 - 1e-9) as usize;
        let limits = grow::Limits { depth, min_split, min_leaf, columns: tried.clamp(1, columns) };
        let labels: Vec<f64> = train.labels.iter().map(|l| l.value).collect();
        let (ranks, sorted) = ranks(&labels);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(context.threads.max(1))
            .build()
            // The machine's fault and not the recipe's.
            .map_err(|e| ModelError::Setting {
                kind: self.spec.kind().to_owned(),
                field: "threads".to_owned(),
                value: context.threads.to_string(),
                remedy: format!("they cannot be started ({e}): give fewer"),
            })?;
        let done = Mutex::new(0u64);
        let finished = |tree: Result<(ForestTree, Vec<f64>), ModelError>| {
            // Reported under the lock so that the count never falls for the listener.
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += 1;
            context.progress.steps(*done, total);
            tree
        };
        let grown: Result<Vec<_>, ModelError> = pool.install(|| {
            let table = bins::BinnedTable::new(&train.features);
            let ground = grow::Ground { table: &table, labels: &labels, ranks: &ranks, limits };
            (0..trees)
                .into_par_iter()
                .map(|t| {
                    context.go_on(t as u64, total)?;
                    finished(Ok(ground.grow(context.seed, t as u64)))
                })
                .collect()
        });
        let (trees, gains): (Vec<_>, Vec<_>) = grown?.into_iter().unzip();
        let mut importance = vec![0.0; columns];
        for gains in &gains {
            let sum: f64 = gains.iter().sum();
            let share = |g: &f64| if sum > 0.0 { g / sum } else { 0.0 };
            importance.iter_mut().zip(gains).for_each(|(i, g)| *i += share(g));
        }
        let state = ForestState { labels: sorted, importance, trees };
        Ok(Box::new(Forest::new(state, Schema::of(train))?))
    }
}

/// The position of each label among the sorted ones (equal labels in row order), and
/// the sorted labels.
fn ranks(labels: &[f64]) -> (Vec<u32>, Vec<f64>) {
    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    order.sort_by(|a, b| labels[*a as usize].total_cmp(&labels[*b as usize]));
    let mut ranks = vec![0; labels.len()];
    order.iter().enumerate().for_each(|(rank, row)| ranks[*row as usize] = rank as u32);
    (ranks, order.iter().map(|row| labels[*row as usize]).collect())
}

/// A fitted forest.
#[derive(Debug)]
pub(crate) struct Forest {
    state: ForestState,
    schema: Schema,
    leaves: distribution::Leaves,
}

impl Forest {
    /// From what was learnt.
    ///
    /// # Errors
    /// When the parts do not form a model of these columns.
    pub(crate) fn new(state: ForestState, schema: Schema) -> Result<Self, ModelError> {
        let columns = schema.feature_names.len();
        check_finite("labels", &state.labels)?;
        check_finite("importance", &state.importance)?;
        if state.labels.is_empty() || !state.labels.is_sorted() {
            return Err(damaged("labels", "they are not in rising order, or there are none"));
        }
        if state.importance.len() != columns {
            return Err(damaged("importance", &format!("the model has {columns} columns")));
        }
        if state.trees.is_empty() {
            return Err(damaged("trees", "there are none"));
        }
        let rows = state.labels.len();
        let check = |(t, tree): (usize, &ForestTree)| tree.check(t, columns, rows);
        state.trees.iter().enumerate().try_for_each(check)?;
        let leaves = distribution::Leaves::new(&state);
        Ok(Self { state, schema, leaves })
    }
}

impl Fitted for Forest {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let mut values = Vec::with_capacity(features.rows() * LEVELS);
        for i in 0..features.rows() {
            values.extend(self.leaves.quantiles(&self.state, features.row(i)));
        }
        Quantiles::rearranged(values)
    }

    fn state(&self) -> ModelState {
        ModelState::RandomForest(self.state.clone())
    }

    /// Of the mean that the trees add up to; the rest is the median's distance from it.
    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        let said = self.predict(features, context)?;
        let all: Vec<Vec<trees::Node>> = self.state.trees.iter().map(ForestTree::nodes).collect();
        let count = all.len() as f64;
        let base = all.iter().map(|tree| trees::expected(tree, 0)).sum::<f64>() / count;
        let parts = |i: usize| {
            let mut parts = vec![0.0; features.cols()];
            all.iter().for_each(|tree| trees::add_parts(tree, features.row(i), &mut parts));
            parts.iter_mut().for_each(|p| *p /= count);
            (base, parts)
        };
        let parts = (0..features.rows()).map(parts).collect();
        Ok(Explanations::new(self.schema.feature_names.clone(), parts, &said))
    }

    /// The share of each feature in the decrease of variance.
    fn importance(&self) -> Vec<(String, f64)> {
        shares(&self.schema, &self.state.importance)
    }
}
