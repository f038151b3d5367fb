//! A forecast taken apart, on the wire.

use foretell_platform as platform;
use serde::Serialize;
use utoipa::ToSchema;

/// What one feature adds to a forecast.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeaturePart {
    feature: String,
    /// Its value at the decision; `null` where the model reads a window of it.
    value: Option<f64>,
    /// What it adds, basis points of log return.
    bp: f64,
}

/// A forecast taken apart: `base_bp`, all `parts` and `rest_bp` sum to `forecast_bp`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    forecast: String,
    instrument: String,
    /// The recipe that made it.
    recipe: String,
    model: String,
    version: u32,
    as_of: String,
    target_time: String,
    /// The last known price.
    base_price: f64,
    /// The price that is forecast.
    point: Option<f64>,
    /// What the model says when no feature is known, basis points of log return.
    base_bp: f64,
    /// What each feature adds, the largest first.
    parts: Vec<FeaturePart>,
    /// What belongs to no feature, basis points.
    rest_bp: f64,
    /// The log return that is forecast, basis points.
    forecast_bp: f64,
    historical_demo: bool,
}

impl From<platform::ExplanationView> for Explanation {
    fn from(v: platform::ExplanationView) -> Self {
        let part =
            |p: platform::FeaturePart| FeaturePart { feature: p.feature, value: p.value, bp: p.bp };
        Self {
            forecast: v.forecast,
            instrument: v.instrument.to_string(),
            recipe: v.recipe,
            model: v.model,
            version: v.version,
            as_of: v.as_of.to_string(),
            target_time: v.target_time.to_string(),
            base_price: v.base_price,
            point: v.point,
            base_bp: v.base_bp,
            parts: v.parts.into_iter().map(part).collect(),
            rest_bp: v.rest_bp,
            forecast_bp: v.forecast_bp,
            historical_demo: v.historical_demo,
        }
    }
}
