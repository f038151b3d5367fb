//! The walk: every recipe fitted anew at every refit, forecasting only what follows.
//!
//! Tasks (fold × recipe) run side by side; each has its own seed and its own place in
//! the result, so that the number of threads changes nothing but the time.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Dataset, Fold, Label, walk_forward};

use super::judge::Trial;
use super::metrics::NaiveScale;
use super::realised::SquaredReturns;
use super::report::FoldSummary;
use super::spread::{VarianceProxy, VarianceScale, second_moment};
use super::{EvaluationPlan, Recipe};
use crate::search::search;
use crate::{
    Checkpoints, EstimatorSpec, FitContext, FitProgress, ModelError, Quantiles, SearchTrial, Study,
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
        let splits = walk_forward(labels, &plan.walk_forward)?;
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
}

/// Fits every recipe in every fold and forecasts the rows that follow each fit.
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
) -> Result<(Walk, Vec<Trial>), ModelError> {
    let walk = Walk::plan(dataset, returns, plan)?;
    let tasks = walk.splits.len() * recipes.len();
    // Settings are searched for first; the folds in between use what was found before them.
    let searches: Vec<(usize, usize)> = (0..walk.splits.len())
        .flat_map(|fold| (0..recipes.len()).map(move |recipe| (fold, recipe)))
        .filter(|(fold, recipe)| leader(&recipes[*recipe].spec, *fold) == Some(*fold))
        .collect();
    let threads_for = |tasks: usize| plan.threads.clamp(1, tasks.max(1));
    let trials = |(_, recipe): &(usize, usize)| recipes[*recipe].spec.steps().saturating_sub(1);
    let mut field = Field {
        dataset,
        recipes,
        walk: &walk,
        seed: plan.seed,
        // Threads beyond the number of tasks help inside the fits.
        threads_per_fit: (plan.threads / threads_for(searches.len())).max(1),
        stop,
        progress,
        done: AtomicU64::new(0),
        total: recipes.iter().map(|r| r.spec.learnt().steps().max(1)).sum::<u64>()
            * walk.splits.len() as u64
            + searches.iter().map(trials).sum::<u64>(),
        rows: walk.splits.iter().map(|_| Mutex::new(None)).collect(),
        waiting: walk.splits.iter().map(|_| AtomicUsize::new(recipes.len())).collect(),
        found: BTreeMap::new(),
    };
    let found = side_by_side(threads_for(searches.len()), searches.len(), |i| {
        field.search(searches[i].0, searches[i].1)
    })?;
    field.found = searches.into_iter().zip(found).collect();
    field.threads_per_fit = (plan.threads / threads_for(tasks)).max(1);
    let results = side_by_side(threads_for(tasks), tasks, |task| {
        field.task(task / recipes.len(), task % recipes.len())
    })?;
    let trial = |recipe: &Recipe| Trial {
        name: recipe.name.clone(),
        spec: recipe.spec.clone(),
        quantiles: Vec::new(),
        variance: judged_on_spread(&recipe.spec).then(Vec::new),
    };
    let mut trials: Vec<Trial> = recipes.iter().map(trial).collect();
    for (task, part) in results.into_iter().enumerate() {
        let trial = &mut trials[task % recipes.len()];
        trial.quantiles.extend(part.quantiles);
        if let Some(variance) = &mut trial.variance {
            variance.extend(part.variance);
        }
    }
    Ok((walk, trials))
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
/// for a recipe without a search.
fn leader(spec: &EstimatorSpec, fold: usize) -> Option<usize> {
    spec.search().map(|search| fold - fold % search.every.max(1))
}

/// Whose variance forecasts are judged: those who promise a spread, and the random walk
/// that they must beat.
fn judged_on_spread(spec: &EstimatorSpec) -> bool {
    spec.forecasts_spread() || *spec == EstimatorSpec::RandomWalk
}

/// What one recipe said in one fold.
struct Said {
    /// Nine per row.
    quantiles: Vec<f64>,
    /// One per row; empty for a recipe that is not judged on its spread.
    variance: Vec<f64>,
}

/// The training and test rows of one fold, shared by its recipes.
type FoldRows = Arc<(Dataset, Dataset)>;

/// What all tasks see.
struct Field<'a> {
    dataset: &'a Dataset,
    recipes: &'a [Recipe],
    walk: &'a Walk,
    seed: u64,
    threads_per_fit: usize,
    stop: &'a AtomicBool,
    progress: &'a dyn EvaluationProgress,
    done: AtomicU64,
    total: u64,
    rows: Vec<Mutex<Option<FoldRows>>>,
    waiting: Vec<AtomicUsize>,
    /// What searches found, by fold and recipe.
    found: BTreeMap<(usize, usize), EstimatorSpec>,
}

