//! The view of feature rows: filled when a process starts, and kept up with those who make the
//! rows elsewhere.
//!
//! On a cluster the latest rows are a topic of their own, which keeps one per instrument. Rows
//! are made by any process of the group then, so this one follows the topic `feature` from where
//! it ended when the filling began. On the embedded log rows are made here, and those before are
//! read from the end of `feature`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use foretell_market::{Fingerprint, Instrument, Interval};
use foretell_stream::codec::{decode_features, product_id};
use foretell_stream::{FeatureRecord, Log, LogError, Record, TopicName, View, partition_of};
use tokio::sync::watch;

use super::parts::Heard;
use super::plan::RiverPlan;
use super::read::each;
use crate::error::PlatformError;

/// How often it is looked for the next rows.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const AT_ONCE: usize = 1 << 20;

/// Whose rows they are.
type Whose = (Instrument, Interval, Fingerprint);

/// The rows that a river's pipelines make.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    topic: TopicName,
    partitions: u32,
    /// What is shown, by product.
    wanted: BTreeMap<String, BTreeSet<Whose>>,
}

impl Rows {
    pub(super) fn of(plan: &RiverPlan) -> Result<Self, PlatformError> {
        let topics = plan.topics();
        let mut wanted: BTreeMap<String, BTreeSet<Whose>> = BTreeMap::new();
        for pipeline in plan.pipelines() {
            let set = pipeline.features.feature_set()?.fingerprint();
            let whose = (pipeline.instrument.clone(), pipeline.interval, set);
            wanted.entry(product_id(&pipeline.instrument)).or_default().insert(whose);
        }
        Ok(Self { topic: topics.feature, partitions: topics.partitions, wanted })
    }

    /// The row of a record, where one of the pipelines made it.
    fn row(&self, record: &Record) -> Option<FeatureRecord> {
        // The key of a latest row has the product in front.
        let product = record.key.split(|byte| *byte == b' ').next()?;
        let wanted = self.wanted.get(std::str::from_utf8(product).ok()?)?;
        let found = decode_features(&record.value).ok()?;
        let row = &found.row;
        let whose = (row.instrument.clone(), row.interval, row.feature_set);
        wanted.contains(&whose).then_some(found)
    }

    /// Fills the view. Where rows may be made by others, by partition the offset of `feature` to
    /// follow them from.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn fill(
        &self,
        log: &dyn Log,
        latest: Option<&TopicName>,
        view: &View,
    ) -> Result<Vec<u64>, LogError> {
        let mut from = Vec::new();
        let Some(latest) = latest else {
            for partition in 0..self.partitions {
                self.recall(log, partition, view).await?;
            }
            return Ok(from);
        };
        for partition in 0..self.partitions {
            from.push(log.bounds(&self.topic, partition).await?.end);
        }
        for partition in 0..self.partitions {
            let mut last = BTreeMap::new();
            each(log, latest, partition, 0, |stored| {
                // What is compacted has more than the last record of a key for a while.
                last.insert(stored.record.key.clone(), stored.record.clone());
                ControlFlow::Continue(())
            })
            .await?;
            last.values().filter_map(|record| self.row(record)).for_each(|row| view.take(row));
        }
        Ok(from)
    }

    /// Shows the newest rows of a partition, as many as the view may hold.
    async fn recall(&self, log: &dyn Log, partition: u32, view: &View) -> Result<(), LogError> {
        let here = |product: &str| partition_of(product.as_bytes(), self.partitions) == partition;
        let own = self.wanted.iter().filter(|(product, _)| here(product));
        let lanes: usize = own.map(|(_, whose)| whose.len()).sum();
        if lanes == 0 {
            return Ok(());
        }
        let bounds = log.bounds(&self.topic, partition).await?;
        // Lanes share the partition, and rows have versions.
        let back = 2 * (view.limit() * lanes) as u64;
        let from = bounds.end.saturating_sub(back).max(bounds.start);
        each(log, &self.topic, partition, from, |stored| {
            self.row(&stored.record).into_iter().for_each(|row| view.take(row));
            ControlFlow::Continue(())
        })
        .await
    }

    /// Shows and tells what is written from these offsets on, by partition, until `stop` is true.
    ///
    /// It looks now and then and never waits in a read: readers share a connection, and a
    /// cluster answers the requests of one after the other.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn follow(
        self,
        log: Arc<dyn Log>,
        mut from: Vec<u64>,
        heard: Heard,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), PlatformError> {
        loop {
            for (partition, at) in (0u32..).zip(&mut from) {
                let records =
                    log.read(&self.topic, partition, *at, AT_ONCE, Duration::ZERO).await?;
                for stored in records {
                    *at = stored.offset + 1;
                    if let Some(found) = self.row(&stored.record) {
                        heard.row(found);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }
}
