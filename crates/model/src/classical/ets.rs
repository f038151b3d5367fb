//! Exponential smoothing with additive errors, on log prices and seen through returns.
//!
//! R. J. Hyndman, A. B. Koehler, R. D. Snyder & S. Grose, *International Journal of
//! Forecasting* 18 (2002) 439–454. With the log price `y`, its level `l` and slope `b`, the
//! model needs only how far the price lies above its level, `d = y − l`, and the slope:
//!
//! ```text
//! e = r + d − φ b      r: the newest one-interval log return
//! d ← (1 − α) e        b ← φ b + β e
//! ```
//!
//! A run of returns begins at its level (`d = 0`) with the learnt slope; a damped slope
//! begins at zero, where it goes without news.

use serde::{Deserialize, Serialize};

use super::minimise::{minimise, squash, unsquash};
use super::returns::Returns;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError};

/// The smallest distance of a weight from 0 and 1, as in statsmodels.
const MARGIN: f64 = 1e-4;

/// The span of the damping, as in statsmodels and R: less is no trend, more is undamped.
const DAMPING: (f64, f64) = (0.8, 0.98);

/// Which trend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtsTrend {
    /// The one of the lowest AICc.
    #[default]
    Auto,
    /// ETS(A,N,N).
    None,
    /// ETS(A,A,N).
    Additive,
    /// ETS(A,Ad,N).
    Damped,
}

/// Which trend was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// ETS(A,N,N).
    None,
    /// ETS(A,A,N).
    Additive,
    /// ETS(A,Ad,N).
    Damped,
}

/// What exponential smoothing learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtsState {
    /// The horizon in intervals.
    pub steps: usize,
    /// The trend.
    pub trend: Trend,
    /// The weight of the newest error in the level, between 0 and 1.
    pub alpha: f64,
    /// Its weight in the slope, from 0 to `alpha`; 0 without a trend.
    pub beta: f64,
    /// What is left of the slope after an interval; 1 when it is not damped.
    pub phi: f64,
    /// The slope that a run of returns begins with, log return per interval.
    pub slope: f64,
    /// Around the centre.
    pub offsets: [f64; LEVELS],
}

/// The parameters of the filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Smoothing {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) phi: f64,
    pub(super) slope: f64,
}

impl Smoothing {
    /// Without any trend.
    pub(super) const LEVEL: Self = Self { alpha: 0.5, beta: 0.0, phi: 1.0, slope: 0.0 };

    /// The sum of squared one-step errors.
    fn squared_errors(&self, returns: &Returns) -> f64 {
        let Self { alpha, beta, phi, slope } = *self;
        let mut sum = 0.0;
        for run in &returns.runs {
            let (mut above, mut rise) = (0.0, slope);
            for r in run {
                let error = r + above - phi * rise;
                sum += error * error;
                above = (1.0 - alpha) * error;
                rise = phi * rise + beta * error;
            }
        }
        sum
    }

    /// The expected log return of the next `steps` intervals after a window of returns, the
    /// newest first.
    pub(super) fn centre(&self, window: &[f64], steps: usize) -> f64 {
        let Self { alpha, beta, phi, slope } = *self;
        let (mut above, mut rise) = (0.0, slope);
        for r in window.iter().rev() {
            let error = r + above - phi * rise;
            above = (1.0 - alpha) * error;
            rise = phi * rise + beta * error;
        }
        let mut ahead = 0.0;
        for _ in 0..steps {
            rise *= phi;
            ahead += rise;
        }
        ahead - above
    }
}

/// Simple exponential smoothing of least squared errors.
pub(super) fn level_alone(returns: &Returns) -> Smoothing {
    search(returns, Trend::None).0
}

