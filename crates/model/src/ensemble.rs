//! Ensembles: the quantiles of several estimators, averaged level by level.
//!
//! `mean` gives every member the same weight; `stacking` learns weights of zero or more that
//! sum to one, on forecasts of rows that the members had not learnt from. These come from an
//! inner walk over the *training* rows: the members learn from the first half and forecast
//! the block that follows, then from the half and that block, and so on; labels that end
//! after a block begins are purged. Nothing of the test rows is seen.
//!
//! Sources: averaging quantiles level by level, Vincent (1912) and Lichtendahl,
//! Grushka-Cockayne & Winkler (2013), *Is it better to average probabilities or quantiles?*,
//! Management Science 59(7); stacking, Wolpert (1992) and Breiman (1996), *Stacked
//! regressions*, Machine Learning 24, here on the pinball loss that forecasts are judged by.

mod weights;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

pub use weights::stacking_weights;

use crate::estimator::{check_training, shares};
use crate::explain::Explanations;
use crate::state::{check_finite, damaged};
use crate::tensors::{Tensor, none_left};
use crate::{
    Estimator, EstimatorSpec, FitContext, FitProgress, Fitted, LEVELS, ModelError, ModelState,
    Quantiles, Schema,
};

/// The settings of an equal-weight mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanSettings {
    /// What is averaged: two or more, none of them an ensemble.
    #[serde(default = "default_members")]
    pub members: Vec<EstimatorSpec>,
}

/// The settings of a stacked ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackingSettings {
    /// What is weighted: two or more, none of them an ensemble.
    #[serde(default = "default_members")]
    pub members: Vec<EstimatorSpec>,
    /// Blocks of the second half of the training rows that are forecast to learn the
    /// weights (1 to 20, default 3). Every member is fitted once more for each.
    #[serde(default = "default_inner_folds")]
    pub inner_folds: usize,
}

fn default_members() -> Vec<EstimatorSpec> {
    ["ridge", "gradient_boosting"].into_iter().filter_map(EstimatorSpec::named).collect()
}

fn default_inner_folds() -> usize {
    3
}

/// Checks the settings of an ensemble.
///
/// # Errors
/// The field, its value and what would be accepted.
pub(crate) fn check(spec: &EstimatorSpec) -> Result<(), (&'static str, String, &'static str)> {
    let members = spec.members();
    if members.len() < 2 {
        return Err(("members", members.len().to_string(), "give two or more members"));
    }
    if let Some(inner) = members.iter().find(|m| !m.members().is_empty()) {
        let remedy = "give its members instead: an ensemble holds no ensemble";
        return Err(("members", inner.kind().to_owned(), remedy));
    }
    for (i, member) in members.iter().enumerate() {
        if members[..i].contains(member) {
            return Err(("members", member.kind().to_owned(), "give every member once"));
        }
    }
    match spec {
        EstimatorSpec::Stacking(s) if !(1..=20).contains(&s.inner_folds) => {
            Err(("inner_folds", s.inner_folds.to_string(), "give 1 to 20"))
        }
        _ => Ok(()),
    }
}

/// What an ensemble learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleState {
    /// The weight of each member, zero or more; they sum to 1.
    pub weights: Vec<f64>,
    /// What each member learnt from all rows.
    pub members: Vec<ModelState>,
}

impl EnsembleState {
    /// The state without the tensors of its members, and these, each named after its member
    /// (`members.0.fc.weight`); nothing when no member has any.
    pub(crate) fn detached(&self) -> Option<(Self, Vec<Tensor>)> {
        let mut bare = self.clone();
        let mut all = Vec::new();
        for (i, member) in bare.members.iter_mut().enumerate() {
            let Some((state, tensors)) = member.detached() else { continue };
            *member = state;
            let named = |t: Tensor| Tensor { name: format!("members.{i}.{}", t.name), ..t };
            all.extend(tensors.into_iter().map(named));
        }
        (!all.is_empty()).then_some((bare, all))
    }

