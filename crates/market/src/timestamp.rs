//! UTC time with microsecond resolution, the only time type of the house.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z (UTC, no leap seconds).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Microseconds in a second.
const MICROS: i64 = 1_000_000;

impl Timestamp {
    /// The smallest instant that prints as a calendar date (0001-01-01).
    pub const MIN: Timestamp = Timestamp(-62_135_596_800 * MICROS);
    /// The largest instant that prints as a calendar date (9999-12-31).
    pub const MAX: Timestamp = Timestamp(253_402_300_799 * MICROS);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000)
    }

    /// From seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * MICROS)
    }

    /// From a UTC calendar date and time of day; `None` if there is no such date.
    pub fn from_ymd_hms(y: i32, mo: u32, d: u32, h: u32, mi: u32, s: u32) -> Option<Self> {
        let date = NaiveDate::from_ymd_opt(y, mo, d)?.and_hms_opt(h, mi, s)?;
        Some(Self(date.and_utc().timestamp() * MICROS))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// This instant moved by a number of seconds (negative: back).
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0 + secs * MICROS)
    }

    /// The hour of the UTC day, 0 to 23.
    pub fn hour(self) -> u32 {
        self.date_time().hour()
    }

    /// The UTC weekday, Monday = 0 to Sunday = 6 (the convention of pandas).
    pub fn weekday(self) -> u32 {
        self.date_time().weekday().num_days_from_monday()
    }

    /// The UTC day of the month, 1 to 31.
    pub fn day(self) -> u32 {
        self.date_time().day()
    }

    /// The UTC month, 1 to 12.
    pub fn month(self) -> u32 {
        self.date_time().month()
    }

    /// The UTC year.
    pub fn year(self) -> i32 {
        self.date_time().year()
    }

    /// The UTC date as `YYYY-MM-DD`.
    pub fn date_string(self) -> String {
        self.date_time().format("%Y-%m-%d").to_string()
    }

    /// For tables that people read: `YYYY-MM-DD HH:MM UTC`.
    pub fn human(self) -> String {
        self.date_time().format("%Y-%m-%d %H:%M UTC").to_string()
    }

    fn date_time(self) -> DateTime<Utc> {
        let clamped = self.0.clamp(Self::MIN.0, Self::MAX.0);
        Utc.timestamp_micros(clamped).single().unwrap_or_default()
    }
}

/// RFC 3339 in UTC, with as many fractional digits as the value needs.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.0.rem_euclid(MICROS) == 0 {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%.6fZ"
        };
        write!(f, "{}", self.date_time().format(form))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no RFC 3339 time and no `YYYY-MM-DD` date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write RFC 3339 (2025-10-31T23:00:00Z) or a date (2025-10-31, UTC)")]
pub struct ParseTimestampError(pub String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseTimestampError(text.to_owned());
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            let midnight = date.and_hms_opt(0, 0, 0).ok_or_else(fail)?;
            return Ok(Self(midnight.and_utc().timestamp() * MICROS));
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| fail())?;
        Ok(Self(parsed.timestamp_micros()))
    }
}

/// As text where people read it, else as microseconds.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Add<crate::Interval> for Timestamp {
    type Output = Timestamp;

    fn add(self, interval: crate::Interval) -> Timestamp {
        self.plus_secs(interval.secs())
    }
}

impl Sub<crate::Interval> for Timestamp {
    type Output = Timestamp;

    fn sub(self, interval: crate::Interval) -> Timestamp {
        self.plus_secs(-interval.secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_and_reads_rfc3339() {
        let t = Timestamp::from_ymd_hms(2025, 10, 31, 23, 0, 0).unwrap();
        assert_eq!(t.to_string(), "2025-10-31T23:00:00Z");
        assert_eq!("2025-11-01T00:00:00+01:00".parse::<Timestamp>(), Ok(t));
        assert_eq!("2025-10-31".parse::<Timestamp>(), Ok(t.plus_secs(-23 * 3600)));
        assert!("31/10/2025".parse::<Timestamp>().is_err());
    }

    #[test]
    fn names_calendar_fields_as_pandas_does() {
        // pandas: Timestamp("2021-01-01").weekday() == 4 (Friday).
        let t = Timestamp::from_secs(1_609_459_200);
        assert_eq!((t.weekday(), t.hour(), t.day(), t.month(), t.year()), (4, 0, 1, 1, 2021));
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in Timestamp::MIN.0..Timestamp::MAX.0) {
            let t = Timestamp::from_micros(micros);
            prop_assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
        }
    }
}
