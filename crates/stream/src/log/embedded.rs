//! The log of one process: chunks, state and offsets in one store, moved by atomic batches.
//!
//! The store is `fjall`, a log-structured merge tree with a journal: a batch over several
//! keyspaces is in the journal whole or not at all, so a process that dies at any point finds
//! outputs, state and offsets of the same commit. Every value has a checksum there. After a
//! commit the bytes are with the operating system (a killed process loses nothing); they
//! are forced to the disk every [`EmbeddedOptions::sync_every`] (a power cut loses at most
//! that much, and whole commits from the end). Whoever commits does not wait for that.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
};
use foretell_market::Timestamp;
use tokio::sync::Notify;

use super::progress::Progress;
use super::{Assignment, Commit, Log, LogError, Member, Polled, Record, Stored, TopicSpec, chunk};

/// Appends between two looks at how much disk is used, and bytes.
const LOOK_EVERY: u64 = 256;
const LOOK_AFTER: usize = 1 << 20;

/// About how many bytes of records one value of the store holds: what is read at once, and
/// what is copied from place to place.
const CHUNK: usize = 1 << 18;

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

/// Has keyspaces sorted into tables, on a thread of its own: the store also cleans up then,
/// which takes as long as files take to go, and nobody who writes waits for that.
struct Sorter {
    ask: SyncSender<Keyspace>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Writer {
    /// Appends and their bytes since disk use was looked at.
    appends: u64,
    bytes: usize,
    used: u64,
    /// Bytes of state and offsets that wait in memory, about.
    unsorted: u64,
}

struct Topic {
    /// Name and partitions are those; what it keeps is in `keeps`.
    spec: TopicSpec,
    /// The settings that may change.
    keeps: Mutex<TopicSpec>,
    chunks: Keyspace,
    /// Bytes that wait in memory, about.
    unsorted: AtomicU64,
    /// Per partition, the offset of the first record that is kept.
    first: Vec<AtomicU64>,
    /// Bytes that are not kept and may still be on disk, about.
    gone: AtomicU64,
    /// Per partition, the offset of the next record.
    next: Vec<AtomicU64>,
    written: Notify,
}

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

/// The journal that is written now: the one with the highest number.
fn journal(folder: &Path) -> std::io::Result<Option<std::fs::File>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let named = path.extension().is_some_and(|e| e == "jnl");
        let number =
            path.file_stem().filter(|_| named).and_then(|name| name.to_str()?.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(known, _)| *known < number)
        {
            newest = Some((number, path));
        }
    }
    newest.map(|(_, path)| std::fs::OpenOptions::new().write(true).open(path)).transpose()
}

