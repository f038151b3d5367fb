//! Walk-forward folds at the refit cadence, purged by the labels.
//!
//! Source: Hyndman & Athanasopoulos, *Forecasting: Principles and Practice* (3rd
//! ed.), ch. 5.10 (rolling origin); López de Prado, *Advances in Financial Machine
//! Learning*, ch. 7.4 (purging). The embargo of that chapter belongs to schemes in
//! which training resumes after the test block; here it never does.

use std::ops::Range;

use foretell_market::{Interval, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Label;

/// Which past rows a fit may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainWindow {
    /// All rows from the first on.
    Expanding,
    /// The rows of the last so many seconds, minutes, hours or days.
    Rolling(Interval),
}

/// A walk-forward evaluation: fit, forecast one refit period ahead, move on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkForward {
    /// How much history the first fit needs.
    pub initial_train: Interval,
    /// The refit cadence, the same as in live use.
    pub refit_every: Interval,
    /// Which past rows each fit uses.
    pub window: TrainWindow,
}

/// A span of time that ordinary runs never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBox {
    /// Its first instant (UTC).
    pub from: Timestamp,
    /// The first instant after it (UTC).
    pub to: Timestamp,
}

impl LockBox {
    /// Whether a label's span touches the box.
    pub fn touches(&self, label: &Label) -> bool {
        label.start < self.to && label.end > self.from
    }
}

/// One fit and the rows it is judged on; ranges index the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// When the model of this fold is fitted (UTC): the first test decision's cell.
    pub fit_at: Timestamp,
    /// Rows to learn from: every label was known at or before `fit_at`, but for those in
    /// `late`.
    pub train: Range<usize>,
    /// Rows inside `train` whose label was known only after `fit_at`, because a price of it
    /// was corrected; ascending, nearly always empty.
    pub late: Vec<usize>,
    /// Rows to forecast, out of sample.
    pub test: Range<usize>,
    /// Rows left out between the two because their labels end too late.
    pub purged: usize,
}

impl Fold {
    /// The rows to learn from, late ones left out.
    pub fn learnt(&self) -> impl Iterator<Item = usize> + '_ {
        self.train.clone().filter(|row| self.late.binary_search(row).is_err())
    }
}

/// Why no folds can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Rows are not in decision-time order.
    #[error("dataset row {0} is not in decision-time order")]
    Order(usize),
    /// The data ends before the first test block.
    #[error(
        "the data spans {have}, but the first fit needs {need} of history: \
         shorten `initial_train` or bring more data"
    )]
    TooShort {
        /// What there is.
        have: String,
        /// What the first fit needs.
        need: Interval,
    },
}

/// The folds of a walk-forward evaluation, in time order. Folds without a test row
/// or a training row are left out.
///
/// # Errors
/// When labels are out of order or the data is shorter than the first history.
pub fn walk_forward(labels: &[Label], plan: &WalkForward) -> Result<Vec<Fold>, SplitError> {
    if let Some(row) = (1..labels.len()).find(|&i| labels[i - 1].start >= labels[i].start) {
        return Err(SplitError::Order(row));
    }
    let need = plan.initial_train;
    let too_short = |have: String| SplitError::TooShort { have, need };
    let (Some(first), Some(last)) = (labels.first(), labels.last()) else {
        return Err(too_short("no rows".to_owned()));
    };
    let first_fit = first.start + need;
    if first_fit > last.start {
        let secs = (last.start.micros() - first.start.micros()) / 1_000_000;
        return Err(too_short(Interval::from_secs(secs).map_or("0s".into(), |i| i.to_string())));
    }
    let mut folds = Vec::new();
    let mut fit_at = first_fit;
    while fit_at <= last.start {
        let next = fit_at + plan.refit_every;
        let test_start = labels.partition_point(|l| l.start < fit_at);
        let test_end = labels.partition_point(|l| l.start < next);
        let known = |l: &Label| l.end <= fit_at;
        let train_end = labels[..test_start].iter().rposition(known).map_or(0, |last| last + 1);
        let train_start = match plan.window {
            TrainWindow::Expanding => 0,
            TrainWindow::Rolling(length) => labels.partition_point(|l| l.start < fit_at - length),
        };
        if test_start < test_end && train_start < train_end {
            let (train, test) = (train_start..train_end, test_start..test_end);
            // Ends follow the decisions, unless a label's price was corrected later.
            let late: Vec<usize> = train.clone().filter(|&i| !known(&labels[i])).collect();
            let purged = test_start - train_end + late.len();
            folds.push(Fold { fit_at, train, late, test, purged });
        }
        fit_at = next;
    }
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(hours: impl Iterator<Item = i64>, horizon: i64) -> Vec<Label> {
        let at = |h: i64| Label {
            value: 0.0,
            start: Timestamp::from_secs(h * 3600),
            end: Timestamp::from_secs((h + horizon) * 3600),
        };
        hours.map(at).collect()
    }

    fn plan(initial: i64, refit: i64, window: TrainWindow) -> WalkForward {
        let hours = |h: i64| Interval::from_secs(h * 3600).unwrap();
        WalkForward { initial_train: hours(initial), refit_every: hours(refit), window }
    }

    #[test]
    fn purges_what_would_end_after_the_fit() {
        let folds = walk_forward(&labels(0..10, 3), &plan(6, 2, TrainWindow::Expanding)).unwrap();
        // At hour 6 the labels of hours 0 to 3 have ended; 4 and 5 are purged.
        assert_eq!(
            (folds[0].train.clone(), folds[0].test.clone(), folds[0].purged),
            (0..4, 6..8, 2)
        );
        assert_eq!((folds[1].train.clone(), folds[1].test.clone()), (0..6, 8..10));
    }

    #[test]
    fn says_what_is_missing() {
        let error = walk_forward(&labels(0..5, 1), &plan(6, 2, TrainWindow::Expanding));
        assert!(error.unwrap_err().to_string().contains("the data spans 4h"));
        assert!(walk_forward(&[], &plan(6, 2, TrainWindow::Expanding)).is_err());
    }

    proptest! {
        #[test]
        fn no_training_label_ends_after_the_decision_and_tests_do_not_overlap(
            present in prop::collection::vec(any::<bool>(), 60..300),
            horizon in 1i64..12, refit in 1i64..30, initial in 1i64..50, rolling in prop::option::of(5i64..60),
            corrected in prop::collection::vec((0usize..300, 1i64..90), 0..6),
        ) {
            let hours = present.iter().enumerate().filter(|(_, p)| **p).map(|(i, _)| i as i64);
            let mut labels = labels(hours, horizon);
            for (row, later) in corrected {
                if let Some(label) = labels.get_mut(row) {
                    label.end = label.end.plus_secs(later * 3600);
                }
            }
            let window = rolling.map_or(TrainWindow::Expanding, |h| {
                TrainWindow::Rolling(Interval::from_secs(h * 3600).unwrap())
            });
            let Ok(folds) = walk_forward(&labels, &plan(initial, refit, window)) else {
                return Ok(());
            };
            let mut seen = 0;
            for fold in &folds {
                prop_assert!(fold.test.start >= seen);
                seen = fold.test.end;
                let decided = labels[fold.test.start].start;
                prop_assert!(fold.fit_at <= decided);
                for i in fold.learnt() {
                    prop_assert!(labels[i].end <= fold.fit_at);
                }
                prop_assert!(fold.train.end <= fold.test.start);
                let known = |i: &usize| labels[*i].end <= fold.fit_at;
                let usable = (fold.train.start..fold.test.start).filter(known);
                prop_assert!(fold.learnt().eq(usable), "no known label is left out");
            }
        }
    }
}
