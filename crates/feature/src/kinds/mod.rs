//! The table of every kind of feature: definition, source, parameters, warm-up, kernel.
//!
//! This one table feeds the documentation, the fingerprint and the computation. A
//! change of a kernel's numbers must raise [`KERNEL_VERSION`].

mod candles;
mod indicators;
mod plain;

use crate::definition::{Fallback, Kernel, Kind, Memory, Parameter};
use crate::graph::{Graph, Input};

/// The version of all kernels together; part of every set's fingerprint.
pub const KERNEL_VERSION: u64 = 1;

/// Every kind of feature.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    [plain::KINDS, indicators::KINDS, candles::KINDS].into_iter().flatten()
}

/// A kind of the table that the table itself refers to.
fn find(id: &str) -> &'static Kind {
    kinds().find(|kind| kind.id == id).expect("the table names its own kinds")
}

/// The node of a kind of the table.
fn node(graph: &mut Graph, id: &str, on: &[Input], numbers: &[f64]) -> Input {
    graph.node(find(id), on, numbers)
}

/// What most rows of the table share: one cell, no parameter, no warm-up of its own.
const CELL: Kind = Kind {
    id: "",
    definition: "",
    source: "",
    memory: Memory::Cells,
    parameters: &[],
    warm_up: none,
    inputs: as_named,
    kernel: Kernel::Share,
};

const fn named(name: &'static str, fallback: &'static str) -> Parameter {
    let meaning = match name.as_bytes() {
        b"by" => "the column to divide by",
        b"column" => "the column it is computed from",
        _ => "the column that plays this part of a candle",
    };
    Parameter { name, meaning, fallback: Fallback::Column(fallback) }
}

const fn column(fallback: &'static str) -> Parameter {
    named("column", fallback)
}

const fn count(name: &'static str, meaning: &'static str, value: u32, min: u32) -> Parameter {
    Parameter { name, meaning, fallback: Fallback::Count { value, min, max: 10_000 } }
}

const fn number(name: &'static str, meaning: &'static str, value: f64, max: f64) -> Parameter {
    Parameter { name, meaning, fallback: Fallback::Number { value, min: 0.0, max } }
}

const LENGTH: &str = "length of the window in intervals";
const STEPS: Parameter = count("steps", "how many intervals back", 1, 1);
const WINDOW: Parameter = count("window", LENGTH, 24, 1);
const WIDE_WINDOW: Parameter = count("window", LENGTH, 24, 2);

const COLUMN: &[Parameter] = &[column("close")];
const COLUMN_STEPS: &[Parameter] = &[column("close"), STEPS];
const COLUMN_WINDOW: &[Parameter] = &[column("close"), WINDOW];
const COLUMN_WIDE: &[Parameter] = &[column("close"), WIDE_WINDOW];

/// The columns as they are named.
fn as_named(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    on.to_vec()
}

/// The one-interval log returns of the first column.
fn log_returns(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![node(graph, "log_change", &on[..1], &[1.0])]
}

fn none(_: &[f64]) -> usize {
    0
}

/// The row before.
fn one(_: &[f64]) -> usize {
    1
}

/// As many rows as the first number says.
fn steps(numbers: &[f64]) -> usize {
    numbers[0] as usize
}

/// All rows of a window but the last.
fn window(numbers: &[f64]) -> usize {
    numbers[0] as usize - 1
}
