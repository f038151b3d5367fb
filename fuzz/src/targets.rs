//! The readers that meet foreign bytes, each behind one function that must not panic.
//!
//! What is promised beyond that is asserted here: a refusal names the file and ends in
//! a remedy, and what was read goes through the gate.

mod feeds;
mod models;
mod river;

use std::path::Path;

use foretell_market::{CandleBuilder, Instrument, Interval, Timestamp, Trade};
use foretell_platform::Pipeline;
use foretell_quality::{Expectations, gate, profile};
use foretell_source::binance::parse_klines;
use foretell_source::coingecko::{parse_market_chart, sample};
use foretell_source::file::read_file;
use foretell_source::kraken::{parse_asset_pairs, parse_ohlc, parse_ticker, parse_trades};
use foretell_source::{ExtractRequest, FileFormat, FileSpec, Rows, SourceError, TimeIs, read_csv};

use crate::engine::Target;

/// Every target, in order of name.
pub fn targets() -> Vec<Target> {
    let target = |name, run, words| Target { name, run, words };
    vec![
        target("arrival", river::arrival, river::ARRIVAL_WORDS),
        target("binance-klines", binance_klines, JSON_WORDS),
        target("coingecko", coingecko, COINGECKO_WORDS),
        target("csv", csv, CSV_WORDS),
        target("features", river::features, river::ROW_WORDS),
        target("forecast-record", river::forecast, river::FORECAST_WORDS),
        target("json", json, JSON_WORDS),
        target("kraken-names", kraken_names, KRAKEN_WORDS),
        target("kraken-ohlc", kraken_ohlc, KRAKEN_WORDS),
        target("kraken-trades", kraken_trades, KRAKEN_WORDS),
        target("live-binance", feeds::binance, feeds::WORDS),
        target("live-coinbase", feeds::coinbase, feeds::WORDS),
        target("live-kraken", feeds::kraken, feeds::WORDS),
        target("ohlcv", river::ohlcv, river::OHLCV_WORDS),
        target("parquet", parquet, &["PAR1"]),
        target("pickle", models::pickle, models::PICKLE_WORDS),
        target("pipeline", pipeline, PIPELINE_WORDS),
        target("safetensors", models::safetensors, models::SAFETENSORS_WORDS),
        target("saved-state", river::state, &[]),
        target("torch", models::torch, models::PICKLE_WORDS),
        target("xgboost", models::xgboost, models::XGBOOST_WORDS),
    ]
}

const JSON_WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "null",
    "true",
    "\"\"",
    "\"1.5\"",
    "\"time\":",
    "\"close\":",
    "1577836800000",
];

const COINGECKO_WORDS: &[&str] =
    &["\"prices\":", "\"market_caps\":", "\"total_volumes\":", "[", "]", "null", "1618499053863"];

const KRAKEN_WORDS: &[&str] = &[
    "\"error\":",
    "\"result\":",
    "\"last\":",
    "[",
    "]",
    "{",
    "}",
    "null",
    "\"XXBTZUSD\":",
    "\"b\"",
    "\"s\"",
    "\"EGeneral:Too many requests\"",
    "\"1688671969993150842\"",
    "1688671980",
    "\"0.00000000\"",
];

const PIPELINE_WORDS: &[&str] = &[
    "\n[source]\n",
    "\n[gate]\n",
    "\n[features]\n",
    "\n[features.params]\n",
    "\n[label]\n",
    "\n[evaluation]\n",
    "\n[lock_box]\n",
    "\n[[models]]\n",
    "\n[promotion]\n",
    "\n[serve]\n",
    "kind = ",
    "\"kraken\"",
    "\"coingecko\"",
    "\"gradient_boosting\"",
    "\"random_forest\"",
    "rounds = ",
    "alpha = ",
    "\"1h\"",
    "\"0s\"",
    "\"99999999999999w\"",
    "\"2019-12-31\"",
    "\"BTC-USD\"",
    "'''",
    "\"\"\"",
    "\\u00",
    "é",
    "🙂",
    "true",
    "= {",
    "= [",
    "\r\n",
    "\t",
    "#",
];

const CSV_WORDS: &[&str] = &[
    "timestamp",
    "date",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "symbol",
    "unix",
    ",",
    ";",
    "\t",
    "\"",
    "\r\n",
    "\u{feff}",
    "1577836800",
    "1577836800000",
    "2020-01-01",
    "2020-01-01 12-PM",
    "31/12/2019 23:00",
    "2020-01-01T00:00:00+02:00",
    "nan",
    "null",
    "<html>",
];

const FILE: &str = "prices.data";

fn btc() -> Instrument {
    "BTC-USD".parse().expect("a valid name")
}

/// 2026-01-01 UTC: later than every seed.
const NOW: i64 = 1_767_225_600;