    /// Puts the tensors of a file into their places.
    ///
    /// # Errors
    /// When they are not exactly those that the members have.
    pub(crate) fn attach(
        &mut self,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        for (i, member) in self.members.iter_mut().enumerate() {
            let prefix = format!("members.{i}.");
            let mine: BTreeMap<String, Tensor> = tensors
                .extract_if(.., |name, _| name.starts_with(&prefix))
                .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor))
                .collect();
            if member.has_tensors() || !mine.is_empty() {
                member.attach(mine)?;
            }
        }
        none_left(&tensors)
    }
}

/// Learns an ensemble.
#[derive(Debug)]
pub(crate) struct EnsembleEstimator {
    spec: EstimatorSpec,
    members: Vec<Box<dyn Estimator>>,
}

impl EnsembleEstimator {
    /// From settings that were checked.
    ///
    /// # Errors
    /// When the settings of a member are refused.
    pub(crate) fn new(spec: EstimatorSpec) -> Result<Self, ModelError> {
        let members = spec.members().iter().map(EstimatorSpec::build).collect::<Result<_, _>>()?;
        Ok(Self { spec, members })
    }

    fn inner_folds(&self) -> usize {
        match &self.spec {
            EstimatorSpec::Stacking(s) => s.inner_folds,
            _ => 0,
        }
    }

    /// Every member fitted on the same rows.
    fn fit_all(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
        meter: &Meter<'_>,
    ) -> Result<Vec<Box<dyn Fitted>>, ModelError> {
        let fitted = self.members.iter().map(|member| {
            meter.begin(member.spec().steps());
            let inner = FitContext { progress: meter, ..*context };
            member.fit(train, &inner).map_err(|error| match error {
                ModelError::Stopped { .. } => {
                    ModelError::Stopped { done: meter.done(), total: meter.total }
                }
                other => other,
            })
        });
        fitted.collect()
    }

    /// The weights that would have been best on rows that the members had not learnt from.
    fn learn_weights(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
        meter: &Meter<'_>,
    ) -> Result<Vec<f64>, ModelError> {
        let (rows, folds) = (train.len(), self.inner_folds());
        let half = rows / 2;
        let mut said: Vec<Vec<f64>> = vec![Vec::new(); self.members.len()];
        let mut outcomes = Vec::new();
        for fold in 0..folds {
            let first = half + (rows - half) * fold / folds;
            let end = half + (rows - half) * (fold + 1) / folds;
            let Some(begins) = train.labels.get(first).map(|l| l.start) else { continue };
            let learnt: Vec<usize> =
                (0..first).filter(|i| train.labels[*i].end <= begins).collect();
            let fitted = self.fit_all(&train.select(&learnt), context, meter)?;
            let block = train.slice(first..end);
            for (said, member) in said.iter_mut().zip(&fitted) {
                said.extend_from_slice(member.predict_dataset(&block)?.as_slice());
            }
            outcomes.extend(block.labels.iter().map(|l| l.value));
        }
        let views: Vec<&[f64]> = said.iter().map(Vec::as_slice).collect();
        Ok(stacking_weights(&views, &outcomes))
    }
}

impl Estimator for EnsembleEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    fn min_rows(&self) -> usize {
        let most = self.members.iter().map(|m| m.min_rows()).max().unwrap_or(1);
        match self.inner_folds() {
            0 => most,
            // The first half must be enough, and every block needs a row.
            folds => 2 * most.max(folds),
        }
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        let meter = Meter {
            outer: context.progress,
            total: self.spec.steps(),
            before: AtomicU64::new(0),
            now: AtomicU64::new(0),
        };
        context.go_on(0, meter.total)?;
        check_training(self, train)?;
        let weights = match &self.spec {
            EstimatorSpec::Stacking(_) => self.learn_weights(train, context, &meter)?,
            _ => vec![1.0 / self.members.len() as f64; self.members.len()],
        };
        let fitted = self.fit_all(train, context, &meter)?;
        meter.begin(0);
        let members = fitted.iter().map(|m| m.state()).collect();
        let state = EnsembleState { weights, members };
        let stacked = matches!(self.spec, EstimatorSpec::Stacking(_));
        Ok(Box::new(Ensemble { state, stacked, members: fitted, schema: Schema::of(train) }))
    }
}

