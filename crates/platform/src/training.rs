//! The train station: walk-forward evaluation, then refits on all allowed rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foretell_forecaster::FeatureRange;
use foretell_market::{Fingerprint, Interval};
use foretell_model::evaluate::{
    Deviation, Evaluation, EvaluationPlan, EvaluationProgress, FailedAt, FailedRecipe,
    FinishedFits, PermutationImportance, Promotion, Recipe, RecipeEvaluation, SpreadEvaluation,
    SpreadSkill, SquaredReturns, evaluate, fail_ensembles,
};
use foretell_model::{
    Accelerator, Checkpoints, Concern, EstimatorSpec, FitContext, FitProgress, SavedModel,
    SearchRecord, SearchTrial, Study, cpu_features,
};
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use crate::cards;
use crate::error::PlatformError;
use crate::imported;
use crate::keeper::Keeper;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pieces::Pieces;
use crate::pipeline::Pipeline;
use crate::views::{FailedLine, RanksView, RecipeLine, SeedsLine};

/// The name under which the random walk stands in every table.
pub const RANDOM_WALK: &str = "random walk";

/// The rows of a final refit.
#[derive(Debug, Clone)]
pub(crate) struct Learning {
    /// The rows.
    pub rows: Arc<Dataset>,
    /// Their fingerprint.
    pub fingerprint: Fingerprint,
    /// Whether they include the opened lock-box.
    pub includes_lock_box: bool,
}

/// A recipe fitted on all allowed rows, ready to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Refit {
    /// The recipe.
    pub recipe: Recipe,
    /// The model as data.
    pub model: SavedModel,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
    /// Its content hash.
    pub hash: Fingerprint,
    /// Share of importance by feature, the largest first.
    pub importance: Vec<(String, f64)>,
    /// The search for its settings, where there was one.
    pub search: Option<SearchRecord>,
    /// Mean absolute Shapley value by feature on some of the latest rows, basis points, the
    /// largest first; empty where it was not asked for.
    pub shap: Vec<(String, f64)>,
}

/// What the final refits came to.
#[derive(Debug)]
pub(crate) struct Refits {
    /// The recipes that are ready to be stored, in their order.
    pub done: Vec<Refit>,
    /// Those that failed by their own fault.
    pub failed: Vec<FailedRecipe>,
}

/// How often a feature is shuffled to see what it is worth.
const SHUFFLES: usize = 5;

/// How many of the latest rows are taken apart to see what a model looks at.
const EXPLAINED_ROWS: usize = 32;

/// How many features are kept with a version.
const KEPT_FEATURES: usize = 20;

/// How long an evaluation may go on beginning further seeds, and where its finished fits are
/// kept.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    budget: Option<Duration>,
    pieces: Option<Pieces>,
}

impl Effort {
    /// What a pipeline asks for. Finished fits are kept where several seeds make the work
    /// long.
    pub(crate) fn of(pipeline: &Pipeline, pieces: Pieces) -> Self {
        let budget = pipeline.evaluation.time_budget;
        Self {
            budget: budget.map(|b| Duration::from_secs(b.secs().unsigned_abs())),
            pieces: (pipeline.evaluation.seeds > 1).then_some(pieces),
        }
    }
}

/// What is kept with a model version: why it may be trusted, and how far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// The recipe's name.
    pub recipe: String,
    /// Hash of everything that decides its forecasts.
    pub recipe_hash: Fingerprint,
    /// Its line of the closing table.
    pub line: RecipeLine,
    /// Whether it passed the promotion rule.
    pub passed: bool,
    /// Smallest p-value of the run's candidates; what the random walk is shown with.
    pub best_p: Option<f64>,
    /// Why that p-value promoted nobody although it is significant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// Whether the p-value of its line is that of its own test, uncorrected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_test: bool,
    /// Level of its intervals.
    pub level: f64,
    /// Smallest and largest training value of each feature.
    pub feature_ranges: Vec<(f64, f64)>,
    /// What its spread is worth; only for a recipe that promises one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadSkill>,
    /// Whether its final refit learnt from an opened lock-box; its evaluation never does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub includes_lock_box: bool,
    /// The search for its settings: its content hash and how many trials it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<(Fingerprint, usize)>,
    /// Mean absolute Shapley value by feature, basis points, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shap: Vec<(String, f64)>,
    /// What shuffling a feature did in the last fold, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permutation: Vec<PermutationImportance>,
}

/// As many features as are kept with a version.
pub(crate) fn kept<T: Clone>(ranked: &[T]) -> Vec<T> {
    ranked.iter().take(KEPT_FEATURES).cloned().collect()
}

