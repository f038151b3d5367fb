//! A recorded period of the river once more, while the river runs and afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foretell_market::Timestamp;
use foretell_platform::river::{Log, LogAddress};
use serde_json::{Value, json};

use crate::market::Market;
use crate::river::{PATIENCE, answer, events, exchange, market, now, up};

const PARTITIONS: u32 = 4;

/// The forecasts in a topic by id: the bytes of their records.
async fn forecasts(log: &dyn Log, topic: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut from = 0;
        loop {
            let some = log.read(topic, partition, from, 1 << 20, Duration::ZERO).await;
            let some = some.expect("it is read");
            let Some(last) = some.last() else { break };
            from = last.offset + 1;
            for stored in some {
                let value: Value = serde_json::from_slice(&stored.record.value).expect("JSON");
                if value["kind"] == "forecast" {
                    let id = value["id"].as_str().expect("an id").to_owned();
                    found.insert(id, stored.record.value.to_vec());
                }
            }
        }
    }
    found
}

fn secret(market: &Market) -> String {
    let owner: Value = serde_json::from_str(&market.read(".foretell/owner.json")).expect("JSON");
    owner["secret"].as_str().expect("a secret").to_owned()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_river_computes_and_plays_again_what_it_has_recorded() {
    let market = market();
    let exchange = exchange(&market);
    let first = now();
    let river = up(&market, &exchange.text("/socket_url"));
    let url = river.text("/serving");
    events(&url, "outcome", 3).await;
    let (from, to) = (first.to_string(), now().to_string());
    let period = ["live.toml", "--from", &from, "--to", &to];

    // The commands find the process that has the log and ask it.
    let parity = market.json(&[&["parity"], &period[..]].concat());
    assert_eq!(parity["different"], 0, "{parity}");
    assert!(count(&parity["rows"]) >= 3 && count(&parity["trades"]) >= 100, "{parity}");
    let again = [&["replay"], &period[..], &["--job", "again", "--keep"]].concat();
    let replay = market.json(&again);
    let played = &replay["forecasts"][0];
    assert_eq!((&played["pipeline"], &played["version"]), (&json!("seconds"), &json!(1)));
    assert!(count(&played["forecasts"]) >= 3 && count(&played["outcomes"]) >= 1, "{replay}");
    assert_eq!(played["same"], played["forecasts"], "{replay}");
    assert_eq!((count(&played["differing"]), count(&played["unrecorded"])), (0, 0), "{replay}");
    // A job of the same name begins anew.
    let anew = market.json(&again);
    assert_eq!(anew["forecasts"], replay["forecasts"]);
    assert_eq!(anew["written"], replay["written"]);
    // The river goes on, and says nothing of what was played.
    let next = events(&url, "forecast", 2).await;
    assert!(next[0]["as_of"].as_str() < next[1]["as_of"].as_str(), "{next:?}");
    let state = answer(format!("{url}/api/v1/river")).await;
    let topics = state["written"].as_object().expect("counts");
    assert!(topics.keys().all(|topic| !topic.contains('_')), "{state}");

    // The API itself.
    let client = reqwest::Client::new();
    let ask = |path: &str, body: Value, secret: &str| {
        let request = client.post(format!("{url}/api/v1/river/{path}"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.header("x-foretell-secret", secret)
    };
    let of_period = json!({ "from": from, "to": to });
    let refused = ask("parity", of_period.clone(), "").send().await.expect("an answer");
    assert_eq!(refused.status().as_u16(), 403);
    let secret = secret(&market);
    let asked = ask("parity", of_period.clone(), &secret).send().await.expect("an answer");
    assert_eq!(asked.status().as_u16(), 200);
    let report: Value = serde_json::from_str(&asked.text().await.expect("text")).expect("JSON");
    assert_eq!(report["different"], 0, "{report}");
    assert!(count(&report["rows"]) >= count(&parity["rows"]), "{report}: {parity}");
    for (more, status) in [
        (json!({ "pipelines": ["minutes"] }), 404),
        (json!({ "log": "kafka://elsewhere:9092" }), 400),
        (json!({ "from": "yesterday" }), 400),
        (json!({ "speeds": 3 }), 400),
    ] {
        let mut body = of_period.clone();
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        let refused = ask("parity", body, &secret).send().await.expect("an answer");
        assert_eq!(refused.status().as_u16(), status, "{more}");
    }
    // One at a time: a slow one keeps others out until its caller goes away.
    let slow = json!({ "from": from, "to": to, "speed": 0.01 });
    let slow = ask("replay", slow, &secret).header("accept", "application/x-ndjson");
    let mut slow = slow.send().await.expect("an answer");
    assert!(slow.chunk().await.expect("it goes on").is_some(), "it has begun");
    let busy = ask("parity", of_period.clone(), &secret).send().await.expect("an answer");
    assert_eq!(busy.status().as_u16(), 409);
    assert!(busy.text().await.expect("text").contains("another parity or replay is going on"));
    drop(slow);
    let began = Instant::now();
    loop {
        let free = ask("parity", of_period.clone(), &secret).send().await.expect("an answer");
        match free.status().as_u16() {
            200 => break,
            status => assert_eq!(status, 409),
        }
        assert!(began.elapsed() < PATIENCE, "it is never free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(river.interrupt(), Some(0));

    // Without the river the command reads the log itself; one that begins later has other
    // windows and another calibration, and says so.
    let middle = Timestamp::from_micros(first.micros().midpoint(now().micros()));
    let later = ["live.toml", "--from", &middle.to_string(), "--to", &to, "--job", "later"];
    let later = market.json(&[&["replay"], &later[..]].concat());
    let played = &later["forecasts"][0];
    let [same, differing, unrecorded] = ["same", "differing", "unrecorded"];
    let compared: u64 = [same, differing, unrecorded].iter().map(|n| count(&played[*n])).sum();
    assert_eq!(compared, count(&played["forecasts"]), "{later}");
    let text = market.ok(&[&["replay"], &period[..], &["--version", "1"]].concat());
    assert!(text.contains("seconds v1:") && text.contains("0 differ"), "{text}");
    let error = market.fails(1, &[&["replay"], &period[..], &["--version", "7"]].concat());
    assert!(error.contains("seconds version 7") && error.contains("models list"), "{error}");
    let error = market.fails(2, &[&["replay"], &period[..], &["--job", "a/b"]].concat());
    assert!(error.contains("`a/b` is no name of a job"), "{error}");

    // What was played is what was recorded, record by record, to the byte.
    let opened = LogAddress::Embedded.open(&market.file(".foretell"), "test", None).await;
    let log = opened.expect("nobody else has it").log;
    let recorded = forecasts(&*log, "forecast").await;
    let again = forecasts(&*log, "forecast_again").await;
    assert_eq!(again.len() as u64, count(&replay["forecasts"][0]["forecasts"]));
    for (id, body) in &again {
        let was = recorded.get(id).unwrap_or_else(|| panic!("{id} is not among the river's"));
        assert_eq!(String::from_utf8_lossy(body), String::from_utf8_lossy(was));
    }
    for removed in ["forecast_later", "trade_later"] {
        assert!(log.partitions(removed).await.is_err(), "{removed} is removed");
    }
    drop(exchange);
}

#[test]
fn a_process_without_a_river_says_what_to_do() {
    let market = market();
    let _serving = market.serve(&[]);
    for verb in ["parity", "replay"] {
        let arguments = [verb, "live.toml", "--from", "2026-01-01", "--to", "2026-01-02"];
        let error = market.fails(1, &arguments);
        assert!(error.contains("no live river in this process"), "{error}");
        assert!(error.contains("foretell up") && error.contains("stop this process"), "{error}");
    }
}
