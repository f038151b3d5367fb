//! Seeds: how much of a result is the draw.
//!
//! The first seed is the one that is judged, tested and served; further seeds say how far
//! its error could have come out otherwise. A recipe that draws nothing has one.

use serde::{Deserialize, Serialize};

use super::serial::number;

/// A mean over seeds and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// The mean.
    #[serde(with = "number")]
    pub mean: f64,
    /// The standard deviation (n − 1); NaN of a single seed.
    #[serde(with = "number")]
    pub deviation: f64,
}

impl Deviation {
    pub(crate) fn of(values: &[f64]) -> Self {
        let (mean, deviation) = mean_and_deviation(values);
        Self { mean, deviation }
    }
}

/// What the seeds of a recipe gave, each on all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedSummary {
    /// How many seeds were run through every fold.
    pub seeds: usize,
    /// In how many folds.
    pub folds: usize,
    /// Whether another seed would learn another model; where not, one seed is all there is.
    pub draws: bool,
    /// Mean absolute error, basis points.
    pub mae_bp: Deviation,
    /// `1 − relative MAE` against the random walk.
    pub skill: Deviation,
    /// Continuous ranked probability score.
    pub crps: Deviation,
}

/// The errors of one further seed on all rows; log returns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeedScore {
    /// Mean absolute error.
    pub mae: f64,
    /// Mean continuous ranked probability score.
    pub crps: f64,
}

/// The mean and the standard deviation (n − 1) of some numbers.
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { f64::NAN })
}

/// The seed of a fold for the so-manieth seed of a recipe, from 0: one of its own for each
/// (the finaliser of splitmix64), the same for all recipes of the fold.
pub(crate) fn fold_seed(seed: u64, fold: usize, nth: usize) -> u64 {
    let of_seed = (nth as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let seed = seed.wrapping_add(of_seed);
    let mut z = seed.wrapping_add((fold as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
