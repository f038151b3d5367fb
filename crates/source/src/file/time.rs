//! Times as files write them: numbers since 1970 in any unit, year-first, day-first
//! and month-first text, or a declared pattern, in a declared zone.
//!
//! Detection keeps every reading that fits all cells so far and decides at the end;
//! where two readings fit and differ, it refuses to guess.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::format::{Parsed, StrftimeItems};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use foretell_market::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a time column is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// A number since 1970, each cell's unit (s, ms, µs, ns) told from its size.
    /// Written `unix`.
    Unix,
    /// Seconds since 1970, decimals allowed. Written `unix-s`.
    UnixSeconds,
    /// Milliseconds since 1970. Written `unix-ms`.
    UnixMillis,
    /// Microseconds since 1970. Written `unix-us`.
    UnixMicros,
    /// Nanoseconds since 1970. Written `unix-ns`.
    UnixNanos,
    /// Year first, such as `2020-08-31`, `2020-08-31 23:00:00`, `2020-08-31 11-PM`
    /// or RFC 3339. Written `iso`.
    Iso,
    /// Day first, such as `31/08/2020 23:00`. Written `day-first`.
    DayFirst,
    /// Month first, such as `08/31/2020 11:00 PM`. Written `month-first`.
    MonthFirst,
    /// A strftime pattern such as `%d.%m.%Y %H:%M`; parts of the time of day that it
    /// does not name are zero. Written as itself.
    Pattern(String),
}

/// The text names no time format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time format: write unix, unix-s, unix-ms, unix-us, unix-ns, iso, day-first, \
     month-first or a pattern such as %d/%m/%Y %H:%M"
)]
pub struct TimeFormatError(pub String);

impl FromStr for TimeFormat {
    type Err = TimeFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "unix" => TimeFormat::Unix,
            "unix-s" => TimeFormat::UnixSeconds,
            "unix-ms" => TimeFormat::UnixMillis,
            "unix-us" => TimeFormat::UnixMicros,
            "unix-ns" => TimeFormat::UnixNanos,
            "iso" => TimeFormat::Iso,
            "day-first" => TimeFormat::DayFirst,
            "month-first" => TimeFormat::MonthFirst,
            pattern => {
                let unknown = |item| matches!(item, chrono::format::Item::Error);
                if !pattern.contains('%') || StrftimeItems::new(pattern).any(unknown) {
                    return Err(TimeFormatError(text.to_owned()));
                }
                TimeFormat::Pattern(pattern.to_owned())
            }
        })
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeFormat::Unix => "unix",
            TimeFormat::UnixSeconds => "unix-s",
            TimeFormat::UnixMillis => "unix-ms",
            TimeFormat::UnixMicros => "unix-us",
            TimeFormat::UnixNanos => "unix-ns",
            TimeFormat::Iso => "iso",
            TimeFormat::DayFirst => "day-first",
            TimeFormat::MonthFirst => "month-first",
            TimeFormat::Pattern(pattern) => pattern,
        })
    }
}

impl Serialize for TimeFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A cell's reading: an instant, or a wall-clock time of the declared zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Microseconds since 1970 UTC.
    Instant(i64),
    /// Microseconds since 1970 on the wall clock.
    Wall(i64),
}

/// Detected numbers below this many seconds (March 1973) are counters, not times.
const SMALLEST_DETECTED: i64 = 100_000_000;

impl TimeFormat {
    fn read(&self, text: &str) -> Option<Moment> {
        let moment = match self {
            TimeFormat::Unix => {
                let (whole, nanos) = decimal(text)?;
                Moment::Instant(match whole.unsigned_abs() {
                    0..100_000_000_000 => seconds(whole, nanos)?,
                    100_000_000_000..100_000_000_000_000 => millis(whole, nanos)?,
                    100_000_000_000_000..100_000_000_000_000_000 => whole,
                    _ => whole.div_euclid(1_000),
                })
            }
            TimeFormat::UnixSeconds => {
                decimal(text).and_then(|(w, n)| seconds(w, n)).map(Moment::Instant)?
            }
            TimeFormat::UnixMillis => {
                decimal(text).and_then(|(w, n)| millis(w, n)).map(Moment::Instant)?
            }
            TimeFormat::UnixMicros => Moment::Instant(decimal(text)?.0),
            TimeFormat::UnixNanos => Moment::Instant(decimal(text)?.0.div_euclid(1_000)),
            TimeFormat::Iso => calendar(text, Order::Year)?,
            TimeFormat::DayFirst => calendar(text, Order::Day)?,
            TimeFormat::MonthFirst => calendar(text, Order::Month)?,
            TimeFormat::Pattern(pattern) => by_pattern(text, pattern)?,
        };
        let (Moment::Instant(micros) | Moment::Wall(micros)) = moment;
        // A day's margin so that no zone and no interval leaves the calendar.
        let margin = 4_000 * 86_400_000_000;
        let range = Timestamp::MIN.micros() + margin..Timestamp::MAX.micros() - margin;
        range.contains(&micros).then_some(moment)
    }
}

