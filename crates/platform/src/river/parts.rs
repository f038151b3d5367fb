//! The processors of a river: one consumer group each, in one process or in many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foretell_market::{Bar, Clock, Instrument, Timestamp};
use foretell_source::live::LiveSettings;
use foretell_stream::codec::{Instruments, decode_features, decode_ohlcv, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, Closed, FeatureOperator, FeatureRecord, Log, Lost,
    MakeOperator, Ohlcv, Operator, Outbox, Stored, StreamError, Task, TaskSettings, TopicName,
    TopicSpec, Topics, View,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ingest::Ingest;
use super::plan::RiverPlan;
use super::status::RiverStatus;
use crate::error::PlatformError;
use crate::live_forecasts::{ForecastOperator, LiveChampion};
use crate::service::Service;
use crate::telling::Told;

/// The longest time between a record and the commit of what follows on it.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How long a state may stay as it was saved: a process that goes on after another one died
/// does as much work once more.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How many bytes a processor reads at once.
const POLL_BYTES: usize = 1 << 20;

/// The group that copies a topic into the lake. Each topic has its own: on a cluster a group
/// and an instance name one producer.
pub(super) fn lake_group(topic: &str) -> String {
    format!("lake-{topic}")
}

/// The group that forecasts from the rows of a pipeline.
fn forecast_group(plan: &RiverPlan, pipeline: &str) -> String {
    plan.group(&format!("forecasts-{pipeline}"))
}

/// A part of a river that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Venues to `trade`.
    Ingest,
    /// `trade` to `ohlcv`.
    Transform,
    /// `ohlcv` to `feature`.
    Features,
}

/// Records of some instruments alone.
struct Of<O> {
    keys: Vec<String>,
    operator: O,
}

impl<O: Operator> Operator for Of<O> {
    fn restore(&mut self, state: &[(bytes::Bytes, bytes::Bytes)]) -> Result<(), StreamError> {
        self.operator.restore(state)
    }

    fn begin(&mut self, partition: u32, partitions: u32) {
        self.operator.begin(partition, partitions);
    }

    fn lost(&mut self, lost: &Lost, until: Timestamp, out: &mut Outbox) -> Result<(), StreamError> {
        self.operator.lost(lost, until, out)
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        let is_ours = |r: &Stored| self.keys.iter().any(|k| r.record.key == *k.as_bytes());
        if records.iter().all(is_ours) {
            return self.operator.process(records, out);
        }
        let ours: Vec<Stored> = records.iter().filter(|r| is_ours(r)).cloned().collect();
        self.operator.process(&ours, out)
    }

    fn complete(&mut self, out: &mut Outbox) -> Result<(), StreamError> {
        self.operator.complete(out)
    }

    fn save(&mut self) -> Vec<(bytes::Bytes, Option<bytes::Bytes>)> {
        self.operator.save()
    }

    fn repeats(&self) -> bool {
        self.operator.repeats()
    }
}

fn of<O: Operator>(instrument: &Instrument, operator: O) -> Of<O> {
    Of { keys: vec![product_id(instrument)], operator }
}

/// Where rows that were committed are shown, and who is told what happens.
#[derive(Clone)]
pub struct Heard {
    /// The latest rows.
    pub view: Option<Arc<View>>,
    /// Is told of rows and gaps.
    pub tell: Arc<dyn Fn(Told) + Send + Sync>,
}

impl Heard {
    /// Shows a row and tells of it.
    pub(super) fn row(&self, found: FeatureRecord) {
        let Some(view) = &self.view else { return };
        let (instrument, interval) = (found.row.instrument.clone(), found.row.interval);
        let told = Told::Row { instrument, interval, as_of: found.row.as_of, hash: found.hash };
        view.take(found);
        (self.tell)(told);
    }
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heard").field("view", &self.view.is_some()).finish_non_exhaustive()
    }
}

impl Default for Heard {
    fn default() -> Self {
        Self { view: None, tell: Arc::new(|_| {}) }
    }
}

/// The processors that run in this process, until the first of them fails or all have
/// stopped.
pub struct Processes {
    log: Arc<dyn Log>,
    topics: Topics,
    /// Where the latest rows are kept, on a log that has such topics.
    latest: Option<TopicName>,
    clock: Arc<dyn Clock>,
    status: Arc<RiverStatus>,
    heard: Heard,
    commit_every: Duration,
    poll_bytes: usize,
    stop: watch::Sender<bool>,
    running: JoinSet<(String, Result<(), PlatformError>)>,
}

