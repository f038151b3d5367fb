//! Descriptive statistics as numpy and pandas define them.
//!
//! Functions of numbers alone. Missing values are left out by the caller.

use serde::{Deserialize, Serialize};

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    // Two passes: the second takes out the rounding of the first.
    let n = values.len() as f64;
    let first = values.iter().sum::<f64>() / n;
    if !first.is_finite() {
        return first;
    }
    first + values.iter().map(|v| v - first).sum::<f64>() / n
}

/// Central moments of order 2, 3 and 4 about the mean, each a mean over n.
fn moments(values: &[f64]) -> (f64, f64, f64) {
    let (n, centre) = (values.len() as f64, mean(values));
    let sums = values.iter().fold((0.0, 0.0, 0.0, 0.0), |(m1, m2, m3, m4), v| {
        let d = v - centre;
        let square = d * d;
        (m1 + d, m2 + square, m3 + square * d, m4 + square * square)
    });
    // The centre is the mean only to its last digit; what is left of it is taken out.
    let (d, m2, m3, m4) = (sums.0 / n, sums.1 / n, sums.2 / n, sums.3 / n);
    (
        (m2 - d * d).max(0.0),
        m3 - 3.0 * d * m2 + 2.0 * d * d * d,
        m4 - 4.0 * d * m3 + 6.0 * d * d * m2 - 3.0 * d * d * d * d,
    )
}

/// The sample standard deviation (divisor n − 1, `pandas.Series.std`); NaN under two values.
pub fn std(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if n < 2.0 {
        return f64::NAN;
    }
    (moments(values).0 * n / (n - 1.0)).sqrt()
}

/// The bias-corrected skewness (`pandas.Series.skew` of pandas 3); NaN under three
/// values and when all are equal.
pub fn skewness(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (m2, m3, _) = moments(values);
    if n < 3.0 || m2 == 0.0 {
        return f64::NAN;
    }
    m3 / m2.powf(1.5) * (n * (n - 1.0)).sqrt() / (n - 2.0)
}

/// The bias-corrected excess kurtosis (`pandas.Series.kurt` of pandas 3); NaN under four
/// values and when all are equal.
pub fn excess_kurtosis(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (m2, _, m4) = moments(values);
    if n < 4.0 || m2 == 0.0 {
        return f64::NAN;
    }
    let g2 = m4 / (m2 * m2) - 3.0;
    (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * g2 + 6.0)
}

/// A quantile of sorted values by linear interpolation between order statistics
/// (`numpy.quantile` of method `linear`, Hyndman and Fan's type 7); NaN of nothing.
pub fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = probability.clamp(0.0, 1.0) * last as f64;
    let below = place.floor();
    let share = place - below;
    let (a, b) = (sorted[below as usize], sorted[(below as usize + 1).min(last)]);
    // As numpy: from the nearer end, so that share 1 gives b exactly.
    if share < 0.5 { a + (b - a) * share } else { b - (b - a) * (1.0 - share) }
}

/// Counts over bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Edges of the bins, one more than there are bins, in the column's unit or, when
    /// `log10`, in powers of ten.
    pub edges: Vec<f64>,
    /// How many values fall in each bin; the last bin holds its upper edge.
    pub counts: Vec<u64>,
    /// Whether the bins are of equal width in the decimal logarithm.
    pub log10: bool,
}

/// A histogram over bins of equal width from the least to the largest value
/// (`numpy.histogram`, to the count). Without values it has no bin.
pub fn histogram(values: &[f64], bins: usize) -> Histogram {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A range beyond the largest number cannot be cut into bins.
    if bins == 0 || !(low.is_finite() && high.is_finite() && (high - low).is_finite()) {
        return Histogram { edges: Vec::new(), counts: Vec::new(), log10: false };
    }
    let (low, high) = if low == high { (low - 0.5, high + 0.5) } else { (low, high) };
    let step = (high - low) / bins as f64;
    let mut edges: Vec<f64> = (0..bins).map(|i| i as f64 * step + low).collect();
    edges.push(high);
    let mut counts = vec![0; bins];
    for &value in values {
        let place = (value - low) / (high - low) * bins as f64;
        let mut bin = (place as usize).min(bins - 1);
        // The division may land one bin off; the edges decide.
        if value < edges[bin] {
            bin -= 1;
        } else if bin + 1 < bins && value >= edges[bin + 1] {
            bin += 1;
        }
        counts[bin] += 1;
    }
    Histogram { edges, counts, log10: false }
}

/// [`histogram`] of decimal logarithms; values must be positive.
pub fn log_histogram(values: &[f64], bins: usize) -> Histogram {
    let logs: Vec<f64> = values.iter().map(|v| v.log10()).collect();
    Histogram { log10: true, ..histogram(&logs, bins) }
}
