//! What the next row of a stream needs of the rows before it, in one piece of memory.

use std::collections::VecDeque;

use foretell_market::{Interval, RowFlags, Timestamp};
use serde::{Deserialize, Serialize};

use crate::recursion::Recursion;

/// Where the last values of a column stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Which of the kept columns it is.
    pub(crate) index: usize,
    /// Behind its newest value.
    pub(crate) end: usize,
    /// How many values are kept.
    pub(crate) depth: usize,
}

/// A recursive feature's memory after the last row that it was fed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fed {
    pub(crate) memory: Recursion,
    /// The open time of that row.
    pub(crate) last: Option<Timestamp>,
}

/// The last values of the columns that something looks back at, and which rows they are of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct History {
    /// The kept columns one behind the other, each with its oldest value first.
    #[serde(with = "bits")]
    values: Vec<f64>,
    /// Per kept column, of how many of its values up to the newest none is missing and no
    /// interval is missing between them; at most its depth.
    known: Vec<u32>,
    /// The runs of rows within reach, each by the open times of its first and last row.
    spans: VecDeque<(Timestamp, Timestamp)>,
    /// The rows within reach that carry marks.
    marked: VecDeque<(Timestamp, RowFlags)>,
}

impl History {
    /// With room for columns of these depths.
    pub(crate) fn new(depths: impl Iterator<Item = usize>) -> Self {
        let (mut numbers, mut columns) = (0, 0);
        for depth in depths {
            (numbers, columns) = (numbers + depth, columns + 1);
        }
        Self {
            values: vec![f64::NAN; numbers],
            known: vec![0; columns],
            spans: VecDeque::new(),
            marked: VecDeque::new(),
        }
    }

    /// How many numbers and how many columns it holds.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.values.len(), self.known.len())
    }

    /// The open time of the newest row.
    pub(crate) fn through(&self) -> Option<Timestamp> {
        self.spans.back().map(|(_, last)| *last)
    }

    /// Begins the row that opens at `time`; rows that are further back than `reach` intervals
    /// are forgotten. Whether the interval before it has a row.
    pub(crate) fn begin(
        &mut self,
        time: Timestamp,
        flags: RowFlags,
        interval: Interval,
        reach: usize,
    ) -> bool {
        let before = self.through();
        let joined = before.is_some_and(|last| last + interval == time);
        if joined {
            if let Some(span) = self.spans.back_mut() {
                span.1 = time;
            }
        } else {
            self.spans.push_back((time, time));
            self.known.fill(0);
        }
        let from = Timestamp::from_micros(time.micros() - reach as i64 * interval.micros());
        while self.spans.front().is_some_and(|(_, last)| *last < from) {
            self.spans.pop_front();
        }
        if let Some((first, _)) = self.spans.front_mut() {
            *first = (*first).max(from);
        }
        if flags != RowFlags::NONE {
            self.marked.push_back((time, flags));
        }
        while self.marked.front().is_some_and(|(marked, _)| *marked < from) {
            self.marked.pop_front();
        }
        // Every column moves by one; what runs over from the next one is written over.
        self.values.copy_within(1.., 0);
        joined
    }

    /// Writes a column's value of the row that was begun.
    pub(crate) fn write(&mut self, column: Kept, value: f64) {
        self.values[column.end - 1] = value;
        let known = &mut self.known[column.index];
        *known = if value.is_finite() { (*known + 1).min(column.depth as u32) } else { 0 };
    }

    /// The last `count` values of a column, the row's own included.
    pub(crate) fn last(&self, column: Kept, count: usize) -> &[f64] {
        &self.values[column.end - count..column.end]
    }

    /// How many values up to the newest one follow each other without a missing one.
    pub(crate) fn known(&self, column: Kept) -> usize {
        self.known[column.index] as usize
    }

    /// A column's value `steps` intervals ago, where that interval has a row.
    pub(crate) fn before(&self, column: Kept, steps: usize, interval: Interval) -> f64 {
        let Some(now) = self.through() else { return f64::NAN };
        let wanted = Timestamp::from_micros(now.micros() - steps as i64 * interval.micros());
        // The ordinary case: no gap in between.
        if self.spans.back().is_some_and(|(first, _)| *first <= wanted) {
            return self.values[column.end - 1 - steps];
        }
        let mut rows = 0;
        for (first, last) in self.spans.iter().rev() {
            if wanted > *last {
                break;
            }
            if wanted >= *first {
                rows += interval.steps(wanted, *last) as usize;
                return self.values[column.end - 1 - rows];
            }
            rows += interval.steps(*first, *last) as usize + 1;
        }
        f64::NAN
    }

    /// How many rows are within reach.
    pub(crate) fn rows(&self, interval: Interval) -> usize {
        let rows = |(first, last): &(Timestamp, Timestamp)| interval.steps(*first, *last) + 1;
        self.spans.iter().map(rows).sum::<i64>() as usize
    }

    /// All marks of the rows within reach, and how many rows are filled.
    pub(crate) fn marks(&self) -> (RowFlags, usize) {
        let all = self.marked.iter().fold(RowFlags::NONE, |all, (_, flags)| all | *flags);
        let filled = self.marked.iter().filter(|(_, f)| f.contains(RowFlags::FILLED)).count();
        (all, filled)
    }
}

/// Numbers that may be missing: as bits where people read them, because JSON has no NaN.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.collect_seq(values.iter().map(|v| v.to_bits()))
        } else {
            values.serialize(to)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        if !from.is_human_readable() {
            return Vec::deserialize(from);
        }
        let bits: Vec<u64> = Vec::deserialize(from)?;
        Ok(bits.into_iter().map(f64::from_bits).collect())
    }
}
