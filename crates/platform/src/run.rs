//! A run: the stations of the river, one after another, over one pipeline.

mod promote;

use std::sync::Arc;

use foretell_feature::ContextSpec;
use foretell_lake::{AsOf, Layer};
use foretell_market::{Fingerprint, Timestamp};
use foretell_model::EstimatorSpec;
use foretell_model::evaluate::{Evaluation, Promotion, Recipe, RecipeEvaluation, SpreadSkill};
use foretell_panel::{Column, Dataset, Frame, KnownAt, RawTable, RowMeta};
use foretell_quality::{GateOutcome, QuarantinedRow};
use foretell_registry::{DatasetRecord, ModelVersion, Snapshot};

use crate::backfill::{self, Patience};
use crate::board::{Board, PROVISIONAL};
use crate::error::PlatformError;
use crate::execution::Act;
use crate::forecasting::{CHAMPION, Provenance};
use crate::keeper::Keeper;
use crate::materialise::Materialised;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pieces::Pieces;
use crate::pipeline::{Pipeline, Present};
use crate::searches::SearchView;
use crate::store::Store;
use crate::training::{self, Effort, RANDOM_WALK, Refit};
use crate::versions::Versions;
use crate::views::{Overfitting, RunReport};
use crate::{extract, gate, lockbox, overfitting, rate, report, wording};

pub(crate) use promote::evidence_of;

/// A run under way: what earlier stations made, for the later ones.
pub(crate) struct Run<'a> {
    pub(crate) store: &'a Store,
    pub(crate) board: &'a Board,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) id: &'a str,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) started_at: Timestamp,
    /// Mended rows of a quarantine file, to be put back before the gate.
    pub(crate) mended: Option<Vec<QuarantinedRow>>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) made: Made,
}

/// What the stations made so far.
#[derive(Default)]
pub(crate) struct Made {
    raw: Option<(u64, RawTable)>,
    versions: Option<Arc<Versions>>,
    pub(crate) present: Timestamp,
    /// When the rows were read: what became known or was taken in later is not seen.
    read_at: Timestamp,
    clean: Option<(u64, Frame)>,
    gate: Option<GateOutcome>,
    pub(crate) materialised: Option<Materialised>,
    dataset: Option<Arc<Dataset>>,
    pub(crate) fingerprint: Option<Fingerprint>,
    evaluation: Option<Evaluation>,
    overfitting: Option<Overfitting>,
    /// Recipes whose final refit learnt from the opened lock-box.
    with_lock_box: Vec<String>,
    refits: Vec<Refit>,
    searches: Vec<SearchView>,
    promotion: Option<Promotion>,
    champion: Option<ModelVersion>,
    forecast: Option<serde_json::Value>,
    pub(crate) report: Option<RunReport>,
}

/// A station that is asked for what an earlier one has not made: the graph forbids it.
fn needs<'m, T>(made: &'m Option<T>, what: &str) -> Result<&'m T, PlatformError> {
    made.as_ref().ok_or_else(|| PlatformError::Mismatch(format!("{what} was not made: a bug")))
}

impl Act for Run<'_> {
    async fn act(&mut self, station: Station) -> Result<String, PlatformError> {
        match station {
            Station::Extract => self.extract().await,
            Station::Gate => self.gate().await,
            Station::Features => self.features().await,
            Station::Dataset => self.dataset().await,
            Station::Train => self.train().await,
            Station::Promote => self.promote().await,
            Station::Forecast => self.forecast().await,
            Station::Report => self.report().await,
        }
    }
}

