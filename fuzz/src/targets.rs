//! The readers that meet foreign bytes, each behind one function that must not panic.
//!
//! What is promised beyond that is asserted here: a refusal names the file and ends in
//! a remedy, and what was read goes through the gate.

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_quality::{Expectations, gate, profile};
use foretell_source::coingecko::{parse_market_chart, sample};
use foretell_source::file::read_file;
use foretell_source::{ExtractRequest, FileFormat, FileSpec, Rows, SourceError, TimeIs, read_csv};

use crate::engine::Target;

/// Every target, in order of name.
pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "coingecko",
            run: coingecko,
            words: &["prices", "market_caps", "total_volumes", "[", "]", "null", "1618499053863"],
        },
        Target {
            name: "csv",
            run: csv,
            words: &[
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
            ],
        },
        Target {
            name: "json",
            run: json,
            words: &["[", "]", "{", "}", "\"time\":", "\"close\":", "null"],
        },
        Target { name: "parquet", run: parquet, words: &["PAR1"] },
    ]
}

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
        Err(error) => refusal(&error),
    }
}

/// A refusal names where and ends in a remedy.
fn refusal(error: &SourceError) {
    let text = error.to_string();
    assert!(text.contains(FILE), "names no file: {text}");
    assert!(text.contains("; "), "has no remedy: {text}");
    assert!(text.len() < 2000, "is {} bytes long", text.len());
}

fn csv(bytes: &[u8]) {
    let mut spec = FileSpec::at(FILE);
    spec.time_is = TimeIs::Close;
    if let Err(error) = read_csv(bytes, &spec) {
        refusal(&error);
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
