//! What a feed has counted so far, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters that a feed and whoever watches it share.
#[derive(Debug, Clone, Default)]
pub struct FeedTally(Arc<Counters>);

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages: AtomicU64,
    pub(super) trades: AtomicU64,
    pub(super) backfilled: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) heartbeats: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) repaired: AtomicU64,
    pub(super) renumbered: AtomicU64,
    pub(super) findings: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) let_go: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FeedCounts {
    /// Messages read from sockets.
    pub messages: u64,
    /// Trades handed on, the back-filled ones included.
    pub trades: u64,
    /// Trades handed on that were fetched after the fact.
    pub backfilled: u64,
    /// Trades that had been handed on already and were dropped.
    pub duplicates: u64,
    /// Heartbeats handed on.
    pub heartbeats: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Holes closed by back-filling.
    pub repaired: u64,
    /// New numberings of a venue.
    pub renumbered: u64,
    /// Findings handed on.
    pub findings: u64,
    /// Connections made.
    pub connections: u64,
    /// Repairs asked for over HTTP.
    pub requests: u64,
    /// Trades let go because too many were held back; they are fetched again.
    pub let_go: u64,
}

impl FeedTally {
    /// The counters now.
    pub fn counts(&self) -> FeedCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = &self.0;
        FeedCounts {
            messages: read(&all.messages),
            trades: read(&all.trades),
            backfilled: read(&all.backfilled),
            duplicates: read(&all.duplicates),
            heartbeats: read(&all.heartbeats),
            gaps: read(&all.gaps),
            repaired: read(&all.repaired),
            renumbered: read(&all.renumbered),
            findings: read(&all.findings),
            connections: read(&all.connections),
            requests: read(&all.requests),
            let_go: read(&all.let_go),
        }
    }

    pub(super) fn add(&self, counter: impl Fn(&Counters) -> &AtomicU64, by: u64) {
        counter(&self.0).fetch_add(by, Ordering::Relaxed);
    }
}
