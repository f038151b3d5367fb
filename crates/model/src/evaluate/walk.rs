//! The walk: every recipe fitted anew at every refit, forecasting only what follows.
//!
//! Tasks (fold × recipe × seed) run side by side; each has its own seed and its own place in
//! the result, so that the number of threads changes nothing but the time. A recipe that fails
//! does so alone: the rest of its fits are left out, the others go on. The first seed of
//! every recipe goes through every fold first; a further one is begun only while there is
//! time, and what has begun is ended.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Dataset, Fold, Label, walk_forward};

use super::classifier::base_rate;
use super::failed::{FailedAt, FailedRecipe, Failures, fail_ensembles};
use super::finished::{
    FinishedFits, Rows, failure_from_bytes, failure_to_bytes, from_bytes, to_bytes,
};
use super::judge::Trial;
use super::metrics::{NaiveScale, crps};
use super::permutation::{shuffled_errors, summarised};
use super::realised::SquaredReturns;
use super::report::FoldSummary;
use super::seeds::{SeedScore, fold_seed};
use super::spread::{VarianceProxy, VarianceScale, second_moment};
use super::{EvaluationPlan, Recipe};
use crate::search::search;
use crate::{
    Accelerator, Checkpoints, Concern, EstimatorSpec, FitContext, FitProgress, LEVELS, MEDIAN,
    ModelError, Quantiles, SearchTrial, Study,
};

/// Hears how far an evaluation is; may be called from any thread.
pub trait EvaluationProgress: Send + Sync {
    /// `recipe` is being fitted in `fold` (from 1) of `folds`.
    fn fitting(&self, recipe: &str, fold: usize, folds: usize);

    /// `done` of `total` trees, rounds and single fits are finished, over all recipes
    /// and folds. Calls from several threads may arrive out of order.
    fn steps(&self, done: u64, total: u64);

    /// An epoch of a network that is being fitted in `fold` (from 1) is finished: its
    /// number of at most `total`, its training and its validation loss (NaN without one).
    fn epoch(&self, recipe: &str, fold: usize, epoch: (u64, u64), losses: (f64, f64)) {
        let _ = (recipe, fold, epoch, losses);
    }

    /// Where long fits keep how far they are.
    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        None
    }

    /// What trains networks elsewhere than on the processor.
    fn accelerator(&self) -> Option<&dyn Accelerator> {
        None
    }

    /// The search of a recipe in a fold (from 1) goes on after an interruption.
    fn resumed(&self, recipe: &str, fold: usize, study: &Study, done: usize) {
        let _ = (recipe, fold, study, done);
    }

    /// A trial of the search of a recipe in a fold (from 1) has ended.
    fn trial(&self, recipe: &str, fold: usize, study: &Study, trial: &SearchTrial) {
        let _ = (recipe, fold, study, trial);
    }

    /// Whether a search with a budget of time may go on after so many trials.
    fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        let _ = (study, budget, trials);
        true
    }

    /// A recipe has failed; the others go on.
    fn failed(&self, recipe: &FailedRecipe) {
        let _ = recipe;
    }

    /// Where finished fits are kept, so that an interrupted evaluation goes on.
    fn finished(&self) -> Option<&dyn FinishedFits> {
        None
    }

    /// Whether there is time to begin another seed of a recipe; the first is never asked for.
    fn time_for_another_seed(&self) -> bool {
        true
    }
}

/// Listens to nothing.
impl EvaluationProgress for () {
    fn fitting(&self, _recipe: &str, _fold: usize, _folds: usize) {}
    fn steps(&self, _done: u64, _total: u64) {}
}