impl Field<'_> {
    /// Searches for the settings of a recipe on the training rows of a fold.
    fn search(&self, fold: usize, recipe: usize) -> Result<EstimatorSpec, ModelError> {
        let recipe = &self.recipes[recipe];
        let Some(settings) = recipe.spec.search() else { return Ok(recipe.spec.clone()) };
        self.progress.fitting(&recipe.name, fold + 1, self.walk.splits.len());
        // Not kept for the fits: the rows of all folds at once may be too many.
        let train = self.train_of(fold);
        let meter = self.meter(&recipe.name, fold);
        let found = search(settings, &train, &self.context(fold, &meter));
        let found = found.map_err(|e| self.overall(e))?;
        // A search may end before its last trial.
        meter.steps(settings.planned() as u64, settings.planned() as u64);
        Ok(found.spec)
    }

    fn meter<'m>(&'m self, recipe: &'m str, fold: usize) -> Meter<'m> {
        Meter { field: self, place: (recipe, fold + 1), last: AtomicU64::new(0) }
    }

    fn context<'m>(&'m self, fold: usize, meter: &'m Meter<'m>) -> FitContext<'m> {
        FitContext {
            seed: fold_seed(self.seed, fold),
            threads: self.threads_per_fit,
            stop: self.stop,
            progress: meter,
            checkpoints: self.progress.checkpoints(),
        }
    }

    /// Nine quantiles for each test row of a fold, by one recipe.
    fn task(&self, fold: usize, recipe: usize) -> Result<Said, ModelError> {
        let done = self.done.load(Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            return Err(ModelError::Stopped { done, total: self.total });
        }
        let searched = leader(&self.recipes[recipe].spec, fold);
        let found = searched.and_then(|leader| self.found.get(&(leader, recipe)));
        let recipe = &self.recipes[recipe];
        let spec = found.unwrap_or(&recipe.spec);
        self.progress.fitting(&recipe.name, fold + 1, self.walk.splits.len());
        let rows = self.rows_of(fold);
        let (train, test) = (&rows.0, &rows.1);
        let meter = self.meter(&recipe.name, fold);
        let context = self.context(fold, &meter);
        let fitted = spec.build()?.fit(train, &context).map_err(|e| self.overall(e))?;
        // As planned: what a search found may take more steps or fewer.
        meter.steps(recipe.spec.learnt().steps().max(1), recipe.spec.learnt().steps().max(1));
        let quantiles = fitted.predict(&test.features, &test.context)?;
        let mut variance = Vec::new();
        if judged_on_spread(&recipe.spec) {
            let moments =
                |q: &Quantiles| (0..q.rows()).map(|i| second_moment(q.row(i))).collect::<Vec<_>>();
            let raw = moments(&fitted.predict(&train.features, &train.context)?);
            let proxies = self.walk.splits[fold].learnt().map(|i| self.walk.all_proxies[i]);
            let scale = VarianceScale::fit(proxies.zip(raw));
            variance = moments(&quantiles).into_iter().map(|v| scale.forecast(v)).collect();
        }
        if self.waiting[fold].fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.rows[fold].lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(Said { quantiles: quantiles.as_slice().to_vec(), variance })
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
        let test = &self.walk.splits[fold].test;
        let cut = || Arc::new((self.train_of(fold), self.dataset.slice(test.clone())));
        slot.get_or_insert_with(cut).clone()
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

/// A seed of its own for each fold (the finaliser of splitmix64), the same for all
/// recipes of the fold.
fn fold_seed(seed: u64, fold: usize) -> u64 {
    let mut z = seed.wrapping_add((fold as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
