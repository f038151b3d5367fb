//! Does the sign of the forecast carry information? Hit rate and its two tests.
//!
//! The binomial test asks whether hits exceed a coin's; the test of Pesaran and
//! Timmermann whether they exceed those of a forecast that is independent of the
//! outcome but as often positive. Overlapping horizons make both too optimistic.

use serde::{Deserialize, Serialize};

use super::serial::number;
use super::special::{binomial_at_least, normal_cdf};

/// Directional accuracy on rows where neither forecast nor outcome is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Rows that have a direction on both sides.
    pub rows: u64,
    /// Of these, how many agree.
    pub hits: u64,
    /// Their share; NaN when no row has a direction.
    #[serde(with = "number")]
    pub accuracy: f64,
    /// Exact one-sided p-value against a fair coin; 1 without rows.
    pub binomial_p: f64,
    /// The Pesaran–Timmermann statistic; NaN when one side never changes its sign.
    #[serde(with = "number")]
    pub pesaran_timmermann: f64,
    /// Its one-sided p-value; 1 when it cannot be computed.
    pub pesaran_timmermann_p: f64,
}

/// Compares signs. Source of the second test: M. H. Pesaran and A. Timmermann, *JBES*
/// 10 (1992) 461–465; its square is the chi-squared statistic of the two-by-two table
/// times `n / (n − 1)`.
pub fn direction(outcomes: &[f64], forecasts: &[f64]) -> Direction {
    let pairs = outcomes.iter().zip(forecasts).filter(|(y, f)| **y != 0.0 && **f != 0.0);
    let (mut rows, mut hits, mut ups, mut calls) = (0u64, 0u64, 0u64, 0u64);
    for (y, f) in pairs {
        rows += 1;
        hits += u64::from((*y > 0.0) == (*f > 0.0));
        ups += u64::from(*y > 0.0);
        calls += u64::from(*f > 0.0);
    }
    let n = rows as f64;
    let (accuracy, up, call) = (hits as f64 / n, ups as f64 / n, calls as f64 / n);
    let expected = up * call + (1.0 - up) * (1.0 - call);
    let own = expected * (1.0 - expected) / n;
    let of_expected = (2.0 * up - 1.0).powi(2) * call * (1.0 - call) / n
        + (2.0 * call - 1.0).powi(2) * up * (1.0 - up) / n
        + 4.0 * up * call * (1.0 - up) * (1.0 - call) / (n * n);
    let constant = ups == 0 || ups == rows || calls == 0 || calls == rows || rows < 2;
    let statistic =
        if constant { f64::NAN } else { (accuracy - expected) / (own - of_expected).sqrt() };
    let p = if constant { 1.0 } else { normal_cdf(-statistic) };
    Direction {
        rows,
        hits,
        accuracy,
        binomial_p: binomial_at_least(hits, rows, 0.5),
        pesaran_timmermann: statistic,
        pesaran_timmermann_p: p,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_without_direction_has_no_accuracy() {
        let nothing = direction(&[0.1, -0.1], &[0.0, 0.0]);
        assert_eq!((nothing.rows, nothing.binomial_p, nothing.pesaran_timmermann_p), (0, 1.0, 1.0));
        assert!(nothing.accuracy.is_nan());
    }

    #[test]
    fn always_up_is_no_skill_for_pesaran_and_timmermann() {
        let rising: Vec<f64> = (0..100).map(|i| if i % 4 == 0 { -0.01 } else { 0.01 }).collect();
        let always = direction(&rising, &[1.0; 100]);
        assert!(always.binomial_p < 1e-6, "75 of 100 beat a coin");
        assert_eq!(always.pesaran_timmermann_p, 1.0);
    }
}
