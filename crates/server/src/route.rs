//! Every address of the API and the use case behind it.

mod forecasts;
mod gaps;
mod models;
mod pages;
mod runs;
mod series;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use foretell_platform::Service;
use tower_http::limit::RequestBodyLimitLayer;

use crate::metrics::Metrics;
use crate::problem::Problem;

pub(crate) use forecasts::{__path_by_id, __path_latest, __path_verify};
pub(crate) use gaps::{__path_list as __path_gaps, __path_of_instrument};
pub(crate) use models::{
    __path_list as __path_models, __path_promote, __path_show as __path_model,
};
pub(crate) use pages::{__path_health, __path_metrics};
pub(crate) use runs::{__path_list as __path_runs, __path_reproduce, __path_show, __path_start};
pub(crate) use series::{__path_candles, __path_instruments};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
}

impl FromRef<App> for Arc<Service> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.service)
    }
}

/// Largest request body: a pipeline file is a few kilobytes.
const MAX_BODY: usize = 1 << 20;

pub(crate) fn router(service: Arc<Service>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/", get(pages::latest_report))
        .route("/reports/{run}", get(pages::report))
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/api/openapi.json", get(pages::openapi))
        .route("/api/v1/instruments", get(series::instruments))
        .route("/api/v1/candles/{instrument}", get(series::candles))
        .route("/api/v1/forecasts/{instrument}", get(forecasts::latest))
        .route("/api/v1/forecast/{id}", get(forecasts::by_id))
        .route("/api/v1/forecast/{id}/verify", post(forecasts::verify))
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/gaps", get(gaps::list))
        .route("/api/v1/gaps/{instrument}", get(gaps::of_instrument))
        .route("/api/v1/models/{name}", get(models::show))
        .route("/api/v1/models/{name}/promote", post(models::promote))
        .route("/api/v1/runs", get(runs::list).post(runs::start))
        .route("/api/v1/runs/{id}", get(runs::show))
        .route("/api/v1/runs/{id}/reproduce", post(runs::reproduce))
        .fallback(|uri: Uri| async move {
            Problem::not_found(format!("nothing is at {}: see /api/openapi.json", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::method_not_allowed(format!("{method} is not answered at {}", uri.path()))
        })
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .with_state(App { service, metrics })
}
