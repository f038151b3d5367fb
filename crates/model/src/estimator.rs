//! The seam between whoever trains or forecasts and the estimators behind it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use foretell_market::Interval;
use foretell_neural::Accelerator;
use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

use crate::explain::Explanations;
use crate::search::{SearchRecord, SearchTrial, Study};
use crate::{EstimatorSpec, ModelError, ModelState, Quantiles};

/// Learns from labelled rows.
pub trait Estimator: Send + Sync + Debug {
    /// The settings it was built from.
    fn spec(&self) -> &EstimatorSpec;

    /// The fewest labelled rows it learns from.
    fn min_rows(&self) -> usize;

    /// Learns from every row of `train`. The result depends on the rows, the settings
    /// and the seed alone, never on the number of threads.
    ///
    /// # Errors
    /// When rows are too few or not finite, a context column is absent, or the stop
    /// flag is raised (honoured within one tree or round).
    fn fit(&self, train: &Dataset, context: &FitContext<'_>)
    -> Result<Box<dyn Fitted>, ModelError>;
}

/// What was learnt; forecasts row by row.
pub trait Fitted: Send + Sync + Debug {
    /// The names of the columns it was trained on.
    fn schema(&self) -> &Schema;

    /// Nine quantiles of the log return per row. Features and context have the columns
    /// of [`Fitted::schema`] in that order. A row's answer depends on that row alone.
    ///
    /// # Errors
    /// When shapes differ from the schema or a number is not finite.
    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError>;

    /// What was learnt, as plain data.
    fn state(&self) -> ModelState;

    /// How much each feature matters, in schema order, summing to 1 (all zero when
    /// nothing was used); empty for models that read no features.
    fn importance(&self) -> Vec<(String, f64)>;

    /// The search that its settings come from, if they were searched for.
    fn search(&self) -> Option<&SearchRecord> {
        None
    }

    /// What each feature adds to the point forecast of each row. A model that cannot take
    /// itself apart gives everything to the base.
    ///
    /// # Errors
    /// As [`Fitted::predict`].
    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        Ok(Explanations::without_features(&self.predict(features, context)?))
    }

    /// [`Fitted::predict`] on a dataset whose column names are checked first.
    ///
    /// # Errors
    /// As [`Fitted::predict`], and when a name differs.
    fn predict_dataset(&self, rows: &Dataset) -> Result<Quantiles, ModelError> {
        self.schema().check(&rows.feature_names, &rows.context_names)?;
        self.predict(&rows.features, &rows.context)
    }
}

/// What a fit is given besides its rows.
#[derive(Clone, Copy)]
pub struct FitContext<'a> {
    /// Seeds every random draw.
    pub seed: u64,
    /// How many threads may work (at least 1).
    pub threads: usize,
    /// Raised by the caller to end the fit early.
    pub stop: &'a AtomicBool,
    /// Hears how far the fit is.
    pub progress: &'a dyn FitProgress,
    /// Keeps where a long fit stands, so that it can go on after an interruption.
    pub checkpoints: Option<&'a dyn Checkpoints>,
    /// Trains networks elsewhere than on the processor, where the program was built for it.
    pub accelerator: Option<&'a dyn Accelerator>,
}

impl Debug for FitContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seed, threads) = (self.seed, self.threads);
        f.debug_struct("FitContext").field("seed", &seed).field("threads", &threads).finish()
    }
}

impl FitContext<'_> {
    /// Whether the caller asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Refuses to go on when the caller asked to stop.
    ///
    /// # Errors
    /// [`ModelError::Stopped`] when the flag is raised.
    pub fn go_on(&self, done: u64, total: u64) -> Result<(), ModelError> {
        if self.stopped() { Err(ModelError::Stopped { done, total }) } else { Ok(()) }
    }
}

/// Hears how far a fit is; may be called from any thread.
pub trait FitProgress: Send + Sync {
    /// `done` of `total` trees, rounds or epochs are finished. `done` never falls within a
    /// fit.
    fn steps(&self, done: u64, total: u64);

    /// An epoch of `total` is finished: its number from 1, its mean training loss and its
    /// validation loss (NaN without validation rows).
    fn epoch(&self, number: u64, total: u64, loss: f64, validation: f64) {
        let _ = (number, total, loss, validation);
    }

    /// A search goes on after an interruption: this many of its trials had ended.
    fn resumed(&self, study: &Study, done: usize) {
        let _ = (study, done);
    }

    /// A trial of a search has ended, now or before an interruption.
    fn trial(&self, study: &Study, trial: &SearchTrial) {
        let _ = (study, trial);
    }

    /// Whether a search with a budget of time may go on after so many trials. The clock is
    /// the caller's.
    fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        let _ = (study, budget, trials);
        true
    }
}

