//! Estimators, their honest evaluation, significance tests and conformal intervals.
//!
//! An [`Estimator`] learns from a [`Dataset`](foretell_panel::Dataset) and becomes a
//! [`Fitted`] model, which turns feature rows into [`Quantiles`] of log returns. What
//! was learnt is plain data ([`ModelState`]) that a [`SavedModel`] keeps with its
//! provenance. Seeds, threads, progress and the stop flag are parameters: this crate
//! reads no clock, no file, no environment, and knows nothing of prices beyond their
//! log returns.

pub mod conformance;
mod error;
mod estimator;
pub mod evaluate;
mod explain;
mod quantiles;
mod saved;
mod spec;
mod state;

mod baseline;
mod boosting;
mod ensemble;
mod forest;
mod neural;
mod ridge;

pub use boosting::{BoostedTree, BoostingState};
pub use ensemble::{EnsembleState, MeanSettings, StackingSettings, stacking_weights};
pub use error::ModelError;
pub use estimator::{Checkpoints, Estimator, FitContext, FitProgress, Fitted, Schema};
pub use explain::{Explanation, Explanations};
pub use forest::{ForestState, ForestTree};
pub use foretell_neural::{Activation, Architecture, Layer};
pub use neural::{
    DecompositionSettings, NeuralState, Objective, PerceptronSettings, RecurrentSettings,
};
pub use quantiles::{LEVELS, MEDIAN, QUANTILE_LEVELS, Quantiles, empirical_quantile};
pub use ridge::RidgeState;
pub use saved::{SAVED_MODEL_VERSION, SavedModel, cpu_features};
pub use spec::EstimatorSpec;
pub use state::ModelState;