/// Whole part and nanoseconds of the fraction of a plain decimal number.
fn decimal(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let value: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut nanos = 0i64;
    for i in 0..9 {
        nanos = nanos * 10 + fraction.as_bytes().get(i).map_or(0, |b| i64::from(b - b'0'));
    }
    Some((value, if whole.starts_with('-') { -nanos } else { nanos }))
}

fn seconds(whole: i64, nanos: i64) -> Option<i64> {
    whole.checked_mul(1_000_000)?.checked_add(nanos.div_euclid(1_000))
}

fn millis(whole: i64, nanos: i64) -> Option<i64> {
    whole.checked_mul(1_000)?.checked_add(nanos.div_euclid(1_000_000))
}

/// Which part of a date comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Year,
    Day,
    Month,
}

/// A cursor over the ASCII bytes of one cell.
struct Cell<'a>(&'a [u8]);

impl Cell<'_> {
    fn number(&mut self, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
        let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if !digits.contains(&count) {
            return None;
        }
        let value = self.0[..count].iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
        self.0 = &self.0[count..];
        Some(value)
    }

    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let first = *self.0.first().filter(|b| set.contains(b))?;
        self.0 = &self.0[1..];
        Some(first)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.0.len() >= word.len()
            && self.0[..word.len()].eq_ignore_ascii_case(word.as_bytes());
        if found {
            self.0 = &self.0[word.len()..];
        }
        found
    }
}

/// A calendar date in the given order with an optional time of day and offset.
fn calendar(text: &str, order: Order) -> Option<Moment> {
    let mut cell = Cell(text.as_bytes());
    let (year, month, day) = if order == Order::Year {
        let year = cell.number(4..=4)?;
        let separator = cell.one_of(b"-/.")?;
        let month = cell.number(1..=2)?;
        cell.one_of(&[separator])?;
        (year, month, cell.number(1..=2)?)
    } else {
        let first = cell.number(1..=2)?;
        let separator = cell.one_of(b"/.-")?;
        let second = cell.number(1..=2)?;
        cell.one_of(&[separator])?;
        let year = cell.number(4..=4)?;
        if order == Order::Day { (year, second, first) } else { (year, first, second) }
    };
    let date = NaiveDate::from_ymd_opt(year as i32, month, day)?;
    let wall =
        |h, m, s, us| Some(date.and_hms_micro_opt(h, m, s, us)?.and_utc().timestamp_micros());
    if cell.0.is_empty() {
        return wall(0, 0, 0, 0).map(Moment::Wall);
    }
    cell.one_of(b"T ,")?;
    while cell.one_of(b" ").is_some() {}
    let mut hour = cell.number(1..=2)?;
    let (mut minute, mut second, mut micros) = (0, 0, 0);
    let hour_dash = cell.0.first() == Some(&b'-');
    if hour_dash {
        cell.one_of(b"-")?;
    } else if cell.one_of(b":").is_some() {
        minute = cell.number(2..=2)?;
        if cell.one_of(b":").is_some() {
            second = cell.number(2..=2)?;
            if cell.one_of(b".,").is_some() {
                for i in 0..9 {
                    let digit = cell.one_of(b"0123456789").map(|b| u32::from(b - b'0'));
                    if i == 0 && digit.is_none() {
                        return None;
                    }
                    if i < 6 {
                        micros = micros * 10 + digit.unwrap_or(0);
                    }
                }
            }
        }
    }
    while cell.one_of(b" ").is_some() {}
    let half_day = [("AM", 0), ("PM", 12)].into_iter().find(|(word, _)| cell.word(word));
    match half_day {
        Some((_, add)) if (1..=12).contains(&hour) => hour = hour % 12 + add,
        Some(_) => return None,
        None if hour_dash => return None,
        None => {}
    }
    let local = wall(hour, minute, second, micros)?;
    while cell.one_of(b" ").is_some() {}
    if cell.0.is_empty() {
        return Some(Moment::Wall(local));
    }
    if cell.word("Z") || cell.word("UTC") || cell.word("GMT") {
        return cell.0.is_empty().then_some(Moment::Instant(local));
    }
    let sign = if cell.one_of(b"+-")? == b'-' { -1 } else { 1 };
    let offset = if is_hhmm(text) {
        let compact = cell.number(4..=4)?;
        (compact / 100) * 60 + compact % 100
    } else {
        let hours = cell.number(2..=2)?;
        hours * 60 + if cell.one_of(b":").is_some() { cell.number(2..=2)? } else { 0 }
    };
    if !cell.0.is_empty() || offset > 18 * 60 {
        return None;
    }
    Some(Moment::Instant(local - sign * i64::from(offset) * 60_000_000))
}

