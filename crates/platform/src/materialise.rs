//! The features and dataset stations: clean rows to what models learn from.

use foretell_feature::{FeatureSet, assemble, compute, context};
use foretell_model::evaluate::SquaredReturns;
use foretell_panel::{Dataset, Frame, LockBox};

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
}

/// Computes features, context and dataset.
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
    let returns = SquaredReturns::of(clean, &pipeline.label.price)
        .map_err(|e| PlatformError::Mismatch(format!("the returns: {e}")))?;
    Ok(Materialised { set, features, dataset, returns })
}

impl Materialised {
    /// The rows that a run may learn from and judge on: labelled, and touching the
    /// lock-box neither with their label nor, right after it, with their windows.
    pub(crate) fn allowed(&self, lock_box: Option<LockBox>) -> Dataset {
        let memory = self.set.warm_up() as i64 * self.dataset.interval.secs();
        let lock_box = lock_box.map(|b| LockBox { to: b.to.plus_secs(memory), ..b });
        self.dataset
            .filter(|label| label.value.is_finite() && !lock_box.is_some_and(|b| b.touches(label)))
    }

    /// The returns that a run may judge variances by: all but the lock-box's.
    pub(crate) fn allowed_returns(&self, lock_box: Option<LockBox>) -> SquaredReturns {
        self.returns.clone().without(lock_box)
    }

    /// The labelled rows up to the end of the lock-box, the box included: what
    /// opening it is judged on.
    pub(crate) fn unlocked(&self, until: foretell_market::Timestamp) -> Dataset {
        self.dataset.filter(|label| label.value.is_finite() && label.end <= until)
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
