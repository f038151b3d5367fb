//! From the leaves that a row reaches to quantiles of the training labels.
//!
//! Labels are counted in blocks of neighbouring ranks first; only the blocks in which a
//! quantile lies are looked at label by label. Large leaves keep their counts per block,
//! so a forecast does not walk through thousands of rows per tree.

use super::ForestState;
use super::tree::ForestTree;
use crate::LEVELS;
use crate::quantiles::QUANTILE_LEVELS;

/// How many neighbouring ranks form a block.
const BLOCK: usize = 128;

/// From how many rows on a leaf keeps its counts per block.
const LARGE: usize = 64;

/// The sum of shares misses whole levels by rounding alone.
const ROUNDING: f64 = 1e-9;

/// Where the rows of each leaf of a tree lie.
#[derive(Debug)]
struct LeafIndex {
    /// Per node: where a leaf's rows start among the tree's ranks.
    starts: Vec<u32>,
    /// Per node: where a large leaf's offsets start; `None` for small ones.
    offsets_at: Vec<Option<u32>>,
    /// For each large leaf, per block: how many of its rows lie in earlier blocks; one
    /// more number at the end for the whole.
    offsets: Vec<u32>,
}

impl LeafIndex {
    fn new(tree: &ForestTree, blocks: usize) -> Self {
        let starts = tree.starts();
        let (mut offsets_at, mut offsets) = (vec![None; starts.len()], Vec::new());
        for node in (0..starts.len()).filter(|node| tree.right[*node] == 0) {
            let rows = tree.leaf_rows(&starts, node);
            if rows.len() >= LARGE {
                offsets_at[node] = Some(offsets.len() as u32);
                let before = |b: usize| rows.partition_point(|r| (*r as usize) < b * BLOCK);
                offsets.extend((0..=blocks).map(|b| before(b) as u32));
            }
        }
        Self { starts, offsets_at, offsets }
    }
}

/// The leaf that a row reached in one tree.
#[derive(Debug, Clone, Copy)]
struct Reached<'a> {
    /// Its rows by rank, rising.
    ranks: &'a [u32],
    /// For a large leaf: offsets per block.
    offsets: Option<&'a [u32]>,
    /// The weight of each of its rows.
    share: f64,
}

impl<'a> Reached<'a> {
    fn in_block(&self, block: usize) -> &'a [u32] {
        match self.offsets {
            Some(offsets) => &self.ranks[offsets[block] as usize..offsets[block + 1] as usize],
            None => {
                let from = self.ranks.partition_point(|r| (*r as usize) < block * BLOCK);
                let rest = &self.ranks[from..];
                &rest[..rest.partition_point(|r| (*r as usize) < (block + 1) * BLOCK)]
            }
        }
    }
}

/// All leaves of a forest, ready to answer.
#[derive(Debug)]
pub(crate) struct Leaves {
    blocks: usize,
    trees: Vec<LeafIndex>,
}

impl Leaves {
    pub(crate) fn new(state: &ForestState) -> Self {
        let blocks = state.labels.len().div_ceil(BLOCK);
        let trees = state.trees.iter().map(|tree| LeafIndex::new(tree, blocks)).collect();
        Self { blocks, trees }
    }

