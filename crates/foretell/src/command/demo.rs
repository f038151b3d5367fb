//! `up --demo`: a live river without a network or a file, from an exchange on this machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use foretell_market::{Clock as _, Instrument, Interval, Timestamp, Trade};
use foretell_platform::{PlatformError, SystemClock, write_file};
use foretell_simulator::{Exchange, ExchangeSettings, Pace, Seeded, Tape, Venue};

/// The length of a candle, seconds.
const STEP: i64 = 5;
/// How long the past is, in seconds, and how long trades go on.
const PAST: i64 = 6 * 3_600;
const FUTURE: i64 = 24 * 3_600;
/// Trades a second.
const RATE: f64 = 4.0;

const PIPELINE: &str = r#"# Made by `foretell up --demo`: seeded trades, so there is nothing to be skilled at. What is
# to be seen is the machinery: candles, rows, forecasts at every close, calibrated intervals.
name = "live-demo"
instrument = "BTC-USD"
interval = "5s"
as_of = "now"

[source]
kind = "file"
path = "rows.csv"

[gate]
expect = "candles"
min_rows = 500
off = ["max_staleness"]

[features]
set = "candle-base"
only = ["log_return_1", "log_return_2", "log_return_3"]
season = "30s"

[label]
horizon = "15s"

[evaluation]
initial_train = "2h"
refit_every = "30d"
min_refits = 1
bootstrap_draws = 200

[[models]]
kind = "ewma_volatility"

[[models]]
kind = "ridge"
alpha = 10.0

[serve]
time_to_live = "1m"

[live]
venue = "kraken"
lateness = "10s"
"#;

/// A demo that is ready: its pipeline file and the exchange, which plays as long as it is kept.
pub(super) struct Demo {
    pub(super) pipeline: PathBuf,
    pub(super) exchange: Exchange,
}

/// Writes the past of a seeded market into `folder` and opens an exchange that goes on from
/// there.
pub(super) async fn open(folder: &Path) -> Result<Demo, PlatformError> {
    std::fs::create_dir_all(folder)
        .map_err(|source| PlatformError::Write { path: folder.to_owned(), source })?;
    let now = SystemClock.now();
    let step = Interval::from_secs(STEP).expect("five seconds");
    let present = step.floor(now);
    let instrument: Instrument = "BTC-USD".parse().expect("a name");
    let tape = Tape::seeded(&Seeded {
        seed: now.micros().unsigned_abs(),
        instruments: vec![instrument],
        rate: RATE,
        start: present.plus_secs(-PAST),
        seconds: u32::try_from(PAST + FUTURE).unwrap_or(u32::MAX),
    });
    let split = tape.trades().partition_point(|trade| trade.time < present);
    let (past, future) = tape.trades().split_at(split);
    write_file(&folder.join("rows.csv"), candles(past, step).as_bytes())?;
    let pipeline = folder.join("live-demo.toml");
    write_file(&pipeline, PIPELINE.as_bytes())?;
    let settings =
        ExchangeSettings { pace: Pace::Times(1.0), present: true, ..ExchangeSettings::default() };
    let exchange = Exchange::open(Venue::Kraken, Tape::new(future.to_vec()), settings).await;
    let exchange = exchange.map_err(|error| PlatformError::Usage {
        message: error.to_string(),
        hint: String::new(),
    })?;
    Ok(Demo { pipeline, exchange })
}

/// The candles of trades in order of time, as CSV.
fn candles(trades: &[Trade], step: Interval) -> String {
    let mut text = String::from("time,open,high,low,close,volume,trades\n");
    for window in trades.chunk_by(|a, b| step.floor(a.time) == step.floor(b.time)) {
        let time: Timestamp = step.floor(window[0].time);
        let prices = || window.iter().map(|trade| trade.price);
        let (high, low) = (prices().fold(f64::MIN, f64::max), prices().fold(f64::MAX, f64::min));
        let (open, close) = (window[0].price, window[window.len() - 1].price);
        let volume: f64 = window.iter().map(|trade| trade.quantity).sum();
        let count = window.len();
        let _ = writeln!(text, "{time},{open},{high},{low},{close},{volume:.8},{count}");
    }
    text
}
