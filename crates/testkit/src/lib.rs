//! What tests of several crates share: seeded markets and tolerant assertions.
//!
//! A development dependency only; nothing that ships uses it.

mod server;

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};
use rand::{Rng, RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

pub use server::{AZURE_ACCOUNT, AZURE_KEY, Server};

/// A seeded random source, the same on every machine.
pub fn rng(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

/// One draw from the standard normal distribution (Box and Muller, 1958).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Candles of a geometric random walk without drift: `n` rows from 2024-01-01 UTC,
/// log returns of the given standard deviation, columns open, high, low, close,
/// volume.
pub fn random_walk(n: usize, interval: Interval, sigma: f64, seed: u64) -> Frame {
    let mut rng = rng(seed);
    let start = Timestamp::from_secs(1_704_067_200);
    let mut columns: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::with_capacity(n));
    let mut rows = Vec::with_capacity(n);
    let mut last = 100.0f64;
    for i in 0..n {
        let open = last;
        let close = open * (sigma * normal(&mut rng)).exp();
        let high = open.max(close) * (sigma * 0.5 * normal(&mut rng).abs()).exp();
        let low = open.min(close) * (-sigma * 0.5 * normal(&mut rng).abs()).exp();
        let volume = 10.0 * (0.5 * normal(&mut rng)).exp();
        for (column, value) in columns.iter_mut().zip([open, high, low, close, volume]) {
            column.push(value);
        }
        rows.push(RowMeta::at_close(start.plus_secs(i as i64 * interval.secs()), interval));
        last = close;
    }
    let names = ["open", "high", "low", "close", "volume"];
    let columns = names.iter().zip(columns).map(|(name, values)| Column::new(*name, values));
    Frame::new(instrument(), interval, rows, columns.collect()).expect("rows are in order")
}

/// The instrument of seeded markets.
pub fn instrument() -> Instrument {
    "BTC-USD".parse().expect("a valid name")
}

/// Fails with both values when they differ by more than `tolerance × max(1, |expected|)`.
#[track_caller]
pub fn assert_close(actual: f64, expected: f64, tolerance: f64) {
    let same_nan = actual.is_nan() && expected.is_nan();
    let bound = tolerance * expected.abs().max(1.0);
    assert!(
        same_nan || (actual - expected).abs() <= bound,
        "{actual} is not {expected} within {tolerance}"
    );
}

/// [`assert_close`] for every pair, relative to the scale of the expected column.
#[track_caller]
pub fn assert_all_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "columns are of equal length");
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1e-300f64, |m, v| m.max(v.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let fits = (a.is_nan() && e.is_nan()) || (a - e).abs() <= tolerance * scale;
        assert!(fits, "row {i}: {a} is not {e} within {tolerance} of scale {scale}");
    }
}
