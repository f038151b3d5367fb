//! Does an interval cover as often as it says, and are its misses scattered?
//!
//! Kupiec's test of the rate, Christoffersen's of independence and of both together.
//! They are reported, not passed or failed: drift makes any fixed mark wrong.

use serde::{Deserialize, Serialize};

use super::serial::{number, numbers};
use super::special::{binomial_quantile, chi_squared_1_sf, chi_squared_2_sf};

/// A likelihood-ratio test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LikelihoodRatio {
    /// The statistic, zero or more.
    #[serde(with = "number")]
    pub statistic: f64,
    /// The chance of one as large if the interval is right.
    #[serde(with = "number")]
    pub p_value: f64,
}

/// The three tests of a sequence of hits and misses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoverageTests {
    /// Unconditional coverage (P. Kupiec, *Journal of Derivatives* 3 (1995) 73–84).
    pub kupiec: LikelihoodRatio,
    /// Independence of a miss from the one before (P. Christoffersen, *International
    /// Economic Review* 39 (1998) 841–862).
    pub independence: LikelihoodRatio,
    /// Both together: conditional coverage of the same paper.
    pub christoffersen: LikelihoodRatio,
}

/// Tests hits (`true`: the outcome lay inside) against the nominal `level`, in time
/// order. The likelihood of independence is over the transitions, one fewer than rows.
pub fn coverage_tests(covered: &[bool], level: f64) -> CoverageTests {
    let rows = covered.len() as f64;
    let misses = covered.iter().filter(|c| !**c).count() as f64;
    let rate = 1.0 - level;
    let kupiec = 2.0
        * (log_likelihood(misses, rows - misses, misses / rows)
            - log_likelihood(misses, rows - misses, rate));
    let mut moves = [[0.0f64; 2]; 2];
    for pair in covered.windows(2) {
        moves[usize::from(!pair[0])][usize::from(!pair[1])] += 1.0;
    }
    let [[stay, leave], [come_back, stay_out]] = moves;
    let pooled = (leave + stay_out) / (stay + leave + come_back + stay_out);
    let after_hit = leave / (stay + leave);
    let after_miss = stay_out / (come_back + stay_out);
    let independence = 2.0
        * (log_likelihood(leave, stay, after_hit)
            + log_likelihood(stay_out, come_back, after_miss)
            - log_likelihood(leave + stay_out, stay + come_back, pooled));
    let ratio = |statistic: f64, sf: fn(f64) -> f64| {
        let statistic = if statistic.is_nan() { f64::NAN } else { statistic.max(0.0) };
        LikelihoodRatio { statistic, p_value: sf(statistic) }
    };
    let single = |s| ratio(s, |s| if s.is_nan() { f64::NAN } else { chi_squared_1_sf(s) });
    let double = |s| ratio(s, |s| if s.is_nan() { f64::NAN } else { chi_squared_2_sf(s) });
    CoverageTests {
        kupiec: single(kupiec),
        independence: single(independence),
        christoffersen: double(kupiec + independence),
    }
}

/// `misses ln p + hits ln(1 − p)` with `0 ln 0 = 0`.
fn log_likelihood(misses: f64, hits: f64, p: f64) -> f64 {
    let term = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count * libm::log(p) };
    term(misses, p) + term(hits, 1.0 - p)
}

/// Coverage in a window that moves over the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollingCoverage {
    /// Rows in the window.
    pub window: usize,
    /// Rows between two of the points kept.
    pub stride: usize,
    /// Index of the last row of each kept window.
    pub ends: Vec<usize>,
    /// Coverage of that window.
    #[serde(with = "numbers")]
    pub values: Vec<f64>,
    /// The lowest over every window, kept or not; NaN when rows are fewer than the window.
    #[serde(with = "number")]
    pub lowest: f64,
    /// The highest.
    #[serde(with = "number")]
    pub highest: f64,
    /// 95 % of windows of independent hits would lie between these.
    pub band: (f64, f64),
}

/// The coverage of every window of `window` rows; about `points` of them are kept.
pub fn rolling_coverage(
    covered: &[bool],
    window: usize,
    level: f64,
    points: usize,
) -> RollingCoverage {
    let window = window.max(1);
    let count = (covered.len() + 1).saturating_sub(window);
    let stride = count.div_ceil(points.max(1)).max(1);
    let share = |k: u64| k as f64 / window as f64;
    let quantile = |q: f64| share(binomial_quantile(q, window as u64, level));
    let mut rolling = RollingCoverage {
        window,
        stride,
        ends: Vec::new(),
        values: Vec::new(),
        lowest: f64::NAN,
        highest: f64::NAN,
        band: (quantile(0.025), quantile(0.975)),
    };
    let mut hits = covered.iter().take(window - 1).filter(|c| **c).count() as u64;
    for start in 0..count {
        let end = start + window - 1;
        hits += u64::from(covered[end]);
        let value = share(hits);
        rolling.lowest = rolling.lowest.min(value);
        rolling.highest = rolling.highest.max(value);
        if (count - 1 - start).is_multiple_of(stride) {
            rolling.ends.push(end);
            rolling.values.push(value);
        }
        hits -= u64::from(covered[start]);
    }
    rolling
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_right_rate_is_not_refused_and_bunched_misses_are() {
        let scattered: Vec<bool> = (0..1000).map(|i| i % 10 != 0).collect();
        let bunched: Vec<bool> = (0..1000).map(|i| i % 100 >= 10).collect();
        assert!(coverage_tests(&scattered, 0.9).kupiec.p_value > 0.99);
        assert!(coverage_tests(&bunched, 0.9).kupiec.p_value > 0.99);
        assert!(coverage_tests(&bunched, 0.9).independence.p_value < 1e-9);
        assert!(coverage_tests(&bunched, 0.9).christoffersen.p_value < 1e-9);
    }

    #[test]
    fn never_missing_is_a_wrong_rate_without_dependence() {
        let tests = coverage_tests(&[true; 200], 0.9);
        assert!(tests.kupiec.p_value < 1e-6);
        assert_eq!(tests.independence.statistic, 0.0);
    }

    proptest! {
        #[test]
        fn rolling_equals_counting_each_window(
            covered in prop::collection::vec(any::<bool>(), 0..200), window in 1usize..60,
            points in 1usize..50,
        ) {
            let rolling = rolling_coverage(&covered, window, 0.9, points);
            prop_assert!(rolling.values.len() <= points + 1);
            for (end, value) in rolling.ends.iter().zip(&rolling.values) {
                let hits = covered[end + 1 - window..=*end].iter().filter(|c| **c).count();
                prop_assert_eq!(*value, hits as f64 / window as f64);
                prop_assert!(rolling.lowest <= *value && *value <= rolling.highest);
            }
            if covered.len() >= window {
                prop_assert_eq!(rolling.ends.last().copied(), Some(covered.len() - 1));
            }
        }
    }
}
