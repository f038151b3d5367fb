//! Kinds for candles without a price level, the vocabulary of `candle-base`.

use super::*;
use crate::kernel::candle;

const FAST: Parameter = count("fast", "the shorter window in intervals", 6, 1);
const SLOW: Parameter = count("slow", "the longer window in intervals", 24, 1);
const RANGE: &[Parameter] = &[named("high", "high"), named("low", "low")];
const RANGE_WINDOW: &[Parameter] = &[named("high", "high"), named("low", "low"), WINDOW];
const BODY: [Parameter; 2] = [named("open", "open"), named("close", "close")];
const WICKS: &[Parameter] =
    &[named("open", "open"), named("high", "high"), named("low", "low"), named("close", "close")];

const LAGGED: &[Parameter] = &[column("close"), STEPS];

type Inputs = fn(&mut Graph, &[Input], &[f64]) -> Vec<Input>;

const fn run(
    id: &'static str,
    definition: &'static str,
    source: &'static str,
    parameters: &'static [Parameter],
    inputs: Inputs,
    kernel: fn(&[f64], &[&[f64]], &mut [f64]),
) -> Kind {
    Kind { id, definition, source, parameters, inputs, kernel: Kernel::Run(kernel), ..CELL }
}

const fn over_window(kind: Kind) -> Kind {
    Kind { memory: Memory::Window, warm_up: window, ..kind }
}

const fn of_windows(kind: Kind) -> Kind {
    Kind { memory: Memory::Window, ..kind }
}

fn log_range(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![node(graph, "log_ratio", on, &[])]
}

fn column_and_mean(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    vec![on[0].clone(), node(graph, "rolling_mean", on, numbers)]
}

fn column_and_max(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    vec![on[0].clone(), node(graph, "rolling_max", on, numbers)]
}

fn column_and_min(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    vec![on[0].clone(), node(graph, "rolling_min", on, numbers)]
}

fn column_and_moments(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let moments = ["rolling_mean", "rolling_std"].map(|id| node(graph, id, on, numbers));
    vec![on[0].clone(), moments[0].clone(), moments[1].clone()]
}

fn column_and_extremes(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let ends = ["rolling_max", "rolling_min"].map(|id| node(graph, id, on, numbers));
    vec![on[0].clone(), ends[0].clone(), ends[1].clone()]
}

fn close_and_range(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![on[3].clone(), on[1].clone(), on[2].clone()]
}

fn upper_part(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![on[0].clone(), on[1].clone(), on[3].clone()]
}

fn lower_part(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![on[0].clone(), on[2].clone(), on[3].clone()]
}

fn close_over_open(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![on[1].clone(), on[0].clone()]
}

fn two_volatilities(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let windows = [numbers[0], numbers[1]];
    windows.map(|n| node(graph, "realized_volatility", on, &[n])).to_vec()
}

const OWN: &str = "Foretell; null or neutral values as the definition says";

pub(super) static KINDS: &[Kind] = &[
    run(
        "log_ratio",
        "ln(`column` / `by`); null unless both are positive",
        OWN,
        &[column("high"), named("by", "low")],
        as_named,
        candle::log_ratio,
    ),
    Kind {
        id: "lagged_log_return",
        definition: "ln(x[t - steps] / x[t - steps - 1]) of `column`",
        source: OWN,
        parameters: LAGGED,
        warm_up: steps,
        inputs: log_returns,
        kernel: Kernel::Lag,
        ..CELL
    },
    over_window(run(
        "realized_volatility",
        "square root of the mean squared one-interval log return of `column` over `window`",
        "Andersen & Bollerslev, Int. Economic Review 39(4), 1998",
        COLUMN_WINDOW,
        log_returns,
        candle::root_mean_square,
    )),
    of_windows(run(
        "volatility_ratio",
        "realized_volatility over `fast` divided by over `slow`; 1 where both are 0",
        OWN,
        &[column("close"), FAST, SLOW],
        two_volatilities,
        candle::calm_ratio,
    )),
    run(
        "log_range",
        "ln(high / low)",
        "Parkinson, Journal of Business 53(1), 1980",
        RANGE,
        as_named,
        candle::log_ratio,
    ),
    over_window(run(
        "parkinson_volatility",
        "sqrt(Σ ln(high / low)² / (4 window ln 2)) over `window`",
        "Parkinson, Journal of Business 53(1), 1980",
        RANGE_WINDOW,
        log_range,
        candle::parkinson,
    )),
    run("log_body", "ln(close / open)", OWN, &BODY, close_over_open, candle::log_ratio),
    run(
        "close_position",
        "(close - low) / (high - low) of the candle; 0.5 where it is flat",
        OWN,
        WICKS,
        close_and_range,
        candle::position,
    ),
    run("upper_wick", "ln(high / max(open, close))", OWN, WICKS, upper_part, candle::upper_wick),
    run("lower_wick", "ln(min(open, close) / low)", OWN, WICKS, lower_part, candle::lower_wick),
    of_windows(run(
        "mean_distance",
        "ln(`column` / its rolling mean over `window`)",
        OWN,
        COLUMN_WINDOW,
        column_and_mean,
        candle::log_ratio,
    )),
    of_windows(run(
        "drawdown",
        "ln(`column` / its highest over `window`)",
        OWN,
        COLUMN_WINDOW,
        column_and_max,
        candle::log_ratio,
    )),
    of_windows(run(
        "rally",
        "ln(`column` / its lowest over `window`)",
        OWN,
        COLUMN_WINDOW,
        column_and_min,
        candle::log_ratio,
    )),
    of_windows(run(
        "channel_position",
        "(`column` - lowest) / (highest - lowest) over `window`; 0.5 where it is flat",
        OWN,
        COLUMN_WINDOW,
        column_and_extremes,
        candle::position,
    )),
    of_windows(run(
        "z_score",
        "(`column` - rolling mean) / rolling std (ddof = 1) over `window`; 0 where it is flat",
        OWN,
        COLUMN_WIDE,
        column_and_moments,
        candle::z_score,
    )),
    over_window(run(
        "up_share",
        "positive one-interval log returns of `column` as a share of all their sizes over \
         `window`; 0.5 where nothing moved (Cutler's RSI / 100)",
        "Cutler's form of Wilder's RSI, with log returns",
        COLUMN_WINDOW,
        log_returns,
        candle::up_share,
    )),
];
