//! Why no forecast was made at all. A forecast that was made but may not be relied on
//! abstains instead, with its reason in the passport.

use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use foretell_model::ModelError;

/// Why a forecast cannot be made, read or judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ForecastError {
    /// The row was computed by other feature definitions than the model's.
    #[error(
        "the row has feature set {}, but {model} was fitted on {}: compute the row with the \
         set of the model's pipeline, or retrain", found.short(), needed.short()
    )]
    OtherFeatureSet {
        /// The model and version.
        model: String,
        /// The model's feature set.
        needed: Fingerprint,
        /// The row's.
        found: Fingerprint,
    },
    /// The row is of another instrument or grid than the model's.
    #[error("the row is of {found}, but {model} forecasts {needed}: name the matching model")]
    OtherMarket {
        /// The model and version.
        model: String,
        /// Instrument and interval of the model.
        needed: String,
        /// Instrument and interval of the row.
        found: String,
    },
    /// The model has learnt from labels that end after the decision.
    #[error(
        "{model} has learnt from labels up to {train_to}, after the decision at {as_of}: \
         a forecast of the past needs a version fitted before it"
    )]
    KnowsTheFuture {
        /// The model and version.
        model: String,
        /// The end of its last training label (UTC).
        train_to: Timestamp,
        /// The decision time (UTC).
        as_of: Timestamp,
    },
    /// The model is past its refit cadence.
    #[error(
        "{model} was fitted as of {fitted_as_of} and is judged at a refit every {refit_every}, \
         so it may not decide at {as_of}: run its pipeline again"
    )]
    ModelTooOld {
        /// The model and version.
        model: String,
        /// When it was fitted (UTC).
        fitted_as_of: Timestamp,
        /// The declared cadence.
        refit_every: Interval,
        /// The decision time (UTC).
        as_of: Timestamp,
    },
    /// A forecast would be made before its inputs were known.
    #[error("made at {made_at}, but its inputs are known only at {known_at}: check the clock")]
    MadeTooEarly {
        /// When it would be made (UTC).
        made_at: Timestamp,
        /// When its inputs are known (UTC).
        known_at: Timestamp,
    },
    /// An input is not a number that a model can use.
    #[error(
        "`{column}` of the row at {as_of} is {value}: a row across a gap or in the warm-up \
         cannot be forecast from"
    )]
    Input {
        /// The column.
        column: String,
        /// Its value.
        value: f64,
        /// The decision time (UTC).
        as_of: Timestamp,
    },
    /// The training ranges do not fit the model's features.
    #[error("{model} has {ranges} training ranges for {features} features: register it again")]
    Ranges {
        /// The model and version.
        model: String,
        /// How many ranges there are.
        ranges: usize,
        /// How many features.
        features: usize,
    },
    /// The model refused the row.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A stored forecast was written by a newer Foretell.
    #[error("the forecast has format {found}, this Foretell reads up to {known}: use a newer one")]
    NewerFormat {
        /// The format found.
        found: u64,
        /// The newest known.
        known: u32,
    },
    /// A stored forecast cannot be read.
    #[error("the stored forecast cannot be read: {0}; restore a backup of the registry")]
    Damaged(String),
    /// An outcome cannot be compared with the forecast.
    #[error("the outcome {value} of {id} is not a price: only a positive number can be judged")]
    Outcome {
        /// The forecast.
        id: String,
        /// The outcome.
        value: f64,
    },
    /// A forecast without numbers has nothing to judge.
    #[error("{id} on {instrument} holds no quantiles, so there is nothing to judge")]
    NothingToJudge {
        /// The forecast.
        id: String,
        /// Its instrument.
        instrument: Instrument,
    },
}
