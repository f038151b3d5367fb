//! Health, metrics, the OpenAPI document and the reports of runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use foretell_platform::Service;

use super::{App, Segment};
use crate::problem::Problem;
use crate::wire;

/// Whether the service answers.
#[utoipa::path(get, path = "/health", responses((status = 200, body = wire::Health)))]
pub(crate) async fn health(State(service): State<Arc<Service>>) -> Json<wire::Health> {
    Json(service.health().into())
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    for served in app.service.served() {
        app.metrics.forecast_age(&served);
    }
    if let Some(river) = app.service.river().await {
        app.metrics.river(&river);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render())
}

/// The OpenAPI document.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Object)))]
pub(crate) async fn openapi() -> Json<serde_json::Value> {
    Json(crate::openapi::document())
}

/// Nothing of a report comes from elsewhere, and its page may load nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn page(html: String) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(html))
}

/// The report of the latest run that made one, a page without a network.
#[utoipa::path(get, path = "/",
    responses((status = 200, body = String, content_type = "text/html"),
        (status = 404, body = Problem)))]
pub(crate) async fn latest_report(
    State(service): State<Arc<Service>>,
) -> Result<impl IntoResponse, Problem> {
    Ok(page(service.latest_report().await?))
}

/// The report of a run, by its id or the beginning of it.
#[utoipa::path(get, path = "/reports/{run}",
    params(("run" = String, Path, description = "The run's id or its beginning.")),
    responses((status = 200, body = String, content_type = "text/html"),
        (status = 404, body = Problem)))]
pub(crate) async fn report(
    State(service): State<Arc<Service>>,
    Segment(run): Segment,
) -> Result<impl IntoResponse, Problem> {
    Ok(page(service.report(&run).await?))
}
