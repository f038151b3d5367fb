//! The rows that questions are answered from: those of the log's end at a start, and those that
//! other processes write.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use foretell_market::{Fingerprint, Instrument, Interval};
use foretell_stream::codec::{decode_features, product_id};
use foretell_stream::{FeatureRecord, Log, LogError, Record, View, partition_of};
use tokio::sync::watch;

use super::parts::Heard;
use super::plan::RiverPlan;
use super::read::each;
use crate::error::PlatformError;

/// How long a look for new rows waits for the first.
const WAIT: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 1 << 20;

/// The feature rows of a plan's pipelines in the log.
pub(super) struct ShownRows {
    log: Arc<dyn Log>,
    topic: String,
    partitions: BTreeSet<u32>,
    of: BTreeSet<(Instrument, Interval, Fingerprint)>,
    keys: BTreeSet<String>,
}

impl ShownRows {
    /// Of the pipelines of a plan.
    ///
    /// # Errors
    /// When a feature set is none.
    pub(super) fn of(log: Arc<dyn Log>, plan: &RiverPlan) -> Result<Self, PlatformError> {
        let topics = plan.topics();
        let (mut partitions, mut of) = (BTreeSet::new(), BTreeSet::new());
        let mut keys = BTreeSet::new();
        for pipeline in plan.pipelines() {
            let key = product_id(&pipeline.instrument);
            partitions.insert(partition_of(key.as_bytes(), topics.partitions));
            keys.insert(key);
            let set = pipeline.features.feature_set()?.fingerprint();
            of.insert((pipeline.instrument.clone(), pipeline.interval, set));
        }
        Ok(Self { log, topic: topics.feature.to_string(), partitions, of, keys })
    }

    /// The row of a record, where it is of one of the pipelines.
    fn row(&self, record: &Record) -> Option<FeatureRecord> {
        if !self.keys.iter().any(|key| record.key == *key.as_bytes()) {
            return None;
        }
        let found = decode_features(&record.value).ok()?;
        let row = &found.row;
        let place = (row.instrument.clone(), row.interval, row.feature_set);
        self.of.contains(&place).then_some(found)
    }

    /// Fills a view with the newest rows that are in the log, so that questions are answered
    /// before the first candle closes. Answers with where each partition ended.
    pub(super) async fn recall(&self, view: &View) -> Result<Vec<(u32, u64)>, PlatformError> {
        // Some offsets are no records; lanes of one partition share them.
        let back = 2 * view.limit() as u64 * self.of.len() as u64;
        let mut ends = Vec::new();
        for partition in &self.partitions {
            let bounds = self.log.bounds(&self.topic, *partition).await?;
            let from = bounds.end.saturating_sub(back);
            each(&*self.log, &self.topic, *partition, from, |stored| {
                if let Some(found) = self.row(&stored.record) {
                    view.take(found);
                }
                ControlFlow::Continue(())
            })
            .await?;
            ends.push((*partition, bounds.end));
        }
        Ok(ends)
    }

    /// Shows and tells the rows of a partition from an offset on, until `stop` is true.
    pub(super) async fn follow(
        self: Arc<Self>,
        partition: u32,
        mut from: u64,
        heard: Heard,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), PlatformError> {
        loop {
            let read = self.log.read(&self.topic, partition, from, AT_ONCE, WAIT);
            let records: Result<_, LogError> = tokio::select! {
                read = read => read,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            for stored in records? {
                from = stored.offset + 1;
                if let Some(found) = self.row(&stored.record) {
                    heard.row(found);
                }
            }
        }
    }
}
