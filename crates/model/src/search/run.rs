//! Runs the trials of a search: asked for in batches, run side by side, told in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use foretell_market::FingerprintHasher;
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use super::rows::{self, Split};
use super::{
    Course, Sampler, Score, SearchRecord, SearchSettings, SearchTrial, Settings, Study, Told,
    TrialState,
};
use crate::neural::untold;
use crate::{FitContext, ModelError, cpu_features};

/// What is kept of a search that may be interrupted.
#[derive(Serialize, Deserialize)]
struct Kept {
    study: Study,
    trials: Vec<SearchTrial>,
}

/// Tries settings on parts of the training rows and finds the best. Trials that the
/// checkpoints of the context know are not run again.
///
/// # Errors
/// When the settings are refused, rows are too few, no trial ended, or the stop flag was
/// raised; what ended before the stop is kept in the checkpoints.
pub fn search(
    settings: &SearchSettings,
    train: &Dataset,
    context: &FitContext<'_>,
) -> Result<SearchRecord, ModelError> {
    settings.check()?;
    let total = settings.planned() as u64 + 1;
    context.go_on(0, total)?;
    let need = settings.base.build()?.min_rows() * (settings.splits + 1);
    if train.len() < need {
        let (kind, have) = ("search".to_owned(), train.len());
        return Err(ModelError::TooFewRows { kind, need, have });
    }
    let splits = rows::splits(train, settings.splits);
    rows::check(&splits, settings.base.build()?.min_rows(), settings.base.kind())?;
    let study = Study {
        key: key(settings, train, context.seed),
        rows: rows::fingerprint(&splits, settings),
        judged: splits.iter().map(|s| s.judged.len()).sum(),
        splits: settings.splits,
        planned: settings.planned(),
    };
    let ended = resume(&study, context);
    if !ended.is_empty() {
        context.progress.resumed(&study, ended.len());
    }
    let bench = Bench {
        settings,
        splits: &splits,
        study: &study,
        context,
        total,
        ended: Mutex::new(ended),
    };
    let mut trials: Vec<SearchTrial> = Vec::new();
    let mut told: Vec<Told> = Vec::new();
    while told.len() < study.planned && bench.in_time(told.len()) {
        let from = told.len();
        let wanted = settings.batch.min(study.planned - from);
        let count = settings.sampler.at_once(&settings.space, from, wanted);
        for _ in 0..count {
            let Some(point) = bench.ask(&told) else { break };
            told.push(Told { point, score: Score::Pending });
        }
        let asked: Vec<Settings> =
            told[from..].iter().map(|t| settings.space.settings(&t.point)).collect();
        if asked.is_empty() {
            break;
        }
        for (place, trial) in bench.batch(&asked, &trials)?.into_iter().enumerate() {
            told[from + place].score = trial.score();
            trials.push(trial);
        }
    }
    let complete = |t: &&SearchTrial| t.state == TrialState::Complete;
    let order = |a: &&SearchTrial, b: &&SearchTrial| {
        Score::better_first(&a.score(), &b.score()).then(a.number.cmp(&b.number))
    };
    let Some(best) = trials.iter().filter(complete).min_by(order).map(|t| t.number) else {
        let last = trials.iter().rev().find_map(|t| t.error.clone()).unwrap_or_default();
        let message = format!("none of {} trials could be fitted; the last: {last}", trials.len());
        return Err(ModelError::Numerical { kind: "search".to_owned(), message });
    };
    let spec = settings.with(&trials[best].settings)?;
    Ok(SearchRecord { study, trials, best, spec })
}

/// What decides what each trial finds. How many there are does not, so that a search that
/// is given more trials goes on from those it has.
fn key(settings: &SearchSettings, train: &Dataset, seed: u64) -> foretell_market::Fingerprint {
    let whole = SearchSettings { trials: 1, time_budget: None, every: 1, ..settings.clone() };
    let json = serde_json::to_string(&whole).expect("settings are plain data");
    let mut hasher = FingerprintHasher::new("search/1");
    hasher.text(&json).u64(seed).fingerprint(&train.fingerprint());
    hasher.text(&cpu_features()).text(env!("CARGO_PKG_VERSION"));
    hasher.finish()
}

/// The trials that had ended before an interruption. What cannot be read any more is no
/// reason not to search.
fn resume(study: &Study, context: &FitContext<'_>) -> BTreeMap<usize, SearchTrial> {
    let saved = context.checkpoints.and_then(|all| all.load(&study.key.to_string()));
    let kept = saved.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    let same = kept.filter(|k| (k.study.key, k.study.rows) == (study.key, study.rows));
    same.map(|k| k.trials.into_iter().map(|t| (t.number, t)).collect()).unwrap_or_default()
}

/// What all trials of a search see.
struct Bench<'a> {
    settings: &'a SearchSettings,
    splits: &'a [Split],
    study: &'a Study,
    context: &'a FitContext<'a>,
    total: u64,
    /// Every trial that has ended, those from before an interruption too.
    ended: Mutex<BTreeMap<usize, SearchTrial>>,
}

