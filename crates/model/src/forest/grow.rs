//! Growing one tree: a bootstrap draw, then splits that lower the variance most.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::bins::BinnedTable;
use super::tree::ForestTree;

/// When to stop splitting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most splits from root to leaf.
    pub(crate) depth: usize,
    /// The fewest distinct drawn rows of a node that is split.
    pub(crate) min_split: usize,
    /// The fewest distinct drawn rows of a leaf.
    pub(crate) min_leaf: usize,
    /// How many columns a split tries.
    pub(crate) columns: usize,
}

/// What all trees grow on.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) table: &'a BinnedTable,
    pub(crate) labels: &'a [f64],
    /// The rank of each label among all.
    pub(crate) ranks: &'a [u32],
    pub(crate) limits: Limits,
}

/// A drawn row: how often, and its label from the mean.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    row: u32,
    weight: f64,
    moment: f64,
}

/// What lies in one bin, or on one side of a split.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    rows: u32,
    weight: f64,
    moment: f64,
}

impl Side {
    fn add(&mut self, drawn: &Drawn) {
        self.rows += 1;
        self.weight += drawn.weight;
        self.moment += drawn.moment;
    }

    fn join(&mut self, other: &Side) {
        self.rows += other.rows;
        self.weight += other.weight;
        self.moment += other.moment;
    }

    /// The weighted square of the mean: what a side adds to the explained variance.
    fn score(&self) -> f64 {
        self.moment * self.moment / self.weight
    }
}

#[derive(Debug, Clone, Copy)]
struct Split {
    column: usize,
    /// Rows in bins up to this one go left.
    bin: usize,
    gain: f64,
}

struct Growth<'a> {
    ground: &'a Ground<'a>,
    rng: ChaCha8Rng,
    /// The columns in an order that is shuffled afresh at each split.
    order: Vec<usize>,
    bins: Vec<Side>,
    tree: ForestTree,
    gains: Vec<f64>,
    /// The mean drawn label.
    mean: f64,
}

impl Ground<'_> {
    /// Grows the tree of a number; also the decrease of variance by column. The draw
    /// depends on the seed and the number alone.
    pub(crate) fn grow(&self, seed: u64, number: u64) -> (ForestTree, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let n = self.labels.len();
        let mut counts = vec![0u32; n];
        (0..n).for_each(|_| counts[rng.random_range(0..n)] += 1);
        let total = |f: fn(f64) -> f64| {
            let each = counts.iter().zip(self.labels);
            each.map(|(c, y)| f64::from(*c) * f(*y)).sum::<f64>()
        };
        let mean = total(|y| y) / n as f64;
        let drawn = |(row, count): (usize, &u32)| {
            let weight = f64::from(*count);
            Drawn { row: row as u32, weight, moment: weight * (self.labels[row] - mean) }
        };
        let mut inside: Vec<Drawn> =
            counts.iter().enumerate().filter(|(_, c)| **c > 0).map(drawn).collect();
        let mut all: Vec<u32> = (0..n as u32).collect();
        let columns = self.table.columns.len();
        let mut growth = Growth {
            ground: self,
            rng,
            order: (0..columns).collect(),
            bins: vec![Side::default(); 256],
            tree: ForestTree::default(),
            gains: vec![0.0; columns],
            mean,
        };
        growth.node(&mut inside, &mut all, 0);
        (growth.tree, growth.gains)
    }
}

