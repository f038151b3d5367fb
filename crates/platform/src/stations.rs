//! One station alone, on a file: nothing is stored but the output that is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_feature::{FeatureDoc, audit as look_ahead, compute};
use foretell_market::{Clock, Timestamp};
use foretell_model::evaluate::{
    ConfidenceSet, Evaluation, SpreadSkill, VolatilitySkill, decide_promotion,
};
use foretell_panel::{Column, Frame, RawTable, RowMeta};
use foretell_quality::{
    CheckResult, Profile, QuarantinedRow, profile_html, replay as mend_and_gate,
};
use foretell_source::HttpSettings;
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::keeper::{self, Keeper};
use crate::materialise::{Materialised, materialise};
use crate::observer::{Event, Observer, Station, Stop};
use crate::pieces::Pieces;
use crate::pipeline::{Pipeline, Present};
use crate::table_file::write_frame;
use crate::training::{self, Effort, run_cpu};
use crate::views::{FailedLine, RanksView, RecipeLine, RunDetail};
use crate::{extract as extracting, gate as gating, named, wording};

/// A pipeline and where its rows come from this time.
#[derive(Debug, Clone)]
pub struct StationInput {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The file that stands in for the pipeline's source.
    pub input: Option<PathBuf>,
    /// Where fits that take long keep how far they are; nowhere when `None`.
    checkpoints: Option<PathBuf>,
}

impl StationInput {
    /// Reads the pipeline file.
    ///
    /// # Errors
    /// When it cannot be read or is not valid.
    pub fn open(pipeline: &Path, input: Option<&Path>) -> Result<Self, PlatformError> {
        let (pipeline, _) = crate::read_pipeline(pipeline)?;
        Ok(Self { pipeline, input: input.map(Path::to_owned), checkpoints: None })
    }

    /// The pipeline of a run, as the run had it.
    ///
    /// # Errors
    /// When its text is not valid any more.
    pub fn of_run(run: &RunDetail, input: Option<&Path>) -> Result<Self, PlatformError> {
        let pipeline = Pipeline::parse(&run.text, Path::new(&run.file))?;
        Ok(Self { pipeline, input: input.map(Path::to_owned), checkpoints: None })
    }

    /// Keeps how far fits that take long are in a data directory, which is made when they
    /// take long: the same command then goes on after an interruption.
    #[must_use]
    pub fn keeping_in(mut self, data_dir: &Path) -> Self {
        let name = format!("{}.station", self.pipeline.name);
        self.checkpoints = Some(keeper::folder(data_dir, &name));
        self
    }

    fn keeper(&self) -> Arc<Keeper> {
        Arc::new(self.checkpoints.clone().map_or_else(Keeper::nothing, Keeper::in_folder))
    }

    async fn raw(&self, observer: &dyn Observer) -> Result<RawTable, PlatformError> {
        observer.event(Event::Started { station: Station::Extract });
        let input = self.input.as_deref();
        let http = HttpSettings::default();
        extracting::extract(&self.pipeline, input, None, &SystemClock, &http, observer).await
    }

    fn present(&self, raw: &RawTable) -> Timestamp {
        gating::present(&self.pipeline, raw, SystemClock.now())
    }

    /// What every summary of a historical demo ends with.
    fn demo(&self, end: Timestamp) -> String {
        match self.pipeline.as_of {
            Present::EndOfData => format!(" · historical demo: the data ends {}", end.human()),
            Present::Now => String::new(),
        }
    }

    async fn clean(&self, observer: &dyn Observer) -> Result<Frame, PlatformError> {
        let raw = self.raw(observer).await?;
        let outcome = gating::gate(&self.pipeline, &raw, self.present(&raw))?;
        Ok(gating::admit(outcome, &raw, &raw.origin, None)?.0)
    }

    pub(crate) async fn materialised(
        &self,
        observer: &dyn Observer,
    ) -> Result<Materialised, PlatformError> {
        let (pipeline, clean) = (self.pipeline.clone(), self.clean(observer).await?);
        run_cpu(move || materialise(&pipeline, &clean)).await?
    }
}

