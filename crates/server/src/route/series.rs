//! What is known: instruments and their candles.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use foretell_platform::{CandleRange, LiveRowQuery, Service};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Segment;
use crate::problem::Problem;
use crate::wire;

/// The instrument of every pipeline, with that pipeline's own rows.
#[utoipa::path(get, path = "/api/v1/instruments",
    responses((status = 200, body = Vec<wire::Instrument>)))]
pub(crate) async fn instruments(
    State(service): State<Arc<Service>>,
) -> Result<Json<Vec<wire::Instrument>>, Problem> {
    Ok(Json(service.instruments().await?.into_iter().map(Into::into).collect()))
}

/// Which candles.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CandleQuery {
    /// The pipeline whose rows are meant; the one whose forecast would be served when
    /// left out.
    pipeline: Option<String>,
    /// Interval, when the instrument has several: `1h`, `1d`.
    interval: Option<String>,
    /// First open time, RFC 3339 or a date (UTC).
    from: Option<String>,
    /// First open time after the last.
    to: Option<String>,
    /// The latest so many, 1 to 10,000 (500 when left out).
    limit: Option<usize>,
}

/// Clean candles in time order.
#[utoipa::path(get, path = "/api/v1/candles/{instrument}",
    params(("instrument" = String, Path, description = "Such as BTC-USD."), CandleQuery),
    responses((status = 200, body = wire::Candles), (status = 404, body = Problem)))]
pub(crate) async fn candles(
    State(service): State<Arc<Service>>,
    Segment(instrument): Segment,
    query: Result<Query<CandleQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<wire::Candles>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let limit = query.limit.unwrap_or(500);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::bad_request("`limit` must be from 1 to 10,000"));
    }
    let range = CandleRange {
        pipeline: query.pipeline,
        interval: wire::parse(query.interval.as_deref())?,
        from: wire::parse(query.from.as_deref())?,
        to: wire::parse(query.to.as_deref())?,
        limit,
    };
    let instrument = wire::parse_one(&instrument)?;
    Ok(Json(service.candles(&instrument, &range).await?.into()))
}

/// Which feature row.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureQuery {
    /// The step of its grid: `1m`, `1h`; the shortest that has a row when left out.
    interval: Option<String>,
    /// The instant as of which it is wanted, RFC 3339 (UTC): the newest row that was known
    /// then, in the version that was known then. The present when left out.
    at: Option<String>,
    /// Of one pipeline of the river, where several follow the instrument; the row of the newest
    /// decision when left out.
    pipeline: Option<String>,
}

/// The newest feature row of the live river, or the one as of an instant: the bytes of its
/// record of the topic `feature`.
#[utoipa::path(get, path = "/api/v1/features/{instrument}", operation_id = "show_features",
    params(("instrument" = String, Path, description = "Such as BTC-USD."), FeatureQuery),
    responses((status = 200, body = wire::FeatureRecord), (status = 404, body = Problem)))]
pub(crate) async fn features(
    State(service): State<Arc<Service>>,
    Segment(instrument): Segment,
    query: Result<Query<FeatureQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let asked = LiveRowQuery {
        interval: wire::parse(query.interval.as_deref())?,
        at: wire::parse(query.at.as_deref())?,
        pipeline: query.pipeline,
    };
    let row = service.live_row(&wire::parse_one(&instrument)?, &asked).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], row))
}
