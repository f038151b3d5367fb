//! Versions of rows on two clocks, and what was known of them at an instant.
//!
//! A row is keyed by its event time; each of its versions by when it was known and when
//! it was taken in. Versions are only ever added ([`additions`]), so that what was known
//! at an instant ([`as_known`]) stays what it was whatever comes later. [`Vintages`] cuts
//! the decisions of a history into spans in which nothing already known changed.
//!
//! Source: Snodgrass, *Developing Time-Oriented Database Applications in SQL* (1999),
//! ch. 8 (valid and transaction time); Croushore & Stark, "A real-time data set for
//! macroeconomists", *Journal of Econometrics* 105 (2001) (vintages).

use std::collections::BTreeSet;
use std::ops::Range;

use foretell_market::{RowFlags, Timestamp};

use crate::RowMeta;

/// An instant on both clocks: the world's and the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAt {
    /// Versions known later are not seen.
    pub known_by: Timestamp,
    /// Versions taken in later are not seen.
    pub taken_in_by: Timestamp,
}

impl KnownAt {
    /// Everything there is.
    pub const EVER: KnownAt = KnownAt { known_by: Timestamp::MAX, taken_in_by: Timestamp::MAX };

    /// What a reader of the store saw at an instant.
    pub const fn instant(at: Timestamp) -> Self {
        Self { known_by: at, taken_in_by: at }
    }

    fn sees(self, row: &RowMeta) -> bool {
        row.known_at <= self.known_by && row.ingested_at <= self.taken_in_by
    }
}

/// The rows that hold the latest version known at an instant of every event time, in the
/// order they have. Retracted rows are gone; rows that share time, known-at and ingest
/// are one version and stay together, so that a gate can judge the duplicates.
pub fn as_known(rows: &[RowMeta], at: KnownAt) -> Vec<usize> {
    Vintages::new(rows, at).latest()
}

/// One version of one event time.
#[derive(Debug, Clone)]
struct Version {
    /// Times and marks that its rows share.
    meta: RowMeta,
    /// Its rows: places in [`Vintages::order`].
    rows: Range<usize>,
}

impl Version {
    fn is_retracted(&self) -> bool {
        self.meta.flags.contains(RowFlags::RETRACTED)
    }

    /// Whether it was set right by hand.
    fn is_mended(&self) -> bool {
        self.meta.flags.contains(RowFlags::MENDED)
    }

    /// Whether its known-at was declared and not observed.
    fn is_declared(&self) -> bool {
        self.meta.flags.contains(RowFlags::BACKFILLED)
    }
}

/// A span of decisions `[from, to)` and what they could see: versions of a row after its
/// first that were known by `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vintage {
    /// First decision instant (UTC), and the last instant at which a correction that the
    /// span applies was known.
    pub from: Timestamp,
    /// First decision instant after the span (UTC).
    pub to: Timestamp,
}

impl Vintage {
    /// Whether a decision taken at an instant belongs to the span.
    pub fn holds(&self, decided_at: Timestamp) -> bool {
        self.from <= decided_at && decided_at < self.to
    }
}

/// The versions of every event time that were known at an instant.
#[derive(Debug, Clone)]
pub struct Vintages {
    /// Indices of rows by (time, known-at, ingest, index).
    order: Vec<usize>,
    /// By (time, known-at); of versions with one known-at only that taken in last.
    versions: Vec<Version>,
    /// Per event time, in order: the time and its versions.
    times: Vec<(Timestamp, Range<usize>)>,
    /// Per event time: the latest decision instant up to it.
    decided_by: Vec<Timestamp>,
    /// When versions after the first of their event time were known, ascending.
    corrections: Vec<Timestamp>,
}