/// What a station that makes a table did.
#[derive(Debug, Clone, Serialize)]
pub struct TableDone {
    /// Rows of the table.
    pub rows: usize,
    /// Its numeric columns.
    pub columns: Vec<String>,
    /// First row's time.
    pub from: Option<Timestamp>,
    /// Last row's time.
    pub to: Option<Timestamp>,
    /// Fingerprint of its logical rows, where rows are unique in time.
    pub fingerprint: Option<String>,
    /// The line for people.
    pub summary: String,
}

/// Takes in the rows and writes them as they came, duplicates and disorder included.
///
/// # Errors
/// When the source fails or the output cannot be written.
pub async fn extract(
    input: &StationInput,
    output: Option<&Path>,
    observer: &dyn Observer,
) -> Result<TableDone, PlatformError> {
    observer.event(Event::Started { station: Station::Extract });
    let raw = input.raw(observer).await?;
    if let Some(path) = output {
        crate::table_file::write_raw(&raw, path)?;
    }
    let from = raw.rows.iter().map(|r| r.time).min();
    let to = raw.rows.iter().map(|r| r.time).max();
    let rows = wording::thousands(raw.len() as u64);
    let faults = match raw.faults.len() {
        0 => String::new(),
        n => format!(" · {n} cells could not be read"),
    };
    let demo = input.demo(input.present(&raw));
    let summary = format!("{rows} rows from {}{faults}{demo}", raw.origin);
    let columns = raw.columns.iter().map(|c| c.name.clone()).collect();
    Ok(TableDone { rows: raw.len(), columns, from, to, fingerprint: None, summary })
}

fn done(frame: &Frame, summary: String) -> TableDone {
    TableDone {
        rows: frame.len(),
        columns: frame.columns().iter().map(|c| c.name.clone()).collect(),
        from: frame.rows().first().map(|r| r.time),
        to: frame.rows().last().map(|r| r.time),
        fingerprint: Some(frame.fingerprint().to_string()),
        summary,
    }
}

/// What the gate did to a file.
#[derive(Debug, Clone, Serialize)]
pub struct GateDone {
    /// Every check and how it ended.
    pub checks: Vec<CheckResult>,
    /// The clean table.
    pub table: TableDone,
    /// Rows put aside.
    pub quarantined: Vec<QuarantinedRow>,
    /// The line for people.
    pub summary: String,
}

/// A quarantine file: the rows put aside, to be mended and replayed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Quarantine {
    /// Version of this form.
    pub(crate) format: u32,
    /// Where the rows came from.
    pub(crate) origin: String,
    /// The rows with their reasons.
    pub(crate) rows: Vec<QuarantinedRow>,
}

/// Gates the rows; with `replay`, after the mended rows of a quarantine file were put
/// back in their places. The clean rows are written to `output`.
///
/// # Errors
/// [`PlatformError::Gate`] when a blocking check fails; then nothing is written but the
/// quarantine file beside the output.
pub async fn gate(
    input: &StationInput,
    replay: Option<&Path>,
    output: Option<&Path>,
    observer: &dyn Observer,
) -> Result<GateDone, PlatformError> {
    let raw = input.raw(observer).await?;
    let present = input.present(&raw);
    let outcome = match replay {
        None => gating::gate(&input.pipeline, &raw, present)?,
        Some(path) => {
            let mended = read_quarantine(path)?;
            let expectations = gating::expectations(&input.pipeline.gate)?;
            let now = SystemClock.now();
            mend_and_gate(&raw, &mended, &expectations, now, present).map_err(|e| {
                PlatformError::Usage {
                    message: e.to_string(),
                    hint: format!("mend {}", path.display()),
                }
            })?
        }
    };
    let quarantine = output.map(|path| path.with_extension("quarantine.json"));
    let (clean, outcome) = gating::admit(outcome, &raw, &raw.origin, quarantine.as_deref())?;
    if let Some(path) = output {
        write_frame(&clean, path)?;
    }
    let summary = outcome.summary() + &input.demo(present);
    let table = done(&clean, summary.clone());
    Ok(GateDone { checks: outcome.checks, table, quarantined: outcome.quarantined, summary })
}