/// The recipes of a pipeline, the random walk first and always; imported models are read from
/// their files.
///
/// # Errors
/// When such a file cannot be read.
pub(crate) fn recipes(pipeline: &Pipeline) -> Result<Vec<Recipe>, PlatformError> {
    let is_walk = |r: &Recipe| r.spec == EstimatorSpec::RandomWalk;
    let walk = pipeline.models.iter().find(|r| is_walk(r)).cloned();
    let walk = walk
        .unwrap_or_else(|| Recipe { name: RANDOM_WALK.into(), spec: EstimatorSpec::RandomWalk });
    let others = pipeline.models.iter().filter(|r| !is_walk(r));
    let others = others.map(|recipe| imported::loaded(pipeline, recipe));
    std::iter::once(Ok(walk)).chain(others).collect()
}

/// How many fits run at once on this machine; results do not depend on it.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The plan that a pipeline's keys describe.
pub(crate) fn plan(pipeline: &Pipeline) -> EvaluationPlan {
    let settings = &pipeline.evaluation;
    EvaluationPlan {
        walk_forward: settings.walk_forward,
        level: settings.coverage,
        seed: pipeline.seed,
        threads: threads(),
        block_length: None,
        bootstrap_draws: settings.bootstrap_draws,
        cost_bp: settings.cost_bp,
        volatility_span: Some(pipeline.volatility_span),
        seeds: settings.seeds,
        folds: settings.folds,
        shuffles: SHUFFLES,
    }
}

/// Progress of an evaluation, as events.
struct Steps {
    observer: Arc<dyn Observer>,
    keeper: Arc<Keeper>,
    doing: Mutex<String>,
    /// Largest count told so far: calls may arrive out of order.
    told: AtomicU64,
    begun: Instant,
    effort: Effort,
}

impl EvaluationProgress for Steps {
    fn finished(&self) -> Option<&dyn FinishedFits> {
        self.effort.pieces.as_ref().map(|pieces| pieces as &dyn FinishedFits)
    }

    fn time_for_another_seed(&self) -> bool {
        self.effort.budget.is_none_or(|budget| self.begun.elapsed() < budget)
    }

    fn fitting(&self, recipe: &str, fold: usize, folds: usize) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        *doing = format!("{recipe}   fold {fold}/{folds}");
    }

    fn epoch(&self, recipe: &str, fold: usize, epoch: (u64, u64), losses: (f64, f64)) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, most) = epoch;
        *doing = match losses {
            (loss, validation) if validation.is_nan() => {
                format!("{recipe}   fold {fold}   epoch {number}/{most}   loss {loss:.4}")
            }
            (loss, validation) => format!(
                "{recipe}   fold {fold}   epoch {number}/{most}   loss {loss:.4}, validation {validation:.4}"
            ),
        };
    }

    fn steps(&self, done: u64, total: u64) {
        if self.told.fetch_max(done, Ordering::Relaxed) > done {
            return;
        }
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let total = Some(total);
        self.observer.event(Event::Progress { station: Station::Train, doing, done, total });
    }

    fn failed(&self, recipe: &FailedRecipe) {
        tell_failed(&*self.observer, recipe);
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.keeper.checkpoints()
    }

    fn accelerator(&self) -> Option<&dyn Accelerator> {
        cards::cards()
    }

    fn resumed(&self, recipe: &str, fold: usize, study: &Study, done: usize) {
        tell_resumed(&*self.observer, &format!("{recipe}, fold {fold}"), study, done);
    }

    fn trial(&self, recipe: &str, fold: usize, study: &Study, trial: &SearchTrial) {
        self.keeper.trial(recipe, fold, study, trial);
        let (number, planned) = (trial.number + 1, study.planned);
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        *doing = format!("{recipe}   fold {fold}   trial {number}/{planned}");
    }

    fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        self.keeper.in_time(study, budget, trials)
    }
}

/// Tells of a recipe that failed.
fn tell_failed(observer: &dyn Observer, failed: &FailedRecipe) {
    let message = format!("`{}` {failed}; the others go on without it", failed.name);
    observer.event(Event::Warning { message });
}

/// A search that had ended before an interruption needs no word.
fn tell_resumed(observer: &dyn Observer, what: &str, study: &Study, done: usize) {
    if done < study.planned {
        let (next, planned) = (done + 1, study.planned);
        let message = format!("{what}: the search goes on from trial {next} of {planned}");
        observer.event(Event::Warning { message });
    }
}

/// What is heard of a final refit.
struct Watch<'a> {
    recipe: &'a str,
    observer: &'a dyn Observer,
    keeper: &'a Keeper,
}