/// Listens to nothing.
impl FitProgress for () {
    fn steps(&self, _done: u64, _total: u64) {}
}

/// Keeps where one fit stands. A fit that is called again with the same rows, settings,
/// seed and checkpoints goes on from the last one and ends in the same model as if it had
/// never been interrupted.
pub trait Checkpoints: Send + Sync {
    /// What was last saved under a key, the fingerprint of everything that decides the fit.
    fn load(&self, key: &str) -> Option<Vec<u8>>;

    /// Told after each epoch: may ask for the state and keep it in the place of the one
    /// before, or let it go: the fit does not depend on it. A state without bytes is none:
    /// the one before stays.
    fn save(&self, key: &str, state: &dyn Fn() -> Vec<u8>);
}

/// The names of a model's columns, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Columns it learns from.
    pub feature_names: Vec<String>,
    /// Columns that baselines read.
    pub context_names: Vec<String>,
}

impl Schema {
    /// The columns of a dataset.
    pub fn of(dataset: &Dataset) -> Self {
        Self {
            feature_names: dataset.feature_names.clone(),
            context_names: dataset.context_names.clone(),
        }
    }

    /// The position of a context column.
    pub fn context_index(&self, name: &str) -> Option<usize> {
        self.context_names.iter().position(|n| n == name)
    }

    /// Checks names against those of the training.
    ///
    /// # Errors
    /// [`ModelError::Schema`] naming the first difference.
    pub fn check(&self, features: &[String], context: &[String]) -> Result<(), ModelError> {
        let pairs = [
            ("feature", &self.feature_names[..], features),
            ("context", &self.context_names, context),
        ];
        for (what, mine, theirs) in pairs {
            if mine.len() != theirs.len() {
                return Err(Self::count(what, mine.len(), theirs.len()));
            }
            if let Some(i) = (0..mine.len()).find(|&i| mine[i] != theirs[i]) {
                let (mine, theirs) = (&mine[i], &theirs[i]);
                let difference = format!("{what} {i} was `{mine}`, is `{theirs}`");
                return Err(ModelError::Schema { difference });
            }
        }
        Ok(())
    }

    /// Checks shapes and that every number is finite.
    ///
    /// # Errors
    /// [`ModelError::Schema`] or [`ModelError::NotFinite`] naming the first offender.
    pub fn check_rows(&self, features: &Matrix, context: &Matrix) -> Result<(), ModelError> {
        let all =
            [("feature", &self.feature_names, features), ("context", &self.context_names, context)];
        if features.rows() != context.rows() {
            let (f, c) = (features.rows(), context.rows());
            let difference = format!("{f} rows of features but {c} of context");
            return Err(ModelError::Schema { difference });
        }
        for (what, names, matrix) in all {
            let cols = matrix.cols();
            if cols != names.len() && matrix.rows() > 0 {
                return Err(Self::count(what, names.len(), cols));
            }
            if let Some(at) = matrix.as_slice().iter().position(|v| !v.is_finite()) {
                let (row, column) = (at / cols, names[at % cols].clone());
                return Err(ModelError::NotFinite { row, column, value: matrix.as_slice()[at] });
            }
        }
        Ok(())
    }

    fn count(what: &str, mine: usize, theirs: usize) -> ModelError {
        let difference = format!("{mine} {what} columns then, {theirs} now");
        ModelError::Schema { difference }
    }
}

/// Parts of a whole, per feature: values of zero or more divided by their sum; all zero
/// when the sum is.
pub(crate) fn shares(schema: &Schema, values: &[f64]) -> Vec<(String, f64)> {
    let total: f64 = values.iter().sum();
    let share = |v: &f64| if total > 0.0 { v / total } else { 0.0 };
    schema.feature_names.iter().cloned().zip(values.iter().map(share)).collect()
}

/// What every fit checks before it learns: enough rows, all numbers and labels finite.
///
/// # Errors
/// The first offence.
pub(crate) fn check_training(estimator: &dyn Estimator, train: &Dataset) -> Result<(), ModelError> {
    let (need, have) = (estimator.min_rows(), train.len());
    if have < need {
        let kind = estimator.spec().kind().to_owned();
        return Err(ModelError::TooFewRows { kind, need, have });
    }
    if train.features.cols() == 0 && estimator.spec().reads_features() {
        let kind = estimator.spec().kind().to_owned();
        let (field, value) = ("features".to_owned(), "none".to_owned());
        let remedy = "name at least one feature column".to_owned();
        return Err(ModelError::Setting { kind, field, value, remedy });
    }
    Schema::of(train).check_rows(&train.features, &train.context)?;
    match train.labels.iter().position(|l| !l.value.is_finite()) {
        Some(row) => {
            let value = train.labels[row].value;
            Err(ModelError::NotFinite { row, column: "label".to_owned(), value })
        }
        None => Ok(()),
    }
}