/// The smoothing of a trend with the least squared errors, and these.
fn search(returns: &Returns, trend: Trend) -> (Smoothing, f64) {
    let scale = libm::sqrt(returns.mean_square());
    if scale == 0.0 {
        return (Smoothing::LEVEL, 0.0);
    }
    let weight = |x: f64| MARGIN + (1.0 - 2.0 * MARGIN) * squash(x);
    let read = |x: &[f64]| {
        let alpha = weight(x[0]);
        let beta = if trend == Trend::None { 0.0 } else { alpha * squash(x[1]) };
        match trend {
            Trend::None => Smoothing { alpha, ..Smoothing::LEVEL },
            Trend::Additive => Smoothing { alpha, beta, phi: 1.0, slope: scale * x[2] },
            Trend::Damped => {
                let phi = DAMPING.0 + (DAMPING.1 - DAMPING.0) * squash(x[2]);
                Smoothing { alpha, beta, phi, slope: 0.0 }
            }
        }
    };
    let mut loss = |x: &[f64]| read(x).squared_errors(returns);
    let drift = returns.mean() / scale;
    let mut best: Option<(Vec<f64>, f64)> = None;
    for alpha in [0.1, 0.5, 0.9, 0.99] {
        for ratio in [0.01, 0.1] {
            let third = if trend == Trend::Damped { 0.0 } else { drift };
            let start = match trend {
                Trend::None => vec![unsquash(alpha)],
                _ => vec![unsquash(alpha), unsquash(ratio), third],
            };
            let found = loss(&start);
            if best.as_ref().is_none_or(|(_, least)| found < *least) {
                best = Some((start, found));
            }
        }
    }
    let start = best.map_or_else(|| vec![0.0; 3], |(start, _)| start);
    let (x, sum) = minimise(&start, 0.5, &mut loss);
    (read(&x), sum)
}

/// Fits the trend, or the one of the lowest AICc. Parameters are counted with the initial
/// states and the variance of the errors, as in R and statsmodels.
pub(super) fn fit(returns: &Returns, wanted: EtsTrend, steps: usize) -> EtsState {
    let trends: &[Trend] = match wanted {
        EtsTrend::Auto => &[Trend::None, Trend::Additive, Trend::Damped],
        EtsTrend::None => &[Trend::None],
        EtsTrend::Additive => &[Trend::Additive],
        EtsTrend::Damped => &[Trend::Damped],
    };
    let n = returns.len() as f64;
    let mut best: Option<(f64, Trend, Smoothing)> = None;
    for &trend in trends {
        let (smoothing, sum) = search(returns, trend);
        let parameters = if trend == Trend::None { 3.0 } else { 5.0 };
        let value = aicc(sum, n, parameters);
        // Equal ones keep the simpler: a market that never moved has no trend.
        if best.is_none_or(|(least, ..)| value < least) {
            best = Some((value, trend, smoothing));
        }
    }
    let (_, trend, Smoothing { alpha, beta, phi, slope }) =
        best.unwrap_or((0.0, Trend::None, Smoothing::LEVEL));
    EtsState { steps, trend, alpha, beta, phi, slope, offsets: [0.0; LEVELS] }
}

/// Akaike's criterion with the correction of C. M. Hurvich & C.-L. Tsai (*Biometrika* 76,
/// 1989), up to a constant, from the squared errors of `n` rows.
pub(super) fn aicc(squared_errors: f64, n: f64, parameters: f64) -> f64 {
    let k = parameters;
    let small = 2.0 * k * (k + 1.0) / (n - k - 1.0).max(1.0);
    n * libm::log(squared_errors / n) + 2.0 * k + small
}

impl EtsState {
    /// The expected log return over the horizon.
    pub(super) fn centre(&self, window: &[f64]) -> f64 {
        let Self { alpha, beta, phi, slope, .. } = *self;
        Smoothing { alpha, beta, phi, slope }.centre(window, self.steps)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let Self { alpha, beta, phi, slope, .. } = *self;
        check_finite("slope", &[slope])?;
        for (place, value) in [("alpha", alpha), ("beta", beta), ("phi", phi)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(damaged(place, "the weight lies between 0 and 1"));
            }
        }
        Ok(())
    }
}
