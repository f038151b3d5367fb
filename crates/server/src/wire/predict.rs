//! Prices in, the next one out.

use foretell_platform as platform;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Prices from which the next one is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// As many as the model reads, above 0, the oldest first.
    #[serde(default)]
    #[schema(value_type = Vec<f64>)]
    pub(crate) prices: serde_json::Value,
    /// Whether the first price is the newest instead.
    #[serde(default)]
    pub(crate) newest_first: bool,
    /// The imported model; the only one when left out.
    #[serde(default)]
    pub(crate) model: Option<String>,
}

/// The next price and nothing else.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextPrice {
    /// The price, five decimals.
    pub(crate) result: f64,
}

/// The next price, with what it comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Predicted {
    /// The model.
    model: String,
    /// Its hash.
    hash: String,
    /// The next price.
    price: f64,
    /// The latest of the prices given.
    latest: f64,
    /// `increases`, `decreases` or `stays`, against the latest.
    direction: String,
}

impl From<platform::Predicted> for Predicted {
    fn from(p: platform::Predicted) -> Self {
        let platform::Predicted { model, hash, price, latest, direction } = p;
        let direction = match direction {
            platform::Direction::Increases => "increases",
            platform::Direction::Decreases => "decreases",
            platform::Direction::Stays => "stays",
        };
        Self { model, hash, price, latest, direction: direction.to_owned() }
    }
}
