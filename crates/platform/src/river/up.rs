//! Everything in one process: `foretell up`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foretell_lake::Layer;
use foretell_market::{Clock, Fingerprint, Instrument, Interval, Timestamp};
use foretell_registry::RunFilter;
use foretell_source::live::LiveSettings;
use foretell_stream::codec::{Encoding, encode_features};
use foretell_stream::{FeatureRecord, Log, View};
use serde::{Deserialize, Serialize};

use super::address::{LogAddress, OpenLog};
use super::columns::{Candles, Features, Trades, feature_row};
use super::history::is_live;
use super::lake;
use super::parts::{Heard, Part, Processes, lake_group};
use super::plan::RiverPlan;
use super::shown::Rows;
use super::status::{RiverStatus, RiverView};
use crate::error::PlatformError;
use crate::forecasting::CHAMPION;
use crate::live_forecasts::ForecastSink;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::{Pipeline, Present};
use crate::service::{RunOptions, Service};
use crate::telling::LiveRowQuery;

/// How often records that are old enough are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked for another champion.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a river is run.
#[derive(Debug, Clone)]
pub struct RiverOptions {
    /// Where its log is.
    pub log: LogAddress,
    /// The name of this process on a cluster, of its own and the same after a restart.
    pub instance: String,
    /// Records older than this go; all stay without it. On a cluster its own settings hold.
    pub retain: Option<Interval>,
    /// How many bytes an embedded log may hold.
    pub budget: Option<u64>,
    /// How patient feeds are.
    pub live: LiveSettings,
    /// Row versions per instrument that reads find in memory; older ones are in the lake.
    pub rows_in_memory: usize,
}

impl Default for RiverOptions {
    fn default() -> Self {
        Self {
            log: LogAddress::Embedded,
            instance: "foretell".to_owned(),
            retain: Some(Interval::from_secs(7 * 86_400).expect("a week is an interval")),
            budget: None,
            live: LiveSettings::default(),
            rows_in_memory: 1_000,
        }
    }
}

/// What a running river shares with those who ask.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) status: Arc<RiverStatus>,
    pub(crate) plan: Arc<RiverPlan>,
    /// Where its log is.
    pub(crate) address: String,
}

/// How the river of a process began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiverStarted {
    /// Where its log is.
    pub log: String,
    /// What it follows.
    pub instruments: Vec<Instrument>,
    /// Candles of the past that were put into the log.
    pub history: usize,
}

