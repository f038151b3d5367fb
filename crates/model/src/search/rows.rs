//! The rows inside a fit: what trials learn from, what they are judged on, and by what.

use foretell_market::{Fingerprint, FingerprintHasher, Timestamp};
use foretell_panel::Dataset;

use super::{Objective, SearchSettings};
use crate::evaluate::metrics::{crps, pinball};
use crate::{ModelError, Quantiles};

/// One split: rows to learn from, and those that follow.
pub(super) struct Split {
    pub(super) train: Dataset,
    pub(super) judged: Dataset,
}

/// As many splits of equal length at the end of the rows, each after all rows before it, as
/// scikit-learn's `TimeSeriesSplit`. A row is learnt from when its label was known at the
/// first decision of those that are judged, as in the walk-forward evaluation.
pub(super) fn splits(rows: &Dataset, count: usize) -> Vec<Split> {
    let length = rows.len() / (count + 1);
    let from = |k: usize| rows.len() - (count - k) * length;
    (0..count)
        .map(|k| {
            let begins = rows.labels[from(k)].start;
            let known = |i: &usize| rows.labels[*i].end <= begins;
            let learnt: Vec<usize> = (0..from(k)).filter(known).collect();
            Split { train: rows.select(&learnt), judged: rows.slice(from(k)..from(k) + length) }
        })
        .collect()
}

/// Hash of the rows that are judged: decision times, when outcomes are known, outcomes.
pub(super) fn fingerprint(splits: &[Split], settings: &SearchSettings) -> Fingerprint {
    let mut hasher = FingerprintHasher::new("search-rows/2");
    // Losses of another kind, or returns after another cost, are not compared.
    hasher.u64(settings.objective as u64).f64(settings.cost_bp);
    for label in splits.iter().flat_map(|s| &s.judged.labels) {
        hasher.time(label.start).time(label.end).f64(label.value);
    }
    hasher.finish()
}

/// The loss of each row.
pub(super) fn losses(objective: Objective, judged: &Dataset, said: &Quantiles) -> Vec<f64> {
    let loss = |(i, label): (usize, &foretell_panel::Label)| match objective {
        Objective::Pinball => crps(label.value, said.row(i)) / 2.0,
        Objective::Mae => 2.0 * pinball(label.value, said.median(i), 0.5),
    };
    judged.labels.iter().enumerate().map(loss).collect()
}

/// Return per row of the sign strategy with lag one, as in the evaluation: a tranche takes
/// the sign of the forecast of one step earlier and holds it over the horizon; turning it
/// over from the tranche that ends is paid for.
pub(super) fn sign_returns(splits: &[Split], medians: &[f64], cost_bp: f64) -> Vec<f64> {
    let Some(first) = splits.first() else { return Vec::new() };
    let (interval, horizon) = (first.judged.interval, first.judged.horizon);
    let labels = splits.iter().flat_map(|s| &s.judged.labels).take(medians.len());
    let rows: Vec<(Timestamp, f64)> = labels.map(|l| (l.start, l.value)).collect();
    let find = |t: Timestamp| rows.binary_search_by_key(&t, |r| r.0).ok();
    let sign = |m: f64| if m == 0.0 { 0.0 } else { m.signum() };
    let position: Vec<f64> =
        rows.iter().map(|(t, _)| find(*t - interval).map_or(0.0, |i| sign(medians[i]))).collect();
    let steps = ((horizon.secs() + interval.secs() - 1) / interval.secs()).max(1) as f64;
    let of = |(i, (t, value)): (usize, &(Timestamp, f64))| {
        let before = find(*t - horizon).map_or(0.0, |j| position[j]);
        (position[i] * libm::expm1(*value) - cost_bp / 1e4 * (position[i] - before).abs()) / steps
    };
    rows.iter().enumerate().map(of).collect()
}

/// Refuses a first split that leaves too little to learn from.
pub(super) fn check(splits: &[Split], need: usize, kind: &str) -> Result<(), ModelError> {
    let have = splits.first().map_or(0, |s| s.train.len());
    if have >= need {
        return Ok(());
    }
    Err(ModelError::Setting {
        kind: "search".to_owned(),
        field: "splits".to_owned(),
        value: splits.len().to_string(),
        remedy: format!(
            "the first split leaves {have} rows to learn from and {kind} needs {need}: lower \
             `splits` or bring more history"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::planted;
    use foretell_market::Interval;

    /// `sklearn.model_selection.TimeSeriesSplit(3).split(range(14))`: train 5, 8, 11 rows,
    /// test 3 each.
    #[test]
    fn splits_are_those_of_scikit_learn_without_what_is_not_known_yet() {
        let rows = planted(14, 1);
        let sizes = |rows: &Dataset| -> Vec<(usize, usize)> {
            splits(rows, 3).iter().map(|s| (s.train.len(), s.judged.len())).collect()
        };
        assert_eq!(sizes(&rows), [(5, 3), (8, 3), (11, 3)]);
        let mut longer = rows.clone();
        longer.labels.iter_mut().for_each(|l| l.end = l.start + Interval::HOUR + Interval::HOUR);
        assert_eq!(sizes(&longer), [(4, 3), (7, 3), (10, 3)], "one label each is still open");
        let all = splits(&longer, 3);
        assert_eq!(all[0].judged.labels[0].start, rows.labels[5].start);
        assert_eq!(all[2].judged.labels[2].start, rows.labels[13].start);
    }

    #[test]
    fn the_sign_strategy_pays_for_every_turn() {
        let mut rows = planted(8, 1);
        rows.labels.iter_mut().for_each(|l| l.value = libm::log(1.01));
        let all = splits(&rows, 1);
        // Judged are four rows; positions follow one step behind: 0, +, -, -.
        let returns = sign_returns(&all, &[1.0, -1.0, -1.0, 0.0], 10.0);
        for (got, expected) in returns.iter().zip([0.0, 0.01 - 0.001, -0.01 - 0.002, -0.01]) {
            foretell_testkit::assert_close(*got, expected, 1e-12);
        }
    }
}
