//! Searches for settings: every trial of a run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use foretell_platform::Service;

use super::Segment;
use crate::problem::Problem;
use crate::wire;

/// The searches of a run by its id or the beginning of it, or those of the latest run of a
/// pipeline that searched, by its name.
#[utoipa::path(get, path = "/api/v1/searches/{of}", operation_id = "show_searches",
    params(("of" = String, Path, description = "A run's id or its beginning, or a pipeline's name.")),
    responses((status = 200, body = wire::Searches), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
    Segment(of): Segment,
) -> Result<Json<wire::Searches>, Problem> {
    Ok(Json(service.searches(&of).await?.into()))
}
