//! The online view: the latest rows of every instrument, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use foretell_feature::FeatureRow;
use foretell_market::{Instrument, Interval, Timestamp};

use crate::rows::FeatureRecord;

type Key = (Instrument, Interval);

/// The versions of an instrument's latest rows, by decision time and version.
type Rows = BTreeMap<(Timestamp, u32), Arc<FeatureRow>>;

/// Answers "the latest row of X" and "the row of X as of t" from what was committed.
///
/// It keeps a number of rows per instrument and interval; what is older is in the lake.
#[derive(Debug)]
pub struct View {
    rows: usize,
    lanes: RwLock<HashMap<Key, Rows>>,
}

/// What a view knows about an instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// The row.
    Row(Arc<FeatureRow>),
    /// The instant is before the rows that are kept: the lake may have it.
    Older,
    /// No row was known then.
    Nothing,
}

impl View {
    /// A view of `rows` row versions per instrument and interval.
    pub fn new(rows: usize) -> Self {
        Self { rows: rows.max(1), lanes: RwLock::default() }
    }

    /// Takes a committed row. One that it has already changes nothing.
    pub fn take(&self, record: FeatureRecord) {
        let FeatureRecord { version, row, .. } = record;
        let key = (row.instrument.clone(), row.interval);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(key).or_default();
        lane.insert((row.as_of, version), Arc::new(row));
        while lane.len() > self.rows {
            lane.pop_first();
        }
    }

    /// The newest row of an instrument, no older than `ttl` seconds at `now` where that is
    /// given: the same rule as of a read from the lake.
    pub fn latest(
        &self,
        instrument: &Instrument,
        interval: Interval,
        now: Timestamp,
        ttl: Option<i64>,
    ) -> Option<Arc<FeatureRow>> {
        match self.as_of(instrument, interval, now) {
            Seen::Row(row) if ttl.is_none_or(|s| row.as_of >= now.plus_secs(-s)) => Some(row),
            _ => None,
        }
    }

    /// The newest row that was known at an instant, in the version that was known then.
    pub fn as_of(&self, instrument: &Instrument, interval: Interval, at: Timestamp) -> Seen {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get(&(instrument.clone(), interval)) else { return Seen::Nothing };
        if let Some(row) = lane.values().rev().find(|row| row.known_at <= at) {
            return Seen::Row(Arc::clone(row));
        }
        if lane.len() >= self.rows { Seen::Older } else { Seen::Nothing }
    }
}
