//! Which settings mattered: functional analysis of variance over the trials.
//!
//! A forest of regression trees learns the objective from the points; the variance that the
//! mean over all other settings has along one setting is its share. Source: F. Hutter, H.
//! Hoos and K. Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter
//! Importance*, ICML 2014. Interactions are not shown: the shares sum to 1 or less.

use rand::RngExt as _;

use super::sampler::rng_of;
use super::space::Space;

/// How many trees are averaged.
const TREES: u64 = 64;
/// The fewest trials that say anything.
const FEWEST: usize = 8;

/// The share of each setting in the variance of the objective, in the order of the space;
/// empty for fewer than eight trials or when nothing made a difference.
pub fn importance(space: &Space, trials: &[(Vec<f64>, f64)]) -> Vec<f64> {
    let axes: Vec<Axis> = space.ranges().map(|r| Axis { choices: r.choices() }).collect();
    if trials.len() < FEWEST {
        return Vec::new();
    }
    // A few failures of the objective would be all the variance: the worse half is cut off
    // where its distance is ten times that of the better.
    let mut sorted: Vec<f64> = trials.iter().map(|t| t.1).collect();
    sorted.sort_by(f64::total_cmp);
    let (least, median) = (sorted[0], crate::empirical_quantile(&sorted, 0.5));
    let most = median + 10.0 * (median - least);
    let values: Vec<f64> = trials.iter().map(|t| t.1.min(most)).collect();
    let mut shares = vec![0.0; axes.len()];
    let mut grown = 0.0;
    for tree in 0..TREES {
        let mut rng = rng_of(17, tree);
        let rows: Vec<usize> =
            (0..trials.len()).map(|_| rng.random_range(0..trials.len())).collect();
        let mut leaves = Vec::new();
        let whole: Vec<Side> = axes.iter().map(Axis::whole).collect();
        grow(trials, &values, &axes, rows, whole, &mut leaves);
        let mean: f64 = leaves.iter().map(|l| l.volume(&axes) * l.value).sum();
        let spread = |l: &Leaf| l.volume(&axes) * (l.value - mean).powi(2);
        let total: f64 = leaves.iter().map(spread).sum();
        if total <= 1e-300 {
            continue;
        }
        grown += 1.0;
        for (j, share) in shares.iter_mut().enumerate() {
            *share += along(&leaves, &axes, j, mean) / total;
        }
    }
    if grown == 0.0 {
        return Vec::new();
    }
    shares.iter_mut().for_each(|s| *s /= grown);
    shares
}

/// One setting: a unit interval, or choices of equal weight.
struct Axis {
    choices: Option<usize>,
}

/// The part of a setting that a leaf covers.
#[derive(Clone)]
enum Side {
    Between(f64, f64),
    Among(Vec<bool>),
}

impl Axis {
    fn whole(&self) -> Side {
        self.choices.map_or(Side::Between(0.0, 1.0), |n| Side::Among(vec![true; n]))
    }
}

impl Side {
    fn length(&self) -> f64 {
        match self {
            Self::Between(low, high) => high - low,
            Self::Among(inside) => {
                inside.iter().filter(|i| **i).count() as f64 / inside.len() as f64
            }
        }
    }
}

struct Leaf {
    sides: Vec<Side>,
    value: f64,
}

impl Leaf {
    fn volume(&self, axes: &[Axis]) -> f64 {
        (0..axes.len()).map(|j| self.sides[j].length()).product()
    }
}

/// The best split of some rows: by how much it lowers the squared error, where, and what
/// goes to the left.
struct Split {
    gain: f64,
    axis: usize,
    at: f64,
}

fn grow(
    trials: &[(Vec<f64>, f64)],
    values: &[f64],
    axes: &[Axis],
    rows: Vec<usize>,
    sides: Vec<Side>,
    leaves: &mut Vec<Leaf>,
) {
    let mean = rows.iter().map(|r| values[*r]).sum::<f64>() / rows.len() as f64;
    let best = (0..axes.len()).filter_map(|j| split(trials, values, &axes[j], j, &rows));
    let best = best.max_by(|a, b| a.gain.total_cmp(&b.gain)).filter(|s| s.gain > 0.0);
    let Some(Split { axis, at, .. }) = best else {
        leaves.push(Leaf { sides, value: mean });
        return;
    };
    let goes_left = |value: f64| match axes[axis].choices {
        Some(_) => value == at,
        None => value < at,
    };
    let (left, right): (Vec<usize>, Vec<usize>) =
        rows.into_iter().partition(|r| goes_left(trials[*r].0[axis]));
    let (mut here, mut there) = (sides.clone(), sides);
    match (&mut here[axis], &mut there[axis]) {
        (Side::Between(_, high), Side::Between(low, _)) => (*high, *low) = (at, at),
        (Side::Among(inside), Side::Among(outside)) => {
            for (c, (here, there)) in inside.iter_mut().zip(outside).enumerate() {
                let own = c as f64 == at;
                (*here, *there) = (*here && own, *there && !own);
            }
        }
        _ => {}
    }
    grow(trials, values, axes, left, here, leaves);
    grow(trials, values, axes, right, there, leaves);
}

