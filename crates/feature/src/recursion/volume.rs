//! Cumulative volume indicators. Their level depends on the origin; their changes do
//! not.
//!
//! Source: Granville, *New Key to Stock Market Profits* (1963); Chaikin's accumulation
//! line and oscillator; TA-Lib 0.8 (OBV, AD, ADOSC).

use serde::{Deserialize, Serialize};

use super::Recursive;

/// Volume added on a rise of the close and taken off on a fall; the first row's volume
/// is the start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct OnBalanceVolume {
    before: Option<f64>,
    total: f64,
}

impl Recursive for OnBalanceVolume {
    fn gap(&mut self, _: u64) {
        *self = Self::default();
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let (close, volume) = (inputs[0][row], inputs[1][row]);
        match self.before.replace(close) {
            None => self.total = volume,
            Some(before) if close > before => self.total += volume,
            Some(before) if close < before => self.total -= volume,
            Some(_) => {}
        }
        self.total
    }
}

/// Sum of volume weighted with the place of the close in the row's range, -1 to 1
/// (inputs: high, low, close, volume).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct AccumulationLine {
    total: f64,
}

impl Recursive for AccumulationLine {
    fn gap(&mut self, _: u64) {
        *self = Self::default();
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let (high, low, close) = (inputs[0][row], inputs[1][row], inputs[2][row]);
        let range = high - low;
        if range > 0.0 {
            self.total += (((close - low) - (high - close)) / range) * inputs[3][row];
        }
        self.total
    }
}

/// Fast minus slow exponential average of the accumulation line, both started at its
/// first value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChaikinOscillator {
    fast: u32,
    slow: u32,
    count: u32,
    fast_mean: f64,
    slow_mean: f64,
}

impl ChaikinOscillator {
    pub(crate) fn new(fast: u32, slow: u32) -> Self {
        Self { fast, slow, count: 0, fast_mean: 0.0, slow_mean: 0.0 }
    }
}

impl Recursive for ChaikinOscillator {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.fast, self.slow);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let x = inputs[0][row];
        if self.count == 0 {
            (self.fast_mean, self.slow_mean) = (x, x);
        } else {
            let step = |mean: f64, period: u32| {
                let k = 2.0 / f64::from(period + 1);
                k * x + (1.0 - k) * mean
            };
            self.fast_mean = step(self.fast_mean, self.fast);
            self.slow_mean = step(self.slow_mean, self.slow);
        }
        let ready = self.fast.max(self.slow);
        self.count = self.count.saturating_add(1);
        if self.count < ready { f64::NAN } else { self.fast_mean - self.slow_mean }
    }
}