/// The out-of-sample rows that all recipes share, without any forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    /// The step of the grid.
    pub interval: Interval,
    /// How far ahead labels end.
    pub horizon: Interval,
    /// The fits, in time order.
    pub folds: Vec<FoldSummary>,
    /// Decision time per row (UTC), rising.
    pub times: Vec<Timestamp>,
    /// When the outcome of each row is known (UTC).
    pub known_at: Vec<Timestamp>,
    /// The outcome per row: log return of the horizon.
    pub outcomes: Vec<f64>,
    /// Every labelled row of the dataset, training included: (when known, label).
    pub history: Vec<(Timestamp, f64)>,
    /// What variance forecasts are judged by.
    pub proxy: VarianceProxy,
    /// That proxy per row; NaN where it is not known.
    pub proxies: Vec<f64>,
    /// Forecast of that proxy by the realised variance of the horizon before, scaled in its
    /// fold, per row: NaN where an interval of it is missing. Absent where the proxy is a
    /// squared return: that of the interval before says next to nothing.
    pub previous: Option<Vec<f64>>,
    /// Forecast of that proxy by the exponentially weighted variance, scaled in its fold, per
    /// row. Absent where the dataset has no column of it.
    pub ewma: Option<Vec<f64>>,
    /// The proxy of every labelled row of the dataset.
    all_proxies: Vec<f64>,
    /// Rows of the dataset that are judged and learnt from, per fold.
    splits: Vec<Fold>,
    /// Folds before the first of these.
    skipped: usize,
}

impl Walk {
    /// Plans the walk over a dataset.
    ///
    /// # Errors
    /// When a label is missing or the data is too short for one fold.
    pub fn plan(
        dataset: &Dataset,
        returns: Option<&SquaredReturns>,
        plan: &EvaluationPlan,
    ) -> Result<Self, ModelError> {
        let labels = &dataset.labels;
        if let Some(row) = labels.iter().position(|l| !l.value.is_finite()) {
            let (column, value) = ("label".to_owned(), labels[row].value);
            return Err(ModelError::NotFinite { row, column, value });
        }
        let mut splits = walk_forward(labels, &plan.walk_forward)?;
        let skipped = splits.len().saturating_sub(plan.folds.unwrap_or(usize::MAX));
        splits.drain(..skipped);
        if splits.is_empty() {
            let message = "no fold has both training and test rows: bring more data or shorten \
                           `initial_train`";
            return Err(ModelError::Evaluation(message.to_owned()));
        }
        let mut first_row = 0;
        let mut folds = Vec::with_capacity(splits.len());
        for split in &splits {
            let train = || split.learnt().map(|i| &labels[i]);
            let scale = NaiveScale::of(train().map(|l| l.value));
            folds.push(FoldSummary {
                fit_at: split.fit_at,
                train_from: train().map(|l| l.start).next().unwrap_or(split.fit_at),
                train_to: train().map(|l| l.end).max().unwrap_or(split.fit_at),
                train_rows: train().count(),
                purged: split.purged,
                first_row,
                rows: split.test.len(),
                naive_mae: scale.absolute,
                naive_mse: scale.squared,
                base_rate: base_rate(train().map(|l| l.value)),
            });
            first_row += split.test.len();
        }
        let judged = || splits.iter().flat_map(|s| &labels[s.test.clone()]);
        // Inside one interval there is nothing finer than its own return.
        let finer = returns.filter(|_| dataset.horizon > dataset.interval);
        let all_proxies: Vec<f64> = match finer {
            Some(returns) => {
                let realised = |l: &Label| {
                    returns.between(l.start, l.start + dataset.horizon).unwrap_or(f64::NAN)
                };
                labels.iter().map(realised).collect()
            }
            None => labels.iter().map(|l| l.value * l.value).collect(),
        };
        let proxy = match finer {
            Some(_) => VarianceProxy::RealisedVariance,
            None => VarianceProxy::SquaredReturn,
        };
        let previous = finer.map(|returns| {
            let before =
                |i: usize| returns.between(labels[i].start - dataset.horizon, labels[i].start);
            let of = |split: &Fold| {
                let pairs = split.learnt().filter_map(|i| Some((all_proxies[i], before(i)?)));
                let scale = VarianceScale::fit(pairs);
                let forecast = |i| before(i).map_or(f64::NAN, |raw| scale.forecast(raw));
                split.test.clone().map(forecast).collect::<Vec<f64>>()
            };
            splits.iter().flat_map(of).collect()
        });
        let ewma = dataset.context_index("ewma_variance").map(|column| {
            let raw = |i: usize| dataset.context.get(i, column);
            let of = |split: &Fold| {
                let pairs = split.learnt().map(|i| (all_proxies[i], raw(i)));
                let scale = VarianceScale::fit(pairs);
                split.test.clone().map(|i| scale.forecast(raw(i))).collect::<Vec<f64>>()
            };
            splits.iter().flat_map(of).collect()
        });
        let mut history: Vec<(Timestamp, f64)> = labels.iter().map(|l| (l.end, l.value)).collect();
        // Labels become known in the order of their decisions, corrected ones apart.
        history.sort_by_key(|(known_at, _)| *known_at);
        Ok(Self {
            interval: dataset.interval,
            horizon: dataset.horizon,
            times: judged().map(|l| l.start).collect(),
            known_at: judged().map(|l| l.end).collect(),
            outcomes: judged().map(|l| l.value).collect(),
            history,
            proxy,
            proxies: splits.iter().flat_map(|s| &all_proxies[s.test.clone()]).copied().collect(),
            previous,
            ewma,
            all_proxies,
            folds,
            splits,
            skipped,
        })
    }