impl Vintages {
    /// Sorts rows in any order into versions, as known at an instant.
    pub fn new(rows: &[RowMeta], at: KnownAt) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).filter(|&i| at.sees(&rows[i])).collect();
        let key = |i: &usize| (rows[*i].time, rows[*i].known_at, rows[*i].ingested_at);
        if !order.is_sorted_by(|a, b| key(a) <= key(b)) {
            order.sort_by_key(key);
        }
        let mut versions: Vec<Version> = Vec::new();
        let mut times: Vec<(Timestamp, Range<usize>)> = Vec::new();
        let mut next = 0;
        while next < order.len() {
            let (from, meta) = (next, rows[order[next]]);
            next += order[from..].iter().take_while(|i| key(i) == key(&order[from])).count();
            let version = Version { meta, rows: from..next };
            let same_time = times.last().is_some_and(|(time, _)| *time == meta.time);
            match versions.last_mut().filter(|_| same_time) {
                // What was stated again of the same instant replaces the statement.
                Some(before) if before.meta.known_at == meta.known_at => *before = version,
                _ => versions.push(version),
            }
            match times.last_mut().filter(|_| same_time) {
                Some((_, held)) => held.end = versions.len(),
                None => times.push((meta.time, versions.len() - 1..versions.len())),
            }
        }
        let mut decided_by = Vec::with_capacity(times.len());
        let mut corrections = BTreeSet::new();
        let mut latest = Timestamp::MIN;
        for (_, held) in &times {
            latest = latest.max(versions[held.start].meta.known_at);
            decided_by.push(latest);
            let later = &versions[held.start + 1..held.end];
            corrections.extend(later.iter().map(|v| v.meta.known_at));
        }
        let corrections = corrections.into_iter().collect();
        Self { order, versions, times, decided_by, corrections }
    }

    /// The rows of the latest version of every event time, retracted ones left out, in
    /// the order they have.
    pub fn latest(&self) -> Vec<usize> {
        self.rows_of(&Vintage { from: Timestamp::MAX, to: Timestamp::MAX })
    }

    /// When versions after the first of their row were known, ascending and distinct.
    /// Without any, one frame is as every decision saw it.
    pub fn corrections(&self) -> &[Timestamp] {
        &self.corrections
    }

    /// When the decision of the interval that starts at an event time was taken: the
    /// first instant at which its row was known.
    pub fn decided_at(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.times.binary_search_by_key(&time, |(time, _)| *time).ok()?;
        Some(self.versions[self.times[found].1.start].meta.known_at)
    }

    /// The event time, `from` or later, of the first decision that could use what was
    /// known at an instant.
    pub fn first_to_see(&self, from: Timestamp, known_at: Timestamp) -> Option<Timestamp> {
        let later = self.times.partition_point(|(time, _)| *time < from);
        let knowing = self.decided_by.partition_point(|decided| *decided < known_at);
        self.times.get(later.max(knowing)).map(|(time, _)| *time)
    }

    /// The spans of the decisions, in order: a new one begins where a correction became
    /// known before a decision. Of more than `most` the oldest are put together, seeing
    /// none of the corrections inside them; the second number says how many spans were.
    pub fn spans(&self, most: usize) -> (Vec<Vintage>, usize) {
        let decisions = self.times.iter().map(|(_, held)| self.versions[held.start].meta.known_at);
        let place = |decided: Timestamp| self.corrections.partition_point(|k| *k <= decided);
        let places: BTreeSet<usize> = decisions.map(place).collect();
        let instant = |place: usize| match place.checked_sub(1) {
            Some(before) => self.corrections[before],
            None => Timestamp::MIN,
        };
        let end = |place: usize| self.corrections.get(place).copied().unwrap_or(Timestamp::MAX);
        let span = |&place: &usize| Vintage { from: instant(place), to: end(place) };
        let mut spans: Vec<Vintage> = places.iter().map(span).collect();
        let most = most.max(1);
        let grouped = if spans.len() > most { spans.len() - most + 1 } else { 0 };
        if grouped > 0 {
            let to = spans[grouped - 1].to;
            spans.drain(1..grouped);
            spans[0].to = to;
        }
        (spans, grouped)
    }

    /// Whether a span sees what is known now.
    pub fn is_latest(&self, span: &Vintage) -> bool {
        self.corrections.last().is_none_or(|last| *last <= span.from)
    }

    /// The rows that decisions of a span could see: for every event time known before its
    /// end the latest version that was, retracted ones left out, in the order they have.
    pub fn rows_of(&self, span: &Vintage) -> Vec<usize> {
        let mut rows = Vec::with_capacity(self.order.len());
        for (_, held) in &self.times {
            let versions = &self.versions[held.clone()];
            if versions[0].meta.known_at >= span.to && span.to < Timestamp::MAX {
                continue;
            }
            let applied = versions[1..].partition_point(|v| v.meta.known_at <= span.from);
            let version = &versions[applied];
            if !version.is_retracted() {
                rows.extend(version.rows.clone().map(|place| self.order[place]));
            }
        }
        rows.sort_unstable();
        rows
    }

    /// The version of an event time that holds now, retracted or not.
    fn last_of(&self, time: Timestamp) -> Option<&Version> {
        let found = self.times.binary_search_by_key(&time, |(time, _)| *time).ok()?;
        self.versions.get(self.times[found].1.end - 1)
    }

    /// What the origin said last of an event time whose row was mended since: the rows of
    /// that version, none when it sent none or took them back.
    fn original(&self, rows: &[RowMeta], time: Timestamp) -> &[usize] {
        let from = self.order.partition_point(|&i| rows[i].time < time);
        let to = self.order.partition_point(|&i| rows[i].time <= time);
        let sent = |i: &usize| !rows[*i].flags.contains(RowFlags::MENDED);
        let of_time = &self.order[from..to];
        let Some(last) = of_time.iter().rposition(sent) else { return &[] };
        let key = |i: usize| (rows[i].known_at, rows[i].ingested_at);
        let same = of_time[..=last].iter().rev().take_while(|i| key(**i) == key(of_time[last]));
        let group = &of_time[last + 1 - same.count()..=last];
        if rows[group[0]].flags.contains(RowFlags::RETRACTED) { &[] } else { group }
    }
}

