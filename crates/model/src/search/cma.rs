//! Covariance matrix adaptation in the unit cube.
//!
//! Source: N. Hansen, *The CMA Evolution Strategy: A Tutorial*, arXiv:1604.00772 (2016),
//! with its default constants. A draw outside the cube is drawn again, and cut off where
//! that does not help. The whole path is walked anew for each generation from the trials
//! that are told: there is no state.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::sampler::{Score, Told, rng_of, uniform};
use super::space::Space;
use crate::evaluate::special::normal_quantile;

/// The first step size: a part of the range.
const SIGMA: f64 = 0.25;
/// How often a draw outside the cube is drawn again.
const AGAIN: usize = 100;

/// How many trials of the generation of a number are left, itself included.
pub(super) fn left_in_generation(space: &Space, number: usize) -> usize {
    let size = population(numbers(space).len());
    size - number % size
}

fn numbers(space: &Space) -> Vec<usize> {
    let ordered = |(j, range): (usize, &super::Range)| range.choices().is_none().then_some(j);
    space.ranges().enumerate().filter_map(ordered).collect()
}

fn population(dimensions: usize) -> usize {
    4 + (3.0 * libm::log(dimensions.max(1) as f64)) as usize
}

/// The next point.
pub(super) fn ask(space: &Space, told: &[Told], seed: u64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut point = uniform(space, rng);
    let columns = numbers(space);
    if columns.is_empty() {
        return point;
    }
    let size = population(columns.len());
    let mut path = Path::new(columns.len());
    for generation in told.chunks_exact(size) {
        let mut ranked: Vec<&Told> = generation.iter().collect();
        ranked.sort_by(|a, b| Score::better_first(&a.score, &b.score));
        let of = |t: &&Told| columns.iter().map(|j| t.point[*j]).collect::<Vec<f64>>();
        path.tell(&ranked.iter().map(of).collect::<Vec<_>>());
    }
    let mut own = rng_of(seed ^ 0x00c3_a5e5, told.len() as u64);
    for (j, value) in columns.iter().zip(path.draw(&mut own)) {
        point[*j] = value;
    }
    point
}

/// Where the distribution stands after some generations.
struct Path {
    n: usize,
    mean: Vec<f64>,
    sigma: f64,
    /// Row by row.
    covariance: Vec<f64>,
    path_c: Vec<f64>,
    path_sigma: Vec<f64>,
    generations: i32,
    /// Axes of the covariance, one per column, and the roots of their lengths.
    axes: Vec<f64>,
    lengths: Vec<f64>,
}

impl Path {
    fn new(n: usize) -> Self {
        let mut covariance = vec![0.0; n * n];
        (0..n).for_each(|i| covariance[i * n + i] = 1.0);
        Self {
            n,
            mean: vec![0.5; n],
            sigma: SIGMA,
            axes: covariance.clone(),
            covariance,
            path_c: vec![0.0; n],
            path_sigma: vec![0.0; n],
            generations: 0,
            lengths: vec![1.0; n],
        }
    }

