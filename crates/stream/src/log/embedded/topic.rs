//! One topic of the embedded log: its chunks, and where each partition begins and ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace};
use tokio::sync::Notify;

use super::{MEMTABLE, keeps, number, place, storage};
use crate::log::{LogError, Stored, TopicSpec, chunk};

pub(super) struct Topic {
    /// Name and partitions are those; what it keeps is in `keeps`.
    pub(super) spec: TopicSpec,
    /// The settings that may change.
    pub(super) keeps: Mutex<TopicSpec>,
    pub(super) chunks: Keyspace,
    /// Bytes that wait in memory, about.
    pub(super) unsorted: AtomicU64,
    /// Per partition, the offset of the first record that is kept.
    pub(super) first: Vec<AtomicU64>,
    /// Bytes that are not kept and may still be on disk, about.
    pub(super) gone: AtomicU64,
    /// Per partition, the offset of the next record.
    pub(super) next: Vec<AtomicU64>,
    pub(super) written: Notify,
}

pub(super) fn chunk_key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(super) fn offset_of(key: &[u8]) -> Result<u64, LogError> {
    let bytes = key.get(4..12).and_then(|b| b.try_into().ok());
    let bytes = bytes.ok_or_else(|| LogError::Damaged("a chunk has no offset".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Topic {
    pub(super) fn open(
        spec: TopicSpec,
        database: &Database,
        starts: &Keyspace,
    ) -> Result<Self, LogError> {
        let name = format!("topic-{}", spec.name);
        let chunks = database.keyspace(&name, keeps).map_err(storage)?;
        let mut next = Vec::with_capacity(spec.partitions as usize);
        let mut first = Vec::with_capacity(spec.partitions as usize);
        for partition in 0..spec.partitions {
            let range = chunk_key(partition, 0)..=chunk_key(partition, u64::MAX);
            let end = match chunks.range(range).next_back() {
                None => 0,
                Some(last) => {
                    let (key, value) = last.into_inner().map_err(storage)?;
                    offset_of(&key)? + chunk::count(&value)?
                }
            };
            next.push(AtomicU64::new(end));
            let start = starts.get(place("", &spec.name, partition)).map_err(storage)?;
            let start = start.map(|bytes| number(&bytes)).transpose()?;
            first.push(AtomicU64::new(start.unwrap_or(0)));
        }
        let keeps = Mutex::new(spec.clone());
        let unsorted = AtomicU64::new(0);
        let gone = AtomicU64::new(0);
        Ok(Self { spec, keeps, chunks, unsorted, first, gone, next, written: Notify::new() })
    }

    pub(super) fn check(&self, partition: u32) -> Result<(), LogError> {
        if partition < self.spec.partitions {
            return Ok(());
        }
        Err(LogError::NoPartition { topic: self.spec.name.clone(), partition })
    }

    pub(super) fn end(&self, partition: u32) -> u64 {
        self.next[partition as usize].load(Ordering::Acquire)
    }

    /// The offset of the first record that there is.
    pub(super) fn oldest(&self, partition: u32) -> Result<u64, LogError> {
        let all = chunk_key(partition, self.first(partition))..chunk_key(partition, u64::MAX);
        match self.chunks.range(all).next() {
            Some(entry) => offset_of(&entry.key().map_err(storage)?),
            None => Ok(self.end(partition)),
        }
    }

    pub(super) fn first(&self, partition: u32) -> u64 {
        self.first[partition as usize].load(Ordering::Acquire)
    }

    /// Drops the tables that hold nothing that is kept, once it is worth it. A mark of removal
    /// in the place of each chunk would have the store write all others anew.
    pub(super) fn give_back(&self, bytes: u64) -> Result<(), LogError> {
        let gone = self.gone.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if gone < MEMTABLE {
            return Ok(());
        }
        self.gone.store(0, Ordering::Relaxed);
        for partition in 0..self.spec.partitions {
            let range = chunk_key(partition, 0)..chunk_key(partition, self.first(partition));
            self.chunks.tree.drop_range(range).map_err(storage)?;
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        partition: u32,
        from: u64,
        bytes: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let mut out = Vec::new();
        let (from, end) = (from.max(self.first(partition)), self.end(partition));
        if from >= end {
            return Ok(out);
        }
        // The chunk that the offset lies in may begin before it.
        let before = chunk_key(partition, 0)..=chunk_key(partition, from);
        let start = match self.chunks.range(before).next_back() {
            Some(entry) => offset_of(&entry.key().map_err(storage)?)?,
            None => from,
        };
        let mut size = 0;
        for entry in self.chunks.range(chunk_key(partition, start)..chunk_key(partition, end)) {
            let (key, value) = entry.into_inner().map_err(storage)?;
            size += value.len();
            chunk::decode(&Bytes::from(value), offset_of(&key)?, from, &mut out)?;
            if size >= bytes {
                break;
            }
        }
        Ok(out)
    }
}

/// Runs `look` until it finds something, at most `wait`, and again whenever something is
/// written.
pub(super) async fn waiting<T>(
    topic: &Topic,
    wait: Duration,
    mut look: impl FnMut() -> Result<Option<T>, LogError>,
) -> Result<Option<T>, LogError> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let mut written = std::pin::pin!(topic.written.notified());
        // What is written from here on wakes it, also before it is awaited.
        written.as_mut().enable();
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if tokio::time::timeout_at(deadline, written).await.is_err() {
            return look();
        }
    }
}
