//! Features of candles without a price level: returns, ranges, volatility, volume.
//!
//! All are pure numbers whose distribution does not move with the price, because a
//! model that splits on levels cannot follow a market to a level that it has not seen.

use super::cells::known;
use super::indicator::each_window;

/// `ln(a / b)`, NaN unless both are positive.
pub(crate) fn log_ratio(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for ((o, a), b) in out.iter_mut().zip(x[0]).zip(x[1]) {
        *o = known(libm::log(a / b));
    }
}

/// Square root of the mean square of the window (log returns).
pub(crate) fn root_mean_square(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let width = numbers[0] as usize;
    each_window(width, x[0], out, |window| {
        (window.iter().fold(0.0, |sum, v| sum + v * v) / width as f64).sqrt()
    });
}

/// `a / b`, one where both are zero: two equally quiet windows.
pub(crate) fn calm_ratio(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for ((o, a), b) in out.iter_mut().zip(x[0]).zip(x[1]) {
        *o = if *a == 0.0 && *b == 0.0 { 1.0 } else { known(a / b) };
    }
}

/// Parkinson's volatility: `sqrt(Σ ln(high/low)² / (4 n ln 2))`.
pub(crate) fn parkinson(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let width = numbers[0] as usize;
    let scale = 4.0 * std::f64::consts::LN_2 * width as f64;
    each_window(width, x[0], out, |window| {
        (window.iter().fold(0.0, |sum, v| sum + v * v) / scale).sqrt()
    });
}

/// `(value - low) / (high - low)`, one half where they are equal (value, high, low).
pub(crate) fn position(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (((o, value), high), low) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
        let range = high - low;
        *o = if range == 0.0 { 0.5 } else { (value - low) / range };
    }
}

/// `ln(high / max(open, close))` (open, high, close).
pub(crate) fn upper_wick(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (((o, open), high), close) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
        let body = if open > close { open } else { close };
        *o = known(libm::log(high / body));
    }
}

/// `ln(min(open, close) / low)` (open, low, close).
pub(crate) fn lower_wick(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (((o, open), low), close) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
        let body = if open < close { open } else { close };
        *o = known(libm::log(body / low));
    }
}

/// `(value - mean) / std`, zero where nothing varies (value, mean, std).
pub(crate) fn z_score(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (((o, value), mean), std) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
        *o = if *std == 0.0 { 0.0 } else { (value - mean) / std };
    }
}

/// Sum of the positive values as a share of the sum of all sizes, one half where
/// nothing moved (log returns).
pub(crate) fn up_share(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each_window(numbers[0] as usize, x[0], out, |window| {
        let up = window.iter().fold(0.0, |sum, v| if *v > 0.0 { sum + v } else { sum });
        let all = window.iter().fold(0.0, |sum, v| sum + v.abs());
        if all == 0.0 { 0.5 } else { up / all }
    });
}
