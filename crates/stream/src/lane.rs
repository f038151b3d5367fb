//! The rows of one instrument: the newest state, and an older one to go back to.
//!
//! A correction cannot be taken back out of a recursive feature, so a lane goes back to a
//! state that nothing can correct any more and feeds the candles behind it again. That state
//! is a copy of the newest one that was taken some candles ago; it moves on every
//! [`EVERY`] candles. In between, only the candles behind it are saved, which are small.
//!
//! When it moves depends on when the lane was saved; what is written does not: which
//! corrections still count is a matter of the candles' times alone.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foretell_feature::{FeatureRow, RowState, RowStepper};
use foretell_market::{CandleVersion, Fingerprint, Instrument, RowFlags, Timestamp};
use foretell_panel::RowMeta;
use serde::{Deserialize, Serialize};

use crate::operator::StreamError;
use crate::rows::FeatureRecord;
use crate::saved;

/// How many candles are fed again at most, beyond those that may still be corrected: a state
/// is some fifteen candles long.
const EVERY: usize = 16;

/// What the keys of a lane's two parts begin with.
const STATE: u8 = b's';
const TAIL: u8 = b't';

/// Feeds candles to the states of lanes.
#[derive(Debug)]
pub(crate) struct Candles {
    stepper: RowStepper,
    /// How each column that the stepper reads is read from a candle.
    columns: Vec<fn(&CandleVersion) -> f64>,
    values: Vec<f64>,
    /// For how long after its close a candle may still be corrected, microseconds.
    allowed: i64,
}

/// A row that may still be corrected, as it was published last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Published {
    /// The open time of its candle.
    time: Timestamp,
    version: u32,
    hash: Fingerprint,
}

/// What a lane has behind its older state.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    /// The candles behind the older state, by open time.
    candles: VecDeque<CandleVersion>,
    /// Their rows, as far as they may still be corrected.
    published: VecDeque<Published>,
    /// The open time of the last candle that nothing can correct any more.
    settled: Option<Timestamp>,
    /// Corrections of one arrival, of which more may come.
    waiting: Vec<CandleVersion>,
    /// Records went before they were read: candles are tainted up to the first one that opens
    /// then or later, which is behind the hole.
    doubt: Option<Timestamp>,
    /// The last candle that was tainted so, by open time: corrections up to it are too.
    doubted_to: Option<Timestamp>,
}

/// The rows of one instrument.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Up to a candle that nothing can correct any more.
    older: RowState,
    tail: Tail,
    /// Up to a later one: it becomes the older state when its candles are settled.
    middle: Option<RowState>,
    /// Up to the newest candle; made again when it is not there.
    newest: Option<RowState>,
    older_changed: bool,
    tail_changed: bool,
}

impl Candles {
    pub(crate) fn new(
        stepper: RowStepper,
        columns: Vec<fn(&CandleVersion) -> f64>,
        allowed: i64,
    ) -> Self {
        Self { values: vec![f64::NAN; columns.len()], stepper, columns, allowed }
    }

    /// The state before the first candle of an instrument.
    pub(crate) fn origin(&self, instrument: Instrument) -> RowState {
        self.stepper.origin(instrument)
    }

    pub(crate) fn allowed(&self) -> i64 {
        self.allowed
    }

    fn read(&mut self, version: &CandleVersion) -> RowMeta {
        for (value, column) in self.values.iter_mut().zip(&self.columns) {
            *value = column(version);
        }
        RowMeta {
            time: version.candle.open_time,
            known_at: version.known_at,
            ingested_at: version.known_at,
            flags: version.flags,
        }
    }

    fn feed(&mut self, state: &mut RowState, version: &CandleVersion) -> Result<(), StreamError> {
        let row = self.read(version);
        Ok(self.stepper.feed(state, row, &self.values)?)
    }

    /// The row of a candle's close; one that is not complete yet is none.
    fn row(
        &mut self,
        state: &mut RowState,
        version: &CandleVersion,
    ) -> Result<Option<FeatureRow>, StreamError> {
        let row = self.read(version);
        Ok(self.stepper.push(state, row, &self.values)?.ok())
    }