/// The quarantine file that is meant by a path, or by a run of a data directory.
///
/// # Errors
/// When there is neither.
pub fn quarantine_file(data_dir: &Path, meant: &str) -> Result<PathBuf, PlatformError> {
    let path = Path::new(meant);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let folder = data_dir.join("quarantine");
    let listed = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut runs: Vec<String> = listed
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|run| !run.starts_with('.'))
        .collect();
    runs.sort_unstable();
    let known: Vec<&str> = runs.iter().rev().map(String::as_str).collect();
    match named::begun(meant, &known) {
        Some(run) => Ok(folder.join(format!("{run}.json"))),
        None => {
            let list = "give a quarantine file, or a run that put rows aside: `foretell runs list`";
            Err(named::unknown("quarantine file or run", meant, &known, list))
        }
    }
}

/// The rows of a quarantine file, mended by whoever edited it.
///
/// # Errors
/// When the file cannot be read or has lost its form.
pub fn read_quarantine(path: &Path) -> Result<Vec<QuarantinedRow>, PlatformError> {
    let text = crate::read_text(path)?;
    let read: Quarantine = serde_json::from_str(&text).map_err(|e| PlatformError::Usage {
        message: format!("{}: {e}", path.display()),
        hint: "edit the values of a quarantine file and leave its form as it is".to_owned(),
    })?;
    Ok(read.rows)
}

/// What `profile` found.
#[derive(Debug)]
pub struct ProfileDone {
    /// The profile.
    pub profile: Profile,
    /// The line for people.
    pub summary: String,
}

/// Describes the rows; writes JSON or an HTML page, by the output's ending.
///
/// # Errors
/// When the source fails, or the ending is neither.
pub async fn profile(
    input: &StationInput,
    output: Option<&Path>,
    observer: &dyn Observer,
) -> Result<ProfileDone, PlatformError> {
    let raw = input.raw(observer).await?;
    let profile = foretell_quality::profile(&raw);
    if let Some(path) = output {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let text = match ending.as_str() {
            "json" => serde_json::to_string_pretty(&profile).unwrap_or_default(),
            "html" => {
                let outcome = gating::gate(&input.pipeline, &raw, input.present(&raw))?;
                let demo = input.demo(input.present(&raw));
                let title = format!("Profile of {}{demo}", input.pipeline.name);
                profile_html(&profile, Some(&outcome), &title)
            }
            _ => {
                return Err(PlatformError::Usage {
                    message: format!("`{}` is neither .json nor .html", path.display()),
                    hint: "give --output profile.html or profile.json".to_owned(),
                });
            }
        };
        write_atomically(path, text.as_bytes())?;
    }
    let summary = format!(
        "{} rows, {} columns, quality {:.1} of 100{}",
        wording::thousands(raw.len() as u64),
        raw.columns.len(),
        profile.quality_score,
        input.demo(input.present(&raw))
    );
    Ok(ProfileDone { profile, summary })
}

/// Computes the features and writes them to `output`.
///
/// # Errors
/// When the source or the gate fails, or a column is absent.
pub async fn features(
    input: &StationInput,
    output: Option<&Path>,
    observer: &dyn Observer,
) -> Result<TableDone, PlatformError> {
    let made = input.materialised(observer).await?;
    if let Some(path) = output {
        write_frame(&made.features, path)?;
    }
    let rows = wording::thousands(made.features.len() as u64);
    Ok(done(&made.features, format!("{rows} rows · {}", made.features_summary())))
}

/// The definitions of a pipeline's features.
///
/// # Errors
/// When the set's parameters are not valid.
pub fn feature_list(input: &StationInput) -> Result<Vec<FeatureDoc>, PlatformError> {
    Ok(input.pipeline.features.feature_set()?.definitions())
}

/// A model that `train` fitted.
#[derive(Debug, Clone, Serialize)]
pub struct TrainedModel {
    /// The recipe.
    pub name: String,
    /// Rows it learnt from.
    pub rows: usize,
    /// Content hash.
    pub hash: String,
    /// Where it was written.
    pub file: Option<PathBuf>,
}

/// What `train` made of a recipe.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Trained {
    /// A model.
    Model(TrainedModel),
    /// Nothing, and why.
    Failed(FailedLine),
}

