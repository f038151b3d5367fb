//! ARIMA(p, 1, q) with drift on the log price: ARMA with a mean on log returns.
//!
//! G. E. P. Box & G. M. Jenkins, *Time Series Analysis* (1970). Estimated by conditional
//! sum of squares: before a run of returns stand the mean and no error, which is also what a
//! window of returns begins with. On long series it equals exact likelihood up to terms of
//! one over the length. Starting values are those of E. J. Hannan & J. Rissanen
//! (*Biometrika* 69, 1982), the steps those of Levenberg and Marquardt with exact
//! derivatives; steps that leave the stationary and invertible region are not taken.

use serde::{Deserialize, Serialize};

use super::ets::aicc;
use super::minimise::solve;
use super::returns::Returns;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError};

/// The largest p and q.
const MOST: usize = 3;

/// The mean and all lags.
const PARAMETERS: usize = 1 + 2 * MOST;

/// Lags of the long autoregression whose errors stand in for the unseen ones at the start.
const LONG: usize = 12;

/// The largest partial autocorrelation: beyond it weights fade too slowly for a window.
const REGION: f64 = 0.999;

/// What ARIMA learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArimaState {
    /// The horizon in intervals.
    pub steps: usize,
    /// The mean log return per interval.
    pub mean: f64,
    /// Weights of earlier deviations from the mean, the newest first.
    pub ar: Vec<f64>,
    /// Weights of earlier errors, the newest first.
    pub ma: Vec<f64>,
    /// Around the centre.
    pub offsets: [f64; LEVELS],
}

/// Whether these are settings: none, or `[p, 1, q]`.
pub(crate) fn is_order(order: &[usize]) -> bool {
    matches!(order, [] | [0..=MOST, 1, 0..=MOST])
}

/// Fits the order, or the one of the lowest AICc among all up to [`MOST`].
pub(super) fn fit(returns: &Returns, order: &[usize], steps: usize) -> ArimaState {
    let orders: Vec<(usize, usize)> = match order {
        [p, _, q] => vec![(*p, *q)],
        _ => (0..=MOST).flat_map(|p| (0..=MOST).map(move |q| (p, q))).collect(),
    };
    let scale = libm::sqrt(returns.mean_square());
    let fixed = |mean: f64| ArimaState {
        steps,
        mean,
        ar: Vec::new(),
        ma: Vec::new(),
        offsets: [0.0; LEVELS],
    };
    if scale == 0.0 || !scale.is_finite() {
        return fixed(0.0);
    }
    // In units of their size, so that one tolerance fits every market.
    let runs: Vec<Vec<f64>> =
        returns.runs.iter().map(|run| run.iter().map(|r| r / scale).collect()).collect();
    let n = returns.len() as f64;
    let mean = returns.mean() / scale;
    let errors = long_errors(&runs, mean);
    let mut best: Option<(f64, Arma)> = None;
    for (p, q) in orders {
        let (found, sum) = Arma::estimate(&runs, &errors, mean, p, q);
        let value = aicc(sum, n, (p + q + 2) as f64);
        if best.as_ref().is_none_or(|(least, _)| value < *least) {
            best = Some((value, found));
        }
    }
    match best {
        Some((_, Arma { mean, ar, ma })) => ArimaState { ar, ma, ..fixed(mean * scale) },
        None => fixed(returns.mean()),
    }
}

impl ArimaState {
    /// The expected log return over the horizon.
    pub(super) fn centre(&self, window: &[f64]) -> f64 {
        let (mut past, mut errors) = ([0.0; MOST], [0.0; MOST]);
        let expected = |past: &[f64; MOST], errors: &[f64; MOST]| {
            let of = |weights: &[f64], values: &[f64; MOST]| {
                weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>()
            };
            of(&self.ar, past) + of(&self.ma, errors)
        };
        for r in window.iter().rev() {
            let deviation = r - self.mean;
            let error = deviation - expected(&past, &errors);
            push(&mut past, deviation);
            push(&mut errors, error);
        }
        let mut sum = 0.0;
        for _ in 0..self.steps {
            let next = expected(&past, &errors);
            sum += self.mean + next;
            push(&mut past, next);
            push(&mut errors, 0.0);
        }
        sum
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_finite("mean", &[self.mean])?;
        for (place, weights) in [("ar", &self.ar), ("ma", &self.ma)] {
            check_finite(place, weights)?;
            if weights.len() > MOST {
                return Err(damaged(place, "there are at most three weights"));
            }
        }
        if Arma::fades(&self.ar) && Arma::fades(&negated(&self.ma)) {
            Ok(())
        } else {
            Err(damaged("ar", "the model is not stationary and invertible"))
        }
    }
}

