//! File sources against pandas' reading of the same excerpts, and every way in which a
//! file can be wrong.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::RawTable;
use foretell_source::file::{read_csv, read_file, read_json};
use foretell_source::{
    ColumnMap, ExtractRequest, FileFormat, FileSpec, HttpSettings, SourceError, SourceSpec, TimeIs,
    extract,
};
use proptest::prelude::*;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn instrument() -> Instrument {
    "BTC-USD".parse().unwrap()
}

fn request(instrument: &Instrument, interval: Interval) -> ExtractRequest<'_> {
    let now = "2026-01-01".parse().unwrap();
    ExtractRequest { instrument, interval, from: None, to: None, lag: 0, now }
}

fn spec(name: &str) -> FileSpec {
    FileSpec::at(PathBuf::from(ROOT).join(name))
}

async fn read(spec: FileSpec, interval: Interval) -> Result<RawTable, SourceError> {
    let instrument = instrument();
    let request = request(&instrument, interval);
    extract(&SourceSpec::File(spec), &request, &HttpSettings::default(), &()).await
}

fn reference() -> Value {
    let path = format!("{ROOT}/tests/data/reference/source.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every row in the file's order, equal to the bit; NaN where the reference has null.
fn assert_equal(table: &RawTable, expected: &Value, columns: &[&str]) {
    let expected = expected.as_array().unwrap();
    assert_eq!(table.len(), expected.len());
    for (i, row) in expected.iter().enumerate() {
        assert_eq!(table.rows[i].time.millis(), row[0].as_i64().unwrap(), "row {i}");
        for (j, name) in columns.iter().enumerate() {
            let found = table.column(name).unwrap()[i];
            match row[j + 1].as_f64() {
                Some(value) => assert_eq!(found.to_bits(), value.to_bits(), "row {i} {name}"),
                None => assert!(found.is_nan(), "row {i} {name}: {found}"),
            }
        }
    }
}

#[tokio::test]
async fn reads_vendors_files_as_pandas_does() {
    let reference = reference();
    let ohlcv = ["open", "high", "low", "close", "volume"];
    for (name, interval) in [
        ("kraken_btcusd_1d.csv", Interval::DAY),
        ("binance_btcusdt_1h_raw.csv", Interval::HOUR),
        ("binance_btcusdt_1h.csv", Interval::HOUR),
        ("bitfinex_btcusd_1h.csv.gz", Interval::HOUR),
        ("amzn_1d_yahoo.csv", Interval::DAY),
        ("btc_usdt_1h.freqtrade.json.gz", Interval::HOUR),
    ] {
        let table = read(spec(&format!("tests/data/source/{name}")), interval).await.unwrap();
        assert_equal(&table, &reference[name], &ohlcv);
        assert_eq!(table.faults, vec![], "{name}");
        for row in &table.rows {
            assert_eq!(row.known_at, row.time + interval);
            assert_eq!(row.flags, RowFlags::BACKFILLED);
        }
    }
}

#[tokio::test]
async fn keeps_disorder_duplicates_and_lines_of_the_raw_exchange_dump() {
    let table = read(spec("tests/data/source/binance_btcusdt_1h_raw.csv"), Interval::HOUR);
    let table = table.await.unwrap();
    // Newest first, each of the first hours twice: in milliseconds, then in seconds.
    assert_eq!(table.positions[..3], [2, 3, 4]);
    assert_eq!(table.rows[0].time, table.rows[1].time);
    assert!(table.rows[2].time < table.rows[1].time);
    assert_eq!(table.column("trades").unwrap()[0], 26_670.0);
    assert!(table.column("trades").unwrap()[1].is_nan());
    assert_eq!(table.column("quote_volume").unwrap()[1], 18_137_600.96);
    // `1506448800.0,2017-09-26 02-PM`: the text is four hours off, the number is right.
    let seven = table.rows.iter().position(|r| r.time.secs() == 1_506_448_800).unwrap();
    assert_eq!(table.rows[seven].time.to_string(), "2017-09-26T18:00:00Z");
    assert_eq!(table.column("close").unwrap()[seven], 3_900.0);
}

#[tokio::test]
async fn the_date_text_can_be_declared_instead() {
    let mut spec = spec("tests/data/source/binance_btcusdt_1h_raw.csv");
    spec.columns.time = Some("date".to_owned());
    let table = read(spec, Interval::HOUR).await.unwrap();
    assert_eq!(table.rows[0].time.to_string(), "2020-08-31T23:00:00Z");
    assert_eq!(table.rows[1].time.to_string(), "2020-08-31T23:00:00Z");
}

#[tokio::test]
async fn snapshots_are_sampled_as_merge_asof_does_and_never_ahead() {
    let table = read(spec("data/coingecko-bitcoin-hourly.json"), Interval::HOUR).await.unwrap();
    let columns = ["price", "market_cap", "total_volume", "age_seconds"];
    assert_equal(&table, &reference()["coingecko"], &columns);
    let ages = table.column("age_seconds").unwrap();
    for (row, age) in table.rows.iter().zip(ages) {
        assert!((0.0..3600.0).contains(age));
        assert_eq!(row.flags.contains(RowFlags::STALE_SAMPLE), *age > 1800.0);
        assert_eq!(row.known_at, row.time + Interval::HOUR);
    }
    // The recording ends at 14:13; the hour that was still running has no row.
    assert_eq!(table.rows.last().unwrap().time.to_string(), "2021-05-15T13:00:00Z");
}

fn small(text: &str, change: impl FnOnce(&mut FileSpec)) -> Result<RawTable, SourceError> {
    let instrument = instrument();
    let mut spec = FileSpec::at("prices.csv");
    change(&mut spec);
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    read_file(bytes, &spec, &request(&instrument, Interval::HOUR))
}

fn times(text: &str, change: impl FnOnce(&mut FileSpec)) -> Vec<String> {
    small(text, change).unwrap().rows.iter().map(|r| r.time.to_string()).collect()
}

#[test]
fn reads_the_forms_of_time() {
    for (cells, expected) in [
        ("1598914800\n1598918400", "2020-08-31T23:00:00Z"),
        ("1598914800000\n1598918400", "2020-08-31T23:00:00Z"),
        ("1598914800000000\n1", "2020-08-31T23:00:00Z"),
        ("1598914800000000000\n", "2020-08-31T23:00:00Z"),
        ("1598914800.25\n", "2020-08-31T23:00:00.250000Z"),
        ("20200831\n20200901", "2020-08-31T00:00:00Z"),
        ("2020-08-31\n2020-09-01", "2020-08-31T00:00:00Z"),
        ("2020-08-31T23:00:00+02:00\n", "2020-08-31T21:00:00Z"),
        ("2020-08-31 23:00:00.123456-0130\n", "2020-09-01T00:30:00.123456Z"),
        ("2020/08/31 11:00 PM\n", "2020-08-31T23:00:00Z"),
        ("2020-08-31 12-AM\n2020-08-31 23:00", "2020-08-31T00:00:00Z"),
        ("31/08/2020 23:00\n01/09/2020 00:00", "2020-08-31T23:00:00Z"),
        ("08/31/2020 11:00:00 PM\n09/01/2020 01:00:00 AM", "2020-08-31T23:00:00Z"),
        ("31.08.2020\n", "2020-08-31T00:00:00Z"),
    ] {
        let rows: String =
            cells.lines().filter(|c| c.len() > 1).map(|c| format!("{c};1;2\n")).collect();
        let text = format!("time;close;volume\n{rows}");
        assert_eq!(times(&text, |_| {})[0], expected, "{cells}");
    }
}

#[test]
fn reads_declared_formats_names_zones_and_ends() {
    let named = times("Jour,Heure,Cours\n\"Aug 31, 2020\",x,1\n", |s| {
        s.columns.time = Some("Jour".into());
        s.columns.close = Some("Cours".into());
        s.time_format = Some("%b %d, %Y".parse().unwrap());
    });
    assert_eq!(named, ["2020-08-31T00:00:00Z"]);
    let new_york = |s: &mut FileSpec| s.zone = Some("America/New_York".into());
    let local = times("time,close\n2020-01-02 10:00,1\n2020-07-02 10:00,1\n", new_york);
    assert_eq!(local, ["2020-01-02T15:00:00Z", "2020-07-02T14:00:00Z"]);
    let instant = times("time,close\n2020-01-02T10:00:00Z,1\n", new_york);
    assert_eq!(instant, ["2020-01-02T10:00:00Z"]);
    let closes = times("time,close\n2020-01-02 10:00,1\n", |s| s.time_is = TimeIs::Close);
    assert_eq!(closes, ["2020-01-02T09:00:00Z"]);
    let headless = times("1577959200,1,2,0.5,1.5,7\n", |s| {
        let names = ["time", "open", "high", "low", "close", "volume"];
        s.header = Some(names.map(str::to_owned).to_vec());
    });
    assert_eq!(headless, ["2020-01-02T10:00:00Z"]);
    let preamble = times("https://www.example.com\nunix,close\n1577959200,1\n", |_| {});
    assert_eq!(preamble, ["2020-01-02T10:00:00Z"]);
}

#[test]
fn an_hour_that_clocks_have_twice_follows_the_file() {
    let up = "time,close\n2020-11-01 00:00,1\n2020-11-01 01:00,2\n2020-11-01 01:00,3\n\
              2020-11-01 02:00,4\n";
    let utc = ["04", "05", "06", "07"].map(|h| format!("2020-11-01T{h}:00:00Z"));
    let new_york = |s: &mut FileSpec| s.zone = Some("America/New_York".into());
    assert_eq!(times(up, new_york), utc);
    let mut lines: Vec<&str> = up.lines().collect();
    lines[1..].reverse();
    let down: Vec<String> = utc.iter().rev().cloned().collect();
    assert_eq!(times(&lines.join("\n"), new_york), down);
    let once = small("time,close\n2020-11-01 01:00,2\n", new_york).unwrap_err().to_string();
    assert!(once.contains("line 2") && once.contains("twice"), "{once}");
    let never = small("time,close\n2020-03-08 02:30,2\n", new_york).unwrap_err().to_string();
    assert!(never.contains("line 2") && never.contains("does not exist"), "{never}");
}

#[test]
fn keeps_what_the_request_wants() {
    let text = "time,close\n2020-01-02 10:00,1\n2020-01-02 11:00,x\n2020-01-02 12:00,3\n\
                2025-12-31 23:30,4\n2020-01-02 11:00,\n";
    let instrument = instrument();
    let spec = FileSpec::at("prices.csv");
    let mut wanted = request(&instrument, Interval::HOUR);
    wanted.lag = 30;
    let all = read_file(Bytes::from(text), &spec, &wanted).unwrap();
    // The last bar of 2025 closes after `now` and is still forming.
    assert_eq!(all.positions, [2, 3, 4, 6]);
    assert_eq!(all.rows[0].known_at.to_string(), "2020-01-02T11:00:30Z");
    assert_eq!(all.rows[0].ingested_at, wanted.now);
    // `x` is a fault, an empty cell is missing, both are NaN.
    assert_eq!(all.faults.len(), 1);
    assert_eq!((all.faults[0].position, all.faults[0].text.as_str()), (3, "x"));
    assert!(all.column("close").unwrap()[1].is_nan() && all.column("close").unwrap()[3].is_nan());
    wanted.from = Some("2020-01-02T12:00:00Z".parse().unwrap());
    wanted.to = Some("2020-01-02T13:00:00Z".parse().unwrap());
    let part = read_file(Bytes::from(text), &spec, &wanted).unwrap();
    assert_eq!((part.positions, part.faults), (vec![4], vec![]));
    for lag in [-1, i64::MAX] {
        wanted.lag = lag;
        let refused = read_file(Bytes::from(text), &spec, &wanted).unwrap_err().to_string();
        assert!(refused.contains("`lag`"), "{refused}");
    }
}

#[test]
fn chooses_one_symbol_of_many() {
    let text = "date,close,Name\n2020-01-02,1,A\n2020-01-03,2,A\n2020-01-02,3,B\n";
    let refused = small(text, |_| {}).unwrap_err().to_string();
    assert!(refused.contains("line 4") && refused.contains("`symbol`"), "{refused}");
    let b = small(text, |s| s.symbol = Some("B".into())).unwrap();
    assert_eq!((b.len(), b.column("close").unwrap()[0]), (1, 3.0));
    let none = small(text, |s| s.symbol = Some("C".into())).unwrap_err().to_string();
    assert!(none.contains("none of 3 rows has the symbol `C`"), "{none}");
}

#[test]
fn reads_json_objects_and_refuses_an_order_that_prices_contradict() {
    let text = r#"[{"open_time": "2020-01-02T10:00:00Z", "close": "1.5", "volume": null},
                   {"open_time": "2020-01-02T11:00:00Z", "close": 2}]"#;
    let table = small(text, |_| {}).unwrap();
    assert_eq!(table.column("close").unwrap()[..], [1.5, 2.0]);
    // null is missing, an absent key is a fault.
    assert_eq!((table.faults.len(), table.faults[0].position), (1, 2));
    let path = format!("{ROOT}/tests/data/source/bitfinex_1m_close_before_high.json");
    let bytes = std::fs::read(path).unwrap();
    let mut spec = FileSpec::at("bitfinex.json");
    let refused = read_json(&bytes, &spec).unwrap_err().to_string();
    assert!(refused.contains("`header`") && refused.contains("high"), "{refused}");
    let order = ["time", "open", "close", "high", "low", "volume"];
    spec.header = Some(order.map(str::to_owned).to_vec());
    let (rows, _) = read_json(&bytes, &spec).unwrap();
    let column = |name: &str| rows.columns.iter().find(|c| c.name == name).unwrap();
    let (high, low) = (&column("high").values, &column("low").values);
    assert!(high.len() > 20 && high.iter().zip(low.iter()).all(|(h, l)| h >= l));
}

#[test]
fn a_parquet_table_reads_as_its_csv_does() {
    use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampSecondArray};
    let instrument = instrument();
    let write = |time: ArrayRef| {
        let close: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.5), None]));
        let volume: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
        let batch =
            RecordBatch::try_from_iter([("date", time), ("close", close), ("Volume", volume)]);
        let batch = batch.unwrap();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Bytes::from(bytes)
    };
    let (a, b) = (1_577_959_200i64, 1_577_962_800i64);
    let columns: [ArrayRef; 3] = [
        Arc::new(TimestampSecondArray::from(vec![a, b])),
        Arc::new(TimestampSecondArray::from(vec![a, b]).with_timezone("America/New_York")),
        Arc::new(Int64Array::from(vec![a * 1000, b * 1000])),
    ];
    for time in columns {
        let bytes = write(time);
        let spec = FileSpec::at("prices.bin");
        let table = read_file(bytes.clone(), &spec, &request(&instrument, Interval::HOUR)).unwrap();
        assert_eq!(table.rows[1].time.secs(), b);
        assert_eq!(table.column("close").unwrap()[0], 1.5);
        assert!(table.column("close").unwrap()[1].is_nan());
        assert_eq!(table.column("volume").unwrap()[..], [3.0, 4.0]);
        let cut = bytes.slice(..bytes.len() - 10);
        let refused = read_file(cut, &spec, &request(&instrument, Interval::HOUR)).unwrap_err();
        assert!(refused.to_string().contains("not a Parquet table"), "{refused}");
    }
}

