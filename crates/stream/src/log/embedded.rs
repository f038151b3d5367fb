//! The log of one process: chunks, state and offsets in one store, moved by atomic batches.
//!
//! The store is `fjall`, a log-structured merge tree with a journal: a batch over several
//! keyspaces is in the journal whole or not at all, so a process that dies at any point finds
//! outputs, state and offsets of the same commit. Every value has a checksum there. After a
//! commit the bytes are with the operating system (a killed process loses nothing); they
//! are forced to the disk every [`EmbeddedOptions::sync_every`] (a power cut loses at most
//! that much, and whole commits from the end). Whoever commits does not wait for that.

mod member;
mod topic;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use foretell_market::Timestamp;

use super::progress::Progress;
use super::{Log, LogError, Member, Record, Stored, TopicSpec, chunk};
use member::EmbeddedMember;
use topic::{Topic, chunk_key, offset_of, waiting};
use writer::{Sorter, Writer};

/// Bytes of a topic, or of the state, that wait in memory to be sorted into tables; up to five
/// times as many while the disk is slow.
const MEMTABLE: u64 = 16 << 20;
/// What an entry takes there beside its key and value, about.
const ENTRY: usize = 64;
/// Bytes of tables that are kept in memory.
const CACHE: u64 = 16 << 20;
/// Bytes of journals that may be on disk before what waits in memory is written out for it.
const JOURNALS: u64 = 128 << 20;

/// Where and how an embedded log is kept.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Its folder; created when it is not there.
    pub path: PathBuf,
    /// How many bytes it may hold on disk; without it, as many as the disk has.
    pub budget: Option<u64>,
    /// How often what was written is forced to the disk; without it, when the operating
    /// system does.
    pub sync_every: Option<Duration>,
}

/// A durable log in a folder, for one process.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

struct Shared {
    options: EmbeddedOptions,
    database: Database,
    /// Settings of topics.
    meta: Keyspace,
    /// Committed offsets, by group, topic and partition.
    offsets: Keyspace,
    /// State, by group, topic, partition and key.
    state: Keyspace,
    /// The first offset that is kept, by topic and partition.
    starts: Keyspace,
    topics: Mutex<BTreeMap<String, Arc<Topic>>>,
    /// One writer at a time, so that offsets are given out in the order of commits.
    writer: Mutex<Writer>,
    /// The latest member of each group on a topic.
    epochs: Mutex<HashMap<(String, String), u64>>,
    unsynced: AtomicBool,
    /// Why nothing can be written any more.
    broken: Broken,
    /// Has keyspaces sorted.
    sorter: Option<Sorter>,
    /// Dropping it ends the thread that syncs.
    stop: Mutex<Option<Sender<()>>>,
}

type Broken = Arc<Mutex<Option<String>>>;

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

fn storage(error: impl fmt::Display) -> LogError {
    LogError::Storage(error.to_string())
}

/// How the store keeps its values. When they go from memory to the disk is ours to say
/// ([`Shared::sort()`]): the store asks its workers by a queue, for every write until they do
/// it, and a worker that finds the queue full waits for a place that it alone could make.
fn keeps() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(u64::MAX)
}

fn number(bytes: &[u8]) -> Result<u64, LogError> {
    let damaged = |_| LogError::Damaged("an offset has not 8 bytes".to_owned());
    bytes.try_into().map(u64::from_be_bytes).map_err(damaged)
}

