//! What can go wrong between a feature list and its numbers.

use foretell_market::{Interval, Timestamp};
use foretell_panel::FrameError;

/// Why features, labels or a feature row cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeatureError {
    /// No shipped set has this name.
    #[error("there is no feature set `{name}`: write one of {known}")]
    UnknownSet {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The set does not have this feature.
    #[error("the set `{set}` has no feature `{feature}`: it has {known}")]
    UnknownFeature {
        /// The feature asked for.
        feature: String,
        /// The set.
        set: String,
        /// The features there are.
        known: String,
    },
    /// No feature kind has this id.
    #[error("feature `{feature}`: there is no kind `{kind}`; did you mean `{nearest}`?")]
    UnknownKind {
        /// The feature that asks for it.
        feature: String,
        /// The id asked for.
        kind: String,
        /// The nearest known id.
        nearest: String,
    },
    /// A parameter that the kind does not have, or that the set does not open.
    #[error("feature `{feature}` has no parameter `{parameter}`: it takes {known}")]
    UnknownParameter {
        /// The feature.
        feature: String,
        /// The parameter asked for.
        parameter: String,
        /// The parameters there are.
        known: String,
    },
    /// A parameter whose value is out of range or of another type.
    #[error("feature `{feature}`: parameter `{parameter}` is {value}: {remedy}")]
    BadParameter {
        /// The feature.
        feature: String,
        /// The parameter.
        parameter: String,
        /// What was given.
        value: String,
        /// What is accepted.
        remedy: String,
    },
    /// Two features of one name.
    #[error("feature `{0}` is listed twice: give each its own `name`")]
    DuplicateFeature(String),
    /// A set without a feature.
    #[error("a feature set needs at least one feature")]
    Empty,
    /// The frame lacks a column or its parts do not fit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Lengths of time that do not fit each other.
    #[error("{what} {length} does not fit the {interval} grid: {remedy}")]
    Length {
        /// Which length: `horizon` or `season`.
        what: &'static str,
        /// The length.
        length: Interval,
        /// The grid's step.
        interval: Interval,
        /// What is accepted.
        remedy: &'static str,
    },
    /// A number of a specification that is out of range.
    #[error("{name} is {value}: {remedy}")]
    Number {
        /// Which number.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is accepted.
        remedy: &'static str,
    },
    /// No row closes at the decision time, or it was not known then.
    #[error("no row of {instrument} closes at {at} and was known when its interval closed")]
    NoRow {
        /// The instrument.
        instrument: String,
        /// The decision time.
        at: Timestamp,
    },
    /// The row at the decision time has missing features.
    #[error(
        "the row of {at} has no value for {columns}: its window of {window} intervals has {gaps} \
         missing intervals, or the history is shorter"
    )]
    Incomplete {
        /// The decision time.
        at: Timestamp,
        /// Names of the missing columns, at most eight.
        columns: String,
        /// The window, in intervals.
        window: usize,
        /// How many intervals of it are missing.
        gaps: usize,
    },
    /// A saved state that belongs to another set, version or instrument, or rows
    /// that do not come after it.
    #[error("the saved feature state does not fit: {0}")]
    State(String),
    /// A pipeline under audit failed on a frame.
    #[error("{0}")]
    Pipeline(String),
}
