//! From the venues' sockets into the log, and nothing else: whoever is slow grows its lag.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foretell_market::{Arrival, Clock, FeedEvent, Instrument};
use foretell_source::live::{FeedItem, FeedSpec, FeedTally, LiveSettings, Mark, follow};
use foretell_stream::codec::{Encoding, Instruments, decode_arrival, encode_arrival, product_id};
use foretell_stream::{Log, LogError, Record, Topics, partition_of};
use tokio::sync::{mpsc, watch};

use super::read::each;
use super::status::RiverStatus;
use crate::error::PlatformError;
use crate::telling::Told;

/// Items that wait between a socket and the log.
const WAITING: usize = 4_096;
/// Items that are stored at once.
const AT_ONCE: usize = 1_024;
/// How long a log that takes nothing is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Offsets of the log's end that are looked at first to find where a feed left off.
const TAIL: u64 = 20_000;

/// What ingest needs.
pub(super) struct Ingest {
    pub(super) log: Arc<dyn Log>,
    pub(super) topics: Topics,
    pub(super) encoding: Encoding,
    pub(super) settings: LiveSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: Arc<RiverStatus>,
    pub(super) tell: Arc<dyn Fn(Told) + Send + Sync>,
}

impl Ingest {
    /// Follows one feed until `stop` is true: what came by then is stored.
    ///
    /// # Errors
    /// When there is nothing to follow, or the log fails. A full log is waited for.
    pub(super) async fn run(
        &self,
        mut spec: FeedSpec,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), PlatformError> {
        spec.after = self.marks(&spec.instruments).await?;
        let venue = venue_name(&spec);
        let tally: FeedTally = self.status.feed(venue);
        let (sender, mut items) = mpsc::channel(WAITING);
        let (settings, clock) = (self.settings.clone(), Arc::clone(&self.clock));
        let following =
            tokio::spawn(async move { follow(&spec, &settings, &*clock, &tally, sender).await });
        let mut batch = Vec::with_capacity(AT_ONCE);
        if *stop.borrow_and_update() {
            items.close();
        }
        loop {
            let count = tokio::select! {
                count = items.recv_many(&mut batch, AT_ONCE) => count,
                // Dropped senders stop it too.
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        // What has come is stored; then the feed finds nobody listening.
                        items.close();
                    }
                    continue;
                }
            };
            if count == 0 {
                break;
            }
            self.store(&mut batch, &mut stop).await?;
        }
        let ended = following.await.map_err(|e| PlatformError::Remote(format!("the feed: {e}")))?;
        Ok(ended?)
    }

    /// Where each instrument's trades in the log end: the feed goes on behind them.
    async fn marks(
        &self,
        instruments: &[Instrument],
    ) -> Result<BTreeMap<Instrument, Mark>, PlatformError> {
        let mut marks: BTreeMap<Instrument, Mark> = BTreeMap::new();
        let mut names = Instruments::default();
        for partition in 0..self.topics.partitions {
            let here = |i: &&Instrument| {
                partition_of(product_id(i).as_bytes(), self.topics.partitions) == partition
            };
            let wanted: Vec<&Instrument> = instruments.iter().filter(here).collect();
            let bounds = self.log.bounds(&self.topics.trade, partition).await?;
            let mut end = bounds.end;
            while end > bounds.start && wanted.iter().any(|i| !marks.contains_key(*i)) {
                let from = end.saturating_sub(TAIL).max(bounds.start);
                each(&*self.log, &self.topics.trade, partition, from, |stored| {
                    if stored.offset >= end {
                        return ControlFlow::Break(());
                    }
                    let Record { value, time, .. } = &stored.record;
                    match decode_arrival(value, *time, i64::MAX / 4, &mut names) {
                        Ok(Arrival { event: FeedEvent::Trade(trade), .. }) => {
                            if let Some(id) = trade.id {
                                let mark = Mark { id, time: trade.time };
                                let known = marks.entry(trade.instrument).or_insert(mark);
                                if id > known.id {
                                    *known = mark;
                                }
                            }
                        }
                        Ok(Arrival { event: FeedEvent::Renumbered { instrument, .. }, .. }) => {
                            marks.remove(&instrument);
                        }
                        _ => {}
                    }
                    ControlFlow::Continue(())
                })
                .await?;
                end = from;
            }
        }
        marks.retain(|instrument, _| instruments.contains(instrument));
        Ok(marks)
    }

    async fn store(
        &self,
        batch: &mut Vec<FeedItem>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), PlatformError> {
        let mut by_partition: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        let mut buffer = Vec::new();
        for item in batch.drain(..) {
            let arrival = match item {
                FeedItem::Arrival(arrival) => arrival,
                FeedItem::Finding(finding) => {
                    tracing::warn!(target: "foretell::feed", "{finding}");
                    self.status.found(finding);
                    continue;
                }
            };
            if let FeedEvent::Gap { instrument, from, to, reason } = &arrival.event {
                let (from, to, reason) = (*from, *to, reason.clone());
                (self.tell)(Told::Gap { instrument: instrument.clone(), from, to, reason });
            }
            let key = Bytes::from(product_id(arrival.event.instrument()));
            buffer.clear();
            encode_arrival(&arrival, self.encoding, &mut buffer);
            let value = Bytes::copy_from_slice(&buffer);
            let partition = partition_of(&key, self.topics.partitions);
            let records = by_partition.entry(partition).or_default();
            records.push(Record { key, value, time: arrival.at });
        }
        for (partition, records) in by_partition {
            self.append(partition, records, stop).await?;
        }
        Ok(())
    }

    /// Appends; at the disk budget nothing is dropped: the feed waits, and what it misses is
    /// fetched or declared a gap when there is room again.
    async fn append(
        &self,
        partition: u32,
        records: Vec<Record>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), PlatformError> {
        let count = records.len();
        loop {
            match self.log.append(&self.topics.trade, partition, records.clone()).await {
                Ok(_) => {
                    if self.status.set_full(false) {
                        tracing::warn!("the log has room again: trades are taken in");
                    }
                    self.status.appended(count);
                    return Ok(());
                }
                Err(error @ LogError::Full { .. }) => {
                    if !self.status.set_full(true) {
                        tracing::error!(%error, "no trade is taken in");
                    }
                    if *stop.borrow_and_update() {
                        return Err(error.into());
                    }
                    let _ = tokio::time::timeout(PAUSE, stop.changed()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn venue_name(spec: &FeedSpec) -> &'static str {
    use foretell_source::live::Venue;
    match spec.venue {
        Venue::Kraken(_) => "kraken",
        Venue::Binance(_) => "binance",
        Venue::Coinbase(_) => "coinbase",
    }
}