/// The text of the refusal, which must hold every given piece.
#[track_caller]
fn refused(text: &[u8], spec: &FileSpec, pieces: &[&str]) {
    let instrument = instrument();
    let bytes = Bytes::copy_from_slice(text);
    let error = read_file(bytes, spec, &request(&instrument, Interval::HOUR)).unwrap_err();
    let message = error.to_string();
    for piece in pieces {
        assert!(message.contains(piece), "`{piece}` is not in `{message}`");
    }
}

#[test]
fn says_what_is_wrong_where_and_what_to_do() {
    let csv = || FileSpec::at("prices.csv");
    refused(b"", &csv(), &["prices.csv", "empty"]);
    refused(
        b"close,volume\n1,2\n",
        &csv(),
        &["`columns.time`", "`close`, `volume`", "name the time"],
    );
    refused(b"time,volume\n1598914800,2\n", &csv(), &["`columns.close`", "price column"]);
    refused(b"1598914800,1\n1598914801,2\n", &csv(), &["line 1", "`header`", "no header line"]);
    refused(b"time,close\n", &csv(), &["no row below the header"]);
    refused(b"just a sentence\n", &csv(), &["line 1", "`header`", "two or more columns"]);
    refused(
        b"time,close\n1598914800,1\n\xff,2\n",
        &csv(),
        &["line 3", "not UTF-8", "save the file"],
    );
    refused(b"\xff\xfet\0i\0", &csv(), &["UTF-16"]);
    refused(b"<!DOCTYPE html><p>Log in</p>", &csv(), &["a web page", "download the file itself"]);
    refused(
        b"time,close\nyesterday,1\n",
        &csv(),
        &["line 2", "`time`", "`yesterday`", "time_format"],
    );
    refused(b"time,close\n1598914800,1\n,2\n", &csv(), &["line 3", "`time`", "there is no time"]);
    let mixed = b"date,close\n31/08/2020,1\n09/13/2020,1\n";
    refused(mixed, &csv(), &["line 3", "`date`", "day-first"]);
    let either = b"date,close\n01/02/2020,1\n02/02/2020,1\n";
    refused(either, &csv(), &["line 2", "`date`", "month-first", "declare `time_format"]);
    refused(b"time,close\n1598914800,1,234\n", &csv(), &["line 2", "3 cells under 2 columns"]);
    refused(b"time,close\n1598914800,\"1\n1598914801,2\n", &csv(), &["line 2", "close the quote"]);
    refused(
        b"time,close\n0,1\n1,2\n",
        &csv(),
        &["line 2", "`time`", "not a time of any known form"],
    );
    refused(b"\x1f\x8b\x08\x00garbage", &csv(), &["gzip", "damaged"]);
    refused(b"[[1,2,3]]", &csv(), &["row 1", "`header`", "3 values"]);
    refused(b"[[1577959200000,1,1,1,1,1],[1577959200000,1]]", &csv(), &["row 2", "6 values"]);
    refused(b"[[1577959200000,1,1,1,1,1],", &csv(), &["cut off", "line 1"]);
    refused(b"[]", &csv(), &["the array is empty"]);
    refused(b"[1,2]", &csv(), &["row 1", "not a row"]);
    refused(b"{\"a\": 1}", &csv(), &["prices.csv", "line 1", "unknown field `a`"]);
    refused(b"PK\x03\x04rest", &csv(), &["zip archive is damaged or cut off"]);
    let counter = b"time,close\n1598914800,1\n7,1\n";
    refused(counter, &csv(), &["line 3", "`7`", "rows before it (unix)"]);
    let json = FileSpec { format: Some(FileFormat::Json), ..csv() };
    refused(b"{\"a\": 1}", &json, &["not an array"]);
    let zone = FileSpec { zone: Some("Europe/Atlantis".into()), ..csv() };
    refused(b"time,close\n1598914800,1\n", &zone, &["`zone`", "`Europe/Atlantis`", "IANA"]);
    let columns = ColumnMap { close: Some("Last".into()), ..ColumnMap::default() };
    let named = FileSpec { columns, ..csv() };
    refused(
        b"time,close\n1598914800,1\n",
        &named,
        &["`columns.close`", "`Last`", "`time`, `close`"],
    );
    let declared = FileSpec { time_format: Some("day-first".parse().unwrap()), ..csv() };
    refused(b"time,close\n2020-01-02,1\n", &declared, &["line 2", "declared form (day-first)"]);
    assert!("%Q".parse::<foretell_source::TimeFormat>().is_err());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let error = read(FileSpec::at("no/such/prices.csv"), Interval::HOUR).await.unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("no/such/prices.csv") && message.contains("check the path"),
        "{message}"
    );
}

