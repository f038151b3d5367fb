//! Features of the clock alone: a row's own time in UTC.

use foretell_market::Timestamp;

const DAY: i64 = 86_400;

/// Hour of the day, 0 to 23.
pub(crate) fn hour(t: Timestamp) -> f64 {
    (t.secs().rem_euclid(DAY) / 3600) as f64
}

/// Day of the week, Monday 0 to Sunday 6. The epoch was a Thursday.
pub(crate) fn weekday(t: Timestamp) -> f64 {
    (t.secs().div_euclid(DAY) + 3).rem_euclid(7) as f64
}

/// Day of the month, 1 to 31.
pub(crate) fn day(t: Timestamp) -> f64 {
    f64::from(t.day())
}

/// Month, 1 to 12.
pub(crate) fn month(t: Timestamp) -> f64 {
    f64::from(t.month())
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn millis(t: Timestamp) -> f64 {
    t.millis() as f64
}

/// `sin(2π · hour / 24)`.
pub(crate) fn hour_sin(t: Timestamp) -> f64 {
    libm::sin(std::f64::consts::TAU * hour(t) / 24.0)
}

/// `cos(2π · hour / 24)`.
pub(crate) fn hour_cos(t: Timestamp) -> f64 {
    libm::cos(std::f64::consts::TAU * hour(t) / 24.0)
}

/// `sin(2π · weekday / 7)`.
pub(crate) fn weekday_sin(t: Timestamp) -> f64 {
    libm::sin(std::f64::consts::TAU * weekday(t) / 7.0)
}

/// `cos(2π · weekday / 7)`.
pub(crate) fn weekday_cos(t: Timestamp) -> f64 {
    libm::cos(std::f64::consts::TAU * weekday(t) / 7.0)
}

/// When a calendar value comes back or stays, so that it is not computed for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// It is another one in every row.
    Row,
    /// It is the same at the same time of each week.
    Week,
    /// It stays the same until midnight.
    Date,
}

const WEEK: i64 = 7 * DAY;

/// Fills `out` with the calendar values of times that follow each other by `step`
/// seconds, from `start` on.
pub(crate) fn fill(
    value: fn(Timestamp) -> f64,
    span: Span,
    start: Timestamp,
    step: i64,
    out: &mut [f64],
) {
    let at = |i: usize| start.plus_secs(i as i64 * step);
    match span {
        Span::Week if WEEK % step == 0 => {
            let period = ((WEEK / step) as usize).min(out.len());
            for (i, o) in out[..period].iter_mut().enumerate() {
                *o = value(at(i));
            }
            // Whole weeks are copied, a cache's worth at a time.
            let mut done = period;
            while done < out.len() {
                let weeks = done.min(period.max(4096 / period.max(1) * period));
                let rows = weeks.min(out.len() - done);
                out.copy_within(done - weeks..done - weeks + rows, done);
                done += rows;
            }
        }
        Span::Date => {
            let mut i = 0;
            while i < out.len() {
                let left = DAY - at(i).secs().rem_euclid(DAY);
                let end = out.len().min(i + (left as u64).div_ceil(step as u64) as usize);
                out[i..end].fill(value(at(i)));
                i = end;
            }
        }
        Span::Row | Span::Week => {
            for (i, o) in out.iter_mut().enumerate() {
                *o = value(at(i));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_the_same_fields_as_the_calendar(
            start in -4_000_000_000i64..8_000_000_000, n in 1usize..900,
            step in prop_oneof![1i64..200_000, Just(3600), Just(900), Just(86_400), Just(14_400)],
        ) {
            let times: Vec<_> =
                (0..n as i64).map(|i| Timestamp::from_secs(start + i * step)).collect();
            let rows = [
                (hour as fn(Timestamp) -> f64, Span::Week),
                (weekday, Span::Week),
                (day, Span::Date),
                (month, Span::Date),
                (hour_sin, Span::Week),
                (weekday_cos, Span::Week),
                (millis, Span::Row),
            ];
            for (value, span) in rows {
                let mut out = vec![0.0; n];
                fill(value, span, times[0], step, &mut out);
                for (o, t) in out.iter().zip(&times) {
                    prop_assert_eq!(o.to_bits(), value(*t).to_bits());
                }
            }
            for t in &times {
                prop_assert_eq!(hour(*t), f64::from(t.hour()));
                prop_assert_eq!(weekday(*t), f64::from(t.weekday()));
            }
        }
    }
}
