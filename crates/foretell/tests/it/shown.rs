//! The latest row of an instrument, by whatever process is asked, also right after its start.

use serde_json::Value;

use crate::market::Market;
use crate::river::{Working, answer, events, exchange, market, up};

/// An address of no exchange: nothing new comes.
const NOBODY: &str = "ws://127.0.0.1:9/v2";

async fn row(url: &str) -> Value {
    answer(format!("{url}/api/v1/features/BTC-USD")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_river_that_starts_shows_the_latest_row_of_the_one_before() {
    let market = market();
    let exchange = exchange(&market);
    let river = up(&market, &exchange.text("/socket_url"));
    let url = river.text("/serving");
    events(&url, "row", 2).await;
    let before = row(&url).await;
    assert_eq!(river.interrupt(), Some(0));
    drop(exchange);
    let river = up(&market, NOBODY);
    let after = row(&river.text("/serving")).await;
    assert!(after["timestamp_ms"].as_i64() >= before["timestamp_ms"].as_i64(), "{after}");
    assert_eq!(river.interrupt(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_other_processes_make_are_shown_and_told() {
    let broker = krafka::testing::FakeBroker::start().await.expect("a broker");
    let cluster = format!("kafka://{}", broker.bootstrap_servers());
    let market = market();
    let exchange = exchange(&market);
    let feed = exchange.text("/socket_url");
    let part = |market: &Market, verb: &[&str], instance: &str| {
        let log = ["--log", &cluster, "--instance", instance];
        Working::start(market.command(&[verb, &log[..]].concat()))
    };
    let serving = ["forecast", "live.toml", "--listen", "127.0.0.1:0"];
    let river = part(&market, &serving, "forecast");
    let url = river.text("/serving");
    let others = [
        part(&market, &["transform", "live.toml"], "transform"),
        part(&market, &["features", "live.toml"], "features"),
        part(&market, &["ingest", "live.toml", "--feed", &feed], "ingest"),
    ];
    let told = events(&url, "row", 2).await;
    assert!(told[0]["as_of"].as_str() < told[1]["as_of"].as_str(), "{told:?}");
    let before = row(&url).await;
    for working in others {
        assert_eq!(working.interrupt(), Some(0));
    }
    assert_eq!(river.interrupt(), Some(0));
    drop(exchange);
    let river = part(&market, &serving, "forecast");
    let after = row(&river.text("/serving")).await;
    assert!(after["timestamp_ms"].as_i64() >= before["timestamp_ms"].as_i64(), "{after}");
    assert_eq!(river.interrupt(), Some(0));
}
