//! The rivals that stand in every table: random walk, drift, seasonal naive,
//! historical mean, and the random walk whose spread follows an EWMA volatility.
//! They read context columns, never features.

use foretell_panel::{Dataset, Matrix};

use crate::estimator::check_training;
use crate::quantiles::centred_quantiles;
use crate::state::{check_finite, check_offsets, damaged};
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState, Quantiles, Schema,
};

/// Nine quantiles need some labels on each side; below this they are only extremes.
const MIN_ROWS: usize = 30;

/// The share of the typical volatility below which a forecast's volatility never falls.
const VOLATILITY_FLOOR: f64 = 0.01;

/// Learns a baseline.
#[derive(Debug)]
pub(crate) struct BaselineEstimator {
    spec: EstimatorSpec,
}

impl BaselineEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }
}

impl Estimator for BaselineEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    fn min_rows(&self) -> usize {
        MIN_ROWS
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        context.go_on(0, 1)?;
        check_training(self, train)?;
        let labels: Vec<f64> = train.labels.iter().map(|l| l.value).collect();
        let around =
            |centre: f64| centred_quantiles(&labels.iter().map(|y| y - centre).collect::<Vec<_>>());
        let column = || context_column(&self.spec, train);
        let state = match self.spec {
            EstimatorSpec::Drift => {
                let drift = drift_of(train);
                ModelState::Drift { drift, offsets: around(drift) }
            }
            EstimatorSpec::SeasonalNaive => {
                let residuals: Vec<f64> =
                    labels.iter().zip(column()?).map(|(y, season)| y - season).collect();
                ModelState::SeasonalNaive { offsets: centred_quantiles(&residuals) }
            }
            EstimatorSpec::HistoricalMean => {
                let mean = labels.iter().sum::<f64>() / labels.len() as f64;
                ModelState::HistoricalMean { mean, offsets: around(mean) }
            }
            EstimatorSpec::EwmaVolatility => {
                let variance = column()?;
                let floor = volatility_floor(&variance);
                let standardised: Vec<f64> =
                    labels.iter().zip(&variance).map(|(y, v)| y / volatility(*v, floor)).collect();
                ModelState::EwmaVolatility { floor, offsets: centred_quantiles(&standardised) }
            }
            _ => ModelState::RandomWalk { offsets: around(0.0) },
        };
        let fitted = Baseline::new(state, Schema::of(train))?;
        context.progress.steps(1, 1);
        Ok(Box::new(fitted))
    }
}

/// The values of the context column that an estimator reads.
///
/// # Errors
/// When the dataset does not have it.
pub(crate) fn context_column(
    spec: &EstimatorSpec,
    train: &Dataset,
) -> Result<Vec<f64>, ModelError> {
    let name = spec.context_column().unwrap_or_default();
    match train.context_index(name) {
        Some(j) => Ok(train.context.column(j)),
        None => {
            let (kind, column) = (spec.kind().to_owned(), name.to_owned());
            Err(ModelError::MissingContext { kind, column })
        }
    }
}

/// The volatility of a variance, not below a floor.
pub(crate) fn volatility(variance: f64, floor: f64) -> f64 {
    libm::sqrt(variance.max(0.0)).max(floor)
}

/// A small share of the typical volatility; 1 in a market that never moved.
pub(crate) fn volatility_floor(variance: &[f64]) -> f64 {
    let mean = variance.iter().map(|v| v.max(0.0)).sum::<f64>() / variance.len().max(1) as f64;
    if mean > 0.0 { VOLATILITY_FLOOR * libm::sqrt(mean) } else { 1.0 }
}

/// The slope of the line from the first to the last training price in logs, times the
/// horizon.
fn drift_of(train: &Dataset) -> f64 {
    let (Some(first), Some(last)) = (train.labels.first(), train.labels.last()) else {
        return 0.0;
    };
    let micros = last.start.micros() - first.start.micros();
    let rise = libm::log(train.base_prices[train.len() - 1] / train.base_prices[0]);
    let horizon = (train.horizon.secs() * 1_000_000) as f64;
    if micros > 0 { rise * horizon / micros as f64 } else { 0.0 }
}

/// A fitted baseline.
#[derive(Debug)]
pub(crate) struct Baseline {
    state: ModelState,
    schema: Schema,
    /// The position of the context column it reads.
    column: usize,
    /// Around the centre.
    offsets: [f64; LEVELS],
}

impl Baseline {
    /// From what was learnt.
    ///
    /// # Errors
    /// When a number is not finite, quantiles fall or the context column is absent.
    pub(crate) fn new(state: ModelState, schema: Schema) -> Result<Self, ModelError> {
        let needs = match &state {
            ModelState::SeasonalNaive { .. } => Some("seasonal_log_return"),
            ModelState::EwmaVolatility { .. } => Some("ewma_variance"),
            _ => None,
        };
        let column = match needs {
            None => 0,
            Some(name) => schema.context_index(name).ok_or_else(|| ModelError::MissingContext {
                kind: state.kind().to_owned(),
                column: name.to_owned(),
            })?,
        };
        let offsets = *match &state {
            ModelState::RandomWalk { offsets }
            | ModelState::Drift { offsets, .. }
            | ModelState::SeasonalNaive { offsets }
            | ModelState::HistoricalMean { offsets, .. }
            | ModelState::EwmaVolatility { offsets, .. } => offsets,
            other => {
                return Err(damaged("state.kind", &format!("{} is no baseline", other.kind())));
            }
        };
        check_offsets(&offsets)?;
        match &state {
            ModelState::Drift { drift, .. } => check_finite("drift", &[*drift])?,
            ModelState::HistoricalMean { mean, .. } => check_finite("mean", &[*mean])?,
            ModelState::EwmaVolatility { floor, .. } => check_finite("floor", &[*floor])?,
            _ => {}
        }
        Ok(Self { state, schema, column, offsets })
    }
}

impl Fitted for Baseline {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let place = |i: usize| match &self.state {
            ModelState::Drift { drift, .. } => (*drift, 1.0),
            ModelState::SeasonalNaive { .. } => (context.get(i, self.column), 1.0),
            ModelState::HistoricalMean { mean, .. } => (*mean, 1.0),
            ModelState::EwmaVolatility { floor, .. } => {
                (0.0, volatility(context.get(i, self.column), *floor))
            }
            _ => (0.0, 1.0),
        };
        Quantiles::located((0..context.rows()).map(place), &self.offsets)
    }

    fn state(&self) -> ModelState {
        self.state.clone()
    }

    fn importance(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}
