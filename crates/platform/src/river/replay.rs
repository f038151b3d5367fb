//! A recorded period once more, as a job with topics of its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foretell_market::{Bar, Clock, FeedEvent, Interval, RowFlags, Timestamp};
use foretell_source::live::LiveSettings;
use foretell_stream::codec::{Instruments, decode_arrival, decode_closed, encode_closed};
use foretell_stream::{Closed, Log, Record};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::parts::{Part, Processes};
use super::plan::RiverPlan;
use super::read::each;
use super::replayed::{ForecastsReplayed, replayed};
use super::status::RiverStatus;
use crate::error::PlatformError;
use crate::live_forecasts::LiveChampion;
use crate::observer::Stop;

/// The most records that are handed on at once when nothing is paced.
const AT_ONCE: usize = 10_000;
/// How long the name of a job may be.
const LONGEST_JOB: usize = 64;
/// How often the processors are asked whether they have caught up.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is played again, and how.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Start of event time (UTC).
    pub from: Timestamp,
    /// End of event time, exclusive (UTC).
    pub to: Timestamp,
    /// So many times as fast as it came; as fast as it goes without it.
    pub speed: Option<f64>,
    /// The name of the job: what its topics end with.
    pub job: String,
    /// Leave its topics in the log.
    pub keep: bool,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The job.
    pub job: String,
    /// Events that were played: trades, heartbeats, gaps.
    pub events: u64,
    /// Candles of the past that it began with.
    pub history: u64,
    /// Records that followed, by topic.
    pub written: BTreeMap<String, u64>,
    /// What became of forecasts, pipeline by pipeline.
    pub forecasts: Vec<ForecastsReplayed>,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl ReplayOptions {
    /// A job that no other has had: its name has the present in it.
    pub fn new_job(now: Timestamp) -> String {
        format!("replay-{}", now.millis())
    }

    /// Refuses what cannot be played: the name is part of those of topics, a period begins
    /// before it ends, and a speed is a number above 0.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn check(&self) -> Result<(), PlatformError> {
        let usage =
            |message: String, hint: &str| Err(PlatformError::Usage { message, hint: hint.into() });
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if self.job.is_empty() || self.job.len() > LONGEST_JOB || !self.job.bytes().all(plain) {
            let message = format!("`{}` is no name of a job", self.job);
            return usage(message, "write up to 64 letters, digits, `-`, `_` and `.`");
        }
        check_period(self.from, self.to)?;
        if let Some(speed) = self.speed.filter(|s| !(s.is_finite() && *s > 0.0)) {
            let message = format!("{speed} is no speed");
            return usage(message, "write a number above 0, such as 1000");
        }
        Ok(())
    }
}

/// Refuses a period that does not begin before it ends.
pub(super) fn check_period(from: Timestamp, to: Timestamp) -> Result<(), PlatformError> {
    if from < to {
        return Ok(());
    }
    Err(PlatformError::Usage {
        message: format!("the period from {from} to {to} does not begin before it ends"),
        hint: "name its first instant and the first one after it".to_owned(),
    })
}

/// Plays a recorded period again, with a version that forecasts for each pipeline that has
/// one here. Whatever becomes of it, its topics are removed, unless they are to be kept; what a
/// job of the same name left is removed first.
///
/// # Errors
/// When the log fails, or the user stopped it.
pub(super) async fn replay(
    log: Arc<dyn Log>,
    plan: &RiverPlan,
    champions: &BTreeMap<String, LiveChampion>,
    options: &ReplayOptions,
    clock: Arc<dyn Clock>,
    progress: &(dyn Fn(u64) + Send + Sync),
    stop: &Stop,
) -> Result<ReplayReport, PlatformError> {
    options.check()?;
    let mut job = plan.clone().as_job(&options.job);
    for (pipeline, champion) in champions {
        job.read_by(pipeline, &champion.served.model.schema().context_names);
    }
    if let Some(topic) = job.topics().all().into_iter().find(|topic| plan.owns(topic)) {
        return Err(PlatformError::Usage {
            message: format!(
                "`{}` would be played on `{topic}`, a topic of the river",
                options.job
            ),
            hint: "give the job another name".to_owned(),
        });
    }
    clear(&*log, &job).await?;
    let replay = Replay { log: &log, plan, job: &job, champions, options };
    let outcome = replay.play(clock, progress, stop).await;
    if !options.keep {
        clear(&*log, &job).await?;
    }
    outcome
}

