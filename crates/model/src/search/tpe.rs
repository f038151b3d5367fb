//! The tree-structured Parzen estimator over all settings jointly.
//!
//! The best tenth of the trials and the others are each a mixture of kernels, one per
//! trial and one over everything; of some draws from the first mixture the one that is
//! most likely under it, compared with the second, is tried next.
//!
//! Sources: J. Bergstra, R. Bardenet, Y. Bengio and B. Kégl, *Algorithms for
//! Hyper-Parameter Optimization*, NeurIPS 24 (2011); S. Watanabe, *Tree-Structured Parzen
//! Estimator*, arXiv:2304.11127 (2023), whose names the parts have: bandwidths from the
//! neighbours, the "magic clipping" of small ones, weights that fade with age, and kernels
//! that are products over all settings. Trials that have not ended count among the others
//! ("constant liar"), so that those asked for at once do not crowd.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::sampler::{Score, Told, rng_of, uniform};
use super::space::{Range, Space};
use crate::evaluate::special::{normal_cdf, normal_quantile};

/// Trials spread evenly before the first estimate.
const STARTUP: usize = 10;
/// Sets the random numbers of the first trials apart from those of the others.
const STRATA: u64 = 0x5eed_57a7;
/// Draws of which the best is tried.
const CANDIDATES: usize = 64;
/// Trials of full weight; older ones of the others fade.
const RECENT: usize = 25;

/// The next point.
pub(super) fn ask(space: &Space, told: &[Told], seed: u64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let ended: Vec<usize> = (0..told.len())
        .filter(|i| !matches!(told[*i].score, Score::Pending | Score::Failed))
        .collect();
    if told.len() < STARTUP {
        return stratified(space, told.len(), seed);
    }
    if ended.len() < STARTUP.min(told.len()) / 2 {
        return uniform(space, rng);
    }
    let mut ranked = ended.clone();
    ranked.sort_by(|a, b| Score::better_first(&told[*a].score, &told[*b].score));
    let mut good: Vec<usize> = ranked[..ended.len().div_ceil(10).min(RECENT)].to_vec();
    good.sort_unstable();
    let others: Vec<usize> = (0..told.len()).filter(|i| !good.contains(i)).collect();
    let points = |of: &[usize]| of.iter().map(|i| &told[*i].point[..]).collect::<Vec<_>>();
    let below = Mixture::of(space, &points(&good));
    let above = Mixture::of(space, &points(&others));
    let mut best: Option<(f64, Vec<f64>)> = None;
    for _ in 0..CANDIDATES {
        let point = below.draw(space, rng);
        let gain = below.log_density(space, &point) - above.log_density(space, &point);
        if best.as_ref().is_none_or(|(most, _)| gain > *most) {
            best = Some((gain, point));
        }
    }
    best.map_or_else(|| uniform(space, rng), |(_, point)| point)
}

/// The first trials, a Latin hypercube: each setting has one value in every tenth of its
/// range, or each choice as often as any other (McKay, Beckman and Conover, 1979).
fn stratified(space: &Space, number: usize, seed: u64) -> Vec<f64> {
    let one = |(j, range): (usize, &Range)| {
        let mut rng = rng_of(seed ^ STRATA, j as u64);
        let mut order: Vec<usize> = (0..STARTUP).collect();
        for last in (1..STARTUP).rev() {
            order.swap(last, rng.random_range(0..=last));
        }
        let inside: Vec<f64> = (0..STARTUP).map(|_| rng.random::<f64>()).collect();
        let at = (order[number] as f64 + inside[number]) / STARTUP as f64;
        range.choices().map_or(at, |n| (at * n as f64).min(n as f64 - 1.0).trunc())
    };
    space.ranges().enumerate().map(one).collect()
}

/// One setting of all kernels.
enum Axis {
    /// Mean and deviation of normal distributions cut off at 0 and 1.
    Normal(Vec<(f64, f64)>),
    /// The probability of each choice.
    Choice(Vec<Vec<f64>>),
}

/// A mixture of products.
struct Mixture {
    weights: Vec<f64>,
    axes: Vec<Axis>,
}

