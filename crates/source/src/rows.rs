//! Rows as a reader found them, and how they become a raw table.
//!
//! The readers know nothing of requests; this module alone filters by time, drops
//! forming bars and says when a row was known: when it was seen, if it was seen live, and
//! else when it is declared to have been.

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::{CellFault, Column, RawTable, RowMeta};

use crate::{ExtractRequest, SourceError};

/// Ten years in seconds: a longer lag is a mistake of units.
const LONGEST_LAG: i64 = 3_660 * 86_400;

/// Rows in the order of their origin, with the time each one carries (UTC).
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Per row: line of a file or 1-based element (see [`CellFault::position`]).
    pub positions: Vec<u64>,
    /// Per row: its time.
    pub times: Vec<Timestamp>,
    /// Per row: when it was known, in tables that say so themselves; else empty.
    pub known_at: Vec<Timestamp>,
    /// Per row: marks; empty when no row has one.
    pub flags: Vec<RowFlags>,
    /// Numeric columns, NaN where a cell is missing or unreadable.
    pub columns: Vec<Column>,
    /// Cells that could not be read.
    pub faults: Vec<CellFault>,
}

/// Whether a row's time is the start or the end of its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeIs {
    /// The start: how nearly every vendor writes candles.
    #[default]
    Open,
    /// The end.
    Close,
}

/// How rows reached us, which decides when they count as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// An API that serves the present: its newest row is seen as it appears.
    Live,
    /// A file, written by whoever and whenever.
    Import,
}

impl Feed {
    /// When a row that does not say so itself was known, and how that is known.
    fn known_at(self, close: Timestamp, request: &ExtractRequest<'_>) -> (Timestamp, RowFlags) {
        // The newest row is one that the next interval has not yet replaced.
        if self == Self::Live && request.now < close + request.interval {
            return (request.now, RowFlags::NONE);
        }
        let declared = close.plus_secs(request.lag);
        match self {
            // What a vendor has handed out is known by now, whatever lag is declared.
            Self::Live => (declared.min(request.now), RowFlags::BACKFILLED),
            Self::Import => (declared, RowFlags::BACKFILLED),
        }
    }
}

impl Rows {
    /// The rows of a file that the request wants, keyed by open time, as a raw table:
    /// imports, known at the interval's end plus the lag and marked as back-filled, unless
    /// the rows say themselves when they were known. Order, duplicates and times off the
    /// grid are kept.
    ///
    /// # Errors
    /// When the lag is negative (a row would be known before its interval ended) or over
    /// ten years.
    pub fn into_table(
        self,
        origin: String,
        time_is: TimeIs,
        request: &ExtractRequest<'_>,
    ) -> Result<RawTable, SourceError> {
        self.into_fed_table(Feed::Import, origin, time_is, request.now, request)
    }

    /// The rows of a vendor's API that the request wants, as [`Rows::into_table`], but for
    /// a row that came before the next interval closed: it was observed live, so it is
    /// known from the request's present on and carries no mark of a back-fill. Bars that
    /// close after `closed_by` (the present as the vendor has it) are still forming.
    ///
    /// # Errors
    /// As [`Rows::into_table`].
    pub fn into_live_table(
        self,
        origin: String,
        closed_by: Timestamp,
        request: &ExtractRequest<'_>,
    ) -> Result<RawTable, SourceError> {
        self.into_fed_table(Feed::Live, origin, TimeIs::Open, closed_by, request)
    }

