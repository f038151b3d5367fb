//! Is the spread forecastable where the direction is not? QLIKE of variance forecasts.
//!
//! Source of the loss: A. J. Patton, *Journal of Econometrics* 160 (2011) 246–256: it
//! ranks variance forecasts rightly even when the variance is seen only through a
//! noisy unbiased proxy, here the squared log return of the horizon.

use serde::{Deserialize, Serialize};

use super::dm::{DieboldMariano, diebold_mariano};
use super::metrics::mean;

/// The quasi-likelihood loss `ln f + proxy / f` of a variance forecast; it differs from
/// `proxy / f − ln(proxy / f) − 1` by a term that no forecast can change, and is
/// defined when the proxy is zero. Infinite for a forecast of zero.
pub fn qlike(proxy: f64, forecast: f64) -> f64 {
    if forecast <= 0.0 { f64::INFINITY } else { libm::log(forecast) + proxy / forecast }
}

/// How well the exponentially weighted variance forecasts against two rivals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolatilitySkill {
    /// Out-of-sample rows.
    pub rows: usize,
    /// Mean QLIKE of the exponentially weighted variance.
    pub qlike: f64,
    /// Mean QLIKE of the previous season's realised variance.
    pub qlike_season: f64,
    /// Mean QLIKE of the constant training variance.
    pub qlike_constant: f64,
    /// Test against the previous season's realised variance.
    pub versus_season: DieboldMariano,
    /// Test against the constant.
    pub versus_constant: DieboldMariano,
}

impl VolatilitySkill {
    /// The p-value of "better than both rivals": the larger of the two.
    pub fn p_value(&self) -> f64 {
        self.versus_season.p_value().max(self.versus_constant.p_value())
    }
}

/// One out-of-sample row: its squared return and the three forecasts of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VarianceRow {
    pub(crate) proxy: f64,
    pub(crate) ewma: f64,
    pub(crate) season: f64,
    pub(crate) constant: f64,
}

/// Brings raw variances to the unit of the labels: the factor fitted on training rows,
/// and the smallest variance let through, so that a stretch without a trade cannot make
/// the loss infinite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VarianceScale {
    factor: f64,
    floor: f64,
}

impl VarianceScale {
    /// From training labels and the raw variances beside them.
    pub(crate) fn fit(labels: &[f64], raw: &[f64]) -> Self {
        let target = labels.iter().map(|y| y * y).sum::<f64>() / labels.len() as f64;
        let factor = target / mean(raw);
        Self { factor, floor: 1e-3 * target }
    }

    /// The forecast of the label's variance.
    pub(crate) fn forecast(&self, raw: f64) -> f64 {
        (self.factor * raw).max(self.floor)
    }
}

/// The comparison over all rows; `None` when a forecast is not a positive number.
pub(crate) fn volatility_skill(rows: &[VarianceRow], steps: usize) -> Option<VolatilitySkill> {
    let losses = |of: fn(&VarianceRow) -> f64| -> Vec<f64> {
        rows.iter().map(|r| qlike(r.proxy, of(r))).collect()
    };
    let ewma = losses(|r| r.ewma);
    let season = losses(|r| r.season);
    let constant = losses(|r| r.constant);
    let all_finite = [&ewma, &season, &constant].iter().all(|l| l.iter().all(|v| v.is_finite()));
    if rows.is_empty() || !all_finite {
        return None;
    }
    Some(VolatilitySkill {
        rows: rows.len(),
        qlike: mean(&ewma),
        qlike_season: mean(&season),
        qlike_constant: mean(&constant),
        versus_season: diebold_mariano(&ewma, &season, steps),
        versus_constant: diebold_mariano(&ewma, &constant, steps),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_testkit::{normal, rng};

    /// Returns with variance `omega + alpha r² + beta v`, and the rows of the three
    /// forecasters on the second half.
    fn skill(alpha: f64, beta: f64, seed: u64) -> VolatilitySkill {
        let mut random = rng(seed);
        let base = 1e-4f64;
        let (mut variance, mut ewma) = (base, base);
        let (mut returns, mut smooth) = (Vec::new(), Vec::new());
        for _ in 0..8_000 {
            smooth.push(ewma);
            let r = variance.sqrt() * normal(&mut random);
            returns.push(r);
            variance = base * (1.0 - alpha - beta) + alpha * r * r + beta * variance;
            ewma = 0.94 * ewma + 0.06 * r * r;
        }
        let season = |i: usize| returns[i - 24..i].iter().map(|r| r * r).sum::<f64>();
        let train: Vec<usize> = (24..4_000).collect();
        let labels: Vec<f64> = train.iter().map(|&i| returns[i]).collect();
        let raw = |of: &dyn Fn(usize) -> f64| train.iter().map(|&i| of(i)).collect::<Vec<_>>();
        let by_ewma = VarianceScale::fit(&labels, &raw(&|i| smooth[i]));
        let by_season = VarianceScale::fit(&labels, &raw(&season));
        let constant = VarianceScale::fit(&labels, &vec![1.0; labels.len()]).forecast(1.0);
        let row = |i: usize| VarianceRow {
            proxy: returns[i] * returns[i],
            ewma: by_ewma.forecast(smooth[i]),
            season: by_season.forecast(season(i)),
            constant,
        };
        volatility_skill(&(4_000..8_000).map(row).collect::<Vec<_>>(), 1).unwrap()
    }

    #[test]
    fn planted_clusters_are_found_and_constant_variance_is_not() {
        let clustered = skill(0.1, 0.88, 1);
        assert!(clustered.p_value() < 0.01, "{clustered:?}");
        for seed in 0..10 {
            let constant = skill(0.0, 0.0, seed);
            assert!(constant.versus_constant.p_value() > 0.05, "seed {seed}: {constant:?}");
        }
    }

    #[test]
    fn a_forecast_of_zero_is_refused() {
        assert_eq!(qlike(1.0, 0.0), f64::INFINITY);
        let row = VarianceRow { proxy: 1.0, ewma: 0.0, season: 1.0, constant: 1.0 };
        assert!(volatility_skill(&[row; 10], 1).is_none());
        assert!(volatility_skill(&[], 1).is_none());
    }
}
