//! The Diebold–Mariano test of equal accuracy, with its small-sample correction.
//!
//! Sources: F. X. Diebold and R. S. Mariano, *JBES* 13 (1995) 253–263; D. Harvey,
//! S. Leybourne and P. Newbold, *International Journal of Forecasting* 13 (1997)
//! 281–291 (the factor and Student's t). For horizons over one step the long-run
//! variance carries Bartlett weights up to lag h − 1, so that it cannot be negative
//! (Harvey, Leybourne and Whitehouse, 2017). It does not compare nested models.
//!
//! Losses of variance forecasts differ by a term that is as persistent as volatility, whatever
//! the horizon; for them the long-run variance is the mean of the lowest periodogram ordinates
//! and the law is the one of a fixed number of them: L. Coroneo and F. Iacone, *Journal of
//! Applied Econometrics* 35 (2020) 391–409.

use std::f64::consts::TAU;

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

/// The differences of two loss series about their mean.
struct Differential {
    mean: f64,
    centred: Vec<f64>,
    variance: f64,
}

impl Differential {
    /// Of losses on the same rows, or why these cannot be tested.
    ///
    /// # Panics
    /// When the two differ in length (a bug of the caller).
    fn of(losses: &[f64], rival: &[f64], needed: usize) -> Result<Self, DieboldMariano> {
        assert_eq!(losses.len(), rival.len(), "losses are compared on the same rows");
        let rows = losses.len();
        if rows < needed {
            return Err(DieboldMariano::TooShort { rows, needed });
        }
        let mut centred: Vec<f64> = losses.iter().zip(rival).map(|(a, b)| a - b).collect();
        let scale = centred.iter().fold(0.0f64, |m, d| m.max(d.abs()));
        if scale == 0.0 {
            return Err(DieboldMariano::NoDifference);
        }
        let n = rows as f64;
        let mean = centred.iter().sum::<f64>() / n;
        centred.iter_mut().for_each(|d| *d -= mean);
        let variance = centred.iter().map(|d| d * d).sum::<f64>() / n;
        if variance.sqrt() <= 1e-14 * scale {
            return Err(DieboldMariano::ConstantDifference { difference: mean });
        }
        Ok(Self { mean, centred, variance })
    }

    fn covariance(&self, lag: usize) -> f64 {
        let products = self.centred[lag..].iter().zip(&self.centred);
        products.map(|(a, b)| a * b).sum::<f64>() / self.centred.len() as f64
    }

    /// The outcome by this long-run variance, the statistic shrunk by `factor` and judged
    /// by Student's t with so many degrees of freedom.
    fn tested(&self, long_run: f64, factor: f64, freedom: f64) -> DieboldMariano {
        if long_run.is_nan() || long_run <= 1e-24 * self.variance {
            return DieboldMariano::ConstantDifference { difference: self.mean };
        }
        let statistic = self.mean / (long_run / self.centred.len() as f64).sqrt() * factor;
        DieboldMariano::Tested {
            mean_difference: self.mean,
            statistic,
            p_value: student_t_cdf(statistic, freedom),
            lag1_autocorrelation: self.covariance(1) / self.variance,
        }
    }
}

