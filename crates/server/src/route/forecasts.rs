//! Forecasts: the latest, one by its id, and its proof.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use foretell_platform::Service;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, Segment};
use crate::problem::Problem;
use crate::wire;

/// Which forecast.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastQuery {
    /// Horizon, such as `1h`; the shortest when left out.
    horizon: Option<String>,
    /// The pipeline, when several forecast the same; the one with the latest decision
    /// when left out.
    pipeline: Option<String>,
}

/// The latest forecast of an instrument, with its passport.
#[utoipa::path(get, path = "/api/v1/forecasts/{instrument}", operation_id = "latest_forecast",
    params(("instrument" = String, Path, description = "Such as BTC-USD."), ForecastQuery),
    responses((status = 200, body = wire::Forecast), (status = 404, body = Problem)))]
pub(crate) async fn latest(
    State(app): State<App>,
    Segment(instrument): Segment,
    query: Result<Query<ForecastQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<wire::Forecast>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let instrument = wire::parse_one(&instrument)?;
    let horizon = wire::parse(query.horizon.as_deref())?;
    let view = app.service.forecast(&instrument, horizon, query.pipeline.as_deref())?;
    let forecast = wire::Forecast::from(view);
    app.metrics.forecast_read(&forecast.model.name);
    Ok(Json(forecast))
}

/// One forecast by its id.
#[utoipa::path(get, path = "/api/v1/forecast/{id}", operation_id = "show_forecast",
    params(("id" = String, Path, description = "The forecast's id or its beginning.")),
    responses((status = 200, body = wire::Forecast), (status = 404, body = Problem)))]
pub(crate) async fn by_id(
    State(service): State<Arc<Service>>,
    Segment(id): Segment,
) -> Result<Json<wire::Forecast>, Problem> {
    Ok(Json(service.forecast_by_id(&id).await?.into()))
}

/// What each feature added to a forecast, in basis points of log return: base, parts and rest
/// sum to the forecast.
#[utoipa::path(get, path = "/api/v1/forecast/{id}/explanation", operation_id = "explain_forecast",
    params(("id" = String, Path, description = "The forecast's id or its beginning.")),
    responses((status = 200, body = wire::Explanation), (status = 404, body = Problem)))]
pub(crate) async fn explain(
    State(service): State<Arc<Service>>,
    Segment(id): Segment,
) -> Result<Json<wire::Explanation>, Problem> {
    Ok(Json(service.explain(&id).await?.into()))
}

/// Recomputes a forecast from the raw rows and compares it bit by bit.
#[utoipa::path(post, path = "/api/v1/forecast/{id}/verify", operation_id = "verify_forecast",
    params(("id" = String, Path, description = "The forecast's id or its beginning.")),
    responses((status = 200, body = wire::Proof), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(crate) async fn verify(
    State(service): State<Arc<Service>>,
    Segment(id): Segment,
) -> Result<Json<wire::Proof>, Problem> {
    Ok(Json(service.verify(&id).await?.into()))
}