/// Whether the text ends in a sign and four digits, the compact offset `+0130`.
fn is_hhmm(text: &str) -> bool {
    let bytes = text.as_bytes();
    let tail = &bytes[bytes.len().saturating_sub(5)..];
    tail.len() == 5 && matches!(tail[0], b'+' | b'-') && tail[1..].iter().all(u8::is_ascii_digit)
}

/// A declared pattern; hour, minute and second that it does not name are zero.
fn by_pattern(text: &str, pattern: &str) -> Option<Moment> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, StrftimeItems::new(pattern)).ok()?;
    if parsed.timestamp().is_some() {
        let instant = parsed.to_datetime_with_timezone(&Utc).ok()?;
        return Some(Moment::Instant(instant.timestamp_micros()));
    }
    let date = parsed.to_naive_date().ok()?;
    if parsed.hour_mod_12().is_none() {
        parsed.set_hour(0).ok()?;
    } else if parsed.hour_div_12().is_none() {
        return None;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    let wall = NaiveDateTime::new(date, parsed.to_naive_time().ok()?).and_utc().timestamp_micros();
    Some(match parsed.offset() {
        Some(offset) => Moment::Instant(wall - i64::from(offset) * 1_000_000),
        None => Moment::Wall(wall),
    })
}

/// One way to read the column, still alive, with what it read.
#[derive(Debug)]
struct Candidate {
    format: TimeFormat,
    moments: Vec<Moment>,
}

/// Reads a column of times cell by cell, by a declared format or by finding one.
#[derive(Debug)]
pub(crate) struct TimeReader {
    zone: Tz,
    detecting: bool,
    alive: Vec<Candidate>,
}

/// Why a time column cannot be read: what is wrong and what to do about it.
#[derive(Debug)]
pub(crate) struct TimeFault {
    /// Index of the row, where one can be named.
    pub(crate) row: Option<usize>,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Whether there is a time zone of an IANA name.
pub fn is_zone(name: &str) -> bool {
    name.parse::<Tz>().is_ok()
}

impl TimeReader {
    /// A reader by a declared format, or by detection; the zone is an IANA name.
    pub(crate) fn new(format: Option<&TimeFormat>, zone: Option<&str>) -> Result<Self, String> {
        let zone = match zone {
            None => Tz::UTC,
            Some(name) => name.parse().map_err(|_| name.to_owned())?,
        };
        let formats = match format {
            Some(declared) => vec![declared.clone()],
            None => vec![
                TimeFormat::Unix,
                TimeFormat::Pattern("%Y%m%d".to_owned()),
                TimeFormat::Iso,
                TimeFormat::DayFirst,
                TimeFormat::MonthFirst,
            ],
        };
        let alive = formats.into_iter().map(|format| Candidate { format, moments: Vec::new() });
        Ok(Self { zone, detecting: format.is_none(), alive: alive.collect() })
    }

    fn admits(&self, candidate: &TimeFormat, text: &str) -> bool {
        if !self.detecting {
            return true;
        }
        match candidate {
            TimeFormat::Unix => decimal(text).is_some_and(|(whole, _)| whole >= SMALLEST_DETECTED),
            TimeFormat::Pattern(_) => {
                text.len() == 8 && (text.starts_with("19") || text.starts_with("20"))
            }
            _ => true,
        }
    }

    /// Reads the next cell.
    pub(crate) fn push(&mut self, text: &str) -> Result<(), TimeFault> {
        let text = text.trim();
        if let [only] = &self.alive[..] {
            let admitted = self.admits(&only.format, text);
            let Some(moment) = only.format.read(text).filter(|_| admitted) else {
                return Err(self.unreadable(text));
            };
            self.alive[0].moments.push(moment);
            return Ok(());
        }
        let mut readings = Vec::with_capacity(self.alive.len());
        for candidate in &self.alive {
            let admitted = self.admits(&candidate.format, text);
            readings.push(if admitted { candidate.format.read(text) } else { None });
        }
        if readings.iter().all(Option::is_none) {
            return Err(self.unreadable(text));
        }
        let mut readings = readings.into_iter();
        self.alive.retain_mut(|candidate| match readings.next().flatten() {
            Some(moment) => {
                candidate.moments.push(moment);
                true
            }
            None => false,
        });
        Ok(())
    }

