//! Runs: what was done, and starting one.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use foretell_platform::{Event, Observer, Pipeline, PlatformError, RunOptions, Service, Stop};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::problem::Problem;
use crate::wire;

/// The latest runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", responses((status = 200, body = Vec<wire::Run>)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<wire::Run>>, Problem> {
    Ok(Json(service.runs().await?.into_iter().map(Into::into).collect()))
}

/// One run with its parameters and metrics.
#[utoipa::path(get, path = "/api/v1/runs/{id}",
    responses((status = 200, body = wire::RunDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<wire::RunDetail>, Problem> {
    Ok(Json(service.run_detail(&id).await?.into()))
}

/// Retrains a run and compares the hashes.
#[utoipa::path(post, path = "/api/v1/runs/{id}/reproduce",
    responses((status = 200, body = wire::Proof), (status = 404, body = Problem)))]
pub(crate) async fn reproduce(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<wire::Proof>, Problem> {
    let stop = service.stopping();
    Ok(Json(service.reproduce(&id, Arc::new(()), stop).await?.into()))
}

/// Sends events into the response as they happen.
struct Lines {
    sender: mpsc::UnboundedSender<String>,
    stop: Arc<Stop>,
    whole: Arc<Stop>,
}

impl Observer for Lines {
    fn event(&self, event: Event) {
        let line = serde_json::to_string(&event).unwrap_or_default();
        // A caller that has gone away, and a server that ends, cancel the run at its next
        // safe point; what it committed is kept.
        if self.sender.send(line).is_err() || self.whole.is_stopped() {
            self.stop.stop();
        }
    }
}

/// Starts a run and streams its events, one JSON object a line; the last line is
/// `{"event":"finished","report":…}` or `{"event":"failed","message":…}`.
#[utoipa::path(post, path = "/api/v1/runs", request_body = wire::StartRun,
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(crate) async fn start(
    State(service): State<Arc<Service>>,
    body: Result<Json<wire::StartRun>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wish) = body.map_err(|e| Problem::bad_request(e.body_text()))?;
    let file = PathBuf::from(&wish.file);
    let pipeline = Pipeline::parse(&wish.text, &file).map_err(PlatformError::from)?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let mended = wish.mended.map(serde_json::from_value).transpose();
    let mended = mended.map_err(|e| Problem::bad_request(format!("`mended`: {e}")))?;
    let options = RunOptions { require_skill: wish.require_skill, lock_box: wish.lock_box, mended };
    tokio::spawn(async move {
        let stop = Arc::new(Stop::default());
        let observer: Arc<dyn Observer> = Arc::new(Lines {
            sender: sender.clone(),
            stop: Arc::clone(&stop),
            whole: service.stopping(),
        });
        let last = match service.run(pipeline, options, observer, stop).await {
            Ok(report) => serde_json::json!({ "event": "finished", "report": report }),
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
    let lines = lines.map(|line| Ok::<_, std::convert::Infallible>(Bytes::from(line + "\n")));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}
