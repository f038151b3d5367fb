//! The weights of a stacked ensemble: the convex combination of quantile forecasts with the
//! smallest mean pinball loss over all nine levels.
//!
//! The loss is convex in the weights. It is lowered by exponentiated gradients (Kivinen &
//! Warmuth, 1997) from equal weights, with steps that only ever lower it; a member that
//! alone is better takes all. No draw, no thread: the same forecasts give the same weights.

use crate::{LEVELS, QUANTILE_LEVELS};

/// Rounds after which the descent ends wherever it is.
const ROUNDS: usize = 400;

/// The relative gain of a round below which the descent ends.
const ENOUGH: f64 = 1e-9;

/// The weights, zero or more with sum 1, for forecasts of the same rows: per member nine
/// quantiles a row, row by row, and what came. Equal weights when there is no row.
///
/// # Panics
/// When a member has not nine quantiles for each outcome (a bug of the caller).
pub fn stacking_weights(members: &[&[f64]], outcomes: &[f64]) -> Vec<f64> {
    let count = members.len();
    let whole = members.iter().all(|m| m.len() == outcomes.len() * LEVELS);
    assert!(whole, "nine quantiles of each member for each outcome");
    let mut weights = vec![1.0 / count as f64; count];
    if outcomes.is_empty() || count < 2 {
        return weights;
    }
    let (mut loss, mut gradient) = pinball(members, outcomes, &weights);
    // In units of the spread of the gradient a step of 1 is a large one.
    let spread = |g: &[f64]| {
        let (low, high) =
            g.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        high - low
    };
    let mut step = 1.0;
    for _ in 0..ROUNDS {
        let unit = spread(&gradient);
        if unit <= f64::MIN_POSITIVE {
            break;
        }
        let before = loss;
        let mut lowered = false;
        while step > 1e-9 {
            let moved = moved(&weights, &gradient, step / unit);
            let (there, slope) = pinball(members, outcomes, &moved);
            if there < loss {
                (weights, loss, gradient, lowered) = (moved, there, slope, true);
                step = (step * 2.0).min(16.0);
                break;
            }
            step /= 2.0;
        }
        if !lowered || before - loss <= ENOUGH * before {
            break;
        }
    }
    for alone in 0..count {
        let mut one = vec![0.0; count];
        one[alone] = 1.0;
        if pinball(members, outcomes, &one).0 <= loss {
            (loss, weights) = (pinball(members, outcomes, &one).0, one);
        }
    }
    // What is left of a member that the descent drives out.
    weights.iter_mut().filter(|w| **w < 1e-6).for_each(|w| *w = 0.0);
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    weights
}

/// A step against the gradient that stays in the simplex.
fn moved(weights: &[f64], gradient: &[f64], rate: f64) -> Vec<f64> {
    let least = gradient.iter().copied().fold(f64::MAX, f64::min);
    let mut moved: Vec<f64> =
        weights.iter().zip(gradient).map(|(w, g)| w * libm::exp(-rate * (g - least))).collect();
    let sum: f64 = moved.iter().sum();
    moved.iter_mut().for_each(|w| *w /= sum);
    moved
}

/// The mean pinball loss of the combination, and its slope in each weight.
fn pinball(members: &[&[f64]], outcomes: &[f64], weights: &[f64]) -> (f64, Vec<f64>) {
    let (mut loss, mut slopes) = (0.0, vec![0.0; members.len()]);
    for (i, y) in outcomes.iter().enumerate() {
        for (level, p) in QUANTILE_LEVELS.iter().enumerate() {
            let at = i * LEVELS + level;
            let q: f64 = members.iter().zip(weights).map(|(m, w)| w * m[at]).sum();
            let error = y - q;
            let slope = if error > 0.0 { -p } else { 1.0 - p };
            loss -= slope * error;
            slopes.iter_mut().zip(members).for_each(|(s, m)| *s += slope * m[at]);
        }
    }
    let n = (outcomes.len() * LEVELS) as f64;
    slopes.iter_mut().for_each(|s| *s /= n);
    (loss / n, slopes)
}
