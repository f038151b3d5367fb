//! Gaps: what is missing in the rows, since when, and what was filled.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use foretell_platform::{GapQuery, Service};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Segment;
use crate::problem::Problem;
use crate::wire;

/// Which gaps.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct GapsQuery {
    /// Of one pipeline.
    pipeline: Option<String>,
    /// `true`: only those that are still missing.
    #[serde(default)]
    open: bool,
    /// The latest so many, 1 to 10,000 (500 when left out).
    limit: Option<u32>,
}

type Asked = Result<Query<GapsQuery>, QueryRejection>;

/// Gaps of an instrument in time order: the open ones, and those that a later run found
/// filled.
#[utoipa::path(get, path = "/api/v1/gaps/{instrument}", operation_id = "list_gaps_of_instrument",
    params(("instrument" = String, Path, description = "Such as BTC-USD."), GapsQuery),
    responses((status = 200, body = Vec<wire::Gap>), (status = 404, body = Problem)))]
pub(crate) async fn of_instrument(
    State(service): State<Arc<Service>>,
    Segment(instrument): Segment,
    query: Asked,
) -> Result<Json<Vec<wire::Gap>>, Problem> {
    let instrument = wire::parse_one(&instrument)?;
    answer(&service, GapQuery { instrument: Some(instrument), ..read(query)? }).await
}

/// Gaps of every instrument in time order.
#[utoipa::path(get, path = "/api/v1/gaps", operation_id = "list_gaps", params(GapsQuery),
    responses((status = 200, body = Vec<wire::Gap>), (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    query: Asked,
) -> Result<Json<Vec<wire::Gap>>, Problem> {
    answer(&service, read(query)?).await
}

fn read(query: Asked) -> Result<GapQuery, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let limit = query.limit.unwrap_or(500);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::bad_request("`limit` must be from 1 to 10,000"));
    }
    let GapsQuery { pipeline, open, .. } = query;
    Ok(GapQuery { instrument: None, pipeline, open, limit: Some(limit) })
}

async fn answer(service: &Service, query: GapQuery) -> Result<Json<Vec<wire::Gap>>, Problem> {
    Ok(Json(service.gaps(&query).await?.into_iter().map(Into::into).collect()))
}
