//! Searches for settings on the wire.

use foretell_platform as platform;
use serde::Serialize;
use utoipa::ToSchema;

/// One trial of a search.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchTrial {
    /// Its number, from 1.
    number: u64,
    /// `complete`, `pruned` or `failed`.
    state: String,
    /// What it tried: values by the name of the setting.
    #[schema(value_type = Object)]
    settings: serde_json::Value,
    /// Its mean loss over the rows that it was judged on, log return; `null` when it failed.
    objective: Option<f64>,
    /// Splits that it was judged on.
    splits: u64,
    /// Why it failed.
    error: Option<String>,
}

/// A search for the settings of a recipe.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Search {
    recipe: String,
    /// The fold of the walk-forward evaluation that it was made in, from 1; `null` for the
    /// final refit.
    fold: Option<u64>,
    /// What its trials were judged by: `pinball` or `mae`.
    objective: String,
    /// Rows that trials were judged on, inside the training rows.
    judged: u64,
    /// In how many splits.
    splits: u64,
    /// Number of the best trial, from 1.
    best: Option<u64>,
    trials: Vec<SearchTrial>,
    /// Probability of backtest overfitting over all complete trials of this kind of model on
    /// these rows; above one half is a red flag.
    probability: Option<f64>,
    /// How many distinct trials that is.
    counted: usize,
    /// Deflated Sharpe ratio of the sign strategy of the best trial.
    deflated_sharpe: Option<f64>,
    /// Over how many distinct trials on these rows, of whatever model.
    tried: usize,
    /// Name of each setting and its share in the variance of the objective.
    importance: Vec<(String, f64)>,
    /// Content hash of the search.
    study: String,
}

/// The searches of a run: of its final refits first, then fold by fold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Searches {
    run: String,
    pipeline: String,
    searches: Vec<Search>,
}

impl From<platform::SearchDetail> for Searches {
    fn from(v: platform::SearchDetail) -> Self {
        let trial = |t: platform::SearchTrialView| SearchTrial {
            number: t.number,
            state: t.state,
            settings: serde_json::json!(t.settings),
            objective: t.objective,
            splits: t.splits,
            error: t.error,
        };
        let search = |s: platform::SearchView| Search {
            recipe: s.recipe,
            fold: s.fold,
            objective: s.objective,
            judged: s.judged,
            splits: s.splits,
            best: s.best,
            trials: s.trials.into_iter().map(trial).collect(),
            probability: s.probability,
            counted: s.counted,
            deflated_sharpe: s.deflated_sharpe,
            tried: s.tried,
            importance: s.importance,
            study: s.study.to_string(),
        };
        let searches = v.searches.into_iter().map(search).collect();
        Self { run: v.run, pipeline: v.pipeline, searches }
    }
}
