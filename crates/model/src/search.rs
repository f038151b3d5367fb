//! Search: the settings of a model chosen by trials on the rows it is fitted on.
//!
//! A search is an estimator that wraps another. Its fit splits the training rows in time
//! order, tries settings on the earlier parts and judges them on the parts that follow,
//! then fits the best ones on all rows. So a walk-forward evaluation judges the whole
//! procedure, and nothing of a test row is known to any trial. Every trial leaves its
//! losses per row, so that the ledger can tell how much of the best is luck.
//!
//! The result depends on the rows, the settings and the seed: not on threads, and not on
//! how often it was interrupted.

mod cma;
mod estimator;
pub mod importance;
mod pruner;
mod rows;
mod run;
mod sampler;
mod space;
mod tpe;

use foretell_market::{Fingerprint, Interval};
use serde::{Deserialize, Serialize};

pub use pruner::{Course, Pruner};
pub use run::search;
pub use sampler::{Sampler, Score, Told};
pub use space::{Range, Settings, Space};

pub(crate) use estimator::SearchEstimator;

use crate::{EstimatorSpec, ModelError};

/// What trials are judged by on the rows that they did not learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The mean pinball loss over the nine quantiles.
    #[default]
    Pinball,
    /// The absolute error of the median.
    Mae,
}

/// A search for the settings of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSettings {
    /// The model; settings that are not searched for are its own.
    pub base: EstimatorSpec,
    /// What may be chosen.
    pub space: Space,
    /// How points are chosen.
    #[serde(default)]
    pub sampler: Sampler,
    /// What ends a trial early.
    #[serde(default)]
    pub pruner: Pruner,
    /// What trials are judged by.
    #[serde(default)]
    pub objective: Objective,
    /// Trials, at most (1 to 10,000).
    pub trials: usize,
    /// How long trials may be begun, by the caller's clock; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_budget: Option<Interval>,
    /// Parts of the training rows that trials are judged on, one after the other (1 to 50).
    pub splits: usize,
    /// Trials that are asked for before any of them has ended, to run side by side (1 to
    /// 64). Part of what decides the result.
    pub batch: usize,
    /// Points per number on a grid (2 to 1,000).
    pub points: usize,
    /// Folds of a walk-forward evaluation from one search to the next; those in between use
    /// what was found before them (1 or more).
    pub every: usize,
    /// What the sign strategy pays per turn, basis points, in the returns kept with a trial.
    pub cost_bp: f64,
}

impl SearchSettings {
    /// A search with the usual settings: 50 trials of TPE with the median rule on three
    /// splits, one at a time, anew in every fold.
    pub fn new(base: EstimatorSpec, space: Space) -> Self {
        Self {
            base,
            space,
            sampler: Sampler::default(),
            pruner: Pruner::default(),
            objective: Objective::default(),
            trials: 50,
            time_budget: None,
            splits: 3,
            batch: 1,
            points: 5,
            every: 1,
            cost_bp: 5.0,
        }
    }

    /// How many trials there will be at most.
    pub fn planned(&self) -> usize {
        self.sampler.size(&self.space, self.points).unwrap_or(usize::MAX).min(self.trials)
    }

