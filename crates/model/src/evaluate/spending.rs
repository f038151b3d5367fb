//! Alpha-spending over retrains: testing again and again must not promote noise.
//!
//! Each retrain is one more chance of a false promotion. The k-th test of an
//! instrument and horizon may use only a share of the whole error rate, and the
//! shares of all tests, however many there will be, add up to it.

use std::f64::consts::PI;

/// The level of a test after `earlier_tests` others: `alpha × 6 / (π² k²)` with
/// `k = earlier_tests + 1`. Summed over all k this is `alpha` (Euler's ζ(2) = π²/6),
/// so by Bonferroni's inequality the chance of ever promoting noise is at most
/// `alpha`.
pub fn spent_alpha(alpha: f64, earlier_tests: u64) -> f64 {
    let k = earlier_tests as f64 + 1.0;
    alpha * 6.0 / (PI * PI * k * k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tests_together_spend_no_more_than_alpha() {
        let spent: f64 = (0..1_000_000).map(|k| spent_alpha(0.1, k)).sum();
        assert!(spent < 0.1 && spent > 0.0999, "{spent}");
        assert!((spent_alpha(0.1, 0) - 0.060_792_710_185_402_66).abs() < 1e-15);
    }

    #[test]
    fn later_tests_get_less() {
        assert!((1..100).all(|k| spent_alpha(0.1, k) < spent_alpha(0.1, k - 1)));
        assert!(spent_alpha(0.1, u64::MAX) >= 0.0);
    }
}
