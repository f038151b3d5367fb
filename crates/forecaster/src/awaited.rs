//! What a forecast waits for: the little of it that its outcome is judged by.

use foretell_market::{Instrument, Timestamp};
use foretell_model::MEDIAN;
use foretell_model::evaluate::CalibrationState;
use serde::{Deserialize, Serialize};

use crate::{Forecast, ForecastError, Judgement};

/// A forecast whose outcome is not known yet, small enough to be kept by the thousand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    /// The forecast's id.
    pub id: String,
    /// Its instrument.
    pub instrument: Instrument,
    /// Its decision time (UTC).
    pub as_of: Timestamp,
    /// When its inputs were known (UTC).
    pub known_at: Timestamp,
    /// The time it speaks of (UTC).
    pub target_time: Timestamp,
    /// The price that its quantiles are returns from.
    pub base_price: f64,
    /// The prices between which the outcome is expected; `None` when it abstained.
    pub interval: Option<(f64, f64)>,
    /// The model's nine quantiles as log returns; empty when there are none.
    pub log_returns: Vec<f64>,
}

impl From<&Forecast> for Awaited {
    fn from(forecast: &Forecast) -> Self {
        Self {
            id: forecast.id.clone(),
            instrument: forecast.instrument.clone(),
            as_of: forecast.as_of,
            known_at: forecast.known_at,
            target_time: forecast.target_time,
            base_price: forecast.base_price,
            interval: forecast.interval.as_ref().map(|i| (i.lower, i.upper)),
            log_returns: forecast.log_returns(),
        }
    }
}

impl Awaited {
    /// Compares the forecast with the price at its target time.
    ///
    /// # Errors
    /// When the price is not a positive number, or the forecast holds no quantiles.
    pub fn judge(&self, outcome: f64) -> Result<Judgement, ForecastError> {
        let id = || self.id.clone();
        if !(outcome.is_finite() && outcome > 0.0) {
            return Err(ForecastError::Outcome { id: id(), value: outcome });
        }
        let Some(median) = self.log_returns.get(MEDIAN) else {
            let instrument = self.instrument.clone();
            return Err(ForecastError::NothingToJudge { id: id(), instrument });
        };
        let log_return = libm::log(outcome / self.base_price);
        let holds = |(lower, upper): (f64, f64)| lower <= outcome && outcome <= upper;
        Ok(Judgement {
            outcome,
            log_return,
            error: (median - log_return).abs(),
            random_walk_error: log_return.abs(),
            covered: self.interval.map(holds),
        })
    }

    /// [`Awaited::judge()`], and takes the outcome into the calibration. Forecasts are handed
    /// over in the order of their target times, each once.
    ///
    /// # Errors
    /// As [`Awaited::judge()`]; the calibration is then as it was.
    pub fn observe(
        &self,
        calibration: &mut CalibrationState,
        outcome: f64,
    ) -> Result<Judgement, ForecastError> {
        let judgement = self.judge(outcome)?;
        calibration.update(&self.log_returns, judgement.log_return);
        Ok(judgement)
    }
}
