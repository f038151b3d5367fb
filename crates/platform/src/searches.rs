//! What searches for settings found, and how much of the best trial may be luck.

use std::collections::{BTreeMap, HashSet};

use foretell_market::Fingerprint;
use foretell_model::evaluate::overfitting::probability_of_overfitting;
use foretell_model::evaluate::sharpe::{SharpeEvidence, deflated_sharpe};
use foretell_model::search::{Settings, Space, importance};
use foretell_model::{EstimatorSpec, SearchRecord, SearchSettings};
use foretell_registry::{Run as RunRecord, RunFilter, Search, SearchTrialRecord};
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::prove::pipeline_of;
use crate::service::Service;
use crate::store::Store;
use crate::training;

/// Blocks of time that are halved in all ways, as for recipes; fewer where rows are few.
const BLOCKS: usize = 16;

/// One trial as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchTrialView {
    /// Its number, from 1.
    pub number: u64,
    /// `complete`, `pruned` or `failed`.
    pub state: String,
    /// What it tried.
    pub settings: Settings,
    /// Its mean loss over the rows it was judged on; `None` when it failed.
    pub objective: Option<f64>,
    /// Splits that it was judged on.
    pub splits: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// A search for the settings of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchView {
    /// The recipe.
    pub recipe: String,
    /// The fold of the walk-forward evaluation that it was made in, from 1; `None` for the
    /// final refit.
    pub fold: Option<u64>,
    /// What its trials were judged by: `pinball` or `mae`, in log returns.
    pub objective: String,
    /// Rows that trials were judged on, inside the training rows.
    pub judged: u64,
    /// In how many splits.
    pub splits: u64,
    /// Number of the best trial, from 1.
    pub best: Option<u64>,
    /// Every trial in order.
    pub trials: Vec<SearchTrialView>,
    /// Probability that the best trial is so by luck: of backtest overfitting over all
    /// complete trials of this kind of model in the ledger on these rows. Above one half is
    /// a red flag.
    pub probability: Option<f64>,
    /// How many distinct trials that is.
    pub counted: usize,
    /// Probability that the sign strategy of the best trial has a Sharpe ratio above what
    /// luck gives the best of all trials on these rows, of whatever model.
    pub deflated_sharpe: Option<f64>,
    /// How many distinct trials that is.
    pub tried: usize,
    /// Share of each setting in the variance of the objective (functional ANOVA); empty when
    /// trials are too few or alike.
    pub importance: Vec<(String, f64)>,
    /// Content hash of the search.
    pub study: Fingerprint,
}

/// The searches of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchDetail {
    /// The run.
    pub run: String,
    /// Its pipeline.
    pub pipeline: String,
    /// The final refit of each recipe first, then fold by fold.
    pub searches: Vec<SearchView>,
}

impl SearchView {
    /// The best trial.
    pub fn best_trial(&self) -> Option<&SearchTrialView> {
        self.trials.iter().find(|t| Some(t.number) == self.best)
    }

    /// How many trials ended in a state.
    pub fn count(&self, state: &str) -> usize {
        self.trials.iter().filter(|t| t.state == state).count()
    }
}

/// What a search is shown with besides its trials.
struct Subject<'a> {
    recipe: &'a str,
    fold: u64,
    spec: Option<&'a EstimatorSpec>,
    study: Fingerprint,
    judged: u64,
    splits: u64,
}

