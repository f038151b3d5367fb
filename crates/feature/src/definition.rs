//! What a kind of feature is: its words, its parameters, its reach and its kernel.

use crate::graph::{Graph, Input};
use crate::kernel::calendar::Span;
use crate::kernel::rolling::Statistic;
use crate::recursion::Recursion;
use foretell_market::Timestamp;

/// How much of the past a feature's own step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The row itself, or one cell a fixed number of intervals before it.
    Cells,
    /// Every row of a window; null when an interval of it is missing.
    Window,
    /// All rows since the origin that its definition names.
    Recursive,
}

/// The value of a parameter that is not written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// A column of the input frame.
    Column(&'static str),
    /// A whole number between the bounds.
    Count {
        /// The default.
        value: u32,
        /// The smallest accepted.
        min: u32,
        /// The largest accepted.
        max: u32,
    },
    /// A number between the bounds.
    Number {
        /// The default.
        value: f64,
        /// The smallest accepted.
        min: f64,
        /// The largest accepted.
        max: f64,
    },
}

/// One parameter of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name in a pipeline file.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Its default and its bounds.
    pub fallback: Fallback,
}

/// A kind of feature: one row of the table that [`crate::kinds()`] walks.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its id in a pipeline file.
    pub id: &'static str,
    /// Its definition, with the parameters' names in it.
    pub definition: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// What it remembers.
    pub memory: Memory,
    /// Its parameters: columns first, numbers after them.
    pub parameters: &'static [Parameter],
    /// Rows before its own first value, given its inputs (which add theirs).
    pub(crate) warm_up: fn(&[f64]) -> usize,
    /// From the columns that its parameters name to the inputs of its kernel.
    pub(crate) inputs: fn(&mut Graph, &[Input], &[f64]) -> Vec<Input>,
    /// The numbers.
    pub(crate) kernel: Kernel,
}

/// How a kind is computed.
#[derive(Clone, Copy)]
pub(crate) enum Kernel {
    /// The input itself: its buffer is shared.
    Share,
    /// From the row's time, moved by the first number in intervals.
    Clock(fn(Timestamp) -> f64, Span),
    /// From a cell and the one `numbers[0]` intervals earlier.
    Pair(fn(&[f64], &[f64], &mut [f64])),
    /// The value `numbers[0]` intervals ago: the input's own numbers, moved.
    Lag,
    /// A statistic of the last `numbers[0]` rows; all of one input in one pass.
    Rolling(Statistic),
    /// From a run of rows without a missing value.
    Run(fn(&[f64], &[&[f64]], &mut [f64])),
    /// From a memory that is fed row by row.
    Recursion(fn(&[f64]) -> Recursion),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Kind {
    /// The names of its parameters, for an error message.
    pub(crate) fn parameter_names(&self) -> String {
        if self.parameters.is_empty() {
            return "none".to_owned();
        }
        let names: Vec<_> = self.parameters.iter().map(|p| format!("`{}`", p.name)).collect();
        names.join(", ")
    }
}