/// Names with their length in front, so that no two of them make the same key.
fn place(group: &str, topic: &str, partition: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(12 + group.len() + topic.len());
    for name in [group, topic] {
        key.extend_from_slice(&(name.len() as u32).to_be_bytes());
        key.extend_from_slice(name.as_bytes());
    }
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

/// The topic of a [`place`] or of what begins with one.
fn topic_of(key: &[u8]) -> Option<&[u8]> {
    let name = |from: usize| -> Option<(&[u8], usize)> {
        let length = u32::from_be_bytes(key.get(from..from + 4)?.try_into().ok()?) as usize;
        let end = from + 4 + length;
        Some((key.get(from + 4..end)?, end))
    };
    let (_, behind) = name(0)?;
    Some(name(behind)?.0)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedLog {
    /// Opens the log of a folder, as far as its last commit.
    ///
    /// # Errors
    /// [`LogError::InUse`], [`LogError::Damaged`], or when the disk fails.
    pub fn open(options: EmbeddedOptions) -> Result<Self, LogError> {
        let builder = Database::builder(&options.path)
            .cache_size(CACHE)
            .max_journaling_size(JOURNALS)
            // Of several, one spins while another one sorts.
            .worker_threads(1);
        let opened = builder.open();
        let database = opened.map_err(|error| match error {
            fjall::Error::Locked => LogError::InUse(options.path.display().to_string()),
            other => storage(other),
        })?;
        let keyspace = |name: &str| database.keyspace(name, keeps).map_err(storage);
        let (meta, offsets, state) = (keyspace("meta")?, keyspace("offsets")?, keyspace("state")?);
        let starts = keyspace("starts")?;
        let mut topics = BTreeMap::new();
        for entry in meta.iter() {
            let spec: TopicSpec = serde_json::from_slice(&entry.value().map_err(storage)?)
                .map_err(|e| LogError::Damaged(format!("settings of a topic: {e}")))?;
            let topic = Topic::open(spec, &database, &starts)?;
            topics.insert(topic.spec.name.clone(), Arc::new(topic));
        }
        let used = database.disk_space().map_err(storage)?;
        let (stop, stopped) = channel();
        let broken = Broken::default();
        let sorter = Some(Sorter::start(options.path.clone(), Arc::clone(&broken))?);
        let shared = Arc::new(Shared {
            options,
            database,
            meta,
            offsets,
            state,
            starts,
            topics: Mutex::new(topics),
            writer: Mutex::new(Writer { used, ..Writer::default() }),
            epochs: Mutex::default(),
            unsynced: AtomicBool::new(false),
            broken,
            sorter,
            stop: Mutex::new(Some(stop)),
        });
        if let Some(every) = shared.options.sync_every {
            let weak = Arc::downgrade(&shared);
            let sync = move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    let Some(shared) = weak.upgrade() else { return };
                    shared.sync();
                }
            };
            std::thread::Builder::new().name("log-sync".to_owned()).spawn(sync).map_err(storage)?;
        }
        Ok(Self { shared })
    }

    /// Forgets chunks that are past their retention and read by every group that a topic is
    /// kept for. Returns how many. Their disk is given back as whole tables: some megabytes
    /// of a topic may stay behind.
    ///
    /// # Errors
    /// Damage, or when the disk fails.
    pub fn expire(&self, now: Timestamp) -> Result<usize, LogError> {
        let topics: Vec<Arc<Topic>> = locked(&self.shared.topics).values().cloned().collect();
        let mut removed = 0;
        for topic in topics {
            let keeps = locked(&topic.keeps).clone();
            let Some(seconds) = keeps.retention_secs else { continue };
            let oldest = now.plus_secs(-seconds);
            for partition in 0..topic.spec.partitions {
                let mut until = topic.end(partition);
                for group in &keeps.kept_for {
                    let progress = self.shared.progress(group, &topic, partition)?;
                    until = until.min(progress.map_or(0, |progress| progress.needs()));
                }
                let from = topic.first(partition);
                let (mut first, mut gone) = (from, 0);
                let range = chunk_key(partition, from.min(until))..chunk_key(partition, until);
                for entry in topic.chunks.range(range) {
                    let (key, value) = entry.into_inner().map_err(storage)?;
                    let value = Bytes::from(value);
                    let ends = offset_of(&key)? + chunk::count(&value)?;
                    // The last chunk stays: the next offset is known from it.
                    if ends > until
                        || ends == topic.end(partition)
                        || chunk::newest(&value)? >= oldest
                    {
                        break;
                    }
                    (first, gone, removed) = (ends, gone + value.len(), removed + 1);
                }
                if first > from {
                    let place = place("", &topic.spec.name, partition);
                    self.shared.starts.insert(place, first.to_be_bytes()).map_err(storage)?;
                    topic.first[partition as usize].store(first, Ordering::Release);
                    topic.give_back(gone as u64)?;
                }
            }
        }
        Ok(removed)
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn disk_space(&self) -> Result<u64, LogError> {
        self.shared.database.disk_space().map_err(storage)
    }
}

impl Shared {
    fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let found = locked(&self.topics).get(name).cloned();
        found.ok_or_else(|| LogError::NoTopic(name.to_owned()))
    }

    fn progress(
        &self,
        group: &str,
        topic: &Topic,
        partition: u32,
    ) -> Result<Option<Progress>, LogError> {
        let found = self.offsets.get(place(group, &topic.spec.name, partition)).map_err(storage)?;
        found.map(|bytes| Progress::of_bytes(&bytes)).transpose()
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let mut topics = locked(&self.shared.topics);
        if let Some(topic) = topics.get(&spec.name)
            && topic.spec.partitions != spec.partitions
        {
            return Err(LogError::Partitions {
                name: spec.name.clone(),
                found: topic.spec.partitions,
                wanted: spec.partitions,
            });
        }
        let text = serde_json::to_vec(spec).map_err(storage)?;
        self.shared.meta.insert(spec.name.as_bytes(), text).map_err(storage)?;
        if let Some(topic) = topics.get(&spec.name) {
            // Members and writers hold it: it stays, with other settings.
            *locked(&topic.keeps) = spec.clone();
        } else {
            let shared = &self.shared;
            let topic = Topic::open(spec.clone(), &shared.database, &shared.starts)?;
            topics.insert(spec.name.clone(), Arc::new(topic));
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.shared.topic(topic)?.spec.partitions)
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<u64, LogError> {
        let topic = self.shared.topic(topic)?;
        let bytes = records.iter().map(|r| r.key.len() + r.value.len()).sum();
        let room = |writer: &mut Writer| self.shared.room(writer, bytes);
        self.shared.write(&[(topic, partition, records)], room, |_| 0)
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        bytes: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, LogError> {
        let topic = self.shared.topic(topic)?;
        topic.check(partition)?;
        let look = || {
            let found = topic.read(partition, from, bytes)?;
            Ok((!found.is_empty()).then_some(found))
        };
        Ok(waiting(&topic, wait, look).await?.unwrap_or_default())
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        let topic = self.shared.topic(topic)?;
        topic.check(partition)?;
        Ok(topic.oldest(partition)?..topic.end(partition))
    }

    async fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        let topic = self.shared.topic(topic)?;
        topic.check(partition)?;
        Ok(self.shared.progress(group, &topic, partition)?.map(|progress| progress.next))
    }

    async fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Member>, LogError> {
        let topic = self.shared.topic(topic)?;
        let epoch = {
            let mut epochs = locked(&self.shared.epochs);
            let epoch = epochs.entry((group.to_owned(), topic.spec.name.clone())).or_default();
            *epoch += 1;
            *epoch
        };
        let group = group.to_owned();
        Ok(Box::new(EmbeddedMember::new(Arc::clone(&self.shared), group, topic, epoch)))
    }

    async fn remove(&self, topic: &str) -> Result<(), LogError> {
        let shared = &self.shared;
        let Some(found) = locked(&shared.topics).remove(topic) else { return Ok(()) };
        let mut batch = shared.database.batch();
        // What stands under a group begins with the group's name, so all of it is looked at.
        for keyspace in [&shared.offsets, &shared.state, &shared.starts] {
            for entry in keyspace.iter() {
                let key = entry.key().map_err(storage)?;
                if topic_of(&key) == Some(topic.as_bytes()) {
                    batch.remove(keyspace, key);
                }
            }
        }
        batch.remove(&shared.meta, topic.as_bytes());
        batch.commit().map_err(storage)?;
        shared.database.delete_keyspace(found.chunks.clone()).map_err(storage)
    }
}
