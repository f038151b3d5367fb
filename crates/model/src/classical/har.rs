//! HAR-RV: realised variance regressed on that of the horizon, the last day, week and month.
//!
//! F. Corsi, *Journal of Financial Econometrics* 7 (2009) 174–196. Everything is a mean
//! squared one-interval return, so that the parts of the cascade have one unit; where two
//! are the same (on daily rows the day is the horizon) the second is left out. Weights are
//! not negative, so that no variance is: the least squares under that condition are found
//! among all subsets of the five columns.

use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use super::minimise::solve;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError, Schema};

/// The parts of the cascade, the shortest first.
const PARTS: usize = 4;

/// Their columns.
const NAMES: [&str; PARTS] =
    ["mean_square_horizon", "mean_square_day", "mean_square_week", "mean_square_month"];

/// Fewer pairs of what was seen and what came fall back to the squared labels.
const MIN_PAIRS: usize = 50;

/// The share of the mean below which no fit weighs a row, so that calm hours do not decide
/// alone.
const WEIGHT_FLOOR: f64 = 0.05;

/// What HAR learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarState {
    /// The regression.
    pub fit: HarFit,
    /// The horizon in intervals.
    pub steps: usize,
    /// The smallest volatility that is used, so that a flat market has a spread.
    pub floor: f64,
    /// Around zero, in units of the volatility of the horizon.
    pub offsets: [f64; LEVELS],
}

/// The regression: mean squared return to come = intercept + weights × cascade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarFit {
    /// The variance per interval that stays when nothing moved.
    pub intercept: f64,
    /// Weights of horizon, day, week and month; 0 for one that repeats a shorter one.
    pub weights: [f64; PARTS],
}

/// Where the context of a row has the cascade.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CascadeColumns([usize; PARTS]);

impl CascadeColumns {
    /// Or the name of a column that is absent.
    pub(crate) fn find(schema: &Schema) -> Result<Self, &'static str> {
        let mut found = [0; PARTS];
        for (place, name) in found.iter_mut().zip(NAMES) {
            *place = schema.context_index(name).ok_or(name)?;
        }
        Ok(Self(found))
    }

    /// The cascade of a row.
    pub(crate) fn row(&self, row: &[f64]) -> [f64; PARTS] {
        self.0.map(|j| row[j])
    }

    /// What each row saw and the mean squared return that came. Over several intervals that
    /// is what the row a horizon later saw, when it is a training row too; over one it is
    /// the squared label.
    pub(crate) fn training_pairs(&self, train: &Dataset, steps: usize) -> Vec<([f64; PARTS], f64)> {
        let seen = |i: usize| self.row(train.context.row(i));
        let labels = &train.labels;
        if steps > 1 {
            let later = |i: usize| {
                let wanted = labels[i].start + train.horizon;
                labels.binary_search_by_key(&wanted, |l| l.start).ok()
            };
            let pair = |i: usize| Some((seen(i), seen(later(i)?)[0]));
            let pairs: Vec<_> = (0..train.len()).filter_map(pair).collect();
            if pairs.len() >= MIN_PAIRS {
                return pairs;
            }
        }
        let square = |i: usize| labels[i].value * labels[i].value / steps as f64;
        (0..train.len()).map(|i| (seen(i), square(i))).collect()
    }
}

impl HarFit {
    /// Least squares under weights of zero or more; `weighted` a second time with each row
    /// weighted by the inverse square of its first fit, since the error of a variance grows
    /// with the variance (A. J. Patton & K. Sheppard, *Review of Economics and Statistics*
    /// 97, 2015).
    pub(crate) fn of(pairs: &[([f64; PARTS], f64)], weighted: bool) -> Self {
        let mean = pairs.iter().map(|(_, y)| y).sum::<f64>() / pairs.len().max(1) as f64;
        if mean <= 0.0 || !mean.is_finite() {
            return Self { intercept: 0.0, weights: [0.0; PARTS] };
        }
        let first = Equations::of(pairs, mean, |_| 1.0).least_squares();
        let found = if weighted {
            let weight = |x: &[f64; PARTS + 1]| {
                let fit: f64 = x.iter().zip(&first).map(|(x, w)| x * w).sum();
                1.0 / (fit * fit).max(WEIGHT_FLOOR * WEIGHT_FLOOR)
            };
            Equations::of(pairs, mean, weight).least_squares()
        } else {
            first
        };
        let [intercept, weights @ ..] = found;
        Self { intercept: intercept * mean, weights }
    }

    /// The forecast of the mean squared one-interval return.
    pub(crate) fn mean_square(&self, cascade: [f64; PARTS]) -> f64 {
        let parts = cascade.iter().zip(&self.weights).map(|(x, w)| x * w);
        self.intercept + parts.sum::<f64>()
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_finite("intercept", &[self.intercept])?;
        check_finite("weights", &self.weights)?;
        match self.weights.iter().chain([&self.intercept]).all(|w| *w >= 0.0) {
            true => Ok(()),
            false => Err(damaged("weights", "a variance has no negative part")),
        }
    }
}

/// The normal equations of an intercept and the cascade, in units of the mean target.
struct Equations {
    gram: [[f64; PARTS + 1]; PARTS + 1],
    moments: [f64; PARTS + 1],
    /// Which columns repeat a shorter one.
    repeated: [bool; PARTS + 1],
}

impl Equations {
    fn of(
        pairs: &[([f64; PARTS], f64)],
        mean: f64,
        weight: impl Fn(&[f64; PARTS + 1]) -> f64,
    ) -> Self {
        let mut gram = [[0.0; PARTS + 1]; PARTS + 1];
        let mut moments = [0.0; PARTS + 1];
        let mut repeated = [false; PARTS + 1];
        for j in 1..PARTS {
            let same = |k: usize| pairs.iter().all(|(x, _)| x[k] == x[j]);
            repeated[j + 1] = (0..j).any(same);
        }
        for (cascade, y) in pairs {
            let mut x = [1.0; PARTS + 1];
            x[1..].iter_mut().zip(cascade).for_each(|(x, c)| *x = c / mean);
            let w = weight(&x);
            for j in 0..=PARTS {
                moments[j] += w * x[j] * y / mean;
                for k in 0..=PARTS {
                    gram[j][k] += w * x[j] * x[k];
                }
            }
        }
        Self { gram, moments, repeated }
    }

    /// The weights of zero or more with the least squares: one of the subsets of columns has
    /// them as its own solution, so all are looked at.
    fn least_squares(&self) -> [f64; PARTS + 1] {
        let mut best = ([0.0; PARTS + 1], 0.0);
        for subset in 1u32..1 << (PARTS + 1) {
            let columns: Vec<usize> = (0..=PARTS).filter(|j| subset >> j & 1 == 1).collect();
            if columns.iter().any(|&j| self.repeated[j]) {
                continue;
            }
            let gram = columns.iter().map(|&j| columns.iter().map(|&k| self.gram[j][k]).collect());
            let moments: Vec<f64> = columns.iter().map(|&j| self.moments[j]).collect();
            let Some(weights) = solve(gram.collect(), moments.clone()) else { continue };
            if weights.iter().any(|w| *w < 0.0) {
                continue;
            }
            // The squares that a solution explains.
            let explained: f64 = weights.iter().zip(&moments).map(|(w, m)| w * m).sum();
            if explained > best.1 {
                let mut all = [0.0; PARTS + 1];
                columns.iter().zip(&weights).for_each(|(&j, w)| all[j] = *w);
                best = (all, explained);
            }
        }
        best.0
    }
}
