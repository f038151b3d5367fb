//! Whose spread is better? QLIKE of the variance that a recipe's quantiles imply.
//!
//! A recipe whose point is the random walk's can still know more: how far the price will
//! move. It is judged by QLIKE (A. J. Patton, *Journal of Econometrics* 160 (2011)
//! 246–256), which ranks variance forecasts rightly even when the variance is seen only
//! through an unbiased, noisy proxy. Everyone's forecast is made in the same way: the
//! second moment of the nine quantiles, brought to the unit of the proxy by one factor
//! that minimises the same loss on the training rows of its fold. Rows do not overlap. Where
//! the horizon has several intervals, the realised variance of the horizon before is a rival
//! beside the random walk; for every recipe but EWMA itself the exponentially weighted
//! variance is one too. All must be beaten.

use foretell_market::{Fingerprint, FingerprintHasher, Timestamp};
use serde::{Deserialize, Serialize};

use super::dm::{DieboldMariano, diebold_mariano_fixed_smoothing};
use super::metrics::mean;
use super::serial::number;
use super::volatility::qlike;
use crate::{LEVELS, QUANTILE_LEVELS};

/// What stands in for the variance of a horizon, which nobody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarianceProxy {
    /// The sum of the squared one-interval log returns inside the horizon.
    RealisedVariance,
    /// The squared log return of the horizon: unbiased but very noisy, and all there is
    /// when the horizon is one interval of the grid.
    SquaredReturn,
}

/// A recipe's variance forecasts against the random walk's on identical rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpreadEvaluation {
    /// What the forecasts are judged by.
    pub proxy: VarianceProxy,
    /// Non-overlapping out-of-sample rows.
    pub rows: usize,
    /// Hash of what identifies them, decision times and proxies: losses of equal hash can
    /// be compared row by row. Absent in files that were stored before it was kept.
    #[serde(default)]
    pub rows_hash: Option<Fingerprint>,
    /// `ln f + proxy / f` per row, in time order.
    pub losses: Vec<f64>,
    /// Mean of `proxy / f − ln(proxy / f) − 1` over the rows whose proxy is not zero: 0 is
    /// a forecast that equals its proxy.
    #[serde(with = "number")]
    pub qlike: f64,
    /// `1 − qlike / qlike of the random walk`: 0.1 is ten per cent lower. NaN when the rows
    /// without a move, which it leaves out, turn the sign of what is tested.
    #[serde(with = "number")]
    pub skill: f64,
    /// One-sided test of "lower than the random walk's", for persistent differences.
    pub test: DieboldMariano,
    /// The same against the realised variance of the horizon before; absent where the proxy
    /// is a squared return, and in files that were stored before it was tested.
    #[serde(default)]
    pub versus_previous: Option<DieboldMariano>,
    /// The same against the exponentially weighted variance; absent for a recipe that is it,
    /// for the random walk, and in files that were stored before it was tested.
    #[serde(default)]
    pub versus_ewma: Option<DieboldMariano>,
    /// The largest of their p-values; 1 if untestable.
    pub p_value: f64,
    /// The same after Holm's correction over all tests of the run, point and spread.
    pub p_holm: f64,
}

/// What is said of a spread wherever a volatility recipe stands: one line of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpreadSkill {
    /// The recipe whose spread it is.
    pub recipe: String,
    /// Share by which its QLIKE is lower than the random walk's; `None` if undefined.
    pub qlike_skill: Option<f64>,
    /// One-sided p-value of "lower".
    pub p_value: f64,
    /// Whether it passed the promotion rule for spreads.
    pub better: bool,
    /// Whether the p-value is that of its own test, uncorrected: a champion that keeps its
    /// place. Tables show the corrected one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_test: bool,
}

