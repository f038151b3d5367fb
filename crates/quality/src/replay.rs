//! Quarantined rows, mended, go through the gate again with the rows of their table.
//!
//! Mends nothing itself: people or programs change the values, this puts them back.

use std::collections::{BTreeMap, BTreeSet};

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::{Column, RawTable, RowMeta};

use crate::{Expectations, GateOutcome, QuarantinedRow, gate};

/// Why mended rows do not fit the table they came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Two mended rows claim one row of the table.
    #[error("row {0} is there twice among the mended rows: keep one of them")]
    Twice(u64),
    /// A mended row has a column that the table does not have.
    #[error(
        "mended row {position} has a column `{column}` that the table does not have ({present})"
    )]
    UnknownColumn {
        /// The row's place in the origin.
        position: u64,
        /// Its column.
        column: String,
        /// The table's columns.
        present: String,
    },
    /// A mended value is still no finite number.
    #[error(
        "mended row {position} still holds `{text}` in `{column}`: give a number and remove the text"
    )]
    Unmended {
        /// The row's place in the origin.
        position: u64,
        /// Its column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// The table's columns are not all as long as its rows.
    #[error("the table does not fit itself: {0}")]
    Shape(String),
}

/// The table with mended rows in the place of those they were. A row is known again by
/// its time and ingest; where several share both, or its ingest is another because the
/// table was read anew, its position tells. Positions alone would not do: they count from
/// the beginning of an answer, and the next answer begins elsewhere. Rows that the table
/// does not hold are added at its end, so that an empty table with the right columns gives
/// the mended rows alone.
///
/// A row whose values or time were changed carries [`RowFlags::CORRECTED`] and
/// [`RowFlags::MENDED`] and counts as taken in at `mended_at`; it is known from then on,
/// unless it is marked [`RowFlags::BACKFILLED`], whose known-at is declared and not
/// observed. A row that is put back as it was stays as it was.
///
/// # Errors
/// When two mended rows are one row of the table, a column is unknown, or a value is still
/// unreadable.
pub fn mend(
    raw: &RawTable,
    mended: &[QuarantinedRow],
    mended_at: Timestamp,
) -> Result<RawTable, ReplayError> {
    if let Some(fault) = crate::checks::shape(raw).into_iter().next() {
        return Err(ReplayError::Shape(fault));
    }
    for row in mended {
        accept(raw, row)?;
    }
    let places = places(raw, mended)?;
    let faulty: BTreeSet<u64> = raw.faults.iter().map(|f| f.position).collect();
    let mut table = raw.clone();
    let mut columns: Vec<Vec<f64>> = raw.columns.iter().map(|c| c.values.to_vec()).collect();
    let mut touched = BTreeSet::new();
    let mut behind = raw.positions.iter().copied().max().unwrap_or(0);
    let mut taken: BTreeSet<u64> = raw.positions.iter().copied().collect();
    for (row, place) in mended.iter().zip(places) {
        let values = raw.columns.iter().map(|c| row.value(&c.name));
        let Some(i) = place else {
            let position = match taken.insert(row.position) {
                true => row.position,
                false => behind + 1,
            };
            behind = behind.max(position);
            taken.insert(position);
            table.positions.push(position);
            table.rows.push(corrected(row, mended_at));
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            continue;
        };
        let position = raw.positions[i];
        touched.insert(position);
        let was = raw.columns.iter().map(|c| c.values[i]);
        let same = |(a, b): (f64, f64)| a == b || (a.is_nan() && b.is_nan());
        let kept = row.time == raw.rows[i].time
            && values.clone().zip(was).all(same)
            && !faulty.contains(&position);
        table.rows[i] = if kept { raw.rows[i] } else { corrected(row, mended_at) };
        columns.iter_mut().zip(values).for_each(|(column, value)| column[i] = value);
    }
    table.faults.retain(|f| !touched.contains(&f.position));
    table.columns = raw
        .columns
        .iter()
        .zip(columns)
        .map(|(column, values)| Column::new(column.name.clone(), values))
        .collect();
    Ok(table)
}

/// Which rows of the table the mended ones are.
fn places(raw: &RawTable, mended: &[QuarantinedRow]) -> Result<Vec<Option<usize>>, ReplayError> {
    let mut by_time: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
    let mut by_ingest: BTreeMap<(Timestamp, u64), usize> = BTreeMap::new();
    for (i, row) in raw.rows.iter().enumerate() {
        by_time.entry(row.time).or_default().push(i);
        by_ingest.insert((row.ingested_at, raw.positions[i]), i);
    }
    let (mut claimed, mut added) = (BTreeSet::new(), BTreeSet::new());
    let place = |row: &QuarantinedRow| {
        let there = by_time.get(&row.stood_at.unwrap_or(row.time)).map_or(&[][..], |rows| rows);
        let of_ingest: Vec<usize> =
            there.iter().copied().filter(|&i| raw.rows[i].ingested_at == row.ingested_at).collect();
        let told_by_position = |rows: &[usize]| match rows {
            [one] => Some(*one),
            several => several.iter().copied().find(|&i| raw.positions[i] == row.position),
        };
        let moved = || by_ingest.get(&(row.ingested_at, row.position)).copied();
        told_by_position(&of_ingest).or_else(moved).or_else(|| told_by_position(there))
    };
    let claim = |row: &QuarantinedRow| {
        let place = place(row);
        let free = match place {
            Some(i) => claimed.insert(i),
            None => added.insert((row.time, row.position)),
        };
        if free { Ok(place) } else { Err(ReplayError::Twice(row.position)) }
    };
    mended.iter().map(claim).collect()
}

/// The gate's judgement of the table with the mended rows in their places: [`mend`],
/// then [`gate`]. Rows of the quarantine that were left out of `mended` are judged as
/// they were.
///
/// # Errors
/// As [`mend`].
pub fn replay(
    raw: &RawTable,
    mended: &[QuarantinedRow],
    expectations: &Expectations,
    mended_at: Timestamp,
    as_of: Timestamp,
) -> Result<GateOutcome, ReplayError> {
    Ok(gate(&mend(raw, mended, mended_at)?, expectations, as_of))
}

fn accept(raw: &RawTable, row: &QuarantinedRow) -> Result<(), ReplayError> {
    let position = row.position;
    for cell in &row.values {
        let column = cell.column.clone();
        if raw.column(&column).is_none() {
            let present: Vec<_> = raw.columns.iter().map(|c| c.name.as_str()).collect();
            let present = present.join(", ");
            return Err(ReplayError::UnknownColumn { position, column, present });
        }
        if let (None, Some(text)) = (cell.value, &cell.text) {
            return Err(ReplayError::Unmended { position, column, text: text.clone() });
        }
    }
    Ok(())
}

fn corrected(row: &QuarantinedRow, mended_at: Timestamp) -> RowMeta {
    let flags = row.marks() | RowFlags::CORRECTED | RowFlags::MENDED;
    let declared = flags.contains(RowFlags::BACKFILLED);
    let known_at = if declared { row.known_at } else { row.known_at.max(mended_at) };
    RowMeta { time: row.time, known_at, ingested_at: mended_at, flags }
}