impl FitProgress for Watch<'_> {
    fn steps(&self, _done: u64, _total: u64) {}

    fn resumed(&self, study: &Study, done: usize) {
        tell_resumed(self.observer, &format!("{}, refit", self.recipe), study, done);
    }

    fn trial(&self, study: &Study, trial: &SearchTrial) {
        self.keeper.trial(self.recipe, 0, study, trial);
    }

    fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        self.keeper.in_time(study, budget, trials)
    }
}

/// Runs CPU-bound work off the threads that answer requests.
pub(crate) async fn run_cpu<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PlatformError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| PlatformError::Mismatch(format!("the work panicked, which is a bug: {e}")))
}

/// Judges recipes by walk-forward on the given rows; variances by the given returns. The
/// keeper hears of checkpoints and trials. A recipe that fails by its own fault is told of
/// and left out.
///
/// # Errors
/// When the rows are too few, a fit fails for a reason that concerns everything, or the stop
/// flag was raised.
pub(crate) async fn judge(
    dataset: Arc<Dataset>,
    returns: Option<SquaredReturns>,
    recipes: Vec<Recipe>,
    (plan, effort): (EvaluationPlan, Effort),
    observer: Arc<dyn Observer>,
    stop: Arc<Stop>,
    keeper: Arc<Keeper>,
) -> Result<Evaluation, PlatformError> {
    let (kept, heard) = (Arc::clone(&keeper), Arc::clone(&observer));
    let (doing, told, begun) = (Mutex::default(), AtomicU64::new(0), Instant::now());
    let steps = Steps { observer, keeper, doing, told, begun, effort };
    let work = move || evaluate(&dataset, returns.as_ref(), &recipes, &plan, stop.flag(), &steps);
    let judged = run_cpu(work).await?.map_err(PlatformError::model("the evaluation"));
    settle(&kept, &*heard).await?;
    judged
}

/// Waits until all trials are on record, and tells what could not be kept.
async fn settle(keeper: &Keeper, observer: &dyn Observer) -> Result<(), PlatformError> {
    if let Some(message) = keeper.complaint() {
        observer.event(Event::Warning { message });
    }
    keeper.settle().await
}

/// How many of so many folds are judged.
pub(crate) fn judged_folds(pipeline: &Pipeline, folds: usize) -> usize {
    pipeline.evaluation.folds.map_or(folds, |most| folds.min(most))
}

/// Refuses an evaluation with fewer refits than the pipeline's floor.
///
/// # Errors
/// When it has fewer; the message says what to change.
pub(crate) fn check_floor(pipeline: &Pipeline, refits: usize) -> Result<(), PlatformError> {
    let floor = pipeline.evaluation.min_refits;
    if refits >= floor {
        return Ok(());
    }
    Err(PlatformError::Usage {
        message: format!("the evaluation has {refits} refits, the pipeline's floor is {floor}"),
        hint: "bring more history, shorten `initial_train` or `refit_every`, or lower \
               `min_refits` in [evaluation]"
            .to_owned(),
    })
}

/// Fits one recipe on all rows of a dataset.
///
/// # Errors
/// When the fit fails or the stop flag was raised.
pub(crate) fn fit(
    recipe: &Recipe,
    dataset: &Dataset,
    seed: u64,
    stop: &Stop,
    observer: &dyn Observer,
    keeper: &Keeper,
) -> Result<Refit, PlatformError> {
    let named = || PlatformError::model(recipe.name.clone());
    let context = FitContext {
        seed,
        threads: threads(),
        stop: stop.flag(),
        progress: &Watch { recipe: &recipe.name, observer, keeper },
        checkpoints: keeper.checkpoints(),
        accelerator: cards::cards(),
    };
    let estimator = recipe.spec.build().map_err(named())?;
    let fitted = estimator.fit(dataset, &context).map_err(named())?;
    let model = SavedModel::new(&*fitted, &recipe.spec, dataset, seed, &cpu_features());
    let mut importance = fitted.importance();
    importance.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let (bytes, hash) = (model.to_bytes(), model.hash());
    let search = fitted.search().cloned();
    let shap = Vec::new();
    Ok(Refit { recipe: recipe.clone(), model, bytes, hash, importance, search, shap })
}