/// The view of a search from its own trials and those that the ledger has on the same rows: of
/// its kind of model, and all.
fn view(
    subject: &Subject<'_>,
    own: &[SearchTrialRecord],
    of_kind: &[SearchTrialRecord],
    on_rows: &[SearchTrialRecord],
) -> SearchView {
    let search = subject.spec.and_then(EstimatorSpec::search);
    let settings = |t: &SearchTrialRecord| -> Settings {
        serde_json::from_str(&t.settings_json).unwrap_or_default()
    };
    let objective = |t: &SearchTrialRecord| t.steps.last().copied().filter(|_| t.state != "failed");
    // A study that another machine ran too has trials twice: the first are shown.
    let mut shown: BTreeMap<u64, &SearchTrialRecord> = BTreeMap::new();
    own.iter().for_each(|t| {
        shown.entry(t.number).or_insert(t);
    });
    let complete = || shown.values().filter(|t| t.state == "complete");
    let best = complete().filter_map(|t| Some((objective(t)?, *t)));
    let best = best.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
    let (probability, counted) = luck(of_kind);
    let deflated = best.and_then(|(_, t)| {
        let ratio = |t: &&SearchTrialRecord| SharpeEvidence::of(&t.returns).sharpe;
        let ratios: Vec<f64> = distinct(on_rows).iter().map(ratio).collect();
        deflated_sharpe(&SharpeEvidence::of(&t.returns), &ratios).filter(|p| p.is_finite())
    });
    let empty = Space::default();
    let space = search.map_or(&empty, |s| &s.space);
    let points: Vec<(Vec<f64>, f64)> =
        complete().filter_map(|t| Some((space.point(&settings(t))?, objective(t)?))).collect();
    let shares = importance::importance(space, &points);
    SearchView {
        recipe: subject.recipe.to_owned(),
        fold: (subject.fold > 0).then_some(subject.fold),
        objective: search
            .and_then(|s| serde_json::to_value(s.objective).ok())
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default(),
        judged: subject.judged,
        splits: subject.splits,
        best: best.map(|(_, t)| t.number + 1),
        trials: shown
            .values()
            .map(|t| SearchTrialView {
                number: t.number + 1,
                state: t.state.clone(),
                settings: settings(t),
                objective: objective(t),
                splits: t.steps.len() as u64,
                error: t.error.clone(),
            })
            .collect(),
        probability,
        counted,
        deflated_sharpe: deflated,
        tried: distinct(on_rows).len(),
        importance: space.0.keys().cloned().zip(shares).collect(),
        study: subject.study,
    }
}

/// The complete trials that differ from one another in what they lost.
fn distinct(trials: &[SearchTrialRecord]) -> Vec<&SearchTrialRecord> {
    let mut seen = HashSet::new();
    let bits = |t: &SearchTrialRecord| t.losses.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
    trials.iter().filter(|t| t.state == "complete" && seen.insert(bits(t))).collect()
}

/// The probability that the best of the complete trials on some rows is so by luck, and over
/// how many. What a trial earns in a row is how much less it loses there than all of them on
/// average: trials are chosen by their loss, and most of a loss is the row's, not theirs.
fn luck(on_rows: &[SearchTrialRecord]) -> (Option<f64>, usize) {
    let trials = distinct(on_rows);
    let rows = trials.first().map_or(0, |t| t.losses.len());
    let trials: Vec<_> = trials.into_iter().filter(|t| t.losses.len() == rows).collect();
    let count = trials.len();
    let mean = |i: usize| trials.iter().map(|t| t.losses[i]).sum::<f64>() / count as f64;
    let means: Vec<f64> = (0..rows).map(mean).collect();
    let gains: Vec<Vec<f64>> =
        trials.iter().map(|t| means.iter().zip(&t.losses).map(|(m, l)| m - l).collect()).collect();
    let views: Vec<&[f64]> = gains.iter().map(Vec::as_slice).collect();
    // Half of the rows, in blocks of at least two.
    let blocks = BLOCKS.min(rows / 2 / 2 * 2);
    (probability_of_overfitting(&views, blocks).map(|found| found.probability), count)
}

impl Store {
    /// The searches of final refits, as they were made.
    pub(crate) async fn refit_searches(
        &self,
        refits: &[(String, &EstimatorSpec, &SearchRecord)],
    ) -> Result<Vec<SearchView>, PlatformError> {
        let mut views = Vec::new();
        for (recipe, spec, record) in refits {
            let study = &record.study;
            let own = self.registry.search_trials(&study.key).await?;
            // The search may have been given more trials before than now.
            let own: Vec<_> =
                own.into_iter().filter(|t| t.number < record.trials.len() as u64).collect();
            let kind = Some(spec.learnt().kind());
            let of_kind = self.registry.search_trials_on(&study.rows, kind).await?;
            let on_rows = self.registry.search_trials_on(&study.rows, None).await?;
            let subject = Subject {
                recipe,
                fold: 0,
                spec: Some(spec),
                study: study.key,
                judged: study.judged as u64,
                splits: study.splits as u64,
            };
            views.push(view(&subject, &own, &of_kind, &on_rows));
        }
        Ok(views)
    }
}

