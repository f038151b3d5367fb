//! The OpenAPI document, made from the handlers.

use utoipa::OpenApi;

use crate::route;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foretell",
        description = "Honest forecasts for markets. Times are RFC 3339 in UTC; prices are in \
                       the quote currency; errors are problem+json (RFC 9457)."
    ),
    paths(
        route::health,
        route::metrics,
        route::instruments,
        route::candles,
        route::latest,
        route::by_id,
        route::verify,
        route::gaps,
        route::of_instrument,
        route::models,
        route::model,
        route::promote,
        route::runs,
        route::start,
        route::show,
        route::reproduce
    )
)]
struct Document;

/// The OpenAPI document of this version.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