impl Mixture {
    /// A kernel on each point and a flat one over everything, the last.
    fn of(space: &Space, points: &[&[f64]]) -> Self {
        let fading = points.len().saturating_sub(RECENT);
        let weight = |i: usize| match (i < fading, fading) {
            (false, _) => 1.0,
            (true, 1) => 1.0 / points.len() as f64,
            // From 1/n for the oldest up to 1.
            (true, _) => {
                let least = 1.0 / points.len() as f64;
                least + (1.0 - least) * i as f64 / (fading - 1) as f64
            }
        };
        let mut weights: Vec<f64> = (0..points.len()).map(weight).chain([1.0]).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        let axis = |(j, range): (usize, &Range)| {
            let values: Vec<f64> = points.iter().map(|p| p[j]).collect();
            match range.choices() {
                Some(n) => Axis::Choice(choices(&values, n)),
                None => Axis::Normal(normals(&values)),
            }
        };
        Self { weights, axes: space.ranges().enumerate().map(axis).collect() }
    }

    fn draw(&self, space: &Space, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let kernel = pick(&self.weights, rng);
        let one = |(axis, range): (&Axis, &Range)| match axis {
            Axis::Choice(kernels) => pick(&kernels[kernel], rng) as f64,
            Axis::Normal(kernels) => {
                let (mean, deviation) = kernels[kernel];
                let (low, high) =
                    (normal_cdf(-mean / deviation), normal_cdf((1.0 - mean) / deviation));
                let share = (low + (high - low) * rng.random::<f64>()).clamp(1e-15, 1.0 - 1e-15);
                let drawn = (mean + deviation * normal_quantile(share)).clamp(0.0, 1.0);
                // What lies in the cell of a whole number is that number.
                range
                    .point(&range.value(drawn))
                    .filter(|_| range.cell(drawn).is_some())
                    .unwrap_or(drawn)
            }
        };
        self.axes.iter().zip(space.ranges()).map(one).collect()
    }

    fn log_density(&self, space: &Space, point: &[f64]) -> f64 {
        let mut terms: Vec<f64> = self.weights.iter().map(|w| libm::log(*w)).collect();
        for ((axis, range), at) in self.axes.iter().zip(space.ranges()).zip(point) {
            let cell = range.cell(*at);
            for (k, term) in terms.iter_mut().enumerate() {
                *term += match axis {
                    Axis::Choice(kernels) => libm::log(kernels[k][*at as usize]),
                    Axis::Normal(kernels) => {
                        let (mean, deviation) = kernels[k];
                        let mass = |low: f64, high: f64| {
                            normal_cdf((high - mean) / deviation)
                                - normal_cdf((low - mean) / deviation)
                        };
                        let inside = match cell {
                            Some((low, high)) => libm::log(mass(low, high)),
                            None => {
                                let z = (at - mean) / deviation;
                                -0.5 * z * z
                                    - libm::log(deviation * libm::sqrt(2.0 * std::f64::consts::PI))
                            }
                        };
                        inside - libm::log(mass(0.0, 1.0))
                    }
                };
            }
        }
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + libm::log(terms.iter().map(|t| libm::exp(t - most)).sum())
    }
}

/// A deviation per value: the larger distance to its neighbours, the bounds among them, but
/// neither below what so many kernels would need to cover the range nor above its length.
fn normals(values: &[f64]) -> Vec<(f64, f64)> {
    let n = values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let at = |place: usize| values[order[place]];
    let least = 1.0 / (n as f64 + 2.0).min(100.0);
    let mut kernels = vec![(0.5, 1.0); n + 1];
    for place in 0..n {
        let before = if place > 0 { at(place) - at(place - 1) } else { at(place) };
        let after = if place + 1 < n { at(place + 1) - at(place) } else { 1.0 - at(place) };
        // Away from the bounds, where there is a neighbour on one side alone.
        let distance = match (place, n) {
            (_, 1) => before.max(after),
            (0, _) => after,
            (last, _) if last + 1 == n => before,
            _ => before.max(after),
        };
        kernels[order[place]] = (at(place), distance.clamp(least, 1.0));
    }
    kernels
}

/// The probability of each choice per kernel: mostly that of its own trial.
fn choices(values: &[f64], n: usize) -> Vec<Vec<f64>> {
    let kernels = values.len() + 1;
    let flat = 1.0 / kernels as f64;
    let whole = 1.0 + flat * n as f64;
    let around =
        |own: usize| (0..n).map(|c| (flat + f64::from(u8::from(c == own))) / whole).collect();
    let mut all: Vec<Vec<f64>> = values.iter().map(|v| around(*v as usize)).collect();
    all.push(vec![1.0 / n as f64; n]);
    all
}

/// A place drawn by its weight; the weights sum to 1.
fn pick(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut left = rng.random::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return i;
        }
    }
    weights.len() - 1
}
