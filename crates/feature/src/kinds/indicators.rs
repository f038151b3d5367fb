//! Kinds that TA-Lib has too, under its names.
//!
//! TA-Lib knows no gaps: here each recursive indicator starts anew after one, which is
//! what TA-Lib answers for the rows since the gap. Where TA-Lib withholds one of two
//! lines until both exist (STOCH, STOCHF, STOCHRSI), each line here starts when its own
//! window is whole.

use super::*;
use crate::kernel::{cells, indicator};
use crate::recursion::{
    Acceleration, AccumulationLine, Adx, ChaikinOscillator, Dx, GainLoss, OnBalanceVolume,
    Recursion, Sar, SarSettings, SeededEma, T3, WilderMean, WilderSum,
};

const TALIB: &str = "TA-Lib 0.8";
const PERIOD: Parameter = count("period", "period in intervals", 14, 1);
const WIDE_PERIOD: Parameter = count("period", "period in intervals", 14, 2);
const FAST: Parameter = count("fast", "the shorter period in intervals", 12, 2);
const SLOW: Parameter = count("slow", "the longer period in intervals", 26, 2);

const OPEN: Parameter = named("open", "open");
const HIGH: Parameter = named("high", "high");
const LOW: Parameter = named("low", "low");
const CLOSE: Parameter = named("close", "close");
const VOLUME: Parameter = named("volume", "volume");

const COLUMN_PERIOD: &[Parameter] = &[column("close"), WIDE_PERIOD];
const COLUMN_RATE: &[Parameter] = &[column("close"), PERIOD];
const HIGH_LOW: &[Parameter] = &[HIGH, LOW];
const BAR: &[Parameter] = &[HIGH, LOW, CLOSE];
const BAR_PERIOD: &[Parameter] = &[HIGH, LOW, CLOSE, WIDE_PERIOD];
const FLOW: &[Parameter] = &[HIGH, LOW, CLOSE, VOLUME];

type RunKernel = fn(&[f64], &[&[f64]], &mut [f64]);
type Inputs = fn(&mut Graph, &[Input], &[f64]) -> Vec<Input>;

/// A kind computed from a row, a row and the one before, or ready-made inputs.
const fn plain(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    kernel: RunKernel,
) -> Kind {
    let kernel = Kernel::Run(kernel);
    Kind { id, definition, source: TALIB, parameters, kernel, ..CELL }
}

/// A kind that reads the row before.
const fn moving(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    kernel: RunKernel,
) -> Kind {
    Kind { memory: Memory::Window, warm_up: one, ..plain(id, definition, parameters, kernel) }
}

/// A kind over a window of its first number.
const fn windowed(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    kernel: RunKernel,
) -> Kind {
    Kind { memory: Memory::Window, warm_up: window, ..plain(id, definition, parameters, kernel) }
}

/// A kind that combines other nodes.
const fn combined(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    inputs: Inputs,
    kernel: RunKernel,
) -> Kind {
    Kind { memory: Memory::Window, inputs, ..plain(id, definition, parameters, kernel) }
}

/// A kind that another node already is.
const fn alias(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    inputs: Inputs,
) -> Kind {
    let kernel = Kernel::Share;
    Kind {
        id,
        definition,
        source: TALIB,
        memory: Memory::Window,
        parameters,
        inputs,
        kernel,
        ..CELL
    }
}

/// A rate of change.
const fn rate(
    id: &'static str,
    definition: &'static str,
    kernel: fn(&[f64], &[f64], &mut [f64]),
) -> Kind {
    let (parameters, kernel) = (COLUMN_RATE, Kernel::Pair(kernel));
    Kind { id, definition, source: TALIB, parameters, warm_up: steps, kernel, ..CELL }
}

/// A kind with a memory.
const fn recursive(
    id: &'static str,
    definition: &'static str,
    parameters: &'static [Parameter],
    warm_up: fn(&[f64]) -> usize,
    new: fn(&[f64]) -> Recursion,
) -> Kind {
    let kernel = Kernel::Recursion(new);
    let memory = Memory::Recursive;
    Kind { id, definition, source: TALIB, memory, parameters, warm_up, kernel, ..CELL }
}

