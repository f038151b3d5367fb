//! One member at work: poll, process, commit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{Commit, Log, LogError, Lost, Member, Polled, Record, Stored, TopicName};
use crate::operator::{Operator, Outbox, StreamError, Topics};

/// How a task reads and commits.
#[derive(Debug, Clone)]
pub struct TaskSettings {
    /// The consumer group: who shares the work, and whose offsets and state these are.
    pub group: String,
    /// The topic it reads.
    pub topic: TopicName,
    /// The longest time between what was read and its commit. A task that has caught up
    /// commits at once when it wrote something.
    pub commit_every: Duration,
    /// About how many bytes it reads at once.
    pub poll_bytes: usize,
}

/// How often in a row work may become void before a task gives up.
const VOID_IN_A_ROW: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes the operator of a partition.
pub type MakeOperator = Box<dyn Fn() -> Result<Box<dyn Operator>, StreamError> + Send + Sync>;

/// Is told what was committed, in order. A commit that a cluster confirmed to nobody is not
/// told; whoever needs every record reads the topic.
pub type OnCommit = Box<dyn FnMut(&[(TopicName, u32, Record)]) + Send>;

/// Reads a topic, hands its records to one operator per partition, and commits.
pub struct Task {
    log: Arc<dyn Log>,
    topics: Topics,
    settings: TaskSettings,
    make: MakeOperator,
    on_commit: OnCommit,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// One partition at work.
struct Work {
    operator: Box<dyn Operator>,
    out: Outbox,
    next: u64,
    /// What the group never read, until it is on record.
    lost: Option<Lost>,
    /// When the first record since the last commit was processed.
    since: Option<Instant>,
}

impl Work {
    /// What was lost is put on record together with the first records behind it, whose time
    /// is the only one that a replay knows too.
    fn process(
        &mut self,
        topic: &str,
        partition: u32,
        records: &[Stored],
    ) -> Result<(), StreamError> {
        if let (Some(lost), Some(first)) = (self.lost, records.first()) {
            self.lost = None;
            let time = first.record.time;
            tracing::warn!(
                "{topic} {partition}: {} offsets from {} on went before they were read; what \
                 they may change is tainted",
                lost.to - lost.from,
                lost.from
            );
            self.out.lost(topic, partition, &lost, time);
            self.operator.lost(&lost, time, &mut self.out)?;
        }
        self.operator.process(records, &mut self.out)
    }
}

/// What a step came to.
enum Step {
    On,
    Committed,
    End,
}

impl Task {
    /// A task that has not begun.
    pub fn new(
        log: Arc<dyn Log>,
        topics: Topics,
        settings: TaskSettings,
        make: MakeOperator,
    ) -> Self {
        Self { log, topics, settings, make, on_commit: Box::new(|_| {}) }
    }

    /// Tells someone what was committed, after each commit.
    #[must_use]
    pub fn on_commit(mut self, told: OnCommit) -> Self {
        self.on_commit = told;
        self
    }

    /// Works until `stop` is true, then commits and leaves the group.
    ///
    /// # Errors
    /// When the log fails or refuses, or another member has the partition now; what was not
    /// committed is processed again by whoever comes next.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), StreamError> {
        self.work(Some(&mut stop)).await
    }

    /// Works until nothing is left to read, then commits and leaves the group.
    ///
    /// # Errors
    /// As [`Task::run()`].
    pub async fn drain(&mut self) -> Result<(), StreamError> {
        self.work(None).await
    }

    async fn work(&mut self, stop: Option<&mut watch::Receiver<bool>>) -> Result<(), StreamError> {
        let mut member = self.log.join(&self.settings.group, &self.settings.topic).await?;
        let worked = self.work_as(&mut *member, stop).await;
        let left = member.leave().await;
        worked?;
        Ok(left?)
    }

