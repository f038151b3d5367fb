//! Features that remember: state machines fed one interval at a time.
//!
//! Each names its origin in its documentation. The batch path and a continued stream
//! run the same `push`, so that a saved state gives the bits of the whole history.

use serde::{Deserialize, Serialize};

use crate::kernel::ema::WeightedMean;

/// One recursive feature's memory.
pub(crate) trait Recursive {
    /// `intervals` are missing between the last push and the next.
    fn gap(&mut self, intervals: u64);
    /// The inputs of the next interval; returns the feature, NaN while warming up.
    fn push(&mut self, inputs: &[&[f64]], row: usize) -> f64;
}

/// The memory of any recursive feature, as it is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Recursion {
    /// [`WeightedMean`].
    WeightedMean(WeightedMean),
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

impl Recursion {
    /// Feeds a run of rows, `missing` intervals after the last fed row.
    pub(crate) fn run(&mut self, missing: u64, inputs: &[&[f64]], out: &mut [f64]) {
        match self {
            Self::WeightedMean(memory) => drive(memory, missing, inputs, out),
        }
    }
}