/// What a refitted model looks at on some of the latest rows it has.
///
/// # Errors
/// When a row cannot be forecast.
fn looks_at(refit: &Refit, dataset: &Dataset) -> Result<Vec<(String, f64)>, PlatformError> {
    let named = || PlatformError::model(refit.recipe.name.clone());
    if !refit.recipe.spec.reads_features() {
        return Ok(Vec::new());
    }
    // Evenly over the last fifth: rows side by side are nearly one row.
    let (first, all) = (dataset.len() * 4 / 5, dataset.len());
    let count = EXPLAINED_ROWS.min(all - first);
    let rows: Vec<usize> = (0..count).map(|i| first + i * (all - first) / count).collect();
    let rows = dataset.select(&rows);
    let model = refit.model.model().map_err(named())?;
    let told = model.explain(&rows.features, &rows.context).map_err(named())?;
    Ok(told.mean_absolute().into_iter().map(|(name, part)| (name, part * 1e4)).collect())
}

/// Fits every recipe on all rows of the dataset beside it. One that fails by its own fault is
/// told of and left out, with the ensembles that it is a member of.
///
/// # Errors
/// When a fit fails for a reason that concerns everything, or the stop flag was raised.
pub(crate) async fn refit(
    recipes: Vec<(Recipe, Arc<Dataset>)>,
    seed: u64,
    observer: Arc<dyn Observer>,
    stop: Arc<Stop>,
    keeper: Arc<Keeper>,
) -> Result<Refits, PlatformError> {
    let (kept, told) = (Arc::clone(&keeper), Arc::clone(&observer));
    let work = move || {
        let total = recipes.len();
        let fit_one = |(i, (recipe, dataset)): (usize, &(Recipe, Arc<Dataset>))| {
            let doing = format!("refit {}", recipe.name);
            let (done, total) = (i as u64, Some(total as u64));
            observer.event(Event::Progress { station: Station::Promote, doing, done, total });
            let refit = fit(recipe, dataset, seed, &stop, &*observer, &keeper);
            let looked: Result<Refit, PlatformError> = refit.and_then(|mut refit| {
                refit.shap = looks_at(&refit, dataset)?;
                Ok(refit)
            });
            match looked {
                Ok(refit) => Ok((Some(refit), None)),
                Err(error) => failed_refit(recipe, error).map(|failed| (None, Some(failed))),
            }
        };
        let all = recipes.iter().enumerate().map(fit_one);
        let all: Vec<(Option<Refit>, Option<FailedRecipe>)> =
            all.collect::<Result<_, PlatformError>>()?;
        let (done, mut failed): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let recipes: Vec<Recipe> = recipes.into_iter().map(|(recipe, _)| recipe).collect();
        fail_ensembles(&recipes, &mut failed);
        let done = done.into_iter().zip(&failed).filter(|(_, failed)| failed.is_none());
        let done = done.filter_map(|(refit, _)| refit).collect();
        // Whatever an ensemble failed with, it was judged and is refitted no more.
        let refit = |f: FailedRecipe| FailedRecipe { at: FailedAt::Refit, ..f };
        let failed: Vec<FailedRecipe> = failed.into_iter().flatten().map(refit).collect();
        failed.iter().for_each(|f| tell_failed(&*observer, f));
        Ok(Refits { done, failed })
    };
    let refits = run_cpu(work).await?;
    settle(&kept, &*told).await?;
    refits
}

/// A refit that failed by the recipe's own fault; any other error as it is.
fn failed_refit(recipe: &Recipe, error: PlatformError) -> Result<FailedRecipe, PlatformError> {
    match error {
        PlatformError::Model { source, .. }
            if source.concern() == Concern::Recipe && !recipe.spec.is_baseline() =>
        {
            let Recipe { name, spec } = recipe.clone();
            Ok(FailedRecipe { name, spec, at: FailedAt::Refit, reason: source.to_string() })
        }
        other => Err(other),
    }
}

/// Refuses to go on when nothing is left beside the random walk because all else failed.
///
/// # Errors
/// When that is so; every failure with its remedy.
pub(crate) fn check_some_left<'a>(
    mut left: impl Iterator<Item = &'a EstimatorSpec>,
    failed: &[FailedRecipe],
) -> Result<(), PlatformError> {
    if failed.is_empty() || left.any(|spec| *spec != EstimatorSpec::RandomWalk) {
        return Ok(());
    }
    let told: Vec<String> = failed.iter().map(|f| format!("`{}` {f}", f.name)).collect();
    let message = format!("no model is left beside the random walk: {}", told.join("; "));
    let source = Box::new(foretell_model::ModelError::Evaluation(message));
    Err(PlatformError::Model { what: "the evaluation".to_owned(), source })
}

/// The recipes that failed, as they are shown.
pub(crate) fn failed(evaluation: &Evaluation) -> Vec<FailedLine> {
    evaluation.failed.iter().map(FailedLine::from).collect()
}

