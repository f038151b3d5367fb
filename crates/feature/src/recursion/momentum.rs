//! Wilder's averages of gains and losses, behind RSI and CMO.
//!
//! Source: Wilder, *New Concepts in Technical Trading Systems* (1978); Chande & Kroll,
//! *The New Technical Trader* (1994), with TA-Lib's smoothing; TA-Lib 0.8.

use serde::{Deserialize, Serialize};

use super::{NEARLY_ZERO, Recursive};

/// RSI, or CMO when `balance` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GainLoss {
    period: u32,
    balance: bool,
    count: u32,
    before: f64,
    gain: f64,
    loss: f64,
}

impl GainLoss {
    /// Gains as a share of all movement, 0 to 100.
    pub(crate) fn rsi(period: u32) -> Self {
        Self { period, balance: false, count: 0, before: 0.0, gain: 0.0, loss: 0.0 }
    }

    /// Gains minus losses as a share of all movement, -100 to 100.
    pub(crate) fn cmo(period: u32) -> Self {
        Self { balance: true, ..Self::rsi(period) }
    }
}

impl Recursive for GainLoss {
    fn gap(&mut self, _: u64) {
        *self = Self { balance: self.balance, ..Self::rsi(self.period) };
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let x = inputs[0][row];
        let step = x - std::mem::replace(&mut self.before, x);
        self.count = self.count.saturating_add(1);
        if self.count == 1 {
            return f64::NAN;
        }
        let n = f64::from(self.period);
        let seeding = self.count <= self.period + 1;
        if !seeding {
            self.gain *= n - 1.0;
            self.loss *= n - 1.0;
        }
        if step < 0.0 {
            self.loss -= step;
        } else {
            self.gain += step;
        }
        if self.count <= self.period {
            return f64::NAN;
        }
        self.gain /= n;
        self.loss /= n;
        let all = self.gain + self.loss;
        let part = if self.balance { self.gain - self.loss } else { self.gain };
        if all.abs() < NEARLY_ZERO { 0.0 } else { 100.0 * (part / all) }
    }
}