impl Growth<'_> {
    /// Grows the node that holds these drawn rows and these of all rows.
    fn node(&mut self, drawn: &mut [Drawn], all: &mut [u32], depth: usize) {
        let here = self.tree.feature.len();
        let mut whole = Side::default();
        drawn.iter().for_each(|d| whole.add(d));
        let Some(split) = self.split(drawn, &whole, depth) else {
            self.tree.feature.push(all.len() as u32);
            self.tree.threshold.push(self.mean + whole.moment / whole.weight);
            self.tree.right.push(0);
            let start = self.tree.ranks.len();
            self.tree.ranks.extend(all.iter().map(|row| self.ground.ranks[*row as usize]));
            // In rising order so that forecasting walks its memory forwards.
            self.tree.ranks[start..].sort_unstable();
            return;
        };
        let column = &self.ground.table.columns[split.column];
        self.gains[split.column] += split.gain;
        self.tree.feature.push(split.column as u32);
        self.tree.threshold.push(column.cuts[split.bin]);
        self.tree.right.push(0);
        let goes_left = |row: u32| usize::from(column.bins[row as usize]) <= split.bin;
        let middle = partition(drawn, |d| goes_left(d.row));
        let middle_of_all = partition(all, |row| goes_left(*row));
        let (left, right) = drawn.split_at_mut(middle);
        let (all_left, all_right) = all.split_at_mut(middle_of_all);
        self.node(left, all_left, depth + 1);
        self.tree.right[here] = self.tree.feature.len() as u32;
        self.node(right, all_right, depth + 1);
    }

    /// The split of a node that lowers the variance most, if any may be made.
    fn split(&mut self, drawn: &[Drawn], whole: &Side, depth: usize) -> Option<Split> {
        let limits = self.ground.limits;
        let fewest = limits.min_split.max(2 * limits.min_leaf);
        if depth >= limits.depth || drawn.len() < fewest {
            return None;
        }
        // What rounding alone can feign must not count as a gain.
        let squares: f64 = drawn.iter().map(|d| d.moment * d.moment / d.weight).sum();
        let mut best = Split { column: 0, bin: 0, gain: squares * 1e-12 };
        let mut found = false;
        let columns = self.order.len();
        let mut tried = 0;
        for k in 0..columns {
            if tried == limits.columns {
                break;
            }
            let pick = self.rng.random_range(k..columns);
            self.order.swap(k, pick);
            let column = self.order[k];
            let (varies, split) = self.scan(column, drawn, whole, best.gain);
            // As in scikit-learn, a column that is constant here does not use up a try.
            tried += usize::from(varies);
            if let Some(split) = split {
                (best, found) = (split, true);
            }
        }
        found.then_some(best)
    }

    /// Whether a column varies in a node, and its best split above a gain.
    fn scan(
        &mut self,
        column: usize,
        drawn: &[Drawn],
        whole: &Side,
        floor: f64,
    ) -> (bool, Option<Split>) {
        let bins = &self.ground.table.columns[column].bins;
        let (mut low, mut high) = (usize::MAX, 0);
        for d in drawn {
            let bin = usize::from(bins[d.row as usize]);
            self.bins[bin].add(d);
            (low, high) = (low.min(bin), high.max(bin));
        }
        let before = whole.score();
        let min_leaf = self.ground.limits.min_leaf as u32;
        let mut left = Side::default();
        let mut best = None;
        let mut gain = floor;
        for bin in low..high {
            let here = self.bins[bin];
            if here.rows == 0 {
                continue;
            }
            left.join(&here);
            let right = Side {
                rows: whole.rows - left.rows,
                weight: whole.weight - left.weight,
                moment: whole.moment - left.moment,
            };
            if left.rows < min_leaf {
                continue;
            }
            if right.rows < min_leaf {
                break;
            }
            let here = left.score() + right.score() - before;
            if here > gain {
                gain = here;
                best = Some(Split { column, bin, gain });
            }
        }
        self.bins[low..=high].fill(Side::default());
        (low < high, best)
    }
}

/// Moves what satisfies a condition to the front, keeping both orders; returns how many.
fn partition<T: Copy>(items: &mut [T], goes_left: impl Fn(&T) -> bool) -> usize {
    let mut rest = Vec::with_capacity(items.len());
    let mut kept = 0;
    for i in 0..items.len() {
        let item = items[i];
        if goes_left(&item) {
            items[kept] = item;
            kept += 1;
        } else {
            rest.push(item);
        }
    }
    items[kept..].copy_from_slice(&rest);
    kept
}
