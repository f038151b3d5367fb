//! From a fine grid to a coarse one.

use foretell_market::{Interval, RowFlags, Timestamp};

use crate::{Column, Frame, FrameError, RowMeta};

/// How the fine values of a column become one coarse value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// The first.
    First,
    /// The last.
    Last,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The sum.
    Sum,
}

impl Aggregation {
    /// What a candle's columns need: open first, high max, low min, close last,
    /// volume, quote volume and trades summed; others keep their last value.
    pub fn for_candle_column(name: &str) -> Self {
        match name {
            "open" => Self::First,
            "high" => Self::Max,
            "low" => Self::Min,
            "volume" | "quote_volume" | "trades" => Self::Sum,
            _ => Self::Last,
        }
    }

    fn fold(self, values: &[f64]) -> f64 {
        let mut present = values.iter().copied().filter(|v| !v.is_nan());
        let Some(first) = present.next() else { return f64::NAN };
        match self {
            Self::First => first,
            Self::Last => present.next_back().unwrap_or(first),
            Self::Max => present.fold(first, f64::max),
            Self::Min => present.fold(first, f64::min),
            Self::Sum => present.fold(first, |a, b| a + b),
        }
    }
}

/// Aggregates a frame to a longer interval that the frame's own divides. A coarse
/// row is emitted only when every fine row of its interval is there, is known when
/// the last of them is, and carries all their flags: a hole stays a hole.
///
/// # Errors
/// When the interval is not a multiple of the frame's.
pub fn resample(
    frame: &Frame,
    to: Interval,
    aggregation: impl Fn(&str) -> Aggregation,
) -> Result<Frame, FrameError> {
    let Some(per_row) = frame.interval().divides(to) else {
        let text = format!("{to} is not a multiple of {}", frame.interval());
        return Err(FrameError::Mismatch(text));
    };
    let fine = frame.rows();
    let mut rows = Vec::new();
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < fine.len() {
        let time = to.floor(fine[start].time);
        let end = start + fine[start..].partition_point(|r| to.floor(r.time) == time);
        if (end - start) as i64 == per_row {
            rows.push(join(time, &fine[start..end]));
            ranges.push(start..end);
        }
        start = end;
    }
    let columns = frame.columns().iter().map(|column| {
        let rule = aggregation(&column.name);
        let fold = |range: &std::ops::Range<usize>| rule.fold(&column.values[range.clone()]);
        Column::new(column.name.clone(), ranges.iter().map(fold).collect())
    });
    Frame::new(frame.instrument().clone(), to, rows, columns.collect())
}

fn join(time: Timestamp, fine: &[RowMeta]) -> RowMeta {
    let first = RowMeta { time, ..fine[0] };
    fine.iter().fold(first, |a, b| RowMeta {
        time,
        known_at: a.known_at.max(b.known_at),
        ingested_at: a.ingested_at.max(b.ingested_at),
        flags: RowFlags::from_bits(a.flags.bits() | b.flags.bits()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn volume_of_whole_hours_is_conserved_and_nothing_is_known_early(
            present in prop::collection::vec(any::<bool>(), 1..600)
        ) {
            let minutes: Vec<i64> =
                present.iter().enumerate().filter(|(_, p)| **p).map(|(i, _)| i as i64).collect();
            let at = |m: &i64| RowMeta::at_close(Timestamp::from_secs(m * 60), Interval::MINUTE);
            let volume = Column::new("volume", vec![1.0; minutes.len()]);
            let rows = minutes.iter().map(at).collect();
            let frame =
                Frame::new("A-B".parse().unwrap(), Interval::MINUTE, rows, vec![volume]).unwrap();
            let hourly = resample(&frame, Interval::HOUR, Aggregation::for_candle_column).unwrap();
            for (i, row) in hourly.rows().iter().enumerate() {
                prop_assert_eq!(hourly.column("volume").unwrap()[i], 60.0);
                prop_assert_eq!(row.known_at, row.time + Interval::HOUR);
            }
            let whole = present.chunks(60).filter(|c| c.len() == 60 && c.iter().all(|p| *p)).count();
            prop_assert_eq!(hourly.len(), whole);
        }
    }
}