    /// A walk over rows that were forecast elsewhere; the outcomes are all the history.
    /// The folds must cover the rows in order.
    ///
    /// # Panics
    /// When lengths differ (a bug of the caller).
    pub fn on_rows(
        interval: Interval,
        horizon: Interval,
        folds: Vec<FoldSummary>,
        times: Vec<Timestamp>,
        known_at: Vec<Timestamp>,
        outcomes: Vec<f64>,
    ) -> Self {
        let rows = folds.iter().map(|f| f.rows).sum::<usize>();
        assert!(rows == times.len() && rows == known_at.len() && rows == outcomes.len());
        let history = known_at.iter().copied().zip(outcomes.iter().copied()).collect();
        let proxies: Vec<f64> = outcomes.iter().map(|y| y * y).collect();
        Self {
            interval,
            horizon,
            folds,
            times,
            known_at,
            outcomes,
            history,
            proxy: VarianceProxy::SquaredReturn,
            previous: None,
            ewma: None,
            all_proxies: proxies.clone(),
            proxies,
            splits: Vec::new(),
            skipped: 0,
        }
    }

    /// The folds as ranges of the dataset.
    pub(crate) fn splits(&self) -> &[Fold] {
        &self.splits
    }

    /// The rows on which variance forecasts are judged: none begins before the one before
    /// it has ended, and each has its proxy. Without gaps every [`Self::steps`]-th row.
    pub fn apart(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = Vec::new();
        for i in 0..self.times.len() {
            let begun = rows.last().is_some_and(|&last| self.times[i] < self.known_at[last]);
            if !begun && self.proxies[i].is_finite() {
                rows.push(i);
            }
        }
        rows
    }

    /// The horizon in steps of the grid, at least one.
    pub fn steps(&self) -> usize {
        let (horizon, interval) = (self.horizon.secs(), self.interval.secs());
        usize::try_from((horizon + interval - 1) / interval).unwrap_or(1).max(1)
    }

    /// The scale of MASE and RMSSE of each row: that of its fold's training rows.
    pub fn scales(&self) -> Vec<NaiveScale> {
        let scale = |f: &FoldSummary| NaiveScale { absolute: f.naive_mae, squared: f.naive_mse };
        self.folds.iter().flat_map(|f| std::iter::repeat_n(scale(f), f.rows)).collect()
    }

    /// The base rate of rises of each row: that of its fold's training rows.
    pub fn base_rates(&self) -> Vec<f64> {
        self.folds.iter().flat_map(|f| std::iter::repeat_n(f.base_rate, f.rows)).collect()
    }
}

