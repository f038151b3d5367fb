//! Statistics of a sliding window, recomputed from the window's own rows.
//!
//! A block of neighbouring outputs is computed together, one lane each: the loop over
//! the window is outside, the loop over lanes inside, so that the compiler can use
//! vector registers while each lane sums its own window from the oldest row on. There
//! is no running sum, hence no drift: a value depends on its window's rows alone.

/// Outputs per block.
const LANES: usize = 16;

/// Fills `out` from windows of `width` values; the first `width - 1` outputs are NaN.
/// `wide` and `one` are the same kernel for a block and for one output; both are given
/// the values from the oldest of the first window on.
pub(crate) fn slide(
    x: &[f64],
    width: usize,
    out: &mut [f64],
    wide: impl Fn(&[f64], usize) -> [f64; LANES],
    one: impl Fn(&[f64], usize) -> [f64; 1],
) {
    let first = (width - 1).min(out.len());
    out[..first].fill(f64::NAN);
    let mut i = first;
    while i + LANES <= out.len() {
        let block = wide(&x[i + 1 - width..i + LANES], width);
        out[i..i + LANES].copy_from_slice(&block);
        i += LANES;
    }
    while i < out.len() {
        out[i] = one(&x[i + 1 - width..=i], width)[0];
        i += 1;
    }
}

/// The values of one row of lanes.
fn lanes<const L: usize>(x: &[f64], k: usize) -> &[f64; L] {
    x[k..k + L].try_into().expect("the slice has L values")
}

fn sum_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = [0.0; L];
    for k in 0..width {
        let row = lanes::<L>(x, k);
        for j in 0..L {
            acc[j] += row[j];
        }
    }
    acc
}

fn mean_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = sum_of::<L>(x, width);
    let n = width as f64;
    for value in &mut acc {
        *value /= n;
    }
    acc
}

/// Sum of squared deviations from the window's mean, in two passes over differences
/// from the oldest value: exact zero for equal values, no cancellation for a level far
/// from zero.
fn squares_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let origin = lanes::<L>(x, 0);
    let mut mean = [0.0; L];
    for k in 1..width {
        let row = lanes::<L>(x, k);
        for j in 0..L {
            mean[j] += row[j] - origin[j];
        }
    }
    let n = width as f64;
    for value in &mut mean {
        *value /= n;
    }
    let mut acc = [0.0; L];
    for k in 0..width {
        let row = lanes::<L>(x, k);
        for j in 0..L {
            let d = (row[j] - origin[j]) - mean[j];
            acc[j] += d * d;
        }
    }
    acc
}

fn sample_std_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = squares_of::<L>(x, width);
    let n = (width - 1) as f64;
    for value in &mut acc {
        *value = (*value / n).sqrt();
    }
    acc
}

fn population_std_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = squares_of::<L>(x, width);
    let n = width as f64;
    for value in &mut acc {
        *value = (*value / n).sqrt();
    }
    acc
}

fn min_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = *lanes::<L>(x, 0);
    for k in 1..width {
        let row = lanes::<L>(x, k);
        for j in 0..L {
            acc[j] = if row[j] < acc[j] { row[j] } else { acc[j] };
        }
    }
    acc
}

fn max_of<const L: usize>(x: &[f64], width: usize) -> [f64; L] {
    let mut acc = *lanes::<L>(x, 0);
    for k in 1..width {
        let row = lanes::<L>(x, k);
        for j in 0..L {
            acc[j] = if row[j] > acc[j] { row[j] } else { acc[j] };
        }
    }
    acc
}

/// The window's length, from the first parameter.
pub(crate) fn width(numbers: &[f64]) -> usize {
    numbers[0] as usize
}

/// Arithmetic mean of the window.
pub(crate) fn mean(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, mean_of::<LANES>, mean_of::<1>);
}

/// Sum of the window.
pub(crate) fn sum(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, sum_of::<LANES>, sum_of::<1>);
}

/// Sample standard deviation of the window (divisor `n - 1`).
pub(crate) fn sample_std(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, sample_std_of::<LANES>, sample_std_of::<1>);
}

/// Standard deviation of the window (divisor `n`).
pub(crate) fn population_std(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, population_std_of::<LANES>, population_std_of::<1>);
}

/// Smallest value of the window.
pub(crate) fn min(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, min_of::<LANES>, min_of::<1>);
}

/// Largest value of the window.
pub(crate) fn max(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    slide(x[0], width(numbers), out, max_of::<LANES>, max_of::<1>);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_has_the_bits_of_the_scalar_kernel(
            x in prop::collection::vec(-1e6f64..1e6, 0..120), width in 2usize..30
        ) {
            type Rolling = fn(&[f64], &[&[f64]], &mut [f64]);
            for kernel in [mean as Rolling, sum, sample_std, min, max] {
                let mut whole = vec![0.0; x.len()];
                kernel(&[width as f64], &[&x], &mut whole);
                for end in 0..x.len() {
                    let start = (end + 1).saturating_sub(width);
                    let window = &x[start..=end];
                    let mut alone = vec![0.0; window.len()];
                    kernel(&[width as f64], &[window], &mut alone);
                    prop_assert_eq!(whole[end].to_bits(), alone[window.len() - 1].to_bits());
                    prop_assert_eq!(whole[end].is_nan(), end + 1 < width);
                }
            }
        }

        #[test]
        fn equal_values_have_no_deviation(value in -1e9f64..1e9, width in 2usize..40) {
            let mut out = vec![0.0; width];
            sample_std(&[width as f64], &[&vec![value; width]], &mut out);
            prop_assert_eq!(out[width - 1], 0.0);
        }
    }
}
