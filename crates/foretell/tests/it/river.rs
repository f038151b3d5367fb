//! The live river as people run it: an exchange on this machine, forecasts at every close,
//! kills and restarts, the same period in batch, and the parts of it on a cluster.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use foretell_market::Timestamp;
use foretell_testkit::{normal, rng};
use serde_json::Value;

use crate::market::{Kind, Market, signal};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const PIPELINE: &str = r#"name = "seconds"
instrument = "BTC-USD"
interval = "1s"
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
only = ["log_return_1", "log_return_2"]
season = "3s"

[label]
horizon = "2s"

[evaluation]
initial_train = "20m"
refit_every = "2h"
min_refits = 1
bootstrap_draws = 100

[[models]]
kind = "historical_mean"

[serve]
time_to_live = "10m"

[live]
venue = "kraken"
lateness = "2s"
"#;

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_micros(since.as_micros() as i64)
}

/// Candles of a second that end now, near the price at which the simulator begins.
fn rows(count: i64) -> String {
    let mut rng = rng(7);
    let mut text = String::from("time,open,high,low,close,volume,trades\n");
    let (mut price, end) = (120.0f64, now().micros() / 1_000_000);
    for i in 0..count {
        let open = price;
        price *= (0.0002 * normal(&mut rng)).exp();
        let (high, low) = (open.max(price) * 1.0001, open.min(price) * 0.9999);
        let time = Timestamp::from_secs(end - count + i);
        let _ = writeln!(text, "{time},{open:.6},{high:.6},{low:.6},{price:.6},1.5,20");
    }
    text
}

pub(crate) fn market() -> Market {
    let market = Market::new(Kind::Noise, 10, 1);
    market.write("rows.csv", &rows(3_000));
    market.write("live.toml", PIPELINE);
    market
}

/// A command that says one thing in JSON and works on; it is killed with the test.
pub(crate) struct Working {
    child: Child,
    pub(crate) told: Value,
}

impl Working {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.arg("--json").stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let mut said = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
        let told = said.next().expect("something is said").expect("JSON");
        Self { child, told }
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        self.told.pointer(pointer).and_then(Value::as_str).expect("it is said").to_owned()
    }

    /// Ctrl-C; the exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        signal(self.child.id(), "INT");
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn exchange(market: &Market) -> Working {
    let arguments = ["simulate", "kraken", "--symbols", "BTC-USD", "--rate", "40"];
    Working::start(market.command(&arguments))
}

pub(crate) fn up(market: &Market, feed: &str) -> Working {
    let arguments = ["up", "live.toml", "--feed", feed, "--listen", "127.0.0.1:0"];
    Working::start(market.command(&arguments))
}

/// Server-sent events of a river until so many of a kind have come.
pub(crate) async fn events(url: &str, kind: &str, count: usize) -> Vec<Value> {
    let address = format!("{url}/api/v1/stream?kinds={kind}");
    let mut answer = reqwest::get(&address).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200, "{address}");
    let (mut text, mut found) = (String::new(), Vec::new());
    let began = Instant::now();
    while found.len() < count {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let chunk = tokio::time::timeout(left, answer.chunk()).await;
        let chunk = chunk.unwrap_or_else(|_| panic!("only {} of {count} {kind}s", found.len()));
        let bytes = chunk.expect("it goes on").expect("it does not end");
        text.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            if let (true, Some(data)) = (event.contains(&format!("event: {kind}")), data) {
                found.push(serde_json::from_str(data).expect("JSON"));
            }
        }
    }
    found
}

