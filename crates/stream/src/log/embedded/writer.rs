//! The one way into the embedded log: batches, the budget of the disk, and what brings memory
//! to the disk without anybody's waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::topic::{Topic, chunk_key};
use super::{Broken, ENTRY, MEMTABLE, Shared, locked, storage};
use crate::log::{LogError, Record, chunk};

/// Appends between two looks at how much disk is used, and bytes.
const LOOK_EVERY: u64 = 256;

const LOOK_AFTER: usize = 1 << 20;

/// About how many bytes of records one value of the store holds: what is read at once, and
/// what is copied from place to place.
const CHUNK: usize = 1 << 18;

/// Has keyspaces sorted into tables, on a thread of its own: the store also cleans up then,
/// which takes as long as files take to go, and nobody who writes waits for that.
pub(super) struct Sorter {
    pub(super) ask: SyncSender<Keyspace>,
    pub(super) thread: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Writer {
    /// Appends and their bytes since disk use was looked at.
    pub(super) appends: u64,
    pub(super) bytes: usize,
    pub(super) used: u64,
    /// Bytes of state and offsets that wait in memory, about.
    pub(super) unsorted: u64,
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

impl Shared {
    /// Forces what was committed to the disk. The store would keep its writers waiting while it
    /// does so; the file is the same through another handle, and everything in it is with
    /// the operating system. Older journals were forced when they were left.
    pub(super) fn sync(&self) {
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
    pub(super) fn room(&self, writer: &mut Writer, bytes: usize) -> Result<(), LogError> {
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

    /// Writes records and whatever `more` adds, which says how many bytes that is, at once.
    /// `allowed` is asked while nobody else writes.
    pub(super) fn write(
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
    pub(super) fn start(folder: PathBuf, broken: Broken) -> Result<Self, LogError> {
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