    /// The model with some values in the place of its own.
    ///
    /// # Errors
    /// [`ModelError::Setting`] naming what the model does not have or refuses.
    pub fn with(&self, settings: &Settings) -> Result<EstimatorSpec, ModelError> {
        let refused = |field: &str, value: String, remedy: String| ModelError::Setting {
            kind: "search".to_owned(),
            field: field.to_owned(),
            value,
            remedy,
        };
        let mut json = serde_json::to_value(&self.base).expect("settings are plain data");
        for (name, value) in settings {
            let told = json.get(name).is_some();
            json[name.as_str()] = value.clone();
            // Some settings are not told at their default: such a one can be read all the same.
            let unknown = || serde_json::from_value::<EstimatorSpec>(json.clone()).is_err();
            if name == "kind" || !told && unknown() {
                let remedy = format!("{} has no such setting", self.base.kind());
                return Err(refused("space", name.clone(), remedy));
            }
        }
        let names = || settings.keys().cloned().collect::<Vec<_>>().join(", ");
        let spec: EstimatorSpec = serde_json::from_value(json)
            .map_err(|e| refused("space", names(), format!("{}: {e}", self.base.kind())))?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks the numbers, and both ends of every range against the model.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let refuse = |field: &str, value: &dyn ToString, remedy: &str| {
            Err(ModelError::Setting {
                kind: "search".to_owned(),
                field: field.to_owned(),
                value: value.to_string(),
                remedy: remedy.to_owned(),
            })
        };
        let bounds = [
            ("trials", self.trials, 1, 10_000),
            ("splits", self.splits, 1, 50),
            ("batch", self.batch, 1, 64),
            ("points", self.points, 2, 1_000),
            ("every", self.every, 1, 1_000_000),
        ];
        for (field, value, low, high) in bounds {
            if !(low..=high).contains(&value) {
                return refuse(field, &value, &format!("give {low} to {high}"));
            }
        }
        if !(self.cost_bp >= 0.0 && self.cost_bp.is_finite()) {
            return refuse("cost_bp", &self.cost_bp, "give 0 or more");
        }
        if self.base.search().is_some() {
            return refuse("base", &"search", "a search for the settings of a search is none");
        }
        self.base.check()?;
        if self.space.0.is_empty() {
            return refuse("space", &"empty", "name at least one setting with its range");
        }
        for (name, range) in &self.space.0 {
            if let Some(fault) = range.fault() {
                return refuse(name, &"range", &format!("the range {fault}"));
            }
            for at in range.grid(2) {
                self.with(&[(name.clone(), range.value(at))].into())?;
            }
        }
        if !self.sampler.fits(&self.space, self.points) {
            let size = self.sampler.size(&self.space, self.points).unwrap_or(usize::MAX);
            return refuse(
                "points",
                &self.points,
                &format!(
                    "the grid has {size} points, at most 1,000,000 can be walked: lower `points`, or \
                 sample with \"tpe\""
                ),
            );
        }
        Ok(())
    }
}

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It was judged on every split.
    Complete,
    /// It was given up.
    Pruned,
    /// Its settings could not be fitted.
    Failed,
}

impl TrialState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
        }
    }
}

/// One trial of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchTrial {
    /// Its number, from 0, in the order in which trials are asked for.
    pub number: usize,
    /// What it tried.
    pub settings: Settings,
    /// What became of it.
    pub state: TrialState,
    /// The mean loss after each split that it finished.
    pub steps: Vec<f64>,
    /// The loss of each row that it was judged on, in time order.
    pub losses: Vec<f64>,
    /// Return of its lag-1 sign strategy in each of these rows, after costs.
    pub returns: Vec<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

impl SearchTrial {
    /// Its mean loss over the rows that it was judged on; none when it failed.
    pub fn objective(&self) -> Option<f64> {
        self.steps.last().copied().filter(|_| self.state != TrialState::Failed)
    }

    fn score(&self) -> Score {
        match (self.state, self.objective()) {
            (TrialState::Complete, Some(value)) => Score::Complete(value),
            (TrialState::Pruned, Some(value)) => Score::Pruned(self.steps.len(), value),
            _ => Score::Failed,
        }
    }
}

/// What all trials of a search share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Study {
    /// Content hash of everything that decides what a trial finds: model, ranges, sampler,
    /// rows, seed, and the vector instructions of the machine. Not the number of trials.
    pub key: Fingerprint,
    /// Hash of the rows that trials are judged on: decision times, ends and outcomes.
    pub rows: Fingerprint,
    /// How many these are.
    pub judged: usize,
    /// Splits.
    pub splits: usize,
    /// Trials, at most.
    pub planned: usize,
}

/// A search that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRecord {
    /// What its trials share.
    pub study: Study,
    /// All of them, in order.
    pub trials: Vec<SearchTrial>,
    /// The place of the best.
    pub best: usize,
    /// The model with its settings.
    pub spec: EstimatorSpec,
}

/// What a stored model keeps of the search for its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The settings.
    pub settings: Settings,
    /// Their mean loss on the rows that the trial was judged on.
    pub objective: f64,
    /// How many trials there were.
    pub trials: usize,
    /// The search; the ledger has its trials.
    pub study: Fingerprint,
}

impl SearchRecord {
    /// The best trial.
    pub fn best(&self) -> &SearchTrial {
        &self.trials[self.best]
    }

    /// What a stored model keeps.
    pub fn found(&self) -> Found {
        let best = self.best();
        Found {
            settings: best.settings.clone(),
            objective: best.objective().unwrap_or(f64::MAX),
            trials: self.trials.len(),
            study: self.study.key,
        }
    }
}