impl Run<'_> {
    async fn extract(&mut self) -> Result<String, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let clock = &*store.clock;
        let observer = Arc::clone(&self.observer);
        let (version, line) = if extract::is_whole(&pipeline.source.kind) {
            let fetch = extract::extract(pipeline, None, None, clock, &store.http, &*observer);
            let rows = self.stop.or_stopped(fetch).await?;
            let version = store.put_raw(pipeline, &rows, true, self.id).await?;
            (version, extract_line(pipeline, &rows))
        } else {
            // Piece by piece as a back-fill, so that a long history is never lost half-way.
            let heard = (&*observer, &*self.stop);
            let taken = backfill::pieces(store, self.id, pipeline, Patience::Short, heard).await?;
            let there = backfill::stored(store, pipeline).await?;
            let (version, mut rows) = (there.version, there.latest(pipeline)?);
            rows.origin = taken.origin.unwrap_or(rows.origin);
            (version, extract_line(pipeline, &rows))
        };
        // What was refused were rows of the lake: those are mended, not what just came.
        let version = match &self.mended {
            Some(mended) => store.put_mended(pipeline, mended, self.id).await?,
            None => version,
        };
        let version = store.tidy_up(Layer::Raw, &pipeline.name, version).await?;
        // From here on the rows are those of the lake, which hold what earlier runs took
        // in as well and can be read again.
        self.made.read_at = clock.stamp();
        let known = KnownAt::instant(self.made.read_at);
        let versions = store.versions(pipeline, AsOf::Version(version), known).await?;
        self.made.versions = versions.map(Arc::new);
        let latest = needs(&self.made.versions, "the raw table")?.latest(pipeline)?;
        self.made.raw = Some((version, latest));
        let (_, raw) = needs(&self.made.raw, "the raw table")?;
        self.made.present = gate::present(pipeline, raw, self.made.read_at);
        store.keep_demo(pipeline, self.made.present, self.id).await?;
        store.keep_judged(self.id, version, self.made.read_at).await?;
        Ok(line)
    }

    async fn gate(&mut self) -> Result<String, PlatformError> {
        let (_, raw) = needs(&self.made.raw, "the raw table")?;
        let outcome = gate::gate(self.pipeline, raw, self.made.present)?;
        let quarantine = self.store.dir.file("quarantine", &format!("{}.json", self.id));
        let subject = format!("run {}", self.id);
        let (clean, outcome) = gate::admit(outcome, raw, &subject, Some(&quarantine))?;
        self.store.keep_gaps(self.pipeline, &outcome, &clean, self.id).await?;
        let source = Fingerprint::of_bytes(raw.origin.as_bytes());
        let (store, name) = (self.store, &self.pipeline.name);
        let version = store.put_frame(Layer::Clean, name, &clean, self.id, source).await?;
        store.tidy_up(Layer::Clean, name, version).await?;
        let line = outcome.summary();
        self.made.clean = Some((version, clean));
        self.made.gate = Some(outcome);
        Ok(line)
    }

    async fn features(&mut self) -> Result<String, PlatformError> {
        let (_, clean) = needs(&self.made.clean, "the clean rows")?;
        let (pipeline, clean) = (self.pipeline.clone(), clean.clone());
        let source = clean.fingerprint();
        let (versions, present) = (needs(&self.made.versions, "the raw table")?, self.made.present);
        let versions = Arc::clone(versions);
        let work = move || versions.materialise(&pipeline, &clean, present);
        let made = training::run_cpu(work).await??;
        for message in made.warnings.iter().cloned() {
            self.observer.event(Event::Warning { message });
        }
        let (store, features) = (self.store, &made.features);
        let name = table_name(self.pipeline, &made);
        let version = store.put_frame(Layer::Features, &name, features, self.id, source).await?;
        store.tidy_up(Layer::Features, &name, version).await?;
        let line = made.features_summary();
        self.made.materialised = Some(made);
        Ok(line)
    }

    async fn dataset(&mut self) -> Result<String, PlatformError> {
        let made = needs(&self.made.materialised, "the features")?;
        let name = table_name(self.pipeline, made);
        // Neither the rate nor the box is the file's to change: told before anything is fitted.
        rate::check(self.store, self.pipeline).await?;
        let lock_box = crate::lockbox::effective(self.store, self.pipeline).await?;
        let dataset = Arc::new(made.allowed(lock_box));
        let fingerprint = self.register_dataset(&dataset, &name).await?;
        let pipeline = self.pipeline;
        let folds =
            foretell_panel::walk_forward(&dataset.labels, &pipeline.evaluation.walk_forward);
        let folds = folds.map_err(|e| PlatformError::Usage {
            message: e.to_string(),
            hint: "see [evaluation] in the pipeline file".to_owned(),
        })?;
        let folds = &folds[folds.len() - training::judged_folds(pipeline, folds.len())..];
        training::check_floor(pipeline, folds.len())?;
        let line = format!(
            "{} rows · label: log return {} ahead · {} folds, purge {}, refit every {} · id {}…",
            wording::thousands(dataset.len() as u64),
            pipeline.label.horizon,
            folds.len(),
            pipeline.label.horizon,
            pipeline.evaluation.walk_forward.refit_every,
            &fingerprint.to_string()[..4],
        );
        self.made.dataset = Some(dataset);
        self.made.fingerprint = Some(fingerprint);
        // Serving something early is a courtesy: what stands in its way (a gap in the last
        // window, say) is told by the forecast station at the end.
        if let Err(error) = self.first_forecast().await {
            let message = format!("no forecast while models train: {}", error.chain());
            self.observer.event(Event::Warning { message });
        }
        Ok(line)
    }

    /// Stores rows that models learn from as a table of the lake, and registers them.
    async fn register_dataset(
        &self,
        dataset: &Dataset,
        name: &str,
    ) -> Result<Fingerprint, PlatformError> {
        let (Some(first), Some(last)) = (dataset.labels.first(), dataset.labels.last()) else {
            return Err(PlatformError::not_found(
                "row to learn from",
                "bring more history than the features' warm-up, or shorten the lock-box",
            ));
        };
        let fingerprint = dataset.fingerprint();
        let clean = needs(&self.made.clean, "the clean rows")?;
        let made = needs(&self.made.materialised, "the features")?;
        let frame = dataset_frame(dataset, &made.rows)?;
        let (store, pipeline) = (self.store, self.pipeline);
        let version = store.put_frame(Layer::Datasets, name, &frame, self.id, fingerprint).await?;
        store.tidy_up(Layer::Datasets, name, version).await?;
        let raw_version = needs(&self.made.raw, "the raw table")?.0;
        let snapshot = |layer: Layer, table: &str, version: u64| Snapshot {
            layer: layer.to_string(),
            table: table.to_owned(),
            version,
        };
        let record = DatasetRecord {
            fingerprint,
            run_id: self.id.to_owned(),
            instrument: pipeline.instrument.clone(),
            interval: pipeline.interval,
            horizon: pipeline.label.horizon,
            feature_set: dataset.feature_set,
            rows: dataset.len() as u64,
            from: first.start,
            to: last.end,
            known_at: self.made.present,
            created_at: store.clock.now(),
            snapshots: vec![
                snapshot(Layer::Raw, &pipeline.name, raw_version),
                snapshot(Layer::Clean, &pipeline.name, clean.0),
                snapshot(Layer::Datasets, name, version),
            ],
        };
        store.registry.insert_dataset(&record).await?;
        Ok(fingerprint)
    }

    /// Something honest to serve while models train: the champion's forecast, or the
    /// random walk's when there is no champion yet.
    async fn first_forecast(&self) -> Result<(), PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let (raw_version, _) = needs(&self.made.raw, "the raw table")?;
        let (_, clean) = needs(&self.made.clean, "the clean rows")?;
        if let Some(record) = store.registry.aliased(&pipeline.name, CHAMPION).await? {
            let version = store.served_version(pipeline, &record, CHAMPION).await?;
            let calibration = store.calibration(&record, self.made.present).await?;
            let provenance = self.provenance(*raw_version);
            let made = store.forecast(pipeline, &version, calibration, clean, provenance).await;
            // A champion that cannot forecast any more (too old, other features) is no
            // reason to stop: this run makes the next one.
            if let Ok(made) = made
                && made.forecast.abstained.is_none()
            {
                if let Some(record) = &made.record {
                    store.registry.insert_forecast(record).await?;
                }
                self.board.put(made.forecast);
                return Ok(());
            }
        }
        let dataset = Arc::clone(needs(&self.made.dataset, "the dataset")?);
        let walk = Recipe { name: RANDOM_WALK.to_owned(), spec: EstimatorSpec::RandomWalk };
        let plan = training::plan(pipeline);
        let quick = foretell_model::evaluate::EvaluationPlan {
            bootstrap_draws: 0,
            seeds: 1,
            shuffles: 0,
            ..plan
        };
        let quick = (quick, Effort::default());
        let nobody: Arc<dyn Observer> = Arc::new(());
        let stop = Arc::clone(&self.stop);
        let (rows, recipes) = (Arc::clone(&dataset), vec![walk.clone()]);
        let keeper = Arc::new(Keeper::nothing());
        let judged = training::judge(rows, None, recipes, quick, nobody, stop, keeper).await?;
        let nothing = Keeper::nothing();
        let refit = training::fit(&walk, &dataset, pipeline.seed, &self.stop, &(), &nothing)?;
        let forecast = self.provisional(&refit, judged.random_walk(), clean, &dataset)?;
        self.board.put(forecast);
        Ok(())
    }

    /// A forecast of the random walk that is served until the run has judged: not kept.
    fn provisional(
        &self,
        refit: &Refit,
        judged: &RecipeEvaluation,
        clean: &Frame,
        dataset: &Dataset,
    ) -> Result<foretell_forecaster::Forecast, PlatformError> {
        let pipeline = self.pipeline;
        let model = refit.model.model().map_err(PlatformError::model(RANDOM_WALK))?;
        let version = foretell_forecaster::ServedVersion {
            name: pipeline.name.clone(),
            version: 0,
            alias: PROVISIONAL.to_owned(),
            hash: refit.hash,
            model: Arc::from(model),
            instrument: pipeline.instrument.clone(),
            interval: pipeline.interval,
            horizon: pipeline.label.horizon,
            feature_set: dataset.feature_set,
            dataset: *needs(&self.made.fingerprint, "the dataset's fingerprint")?,
            fitted_as_of: refit.model.train_to,
            train_to: refit.model.train_to,
            refit_every: pipeline.evaluation.walk_forward.refit_every,
            train_rows: dataset.len(),
            includes_lock_box: false,
            ranges: foretell_forecaster::FeatureRange::of(dataset),
            skill: foretell_forecaster::Skill::not_judged(),
        };
        let last = clean.rows().last().map_or(self.made.present, |r| r.time + pipeline.interval);
        let schema = version.model.schema();
        let row = crate::forecasting::row_at(pipeline, schema, clean, last)?;
        let terms = crate::forecasting::terms(pipeline);
        let now = self.store.clock.now().max(self.made.read_at);
        Ok(foretell_forecaster::forecast(&version, &judged.calibration, &row, now, &terms)?)
    }

    async fn train(&mut self) -> Result<String, PlatformError> {
        let dataset = Arc::clone(needs(&self.made.dataset, "the dataset")?);
        let recipes = training::recipes(self.pipeline)?;
        let pieces = Pieces::of(self.store.dir.path(), &self.pipeline.name, "run");
        let plan = (training::plan(self.pipeline), Effort::of(self.pipeline, pieces));
        let lock_box = lockbox::effective(self.store, self.pipeline).await?;
        let made = needs(&self.made.materialised, "the features")?;
        let returns = Some(made.allowed_returns(lock_box));
        let (observer, stop) = (Arc::clone(&self.observer), Arc::clone(&self.stop));
        let keeper = Arc::clone(&self.keeper);
        let judged = training::judge(dataset, returns, recipes, plan, observer, stop, keeper);
        let mut evaluation = judged.await?;
        let left = evaluation.recipes.iter().map(|r| &r.spec);
        if let Err(error) = training::check_some_left(left, &evaluation.failed) {
            // Nothing was tested, and all was tried.
            self.made.evaluation = Some(evaluation);
            self.write_failed().await?;
            return Err(error);
        }
        let spoilt = overfitting::judge(self.store, self.pipeline, &mut evaluation).await?;
        self.made.overfitting = Some(spoilt);
        let rows = evaluation.times.len() as u64;
        let failed = match evaluation.failed.len() {
            0 => String::new(),
            n => format!(" · {n} failed"),
        };
        let line = format!(
            "{} models{failed} · {} out-of-sample rows · {} refits",
            evaluation.recipes.len(),
            wording::thousands(rows),
            evaluation.folds.len()
        );
        self.made.evaluation = Some(evaluation);
        Ok(line)
    }

    /// Opens the lock-box for every recipe that has not looked yet, instead of judging
    /// on the rows outside it.
    pub(crate) async fn open_lock_box(mut self) -> Result<RunReport, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        rate::check(store, pipeline).await?;
        rate::fix(store, pipeline).await?;
        let made = needs(&self.made.materialised, "the features")?;
        let (observer, stop) = (Arc::clone(&self.observer), Arc::clone(&self.stop));
        let keeper = Arc::clone(&self.keeper);
        let opened = crate::lockbox::open(store, pipeline, made, observer, stop, keeper).await?;
        let demo = pipeline.as_of == Present::EndOfData;
        let (points, spread, reason) = lockbox::verdict(&opened.table, pipeline.alpha);
        let skilled = !points.is_empty();
        let reason = match opened.looked {
            0 => format!("{reason}; every recipe had looked before, its stored result is shown"),
            _ => reason,
        };
        Ok(RunReport {
            run: self.id.to_owned(),
            pipeline: pipeline.name.clone(),
            instrument: pipeline.instrument.clone(),
            horizon: pipeline.label.horizon,
            historical_demo: demo.then_some(self.made.present),
            dataset: self.made.fingerprint.take().unwrap_or_else(|| Fingerprint::of_bytes(b"")),
            refits: opened.refits,
            rows: opened.rows,
            level: pipeline.evaluation.coverage,
            cost_bp: pipeline.evaluation.cost_bp,
            table: opened.table,
            failed: opened.failed,
            champion: String::new(),
            promoted: false,
            skilled,
            spread,
            reason,
            volatility: None,
            overfitting: None,
            searches: Vec::new(),
            confidence_sets: Vec::new(),
            ranks: None,
            refit_includes_lock_box: Vec::new(),
            lock_box: crate::lockbox::line(store, pipeline).await?,
            forecast: serde_json::Value::Null,
            report: String::new(),
            seconds: (store.clock.now().micros() - self.started_at.micros()) as f64 / 1e6,
        })
    }

    fn provenance(&self, raw_version: u64) -> Provenance<'_> {
        let (present, read_at) = (self.made.present, self.made.read_at);
        let last = self.made.clean.as_ref().and_then(|(_, clean)| clean.rows().last());
        let changed_at = self.made.versions.as_ref().zip(last).and_then(|(versions, last)| {
            versions.changed_behind(self.pipeline, last.time + self.pipeline.interval)
        });
        Provenance { run: self.id, raw_version, present, read_at, changed_at }
    }

    async fn forecast(&mut self) -> Result<String, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let record = needs(&self.made.champion, "the champion")?;
        let (raw_version, _) = needs(&self.made.raw, "the raw table")?;
        let (_, clean) = needs(&self.made.clean, "the clean rows")?;
        let version = store.served_version(pipeline, record, CHAMPION).await?;
        let calibration = store.calibration(record, self.made.present).await?;
        let provenance = self.provenance(*raw_version);
        let made = store.forecast(pipeline, &version, calibration, clean, provenance).await?;
        if let Some(record) = &made.record {
            store.registry.insert_forecast(record).await?;
        }
        let view = foretell_forecaster::view(&made.forecast, store.clock.now());
        let json = serde_json::to_value(&view).unwrap_or_default();
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let promotion = needs(&self.made.promotion, "the promotion")?;
        let line = forecast_line(&made.forecast, evaluation, promotion);
        store.export_forecasts(pipeline, None, self.id).await?;
        self.board.replace(made.forecast);
        self.made.forecast = Some(json);
        Ok(line)
    }

    async fn report(&mut self) -> Result<String, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let promotion = needs(&self.made.promotion, "the promotion")?;
        let demo = pipeline.as_of == Present::EndOfData;
        let page = format!("reports/{}.html", self.id);
        let report = RunReport {
            run: self.id.to_owned(),
            pipeline: pipeline.name.clone(),
            instrument: pipeline.instrument.clone(),
            horizon: pipeline.label.horizon,
            historical_demo: demo.then_some(self.made.present),
            dataset: *needs(&self.made.fingerprint, "the fingerprint")?,
            refits: evaluation.folds.len(),
            rows: evaluation.times.len(),
            level: evaluation.level,
            cost_bp: evaluation.cost_bp,
            table: training::table(evaluation),
            failed: training::failed(evaluation),
            champion: promotion.winner.clone(),
            promoted: promotion.promoted,
            skilled: promotion.skilled,
            spread: promotion.spread.clone(),
            reason: promotion.reason.clone(),
            volatility: evaluation.volatility.clone(),
            overfitting: self.made.overfitting.clone(),
            searches: self.made.searches.clone(),
            confidence_sets: evaluation.confidence_sets.clone(),
            ranks: training::ranks(evaluation),
            refit_includes_lock_box: self.made.with_lock_box.clone(),
            lock_box: crate::lockbox::line(store, pipeline).await?,
            forecast: self.made.forecast.clone().unwrap_or_default(),
            report: page.clone(),
            seconds: (store.clock.now().micros() - self.started_at.micros()) as f64 / 1e6,
        };
        let contents = report::Contents {
            report: &report,
            price_column: &pipeline.label.price,
            clean: &needs(&self.made.clean, "the clean rows")?.1,
            gate: needs(&self.made.gate, "the gate's outcome")?,
            gaps: &store.open_gaps(pipeline).await?,
            evaluation,
            promotion,
            refits: &self.made.refits,
        };
        let html = report::html(&contents);
        let path = store.dir.file("reports", &format!("{}.html", self.id));
        crate::data_dir::write_atomically(&path, html.as_bytes())?;
        let artifact = foretell_registry::Artifact {
            run_id: self.id.to_owned(),
            name: "report.html".to_owned(),
            place: foretell_registry::ArtifactPlace::Path(page.clone()),
        };
        store.registry.put_artifact(&artifact).await?;
        // Nothing is left that an interruption could lose.
        Pieces::of(store.dir.path(), &pipeline.name, "run").remove();
        self.made.report = Some(report);
        Ok(path.display().to_string())
    }
}