/// Fits every recipe on all allowed rows and writes the models into a folder. One that fails
/// by its own fault leaves its reason in the place of a model.
///
/// # Errors
/// When a station before it fails, a fit for a reason that concerns everything, or all.
pub async fn train(
    input: &StationInput,
    output: Option<&Path>,
    observer: Arc<dyn Observer>,
    stop: Arc<Stop>,
) -> Result<Vec<Trained>, PlatformError> {
    if let Some(path) = output.filter(|p| p.extension().is_some() && !p.is_dir()) {
        return Err(PlatformError::Usage {
            message: format!("`{}` is no folder: there are several models", path.display()),
            hint: "give --output models, the folder to write them into".to_owned(),
        });
    }
    let made = input.materialised(&*observer).await?;
    let dataset = Arc::new(made.allowed(input.pipeline.lock_box));
    let recipes = training::recipes(&input.pipeline)?;
    let recipes = recipes.into_iter().map(|r| (r, Arc::clone(&dataset))).collect();
    let (keeper, seed) = (input.keeper(), input.pipeline.seed);
    let refits = training::refit(recipes, seed, observer, stop, Arc::clone(&keeper)).await?;
    let left = refits.done.iter().map(|r| &r.recipe.spec);
    training::check_some_left(left, &refits.failed)?;
    let mut models = Vec::new();
    for refit in refits.done {
        let name = refit.recipe.name.clone();
        let ending = refit.model.extension();
        let file = format!("{}.{ending}", name.replace(' ', "-"));
        let file = output.map(|folder| folder.join(file));
        if let Some(path) = &file {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)
                .map_err(|source| PlatformError::Write { path: folder.to_owned(), source })?;
            write_atomically(path, &refit.bytes)?;
        }
        let (rows, hash) = (refit.model.rows, refit.hash.to_string());
        models.push(Trained::Model(TrainedModel { name, rows, hash, file }));
    }
    models.extend(refits.failed.iter().map(|f| Trained::Failed(f.into())));
    keeper.clear();
    Ok(models)
}

/// What `evaluate` found.
#[derive(Debug, Clone, Serialize)]
pub struct EvaluateDone {
    /// One line per recipe.
    pub table: Vec<RecipeLine>,
    /// The recipes that failed.
    pub failed: Vec<FailedLine>,
    /// Level of the intervals.
    pub level: f64,
    /// Cost of a turn that the sign strategies paid, basis points.
    pub cost_bp: f64,
    /// Where a historical demo's data ends.
    pub historical_demo: Option<Timestamp>,
    /// Whether a point beats the random walk.
    pub skill: bool,
    /// What the spread that would serve is worth, when no point does.
    pub spread: Option<SpreadSkill>,
    /// Whether the realised variance of spans was forecastable.
    pub volatility: Option<VolatilitySkill>,
    /// The verdict in words.
    pub reason: String,
    /// Out-of-sample rows.
    pub rows: usize,
    /// Refits.
    pub refits: usize,
    /// The recipes that cannot be told from the best, by each loss and statistic.
    pub confidence_sets: Vec<ConfidenceSet>,
    /// Ranks over the folds; absent of a single fold.
    pub ranks: Option<RanksView>,
}