/// A kind with a memory over other nodes.
const fn recursive_on(inputs: Inputs, kind: Kind) -> Kind {
    Kind { inputs, ..kind }
}

fn no_numbers(graph: &mut Graph, id: &str, on: &[Input]) -> Input {
    node(graph, id, on, &[])
}

fn true_range(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "true_range", on)]
}

fn plus_move(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "plus_move", &on[..2])]
}

fn minus_move(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "minus_move", &on[..2])]
}

fn plus_and_range(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let range = no_numbers(graph, "true_range", on);
    let moved = node(graph, "plus_dm", &on[..2], numbers);
    vec![moved, node(graph, "wilder_sum", &[range], numbers)]
}

fn minus_and_range(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let range = no_numbers(graph, "true_range", on);
    let moved = node(graph, "minus_dm", &on[..2], numbers);
    vec![moved, node(graph, "wilder_sum", &[range], numbers)]
}

fn directions(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    ["plus_di", "minus_di"].map(|id| node(graph, id, on, numbers)).to_vec()
}

fn atr_and_close(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    vec![node(graph, "atr", on, numbers), on[2].clone()]
}

fn two_means(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let (fast, slow) = (numbers[0].min(numbers[1]), numbers[0].max(numbers[1]));
    [fast, slow].map(|n| node(graph, "rolling_mean", on, &[n])).to_vec()
}

fn first_column(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    on[..1].to_vec()
}

fn second_column(_: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    on[1..2].to_vec()
}

fn both_aroons(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    ["aroon_up", "aroon_down"].map(|id| node(graph, id, on, numbers)).to_vec()
}

fn typical(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "typical_price", &on[..3])]
}

fn typical_and_volume(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "typical_price", &on[..3]), on[3].clone()]
}

fn flows(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let flows = ["inflow", "outflow"].map(|id| no_numbers(graph, id, on));
    flows.map(|flow| node(graph, "rolling_sum", &[flow], numbers)).to_vec()
}

fn pressures(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let pressure = no_numbers(graph, "buying_pressure", on);
    let range = no_numbers(graph, "true_range", on);
    let mut periods = [numbers[0], numbers[1], numbers[2]];
    periods.sort_by(f64::total_cmp);
    let sums = periods.map(|n| {
        [&pressure, &range].map(|x| node(graph, "rolling_sum", std::slice::from_ref(x), &[n]))
    });
    sums.concat()
}

/// Close, highest high and lowest low of the window.
fn channel(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let highest = node(graph, "rolling_max", &on[..1], &numbers[..1]);
    vec![on[2].clone(), highest, node(graph, "rolling_min", &on[1..2], &numbers[..1])]
}

/// Highest and lowest of one column.
fn extremes(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    ["rolling_max", "rolling_min"].map(|id| node(graph, id, on, numbers)).to_vec()
}

/// Highest high and lowest low.
fn bar_extremes(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let highest = node(graph, "rolling_max", &on[..1], numbers);
    vec![highest, node(graph, "rolling_min", &on[1..2], numbers)]
}

fn stoch_k(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let fast = node(graph, "stochf_k", on, &numbers[..1]);
    vec![node(graph, "rolling_mean", &[fast], &numbers[1..2])]
}

fn stoch_d(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let slow = node(graph, "stoch_k", on, &numbers[..2]);
    vec![node(graph, "rolling_mean", &[slow], &numbers[2..3])]
}

fn rsi_channel(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let rsi = node(graph, "rsi", on, &numbers[..1]);
    vec![node(graph, "stochf_k", &[rsi.clone(), rsi.clone(), rsi], &numbers[1..2])]
}

fn rsi_channel_mean(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let fast = node(graph, "stochrsi_k", on, &numbers[..2]);
    vec![node(graph, "rolling_mean", &[fast], &numbers[2..3])]
}

