//! One tree of a forest in arrays that store well.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::explain::trees::Node;
use crate::state::damaged;

/// A binary tree in pre-order: node 0 is the root, the left child of a split follows it
/// directly. A row goes left where its value is below the threshold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestTree {
    /// The column of a split; at a leaf, how many training rows fall into it.
    pub feature: Vec<u32>,
    /// The threshold of a split; at a leaf, the mean label of its drawn rows.
    pub threshold: Vec<f64>,
    /// The right child; 0 at leaves.
    pub right: Vec<u32>,
    /// The training rows of all leaves in order, each by the rank of its label, rising
    /// within a leaf.
    pub ranks: Vec<u32>,
}

impl ForestTree {
    /// The leaf that a row reaches.
    pub(crate) fn leaf_node(&self, row: &[f64]) -> usize {
        let mut at = 0;
        while self.right[at] != 0 {
            let left = row[self.feature[at] as usize] < self.threshold[at];
            at = if left { at + 1 } else { self.right[at] as usize };
        }
        at
    }

    /// Per node: where a leaf's rows start in [`Self::ranks`].
    pub(crate) fn starts(&self) -> Vec<u32> {
        let mut start = 0;
        let of = |i: usize| {
            let here = start;
            start += if self.right[i] == 0 { self.feature[i] } else { 0 };
            here
        };
        (0..self.feature.len()).map(of).collect()
    }

    /// The ranks of a leaf's rows.
    pub(crate) fn leaf_rows(&self, starts: &[u32], leaf: usize) -> &[u32] {
        let start = starts[leaf] as usize;
        &self.ranks[start..start + self.feature[leaf] as usize]
    }

    /// The nodes in the form that is taken apart, each with how many training rows came to
    /// it.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let node = |i: usize| {
            let right = self.right[i] as usize;
            let leaf = right == 0;
            Node {
                feature: if leaf { 0 } else { self.feature[i] as usize },
                threshold: self.threshold[i],
                left: if leaf { 0 } else { i + 1 },
                right,
                value: self.threshold[i],
                cover: if leaf { f64::from(self.feature[i]) } else { 0.0 },
            }
        };
        let mut nodes: Vec<Node> = (0..self.feature.len()).map(node).collect();
        // Children follow their parents.
        for i in (0..nodes.len()).rev().filter(|i| self.right[*i] != 0) {
            nodes[i].cover = nodes[nodes[i].left].cover + nodes[nodes[i].right].cover;
        }
        nodes
    }

    /// Refuses arrays that do not form a tree over so many columns whose leaves hold each
    /// of so many rows once.
    pub(crate) fn check(&self, id: usize, columns: usize, rows: usize) -> Result<(), ModelError> {
        let refuse = |place: &str, i: usize, message: &str| {
            Err(damaged(&format!("trees[{id}].{place}[{i}]"), message))
        };
        let n = self.feature.len();
        if n == 0 || self.threshold.len() != n || self.right.len() != n {
            return refuse("feature", n, "the arrays are empty or differ in length");
        }
        // In pre-order each subtree is a run of nodes. `pending` holds where the right
        // subtrees that are still to come must start.
        let mut pending = Vec::new();
        let mut held = 0u64;
        for i in 0..n {
            if !self.threshold[i].is_finite() {
                return refuse("threshold", i, "the number is not finite");
            }
            if self.right[i] != 0 {
                if self.feature[i] as usize >= columns {
                    return refuse("feature", i, &format!("the model has {columns} columns"));
                }
                pending.push(self.right[i] as usize);
                continue;
            }
            if self.feature[i] == 0 {
                return refuse("feature", i, "the leaf holds no row");
            }
            held += u64::from(self.feature[i]);
            match pending.pop() {
                Some(next) if next == i + 1 && next < n => {}
                None if i + 1 == n => {}
                _ => return refuse("right", i, "the nodes do not form a tree"),
            }
        }
        if !pending.is_empty() {
            return refuse("right", n, "the nodes do not form a tree");
        }
        let mut seen = vec![false; rows];
        for (i, rank) in self.ranks.iter().enumerate() {
            match seen.get_mut(*rank as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return refuse("ranks", i, "the row is unknown or held twice"),
            }
        }
        if held != rows as u64 || self.ranks.len() != rows {
            return refuse("ranks", self.ranks.len(), &format!("the model has {rows} rows"));
        }
        let starts = self.starts();
        let falls = |i: &usize| self.right[*i] == 0 && !self.leaf_rows(&starts, *i).is_sorted();
        match (0..n).find(falls) {
            Some(i) => refuse("ranks", starts[i] as usize, "the rows of the leaf are not rising"),
            None => Ok(()),
        }
    }
}
