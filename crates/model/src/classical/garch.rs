//! GARCH(1,1): the variance of the next return follows the last square and the last variance.
//!
//! T. Bollerslev, *Journal of Econometrics* 31 (1986) 307–327. Estimated by quasi maximum
//! likelihood with normal or Student-t shocks, on returns without a mean: over an hour or a
//! day it is far below the noise. The variance of a horizon is the sum of what is expected
//! of its intervals.

use serde::{Deserialize, Serialize};

use super::minimise::{minimise, squash, unsquash};
use super::returns::Returns;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError};

/// The largest sum of both weights: at 1 the variance has no mean.
const PERSISTENCE: f64 = 0.9999;

/// Decay and length of the weights by which the first variance is guessed from the first
/// squares, as in the Python package `arch`.
const BACKCAST: (f64, usize) = (0.94, 75);

/// What the likelihood takes the shocks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shocks {
    /// Normal.
    #[default]
    Normal,
    /// Student's t of unit variance, its degrees of freedom estimated.
    StudentT,
}

/// What GARCH learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GarchState {
    /// The law of the variance.
    pub fit: GarchFit,
    /// The horizon in intervals.
    pub steps: usize,
    /// The smallest volatility that is used, so that a flat market has a spread.
    pub floor: f64,
    /// Around zero, in units of the volatility of the horizon.
    pub offsets: [f64; LEVELS],
}

/// The law of the variance per interval: `ω + α r² + β v`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GarchFit {
    /// What is added in each interval.
    pub omega: f64,
    /// The weight of the newest squared return.
    pub alpha: f64,
    /// The weight of the variance before.
    pub beta: f64,
    /// Degrees of freedom of Student's t; absent for normal shocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrees: Option<f64>,
    /// The mean squared training return: the variance before a window.
    pub level: f64,
}

impl GarchFit {
    /// The law of the largest likelihood.
    pub(crate) fn of(returns: &Returns, shocks: Shocks) -> Self {
        let level = returns.mean_square();
        if level == 0.0 || !level.is_finite() {
            return Self { omega: 0.0, alpha: 0.0, beta: 0.0, degrees: None, level: 0.0 };
        }
        // In units of their mean square, so that the search is the same in every market.
        let squares: Vec<Vec<f64>> =
            returns.runs.iter().map(|run| run.iter().map(|r| r * r / level).collect()).collect();
        let students = shocks == Shocks::StudentT;
        let read = |x: &[f64]| {
            let persistence = PERSISTENCE * squash(x[1]);
            let alpha = persistence * squash(x[2]);
            let degrees = students.then(|| 2.05 + libm::exp(x[3].min(6.0)));
            let omega = libm::exp(x[0]);
            Self { omega, alpha, beta: persistence - alpha, degrees, level: 1.0 }
        };
        let n = returns.len() as f64;
        let mut loss = |x: &[f64]| read(x).minus_log_likelihood(&squares) / n;
        let mut best: Option<(Vec<f64>, f64)> = None;
        for persistence in [0.5, 0.7, 0.9, 0.98] {
            for alpha in [0.01, 0.05, 0.1, 0.2] {
                let mut start = vec![
                    libm::log(1.0 - persistence),
                    unsquash(persistence / PERSISTENCE),
                    unsquash(alpha / persistence),
                ];
                start.extend(students.then(|| libm::log(6.0)));
                let found = loss(&start);
                if best.as_ref().is_none_or(|(_, least)| found < *least) {
                    best = Some((start, found));
                }
            }
        }
        let start = best.map_or_else(|| vec![0.0; 4], |(start, _)| start);
        let found = read(&minimise(&start, 0.3, &mut loss).0);
        Self { omega: found.omega * level, level, ..found }
    }

    /// Minus the log likelihood of runs of squared returns, without the constants. The first
    /// run begins at the guess from its first squares, one after a gap at the mean.
    fn minus_log_likelihood(&self, runs: &[Vec<f64>]) -> f64 {
        /// Logarithms of products: this many variances between 1e-30 and 1e30 fit a number.
        const TOGETHER: usize = 8;
        let (mut logs, mut rest, mut count) = (0.0, 0.0, 0.0);
        let tails = self.degrees.map(|d| 1.0 / (d - 2.0));
        for (i, squares) in runs.iter().enumerate() {
            let mut variance = if i == 0 { backcast(squares) } else { self.level };
            let mut square = variance;
            for chunk in squares.chunks(TOGETHER) {
                let (mut product, mut tail) = (1.0, 1.0);
                for next in chunk {
                    variance = self.omega + self.alpha * square + self.beta * variance;
                    square = *next;
                    product *= variance;
                    match tails {
                        Some(tails) => tail *= 1.0 + tails * square / variance,
                        None => rest += square / variance,
                    }
                }
                logs += libm::log(product);
                if tails.is_some() {
                    rest += libm::log(tail);
                }
                count += chunk.len() as f64;
            }
        }
        match self.degrees {
            None => 0.5 * (logs + rest),
            Some(d) => {
                let constant = libm::lgamma(0.5 * (d + 1.0))
                    - libm::lgamma(0.5 * d)
                    - 0.5 * libm::log(d - 2.0);
                0.5 * (logs + (d + 1.0) * rest) - count * constant
            }
        }
    }

    /// The variance of the log return over the next `steps` intervals, after a window of
    /// returns with the newest first.
    pub(crate) fn variance(&self, window: &[f64], steps: usize) -> f64 {
        let Self { omega, alpha, beta, level, .. } = *self;
        let mut variance = level;
        for r in window.iter().rev() {
            variance = omega + alpha * r * r + beta * variance;
        }
        if window.is_empty() {
            variance = omega + (alpha + beta) * level;
        }
        let mut sum = 0.0;
        for _ in 0..steps {
            sum += variance;
            variance = omega + (alpha + beta) * variance;
        }
        sum
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let Self { omega, alpha, beta, degrees, level } = *self;
        check_finite("fit", &[omega, alpha, beta, level, degrees.unwrap_or(3.0)])?;
        let parts = [("omega", omega), ("alpha", alpha), ("beta", beta), ("level", level)];
        match parts.iter().find(|(_, v)| *v < 0.0) {
            Some((place, _)) => Err(damaged(place, "a variance has no negative part")),
            None if alpha + beta > 1.0 => Err(damaged("beta", "the weights sum to more than 1")),
            None => Ok(()),
        }
    }
}

/// A first variance from the first squares.
fn backcast(squares: &[f64]) -> f64 {
    let (mut weight, mut sum, mut weights) = (1.0, 0.0, 0.0);
    for square in squares.iter().take(BACKCAST.1) {
        sum += weight * square;
        weights += weight;
        weight *= BACKCAST.0;
    }
    if weights > 0.0 { sum / weights } else { 1.0 }
}