impl SpreadSkill {
    /// For people: ``spread by `ewma volatility`: QLIKE 12.3 % lower than the random
    /// walk's, p = 0.004``; the one place where this is worded.
    pub fn sentence(&self) -> String {
        let p = self.p_text();
        let compared = match self.qlike_skill {
            Some(share) if share < 0.0 => {
                format!("QLIKE {:.1} % higher than the random walk's", -100.0 * share)
            }
            Some(share) => format!("QLIKE {:.1} % lower than the random walk's", 100.0 * share),
            None => "QLIKE against the random walk's".to_owned(),
        };
        let own = if self.own_test { " (own test, uncorrected)" } else { "" };
        let promoted = if self.better { "" } else { ", not promoted for it" };
        let name = &self.recipe;
        format!("spread by `{name}`: {compared}, {p}{own}{promoted}")
    }

    /// The same in few words: `volatility: har, skill 11 %, p = 0.002`, where the skill is the
    /// share by which QLIKE is lower than the random walk's.
    pub fn brief(&self) -> String {
        let (name, p) = (&self.recipe, self.p_text());
        let skill = self.qlike_skill.map_or_else(String::new, |share| {
            // No minus before a rounded zero.
            let percent = (100.0 * share).round() + 0.0;
            format!(", skill {} %", percent.to_string().replace('-', "−"))
        });
        let promoted = if self.better { "" } else { ", not promoted for it" };
        format!("volatility: {name}{skill}, {p}{promoted}")
    }

    fn p_text(&self) -> String {
        if self.p_value < 0.001 {
            "p < 0.001".to_owned()
        } else {
            format!("p = {:.3}", self.p_value)
        }
    }
}

/// The second moment about zero that nine quantiles imply: the integral of the squared
/// quantile function, straight between the levels and flat beyond the outer two. The
/// tails that are cut off so are put back by the factor of [`VarianceScale`].
pub fn second_moment(quantiles: &[f64]) -> f64 {
    let (p, q) = (QUANTILE_LEVELS, quantiles);
    let inner = (1..LEVELS).map(|j| {
        let (a, b) = (q[j - 1], q[j]);
        (p[j] - p[j - 1]) * (a * a + a * b + b * b) / 3.0
    });
    let tails = p[0] * (q[0] * q[0] + q[LEVELS - 1] * q[LEVELS - 1]);
    inner.sum::<f64>() + tails
}

/// The share of the mean raw variance below which none is let through, so that a stretch
/// without a trade cannot make the loss infinite.
const FLOOR: f64 = 1e-3;

/// Brings raw variances to the unit of a proxy by the factor that minimises QLIKE on the
/// training rows, `mean(proxy / raw)`. For a constant that is the mean proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VarianceScale {
    factor: f64,
    floor: f64,
}

impl VarianceScale {
    /// From the training pairs of (proxy, raw variance); pairs without a proxy are left out.
    pub(crate) fn fit(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let pairs: Vec<(f64, f64)> = pairs.into_iter().filter(|(x, _)| x.is_finite()).collect();
        let floor = FLOOR * pairs.iter().map(|(_, raw)| raw).sum::<f64>() / pairs.len() as f64;
        let ratios = pairs.iter().map(|(proxy, raw)| proxy / raw.max(floor));
        Self { factor: ratios.sum::<f64>() / pairs.len() as f64, floor }
    }

    /// The forecast of the proxy.
    pub(crate) fn forecast(&self, raw: f64) -> f64 {
        self.factor * raw.max(self.floor)
    }
}

/// The mean of Patton's form of the loss, `x / f − ln(x / f) − 1`, over the rows whose
/// proxy is not zero: there it has no value for any forecast.
pub fn mean_qlike(proxies: &[f64], forecasts: &[f64]) -> f64 {
    let pairs = proxies.iter().zip(forecasts).filter(|(x, _)| **x > 0.0);
    mean(&pairs.map(|(x, f)| x / f - libm::log(x / f) - 1.0).collect::<Vec<_>>())
}

/// The rows that variance forecasts are judged on, none overlapping another, with what came
/// and what the rivals said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpreadRows<'a> {
    /// What stands in for the variance.
    pub proxy: VarianceProxy,
    /// Decision times (UTC).
    pub times: &'a [Timestamp],
    /// That proxy.
    pub proxies: &'a [f64],
    /// The random walk's forecasts.
    pub walk: &'a [f64],
    /// Those by the realised variance of the horizon before; NaN where it is not known.
    pub previous: Option<&'a [f64]>,
    /// Those by the exponentially weighted variance, where it is a rival.
    pub ewma: Option<&'a [f64]>,
}

