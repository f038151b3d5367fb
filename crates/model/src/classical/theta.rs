//! The Theta method: exponential smoothing of the log price that drifts with half the slope
//! of its trend.
//!
//! V. Assimakopoulos & K. Nikolopoulos, *International Journal of Forecasting* 16 (2000)
//! 521–530; that it is smoothing with drift: R. J. Hyndman & B. Billah, *International
//! Journal of Forecasting* 19 (2003) 287–290.

use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use super::ets::{self, Smoothing};
use super::returns::Returns;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError};

/// What the Theta method learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThetaState {
    /// The horizon in intervals.
    pub steps: usize,
    /// The weight of the newest price in the level, between 0 and 1.
    pub alpha: f64,
    /// The slope of the trend line through the training log prices, per interval.
    pub slope: f64,
    /// Around the centre.
    pub offsets: [f64; LEVELS],
}

/// The smoothing of the training returns and the trend of the training prices.
pub(super) fn fit(returns: &Returns, train: &Dataset, steps: usize) -> ThetaState {
    let alpha = ets::level_alone(returns).alpha;
    ThetaState { steps, alpha, slope: trend(train), offsets: [0.0; LEVELS] }
}

/// The slope of the least-squares line through the log prices, per interval; a missing
/// interval is a longer step.
fn trend(train: &Dataset) -> f64 {
    let Some(first) = train.labels.first() else { return 0.0 };
    let n = train.len() as f64;
    let at = |i: usize| train.interval.steps(first.start, train.labels[i].start) as f64;
    let mean_time = (0..train.len()).map(at).sum::<f64>() / n;
    let mean_price = train.base_prices.iter().map(|p| libm::log(*p)).sum::<f64>() / n;
    let (mut along, mut square) = (0.0, 0.0);
    for (i, price) in train.base_prices.iter().enumerate() {
        let time = at(i) - mean_time;
        along += time * (libm::log(*price) - mean_price);
        square += time * time;
    }
    if square > 0.0 { along / square } else { 0.0 }
}

impl ThetaState {
    /// The expected log return over the horizon: back to the level, and half the slope from
    /// where the level lags behind, `1/α − 1` intervals ago. The term that vanishes with the
    /// length of the series, `(1 − α)^n / α`, is left out.
    pub(super) fn centre(&self, window: &[f64]) -> f64 {
        let smoothing = Smoothing { alpha: self.alpha, ..Smoothing::LEVEL };
        let ahead = self.steps as f64 - 1.0 + 1.0 / self.alpha;
        smoothing.centre(window, 1) + 0.5 * self.slope * ahead
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_finite("slope", &[self.slope, self.alpha])?;
        if self.alpha > 0.0 && self.alpha < 1.0 {
            Ok(())
        } else {
            Err(damaged("alpha", "the weight lies between 0 and 1"))
        }
    }
}
