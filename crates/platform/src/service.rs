//! The facade: every use case on a data directory, as functions over plain data.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foretell_forecaster::{ForecastView, view};
use foretell_market::{Candle, Clock, Instrument, Interval, Timestamp};
use foretell_quality::QuarantinedRow;
use foretell_registry::{
    AuditEvent, ForecastFilter, ModelFilter, Run as RunRecord, RunFilter, Status,
};
use foretell_stream::View;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use url::Url;

use crate::board::Board;
use crate::data_dir::{DataDir, Owner};
use crate::error::PlatformError;
use crate::execution::{execute, graph};
use crate::forecasting::{CHAMPION, StoredForecast};
use crate::imported::{self, Predicted, PricesGiven};
use crate::keeper::{self, Keeper};
use crate::loaded::LoadedModels;
use crate::market;
use crate::observer::{Observer, Stop};
use crate::pipeline::{Pipeline, Present};
use crate::prove::{config_json, pipeline_of};
use crate::river;
use crate::run::{Made, Run};
use crate::store::Store;
use crate::telling::Teller;
use crate::training::run_cpu;
use crate::turn::Turns;
use crate::views::{
    CandleRange, CandlesView, Health, InstrumentView, ModelView, Proof, RunReport, Served,
};

/// What a run is asked for besides its pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Fail when nothing beats the random walk.
    pub require_skill: bool,
    /// Open the lock-box instead of judging on the rows outside it.
    pub lock_box: bool,
    /// Judge with twenty seeds on every fold, whatever the file's bounds are.
    #[serde(default)]
    pub full: bool,
    /// Mended rows of a quarantine file, put back before the gate.
    pub mended: Option<Vec<QuarantinedRow>>,
}

/// A data directory and everything that can be done with it.
pub struct Service {
    pub(crate) store: Store,
    pub(crate) board: Board,
    command: String,
    secret: String,
    pub(crate) turns: Turns,
    /// Of back-fills, which take the turn of all work only for storing a piece.
    pub(crate) backfills: Turns,
    running: AtomicUsize,
    /// Raised when the process ends: work of callers stops at its next safe point.
    stop: Arc<Stop>,
    /// What [`Service::pipelines`] found, until a run ends.
    known: Mutex<Option<Vec<(RunRecord, Pipeline)>>>,
    /// Imported models that have answered.
    loaded: Arc<LoadedModels>,
    /// The live river of this process.
    river: Mutex<Option<river::Running>>,
    /// Held by whoever computes or plays a recorded period of that again.
    pub(crate) recorded: Arc<tokio::sync::Mutex<()>>,
    /// Tells clients what happens.
    pub(crate) teller: Teller,
    /// The latest rows of the live river, where one runs.
    pub(crate) rows: RwLock<Option<Arc<View>>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({:?})", self.store)
    }
}

