//! What a fit learnt, as plain data that can be stored, hashed and used again.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::boosting::{Boosting, BoostingState};
use crate::ensemble::{Ensemble, EnsembleState};
use crate::forest::{Forest, ForestState};
use crate::neural::{Neural, NeuralState};
use crate::ridge::{Ridge, RidgeState};
use crate::{Fitted, LEVELS, ModelError, Schema};

/// What a fitted model knows. All numbers are finite; log returns unless said
/// otherwise. `offsets` are the nine quantiles around the centre of a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
// Not tagged inside: 32-bit numbers would be read by way of 64 and could lose a bit.
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelState {
    /// Centre 0.
    RandomWalk {
        /// Around the centre.
        offsets: [f64; LEVELS],
    },
    /// A constant centre: the drift per horizon.
    Drift {
        /// The drift over one horizon.
        drift: f64,
        /// Around the centre.
        offsets: [f64; LEVELS],
    },
    /// The centre is context `seasonal_log_return`.
    SeasonalNaive {
        /// Around the centre.
        offsets: [f64; LEVELS],
    },
    /// A constant centre: the mean label.
    HistoricalMean {
        /// The mean label.
        mean: f64,
        /// Around the centre.
        offsets: [f64; LEVELS],
    },
    /// Centre 0, spread by the root of context `ewma_variance`.
    EwmaVolatility {
        /// The smallest volatility that is used, so that a flat market has a spread.
        floor: f64,
        /// Around the centre, in units of the volatility.
        offsets: [f64; LEVELS],
    },
    /// A linear regression.
    Ridge(RidgeState),
    /// Bagged trees.
    RandomForest(ForestState),
    /// Boosted trees.
    GradientBoosting(BoostingState),
    /// A neural network.
    Neural(NeuralState),
    /// An equal-weight mean.
    Mean(EnsembleState),
    /// A stacked ensemble.
    Stacking(EnsembleState),
}

impl ModelState {
    /// The kind of estimator that learnt it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RandomWalk { .. } => "random_walk",
            Self::Drift { .. } => "drift",
            Self::SeasonalNaive { .. } => "seasonal_naive",
            Self::HistoricalMean { .. } => "historical_mean",
            Self::EwmaVolatility { .. } => "ewma_volatility",
            Self::Ridge(_) => "ridge",
            Self::RandomForest(_) => "random_forest",
            Self::GradientBoosting(_) => "gradient_boosting",
            Self::Neural(state) => state.kind(),
            Self::Mean(_) => "mean",
            Self::Stacking(_) => "stacking",
        }
    }

    /// What the members of an ensemble learnt; empty for every other kind.
    pub fn members(&self) -> &[Self] {
        match self {
            Self::Mean(state) | Self::Stacking(state) => &state.members,
            _ => &[],
        }
    }

    /// The model that knows this, on rows with these columns.
    ///
    /// # Errors
    /// When numbers are not finite, quantiles fall, or parts do not fit together.
    pub fn into_fitted(self, schema: Schema) -> Result<Box<dyn Fitted>, ModelError> {
        Ok(match self {
            Self::Ridge(state) => Box::new(Ridge::new(state, schema)?),
            Self::RandomForest(state) => Box::new(Forest::new(state, schema)?),
            Self::GradientBoosting(state) => Box::new(Boosting::new(state, schema)?),
            Self::Neural(state) => Box::new(Neural::new(state, schema)?),
            Self::Mean(state) => Box::new(Ensemble::new(state, false, schema)?),
            Self::Stacking(state) => Box::new(Ensemble::new(state, true, schema)?),
            baseline => Box::new(Baseline::new(baseline, schema)?),
        })
    }
}

/// Refuses numbers of a stored model that are not finite.
pub(crate) fn check_finite(place: &str, values: &[f64]) -> Result<(), ModelError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(damaged(&format!("{place}[{i}]"), "the number is not finite")),
        None => Ok(()),
    }
}

/// Refuses quantile offsets that are not finite or fall.
pub(crate) fn check_offsets(offsets: &[f64; LEVELS]) -> Result<(), ModelError> {
    check_finite("offsets", offsets)?;
    if offsets.is_sorted() { Ok(()) } else { Err(damaged("offsets", "the quantiles fall")) }
}

/// A stored state that does not hold together.
pub(crate) fn damaged(place: &str, message: &str) -> ModelError {
    let (place, message) = (place.to_owned(), message.to_owned());
    ModelError::Damaged { what: "model", place, message }
}