#[test]
fn our_own_tables_keep_marks_known_times_and_columns() {
    let csv = "instrument,time,known_at,flags,price,age_seconds\n\
               BTC-USD,2020-01-02T10:00:00Z,2020-01-02T11:00:09Z,backfilled stale-sample,1,2000\n\
               BTC-USD,2020-01-02T11:00:00Z,2020-01-02T11:00:00Z,,2,\n";
    let json = r#"[{"age_seconds": 2000, "flags": ["backfilled", "stale-sample"], "price": 1,
                    "instrument": "BTC-USD", "known_at": "2020-01-02T11:00:09Z",
                    "time": "2020-01-02T10:00:00Z"},
                   {"age_seconds": null, "flags": [], "price": 2, "instrument": "BTC-USD",
                    "known_at": "2020-01-02T11:00:00Z", "time": "2020-01-02T11:00:00Z"}]"#;
    for text in [csv, json] {
        let table = small(text, |_| {}).unwrap();
        let marks = RowFlags::BACKFILLED | RowFlags::STALE_SAMPLE;
        assert_eq!((table.rows[0].flags, table.rows[1].flags), (marks, RowFlags::NONE));
        assert_eq!(table.rows[0].known_at.to_string(), "2020-01-02T11:00:09Z");
        // What a file claims to have known before its interval ended was known at its end.
        assert_eq!(table.rows[1].known_at.to_string(), "2020-01-02T12:00:00Z");
        assert_eq!(table.column("age_seconds").unwrap()[0], 2_000.0);
        assert_eq!((table.columns.len(), table.faults.len()), (2, 0));
        let other = small(&text.replace("BTC-USD", "ETH-USD"), |_| {}).unwrap_err().to_string();
        assert!(other.contains("`instrument`") && other.contains("ETH-USD"), "{other}");
    }
    let unknown = small(&csv.replace("stale-sample", "shiny"), |_| {}).unwrap_err().to_string();
    assert!(unknown.contains("line 2: `flags`") && unknown.contains("shiny"), "{unknown}");
}

