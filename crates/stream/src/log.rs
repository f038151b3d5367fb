//! The log: topics of records in partitions, and the one way to move on in them.
//!
//! What a processor reads, what it remembers and what it writes go on together: a [`Commit`]
//! names the next offset, the changes of its state and its outputs, and a log applies all of
//! it or nothing. Records that are not committed yet are seen by nobody.

mod chunk;
mod embedded;
mod kafka;
mod progress;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use foretell_market::Timestamp;
use serde::{Deserialize, Serialize};

pub use embedded::{EmbeddedLog, EmbeddedOptions};
pub use kafka::{GroupProtocol, KafkaLog, KafkaLogin, KafkaOptions, KafkaSecurity, SaslMechanism};
pub use progress::{Ahead, Digest};

/// One record, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about: the instrument. Records of one key stay in order.
    pub key: Bytes,
    /// Its content.
    pub value: Bytes,
    /// When it was written (UTC).
    pub time: Timestamp,
}

/// A record with its place in the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its offset: strictly increasing, not always by one.
    pub offset: u64,
    /// The record.
    pub record: Record,
}

/// What a topic keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions; it never changes.
    pub partitions: u32,
    /// Records older than this many seconds go; all stay without it.
    pub retention_secs: Option<i64>,
    /// Consumer groups that must have read a record before it may go, such as the lake's.
    #[serde(default)]
    pub kept_for: Vec<String>,
}

/// How far a processor has come, everything at once.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The offset of the first record that is still to be read.
    pub next: u64,
    /// What changed in its state; `None` removes a key.
    pub state: Vec<(Bytes, Option<Bytes>)>,
    /// Set where the state stays as of an earlier commit; without it, it is as of `next`.
    pub ahead: Option<Ahead>,
    /// What it wrote: topic, partition, record.
    pub outputs: Vec<(TopicName, u32, Record)>,
}

/// The name of a topic, shared.
pub type TopicName = std::sync::Arc<str>;

/// A partition that a member has been given.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Which one.
    pub partition: u32,
    /// The offset to go on at: what followed from earlier records is written.
    pub next: u64,
    /// The state as of there.
    pub state: Vec<(Bytes, Bytes)>,
    /// Set where the state is as of an earlier offset: the member gives the records from there
    /// on.
    pub ahead: Option<Ahead>,
    /// What the group will never read, just before `next`.
    pub lost: Option<Lost>,
}

/// Records that went from a topic before a group's state had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The offset of the first of them.
    pub from: u64,
    /// The offset of the first record that is read. Not each offset between was a record.
    pub to: u64,
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled {
    /// Partitions to work on from now on.
    Assigned(Vec<Assignment>),
    /// Partitions that another member works on from now on; what was not committed of them
    /// is void.
    Revoked(Vec<u32>),
    /// The next records of a partition.
    Records(u32, Vec<Stored>),
    /// Nothing came in time.
    Idle,
}

/// Why the log refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A topic that nobody created.
    #[error("there is no topic `{0}` in the log")]
    NoTopic(String),
    /// A topic exists with other settings.
    #[error("topic `{name}` has {found} partitions, not {wanted}: their number never changes")]
    Partitions {
        /// The topic.
        name: String,
        /// What it has.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// A partition that the topic does not have.
    #[error("topic `{topic}` has no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// Another member works on the partition now; nothing was written.
    #[error(
        "another member of group `{0}` works on this partition now; two processes under one name \
         do this to each other: give each its own"
    )]
    Fenced(String),
    /// The group gives out its partitions anew, or nobody can say whether it was committed.
    /// What is in memory is void: the next polls hand out again what is still this member's,
    /// as of what is committed.
    #[error("the work of group `{group}` since its last commit is void: {reason}")]
    Rebalanced {
        /// The group.
        group: String,
        /// What happened.
        reason: String,
    },
    /// Something that is no address of a log.
    #[error(
        "`{url}` is no address of a log: {reason}; write kafka://host:9092, with more brokers \
         behind a comma"
    )]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk budget is used up; nothing was written.
    #[error(
        "the log holds {used} bytes of a budget of {budget}: nothing more is taken in until old \
         records go; raise the budget or shorten the retention"
    )]
    Full {
        /// Bytes on disk.
        used: u64,
        /// The budget.
        budget: u64,
    },
    /// Another process has it open.
    #[error("the log in {0} is in use by another process")]
    InUse(String),
    /// Stored bytes that this version cannot read.
    #[error("the log is damaged or of another version: {0}")]
    Damaged(String),
    /// A cluster that this process may not speak to, or must not.
    #[error("there is no access to the cluster: {0}")]
    Access(String),
    /// The storage or the network failed.
    #[error("the log failed: {0}")]
    Storage(String),
}

