//! Rows as a reader found them, and how they become a raw table.
//!
//! The readers know nothing of requests; this module alone filters by time, drops
//! forming bars and says when a row was known.

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

impl Rows {
    /// The rows that the request wants, keyed by open time, as a raw table: known at
    /// the interval's end plus the lag and marked as back-filled, unless the rows say
    /// themselves when they were known. Order, duplicates and
    /// times off the grid are kept.
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
                && close <= request.now;
            if wanted {
                let marks = self.flags.get(i).copied().unwrap_or(RowFlags::NONE);
                kept.push(i);
                // A table that says when its rows were known also says how they came; but
                // nothing is known before its interval ends.
                let (known_at, flags) = match self.known_at.get(i) {
                    Some(known_at) => (close.max(*known_at), marks),
                    None => (close.plus_secs(request.lag), marks | RowFlags::BACKFILLED),
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
