//! Records as bytes: JSON for people and other programs, Avro for speed.
//!
//! Readers tell them apart by the first byte, so that both may stand in one topic. JSON
//! records of a trade have the fields that the Kraken streams of others have (`product_id`,
//! `quantity`, `price`, `timestamp_ms`) and more beside them; Avro records are
//! [single-object encoded](https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding):
//! two marker bytes, the fingerprint of the schema ([`avro::SCHEMAS`]), the body.

pub mod avro;
mod json;
mod trade_json;

use std::collections::HashMap;

use foretell_market::{Arrival, Bar, FeedEvent, Instrument, Timestamp, Trade};
use serde::{Deserialize, Serialize};

use crate::rows::{Closed, Counted, FeatureRecord, Ohlcv};

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// One JSON object.
    Json,
    /// Avro, single-object encoding.
    #[default]
    Avro,
}

/// Why a record was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Trades before this are no trades of the markets here: a clock that was never set.
const EARLIEST: Timestamp = Timestamp::from_secs(946_684_800);
/// Nothing is believed of times after this, the year 2200: sums of them stay numbers.
const LATEST: Timestamp = Timestamp::from_secs(7_258_118_400);
/// How far what a record says of itself may be ahead of when it was written, microseconds: two
/// clocks differ.
const SKEW: i64 = 60_000_000;
/// No price and no amount of a market is larger: sums and products of them stay numbers.
const LARGEST: f64 = 1e18;

/// Instruments that were met, so that a name is parsed once.
#[derive(Debug, Default)]
pub struct Instruments {
    known: HashMap<Box<[u8]>, Instrument>,
    /// The first name at each [`place()`]: most are found without the map.
    first: Vec<Option<(Box<[u8]>, Instrument)>>,
}

/// How many places there are.
const FIRST: usize = 1 << 10;

/// The place of a name. It may be easy to guess: whoever shares it is looked up in the map.
fn place(name: &[u8]) -> usize {
    let mut word = [0; 8];
    let count = name.len().min(8);
    word[..count].copy_from_slice(&name[..count]);
    let last = name.last().copied().unwrap_or_default();
    let mixed = u64::from_le_bytes(word) ^ (u64::from(last) << 57) ^ ((name.len() as u64) << 49);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 10)) as usize
}

impl Instruments {
    /// The instrument of a name such as `BTC/USD`.
    ///
    /// # Errors
    /// When the text names none.
    pub fn named(&mut self, name: &str) -> Result<Instrument, Refusal> {
        if let Some(known) = self.met(name.as_bytes()) {
            return Ok(known.clone());
        }
        let parsed: Instrument = name.parse().map_err(|e: foretell_market::InstrumentError| {
            Refusal::new(format!("product_id: {e}"))
        })?;
        let name: Box<[u8]> = name.as_bytes().into();
        if self.first.is_empty() {
            self.first.resize(FIRST, None);
        }
        self.first[place(&name)].get_or_insert_with(|| (name.clone(), parsed.clone()));
        self.known.insert(name, parsed.clone());
        Ok(parsed)
    }

    /// The instrument of a name that was met before.
    fn met(&self, name: &[u8]) -> Option<&Instrument> {
        match self.first.get(place(name)) {
            Some(Some((first, instrument))) if **first == *name => Some(instrument),
            _ => self.known.get(name),
        }
    }
}

/// How a product is written in a record: `BTC/USD`.
pub fn product_id(instrument: &Instrument) -> String {
    format!("{}/{}", instrument.base(), instrument.quote())
}

/// Whether a key is [`product_id()`] of an instrument.
pub(crate) fn is_product(key: &[u8], instrument: &Instrument) -> bool {
    let (base, quote) = (instrument.base().as_bytes(), instrument.quote().as_bytes());
    key.len() == base.len() + 1 + quote.len()
        && key.starts_with(base)
        && key[base.len()] == b'/'
        && key.ends_with(quote)
}

/// The bytes of what a feed brought.
pub fn encode_arrival(arrival: &Arrival, encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::arrival(arrival, out),
        Encoding::Avro => avro::arrival(arrival, out),
    }
}

/// What a feed brought, checked: prices above zero, amounts of zero or more, times after 1999
/// and at most `ahead` microseconds after the arrival. A record without a time of arrival
/// arrived when it was written, `written`.
///
/// # Errors
/// What is wrong, in words for an operator.
pub fn decode_arrival(
    value: &[u8],
    written: Timestamp,
    ahead: i64,
    instruments: &mut Instruments,
) -> Result<Arrival, Refusal> {
    let arrival = match value.first() {
        Some(&avro::MARKER) => avro::read_arrival(value, instruments)?,
        Some(b'{') => json::read_arrival(value, written, instruments)?,
        _ => return Err(Refusal::new("neither a JSON object nor Avro with its schema's mark")),
    };
    check(&arrival, written, ahead)?;
    Ok(arrival)
}

/// Refuses a time that no clock of a market shows.
fn sane(name: &str, time: Timestamp) -> Result<(), Refusal> {
    if time < EARLIEST {
        return Err(Refusal::new(format!("{name} {time} is before 2000: a clock not set?")));
    }
    if time > LATEST {
        return Err(Refusal::new(format!("{name} is {} us, after 2200", time.micros())));
    }
    Ok(())
}

/// Refuses what claims to be known long after it was written down.
fn written_after(name: &str, time: Timestamp, written: Timestamp) -> Result<(), Refusal> {
    sane(name, time)?;
    if time.micros() > written.micros().saturating_add(SKEW) {
        return Err(Refusal::new(format!("{name} {time} is after it was written, at {written}")));
    }
    Ok(())
}

