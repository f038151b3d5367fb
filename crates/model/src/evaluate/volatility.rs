//! Is the spread forecastable where the direction is not? Realised variance of whole spans.
//!
//! A span (a day of hours, a week of days) has a realised variance: the sum of its squared
//! one-interval log returns. Spans do not overlap. At the start of each three forecasts of
//! it are made, each scaled on the training spans of its fold: the exponentially weighted
//! variance, the realised variance of the span before, and the constant one. Where rows hold
//! their past returns, GARCH(1,1) and HAR stand beside them, estimated anew in each fold.
//! The loss is QLIKE (A. J. Patton, *Journal of Econometrics* 160 (2011) 246–256).

use foretell_market::Interval;
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use super::dm::{DieboldMariano, diebold_mariano_fixed_smoothing};
use super::holm;
use super::metrics::mean;
use super::realised::SquaredReturns;
use super::spread::VarianceScale;
use super::walk::Walk;
use crate::Schema;
use crate::classical::{CascadeColumns, GarchFit, HarFit, LAGS, ReturnColumns, Shocks};

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
    /// GARCH and HAR on the same spans, where rows hold what they read; none in files that
    /// were stored before they were judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SpanForecaster>,
    /// How many more could not be judged, since an answer of theirs was no positive number:
    /// they stand in the family of tests with p-values of 1.
    #[serde(default, skip_serializing_if = "is_none_left_out")]
    pub left_out: usize,
}

fn is_none_left_out(count: &usize) -> bool {
    *count == 0
}

/// How well another forecaster did on the spans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanForecaster {
    /// `GARCH` or `HAR`.
    pub name: String,
    /// Its mean QLIKE.
    pub qlike: f64,
    /// Test against the exponentially weighted variance.
    pub versus_ewma: DieboldMariano,
    /// Test against the span before.
    pub versus_previous: DieboldMariano,
    /// Test against the constant.
    pub versus_constant: DieboldMariano,
}

impl VolatilitySkill {
    /// Every test of the table after Holm's correction over all of them: EWMA's two, then the
    /// three of each other forecaster.
    fn corrected(&self) -> Vec<f64> {
        let own = [self.versus_previous, self.versus_constant];
        let others =
            self.others.iter().flat_map(|o| [o.versus_ewma, o.versus_previous, o.versus_constant]);
        let left_out = std::iter::repeat_n(1.0, 3 * self.left_out);
        let tests = own.into_iter().chain(others).map(|t| t.p_value());
        holm(&tests.chain(left_out).collect::<Vec<_>>())
    }

    /// EWMA's one-sided p-values after Holm's correction over every test of every forecaster:
    /// against the span before, and against the constant.
    pub fn p_holm(&self) -> (f64, f64) {
        let all = self.corrected();
        (all[0], all[1])
    }

    /// The p-values of each of [`Self::others`] after the same correction: against EWMA, the
    /// span before, and the constant.
    pub fn p_holm_of_others(&self) -> Vec<[f64; 3]> {
        let all = self.corrected();
        let of_others = all[2..].chunks_exact(3).take(self.others.len());
        of_others.map(|p| [p[0], p[1], p[2]]).collect()
    }

    /// The p-value of each of [`Self::others`] of "better than all three": its largest.
    pub fn p_values_of_others(&self) -> Vec<f64> {
        let largest = |p: [f64; 3]| p.into_iter().fold(0.0, f64::max);
        self.p_holm_of_others().into_iter().map(largest).collect()
    }

    /// The p-value of "EWMA is better than both rivals": the larger of its two.
    pub fn p_value(&self) -> f64 {
        let (previous, constant) = self.p_holm();
        previous.max(constant)
    }
}

/// One forecaster of spans: its losses on the test spans.
struct Forecaster {
    name: &'static str,
    losses: Vec<f64>,
}

