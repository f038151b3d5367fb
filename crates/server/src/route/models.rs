//! Models: their versions and which one serves.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use foretell_platform::Service;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Segment;
use crate::problem::Problem;
use crate::wire;

/// Every version of every model, newest first.
#[utoipa::path(get, path = "/api/v1/models", operation_id = "list_models",
    responses((status = 200, body = Vec<wire::Model>)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<wire::Model>>, Problem> {
    Ok(Json(service.models().await?.into_iter().map(Into::into).collect()))
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionQuery {
    /// Its number; the champion when left out.
    version: Option<u32>,
}

/// One version of a model with its evidence.
#[utoipa::path(get, path = "/api/v1/models/{name}", operation_id = "show_model",
    params(("name" = String, Path, description = "Its pipeline's name."), VersionQuery),
    responses((status = 200, body = wire::ModelDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
    Segment(name): Segment,
    query: Result<Query<VersionQuery>, QueryRejection>,
) -> Result<Json<wire::ModelDetail>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    Ok(Json(service.model_detail(&name, query.version).await?.into()))
}

/// The stored bytes of one version: safetensors of a model with weights, else JSON.
#[utoipa::path(get, path = "/api/v1/models/{name}/file", operation_id = "model_file",
    params(("name" = String, Path, description = "Its pipeline's name."), VersionQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem)))]
pub(crate) async fn file(
    State(service): State<Arc<Service>>,
    Segment(name): Segment,
    query: Result<Query<VersionQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let bytes = service.model_file(&name, query.version).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}

/// Makes a version the champion by hand; the audit trail keeps who and when.
#[utoipa::path(post, path = "/api/v1/models/{name}/promote", operation_id = "promote_model",
    params(("name" = String, Path, description = "Its pipeline's name.")),
    request_body = wire::Promote,
    responses((status = 200, body = wire::Model), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn promote(
    State(service): State<Arc<Service>>,
    Segment(name): Segment,
    body: Result<Json<wire::Promote>, JsonRejection>,
) -> Result<Json<wire::Model>, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    Ok(Json(service.promote(&name, wish.version).await?.into()))
}