/// The closing table of an evaluation, the random walk first.
pub(crate) fn table(evaluation: &Evaluation) -> Vec<RecipeLine> {
    let walk = evaluation.recipes.iter().filter(|r| r.is_random_walk());
    let others = evaluation.recipes.iter().filter(|r| !r.is_random_walk());
    walk.chain(others).map(line).collect()
}

fn line(recipe: &RecipeEvaluation) -> RecipeLine {
    let (m, versus) = (&recipe.metrics, &recipe.versus_random_walk);
    let rival = !recipe.is_random_walk();
    let interval = (versus.skill_interval.lower, versus.skill_interval.upper);
    RecipeLine {
        name: recipe.name.clone(),
        mae_bp: m.mae_bp,
        relative_mae: finite(m.relative_mae),
        mase: finite(m.mase),
        rmsse: finite(m.rmsse),
        r2_zero: finite(m.r2_zero),
        directional_accuracy: finite(m.directional_accuracy),
        directional_p: finite(m.directional_p),
        crps_bp: m.crps * 1e4,
        skill: rival.then_some(versus.skill),
        skill_interval: (rival && interval.0.is_finite()).then_some(interval),
        p_value: rival.then_some(versus.p_holm),
        coverage: m.coverage,
        width_bp: m.width_bp,
        after_cost_bp: after_cost(recipe),
        deflated_sharpe: after_cost(recipe).and_then(|_| finite(recipe.sharpe.deflated)),
        qlike_skill: spread(recipe).and_then(|s| finite(s.skill)),
        spread_p: spread(recipe).map(|s| s.p_holm),
        lag1: finite(versus.lag1_autocorrelation).filter(|_| rival),
        classifier: recipe.classifier.clone(),
        spread_lag1: spread(recipe).and_then(|s| finite(s.test.lag1_autocorrelation())),
        seeds: recipe.seeds.as_ref().map(|s| {
            let told = |d: Deviation, scale: f64| {
                (d.mean * scale, finite(d.deviation).map(|deviation| deviation * scale))
            };
            SeedsLine {
                seeds: s.seeds,
                folds: s.folds,
                draws: s.draws,
                mae_bp: told(s.mae_bp, 1.0),
                skill: told(s.skill, 1.0),
                crps_bp: told(s.crps, 1e4),
            }
        }),
    }
}

/// The ranks of an evaluation with the names, the best first.
pub(crate) fn ranks(evaluation: &Evaluation) -> Option<RanksView> {
    let found = evaluation.ranks.as_ref()?;
    let names = evaluation.recipes.iter().map(|r| r.name.clone());
    let mut mean: Vec<(String, f64)> = names.zip(found.mean.iter().copied()).collect();
    mean.sort_by(|a, b| a.1.total_cmp(&b.1));
    Some(RanksView {
        mean,
        folds: found.folds,
        p_value: finite(found.p_value),
        critical_difference: found.critical_difference,
        level: found.level,
    })
}

/// The judged spread of a recipe that promises one.
fn spread(recipe: &RecipeEvaluation) -> Option<&SpreadEvaluation> {
    recipe.spread.as_ref().filter(|_| recipe.spec.forecasts_spread())
}

/// What is said of a recipe's spread after a decision: its part in the rule when it had
/// one, the test against the random walk alone when it did not contend.
pub(crate) fn spread_skill(
    judged: &RecipeEvaluation,
    promotion: &Promotion,
) -> Option<SpreadSkill> {
    if promotion.winner == judged.name && promotion.spread.is_some() {
        return promotion.spread.clone();
    }
    let p_holm = spread(judged)?.p_holm;
    let verdict = promotion.candidates.iter().find(|c| c.name == judged.name);
    judged.spread_skill(verdict.is_some_and(|v| v.passed), verdict.map_or(p_holm, |v| v.p_holm))
}

/// What trading the sign of the forecast brings per row; a forecast of zero trades nothing.
fn after_cost(recipe: &RecipeEvaluation) -> Option<f64> {
    let names_a_direction = recipe.median.iter().any(|m| *m != 0.0);
    let known: Vec<f64> = recipe.returns.iter().copied().filter(|r| r.is_finite()).collect();
    if !names_a_direction || known.is_empty() {
        return None;
    }
    Some(known.iter().sum::<f64>() / known.len() as f64 * 1e4)
}

/// JSON has no NaN: what cannot be said is `None`.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Smallest and largest value of each feature.
pub(crate) fn feature_ranges(dataset: &Dataset) -> Vec<(f64, f64)> {
    FeatureRange::of(dataset).iter().map(|r| (r.min, r.max)).collect()
}
