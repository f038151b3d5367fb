//! What a fit learnt, as plain data that can be stored, hashed and used again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::boosting::{Boosting, BoostingState};
use crate::classical::{ArimaState, Classical, EtsState, GarchState, HarState, ThetaState};
use crate::ensemble::{Ensemble, EnsembleState};
use crate::forest::{Forest, ForestState};
use crate::imported::{Imported, ImportedState};
use crate::neural::{Neural, NeuralState, layout};
use crate::ridge::{Ridge, RidgeState};
use crate::tensors::{Tensor, none_left};
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
    /// A model that was trained elsewhere, with the spread of its errors here.
    Imported(ImportedState),
    /// Exponential smoothing with half a trend.
    Theta(ThetaState),
    /// Exponential smoothing.
    Ets(EtsState),
    /// An autoregression with moving averages.
    Arima(ArimaState),
    /// A conditional variance.
    Garch(GarchState),
    /// A regression of realised variances.
    Har(HarState),
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
            Self::Imported(_) => "imported",
            Self::Theta(_) => "theta",
            Self::Ets(_) => "ets",
            Self::Arima(_) => "arima",
            Self::Garch(_) => "garch",
            Self::Har(_) => "har",
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
            Self::Imported(state) => Box::new(Imported::new(state, schema)?),
            Self::Theta(_) | Self::Ets(_) | Self::Arima(_) | Self::Garch(_) | Self::Har(_) => {
                Box::new(Classical::new(self, schema)?)
            }
            Self::Mean(state) => Box::new(Ensemble::new(state, false, schema)?),
            Self::Stacking(state) => Box::new(Ensemble::new(state, true, schema)?),
            baseline => Box::new(Baseline::new(baseline, schema)?),
        })
    }

    /// Whether it is stored with tensors beside its JSON.
    pub(crate) fn has_tensors(&self) -> bool {
        matches!(self, Self::Neural(_) | Self::Imported(_))
            || self.members().iter().any(Self::has_tensors)
    }

    /// The state without its tensors, and these; nothing when it has none.
    pub(crate) fn detached(&self) -> Option<(Self, Vec<Tensor>)> {
        match self {
            Self::Neural(state) => {
                let tensors = layout::tensors(&state.architecture, &state.weights);
                Some((Self::Neural(NeuralState { weights: Vec::new(), ..state.clone() }), tensors))
            }
            Self::Imported(state) => {
                let (model, tensors) = state.model.detached();
                let offsets = state.offsets;
                Some((Self::Imported(ImportedState { model: model.into(), offsets }), tensors))
            }
            Self::Mean(state) => state.detached().map(|(s, t)| (Self::Mean(s), t)),
            Self::Stacking(state) => state.detached().map(|(s, t)| (Self::Stacking(s), t)),
            _ => None,
        }
    }

    /// Puts the tensors of a file into their places.
    ///
    /// # Errors
    /// When they are not exactly those that the state has.
    pub(crate) fn attach(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        match self {
            Self::Neural(state) => {
                state.weights = layout::weights(&state.architecture, tensors)?;
                Ok(())
            }
            Self::Imported(state) => {
                let model = std::sync::Arc::make_mut(&mut state.model);
                model.attach(tensors)
            }
            Self::Mean(state) | Self::Stacking(state) => state.attach(tensors),
            _ => none_left(&tensors),
        }
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
