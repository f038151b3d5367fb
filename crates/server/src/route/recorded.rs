//! A recorded period of the live river: computed again, or played as a job.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use foretell_market::{Clock as _, Timestamp};
use foretell_platform::river::ReplayOptions;
use foretell_platform::{PlatformError, Service, Stop, SystemClock};

use super::runs::{stream, wants_events};
use crate::problem::Problem;
use crate::wire;

/// How often work looks whether the server ends.
const LOOK: Duration = Duration::from_millis(50);

/// Raises a stop when its caller has gone away.
struct Asked(Arc<Stop>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Work that is answered in one piece, until its caller goes away or the server ends.
async fn whole<T>(
    ending: &Stop,
    work: impl AsyncFnOnce(Arc<Stop>) -> Result<T, PlatformError>,
) -> Result<T, PlatformError> {
    let asked = Asked(Arc::default());
    let mut work = std::pin::pin!(work(Arc::clone(&asked.0)));
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LOOK) => if ending.is_stopped() { asked.0.stop() },
        }
    }
}

/// Computes a recorded period of the live river again in batch and compares bits. One parity
/// or replay at a time. With `Accept: application/x-ndjson` its progress is streamed; the last
/// line is `{"event":"finished","parity":…}` or as of `POST /api/v1/runs`.
#[utoipa::path(post, path = "/api/v1/river/parity", operation_id = "river_parity",
    request_body = wire::Period,
    responses(
        (status = 200, content((wire::Parity = "application/json"), (String = "application/x-ndjson"))),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn parity(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Json<wire::Period>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    let period: (Timestamp, Timestamp) = (wire::parse_one(&wish.from)?, wire::parse_one(&wish.to)?);
    let recorded = service.recorded(&wish.pipelines, wish.log.as_deref())?;
    let ending = service.stopping();
    if !wants_events(&headers) {
        let work = async |stop| recorded.parity(period, Arc::new(()), stop).await;
        let report = whole(&ending, work).await?;
        return Ok(Json(wire::Parity::from(report)).into_response());
    }
    Ok(stream(ending, "parity", async move |observer, stop| {
        let report = recorded.parity(period, observer, stop).await?;
        Ok(serde_json::json!(wire::Parity::from(report)))
    }))
}

/// Plays a recorded period of the live river again, as a job with topics of its own: trades,
/// candles, rows and forecasts, none of which reach registry, board or clients. One parity or
/// replay at a time. With `Accept: application/x-ndjson` its progress is streamed; the last
/// line is `{"event":"finished","replay":…}` or as of `POST /api/v1/runs`.
#[utoipa::path(post, path = "/api/v1/river/replay", operation_id = "river_replay",
    request_body = wire::Replay,
    responses(
        (status = 200, content((wire::Replayed = "application/json"), (String = "application/x-ndjson"))),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn replay(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Json<wire::Replay>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    let options = ReplayOptions {
        from: wire::parse_one(&wish.from)?,
        to: wire::parse_one(&wish.to)?,
        speed: wish.speed,
        job: wish.job.unwrap_or_else(|| ReplayOptions::new_job(SystemClock.now())),
        keep: wish.keep,
    };
    options.check()?;
    let version = wish.version;
    let recorded = service.recorded(&wish.pipelines, wish.log.as_deref())?;
    let ending = service.stopping();
    if !wants_events(&headers) {
        let work = async |stop| recorded.replay(options, version, Arc::new(()), stop).await;
        let report = whole(&ending, work).await?;
        return Ok(Json(wire::Replayed::from(report)).into_response());
    }
    Ok(stream(ending, "replay", async move |observer, stop| {
        let report = recorded.replay(options, version, observer, stop).await?;
        Ok(serde_json::json!(wire::Replayed::from(report)))
    }))
}
