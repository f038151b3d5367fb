//! Which chunks of a range of intervals are still to be done.
//!
//! Counts intervals; fetches nothing.

use foretell_market::{Interval, Timestamp};
use serde::{Deserialize, Serialize};

/// A half-open stretch of time: `from ≤ t < to`, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

impl Span {
    /// A span from its ends.
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to }
    }

    /// Whether it holds no instant.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// A piece of work: whole intervals, none of which is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The stretch it covers.
    pub span: Span,
    /// How many intervals that is.
    pub intervals: usize,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// The range does not begin and end on the grid.
    #[error("{time} is not on the {interval} grid: begin and end a back-fill at whole intervals")]
    OffGrid {
        /// The end that is off.
        time: Timestamp,
        /// The step of the grid.
        interval: Interval,
    },
    /// The range ends before it begins.
    #[error("the back-fill ends ({to}) before it begins ({from})")]
    Backwards {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// Chunks of nothing.
    #[error("a chunk of 0 intervals never ends: give at least 1")]
    NoSize,
}

/// The chunks of `range` that no span of `done` covers, oldest first, each of at most
/// `chunk` intervals. An interval counts as done when one or several spans cover all
/// of it. Spans may overlap, lie outside the range and stand in any order.
///
/// # Errors
/// When the range is off the grid or ends before it begins, or the chunk is empty.
pub fn backfill(
    range: Span,
    interval: Interval,
    done: &[Span],
    chunk: usize,
) -> Result<Vec<Chunk>, BackfillError> {
    if chunk == 0 {
        return Err(BackfillError::NoSize);
    }
    if range.from > range.to {
        return Err(BackfillError::Backwards { from: range.from, to: range.to });
    }
    for time in [range.from, range.to] {
        if !interval.is_on_grid(time) {
            return Err(BackfillError::OffGrid { time, interval });
        }
    }
    let mut done: Vec<Span> = done.iter().filter(|s| !s.is_empty()).copied().collect();
    done.sort_unstable();
    let mut chunks = Vec::new();
    // The first instant that is not known to be done.
    let mut open = range.from;
    // Spans that touch are one: their intervals may be done by both together.
    let mut covered: Option<Span> = None;
    let mut close = |span: Span, open: &mut Timestamp| {
        let floor = interval.floor(span.from);
        let first = if floor == span.from { floor } else { floor + interval };
        let (first, last) = (first.max(range.from), interval.floor(span.to).min(range.to));
        if first < last && last > *open {
            push(&mut chunks, Span::new(*open, first.max(*open)), interval, chunk);
            *open = last;
        }
    };
    for span in done {
        match &mut covered {
            Some(so_far) if span.from <= so_far.to => so_far.to = so_far.to.max(span.to),
            _ => {
                if let Some(whole) = covered.replace(span) {
                    close(whole, &mut open);
                }
            }
        }
    }
    if let Some(whole) = covered {
        close(whole, &mut open);
    }
    push(&mut chunks, Span::new(open, range.to), interval, chunk);
    Ok(chunks)
}

/// Cuts a span of whole intervals into chunks.
fn push(chunks: &mut Vec<Chunk>, span: Span, interval: Interval, chunk: usize) {
    let size = i64::try_from(chunk).unwrap_or(i64::MAX);
    let mut from = span.from;
    while from < span.to {
        let left = interval.steps(from, span.to);
        let intervals = left.min(size);
        let to = Timestamp::from_micros(from.micros() + intervals * interval.micros());
        chunks.push(Chunk { span: Span::new(from, to), intervals: intervals as usize });
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours(from: i64, to: i64) -> Span {
        Span::new(Timestamp::from_secs(from * 3_600), Timestamp::from_secs(to * 3_600))
    }

    #[test]
    fn what_is_done_is_left_out_and_the_rest_is_cut_in_order() {
        let done = [hours(8, 9), hours(2, 4), hours(3, 5), hours(-5, 1), hours(40, 50)];
        let chunks = backfill(hours(0, 10), Interval::HOUR, &done, 2).unwrap();
        let spans: Vec<_> = chunks.iter().map(|c| c.span).collect();
        assert_eq!(spans, [hours(1, 2), hours(5, 7), hours(7, 8), hours(9, 10)]);
        assert_eq!(backfill(hours(0, 10), Interval::HOUR, &[hours(0, 10)], 2), Ok(vec![]));
        assert_eq!(backfill(hours(3, 3), Interval::HOUR, &[], 2), Ok(vec![]));
    }

    #[test]
    fn half_an_interval_is_not_done_unless_the_other_half_is() {
        let minutes = |from: i64, to: i64| {
            Span::new(Timestamp::from_secs(from * 60), Timestamp::from_secs(to * 60))
        };
        let open = |done: &[Span]| {
            let chunks = backfill(hours(0, 2), Interval::HOUR, done, 9).unwrap();
            chunks.iter().map(|c| c.intervals).sum::<usize>()
        };
        assert_eq!(open(&[minutes(30, 90)]), 2);
        assert_eq!(open(&[minutes(30, 120)]), 1);
        assert_eq!(open(&[minutes(30, 60), minutes(0, 30)]), 1);
    }

    #[test]
    fn a_plan_that_cannot_be_meant_is_refused() {
        let half = Span::new(Timestamp::from_secs(1_800), Timestamp::from_secs(7_200));
        assert!(matches!(
            backfill(half, Interval::HOUR, &[], 2),
            Err(BackfillError::OffGrid { .. })
        ));
        assert!(matches!(
            backfill(hours(2, 1), Interval::HOUR, &[], 2),
            Err(BackfillError::Backwards { .. })
        ));
        assert_eq!(backfill(hours(0, 1), Interval::HOUR, &[], 0), Err(BackfillError::NoSize));
    }

    proptest! {
        #[test]
        fn every_interval_is_done_or_planned_exactly_once(
            from in -50i64..50, length in 0i64..120, size in 1usize..30,
            // In minutes, so that some spans end inside an hour.
            spans in prop::collection::vec((-4_000i64..8_000, 0i64..900), 0..12),
        ) {
            let range = hours(from, from + length);
            let done: Vec<Span> = spans
                .iter()
                .map(|(start, minutes)| Span::new(
                    Timestamp::from_secs(start * 60), Timestamp::from_secs((start + minutes) * 60),
                ))
                .collect();
            let chunks = backfill(range, Interval::HOUR, &done, size).unwrap();
            let is_done = |minute: i64| {
                let t = Timestamp::from_secs(minute * 60);
                done.iter().any(|s| s.from <= t && t < s.to)
            };
            for hour in from..from + length {
                let whole = (hour * 60..(hour + 1) * 60).all(is_done);
                let start = Timestamp::from_secs(hour * 3_600);
                let planned = chunks.iter().filter(|c| c.span.from <= start && start < c.span.to);
                prop_assert_eq!(planned.count() + usize::from(whole), 1, "hour {}", hour);
            }
            for chunk in &chunks {
                prop_assert!((1..=size).contains(&chunk.intervals));
                prop_assert_eq!(
                    Interval::HOUR.steps(chunk.span.from, chunk.span.to), chunk.intervals as i64
                );
                prop_assert!(chunk.span.from >= range.from && chunk.span.to <= range.to);
            }
            prop_assert!(chunks.windows(2).all(|w| w[0].span.to <= w[1].span.from));
        }
    }
}