/// How rows come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// From a vendor that serves the present: a row that differs was corrected, and that
    /// is known from now on.
    Vendor,
    /// From a file: a row that differs was imported wrongly before, and its known-at stays
    /// the declared one.
    Import {
        /// Whether the file holds the whole history, so that an absent row is retracted.
        whole: bool,
    },
    /// From a person who set stored rows right: all rows of some event times as they
    /// should be. They hold, marked [`RowFlags::MENDED`], as long as the origin goes on
    /// sending what was mended; their known-at is that of an import.
    Mend,
}

/// What a new version holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The values of this row of those that arrived.
    Arrived(usize),
    /// Nothing: this stored row is gone from its origin.
    Retracted(usize),
}

/// A row to be added to a table of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// Its values.
    pub content: Content,
    /// Its times and marks.
    pub row: RowMeta,
}

/// The versions that arriving rows add to stored ones, in time order; equal rows add
/// nothing, nor do those that were mended since and come again as they were, and every
/// version comes after those of its event time that are stored. A mend retracts the stored
/// event times that it does not hold.
/// `equal` compares a stored row with an arriving one by their values. Everything is
/// taken in at `now`; what arrives observed is known from then on.
pub fn additions(
    stored: &[RowMeta],
    arriving: &[RowMeta],
    equal: impl Fn(usize, usize) -> bool,
    arrival: Arrival,
    now: Timestamp,
) -> Vec<Addition> {
    let before = Vintages::new(stored, KnownAt::EVER);
    let mut order: Vec<usize> = (0..arriving.len()).collect();
    order.sort_by_key(|&i| (arriving[i].time, arriving[i].known_at));
    let mut added = Vec::new();
    for rows in order.chunk_by(|a, b| arriving[*a].time == arriving[*b].time) {
        let Some(last) = before.last_of(arriving[rows[0]].time) else {
            let first = |&i: &usize| {
                let row = taken_in(arriving[i], arrival, now);
                Addition { content: Content::Arrived(i), row }
            };
            added.extend(rows.iter().map(first));
            continue;
        };
        // A table that states several versions of a row is judged by the last of them.
        let groups: Vec<&[usize]> = match arrival {
            Arrival::Vendor => vec![rows],
            Arrival::Import { .. } | Arrival::Mend => {
                rows.chunk_by(|a, b| arriving[*a].known_at == arriving[*b].known_at).collect()
            }
        };
        let held = &before.order[last.rows.clone()];
        let same = |group: &[usize]| !last.is_retracted() && same_rows(held, group, &equal);
        let mended = last.is_mended() && arrival != Arrival::Mend;
        let original = if mended { before.original(stored, last.meta.time) } else { &[] };
        let as_before = |group: &[usize]| mended && same_rows(original, group, &equal);
        if groups.last().is_some_and(|group| same(group) || as_before(group)) {
            continue;
        }
        for (k, group) in groups.iter().enumerate() {
            let is_final = k + 1 == groups.len();
            let stated = arriving[group[0]].known_at;
            if !is_final && stated <= last.meta.known_at {
                continue;
            }
            let correct = |&i: &usize| {
                let row = corrected(arriving[i], last, arrival, now);
                Addition { content: Content::Arrived(i), row }
            };
            added.extend(group.iter().map(correct));
        }
    }
    if matches!(arrival, Arrival::Import { whole: true } | Arrival::Mend) {
        let present: BTreeSet<Timestamp> = arriving.iter().map(|r| r.time).collect();
        for (time, held) in &before.times {
            let last = &before.versions[held.end - 1];
            if last.is_retracted() || present.contains(time) {
                continue;
            }
            // A row that a person put where the origin never had one is not missed there.
            let mended = last.is_mended() && arrival != Arrival::Mend;
            if mended && before.original(stored, *time).is_empty() {
                continue;
            }
            let gone = before.order[last.rows.start];
            added.push(Addition { content: Content::Retracted(gone), row: retracted(last, now) });
        }
    }
    if arrival == Arrival::Mend {
        added.iter_mut().for_each(|a| a.row.flags |= RowFlags::MENDED);
    }
    added.sort_by_key(|a| a.row.time);
    added
}

