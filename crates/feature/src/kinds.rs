//! The table of every kind of feature: definition, source, parameters, warm-up, kernel.
//!
//! This one table feeds the documentation, the fingerprint and the computation. A
//! change of a kernel's numbers must raise [`KERNEL_VERSION`].

use crate::definition::{Fallback, Kernel, Kind, Memory, Parameter};
use crate::graph::{Graph, Input};
use crate::kernel::calendar::{self, Span};
use crate::kernel::ema::WeightedMean;
use crate::kernel::{cells, rolling};
use crate::recursion::Recursion;

/// The version of all kernels together; part of every set's fingerprint.
pub const KERNEL_VERSION: u64 = 1;

const fn column(fallback: &'static str) -> Parameter {
    Parameter { name: "column", meaning: "the column", fallback: Fallback::Column(fallback) }
}

const fn count(name: &'static str, meaning: &'static str, value: u32, min: u32) -> Parameter {
    Parameter { name, meaning, fallback: Fallback::Count { value, min, max: 10_000 } }
}

const STEPS: Parameter = count("steps", "how many intervals back", 1, 1);
const WINDOW: Parameter = count("window", "length of the window in intervals", 24, 1);
const WIDE_WINDOW: Parameter = count("window", "length of the window in intervals", 24, 2);
const SIGMAS: Parameter = Parameter {
    name: "sigmas",
    meaning: "distance of a band from the middle in standard deviations",
    fallback: Fallback::Number { value: 2.0, min: 0.0, max: 100.0 },
};
const OFFSET: Parameter = Parameter {
    name: "offset",
    meaning: "0 for the time of the row's open, 1 for its close",
    fallback: Fallback::Count { value: 0, min: 0, max: 1 },
};

/// The columns as they are.
fn as_named(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    on.to_vec()
}

fn none(_: &[f64]) -> usize {
    0
}

fn steps(numbers: &[f64]) -> usize {
    numbers[0] as usize
}

fn window(numbers: &[f64]) -> usize {
    numbers[0] as usize - 1
}

const COLUMN_STEPS: &[Parameter] = &[column("close"), STEPS];
const COLUMN_WIDE: &[Parameter] = &[column("close"), WIDE_WINDOW];
const COLUMN_WINDOW: &[Parameter] = &[column("close"), WINDOW];
const COLUMN_BAND: &[Parameter] = &[column("close"), WIDE_WINDOW, SIGMAS];

const PANDAS: &str = "pandas 3.1";
const UTC: &str = "proleptic Gregorian calendar, UTC; pandas DatetimeIndex";
const BOLLINGER: &str = "Bollinger, Bollinger on Bollinger Bands (2001); pandas rolling, ddof = 1";

const fn clock(
    id: &'static str,
    definition: &'static str,
    value: fn(foretell_market::Timestamp) -> f64,
    span: Span,
) -> Kind {
    Kind {
        id,
        definition,
        source: UTC,
        memory: Memory::Cells,
        parameters: &[OFFSET],
        warm_up: none,
        inputs: as_named,
        kernel: Kernel::Clock(value, span),
    }
}

const fn pair(
    id: &'static str,
    definition: &'static str,
    source: &'static str,
    kernel: fn(&[f64], &[f64], &mut [f64]),
) -> Kind {
    Kind {
        id,
        definition,
        source,
        memory: Memory::Cells,
        parameters: COLUMN_STEPS,
        warm_up: steps,
        inputs: as_named,
        kernel: Kernel::Pair(kernel),
    }
}

const fn windowed(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    kernel: fn(&[f64], &[&[f64]], &mut [f64]),
) -> Kind {
    Kind {
        id,
        definition,
        source: PANDAS,
        memory: Memory::Window,
        parameters,
        warm_up: window,
        inputs: as_named,
        kernel: Kernel::Run(kernel),
    }
}

const fn banded(
    id: &'static str,
    definition: &'static str,
    inputs: fn(&mut Graph, &[Input], &[f64]) -> Vec<Input>,
    kernel: fn(&[f64], &[&[f64]], &mut [f64]),
) -> Kind {
    Kind {
        id,
        definition,
        source: BOLLINGER,
        memory: Memory::Cells,
        parameters: COLUMN_BAND,
        warm_up: none,
        inputs,
        kernel: Kernel::Run(kernel),
    }
}

/// Mean and standard deviation of the window.
fn moments(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let window = &numbers[..1];
    vec![graph.node(find("rolling_mean"), on, window), graph.node(find("rolling_std"), on, window)]
}

/// Upper and lower band and the middle.
fn bands(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let upper = graph.node(find("bollinger_upper"), on, numbers);
    let lower = graph.node(find("bollinger_lower"), on, numbers);
    vec![upper, lower, graph.node(find("rolling_mean"), on, &numbers[..1])]
}

