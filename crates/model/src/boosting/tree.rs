//! One boosted tree: parallel arrays that store well, and a packed form that walks fast.

use hessboost::tree::RegTree;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::explain::trees::Node;
use crate::state::damaged;

/// A binary tree in arrays indexed by node; node 0 is the root. A row goes left where
/// its value is below the threshold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoostedTree {
    /// The column a node splits on; 0 at leaves.
    pub feature: Vec<u32>,
    /// The threshold of a split; the value, in log returns, of a leaf.
    pub threshold: Vec<f32>,
    /// The left child; 0 at leaves.
    pub left: Vec<u32>,
    /// The right child; 0 at leaves.
    pub right: Vec<u32>,
    /// How much a split lowered the loss; 0 at leaves.
    pub gain: Vec<f32>,
    /// The sum of hessians that reached a node in training.
    pub cover: Vec<f32>,
}

/// A node as [`walk`] reads it: a leaf points to itself and so ends the walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkNode {
    feature: u32,
    threshold: f32,
    left: u32,
    right: u32,
}

/// The value of the leaf that a row reaches.
pub(crate) fn walk(nodes: &[WalkNode], root: u32, row: &[f32]) -> f32 {
    let mut at = root;
    loop {
        let node = nodes[at as usize];
        if node.left == at {
            return node.threshold;
        }
        at = if row[node.feature as usize] < node.threshold { node.left } else { node.right };
    }
}

impl BoostedTree {
    /// The library's tree, its leaf values multiplied by a power of two.
    pub(crate) fn adopt(tree: &RegTree, unscale: f32) -> Self {
        let mut adopted = Self::default();
        for node in tree.nodes() {
            let leaf = node.is_leaf();
            adopted.feature.push(if leaf { 0 } else { node.split_feature });
            let value = if leaf { node.leaf_value * unscale } else { node.split_cond };
            adopted.threshold.push(value);
            adopted.left.push(if leaf { 0 } else { node.left as u32 });
            adopted.right.push(if leaf { 0 } else { node.right as u32 });
            adopted.gain.push(if leaf { 0.0 } else { node.split_gain });
            adopted.cover.push(node.sum_hess);
        }
        adopted
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.feature.len()
    }

    /// Whether it has no node (no valid tree is empty).
    pub fn is_empty(&self) -> bool {
        self.feature.is_empty()
    }

    /// Whether a node is a leaf: the root is nobody's child.
    pub fn is_leaf(&self, node: usize) -> bool {
        self.left[node] == 0
    }

    /// Refuses arrays that do not form a tree over so many columns. Every child must
    /// come after its parent and be reached once, so that every walk ends.
    pub(crate) fn check(&self, id: usize, columns: usize) -> Result<(), ModelError> {
        let refuse = |place: &str, i: usize, message: &str| {
            Err(damaged(&format!("trees[{id}].{place}[{i}]"), message))
        };
        let n = self.len();
        let lengths = [
            ("threshold", self.threshold.len()),
            ("left", self.left.len()),
            ("right", self.right.len()),
            ("gain", self.gain.len()),
            ("cover", self.cover.len()),
        ];
        if let Some((place, length)) = lengths.into_iter().find(|(_, length)| *length != n) {
            return refuse(place, length, &format!("the tree has {n} nodes"));
        }
        if n == 0 {
            return refuse("feature", 0, "the tree has no node");
        }
        let mut parents = vec![0u8; n];
        for i in 0..n {
            let numbers = [self.threshold[i], self.gain[i], self.cover[i]];
            if numbers.iter().any(|v| !v.is_finite()) {
                return refuse("threshold", i, "the number is not finite");
            }
            let (left, right) = (self.left[i] as usize, self.right[i] as usize);
            if left == 0 && right == 0 {
                continue;
            }
            if self.feature[i] as usize >= columns {
                return refuse("feature", i, &format!("the model has {columns} columns"));
            }
            for child in [left, right] {
                if child <= i || child >= n {
                    return refuse("left", i, "the child does not follow its parent");
                }
                parents[child] = parents[child].saturating_add(1);
            }
        }
        match parents.iter().skip(1).position(|p| *p != 1) {
            Some(i) => refuse("left", i + 1, "the node does not have exactly one parent"),
            None => Ok(()),
        }
    }

    /// Appends the nodes in walking form.
    pub(crate) fn append_to(&self, nodes: &mut Vec<WalkNode>) {
        let start = nodes.len() as u32;
        nodes.extend((0..self.len()).map(|i| {
            let here = start + i as u32;
            let (left, right) = if self.is_leaf(i) {
                (here, here)
            } else {
                (start + self.left[i], start + self.right[i])
            };
            WalkNode { feature: self.feature[i], threshold: self.threshold[i], left, right }
        }));
    }

    /// The nodes in the form that is taken apart.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let node = |i: usize| Node {
            feature: self.feature[i] as usize,
            threshold: f64::from(self.threshold[i]),
            left: self.left[i] as usize,
            right: self.right[i] as usize,
            value: f64::from(self.threshold[i]),
            cover: f64::from(self.cover[i]),
        };
        (0..self.len()).map(node).collect()
    }

    /// Adds the gain of each split to its column.
    pub(crate) fn add_gains(&self, gains: &mut [f64]) {
        for i in (0..self.len()).filter(|i| !self.is_leaf(*i)) {
            gains[self.feature[i] as usize] += f64::from(self.gain[i].max(0.0));
        }
    }
}