impl std::fmt::Debug for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processes").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Processes {
    /// None yet, on a log whose topics are made where they are not there. Records go after
    /// `retain` seconds, where that is given; a trade never before the lake has it.
    ///
    /// # Errors
    /// When a topic exists with other partitions, or the log fails.
    pub async fn on(
        log: Arc<dyn Log>,
        plan: &RiverPlan,
        retain: Option<i64>,
        clock: Arc<dyn Clock>,
        status: Arc<RiverStatus>,
    ) -> Result<Self, PlatformError> {
        let topics = plan.topics();
        for name in topics.all() {
            let kept_for = if *name == topics.trade && retain.is_some() {
                vec![lake_group(name)]
            } else {
                Vec::new()
            };
            let (name, partitions) = (name.to_string(), topics.partitions);
            log.create(&TopicSpec { name, partitions, retention_secs: retain, kept_for }).await?;
        }
        let mut latest = None;
        if let Some(topic) = plan.latest() {
            let (name, partitions) = (topic.to_string(), topics.partitions);
            let kept_for = Vec::new();
            let spec = TopicSpec { name, partitions, retention_secs: None, kept_for };
            latest = log.create_latest(&spec).await?.then_some(topic);
        }
        let (stop, _) = watch::channel(false);
        let (commit_every, poll_bytes) = (COMMIT_EVERY, POLL_BYTES);
        let (heard, running) = (Heard::default(), JoinSet::new());
        Ok(Self {
            log,
            topics,
            latest,
            clock,
            status,
            heard,
            commit_every,
            poll_bytes,
            stop,
            running,
        })
    }

    /// Reads so few bytes at once and commits what follows on them.
    #[cfg(test)]
    pub(super) fn in_steps(mut self, bytes: usize) -> Self {
        (self.commit_every, self.poll_bytes) = (Duration::ZERO, bytes);
        self
    }

    /// Shows and tells what happens from now on.
    #[must_use]
    pub fn heard_by(mut self, heard: Heard) -> Self {
        self.heard = heard;
        self
    }

    /// The topic that keeps the latest rows, on a log that has such topics.
    pub(super) fn latest(&self) -> Option<&TopicName> {
        self.latest.as_ref()
    }

    /// Starts a part for every venue, interval or pipeline of the plan.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn start(
        &mut self,
        part: Part,
        plan: &RiverPlan,
        live: &LiveSettings,
    ) -> Result<(), PlatformError> {
        match part {
            Part::Ingest => self.ingest(plan, live),
            Part::Transform => {
                self.transform(plan);
                Ok(())
            }
            Part::Features => self.features(plan),
        }
    }

    fn ingest(&mut self, plan: &RiverPlan, live: &LiveSettings) -> Result<(), PlatformError> {
        for spec in plan.feeds()? {
            let ingest = Ingest {
                log: Arc::clone(&self.log),
                topics: self.topics.clone(),
                encoding: plan.encoding,
                settings: live.clone(),
                clock: Arc::clone(&self.clock),
                status: Arc::clone(&self.status),
                tell: Arc::clone(&self.heard.tell),
            };
            let stop = self.stop.subscribe();
            self.running.spawn(async move { ("ingest".to_owned(), ingest.run(spec, stop).await) });
        }
        Ok(())
    }

    fn transform(&mut self, plan: &RiverPlan) {
        let all = plan.candles();
        // A group for each, so that another pipeline begins with the trades there are.
        for bar in &all.bars {
            let settings = CandleSettings { bars: vec![*bar], ..all.clone() };
            let (topics, further) = (self.topics.clone(), plan.further(*bar));
            let make = move || -> Result<Box<dyn Operator>, StreamError> {
                let operator = CandleOperator::new(settings.clone(), topics.clone());
                Ok(Box::new(operator.and_of(further.clone())))
            };
            let topic = self.topics.trade.clone();
            self.task(plan.group(&format!("candles-{bar}")), &topic, Box::new(make));
        }
    }

    fn features(&mut self, plan: &RiverPlan) -> Result<(), PlatformError> {
        for pipeline in plan.pipelines() {
            let settings = plan.features(pipeline)?;
            let (topics, instrument) = (self.topics.clone(), pipeline.instrument.clone());
            let latest = self.latest.clone();
            let make = move || -> Result<Box<dyn Operator>, StreamError> {
                let operator = FeatureOperator::new(settings.clone(), topics.clone())?;
                Ok(Box::new(of(&instrument, operator.keeping_latest(latest.clone()))))
            };
            let topic = self.topics.ohlcv.clone();
            let group = plan.group(&format!("features-{}", pipeline.name));
            self.task(group, &topic, Box::new(make));
        }
        Ok(())
    }

    /// Runs a task as a process of this river.
    fn task(&mut self, group: String, topic: &TopicName, make: MakeOperator) {
        let mut task = self.prepared(&group, topic, make);
        let stop = self.stop.subscribe();
        self.running.spawn(async move {
            let ended = task.run(stop).await;
            (group, ended.map_err(PlatformError::from))
        });
    }

    fn prepared(&self, group: &str, topic: &TopicName, make: MakeOperator) -> Task {
        self.status.group(group, topic);
        let settings = TaskSettings {
            group: group.to_owned(),
            topic: topic.clone(),
            commit_every: self.commit_every,
            save_every: SAVE_EVERY,
            poll_bytes: self.poll_bytes,
        };
        let (status, heard) = (Arc::clone(&self.status), self.heard.clone());
        let (feature, ohlcv) = (self.topics.feature.clone(), self.topics.ohlcv.clone());
        let mut names = Instruments::default();
        Task::new(Arc::clone(&self.log), self.topics.clone(), settings, make).on_commit(Box::new(
            move |records| {
                for (topic, _, record) in records {
                    status.wrote(topic, 1);
                    if *topic == ohlcv {
                        match decode_ohlcv(&record.value, record.time, &mut names) {
                            Ok(Ohlcv::Counted(of)) => status.barred(of.bar.spec.into()),
                            Ok(Ohlcv::Closed(Closed { bar: Bar::Candle(_), interval, .. })) => {
                                status.barred(interval.into());
                            }
                            _ => {}
                        }
                        continue;
                    }
                    if *topic == feature
                        && heard.view.is_some()
                        && let Ok(found) = decode_features(&record.value)
                    {
                        heard.row(found);
                    }
                }
            },
        ))
    }

    /// Forecasts with these versions, by the names of their pipelines, whoever is champion.
    pub(super) fn pinned(&mut self, plan: &RiverPlan, champions: &BTreeMap<String, LiveChampion>) {
        for pipeline in plan.pipelines() {
            let Some(champion) = champions.get(&pipeline.name).cloned() else { continue };
            let (settings, instrument) = (plan.forecasts(), pipeline.instrument.clone());
            let make = move || -> Result<Box<dyn Operator>, StreamError> {
                let operator = ForecastOperator::new(vec![champion.clone()], settings.clone());
                Ok(Box::new(of(&instrument, operator)))
            };
            let topic = self.topics.feature.clone();
            self.task(forecast_group(plan, &pipeline.name), &topic, Box::new(make));
        }
    }

    /// Forecasts with the champion of each pipeline, and goes on with the next when it
    /// changes: what the last one forecast is still judged.
    pub(super) fn forecasts(&mut self, plan: &RiverPlan, service: &Arc<Service>) {
        for pipeline in plan.pipelines() {
            let (name, group) = (pipeline.name.clone(), forecast_group(plan, &pipeline.name));
            let (topic, settings) = (self.topics.feature.clone(), plan.forecasts());
            let instrument = pipeline.instrument.clone();
            let champion: Arc<Mutex<Option<LiveChampion>>> = Arc::default();
            let made_with = Arc::clone(&champion);
            let make = move || -> Result<Box<dyn Operator>, StreamError> {
                let champion = made_with.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let champions = champion.into_iter().collect();
                let operator = ForecastOperator::new(champions, settings.clone());
                Ok(Box::new(of(&instrument, operator)))
            };
            let mut task = self.prepared(&group, &topic, Box::new(make));
            let (service, mut stop) = (Arc::clone(service), self.stop.subscribe());
            self.running.spawn(async move {
                let work = async {
                    loop {
                        let at = service.store.clock.now();
                        let present = service.live_champion(&name, at).await?;
                        let hash = present.as_ref().map(|c| (c.served.version, c.served.hash));
                        *champion.lock().unwrap_or_else(PoisonError::into_inner) = present;
                        let (ends, end) = watch::channel(false);
                        let mut running = std::pin::pin!(task.run(end));
                        let stopped = tokio::select! {
                            ended = &mut running => return Ok(ended?),
                            _ = stop.wait_for(|stop| *stop) => true,
                            changed = service.champion_changes(&name, hash) => {
                                changed?;
                                false
                            }
                        };
                        // What was read is committed by the one who read it.
                        ends.send_replace(true);
                        running.await?;
                        if stopped {
                            return Ok(());
                        }
                        tracing::info!(pipeline = name, "the champion changed");
                    }
                };
                let ended: Result<(), PlatformError> = work.await;
                (group, ended)
            });
        }
    }

    /// Has the lag of a group shown.
    pub(super) fn watch_group(&self, group: &str, topic: &TopicName) {
        self.status.group(group, topic);
    }

    /// Runs anything else as a process of this river.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(), PlatformError>> + Send + 'static,
    ) {
        let name = name.to_owned();
        self.running.spawn(async move { (name, work.await) });
    }

    /// Is told when the river stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Works until `until` ends, then lets every processor commit what it has done.
    ///
    /// # Errors
    /// What the first processor failed with; the others have committed.
    pub async fn until(mut self, until: impl Future<Output = ()>) -> Result<(), PlatformError> {
        tokio::pin!(until);
        let mut outcome = Ok(());
        loop {
            let ended = tokio::select! {
                ended = self.running.join_next() => ended,
                () = &mut until, if !*self.stop.borrow() => {
                    self.stop.send_replace(true);
                    continue;
                }
            };
            let failed = match ended {
                None => return outcome,
                Some(Ok((_, Ok(())))) => continue,
                Some(Ok((name, Err(error)))) => {
                    tracing::error!(
                        part = name,
                        error = error.chain(),
                        "a part of the river ended"
                    );
                    error
                }
                Some(Err(panicked)) => {
                    PlatformError::Remote(format!("a part of the river ended: {panicked}"))
                }
            };
            // One without the others would only let them wait for it.
            self.stop.send_replace(true);
            outcome = outcome.and(Err(failed));
        }
    }
}
