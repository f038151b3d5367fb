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

/// How long a calendar value stays the same, so that it is computed once per span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// It changes with every row.
    Row,
    /// It changes on the hour.
    Hour,
    /// It changes at midnight.
    Day,
}

/// Fills `out` with a calendar value per time, computed once per span.
pub(crate) fn fill(
    value: fn(Timestamp) -> f64,
    span: Span,
    times: impl Iterator<Item = Timestamp>,
    out: &mut [f64],
) {
    let length = match span {
        Span::Row => 1,
        Span::Hour => 3_600_000_000,
        Span::Day => DAY * 1_000_000,
    };
    // The last value is kept for its span; hours are also kept by hour of the week,
    // because a sine costs more than the rest of the row.
    let mut hours = [f64::NAN; 168];
    let (mut from, mut until, mut kept) = (0, 0, f64::NAN);
    for (o, t) in out.iter_mut().zip(times) {
        let micros = t.micros();
        if span == Span::Hour {
            let slot = micros.div_euclid(length).rem_euclid(168) as usize;
            if hours[slot].is_nan() {
                hours[slot] = value(t);
            }
            *o = hours[slot];
            continue;
        }
        if span == Span::Row || micros < from || micros >= until {
            from = micros.div_euclid(length) * length;
            until = from + length;
            kept = value(t);
        }
        *o = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_the_same_fields_as_the_calendar(
            start in -4_000_000_000i64..8_000_000_000, step in 1i64..200_000, n in 1usize..300
        ) {
            let times: Vec<_> =
                (0..n as i64).map(|i| Timestamp::from_secs(start + i * step)).collect();
            let rows = [
                (hour as fn(Timestamp) -> f64, Span::Hour),
                (weekday, Span::Day),
                (day, Span::Day),
                (month, Span::Day),
                (hour_sin, Span::Hour),
                (weekday_cos, Span::Day),
                (millis, Span::Row),
            ];
            for (value, span) in rows {
                let mut out = vec![0.0; n];
                fill(value, span, times.iter().copied(), &mut out);
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
