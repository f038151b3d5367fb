//! TreeSHAP: exact Shapley values of a sum of trees in polynomial time.
//!
//! The path-dependent form: a feature that is not known is averaged over the training rows
//! that went either way. Source: Lundberg, Erion & Lee (2018), *Consistent individualized
//! feature attribution for tree ensembles*, algorithm 2; the same numbers as XGBoost's
//! `pred_contribs`.

/// A node of a tree in the form that is taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    /// The column of a split.
    pub(crate) feature: usize,
    /// A row goes left where its value is below it.
    pub(crate) threshold: f64,
    /// The children; the root's number, 0, marks a leaf.
    pub(crate) left: usize,
    /// See `left`.
    pub(crate) right: usize,
    /// What a leaf says.
    pub(crate) value: f64,
    /// The weight of the training rows that came here.
    pub(crate) cover: f64,
}

impl Node {
    fn is_leaf(&self) -> bool {
        self.left == 0
    }
}

/// The mean answer over the training rows below a node.
pub(crate) fn expected(tree: &[Node], at: usize) -> f64 {
    let node = &tree[at];
    if node.is_leaf() {
        return node.value;
    }
    let (left, right) = halves(tree, node);
    left * expected(tree, node.left) + right * expected(tree, node.right)
}

/// The shares of the training rows of a node that went left and right.
fn halves(tree: &[Node], node: &Node) -> (f64, f64) {
    if node.cover > 0.0 {
        (tree[node.left].cover / node.cover, tree[node.right].cover / node.cover)
    } else {
        (0.5, 0.5)
    }
}

/// Adds the Shapley values of one tree for one row to `parts`, one per column.
pub(crate) fn add_parts(tree: &[Node], row: &[f64], parts: &mut [f64]) {
    let mut path = Path { row, tree, parts };
    path.walk(0, &[], Step { feature: NOBODY, zero: 1.0, one: 1.0, weight: 0.0 });
}

/// The feature of the root's own step.
const NOBODY: usize = usize::MAX;

/// A feature on the way to a node: how much of its weight passes when it is not known and
/// when it is, and the weight of the subsets of so many features.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: usize,
    zero: f64,
    one: f64,
    weight: f64,
}

struct Path<'a> {
    row: &'a [f64],
    tree: &'a [Node],
    parts: &'a mut [f64],
}

impl Path<'_> {
    fn walk(&mut self, at: usize, above: &[Step], next: Step) {
        let mut steps = Vec::with_capacity(above.len() + 1);
        steps.extend_from_slice(above);
        extend(&mut steps, next);
        let node = self.tree[at];
        if node.is_leaf() {
            for i in 1..steps.len() {
                let Step { feature, zero, one, .. } = steps[i];
                self.parts[feature] += unwound_sum(&steps, i) * (one - zero) * node.value;
            }
            return;
        }
        let (left, right) = halves(self.tree, &node);
        let goes_left = self.row[node.feature] < node.threshold;
        let (hot, cold) = if goes_left { (node.left, node.right) } else { (node.right, node.left) };
        let (hot_share, cold_share) = if goes_left { (left, right) } else { (right, left) };
        let (mut zero, mut one) = (1.0, 1.0);
        // A feature that was split on before is one step of the way, not two.
        if let Some(known) = steps.iter().position(|s| s.feature == node.feature) {
            (zero, one) = (steps[known].zero, steps[known].one);
            unwind(&mut steps, known);
        }
        let step = |zero: f64, one: f64| Step { feature: node.feature, zero, one, weight: 0.0 };
        self.walk(hot, &steps, step(hot_share * zero, one));
        self.walk(cold, &steps, step(cold_share * zero, 0.0));
    }
}

fn extend(steps: &mut Vec<Step>, next: Step) {
    let depth = steps.len();
    steps.push(Step { weight: if depth == 0 { 1.0 } else { 0.0 }, ..next });
    for i in (0..depth).rev() {
        let weight = steps[i].weight;
        steps[i + 1].weight += next.one * weight * (i + 1) as f64 / (depth + 1) as f64;
        steps[i].weight = next.zero * weight * (depth - i) as f64 / (depth + 1) as f64;
    }
}

