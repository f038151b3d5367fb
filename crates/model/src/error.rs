//! Why a model could not be fitted, used, stored or judged. Every message names the
//! remedy; nothing here prints or aborts.

use foretell_panel::SplitError;

/// Whom an error concerns while several recipes are judged on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The one recipe that met it: its training diverged, its model answers what is no
    /// forecast. The others go on without it.
    Recipe,
    /// Everything: the rows, the settings of the file, a stored model that cannot be read, a
    /// stop. Nothing goes on.
    Everything,
}

/// Everything that can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Fewer labelled rows than the estimator needs.
    #[error(
        "{kind} needs at least {need} training rows, there are {have}: \
         bring more history or shorten the warm-up"
    )]
    TooFewRows {
        /// The estimator's kind.
        kind: String,
        /// What it needs.
        need: usize,
        /// What there is.
        have: usize,
    },
    /// A number that must be finite is not.
    #[error(
        "column `{column}` is {value} in row {row}: drop rows in warm-up or across gaps \
         before fitting or forecasting"
    )]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The column.
        column: String,
        /// What stood there.
        value: f64,
    },
    /// A fitted or imported model answers what is no forecast.
    #[error(
        "the model answers {value} for its quantile {level} in row {row}, which is no forecast: \
         train it otherwise, or leave it out"
    )]
    ImpossibleAnswer {
        /// The row, from 0.
        row: usize,
        /// Level of the quantile.
        level: f64,
        /// What it answered.
        value: f64,
    },
    /// Columns are not those the model was trained on.
    #[error(
        "the model was trained on other columns ({difference}): compute the rows with the \
         feature set the model names, or retrain"
    )]
    Schema {
        /// What differs first.
        difference: String,
    },
    /// A context column that the estimator reads is absent.
    #[error("{kind} needs the context column `{column}`: add it when the dataset is assembled")]
    MissingContext {
        /// The estimator's kind.
        kind: String,
        /// The column.
        column: String,
    },
    /// A setting is outside its range.
    #[error("{kind}: `{field}` = {value} is refused: {remedy}")]
    Setting {
        /// The estimator's kind, or the plan the field belongs to.
        kind: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What would be accepted.
        remedy: String,
    },
    /// The caller raised the stop flag.
    #[error("stopped on request after {done} of {total} steps: run again to start over")]
    Stopped {
        /// Steps that were done.
        done: u64,
        /// Steps there would have been.
        total: u64,
    },
    /// The numbers do not determine the model.
    #[error("{kind}: {message}")]
    Numerical {
        /// The estimator's kind.
        kind: String,
        /// What is wrong and what helps.
        message: String,
    },
    /// What a network is to be trained on cannot be had, or failed.
    #[error("{kind} on `device = \"{device}\"`: {message}")]
    Device {
        /// The estimator's kind.
        kind: String,
        /// The device.
        device: String,
        /// What was found and what helps.
        message: String,
    },
    /// A stored model was written by a newer version.
    #[error(
        "the {what} has format version {found}, this program reads up to {known}: \
         upgrade foretell or retrain the model"
    )]
    NewerVersion {
        /// What was read.
        what: &'static str,
        /// The version in the file.
        found: u64,
        /// The newest version this program knows.
        known: u64,
    },
    /// A stored model cannot be read.
    #[error("the {what} is damaged at `{place}`: {message}; retrain the model or restore the file")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// The field, or line and column.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// The boosting library refused.
    #[error("gradient boosting: {0}")]
    Boosting(String),
    /// The rows cannot be split into folds.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// An evaluation cannot be made of these rows.
    #[error("evaluation: {0}")]
    Evaluation(String),
}

impl ModelError {
    /// Whom it concerns while several recipes are judged.
    pub fn concern(&self) -> Concern {
        match self {
            Self::Numerical { .. } | Self::Boosting(_) | Self::ImpossibleAnswer { .. } => {
                Concern::Recipe
            }
            Self::TooFewRows { .. }
            | Self::NotFinite { .. }
            | Self::Schema { .. }
            | Self::MissingContext { .. }
            | Self::Setting { .. }
            | Self::Stopped { .. }
            | Self::NewerVersion { .. }
            | Self::Damaged { .. }
            | Self::Device { .. }
            | Self::Split(_)
            | Self::Evaluation(_) => Concern::Everything,
        }
    }
}
