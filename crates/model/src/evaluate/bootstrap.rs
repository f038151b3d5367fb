//! The stationary block bootstrap: how far an average could have come out otherwise.
//!
//! Losses are dependent in time (volatility comes in clusters), so rows are drawn in
//! blocks of random length. Sources: D. N. Politis and J. P. Romano, *JASA* 89 (1994)
//! 1303–1313; block length by D. N. Politis and H. White, *Econometric Reviews* 23
//! (2004), with the correction of A. Patton, D. Politis and H. White (2009).

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::empirical_quantile;

/// Bootstrap means of several series on the same rows: `draws` means per series, the
/// same rows drawn for all, so that ratios and differences of them may be formed draw
/// by draw. Blocks start anywhere and wrap round; their lengths are geometric with
/// mean `block_length` (1 or more).
///
/// # Panics
/// When the series differ in length (a bug of the caller).
pub fn stationary_means(
    series: &[&[f64]],
    block_length: f64,
    draws: usize,
    seed: u64,
) -> Vec<Vec<f64>> {
    let rows = series.first().map_or(0, |s| s.len());
    assert!(series.iter().all(|s| s.len() == rows), "series are of equal length");
    let count = series.len();
    let mut means = vec![Vec::new(); count];
    if rows == 0 {
        return means;
    }
    let running = running_sums(series, rows);
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let keep_on = 1.0 - 1.0 / block_length.max(1.0);
    let mut sums = vec![0.0; count];
    for _ in 0..draws {
        sums.fill(0.0);
        let mut left = rows;
        while left > 0 {
            let start = ((random.random::<f64>() * rows as f64) as usize).min(rows - 1);
            let length = geometric(1.0 - random.random::<f64>(), keep_on).min(left);
            let before = &running[start * count..][..count];
            let after = &running[(start + length) * count..][..count];
            for ((sum, after), before) in sums.iter_mut().zip(after).zip(before) {
                *sum += after - before;
            }
            left -= length;
        }
        for (means, sum) in means.iter_mut().zip(&sums) {
            means.push(sum / rows as f64);
        }
    }
    means
}

/// The sums of each series up to each row, over two rounds of the rows: the sum over a
/// block that wraps round is one difference. All series of a row lie side by side.
fn running_sums(series: &[&[f64]], rows: usize) -> Vec<f64> {
    let count = series.len();
    let mut sums = vec![0.0; count * (2 * rows + 1)];
    for (j, values) in series.iter().enumerate() {
        let mut sum = 0.0;
        for (i, value) in values.iter().chain(*values).enumerate() {
            sum += value;
            sums[(i + 1) * count + j] = sum;
        }
    }
    sums
}

/// The length at which a block ends that goes on with probability `keep_on` after
/// each row, from a uniform number in (0, 1].
fn geometric(uniform: f64, keep_on: f64) -> usize {
    if keep_on <= 0.0 {
        return 1;
    }
    1 + (libm::log(uniform) / libm::log(keep_on)) as usize
}

/// The interval between the `(1 − level) / 2` quantiles of bootstrap draws; NaN of none.
pub fn percentile_interval(draws: impl IntoIterator<Item = f64>, level: f64) -> (f64, f64) {
    let mut sorted: Vec<f64> = draws.into_iter().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    (empirical_quantile(&sorted, tail), empirical_quantile(&sorted, 1.0 - tail))
}

