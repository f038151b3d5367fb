//! The complete axis of intervals: where index distance *is* interval distance.

use arrow::buffer::ScalarBuffer;
use foretell_market::{Interval, RowFlags, Timestamp};

use crate::{Column, Frame};

/// A run of missing intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    /// The first missing interval's start (UTC).
    pub from: Timestamp,
    /// The start of the interval after the last missing one.
    pub to: Timestamp,
    /// How many intervals are missing.
    pub intervals: usize,
}

/// A frame laid out on every interval from its first row to its last. A missing
/// interval has NaN in every column and `None` as its row.
#[derive(Debug, Clone)]
pub struct Grid {
    start: Timestamp,
    interval: Interval,
    /// For each grid cell, the frame's row.
    row_of: Vec<Option<u32>>,
    flags: Vec<RowFlags>,
    columns: Vec<Column>,
}

impl Grid {
    /// Lays a frame out on its grid.
    pub fn of(frame: &Frame) -> Self {
        let rows = frame.rows();
        let interval = frame.interval();
        let start = rows.first().map_or(Timestamp::default(), |r| r.time);
        let len = rows.last().map_or(0, |r| interval.steps(start, r.time) as usize + 1);
        let mut row_of = vec![None; len];
        let mut flags = vec![RowFlags::NONE; len];
        for (i, row) in rows.iter().enumerate() {
            let cell = interval.steps(start, row.time) as usize;
            row_of[cell] = Some(i as u32);
            flags[cell] = row.flags;
        }
        let lay = |values: &ScalarBuffer<f64>| -> ScalarBuffer<f64> {
            if len == rows.len() {
                return values.clone();
            }
            let cell = |row: &Option<u32>| row.map_or(f64::NAN, |i| values[i as usize]);
            row_of.iter().map(cell).collect::<Vec<_>>().into()
        };
        let columns = frame.columns().iter();
        let columns =
            columns.map(|c| Column { name: c.name.clone(), values: lay(&c.values) }).collect();
        Self { start, interval, row_of, flags, columns }
    }

    /// The number of cells, missing ones included.
    pub fn len(&self) -> usize {
        self.row_of.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.row_of.is_empty()
    }

    /// The step.
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// The start of a cell's interval (UTC).
    pub fn time(&self, cell: usize) -> Timestamp {
        Timestamp::from_micros(self.start.micros() + cell as i64 * self.interval.micros())
    }

    /// The frame's row behind a cell; `None` when the interval is missing.
    pub fn row(&self, cell: usize) -> Option<usize> {
        self.row_of[cell].map(|i| i as usize)
    }

    /// Quality marks of a cell.
    pub fn flags(&self, cell: usize) -> RowFlags {
        self.flags[cell]
    }

    /// A column over all cells, NaN where the interval or the value is missing.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.iter().find(|c| c.name == name).map(|c| &c.values[..])
    }

    /// The runs of missing intervals, in time order.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        for cell in (0..self.len()).filter(|&cell| self.row_of[cell].is_none()) {
            let (from, to) = (self.time(cell), self.time(cell + 1));
            match gaps.last_mut() {
                Some(gap) if gap.to == from => {
                    gap.to = to;
                    gap.intervals += 1;
                }
                _ => gaps.push(Gap { from, to, intervals: 1 }),
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowMeta;

    #[test]
    fn a_missing_interval_is_a_cell_of_nan_and_a_gap() {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let close = Column::new("close", vec![1.0, 2.0, 5.0]);
        let rows = vec![at(1), at(2), at(5)];
        let frame =
            Frame::new("BTC-USD".parse().unwrap(), Interval::HOUR, rows, vec![close]).unwrap();
        let grid = Grid::of(&frame);
        assert_eq!(grid.len(), 5);
        let close = grid.column("close").unwrap();
        assert!(close[2].is_nan() && close[3].is_nan() && close[4] == 5.0);
        assert_eq!((grid.row(1), grid.row(2), grid.row(4)), (Some(1), None, Some(2)));
        let hour = |h: i64| Timestamp::from_secs(h * 3600);
        assert_eq!(grid.gaps(), [Gap { from: hour(3), to: hour(5), intervals: 2 }]);
    }
}
