//! Prometheus metrics of the API, one recorder per server (nothing global).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use foretell_platform::Served;
use foretell_platform::river::RiverView;
use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// The latency buckets of the metric's contract, seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// How often samples of latencies are put into their buckets: until then each is kept.
const UPKEEP: Duration = Duration::from_secs(5);

const METADATA: Metadata<'_> = Metadata::new("foretell", Level::INFO, None);

/// The metrics of one server.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let recorder = builder.expect("the buckets are not empty").build_recorder();
        let handle = recorder.handle();
        let describe = |name: &'static str, text: &'static str| {
            recorder.describe_counter(name.into(), None, text.into());
        };
        describe("api_requests_total", "Requests answered, by method, endpoint and status.");
        describe("model_predictions_total", "Forecasts read, by model.");
        describe("feed_events_total", "What a feed of live trades has counted, by kind.");
        describe("feed_findings_total", "Troubles that a feed went on after, by kind.");
        describe("stream_records_written_total", "Records of the live river, by topic.");
        describe("stream_events_appended_total", "Events that ingest has stored.");
        let gauge = |name: &'static str, text: &'static str| {
            recorder.describe_gauge(name.into(), None, text.into());
        };
        gauge("stream_lag_records", "Offsets that a consumer group has not committed yet.");
        describe("stream_bars_total", "Bars made, corrections of candles among them, by kind.");
        describe("push_missed_total", "Events that clients were too slow for, by transport.");
        gauge("push_clients", "Clients that are being told what happens, by transport.");
        gauge("stream_view_rows", "Feature row versions that are in memory.");
        gauge("stream_log_full", "1 while the log is at its disk budget and takes nothing in.");
        recorder.describe_histogram(
            "api_request_latency_seconds".into(),
            None,
            "Time to answer a request.".into(),
        );
        recorder.describe_gauge(
            "api_active_requests".into(),
            None,
            "Requests being answered now.".into(),
        );
        recorder.describe_gauge(
            "forecast_age_seconds".into(),
            None,
            "Age of the served forecast, by instrument, horizon and pipeline.".into(),
        );
        let info = Key::from_parts(
            "foretell_build_info",
            vec![Label::new("version", env!("CARGO_PKG_VERSION"))],
        );
        recorder.register_gauge(&info, &METADATA).set(1.0);
        let metrics = Self { recorder, handle };
        // Nobody listens yet: that is a number too.
        for transport in ["sse", "websocket"] {
            drop(metrics.push_client(transport));
        }
        metrics
    }

    /// Sets the age of a served forecast.
    pub(crate) fn forecast_age(&self, served: &Served) {
        let labels = vec![
            Label::new("instrument", served.instrument.to_string()),
            Label::new("horizon", served.horizon.to_string()),
            Label::new("pipeline", served.pipeline.clone()),
        ];
        let key = Key::from_parts("forecast_age_seconds", labels);
        self.recorder.register_gauge(&key, &METADATA).set(served.age_seconds as f64);
    }

    /// Sets what the live river has counted so far.
    pub(crate) fn river(&self, river: &RiverView) {
        let counter = |name: &'static str, labels: Vec<Label>, value: u64| {
            let key = Key::from_parts(name, labels);
            self.recorder.register_counter(&key, &METADATA).absolute(value);
        };
        for feed in &river.feeds {
            let of = |kind: &str| {
                let venue = Label::new("venue", feed.venue.clone());
                vec![venue, Label::new("kind", kind.to_owned())]
            };
            feed.counts.iter().for_each(|(kind, n)| counter("feed_events_total", of(kind), *n));
            let findings = feed.findings.iter();
            findings.for_each(|(kind, n)| counter("feed_findings_total", of(kind), *n));
        }
        for (topic, records) in &river.written {
            let labels = vec![Label::new("topic", topic.clone())];
            counter("stream_records_written_total", labels, *records);
        }
        counter("stream_events_appended_total", Vec::new(), river.appended);
        for (bar, made) in &river.bars {
            counter("stream_bars_total", vec![Label::new("bar", bar.clone())], *made);
        }
        let key = Key::from_name("stream_view_rows");
        self.recorder.register_gauge(&key, &METADATA).set(river.rows_in_memory as f64);
        for group in &river.groups {
            let labels = vec![
                Label::new("group", group.group.clone()),
                Label::new("topic", group.topic.clone()),
            ];
            let key = Key::from_parts("stream_lag_records", labels);
            self.recorder.register_gauge(&key, &METADATA).set(group.lag as f64);
        }
        let key = Key::from_name("stream_log_full");
        self.recorder.register_gauge(&key, &METADATA).set(f64::from(u8::from(river.full)));
    }

    /// Counts a forecast that was read.
    pub(crate) fn forecast_read(&self, model: &str) {
        let labels = vec![Label::new("model", model.to_owned())];
        let key = Key::from_parts("model_predictions_total", labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// A client that is told what happens, until what is returned is dropped.
    pub(crate) fn push_client(&self, transport: &'static str) -> PushClient {
        let labels = || vec![Label::new("transport", transport)];
        let clients = Key::from_parts("push_clients", labels());
        let clients = self.recorder.register_gauge(&clients, &METADATA);
        let missed = Key::from_parts("push_missed_total", labels());
        let missed = self.recorder.register_counter(&missed, &METADATA);
        clients.increment(1.0);
        PushClient { _listening: Active(clients), missed }
    }

    /// Puts samples into their buckets for as long as it is polled, whether anybody reads
    /// the metrics or not.
    pub(crate) async fn keep_up(&self) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }

    fn begin(&self) -> Active {
        let key = Key::from_name("api_active_requests");
        let active = self.recorder.register_gauge(&key, &METADATA);
        active.increment(1.0);
        Active(active)
    }

    /// The text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// Counts what becomes of a client that is told what happens.
pub(crate) struct PushClient {
    _listening: Active,
    missed: Counter,
}

impl PushClient {
    /// It was too slow for so many events.
    pub(crate) fn missed(&self, events: u64) {
        self.missed.increment(events);
    }
}

impl std::fmt::Debug for PushClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushClient")
    }
}

