//! Columns of numbers as columns of small bin numbers, so that a split is found by
//! counting instead of sorting.

use foretell_panel::Matrix;
use rayon::prelude::*;

/// The most bins of a column.
const MAX_BINS: usize = 256;

/// One column: `bins[row]` is how many cuts the row's value reaches.
#[derive(Debug)]
pub(crate) struct BinnedColumn {
    /// The bin of each row.
    pub(crate) bins: Vec<u8>,
    /// Rising thresholds: a value below `cuts[b]` lies in bin `b` or lower.
    pub(crate) cuts: Vec<f64>,
}

/// All columns of a training table.
#[derive(Debug)]
pub(crate) struct BinnedTable {
    pub(crate) columns: Vec<BinnedColumn>,
}

impl BinnedTable {
    /// Bins every column; the cuts lie between neighbouring values, at equal shares of
    /// the rows when there are more distinct values than bins.
    pub(crate) fn new(features: &Matrix) -> Self {
        let bin = |j: usize| BinnedColumn::new(&features.column(j));
        Self { columns: (0..features.cols()).into_par_iter().map(bin).collect() }
    }
}

impl BinnedColumn {
    fn new(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let cuts = cuts_of(&sorted);
        let bins = values.iter().map(|v| cuts.partition_point(|c| c <= v) as u8).collect();
        Self { bins, cuts }
    }
}

/// A threshold over `low` and not over `high`: half-way where that is possible.
fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) * 0.5;
    if middle > low && middle.is_finite() { middle } else { high }
}

fn cuts_of(sorted: &[f64]) -> Vec<f64> {
    let steps: Vec<usize> = (1..sorted.len()).filter(|&i| sorted[i - 1] < sorted[i]).collect();
    let cut = |&i: &usize| between(sorted[i - 1], sorted[i]);
    if steps.len() < MAX_BINS {
        return steps.iter().map(cut).collect();
    }
    let mut cuts = Vec::with_capacity(MAX_BINS - 1);
    let mut last = 0;
    for k in 1..MAX_BINS {
        let wanted = k * sorted.len() / MAX_BINS;
        // The first change of value at or after the wanted share of rows.
        let at = steps.partition_point(|&i| i < wanted);
        if let Some(&i) = steps.get(at).filter(|&&i| i > last) {
            cuts.push(cut(&i));
            last = i;
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bin_says_exactly_which_cuts_a_value_is_below(
            values in prop::collection::vec(prop_oneof![-5.0f64..5.0, Just(1.0), Just(-0.0)], 1..600)
        ) {
            let column = BinnedColumn::new(&values);
            prop_assert!(column.cuts.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(column.cuts.len() < MAX_BINS);
            for (value, bin) in values.iter().zip(&column.bins) {
                for (b, cut) in column.cuts.iter().enumerate() {
                    prop_assert_eq!(*value < *cut, usize::from(*bin) <= b);
                }
            }
        }

        #[test]
        fn few_distinct_values_are_all_told_apart(
            values in prop::collection::vec(0u8..200, 1..600)
        ) {
            let column = BinnedColumn::new(&values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
            for (a, x) in values.iter().zip(&column.bins) {
                for (b, y) in values.iter().zip(&column.bins).take(20) {
                    prop_assert_eq!(a.cmp(b), x.cmp(y));
                }
            }
        }
    }
}