impl Bench<'_> {
    fn in_time(&self, trials: usize) -> bool {
        let budget = self.settings.time_budget;
        // The clock begins with the first question; one trial is run whatever it says, since
        // there must be something to fit. What had ended before an interruption took its time
        // then.
        let ended = || lock(&self.ended).contains_key(&trials);
        budget.is_none_or(|b| {
            self.context.progress.in_time(self.study, b, trials) || trials == 0 || ended()
        })
    }

    /// The next point. The first is the model as it is written, where its own settings lie
    /// in their ranges: what is found is then never worse than that on the judged rows.
    fn ask(&self, told: &[Told]) -> Option<Vec<f64>> {
        let SearchSettings { space, sampler, points, .. } = self.settings;
        if told.is_empty() && matches!(sampler, Sampler::Tpe | Sampler::Random) {
            let json = serde_json::to_value(&self.settings.base).expect("settings are plain data");
            let told = |name: &String| json.get(name).cloned().or_else(|| untold(name));
            let own = |name: &String| Some((name.clone(), told(name)?));
            let own: Option<Settings> = space.0.keys().map(own).collect();
            if let Some(point) = own.and_then(|own| space.point(&own)) {
                return Some(point);
            }
        }
        sampler.ask(space, *points, told, self.context.seed)
    }

    /// Runs the trials that follow `earlier`, and answers with them in order.
    fn batch(
        &self,
        asked: &[Settings],
        earlier: &[SearchTrial],
    ) -> Result<Vec<SearchTrial>, ModelError> {
        let from = earlier.len();
        let courses: Vec<Course<'_>> = earlier.iter().map(course).collect();
        let threads = self.context.threads.clamp(1, asked.len());
        let inside = (self.context.threads / threads).max(1);
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<ModelError>> = Mutex::new(None);
        let work = || {
            while lock(&failure).is_none() {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(settings) = asked.get(place) else { return };
                if let Err(error) = self.trial(from + place, settings, &courses, inside) {
                    *lock(&failure) = Some(error);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let ended = lock(&self.ended);
        let taken = (from..from + asked.len()).filter_map(|number| ended.get(&number).cloned());
        Ok(taken.collect())
    }

    /// Runs one trial, unless it has ended before, and keeps it.
    fn trial(
        &self,
        number: usize,
        settings: &Settings,
        earlier: &[Course<'_>],
        threads: usize,
    ) -> Result<(), ModelError> {
        let known = lock(&self.ended).get(&number).filter(|t| t.settings == *settings).cloned();
        let trial = match known {
            Some(trial) => trial,
            None => self.run(number, settings, earlier, threads)?,
        };
        self.context.progress.trial(self.study, &trial);
        let mut ended = lock(&self.ended);
        ended.insert(number, trial);
        let done = ended.len() as u64;
        if let Some(all) = self.context.checkpoints {
            let state = || {
                let trials = ended.values().cloned().collect();
                let kept = Kept { study: self.study.clone(), trials };
                serde_json::to_vec(&kept).expect("trials are plain data")
            };
            all.save(&self.study.key.to_string(), &state);
        }
        // Told under the lock, so that the count never falls.
        self.context.progress.steps(done.min(self.total), self.total);
        Ok(())
    }

    fn run(
        &self,
        number: usize,
        settings: &Settings,
        earlier: &[Course<'_>],
        threads: usize,
    ) -> Result<SearchTrial, ModelError> {
        let mut trial = SearchTrial {
            number,
            settings: settings.clone(),
            state: TrialState::Complete,
            steps: Vec::new(),
            losses: Vec::new(),
            returns: Vec::new(),
            error: None,
        };
        let mut medians = Vec::new();
        for split in self.splits {
            match self.judge(settings, split, threads) {
                Ok((losses, said)) => {
                    trial.losses.extend(losses);
                    medians.extend(said);
                }
                Err(ModelError::Stopped { .. }) => {
                    let done = lock(&self.ended).len() as u64;
                    return Err(ModelError::Stopped { done, total: self.total });
                }
                // The fault of these settings, not of the rows or the search.
                Err(
                    error @ (ModelError::Numerical { .. }
                    | ModelError::NotFinite { .. }
                    | ModelError::ImpossibleAnswer { .. }
                    | ModelError::Boosting(_)
                    // The model as it is written was checked: these settings want more.
                    | ModelError::TooFewRows { .. }
                    | ModelError::Setting { .. }),
                ) => {
                    trial.state = TrialState::Failed;
                    trial.error = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(error),
            }
            let mean = trial.losses.iter().sum::<f64>() / trial.losses.len() as f64;
            trial.steps.push(mean);
            let here = Course { number, steps: &trial.steps, complete: false };
            if self.settings.pruner.gives_up(here, self.splits.len(), earlier) {
                trial.state = TrialState::Pruned;
                break;
            }
        }
        trial.returns = rows::sign_returns(self.splits, &medians, self.settings.cost_bp);
        Ok(trial)
    }

    /// The losses and medians of one split.
    fn judge(
        &self,
        settings: &Settings,
        split: &Split,
        threads: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), ModelError> {
        let context = FitContext { threads, progress: &(), ..*self.context };
        let fitted = self.settings.with(settings)?.build()?.fit(&split.train, &context)?;
        let said = fitted.predict(&split.judged.features, &split.judged.context)?;
        let losses = rows::losses(self.settings.objective, &split.judged, &said);
        Ok((losses, said.medians()))
    }
}

fn course(trial: &SearchTrial) -> Course<'_> {
    let complete = trial.state == TrialState::Complete;
    Course { number: trial.number, steps: &trial.steps, complete }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
