//! Is a Sharpe ratio more than luck? The probabilistic and the deflated one.
//!
//! Sources: D. H. Bailey and M. López de Prado, "The Sharpe Ratio Efficient Frontier",
//! *Journal of Risk* 15 (2012); the same, "The Deflated Sharpe Ratio", *Journal of
//! Portfolio Management* 40 (2014), SSRN 2460551. All ratios are per period, never
//! annualised.

use serde::{Deserialize, Serialize};

use super::serial::number;
use super::special::{normal_cdf, normal_quantile};

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// The moments of a return series that its Sharpe ratio is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SharpeEvidence {
    /// Number of periods.
    pub periods: usize,
    /// Mean over standard deviation (`n − 1`) per period; NaN without variance.
    #[serde(with = "number")]
    pub sharpe: f64,
    /// Third standardised moment.
    #[serde(with = "number")]
    pub skewness: f64,
    /// Fourth standardised moment (3 for the normal distribution).
    #[serde(with = "number")]
    pub kurtosis: f64,
    /// The probability that the true ratio is above zero.
    #[serde(with = "number")]
    pub probabilistic: f64,
    /// Periods after which a ratio like this would be above zero with 95 %
    /// confidence; NaN when the ratio is not positive.
    #[serde(with = "number")]
    pub minimum_track_record: f64,
    /// The probability that the true ratio is above the best that luck gives among all
    /// trials: those of the run and, where a ledger is kept, every other recipe ever judged
    /// ([`super::Evaluation::deflate`]); NaN when there are too few.
    #[serde(with = "number")]
    pub deflated: f64,
}

impl SharpeEvidence {
    /// The evidence in some returns per period; the deflated ratio is left open.
    pub fn of(returns: &[f64]) -> Self {
        let n = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / n;
        let moment = |power: i32| returns.iter().map(|r| (r - mean).powi(power)).sum::<f64>() / n;
        let variance = moment(2);
        let sharpe = mean / (variance * n / (n - 1.0)).sqrt();
        let mut evidence = Self {
            periods: returns.len(),
            sharpe: if variance > 0.0 { sharpe } else { f64::NAN },
            skewness: moment(3) / variance.powf(1.5),
            kurtosis: moment(4) / (variance * variance),
            probabilistic: f64::NAN,
            minimum_track_record: f64::NAN,
            deflated: f64::NAN,
        };
        evidence.probabilistic = evidence.above(0.0);
        if evidence.sharpe > 0.0 {
            let quantile = normal_quantile(0.95) / evidence.sharpe;
            evidence.minimum_track_record = 1.0 + evidence.spread() * quantile * quantile;
        }
        evidence
    }

    /// The probability that the true ratio is above `benchmark`.
    pub fn above(&self, benchmark: f64) -> f64 {
        let t = (self.periods as f64 - 1.0).sqrt();
        normal_cdf((self.sharpe - benchmark) * t / self.spread().sqrt())
    }

    /// The asymptotic variance of the ratio times the number of periods.
    fn spread(&self) -> f64 {
        let sharpe = self.sharpe;
        1.0 - self.skewness * sharpe + (self.kurtosis - 1.0) / 4.0 * sharpe * sharpe
    }
}

/// The largest Sharpe ratio to be expected from luck alone among `trials` independent
/// ones whose ratios have this `variance`. Zero for a single trial.
pub fn expected_maximum_sharpe(variance: f64, trials: f64) -> f64 {
    if trials <= 1.0 {
        return 0.0;
    }
    let first = normal_quantile(1.0 - 1.0 / trials);
    let second = normal_quantile(1.0 - 1.0 / (trials * std::f64::consts::E));
    variance.sqrt() * ((1.0 - EULER) * first + EULER * second)
}

/// The deflated Sharpe ratio: the probability that the true ratio is above what luck
/// gives the best of all `trials` (their Sharpe ratios; NaN ones do not count).
/// `None` for fewer than two.
pub fn deflated_sharpe(evidence: &SharpeEvidence, trials: &[f64]) -> Option<f64> {
    deflated_sharpe_beside(evidence, trials, 0)
}

/// The same when so many more were tried and have no ratio because they failed: the best of
/// more tries is luckier.
pub fn deflated_sharpe_beside(
    evidence: &SharpeEvidence,
    trials: &[f64],
    failed: usize,
) -> Option<f64> {
    let ratios: Vec<f64> = trials.iter().copied().filter(|s| s.is_finite()).collect();
    if ratios.len() < 2 {
        return None;
    }
    let n = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / n;
    let variance = ratios.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(evidence.above(expected_maximum_sharpe(variance, n + failed as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> SharpeEvidence {
        SharpeEvidence {
            periods: 1250,
            sharpe: 2.5 / 250f64.sqrt(),
            skewness: -3.0,
            kurtosis: 10.0,
            probabilistic: f64::NAN,
            minimum_track_record: f64::NAN,
            deflated: f64::NAN,
        }
    }

    /// The numerical example of the 2014 paper: five years of daily returns with an
    /// annualised ratio of 2.5, the best of 100 trials whose annualised ratios have
    /// variance ½, on 250 days a year.
    #[test]
    fn equals_the_worked_example_of_the_paper() {
        let best = expected_maximum_sharpe(0.5 / 250.0, 100.0);
        assert!((best - 0.1132).abs() < 5e-5, "{best}");
        let deflated = paper().above(best);
        assert!((deflated - 0.9004).abs() < 5e-5, "{deflated}");
        let fewer = paper().above(expected_maximum_sharpe(0.5 / 250.0, 46.0));
        assert!((fewer - 0.9505).abs() < 5e-5, "{fewer}");
        let normal = SharpeEvidence { skewness: 0.0, kurtosis: 3.0, ..paper() };
        let normal = normal.above(expected_maximum_sharpe(0.5 / 250.0, 88.0));
        assert!((normal - 0.9505).abs() < 5e-5, "{normal}");
    }

    #[test]
    fn no_trade_has_no_ratio() {
        let nothing = SharpeEvidence::of(&[0.0; 50]);
        assert!(nothing.sharpe.is_nan() && nothing.probabilistic.is_nan());
        assert_eq!(deflated_sharpe(&nothing, &[0.1, f64::NAN]), None);
        assert_eq!(expected_maximum_sharpe(1.0, 1.0), 0.0);
    }
}
