//! Models: their versions and which one serves.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use foretell_platform::Service;

use crate::problem::Problem;
use crate::wire;

/// Every version of every model, newest first.
#[utoipa::path(get, path = "/api/v1/models", responses((status = 200, body = Vec<wire::Model>)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<wire::Model>>, Problem> {
    Ok(Json(service.models().await?.into_iter().map(Into::into).collect()))
}

/// Makes a version the champion by hand; the audit trail keeps who and when.
#[utoipa::path(post, path = "/api/v1/models/{name}/promote", request_body = wire::Promote,
    responses((status = 200, body = wire::Model), (status = 404, body = Problem)))]
pub(crate) async fn promote(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    body: Result<Json<wire::Promote>, JsonRejection>,
) -> Result<Json<wire::Model>, Problem> {
    let Json(wish) = body.map_err(|e| Problem::bad_request(e.body_text()))?;
    Ok(Json(service.promote(&name, wish.version).await?.into()))
}
