//! Bars by count and further intervals of a live river: made in one pass, counted, in the lake,
//! and what follows when others are asked for.

use std::collections::{BTreeMap, HashSet};

use foretell_lake::{AsOf, Lake, LakeError, Layer};
use foretell_market::Instrument;
use foretell_panel::arrow::array::{AsArray as _, RecordBatch};
use foretell_panel::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::Value;

use crate::market::Market;
use crate::river::{PIPELINE, Working, answer, events, exchange, market};

/// Two pipelines of one instrument and interval that differ in their features, with these
/// further lists.
fn files(market: &Market, lists: &str) {
    let live = PIPELINE.replace("lateness = \"2s\"\n", &format!("lateness = \"2s\"\n{lists}\n"));
    assert_ne!(live, PIPELINE);
    let other = PIPELINE
        .replace("name = \"seconds\"", "name = \"others\"")
        .replace("\"log_return_1\", \"log_return_2\"", "\"log_return_3\"");
    assert_ne!(other, PIPELINE);
    market.write("live.toml", &live);
    market.write("other.toml", &other);
}

fn up(market: &Market, feed: &str) -> Working {
    let listen = ["--feed", feed, "--listen", "127.0.0.1:0", "--view-rows", "3"];
    let files = ["up", "live.toml", "other.toml"];
    Working::start(market.command(&[&files[..], &listen].concat()))
}

/// The rows of a table of the lake; none where there is no such table.
async fn table(market: &Market, layer: Layer, name: &str) -> Option<RecordBatch> {
    let folder = std::fs::canonicalize(market.file(".foretell/lake")).expect("there is a lake");
    let url = url(&folder);
    let lake = Lake::open(&url, &BTreeMap::new()).expect("it opens");
    match lake.table(layer, name).read_versioned(AsOf::Latest, None).await {
        Ok((_, batch)) => Some(batch),
        Err(LakeError::NoTable { .. }) => None,
        Err(error) => panic!("{name}: {error}"),
    }
}

fn url(folder: &std::path::Path) -> reqwest::Url {
    reqwest::Url::from_directory_path(folder).expect("a whole path")
}

fn whole(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no `{name}`"));
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn number(batch: &RecordBatch, name: &str) -> Vec<f64> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no `{name}`"));
    column.as_primitive::<Float64Type>().values().to_vec()
}

fn time(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no `{name}`"));
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// Time, price and amount of the trades in the lake in the order of the log, each id once.
async fn trades(market: &Market) -> Vec<(i64, f64, f64)> {
    let mut found = Vec::new();
    for partition in 0..4 {
        let name = format!("live-trade-{partition}");
        let Some(batch) = table(market, Layer::Raw, &name).await else { continue };
        let kinds = batch.column_by_name("kind").expect("a kind").as_string::<i32>();
        let (positions, ids) = (whole(&batch, "position"), whole(&batch, "trade_id"));
        let (times, prices) = (time(&batch, "time"), number(&batch, "price"));
        let quantities = number(&batch, "quantity");
        for row in (0..batch.num_rows()).filter(|row| kinds.value(*row) == "trade") {
            found.push((positions[row], ids[row], (times[row], prices[row], quantities[row])));
        }
    }
    found.sort_by_key(|(position, ..)| *position);
    let mut ids = HashSet::new();
    found.retain(|(_, id, _)| ids.insert(*id));
    found.into_iter().map(|(.., trade)| trade).collect()
}

/// The rows of a table of bars in the order of their numbers, which have no hole.
async fn bars(market: &Market, kind: &str) -> RecordBatch {
    let name = format!("live-bars-{kind}");
    let batch = table(market, Layer::Clean, &name).await.unwrap_or_else(|| panic!("no {name}"));
    let instruments = batch.column_by_name("instrument").expect("one").as_string::<i32>();
    let btc: Instrument = "BTC-USD".parse().expect("a name");
    assert!(instruments.iter().all(|name| name == Some(btc.as_str())));
    let mut numbers = whole(&batch, "number");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..batch.num_rows() as i64).collect::<Vec<_>>(), "{name}");
    batch
}

/// The bars of so many trades are those of the trades in the lake.
fn are_of(batch: &RecordBatch, trades: &[(i64, f64, f64)], each: usize) {
    let numbers = whole(batch, "number");
    let (opens, highs) = (number(batch, "open"), number(batch, "high"));
    let (lows, closes) = (number(batch, "low"), number(batch, "close"));
    let (volumes, averages) = (number(batch, "volume"), number(batch, "vwap"));
    let (starts, ends, known) = (time(batch, "time"), time(batch, "end"), time(batch, "known_at"));
    let counts = whole(batch, "trades");
    let mut checked = 0;
    for row in 0..batch.num_rows() {
        let at = numbers[row] as usize * each;
        // Each topic has its own copy: the last trades may come with the next start.
        let Some(of) = trades.get(at..at + each) else { continue };
        checked += 1;
        assert_eq!(counts[row], each as i64);
        assert_eq!((opens[row], closes[row]), (of[0].1, of[each - 1].1), "bar {}", numbers[row]);
        let prices = || of.iter().map(|(_, price, _)| *price);
        assert_eq!(highs[row], prices().fold(f64::MIN, f64::max));
        assert_eq!(lows[row], prices().fold(f64::MAX, f64::min));
        let volume: f64 = of.iter().map(|(.., quantity)| quantity).sum();
        let notional: f64 = of.iter().map(|(_, price, quantity)| price * quantity).sum();
        assert!((volumes[row] - volume).abs() < 1e-9 * volume);
        assert!((averages[row] - notional / volume).abs() < 1e-9 * averages[row]);
        assert_eq!(starts[row], of.iter().map(|(time, ..)| *time).min().expect("trades"));
        assert_eq!(ends[row], of.iter().map(|(time, ..)| *time).max().expect("trades"));
        assert!(known[row] >= ends[row]);
    }
    assert!(2 * checked > batch.num_rows(), "{checked} of {}", batch.num_rows());
}