/// A request being answered, until it is dropped: with its answer, or when its client
/// went away before.
struct Active(Gauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A method as a label. A client may invent methods, and each label is kept for good.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

/// Counts and times a request.
pub(crate) async fn measure(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let method = known(request.method());
    // The route's pattern, so that ids do not become labels.
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let active = metrics.begin();
    let started = Instant::now();
    let response = next.run(request).await;
    drop(active);
    let mut labels = vec![Label::new("method", method), Label::new("endpoint", endpoint)];
    let latency = Key::from_parts("api_request_latency_seconds", labels.clone());
    let histogram = metrics.recorder.register_histogram(&latency, &METADATA);
    histogram.record(started.elapsed().as_secs_f64());
    labels.push(Label::new("status", response.status().as_u16().to_string()));
    let total = Key::from_parts("api_requests_total", labels);
    metrics.recorder.register_counter(&total, &METADATA).increment(1);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(metrics: &Metrics) -> String {
        let text = metrics.render();
        let line = text.lines().find(|l| l.starts_with("api_active_requests"));
        line.expect("the gauge is there").to_owned()
    }

    #[test]
    fn a_request_is_active_until_it_is_answered_or_given_up() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.begin(), metrics.begin());
        assert_eq!(active(&metrics), "api_active_requests 2");
        drop(first);
        assert_eq!(active(&metrics), "api_active_requests 1");
        // A handler that is dropped with its client.
        let handler = async move {
            let _second = second;
            std::future::pending::<()>().await;
        };
        drop(Box::pin(handler));
        assert_eq!(active(&metrics), "api_active_requests 0");
    }

    #[test]
    fn a_client_is_counted_until_it_goes_and_what_it_missed_for_good() {
        let metrics = Metrics::new();
        let (slow, other) = (metrics.push_client("sse"), metrics.push_client("websocket"));
        slow.missed(7);
        let has = |line: &str| metrics.render().lines().any(|found| found == line);
        assert!(has("push_clients{transport=\"sse\"} 1"));
        assert!(has("push_clients{transport=\"websocket\"} 1"));
        drop((slow, other));
        assert!(has("push_clients{transport=\"sse\"} 0"));
        assert!(has("push_missed_total{transport=\"sse\"} 7"));
        assert!(has("push_missed_total{transport=\"websocket\"} 0"));
    }

    #[test]
    fn invented_methods_are_one_label() {
        let invented = ["BREW", "get", "X1"].map(|m| Method::from_bytes(m.as_bytes()).unwrap());
        assert_eq!(invented.map(|m| known(&m)), ["other"; 3]);
        assert_eq!((known(&Method::GET), known(&Method::POST)), ("GET", "POST"));
    }
}