fn check(arrival: &Arrival, written: Timestamp, ahead: i64) -> Result<(), Refusal> {
    written_after("the arrival", arrival.at, written)?;
    let timely = |name: &str, time: Timestamp| {
        sane(name, time)?;
        if time.micros().saturating_sub(ahead) > arrival.at.micros() {
            let at = arrival.at;
            return Err(Refusal::new(format!("{name} {time} is ahead of its arrival at {at}")));
        }
        Ok(())
    };
    match &arrival.event {
        FeedEvent::Trade(Trade { price, quantity, time, .. }) => {
            if !(price.is_finite() && *price > 0.0) {
                return Err(Refusal::new(format!("price {price} is not a positive number")));
            }
            if !(quantity.is_finite() && *quantity >= 0.0) {
                let text = format!("quantity {quantity} is not a number of zero or more");
                return Err(Refusal::new(text));
            }
            if price.max(*quantity) > LARGEST {
                let text = format!("price {price} or quantity {quantity} is above {LARGEST:e}");
                return Err(Refusal::new(text));
            }
            timely("the time", *time)
        }
        FeedEvent::Heartbeat { time, .. } => timely("the heartbeat", *time),
        FeedEvent::Gap { from, to, .. } | FeedEvent::Repaired { from, to, .. } => {
            if from >= to {
                return Err(Refusal::new(format!("the span from {from} to {to} is empty")));
            }
            timely("the start", *from)?;
            timely("the end", *to)
        }
        FeedEvent::Renumbered { time, .. } => timely("the time", *time),
    }
}

/// The bytes of what a window came to.
pub fn encode_closed(closed: &Closed, encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::closed(closed, out),
        Encoding::Avro => avro::closed(closed, out),
    }
}

/// The bytes of a bar by count.
pub fn encode_counted(counted: &Counted, encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::counted(counted, out),
        Encoding::Avro => avro::counted(counted, out),
    }
}

/// What a record of `ohlcv` says, checked: nothing is known before it is over, or after it was
/// written. A record that does not say when it was known was known when it was written,
/// `written`.
///
/// # Errors
/// What is wrong, in words for an operator.
pub fn decode_ohlcv(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Result<Ohlcv, Refusal> {
    let found = match value.first() {
        Some(&avro::MARKER) => avro::read_ohlcv(value, instruments)?,
        Some(b'{') => json::read_ohlcv(value, written, instruments)?,
        _ => return Err(Refusal::new("neither a JSON object nor Avro with its schema's mark")),
    };
    match found {
        Ohlcv::Closed(closed) => check_closed(closed, written).map(Ohlcv::Closed),
        Ohlcv::Counted(counted) => {
            let bar = &counted.bar;
            sane("the start", bar.candle.open_time)?;
            sane("the end", bar.end)?;
            written_after("known_at", bar.known_at, written)?;
            if bar.end < bar.candle.open_time || bar.known_at < bar.end {
                let (start, end, known_at) = (bar.candle.open_time, bar.end, bar.known_at);
                let text = format!("it starts at {start}, ends at {end}, known at {known_at}");
                return Err(Refusal::new(text));
            }
            bar.candle.check().map_err(|e| Refusal::new(e.to_string()))?;
            Ok(Ohlcv::Counted(counted))
        }
    }
}

/// What a window came to: [`decode_ohlcv()`] for who asks for nothing else.
///
/// # Errors
/// What is wrong, in words for an operator, and that it is a bar by count.
pub fn decode_closed(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Result<Closed, Refusal> {
    match decode_ohlcv(value, written, instruments)? {
        Ohlcv::Closed(closed) => Ok(closed),
        Ohlcv::Counted(counted) => {
            Err(Refusal::new(format!("it is a bar of {}, not of a window", counted.bar.spec)))
        }
    }
}

fn check_closed(closed: Closed, written: Timestamp) -> Result<Closed, Refusal> {
    let (end, known_at) = match &closed.bar {
        Bar::Candle(version) => {
            sane("the start", version.candle.open_time)?;
            (version.candle.open_time + closed.interval, version.known_at)
        }
        Bar::Silent { from, to, known_at, .. } => {
            sane("the start", *from)?;
            (*to, *known_at)
        }
        Bar::TooLate { time, known_at, .. } => (*time, *known_at),
    };
    sane("the end", end)?;
    written_after("known_at", known_at, written)?;
    if known_at < end && !matches!(closed.bar, Bar::TooLate { .. }) {
        return Err(Refusal::new(format!("it was known at {known_at}, before its end at {end}")));
    }
    if let Bar::Candle(version) = &closed.bar {
        version.candle.check().map_err(|e| Refusal::new(e.to_string()))?;
        if !closed.interval.is_on_grid(version.candle.open_time) {
            let (time, interval) = (version.candle.open_time, closed.interval);
            return Err(Refusal::new(format!("start {time} is not on the {interval} grid")));
        }
    }
    Ok(closed)
}

/// The bytes of a feature row.
pub fn encode_features(record: &FeatureRecord, encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::features(record, out),
        Encoding::Avro => avro::features(record, out),
    }
}

/// A feature row whose hash is that of its content.
///
/// # Errors
/// What is wrong, in words for an operator.
pub fn decode_features(value: &[u8]) -> Result<FeatureRecord, Refusal> {
    let record = match value.first() {
        Some(&avro::MARKER) => avro::read_features(value)?,
        Some(b'{') => json::read_features(value)?,
        _ => return Err(Refusal::new("neither a JSON object nor Avro with its schema's mark")),
    };
    let found = record.row.hash();
    if found != record.hash {
        let (said, found) = (record.hash.short(), found.short());
        return Err(Refusal::new(format!("the row has hash {found}, not {said} as it says")));
    }
    Ok(record)
}