/// What a walk leaves: its rows, what each recipe said of them, and who said nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The rows.
    pub walk: Walk,
    /// The recipes that went through every fold, in their order.
    pub trials: Vec<Trial>,
    /// Those that failed, in their order.
    pub failed: Vec<FailedRecipe>,
}

/// Fits every recipe in every fold and forecasts the rows that follow each fit. A recipe
/// that fails by its own fault ([`Concern::Recipe`]) is left out from there on.
///
/// # Errors
/// As [`super::evaluate`]. Of several failing fits the one of the earliest fold and
/// recipe is reported.
pub fn walk(
    dataset: &Dataset,
    returns: Option<&SquaredReturns>,
    recipes: &[Recipe],
    plan: &EvaluationPlan,
    stop: &AtomicBool,
    progress: &dyn EvaluationProgress,
) -> Result<Walked, ModelError> {
    let walk = Walk::plan(dataset, returns, plan)?;
    let tasks = tasks(recipes, walk.splits.len(), plan.seeds);
    // Settings are searched for first; the folds in between use what was found before them.
    let searches: Vec<(usize, usize)> = (0..walk.splits.len())
        .flat_map(|fold| (0..recipes.len()).map(move |recipe| (fold, recipe)))
        .filter(|(fold, recipe)| leader(&recipes[*recipe].spec, *fold, walk.skipped) == Some(*fold))
        .collect();
    let threads_for = |tasks: usize| plan.threads.clamp(1, tasks.max(1));
    let trials = |(_, recipe): &(usize, usize)| recipes[*recipe].spec.steps().saturating_sub(1);
    let mut field = Field {
        dataset,
        recipes,
        walk: &walk,
        plan,
        // Threads beyond the number of tasks help inside the fits.
        threads_per_fit: (plan.threads / threads_for(searches.len())).max(1),
        stop,
        progress,
        done: AtomicU64::new(0),
        total: tasks.iter().map(|t| recipes[t.recipe].spec.learnt().steps().max(1)).sum::<u64>()
            + searches.iter().map(trials).sum::<u64>(),
        rows: walk.splits.iter().map(|_| Mutex::new(None)).collect(),
        waiting: walk.splits.iter().map(|_| AtomicUsize::new(recipes.len())).collect(),
        found: BTreeMap::new(),
        keys: progress.finished().is_some().then(Rows::new),
        begun: (0..recipes.len() * plan.seeds).map(|_| OnceLock::new()).collect(),
        failures: Failures::new(recipes.len()),
    };
    let found = side_by_side(threads_for(searches.len()), searches.len(), |i| {
        field.search(i, searches[i].0, searches[i].1)
    })?;
    let searched = searches.len();
    let found = searches.into_iter().zip(found);
    field.found = found.filter_map(|(place, spec)| Some((place, spec?))).collect();
    field.threads_per_fit = (plan.threads / threads_for(tasks.len())).max(1);
    let results = side_by_side(threads_for(tasks.len()), tasks.len(), |i| {
        field.task(searched + i, &tasks[i])
    })?;
    let mut failed = field.failures.into_inner();
    fail_ensembles(recipes, &mut failed);
    let ensembles = failed.iter().flatten().filter(|f| !f.spec.members().is_empty());
    ensembles.for_each(|f| progress.failed(f));
    let mut parts: Vec<Vec<Said>> = (0..recipes.len() * plan.seeds).map(|_| Vec::new()).collect();
    for (task, said) in tasks.iter().zip(results) {
        parts[task.seed * recipes.len() + task.recipe].extend(said);
    }
    let judged = recipes.iter().enumerate().filter(|(r, _)| failed[*r].is_none());
    let trials = judged.map(|(r, recipe)| {
        let of_seed = |seed: usize| &parts[seed * recipes.len() + r];
        let further = (1..plan.seeds).filter(|s| !of_seed(*s).is_empty());
        let shuffled = || (0..plan.seeds).filter_map(|s| of_seed(s).last());
        let shuffled: Vec<Vec<f64>> =
            shuffled().map(|s| s.shuffled.clone()).filter(|s| !s.is_empty()).collect();
        Trial {
            name: recipe.name.clone(),
            spec: recipe.spec.clone(),
            quantiles: of_seed(0).iter().flat_map(|s| &s.quantiles).copied().collect(),
            variance: judged_on_spread(&recipe.spec)
                .then(|| of_seed(0).iter().flat_map(|s| &s.variance).copied().collect()),
            further_seeds: further.map(|s| score(of_seed(s), &walk.outcomes)).collect(),
            permutation: match shuffled.is_empty() {
                true => Vec::new(),
                false => summarised(&dataset.feature_names, &shuffled),
            },
        }
    });
    let trials = trials.collect();
    Ok(Walked { walk, trials, failed: failed.into_iter().flatten().collect() })
}

