//! Health, metrics, the OpenAPI document and the reports of runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use foretell_platform::Service;

use super::App;
use crate::problem::Problem;
use crate::wire;

/// Whether the service answers.
#[utoipa::path(get, path = "/health", responses((status = 200, body = wire::Health)))]
pub(crate) async fn health(State(service): State<Arc<Service>>) -> Json<wire::Health> {
    Json(service.health().into())
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    for served in app.service.served() {
        let (instrument, horizon) = (served.instrument.as_str(), served.horizon.to_string());
        app.metrics.forecast_age(instrument, &horizon, served.age_seconds as f64);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render())
}

/// The OpenAPI document.
pub(crate) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
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

/// The report of the latest run.
pub(crate) async fn latest_report(
    State(service): State<Arc<Service>>,
) -> Result<impl IntoResponse, Problem> {
    Ok(page(service.latest_report().await?))
}

/// The report of a run.
pub(crate) async fn report(
    State(service): State<Arc<Service>>,
    Path(run): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(page(service.report(&run).await?))
}
