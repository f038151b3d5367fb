//! Runs of rows without a gap, inside which rows and intervals count the same.
//!
//! Windows are computed run by run: a window that would touch a missing interval or
//! a missing value never fits into a run, so it is null without any further check.

use std::ops::Range;

use foretell_market::Interval;
use foretell_panel::RowMeta;

/// Row ranges, in order, disjoint.
pub(crate) type Runs = Vec<Range<usize>>;

/// The runs of rows whose times follow each other on the grid.
pub(crate) fn contiguous(rows: &[RowMeta], interval: Interval) -> Runs {
    let mut runs = Runs::new();
    let mut start = 0;
    let step = interval.micros();
    for i in 1..rows.len() {
        if rows[i].time.micros() - rows[i - 1].time.micros() != step {
            runs.push(start..i);
            start = i;
        }
    }
    if start < rows.len() {
        runs.push(start..rows.len());
    }
    runs
}

/// The parts of runs in which a column has finite values.
pub(crate) fn finite(runs: &[Range<usize>], values: &[f64]) -> Runs {
    let mut parts = Runs::new();
    for run in runs {
        let mut rest = run.clone();
        while !rest.is_empty() {
            let slice = &values[rest.clone()];
            let Some(first) = slice.iter().position(|v| v.is_finite()) else { break };
            let end = first_missing(&slice[first..]).map_or(slice.len(), |k| first + k);
            parts.push(rest.start + first..rest.start + end);
            rest = rest.start + end..rest.end;
        }
    }
    parts
}

/// The first value that is not finite. Whole blocks are tested at once, because
/// nearly all of them pass.
fn first_missing(values: &[f64]) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut at = 0;
    for block in values.chunks(BLOCK) {
        if !block.iter().fold(true, |all, v| all & v.is_finite()) {
            return block.iter().position(|v| !v.is_finite()).map(|k| at + k);
        }
        at += block.len();
    }
    None
}

/// The parts that two lists of runs share.
pub(crate) fn intersect(a: &[Range<usize>], b: &[Range<usize>]) -> Runs {
    let (mut i, mut j, mut both) = (0, 0, Runs::new());
    while i < a.len() && j < b.len() {
        let shared = a[i].start.max(b[j].start)..a[i].end.min(b[j].end);
        if !shared.is_empty() {
            both.push(shared);
        }
        if a[i].end < b[j].end {
            i += 1;
        } else {
            j += 1;
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn a_missing_hour_ends_a_run() {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let rows: Vec<_> = [1, 2, 4, 5, 6, 9].map(at).to_vec();
        assert_eq!(contiguous(&rows, Interval::HOUR), [0..2, 2..5, 5..6]);
        assert!(contiguous(&[], Interval::HOUR).is_empty());
    }

    proptest! {
        #[test]
        fn runs_hold_exactly_the_finite_rows(
            present in prop::collection::vec(0u8..8, 0..200),
            other in prop::collection::vec(0u8..8, 0..200),
        ) {
            let column = |marks: &[u8]| -> Vec<f64> {
                marks.iter().map(|m| if *m == 0 { f64::NAN } else { 1.0 }).collect()
            };
            let n = present.len().min(other.len());
            let (a, b) = (column(&present[..n]), column(&other[..n]));
            let whole = std::slice::from_ref(&(0..n)).to_vec();
            let both = intersect(&finite(&whole, &a), &finite(&whole, &b));
            let mut covered = vec![false; n];
            for run in &both {
                run.clone().for_each(|i| covered[i] = true);
            }
            for i in 0..n {
                prop_assert_eq!(covered[i], a[i].is_finite() && b[i].is_finite());
            }
            for pair in both.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }
}