fn population_bands(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    let ids = ["rolling_mean", "rolling_population_std"];
    ids.map(|id| node(graph, id, on, &numbers[..1])).to_vec()
}

fn mean_alone(graph: &mut Graph, on: &[Input], numbers: &[f64]) -> Vec<Input> {
    vec![node(graph, "rolling_mean", on, &numbers[..1])]
}

fn line(graph: &mut Graph, on: &[Input], _: &[f64]) -> Vec<Input> {
    vec![no_numbers(graph, "ad", on)]
}

fn period(numbers: &[f64]) -> u32 {
    numbers[0] as u32
}

fn longer(numbers: &[f64]) -> usize {
    numbers[0].max(numbers[1]) as usize - 1
}

fn six_windows(numbers: &[f64]) -> usize {
    6 * (numbers[0] as usize - 1)
}

/// A Wilder sum is ready one value before a mean of the same period.
fn sum_window(numbers: &[f64]) -> usize {
    (numbers[0] as usize).saturating_sub(2)
}

fn plain_sar(numbers: &[f64]) -> Recursion {
    let same = Acceleration::new(numbers[0], numbers[0], numbers[1]);
    let settings = SarSettings { start: 0.0, offset: 0.0, long: same, short: same, signed: false };
    Recursion::Sar(Sar::new(settings))
}

fn extended_sar(numbers: &[f64]) -> Recursion {
    let side = |n: &[f64]| Acceleration::new(n[0], n[1], n[2]);
    Recursion::Sar(Sar::new(SarSettings {
        start: numbers[0],
        offset: numbers[1],
        long: side(&numbers[2..5]),
        short: side(&numbers[5..8]),
        signed: true,
    }))
}

/// A definition that names the origin of a memory.
macro_rules! since_gap {
    ($text:literal) => {
        concat!($text, "; origin: the first row of the frame or after a gap")
    };
}

const SAR_PARAMETERS: &[Parameter] = &[
    HIGH,
    LOW,
    number("acceleration", "step of the acceleration", 0.02, 1000.0),
    number("maximum", "largest acceleration", 0.2, 1000.0),
];

const SAREXT_PARAMETERS: &[Parameter] = &[
    HIGH,
    LOW,
    Parameter {
        name: "start",
        meaning: "first stop; 0 lets the first two rows decide, negative starts short",
        fallback: Fallback::Number { value: 0.0, min: -1e12, max: 1e12 },
    },
    number("offset_on_reverse", "share added to the stop at a reversal", 0.0, 1000.0),
    number("acceleration_init_long", "first acceleration, long", 0.02, 1000.0),
    number("acceleration_long", "step of the acceleration, long", 0.02, 1000.0),
    number("acceleration_max_long", "largest acceleration, long", 0.2, 1000.0),
    number("acceleration_init_short", "first acceleration, short", 0.02, 1000.0),
    number("acceleration_short", "step of the acceleration, short", 0.02, 1000.0),
    number("acceleration_max_short", "largest acceleration, short", 0.2, 1000.0),
];

