//! Datasets made from a column of prices, for the tests and the example of evaluation.

#![allow(dead_code, reason = "each binary uses its part")]

use foretell_market::{Fingerprint, Interval, RowFlags, Timestamp};
use foretell_model::EstimatorSpec;
use foretell_model::evaluate::{EvaluationPlan, Recipe, SquaredReturns};
use foretell_panel::{Column, Dataset, Frame, Label, Matrix, RowMeta, TrainWindow, WalkForward};

/// Hours in a season.
const SEASON: usize = 24;

/// Hourly rows from closing prices: the last ten returns and two sums of squares as
/// features, the context columns of the baselines, labels `steps` hours ahead.
pub(crate) fn dataset(closes: &[f64], steps: usize) -> Dataset {
    let start = Timestamp::from_secs(1_704_067_200);
    let hour = |i: usize| start.plus_secs(3_600 * i as i64);
    let change = |from: usize, to: usize| (closes[to] / closes[from]).ln();
    let square = |i: usize| change(i - 1, i).powi(2);
    let first = SEASON.max(steps) + 1;
    let rows: Vec<usize> = (first..closes.len() - steps).collect();
    let mut ewma = vec![0.0; closes.len()];
    for i in 1..closes.len() {
        ewma[i] = if i == 1 { square(i) } else { 0.94 * ewma[i - 1] + 0.06 * square(i) };
    }
    let mut features = Vec::new();
    let mut context = Vec::new();
    for &i in &rows {
        features.extend((0..10).map(|lag| change(i - lag - 1, i - lag)));
        features.push((0..6).map(|lag| square(i - lag)).sum());
        let season: f64 = (0..SEASON).map(|lag| square(i - lag)).sum();
        features.push(season);
        let seasonal = change(i - SEASON, i + steps - SEASON);
        context.extend([change(i - 1, i), seasonal, ewma[i], season]);
    }
    let label = |&i: &usize| Label {
        value: change(i, i + steps),
        start: hour(i + 1),
        end: hour(i + 1 + steps),
    };
    let names = ["log_return", "seasonal_log_return", "ewma_variance", "realized_variance_season"];
    Dataset {
        instrument: foretell_testkit::instrument(),
        interval: Interval::HOUR,
        horizon: Interval::from_secs(3_600 * steps as i64).expect("a horizon"),
        feature_set: Fingerprint::of_bytes(b"lags"),
        feature_names: (0..12).map(|j| format!("f{j}")).collect(),
        features: Matrix::new(rows.len(), 12, features),
        context_names: names.iter().map(|n| (*n).to_owned()).collect(),
        context: Matrix::new(rows.len(), 4, context),
        labels: rows.iter().map(label).collect(),
        base_prices: rows.iter().map(|&i| closes[i]).collect(),
        flags: vec![RowFlags::NONE; rows.len()],
    }
}

/// The same rows with the past returns that GARCH and its like filter, and the mean squares
/// that HAR reads.
pub(crate) fn with_returns(closes: &[f64], steps: usize) -> Dataset {
    const LAGS: usize = 256;
    let mut data = dataset(closes, steps);
    let returns: Vec<f64> = closes.windows(2).map(|w| (w[1] / w[0]).ln()).collect();
    let first = SEASON.max(steps) + 1;
    let mut sums = vec![0.0];
    sums.extend(returns.iter().scan(0.0, |sum, r| {
        *sum += r * r;
        Some(*sum)
    }));
    let mut context = Vec::new();
    for row in 0..data.len() {
        // Return `i - 1` closes at price `i`; all before it are known.
        let i = first + row;
        context.extend_from_slice(data.context.row(row));
        context.push(i.min(LAGS) as f64);
        context.extend((0..LAGS).map(|k| if k < i { returns[i - 1 - k] } else { 0.0 }));
        let mean = |width: usize| (sums[i] - sums[i - width.min(i)]) / width.min(i) as f64;
        context.extend([steps, 24, 168, 720].map(mean));
    }
    let names = &mut data.context_names;
    names.push("known_returns".to_owned());
    names.extend((0..LAGS).map(|k| format!("log_return_lag_{k}")));
    names.extend(["horizon", "day", "week", "month"].map(|part| format!("mean_square_{part}")));
    let columns = names.len();
    data.context = Matrix::new(data.len(), columns, context);
    data
}

/// When the price of a row is known (UTC).
pub(crate) fn close_of(row: usize) -> Timestamp {
    Timestamp::from_secs(1_704_067_200 + 3_600 * (row as i64 + 1))
}

/// The squared returns behind [`dataset`].
pub(crate) fn returns(closes: &[f64]) -> SquaredReturns {
    let start = Timestamp::from_secs(1_704_067_200);
    let row = |i: usize| RowMeta::at_close(start.plus_secs(3_600 * i as i64), Interval::HOUR);
    let rows = (0..closes.len()).map(row).collect();
    let close = Column::new("close", closes.to_vec());
    let frame = Frame::new(foretell_testkit::instrument(), Interval::HOUR, rows, vec![close]);
    SquaredReturns::of(&frame.expect("hours in order"), "close").expect("a close")
}

/// Closing prices of a GARCH(1,1) market, 0.5 % an hour on average.
pub(crate) fn garch(rows: usize, alpha: f64, beta: f64, seed: u64) -> Vec<f64> {
    let mut random = foretell_testkit::rng(seed);
    let base = 0.005f64 * 0.005;
    let (mut variance, mut log_price) = (base, 0.0f64);
    let mut closes = Vec::with_capacity(rows);
    for _ in 0..rows {
        let change = variance.sqrt() * foretell_testkit::normal(&mut random);
        log_price += change;
        closes.push(100.0 * log_price.exp());
        variance = base * (1.0 - alpha - beta) + alpha * change * change + beta * variance;
    }
    closes
}

/// Closing prices of a seeded random walk without drift, 0.5 % an hour.
pub(crate) fn random_walk(rows: usize, seed: u64) -> Vec<f64> {
    let frame = foretell_testkit::random_walk(rows, Interval::HOUR, 0.005, seed);
    frame.column("close").expect("candles have a close").to_vec()
}

/// A walk: first fit after `initial` days, then every `refit` days.
pub(crate) fn plan(initial: i64, refit: i64) -> EvaluationPlan {
    let days = |d: i64| Interval::from_secs(86_400 * d).expect("some days");
    EvaluationPlan::new(WalkForward {
        initial_train: days(initial),
        refit_every: days(refit),
        window: TrainWindow::Expanding,
    })
}

/// A recipe of a kind with its defaults.
pub(crate) fn recipe(kind: &str) -> Recipe {
    let spec = EstimatorSpec::named(kind).expect("a kind");
    Recipe { name: kind.to_owned(), spec }
}

/// Every kind that fits in no time.
pub(crate) fn baselines() -> Vec<Recipe> {
    let kinds =
        ["random_walk", "drift", "seasonal_naive", "historical_mean", "ewma_volatility", "ridge"];
    kinds.map(recipe).to_vec()
}