/// A file's bytes through reader, gate and profile.
fn file(bytes: &[u8], format: Option<FileFormat>) {
    let instrument = btc();
    let mut spec = FileSpec::at(FILE);
    spec.format = format;
    let request = ExtractRequest {
        instrument: &instrument,
        interval: Interval::HOUR,
        from: None,
        to: None,
        lag: 60,
        now: Timestamp::from_secs(NOW),
    };
    match read_file(bytes.to_vec().into(), &spec, &request) {
        Ok(table) => {
            assert_eq!(table.positions.len(), table.len(), "one position per row");
            for column in &table.columns {
                assert_eq!(column.values.len(), table.len(), "column {}", column.name);
            }
            let outcome = gate(&table, &Expectations::candles(), request.now);
            assert!(
                outcome.quarantined.len() <= table.len(),
                "quarantined rows come from the table"
            );
            profile(&table);
        }
        Err(error) => refusal(FILE, &error),
    }
}

/// A refusal names where and ends in a remedy.
fn refusal(origin: &str, error: &SourceError) {
    let text = error.to_string();
    assert!(text.contains(origin), "does not name {origin}: {text}");
    assert!(text.contains("; "), "has no remedy: {text}");
    assert!(text.len() < 2000, "is {} bytes long", text.len());
}

fn csv(bytes: &[u8]) {
    let mut spec = FileSpec::at(FILE);
    spec.time_is = TimeIs::Close;
    if let Err(error) = read_csv(bytes, &spec) {
        refusal(FILE, &error);
    }
    file(bytes, Some(FileFormat::Csv));
}

fn json(bytes: &[u8]) {
    file(bytes, Some(FileFormat::Json));
}

fn parquet(bytes: &[u8]) {
    file(bytes, Some(FileFormat::Parquet));
}

fn coingecko(bytes: &[u8]) {
    if let Ok(chart) = parse_market_chart(bytes) {
        let rows: Rows = sample(&chart, Interval::HOUR, Timestamp::from_secs(NOW));
        for column in &rows.columns {
            assert_eq!(column.values.len(), rows.times.len(), "column {}", column.name);
        }
        assert!(rows.times.is_sorted(), "samples are in order");
    }
    file(bytes, Some(FileFormat::CoinGecko));
}

fn kraken_ohlc(bytes: &[u8]) {
    match parse_ohlc(bytes) {
        Ok(page) => {
            assert_eq!(page.candles.len(), page.vwap.len(), "one average per bar");
            for candle in &page.candles {
                assert!(candle.close.is_finite() && candle.volume.is_finite(), "finite bars");
            }
        }
        Err(error) => refusal("kraken OHLC", &error),
    }
}

fn kraken_trades(bytes: &[u8]) {
    let mut page = match parse_trades(bytes) {
        Ok(page) => page,
        Err(error) => return refusal("kraken Trades", &error),
    };
    page.trades.sort_by_key(|t| (t.time, t.id));
    let mut builder = CandleBuilder::new(Interval::HOUR);
    let mut candles = Vec::new();
    for trade in &page.trades {
        let built = builder.push(&Trade {
            instrument: btc(),
            time: trade.time,
            id: trade.id,
            price: trade.price,
            quantity: trade.quantity,
            side: Some(trade.side),
        });
        candles.extend(built.expect("sorted trades are never late"));
    }
    candles.extend(builder.close_until(Timestamp::MAX));
    assert!(candles.is_sorted_by_key(|c| c.open_time), "bars are in order");
    let counted: u64 = candles.iter().filter_map(|c| c.trades).sum();
    assert_eq!(counted, page.trades.len() as u64, "every trade is in one bar");
}

fn kraken_names(bytes: &[u8]) {
    if let Err(error) = parse_asset_pairs(bytes) {
        refusal("kraken AssetPairs", &error);
    }
    if let Err(error) = parse_ticker(bytes) {
        refusal("kraken Ticker", &error);
    }
}

fn binance_klines(bytes: &[u8]) {
    match parse_klines(bytes) {
        Ok(klines) => {
            for kline in &klines {
                assert!(kline.close.is_finite() && kline.volume.is_finite(), "finite bars");
            }
        }
        Err(error) => refusal("binance klines", &error),
    }
}

const PIPELINE: &str = "pipelines/fuzzed.toml";

fn pipeline(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Pipeline::parse(&text, Path::new(PIPELINE)) {
        Ok(pipeline) => {
            // What a file may say must also be something that can be built or refused.
            let _ = pipeline.features.feature_set();
            for recipe in &pipeline.models {
                let _ = recipe.spec.build();
                pipeline.recipe_hash(recipe);
            }
        }
        Err(faults) => {
            assert!(!faults.items.is_empty(), "a refusal without a fault");
            let shown = faults.to_string();
            assert!(shown.starts_with(PIPELINE), "does not name the file: {shown}");
            assert!(shown.contains("\nhelp: "), "has no remedy: {shown}");
            let lines = text.lines().count().max(1) + 1;
            for item in &faults.items {
                let (line, _) = faults.position(item.span.start);
                assert!(line <= lines, "line {line} of {lines}: {}", item.message);
            }
        }
    }
}