/// Judges every recipe by walk-forward; nothing is promoted and nothing is kept in the
/// ledger. To `output` goes the whole evaluation (.json) or the out-of-sample rows
/// (.parquet, .csv). Where several seeds make the work long, finished fits are kept under
/// `data_dir` until it is done, so that an interrupted evaluation goes on.
///
/// # Errors
/// When a station before it or a fit fails.
pub async fn evaluate(
    input: &StationInput,
    output: Option<&Path>,
    data_dir: &Path,
    observer: Arc<dyn Observer>,
    stop: Arc<Stop>,
) -> Result<EvaluateDone, PlatformError> {
    let pipeline = &input.pipeline;
    let made = input.materialised(&*observer).await?;
    let dataset = Arc::new(made.allowed(pipeline.lock_box));
    let pieces = Pieces::of(data_dir, &pipeline.name, "evaluate");
    let plan = (training::plan(pipeline), Effort::of(pipeline, pieces.clone()));
    let recipes = training::recipes(pipeline)?;
    let returns = Some(made.allowed_returns(pipeline.lock_box));
    let keeper = input.keeper();
    let kept = Arc::clone(&keeper);
    let judged = training::judge(dataset, returns, recipes, plan, observer, stop, kept);
    let evaluation = judged.await?;
    training::check_some_left(evaluation.recipes.iter().map(|r| &r.spec), &evaluation.failed)?;
    training::check_floor(pipeline, evaluation.folds.len())?;
    match output {
        Some(path) if path.extension().is_some_and(|e| e == "json") => {
            let json = serde_json::to_vec(&evaluation).unwrap_or_default();
            write_atomically(path, &json)?;
        }
        Some(path) => write_frame(&out_of_sample(&evaluation, pipeline)?, path)?,
        None => {}
    }
    keeper.clear();
    pieces.remove();
    let verdict = decide_promotion(&evaluation, None, pipeline.alpha, 0);
    Ok(EvaluateDone {
        table: training::table(&evaluation),
        failed: training::failed(&evaluation),
        level: evaluation.level,
        cost_bp: evaluation.cost_bp,
        skill: verdict.skilled,
        spread: verdict.spread.clone(),
        volatility: evaluation.volatility.clone(),
        // Alone on a file there is no ledger: said, so that nobody counts it as evidence.
        historical_demo: (pipeline.as_of == Present::EndOfData)
            .then(|| made.dataset.labels.last().map(|l| l.start))
            .flatten(),
        reason: format!(
            "{} (alone on a file: not in the ledger, earlier looks not counted)",
            verdict.reason
        ),
        rows: evaluation.times.len(),
        refits: evaluation.folds.len(),
        confidence_sets: evaluation.confidence_sets.clone(),
        ranks: training::ranks(&evaluation),
    })
}

/// The out-of-sample rows as a table: what came, and what each recipe said of it.
fn out_of_sample(evaluation: &Evaluation, pipeline: &Pipeline) -> Result<Frame, PlatformError> {
    let row = |t: &Timestamp| RowMeta::at_close(*t - pipeline.interval, pipeline.interval);
    let mut columns = vec![Column::new("outcome", evaluation.outcomes.clone())];
    for recipe in &evaluation.recipes {
        let parts =
            [("median", &recipe.median), ("lower", &recipe.lower), ("upper", &recipe.upper)];
        for (part, values) in parts {
            columns.push(Column::new(format!("{}.{part}", recipe.name), values.clone()));
        }
    }
    let rows = evaluation.times.iter().map(row).collect();
    Frame::new(pipeline.instrument.clone(), pipeline.interval, rows, columns)
        .map_err(|e| PlatformError::Mismatch(format!("the evaluation is no table: {e}")))
}

/// What the look-ahead audit found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditDone {
    /// Features that moved when the future was replaced; none is the proof.
    pub offenders: Vec<String>,
    /// The line for people.
    pub summary: String,
}

/// Replaces the future by garbage and looks whether a feature moves.
///
/// # Errors
/// When a station before it fails.
pub async fn audit(
    input: &StationInput,
    observer: &dyn Observer,
) -> Result<AuditDone, PlatformError> {
    let clean = input.clean(observer).await?;
    let pipeline = input.pipeline.clone();
    let set = pipeline.features.feature_set()?;
    let report = run_cpu(move || {
        let context = pipeline.context_spec();
        let price = pipeline.label.price.clone();
        // Features and the columns for baselines alike: both are known at the decision.
        let all = |frame: &Frame| {
            let mut columns = compute(&set, frame)?;
            for column in foretell_feature::context(frame, &price, &context)?.columns() {
                let mut column = column.clone();
                column.name = format!("context.{}", column.name);
                columns = columns.with_column(column)?;
            }
            Ok(columns)
        };
        look_ahead(&clean, &all, pipeline.seed)
    })
    .await?;
    let mut offenders: Vec<String> = report.offenders.iter().map(|o| o.column.clone()).collect();
    offenders.sort();
    offenders.dedup();
    offenders.extend(report.failures.iter().cloned());
    let summary = format!(
        "{} columns, {} values compared over {} runs with a garbage future: {}",
        report.columns.len(),
        wording::thousands(report.values),
        report.comparisons,
        match report.passed() {
            true => "none moved".to_owned(),
            false => format!("{} moved", offenders.len()),
        }
    );
    Ok(AuditDone { summary, offenders })
}
