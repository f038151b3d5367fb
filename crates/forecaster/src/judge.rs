//! What came of a forecast. Whoever calls hands over an outcome only once it is known.

use foretell_model::evaluate::CalibrationState;
use serde::{Deserialize, Serialize};

use crate::{Awaited, Forecast, ForecastError};

/// A forecast against its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The price that came.
    pub outcome: f64,
    /// Its log return from the base price.
    pub log_return: f64,
    /// Absolute error of the median log return.
    pub error: f64,
    /// The same error of a random walk.
    pub random_walk_error: f64,
    /// Whether the interval held it; `None` when none was given.
    pub covered: Option<bool>,
}

/// Compares a forecast with the price at its target time.
///
/// # Errors
/// When the price is not a positive number, or the forecast holds no quantiles.
pub fn judge(forecast: &Forecast, outcome: f64) -> Result<Judgement, ForecastError> {
    Awaited::from(forecast).judge(outcome)
}

/// [`judge`], and takes the outcome into the calibration. Forecasts are handed over in
/// the order of their target times, each once.
///
/// # Errors
/// As [`judge`]; the calibration is then as it was.
pub fn observe(
    calibration: &mut CalibrationState,
    forecast: &Forecast,
    outcome: f64,
) -> Result<Judgement, ForecastError> {
    Awaited::from(forecast).observe(calibration, outcome)
}
