//! Features of one cell or of two cells a fixed number of intervals apart.

use super::wide::wide;

wide! {
    /// `now / past - 1`; NaN when the past is zero.
    pub(crate) fn change(now: &[f64], past: &[f64], out: &mut [f64]) {
        pairs(now, past, out, |a, b| a / b - 1.0);
    }
}

wide! {
    /// `now - past`.
    pub(crate) fn difference(now: &[f64], past: &[f64], out: &mut [f64]) {
        pairs(now, past, out, |a, b| a - b);
    }
}

/// `ln(now / past)`; NaN unless both are positive.
pub(crate) fn log_change(now: &[f64], past: &[f64], out: &mut [f64]) {
    pairs(now, past, out, |a, b| libm::log(a / b));
}

/// A result that is not finite is a missing value.
#[inline(always)]
pub(crate) fn known(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

#[inline(always)]
fn pairs(now: &[f64], past: &[f64], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
    for ((o, a), b) in out.iter_mut().zip(now).zip(past) {
        *o = known(f(*a, *b));
    }
}

wide! {
    /// `x[0] / x[1]`, cell by cell.
    pub(crate) fn ratio(_numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
        for ((o, a), b) in out.iter_mut().zip(x[0]).zip(x[1]) {
            *o = known(a / b);
        }
    }
}

wide! {
    /// Upper band: `mean + sigmas × std` (`x` is mean, std).
    pub(crate) fn upper_band(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
        for ((o, mean), std) in out.iter_mut().zip(x[0]).zip(x[1]) {
            *o = mean + numbers[1] * std;
        }
    }
}

wide! {
    /// Lower band: `mean - sigmas × std` (`x` is mean, std).
    pub(crate) fn lower_band(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
        for ((o, mean), std) in out.iter_mut().zip(x[0]).zip(x[1]) {
            *o = mean - numbers[1] * std;
        }
    }
}

wide! {
    /// `(upper - lower) / middle` (`x` is upper, lower, middle).
    pub(crate) fn band_width(_numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
        for (((o, upper), lower), middle) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
            *o = known((upper - lower) / middle);
        }
    }
}

wide! {
    /// `(value - lower) / (upper - lower)` (`x` is value, upper, lower).
    pub(crate) fn band_position(_numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
        for (((o, value), upper), lower) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
            *o = known((value - lower) / (upper - lower));
        }
    }
}
