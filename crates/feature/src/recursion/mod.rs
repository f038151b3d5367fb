//! Features that remember: state machines fed one interval at a time.
//!
//! Each names its origin in its documentation. The batch path and a continued stream
//! run the same `push`, so that a saved state gives the bits of the whole history.
//! Except for the weighted mean, whose terms age through a gap, a missing interval ends
//! the past: the next row is a new origin.

mod averages;
mod directional;
mod momentum;
mod sar;
mod volume;

use serde::{Deserialize, Serialize};

pub(crate) use averages::{SeededEma, T3, WilderMean, WilderSum};
pub(crate) use directional::{Adx, Dx};
pub(crate) use momentum::GainLoss;
pub(crate) use sar::{Acceleration, Sar, SarSettings};
pub(crate) use volume::{AccumulationLine, ChaikinOscillator, OnBalanceVolume};

use crate::kernel::ema::WeightedMean;

/// One recursive feature's memory.
pub(crate) trait Recursive {
    /// `intervals` are missing between the last push and the next.
    fn gap(&mut self, intervals: u64);
    /// The inputs of the next interval; returns the feature, NaN while warming up.
    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64;
}

impl Recursive for WeightedMean {
    fn gap(&mut self, intervals: u64) {
        self.skip(intervals);
    }

    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64 {
        WeightedMean::push(self, inputs[0][row])
    }
}

fn drive(memory: &mut impl Recursive, missing: u64, inputs: &[&[f64]], out: &mut [f64]) {
    if missing > 0 {
        memory.gap(missing);
    }
    for (row, o) in out.iter_mut().enumerate() {
        *o = memory.push(inputs, row);
    }
}

/// Feeds two memories in one loop: each waits for its own last step only, so that the
/// processor works on both at a time.
fn drive_two<M: Recursive>(
    memories: (&mut M, &mut M),
    missing: u64,
    inputs: &[&[f64]],
    outs: (&mut [f64], &mut [f64]),
) {
    let (first, second) = memories;
    if missing > 0 {
        first.gap(missing);
        second.gap(missing);
    }
    for (row, (a, b)) in outs.0.iter_mut().zip(outs.1).enumerate() {
        *a = first.push(inputs, row);
        *b = second.push(inputs, row);
    }
}

/// Names every memory once: the saved form and the dispatch come from one list.
macro_rules! memories {
    ($($name:ident),* $(,)?) => {
        /// The memory of any recursive feature, as it is saved.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Recursion {
            $(
                #[doc = concat!("A [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        impl Recursion {
            /// Feeds a run of rows, `missing` intervals after the last fed row.
            pub(crate) fn run(&mut self, missing: u64, inputs: &[&[f64]], out: &mut [f64]) {
                match self {
                    $(Self::$name(memory) => drive(memory, missing, inputs, out),)*
                }
            }

            /// Feeds a run of rows to two memories of one kind.
            pub(crate) fn run_two(
                pair: (&mut Self, &mut Self),
                missing: u64,
                inputs: &[&[f64]],
                outs: (&mut [f64], &mut [f64]),
            ) {
                match pair {
                    $((Self::$name(a), Self::$name(b)) => {
                        drive_two((a, b), missing, inputs, outs);
                    })*
                    (a, b) => {
                        a.run(missing, inputs, outs.0);
                        b.run(missing, inputs, outs.1);
                    }
                }
            }
        }
    };
}

memories!(
    WeightedMean,
    SeededEma,
    WilderMean,
    WilderSum,
    T3,
    GainLoss,
    Dx,
    Adx,
    Sar,
    OnBalanceVolume,
    AccumulationLine,
    ChaikinOscillator,
);

/// Below this a divisor counts as zero, as in TA-Lib.
pub(crate) const NEARLY_ZERO: f64 = 1e-14;