    /// The lanes of a saved state.
    pub(crate) fn restore(
        &self,
        state: &[(Bytes, Bytes)],
    ) -> Result<HashMap<Bytes, Lane>, StreamError> {
        let damaged = |key: &Bytes, reason: &str| StreamError::State {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.to_owned(),
        };
        let mut lanes = HashMap::new();
        for (key, value) in state.iter().filter(|(key, _)| key.first() == Some(&STATE)) {
            let older: RowState = saved::restore(key, value)?;
            self.stepper.check(&older).map_err(|e| damaged(key, &e.to_string()))?;
            lanes.insert(key.slice(1..), Lane::new(older));
        }
        for (key, value) in state.iter().filter(|(key, _)| key.first() != Some(&STATE)) {
            let lane = match key.first() {
                Some(&TAIL) => lanes.get_mut(&key[1..]),
                _ => return Err(damaged(key, "it is of another version")),
            };
            let lane = lane.ok_or_else(|| damaged(key, "the state before it is missing"))?;
            lane.tail = saved::restore(key, value)?;
            lane.newest = None;
        }
        Ok(lanes)
    }

    /// The parts of lanes that changed since they were saved last.
    pub(crate) fn save(&self, lanes: &mut HashMap<Bytes, Lane>) -> Vec<(Bytes, Option<Bytes>)> {
        let mut out = Vec::new();
        for (key, lane) in lanes {
            lane.shorten();
            let mut part = |mark: u8, value: Bytes| {
                out.push(([&[mark], &key[..]].concat().into(), Some(value)));
            };
            if std::mem::take(&mut lane.older_changed) {
                part(STATE, saved::save(&lane.older));
            }
            if std::mem::take(&mut lane.tail_changed) {
                part(TAIL, saved::save(&lane.tail));
            }
        }
        out
    }
}

impl Lane {
    /// Without a candle behind a state.
    pub(crate) fn new(state: RowState) -> Self {
        Self {
            newest: Some(state.clone()),
            older: state,
            tail: Tail::default(),
            middle: None,
            older_changed: true,
            tail_changed: true,
        }
    }

    /// The open time of the newest candle.
    pub(crate) fn through(&self) -> Option<Timestamp> {
        self.tail.candles.back().map(|v| v.candle.open_time).or(self.older.through())
    }

    /// Whether a candle is behind all others.
    pub(crate) fn is_next(&self, version: &CandleVersion) -> bool {
        self.through().is_none_or(|through| through < version.candle.open_time)
    }

    /// When the corrections that wait became known, where some do.
    pub(crate) fn waits_since(&self) -> Option<Timestamp> {
        self.tail.waiting.first().map(|v| v.known_at)
    }

    /// Records went before they were read, the first one behind them was written before `end`.
    /// Corrections may have been among them: the candles that could still have one wait as
    /// tainted ones, known at `known_at`. So are those that come next.
    pub(crate) fn lose(&mut self, known_at: Timestamp, end: Timestamp) {
        let settled = self.tail.settled;
        let open = |v: &&CandleVersion| {
            Some(v.candle.open_time) > settled
                && !v.flags.contains(RowFlags::TAINTED)
                && !v.flags.contains(RowFlags::BACKFILLED)
        };
        let tainted = self.tail.candles.iter().filter(open).map(|version| CandleVersion {
            flags: version.flags | RowFlags::TAINTED,
            known_at: version.known_at.max(known_at),
            ..*version
        });
        self.tail.waiting.extend(tainted);
        self.tail.doubt = self.tail.doubt.max(Some(end));
        self.tail_changed = true;
    }

    /// A candle that comes, tainted where it follows on records that went unread.
    pub(crate) fn doubted(&mut self, mut version: CandleVersion) -> CandleVersion {
        let open_time = version.candle.open_time;
        if version.flags.contains(RowFlags::BACKFILLED) {
            return version;
        }
        if let Some(end) = self.tail.doubt {
            version.flags |= RowFlags::TAINTED;
            if open_time >= end && self.is_next(&version) {
                (self.tail.doubt, self.tail.doubted_to) = (None, Some(open_time));
                self.tail_changed = true;
            }
        } else if Some(open_time) <= self.tail.doubted_to {
            version.flags |= RowFlags::TAINTED;
        }
        version
    }

    /// Lets a candle wait for others of its arrival.
    pub(crate) fn wait(&mut self, version: CandleVersion) {
        self.tail.waiting.push(version);
        self.tail_changed = true;
    }

    /// Adds the row of a candle behind all others.
    pub(crate) fn extend(
        &mut self,
        candles: &mut Candles,
        version: &CandleVersion,
        rows: &mut Vec<FeatureRecord>,
    ) -> Result<(), StreamError> {
        let mut newest = match self.newest.take() {
            Some(newest) => newest,
            None => self.again(candles)?,
        };
        // Candles of the past fill windows; their rows are no news.
        let row = if version.flags.contains(RowFlags::BACKFILLED) {
            candles.feed(&mut newest, version)?;
            None
        } else {
            candles.row(&mut newest, version)?
        };
        self.newest = Some(newest);
        self.tail.candles.push_back(*version);
        self.tail_changed = true;
        if let Some(row) = row {
            self.publish(version.candle.open_time, row, rows);
        }
        self.settle(candles.allowed);
        Ok(())
    }