    async fn work_as(
        &mut self,
        member: &mut dyn Member,
        mut stop: Option<&mut watch::Receiver<bool>>,
    ) -> Result<(), StreamError> {
        let mut works: HashMap<u32, Work> = HashMap::new();
        let mut void = 0;
        loop {
            match self.step(member, &mut works, stop.as_deref_mut()).await {
                Ok(Step::On) => {}
                Ok(Step::Committed) => void = 0,
                Ok(Step::End) => return Ok(()),
                // Everything in memory is ahead of what is committed.
                Err(StreamError::Log(error @ LogError::Rebalanced { .. })) => {
                    works.clear();
                    void += 1;
                    if void > VOID_IN_A_ROW {
                        return Err(error.into());
                    }
                    tracing::warn!(%error, "the work is done again");
                    let pause = FIRST_PAUSE.saturating_mul(1 << void.min(10));
                    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One poll and what follows on it.
    async fn step(
        &mut self,
        member: &mut dyn Member,
        works: &mut HashMap<u32, Work>,
        mut stop: Option<&mut watch::Receiver<bool>>,
    ) -> Result<Step, StreamError> {
        let oldest = works.values().filter_map(|w| w.since).min();
        let wait = match (&stop, oldest) {
            (None, _) => Duration::ZERO,
            (_, Some(since)) => self.settings.commit_every.saturating_sub(since.elapsed()),
            (_, None) => Duration::from_secs(1),
        };
        let poll = member.poll(self.settings.poll_bytes, wait);
        let polled = match &mut stop {
            None => poll.await?,
            Some(stop) => {
                if *stop.borrow_and_update() {
                    drop(poll);
                    return self.commit_all(member, works, |_| true).await.map(|_| Step::End);
                }
                tokio::select! {
                    polled = poll => polled?,
                    // Dropped senders stop it too.
                    _ = stop.changed() => {
                        if stop.has_changed().is_err() {
                            return self.commit_all(member, works, |_| true).await.map(|_| Step::End);
                        }
                        return Ok(Step::On);
                    }
                }
            }
        };
        let mut caught_up = None;
        match polled {
            Polled::Assigned(assignments) => {
                for assigned in assignments {
                    let mut operator = (self.make)()?;
                    operator.begin(assigned.partition, self.topics.partitions);
                    operator.restore(&assigned.state)?;
                    let (out, lost) = (Outbox::new(&self.topics), assigned.lost);
                    let work = Work { operator, out, next: assigned.next, lost, since: None };
                    works.insert(assigned.partition, work);
                }
            }
            // Whoever has them now began at the last commit.
            Polled::Revoked(partitions) => works.retain(|p, _| !partitions.contains(p)),
            Polled::Records(partition, records) => {
                let Some(work) = works.get_mut(&partition) else { return Ok(Step::On) };
                work.process(&self.settings.topic, partition, &records)?;
                let size: usize = records.iter().map(|r| r.record.value.len()).sum();
                work.next = records.last().map_or(work.next, |r| r.offset + 1);
                work.since.get_or_insert_with(Instant::now);
                if size < self.settings.poll_bytes && !work.out.is_empty() && stop.is_some() {
                    caught_up = Some(partition);
                }
            }
            // Nothing has come for a while: what one arrival made is committed at once, so no
            // more of it can come.
            Polled::Idle if stop.is_none() || oldest.is_none() => {
                for work in works.values_mut() {
                    let before = work.out.len();
                    work.operator.complete(&mut work.out)?;
                    if work.out.len() > before {
                        work.since.get_or_insert_with(Instant::now);
                    }
                }
                let drained = stop.is_none();
                let committed = self.commit_all(member, works, |_| true).await?;
                return Ok(match (drained, committed) {
                    (true, _) => Step::End,
                    (false, true) => Step::Committed,
                    (false, false) => Step::On,
                });
            }
            Polled::Idle => {}
        }
        let every = self.settings.commit_every;
        let due = |(partition, work): (u32, &Work)| {
            caught_up == Some(partition) || work.since.is_some_and(|s| s.elapsed() >= every)
        };
        let committed = self.commit_all(member, works, due).await?;
        Ok(if committed { Step::Committed } else { Step::On })
    }

    /// Commits the work that is due. Whether there was any.
    async fn commit_all(
        &mut self,
        member: &mut dyn Member,
        works: &mut HashMap<u32, Work>,
        due: impl Fn((u32, &Work)) -> bool,
    ) -> Result<bool, StreamError> {
        let mut committed = false;
        for (partition, work) in works {
            if work.since.is_some() && due((*partition, work)) {
                self.commit(member, *partition, work).await?;
                committed = true;
            }
        }
        Ok(committed)
    }

    async fn commit(
        &mut self,
        member: &mut dyn Member,
        partition: u32,
        work: &mut Work,
    ) -> Result<(), StreamError> {
        work.since = None;
        let outputs = work.out.take();
        let commit =
            Commit { next: work.next, state: work.operator.save(), outputs: outputs.clone() };
        // When somebody else works on the partition now, what is in memory here is void.
        member.commit(partition, commit).await?;
        (self.on_commit)(&outputs);
        Ok(())
    }
}
