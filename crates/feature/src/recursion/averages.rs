//! Exponential averages that are seeded with the plain mean of their first values.
//!
//! Source: TA-Lib 0.8 (EMA, ATR, T3 with its default compatibility) and Wilder, *New
//! Concepts in Technical Trading Systems* (1978).

use serde::{Deserialize, Serialize};

use super::Recursive;

/// Collects the first `period` values for a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seed {
    period: u32,
    count: u32,
    sum: f64,
}

impl Seed {
    fn new(period: u32) -> Self {
        Self { period, count: 0, sum: 0.0 }
    }

    fn is_full(&self) -> bool {
        self.count == self.period
    }

    /// Adds a value; the mean when it was the last one needed.
    fn push(&mut self, x: f64) -> Option<f64> {
        self.sum += x;
        self.count += 1;
        self.is_full().then(|| self.sum / f64::from(self.period))
    }
}

/// `ema ← ema + k (x - ema)` with `k = 2 / (period + 1)`, seeded with the mean of the
/// first `period` values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeededEma {
    seed: Seed,
    k: f64,
    value: f64,
}

impl SeededEma {
    pub(crate) fn new(period: u32) -> Self {
        Self { seed: Seed::new(period), k: 2.0 / f64::from(period + 1), value: 0.0 }
    }

    fn step(&mut self, x: f64) -> Option<f64> {
        if self.seed.is_full() {
            self.value = (x - self.value) * self.k + self.value;
            return Some(self.value);
        }
        self.value = self.seed.push(x)?;
        Some(self.value)
    }
}

impl Recursive for SeededEma {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.seed.period);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        self.step(inputs[0][row]).unwrap_or(f64::NAN)
    }
}

/// `mean ← (mean (period - 1) + x) / period`, seeded with the mean of the first
/// `period` values (Wilder's average).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WilderMean {
    seed: Seed,
    value: f64,
}

impl WilderMean {
    pub(crate) fn new(period: u32) -> Self {
        Self { seed: Seed::new(period), value: 0.0 }
    }
}

impl Recursive for WilderMean {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.seed.period);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let x = inputs[0][row];
        if self.seed.is_full() {
            let n = f64::from(self.seed.period);
            self.value = (self.value * (n - 1.0) + x) / n;
            return self.value;
        }
        match self.seed.push(x) {
            Some(mean) => {
                self.value = mean;
                mean
            }
            None => f64::NAN,
        }
    }
}

/// `sum ← sum - sum / period + x`, seeded with the sum of the first `period - 1` values
/// (Wilder's sum). With a period of one it is the value itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WilderSum {
    period: u32,
    count: u32,
    sum: f64,
}

impl WilderSum {
    pub(crate) fn new(period: u32) -> Self {
        Self { period, count: 0, sum: 0.0 }
    }
}

impl Recursive for WilderSum {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.period);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let x = inputs[0][row];
        if self.count + 1 < self.period {
            self.count += 1;
            self.sum += x;
        } else {
            self.sum = self.sum - self.sum / f64::from(self.period) + x;
        }
        if self.count + 1 < self.period { f64::NAN } else { self.sum }
    }
}

/// Tillson's T3: a polynomial of six nested averages, `c1 e6 + c2 e5 + c3 e4 + c4 e3`.
/// Source: Tillson, "Smoothing Techniques for More Accurate Signals", *Technical
/// Analysis of Stocks & Commodities* 16(1), 1998.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct T3 {
    volume_factor: f64,
    stages: [SeededEma; 6],
}

impl T3 {
    pub(crate) fn new(period: u32, volume_factor: f64) -> Self {
        Self { volume_factor, stages: std::array::from_fn(|_| SeededEma::new(period)) }
    }
}

impl Recursive for T3 {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.stages[0].seed.period, self.volume_factor);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let mut value = inputs[0][row];
        let mut e = [0.0; 6];
        for (stage, e) in self.stages.iter_mut().zip(&mut e) {
            let Some(next) = stage.step(value) else { return f64::NAN };
            value = next;
            *e = next;
        }
        let v = self.volume_factor;
        let squared = v * v;
        let c1 = -(squared * v);
        let c2 = 3.0 * (squared - c1);
        let c3 = -6.0 * squared - 3.0 * (v - c1);
        let c4 = 1.0 + 3.0 * v - c1 + 3.0 * squared;
        c1 * e[5] + c2 * e[4] + c3 * e[3] + c4 * e[2]
    }
}