    fn unreadable(&self, text: &str) -> TimeFault {
        let row = self.alive.first().map(|c| c.moments.len());
        let shown = crate::error::excerpt(text, 40);
        let forms: Vec<String> = self.alive.iter().map(|c| c.format.to_string()).collect();
        let forms = forms.join(" or ");
        let problem = if text.is_empty() {
            "there is no time".to_owned()
        } else if self.detecting && row == Some(0) {
            format!("`{shown}` is not a time of any known form")
        } else if self.detecting {
            format!("`{shown}` is not a time of the form of the rows before it ({forms})")
        } else {
            format!("`{shown}` is not a time of the declared form ({forms})")
        };
        let remedy = "mend the cell, name the right column in `columns.time`, or declare \
                      `time_format` (unix-ms, iso, day-first, month-first or a pattern such as \
                      %d/%m/%Y %H:%M)";
        TimeFault { row, problem, remedy: remedy.to_owned() }
    }

    /// The times of all cells in UTC, and the format that read them.
    pub(crate) fn finish(mut self) -> Result<(Vec<Timestamp>, TimeFormat), TimeFault> {
        // Eight digits that are all dates are dates; as seconds they would lie in 1970.
        if self.alive.len() > 1 {
            self.alive.retain(|c| c.format != TimeFormat::Unix);
        }
        let chosen = self.alive.swap_remove(0);
        if let Some(other) = self.alive.first() {
            let differs = chosen.moments.iter().zip(&other.moments).position(|(a, b)| a != b);
            if let Some(row) = differs {
                return Err(TimeFault {
                    row: Some(row),
                    problem: format!(
                        "every time fits both {} and {}, with different dates",
                        chosen.format, other.format
                    ),
                    remedy: "declare `time_format = \"day-first\"` or `\"month-first\"`".to_owned(),
                });
            }
        }
        let times = to_utc(&chosen.moments, self.zone)?;
        Ok((times, chosen.format))
    }
}

/// Wall-clock times of a zone as instants.
///
/// A wall time that the zone skips (clocks put forward) is refused. One that it has
/// twice (clocks put back) is resolved when the file holds both: they follow the
/// direction of the file. A single one is refused, because guessing would move it by
/// an hour.
fn to_utc(moments: &[Moment], zone: Tz) -> Result<Vec<Timestamp>, TimeFault> {
    let mut times = Vec::with_capacity(moments.len());
    let mut doubtful: Vec<(usize, i64, i64)> = Vec::new();
    for (row, moment) in moments.iter().enumerate() {
        let micros = match *moment {
            Moment::Instant(micros) => micros,
            Moment::Wall(micros) if zone == Tz::UTC => micros,
            Moment::Wall(micros) => {
                let wall = DateTime::from_timestamp_micros(micros).unwrap_or_default().naive_utc();
                match zone.from_local_datetime(&wall) {
                    LocalResult::Single(at) => at.timestamp_micros(),
                    LocalResult::Ambiguous(early, late) => {
                        doubtful.push((row, early.timestamp_micros(), late.timestamp_micros()));
                        early.timestamp_micros()
                    }
                    LocalResult::None => {
                        return Err(TimeFault {
                            row: Some(row),
                            problem: format!(
                                "{wall} does not exist in {zone} (clocks put forward)"
                            ),
                            remedy: "declare the zone the file is written in as `zone`, such as \
                                     UTC"
                            .to_owned(),
                        });
                    }
                }
            }
        };
        times.push(Timestamp::from_micros(micros));
    }
    let newest_first = times.first() > times.last();
    let mut counts: BTreeMap<i64, (u32, u32)> = BTreeMap::new();
    for &(_, early, _) in &doubtful {
        counts.entry(early).or_default().0 += 1;
    }
    for (row, early, late) in doubtful {
        let (twins, before) = counts.entry(early).or_default();
        if *twins != 2 {
            return Err(TimeFault {
                row: Some(row),
                problem: format!("this wall-clock time exists twice in {zone} (clocks put back)"),
                remedy: "convert the column to UTC, or write an offset such as +01:00 behind each \
                         time"
                    .to_owned(),
            });
        }
        let second = (*before == 1) != newest_first;
        times[row] = Timestamp::from_micros(if second { late } else { early });
        *before += 1;
    }
    Ok(times)
}
