//! The online view: the latest rows of every instrument, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foretell_feature::FeatureRow;
use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};

use crate::rows::FeatureRecord;

type Key = (Instrument, Interval);

/// The versions of an instrument's latest rows, by decision time, feature set and version.
type Rows = BTreeMap<(Timestamp, Fingerprint, u32), Arc<FeatureRow>>;

/// Answers "the latest row of X" and "the row of X as of t" from what was committed.
///
/// It keeps a number of rows per instrument and interval; what is older is in the lake.
#[derive(Debug)]
pub struct View {
    rows: usize,
    lanes: RwLock<HashMap<Key, Rows>>,
    /// The names of columns, each list once: they are longer than the values.
    names: Mutex<Vec<Arc<[String]>>>,
}

/// How many lists of names are known; rows of more keep their own.
const LISTS: usize = 64;

impl View {
    /// A view of `rows` row versions per instrument and interval.
    pub fn new(rows: usize) -> Self {
        Self { rows: rows.max(1), lanes: RwLock::default(), names: Mutex::default() }
    }

    /// Takes a committed row. One that it has already changes nothing.
    pub fn take(&self, record: FeatureRecord) {
        let FeatureRecord { version, mut row, .. } = record;
        row.names = self.shared(row.names);
        row.context_names = self.shared(row.context_names);
        let key = (row.instrument.clone(), row.interval);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(key).or_default();
        lane.insert((row.as_of, row.feature_set, version), Arc::new(row));
        while lane.len() > self.rows {
            lane.pop_first();
        }
    }

    /// A list of names that other rows have too.
    fn shared(&self, names: Arc<[String]>) -> Arc<[String]> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|list| **list == names) {
            return Arc::clone(same);
        }
        if known.len() < LISTS {
            known.push(Arc::clone(&names));
        }
        names
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
        let row = self.as_of(instrument, interval, now)?;
        ttl.is_none_or(|s| row.as_of >= now.plus_secs(-s)).then_some(row)
    }

    /// The newest row that was known at an instant, in the version that was known then. `None`
    /// says that no such row is in memory, not that there is none: the lake may have it.
    pub fn as_of(
        &self,
        instrument: &Instrument,
        interval: Interval,
        at: Timestamp,
    ) -> Option<Arc<FeatureRow>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.get(&(instrument.clone(), interval))?;
        lane.values().rev().find(|row| row.known_at <= at).map(Arc::clone)
    }

    /// [`View::as_of()`] with the version of the row; without an interval of the shortest
    /// that has one.
    pub fn record_as_of(
        &self,
        instrument: &Instrument,
        interval: Option<Interval>,
        at: Timestamp,
    ) -> Option<FeatureRecord> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let found = |interval: Interval| {
            let lane = lanes.get(&(instrument.clone(), interval))?;
            let ((_, _, version), row) = lane.iter().rev().find(|(_, row)| row.known_at <= at)?;
            Some((*version, Arc::clone(row)))
        };
        let (version, row) = match interval {
            Some(interval) => found(interval)?,
            None => {
                let own = lanes.keys().filter(|(name, _)| name == instrument);
                let mut intervals: Vec<Interval> = own.map(|(_, interval)| *interval).collect();
                intervals.sort_unstable();
                intervals.into_iter().find_map(found)?
            }
        };
        drop(lanes);
        Some(FeatureRecord { hash: row.hash(), version, row: FeatureRow::clone(&row) })
    }
}