/// Topics of records, embedded or on a Kafka cluster.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync {
    /// Creates a topic; one that exists alike stays as it is.
    ///
    /// # Errors
    /// [`LogError::Partitions`], or when storage fails.
    async fn create(&self, topic: &TopicSpec) -> Result<(), LogError>;

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`LogError::NoTopic`], or when storage fails.
    async fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Writes records behind the last one and returns the offset of the first.
    ///
    /// # Errors
    /// [`LogError::Full`], an unknown topic or partition, or when storage fails.
    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<u64, LogError>;

    /// Reads committed records from an offset on, about `bytes` of them; waits for the first
    /// one at most `wait`.
    ///
    /// # Errors
    /// An unknown topic or partition, damage, or when storage fails.
    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        bytes: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, LogError>;

    /// The offsets that are there: the first one kept, and the one the next record gets.
    ///
    /// # Errors
    /// An unknown topic or partition, or when storage fails.
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError>;

    /// The offset that a group has committed, where it has one.
    ///
    /// # Errors
    /// An unknown topic or partition, or when storage fails.
    async fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
    ) -> Result<Option<u64>, LogError>;

    /// Becomes a member of a consumer group on a topic.
    ///
    /// # Errors
    /// An unknown topic, or when storage fails.
    async fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Member>, LogError>;

    /// Creates a topic that keeps the latest record of each key, as long as there is one.
    /// `false`: this log has no such topics; whoever needs latest records finds them in the
    /// topic that they were written to.
    ///
    /// # Errors
    /// As [`Log::create()`].
    async fn create_latest(&self, _topic: &TopicSpec) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Removes a topic with its records and what groups have committed on it. One that is not
    /// there is removed already. Nobody may be at work on it.
    ///
    /// # Errors
    /// When storage fails.
    async fn remove(&self, topic: &str) -> Result<(), LogError>;
}

/// A member of a consumer group: what it is given to read, and the commit.
#[async_trait]
pub trait Member: Send {
    /// Waits for the next thing, at most `wait`. About `bytes` of records at a time. Without
    /// a wait, [`Polled::Idle`] says that every committed record of this member's partitions
    /// was given. Dropped before it ends, it has done nothing.
    ///
    /// # Errors
    /// [`LogError::Rebalanced`] when records went before they were read, damage, or when
    /// storage fails.
    async fn poll(&mut self, bytes: usize, wait: Duration) -> Result<Polled, LogError>;

    /// Moves on: all of the commit, or nothing.
    ///
    /// # Errors
    /// [`LogError::Fenced`], [`LogError::Rebalanced`], [`LogError::Full`], or when storage
    /// fails.
    async fn commit(&mut self, partition: u32, commit: Commit) -> Result<(), LogError>;

    /// Leaves the group, so that others take over at once.
    ///
    /// # Errors
    /// When the network fails; the group notices by itself then.
    async fn leave(self: Box<Self>) -> Result<(), LogError>;
}

/// The partition of a key, by the rule of Kafka's default partitioner (murmur2), so that
/// whoever writes a key writes it to the same place.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn keys_hash_as_in_kafka() {
        for (key, hash) in [
            ("21", -973_932_308i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(partition_of(b"BTC/USD", 1), 0);
    }
}