#[test]
fn tells_what_was_found() {
    let text = "Date;Price;Open;High;Low;Vol.\n31/08/2020;4;1;5;1;7\n";
    let (rows, found) = read_csv(text.as_bytes(), &FileSpec::at("x")).unwrap();
    assert_eq!(
        (found.time_column.as_str(), found.time_format.to_string()),
        ("Date", "day-first".into())
    );
    // Beside an open the price of a site's candles is their close.
    let names: Vec<_> = found.columns.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let expected = [
        ("open", "Open"),
        ("high", "High"),
        ("low", "Low"),
        ("close", "Price"),
        ("volume", "Vol."),
    ];
    assert_eq!(names, expected);
    assert_eq!(rows.columns[3].values[0], 4.0);
}

#[test]
fn a_spec_is_plain_data() {
    let text = r#"{"kind": "file", "path": "a.csv", "time_format": "%d.%m.%Y", "time_is": "close",
                   "columns": {"close": "Last", "extra": {"vwap": "Average"}}}"#;
    let spec: SourceSpec = serde_json::from_str(text).unwrap();
    let again: SourceSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(format!("{spec:?}"), format!("{again:?}"));
    let typo = serde_json::from_str::<FileSpec>(r#"{"path": "a", "colums": {}}"#).unwrap_err();
    assert!(typo.to_string().contains("colums"), "{typo}");
}

