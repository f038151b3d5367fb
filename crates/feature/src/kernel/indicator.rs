//! Technical indicators of a row, of two neighbouring rows or of a window.
//!
//! Each is given runs without a missing value, so that the row before is the interval
//! before. Source of all definitions: TA-Lib 0.8, including what it answers when a
//! divisor is zero.

use crate::recursion::NEARLY_ZERO;

/// `f` of each row's values of three columns.
fn each3(x: &[&[f64]], out: &mut [f64], f: impl Fn(f64, f64, f64) -> f64) {
    for (((o, a), b), c) in out.iter_mut().zip(x[0]).zip(x[1]).zip(x[2]) {
        *o = f(*a, *b, *c);
    }
}

/// `f` of each row's values of two columns.
fn each2(x: &[&[f64]], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
    for ((o, a), b) in out.iter_mut().zip(x[0]).zip(x[1]) {
        *o = f(*a, *b);
    }
}

/// `f(row, row before)` from the second row of a run on.
fn neighbours(out: &mut [f64], f: impl Fn(usize, usize) -> f64) {
    if let Some(first) = out.first_mut() {
        *first = f64::NAN;
    }
    for (i, o) in out.iter_mut().enumerate().skip(1) {
        *o = f(i, i - 1);
    }
}

/// `(high + low + close) / 3`.
pub(crate) fn typical_price(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each3(x, out, |high, low, close| (high + low + close) / 3.0);
}

/// Largest of high - low, |close before - high| and |close before - low|.
pub(crate) fn true_range(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let (high, low, close) = (x[0], x[1], x[2]);
    neighbours(out, |i, j| {
        let range = high[i] - low[i];
        range.max((close[j] - high[i]).abs()).max((close[j] - low[i]).abs())
    });
}

/// Rise of the high where it exceeds the fall of the low, else zero (high, low).
pub(crate) fn plus_move(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    neighbours(out, |i, j| {
        let (rise, fall) = (x[0][i] - x[0][j], x[1][j] - x[1][i]);
        if rise > 0.0 && rise > fall { rise } else { 0.0 }
    });
}

/// Fall of the low where it exceeds the rise of the high, else zero (high, low).
pub(crate) fn minus_move(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    neighbours(out, |i, j| {
        let (rise, fall) = (x[0][i] - x[0][j], x[1][j] - x[1][i]);
        if fall > 0.0 && rise < fall { fall } else { 0.0 }
    });
}

/// `100 × moved / range` from the second value on (Wilder sums of move and range).
pub(crate) fn directional_indicator(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let (moved, range) = (x[0], x[1]);
    neighbours(
        out,
        |i, _| {
            if range[i].abs() < NEARLY_ZERO { 0.0 } else { 100.0 * (moved[i] / range[i]) }
        },
    );
}

/// `(close - open) / (high - low)`, zero for a flat row (open, high, low, close).
pub(crate) fn balance_of_power(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (i, o) in out.iter_mut().enumerate() {
        let range = x[1][i] - x[2][i];
        *o = if range <= 0.0 { 0.0 } else { (x[3][i] - x[0][i]) / range };
    }
}

/// Typical price times volume where the typical price rose, else zero.
pub(crate) fn inflow(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let (price, volume) = (x[0], x[1]);
    neighbours(
        out,
        |i, j| if moved(price[i], price[j]) > 0.0 { price[i] * volume[i] } else { 0.0 },
    );
}

/// Typical price times volume where the typical price fell, else zero.
pub(crate) fn outflow(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let (price, volume) = (x[0], x[1]);
    neighbours(
        out,
        |i, j| if moved(price[i], price[j]) < 0.0 { price[i] * volume[i] } else { 0.0 },
    );
}

/// The step from one value to another; zero when it is but rounding, as of two sums that
/// are equal in decimal digits.
fn moved(now: f64, before: f64) -> f64 {
    let step = now - before;
    if step.abs() < NEARLY_ZERO * (now.abs() + before.abs()) { 0.0 } else { step }
}

/// `100 × inflow / (inflow + outflow)` of the window's sums; zero where nothing flowed.
pub(crate) fn money_flow_index(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each2(x, out, |inflow, outflow| {
        let all = inflow + outflow;
        if all <= 0.0 { 0.0 } else { 100.0 * (inflow / all) }
    });
}

/// Close minus the lower of low and close before (high, low, close).
pub(crate) fn buying_pressure(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let (low, close) = (x[1], x[2]);
    neighbours(out, |i, j| close[i] - low[i].min(close[j]));
}

/// `100 (4 a₁/b₁ + 2 a₂/b₂ + a₃/b₃) / 7` of pressure and range sums of three windows.
pub(crate) fn ultimate(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    for (i, o) in out.iter_mut().enumerate() {
        let part = |pressure: usize, weight: f64| {
            let range = x[pressure + 1][i];
            if range.abs() < NEARLY_ZERO { 0.0 } else { weight * (x[pressure][i] / range) }
        };
        *o = 100.0 * ((part(0, 4.0) + part(2, 2.0) + part(4, 1.0)) / 7.0);
    }
}

/// `100 (close - lowest) / (highest - lowest)`, zero in a flat window.
pub(crate) fn stochastic(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each3(x, out, |close, highest, lowest| {
        let range = moved(highest, lowest);
        if range == 0.0 { 0.0 } else { (close - lowest) / (range / 100.0) }
    });
}