/// The variance of a span that a forecaster names from what a row knows, before it is scaled.
type Raw<'a> = Box<dyn Fn(usize) -> f64 + 'a>;

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
        let steps = usize::try_from(self.interval.divides(span)?).ok().filter(|n| *n >= 2)?;
        let schema = Schema::of(dataset);
        let lags = ReturnColumns::find(&schema, LAGS).ok();
        let cascade = CascadeColumns::find(&schema).ok();
        let start = |i: usize| dataset.labels[i].start;
        let realised = |i: usize| returns.between(start(i), start(i) + span);
        let before = |i: usize| returns.between(start(i) - span, start(i));
        // The spans: what came, where the span before is whole too.
        let came = |i: usize| {
            let whole = span.is_on_grid(start(i)) && before(i).is_some();
            whole.then(|| realised(i)).flatten()
        };
        let mut all: Vec<Forecaster> = Vec::new();
        for split in self.splits() {
            // A span is longer than a label: what ends after the fit is purged here too.
            let known = |i: &usize| start(*i) + span <= split.fit_at;
            let train: Vec<(usize, f64)> =
                split.learnt().filter(known).filter_map(|i| Some((i, came(i)?))).collect();
            if train.len() < MIN_TRAIN {
                continue;
            }
            let mut raws: Vec<(&'static str, Raw<'_>)> = vec![
                ("EWMA", Box::new(|i| dataset.context.get(i, column))),
                ("previous", Box::new(|i| before(i).unwrap_or(f64::NAN))),
                ("constant", Box::new(|_| 1.0)),
            ];
            if let Some(lags) = lags {
                let fit =
                    GarchFit::of(&lags.in_succession(dataset, split.learnt()), Shocks::Normal);
                let raw = move |i| fit.variance(lags.window(dataset.context.row(i)), steps);
                raws.push(("GARCH", Box::new(raw)));
            }
            if let Some(cascade) = cascade {
                let seen = move |i: usize| cascade.row(dataset.context.row(i));
                // Spans that begin at any row: more of them, and each as honest.
                let rows = split.learnt().filter(known);
                let pairs: Vec<_> =
                    rows.filter_map(|i| Some((seen(i), realised(i)? / steps as f64))).collect();
                let fit = HarFit::of(&pairs, true);
                raws.push(("HAR", Box::new(move |i| fit.mean_square(seen(i)))));
            }
            let test: Vec<(usize, f64)> =
                split.test.clone().filter_map(|i| Some((i, came(i)?))).collect();
            for (k, (name, raw)) in raws.iter().enumerate() {
                let scale = VarianceScale::fit(train.iter().map(|(i, x)| (*x, raw(*i))));
                if all.len() <= k {
                    all.push(Forecaster { name, losses: Vec::new() });
                }
                let loss = |(i, x): &(usize, f64)| qlike(*x, scale.forecast(raw(*i)));
                all[k].losses.extend(test.iter().map(loss));
            }
        }
        compare(span, &all)
    }
}

/// The comparison over all spans; `None` when one of the first three (EWMA, the span before,
/// the constant) is not always a positive number. Another one that is not is left out.
fn compare(span: Interval, all: &[Forecaster]) -> Option<VolatilitySkill> {
    let finite = |f: &Forecaster| f.losses.iter().all(|l| l.is_finite());
    let [ewma, previous, constant, others @ ..] = all else { return None };
    if ewma.losses.is_empty() || ![ewma, previous, constant].into_iter().all(finite) {
        return None;
    }
    let test = |own: &Forecaster, rival: &Forecaster| {
        diebold_mariano_fixed_smoothing(&own.losses, &rival.losses)
    };
    let other = |own: &Forecaster| SpanForecaster {
        name: own.name.to_owned(),
        qlike: mean(&own.losses),
        versus_ewma: test(own, ewma),
        versus_previous: test(own, previous),
        versus_constant: test(own, constant),
    };
    Some(VolatilitySkill {
        span: Some(span),
        rows: ewma.losses.len(),
        qlike: mean(&ewma.losses),
        qlike_previous: mean(&previous.losses),
        qlike_constant: mean(&constant.losses),
        versus_previous: test(ewma, previous),
        versus_constant: test(ewma, constant),
        others: others.iter().filter(|f| finite(f)).map(other).collect(),
        left_out: others.iter().filter(|f| !finite(f)).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_of_zero_is_refused() {
        assert_eq!(qlike(1.0, 0.0), f64::INFINITY);
        let of = |losses: [f64; 4]| {
            losses.map(|l| Forecaster { name: "any", losses: vec![l, 1.0, 2.0] })
        };
        let infinite = f64::INFINITY;
        assert!(compare(Interval::DAY, &of([infinite, 1.0, 1.0, 1.0])).is_none());
        assert!(compare(Interval::DAY, &[]).is_none());
        let left_out = compare(Interval::DAY, &of([1.0, 1.0, 1.0, infinite])).unwrap();
        assert!(left_out.others.is_empty());
    }

    /// Holm by hand: the two of EWMA and three of GARCH are five tests of one family.
    #[test]
    fn all_forecasters_of_the_table_are_one_family() {
        let noisy = |level: f64, wave: f64| Forecaster {
            name: "any",
            losses: (0..400).map(|i| level + wave * libm::sin(f64::from(i) * 1.7)).collect(),
        };
        let all = [noisy(1.0, 0.5), noisy(1.02, 1.3), noisy(1.05, 2.1), noisy(0.99, 2.9)];
        let found = compare(Interval::DAY, &all).unwrap();
        let other = &found.others[0];
        let raw = [
            found.versus_previous,
            found.versus_constant,
            other.versus_ewma,
            other.versus_previous,
            other.versus_constant,
        ]
        .map(|t| t.p_value());
        let by_hand = |i: usize| {
            let smaller = |j: &usize| raw[*j] <= raw[i];
            let step = |j: usize| {
                let left = (0..5).filter(|k| raw[*k] >= raw[j]).count();
                raw[j] * left as f64
            };
            (0..5).filter(smaller).map(step).fold(0.0, f64::max).min(1.0)
        };
        assert_eq!(found.p_holm(), (by_hand(0), by_hand(1)));
        assert_eq!(found.p_holm_of_others(), [[by_hand(2), by_hand(3), by_hand(4)]]);
        let largest = by_hand(2).max(by_hand(3)).max(by_hand(4));
        assert_eq!(found.p_values_of_others(), [largest]);
    }
}