pub(super) static KINDS: &[Kind] = &[
    plain("typical_price", "(high + low + close) / 3", BAR, indicator::typical_price),
    moving(
        "true_range",
        "largest of high - low, |close before - high| and |close before - low| (TRANGE)",
        BAR,
        indicator::true_range,
    ),
    moving(
        "plus_move",
        "rise of the high where it exceeds the fall of the low, else 0",
        HIGH_LOW,
        indicator::plus_move,
    ),
    moving(
        "minus_move",
        "fall of the low where it exceeds the rise of the high, else 0",
        HIGH_LOW,
        indicator::minus_move,
    ),
    recursive(
        "wilder_sum",
        since_gap!("s - s / period + x of `column`, started with the sum of period - 1 values"),
        COLUMN_PERIOD,
        sum_window,
        |n| Recursion::WilderSum(WilderSum::new(period(n))),
    ),
    recursive(
        "wilder_mean",
        since_gap!("(m (period - 1) + x) / period of `column`, started with a plain mean"),
        COLUMN_PERIOD,
        window,
        |n| Recursion::WilderMean(WilderMean::new(period(n))),
    ),
    recursive_on(
        plus_move,
        recursive(
            "plus_dm",
            since_gap!("Wilder sum of the plus moves (PLUS_DM)"),
            &[HIGH, LOW, WIDE_PERIOD],
            sum_window,
            |n| Recursion::WilderSum(WilderSum::new(period(n))),
        ),
    ),
    recursive_on(
        minus_move,
        recursive(
            "minus_dm",
            since_gap!("Wilder sum of the minus moves (MINUS_DM)"),
            &[HIGH, LOW, WIDE_PERIOD],
            sum_window,
            |n| Recursion::WilderSum(WilderSum::new(period(n))),
        ),
    ),
    Kind {
        warm_up: one,
        ..combined(
            "plus_di",
            since_gap!("100 · plus_dm / Wilder sum of true ranges (PLUS_DI)"),
            BAR_PERIOD,
            plus_and_range,
            indicator::directional_indicator,
        )
    },
    Kind {
        warm_up: one,
        ..combined(
            "minus_di",
            since_gap!("100 · minus_dm / Wilder sum of true ranges (MINUS_DI)"),
            BAR_PERIOD,
            minus_and_range,
            indicator::directional_indicator,
        )
    },
    recursive_on(
        directions,
        recursive(
            "dx",
            since_gap!(
                "100 |minus_di - plus_di| / (minus_di + plus_di), kept at a standstill (DX)"
            ),
            BAR_PERIOD,
            none,
            |_| Recursion::Dx(Dx::default()),
        ),
    ),
    recursive_on(
        directions,
        recursive("adx", since_gap!("Wilder mean of dx (ADX)"), BAR_PERIOD, window, |n| {
            Recursion::Adx(Adx::new(period(n)))
        }),
    ),
    combined(
        "apo",
        "mean over `fast` minus mean over `slow` of `column` (APO with plain means)",
        &[column("close"), FAST, SLOW],
        two_means,
        indicator::gap,
    ),
    combined(
        "ppo",
        "100 · (mean over `fast` - mean over `slow`) / mean over `slow` (PPO with plain means)",
        &[column("close"), FAST, SLOW],
        two_means,
        indicator::percent_gap,
    ),
    Kind {
        warm_up: steps,
        inputs: first_column,
        ..windowed(
            "aroon_up",
            "100 · (period - intervals since the newest highest high) / period (AROON)",
            &[HIGH, LOW, WIDE_PERIOD],
            indicator::aroon_up,
        )
    },
    Kind {
        warm_up: steps,
        inputs: second_column,
        ..windowed(
            "aroon_down",
            "100 · (period - intervals since the newest lowest low) / period (AROON)",
            &[HIGH, LOW, WIDE_PERIOD],
            indicator::aroon_down,
        )
    },
    combined(
        "aroonosc",
        "aroon_up - aroon_down (AROONOSC)",
        &[HIGH, LOW, WIDE_PERIOD],
        both_aroons,
        indicator::gap,
    ),
    plain(
        "bop",
        "(close - open) / (high - low), 0 for a flat row (BOP)",
        &[OPEN, HIGH, LOW, CLOSE],
        indicator::balance_of_power,
    ),
    Kind {
        inputs: typical,
        ..windowed(
            "cci",
            "(typical price - mean) / (0.015 · mean absolute deviation) (CCI)",
            BAR_PERIOD,
            indicator::commodity_channel,
        )
    },
    recursive(
        "rsi",
        since_gap!("100 · gain / (gain + loss), Wilder means of the moves of `column` (RSI)"),
        COLUMN_PERIOD,
        steps,
        |n| Recursion::GainLoss(GainLoss::rsi(period(n))),
    ),
    recursive(
        "cmo",
        since_gap!("100 · (gain - loss) / (gain + loss), Wilder means of the moves (CMO)"),
        COLUMN_PERIOD,
        steps,
        |n| Recursion::GainLoss(GainLoss::cmo(period(n))),
    ),
    Kind {
        inputs: typical_and_volume,
        ..moving(
            "inflow",
            "typical price · volume where the typical price rose, else 0",
            FLOW,
            indicator::inflow,
        )
    },
    Kind {
        inputs: typical_and_volume,
        ..moving(
            "outflow",
            "typical price · volume where the typical price fell, else 0",
            FLOW,
            indicator::outflow,
        )
    },
    combined(
        "mfi",
        "100 · inflow / (inflow + outflow), sums over `period` moves; 0 where nothing flowed (MFI)",
        &[HIGH, LOW, CLOSE, VOLUME, WIDE_PERIOD],
        flows,
        indicator::money_flow_index,
    ),
    rate("roc", "100 (x[t] / x[t - period] - 1) of `column` (ROC)", indicator::rate_of_change),
    rate(
        "rocp",
        "(x[t] - x[t - period]) / x[t - period] of `column` (ROCP)",
        indicator::rate_of_change_share,
    ),
    rate("rocr", "x[t] / x[t - period] of `column` (ROCR)", indicator::rate_of_change_ratio),
    rate(
        "rocr100",
        "100 x[t] / x[t - period] of `column` (ROCR100)",
        indicator::rate_of_change_ratio_100,
    ),
    rate("mom", "x[t] - x[t - period] of `column` (MOM)", cells::difference),
    combined(
        "stochf_k",
        "100 (close - lowest low) / (highest high - lowest low) of `period`, 0 when flat (STOCHF)",
        BAR_PERIOD,
        channel,
        indicator::stochastic,
    ),
    alias(
        "stoch_k",
        "mean of stochf_k over `smooth` (STOCH, first line)",
        &[HIGH, LOW, CLOSE, WIDE_PERIOD, count("smooth", "window of the mean", 3, 1)],
        stoch_k,
    ),
    alias(
        "stoch_d",
        "mean of stoch_k over `signal` (STOCH, second line; STOCHF with `smooth` = 1)",
        &[
            HIGH,
            LOW,
            CLOSE,
            WIDE_PERIOD,
            count("smooth", "window of the first mean", 3, 1),
            count("signal", "window of the second mean", 3, 1),
        ],
        stoch_d,
    ),
    alias(
        "stochrsi_k",
        since_gap!("stochf_k of the rsi over `window` (STOCHRSI, first line)"),
        &[column("close"), WIDE_PERIOD, count("window", "window of the stochastic", 5, 1)],
        rsi_channel,
    ),
    alias(
        "stochrsi_d",
        since_gap!("mean of stochrsi_k over `signal` (STOCHRSI, second line)"),
        &[
            column("close"),
            WIDE_PERIOD,
            count("window", "window of the stochastic", 5, 1),
            count("signal", "window of the mean", 3, 1),
        ],
        rsi_channel_mean,
    ),
    moving(
        "buying_pressure",
        "close - the lower of low and close before",
        BAR,
        indicator::buying_pressure,
    ),
    combined(
        "ultosc",
        "100 (4 a + 2 b + c) / 7: buying pressure over true range in three windows (ULTOSC)",
        &[
            HIGH,
            LOW,
            CLOSE,
            count("first", "the shortest window", 7, 1),
            count("second", "the middle window", 14, 1),
            count("third", "the longest window", 28, 1),
        ],
        pressures,
        indicator::ultimate,
    ),
    combined(
        "willr",
        "-100 (highest high - close) / (highest high - lowest low), 0 when flat (WILLR)",
        BAR_PERIOD,
        channel,
        indicator::williams,
    ),
    recursive(
        "ad",
        since_gap!("Σ volume · ((close - low) - (high - close)) / (high - low) (AD)"),
        FLOW,
        none,
        |_| Recursion::AccumulationLine(AccumulationLine::default()),
    ),
    recursive_on(
        line,
        recursive(
            "adosc",
            since_gap!(
                "exponential mean of ad over `fast` minus over `slow`, both from its start (ADOSC)"
            ),
            &[
                HIGH,
                LOW,
                CLOSE,
                VOLUME,
                count("fast", "the shorter period", 3, 2),
                count("slow", "the longer period", 10, 2),
            ],
            longer,
            |n| Recursion::ChaikinOscillator(ChaikinOscillator::new(n[0] as u32, n[1] as u32)),
        ),
    ),
    recursive(
        "obv",
        since_gap!("volume added on a rise of the close, taken off on a fall (OBV)"),
        &[CLOSE, VOLUME],
        none,
        |_| Recursion::OnBalanceVolume(OnBalanceVolume::default()),
    ),
    recursive_on(
        true_range,
        recursive(
            "atr",
            since_gap!("Wilder mean of the true range (ATR)"),
            BAR_PERIOD,
            window,
            |n| Recursion::WilderMean(WilderMean::new(period(n))),
        ),
    ),
    combined(
        "natr",
        since_gap!("100 · atr / close (NATR)"),
        BAR_PERIOD,
        atr_and_close,
        indicator::percent_of,
    ),
    combined(
        "bbands_upper",
        "mean + `sigmas` · population std of `column` over `window` (BBANDS)",
        &[column("close"), WINDOW, number("sigmas", "distance in standard deviations", 2.0, 100.0)],
        population_bands,
        cells::upper_band,
    ),
    alias("bbands_middle", "mean of `column` over `window` (BBANDS)", COLUMN_WINDOW, mean_alone),
    combined(
        "bbands_lower",
        "mean - `sigmas` · population std of `column` over `window` (BBANDS)",
        &[column("close"), WINDOW, number("sigmas", "distance in standard deviations", 2.0, 100.0)],
        population_bands,
        cells::lower_band,
    ),
    recursive(
        "ema",
        since_gap!("m + 2 (x - m) / (period + 1) of `column`, started with a plain mean (EMA)"),
        COLUMN_PERIOD,
        window,
        |n| Recursion::SeededEma(SeededEma::new(period(n))),
    ),
    alias("sma", "mean of `column` over `period` (SMA, MA)", COLUMN_PERIOD, mean_alone),
    combined(
        "midpoint",
        "(highest + lowest) / 2 of `column` over `period` (MIDPOINT)",
        COLUMN_PERIOD,
        extremes,
        indicator::middle,
    ),
    combined(
        "midprice",
        "(highest high + lowest low) / 2 over `period` (MIDPRICE)",
        &[HIGH, LOW, WIDE_PERIOD],
        bar_extremes,
        indicator::middle,
    ),
    recursive(
        "sar",
        since_gap!("parabolic stop and reverse (SAR)"),
        SAR_PARAMETERS,
        one,
        plain_sar,
    ),
    recursive(
        "sarext",
        since_gap!("parabolic stop and reverse, negative when short (SAREXT)"),
        SAREXT_PARAMETERS,
        one,
        extended_sar,
    ),
    recursive(
        "t3",
        since_gap!("c1 e6 + c2 e5 + c3 e4 + c4 e3 of six nested exponential means (T3)"),
        &[
            column("close"),
            count("period", "period in intervals", 5, 2),
            number("volume_factor", "v", 0.7, 1.0),
        ],
        six_windows,
        |n| Recursion::T3(T3::new(period(n), n[1])),
    ),
    windowed(
        "trima",
        "mean of `column` over `period`, weighted 1, 2, … up to the middle and down (TRIMA)",
        COLUMN_PERIOD,
        indicator::triangular,
    ),
    windowed(
        "wma",
        "mean of `column` over `period`, weighted 1 to `period` (WMA)",
        COLUMN_PERIOD,
        indicator::weighted,
    ),
];