/// Counts a run as long as it goes on.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service {
    /// Opens a data directory that this process owns, with its lake inside or at a URL;
    /// time comes from `clock`.
    ///
    /// # Errors
    /// When its registry or lake cannot be opened.
    pub async fn open(
        dir: DataDir,
        lake: Option<&Url>,
        command: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PlatformError> {
        let store = Store::open(dir, lake, clock).await?;
        let service = Self {
            store,
            board: Board::default(),
            command: command.to_owned(),
            // Two identifiers hold 160 random bits.
            secret: format!("{}{}", Ulid::generate(), Ulid::generate()),
            turns: Turns::default(),
            backfills: Turns::default(),
            running: AtomicUsize::new(0),
            stop: Arc::new(Stop::default()),
            known: Mutex::new(None),
            loaded: Arc::default(),
            river: Mutex::new(None),
            recorded: Arc::default(),
            teller: Teller::default(),
            rows: RwLock::default(),
        };
        for (_, pipeline) in service.pipelines().await? {
            service.show_stored(&pipeline).await?;
        }
        Ok(service)
    }

    /// Puts the latest stored forecast of a pipeline's champion on the board.
    async fn show_stored(&self, pipeline: &Pipeline) -> Result<(), PlatformError> {
        let registry = &self.store.registry;
        let Some(champion) = registry.aliased(&pipeline.name, CHAMPION).await? else {
            return Ok(());
        };
        let filter = ForecastFilter {
            instrument: Some(pipeline.instrument.clone()),
            horizon: Some(pipeline.label.horizon),
            model: Some(champion.name),
            version: Some(champion.version),
            limit: Some(1),
            ..Default::default()
        };
        // A process that ended between promotion and forecast left the champion without
        // one: then an earlier version's is served, until the next.
        let of_any = ForecastFilter { version: None, ..filter.clone() };
        let mut stored = registry.forecasts(&filter).await?;
        if stored.is_empty() {
            stored = registry.forecasts(&of_any).await?;
        }
        if let Some(record) = stored.first() {
            self.board.put(StoredForecast::read(record)?.forecast);
        }
        Ok(())
    }

    /// The live river of this process, while one runs.
    pub(crate) fn running_river(&self) -> Option<river::Running> {
        self.river.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_river(&self, river: Option<river::Running>) {
        *self.river.lock().unwrap_or_else(PoisonError::into_inner) = river;
    }

    /// Tells other processes where this one's API is, and whether it is served until
    /// somebody stops it (`lasting`) or for as long as this process has work of its own.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn announce(&self, api: &str, lasting: bool) -> Result<(), PlatformError> {
        let (api, secret) = (Some(api.to_owned()), Some(self.secret.clone()));
        let owner = Owner::of_this_process(&self.command, self.store.dir.since());
        self.store.dir.announce(&Owner { api, secret, lasting, ..owner })
    }

    /// What a request that changes something must carry.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The flag that ends all work of this service.
    pub fn stopping(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// The latest run of every pipeline that got as far as a model, with its pipeline.
    pub(crate) async fn pipelines(&self) -> Result<Vec<(RunRecord, Pipeline)>, PlatformError> {
        let remembered = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = remembered {
            return Ok(known);
        }
        let filter = RunFilter {
            status: Some(Status::Succeeded),
            kind: Some("run".to_owned()),
            ..Default::default()
        };
        let mut found: Vec<(RunRecord, Pipeline)> = Vec::new();
        for run in self.store.registry.runs(&filter).await? {
            if found.iter().any(|(known, _)| known.pipeline == run.pipeline) {
                continue;
            }
            // A pipeline text of an older version may not be readable any more; its
            // forecasts are, so this is no reason to refuse the directory.
            if let Ok(pipeline) = pipeline_of(&run) {
                found.push((run, pipeline));
            }
        }
        found.sort_by(|a, b| a.0.pipeline.cmp(&b.0.pipeline));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Runs a pipeline: every station of the river, then the forecast and the report.
    ///
    /// # Errors
    /// What the first failing station failed with; what was committed before is kept.
    pub async fn run(
        &self,
        pipeline: Pipeline,
        options: RunOptions,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<RunReport, PlatformError> {
        let kind = if options.lock_box { "evaluate" } else { "run" };
        let pipeline = if options.full { pipeline.in_full() } else { pipeline };
        let (clock, turns) = (&*self.store.clock, &self.turns);
        let _turn = turns.take(kind, &pipeline.name, clock, &*observer, &stop).await?;
        market::check(&self.store, &pipeline).await?;
        let _running = Running::begin(&self.running);
        let record = self.begin(&pipeline, kind).await?;
        let require_skill = options.require_skill;
        let outcome = self.stations(&record, &pipeline, options, observer, stop).await;
        self.end(&record.id, outcome.as_ref().err()).await?;
        self.board.drop_provisional(&pipeline.name);
        let report = outcome?;
        if require_skill && !report.skilled {
            return Err(PlatformError::NoSkill(report.reason));
        }
        Ok(report)
    }

    /// Registers a run that begins now.
    pub(crate) async fn begin(
        &self,
        pipeline: &Pipeline,
        kind: &str,
    ) -> Result<RunRecord, PlatformError> {
        let record = RunRecord {
            id: Ulid::generate().to_string(),
            pipeline: pipeline.name.clone(),
            kind: kind.to_owned(),
            status: Status::Running,
            started_at: self.store.clock.now(),
            finished_at: None,
            config_json: config_json(pipeline),
            error: None,
        };
        self.store.registry.insert_run(&record).await?;
        Ok(record)
    }

    /// Writes down how a run ended.
    pub(crate) async fn end(
        &self,
        id: &str,
        error: Option<&PlatformError>,
    ) -> Result<(), PlatformError> {
        let status = match error {
            None => Status::Succeeded,
            Some(PlatformError::Gate(_)) => Status::Refused,
            Some(PlatformError::Interrupted) => Status::Cancelled,
            Some(_) => Status::Failed,
        };
        let text = error.map(PlatformError::chain);
        let now = Some(self.store.clock.now());
        self.store.registry.set_run_status(id, status, now, text.as_deref()).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    async fn stations(
        &self,
        record: &RunRecord,
        pipeline: &Pipeline,
        options: RunOptions,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<RunReport, PlatformError> {
        let registry = &self.store.registry;
        let clock: Arc<dyn Clock> = Arc::clone(&self.store.clock) as _;
        // A look into the lock-box leaves alone what an interrupted run has kept.
        let name = match options.lock_box {
            true => format!("{}.lock-box", pipeline.name),
            false => pipeline.name.clone(),
        };
        let folder = keeper::folder(self.store.dir.path(), &name);
        let keeper = Arc::new(Keeper::of_run(folder, registry, clock, pipeline, &record.id)?);
        let mut run = Run {
            store: &self.store,
            board: &self.board,
            pipeline,
            id: &record.id,
            observer: Arc::clone(&observer),
            stop: Arc::clone(&stop),
            started_at: record.started_at,
            mended: options.mended,
            keeper: Arc::clone(&keeper),
            made: Made::default(),
        };
        let whole = graph();
        let graph = match options.lock_box {
            true => whole.only(&["dataset"]).expect("the dataset is a station"),
            false => whole,
        };
        let (store, seed) = (&self.store, pipeline.seed);
        execute(graph, store, &record.id, seed, &*observer, &stop, &mut run).await?;
        if options.lock_box {
            let report = run.open_lock_box().await?;
            keeper.clear();
            return Ok(report);
        }
        keeper.clear();
        run.made.report.take().ok_or_else(|| {
            PlatformError::Mismatch("the run ended without a report: a bug".to_owned())
        })
    }

    /// The latest forecast of an instrument, read now.
    ///
    /// # Errors
    /// When none is served.
    pub fn forecast(
        &self,
        instrument: &Instrument,
        horizon: Option<Interval>,
        pipeline: Option<&str>,
    ) -> Result<ForecastView, PlatformError> {
        let found = self.board.get(instrument, horizon, pipeline);
        let found = found.ok_or_else(|| {
            let served = self.board.all();
            let names: Vec<String> =
                served.iter().map(|f| format!("{} {}", f.instrument, f.horizon)).collect();
            let ahead = horizon.map_or_else(String::new, |h| format!(" {h} ahead"));
            let hint = match names.is_empty() {
                true => "run a pipeline first: `foretell run pipelines/btc-usd-hourly.toml`".into(),
                false => format!("there is {}", names.join(", ")),
            };
            PlatformError::not_found(format!("forecast of {instrument}{ahead}"), hint)
        })?;
        Ok(view(&found, self.store.clock.now()))
    }

    /// One forecast by its id, read now.
    ///
    /// # Errors
    /// When there is none.
    pub async fn forecast_by_id(&self, id: &str) -> Result<ForecastView, PlatformError> {
        let record = self.store.forecast_named(id).await?;
        Ok(view(&StoredForecast::read(&record)?.forecast, self.store.clock.now()))
    }

    /// Every forecast that is served, with its age.
    pub fn served(&self) -> Vec<Served> {
        let now = self.store.clock.now();
        let age = |f: &foretell_forecaster::Forecast| view(f, now).age_seconds;
        let served = self.board.all();
        let served = served.iter().map(|f| Served {
            instrument: f.instrument.clone(),
            pipeline: f.model.name.clone(),
            horizon: f.horizon,
            age_seconds: age(f),
        });
        served.collect()
    }

    /// The instrument of every pipeline that ran, with that pipeline's own rows.
    ///
    /// # Errors
    /// When the registry or the lake cannot be read.
    pub async fn instruments(&self) -> Result<Vec<InstrumentView>, PlatformError> {
        let mut views: Vec<InstrumentView> = Vec::new();
        for (_, pipeline) in self.pipelines().await? {
            let clean = self.store.clean(&pipeline).await?;
            let rows = clean.as_ref().map_or(&[][..], |c| c.rows());
            let demo = pipeline.as_of == Present::EndOfData;
            let end = rows.last().map(|r| r.time + pipeline.interval);
            views.push(InstrumentView {
                instrument: pipeline.instrument.clone(),
                pipeline: pipeline.name.clone(),
                horizon: pipeline.label.horizon,
                interval: pipeline.interval,
                from: rows.first().map(|r| r.time),
                to: rows.last().map(|r| r.time),
                rows: rows.len(),
                historical_demo: end.filter(|_| demo),
            });
        }
        Ok(views)
    }

    /// Clean candles of an instrument: the rows of the pipeline that is asked for, or of
    /// the one whose forecast would be served, so that candles and forecast fit together.
    /// Where none of them forecasts, those of the shortest interval.
    ///
    /// # Errors
    /// When no such pipeline of that instrument (and interval) ran.
    pub async fn candles(
        &self,
        instrument: &Instrument,
        range: &CandleRange,
    ) -> Result<CandlesView, PlatformError> {
        let pipelines = self.pipelines().await?;
        let wanted = |p: &&(RunRecord, Pipeline)| {
            p.1.instrument == *instrument
                && range.interval.is_none_or(|i| i == p.1.interval)
                && range.pipeline.as_ref().is_none_or(|name| *name == p.1.name)
        };
        let found: Vec<&Pipeline> = pipelines.iter().filter(wanted).map(|(_, p)| p).collect();
        let served = self.board.best(instrument, None, |name| found.iter().any(|p| p.name == name));
        let of_served = |p: &&&Pipeline| served.as_ref().is_some_and(|f| f.model.name == p.name);
        let shortest = || found.iter().min_by_key(|p| p.interval);
        let Some(&pipeline) = found.iter().find(of_served).or_else(shortest) else {
            let name = |p: &Pipeline| format!("{} {} ({})", p.instrument, p.interval, p.name);
            let names: Vec<String> = pipelines.iter().map(|(_, p)| name(p)).collect();
            return Err(PlatformError::not_found(
                format!("candle of {instrument}"),
                format!("there are candles of: {}", names.join(", ")),
            ));
        };
        let clean = self.store.clean(pipeline).await?;
        let Some(clean) = clean else {
            return Err(PlatformError::not_found(
                format!("candle of {instrument}"),
                "run its pipeline again",
            ));
        };
        let place = |t: Timestamp| clean.rows().partition_point(|r| r.time < t);
        let end = range.to.map_or(clean.len(), place);
        let start = range.from.map_or(0, place).max(end.saturating_sub(range.limit)).min(end);
        let part = clean.slice(start..end);
        // Snapshots have one price: it is all four of the candle's.
        let price = part.require(&pipeline.label.price);
        let price = price.map_err(|e| PlatformError::Mismatch(e.to_string()))?;
        let of = |name: &str, i: usize| part.column(name).map_or(price[i], |c| c[i]);
        let volume = part.column("volume").or_else(|| part.column("total_volume"));
        let trades = part.column("trades");
        let candle = |i: usize| Candle {
            open_time: part.rows()[i].time,
            open: of("open", i),
            high: of("high", i),
            low: of("low", i),
            close: of("close", i),
            volume: volume.map_or(0.0, |v| v[i]),
            trades: trades.map(|t| t[i]).filter(|t| t.is_finite()).map(|t| t as u64),
        };
        let demo = pipeline.as_of == Present::EndOfData;
        let end = clean.rows().last().map(|r| r.time + pipeline.interval);
        Ok(CandlesView {
            instrument: instrument.clone(),
            pipeline: pipeline.name.clone(),
            interval: pipeline.interval,
            candles: (0..part.len()).map(candle).collect(),
            historical_demo: end.filter(|_| demo),
        })
    }

    /// Makes a version the champion by hand; without a number, the champion before the
    /// present one. The audit trail keeps it, and the forecast that is served comes from
    /// it. Waits for work that goes on.
    ///
    /// # Errors
    /// When there is no such model or version, or it cannot forecast from the rows there
    /// are: then the champion stays.
    pub async fn promote(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ModelView, PlatformError> {
        let (registry, clock) = (&self.store.registry, &*self.store.clock);
        // A wrong name is told before anything is looked for in its history.
        self.store.model_named(name, version).await?;
        let _turn = self.turns.take("promote", name, clock, &(), &self.stop).await?;
        let (number, action) = match version {
            Some(number) => (number, "promote"),
            None => {
                let history = registry.alias_history(name, CHAMPION).await?;
                let mut numbers: Vec<u32> = history.iter().filter_map(|h| h.version).collect();
                if history.windows(2).all(|w| w[0].at <= w[1].at) {
                    numbers.reverse();
                }
                let present = numbers.first().copied();
                let before = numbers.into_iter().find(|v| Some(*v) != present);
                let before = before.ok_or_else(|| {
                    PlatformError::not_found(
                        format!("earlier champion of `{name}`"),
                        "`foretell models list` shows every version; promote one by number",
                    )
                })?;
                (before, "rollback")
            }
        };
        let missing = || {
            PlatformError::not_found(
                format!("version {number} of `{name}`"),
                "`foretell models list` shows every version",
            )
        };
        let audit = AuditEvent {
            at: self.store.clock.now(),
            actor: "operator".to_owned(),
            action: action.to_owned(),
            subject: format!("{name} version {number}"),
            detail_json: "{}".to_owned(),
        };
        let record = self.store.model_named(name, Some(number)).await?;
        let forecast = self.forecast_as_champion(&record).await?;
        registry.promote(name, number, CHAMPION, &audit).await?;
        if let Some(forecast) = forecast {
            self.serve(forecast).await?;
        }
        let filter = ModelFilter { name: Some(name.to_owned()), ..Default::default() };
        let views = self.model_views(&filter).await?;
        views.into_iter().find(|v| v.version == number).ok_or_else(missing)
    }

    /// The stored bytes of a model version; of the champion without a number.
    ///
    /// # Errors
    /// When there is no such version, or its bytes are gone.
    pub async fn model_file(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Vec<u8>, PlatformError> {
        let record = self.store.model_named(name, version).await?;
        let bytes = self.store.lake.artifact(&record.artifact).await;
        Ok(bytes.map_err(PlatformError::lake("reading a model"))?.to_vec())
    }

    /// The next price after some, by an imported model of this data directory.
    ///
    /// # Errors
    /// [`PlatformError::Prices`] when none follows from them, and when there is no such model.
    pub async fn predict(
        &self,
        model: Option<&str>,
        prices: &PricesGiven,
    ) -> Result<Predicted, PlatformError> {
        let (loaded, dir) = (Arc::clone(&self.loaded), self.store.dir.path().to_owned());
        let (model, prices) = (model.map(str::to_owned), prices.clone());
        // Reading and computing hold up no other request.
        let work = move || imported::predict_loaded(&loaded, &dir, model.as_deref(), &prices);
        run_cpu(work).await?
    }

    /// The report of a run, as HTML.
    ///
    /// # Errors
    /// When there is no such run or it made no report.
    pub async fn report(&self, run: &str) -> Result<String, PlatformError> {
        // Only ids of the registry become file names.
        let record = self.store.run_named(run).await?;
        let path = self.store.dir.file("reports", &format!("{}.html", record.id));
        std::fs::read_to_string(path).map_err(|_| {
            PlatformError::not_found(
                format!("report of run `{}`", record.id),
                format!(
                    "it is a `{}` that {}; a `run` that succeeded has one",
                    record.kind, record.status
                ),
            )
        })
    }

    /// The report of the latest run that made one.
    ///
    /// # Errors
    /// When no run did.
    pub async fn latest_report(&self) -> Result<String, PlatformError> {
        let filter = RunFilter {
            status: Some(Status::Succeeded),
            kind: Some("run".to_owned()),
            limit: Some(1),
            ..Default::default()
        };
        let run = self.store.registry.runs(&filter).await?;
        let Some(run) = run.first() else {
            return Err(PlatformError::not_found(
                "report yet",
                "a run writes one when it ends; the API is described at /api/openapi.json",
            ));
        };
        self.report(&run.id).await
    }

    /// Recomputes a forecast from the raw rows and compares it bit by bit.
    ///
    /// # Errors
    /// When there is no such forecast, or its rows or model are gone.
    pub async fn verify(&self, id: &str) -> Result<Proof, PlatformError> {
        self.store.verify(id).await
    }

    /// Retrains a run and compares the hashes of its models.
    ///
    /// # Errors
    /// When there is no such run, or its rows are gone.
    pub async fn reproduce(
        &self,
        id: &str,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<Proof, PlatformError> {
        let _running = Running::begin(&self.running);
        self.store.reproduce(id, observer, stop).await
    }

    /// Whether the service answers, and with what.
    pub fn health(&self) -> Health {
        Health {
            status: "ok".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instruments: self.board.all().len(),
            running: self.running.load(Ordering::Relaxed),
        }
    }

    /// What is served, in one line.
    pub fn state_line(&self) -> String {
        let served = self.board.all();
        if served.is_empty() {
            return "no forecast yet: run a pipeline".to_owned();
        }
        let line = |f: &Arc<foretell_forecaster::Forecast>| match f.historical_demo {
            true => format!("{}: historical demo, data ends {}", f.instrument, f.as_of.human()),
            false => format!("{}: live, as of {}", f.instrument, f.as_of.human()),
        };
        let mut lines: Vec<String> = served.iter().map(line).collect();
        lines.dedup();
        lines.join(" · ")
    }
}
