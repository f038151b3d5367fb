//! Events of a serving process, as a client hears them.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::market::{Kind, Market, Serving};

/// The lines of a stream of events.
struct Events {
    response: reqwest::Response,
    read: String,
}

impl Events {
    async fn of(serving: &Serving, last: &str) -> Self {
        let url = format!("{}/api/v1/stream?kinds=forecast", serving.url);
        let asked = reqwest::Client::new().get(url).header("Last-Event-ID", last);
        let response = asked.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, read: String::new() }
    }

    /// The next forecast with the id of its event; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|l| l.strip_prefix(name));
                    line.map(str::to_owned)
                };
                let found = field("data: ").map(|data| {
                    assert_eq!(field("event: ").as_deref(), Some("forecast"), "{event}");
                    let data = serde_json::from_str(&data).expect("JSON");
                    (field("id: ").expect("a forecast has an id"), data)
                });
                self.read = rest.to_owned();
                match found {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.read.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test]
async fn a_client_hears_forecasts_and_goes_on_where_it_was() {
    let market = Market::new(Kind::Noise, 900, 4);
    let report = market.json(&["run", "pipeline.toml"]);
    let first = report["forecast"]["id"].as_str().unwrap();
    let mut serving = market.serve(&[]);
    let mut events = Events::of(&serving, first).await;
    let models = market.json(&["models", "list"]);
    let champion = &report["forecast"]["model"]["version"];
    let versions = models.as_array().unwrap().iter().map(|m| m["version"].clone());
    let others: Vec<Value> = versions.filter(|v| v != champion).collect();
    assert_eq!(others.len(), 2);
    let mut heard = Vec::new();
    for version in &others {
        market.ok(&["models", "promote", "seeded-daily", &version.to_string()]);
        let (id, data) = events.next().await.unwrap();
        assert_eq!((&data["id"], &data["model"]["version"]), (&id.clone().into(), version));
        heard.push((id, data));
    }
    // Away for the second one, and back; the age alone may differ.
    let mut again = Events::of(&serving, &heard[0].0).await;
    let (id, mut data) = again.next().await.unwrap();
    data["age_seconds"] = heard[1].1["age_seconds"].clone();
    assert_eq!((id, data), heard[1].clone());
    let stored = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(stored["id"], heard[1].0);
    // Streams that go on for ever hold up no end.
    let asked = Instant::now();
    crate::market::signal(serving.id(), "TERM");
    assert_eq!(events.next().await, None);
    assert_eq!(again.next().await, None);
    while serving.ended().is_none() {
        assert!(asked.elapsed() < Duration::from_secs(8), "the end waits for a stream");
        tokio::task::yield_now().await;
    }
}