/// The newest value first.
fn push(values: &mut [f64; MOST], newest: f64) {
    values.rotate_right(1);
    values[0] = newest;
}

fn negated(weights: &[f64]) -> Vec<f64> {
    weights.iter().map(|w| -w).collect()
}

/// The parameters in units of the returns' size.
#[derive(Debug, Clone)]
struct Arma {
    mean: f64,
    ar: Vec<f64>,
    ma: Vec<f64>,
}

/// Squared errors, and what their derivatives say: `JᵀJ` and `Jᵀe`.
struct Slope {
    sum: f64,
    gram: [[f64; PARAMETERS]; PARAMETERS],
    moments: [f64; PARAMETERS],
}

impl Arma {
    /// Whether an autoregression with these weights forgets: all its partial
    /// autocorrelations, found by the recursion of Levinson and Durbin run backwards, lie
    /// inside the region.
    fn fades(weights: &[f64]) -> bool {
        let mut phi = weights.to_vec();
        while let Some(last) = phi.pop() {
            if last.is_nan() || last.abs() >= REGION {
                return false;
            }
            let before = phi.clone();
            let n = phi.len();
            for (i, weight) in phi.iter_mut().enumerate() {
                *weight = (before[i] + last * before[n - 1 - i]) / (1.0 - last * last);
            }
        }
        true
    }

    fn allowed(&self) -> bool {
        self.mean.is_finite() && Self::fades(&self.ar) && Self::fades(&negated(&self.ma))
    }

