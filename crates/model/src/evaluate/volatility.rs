//! Is the spread forecastable where the direction is not? Realised variance of whole spans.
//!
//! A span (a day of hours, a week of days) has a realised variance: the sum of its squared
//! one-interval log returns. Spans do not overlap. At the start of each three forecasts of
//! it are made, each scaled on the training spans of its fold: the exponentially weighted
//! variance, the realised variance of the span before, and the constant one. The loss is
//! QLIKE (A. J. Patton, *Journal of Econometrics* 160 (2011) 246–256).

use foretell_market::Interval;
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use super::dm::{DieboldMariano, diebold_mariano_fixed_smoothing};
use super::holm;
use super::metrics::mean;
use super::realised::SquaredReturns;
use super::spread::VarianceScale;
use super::walk::Walk;

/// Fewest training spans that a scale is fitted on; a fold with fewer is left out.
const MIN_TRAIN: usize = 10;

/// The quasi-likelihood loss `ln f + proxy / f` of a variance forecast; it differs from
/// `proxy / f − ln(proxy / f) − 1` by a term that no forecast can change, and is
/// defined when the proxy is zero. Infinite for a forecast of zero.
pub fn qlike(proxy: f64, forecast: f64) -> f64 {
    if forecast <= 0.0 { f64::INFINITY } else { libm::log(forecast) + proxy / forecast }
}

/// How well the exponentially weighted variance forecasts the realised variance of spans
/// against two rivals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolatilitySkill {
    /// Length of a span; absent in files of the first form, which judged the squared return
    /// of the horizon on every row, and the season for the span before.
    #[serde(default)]
    pub span: Option<Interval>,
    /// Out-of-sample spans, none of which has a missing interval.
    pub rows: usize,
    /// Mean QLIKE of the exponentially weighted variance.
    pub qlike: f64,
    /// Mean QLIKE of the realised variance of the span before.
    #[serde(alias = "qlike_season")]
    pub qlike_previous: f64,
    /// Mean QLIKE of the constant training variance.
    pub qlike_constant: f64,
    /// Test against the span before.
    #[serde(alias = "versus_season")]
    pub versus_previous: DieboldMariano,
    /// Test against the constant.
    pub versus_constant: DieboldMariano,
}

impl VolatilitySkill {
    /// The one-sided p-values after Holm's correction over both tests: against the span
    /// before, and against the constant.
    pub fn p_holm(&self) -> (f64, f64) {
        let both = holm(&[self.versus_previous.p_value(), self.versus_constant.p_value()]);
        (both[0], both[1])
    }

    /// The p-value of "better than both rivals": the larger of the two after Holm.
    pub fn p_value(&self) -> f64 {
        let (previous, constant) = self.p_holm();
        previous.max(constant)
    }
}

/// One span: what came, and what the two forecasters that read the past had at its start.
#[derive(Debug, Clone, Copy)]
struct Span {
    realised: f64,
    ewma: f64,
    previous: f64,
}

impl Walk {
    /// Whether the realised variance of spans was forecastable, on the out-of-sample spans
    /// of all folds. Spans lie on their own grid (days begin at midnight UTC). The
    /// exponentially weighted variance is the context column `ewma_variance` of the row
    /// decided at the span's start. `None` without that column, with spans of a single
    /// interval, or when too few spans are whole.
    pub fn volatility(
        &self,
        dataset: &Dataset,
        returns: &SquaredReturns,
        span: Interval,
    ) -> Option<VolatilitySkill> {
        let column = dataset.context_index("ewma_variance")?;
        if self.interval.divides(span)? < 2 {
            return None;
        }
        let at = |i: usize| {
            let start = dataset.labels[i].start;
            if !span.is_on_grid(start) {
                return None;
            }
            Some(Span {
                realised: returns.between(start, start + span)?,
                ewma: dataset.context.get(i, column),
                previous: returns.between(start - span, start)?,
            })
        };
        let mut losses: [Vec<f64>; 3] = Default::default();
        for split in self.splits() {
            // A span is longer than a label: what ends after the fit is purged here too.
            let known = |i: &usize| dataset.labels[*i].start + span <= split.fit_at;
            let train: Vec<Span> = split.learnt().filter(known).filter_map(at).collect();
            if train.len() < MIN_TRAIN {
                continue;
            }
            let fit = |raw: fn(&Span) -> f64| {
                VarianceScale::fit(train.iter().map(|s| (s.realised, raw(s))))
            };
            let raws: [fn(&Span) -> f64; 3] = [|s| s.ewma, |s| s.previous, |_| 1.0];
            let scales = raws.map(fit);
            for i in split.test.clone() {
                let Some(row) = at(i) else { continue };
                for ((losses, raw), scale) in losses.iter_mut().zip(raws).zip(&scales) {
                    losses.push(qlike(row.realised, scale.forecast(raw(&row))));
                }
            }
        }
        compare(span, &losses)
    }
}

/// The comparison over all spans; `None` when a forecast is not a positive number.
fn compare(span: Interval, losses: &[Vec<f64>; 3]) -> Option<VolatilitySkill> {
    let all_finite = losses.iter().flatten().all(|l| l.is_finite());
    let [ewma, previous, constant] = losses;
    if ewma.is_empty() || !all_finite {
        return None;
    }
    Some(VolatilitySkill {
        span: Some(span),
        rows: ewma.len(),
        qlike: mean(ewma),
        qlike_previous: mean(previous),
        qlike_constant: mean(constant),
        versus_previous: diebold_mariano_fixed_smoothing(ewma, previous),
        versus_constant: diebold_mariano_fixed_smoothing(ewma, constant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_of_zero_is_refused() {
        assert_eq!(qlike(1.0, 0.0), f64::INFINITY);
        let infinite = [vec![f64::INFINITY; 10], vec![1.0; 10], vec![1.0; 10]];
        assert!(compare(Interval::DAY, &infinite).is_none());
        assert!(compare(Interval::DAY, &Default::default()).is_none());
    }
}
