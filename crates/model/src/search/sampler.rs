//! Which point is tried next: at random, on a grid, by TPE or by CMA-ES.
//!
//! Every sampler is a function of the space, the trials told so far, the number of the
//! trial and the seed. There is no state to keep, so a search that is resumed asks for the
//! same points as one that was never interrupted.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::space::Space;
use super::{cma, tpe};

/// How points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Tree-structured Parzen estimator over all settings jointly.
    #[default]
    Tpe,
    /// Uniformly at random.
    Random,
    /// Every point of a grid, in an order drawn at random.
    Grid,
    /// Covariance matrix adaptation; choices without an order are drawn at random.
    CmaEs,
}

/// A point that was asked for before, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The point.
    pub point: Vec<f64>,
    /// What became of it.
    pub score: Score,
}

/// What became of a trial. The smaller the objective, the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Score {
    /// It ended with this objective.
    Complete(f64),
    /// It was given up after some steps, with this objective so far.
    Pruned(usize, f64),
    /// It has no objective.
    Failed,
    /// It was asked for and has not ended.
    Pending,
}

impl Score {
    /// Sorts the better before the worse: complete trials by their objective, then pruned
    /// ones, those that came further first.
    pub(crate) fn rank(&self) -> (u8, std::cmp::Reverse<usize>, f64) {
        use std::cmp::Reverse;
        match *self {
            Self::Complete(value) => (0, Reverse(0), value),
            Self::Pruned(steps, value) => (1, Reverse(steps), value),
            Self::Failed => (2, Reverse(0), 0.0),
            Self::Pending => (3, Reverse(0), 0.0),
        }
    }

    pub(crate) fn better_first(a: &Self, b: &Self) -> std::cmp::Ordering {
        let (a, b) = (a.rank(), b.rank());
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
    }
}

/// The largest grid that is put into an order.
const LARGEST_GRID: usize = 1_000_000;

impl Sampler {
    /// The next point; `None` when a grid has no more. `told` are the trials before it, in
    /// the order in which they were asked for; `points` per number is how fine a grid is.
    pub fn ask(self, space: &Space, points: usize, told: &[Told], seed: u64) -> Option<Vec<f64>> {
        let number = told.len() as u64;
        let mut rng = rng_of(seed, number);
        match self {
            Self::Random => Some(uniform(space, &mut rng)),
            Self::Tpe => Some(tpe::ask(space, told, seed, &mut rng)),
            Self::CmaEs => Some(cma::ask(space, told, seed, &mut rng)),
            Self::Grid => grid_point(space, points, number, seed),
        }
    }

    /// How many points there are to ask for; `None` when there is no end.
    pub fn size(self, space: &Space, points: usize) -> Option<usize> {
        let product = |n: usize, range: &super::Range| n.checked_mul(range.grid(points).len());
        match self {
            Self::Grid => Some(space.ranges().try_fold(1, product).unwrap_or(usize::MAX)),
            _ => None,
        }
    }

    /// Whether the grid is small enough to be walked.
    pub(crate) fn fits(self, space: &Space, points: usize) -> bool {
        self.size(space, points).is_none_or(|size| size <= LARGEST_GRID)
    }

    /// How many trials from a number on may be asked for before any of them has ended.
    pub(crate) fn at_once(self, space: &Space, number: usize, wanted: usize) -> usize {
        match self {
            Self::CmaEs => wanted.min(cma::left_in_generation(space, number)),
            _ => wanted,
        }
    }
}

/// Random numbers of one trial.
pub(crate) fn rng_of(seed: u64, number: u64) -> ChaCha8Rng {
    let mut z = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ChaCha8Rng::seed_from_u64(z ^ (z >> 31))
}

/// A point that is as likely as any other.
pub(crate) fn uniform(space: &Space, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let draw = |range: &super::Range| match range.choices() {
        Some(n) => rng.random_range(0..n) as f64,
        None => rng.random::<f64>(),
    };
    space.ranges().map(draw).collect()
}

fn grid_point(space: &Space, points: usize, number: u64, seed: u64) -> Option<Vec<f64>> {
    let axes: Vec<Vec<f64>> = space.ranges().map(|r| r.grid(points)).collect();
    let size: usize = axes.iter().map(Vec::len).product();
    let mut order: Vec<usize> = (0..size).collect();
    let mut rng = rng_of(seed, u64::MAX);
    for last in (1..size).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    let mut place = *order.get(usize::try_from(number).ok()?)?;
    let mut point = Vec::with_capacity(axes.len());
    for axis in &axes {
        point.push(axis[place % axis.len()]);
        place /= axis.len();
    }
    Some(point)
}