fn split(
    trials: &[(Vec<f64>, f64)],
    values: &[f64],
    axis: &Axis,
    j: usize,
    rows: &[usize],
) -> Option<Split> {
    let mut order = rows.to_vec();
    order.sort_by(|a, b| trials[*a].0[j].total_cmp(&trials[*b].0[j]));
    let (n, sum) = (rows.len() as f64, rows.iter().map(|r| values[*r]).sum::<f64>());
    // Squared sums over counts: the more, the smaller the error that is left.
    let score = |count: f64, part: f64| {
        part * part / count + (sum - part) * (sum - part) / (n - count) - sum * sum / n
    };
    let mut best: Option<Split> = None;
    let mut offer = |gain: f64, at: f64| {
        if gain > 1e-12 * sum * sum / n && best.as_ref().is_none_or(|b| gain > b.gain) {
            best = Some(Split { gain, axis: j, at });
        }
    };
    if axis.choices.is_some() {
        let mut from = 0;
        while from < order.len() {
            let at = trials[order[from]].0[j];
            let same = order[from..].iter().take_while(|r| trials[**r].0[j] == at).count();
            let part: f64 = order[from..from + same].iter().map(|r| values[*r]).sum();
            if same < order.len() {
                offer(score(same as f64, part), at);
            }
            from += same;
        }
        return best;
    }
    let mut part = 0.0;
    for (i, pair) in order.windows(2).enumerate() {
        part += values[pair[0]];
        let (here, next) = (trials[pair[0]].0[j], trials[pair[1]].0[j]);
        if here < next {
            offer(score(i as f64 + 1.0, part), (here + next) / 2.0);
        }
    }
    best
}

/// The variance along one setting of the mean over all others.
fn along(leaves: &[Leaf], axes: &[Axis], j: usize, mean: f64) -> f64 {
    let rest = |l: &Leaf| {
        (0..axes.len()).filter(|k| *k != j).map(|k| l.sides[k].length()).product::<f64>() * l.value
    };
    if let Some(n) = axes[j].choices {
        let at = |c: usize| -> f64 {
            let covers = |l: &&Leaf| matches!(&l.sides[j], Side::Among(inside) if inside[c]);
            leaves.iter().filter(covers).map(rest).sum()
        };
        return (0..n).map(|c| (at(c) - mean).powi(2) / n as f64).sum();
    }
    let mut ends: Vec<f64> = leaves
        .iter()
        .filter_map(|l| match l.sides[j] {
            Side::Between(low, _) => Some(low),
            Side::Among(_) => None,
        })
        .chain([1.0])
        .collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let piece = |w: &[f64]| {
        let middle = (w[0] + w[1]) / 2.0;
        let covers = |l: &&Leaf| matches!(l.sides[j], Side::Between(low, high) if low <= middle && middle < high);
        let value: f64 = leaves.iter().filter(covers).map(rest).sum();
        (w[1] - w[0]) * (value - mean).powi(2)
    };
    ends.windows(2).map(piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Range, Sampler, Score, Told};

    fn space() -> Space {
        let number = Range::Number { from: 0.0, to: 1.0, log: false };
        let word = Range::OneOf(vec!["a".into(), "b".into()]);
        let names = ["first", "idle", "second", "word"];
        let ranges = [number.clone(), number.clone(), number, word];
        Space(names.map(str::to_owned).into_iter().zip(ranges).collect())
    }

    /// Variances of independent uniform numbers and a coin: 4/12, 0, 1/12 and 1/4 · 1/4.
    #[test]
    fn shares_of_a_sum_are_those_of_its_variances() {
        let space = space();
        let objective = |p: &[f64]| 2.0 * p[0] + p[2] + 0.5 * p[3];
        let trials: Vec<(Vec<f64>, f64)> = (0..400)
            .map(|i| {
                let told = vec![Told { point: Vec::new(), score: Score::Pending }; i];
                let point = Sampler::Random.ask(&space, 2, &told, 3).unwrap();
                let value = objective(&point);
                (point, value)
            })
            .collect();
        let shares = importance(&space, &trials);
        let total = 4.0 / 12.0 + 1.0 / 12.0 + 1.0 / 16.0;
        let expected = [4.0 / 12.0 / total, 0.0, 1.0 / 12.0 / total, 1.0 / 16.0 / total];
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 0.06, "{shares:?} for {expected:?}");
        }
        assert!(shares.iter().sum::<f64>() <= 1.0 + 1e-9);
    }

    #[test]
    fn little_or_nothing_says_nothing() {
        let point = |i: u32| vec![f64::from(i) / 20.0, 0.3, 0.4, 0.0];
        let flat: Vec<(Vec<f64>, f64)> = (0..20).map(|i| (point(i), 1.0)).collect();
        assert!(importance(&space(), &flat).is_empty());
        let few: Vec<(Vec<f64>, f64)> = (0..7).map(|i| (point(i), f64::from(i))).collect();
        assert!(importance(&space(), &few).is_empty());
    }
}
