//! A member of a consumer group whose commits are transactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use krafka::admin::OffsetSpec;
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord,
    PartitionAssignmentStrategy, TopicPartition,
};
use krafka::error::KrafkaError;
use krafka::{CloseOptions, GroupMembershipOperation, Kafka};
use tokio::time::Instant;

use super::outage::{Outage, failed, fenced};
use super::reader::{MOMENT, settings, take};
use super::transaction::{Transactions, Verdict};
use super::{GroupProtocol, Shared, changelog, client, locked, wire};
use crate::log::progress::Progress;
use crate::log::{Assignment, Commit, LogError, Lost, Member, Polled, Stored};

/// Partitions that came or went while the consumer was polled.
#[derive(Debug)]
enum Change {
    Given(Vec<u32>),
    Gone(Vec<u32>),
}

#[derive(Debug, Default)]
struct Changes(Mutex<Vec<Change>>);

/// How often a member gives a sign of life.
fn heartbeat(shared: &Shared) -> Duration {
    (shared.options.session_timeout / 4).min(Duration::from_secs(3))
}

fn numbers(partitions: &[TopicPartition]) -> Vec<u32> {
    partitions.iter().map(|place| place.partition as u32).collect()
}

// The calls only take notes, so that a poll that is dropped has lost none.
impl ConsumerRebalanceListener for Changes {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        locked(&self.0).push(Change::Given(numbers(partitions)));
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        locked(&self.0).push(Change::Gone(numbers(partitions)));
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        locked(&self.0).push(Change::Gone(numbers(partitions)));
    }
}

/// One member of a group on a topic.
pub(super) struct KafkaMember {
    shared: Arc<Shared>,
    group: String,
    topic: String,
    changelog: String,
    consumer: Consumer,
    transactions: Transactions,
    changes: Arc<Changes>,
    /// Whether the group has said what is this member's, be it nothing.
    joined: bool,
    /// Partitions that were handed out, with their state.
    owned: BTreeSet<u32>,
    /// Where each of them began.
    began: BTreeMap<u32, u64>,
    /// Partitions that are this member's and still to be handed out.
    fresh: BTreeSet<u32>,
    /// Partitions that went and were not told yet.
    gone: Vec<u32>,
    /// Records that were fetched and not given yet, by partition.
    ahead: BTreeMap<u32, VecDeque<Stored>>,
    /// Until when the group may still say that its partitions are another's, after a refusal.
    unsettled: Option<Instant>,
    /// The partition to look at first, so that a busy one does not starve others.
    turn: u32,
    outage: Outage,
}

