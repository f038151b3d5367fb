//! The next price after some, by an imported model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use foretell_platform::{NO_LIST, PlatformError, PricesGiven, Service, prices_of};

use crate::problem::Problem;
use crate::wire;

fn prices(wish: &wire::Prices) -> Result<PricesGiven, PlatformError> {
    let list: Option<Vec<f64>> =
        wish.prices.as_array().and_then(|all| all.iter().map(serde_json::Value::as_f64).collect());
    let list = list.ok_or_else(|| PlatformError::Prices(NO_LIST.to_owned()))?;
    prices_of(&list, wish.newest_first)
}

/// The next price after some, with what it comes from.
#[utoipa::path(post, path = "/api/v1/predict", operation_id = "predict",
    request_body = wire::Prices,
    responses((status = 200, body = wire::Predicted), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn predict(
    State(service): State<Arc<Service>>,
    body: Result<Json<wire::Prices>, JsonRejection>,
) -> Result<Json<wire::Predicted>, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    Ok(Json(service.predict(wish.model.as_deref(), &prices(&wish)?).await?.into()))
}

/// The next price after some, as a number with five decimals and nothing else.
#[utoipa::path(post, path = "/predict_next_price", operation_id = "predict_next_price",
    request_body = wire::Prices,
    responses((status = 200, body = wire::NextPrice), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn next_price(
    State(service): State<Arc<Service>>,
    body: Result<Json<wire::Prices>, JsonRejection>,
) -> Result<Json<wire::NextPrice>, Problem> {
    let Json(wish) = body.map_err(|e| Problem::of_body(&e))?;
    let price = service.predict(wish.model.as_deref(), &prices(&wish)?).await?.price;
    Ok(Json(wire::NextPrice { result: (price * 1e5).round() / 1e5 }))
}