/// Text that looks enough like a table to reach deep into the reader.
fn tableish() -> impl Strategy<Value = String> {
    let cell = prop_oneof![
        Just("time".to_owned()),
        Just("close".to_owned()),
        Just("symbol".to_owned()),
        Just("\"".to_owned()),
        "[0-9]{1,20}",
        "[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}[ T]?[0-9:]{0,8}[+-]?[0-9]{0,4}",
        "-?[0-9.eE]{1,12}",
        "\\PC{0,6}",
    ];
    let line = prop::collection::vec(cell, 0..5).prop_map(|cells| cells.join(","));
    let head = prop_oneof![Just("time,close".to_owned()), Just("date;close;symbol".to_owned())];
    (head, prop::collection::vec(line, 0..12)).prop_map(|(h, l)| format!("{h}\n{}", l.join("\n")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let instrument = instrument();
        let spec = FileSpec::at("x");
        let request = request(&instrument, Interval::HOUR);
        if let Err(error) = read_file(Bytes::from(bytes), &spec, &request) {
            prop_assert!(error.to_string().starts_with("x: "), "{}", error);
        }
    }

    #[test]
    fn tables_never_panic_and_errors_name_the_file(
        text in tableish(),
        zone in prop::option::of(prop_oneof![Just("America/New_York"), Just("Asia/Kathmandu")]),
    ) {
        let spec = FileSpec { zone: zone.map(str::to_owned), ..FileSpec::at("x") };
        match read_csv(text.as_bytes(), &spec) {
            Err(error) => prop_assert!(error.to_string().starts_with("x: "), "{}", error),
            Ok((rows, _)) => {
                prop_assert_eq!(rows.positions.len(), rows.times.len());
                prop_assert!(rows.columns.iter().all(|c| c.values.len() == rows.times.len()));
            }
        }
    }

    #[test]
    fn a_bad_time_is_named_by_its_line(
        rows in 1usize..40,
        bad in any::<prop::sample::Index>(),
        garbage in "[a-z]{1,8}",
    ) {
        let bad = bad.index(rows);
        let mut text = "time,close\r\n".to_owned();
        for i in 0..rows {
            let time = 1_600_000_000 + 3600 * i;
            let cell = if i == bad { garbage.clone() } else { time.to_string() };
            text.push_str(&format!("{cell},{i}\r\n"));
        }
        let error = read_csv(text.as_bytes(), &FileSpec::at("x")).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("line {}: `time`", bad + 2)), "{}", error);
    }

    #[test]
    fn times_written_in_any_form_read_back(secs in 200_000_000i64..4_000_000_000) {
        let t = Timestamp::from_secs(secs);
        let utc = t.to_string();
        let (date, clock) = (&utc[..10], &utc[11..19]);
        let (y, m, d) = (&date[..4], &date[5..7], &date[8..]);
        for (form, cell) in [
            ("unix", secs.to_string()),
            ("unix", format!("{}", secs * 1000)),
            ("unix-ns", format!("{}", secs * 1_000_000_000)),
            ("iso", utc.clone()),
            ("iso", format!("{date} {clock}")),
            ("day-first", format!("{d}/{m}/{y} {clock}")),
            ("month-first", format!("{m}/{d}/{y} {clock}")),
            ("%Y%m%d %H%M%S", format!("{y}{m}{d} {}", clock.replace(':', ""))),
        ] {
            let spec = FileSpec { time_format: Some(form.parse().unwrap()), ..FileSpec::at("x") };
            let text = format!("time,close\n{cell},1\n");
            let (rows, _) = read_csv(text.as_bytes(), &spec).unwrap();
            prop_assert_eq!(rows.times[0], t, "{} {}", form, cell);
        }
    }
}