    /// The quantiles of the weighted training labels: at each level the smallest label
    /// whose cumulative weight reaches it.
    pub(crate) fn quantiles(&self, state: &ForestState, row: &[f64]) -> [f64; LEVELS] {
        let reached: Vec<Reached<'_>> =
            state.trees.iter().zip(&self.trees).map(|(t, i)| self.reach(t, i, row)).collect();
        let mut blocks = vec![0.0; self.blocks];
        for leaf in &reached {
            match leaf.offsets {
                Some(offsets) => {
                    for (weight, pair) in blocks.iter_mut().zip(offsets.windows(2)) {
                        *weight += leaf.share * f64::from(pair[1] - pair[0]);
                    }
                }
                None => {
                    leaf.ranks.iter().for_each(|r| blocks[*r as usize / BLOCK] += leaf.share);
                }
            }
        }
        let targets = QUANTILE_LEVELS.map(|p| p * reached.len() as f64 - ROUNDING);
        let mut answer = [state.labels[state.labels.len() - 1]; LEVELS];
        let (mut before, mut level) = (0.0, 0);
        for (block, weight) in blocks.iter().enumerate() {
            let after = before + weight;
            if level < LEVELS && after >= targets[level] {
                let mut fine = [0.0; BLOCK];
                for leaf in &reached {
                    let ranks = leaf.in_block(block);
                    ranks.iter().for_each(|r| fine[*r as usize % BLOCK] += leaf.share);
                }
                let mut sum = before;
                let mut last = 0;
                for (k, weight) in fine.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                    sum += weight;
                    last = block * BLOCK + k;
                    while level < LEVELS && sum >= targets[level] {
                        answer[level] = state.labels[last];
                        level += 1;
                    }
                }
                // The two sums of a block may differ in their last bits.
                while level < LEVELS && after >= targets[level] {
                    answer[level] = state.labels[last];
                    level += 1;
                }
            }
            before = after;
        }
        answer
    }

    fn reach<'a>(&self, tree: &'a ForestTree, index: &'a LeafIndex, row: &[f64]) -> Reached<'a> {
        let node = tree.leaf_node(row);
        let ranks = tree.leaf_rows(&index.starts, node);
        let offsets = index.offsets_at[node].map(|at| {
            let at = at as usize;
            &index.offsets[at..=at + self.blocks]
        });
        Reached { ranks, offsets, share: 1.0 / ranks.len() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Meinshausen's definition, label by label.
    fn by_definition(state: &ForestState, row: &[f64]) -> [f64; LEVELS] {
        let mut weights = vec![0.0; state.labels.len()];
        for tree in &state.trees {
            let ranks = tree.leaf_rows(&tree.starts(), tree.leaf_node(row));
            let share = 1.0 / ranks.len() as f64 / state.trees.len() as f64;
            ranks.iter().for_each(|r| weights[*r as usize] += share);
        }
        QUANTILE_LEVELS.map(|p| {
            let mut sum = 0.0;
            let reaches = |w: &f64| {
                sum += w;
                sum >= p - 1e-11
            };
            state.labels[weights.iter().position(reaches).unwrap_or(state.labels.len() - 1)]
        })
    }

    /// A tree with one split whose left leaf holds the ranks that a rule picks.
    fn stump(rows: usize, left: impl Fn(u32) -> bool) -> ForestTree {
        let (mut one, two): (Vec<u32>, Vec<u32>) = (0..rows as u32).partition(|r| left(*r));
        let sizes = (one.len() as u32, two.len() as u32);
        one.extend(two);
        ForestTree {
            feature: vec![0, sizes.0, sizes.1],
            threshold: vec![0.5, 0.0, 0.0],
            right: vec![2, 0, 0],
            ranks: one,
        }
    }

    proptest! {
        #[test]
        fn blocks_answer_as_the_definition_does(
            rows in 5usize..700, cuts in prop::collection::vec((1u32..9, 0u32..9), 1..12)
        ) {
            let trees = cuts.iter().map(|(modulus, rest)| {
                // Some of each, so that no leaf is empty.
                stump(rows, |r| r == 0 || (r > 1 && r % modulus == rest % modulus))
            });
            let labels = (0..rows).map(|i| (i as f64 - 99.0) * 0.001).collect();
            let state = ForestState { labels, importance: vec![1.0], trees: trees.collect() };
            let leaves = Leaves::new(&state);
            for value in [0.0, 1.0] {
                let answer = leaves.quantiles(&state, &[value]);
                prop_assert!(answer.is_sorted());
                prop_assert_eq!(answer, by_definition(&state, &[value]));
            }
        }
    }
}