/// Does tasks on some threads. Of several failing ones the first is reported.
fn side_by_side<T: Send>(
    threads: usize,
    tasks: usize,
    task: impl Fn(usize) -> Result<T, ModelError> + Sync,
) -> Result<Vec<T>, ModelError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Vec<Mutex<Option<Result<T, ModelError>>>> =
        (0..tasks).map(|_| Mutex::new(None)).collect();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= tasks {
                return;
            }
            let result = task(i);
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            *results[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    let done = results.into_iter().map(|slot| {
        // Tasks start in order, so an empty place is only ever behind a failure.
        let result = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        result.expect("every task before the first failure has a result")
    });
    done.collect()
}

/// The fold whose search a fold takes its settings from: its own, or an earlier one; `None`
/// for a recipe without a search. Which folds search does not depend on how many before
/// them are judged, but for the first judged one, which has nobody to take from.
fn leader(spec: &EstimatorSpec, fold: usize, skipped: usize) -> Option<usize> {
    let every = spec.search()?.every.max(1);
    Some((fold + skipped - (fold + skipped) % every).saturating_sub(skipped))
}

/// One fit.
struct Task {
    fold: usize,
    recipe: usize,
    seed: usize,
}

/// Every fit in the order in which they begin: all recipes with their first seed, fold by
/// fold, then seed after seed the recipes that draw.
fn tasks(recipes: &[Recipe], folds: usize, seeds: usize) -> Vec<Task> {
    let first = (0..folds)
        .flat_map(|fold| (0..recipes.len()).map(move |recipe| Task { fold, recipe, seed: 0 }));
    let drawn = |seed: usize| {
        let drawing = (0..recipes.len()).filter(|r| recipes[*r].spec.refit_draws());
        drawing.flat_map(move |recipe| (0..folds).map(move |fold| Task { fold, recipe, seed }))
    };
    first.chain((1..seeds).flat_map(drawn)).collect()
}

/// The errors of one seed on all rows.
fn score(said: &[Said], outcomes: &[f64]) -> SeedScore {
    let quantiles: Vec<f64> = said.iter().flat_map(|s| &s.quantiles).copied().collect();
    let rows = || quantiles.chunks_exact(LEVELS).zip(outcomes);
    let n = outcomes.len() as f64;
    SeedScore {
        mae: rows().map(|(q, y)| (y - q[MEDIAN]).abs()).sum::<f64>() / n,
        crps: rows().map(|(q, y)| crps(*y, q)).sum::<f64>() / n,
    }
}

/// Whose variance forecasts are judged: those who promise a spread, and the random walk
/// that they must beat.
fn judged_on_spread(spec: &EstimatorSpec) -> bool {
    spec.forecasts_spread() || *spec == EstimatorSpec::RandomWalk
}

/// What one recipe said in one fold with one seed.
struct Said {
    /// Nine per row.
    quantiles: Vec<f64>,
    /// One per row; empty for a recipe that is not judged on its spread.
    variance: Vec<f64>,
    /// Growth of the error per feature and shuffle; empty but in the last fold.
    shuffled: Vec<f64>,
}

/// The training and test rows of one fold, shared by its recipes.
type FoldRows = Arc<(Dataset, Dataset)>;

/// The most rows on which features are shuffled: every forecast is made once for each
/// feature and shuffle.
const SHUFFLED_ROWS: usize = 200;