/// The column, upper and lower band.
fn value_and_bands(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let bands = bands(graph, on, numbers);
    vec![on[0].clone(), bands[0].clone(), bands[1].clone()]
}

/// The one-interval relative change of the column.
fn one_step_change(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![graph.node(find("change"), on, &[1.0])]
}

fn span_mean(numbers: &[f64]) -> Recursion {
    Recursion::WeightedMean(WeightedMean::with_span(numbers[0]))
}

/// A kind of the table that the table itself refers to.
pub(crate) fn find(id: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.id == id).expect("the table names its own kinds")
}

/// Every kind of feature.
pub static KINDS: &[Kind] = &[
    Kind {
        id: "column",
        definition: "the value of `column` itself",
        source: "the input",
        memory: Memory::Cells,
        parameters: &[column("close")],
        warm_up: none,
        inputs: as_named,
        kernel: Kernel::Share,
    },
    clock("hour", "hour of the day, 0 to 23", calendar::hour, Span::Hour),
    clock("weekday", "day of the week, Monday 0 to Sunday 6", calendar::weekday, Span::Day),
    clock("day", "day of the month, 1 to 31", calendar::day, Span::Day),
    clock("month", "month, 1 to 12", calendar::month, Span::Day),
    clock("timestamp_ms", "milliseconds since 1970-01-01", calendar::millis, Span::Row),
    clock("hour_sin", "sin(2π · hour / 24)", calendar::hour_sin, Span::Hour),
    clock("hour_cos", "cos(2π · hour / 24)", calendar::hour_cos, Span::Hour),
    clock("weekday_sin", "sin(2π · weekday / 7)", calendar::weekday_sin, Span::Day),
    clock("weekday_cos", "cos(2π · weekday / 7)", calendar::weekday_cos, Span::Day),
    pair("lag", "the value of `column` `steps` intervals ago", PANDAS, cells::past),
    pair("change", "x[t] / x[t - steps] - 1 of `column`", PANDAS, cells::change),
    pair("difference", "x[t] - x[t - steps] of `column`", PANDAS, cells::difference),
    pair("log_change", "ln(x[t] / x[t - steps]) of `column`", PANDAS, cells::log_change),
    Kind {
        id: "ratio",
        definition: "`column` divided by `by`; null where `by` is zero",
        source: PANDAS,
        memory: Memory::Cells,
        parameters: &[
            column("volume"),
            Parameter {
                name: "by",
                meaning: "the column to divide by",
                fallback: Fallback::Column("close"),
            },
        ],
        warm_up: none,
        inputs: as_named,
        kernel: Kernel::Run(cells::ratio),
    },
    windowed(
        "rolling_mean",
        "mean of the last `window` values of `column`",
        COLUMN_WINDOW,
        rolling::mean,
    ),
    windowed(
        "rolling_sum",
        "sum of the last `window` values of `column`",
        COLUMN_WINDOW,
        rolling::sum,
    ),
    windowed(
        "rolling_std",
        "sample standard deviation (ddof = 1) of the last `window` values of `column`",
        COLUMN_WIDE,
        rolling::sample_std,
    ),
    windowed(
        "rolling_min",
        "smallest of the last `window` values of `column`",
        COLUMN_WINDOW,
        rolling::min,
    ),
    windowed(
        "rolling_max",
        "largest of the last `window` values of `column`",
        COLUMN_WINDOW,
        rolling::max,
    ),
    Kind {
        id: "volatility",
        definition: "sample standard deviation (ddof = 1) of the last `window` one-interval \
                     relative changes of `column`",
        source: PANDAS,
        memory: Memory::Window,
        parameters: COLUMN_WIDE,
        warm_up: window,
        inputs: one_step_change,
        kernel: Kernel::Run(rolling::sample_std),
    },
    Kind {
        id: "ewm_mean",
        definition: "exponentially weighted mean of `column` with alpha = 2 / (span + 1), \
                     weights (1 - alpha)^age normalised to one, age in intervals; origin: the \
                     first value of the frame; across a gap the old terms age, nothing is reset",
        source: "pandas 3.1 ewm(span, adjust=True, ignore_na=False).mean()",
        memory: Memory::Recursive,
        parameters: &[column("close"), count("span", "span in intervals", 12, 2)],
        warm_up: none,
        inputs: as_named,
        kernel: Kernel::Recursion(span_mean),
    },
    banded(
        "bollinger_upper",
        "rolling mean + `sigmas` · rolling std of `column` over `window`",
        moments,
        cells::upper_band,
    ),
    banded(
        "bollinger_lower",
        "rolling mean - `sigmas` · rolling std of `column` over `window`",
        moments,
        cells::lower_band,
    ),
    banded("bollinger_width", "(upper - lower) / middle band", bands, cells::band_width),
    banded(
        "bollinger_position",
        "(`column` - lower) / (upper - lower); null when the bands meet",
        value_and_bands,
        cells::band_position,
    ),
];