pub(crate) async fn answer(url: String) -> Value {
    let answer = reqwest::get(&url).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200, "{url}");
    serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_river_forecasts_at_every_close_and_a_kill_takes_nothing_from_it() {
    let market = market();
    let exchange = exchange(&market);
    let feed = exchange.text("/socket_url");
    let first = now();
    let river = up(&market, &feed);
    let url = river.text("/serving");
    assert_eq!(river.told["river"]["log"], "embedded");
    assert_eq!(river.told["river"]["history"], 3_000);
    let made = events(&url, "forecast", 3).await;
    for pair in made.windows(2) {
        assert!(pair[0]["as_of"].as_str() < pair[1]["as_of"].as_str(), "in order: {pair:?}");
    }
    assert!(made.iter().all(|f| f["model"]["name"] == "seconds" && f["point"].is_number()));
    let judged = events(&url, "outcome", 1).await;
    assert!(judged[0]["price"].as_f64().is_some_and(|p| p > 0.0), "{judged:?}");
    // What is served is what was pushed, or newer.
    let served = answer(format!("{url}/api/v1/forecasts/BTC-USD")).await;
    assert!(served["as_of"].as_str() >= made[2]["as_of"].as_str());
    let row = answer(format!("{url}/api/v1/features/BTC-USD")).await;
    assert_eq!(row["product_id"], "BTC/USD");
    let state = answer(format!("{url}/api/v1/river")).await;
    assert_eq!(state["full"], false);
    assert!(state["feeds"][0]["counts"]["trades"].as_u64().is_some_and(|n| n > 100), "{state}");
    river.kill();

    // The next one goes on behind it and fetches what was traded meanwhile.
    let river = up(&market, &feed);
    let url = river.text("/serving");
    assert_eq!(river.told["river"]["history"], 0, "the past is there already");
    let next = events(&url, "forecast", 2).await;
    assert!(next[0]["as_of"].as_str() > made[2]["as_of"].as_str());
    assert_eq!(river.interrupt(), Some(0), "Ctrl-C is a good end");

    let last = now();
    let (from, to) = (first.to_string(), last.to_string());
    let period = ["live.toml", "--from", &from, "--to", &to];
    let parity = market.json(&[&["parity"], &period[..]].concat());
    assert_eq!(parity["different"], 0, "{parity}");
    for (what, least) in [("trades", 200), ("candles", 5), ("rows", 5)] {
        assert!(parity[what].as_u64().is_some_and(|n| n >= least), "{what}: {parity}");
    }
    // The same period as a job, a hundred times as fast.
    let replay =
        market.json(&[&["replay"], &period[..], &["--speed", "100", "--job", "again"]].concat());
    assert!(replay["events"].as_u64().is_some_and(|n| n >= 200), "{replay}");
    let written = &replay["written"];
    let few = (parity["candles"].as_u64().expect("a count")) / 2;
    assert!(written["ohlcv_again"].as_u64().is_some_and(|n| n > few), "{replay}");
    assert!(written["feature_again"].as_u64().is_some_and(|n| n > 0), "{replay}");

    // A forecast of the river is proved like any other.
    let id = next[0]["id"].as_str().expect("an id");
    let proof = market.json(&["verify", id]);
    assert_eq!(proof["matches"], true, "{proof}");
    drop(exchange);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_needs_neither_a_network_nor_a_file() {
    let market = Market::new(Kind::Noise, 10, 1);
    let river = Working::start(market.command(&["up", "--demo", "--listen", "127.0.0.1:0"]));
    let made = events(&river.text("/serving"), "forecast", 1).await;
    assert_eq!(made[0]["model"]["name"], "live-demo");
    assert_eq!(made[0]["historical_demo"], false);
    assert_eq!(river.interrupt(), Some(0));
}

#[test]
fn what_cannot_be_a_river_is_refused_with_the_remedy() {
    let market = market();
    let plain = PIPELINE.split("[live]").next().expect("the rest");
    market.write("plain.toml", plain);
    let error = market.fails(2, &["up", "plain.toml"]);
    assert!(error.contains("does not say whose trades") && error.contains("[live]"), "{error}");
    for part in ["ingest", "transform"] {
        let error = market.fails(2, &[part, "live.toml"]);
        assert!(error.contains("one process") && error.contains("kafka://host:9092"), "{error}");
    }
    let error = market.fails(2, &["features", "live.toml", "--log", "embedded"]);
    assert!(error.contains("kafka://host:9092"), "{error}");
    let error = market.fails(2, &["forecast", "live.toml", "--log", "localhost:9092"]);
    assert!(error.contains("kafka://host:9092"), "{error}");
    market.write("wrong.toml", &PIPELINE.replace("\"kraken\"\nlateness", "\"krakn\"\nlateness"));
    let error = market.fails(2, &["check", "wrong.toml"]);
    assert!(error.contains("venue") && error.contains("kraken"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_river_share_their_work_on_a_cluster() {
    let broker = krafka::testing::FakeBroker::start().await.expect("a broker");
    let cluster = format!("kafka://{}", broker.bootstrap_servers());
    let market = market();
    let exchange = exchange(&market);
    let feed = exchange.text("/socket_url");
    let part = |verb: &[&str], instance: &str| {
        let log = ["--log", &cluster, "--instance", instance];
        Working::start(market.command(&[verb, &log[..]].concat()))
    };
    let river = part(&["forecast", "live.toml", "--listen", "127.0.0.1:0"], "forecast");
    let url = river.text("/serving");
    let first = part(&["transform", "live.toml"], "t1");
    let second = part(&["transform", "live.toml"], "t2");
    let features = part(&["features", "live.toml"], "features");
    let ingest = part(&["ingest", "live.toml", "--feed", &feed], "ingest");
    let made = events(&url, "forecast", 2).await;
    first.kill();
    let next = events(&url, "forecast", 3).await;
    assert!(next[2]["as_of"].as_str() > made[1]["as_of"].as_str());
    for working in [ingest, second, features, river] {
        assert_eq!(working.interrupt(), Some(0));
    }
    drop(exchange);
}