    #[allow(clippy::needless_range_loop, reason = "the indices are those of matrices too")]
    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let n = self.n;
        let mut point = self.mean.clone();
        for _ in 0..AGAIN {
            let z: Vec<f64> = self
                .lengths
                .iter()
                .map(|d| d * normal_quantile(rng.random::<f64>().clamp(1e-15, 1.0 - 1e-15)))
                .collect();
            for i in 0..n {
                let step: f64 = (0..n).map(|k| self.axes[i * n + k] * z[k]).sum();
                point[i] = self.mean[i] + self.sigma * step;
            }
            if point.iter().all(|v| (0.0..=1.0).contains(v)) {
                return point;
            }
        }
        point.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        point
    }

    /// Learns from a generation, the best first (eqs. 39 to 55 of the tutorial).
    #[allow(clippy::needless_range_loop, reason = "the indices are those of matrices too")]
    fn tell(&mut self, ranked: &[Vec<f64>]) {
        let (n, size) = (self.n, ranked.len());
        let dims = n as f64;
        let parents = size / 2;
        let raw = |i: usize| libm::log((size as f64 + 1.0) / 2.0) - libm::log(i as f64 + 1.0);
        let sum: f64 = (0..parents).map(raw).sum();
        let weights: Vec<f64> = (0..parents).map(|i| raw(i) / sum).collect();
        let mu = 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
        let c_sigma = (mu + 2.0) / (dims + mu + 5.0);
        let d_sigma = 1.0 + 2.0 * (((mu - 1.0) / (dims + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu / dims) / (dims + 4.0 + 2.0 * mu / dims);
        let c_1 = 2.0 / ((dims + 1.3).powi(2) + mu);
        let c_mu = (2.0 * (mu - 2.0 + 1.0 / mu) / ((dims + 2.0).powi(2) + mu)).min(1.0 - c_1);
        let expected = dims.sqrt() * (1.0 - 1.0 / (4.0 * dims) + 1.0 / (21.0 * dims * dims));

        let steps: Vec<Vec<f64>> = ranked[..parents]
            .iter()
            .map(|x| x.iter().zip(&self.mean).map(|(x, m)| (x - m) / self.sigma).collect())
            .collect();
        let step: Vec<f64> =
            (0..n).map(|i| steps.iter().zip(&weights).map(|(s, w)| w * s[i]).sum()).collect();
        for (m, s) in self.mean.iter_mut().zip(&step) {
            *m += self.sigma * s;
        }
        // The step as a sphere sees it: the inverse root of the covariance times it.
        let along: Vec<f64> = (0..n)
            .map(|k| (0..n).map(|i| self.axes[i * n + k] * step[i]).sum::<f64>() / self.lengths[k])
            .collect();
        let keep = (c_sigma * (2.0 - c_sigma) * mu).sqrt();
        for i in 0..n {
            let round: f64 = (0..n).map(|k| self.axes[i * n + k] * along[k]).sum();
            self.path_sigma[i] = (1.0 - c_sigma) * self.path_sigma[i] + keep * round;
        }
        self.generations += 1;
        let length = self.path_sigma.iter().map(|p| p * p).sum::<f64>().sqrt();
        let settled = (1.0 - (1.0 - c_sigma).powi(2 * self.generations)).sqrt();
        let straight = length / settled < (1.4 + 2.0 / (dims + 1.0)) * expected;
        let h = f64::from(u8::from(straight));
        let keep = (c_c * (2.0 - c_c) * mu).sqrt();
        for i in 0..n {
            self.path_c[i] = (1.0 - c_c) * self.path_c[i] + h * keep * step[i];
        }
        let rest = 1.0 - c_1 - c_mu + (1.0 - h) * c_1 * c_c * (2.0 - c_c);
        for i in 0..n {
            for j in 0..n {
                let many: f64 = steps.iter().zip(&weights).map(|(s, w)| w * s[i] * s[j]).sum();
                let c = &mut self.covariance[i * n + j];
                *c = rest * *c + c_1 * self.path_c[i] * self.path_c[j] + c_mu * many;
            }
        }
        self.sigma *= libm::exp((c_sigma / d_sigma) * (length / expected - 1.0)).min(2.0);
        self.sigma = self.sigma.clamp(1e-8, 1.0);
        let (values, axes) = symmetric_eigen(&self.covariance, n);
        self.lengths = values.into_iter().map(|v| v.max(1e-14).sqrt()).collect();
        self.axes = axes;
    }
}

/// Eigenvalues and eigenvectors (as columns) of a symmetric matrix by Jacobi's rotations
/// (Golub and Van Loan, *Matrix Computations*, ch. 8.5).
#[allow(clippy::needless_range_loop, reason = "the indices are those of matrices too")]
fn symmetric_eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..100 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j].powi(2))
            .sum();
        if off < 1e-30 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q].abs() < 1e-300 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (v[k * n + p], v[k * n + q]);
                    (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symmetric_matrix_is_its_axes() {
        // numpy.linalg.eigvalsh([[4, 1, -2], [1, 2, 0], [-2, 0, 3]])
        let matrix = [4.0, 1.0, -2.0, 1.0, 2.0, 0.0, -2.0, 0.0, 3.0];
        let (mut values, axes) = symmetric_eigen(&matrix, 3);
        for i in 0..3 {
            for j in 0..3 {
                let back: f64 = (0..3).map(|k| axes[i * 3 + k] * values[k] * axes[j * 3 + k]).sum();
                foretell_testkit::assert_close(back, matrix[i * 3 + j], 1e-12);
            }
        }
        values.sort_by(f64::total_cmp);
        let trace: f64 = values.iter().sum();
        foretell_testkit::assert_close(trace, 9.0, 1e-12);
    }
}