    fn into_fed_table(
        self,
        feed: Feed,
        origin: String,
        time_is: TimeIs,
        closed_by: Timestamp,
        request: &ExtractRequest<'_>,
    ) -> Result<RawTable, SourceError> {
        if !(0..=LONGEST_LAG).contains(&request.lag) {
            return Err(SourceError::Setting {
                field: "lag",
                problem: format!("{} seconds is negative or over ten years", request.lag),
                remedy: "write how long after its end an interval is known, 0 or more".to_owned(),
            });
        }
        let shift = match time_is {
            TimeIs::Open => 0,
            TimeIs::Close => -request.interval.secs(),
        };
        let mut kept = Vec::with_capacity(self.times.len());
        let mut rows = Vec::with_capacity(self.times.len());
        for (i, time) in self.times.iter().enumerate() {
            let open = time.plus_secs(shift);
            let close = open + request.interval;
            let wanted = request.from.is_none_or(|from| from <= open)
                && request.to.is_none_or(|to| open < to)
                && close <= closed_by;
            if wanted {
                let marks = self.flags.get(i).copied().unwrap_or(RowFlags::NONE);
                kept.push(i);
                // A table that says when its rows were known also says how they came; but
                // nothing is known before its interval ends.
                let (known_at, flags) = match self.known_at.get(i) {
                    Some(known_at) => (close.max(*known_at), marks),
                    None => {
                        let (known_at, how) = feed.known_at(close, request);
                        (known_at, marks | how)
                    }
                };
                rows.push(RowMeta { time: open, known_at, ingested_at: request.now, flags });
            }
        }
        let mut table = RawTable {
            instrument: request.instrument.clone(),
            interval: request.interval,
            origin,
            positions: self.positions,
            rows,
            columns: self.columns,
            faults: self.faults,
        };
        if kept.len() < self.times.len() {
            table.positions = kept.iter().map(|&i| table.positions[i]).collect();
            let pick = |c: &Column| {
                Column::new(c.name.clone(), kept.iter().map(|&i| c.values[i]).collect())
            };
            table.columns = table.columns.iter().map(pick).collect();
            let mut present = table.positions.clone();
            present.sort_unstable();
            table.faults.retain(|f| present.binary_search(&f.position).is_ok());
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use foretell_market::Interval;

    use super::*;

    fn rows(hours: &[i64]) -> Rows {
        Rows {
            positions: (1..=hours.len() as u64).collect(),
            times: hours.iter().map(|h| Timestamp::from_secs(h * 3_600)).collect(),
            columns: vec![Column::new("close", vec![1.0; hours.len()])],
            ..Rows::default()
        }
    }

    /// When each of three hours' rows is known, in seconds, and whether that was observed,
    /// asked for 100 seconds after the third closed.
    fn known(lag: i64, live: bool) -> Vec<(i64, bool)> {
        let instrument = "BTC-USD".parse().unwrap();
        let now = Timestamp::from_secs(3 * 3_600 + 100);
        let request = ExtractRequest {
            instrument: &instrument,
            interval: Interval::HOUR,
            from: None,
            to: None,
            lag,
            now,
        };
        let (rows, origin) = (rows(&[0, 1, 2]), "x".to_owned());
        let table = match live {
            true => rows.into_live_table(origin, now, &request).unwrap(),
            false => rows.into_table(origin, TimeIs::Open, &request).unwrap(),
        };
        let observed = |r: &RowMeta| !r.flags.contains(RowFlags::BACKFILLED);
        assert!(table.rows.iter().all(|r| r.ingested_at == now));
        table.rows.iter().map(|r| (r.known_at.secs(), observed(r))).collect()
    }

    #[test]
    fn a_row_is_observed_only_live_and_before_the_next_interval_closes() {
        assert_eq!(known(0, true), [(3_600, false), (7_200, false), (10_900, true)]);
        assert_eq!(known(60, true), [(3_660, false), (7_260, false), (10_900, true)]);
        assert_eq!(known(60, false), [(3_660, false), (7_260, false), (10_860, false)]);
        // A vendor's row that is here is known, whatever lag is declared.
        assert_eq!(known(7_200, true), [(10_800, false), (10_900, false), (10_900, true)]);
        assert_eq!(known(7_200, false), [(10_800, false), (14_400, false), (18_000, false)]);
    }
}
