//! The search as an estimator: trials, then a fit with what they found.

use foretell_panel::{Dataset, Matrix};

use super::{SearchRecord, SearchSettings, run};
use crate::explain::Explanations;
use crate::{
    Estimator, EstimatorSpec, FitContext, FitProgress, Fitted, ModelError, ModelState, Quantiles,
    Schema,
};

/// Learns a model and its settings.
#[derive(Debug)]
pub(crate) struct SearchEstimator {
    spec: EstimatorSpec,
}

impl SearchEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }

    fn settings(&self) -> Option<&SearchSettings> {
        self.spec.search()
    }
}

impl Estimator for SearchEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    /// The splits are of equal length, and the model learns from one in the first.
    fn min_rows(&self) -> usize {
        let one = self.spec.learnt().build().map_or(1, |model| model.min_rows());
        one * (self.settings().map_or(0, |s| s.splits) + 1)
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        let total = self.spec.steps();
        context.go_on(0, total)?;
        crate::estimator::check_training(self, train)?;
        let Some(settings) = self.settings() else {
            let message = format!("cannot search with a {}", self.spec.kind());
            return Err(ModelError::Evaluation(message));
        };
        let record = run::search(settings, train, context)?;
        let done = record.trials.len() as u64;
        let last = FitContext { progress: &Last(context.progress), ..*context };
        let fitted = record.spec.build()?.fit(train, &last).map_err(|error| match error {
            ModelError::Stopped { .. } => ModelError::Stopped { done, total },
            other => other,
        })?;
        context.progress.steps(total, total);
        Ok(Box::new(Searched { fitted, record }))
    }
}

/// Passes on the epochs of the last fit; its steps are one of the whole.
struct Last<'a>(&'a dyn FitProgress);

impl FitProgress for Last<'_> {
    fn steps(&self, _done: u64, _total: u64) {}

    fn epoch(&self, number: u64, total: u64, loss: f64, validation: f64) {
        self.0.epoch(number, total, loss, validation);
    }
}

/// A fitted model that remembers where its settings come from.
#[derive(Debug)]
struct Searched {
    fitted: Box<dyn Fitted>,
    record: SearchRecord,
}

impl Fitted for Searched {
    fn schema(&self) -> &Schema {
        self.fitted.schema()
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.fitted.predict(features, context)
    }

    fn state(&self) -> ModelState {
        self.fitted.state()
    }

    fn importance(&self) -> Vec<(String, f64)> {
        self.fitted.importance()
    }

    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        self.fitted.explain(features, context)
    }

    fn search(&self) -> Option<&SearchRecord> {
        Some(&self.record)
    }
}
