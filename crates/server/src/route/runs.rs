//! Runs: what was done, and work on a pipeline whose events are streamed.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use foretell_platform::{Event, Observer, Pipeline, PlatformError, RunOptions, Service, Stop};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Segment;
use crate::problem::Problem;
use crate::wire;

/// The media type of events, one JSON object a line.
const EVENTS: &str = "application/x-ndjson";
/// How often work looks whether the server ends.
const LOOK: Duration = Duration::from_millis(50);

/// The latest runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", operation_id = "list_runs",
    responses((status = 200, body = Vec<wire::Run>)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<wire::Run>>, Problem> {
    Ok(Json(service.runs().await?.into_iter().map(Into::into).collect()))
}

/// One run with its stations, parameters and metrics, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/runs/{id}", operation_id = "show_run",
    params(("id" = String, Path, description = "The run's id or its beginning.")),
    responses((status = 200, body = wire::RunDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
    Segment(id): Segment,
) -> Result<Json<wire::RunDetail>, Problem> {
    Ok(Json(service.run_detail(&id).await?.into()))
}

/// Retrains a run and compares the hashes. With `Accept: application/x-ndjson` its events
/// are streamed; the last line is `{"event":"finished","proof":…}` or as of `POST
/// /api/v1/runs`.
#[utoipa::path(post, path = "/api/v1/runs/{id}/reproduce", operation_id = "reproduce_run",
    params(("id" = String, Path, description = "The run's id or its beginning.")),
    responses(
        (status = 200, content((wire::Proof = "application/json"), (String = "application/x-ndjson"))),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn reproduce(
    State(service): State<Arc<Service>>,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !wants_events(&headers) {
        let stop = service.stopping();
        let proof = wire::Proof::from(service.reproduce(&id, Arc::new(()), stop).await?);
        return Ok(Json(proof).into_response());
    }
    // A wrong id is answered as such, before a stream begins.
    service.run_detail(&id).await?;
    let ending = service.stopping();
    Ok(stream(ending, "proof", async move |observer, stop| {
        let proof = service.reproduce(&id, observer, stop).await?;
        Ok(serde_json::json!(wire::Proof::from(proof)))
    }))
}

/// Works on a pipeline and streams the events, one JSON object a line. The last line is
/// `{"event":"finished"}` with the result under `report`, `advance` or `backfill`, or
/// `{"event":"failed","message":…}`. Work waits for its turn, which an event tells;
/// closing the connection stops it at its next safe point, and what it committed is kept.
#[utoipa::path(post, path = "/api/v1/runs", operation_id = "start_run",
    request_body = wire::StartRun,
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(crate) async fn start(
    State(service): State<Arc<Service>>,
    body: Result<Json<wire::StartRun>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    let file = PathBuf::from(&wish.file);
    let pipeline = Pipeline::parse(&wish.text, &file).map_err(PlatformError::from)?;
    let mended = wish.mended.map(serde_json::from_value).transpose();
    let mended = mended.map_err(|e| Problem::bad_request(format!("`mended`: {e}")))?;
    let (require_skill, lock_box, full) = (wish.require_skill, wish.lock_box, wish.full);
    let options = RunOptions { require_skill, lock_box, full, mended };
    let ending = service.stopping();
    Ok(match wish.kind {
        wire::Kind::Run => stream(ending, "report", async move |observer, stop| {
            Ok(serde_json::json!(service.run(pipeline, options, observer, stop).await?))
        }),
        wire::Kind::Advance => stream(ending, "advance", async move |observer, stop: Arc<Stop>| {
            Ok(serde_json::json!(service.advance(&pipeline, observer, &stop).await?))
        }),
        wire::Kind::Backfill => stream(ending, "backfill", async move |observer, stop| {
            Ok(serde_json::json!(service.backfill(&pipeline, observer, stop).await?))
        }),
    })
}

/// Whether a caller wants to hear how work goes on.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accepted.is_some_and(|v| v.contains(EVENTS))
}

/// Sends events into the response as they happen.
struct Lines(mpsc::UnboundedSender<String>);

impl Observer for Lines {
    fn event(&self, event: Event) {
        // A caller that has gone away is noticed by whoever watches the work.
        let _ = self.0.send(serde_json::to_string(&event).unwrap_or_default());
    }
}

/// Raises the stop of some work when its caller goes away or the server ends.
async fn watch(sender: mpsc::UnboundedSender<String>, ending: &Stop, stop: &Stop) -> Infallible {
    loop {
        tokio::select! {
            () = sender.closed() => break,
            () = tokio::time::sleep(LOOK) => if ending.is_stopped() { break },
        }
    }
    stop.stop();
    std::future::pending().await
}

/// Does some work and streams its events; `result` names its result in the last line.
pub(super) fn stream<F>(
    ending: Arc<Stop>,
    result: &'static str,
    work: impl FnOnce(Arc<dyn Observer>, Arc<Stop>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<Value, PlatformError>> + Send,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let stop = Arc::new(Stop::default());
        let observer: Arc<dyn Observer> = Arc::new(Lines(sender.clone()));
        let outcome = tokio::select! {
            outcome = work(observer, Arc::clone(&stop)) => outcome,
            never = watch(sender.clone(), &ending, &stop) => match never {},
        };
        let last = match outcome {
            Ok(done) => serde_json::json!({ "event": "finished", result: done }),
            Err(error) => serde_json::json!({
                "event": "failed", "message": error.chain(), "hint": error.hint(),
                "exit_code": error.exit_code(),
            }),
        };
        let _ = sender.send(last.to_string());
    });
    let lines = futures::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let lines = lines.map(|line| Ok::<_, Infallible>(Bytes::from(line + "\n")));
    ([(header::CONTENT_TYPE, EVENTS)], Body::from_stream(lines)).into_response()
}
