//! A registered version as it is served: the fitted model and where it comes from.

use std::sync::Arc;

use foretell_feature::FeatureRow;
use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use foretell_model::Fitted;
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use crate::{ForecastError, Skill};

/// The span of a feature in the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FeatureRange {
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl FeatureRange {
    /// The span of every feature of a dataset, in the order of its columns. A column
    /// of no row spans nothing, and every value is outside it.
    pub fn of(dataset: &Dataset) -> Vec<Self> {
        let empty = Self { min: f64::INFINITY, max: f64::NEG_INFINITY };
        let mut ranges = vec![empty; dataset.features.cols()];
        for i in 0..dataset.features.rows() {
            for (range, value) in ranges.iter_mut().zip(dataset.features.row(i)) {
                range.min = range.min.min(*value);
                range.max = range.max.max(*value);
            }
        }
        ranges
    }

    /// Whether a value lies inside, ends included.
    pub fn holds(&self, value: f64) -> bool {
        self.min <= value && value <= self.max
    }
}

/// A model version, ready to forecast one horizon of one instrument.
#[derive(Debug, Clone)]
pub struct ServedVersion {
    /// The model's name.
    pub name: String,
    /// Its number.
    pub version: u32,
    /// The alias that it serves under, such as `champion`.
    pub alias: String,
    /// Content hash of the fitted model.
    pub hash: Fingerprint,
    /// The fitted model.
    pub model: Arc<dyn Fitted>,
    /// The instrument that it was fitted on.
    pub instrument: Instrument,
    /// The step of its grid.
    pub interval: Interval,
    /// How far ahead it forecasts.
    pub horizon: Interval,
    /// Content hash of its feature set.
    pub feature_set: Fingerprint,
    /// Content hash of the dataset that it was fitted on.
    pub dataset: Fingerprint,
    /// The instant whose knowledge it was fitted with (UTC).
    pub fitted_as_of: Timestamp,
    /// The end of its last training label (UTC).
    pub train_to: Timestamp,
    /// The refit cadence that its recipe was judged at.
    pub refit_every: Interval,
    /// How many rows it was fitted on.
    pub train_rows: usize,
    /// Whether these include an opened lock-box.
    pub includes_lock_box: bool,
    /// The span of every feature in training, in the model's order of columns.
    pub ranges: Vec<FeatureRange>,
    /// What the evaluation says of its recipe.
    pub skill: Skill,
}

impl ServedVersion {
    /// For people: `btc-usd-hourly v3`.
    pub fn label(&self) -> String {
        format!("{} v{}", self.name, self.version)
    }

    /// Whether this version may decide at an instant: it was fitted before, and less
    /// than its refit cadence ago, as every fit of its evaluation was.
    ///
    /// # Errors
    /// [`ForecastError::KnowsTheFuture`] or [`ForecastError::ModelTooOld`].
    pub fn check_age(&self, as_of: Timestamp) -> Result<(), ForecastError> {
        if self.train_to > as_of {
            let train_to = self.train_to;
            return Err(ForecastError::KnowsTheFuture { model: self.label(), train_to, as_of });
        }
        if as_of >= self.fitted_as_of + self.refit_every {
            return Err(ForecastError::ModelTooOld {
                model: self.label(),
                fitted_as_of: self.fitted_as_of,
                refit_every: self.refit_every,
                as_of,
            });
        }
        Ok(())
    }

    /// Whether a row is one that this version can forecast from.
    ///
    /// # Errors
    /// What does not fit: market, feature set, columns, ranges, or a number that is not
    /// finite.
    pub fn check_row(&self, row: &FeatureRow) -> Result<(), ForecastError> {
        let model = || self.label();
        if (&self.instrument, self.interval) != (&row.instrument, row.interval) {
            return Err(ForecastError::OtherMarket {
                model: model(),
                needed: format!("{} {}", self.instrument, self.interval),
                found: format!("{} {}", row.instrument, row.interval),
            });
        }
        if self.feature_set != row.feature_set {
            let (needed, found) = (self.feature_set, row.feature_set);
            return Err(ForecastError::OtherFeatureSet { model: model(), needed, found });
        }
        self.model.schema().check(&row.names, &row.context_names)?;
        if self.ranges.len() != row.features.len() {
            let (ranges, features) = (self.ranges.len(), row.features.len());
            return Err(ForecastError::Ranges { model: model(), ranges, features });
        }
        let as_of = row.as_of;
        let named = row.names.iter().chain(row.context_names.iter());
        let mut values = named.zip(row.features.iter().chain(&row.context));
        if let Some((column, value)) = values.find(|(_, value)| !value.is_finite()) {
            let column = column.clone();
            return Err(ForecastError::Input { column, value: *value, as_of });
        }
        if !(row.base_price.is_finite() && row.base_price > 0.0) {
            let column = "base price".to_owned();
            return Err(ForecastError::Input { column, value: row.base_price, as_of });
        }
        Ok(())
    }

    /// The share of a row's features outside their span in training.
    pub fn out_of_range_share(&self, features: &[f64]) -> f64 {
        if features.is_empty() {
            return 0.0;
        }
        let outside = self.ranges.iter().zip(features).filter(|(r, v)| !r.holds(**v)).count();
        outside as f64 / features.len() as f64
    }

    /// Says that the served fit is not one of those that were judged.
    pub fn refitted_note(&self) -> String {
        let lock_box = if self.includes_lock_box { ", the opened lock-box included" } else { "" };
        format!(
            "the recipe refitted on all {} allowed rows up to {}{lock_box}; its skill was \
             measured on earlier fits, out of sample",
            self.train_rows,
            self.train_to.human()
        )
    }
}