impl Service {
    /// Makes a river ready: every pipeline has run once, its rows are as new as its source
    /// has them, and the log has the past. [`Ready::until`] runs it: `everything`, or only
    /// what needs this data directory, which is forecasts and the copies in lake and registry.
    ///
    /// # Errors
    /// When a pipeline cannot run, or the log fails.
    pub async fn ready_river(
        self: &Arc<Self>,
        mut plan: RiverPlan,
        options: RiverOptions,
        everything: bool,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<Ready, PlatformError> {
        let OpenLog { log, embedded } =
            options.log.open(self.store.dir.path(), &options.instance, options.budget).await?;
        let status = Arc::new(RiverStatus::default());
        let clock: Arc<dyn Clock> = Arc::clone(&self.store.clock) as _;
        // A cluster does not know for whom a trade is kept.
        let retain = options.retain.filter(|_| embedded.is_some()).map(Interval::secs);
        let mut processes =
            Processes::on(Arc::clone(&log), &plan, retain, Arc::clone(&clock), Arc::clone(&status))
                .await?;
        for pipeline in plan.pipelines() {
            let live = is_live(&*log, &plan, pipeline).await?;
            self.ready(pipeline, live, &observer, &stop).await?;
        }
        self.rows_for_champions(&mut plan).await?;
        let history = self.seed_history(&log, &plan).await?;
        let view = Arc::new(View::new(options.rows_in_memory));
        let service = Arc::downgrade(self);
        let tell = move |told| {
            if let Some(service) = service.upgrade() {
                service.tell(told);
            }
        };
        let heard = Heard { view: Some(Arc::clone(&view)), tell: Arc::new(tell) };
        let rows = Rows::of(&plan)?;
        let from = rows.fill(&*log, processes.latest(), &view).await?;
        // Rows that anybody may make are heard of from the log alone.
        let shared = processes.latest().is_some();
        let made_here = Heard { view: heard.view.clone().filter(|_| !shared), ..heard.clone() };
        processes = processes.heard_by(made_here);
        if shared {
            let (log, stop) = (Arc::clone(&log), processes.stopping());
            processes.spawn("view", rows.follow(log, from, heard, stop));
        }
        self.show_rows(Arc::clone(&view));
        let address = options.log.to_string();
        let running = Running { log, status, plan: Arc::new(plan.clone()), address };
        self.copy_to_lake(&mut processes, &plan, &running.log, &clock)?;
        if let Some(embedded) = embedded {
            let (mut stopping, clock) = (processes.stopping(), Arc::clone(&clock));
            processes.spawn("retention", async move {
                loop {
                    let now = clock.now();
                    let log = embedded.clone();
                    // Removing files waits for the disk.
                    let expired = tokio::task::spawn_blocking(move || log.expire(now)).await;
                    let gone = expired.map_err(|e| PlatformError::Remote(e.to_string()))??;
                    tracing::debug!(gone, "records were old enough to go");
                    tokio::select! {
                        _ = stopping.wait_for(|stop| *stop) => return Ok(()),
                        () = tokio::time::sleep(EXPIRE_EVERY) => {}
                    }
                }
            });
        }
        let mut sink =
            ForecastSink::new(Arc::clone(self), Arc::clone(&running.log), &plan.topics());
        processes.watch_group("sink-registry", &plan.topics().forecast);
        let stopping = processes.stopping();
        processes.spawn("sink-registry", async move { sink.run(stopping).await });
        processes.forecasts(&plan, self);
        if everything {
            processes.start(Part::Features, &plan, &options.live)?;
            processes.start(Part::Transform, &plan, &options.live)?;
            processes.start(Part::Ingest, &plan, &options.live)?;
        }
        let started = RiverStarted {
            log: running.address.clone(),
            instruments: plan.pipelines().iter().map(|p| p.instrument.clone()).collect(),
            history,
        };
        self.set_river(Some(running));
        Ok(Ready { service: Arc::clone(self), processes, started })
    }

    /// Lets a pipeline run that never did. One whose trades the river has not brought yet
    /// takes in what its source has had since; afterwards the feed fetches what it missed, and
    /// forecasts are judged by the river alone.
    async fn ready(
        &self,
        pipeline: &Pipeline,
        live: bool,
        observer: &Arc<dyn Observer>,
        stop: &Arc<Stop>,
    ) -> Result<(), PlatformError> {
        let registry = &self.store.registry;
        let filter = RunFilter {
            pipeline: Some(pipeline.name.clone()),
            kind: Some("run".to_owned()),
            limit: Some(1),
            ..RunFilter::default()
        };
        let champion = registry.aliased(&pipeline.name, CHAMPION).await?;
        if champion.is_none() || registry.runs(&filter).await?.is_empty() {
            let (observer, stop) = (Arc::clone(observer), Arc::clone(stop));
            self.run(pipeline.clone(), RunOptions::default(), observer, stop).await?;
            return Ok(());
        }
        if !live && pipeline.as_of == Present::Now {
            match self.advance(pipeline, Arc::clone(observer), stop).await {
                Ok(_) => {}
                Err(PlatformError::Interrupted) => return Err(PlatformError::Interrupted),
                // The river does not depend on the other source.
                Err(error) => observer.event(Event::Warning {
                    message: format!(
                        "{}: {}; the river begins with the rows there are",
                        pipeline.name,
                        error.chain()
                    ),
                }),
            }
            observer.event(Event::Done {
                station: Station::Extract,
                summary: format!("{} has the latest rows", pipeline.name),
                seconds: 0.0,
            });
        }
        Ok(())
    }

    /// Makes rows what the champions of a plan read, whatever other models their files name
    /// by now.
    pub(super) async fn rows_for_champions(
        &self,
        plan: &mut RiverPlan,
    ) -> Result<(), PlatformError> {
        let at = self.store.clock.now();
        for name in plan.pipelines().iter().map(|p| p.name.clone()).collect::<Vec<_>>() {
            if let Some(champion) = self.live_champion(&name, at).await? {
                plan.read_by(&name, &champion.served.model.schema().context_names);
            }
        }
        Ok(())
    }

    fn copy_to_lake(
        &self,
        processes: &mut Processes,
        plan: &RiverPlan,
        log: &Arc<dyn Log>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), PlatformError> {
        let topics = plan.topics();
        let mut tables_of = BTreeMap::new();
        for pipeline in plan.pipelines() {
            let set = pipeline.features.feature_set()?.fingerprint();
            let key = (pipeline.instrument.clone(), pipeline.interval, set);
            tables_of.insert(key, live_table(pipeline));
        }
        let features = Features { tables_of, tables: BTreeMap::new() };
        let mut copy = |topic: foretell_stream::TopicName, sink: Box<dyn lake::Sink>| {
            let (log, lake, clock) = (Arc::clone(log), self.store.lake.clone(), Arc::clone(clock));
            let stop = processes.stopping();
            let group = lake_group(&topic);
            processes.watch_group(&group, &topic);
            processes.spawn(&group.clone(), async move {
                lake::copy(log, lake, clock, (&group, &topic), sink, stop).await
            });
        };
        copy(topics.trade, Box::<Trades>::default());
        copy(topics.ohlcv, Box::<Candles>::default());
        copy(topics.feature, Box::new(features));
        Ok(())
    }

    /// The river of this process as an operator sees it; `None` where none runs.
    pub async fn river(&self) -> Option<RiverView> {
        let running = self.running_river()?;
        let mut river = running.status.view(&*running.log).await;
        river.rows_in_memory = self.rows().map_or(0, |view| view.len() as u64);
        Some(river)
    }

    /// The feature row of an instrument that is asked for: the bytes of its record of the topic
    /// `feature`, JSON. What is not in memory comes from the lake.
    ///
    /// # Errors
    /// When no river runs here, it has no such row or pipeline, or the lake fails.
    pub async fn live_row(
        &self,
        instrument: &Instrument,
        asked: &LiveRowQuery,
    ) -> Result<Vec<u8>, PlatformError> {
        let running = self.running_river();
        let named = match &asked.pipeline {
            Some(name) => Some(named(running.as_ref(), name, instrument)?),
            None => None,
        };
        let set = match named {
            Some(pipeline) => Some(pipeline.features.feature_set()?.fingerprint()),
            None => None,
        };
        if let (Some(pipeline), Some(interval)) = (named, asked.interval)
            && pipeline.interval != interval
        {
            let what = format!("row of {interval} of pipeline `{}`", pipeline.name);
            let hint = format!("its rows are of {}: leave `interval` away", pipeline.interval);
            return Err(PlatformError::not_found(what, hint));
        }
        let interval = asked.interval.or(named.map(|p| p.interval));
        let at = asked.at;
        let missing = match self.feature_row(instrument, interval, set, at) {
            Err(missing @ PlatformError::NotFound { .. }) => missing,
            found => return found,
        };
        let Some(running) = &running else { return Err(missing) };
        let is_it = |p: &&Pipeline| match named {
            Some(named) => p.name == named.name,
            None => p.instrument == *instrument && interval.is_none_or(|i| i == p.interval),
        };
        let present = at.unwrap_or_else(|| self.store.clock.now());
        let mut pipelines: Vec<&Pipeline> = running.plan.pipelines().iter().filter(is_it).collect();
        pipelines.sort_by_key(|p| p.interval);
        // As in memory: of the shortest interval that has one, and there of the newest decision.
        for same in pipelines.chunk_by(|a, b| a.interval == b.interval) {
            let mut newest: Option<FeatureRecord> = None;
            for pipeline in same {
                let found = self.stored_row(pipeline, present).await?;
                newest = newest.into_iter().chain(found).max_by_key(|record| record.row.as_of);
            }
            if let Some(record) = newest {
                let mut bytes = Vec::new();
                encode_features(&record, Encoding::Json, &mut bytes);
                return Ok(bytes);
            }
        }
        Err(missing)
    }

    /// Ends when a pipeline has another champion than this version.
    pub(super) async fn champion_changes(
        &self,
        pipeline: &str,
        present: Option<(u32, Fingerprint)>,
    ) -> Result<(), PlatformError> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let found = self.store.registry.aliased(pipeline, CHAMPION).await?;
            if found.map(|record| (record.version, record.hash)) != present {
                return Ok(());
            }
        }
    }

    /// The newest row in the lake that was known at an instant.
    async fn stored_row(
        &self,
        pipeline: &Pipeline,
        at: Timestamp,
    ) -> Result<Option<FeatureRecord>, PlatformError> {
        let fail = PlatformError::lake("reading a live row");
        let table = self.store.lake.table(Layer::Features, &live_table(pipeline));
        // A row is known soon after its close: a day back finds one where there is any of
        // use; before that a forecast would be stale.
        let span = at.plus_secs(-86_400.max(100 * pipeline.interval.secs()))..at;
        let batch = match table.read_versioned(foretell_lake::AsOf::Latest, Some(span)).await {
            Ok((_, batch)) => batch,
            Err(foretell_lake::LakeError::NoTable { .. }) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let rows = (0..batch.num_rows()).rev();
        let mut rows = rows.filter_map(|row| feature_row(&batch, row, pipeline.interval));
        Ok(rows.find(|record| record.row.known_at <= at))
    }
}

