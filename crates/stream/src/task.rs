//! One member at work: poll, process, commit.
//!
//! Outputs and offset are committed as soon as somebody may wait for them, the state now and
//! then ([`TaskSettings::save_every`]): between two closes of candles rather than while the
//! rows of hundreds are waited for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{
    Ahead, Assignment, Commit, Digest, Log, LogError, Lost, Member, Polled, Record, Stored,
    TopicName,
};
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
    /// How long the state may stay as it was saved, give or take: whoever goes on after this
    /// process died processes as much once more. Commits that somebody waits for save it only
    /// when it is twice as old.
    pub save_every: Duration,
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

/// Why records are not in the state.
const GONE: &str = "went before they were read: what they would have changed is not known. Keep \
                    records for longer, or name this group in `kept_for` of the topic";
const UNLIKE: &str = "were processed with other settings, or by another version, whose process \
                      died before it saved its state: what they changed is not known. Stop a \
                      process before you change what it runs with";

/// One partition at work.
struct Work {
    operator: Box<dyn Operator>,
    out: Outbox,
    next: u64,
    /// What the state does not have, and why, until it is on record.
    lost: Option<(Lost, &'static str)>,
    /// When the first record since the last commit was processed.
    since: Option<Instant>,
    /// Set while records are processed once more.
    again: Option<Again>,
    /// As of which offset the state is saved, and since when.
    saved: (u64, Instant),
    /// What is in memory does not follow from the saved state and the records alone.
    must_save: bool,
}

/// Records whose outcome is written already, of which the state has to hear.
struct Again {
    /// The offset of the first record behind them.
    until: u64,
    /// What was written of them.
    digest: Digest,
}

impl Work {
    fn begin(
        mut operator: Box<dyn Operator>,
        topics: &Topics,
        assigned: Assignment,
    ) -> Result<Self, StreamError> {
        let Assignment { partition, next, state, ahead, lost } = assigned;
        operator.begin(partition, topics.partitions);
        operator.restore(&state)?;
        let of = ahead.map_or(next, |ahead| ahead.of);
        Ok(Self {
            operator,
            out: Outbox::new(topics),
            next,
            lost: lost.map(|lost| (lost, GONE)),
            since: None,
            again: ahead.map(|Ahead { digest, .. }| Again { until: next, digest }),
            saved: (of, Instant::now()),
            must_save: false,
        })
    }

    /// Processes records whose outcome is written already, and returns the others. Where they
    /// come to something else now, they are as good as lost: the state has them, and what they
    /// may have changed is tainted.
    fn again<'a>(&mut self, records: &'a [Stored]) -> Result<&'a [Stored], StreamError> {
        let Some(again) = &self.again else { return Ok(records) };
        let until = again.until;
        let (known, new) = records.split_at(records.partition_point(|r| r.offset < until));
        self.operator.process(known, &mut self.out)?;
        self.out.take();
        let reached = !new.is_empty() || known.last().is_some_and(|last| last.offset + 1 >= until);
        if let Some(again) = self.again.take_if(|_| reached)
            && again.digest != self.out.digest()
        {
            self.lost = Some((Lost { from: self.saved.0, to: until }, UNLIKE));
        }
        Ok(new)
    }

    /// What was lost is put on record together with the first records behind it, whose time
    /// is the only one that a replay knows too.
    fn process(&mut self, place: (&str, u32), records: &[Stored]) -> Result<(), StreamError> {
        if let (Some((lost, why)), Some(first)) = (self.lost, records.first()) {
            self.lost = None;
            let (time, (topic, partition)) = (first.record.time, place);
            tracing::warn!(
                "{topic} {partition}: {} offsets from {} on are not in the state; what they may \
                 change is tainted",
                lost.to - lost.from,
                lost.from
            );
            self.out.lost(place, &lost, why, time);
            self.operator.lost(&lost, time, &mut self.out)?;
            self.must_save = true;
        }
        self.operator.process(records, &mut self.out)
    }

    /// Writes what waits for more of one arrival.
    fn complete(&mut self) -> Result<(), StreamError> {
        // Records that are processed once more have not all come yet; and what was lost is on
        // record first, with the next record.
        if self.again.is_some() || self.lost.is_some() {
            return Ok(());
        }
        let before = self.out.len();
        self.operator.complete(&mut self.out)?;
        if self.out.len() > before {
            self.since.get_or_insert_with(Instant::now);
            self.must_save = true;
        }
        Ok(())
    }

    /// Whether the state that is saved is as of an earlier record.
    fn unsaved(&self) -> bool {
        self.again.is_none() && self.saved.0 < self.next
    }

    /// Whether a commit has the state too.
    fn saves(&self, why: Why, every: Duration) -> bool {
        let age = self.saved.1.elapsed();
        self.must_save
            || !self.operator.repeats()
            || match why {
                Why::Awaited => age >= every * 2,
                Why::Due => age >= every,
                Why::Quiet => true,
            }
    }
}

