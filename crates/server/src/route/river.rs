//! The live river: feeds, lag, findings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use foretell_platform::Service;

use crate::problem::Problem;
use crate::wire;

/// The live river of this process: what its feeds have counted, how far its consumer groups
/// are behind, and what feeds found wrong.
#[utoipa::path(get, path = "/api/v1/river", operation_id = "show_river",
    responses((status = 200, body = wire::River), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
) -> Result<Json<wire::River>, Problem> {
    let none = || Problem::not_found("no river runs here: start one with `foretell up`".to_owned());
    Ok(Json(service.river().await.ok_or_else(none)?.into()))
}
