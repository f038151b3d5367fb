//! Losses and their averages: of points, of quantiles and of intervals.
//!
//! All on log returns, never on prices: a price error rewards the random walk for the
//! size of the price. No test of significance here.

use crate::QUANTILE_LEVELS;

/// Basis points in one: a log return of 0.0001 is one.
pub const BASIS_POINTS: f64 = 1e4;

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `|outcome − forecast|` per row.
pub fn absolute_errors(outcomes: &[f64], forecasts: &[f64]) -> Vec<f64> {
    outcomes.iter().zip(forecasts).map(|(y, f)| (y - f).abs()).collect()
}

/// Out-of-sample R² against the forecast zero, not against the mean, which nobody
/// knew: `1 − Σ(y − f)² / Σy²` (J. Y. Campbell and S. B. Thompson, *Review of Financial
/// Studies* 21 (2008), with zero in place of the running mean).
pub fn r2_against_zero(outcomes: &[f64], forecasts: &[f64]) -> f64 {
    let squares = |pairs: &mut dyn Iterator<Item = f64>| pairs.map(|e| e * e).sum::<f64>();
    let errors = squares(&mut outcomes.iter().zip(forecasts).map(|(y, f)| y - f));
    1.0 - errors / squares(&mut outcomes.iter().copied())
}

/// Errors scaled by those of the naive forecast *in training*: per row the training
/// mean of `|label|` (or of `label²`) of the fold that forecast it. The naive forecast
/// of a price over the horizon is the last price, so its error is the label itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveScale {
    /// Mean absolute label in training.
    pub absolute: f64,
    /// Mean squared label in training.
    pub squared: f64,
}

impl NaiveScale {
    /// The scale of some training labels.
    pub fn of(labels: impl Iterator<Item = f64>) -> Self {
        let mut count = 0.0;
        let (mut absolute, mut squared) = (0.0, 0.0);
        labels.for_each(|y| {
            count += 1.0;
            absolute += y.abs();
            squared += y * y;
        });
        Self { absolute: absolute / count, squared: squared / count }
    }
}

/// Mean absolute scaled error (R. J. Hyndman and A. B. Koehler, *International Journal
/// of Forecasting* 22 (2006) 679–688). One scale per row.
pub fn mase(errors: &[f64], scales: &[NaiveScale]) -> f64 {
    let scaled = errors.iter().zip(scales).map(|(e, s)| e.abs() / s.absolute);
    scaled.sum::<f64>() / errors.len() as f64
}

/// Root mean squared scaled error, as in the M5 competition. One scale per row.
pub fn rmsse(errors: &[f64], scales: &[NaiveScale]) -> f64 {
    let scaled = errors.iter().zip(scales).map(|(e, s)| e * e / s.squared);
    (scaled.sum::<f64>() / errors.len() as f64).sqrt()
}

/// The pinball loss of one quantile forecast at `level`.
pub fn pinball(outcome: f64, quantile: f64, level: f64) -> f64 {
    let difference = outcome - quantile;
    if difference >= 0.0 { level * difference } else { (level - 1.0) * difference }
}

/// The continuous ranked probability score of one row of nine quantiles: twice the
/// mean pinball loss over [`QUANTILE_LEVELS`]. This is the integral
/// `2 ∫ pinball dτ` on an uneven grid of nine levels with equal weights, so it weighs
/// the tails more than the exact score; it stays proper, and equal for equal quantiles.
/// (T. Gneiting and R. Ranjan, *JBES* 29 (2011) 411–422.)
pub fn crps(outcome: f64, quantiles: &[f64]) -> f64 {
    let losses =
        quantiles.iter().zip(QUANTILE_LEVELS).map(|(q, level)| pinball(outcome, *q, level));
    2.0 * losses.sum::<f64>() / QUANTILE_LEVELS.len() as f64
}

/// The interval score of Winkler: width, plus `2 / (1 − level)` times the distance by
/// which the outcome lies outside (T. Gneiting and A. E. Raftery, *JASA* 102 (2007)).
pub fn interval_score(outcome: f64, lower: f64, upper: f64, level: f64) -> f64 {
    let outside = (lower - outcome).max(0.0) + (outcome - upper).max(0.0);
    upper - lower + 2.0 / (1.0 - level) * outside
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_forecast_of_zero_has_no_r2_and_scores_one_against_its_own_scale() {
        let outcomes = [0.01, -0.02, 0.03];
        assert_eq!(r2_against_zero(&outcomes, &[0.0; 3]), 0.0);
        let scale = NaiveScale::of(outcomes.iter().copied());
        assert!((mase(&outcomes, &[scale; 3]) - 1.0).abs() < 1e-15);
        assert!((rmsse(&outcomes, &[scale; 3]) - 1.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn losses_are_never_negative(
            y in -1.0f64..1.0, mut q in prop::collection::vec(-1.0f64..1.0, 9),
        ) {
            q.sort_by(f64::total_cmp);
            prop_assert!(crps(y, &q) >= 0.0);
            prop_assert!(interval_score(y, q[1], q[7], 0.9) >= 0.0);
            let sure = [y; 9];
            prop_assert_eq!(crps(y, &sure), 0.0);
        }

        #[test]
        fn the_interval_score_is_the_scaled_pinball_of_its_ends(
            y in -1.0f64..1.0, a in -1.0f64..1.0, b in -1.0f64..1.0,
        ) {
            let (lower, upper) = (a.min(b), a.max(b));
            let ends = pinball(y, lower, 0.05) + pinball(y, upper, 0.95);
            prop_assert!((interval_score(y, lower, upper, 0.9) - 20.0 * ends).abs() < 1e-12);
        }
    }
}