fn extract_line(pipeline: &Pipeline, rows: &RawTable) -> String {
    let first = rows.rows.iter().map(|r| r.time).min();
    let last = rows.rows.iter().map(|r| r.time).max();
    let span = match (first, last) {
        (Some(first), Some(last)) => {
            format!("{} … {} UTC", first.date_string(), last.date_string())
        }
        _ => "no rows".to_owned(),
    };
    let what = if pipeline.gate.expect == "snapshots" { "snapshots" } else { "candles" };
    format!("{} {what}   {span}   {}", wording::thousands(rows.len() as u64), rows.origin)
}

fn forecast_line(
    forecast: &foretell_forecaster::Forecast,
    evaluation: &Evaluation,
    promotion: &Promotion,
) -> String {
    let head = format!("{}  {}", forecast.instrument, forecast.target_time.human());
    let (Some(point), Some(interval)) = (forecast.point, &forecast.interval) else {
        let reason = forecast.abstained.as_deref().unwrap_or("no reason given");
        return format!("{head}   abstains: {reason}");
    };
    let mut line = format!(
        "{head}   {}   {:.0} %: {} … {}",
        wording::price(point),
        interval.level * 100.0,
        wording::price(interval.lower),
        wording::price(interval.upper)
    );
    // Where prices have no skill their spread often has.
    let spreads = evaluation.recipes.iter().filter_map(|r| training::spread_skill(r, promotion));
    let gain = |s: &SpreadSkill| s.qlike_skill.unwrap_or(f64::NEG_INFINITY);
    if let Some(best) = spreads.max_by(|a, b| gain(a).total_cmp(&gain(b))) {
        line.push_str(&format!("   ({})", best.brief()));
    }
    line
}

