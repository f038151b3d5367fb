//! The one function that makes forecasts.

use foretell_feature::FeatureRow;
use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_model::evaluate::CalibrationState;
use foretell_model::{LEVELS, MEDIAN, ModelError, QUANTILE_LEVELS};
use foretell_panel::Matrix;
use serde::{Deserialize, Serialize};

use crate::passport::{
    FORECAST_FORMAT, FeaturesUsed, ForecastInterval, InputQuality, ModelUsed, QuantilePrice,
};
use crate::{Forecast, ForecastError, ServedVersion, forecast_id};

/// How the interval is made, as passports name it.
const METHOD: &str = "adaptive-conformal";

/// The terms that forecasts of a pipeline are served on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long after the decision time it may be relied on.
    pub time_to_live: Interval,
    /// Whether the data is a past sample shown as it was at its end: age is told, but
    /// does not make it abstain.
    pub historical_demo: bool,
}

/// Forecasts from one row. The result depends on the arguments alone, to the bit.
///
/// A forecast that was made but may not be relied on abstains: its reason is in
/// [`Forecast::abstained`], its point and interval are left out. It abstains when the
/// version is past its refit cadence at the decision time, when a price would not be a
/// finite number, and when so many of the latest outcomes were missed that no bound
/// holds (its quantiles are kept then, so that calibration can recover). Past its time
/// to live it abstains when it is read, see [`crate::view()`].
///
/// The interval always holds the point: where calibration would narrow it past the
/// median of a skewed forecast, it ends at the median.
///
/// # Errors
/// When the row does not fit the version, the version has learnt from labels that end
/// after the decision, or `made_at` is before the inputs were known.
pub fn forecast(
    version: &ServedVersion,
    calibration: &CalibrationState,
    row: &FeatureRow,
    made_at: Timestamp,
    terms: &Terms,
) -> Result<Forecast, ForecastError> {
    version.check_row(row)?;
    if made_at < row.known_at {
        return Err(ForecastError::MadeTooEarly { made_at, known_at: row.known_at });
    }
    let numbers = match version.check_age(row.as_of) {
        Ok(()) => numbers(version, calibration, row)?,
        Err(error @ ForecastError::ModelTooOld { .. }) => Numbers::none(error.to_string()),
        Err(error) => return Err(error),
    };
    let (names, flags) = (row.flags.names(), row.flags);
    let late = flags.contains(RowFlags::LATE) || flags.contains(RowFlags::CORRECTED);
    Ok(Forecast {
        format: FORECAST_FORMAT,
        id: forecast_id(version, row.as_of, row.known_at),
        instrument: version.instrument.clone(),
        made_at,
        as_of: row.as_of,
        known_at: row.known_at,
        target_time: row.as_of + version.horizon,
        horizon: version.horizon,
        expires_at: row.as_of + terms.time_to_live,
        point: numbers.point,
        currency: version.instrument.quote().to_owned(),
        base_price: row.base_price,
        interval: numbers.interval,
        quantiles: numbers.quantiles,
        skill: version.skill.clone(),
        inputs: InputQuality {
            gaps_in_window: row.gaps_in_window,
            filled_in_window: row.filled_in_window,
            // A row carries the marks of its window or-ed: at least one, not how many.
            late_corrections: usize::from(late),
            out_of_range_share: version.out_of_range_share(&row.features),
            flags: names.into_iter().map(str::to_owned).collect(),
        },
        model: ModelUsed {
            name: version.name.clone(),
            version: version.version,
            alias: version.alias.clone(),
            hash: version.hash,
        },
        dataset: version.dataset,
        features: FeaturesUsed { set: row.feature_set, row: row.hash() },
        fitted_as_of: version.fitted_as_of,
        train_to: version.train_to,
        refitted_note: version.refitted_note(),
        includes_lock_box: version.includes_lock_box,
        historical_demo: terms.historical_demo,
        abstained: numbers.abstained,
    })
}

/// What the model and its calibration say.
struct Numbers {
    point: Option<f64>,
    interval: Option<ForecastInterval>,
    quantiles: Vec<QuantilePrice>,
    abstained: Option<String>,
}

impl Numbers {
    fn none(reason: String) -> Self {
        Self { point: None, interval: None, quantiles: Vec::new(), abstained: Some(reason) }
    }
}

fn numbers(
    version: &ServedVersion,
    calibration: &CalibrationState,
    row: &FeatureRow,
) -> Result<Numbers, ForecastError> {
    let features = Matrix::new(1, row.features.len(), row.features.clone());
    let context = Matrix::new(1, row.context.len(), row.context.clone());
    let not_finite = || {
        let label = version.label();
        Numbers::none(format!("{label} gave a price that is not a finite number: retrain it"))
    };
    let predicted = match version.model.predict(&features, &context) {
        Ok(predicted) => predicted,
        // The inputs have been checked: it is the output that is not finite.
        Err(ModelError::NotFinite { .. } | ModelError::ImpossibleAnswer { .. }) => {
            return Ok(not_finite());
        }
        Err(error) => return Err(error.into()),
    };
    let returns = predicted.row(0);
    let Some(prices) = prices(row.base_price, returns) else { return Ok(not_finite()) };
    let quantiles: Vec<QuantilePrice> = (0..LEVELS)
        .map(|i| QuantilePrice {
            level: QUANTILE_LEVELS[i],
            price: prices[i],
            log_return: returns[i],
        })
        .collect();
    if calibration.covers_all() {
        let reason = format!(
            "so many of the latest outcomes were missed that no interval can be given at {} %",
            100.0 * calibration.level()
        );
        return Ok(Numbers { quantiles, ..Numbers::none(reason) });
    }
    let point = prices[MEDIAN];
    let (lower, upper) = calibration.interval(returns);
    let (lower, upper) = (price(row.base_price, lower), price(row.base_price, upper));
    if !is_price(lower) || !is_price(upper) {
        return Ok(not_finite());
    }
    let (realised, over) = calibration.realised_coverage();
    let interval = ForecastInterval {
        level: calibration.level(),
        lower: lower.min(point),
        upper: upper.max(point),
        method: METHOD.to_owned(),
        realised_coverage: realised.is_finite().then_some(realised),
        over,
    };
    Ok(Numbers { point: Some(point), interval: Some(interval), quantiles, abstained: None })
}

/// The prices of nine rising log returns; `None` when one is not a finite positive
/// number.
fn prices(base: f64, returns: &[f64]) -> Option<Vec<f64>> {
    let mut highest = 0.0f64;
    let mut prices = Vec::with_capacity(returns.len());
    for log_return in returns {
        // `exp` is exact to a unit in the last place only, so it may fall by one.
        highest = highest.max(price(base, *log_return));
        prices.push(highest);
    }
    prices.iter().all(|p| is_price(*p)).then_some(prices)
}

/// `libm`, so that the bits are the same on every machine.
fn price(base: f64, log_return: f64) -> f64 {
    base * libm::exp(log_return)
}

fn is_price(value: f64) -> bool {
    value.is_finite() && value > 0.0
}