fn made(state: &Value) -> Vec<&str> {
    let bars = state["bars"].as_object().expect("bars are counted");
    bars.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_of_a_river_are_made_counted_and_kept_and_the_list_may_change() {
    let market = market();
    files(&market, "intervals = [\"3s\"]\nbars = [\"tick-20\", \"volume-0.5\", \"dollar-100\"]");
    let exchange = exchange(&market);
    let feed = exchange.text("/socket_url");
    let river = up(&market, &feed);
    let url = river.text("/serving");
    events(&url, "row", 16).await;
    let state = answer(format!("{url}/api/v1/river")).await;
    assert_eq!(made(&state), ["1s", "3s", "dollar-100", "tick-20", "volume-0.5"], "{state}");
    for (kind, least) in [("1s", 6), ("3s", 1), ("tick-20", 5), ("volume-0.5", 5)] {
        assert!(state["bars"][kind].as_u64().is_some_and(|n| n >= least), "{kind}: {state}");
    }
    assert_eq!(state["rows_in_memory"], 6, "three of each set: {state}");

    // Of two pipelines over the same candles each has its row.
    let names = async |query: &str| {
        let row = answer(format!("{url}/api/v1/features/BTC-USD{query}")).await;
        row["row"]["names"].to_string()
    };
    assert_eq!(names("?pipeline=seconds").await, r#"["log_return_1","log_return_2"]"#);
    assert_eq!(names("?pipeline=others").await, r#"["log_return_3"]"#);
    assert_eq!(names("?pipeline=others&interval=1s").await, r#"["log_return_3"]"#);
    let asked = format!("{url}/api/v1/features/BTC-USD?pipeline=nobody");
    let refused = reqwest::get(&asked).await.expect("an answer");
    assert_eq!(refused.status().as_u16(), 404);
    let said = refused.text().await.expect("text");
    assert!(said.contains("seconds, others"), "{said}");
    let metrics = reqwest::get(format!("{url}/metrics")).await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    for line in ["stream_bars_total{bar=\"tick-20\"} ", "stream_view_rows 6", "push_clients{"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(river.interrupt(), Some(0));

    let first = bars(&market, "tick-20").await;
    are_of(&first, &trades(&market).await, 20);
    for kind in ["volume-0.5", "dollar-100"] {
        assert!(bars(&market, kind).await.num_rows() >= 5, "{kind}");
    }
    let amounts = bars(&market, "volume-0.5").await;
    assert!(number(&amounts, "volume").iter().all(|volume| *volume >= 0.5));
    let long = table(&market, Layer::Clean, "live-ohlcv-3s").await.expect("further candles");
    let spans = time(&long, "time").into_iter().zip(time(&long, "until"));
    assert!(long.num_rows() >= 1 && spans.clone().all(|(a, b)| (b - a) % 3_000_000 == 0));

    // Another list: what it has goes on, what is new begins, what is gone ends.
    files(&market, "bars = [\"tick-7\", \"tick-20\"]");
    let river = up(&market, &feed);
    let url = river.text("/serving");
    // What the log has is shown before anything is new.
    let row = answer(format!("{url}/api/v1/features/BTC-USD?pipeline=others")).await;
    assert_eq!(row["row"]["names"].to_string(), r#"["log_return_3"]"#);
    events(&url, "row", 10).await;
    let state = answer(format!("{url}/api/v1/river")).await;
    assert_eq!(made(&state), ["1s", "tick-20", "tick-7"], "{state}");
    assert_eq!(river.interrupt(), Some(0));
    let twenties = bars(&market, "tick-20").await;
    assert!(twenties.num_rows() > first.num_rows());
    are_of(&twenties, &trades(&market).await, 20);
    assert!(bars(&market, "tick-7").await.num_rows() > 5);
    assert_eq!(bars(&market, "volume-0.5").await.num_rows(), amounts.num_rows());
    drop(exchange);
}

#[test]
fn what_is_no_bar_is_told_with_its_line_and_the_remedy() {
    let market = market();
    for wrong in ["tick-0", "dollar--1", "foo-3"] {
        files(&market, &format!("bars = [\"tick-5\", \"{wrong}\"]"));
        let line = market.read("live.toml").lines().position(|l| l.starts_with("bars")).unwrap();
        let error = market.fails(2, &["check", "live.toml"]);
        assert!(error.contains(&format!("live.toml:{}: `bars` in [live]", line + 1)), "{error}");
        assert!(error.contains(&format!("`{wrong}` is none: write tick-<trades>")), "{error}");
        assert!(error.contains("volume-<base amount> or dollar-<quote amount>"), "{error}");
    }
    let help = market.ok(&["up", "--help"]);
    assert!(help.contains("bars = [\"tick-100\"]") && help.contains("--view-rows"), "{help}");
    let schema: Value = serde_json::from_str(&market.ok(&["check", "--schema"])).expect("JSON");
    let live = &schema["properties"]["live"]["properties"];
    assert_eq!(live["bars"]["type"], "array", "{live}");
    assert!(live["intervals"]["description"].as_str().is_some_and(|d| d.contains("same pass")));
}
