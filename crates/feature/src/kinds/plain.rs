//! Kinds that pandas has too: the clock, lags, changes, windows, bands.

use super::*;
use crate::kernel::calendar::{self, Span};
use crate::kernel::cells;
use crate::kernel::ema::WeightedMean;
use crate::kernel::rolling::Statistic;
use crate::recursion::Recursion;
use foretell_market::Timestamp;

const PANDAS: &str = "pandas 3.1";
const BOLLINGER: &str = "Bollinger, Bollinger on Bollinger Bands (2001); pandas rolling, ddof = 1";

const OFFSET: Parameter = Parameter {
    name: "offset",
    meaning: "0 for the time of the row's open, 1 for its close",
    fallback: Fallback::Count { value: 0, min: 0, max: 1 },
};

const SIGMAS: Parameter =
    number("sigmas", "distance of a band from the middle in standard deviations", 2.0, 100.0);

const COLUMN_BAND: &[Parameter] = &[column("close"), WIDE_WINDOW, SIGMAS];

const fn clock(
    id: &'static str,
    definition: &'static str,
    value: fn(Timestamp) -> f64,
    span: Span,
) -> Kind {
    Kind {
        id,
        definition,
        source: "proleptic Gregorian calendar, UTC; pandas DatetimeIndex",
        parameters: &[OFFSET],
        kernel: Kernel::Clock(value, span),
        ..CELL
    }
}

const fn pair(
    id: &'static str,
    definition: &'static str,
    kernel: fn(&[f64], &[f64], &mut [f64]),
) -> Kind {
    let (parameters, warm_up, kernel) =
        (COLUMN_STEPS, steps as fn(&[f64]) -> usize, Kernel::Pair(kernel));
    Kind { id, definition, source: PANDAS, parameters, warm_up, kernel, ..CELL }
}

const fn windowed(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    statistic: Statistic,
) -> Kind {
    Kind {
        id,
        definition,
        source: PANDAS,
        memory: Memory::Window,
        parameters,
        warm_up: window,
        kernel: Kernel::Rolling(statistic),
        ..CELL
    }
}

const fn banded(
    id: &'static str,
    definition: &'static str,
    inputs: fn(&mut Graph, &[Input], &[f64]) -> Vec<Input>,
    kernel: fn(&[f64], &[&[f64]], &mut [f64]),
) -> Kind {
    let (parameters, kernel) = (COLUMN_BAND, Kernel::Run(kernel));
    let memory = Memory::Window;
    Kind { id, definition, source: BOLLINGER, memory, parameters, inputs, kernel, ..CELL }
}

/// Mean and standard deviation of the window.
fn moments(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    ["rolling_mean", "rolling_std"].map(|id| node(graph, id, on, &numbers[..1])).to_vec()
}

/// Upper and lower band and the middle.
fn bands(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let upper = node(graph, "bollinger_upper", on, numbers);
    let lower = node(graph, "bollinger_lower", on, numbers);
    vec![upper, lower, node(graph, "rolling_mean", on, &numbers[..1])]
}

/// The column, upper and lower band.
fn value_and_bands(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let bands = bands(graph, on, numbers);
    vec![on[0].clone(), bands[0].clone(), bands[1].clone()]
}

/// The one-interval relative change of the column.
fn one_step_change(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![node(graph, "change", on, &[1.0])]
}

fn span_mean(numbers: &[f64]) -> Recursion {
    Recursion::WeightedMean(WeightedMean::with_span(numbers[0]))
}

pub(super) static KINDS: &[Kind] = &[
    Kind {
        id: "column",
        definition: "the value of `column` itself",
        source: "the input",
        parameters: COLUMN,
        ..CELL
    },
    clock("hour", "hour of the day, 0 to 23", calendar::hour, Span::Week),
    clock("weekday", "day of the week, Monday 0 to Sunday 6", calendar::weekday, Span::Week),
    clock("day", "day of the month, 1 to 31", calendar::day, Span::Date),
    clock("month", "month, 1 to 12", calendar::month, Span::Date),
    clock("timestamp_ms", "milliseconds since 1970-01-01", calendar::millis, Span::Row),
    clock("hour_sin", "sin(2π · hour / 24)", calendar::hour_sin, Span::Week),
    clock("hour_cos", "cos(2π · hour / 24)", calendar::hour_cos, Span::Week),
    clock("weekday_sin", "sin(2π · weekday / 7)", calendar::weekday_sin, Span::Week),
    clock("weekday_cos", "cos(2π · weekday / 7)", calendar::weekday_cos, Span::Week),
    Kind {
        id: "lag",
        definition: "the value of `column` `steps` intervals ago; null when that interval is \
                     missing",
        source: PANDAS,
        parameters: COLUMN_STEPS,
        warm_up: steps,
        kernel: Kernel::Lag,
        ..CELL
    },
    pair(
        "change",
        "x[t] / x[t - steps] - 1 of `column`; null where pandas has ±inf (a past of zero)",
        cells::change,
    ),
    pair("difference", "x[t] - x[t - steps] of `column`", cells::difference),
    pair(
        "log_change",
        "ln(x[t] / x[t - steps]) of `column`; null unless both are positive",
        cells::log_change,
    ),
    Kind {
        id: "ratio",
        definition: "`column` divided by `by`; null where `by` is zero (pandas: ±inf)",
        source: PANDAS,
        parameters: &[column("volume"), named("by", "close")],
        kernel: Kernel::Run(cells::ratio),
        ..CELL
    },
    windowed(
        "rolling_mean",
        "mean of the last `window` values of `column`",
        COLUMN_WINDOW,
        Statistic::Mean,
    ),
    windowed(
        "rolling_sum",
        "sum of the last `window` values of `column`",
        COLUMN_WINDOW,
        Statistic::Sum,
    ),
    windowed(
        "rolling_std",
        "sample standard deviation (ddof = 1) of the last `window` values of `column`",
        COLUMN_WIDE,
        Statistic::SampleStd,
    ),
    windowed(
        "rolling_population_std",
        "standard deviation (ddof = 0) of the last `window` values of `column`",
        COLUMN_WINDOW,
        Statistic::PopulationStd,
    ),
    windowed(
        "rolling_min",
        "smallest of the last `window` values of `column`",
        COLUMN_WINDOW,
        Statistic::Min,
    ),
    windowed(
        "rolling_max",
        "largest of the last `window` values of `column`",
        COLUMN_WINDOW,
        Statistic::Max,
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
        kernel: Kernel::Rolling(Statistic::SampleStd),
    },
    Kind {
        id: "ewm_mean",
        definition: "exponentially weighted mean of `column` with alpha = 2 / (span + 1), \
                     weights (1 - alpha)^age normalised to one, age in intervals; origin: the \
                     first value of the frame; across a gap the old terms age, nothing is reset",
        source: "pandas 3.1 ewm(span, adjust=True, ignore_na=False).mean()",
        memory: Memory::Recursive,
        parameters: &[column("close"), count("span", "span in intervals", 12, 2)],
        kernel: Kernel::Recursion(span_mean),
        ..CELL
    },
    banded(
        "bollinger_upper",
        "rolling mean + `sigmas` · rolling std (ddof = 1) of `column` over `window`",
        moments,
        cells::upper_band,
    ),
    banded(
        "bollinger_lower",
        "rolling mean - `sigmas` · rolling std (ddof = 1) of `column` over `window`",
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
