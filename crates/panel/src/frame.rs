//! Observed rows of one instrument on one interval, column by column.

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, RowFlags, Timestamp};

/// One named column of numbers; NaN is missing. Cloning shares the buffer.
#[derive(Debug, Clone)]
pub struct Column {
    /// The column's name, unique in its frame.
    pub name: String,
    /// One value per row.
    pub values: ScalarBuffer<f64>,
}

impl Column {
    /// A column from its name and values.
    pub fn new(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values: values.into() }
    }
}

/// What is known about one row beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMeta {
    /// Start of the row's interval (UTC): the key.
    pub time: Timestamp,
    /// When a decision could first use the row.
    pub known_at: Timestamp,
    /// When this row was taken in.
    pub ingested_at: Timestamp,
    /// Quality marks.
    pub flags: RowFlags,
}

impl RowMeta {
    /// A row that became known when its interval closed and was taken in then.
    pub fn at_close(time: Timestamp, interval: Interval) -> Self {
        let close = time + interval;
        Self { time, known_at: close, ingested_at: close, flags: RowFlags::NONE }
    }
}

/// A table of one instrument: rows strictly increasing in time and on the grid of
/// the interval, every column as long as the rows. Gaps are absent rows.
#[derive(Debug, Clone)]
pub struct Frame {
    instrument: Instrument,
    interval: Interval,
    /// Shared by frames of the same rows.
    rows: Arc<Vec<RowMeta>>,
    columns: Vec<Column>,
}

/// Why rows and columns make no frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Two rows of one time, or a step back.
    #[error("row {row}: time {time} does not come after the row before it ({before})")]
    Order {
        /// Index of the offending row.
        row: usize,
        /// Its time.
        time: Timestamp,
        /// The time before it.
        before: Timestamp,
    },
    /// A time between two grid points.
    #[error("row {row}: time {time} is not on the {interval} grid")]
    OffGrid {
        /// Index of the offending row.
        row: usize,
        /// Its time.
        time: Timestamp,
        /// The frame's interval.
        interval: Interval,
    },
    /// A column of another length than the rows.
    #[error("column `{name}` has {found} values for {expected} rows")]
    Length {
        /// The column.
        name: String,
        /// Its length.
        found: usize,
        /// The number of rows.
        expected: usize,
    },
    /// Two columns of one name.
    #[error("column `{0}` appears twice")]
    DuplicateColumn(String),
    /// A column that a caller needs is absent.
    #[error("there is no column `{name}` (columns: {present})")]
    MissingColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        present: String,
    },
    /// Two frames of different instruments, intervals or columns were joined.
    #[error("the frames do not match: {0}")]
    Mismatch(String),
}

impl Frame {
    /// A frame from its parts.
    ///
    /// # Errors
    /// When times are not strictly increasing or off the grid, or columns do not
    /// fit the rows.
    pub fn new(
        instrument: Instrument,
        interval: Interval,
        rows: Vec<RowMeta>,
        columns: Vec<Column>,
    ) -> Result<Self, FrameError> {
        for (row, meta) in rows.iter().enumerate() {
            let time = meta.time;
            if !interval.is_on_grid(time) {
                return Err(FrameError::OffGrid { row, time, interval });
            }
            if row > 0 && rows[row - 1].time >= time {
                return Err(FrameError::Order { row, time, before: rows[row - 1].time });
            }
        }
        Self::of(instrument, interval, Arc::new(rows), columns)
    }

    /// The very same rows with other columns.
    ///
    /// # Errors
    /// When a column has another length or appears twice.
    pub fn with_columns(&self, columns: Vec<Column>) -> Result<Self, FrameError> {
        Self::of(self.instrument.clone(), self.interval, Arc::clone(&self.rows), columns)
    }

    /// A frame of rows that are in order.
    fn of(
        instrument: Instrument,
        interval: Interval,
        rows: Arc<Vec<RowMeta>>,
        columns: Vec<Column>,
    ) -> Result<Self, FrameError> {
        for (i, column) in columns.iter().enumerate() {
            if column.values.len() != rows.len() {
                let (name, found) = (column.name.clone(), column.values.len());
                return Err(FrameError::Length { name, found, expected: rows.len() });
            }
            if columns[..i].iter().any(|c| c.name == column.name) {
                return Err(FrameError::DuplicateColumn(column.name.clone()));
            }
        }
        Ok(Self { instrument, interval, rows, columns })
    }

