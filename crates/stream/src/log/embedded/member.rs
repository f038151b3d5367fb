//! The member of a group in the one process that has the log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::OwnedWriteBatch;

use super::topic::{Topic, waiting};
use super::writer::Writer;
use super::{ENTRY, Shared, locked, place, storage};
use crate::log::progress::Progress;
use crate::log::{Assignment, Commit, LogError, Member, Polled, Record};

/// The one member of a group that has every partition.
pub(super) struct EmbeddedMember {
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
    pub(super) fn new(shared: Arc<Shared>, group: String, topic: Arc<Topic>, epoch: u64) -> Self {
        let (positions, began) = (Vec::new(), Vec::new());
        Self { shared, group, topic, positions, began, turn: 0, epoch }
    }

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
