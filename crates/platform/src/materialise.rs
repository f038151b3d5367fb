//! The features and dataset stations: clean rows to what models learn from.

use foretell_feature::{FeatureSet, assemble, compute, context, cut_returns};
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
    /// Intervals that a row looks back: its features' windows, and its context as far as
    /// that is felt. Recursive features remember longer, ever less.
    pub memory: usize,
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
    let memory = memory(pipeline, &set);
    Ok(Materialised { set, features, dataset, returns, rows, memory, warnings })
}

/// How many intervals a row of a pipeline looks back.
pub(crate) fn memory(pipeline: &Pipeline, set: &FeatureSet) -> usize {
    set.warm_up().max(pipeline.context_spec().memory(pipeline.interval))
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
    /// lock-box neither with their label nor, right after it, with what they look back at.
    /// Windows of returns begin anew behind it, as behind a gap.
    pub(crate) fn allowed(&self, lock_box: Option<LockBox>) -> Dataset {
        let cut = lock_box.map(|b| cut_returns(&self.dataset, b.to));
        let memory = self.memory as i64 * self.dataset.interval.secs();
        let lock_box = lock_box.map(|b| LockBox { to: b.to.plus_secs(memory), ..b });
        // The box holds times of the market, not of when a correction was known.
        let span = |label: &Label| Label { end: label.start + self.dataset.horizon, ..*label };
        let boxed = |label: &Label| lock_box.is_some_and(|b| b.touches(&span(label)));
        let rows = cut.as_ref().unwrap_or(&self.dataset);
        rows.filter(|label| label.value.is_finite() && !boxed(label))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use foretell_market::{Interval, Timestamp};
    use foretell_panel::Column;
    use foretell_testkit::{normal, rng};

    use super::*;

    const TEXT: &str = r#"name = "boxed"
instrument = "AAA-USD"
interval = "1h"

[source]
kind = "file"
path = "candles.csv"

[features]
set = "candle-base"
season = "7d"

[label]
horizon = "1h"

[evaluation]
initial_train = "10d"
refit_every = "5d"

[[models]]
kind = "garch"

[[models]]
kind = "har"
"#;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_secs(1_577_836_800 + hour * 3_600)
    }

    fn allowed(pipeline: &Pipeline, closes: &[f64], lock_box: LockBox) -> Dataset {
        let row = |i: i64| RowMeta::at_close(at(i), Interval::HOUR);
        let rows = (0..closes.len() as i64).map(row).collect();
        let column = |name: &str, factor: f64| {
            Column::new(name, closes.iter().map(|c| c * factor).collect())
        };
        let columns = vec![
            column("open", 1.0),
            column("high", 1.01),
            column("low", 0.99),
            column("close", 1.0),
            column("volume", 2.0),
        ];
        let clean = Frame::new(pipeline.instrument.clone(), Interval::HOUR, rows, columns).unwrap();
        materialise(pipeline, &clean).unwrap().allowed(Some(lock_box))
    }

    /// A season is longer than every window of the features, and the exponential weights
    /// have no end.
    #[test]
    fn rows_after_the_lock_box_do_not_look_back_into_it() {
        let pipeline = Pipeline::parse(TEXT, Path::new("boxed.toml")).unwrap();
        let lock_box = LockBox { from: at(500), to: at(600) };
        let mut random = rng(10);
        let mut price = 100.0f64;
        let closes: Vec<f64> = (0..1_200)
            .map(|_| {
                price *= (0.01 * normal(&mut random)).exp();
                price
            })
            .collect();
        let mut shaken = closes.clone();
        shaken[500..599].iter_mut().for_each(|c| *c *= 1.01);
        let (one, other) =
            (allowed(&pipeline, &closes, lock_box), allowed(&pipeline, &shaken, lock_box));
        let after = |d: &Dataset| d.labels.iter().position(|l| l.start >= lock_box.to).unwrap();
        assert_eq!((after(&one), one.len()), (after(&other), other.len()));
        assert!(one.len() - after(&one) > 300, "the rest of the market is there");
        // The windows of the models are far longer than what is left out behind the box.
        let known = one.context_index("known_returns").unwrap();
        let first = after(&one);
        let since = Interval::HOUR.steps(lock_box.to, one.labels[first].start);
        assert_eq!(one.context.get(first, known), since as f64);
        assert!(since < 200 && one.context.get(one.len() - 1, known) > 500.0);
        for i in after(&one)..one.len() {
            for (j, name) in one.context_names.iter().enumerate() {
                let (a, b) = (one.context.get(i, j), other.context.get(i, j));
                let bound = if name == "ewma_variance" { 2e-3 * a } else { 0.0 };
                assert!((a - b).abs() <= bound, "{name} of {}: {a} and {b}", one.labels[i].start);
            }
        }
    }
}
