//! The features and dataset stations: clean rows to what models learn from.

use foretell_feature::{FeatureSet, assemble, compute, context};
use foretell_model::evaluate::SquaredReturns;
use foretell_panel::{Dataset, Frame, Label, LockBox, RowMeta};

use crate::error::PlatformError;
use crate::pipeline::Pipeline;

/// Everything that is derived from clean rows.
#[derive(Debug)]
pub(crate) struct Materialised {
    /// The feature set.
    pub set: FeatureSet,
    /// One column per feature, rows of the clean frame.
    pub features: Frame,
    /// Every row with complete features; labels may be unknown (NaN).
    pub dataset: Dataset,
    /// The squared return of every interval, for realised variances.
    pub returns: SquaredReturns,
    /// Times and marks of the rows of `features` before anything was computed, as the
    /// decision knew them.
    pub rows: Vec<RowMeta>,
    /// What was simplified, in words.
    pub warnings: Vec<String>,
}

/// Computes features, context and dataset of rows that were never corrected, or whose
/// corrections are to count as always known.
///
/// # Errors
/// When a column that the set or the label needs is absent.
pub(crate) fn materialise(
    pipeline: &Pipeline,
    clean: &Frame,
) -> Result<Materialised, PlatformError> {
    let set = pipeline.features.feature_set()?;
    let features = compute(&set, clean)?;
    let context = context(clean, &pipeline.label.price, &pipeline.context_spec())?;
    let dataset = assemble(clean, &features, &context, &pipeline.label_spec(), &set)?;
    let returns = squared_returns(pipeline, clean)?;
    let (rows, warnings) = (clean.rows().to_vec(), Vec::new());
    Ok(Materialised { set, features, dataset, returns, rows, warnings })
}

/// The squared return of every interval.
///
/// # Errors
/// When the price column of the label is absent.
pub(crate) fn squared_returns(
    pipeline: &Pipeline,
    clean: &Frame,
) -> Result<SquaredReturns, PlatformError> {
    SquaredReturns::of(clean, &pipeline.label.price)
        .map_err(|e| PlatformError::Mismatch(format!("the returns: {e}")))
}

impl Materialised {
    /// The rows that a run may learn from and judge on: labelled, and touching the
    /// lock-box neither with their label nor, right after it, with their windows.
    pub(crate) fn allowed(&self, lock_box: Option<LockBox>) -> Dataset {
        let memory = self.set.warm_up() as i64 * self.dataset.interval.secs();
        let lock_box = lock_box.map(|b| LockBox { to: b.to.plus_secs(memory), ..b });
        // The box holds times of the market, not of when a correction was known.
        let span = |label: &Label| Label { end: label.start + self.dataset.horizon, ..*label };
        let boxed = |label: &Label| lock_box.is_some_and(|b| b.touches(&span(label)));
        self.dataset.filter(|label| label.value.is_finite() && !boxed(label))
    }

    /// The returns that a run may judge variances by: all but the lock-box's.
    pub(crate) fn allowed_returns(&self, lock_box: Option<LockBox>) -> SquaredReturns {
        self.returns.clone().without(lock_box)
    }

    /// The labelled rows up to the end of the lock-box, the box included: what
    /// opening it is judged on.
    pub(crate) fn unlocked(&self, until: foretell_market::Timestamp) -> Dataset {
        let horizon = self.dataset.horizon;
        self.dataset.filter(|label| label.value.is_finite() && label.start + horizon <= until)
    }

    /// The line of the features station.
    pub(crate) fn features_summary(&self) -> String {
        format!(
            "{} features, warm-up {} rows, set {}…",
            self.set.len(),
            self.set.warm_up(),
            &self.set.fingerprint().to_string()[..4]
        )
    }
}
