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
pub mod search;
mod spec;
mod state;
mod tensors;

mod baseline;
mod boosting;
mod classical;
mod ensemble;
mod forest;
mod imported;
mod neural;
mod ridge;

pub use boosting::{
    BoostedTree, BoostingState, xgboost_feature_names, xgboost_to_json, xgboost_to_ubjson,
};
pub use classical::{
    ArimaState, EtsState, EtsTrend, GarchState, HarState, Shocks, ThetaState, Trend,
};
pub use ensemble::{EnsembleState, MeanSettings, StackingSettings, stacking_weights};
pub use error::{Concern, ModelError};
pub use estimator::{Checkpoints, Estimator, FitContext, FitProgress, Fitted, Schema};
pub use explain::{Explanation, Explanations};
pub use forest::{ForestState, ForestTree};
pub use foretell_neural::{Accelerator, Activation, Architecture, Device, Layer};
pub use imported::{
    Answers, Body, IMPORTED_MODEL_VERSION, ImportedEngine, ImportedModel, ImportedSettings,
    ImportedState, PriceWindow,
};
pub use neural::{
    Classes, DecompositionSettings, NeuralState, Objective, PerceptronSettings, RecurrentSettings,
};
pub use quantiles::{LEVELS, MEDIAN, QUANTILE_LEVELS, Quantiles, empirical_quantile};
pub use ridge::RidgeState;
pub use saved::{SAVED_MODEL_VERSION, SavedModel, cpu_features};
pub use search::{SearchRecord, SearchSettings, SearchTrial, Study};
pub use spec::EstimatorSpec;
pub use state::ModelState;
