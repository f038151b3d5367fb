//! What a reader sees of a forecast at a given instant.

use foretell_market::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Forecast;

/// A forecast as read at some instant. Past its time to live it abstains: the numbers
/// are left out, the record keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastView {
    /// The forecast, with what an abstention takes away taken away.
    #[serde(flatten)]
    pub forecast: Forecast,
    /// Whole seconds from its decision time to the reading; never below 0.
    pub age_seconds: i64,
}

/// How a forecast reads at `now`. A historical demo does not expire.
pub fn view(forecast: &Forecast, now: Timestamp) -> ForecastView {
    let mut forecast = forecast.clone();
    let age_seconds = (now.secs() - forecast.as_of.secs()).max(0);
    if now >= forecast.expires_at && !forecast.historical_demo && forecast.abstained.is_none() {
        forecast.abstained = Some(format!(
            "it was decided at {} and held until {}: newer data has not come in, see the feed",
            forecast.as_of.human(),
            forecast.expires_at.human()
        ));
    }
    if forecast.abstained.is_some() {
        forecast.point = None;
        forecast.interval = None;
        forecast.quantiles.clear();
    }
    ForecastView { forecast, age_seconds }
}
