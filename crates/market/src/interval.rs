//! The length of a candle or a horizon, and the grid that it spans on the UTC axis.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// A whole positive number of seconds: the step of a grid, a horizon or a season.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(i64);

/// Why a text or number is no interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not `<number><s|m|h|d|w>`.
    #[error("`{0}` is not an interval: write a number and a unit, such as 1m, 15m, 1h, 1d or 1w")]
    Syntax(String),
    /// Zero, negative or too large.
    #[error("an interval must be between 1 second and 3660 days, not {0} seconds")]
    Range(i64),
}

impl Interval {
    /// One minute.
    pub const MINUTE: Interval = Interval(60);
    /// One hour.
    pub const HOUR: Interval = Interval(3_600);
    /// One day.
    pub const DAY: Interval = Interval(86_400);

    /// From a number of seconds.
    ///
    /// # Errors
    /// When the number is not positive or over ten years.
    pub const fn from_secs(secs: i64) -> Result<Self, IntervalError> {
        if secs >= 1 && secs <= 3_660 * 86_400 {
            Ok(Self(secs))
        } else {
            Err(IntervalError::Range(secs))
        }
    }

    /// The length in seconds.
    pub const fn secs(self) -> i64 {
        self.0
    }

    /// The length in microseconds.
    pub const fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// The start of the grid cell that holds `t` (cells start at multiples of the
    /// interval from the epoch, so hours and days start at UTC hours and days).
    pub const fn floor(self, t: Timestamp) -> Timestamp {
        Timestamp::from_micros(t.micros().div_euclid(self.micros()) * self.micros())
    }

    /// Whether `t` is the start of a grid cell.
    pub const fn is_on_grid(self, t: Timestamp) -> bool {
        t.micros().rem_euclid(self.micros()) == 0
    }

    /// How many whole steps lie between two instants (negative if `to` is earlier).
    pub const fn steps(self, from: Timestamp, to: Timestamp) -> i64 {
        (to.micros() - from.micros()).div_euclid(self.micros())
    }

    /// How many times this interval fits into `longer`, when it fits exactly.
    pub const fn divides(self, longer: Interval) -> Option<i64> {
        if longer.0 % self.0 == 0 { Some(longer.0 / self.0) } else { None }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, secs) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
            if self.0 % secs == 0 {
                return write!(f, "{}{unit}", self.0 / secs);
            }
        }
        write!(f, "{}s", self.0)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || IntervalError::Syntax(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().map_err(|_| fail())?;
        let unit = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(fail()),
        };
        Self::from_secs(number.checked_mul(unit).ok_or_else(fail)?)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_units_people_write() {
        for (text, secs) in [("90s", 90), ("1m", 60), ("1h", 3600), ("1d", 86_400), ("1w", 604_800)]
        {
            assert_eq!(text.parse::<Interval>().unwrap().secs(), secs);
        }
        for text in ["", "h", "1", "0h", "-1h", "1y", "99999999999999999d", "1.5h"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn floors_towards_the_past_before_the_epoch_too() {
        let hour = Interval::HOUR;
        assert_eq!(hour.floor(Timestamp::from_secs(-1)), Timestamp::from_secs(-3600));
        assert_eq!(hour.floor(Timestamp::from_secs(3599)), Timestamp::from_secs(0));
    }

    proptest! {
        #[test]
        fn text_round_trips(secs in 1i64..3_660 * 86_400) {
            let interval = Interval::from_secs(secs).unwrap();
            prop_assert_eq!(interval.to_string().parse::<Interval>().unwrap(), interval);
        }

        #[test]
        fn the_floor_holds_its_instant(secs in 1i64..1_000_000, micros in -1i64 << 50..1i64 << 50) {
            let interval = Interval::from_secs(secs).unwrap();
            let t = Timestamp::from_micros(micros);
            let floor = interval.floor(t);
            prop_assert!(floor <= t && t < floor + interval);
            prop_assert!(interval.is_on_grid(floor));
        }
    }
}