impl KafkaMember {
    pub(super) async fn join(
        shared: &Arc<Shared>,
        group: &str,
        topic: &str,
    ) -> Result<Self, LogError> {
        let partitions = shared.partitions(topic).await?;
        let changelog = changelog::name(group, topic);
        changelog::create(shared, &changelog, partitions).await?;
        let changes = Arc::new(Changes::default());
        let options = &shared.options;
        // Each partition is sought to its place when it is handed out; an offset that is not
        // there any more later on has to be heard of.
        let mut outage = Outage::new(options.patience);
        let mut connected = async || loop {
            match client(&shared.url, options).await? {
                Ok(client) => return Ok::<Kafka, LogError>(client),
                Err(error) => outage.bear("a group is joined", &error).await?,
            }
        };
        let (reads, commits) = (connected().await?, connected().await?);
        let mut consumer = settings(reads.consumer(group))
            .auto_offset_reset(AutoOffsetReset::None)
            .session_timeout(options.session_timeout)
            .heartbeat_interval(heartbeat(shared))
            .rebalance_listener(Arc::clone(&changes));
        consumer = match options.groups {
            // One who comes back under its name gets its partitions back at once.
            GroupProtocol::Classic => consumer
                .group_instance_id(&options.instance)
                .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky),
            GroupProtocol::Broker => {
                consumer.group_protocol(krafka::consumer::GroupProtocol::Consumer)
            }
        };
        let consumer = consumer.build().await.map_err(|e| failed(&e))?;
        while let Err(error) = consumer.subscribe([topic]).await {
            outage.bear("a group is joined", &error).await?;
        }
        Ok(Self {
            shared: Arc::clone(shared),
            group: group.to_owned(),
            topic: topic.to_owned(),
            changelog,
            consumer,
            transactions: Transactions::new(shared, commits, group),
            changes,
            joined: false,
            owned: BTreeSet::new(),
            began: BTreeMap::new(),
            fresh: BTreeSet::new(),
            gone: Vec::new(),
            ahead: BTreeMap::new(),
            unsettled: None,
            turn: 0,
            outage,
        })
    }

    /// Takes over what the group decided. Whatever was fetched for a partition that came or
    /// went is void.
    fn take_changes(&mut self) {
        let changes = std::mem::take(&mut *locked(&self.changes.0));
        if !changes.is_empty() {
            self.unsettled = None;
        }
        for change in changes {
            match change {
                Change::Given(partitions) => {
                    self.joined = true;
                    for partition in partitions {
                        self.ahead.remove(&partition);
                        self.fresh.insert(partition);
                    }
                }
                Change::Gone(partitions) => {
                    for partition in partitions {
                        self.ahead.remove(&partition);
                        self.fresh.remove(&partition);
                        self.began.remove(&partition);
                        if self.owned.remove(&partition) {
                            self.gone.push(partition);
                        }
                    }
                }
            }
        }
    }

    /// What is in memory of this member's work is void: every partition that is still its
    /// own is handed out again, as of its last commit.
    fn void(&mut self, reason: &str, by_group: bool) -> LogError {
        // A refused member hears what became of its partitions by its next sign of life.
        let soon = Instant::now() + heartbeat(&self.shared) * 2;
        self.unsettled = by_group.then_some(soon);
        self.fresh.append(&mut self.owned);
        self.ahead.clear();
        LogError::Rebalanced { group: self.group.clone(), reason: reason.to_owned() }
    }

    fn keep(&mut self, records: Vec<ConsumerRecord>) {
        let mut records = records.into_iter().peekable();
        while let Some(partition) = records.peek().map(|first| first.partition) {
            let run = std::iter::from_fn(|| records.next_if(|r| r.partition == partition));
            let partition = partition as u32;
            // A partition that is not handed out yet is read from its offset again.
            if self.owned.contains(&partition) {
                self.ahead.entry(partition).or_default().extend(run.map(wire::incoming));
            } else {
                run.for_each(drop);
            }
        }
    }

    fn give(&mut self, bytes: usize) -> Option<Polled> {
        let next = self.ahead.range(self.turn..).next().or_else(|| self.ahead.iter().next());
        let partition = *next?.0;
        let records = self.ahead.get_mut(&partition)?;
        let taken = take(records, bytes);
        if records.is_empty() {
            self.ahead.remove(&partition);
        }
        self.turn = partition + 1;
        Some(Polled::Records(partition, taken))
    }

    /// Hands out the partitions that came, each with its state and at its offset.
    async fn assign(&mut self) -> krafka::Result<Result<Vec<Assignment>, LogError>> {
        // First of all: the transaction that a predecessor of this name left open ends.
        if let Err(error) = self.transactions.ready().await? {
            return Ok(Err(error));
        }
        let partitions: Vec<u32> = self.fresh.iter().copied().collect();
        let places: Vec<(&str, i32)> =
            partitions.iter().map(|p| (&*self.topic, *p as i32)).collect();
        // Offsets first: what is committed by then is in the changelog, or waited for there.
        let committed = self.consumer.committed(&places).await?;
        let firsts =
            self.shared.offsets(&self.topic, &partitions, OffsetSpec::Earliest, false).await?;
        let mut assigned = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let restored = changelog::restore(&self.shared, &self.changelog, partition).await?;
            let offset = committed.get(&(self.topic.clone(), partition as i32));
            let offset = offset.and_then(|found| u64::try_from(found.offset).ok());
            let first = firsts.get(&partition).copied().unwrap_or(0).max(0) as u64;
            let at = |next: u64| Progress { next, ahead: None };
            let progress = match (offset, restored.progress) {
                (Some(offset), Some(state)) if offset != state.next => {
                    return Ok(Err(self.torn(partition, offset, state.next)));
                }
                // Every commit says in the changelog how far it came.
                (Some(offset), None) if offset > 0 => {
                    return Ok(Err(self.stateless(partition, offset)));
                }
                // A cluster forgets the offsets of a group that is away for days.
                (_, Some(state)) => state,
                (Some(offset), None) => at(offset),
                // A group that begins, begins with what there is.
                (None, None) => at(self.began.get(&partition).copied().unwrap_or(first)),
            };
            let (progress, lost) = progress.since(first);
            if let Some(Lost { from, to }) = lost {
                let (topic, count) = (&self.topic, to - from);
                tracing::error!(
                    "{topic} {partition}: {count} offsets from {from} on are gone before the \
                     state of group {} has them: the retention of the topic is too short",
                    self.group
                );
            }
            let place = progress.needs() as i64;
            self.consumer.seek(&self.topic, partition as i32, place).await?;
            let Progress { next, ahead } = progress;
            self.began.insert(partition, next);
            let state = restored.state.into_iter().collect();
            assigned.push(Assignment { partition, next, state, ahead, lost });
        }
        Ok(Ok(assigned))
    }

    fn torn(&self, partition: u32, offset: u64, state: u64) -> LogError {
        let Self { group, topic, changelog, .. } = self;
        LogError::Damaged(format!(
            "group {group} is at offset {offset} of {topic} {partition}, but its state in \
             {changelog} is as of {state}: somebody moved the one and not the other. Set the \
             offset back to {state}, or delete {changelog} and replay from the first record"
        ))
    }

    fn stateless(&self, partition: u32, offset: u64) -> LogError {
        let Self { group, topic, changelog, .. } = self;
        LogError::Damaged(format!(
            "group {group} is at offset {offset} of {topic} {partition}, but {changelog} says \
             nothing of its state: somebody deleted it, or moved the offset of a group that had \
             not begun. Delete the offsets of {group} on {topic} (kafka-consumer-groups \
             --delete-offsets) and replay from the first record, or bring {changelog} back"
        ))
    }

    /// Whether everything that was committed by others has been given.
    async fn at_end(&self) -> krafka::Result<bool> {
        if !self.joined || !self.fresh.is_empty() || !self.ahead.is_empty() {
            return Ok(false);
        }
        let owned: Vec<u32> = self.owned.iter().copied().collect();
        if owned.is_empty() {
            return Ok(true);
        }
        let ends = self.shared.offsets(&self.topic, &owned, OffsetSpec::Latest, true).await?;
        for (partition, end) in ends {
            let position = self.consumer.position(&self.topic, partition as i32).await;
            if position.is_none_or(|at| at < end) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Member for KafkaMember {
    /// Nothing is lost when it is dropped: what the consumer gives is kept before anything
    /// else is waited for, and a state that was read in part is read again. To hand out a
    /// partition takes as long as its changelog is, beyond `wait`.
    async fn poll(&mut self, bytes: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            self.take_changes();
            if !self.gone.is_empty() {
                return Ok(Polled::Revoked(std::mem::take(&mut self.gone)));
            }
            let unsettled = self.unsettled.is_some_and(|until| Instant::now() < until);
            if !self.fresh.is_empty() && !unsettled {
                match self.assign().await {
                    Ok(assigned) => {
                        self.owned.append(&mut self.fresh);
                        return assigned.map(Polled::Assigned);
                    }
                    Err(error) => self.outage.bear("state is restored", &error).await?,
                }
                continue;
            }
            if let Some(records) = self.give(bytes) {
                return Ok(records);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !wait.is_zero() {
                return Ok(Polled::Idle);
            }
            let moment = if unsettled { MOMENT } else { left.max(MOMENT) };
            let found = match self.consumer.poll(moment).await {
                Ok(records) => {
                    self.take_changes();
                    let nothing = records.is_empty();
                    self.keep(records);
                    // Without a wait, nothing is there only when that is certain.
                    if nothing && wait.is_zero() { self.at_end().await } else { Ok(false) }
                }
                Err(KrafkaError::NoOffset { partitions }) => {
                    self.take_changes();
                    let owned = |(_, p): &(String, i32)| self.owned.contains(&(*p as u32));
                    if partitions.iter().any(owned) {
                        return Err(self.void("records went before they were read", false));
                    }
                    // The others have no place until they are handed out.
                    tokio::time::sleep(MOMENT).await;
                    Ok(false)
                }
                Err(error) => Err(error),
            };
            match found {
                Ok(true) => {
                    self.outage.over();
                    return Ok(Polled::Idle);
                }
                Ok(false) => {
                    if !self.ahead.is_empty() {
                        self.outage.over();
                    }
                }
                Err(error) if fenced(&error) => {
                    return Err(LogError::Fenced(self.group.clone()));
                }
                Err(error) => self.outage.bear("records are polled", &error).await?,
            }
        }
    }

    /// One transaction. Must not be dropped before it ends.
    async fn commit(&mut self, partition: u32, commit: Commit) -> Result<(), LogError> {
        loop {
            self.take_changes();
            if !self.owned.contains(&partition) {
                return Err(self.void("the partition is another member's now", false));
            }
            let Some(member) = self.consumer.group_metadata().await else {
                return Err(self.void("the group does not know this member", true));
            };
            let place = (&*self.topic, partition, &*self.changelog);
            match self.transactions.commit(place, &commit, &member).await? {
                Verdict::Done => {
                    self.outage.over();
                    return Ok(());
                }
                Verdict::Void { reason, by_group } => return Err(self.void(&reason, by_group)),
                Verdict::Again(error) => self.outage.bear("work is committed", &error).await?,
            }
        }
    }

    async fn leave(self: Box<Self>) -> Result<(), LogError> {
        self.transactions.close().await;
        let leave = CloseOptions::new()
            .timeout(Duration::from_secs(10))
            .group_membership_operation(GroupMembershipOperation::LeaveGroup);
        self.consumer.close_with(leave).await.map_err(|e| failed(&e))
    }
}
