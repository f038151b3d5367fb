//! The online view: the latest rows of every instrument, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foretell_feature::FeatureRow;
use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};

use crate::rows::FeatureRecord;

type Key = (Instrument, Interval);

/// The versions of the latest rows of one feature set, by decision time and version.
type Rows = BTreeMap<(Timestamp, u32), Arc<FeatureRow>>;

/// The rows of an instrument and interval: of one set, or of as many as there are pipelines.
type Lanes = BTreeMap<Fingerprint, Rows>;

/// Answers "the latest row of X" and "the row of X as of t" from what was committed.
///
/// It keeps a number of rows per instrument, interval and feature set; what is older is in the
/// lake.
#[derive(Debug)]
pub struct View {
    rows: usize,
    lanes: RwLock<HashMap<Key, Lanes>>,
    /// How many rows all lanes have together.
    kept: AtomicUsize,
    /// The names of columns, each list once: they are longer than the values.
    names: Mutex<Vec<Arc<[String]>>>,
}

/// Which row is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose.
    pub instrument: &'a Instrument,
    /// The step of its grid; without it the shortest that has a row.
    pub interval: Option<Interval>,
    /// Of one feature set; without it the row of the newest decision, whatever its set.
    pub set: Option<Fingerprint>,
    /// As of when it was known (UTC).
    pub at: Timestamp,
}

/// How many lists of names are known; rows of more keep their own.
const LISTS: usize = 64;

/// The newest row of a set that was known at an instant, with its version.
fn newest(rows: &Rows, at: Timestamp) -> Option<(u32, &Arc<FeatureRow>)> {
    let ((_, version), row) = rows.iter().rev().find(|(_, row)| row.known_at <= at)?;
    Some((*version, row))
}

/// Of all sets that of the newest decision.
fn newest_of(
    lanes: &Lanes,
    set: Option<Fingerprint>,
    at: Timestamp,
) -> Option<(u32, &Arc<FeatureRow>)> {
    match set {
        Some(set) => newest(lanes.get(&set)?, at),
        None => {
            let found = lanes.values().filter_map(|rows| newest(rows, at));
            found.max_by_key(|(_, row)| row.as_of)
        }
    }
}

impl View {
    /// A view of `rows` row versions per instrument, interval and feature set.
    pub fn new(rows: usize) -> Self {
        Self {
            rows: rows.max(1),
            lanes: RwLock::default(),
            kept: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }

    /// How many row versions each instrument, interval and feature set may have.
    pub fn limit(&self) -> usize {
        self.rows
    }

    /// How many row versions are in memory, of all instruments.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether no row is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a committed row. One that it has already changes nothing.
    pub fn take(&self, record: FeatureRecord) {
        let FeatureRecord { version, mut row, .. } = record;
        row.names = self.shared(row.names);
        row.context_names = self.shared(row.context_names);
        let key = (row.instrument.clone(), row.interval);
        let mut all = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lane = all.entry(key).or_default().entry(row.feature_set).or_default();
        let before = lane.len();
        lane.insert((row.as_of, version), Arc::new(row));
        while lane.len() > self.rows {
            lane.pop_first();
        }
        self.kept.fetch_add(lane.len() - before, Ordering::Relaxed);
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
        let lanes = lanes.get(&(instrument.clone(), interval))?;
        newest_of(lanes, None, at).map(|(_, row)| Arc::clone(row))
    }

    /// The row that is asked for, with its version; `None` as of [`View::as_of()`].
    pub fn record(&self, wanted: Wanted<'_>) -> Option<FeatureRecord> {
        let Wanted { instrument, interval, set, at } = wanted;
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let found = |interval: Interval| {
            let lanes = lanes.get(&(instrument.clone(), interval))?;
            newest_of(lanes, set, at).map(|(version, row)| (version, Arc::clone(row)))
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

    /// [`View::record()`] of whatever set.
    pub fn record_as_of(
        &self,
        instrument: &Instrument,
        interval: Option<Interval>,
        at: Timestamp,
    ) -> Option<FeatureRecord> {
        self.record(Wanted { instrument, interval, set: None, at })
    }
}
