//! The lake's copy of the river: trades, candles and feature rows, each record once.
//!
//! A member of a group of its own reads each topic, writes what came to a table and commits.
//! A process that dies between the two finds the same records again: those whose keys the
//! table has already are left out, so that each is there once. What the table has is said of a
//! version, and rows are added to that version alone: of two processes that write the same, one
//! looks again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foretell_lake::{AsOf, CommitInfo, Lake, LakeError, Layer, Version};
use foretell_market::{Clock, Timestamp};
use foretell_panel::arrow::array::{Array as _, AsArray, BooleanArray, RecordBatch};
use foretell_panel::arrow::compute::filter_record_batch;
use foretell_panel::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use foretell_stream::{Commit, Log, LogError, Member, Polled, Stored};
use tokio::sync::watch;
use tokio::time::Instant;

use super::columns::Rows;
use crate::error::PlatformError;

/// The longest time between a record and its copy.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(30);
/// The most records that wait for their copy.
const AT_ONCE: usize = 100_000;
const POLL_BYTES: usize = 4 << 20;
/// How many versions of a table lie between two rounds of upkeep.
const VERSIONS_BETWEEN_UPKEEP: Version = 32;
/// How often another process may write the same table first.
const ATTEMPTS: u32 = 20;

/// What turns records of one topic into rows of tables.
pub(super) trait Sink: Send {
    /// Adds a record of a partition. What is not understood is left to those who refuse it.
    fn add(&mut self, partition: u32, record: &Stored);

    /// The rows since the last call, by layer and table.
    fn take(&mut self) -> BTreeMap<(Layer, String), Rows>;
}

/// Copies one topic into the lake until `stop` is true; then what was read is written.
///
/// # Errors
/// When the log fails, or the lake does: what was not committed is read again.
pub(super) async fn copy(
    log: Arc<dyn Log>,
    lake: Lake,
    clock: Arc<dyn Clock>,
    group_and_topic: (&str, &str),
    sink: Box<dyn Sink>,
    stop: watch::Receiver<bool>,
) -> Result<(), PlatformError> {
    copy_every(WRITE_EVERY, log, lake, clock, group_and_topic, sink, stop).await
}

/// [`copy()`] with the longest time between a record and its copy.
pub(super) async fn copy_every(
    write_every: Duration,
    log: Arc<dyn Log>,
    lake: Lake,
    clock: Arc<dyn Clock>,
    (group, topic): (&str, &str),
    mut sink: Box<dyn Sink>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), PlatformError> {
    let mut member = log.join(group, topic).await?;
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut waiting = 0;
    let mut since: Option<Instant> = None;
    loop {
        let left = since.map_or(write_every, |s| write_every.saturating_sub(s.elapsed()));
        let polled = tokio::select! {
            polled = member.poll(POLL_BYTES, left) => polled,
            _ = stop.changed() => Ok(Polled::Idle),
        };
        let polled = match polled {
            // What was read since the last commit is handed out again, by whoever has it now.
            Err(error @ LogError::Rebalanced { .. }) => {
                tracing::warn!(topic, %error, "the copy begins again at its last commit");
                drop(sink.take());
                next.clear();
                (waiting, since) = (0, None);
                Polled::Idle
            }
            other => other?,
        };
        match polled {
            Polled::Assigned(_) | Polled::Idle => {}
            Polled::Revoked(partitions) => {
                // Whoever has them now reads them again; their keys tell what is there.
                next.retain(|p, _| !partitions.contains(p));
            }
            Polled::Records(partition, records) => {
                let Some(last) = records.last() else { continue };
                next.insert(partition, last.offset + 1);
                waiting += records.len();
                since.get_or_insert_with(Instant::now);
                for record in &records {
                    sink.add(partition, record);
                }
            }
        }
        let stopping = *stop.borrow() || stop.has_changed().is_err();
        let due = since.is_some_and(|s| s.elapsed() >= write_every) || waiting >= AT_ONCE;
        if !next.is_empty() && (due || stopping) {
            let tables = sink.take();
            for ((layer, name), rows) in tables {
                write(&lake, layer, &name, &rows.batch()?, &*clock).await?;
            }
            commit(&mut *member, std::mem::take(&mut next)).await?;
            (waiting, since) = (0, None);
        }
        if stopping {
            return Ok(member.leave().await?);
        }
    }
}