fn unwind(steps: &mut Vec<Step>, index: usize) {
    let depth = steps.len() - 1;
    let Step { zero, one, .. } = steps[index];
    let mut next = steps[depth].weight;
    for i in (0..depth).rev() {
        if one != 0.0 {
            let before = steps[i].weight;
            steps[i].weight = next * (depth + 1) as f64 / ((i + 1) as f64 * one);
            next = before - steps[i].weight * zero * (depth - i) as f64 / (depth + 1) as f64;
        } else if zero != 0.0 {
            steps[i].weight = steps[i].weight * (depth + 1) as f64 / (zero * (depth - i) as f64);
        }
    }
    for i in index..depth {
        let Step { feature, zero, one, .. } = steps[i + 1];
        steps[i] = Step { feature, zero, one, weight: steps[i].weight };
    }
    steps.pop();
}

fn unwound_sum(steps: &[Step], index: usize) -> f64 {
    let depth = steps.len() - 1;
    let Step { zero, one, .. } = steps[index];
    let (mut next, mut total) = (steps[depth].weight, 0.0);
    for i in (0..depth).rev() {
        let share = (depth - i) as f64 / (depth + 1) as f64;
        if one != 0.0 {
            let weight = next * (depth + 1) as f64 / ((i + 1) as f64 * one);
            total += weight;
            next = steps[i].weight - weight * zero * share;
        } else if zero != 0.0 {
            total += steps[i].weight / zero / share;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: usize = 5;

    /// A random tree: pre-order, the left child follows its parent.
    fn grown(draws: &mut impl Iterator<Item = (usize, f64, f64)>, depth: usize) -> Vec<Node> {
        let (feature, threshold, value) = draws.next().expect("enough draws");
        let leaf =
            Node { feature: 0, threshold: 0.0, left: 0, right: 0, value, cover: 1.0 + value.abs() };
        if depth == 0 || feature == COLUMNS {
            return vec![leaf];
        }
        let (left, right) = (grown(draws, depth - 1), grown(draws, depth - 1));
        let shifted = |nodes: Vec<Node>, by: usize| {
            nodes.into_iter().map(move |n| match n.left {
                0 => n,
                _ => Node { left: n.left + by, right: n.right + by, ..n },
            })
        };
        let at = 1 + left.len();
        let cover = left[0].cover + right[0].cover;
        let root = Node { feature, threshold, left: 1, right: at, value: 0.0, cover };
        std::iter::once(root).chain(shifted(left, 1)).chain(shifted(right, at)).collect()
    }

    /// What the tree says when only some features are known, by definition.
    fn known(tree: &[Node], at: usize, row: &[f64], which: u32) -> f64 {
        let node = tree[at];
        if node.left == 0 {
            return node.value;
        }
        if which & (1 << node.feature) != 0 {
            let left = row[node.feature] < node.threshold;
            return known(tree, if left { node.left } else { node.right }, row, which);
        }
        let (left, right) = (tree[node.left].cover, tree[node.right].cover);
        (left * known(tree, node.left, row, which) + right * known(tree, node.right, row, which))
            / node.cover
    }

    /// Shapley's own formula over all subsets.
    fn by_definition(tree: &[Node], row: &[f64]) -> Vec<f64> {
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        let all = COLUMNS as u32;
        let part = |j: usize| {
            let subsets = (0u32..1 << all).filter(|s| s & (1 << j) == 0);
            let term = |s: u32| {
                let size = s.count_ones();
                let weight = factorial(size) * factorial(all - size - 1) / factorial(all);
                weight * (known(tree, 0, row, s | 1 << j) - known(tree, 0, row, s))
            };
            subsets.map(term).sum::<f64>()
        };
        (0..COLUMNS).map(part).collect()
    }

    proptest! {
        #[test]
        fn equals_the_definition_over_all_subsets(
            draws in prop::collection::vec((0..=COLUMNS, -1.0f64..1.0, -2.0f64..2.0), 127),
            row in prop::collection::vec(-1.0f64..1.0, COLUMNS),
        ) {
            let tree = grown(&mut draws.into_iter(), 5);
            let mut parts = vec![0.0; COLUMNS];
            add_parts(&tree, &row, &mut parts);
            for (part, expected) in parts.iter().zip(by_definition(&tree, &row)) {
                prop_assert!((part - expected).abs() < 1e-9, "{part} against {expected}");
            }
            let sum: f64 = expected(&tree, 0) + parts.iter().sum::<f64>();
            prop_assert!((sum - known(&tree, 0, &row, u32::MAX)).abs() < 1e-9);
        }
    }
}
