//! State on Kafka: a compacted topic beside the one that is read.
//!
//! `<group>-<topic>-changelog` has as many partitions as the topic. A record's key is a key
//! of the state and its value the state; a key that is gone has a tombstone. The record with
//! the empty key says how far the group had come, and as of which offset the state is where
//! that is another ([`Progress`]): every commit writes it, in the transaction that moves the
//! group's offset, so a group whose offset was moved by hand does not go on with a state of
//! another place.

use std::collections::BTreeMap;

use bytes::Bytes;
use krafka::admin::OffsetSpec;
use krafka::error::KrafkaError;

use super::reader::{MOMENT, open};
use super::{Shared, at_once};
use crate::log::progress::Progress;
use crate::log::{Commit, LogError};

/// The name of the changelog.
pub(super) fn name(group: &str, topic: &str) -> String {
    format!("{group}-{topic}-changelog")
}

/// Creates the changelog of a topic, where there is none.
pub(super) async fn create(shared: &Shared, name: &str, partitions: u32) -> Result<(), LogError> {
    let topic = shared.new_topic(name, partitions)?.with_config("cleanup.policy", "compact");
    shared.create(topic, partitions).await
}

/// The records of a commit.
pub(super) fn records(name: &str, partition: u32, commit: &Commit) -> Vec<krafka::Record> {
    let to = |record: krafka::Record| record.partition(partition as i32);
    let state = commit.state.iter().map(|(key, value)| match value {
        Some(value) => krafka::Record::new(name, value.clone()).key(key.clone()),
        None => krafka::Record::tombstone(name, key.clone()),
    });
    let progress = Progress { next: commit.next, ahead: commit.ahead };
    let place = krafka::Record::new(name, progress.to_bytes()).key(Bytes::new());
    state.chain([place]).map(to).collect()
}

/// What a changelog says.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// The state, by key.
    pub(super) state: BTreeMap<Bytes, Bytes>,
    /// How far the group had come, and as of where it is.
    pub(super) progress: Option<Progress>,
}

/// Reads a partition of a changelog to its end.
///
/// Its end is that of everything written, committed or not: a transaction whose offset is
/// committed may have its mark here a moment later, and is waited for.
pub(super) async fn restore(
    shared: &Shared,
    name: &str,
    partition: u32,
) -> krafka::Result<Restored> {
    let mut restored = Restored::default();
    let ends = shared.offsets(name, &[partition], OffsetSpec::Latest, false).await?;
    let end = ends.get(&partition).copied().unwrap_or(0);
    if end <= 0 {
        return Ok(restored);
    }
    let consumer = open(shared, name, partition).await?;
    let read = async {
        consumer.seek_to_beginning(name, partition as i32).await?;
        while consumer.position(name, partition as i32).await.is_none_or(|at| at < end) {
            for record in consumer.poll(MOMENT).await? {
                let Some(key) = record.key else { continue };
                match record.value {
                    Some(value) if key.is_empty() => {
                        let read = Progress::of_bytes(&value);
                        let read = read.map_err(|e| KrafkaError::config(e.to_string()))?;
                        restored.progress = Some(read);
                    }
                    Some(value) => {
                        restored.state.insert(key, value);
                    }
                    None => {
                        restored.state.remove(&key);
                    }
                }
            }
        }
        Ok::<(), KrafkaError>(())
    };
    let read = read.await;
    let _ = consumer.close_with(at_once()).await;
    read.map(|()| restored)
}