/// `-100 (highest - close) / (highest - lowest)`, zero in a flat window.
pub(crate) fn williams(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each3(x, out, |close, highest, lowest| {
        let range = moved(highest, lowest);
        if range == 0.0 { 0.0 } else { (highest - close) / (range / -100.0) }
    });
}

/// `(a + b) / 2`.
pub(crate) fn middle(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each2(x, out, |a, b| (a + b) / 2.0);
}

/// `a - b`.
pub(crate) fn gap(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each2(x, out, |a, b| a - b);
}

/// `100 (a - b) / b`, zero where `b` is zero.
pub(crate) fn percent_gap(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each2(x, out, |a, b| if b.abs() < NEARLY_ZERO { 0.0 } else { ((a - b) / b) * 100.0 });
}

/// `100 a / b`, zero where `b` is zero.
pub(crate) fn percent_of(_: &[f64], x: &[&[f64]], out: &mut [f64]) {
    each2(x, out, |a, b| if b.abs() < NEARLY_ZERO { 0.0 } else { (a / b) * 100.0 });
}

/// `100 (now / past - 1)`, zero where the past is zero.
pub(crate) fn rate_of_change(now: &[f64], past: &[f64], out: &mut [f64]) {
    rates(now, past, out, |a, b| ((a / b) - 1.0) * 100.0);
}

/// `(now - past) / past`, zero where the past is zero.
pub(crate) fn rate_of_change_share(now: &[f64], past: &[f64], out: &mut [f64]) {
    rates(now, past, out, |a, b| (a - b) / b);
}

/// `now / past`, zero where the past is zero.
pub(crate) fn rate_of_change_ratio(now: &[f64], past: &[f64], out: &mut [f64]) {
    rates(now, past, out, |a, b| a / b);
}

/// `100 now / past`, zero where the past is zero.
pub(crate) fn rate_of_change_ratio_100(now: &[f64], past: &[f64], out: &mut [f64]) {
    rates(now, past, out, |a, b| (a / b) * 100.0);
}

fn rates(now: &[f64], past: &[f64], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
    for ((o, a), b) in out.iter_mut().zip(now).zip(past) {
        *o = if *b == 0.0 { 0.0 } else { f(*a, *b) };
    }
}

/// Commodity channel index: distance of the typical price from its mean over 0.015
/// mean absolute deviations, zero in a flat window (typical price).
pub(crate) fn commodity_channel(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let width = numbers[0] as usize;
    let n = width as f64;
    each_window(width, x[0], out, |window| {
        let mean = window.iter().fold(0.0, |sum, v| sum + v) / n;
        let spread = window.iter().fold(0.0, |sum, v| sum + (v - mean).abs());
        let distance = moved(window[width - 1], mean);
        let flat = spread < NEARLY_ZERO * n * mean.abs();
        if distance == 0.0 || flat { 0.0 } else { distance / (0.015 * (spread / n)) }
    });
}

/// Linearly weighted mean, the newest value weighted `period`.
pub(crate) fn weighted(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let width = numbers[0] as usize;
    let total = (width * (width + 1) / 2) as f64;
    each_window(width, x[0], out, |window| {
        let weighted = |sum: f64, (k, v): (usize, &f64)| sum + (k + 1) as f64 * v;
        window.iter().enumerate().fold(0.0, weighted) / total
    });
}

/// Triangularly weighted mean, the middle of the window weighted most.
pub(crate) fn triangular(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    let width = numbers[0] as usize;
    let weight = |k: usize| (k + 1).min(width - k) as f64;
    let total = (0..width).map(weight).fold(0.0, |a, b| a + b);
    each_window(width, x[0], out, |window| {
        let weighted = |sum: f64, (k, v): (usize, &f64)| sum + weight(k) * v;
        window.iter().enumerate().fold(0.0, weighted) / total
    });
}

/// `100 × (period - rows since the newest highest high) / period` over `period + 1`
/// rows.
pub(crate) fn aroon_up(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    aroon(numbers[0] as usize, x[0], out, |new, best| new >= best);
}

/// `100 × (period - rows since the newest lowest low) / period` over `period + 1` rows.
pub(crate) fn aroon_down(numbers: &[f64], x: &[&[f64]], out: &mut [f64]) {
    aroon(numbers[0] as usize, x[0], out, |new, best| new <= best);
}

fn aroon(period: usize, x: &[f64], out: &mut [f64], beats: impl Fn(f64, f64) -> bool) {
    let factor = 100.0 / period as f64;
    each_window(period + 1, x, out, |window| {
        let mut at = 0;
        for (k, value) in window.iter().enumerate().skip(1) {
            if beats(*value, window[at]) {
                at = k;
            }
        }
        factor * at as f64
    });
}

/// `f` of every whole window; NaN before the first.
pub(crate) fn each_window(width: usize, x: &[f64], out: &mut [f64], f: impl Fn(&[f64]) -> f64) {
    let first = (width - 1).min(out.len());
    out[..first].fill(f64::NAN);
    for (window, o) in x.windows(width).zip(&mut out[first..]) {
        *o = f(window);
    }
}