    fn estimate(
        runs: &[Vec<f64>],
        errors: &[Vec<f64>],
        mean: f64,
        p: usize,
        q: usize,
    ) -> (Self, f64) {
        let mut found = Self::start(runs, errors, mean, p, q);
        let mut slope = found.slope(runs);
        let mut damping = 1e-4;
        for _ in 0..60 {
            let Some(next) = found.step(&slope, damping).filter(Self::allowed) else {
                damping *= 10.0;
                if damping > 1e8 {
                    break;
                }
                continue;
            };
            let there = next.slope(runs);
            if there.sum < slope.sum {
                let gained = slope.sum - there.sum;
                (found, slope) = (next, there);
                damping = (damping * 0.1).max(1e-12);
                if gained < 1e-12 * slope.sum {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e8 {
                    break;
                }
            }
        }
        (found, slope.sum)
    }

    /// Regression on earlier deviations and the errors of a long autoregression, drawn
    /// towards zero until it is allowed.
    fn start(runs: &[Vec<f64>], errors: &[Vec<f64>], mean: f64, p: usize, q: usize) -> Self {
        let lags = p + q;
        let mut gram = vec![vec![0.0; lags]; lags];
        let mut moments = vec![0.0; lags];
        for (run, errors) in runs.iter().zip(errors) {
            for t in LONG.min(run.len())..run.len() {
                let past = (1..=p).map(|i| run[t - i] - mean);
                let x: Vec<f64> = past.chain((1..=q).map(|j| errors[t - j])).collect();
                for j in 0..lags {
                    moments[j] += x[j] * (run[t] - mean);
                    for k in 0..lags {
                        gram[j][k] += x[j] * x[k];
                    }
                }
            }
        }
        let mut weights = solve(gram, moments).unwrap_or_else(|| vec![0.0; lags]);
        for _ in 0..100 {
            let found = Self { mean, ar: weights[..p].to_vec(), ma: weights[p..].to_vec() };
            if found.allowed() {
                return found;
            }
            weights.iter_mut().for_each(|w| *w *= 0.9);
        }
        Self { mean, ar: vec![0.0; p], ma: vec![0.0; q] }
    }

    /// One step down; `None` when the equations are singular.
    fn step(&self, slope: &Slope, damping: f64) -> Option<Self> {
        let (p, q) = (self.ar.len(), self.ma.len());
        let places: Vec<usize> = (0..=p).chain(1 + MOST..1 + MOST + q).collect();
        let row = |&j: &usize| -> Vec<f64> {
            let damped = |&k: &usize| {
                let ridge = if j == k { damping * slope.gram[j][j].max(1e-12) } else { 0.0 };
                slope.gram[j][k] + ridge
            };
            places.iter().map(damped).collect()
        };
        let gram = places.iter().map(row).collect();
        let change = solve(gram, places.iter().map(|&j| -slope.moments[j]).collect())?;
        let add = |weights: &[f64], change: &[f64]| -> Vec<f64> {
            weights.iter().zip(change).map(|(w, c)| w + c).collect()
        };
        Some(Self {
            mean: self.mean + change[0],
            ar: add(&self.ar, &change[1..=p]),
            ma: add(&self.ma, &change[1 + p..]),
        })
    }

    /// Errors and their derivatives by mean, autoregression and moving average.
    fn slope(&self, runs: &[Vec<f64>]) -> Slope {
        let (p, q) = (self.ar.len(), self.ma.len());
        let used: Vec<usize> = (0..=p).chain(1 + MOST..1 + MOST + q).collect();
        let mut found =
            Slope { sum: 0.0, gram: [[0.0; PARAMETERS]; PARAMETERS], moments: [0.0; PARAMETERS] };
        for run in runs {
            let (mut past, mut errors) = ([0.0; MOST], [0.0; MOST]);
            // Of each parameter the derivatives of the last errors, the newest first.
            let mut earlier = [[0.0; MOST]; PARAMETERS];
            for (t, r) in run.iter().enumerate() {
                let deviation = r - self.mean;
                let mut error = deviation;
                // Only deviations inside the run depend on the mean.
                let mut by = [0.0; PARAMETERS];
                by[0] = -1.0;
                for (i, weight) in self.ar.iter().enumerate() {
                    error -= weight * past[i];
                    by[1 + i] = -past[i];
                    by[0] += if i < t { *weight } else { 0.0 };
                }
                for (j, weight) in self.ma.iter().enumerate() {
                    error -= weight * errors[j];
                    by[1 + MOST + j] = -errors[j];
                }
                for &k in &used {
                    for (j, weight) in self.ma.iter().enumerate() {
                        by[k] -= weight * earlier[k][j];
                    }
                }
                found.sum += error * error;
                for (a, &j) in used.iter().enumerate() {
                    found.moments[j] += by[j] * error;
                    for &k in &used[..=a] {
                        found.gram[j][k] += by[j] * by[k];
                    }
                }
                for &k in &used {
                    push(&mut earlier[k], by[k]);
                }
                push(&mut past, deviation);
                push(&mut errors, error);
            }
        }
        for j in 0..PARAMETERS {
            for k in j + 1..PARAMETERS {
                found.gram[j][k] = found.gram[k][j];
            }
        }
        found
    }
}

/// The errors of an autoregression of [`LONG`] lags, 0 where it has too little past.
fn long_errors(runs: &[Vec<f64>], mean: f64) -> Vec<Vec<f64>> {
    let mut gram = vec![vec![0.0; LONG]; LONG];
    let mut moments = vec![0.0; LONG];
    for run in runs {
        for t in LONG..run.len() {
            for j in 0..LONG {
                let x = run[t - 1 - j] - mean;
                moments[j] += x * (run[t] - mean);
                for (k, cell) in gram[j].iter_mut().enumerate() {
                    *cell += x * (run[t - 1 - k] - mean);
                }
            }
        }
    }
    let weights = solve(gram, moments).unwrap_or_else(|| vec![0.0; LONG]);
    let error = |run: &[f64], t: usize| {
        let known: f64 = weights.iter().enumerate().map(|(j, w)| w * (run[t - 1 - j] - mean)).sum();
        run[t] - mean - known
    };
    let of = |run: &Vec<f64>| {
        (0..run.len()).map(|t| if t < LONG { 0.0 } else { error(run, t) }).collect()
    };
    runs.iter().map(of).collect()
}