/// Removes the topics of a job.
async fn clear(log: &dyn Log, job: &RiverPlan) -> Result<(), PlatformError> {
    for topic in job.topics().all() {
        log.remove(topic).await?;
    }
    Ok(())
}

/// A replay at work.
struct Replay<'a> {
    log: &'a Arc<dyn Log>,
    /// What is played.
    plan: &'a RiverPlan,
    /// The same with topics of its own.
    job: &'a RiverPlan,
    champions: &'a BTreeMap<String, LiveChampion>,
    options: &'a ReplayOptions,
}

impl Replay<'_> {
    async fn play(
        &self,
        clock: Arc<dyn Clock>,
        progress: &(dyn Fn(u64) + Send + Sync),
        stop: &Stop,
    ) -> Result<ReplayReport, PlatformError> {
        let Self { log, plan, job, champions, options } = *self;
        let status = Arc::new(RiverStatus::default());
        let mut processes =
            Processes::on(Arc::clone(log), job, None, clock, Arc::clone(&status)).await?;
        let mut history = 0;
        for partition in 0..plan.topics().partitions {
            history += past(&**log, plan, job, partition, options.from).await?;
        }
        let live = LiveSettings::default();
        processes.pinned(job, champions);
        processes.start(Part::Features, job, &live)?;
        processes.start(Part::Transform, job, &live)?;
        let began = Instant::now();
        let mut events = 0;
        let work = async {
            events = feed(&**log, plan, job, options, progress, stop).await?;
            caught_up(&**log, &status, stop).await
        };
        let mut played = Ok(());
        let ran = processes.until(async { played = work.await }).await;
        ran?;
        played?;
        Ok(ReplayReport {
            job: options.job.clone(),
            events,
            history,
            written: status.view(&**log).await.written,
            forecasts: replayed(&**log, plan, job, champions, stop).await?,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

/// Waits until every processor has read all there is, the first ones first. A commit moves what
/// was written and what was read together, so one that has caught up has written all there is
/// for the next.
pub(super) async fn caught_up(
    log: &dyn Log,
    status: &RiverStatus,
    stop: &Stop,
) -> Result<(), PlatformError> {
    for (group, topic) in status.groups() {
        while !has_read_all(log, &group, &topic).await? {
            stop.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Whether a group has committed every record of a topic. Behind the last one there may be the
/// ends of transactions, which have offsets and are nobody's.
async fn has_read_all(log: &dyn Log, group: &str, topic: &str) -> Result<bool, PlatformError> {
    for partition in 0..log.partitions(topic).await? {
        let bounds = log.bounds(topic, partition).await?;
        let at = log.committed(group, topic, partition).await?.unwrap_or(bounds.start);
        let at = at.max(bounds.start);
        if at < bounds.end && !log.read(topic, partition, at, 1, Duration::ZERO).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The candles that were over before the period, marked as of the past.
async fn past(
    log: &dyn Log,
    plan: &RiverPlan,
    job: &RiverPlan,
    partition: u32,
    from: Timestamp,
) -> Result<u64, PlatformError> {
    let (source, target) = (plan.topics().ohlcv, job.topics().ohlcv);
    let (mut names, mut latest) = (Instruments::default(), BTreeMap::new());
    each(log, &source, partition, 0, |stored| {
        let Record { key, value, time } = &stored.record;
        if let Ok(closed) = decode_closed(value, *time, &mut names)
            && let Bar::Candle(mut version) = closed.bar
            && version.candle.open_time + closed.interval <= from
            && version.known_at <= from
        {
            version.flags |= RowFlags::BACKFILLED;
            let place = (key.clone(), closed.interval, version.candle.open_time);
            latest.insert(place, (Closed { bar: Bar::Candle(version), ..closed }, *time));
        }
        ControlFlow::Continue(())
    })
    .await?;
    let mut records = Vec::with_capacity(latest.len());
    for ((key, ..), (closed, time)) in latest {
        let mut value = Vec::new();
        encode_closed(&closed, plan.encoding, &mut value);
        records.push(Record { key, value: Bytes::from(value), time });
    }
    let count = records.len() as u64;
    for part in records.chunks(AT_ONCE) {
        log.append(&target, partition, part.to_vec()).await?;
    }
    Ok(count)
}

/// When something happened at the venue.
fn event_time(event: &FeedEvent) -> Timestamp {
    match event {
        FeedEvent::Trade(trade) => trade.time,
        FeedEvent::Heartbeat { time, .. } | FeedEvent::Renumbered { time, .. } => *time,
        FeedEvent::Gap { from, .. } | FeedEvent::Repaired { from, .. } => *from,
    }
}

/// Whether an event is of a period: a span is, of which a part is.
fn touches(event: &FeedEvent, from: Timestamp, to: Timestamp) -> bool {
    match event {
        FeedEvent::Gap { from: begins, to: ends, .. }
        | FeedEvent::Repaired { from: begins, to: ends, .. } => *begins < to && *ends > from,
        _ => (from..to).contains(&event_time(event)),
    }
}

/// Hands the recorded events of the period on, all partitions in step.
async fn feed(
    log: &dyn Log,
    plan: &RiverPlan,
    job: &RiverPlan,
    options: &ReplayOptions,
    progress: &(dyn Fn(u64) + Send + Sync),
    stop: &Stop,
) -> Result<u64, PlatformError> {
    let (source, target) = (plan.topics().trade, job.topics().trade);
    let longest = plan.pipelines().iter().map(|p| p.interval).max().unwrap_or(Interval::MINUTE);
    // The first window is whole.
    let from = longest.floor(options.from);
    let mut names = Instruments::default();
    let mut recorded: Vec<(Timestamp, u32, Record)> = Vec::new();
    for partition in 0..plan.topics().partitions {
        stop.check()?;
        each(log, &source, partition, 0, |stored| {
            let Record { value, time, .. } = &stored.record;
            if let Ok(arrival) = decode_arrival(value, *time, i64::MAX / 4, &mut names)
                && touches(&arrival.event, from, options.to)
            {
                recorded.push((arrival.at, partition, stored.record.clone()));
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    // A stable order: records of one partition stay as they came.
    recorded.sort_by_key(|(at, ..)| *at);
    let Some(first) = recorded.first().map(|(at, ..)| *at) else { return Ok(0) };
    let began = Instant::now();
    let (mut done, count) = (0, recorded.len());
    while done < count {
        stop.check()?;
        let due = match options.speed {
            None => (done + AT_ONCE).min(count),
            Some(speed) => {
                let played = began.elapsed().as_secs_f64() * speed * 1e6;
                let until = Timestamp::from_micros(first.micros().saturating_add(played as i64));
                recorded.partition_point(|(at, ..)| *at <= until).min(done + AT_ONCE)
            }
        };
        if due == done {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        for partition in 0..plan.topics().partitions {
            let here = recorded[done..due].iter().filter(|(_, p, _)| *p == partition);
            let records: Vec<Record> = here.map(|(.., record)| record.clone()).collect();
            if !records.is_empty() {
                log.append(&target, partition, records).await?;
            }
        }
        done = due;
        progress((100 * done / count) as u64);
    }
    Ok(count as u64)
}
