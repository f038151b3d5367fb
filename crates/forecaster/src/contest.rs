//! A champion and its challengers on the same decision: one is served, all are judged.
//!
//! Who becomes champion is decided by the promotion rule, never here.

use foretell_feature::FeatureRow;
use foretell_market::Timestamp;
use foretell_model::evaluate::CalibrationState;

use crate::{Forecast, ForecastError, ServedVersion, Terms, forecast};

/// A version with its own calibration and its own row: versions may have different
/// feature sets.
#[derive(Debug, Clone, Copy)]
pub struct Entrant<'a> {
    /// The version.
    pub version: &'a ServedVersion,
    /// Its calibration.
    pub calibration: &'a CalibrationState,
    /// Its row of the decision.
    pub row: &'a FeatureRow,
}

/// What everyone said of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Contest {
    /// The champion's forecast: the one that is served, even when it abstains.
    pub served: Forecast,
    /// The challengers' forecasts, in the order given: recorded and judged, never
    /// served. One that failed stops nobody else.
    pub shadow: Vec<Result<Forecast, ForecastError>>,
}

impl Contest {
    /// Every forecast that was made, with whether it is the one that is served.
    pub fn all(&self) -> impl Iterator<Item = (&Forecast, bool)> {
        let shadow = self.shadow.iter().filter_map(|made| made.as_ref().ok());
        std::iter::once((&self.served, true)).chain(shadow.map(|forecast| (forecast, false)))
    }
}

/// Lets the champion and its challengers forecast.
///
/// # Errors
/// When the champion cannot forecast; see [`forecast()`].
pub fn contest(
    champion: Entrant<'_>,
    challengers: &[Entrant<'_>],
    made_at: Timestamp,
    terms: &Terms,
) -> Result<Contest, ForecastError> {
    let make = |entrant: &Entrant<'_>| {
        forecast(entrant.version, entrant.calibration, entrant.row, made_at, terms)
    };
    let served = make(&champion)?;
    let shadow = challengers.iter().map(make).collect();
    Ok(Contest { served, shadow })
}