async fn commit(member: &mut dyn Member, next: BTreeMap<u32, u64>) -> Result<(), PlatformError> {
    for (partition, next) in next {
        match member.commit(partition, Commit { next, ..Commit::default() }).await {
            // Another member has it now and reads the same records again.
            Err(LogError::Rebalanced { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Appends the rows that are not there.
async fn write(
    lake: &Lake,
    layer: Layer,
    name: &str,
    batch: &RecordBatch,
    clock: &dyn Clock,
) -> Result<(), PlatformError> {
    let table = lake.table(layer, name);
    let what = format!("copying the river to {layer}/{name}");
    let fail = |error: LakeError| PlatformError::lake(&what)(error);
    let times = times(batch, "time");
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Ok(());
    };
    let span = Timestamp::from_micros(*first)..Timestamp::from_micros(*last + 1);
    let own = keys(batch);
    // Of versions that became known at one instant the last one stands.
    let mut last_of = std::collections::HashMap::new();
    for (row, key) in own.iter().enumerate() {
        last_of.insert(key, row);
    }
    let info = CommitInfo::new("river", clock.now());
    let mut attempts = 0..ATTEMPTS;
    let version = loop {
        let (seen, there) = match table.read_versioned(AsOf::Latest, Some(span.clone())).await {
            Ok((version, there)) => (Some(version), keys(&there).into_iter().collect()),
            Err(LakeError::NoTable { .. }) => (None, HashSet::new()),
            Err(error) => return Err(fail(error)),
        };
        let new: BooleanArray = (0..own.len())
            .map(|row| Some(!there.contains(&own[row]) && last_of[&own[row]] == row))
            .collect();
        if new.true_count() == 0 {
            return Ok(());
        }
        let new = filter_record_batch(batch, &new)
            .map_err(|e| PlatformError::Mismatch(format!("{layer}/{name}: {e}")))?;
        match table.append_to(seen, &new, &info).await {
            Ok(version) => break version,
            // Another process wrote: some of it may be there now.
            Err(error) if error.is_conflict() && attempts.next().is_some() => {}
            Err(error) => return Err(fail(error)),
        }
    };
    if version > 0 && version.is_multiple_of(VERSIONS_BETWEEN_UPKEEP) {
        let upkept = async {
            table.compact(&info).await?;
            table.checkpoint().await
        };
        match upkept.await {
            Ok(_) => {}
            // The next round does it.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(())
}

type Key = (i64, String, i64, i64);

fn times(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let found = batch.column_by_name(column);
    found.map_or_else(Vec::new, |c| c.as_primitive::<TimestampMicrosecondType>().values().to_vec())
}

/// Time, instrument, known-at and position of each row, which of a bar by count is its number:
/// what rows are told apart by.
fn keys(batch: &RecordBatch) -> Vec<Key> {
    let (times, known) = (times(batch, "time"), times(batch, "known_at"));
    let names = batch.column_by_name("instrument").map(AsArray::as_string::<i32>);
    let position = batch.column_by_name("position").or_else(|| batch.column_by_name("number"));
    let positions = position.map(AsArray::as_primitive::<Int64Type>);
    (0..batch.num_rows())
        .map(|row| {
            let name = names.filter(|n| n.is_valid(row)).map_or("", |n| n.value(row));
            let position = positions.map_or(0, |p| p.value(row));
            (times[row], name.to_owned(), known.get(row).copied().unwrap_or(0), position)
        })
        .collect()
}