fn chunk_key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn offset_of(key: &[u8]) -> Result<u64, LogError> {
    let bytes = key.get(4..12).and_then(|b| b.try_into().ok());
    let bytes = bytes.ok_or_else(|| LogError::Damaged("a chunk has no offset".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
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

impl Topic {
    fn open(spec: TopicSpec, database: &Database, starts: &Keyspace) -> Result<Self, LogError> {
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

    fn check(&self, partition: u32) -> Result<(), LogError> {
        if partition < self.spec.partitions {
            return Ok(());
        }
        Err(LogError::NoPartition { topic: self.spec.name.clone(), partition })
    }

    fn end(&self, partition: u32) -> u64 {
        self.next[partition as usize].load(Ordering::Acquire)
    }

    /// The offset of the first record that there is.
    fn oldest(&self, partition: u32) -> Result<u64, LogError> {
        let all = chunk_key(partition, self.first(partition))..chunk_key(partition, u64::MAX);
        match self.chunks.range(all).next() {
            Some(entry) => offset_of(&entry.key().map_err(storage)?),
            None => Ok(self.end(partition)),
        }
    }

    fn first(&self, partition: u32) -> u64 {
        self.first[partition as usize].load(Ordering::Acquire)
    }

    /// Drops the tables that hold nothing that is kept, once it is worth it. A mark of removal
    /// in the place of each chunk would have the store write all others anew.
    fn give_back(&self, bytes: u64) -> Result<(), LogError> {
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

    fn read(&self, partition: u32, from: u64, bytes: usize) -> Result<Vec<Stored>, LogError> {
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

    /// Forces what was committed to the disk. The store would keep its writers waiting while it
    /// does so; the file is the same through another handle, and everything in it is with
    /// the operating system. Older journals were forced when they were left.
    fn sync(&self) {
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return;
        }
        let synced = match journal(&self.options.path) {
            Ok(Some(file)) => file.sync_data().map_err(|e| e.to_string()),
            Ok(None) | Err(_) => {
                self.database.persist(PersistMode::SyncData).map_err(|e| e.to_string())
            }
        };
        if let Err(error) = synced {
            *locked(&self.broken) = Some(format!("what was written cannot be synced: {error}"));
        }
    }

    /// Whether the budget has room for more of what comes from outside. What follows from it
    /// always has: a processor that cannot move on would keep old records from going.
    fn room(&self, writer: &mut Writer, bytes: usize) -> Result<(), LogError> {
        let Some(budget) = self.options.budget else { return Ok(()) };
        (writer.appends, writer.bytes) = (writer.appends + 1, writer.bytes + bytes);
        let look = writer.appends >= LOOK_EVERY || writer.bytes >= LOOK_AFTER;
        if look || writer.used > budget {
            writer.used = self.database.disk_space().map_err(storage)?;
            (writer.appends, writer.bytes) = (0, 0);
        }
        if writer.used > budget {
            return Err(LogError::Full { used: writer.used, budget });
        }
        Ok(())
    }

    /// Has a keyspace sorted into tables when enough of it waits in memory. Whether it was
    /// asked for.
    fn sort(&self, keyspace: &Keyspace, unsorted: u64) -> bool {
        let ask = |sorter: &Sorter| sorter.ask.try_send(keyspace.clone()).is_ok();
        unsorted >= MEMTABLE && self.sorter.as_ref().is_some_and(ask)
    }

    /// Writes records and whatever `more` adds, which says how many bytes that is, at once. `allowed` is asked while nobody else
    /// writes.
    fn write(
        &self,
        records: &[(Arc<Topic>, u32, Vec<Record>)],
        allowed: impl FnOnce(&mut Writer) -> Result<(), LogError>,
        more: impl FnOnce(&mut OwnedWriteBatch) -> usize,
    ) -> Result<u64, LogError> {
        if let Some(reason) = locked(&self.broken).clone() {
            return Err(LogError::Storage(reason));
        }
        let mut writer = locked(&self.writer);
        allowed(&mut writer)?;
        let mut batch = self.database.batch();
        let mut ends: Vec<(&Topic, u32, u64)> = Vec::with_capacity(records.len());
        let mut first = None;
        for (topic, partition, records) in records {
            topic.check(*partition)?;
            let earlier = ends
                .iter()
                .rev()
                .find(|e| std::ptr::eq(e.0, &raw const **topic) && e.1 == *partition);
            let base = earlier.map_or_else(|| topic.end(*partition), |e| e.2);
            first.get_or_insert(base);
            if records.is_empty() {
                continue;
            }
            let mut at = base;
            for some in chunk::parts(records, CHUNK) {
                let chunk = chunk::encode(some);
                topic.unsorted.fetch_add((chunk.len() + ENTRY) as u64, Ordering::Relaxed);
                batch.insert(&topic.chunks, chunk_key(*partition, at), chunk);
                at += some.len() as u64;
            }
            ends.push((topic, *partition, at));
        }
        writer.unsorted += more(&mut batch) as u64;
        batch.commit().map_err(storage)?;
        self.unsynced.store(true, Ordering::Release);
        for (topic, partition, end) in ends {
            topic.next[partition as usize].store(end, Ordering::Release);
            topic.written.notify_waiters();
            if self.sort(&topic.chunks, topic.unsorted.load(Ordering::Relaxed)) {
                topic.unsorted.store(0, Ordering::Relaxed);
            }
        }
        if self.sort(&self.state, writer.unsorted) {
            self.sort(&self.offsets, MEMTABLE);
            writer.unsorted = 0;
        }
        Ok(first.unwrap_or(0))
    }
}

impl Sorter {
    fn start(folder: PathBuf, broken: Broken) -> Result<Self, LogError> {
        let (ask, asked) = sync_channel::<Keyspace>(16);
        let sort = move || {
            for keyspace in asked {
                // The store syncs its journal then, while everybody waits: little is left to do.
                if let Ok(Some(file)) = journal(&folder) {
                    let _ = file.sync_all();
                }
                if let Err(error) = keyspace.rotate_memtable() {
                    let text = format!("what waits in memory cannot be written: {error}");
                    *locked(&broken) = Some(text);
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-sort".to_owned()).spawn(sort);
        Ok(Self { ask, thread: thread.map_err(storage)? })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(Sorter { ask, thread }) = self.sorter.take() {
            drop(ask);
            // The folder is free when this returns. It never panics.
            let _ = thread.join();
        }
        locked(&self.stop).take();
        self.sync();
    }
}

/// Runs `look` until it finds something, at most `wait`, and again whenever something is
/// written.
async fn waiting<T>(
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
        Ok(Box::new(EmbeddedMember {
            shared: Arc::clone(&self.shared),
            group: group.to_owned(),
            positions: Vec::new(),
            began: Vec::new(),
            turn: 0,
            topic,
            epoch,
        }))
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

/// The one member of a group that has every partition.
struct EmbeddedMember {
    shared: Arc<Shared>,
    group: String,
    topic: Arc<Topic>,
    /// Per partition what is read next; empty before the assignment.
    positions: Vec<u64>,
    /// Per partition where it was at the last assignment.
    began: Vec<u64>,
    /// The partition to look at first, so that a busy one does not starve others.
    turn: usize,
    epoch: u64,
}

impl EmbeddedMember {
    fn assign(&mut self) -> Result<Vec<Assignment>, LogError> {
        // Offset and state are of one commit: nobody may write in between.
        let _writer = locked(&self.shared.writer);
        let mut assigned = Vec::new();
        for partition in 0..self.topic.spec.partitions {
            let committed = self.shared.progress(&self.group, &self.topic, partition)?;
            let prefix = place(&self.group, &self.topic.spec.name, partition);
            let mut state = Vec::new();
            for entry in self.shared.state.prefix(&prefix) {
                let (key, value) = entry.into_inner().map_err(storage)?;
                state.push((Bytes::from(key).slice(prefix.len()..), Bytes::from(value)));
            }
            let first = self.topic.oldest(partition)?;
            // A group that begins, begins with what there is.
            let began = self.began.get(partition as usize).copied();
            let begins = Progress { next: began.unwrap_or(first), ahead: None };
            let (progress, lost) = committed.unwrap_or(begins).since(first);
            self.positions.push(progress.needs());
            let Progress { next, ahead } = progress;
            assigned.push(Assignment { partition, next, state, ahead, lost });
        }
        self.began = assigned.iter().map(|given| given.next).collect();
        Ok(assigned)
    }
}

#[async_trait]
impl Member for EmbeddedMember {
    async fn poll(&mut self, bytes: usize, wait: Duration) -> Result<Polled, LogError> {
        if self.positions.is_empty() {
            return Ok(Polled::Assigned(self.assign()?));
        }
        let (topic, positions, turn) = (Arc::clone(&self.topic), &self.positions, self.turn);
        let look = || {
            for step in 0..positions.len() {
                let partition = (turn + step) % positions.len();
                let found = topic.read(partition as u32, positions[partition], bytes)?;
                if !found.is_empty() {
                    return Ok(Some((partition, found)));
                }
            }
            Ok(None)
        };
        let Some((partition, records)) = waiting(&topic, wait, look).await? else {
            return Ok(Polled::Idle);
        };
        if records.first().is_some_and(|first| first.offset > self.positions[partition]) {
            // They went between two polls: the next assignment says which.
            self.positions.clear();
            return Err(LogError::Rebalanced {
                group: self.group.clone(),
                reason: "records went before they were read".to_owned(),
            });
        }
        self.turn = partition + 1;
        self.positions[partition] = records.last().map_or(0, |r| r.offset + 1);
        Ok(Polled::Records(partition as u32, records))
    }

    async fn commit(&mut self, partition: u32, commit: Commit) -> Result<(), LogError> {
        self.topic.check(partition)?;
        let mut records: Vec<(Arc<Topic>, u32, Vec<Record>)> = Vec::new();
        for (name, to, record) in commit.outputs {
            match records.iter_mut().find(|(t, p, _)| *t.spec.name == *name && *p == to) {
                Some((.., chunk)) => chunk.push(record),
                None => records.push((self.shared.topic(&name)?, to, vec![record])),
            }
        }
        let prefix = place(&self.group, &self.topic.spec.name, partition);
        let key = (self.group.clone(), self.topic.spec.name.clone());
        let allowed = |_: &mut Writer| {
            let newest = locked(&self.shared.epochs).get(&key).copied();
            if newest == Some(self.epoch) { Ok(()) } else { Err(LogError::Fenced(key.0.clone())) }
        };
        let more = |batch: &mut OwnedWriteBatch| {
            let mut bytes = prefix.len() + ENTRY;
            for (key, value) in commit.state {
                let key = [&prefix[..], &key].concat();
                bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + ENTRY;
                match value {
                    Some(value) => batch.insert(&self.shared.state, key, &value[..]),
                    None => batch.remove(&self.shared.state, key),
                }
            }
            let progress = Progress { next: commit.next, ahead: commit.ahead };
            batch.insert(&self.shared.offsets, &prefix[..], progress.to_bytes());
            bytes
        };
        self.shared.write(&records, allowed, more).map(|_| ())
    }

    async fn leave(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}
