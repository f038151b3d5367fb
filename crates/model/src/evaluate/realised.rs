//! Realised variance: squared one-interval log returns, summed over a span.
//!
//! The variance of a span is never seen. The sum of squared returns inside it estimates
//! it the better the finer they are (T. G. Andersen, T. Bollerslev, F. X. Diebold and
//! P. Labys, *Econometrica* 71 (2003) 579–625). A missing interval makes every span
//! that it touches null: nothing is filled. Knows no model.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Frame, FrameError, LockBox};

/// The squared log return of every interval of a grid, NaN where one of its two prices
/// is missing or not positive.
#[derive(Debug, Clone, PartialEq)]
pub struct SquaredReturns {
    interval: Interval,
    /// The end (UTC) of the first interval.
    first: Timestamp,
    values: Vec<f64>,
}

impl SquaredReturns {
    /// From a price column of a frame: the price of a row is the one at its interval's end.
    ///
    /// # Errors
    /// When the column is absent.
    pub fn of(frame: &Frame, price_column: &str) -> Result<Self, FrameError> {
        let prices = frame.require(price_column)?;
        let (interval, rows) = (frame.interval(), frame.rows());
        let first = rows.first().map_or(Timestamp::default(), |r| r.time + interval);
        let len = rows.last().map_or(0, |r| interval.steps(first, r.time + interval) + 1);
        let mut values = vec![f64::NAN; len.max(0) as usize];
        for i in 1..rows.len() {
            let (before, now) = (prices[i - 1], prices[i]);
            let adjacent = rows[i - 1].time + interval == rows[i].time;
            if adjacent && before > 0.0 && now > 0.0 && before.is_finite() && now.is_finite() {
                let change = libm::log(now / before);
                values[interval.steps(first, rows[i].time + interval) as usize] = change * change;
            }
        }
        Ok(Self { interval, first, values })
    }

    /// The same without the intervals that reach into a lock-box: as if missing.
    pub fn without(mut self, lock_box: Option<LockBox>) -> Self {
        let Some(lock_box) = lock_box else { return self };
        for (i, value) in self.values.iter_mut().enumerate() {
            let end =
                Timestamp::from_micros(self.first.micros() + i as i64 * self.interval.micros());
            if end > lock_box.from && end - self.interval < lock_box.to {
                *value = f64::NAN;
            }
        }
        self
    }

    /// The realised variance after `from` up to `to`, both ends of intervals (UTC); `None`
    /// when an interval between them is missing or not covered.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Option<f64> {
        let begin = usize::try_from(self.interval.steps(self.first, from) + 1).ok()?;
        let end = usize::try_from(self.interval.steps(self.first, to) + 1).ok()?;
        if end <= begin {
            return None;
        }
        let sum = self.values.get(begin..end)?.iter().sum::<f64>();
        sum.is_finite().then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_panel::{Column, RowMeta};

    /// Hourly prices at the named hours.
    fn returns(rows: &[(i64, f64)]) -> SquaredReturns {
        let meta = |(h, _): &(i64, f64)| {
            RowMeta::at_close(Timestamp::from_secs(h * 3_600), Interval::HOUR)
        };
        let close = Column::new("close", rows.iter().map(|r| r.1).collect());
        let rows = rows.iter().map(meta).collect();
        let frame =
            Frame::new(foretell_testkit::instrument(), Interval::HOUR, rows, vec![close]).unwrap();
        SquaredReturns::of(&frame, "close").unwrap()
    }

    fn end(hour: i64) -> Timestamp {
        Timestamp::from_secs((hour + 1) * 3_600)
    }

    #[test]
    fn a_span_is_the_sum_of_its_squares_and_null_across_a_gap() {
        let e = std::f64::consts::E;
        let all = returns(&[(0, 1.0), (1, e), (2, e * e * e), (4, e), (5, 1.0), (6, 0.0)]);
        // One, then two: squares one and four.
        foretell_testkit::assert_close(all.between(end(0), end(2)).unwrap(), 5.0, 1e-12);
        foretell_testkit::assert_close(all.between(end(1), end(2)).unwrap(), 4.0, 1e-12);
        foretell_testkit::assert_close(all.between(end(4), end(5)).unwrap(), 1.0, 1e-12);
        for (from, to) in [(1, 4), (2, 3), (3, 4), (5, 6), (-1, 0), (5, 9), (2, 2), (2, 1)] {
            assert_eq!(all.between(end(from), end(to)), None, "{from} to {to}");
        }
    }

    #[test]
    fn a_lock_box_is_a_hole() {
        let rows: Vec<(i64, f64)> = (0..10).map(|h| (h, 1.0 + h as f64)).collect();
        let span = LockBox { from: end(3), to: end(6) };
        let all = returns(&rows).without(Some(span));
        assert!(all.between(end(0), end(3)).is_some(), "what ends at the box is before it");
        assert!(all.between(end(6), end(9)).is_some(), "what begins at its end is after it");
        for (from, to) in [(0, 4), (3, 4), (5, 6), (5, 8)] {
            assert_eq!(all.between(end(from), end(to)), None, "{from} to {to}");
        }
    }
}