/// Whether two groups of rows hold the same values, each row once.
fn same_rows(stored: &[usize], arriving: &[usize], equal: impl Fn(usize, usize) -> bool) -> bool {
    let mut open = stored.to_vec();
    arriving.len() == open.len()
        && arriving.iter().all(|&i| {
            let found = open.iter().position(|&j| equal(j, i));
            found.map(|place| open.swap_remove(place)).is_some()
        })
}

/// A row that was never seen before.
fn taken_in(row: RowMeta, arrival: Arrival, now: Timestamp) -> RowMeta {
    let observed = arrival == Arrival::Vendor && !row.flags.contains(RowFlags::BACKFILLED);
    let known_at = if observed { row.known_at.max(now) } else { row.known_at };
    RowMeta { known_at, ingested_at: now, ..row }
}

/// Later than the ingest of a version, even when the machine's clock stepped back.
fn after(last: &Version, now: Timestamp) -> Timestamp {
    now.max(Timestamp::from_micros(last.meta.ingested_at.micros() + 1))
}

/// A row that differs from the version that held until now.
fn corrected(row: RowMeta, last: &Version, arrival: Arrival, now: Timestamp) -> RowMeta {
    let ingested_at = after(last, now);
    let declared = row.flags.contains(RowFlags::BACKFILLED);
    let stated = match arrival {
        Arrival::Vendor => None,
        Arrival::Import { .. } | Arrival::Mend if declared && last.is_declared() => {
            Some(row.known_at.max(last.meta.known_at))
        }
        // A table may say itself that it knew better only later.
        Arrival::Import { .. } | Arrival::Mend => {
            Some(row.known_at).filter(|at| *at > last.meta.known_at)
        }
    };
    let marks = row.flags | RowFlags::CORRECTED;
    match stated {
        Some(known_at) => RowMeta { known_at, ingested_at, flags: marks, ..row },
        None => {
            let known_at = ingested_at.max(last.meta.known_at);
            let flags = marks.without(RowFlags::BACKFILLED);
            RowMeta { known_at, ingested_at, flags, ..row }
        }
    }
}

/// The version that says that a row is gone.
fn retracted(last: &Version, now: Timestamp) -> RowMeta {
    let ingested_at = after(last, now);
    let (known_at, marks) = match last.is_declared() {
        true => (last.meta.known_at, RowFlags::BACKFILLED),
        false => (ingested_at.max(last.meta.known_at), RowFlags::NONE),
    };
    let flags = marks | RowFlags::RETRACTED;
    RowMeta { known_at, ingested_at, flags, time: last.meta.time }
}

#[cfg(test)]
mod tests;