/// Judges variance forecasts against the rivals' on the same rows; `None` without a row or
/// when a loss is not finite (a market that never moved).
pub(crate) fn judge_spread(rows: SpreadRows<'_>, own: &[f64]) -> Option<SpreadEvaluation> {
    let SpreadRows { proxy, times, proxies, walk, previous, ewma } = rows;
    let losses = |forecasts: &[f64]| -> Vec<f64> {
        proxies.iter().zip(forecasts).map(|(x, f)| qlike(*x, *f)).collect()
    };
    let (of_own, of_walk) = (losses(own), losses(walk));
    let all_finite = of_own.iter().chain(&of_walk).all(|l| l.is_finite());
    if of_own.is_empty() || !all_finite {
        return None;
    }
    let test = diebold_mariano_fixed_smoothing(&of_own, &of_walk);
    let against = |rival: &[f64]| {
        let both = of_own.iter().zip(losses(rival)).filter(|(_, rival)| rival.is_finite());
        let (own, rival): (Vec<f64>, Vec<f64>) = both.map(|(own, rival)| (*own, rival)).unzip();
        diebold_mariano_fixed_smoothing(&own, &rival)
    };
    let (versus_previous, versus_ewma) = (previous.map(against), ewma.map(against));
    let others = versus_previous.iter().chain(&versus_ewma).map(DieboldMariano::p_value);
    let qlike = mean_qlike(proxies, own);
    let skill = 1.0 - qlike / mean_qlike(proxies, walk);
    let turned = skill * (mean(&of_own) - mean(&of_walk)) > 0.0;
    Some(SpreadEvaluation {
        proxy,
        rows: proxies.len(),
        rows_hash: Some(rows_hash(times, proxies)),
        qlike,
        skill: if turned { f64::NAN } else { skill },
        // To beat all is to reject all (intersection–union).
        p_value: others.fold(test.p_value(), f64::max),
        p_holm: 1.0,
        losses: of_own,
        test,
        versus_previous,
        versus_ewma,
    })
}