/// The dataset as a table: features, then context, label and price, one row per decision.
fn dataset_frame(dataset: &Dataset, decisions: &[RowMeta]) -> Result<Frame, PlatformError> {
    let interval = dataset.interval;
    let mut rows = Vec::with_capacity(dataset.len());
    for label in &dataset.labels {
        let time = label.start - interval;
        let found = decisions.binary_search_by_key(&time, |r| r.time);
        let found = found.map_err(|_| {
            PlatformError::Mismatch(format!("the dataset has a row at {time} that was not clean"))
        })?;
        rows.push(decisions[found]);
    }
    let mut columns = Vec::new();
    for (j, name) in dataset.feature_names.iter().enumerate() {
        columns.push(Column::new(name.clone(), dataset.features.column(j)));
    }
    // Windows of returns depend on which models ask for them, and repeat `log_return`; the
    // columns of a table never change.
    let kept = |name: &str| ContextSpec::NAMES.contains(&name);
    for (j, name) in dataset.context_names.iter().enumerate().filter(|(_, n)| kept(n)) {
        columns.push(Column::new(format!("context.{name}"), dataset.context.column(j)));
    }
    let labels = dataset.labels.iter().map(|l| l.value).collect();
    columns.push(Column::new("label.log_return", labels));
    columns.push(Column::new("base_price", dataset.base_prices.clone()));
    Frame::new(dataset.instrument.clone(), interval, rows, columns)
        .map_err(|e| PlatformError::Mismatch(format!("the dataset is no table: {e}")))
}

/// The table of what a feature set makes of a pipeline's rows: columns of a table never
/// change, so another set has another table.
fn table_name(pipeline: &Pipeline, made: &Materialised) -> String {
    format!("{}.{}", pipeline.name, made.set.fingerprint().short())
}
