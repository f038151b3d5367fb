//! Server-sent events, as a client reads them.

use std::time::Duration;

use foretell_platform::Told;
use foretell_platform::live_forecasts::Unresolved;
use serde_json::Value;

use crate::sample::{Serving, at, forecast, gap, row};

/// One event.
#[derive(Debug, Default, PartialEq)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

/// A client that reads events by the rules of the HTML standard, as far as they are used.
struct Client {
    response: reqwest::Response,
    read: String,
}

impl Client {
    async fn get(serving: &Serving, query: &str, last: Option<&str>) -> Self {
        let url = serving.url(&format!("/api/v1/stream{query}"));
        let mut request = reqwest::Client::new().get(url);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { response, read: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let mut found = Event::default();
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("event", kind)) => found.kind = kind.to_owned(),
                        Some(("id", id)) => found.id = Some(id.to_owned()),
                        Some(("data", data)) => {
                            found.data = serde_json::from_str(data).expect("JSON in one line");
                        }
                        _ => {}
                    }
                }
                self.read = rest.to_owned();
                if !found.kind.is_empty() {
                    return Some(found);
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.read.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hears_what_it_asked_for_in_order() {
    let serving = Serving::new(None).await;
    let mut all = Client::get(&serving, "", None).await;
    let mut of_pipeline = Client::get(&serving, "?pipeline=hours&kinds=forecast", None).await;
    let mut of_instrument = Client::get(&serving, "?instrument=ETH-USD&kinds=forecast", None).await;
    let unresolved = Unresolved {
        forecast_id: "f_1".to_owned(),
        instrument: "BTC-USD".parse().unwrap(),
        model: "hours".to_owned(),
        version: 2,
        as_of: at(0),
        target_time: at(60),
        known_at: at(90),
    };
    for told in [
        forecast("f_1", "BTC-USD", "hours"),
        row(1),
        gap(),
        Told::Unresolved(unresolved),
        forecast("f_2", "ETH-USD", "days"),
        forecast("f_3", "BTC-USD", "hours"),
    ] {
        serving.service.tell(told);
    }
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(all.next().await.unwrap());
    }
    let kinds: Vec<&str> = heard.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["forecast", "gap", "outcome", "forecast", "forecast"], "rows on demand");
    let ids: Vec<Option<&str>> = heard.iter().map(|e| e.id.as_deref()).collect();
    assert_eq!(ids, [Some("f_1"), None, None, Some("f_2"), Some("f_3")]);
    let of = |id: &str| of_view(forecast(id, "BTC-USD", "hours"));
    assert_eq!(heard[0].data, of("f_1"), "the API's forecast");
    assert_eq!(heard[1].data["from"], "2025-11-01T00:00:00Z");
    assert_eq!((&heard[2].data["price"], &heard[2].data["version"]), (&Value::Null, &2.into()));
    let heard = [of_pipeline.next().await.unwrap(), of_pipeline.next().await.unwrap()];
    assert_eq!([&heard[0].data, &heard[1].data], [&of("f_1"), &of("f_3")]);
    assert_eq!(of_instrument.next().await.unwrap().id.as_deref(), Some("f_2"));
}

fn of_view(told: Told) -> Value {
    let Told::Forecast(view) = told else { panic!("{told:?}") };
    foretell_server::forecast_json(*view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_how_much_it_missed() {
    let serving = Serving::new(None).await;
    let mut client = Client::get(&serving, "?kinds=row,gap", None).await;
    // More than a ring and the buffers of a socket hold, while nobody reads.
    let all = 200_000;
    (0..all).for_each(|number| serving.service.tell(row(number)));
    serving.service.tell(gap());
    let (mut rows, mut missed) = (0, 0);
    loop {
        let event = client.next().await.unwrap();
        match event.kind.as_str() {
            "row" => rows += 1,
            "missed" => missed += event.data["missed"].as_u64().unwrap(),
            _ => break,
        }
    }
    assert_eq!(rows + missed, all);
    assert!(missed > 0 && rows >= 1_000, "{rows} rows, {missed} missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_with_an_unknown_id_is_told_that_it_missed_something() {
    let serving = Serving::new(None).await;
    for (query, last) in [("", Some("f_gone")), ("?after=f_gone", None)] {
        let mut client = Client::get(&serving, query, last).await;
        serving.service.tell(forecast("f_1", "BTC-USD", "hours"));
        let first = client.next().await.unwrap();
        assert_eq!((first.kind.as_str(), &first.data["missed"]), ("missed", &Value::Null));
        assert_eq!(client.next().await.unwrap().id.as_deref(), Some("f_1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_server_and_does_not_hold_it_up() {
    let serving = Serving::new(None).await;
    let mut client = Client::get(&serving, "", None).await;
    serving.ending.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), serving.answering).await;
    ended.expect("the server ends").unwrap().unwrap();
    assert_eq!(client.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wishes_and_strangers_get_a_problem() {
    let serving = Serving::new(None).await;
    for query in ["?kinds=weather", "?instrument=nonsense", "?kind=row"] {
        let url = serving.url(&format!("/api/v1/stream{query}"));
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.status(), 400, "{query}");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].is_string(), "{problem}");
    }
    let guarded = Serving::new(Some("0123456789abcdef")).await;
    let response = reqwest::get(guarded.url("/api/v1/stream")).await.unwrap();
    assert_eq!(response.status(), 401);
}