    /// The instrument.
    pub fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    /// The step of the grid.
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// Times, known-at times and flags, one per row.
    pub fn rows(&self) -> &[RowMeta] {
        &self.rows
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

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

    /// The values of a column that must be there.
    ///
    /// # Errors
    /// When it is not; the message lists the columns that are.
    pub fn require(&self, name: &str) -> Result<&[f64], FrameError> {
        self.column(name).ok_or_else(|| {
            let present: Vec<_> = self.columns.iter().map(|c| c.name.as_str()).collect();
            FrameError::MissingColumn { name: name.to_owned(), present: present.join(", ") }
        })
    }

    /// The rows of an index range.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let columns = self.columns.iter().map(|c| Column {
            name: c.name.clone(),
            values: c.values.slice(range.start, range.len()),
        });
        Self {
            instrument: self.instrument.clone(),
            interval: self.interval,
            rows: Arc::new(self.rows[range.clone()].to_vec()),
            columns: columns.collect(),
        }
    }

    /// The rows with `from ≤ time < to`.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        let start = self.rows.partition_point(|r| r.time < from);
        let end = self.rows.partition_point(|r| r.time < to).max(start);
        self.slice(start..end)
    }

    /// The rows that satisfy a condition.
    pub fn filter(&self, keep: impl Fn(usize, &RowMeta) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|&i| keep(i, &self.rows[i])).collect();
        let columns = self
            .columns
            .iter()
            .map(|c| Column::new(c.name.clone(), kept.iter().map(|&i| c.values[i]).collect()));
        Self {
            instrument: self.instrument.clone(),
            interval: self.interval,
            rows: Arc::new(kept.iter().map(|&i| self.rows[i]).collect()),
            columns: columns.collect(),
        }
    }

    /// The rows that were known at an instant.
    pub fn as_known_at(&self, t: Timestamp) -> Self {
        self.filter(|_, row| row.known_at <= t)
    }

    /// The same rows with one more column, or with that column replaced.
    ///
    /// # Errors
    /// When the column has another length.
    pub fn with_column(mut self, column: Column) -> Result<Self, FrameError> {
        if column.values.len() != self.rows.len() {
            let (name, found) = (column.name, column.values.len());
            return Err(FrameError::Length { name, found, expected: self.rows.len() });
        }
        match self.columns.iter_mut().find(|c| c.name == column.name) {
            Some(present) => *present = column,
            None => self.columns.push(column),
        }
        Ok(self)
    }

    /// The hash of the logical rows: instrument, interval, times, known-at times,
    /// flags and values. Ingest times and storage do not enter.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = FingerprintHasher::new("frame/1");
        hasher.text(self.instrument.as_str()).i64(self.interval.secs());
        hasher.u64(self.rows.len() as u64);
        for row in self.rows.iter() {
            hasher.time(row.time).time(row.known_at).u64(u64::from(row.flags.bits()));
        }
        hasher.u64(self.columns.len() as u64);
        for column in &self.columns {
            hasher.text(&column.name).f64s(&column.values);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(hours: &[i64]) -> Vec<RowMeta> {
        let at = |h: &i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        hours.iter().map(at).collect()
    }

    fn frame(hours: &[i64]) -> Result<Frame, FrameError> {
        let close = Column::new("close", hours.iter().map(|h| *h as f64).collect());
        Frame::new("BTC-USD".parse().unwrap(), Interval::HOUR, rows(hours), vec![close])
    }

    #[test]
    fn refuses_disorder_duplicates_and_off_grid_times() {
        assert!(frame(&[1, 2, 5]).is_ok());
        assert!(matches!(frame(&[1, 1]), Err(FrameError::Order { row: 1, .. })));
        assert!(matches!(frame(&[2, 1]), Err(FrameError::Order { row: 1, .. })));
        let mut off = rows(&[1]);
        off[0].time = off[0].time.plus_secs(1);
        let refused = Frame::new("BTC-USD".parse().unwrap(), Interval::HOUR, off, vec![]);
        assert!(matches!(refused, Err(FrameError::OffGrid { row: 0, .. })));
    }

    #[test]
    fn the_fingerprint_covers_logical_rows_and_not_the_ingest_time() {
        let a = frame(&[1, 2, 5]).unwrap();
        let mut b = a.clone();
        Arc::make_mut(&mut b.rows)[0].ingested_at = Timestamp::MAX;
        assert_eq!(a.fingerprint(), b.fingerprint());
        assert_eq!(frame(&[0, 1, 2, 5]).unwrap().slice(1..4).fingerprint(), a.fingerprint());
        let mut c = a.clone();
        Arc::make_mut(&mut c.rows)[0].flags = RowFlags::FILLED;
        assert_ne!(a.fingerprint(), c.fingerprint());
    }

    #[test]
    fn between_is_half_open() {
        let part = frame(&[1, 2, 5]).unwrap();
        let part = part.between(Timestamp::from_secs(3600), Timestamp::from_secs(5 * 3600));
        assert_eq!(part.column("close"), Some(&[1.0, 2.0][..]));
    }
}
