//! Reads committed records of one partition, without a group.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use krafka::admin::OffsetSpec;
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerBuilder, IsolationLevel};
use tokio::time::Instant;

use super::{IDLE_READERS, Shared, at_once, locked, wire};
use crate::log::Stored;

/// The most bytes that one request brings of a partition, and of all. Not so many records: what
/// is behind their number in an answer would be asked for and read once more.
const PARTITION_BYTES: i32 = 1 << 20;
const ALL_BYTES: i32 = 8 << 20;
/// How long one poll waits that must not wait for long.
pub(super) const MOMENT: Duration = Duration::from_millis(20);

/// A consumer that sees committed records only and commits nothing by itself.
pub(super) fn settings(consumer: ConsumerBuilder) -> ConsumerBuilder {
    consumer
        .isolation_level(IsolationLevel::ReadCommitted)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .fetch_max_bytes(ALL_BYTES)
        .max_partition_fetch_bytes(PARTITION_BYTES)
        .max_poll_records(-1)
        .max_buffered_records(0)
        .metrics_push(false)
}

/// A consumer of one partition.
pub(super) async fn open(shared: &Shared, topic: &str, partition: u32) -> krafka::Result<Consumer> {
    let consumer = settings(shared.kafka.consumer_without_group()).build().await?;
    consumer.assign(topic, vec![partition as i32]).await?;
    Ok(consumer)
}

/// A consumer at a place.
pub(super) struct Reader {
    consumer: Consumer,
    topic: String,
    partition: u32,
    /// The offset that it gives next, where it is known.
    next: Option<u64>,
    /// Records that were fetched and not given yet.
    ahead: VecDeque<Stored>,
}

/// A reader that goes back to the others after use, also when its user is dropped.
pub(super) struct Lent {
    reader: Option<Reader>,
    shared: Arc<Shared>,
}

impl Deref for Lent {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        self.reader.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let mut idle = locked(&self.shared.idle);
        idle.push(reader);
        if idle.len() > IDLE_READERS {
            let oldest = idle.remove(0);
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(oldest.close());
            }
        }
    }
}

/// The reader that stands at an offset already, or another of the partition, or a new one.
pub(super) async fn lend(
    shared: &Arc<Shared>,
    topic: &str,
    partition: u32,
    from: u64,
) -> krafka::Result<Lent> {
    let found = {
        let mut idle = locked(&shared.idle);
        let of = |r: &Reader| r.topic == topic && r.partition == partition;
        let there = idle.iter().position(|r| of(r) && r.next == Some(from));
        there.or_else(|| idle.iter().position(of)).map(|at| idle.remove(at))
    };
    let reader = match found {
        Some(reader) => reader,
        None => {
            let consumer = open(shared, topic, partition).await?;
            let (topic, ahead) = (topic.to_owned(), VecDeque::new());
            Reader { consumer, topic, partition, next: None, ahead }
        }
    };
    Ok(Lent { reader: Some(reader), shared: Arc::clone(shared) })
}

impl Reader {
    /// Records from an offset on, about `bytes` of them; none only when none was there at
    /// the deadline.
    pub(super) async fn read(
        &mut self,
        shared: &Shared,
        from: u64,
        bytes: usize,
        deadline: Instant,
    ) -> krafka::Result<Vec<Stored>> {
        if self.next != Some(from) {
            self.ahead.clear();
            self.next = None;
            self.consumer.seek(&self.topic, self.partition as i32, from as i64).await?;
            self.next = Some(from);
        }
        while self.ahead.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && self.at_end(shared).await? {
                return Ok(Vec::new());
            }
            let found = self.consumer.poll(left.max(MOMENT)).await?;
            // Records before it come when the offset is not there any more.
            let found = found.into_iter().map(wire::incoming).filter(|s| s.offset >= from);
            self.ahead.extend(found);
        }
        let taken = take(&mut self.ahead, bytes);
        self.next = taken.last().map(|last| last.offset + 1);
        Ok(taken)
    }

    async fn at_end(&self, shared: &Shared) -> krafka::Result<bool> {
        let (topic, partition) = (&self.topic, self.partition);
        let ends = shared.offsets(topic, &[partition], OffsetSpec::Latest, true).await?;
        let position = self.consumer.position(topic, partition as i32).await;
        Ok(position.is_some_and(|at| ends.get(&partition).is_none_or(|end| at >= *end)))
    }

    pub(super) async fn close(self) {
        // Nothing depends on it: the cluster forgets a connection by itself.
        let _ = self.consumer.close_with(at_once()).await;
    }
}

/// The first records, about `bytes` of them, at least one.
pub(super) fn take(records: &mut VecDeque<Stored>, bytes: usize) -> Vec<Stored> {
    let mut size = 0;
    let mut count = 0;
    for stored in records.iter() {
        size += stored.record.key.len() + stored.record.value.len();
        count += 1;
        if size >= bytes {
            break;
        }
    }
    if count == records.len() {
        return std::mem::take(records).into();
    }
    records.drain(..count).collect()
}