    /// Takes the candles that wait, and adds the rows that they change: their own and all
    /// behind them. Returns the candles that came too late.
    pub(crate) fn correct(
        &mut self,
        candles: &mut Candles,
        rows: &mut Vec<FeatureRecord>,
    ) -> Result<Vec<CandleVersion>, StreamError> {
        let mut late = Vec::new();
        let mut from = None;
        for version in std::mem::take(&mut self.tail.waiting) {
            let time = version.candle.open_time;
            if self.tail.settled.is_some_and(|settled| time <= settled) {
                late.push(version);
                continue;
            }
            match self.tail.candles.binary_search_by_key(&time, |v| v.candle.open_time) {
                Ok(at) => self.tail.candles[at] = version,
                Err(at) => self.tail.candles.insert(at, version),
            }
            from = Some(from.map_or(time, |from: Timestamp| from.min(time)));
        }
        self.tail_changed = true;
        let Some(from) = from else { return Ok(late) };
        if self.middle.as_ref().is_some_and(|middle| middle.through() >= Some(from)) {
            self.middle = None;
        }
        let mut newest = self.middle.as_ref().unwrap_or(&self.older).clone();
        let behind = newest.through();
        for at in 0..self.tail.candles.len() {
            let version = self.tail.candles[at];
            let time = version.candle.open_time;
            if behind.is_some_and(|behind| time <= behind) {
                continue;
            }
            if time < from {
                candles.feed(&mut newest, &version)?;
            } else if let Some(row) = candles.row(&mut newest, &version)? {
                self.publish(time, row, rows);
            }
        }
        self.newest = Some(newest);
        self.settle(candles.allowed);
        Ok(late)
    }

    /// Adds a row with its version, unless it was published just so.
    fn publish(&mut self, time: Timestamp, row: FeatureRow, rows: &mut Vec<FeatureRecord>) {
        let hash = row.hash();
        let published = &mut self.tail.published;
        let version = match published.binary_search_by_key(&time, |p| p.time) {
            Ok(at) if published[at].hash == hash => return,
            Ok(at) => {
                let known = &mut published[at];
                (known.version, known.hash) = (known.version + 1, hash);
                known.version
            }
            Err(at) => {
                published.insert(at, Published { time, version: 1, hash });
                1
            }
        };
        rows.push(FeatureRecord { hash, version, row });
    }

    /// Where the older state is to be saved and the newest is as safe, that one is: the
    /// candles between them need not be saved.
    fn shorten(&mut self) {
        let safe = |newest: &&RowState| newest.through() <= self.tail.settled;
        if self.older_changed
            && self.tail.waiting.is_empty()
            && let Some(newest) = self.newest.as_ref().filter(safe)
        {
            self.older.clone_from(newest);
            self.middle = None;
            self.tail.candles.clear();
        }
    }

    /// The newest state, from the older one.
    fn again(&self, candles: &mut Candles) -> Result<RowState, StreamError> {
        let mut newest = self.older.clone();
        for version in &self.tail.candles {
            candles.feed(&mut newest, version)?;
        }
        Ok(newest)
    }

    /// Finds out what nothing can correct any more, and moves the older state on.
    fn settle(&mut self, allowed: i64) {
        let Some(newest) = self.through() else { return };
        // A window takes trades until event time is past its end by the allowed lateness;
        // event time is at least at the newest window's end.
        let limit = Timestamp::from_micros(newest.micros().saturating_sub(allowed));
        let tail = &mut self.tail;
        let done = tail.candles.partition_point(|v| v.candle.open_time <= limit);
        if let Some(last) = done.checked_sub(1).map(|at| tail.candles[at].candle.open_time) {
            tail.settled = tail.settled.max(Some(last));
        }
        let settled = tail.settled;
        let behind = tail.published.partition_point(|p| Some(p.time) <= settled);
        tail.published.drain(..behind);

        if self.middle.is_none() && tail.candles.len() >= EVERY {
            self.middle.clone_from(&self.newest);
        }
        if let Some(middle) = self.middle.take_if(|middle| middle.through() <= settled) {
            let behind = middle.through();
            let done = tail.candles.partition_point(|v| Some(v.candle.open_time) <= behind);
            tail.candles.drain(..done);
            (self.older, self.older_changed) = (middle, true);
        }
    }
}
