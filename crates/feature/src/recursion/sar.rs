//! The parabolic stop-and-reverse, plain and extended.
//!
//! Source: Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib 0.8 (SAR,
//! SAREXT), also for the first direction, which Wilder leaves to the trader.

use serde::{Deserialize, Serialize};

use super::Recursive;

/// Accelerations of both directions, start value and sign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SarSettings {
    /// First stop: 0 lets the first two rows decide, positive starts long, negative short.
    pub(crate) start: f64,
    /// Share by which the stop is moved away at a reversal.
    pub(crate) offset: f64,
    pub(crate) long: Acceleration,
    pub(crate) short: Acceleration,
    /// Whether the stop of a short position is reported as a negative number.
    pub(crate) signed: bool,
}

/// The acceleration of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Acceleration {
    first: f64,
    step: f64,
    limit: f64,
}

impl Acceleration {
    pub(crate) fn new(first: f64, step: f64, limit: f64) -> Self {
        Self { first: first.min(limit), step: step.min(limit), limit }
    }
}

/// Where the stop stands before the first row, between rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Empty,
    First { high: f64, low: f64 },
    Running { long: bool, stop: f64, extreme: f64, pace: f64, high: f64, low: f64 },
}

/// The stop of each row, from the second row after the origin on (inputs: high, low).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sar {
    settings: SarSettings,
    phase: Phase,
}

impl Sar {
    pub(crate) fn new(settings: SarSettings) -> Self {
        Self { settings, phase: Phase::Empty }
    }

    /// Direction, stop, extreme and pace before the second row is seen as the first of
    /// the run. `before` is the first row, `now` the second, each (high, low).
    fn begin(&self, before: (f64, f64), now: (f64, f64)) -> (bool, f64, f64, f64) {
        let s = &self.settings;
        let (rise, fall) = (now.0 - before.0, before.1 - now.1);
        let falls = fall > 0.0 && rise < fall;
        let (long, stop) = if s.start == 0.0 {
            if falls { (false, before.0) } else { (true, before.1) }
        } else {
            (s.start > 0.0, s.start.abs())
        };
        let (extreme, pace) = if long { (now.0, s.long.first) } else { (now.1, s.short.first) };
        (long, stop, extreme, pace)
    }
}

impl Recursive for Sar {
    fn gap(&mut self, _: u64) {
        self.phase = Phase::Empty;
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        let (high, low) = (inputs[0][row], inputs[1][row]);
        let (mut long, mut stop, mut extreme, mut pace, high_before, low_before) = match self.phase
        {
            Phase::Empty => {
                self.phase = Phase::First { high, low };
                return f64::NAN;
            }
            Phase::First { high: first_high, low: first_low } => {
                let (long, stop, extreme, pace) = self.begin((first_high, first_low), (high, low));
                // The run begins as if the second row had been there before.
                (long, stop, extreme, pace, high, low)
            }
            Phase::Running { long, stop, extreme, pace, high, low } => {
                (long, stop, extreme, pace, high, low)
            }
        };
        let s = &self.settings;
        let above = |stop: f64| stop.max(high_before).max(high);
        let below = |stop: f64| stop.min(low_before).min(low);
        let reported;
        if long && low <= stop {
            long = false;
            stop = above(extreme);
            stop += stop * s.offset;
            reported = if s.signed { -stop } else { stop };
            pace = s.short.first;
            extreme = low;
            stop = above(stop + pace * (extreme - stop));
        } else if long {
            reported = stop;
            if high > extreme {
                extreme = high;
                pace = (pace + s.long.step).min(s.long.limit);
            }
            stop = below(stop + pace * (extreme - stop));
        } else if high >= stop {
            long = true;
            stop = below(extreme);
            stop -= stop * s.offset;
            reported = stop;
            pace = s.long.first;
            extreme = high;
            stop = below(stop + pace * (extreme - stop));
        } else {
            reported = if s.signed { -stop } else { stop };
            if low < extreme {
                extreme = low;
                pace = (pace + s.short.step).min(s.short.limit);
            }
            stop = above(stop + pace * (extreme - stop));
        }
        self.phase = Phase::Running { long, stop, extreme, pace, high, low };
        reported
    }
}