/// What all tasks see.
struct Field<'a> {
    dataset: &'a Dataset,
    recipes: &'a [Recipe],
    walk: &'a Walk,
    plan: &'a EvaluationPlan,
    threads_per_fit: usize,
    stop: &'a AtomicBool,
    progress: &'a dyn EvaluationProgress,
    done: AtomicU64,
    total: u64,
    rows: Vec<Mutex<Option<FoldRows>>>,
    /// Recipes whose first seed has not been through a fold yet, per fold.
    waiting: Vec<AtomicUsize>,
    /// What searches found, by fold and recipe.
    found: BTreeMap<(usize, usize), EstimatorSpec>,
    /// Where finished fits are kept: what identifies the rows.
    keys: Option<Rows>,
    /// Whether there was time to begin a seed of a recipe, decided once for all its folds.
    begun: Vec<OnceLock<bool>>,
    /// The recipes that have failed. Searches come before fits in the order of work.
    failures: Failures,
}

impl Field<'_> {
    /// Searches for the settings of a recipe on the training rows of a fold; nothing when the
    /// recipe has failed.
    fn search(
        &self,
        order: usize,
        fold: usize,
        place: usize,
    ) -> Result<Option<EstimatorSpec>, ModelError> {
        let recipe = &self.recipes[place];
        let Some(settings) = recipe.spec.search() else { return Ok(Some(recipe.spec.clone())) };
        if self.failures.before(place, order) {
            return Ok(None);
        }
        self.progress.fitting(&recipe.name, fold + 1, self.walk.splits.len());
        // Not kept for the fits: the rows of all folds at once may be too many.
        let train = self.train_of(fold);
        let meter = self.meter(&recipe.name, fold);
        let seed = fold_seed(self.plan.seed, fold + self.skipped(), 0);
        let found = search(settings, &train, &self.context(seed, &meter));
        let found = self.settle((place, order), FailedAt::Search { fold: fold + 1 }, found)?;
        // A search may end before its last trial.
        meter.steps(settings.planned() as u64, settings.planned() as u64);
        Ok(found.map(|found| found.spec))
    }

    /// What a recipe's work came to: nothing when it failed by the recipe's own fault, which
    /// is noted.
    fn settle<T>(
        &self,
        (recipe, order): (usize, usize),
        at: FailedAt,
        result: Result<T, ModelError>,
    ) -> Result<Option<T>, ModelError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error)
                if error.concern() == Concern::Recipe
                    && !self.recipes[recipe].spec.is_baseline() =>
            {
                self.note((recipe, order), at, error.to_string());
                Ok(None)
            }
            Err(error) => Err(self.overall(error)),
        }
    }

    fn note(&self, (recipe, order): (usize, usize), at: FailedAt, reason: String) {
        let Recipe { name, spec } = self.recipes[recipe].clone();
        let failed = FailedRecipe { name, spec, at, reason };
        let unheard = self.failures.note(recipe, order, failed.clone());
        // Of an ensemble it is known in the end whether it failed by itself.
        if unheard && failed.spec.members().is_empty() {
            self.progress.failed(&failed);
        }
    }

    fn meter<'m>(&'m self, recipe: &'m str, fold: usize) -> Meter<'m> {
        Meter { field: self, place: (recipe, fold + 1), last: AtomicU64::new(0) }
    }

    fn context<'m>(&'m self, seed: u64, meter: &'m Meter<'m>) -> FitContext<'m> {
        FitContext {
            seed,
            threads: self.threads_per_fit,
            stop: self.stop,
            progress: meter,
            checkpoints: self.progress.checkpoints(),
            accelerator: self.progress.accelerator(),
        }
    }

    /// What a task fits: the recipe, with the settings that were found where it searches.
    fn spec_of(&self, task: &Task) -> &EstimatorSpec {
        let spec = &self.recipes[task.recipe].spec;
        let leader = leader(spec, task.fold, self.skipped());
        leader.and_then(|leader| self.found.get(&(leader, task.recipe))).unwrap_or(spec)
    }

    /// What one recipe says of the test rows of a fold; nothing when there is no time, or
    /// when the recipe has failed.
    fn task(&self, order: usize, task: &Task) -> Result<Option<Said>, ModelError> {
        let done = self.done.load(Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            return Err(ModelError::Stopped { done, total: self.total });
        }
        let recipe = &self.recipes[task.recipe];
        // As planned: what a search found may take more steps or fewer.
        let steps = recipe.spec.learnt().steps().max(1);
        let meter = self.meter(&recipe.name, task.fold);
        let said = self.answer(order, task, &meter)?;
        meter.steps(steps, steps);
        if task.seed == 0 && self.waiting[task.fold].fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.rows[task.fold].lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(said)
    }

    /// The work of a task, unless it was done before or need not be.
    fn answer(
        &self,
        order: usize,
        task: &Task,
        meter: &Meter<'_>,
    ) -> Result<Option<Said>, ModelError> {
        let recipe = &self.recipes[task.recipe];
        let unit = &self.begun[task.seed * self.recipes.len() + task.recipe];
        if self.failures.before(task.recipe, order)
            || task.seed > 0 && !unit.get_or_init(|| self.progress.time_for_another_seed())
        {
            return Ok(None);
        }
        let at = FailedAt::Fit { fold: task.fold + 1, seed: task.seed + 1 };
        let seed = fold_seed(self.plan.seed, task.fold + self.skipped(), task.seed);
        let split = &self.walk.splits[task.fold];
        let kept = self.progress.finished().zip(self.keys.as_ref());
        let kept = kept.map(|(kept, rows)| {
            let fold = (self.dataset, &self.walk.all_proxies[..], split);
            (kept, rows.key(task.fold, fold, self.spec_of(task), seed))
        });
        let piece = kept.as_ref().and_then(|(kept, key)| kept.load(key));
        if let Some(said) = piece.as_ref().and_then(|piece| self.found(piece, task)) {
            return Ok(Some(said));
        }
        if let Some(reason) = piece.as_deref().and_then(failure_from_bytes) {
            self.note((task.recipe, order), at, reason);
            return Ok(None);
        }
        self.progress.fitting(&recipe.name, task.fold + 1, self.walk.splits.len());
        let said = self.said(task, seed, meter);
        if let Some((kept, key)) = &kept {
            match &said {
                Ok(said) => {
                    let lists = [&said.quantiles[..], &said.variance, &said.shuffled];
                    kept.keep(key, &to_bytes(&lists));
                }
                Err(error) if error.concern() == Concern::Recipe => {
                    kept.keep(key, &failure_to_bytes(&error.to_string()));
                }
                Err(_) => {}
            }
        }
        self.settle((task.recipe, order), at, said)
    }

    /// A kept piece, when it is whole and fits the rows.
    fn found(&self, bytes: &[u8], task: &Task) -> Option<Said> {
        let [quantiles, variance, shuffled] = from_bytes(bytes)?;
        let rows = self.walk.splits[task.fold].test.len();
        let spec = &self.recipes[task.recipe].spec;
        let judged = if judged_on_spread(spec) { rows } else { 0 };
        let wanted = self.shuffles(task);
        let features = crate::explain::features_of(&self.dataset.feature_names).len();
        let fits = quantiles.len() == rows * LEVELS
            && variance.len() == judged
            && shuffled.len() == wanted * features;
        fits.then_some(Said { quantiles, variance, shuffled })
    }

    /// Fits a recipe in a fold and asks it.
    fn said(&self, task: &Task, seed: u64, meter: &Meter<'_>) -> Result<Said, ModelError> {
        let recipe = &self.recipes[task.recipe];
        let rows = match task.seed {
            0 => self.rows_of(task.fold),
            // Nobody shares them: kept, they would all be in memory at once.
            _ => Arc::new(self.cut(task.fold)),
        };
        let (train, test) = (&rows.0, &rows.1);
        let context = self.context(seed, meter);
        let spec = self.spec_of(task);
        let fitted = spec.build()?.fit(train, &context)?;
        let quantiles = fitted.predict(&test.features, &test.context)?;
        let mut variance = Vec::new();
        if judged_on_spread(&recipe.spec) {
            let moments =
                |q: &Quantiles| (0..q.rows()).map(|i| second_moment(q.row(i))).collect::<Vec<_>>();
            let raw = moments(&fitted.predict(&train.features, &train.context)?);
            let proxies = self.walk.splits[task.fold].learnt().map(|i| self.walk.all_proxies[i]);
            let scale = VarianceScale::fit(proxies.zip(raw));
            variance = moments(&quantiles).into_iter().map(|v| scale.forecast(v)).collect();
        }
        let shuffled = match self.shuffles(task) {
            0 => Vec::new(),
            shuffles => {
                let few = thinned(test, SHUFFLED_ROWS);
                shuffled_errors(&*fitted, &few, (shuffles, seed), self.stop)?
            }
        };
        Ok(Said { quantiles: quantiles.as_slice().to_vec(), variance, shuffled })
    }

    /// How often features are shuffled after a task: only in the last fold.
    fn shuffles(&self, task: &Task) -> usize {
        let last = task.fold + 1 == self.walk.splits.len();
        let reads = self.recipes[task.recipe].spec.reads_features();
        if last && reads { self.plan.shuffles } else { 0 }
    }

    /// Folds before the first that is judged: a fold keeps its seed however many are.
    fn skipped(&self) -> usize {
        self.walk.skipped
    }

    /// A stop inside one fit is a stop of the whole.
    fn overall(&self, error: ModelError) -> ModelError {
        match error {
            ModelError::Stopped { .. } => {
                ModelError::Stopped { done: self.done.load(Ordering::Relaxed), total: self.total }
            }
            other => other,
        }
    }

    fn train_of(&self, fold: usize) -> Dataset {
        let split = &self.walk.splits[fold];
        match split.late.is_empty() {
            true => self.dataset.slice(split.train.clone()),
            false => self.dataset.select(&split.learnt().collect::<Vec<_>>()),
        }
    }

    fn rows_of(&self, fold: usize) -> FoldRows {
        let mut slot = self.rows[fold].lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| Arc::new(self.cut(fold))).clone()
    }

    /// The training and test rows of a fold.
    fn cut(&self, fold: usize) -> (Dataset, Dataset) {
        let test = &self.walk.splits[fold].test;
        (self.train_of(fold), self.dataset.slice(test.clone()))
    }
}

