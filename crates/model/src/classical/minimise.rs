//! Small numerical work: a minimiser without derivatives, and linear equations.

/// Function values this close, relative to their size, end a search.
const TOLERANCE: f64 = 1e-12;

/// Evaluations per dimension after which a search ends in any case.
const PATIENCE: usize = 400;

/// The minimum near `start` by the simplex of Nelder & Mead (*The Computer Journal* 7,
/// 1965), begun anew from what it finds, because a simplex can collapse beside a minimum.
/// A value that is no number counts as infinite. Deterministic.
pub(crate) fn minimise(
    start: &[f64],
    step: f64,
    value: &mut dyn FnMut(&[f64]) -> f64,
) -> (Vec<f64>, f64) {
    let first = simplex(start, step, value);
    simplex(&first.0, 0.25 * step, value)
}

fn simplex(start: &[f64], step: f64, value: &mut dyn FnMut(&[f64]) -> f64) -> (Vec<f64>, f64) {
    let dimensions = start.len();
    let mut at = |x: &[f64]| {
        let found = value(x);
        if found.is_nan() { f64::INFINITY } else { found }
    };
    let mut corners: Vec<(Vec<f64>, f64)> = vec![(start.to_vec(), at(start))];
    for j in 0..dimensions {
        let mut corner = start.to_vec();
        corner[j] += step;
        let found = at(&corner);
        corners.push((corner, found));
    }
    for _ in 0..PATIENCE * dimensions {
        corners.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (corners[0].1, corners[dimensions].1);
        if (worst - best).abs() <= TOLERANCE * best.abs().max(1e-300) {
            break;
        }
        let centre: Vec<f64> = (0..dimensions)
            .map(|j| corners[..dimensions].iter().map(|c| c.0[j]).sum::<f64>() / dimensions as f64)
            .collect();
        let mut along = |factor: f64| {
            let last = &corners[dimensions].0;
            let x: Vec<f64> = centre.iter().zip(last).map(|(c, w)| c + factor * (c - w)).collect();
            let found = at(&x);
            (x, found)
        };
        let reflected = along(1.0);
        let next = if reflected.1 < best {
            let expanded = along(2.0);
            if expanded.1 < reflected.1 { expanded } else { reflected }
        } else if reflected.1 < corners[dimensions - 1].1 {
            reflected
        } else {
            let inside = along(if reflected.1 < worst { 0.5 } else { -0.5 });
            if inside.1 < reflected.1.min(worst) {
                inside
            } else {
                let kept = corners[0].0.clone();
                for corner in &mut corners[1..] {
                    corner.0.iter_mut().zip(&kept).for_each(|(x, k)| *x = k + 0.5 * (*x - k));
                    corner.1 = at(&corner.0);
                }
                continue;
            }
        };
        corners[dimensions] = next;
    }
    corners.sort_by(|a, b| a.1.total_cmp(&b.1));
    corners.swap_remove(0)
}

/// From the real line to between 0 and 1.
pub(crate) fn squash(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// Its inverse.
pub(crate) fn unsquash(p: f64) -> f64 {
    libm::log(p / (1.0 - p))
}

/// Solves `matrix × x = right` by elimination with pivots; `None` when it is singular to
/// rounding. The matrix is square, row by row.
pub(crate) fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    let largest = matrix.iter().flatten().fold(0.0f64, |m, v| m.max(v.abs()));
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| matrix[a][k].abs().total_cmp(&matrix[b][k].abs()))?;
        if matrix[pivot][k].abs() <= 1e-13 * largest {
            return None;
        }
        matrix.swap(k, pivot);
        right.swap(k, pivot);
        let (above, below) = matrix.split_at_mut(k + 1);
        let (pivot, known) = (&above[k], right[k]);
        for (row, right) in below.iter_mut().zip(&mut right[k + 1..]) {
            let factor = row[k] / pivot[k];
            row[k..].iter_mut().zip(&pivot[k..]).for_each(|(cell, p)| *cell -= factor * p);
            *right -= factor * known;
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| matrix[k][j] * right[j]).sum();
        right[k] = (right[k] - known) / matrix[k][k];
    }
    right.iter().all(|v| v.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_rosenbrocks_valley() {
        let mut valley = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let (x, value) = minimise(&[-1.2, 1.0], 0.5, &mut valley);
        assert!((x[0] - 1.0).abs() < 1e-4 && (x[1] - 1.0).abs() < 1e-4 && value < 1e-8, "{x:?}");
    }

    #[test]
    fn solves_what_has_one_solution() {
        let matrix = vec![vec![0.0, 2.0], vec![3.0, 1.0]];
        assert_eq!(solve(matrix, vec![4.0, 5.0]), Some(vec![1.0, 2.0]));
        assert_eq!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![1.0, 2.0]), None);
    }
}