impl Service {
    /// The searches of a run, by its id or the beginning of it, or of the latest run of a
    /// pipeline that searched, by its name.
    ///
    /// # Errors
    /// When there is no such run or pipeline, or it searched for nothing.
    pub async fn searches(&self, of: &str) -> Result<SearchDetail, PlatformError> {
        let (run, mut searches) = self.searched(of).await?;
        let pipeline = pipeline_of(&run)?;
        let recipes = training::recipes(&pipeline)?;
        searches.sort_by_key(|s| (s.fold > 0, s.fold));
        let mut views = Vec::new();
        for search in &searches {
            let registry = &self.store.registry;
            let recipe = recipes.iter().find(|r| r.name == search.recipe_name);
            // A later run may have gone on with the same search: those trials are not this one's.
            let planned =
                recipe.and_then(|r| r.spec.search()).map_or(usize::MAX, SearchSettings::planned);
            let mut own = registry.search_trials(&search.study).await?;
            own.retain(|trial| usize::try_from(trial.number).is_ok_and(|number| number < planned));
            let kind = Some(&search.kind[..]);
            let of_kind = registry.search_trials_on(&search.rows, kind).await?;
            let on_rows = registry.search_trials_on(&search.rows, None).await?;
            let subject = Subject {
                recipe: &search.recipe_name,
                fold: search.fold,
                spec: recipe.map(|r| &r.spec),
                study: search.study,
                judged: search.judged,
                splits: search.splits,
            };
            views.push(view(&subject, &own, &of_kind, &on_rows));
        }
        Ok(SearchDetail { run: run.id, pipeline: run.pipeline, searches: views })
    }

    async fn searched(&self, of: &str) -> Result<(RunRecord, Vec<Search>), PlatformError> {
        let registry = &self.store.registry;
        let filter = RunFilter { pipeline: Some(of.to_owned()), ..Default::default() };
        let runs = registry.runs(&filter).await?;
        if runs.is_empty() {
            let run = self.store.run_named(of).await?;
            let searches = registry.searches(&run.id).await?;
            return match searches.is_empty() {
                false => Ok((run, searches)),
                true => Err(nothing(&format!("run `{}`", run.id))),
            };
        }
        for run in runs {
            let searches = registry.searches(&run.id).await?;
            if !searches.is_empty() {
                return Ok((run, searches));
            }
        }
        Err(nothing(&format!("pipeline `{of}`")))
    }
}

fn nothing(of: &str) -> PlatformError {
    PlatformError::not_found(
        format!("search of {of}"),
        "add [models.search] under a model of the pipeline file and run it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::Timestamp;
    use foretell_testkit::{normal, rng};

    fn trial(number: u64, state: &str, losses: Vec<f64>) -> SearchTrialRecord {
        let hash = Fingerprint::of_bytes(b"s");
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        SearchTrialRecord {
            study: hash,
            rows: hash,
            number,
            state: state.to_owned(),
            settings_json: format!(r#"{{"alpha":{}.0}}"#, number + 1),
            steps: vec![mean],
            returns: vec![0.0; losses.len()],
            losses,
            error: None,
            created_at: Timestamp::from_secs(0),
        }
    }

    #[test]
    fn a_trial_that_is_truly_better_is_not_called_luck_and_noise_is() {
        let mut random = rng(4);
        // Most of each loss is the row's own, the same for all trials.
        let rows: Vec<f64> = (0..480).map(|_| 5.0 + normal(&mut random).abs()).collect();
        let mut noise = |shift: f64| -> Vec<f64> {
            rows.iter().map(|r| r + shift + 0.1 * normal(&mut random)).collect()
        };
        let mut trials: Vec<SearchTrialRecord> =
            (0..30).map(|i| trial(i, "complete", noise(0.0))).collect();
        let (by_luck, counted) = luck(&trials);
        assert!(by_luck.unwrap() > 0.3 && counted == 30, "{by_luck:?}");
        trials.push(trial(30, "complete", noise(-0.05)));
        // A copy is no trial, and one that was given up has no whole series.
        trials.push(trial(31, "complete", trials[3].losses.clone()));
        trials.push(trial(32, "pruned", noise(-9.0)[..100].to_vec()));
        let (planted, counted) = luck(&trials);
        assert!(planted.unwrap() < 0.02 && counted == 31, "{planted:?}");
        assert_eq!(luck(&trials[..1]), (None, 1));
    }
}