/// The pipeline of a river that somebody names for an instrument.
fn named<'a>(
    running: Option<&'a Running>,
    name: &str,
    instrument: &Instrument,
) -> Result<&'a Pipeline, PlatformError> {
    let pipelines = running.map_or(&[][..], |running| running.plan.pipelines());
    let own: Vec<&Pipeline> = pipelines.iter().filter(|p| p.instrument == *instrument).collect();
    own.iter().find(|p| p.name == name).copied().ok_or_else(|| {
        let names: Vec<&str> = own.iter().map(|p| p.name.as_str()).collect();
        let hint = match names.is_empty() {
            true => format!("no pipeline of a live river here is of {instrument}"),
            false => format!("those of {instrument} are: {}", names.join(", ")),
        };
        PlatformError::not_found(format!("live pipeline `{name}` of {instrument}"), hint)
    })
}

/// The name of a pipeline's live tables.
fn live_table(pipeline: &Pipeline) -> String {
    format!("live-{}", pipeline.name)
}

/// A river whose parts run.
#[derive(Debug)]
pub struct Ready {
    service: Arc<Service>,
    processes: Processes,
    /// How it began.
    pub started: RiverStarted,
}

impl Ready {
    /// Runs until `until` ends; then everything is committed.
    ///
    /// # Errors
    /// What the first part failed with; the others have committed.
    pub async fn until(self, until: impl Future<Output = ()>) -> Result<(), PlatformError> {
        let outcome = self.processes.until(until).await;
        self.service.set_river(None);
        outcome
    }
}

/// Runs one part of a river in this process until `until` ends.
///
/// # Errors
/// When there is no cluster to share the work on, or the part fails.
pub async fn run_part(
    part: Part,
    plan: &RiverPlan,
    options: &RiverOptions,
    clock: Arc<dyn Clock>,
    status: Arc<RiverStatus>,
    until: impl Future<Output = ()>,
) -> Result<(), PlatformError> {
    options.log.must_be_shared()?;
    let nowhere = std::path::Path::new("");
    let OpenLog { log, .. } = options.log.open(nowhere, &options.instance, None).await?;
    let mut processes = Processes::on(log, plan, None, clock, status).await?;
    processes.start(part, plan, &options.live)?;
    processes.until(until).await
}
