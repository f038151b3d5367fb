//! Wilder's directional index and its average, from the two directional indicators.
//!
//! Source: Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib 0.8 (DX,
//! ADX), also for what happens when nothing moves.

use serde::{Deserialize, Serialize};

use super::{NEARLY_ZERO, Recursive};

/// `100 |minus - plus| / (plus + minus)`; `None` when neither direction moved.
fn index(plus: f64, minus: f64) -> Option<f64> {
    let sum = minus + plus;
    (sum.abs() >= NEARLY_ZERO).then(|| 100.0 * ((minus - plus).abs() / sum))
}

/// The index; where nothing moved it keeps its last value (zero at first).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Dx {
    last: f64,
}

impl Recursive for Dx {
    fn gap(&mut self, _: u64) {
        *self = Self::default();
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        if let Some(dx) = index(inputs[0][row], inputs[1][row]) {
            self.last = dx;
        }
        self.last
    }
}

/// Wilder's average of the index over `period`, seeded with the mean of the first
/// `period` values; an interval without movement adds nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Adx {
    period: u32,
    count: u32,
    value: f64,
}

impl Adx {
    pub(crate) fn new(period: u32) -> Self {
        Self { period, count: 0, value: 0.0 }
    }
}

impl Recursive for Adx {
    fn gap(&mut self, _: u64) {
        *self = Self::new(self.period);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let dx = index(inputs[0][row], inputs[1][row]);
        let n = f64::from(self.period);
        if self.count < self.period {
            self.count += 1;
            self.value += dx.unwrap_or(0.0);
            if self.count < self.period {
                return f64::NAN;
            }
            self.value /= n;
        } else if let Some(dx) = dx {
            self.value = (self.value * (n - 1.0) + dx) / n;
        }
        self.value
    }
}