/// Why there is a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Somebody may wait for what was written.
    Awaited,
    /// It is time.
    Due,
    /// Nothing more comes.
    Quiet,
}

/// What a step came to.
enum Step {
    On,
    Committed,
    End,
}

/// When nothing more comes, all that is in memory is committed.
fn quiet((_, work): (u32, &Work)) -> Option<Why> {
    (work.since.is_some() || work.unsaved()).then_some(Why::Quiet)
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
                    return self.commit_all(member, works, quiet).await.map(|_| Step::End);
                }
                tokio::select! {
                    polled = poll => polled?,
                    // Dropped senders stop it too.
                    _ = stop.changed() => {
                        if stop.has_changed().is_err() {
                            return self.commit_all(member, works, quiet).await.map(|_| Step::End);
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
                    let partition = assigned.partition;
                    let work = Work::begin((self.make)()?, &self.topics, assigned)?;
                    works.insert(partition, work);
                }
            }
            // Whoever has them now began at the last commit.
            Polled::Revoked(partitions) => works.retain(|p, _| !partitions.contains(p)),
            Polled::Records(partition, records) => {
                let Some(work) = works.get_mut(&partition) else { return Ok(Step::On) };
                let new = work.again(&records)?;
                let Some(last) = new.last() else { return Ok(Step::On) };
                work.process((&self.settings.topic, partition), new)?;
                let size: usize = records.iter().map(|r| r.record.value.len()).sum();
                work.next = last.offset + 1;
                work.since.get_or_insert_with(Instant::now);
                if size < self.settings.poll_bytes && !work.out.is_empty() && stop.is_some() {
                    caught_up = Some(partition);
                }
            }
            // Nothing has come for a while: what one arrival made is committed at once, so no
            // more of it can come.
            Polled::Idle if stop.is_none() || oldest.is_none() => {
                for work in works.values_mut() {
                    work.complete()?;
                }
                let drained = stop.is_none();
                let committed = self.commit_all(member, works, quiet).await?;
                return Ok(match (drained, committed) {
                    (true, _) => Step::End,
                    (false, true) => Step::Committed,
                    (false, false) => Step::On,
                });
            }
            Polled::Idle => {}
        }
        let every = self.settings.commit_every;
        let save_every = self.settings.save_every;
        let due = |(partition, work): (u32, &Work)| {
            let Some(since) = work.since else {
                // Nothing comes here any more, and others are busy.
                let old = work.unsaved() && work.saved.1.elapsed() >= save_every;
                return old.then_some(Why::Due);
            };
            let due = since.elapsed() >= every;
            due.then_some(Why::Due).or((caught_up == Some(partition)).then_some(Why::Awaited))
        };
        let committed = self.commit_all(member, works, due).await?;
        Ok(if committed { Step::Committed } else { Step::On })
    }

    /// Commits the work that is due. Whether there was any.
    async fn commit_all(
        &mut self,
        member: &mut dyn Member,
        works: &mut HashMap<u32, Work>,
        due: impl Fn((u32, &Work)) -> Option<Why>,
    ) -> Result<bool, StreamError> {
        let mut committed = false;
        for (partition, work) in works {
            if let Some(why) = due((*partition, work)) {
                self.commit(member, *partition, work, why).await?;
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
        why: Why,
    ) -> Result<(), StreamError> {
        work.since = None;
        let outputs = work.out.take();
        let next = work.next;
        let (state, ahead) = if work.saves(why, self.settings.save_every) {
            (work.saved, work.must_save) = ((next, Instant::now()), false);
            work.out.saved();
            (work.operator.save(), None)
        } else {
            let (of, digest) = (work.saved.0, work.out.digest());
            (Vec::new(), Some(Ahead { of, digest }))
        };
        let commit = Commit { next, state, ahead, outputs: outputs.clone() };
        // When somebody else works on the partition now, what is in memory here is void.
        member.commit(partition, commit).await?;
        (self.on_commit)(&outputs);
        Ok(())
    }
}
