//! The rival of every interval: quantiles of the latest outcomes, no model at all.
//!
//! A model's calibrated interval that is no better than this one has learnt nothing
//! about the spread.

use foretell_market::Timestamp;

use crate::empirical_quantile;

/// How many of the latest known outcomes it looks at.
pub const RIVAL_WINDOW: usize = 500;

/// For each decision the empirical quantiles `(1 − level) / 2` and `1 − (1 − level) / 2`
/// of the last `window` outcomes that were known by then. `known` holds (when known,
/// value) in time order; `decisions` are in time order. NaN while none is known.
pub fn rolling_quantile_intervals(
    known: &[(Timestamp, f64)],
    decisions: &[Timestamp],
    window: usize,
    level: f64,
) -> Vec<(f64, f64)> {
    let tail = (1.0 - level) / 2.0;
    let mut sorted: Vec<f64> = Vec::with_capacity(window + 1);
    let mut next = 0;
    let at = |decision: &Timestamp| {
        while next < known.len() && known[next].0 <= *decision {
            let value = known[next].1;
            sorted.insert(sorted.partition_point(|s| s.total_cmp(&value).is_lt()), value);
            if sorted.len() > window {
                let old = known[next - window].1;
                sorted.remove(sorted.partition_point(|s| s.total_cmp(&old).is_lt()));
            }
            next += 1;
        }
        (empirical_quantile(&sorted, tail), empirical_quantile(&sorted, 1.0 - tail))
    };
    decisions.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_sorting_the_window_anew_and_sees_nothing_later(
            values in prop::collection::vec(-1.0f64..1.0, 1..120),
            delay in 0i64..10, window in 1usize..30,
        ) {
            let at = |i: usize| Timestamp::from_secs(i as i64);
            let known: Vec<_> =
                values.iter().enumerate().map(|(i, v)| (at(i).plus_secs(delay), *v)).collect();
            let decisions: Vec<_> = (0..values.len()).map(at).collect();
            let found = rolling_quantile_intervals(&known, &decisions, window, 0.8);
            for (i, (lower, upper)) in found.into_iter().enumerate() {
                let seen = (i as i64 - delay + 1).max(0) as usize;
                let mut last = values[seen.saturating_sub(window)..seen].to_vec();
                last.sort_by(f64::total_cmp);
                if last.is_empty() {
                    prop_assert!(lower.is_nan() && upper.is_nan());
                } else {
                    prop_assert!((lower - empirical_quantile(&last, 0.1)).abs() < 1e-12);
                    prop_assert!((upper - empirical_quantile(&last, 0.9)).abs() < 1e-12);
                }
            }
        }
    }
}
