//! Rows as a source read them: any order, duplicates, unreadable cells and all.
//!
//! The gate (`quality`) turns a raw table into a [`crate::Frame`] or refuses it.

use foretell_market::{Instrument, Interval};

use crate::{Column, FrameError, RowMeta};

/// A cell that could not be read as a number; its value is NaN.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CellFault {
    /// Where in the origin: line of a file (1-based, header included) or index + 1
    /// of an array element.
    pub position: u64,
    /// The column.
    pub column: String,
    /// What stood there, cut to 80 characters.
    pub text: String,
}

/// Rows of one instrument as they came. Times need not be sorted, unique or on the
/// grid; values are unchecked (NaN where absent).
#[derive(Debug, Clone)]
pub struct RawTable {
    /// The instrument.
    pub instrument: Instrument,
    /// The interval the source declares.
    pub interval: Interval,
    /// Where the rows came from, for people: a path or a URL without secrets.
    pub origin: String,
    /// Per row: where in the origin it stood (see [`CellFault::position`]). Each row has a
    /// position of its own, by which faults are told to be its.
    pub positions: Vec<u64>,
    /// Per row: times and marks.
    pub rows: Vec<RowMeta>,
    /// The numeric columns.
    pub columns: Vec<Column>,
    /// Cells that could not be read, in order of position.
    pub faults: Vec<CellFault>,
}

impl RawTable {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The values of a column, if it is there.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.iter().find(|c| c.name == name).map(|c| &c.values[..])
    }

    /// The named rows in the order given, as a frame.
    ///
    /// # Errors
    /// When those rows are not strictly increasing in time or not on the grid.
    pub fn frame_of(&self, rows: &[usize]) -> Result<crate::Frame, FrameError> {
        let columns = self
            .columns
            .iter()
            .map(|c| Column::new(c.name.clone(), rows.iter().map(|&i| c.values[i]).collect()));
        crate::Frame::new(
            self.instrument.clone(),
            self.interval,
            rows.iter().map(|&i| self.rows[i]).collect(),
            columns.collect(),
        )
    }
}
