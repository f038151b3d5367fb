//! The Diebold–Mariano test of equal accuracy, with its small-sample correction.
//!
//! Sources: F. X. Diebold and R. S. Mariano, *JBES* 13 (1995) 253–263; D. Harvey,
//! S. Leybourne and P. Newbold, *International Journal of Forecasting* 13 (1997)
//! 281–291 (the factor and Student's t). For horizons over one step the long-run
//! variance carries Bartlett weights up to lag h − 1, so that it cannot be negative
//! (Harvey, Leybourne and Whitehouse, 2017). It does not compare nested models.

use serde::{Deserialize, Serialize};

use super::serial::number;
use super::special::student_t_cdf;

/// What the comparison of two loss series says. A case that cannot be tested
/// carries no evidence: its p-value is 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DieboldMariano {
    /// The test was carried out.
    Tested {
        /// Mean of `loss − rival loss`; negative when the first is better.
        mean_difference: f64,
        /// The corrected statistic; negative when the first is better.
        statistic: f64,
        /// One-sided p-value of "the first is more accurate".
        p_value: f64,
        /// Autocorrelation of the differential at lag one. The test loses its size
        /// when this is large beyond what the horizon explains.
        #[serde(with = "number")]
        lag1_autocorrelation: f64,
    },
    /// Every loss equals its rival: two names for one point forecast.
    NoDifference,
    /// Every differential is the same number, so there is no variance to test with.
    ConstantDifference {
        /// That number.
        difference: f64,
    },
    /// Too few rows for the horizon.
    TooShort {
        /// How many there are.
        rows: usize,
        /// How many the horizon needs.
        needed: usize,
    },
}

impl DieboldMariano {
    /// One-sided p-value of "the first is more accurate"; 1 when untestable.
    pub fn p_value(&self) -> f64 {
        match self {
            Self::Tested { p_value, .. } => *p_value,
            _ => 1.0,
        }
    }

    /// The statistic, NaN when untestable.
    pub fn statistic(&self) -> f64 {
        match self {
            Self::Tested { statistic, .. } => *statistic,
            _ => f64::NAN,
        }
    }

    /// Autocorrelation of the differential at lag one, NaN when untestable.
    pub fn lag1_autocorrelation(&self) -> f64 {
        match self {
            Self::Tested { lag1_autocorrelation, .. } => *lag1_autocorrelation,
            _ => f64::NAN,
        }
    }
}

/// Tests whether `losses` are smaller than `rival` on the same rows in time order,
/// for forecasts `steps` grid intervals ahead (one or more).
///
/// # Panics
/// When the two differ in length (a bug of the caller).
pub fn diebold_mariano(losses: &[f64], rival: &[f64], steps: usize) -> DieboldMariano {
    assert_eq!(losses.len(), rival.len(), "losses are compared on the same rows");
    let (rows, steps) = (losses.len(), steps.max(1));
    // Below twice the horizon the correction factor may vanish.
    let needed = (2 * steps).max(3);
    if rows < needed {
        return DieboldMariano::TooShort { rows, needed };
    }
    let mut differences: Vec<f64> = losses.iter().zip(rival).map(|(a, b)| a - b).collect();
    let scale = differences.iter().fold(0.0f64, |m, d| m.max(d.abs()));
    if scale == 0.0 {
        return DieboldMariano::NoDifference;
    }
    let n = rows as f64;
    let mean = differences.iter().sum::<f64>() / n;
    differences.iter_mut().for_each(|d| *d -= mean);
    let covariance = |lag: usize| -> f64 {
        let products = differences[lag..].iter().zip(&differences);
        products.map(|(a, b)| a * b).sum::<f64>() / n
    };
    let variance = covariance(0);
    if variance.sqrt() <= 1e-14 * scale {
        return DieboldMariano::ConstantDifference { difference: mean };
    }
    let h = steps as f64;
    let weighted = (1..steps).map(|lag| 2.0 * (1.0 - lag as f64 / h) * covariance(lag));
    let long_run = variance + weighted.sum::<f64>();
    if long_run.is_nan() || long_run <= 0.0 {
        return DieboldMariano::ConstantDifference { difference: mean };
    }
    let correction = (n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n;
    let statistic = mean / (long_run / n).sqrt() * correction.sqrt();
    DieboldMariano::Tested {
        mean_difference: mean,
        statistic,
        p_value: student_t_cdf(statistic, n - 1.0),
        lag1_autocorrelation: covariance(1) / variance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_tested_says_why_and_is_no_evidence() {
        let same = diebold_mariano(&[1.0; 9], &[1.0; 9], 1);
        assert_eq!(same, DieboldMariano::NoDifference);
        let constant = diebold_mariano(&[1.0; 9], &[2.0; 9], 1);
        assert_eq!(constant, DieboldMariano::ConstantDifference { difference: -1.0 });
        let short = diebold_mariano(&[1.0, 2.0], &[2.0, 1.0], 24);
        assert_eq!(short, DieboldMariano::TooShort { rows: 2, needed: 48 });
        for outcome in [same, constant, short] {
            assert_eq!(outcome.p_value(), 1.0);
            assert!(outcome.statistic().is_nan());
        }
    }

    proptest! {
        #[test]
        fn swapping_the_sides_turns_the_answer_round(
            pairs in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 60..200), steps in 1usize..20,
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let (one, other) = (diebold_mariano(&a, &b, steps), diebold_mariano(&b, &a, steps));
            prop_assert!((one.statistic() + other.statistic()).abs() < 1e-9);
            prop_assert!((one.p_value() + other.p_value() - 1.0).abs() < 1e-9);
        }

        #[test]
        fn the_unit_of_the_loss_does_not_matter(
            pairs in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 60..100), unit in 1e-9f64..1e9,
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let scaled = |x: &[f64]| x.iter().map(|v| v * unit).collect::<Vec<_>>();
            let plain = diebold_mariano(&a, &b, 3).p_value();
            let other = diebold_mariano(&scaled(&a), &scaled(&b), 3).p_value();
            prop_assert!((plain - other).abs() < 1e-9);
        }
    }
}