/// Tests whether `losses` are smaller than `rival` on the same rows in time order,
/// for forecasts `steps` grid intervals ahead (one or more).
///
/// # Panics
/// When the two differ in length (a bug of the caller).
pub fn diebold_mariano(losses: &[f64], rival: &[f64], steps: usize) -> DieboldMariano {
    let steps = steps.max(1);
    // Below twice the horizon the correction factor may vanish.
    let differential = match Differential::of(losses, rival, (2 * steps).max(3)) {
        Ok(differential) => differential,
        Err(outcome) => return outcome,
    };
    let (n, h) = (losses.len() as f64, steps as f64);
    let weighted =
        (1..steps).map(|lag| 2.0 * (1.0 - lag as f64 / h) * differential.covariance(lag));
    let long_run = differential.variance + weighted.sum::<f64>();
    let correction = (n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n;
    differential.tested(long_run, correction.sqrt(), n - 1.0)
}

/// Fewest rows of the fixed-smoothing test: two ordinates, none of them the highest.
const NEEDED: usize = 8;

/// The same question for differences that may be persistent, such as those of variance
/// forecasts: the long-run variance is the mean of the first `m = ⌊n^(1/3)⌋` periodogram
/// ordinates, and the statistic is judged by Student's t with `2 m` degrees of freedom
/// (Coroneo and Iacone 2020, section 2.2: the weighted periodogram estimate with Daniell's
/// kernel). With few ordinates the test keeps its size and has less power.
///
/// # Panics
/// When the two differ in length (a bug of the caller).
pub fn diebold_mariano_fixed_smoothing(losses: &[f64], rival: &[f64]) -> DieboldMariano {
    let differential = match Differential::of(losses, rival, NEEDED) {
        Ok(differential) => differential,
        Err(outcome) => return outcome,
    };
    let rows = losses.len();
    let ordinates = ordinates(rows);
    let long_run = (1..=ordinates).map(|j| periodogram(&differential.centred, j)).sum::<f64>()
        / ordinates as f64;
    differential.tested(long_run, 1.0, 2.0 * ordinates as f64)
}

/// The whole part of the cube root, exact where floating point is not.
fn ordinates(rows: usize) -> usize {
    (1..).take_while(|m: &usize| m.pow(3) <= rows).last().unwrap_or(1)
}

/// `2π` times the periodogram at the `j`-th Fourier frequency: `|Σ d e^(−2πi j t / n)|² / n`.
fn periodogram(centred: &[f64], j: usize) -> f64 {
    let n = centred.len();
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (t, d) in centred.iter().enumerate() {
        // Whole turns are dropped before the angle is rounded.
        let (sine, cosine) = libm::sincos(TAU * (j * t % n) as f64 / n as f64);
        real += d * cosine;
        imaginary += d * sine;
    }
    (real * real + imaginary * imaginary) / n as f64
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

    #[test]
    fn few_ordinates_need_few_rows_and_count_whole_cubes() {
        let short = diebold_mariano_fixed_smoothing(&[1.0, 2.0], &[2.0, 1.0]);
        assert_eq!(short, DieboldMariano::TooShort { rows: 2, needed: NEEDED });
        assert_eq!([8, 26, 27, 999, 1_000].map(ordinates), [2, 2, 3, 9, 10]);
        let same = diebold_mariano_fixed_smoothing(&[1.0; 9], &[1.0; 9]);
        assert_eq!(same, DieboldMariano::NoDifference);
    }

    /// Differences with an autocorrelation of 0.97 and no mean: the test for one step
    /// rejects far beyond its level, this one does not.
    #[test]
    fn persistence_does_not_break_the_size() {
        let mut random = foretell_testkit::rng(97);
        let (mut naive, mut fixed) = (0, 0);
        for _ in 0..400 {
            let mut z = foretell_testkit::normal(&mut random);
            let losses: Vec<f64> = (0..1_000)
                .map(|_| {
                    z = 0.97 * z
                        + (1.0 - 0.97f64 * 0.97).sqrt() * foretell_testkit::normal(&mut random);
                    z
                })
                .collect();
            let zero = vec![0.0; losses.len()];
            naive += u64::from(diebold_mariano(&losses, &zero, 1).p_value() < 0.05);
            fixed += u64::from(diebold_mariano_fixed_smoothing(&losses, &zero).p_value() < 0.05);
        }
        println!("of 400 at 0.05: one step {naive}, fixed smoothing {fixed}");
        let most = super::super::special::binomial_quantile(0.999, 400, 0.1);
        assert!(naive > 100 && fixed <= most, "{naive} and {fixed}, at most {most}");
    }

    proptest! {
        #[test]
        fn swapping_the_sides_turns_the_answer_round(
            pairs in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 60..200), steps in 1usize..20,
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let fixed = diebold_mariano_fixed_smoothing;
            for (one, other) in [
                (diebold_mariano(&a, &b, steps), diebold_mariano(&b, &a, steps)),
                (fixed(&a, &b), fixed(&b, &a)),
            ] {
                prop_assert!((one.statistic() + other.statistic()).abs() < 1e-9);
                prop_assert!((one.p_value() + other.p_value() - 1.0).abs() < 1e-9);
            }
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
