//! Ranks of recipes over the folds: who is first how often, and which differences of mean
//! ranks mean anything.
//!
//! Source: J. Demšar, *Statistical comparisons of classifiers over multiple data sets*, JMLR 7
//! (2006): Friedman's test over all, Nemenyi's critical difference for pairs. Folds stand for
//! data sets; they follow one another in time, so the test is the more honest the longer a
//! fold is against the memory of the errors.

use serde::{Deserialize, Serialize};

use super::serial::number;
use super::special::{chi_squared_sf, normal_cdf};

/// Mean ranks over the folds; 1 is the most accurate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    /// The mean rank of each recipe, in the order of the evaluation.
    pub mean: Vec<f64>,
    /// Over how many folds.
    pub folds: usize,
    /// Friedman's statistic, ties allowed for; NaN when all are tied everywhere.
    #[serde(with = "number")]
    pub statistic: f64,
    /// Its p-value by the chi-squared distribution.
    #[serde(with = "number")]
    pub p_value: f64,
    /// The confidence of the critical difference.
    pub level: f64,
    /// By how much two mean ranks must differ (Nemenyi).
    pub critical_difference: f64,
}

/// Ranks recipes by their losses: per recipe one loss for each fold. `None` for fewer than
/// two recipes or folds.
///
/// # Panics
/// When a recipe has another number of folds (a bug of the caller).
pub fn rank(losses: &[Vec<f64>], level: f64) -> Option<Ranks> {
    let (count, folds) = (losses.len(), losses.first().map_or(0, Vec::len));
    assert!(losses.iter().all(|l| l.len() == folds), "every recipe has a loss in every fold");
    if count < 2 || folds < 2 {
        return None;
    }
    let (k, n) = (count as f64, folds as f64);
    let (mut sums, mut ties) = (vec![0.0; count], 0.0);
    for fold in 0..folds {
        let lost: Vec<f64> = losses.iter().map(|of| of[fold]).collect();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| lost[*a].total_cmp(&lost[*b]));
        let mut from = 0;
        while from < count {
            let tied = |i: &&usize| lost[**i] == lost[order[from]];
            let size = order[from..].iter().take_while(tied).count();
            // Places from + 1 to from + size are shared.
            let shared = from as f64 + (size as f64 + 1.0) / 2.0;
            order[from..from + size].iter().for_each(|i| sums[*i] += shared);
            let size_f = size as f64;
            ties += size_f * (size_f * size_f - 1.0);
            from += size;
        }
    }
    let squares: f64 = sums.iter().map(|s| s * s).sum();
    let raw = 12.0 / (n * k * (k + 1.0)) * squares - 3.0 * n * (k + 1.0);
    let statistic = raw / (1.0 - ties / (n * k * (k * k - 1.0)));
    let q = studentized_range_quantile(level, count) / std::f64::consts::SQRT_2;
    Some(Ranks {
        mean: sums.iter().map(|s| s / n).collect(),
        folds,
        statistic,
        p_value: chi_squared_sf(statistic, k - 1.0),
        level,
        critical_difference: q * (k * (k + 1.0) / (6.0 * n)).sqrt(),
    })
}

/// The quantile of the range of so many independent standard normals: the studentized range
/// with infinite degrees of freedom.
pub fn studentized_range_quantile(level: f64, count: usize) -> f64 {
    let nodes = nodes();
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..48 {
        let middle = 0.5 * (low + high);
        if range_cdf(middle, count, &nodes) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The step of the integral over the smallest of the normals.
const STEP: f64 = 0.1;

/// Places with the density and the distribution there.
fn nodes() -> Vec<(f64, f64, f64)> {
    let scale = (2.0 * std::f64::consts::PI).sqrt();
    let at = |i: i32| {
        let z = STEP * f64::from(i);
        (z, libm::exp(-0.5 * z * z) / scale, normal_cdf(z))
    };
    (-90..=90).map(at).collect()
}

/// `k ∫ φ(z) (Φ(z) − Φ(z − q))^(k−1) dz` by the trapezoidal rule, which is exact to rounding
/// here: the integrand is analytic and vanishes at both ends.
fn range_cdf(q: f64, count: usize, nodes: &[(f64, f64, f64)]) -> f64 {
    let power = i32::try_from(count).unwrap_or(i32::MAX) - 1;
    let term =
        |(z, density, below): &(f64, f64, f64)| density * (below - normal_cdf(z - q)).powi(power);
    count as f64 * STEP * nodes.iter().map(term).sum::<f64>()
}