/// Adds the steps of the fit that goes on to those of the fits before it.
struct Meter<'a> {
    outer: &'a dyn FitProgress,
    total: u64,
    before: AtomicU64,
    now: AtomicU64,
}

impl Meter<'_> {
    /// The fit before is finished, one of so many steps begins.
    fn begin(&self, steps: u64) {
        self.before.fetch_add(self.now.swap(steps, Ordering::Relaxed), Ordering::Relaxed);
    }

    fn done(&self) -> u64 {
        self.before.load(Ordering::Relaxed)
    }
}

impl FitProgress for Meter<'_> {
    fn steps(&self, done: u64, _total: u64) {
        self.outer.steps(self.done() + done, self.total);
    }

    fn epoch(&self, number: u64, total: u64, loss: f64, validation: f64) {
        self.outer.epoch(number, total, loss, validation);
    }
}

/// Fitted members and their weights.
#[derive(Debug)]
pub(crate) struct Ensemble {
    state: EnsembleState,
    stacked: bool,
    members: Vec<Box<dyn Fitted>>,
    schema: Schema,
}

impl Ensemble {
    /// From what was learnt.
    ///
    /// # Errors
    /// When the parts do not form a model of these columns.
    pub(crate) fn new(
        state: EnsembleState,
        stacked: bool,
        schema: Schema,
    ) -> Result<Self, ModelError> {
        let count = state.members.len();
        if count < 2 || state.weights.len() != count {
            return Err(damaged("weights", "there is not one for each of two or more members"));
        }
        check_finite("weights", &state.weights)?;
        let sum: f64 = state.weights.iter().sum();
        if state.weights.iter().any(|w| *w < 0.0) || (sum - 1.0).abs() > 1e-9 {
            return Err(damaged("weights", "they are below 0 or do not sum to 1"));
        }
        let whole = |m: &ModelState| matches!(m, ModelState::Mean(_) | ModelState::Stacking(_));
        if let Some(i) = state.members.iter().position(whole) {
            return Err(damaged(&format!("members[{i}]"), "an ensemble holds no ensemble"));
        }
        let fitted = |m: &ModelState| m.clone().into_fitted(schema.clone());
        let members = state.members.iter().map(fitted).collect::<Result<_, _>>()?;
        Ok(Self { state, stacked, members, schema })
    }

    /// Whether all weights are the same, so that a sum is divided instead of weighted: the
    /// mean is then the arithmetic mean to the last bit.
    fn equal(&self) -> bool {
        !self.stacked
    }
}

impl Fitted for Ensemble {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let mut sums = vec![0.0; features.rows() * LEVELS];
        for (member, weight) in self.members.iter().zip(&self.state.weights) {
            let said = member.predict(features, context)?;
            let weight = if self.equal() { 1.0 } else { *weight };
            sums.iter_mut().zip(said.as_slice()).for_each(|(sum, q)| *sum += weight * q);
        }
        if self.equal() {
            let count = self.members.len() as f64;
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        Quantiles::rearranged(sums)
    }

    fn state(&self) -> ModelState {
        match self.stacked {
            true => ModelState::Stacking(self.state.clone()),
            false => ModelState::Mean(self.state.clone()),
        }
    }

    /// The weighted mean of the members' shares, of those that read features.
    fn importance(&self) -> Vec<(String, f64)> {
        let mut sums = vec![0.0; self.schema.feature_names.len()];
        let mut ranked = false;
        for (member, weight) in self.members.iter().zip(&self.state.weights) {
            let own = member.importance();
            ranked |= !own.is_empty();
            sums.iter_mut().zip(&own).for_each(|(sum, (_, share))| *sum += weight * share);
        }
        if ranked { shares(&self.schema, &sums) } else { Vec::new() }
    }

    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        let mut sum = Explanations::default();
        for (member, weight) in self.members.iter().zip(&self.state.weights) {
            sum.add(&member.explain(features, context)?, *weight);
        }
        sum.settle(&self.predict(features, context)?);
        Ok(sum)
    }
}