fn rows_hash(times: &[Timestamp], proxies: &[f64]) -> Fingerprint {
    let mut hasher = FingerprintHasher::new("spread-rows/1");
    hasher.u64(times.len() as u64);
    times.iter().for_each(|time| {
        hasher.time(*time);
    });
    hasher.f64s(proxies);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_claims_only_what_was_passed() {
        let passed = SpreadSkill {
            recipe: "ewma volatility".to_owned(),
            qlike_skill: Some(0.1234),
            p_value: 0.0042,
            better: true,
            own_test: false,
        };
        let said =
            "spread by `ewma volatility`: QLIKE 12.3 % lower than the random walk's, p = 0.004";
        assert_eq!(passed.sentence(), said);
        assert_eq!(passed.brief(), "volatility: ewma volatility, skill 12 %, p = 0.004");
        let sure = SpreadSkill { p_value: 1e-9, ..passed.clone() };
        assert!(sure.sentence().ends_with("p < 0.001"));
        let failed = SpreadSkill {
            qlike_skill: Some(-0.02),
            p_value: 0.81,
            better: false,
            ..passed.clone()
        };
        let said = "spread by `ewma volatility`: QLIKE 2.0 % higher than the random walk's, \
                    p = 0.810, not promoted for it";
        assert_eq!(failed.sentence(), said);
        let said = "volatility: ewma volatility, skill −2 %, p = 0.810, not promoted for it";
        assert_eq!(failed.brief(), said);
        let kept = SpreadSkill { qlike_skill: None, better: true, own_test: true, ..failed };
        let said = "spread by `ewma volatility`: QLIKE against the random walk's, p = 0.810 (own \
                    test, uncorrected)";
        assert_eq!(kept.sentence(), said);
    }

    #[test]
    fn the_scale_comes_from_the_training_pairs_and_has_a_floor() {
        let scale = VarianceScale::fit([(2.0, 1.0), (f64::NAN, 100.0), (4.0, 2.0)]);
        assert_eq!(scale.forecast(3.0), 6.0);
        assert_eq!(scale.forecast(0.0), 3e-3);
        // No other factor has a smaller loss on the training rows.
        let rows = [(1.0, 2.0), (5.0, 1.0), (0.5, 4.0)];
        let best = VarianceScale::fit(rows);
        let loss =
            |by: f64| rows.iter().map(|(x, raw)| qlike(*x, by * best.forecast(*raw))).sum::<f64>();
        assert!([0.5, 0.9, 0.99, 1.01, 1.1, 2.0].iter().all(|by| loss(*by) > loss(1.0)));
    }

    #[test]
    fn a_market_that_never_moved_has_no_spread_to_judge() {
        let still = [0.0; 10];
        let times = [Timestamp::from_secs(0); 10];
        let judge = |proxies: &[f64], own: &[f64], walk: &[f64]| {
            let times = &times[..proxies.len()];
            let proxy = VarianceProxy::SquaredReturn;
            judge_spread(
                SpreadRows { proxy, times, proxies, walk, previous: None, ewma: None },
                own,
            )
        };
        assert_eq!(judge(&still, &still, &still), None);
        assert_eq!(judge(&[], &[], &[]), None);
        // A row without a move is judged by the test, and has no place in the mean.
        let some = judge(&[0.0, 1.0, 2.0, 1.0], &[1.0; 4], &[2.0; 4]).unwrap();
        assert_eq!((some.rows, some.losses.len()), (4, 4));
        assert!((some.qlike - (1.0 - libm::log(2.0)) / 3.0).abs() < 1e-15);
        // On the rows that moved a forecast of 2 is the better one; on those that did not the
        // smaller one is, and these outweigh: no percentage against the sign of the test.
        let zeros = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.9, 2.1];
        let turned = judge(&zeros, &[2.0; 10], &[1.0; 10]).unwrap();
        assert!(turned.test.statistic() > 0.0 && turned.skill.is_nan(), "{turned:?}");
    }

    #[test]
    fn who_beats_the_random_walk_and_not_the_horizon_before_beats_nobody() {
        let mut random = foretell_testkit::rng(4);
        let n = 1_000;
        let times = vec![Timestamp::from_secs(0); n];
        let truth: Vec<f64> = (0..n).map(|_| foretell_testkit::normal(&mut random).exp()).collect();
        let square = |v: &f64| v * foretell_testkit::normal(&mut random).powi(2);
        let proxies: Vec<f64> = truth.iter().map(square).collect();
        let half: Vec<f64> = truth.iter().map(|v| v.sqrt() * 1.3).collect();
        let walk = vec![0.5f64.exp(); n];
        let judge = |own: &[f64], previous: &[f64]| {
            let proxy = VarianceProxy::RealisedVariance;
            let (proxies, walk) = (&proxies[..], &walk[..]);
            let (times, previous) = (&times[..], Some(previous));
            let rows = SpreadRows { proxy, times, proxies, walk, previous, ewma: None };
            let found = judge_spread(rows, own).unwrap();
            // The exponentially weighted variance in the same place is as hard a rival.
            let rows = SpreadRows { previous: None, ewma: previous, ..rows };
            let other = judge_spread(rows, own).unwrap();
            assert_eq!((other.p_value, other.versus_ewma), (found.p_value, found.versus_previous));
            found
        };
        let beaten = judge(&half, &truth);
        assert!(beaten.test.p_value() < 0.001 && beaten.p_value > 0.9, "{:?}", beaten.test);
        // Where it is not known it is no rival; the rest is compared.
        let mut gaps = half.clone();
        gaps[..400].fill(f64::NAN);
        let best = judge(&truth, &gaps);
        assert!(best.p_value < 0.001 && best.versus_previous.is_some(), "{best:?}");
    }
}