/// Adds the steps of one fit to those of the whole.
struct Meter<'a> {
    field: &'a Field<'a>,
    place: (&'a str, usize),
    last: AtomicU64,
}

impl FitProgress for Meter<'_> {
    fn steps(&self, done: u64, _total: u64) {
        let before = self.last.fetch_max(done, Ordering::Relaxed);
        let more = done.saturating_sub(before);
        let sum = self.field.done.fetch_add(more, Ordering::Relaxed) + more;
        self.field.progress.steps(sum.min(self.field.total), self.field.total);
    }

    fn epoch(&self, number: u64, total: u64, loss: f64, validation: f64) {
        let (recipe, fold) = self.place;
        self.field.progress.epoch(recipe, fold, (number, total), (loss, validation));
    }

    fn resumed(&self, study: &Study, done: usize) {
        self.field.progress.resumed(self.place.0, self.place.1, study, done);
    }

    fn trial(&self, study: &Study, trial: &SearchTrial) {
        self.field.progress.trial(self.place.0, self.place.1, study, trial);
    }

    fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        self.field.progress.in_time(study, budget, trials)
    }
}

/// At most so many rows, evenly over the time.
fn thinned(rows: &Dataset, most: usize) -> Dataset {
    let (count, taken) = (rows.len(), rows.len().min(most));
    rows.select(&(0..taken).map(|i| i * count / taken.max(1)).collect::<Vec<_>>())
}