/// The mean block length that makes the stationary bootstrap's variance of the mean
/// most exact for this series; 1 for a constant or very short one.
pub fn optimal_block_length(values: &[f64]) -> f64 {
    let rows = values.len();
    if rows < 16 {
        return 1.0;
    }
    let n = rows as f64;
    let mean = values.iter().sum::<f64>() / n;
    let x: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    if dot(&x, &x) <= f64::MIN_POSITIVE {
        return 1.0;
    }
    let most = (3.0 * n.sqrt()).min(n / 3.0).ceil();
    let quiet = (libm::log10(n) as usize).max(5);
    let last = (n.sqrt().ceil() as usize + quiet).min(rows - 2);
    let threshold = 2.0 * (libm::log10(n) / n).sqrt();
    // The first run of `quiet` autocorrelations that cannot be told from zero.
    let mut covariances = Vec::with_capacity(last + 1);
    let (mut run, mut found) = (0, None);
    for lag in 0..=last {
        let product = dot(&x[lag..], &x[..rows - lag]);
        covariances.push(product / n);
        if lag >= quiet && run >= quiet && found.is_none() {
            found = Some(lag - quiet);
        }
        let (late, early) = (&x[lag + 1..], &x[..rows - lag - 1]);
        let correlation = product.abs() / (dot(late, late) * dot(early, early)).sqrt();
        run = if correlation < threshold { run + 1 } else { 0 };
    }
    let bandwidth = found.map_or(last, |lag| (2 * lag.max(1)).min(last));
    let (mut slope, mut long_run) = (0.0, covariances[0]);
    for (lag, covariance) in covariances.iter().enumerate().take(bandwidth + 1).skip(1) {
        let share = lag as f64 / bandwidth as f64;
        let weight = if share <= 0.5 { 1.0 } else { 2.0 * (1.0 - share) };
        slope += 2.0 * weight * lag as f64 * covariance;
        long_run += 2.0 * weight * covariance;
    }
    let length = libm::cbrt(slope * slope / (long_run * long_run) * n);
    if length.is_finite() { length.min(most).max(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_testkit::{normal, rng};

    fn autoregression(rows: usize, phi: f64, seed: u64) -> Vec<f64> {
        let mut random = rng(seed);
        let mut last = 0.0;
        let mut step = || {
            last = phi * last + normal(&mut random);
            last
        };
        (0..rows).map(|_| step()).collect()
    }

    /// The exact variance of a stationary-bootstrap mean given the data (Politis and
    /// Romano, lemma 1).
    fn exact_variance(values: &[f64], block_length: f64) -> f64 {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let circular = |lag: usize| -> f64 {
            let pair = |i: usize| (values[i] - mean) * (values[(i + lag) % n] - mean);
            (0..n).map(pair).sum::<f64>() / n as f64
        };
        let stay = 1.0 - 1.0 / block_length;
        let weight = |lag: usize| {
            let share = lag as f64 / n as f64;
            (1.0 - share) * stay.powi(lag as i32) + share * stay.powi((n - lag) as i32)
        };
        let sum: f64 = (1..n).map(|lag| weight(lag) * circular(lag)).sum();
        (circular(0) + sum) / n as f64
    }

    #[test]
    fn has_the_variance_that_politis_and_romano_derived() {
        let values = autoregression(400, 0.6, 3);
        for block_length in [1.0, 5.0, 20.0] {
            let means = &stationary_means(&[&values], block_length, 20_000, 9)[0];
            let centre = means.iter().sum::<f64>() / means.len() as f64;
            let variance =
                means.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / means.len() as f64;
            let ratio = variance / exact_variance(&values, block_length);
            // The standard error of a variance of 20,000 draws is 1 %.
            assert!((ratio - 1.0).abs() < 0.04, "block {block_length}: {ratio}");
        }
    }

    #[test]
    fn the_interval_covers_the_true_mean_of_dependent_data() {
        let mut covered = 0;
        for seed in 0..300 {
            let values = autoregression(400, 0.5, seed);
            let means = &stationary_means(&[&values], optimal_block_length(&values), 300, seed)[0];
            let (low, high) = percentile_interval(means.iter().copied(), 0.9);
            covered += i32::from(low <= 0.0 && 0.0 <= high);
        }
        // Block intervals are a little short in small samples: 0.8 to 0.95 of 300.
        assert!((240..=285).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn rows_stay_together_and_the_seed_decides() {
        let a: Vec<f64> = (0..50).map(f64::from).collect();
        let b: Vec<f64> = a.iter().map(|v| 3.0 * v + 1.0).collect();
        let means = stationary_means(&[&a, &b], 4.0, 20, 1);
        for (a, b) in means[0].iter().zip(&means[1]) {
            assert!((3.0 * a + 1.0 - b).abs() < 1e-9);
        }
        assert_eq!(stationary_means(&[&a], 4.0, 20, 1)[0], means[0]);
        assert_ne!(stationary_means(&[&a], 4.0, 20, 2)[0], means[0]);
        assert!(stationary_means(&[&[]], 4.0, 20, 1)[0].is_empty());
    }

    #[test]
    fn degenerate_series_take_single_rows() {
        assert_eq!(optimal_block_length(&[2.0; 100]), 1.0);
        assert_eq!(optimal_block_length(&[1.0, 2.0]), 1.0);
    }
}
