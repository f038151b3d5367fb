//! Records in Avro's single-object encoding, written and read by hand for the one schema that
//! each kind of record has: a trade takes tens of nanoseconds.
//!
//! Source: Apache Avro 1.12 specification, "Binary encoding", "Single-object encoding" and
//! "Schema fingerprints". Times are `timestamp-micros` (UTC). Reference: bytes written by
//! fastavro (`tests/reference/avro_records.py`).

use foretell_feature::FeatureRow;
use foretell_market::{
    Arrival, Bar, Candle, CandleVersion, CountBar, FeedEvent, Fingerprint, Instrument, Interval,
    RowFlags, Side, Silence, Timestamp, Trade,
};

use super::{Instruments, Refusal};
use crate::rows::{Closed, Counted, FeatureRecord, Ohlcv};

/// The first byte of every record.
pub const MARKER: u8 = 0xC3;
const SECOND: u8 = 0x01;

/// The schema of what a feed brings, in parsing canonical form.
pub const ARRIVAL: &str = r#"{"name":"foretell.Arrival","type":"record","fields":[{"name":"product_id","type":"string"},{"name":"arrived_us","type":"long"},{"name":"backfilled","type":"boolean"},{"name":"event","type":[{"name":"foretell.Trade","type":"record","fields":[{"name":"time_us","type":"long"},{"name":"price","type":"double"},{"name":"quantity","type":"double"},{"name":"trade_id","type":["null","long"]},{"name":"side","type":["null",{"name":"foretell.Side","type":"enum","symbols":["buy","sell"]}]}]},{"name":"foretell.Heartbeat","type":"record","fields":[{"name":"time_us","type":"long"}]},{"name":"foretell.Gap","type":"record","fields":[{"name":"from_us","type":"long"},{"name":"to_us","type":"long"},{"name":"reason","type":"string"}]},{"name":"foretell.Repaired","type":"record","fields":[{"name":"from_us","type":"long"},{"name":"to_us","type":"long"}]},{"name":"foretell.Renumbered","type":"record","fields":[{"name":"time_us","type":"long"},{"name":"reason","type":"string"}]}]}]}"#;

/// The schema of what a window came to, in parsing canonical form.
pub const CLOSED: &str = r#"{"name":"foretell.Closed","type":"record","fields":[{"name":"product_id","type":"string"},{"name":"interval_s","type":"long"},{"name":"known_at_us","type":"long"},{"name":"bar","type":[{"name":"foretell.Candle","type":"record","fields":[{"name":"start_us","type":"long"},{"name":"open","type":"double"},{"name":"high","type":"double"},{"name":"low","type":"double"},{"name":"close","type":"double"},{"name":"volume","type":"double"},{"name":"notional","type":"double"},{"name":"trades","type":["null","long"]},{"name":"version","type":"long"},{"name":"flags","type":"long"}]},{"name":"foretell.Silent","type":"record","fields":[{"name":"from_us","type":"long"},{"name":"to_us","type":"long"},{"name":"reason","type":{"name":"foretell.Silence","type":"enum","symbols":["no_trade","feed_down"]}},{"name":"version","type":"long"}]},{"name":"foretell.TooLate","type":"record","fields":[{"name":"time_us","type":"long"},{"name":"trade_id","type":["null","long"]}]}]}]}"#;

/// The schema of a bar by count, in parsing canonical form.
pub const COUNTED: &str = r#"{"name":"foretell.CountBar","type":"record","fields":[{"name":"product_id","type":"string"},{"name":"bar","type":"string"},{"name":"number","type":"long"},{"name":"known_at_us","type":"long"},{"name":"start_us","type":"long"},{"name":"end_us","type":"long"},{"name":"open","type":"double"},{"name":"high","type":"double"},{"name":"low","type":"double"},{"name":"close","type":"double"},{"name":"volume","type":"double"},{"name":"notional","type":"double"},{"name":"trades","type":["null","long"]},{"name":"flags","type":"long"}]}"#;

/// The schema of a feature row, in parsing canonical form.
pub const FEATURES: &str = r#"{"name":"foretell.FeatureRow","type":"record","fields":[{"name":"product_id","type":"string"},{"name":"interval_s","type":"long"},{"name":"as_of_us","type":"long"},{"name":"known_at_us","type":"long"},{"name":"version","type":"long"},{"name":"hash","type":{"name":"foretell.Hash","type":"fixed","size":32}},{"name":"feature_set","type":"foretell.Hash"},{"name":"base_price","type":"double"},{"name":"flags","type":"long"},{"name":"gaps_in_window","type":"long"},{"name":"filled_in_window","type":"long"},{"name":"names","type":{"type":"array","items":"string"}},{"name":"features","type":{"type":"array","items":"double"}},{"name":"context_names","type":{"type":"array","items":"string"}},{"name":"context","type":{"type":"array","items":"double"}}]}"#;

/// Every schema with its fingerprint, for readers of other languages.
pub const SCHEMAS: [(u64, &str); 4] = [
    (ARRIVAL_MARK, ARRIVAL),
    (CLOSED_MARK, CLOSED),
    (COUNTED_MARK, COUNTED),
    (FEATURES_MARK, FEATURES),
];

const ARRIVAL_MARK: u64 = rabin(ARRIVAL.as_bytes());
const CLOSED_MARK: u64 = rabin(CLOSED.as_bytes());
const COUNTED_MARK: u64 = rabin(COUNTED.as_bytes());
const FEATURES_MARK: u64 = rabin(FEATURES.as_bytes());

/// The 64-bit Rabin fingerprint, CRC-64-AVRO.
const fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let mut hash = EMPTY;
    let mut i = 0;
    while i < bytes.len() {
        let mut entry = (hash ^ bytes[i] as u64) & 0xff;
        let mut bit = 0;
        while bit < 8 {
            entry = (entry >> 1) ^ (EMPTY & (0u64.wrapping_sub(entry & 1)));
            bit += 1;
        }
        hash = (hash >> 8) ^ entry;
        i += 1;
    }
    hash
}

fn begin(mark: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[MARKER, SECOND]);
    out.extend_from_slice(&mark.to_le_bytes());
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn double(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn text(value: &str, out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value.as_bytes());
}

/// Without a copy of the name: base, slash, quote.
fn product(instrument: &Instrument, out: &mut Vec<u8>) {
    long(instrument.as_str().len() as i64, out);
    out.extend_from_slice(instrument.base().as_bytes());
    out.push(b'/');
    out.extend_from_slice(instrument.quote().as_bytes());
}

fn optional(value: Option<i64>, out: &mut Vec<u8>) {
    match value {
        None => long(0, out),
        Some(value) => {
            long(1, out);
            long(value, out);
        }
    }
}

fn array<T>(items: &[T], out: &mut Vec<u8>, mut item: impl FnMut(&T, &mut Vec<u8>)) {
    if !items.is_empty() {
        long(items.len() as i64, out);
        for value in items {
            item(value, out);
        }
    }
    long(0, out);
}

pub(super) fn arrival(arrival: &Arrival, out: &mut Vec<u8>) {
    begin(ARRIVAL_MARK, out);
    product(arrival.event.instrument(), out);
    long(arrival.at.micros(), out);
    out.push(u8::from(arrival.backfilled));
    match &arrival.event {
        FeedEvent::Trade(trade) => {
            long(0, out);
            long(trade.time.micros(), out);
            double(trade.price, out);
            double(trade.quantity, out);
            optional(trade.id, out);
            optional(trade.side.map(|s| if s == Side::Buy { 0 } else { 1 }), out);
        }
        FeedEvent::Heartbeat { time, .. } => {
            long(1, out);
            long(time.micros(), out);
        }
        FeedEvent::Gap { from, to, reason, .. } => {
            long(2, out);
            long(from.micros(), out);
            long(to.micros(), out);
            text(reason, out);
        }
        FeedEvent::Repaired { from, to, .. } => {
            long(3, out);
            long(from.micros(), out);
            long(to.micros(), out);
        }
        FeedEvent::Renumbered { time, reason, .. } => {
            long(4, out);
            long(time.micros(), out);
            text(reason, out);
        }
    }
}

pub(super) fn closed(closed: &Closed, out: &mut Vec<u8>) {
    begin(CLOSED_MARK, out);
    product(&closed.instrument, out);
    long(closed.interval.secs(), out);
    match &closed.bar {
        Bar::Candle(version) => {
            let candle = &version.candle;
            long(version.known_at.micros(), out);
            long(0, out);
            long(candle.open_time.micros(), out);
            let numbers = [candle.open, candle.high, candle.low, candle.close, candle.volume];
            for value in numbers.into_iter().chain([version.notional]) {
                double(value, out);
            }
            optional(candle.trades.map(|n| n as i64), out);
            long(i64::from(version.version), out);
            long(i64::from(version.flags.bits()), out);
        }
        Bar::Silent { from, to, reason, known_at, version } => {
            long(known_at.micros(), out);
            long(1, out);
            long(from.micros(), out);
            long(to.micros(), out);
            long(if *reason == Silence::NoTrade { 0 } else { 1 }, out);
            long(i64::from(*version), out);
        }
        Bar::TooLate { time, id, known_at } => {
            long(known_at.micros(), out);
            long(2, out);
            long(time.micros(), out);
            optional(*id, out);
        }
    }
}

pub(super) fn counted(counted: &Counted, out: &mut Vec<u8>) {
    let CountBar { spec, number, candle, end, notional, known_at, flags } = &counted.bar;
    begin(COUNTED_MARK, out);
    product(&counted.instrument, out);
    text(&spec.to_string(), out);
    long(*number as i64, out);
    for time in [known_at, &candle.open_time, end] {
        long(time.micros(), out);
    }
    let numbers = [candle.open, candle.high, candle.low, candle.close, candle.volume, *notional];
    for value in numbers {
        double(value, out);
    }
    optional(candle.trades.map(|n| n as i64), out);
    long(i64::from(flags.bits()), out);
}

pub(super) fn features(record: &FeatureRecord, out: &mut Vec<u8>) {
    let row = &record.row;
    begin(FEATURES_MARK, out);
    product(&row.instrument, out);
    long(row.interval.secs(), out);
    long(row.as_of.micros(), out);
    long(row.known_at.micros(), out);
    long(i64::from(record.version), out);
    out.extend_from_slice(record.hash.as_bytes());
    out.extend_from_slice(row.feature_set.as_bytes());
    double(row.base_price, out);
    long(i64::from(row.flags.bits()), out);
    long(row.gaps_in_window as i64, out);
    long(row.filled_in_window as i64, out);
    for (names, values) in [(&row.names, &row.features), (&row.context_names, &row.context)] {
        array(names, out, |name, out| text(name, out));
        array(values, out, |value, out| double(*value, out));
    }
}

/// What is left of a record.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Behind the mark of the schema.
    fn new(value: &'a [u8], mark: u64, kind: &str) -> Result<Self, Refusal> {
        let Some(([MARKER, SECOND, found @ ..], rest)) = value.split_first_chunk::<10>() else {
            return Err(Refusal::new("Avro: the record is cut short"));
        };
        let found = u64::from_le_bytes(*found);
        if found == mark {
            return Ok(Self { rest });
        }
        let text = format!("Avro: schema {found:016x} is not the one of {kind}, {mark:016x}");
        Err(Refusal::new(text))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let cut = || Refusal::new("Avro: the record is cut short");
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64, Refusal> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Refusal::new("Avro: a number has more than 64 bits"))
    }

    fn time(&mut self) -> Result<Timestamp, Refusal> {
        self.long().map(Timestamp::from_micros)
    }

    fn count(&mut self) -> Result<usize, Refusal> {
        usize::try_from(self.long()?).map_err(|_| Refusal::new("Avro: a length is negative"))
    }

    fn double(&mut self) -> Result<f64, Refusal> {
        let bytes = self.take(8)?;
        Ok(f64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    fn text(&mut self) -> Result<&'a str, Refusal> {
        let length = self.count()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| Refusal::new("Avro: a text is no UTF-8"))
    }

    fn hash(&mut self) -> Result<Fingerprint, Refusal> {
        let bytes = self.take(32)?;
        Ok(Fingerprint::from_bytes(bytes.try_into().expect("32 bytes were taken")))
    }

    fn optional(&mut self) -> Result<Option<i64>, Refusal> {
        match self.long()? {
            0 => Ok(None),
            1 => self.long().map(Some),
            other => Err(Refusal::new(format!("Avro: a union of two has no branch {other}"))),
        }
    }

    fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let mut out = Vec::new();
        loop {
            // A negative count is followed by the block's size in bytes.
            let count = match self.long()? {
                0 => return Ok(out),
                negative if negative < 0 => {
                    self.long()?;
                    negative.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            for _ in 0..count {
                out.push(item(self)?);
            }
        }
    }

    fn small(&mut self, name: &str) -> Result<u32, Refusal> {
        let value = self.long()?;
        u32::try_from(value).map_err(|_| Refusal::new(format!("Avro: {name} {value} is no u32")))
    }

    fn end<T>(self, value: T) -> Result<T, Refusal> {
        if self.rest.is_empty() {
            return Ok(value);
        }
        Err(Refusal::new(format!("Avro: {} bytes are left over", self.rest.len())))
    }
}

fn branch<T>(found: i64) -> Result<T, Refusal> {
    Err(Refusal::new(format!("Avro: there is no branch {found}")))
}

pub(super) fn read_arrival(
    value: &[u8],
    instruments: &mut Instruments,
) -> Result<Arrival, Refusal> {
    let mut reader = Reader::new(value, ARRIVAL_MARK, "what a feed brings")?;
    let instrument = instruments.named(reader.text()?)?;
    let at = reader.time()?;
    let backfilled = reader.take(1)?[0] != 0;
    let event = match reader.long()? {
        0 => FeedEvent::Trade(Trade {
            instrument,
            time: reader.time()?,
            price: reader.double()?,
            quantity: reader.double()?,
            id: reader.optional()?,
            side: match reader.optional()? {
                None => None,
                Some(0) => Some(Side::Buy),
                Some(1) => Some(Side::Sell),
                Some(other) => return branch(other),
            },
        }),
        1 => FeedEvent::Heartbeat { instrument, time: reader.time()? },
        2 => FeedEvent::Gap {
            instrument,
            from: reader.time()?,
            to: reader.time()?,
            reason: reader.text()?.to_owned(),
        },
        3 => FeedEvent::Repaired { instrument, from: reader.time()?, to: reader.time()? },
        4 => FeedEvent::Renumbered {
            instrument,
            time: reader.time()?,
            reason: reader.text()?.to_owned(),
        },
        other => return branch(other),
    };
    reader.end(Arrival { event, at, backfilled })
}

fn interval(secs: i64) -> Result<Interval, Refusal> {
    Interval::from_secs(secs).map_err(|e| Refusal::new(e.to_string()))
}

/// What a record of `ohlcv` says: the schema says which of two things.
pub(super) fn read_ohlcv(value: &[u8], instruments: &mut Instruments) -> Result<Ohlcv, Refusal> {
    if value.get(2..10) == Some(&COUNTED_MARK.to_le_bytes()) {
        return read_counted(value, instruments).map(Ohlcv::Counted);
    }
    read_closed(value, instruments).map(Ohlcv::Closed)
}

fn read_counted(value: &[u8], instruments: &mut Instruments) -> Result<Counted, Refusal> {
    let mut reader = Reader::new(value, COUNTED_MARK, "a bar by count")?;
    let instrument = instruments.named(reader.text()?)?;
    let spec = reader.text()?.parse();
    let spec = spec.map_err(|e: foretell_market::BarSpecError| Refusal::new(e.to_string()))?;
    let number = reader.long()?.unsigned_abs();
    let (known_at, open_time, end) = (reader.time()?, reader.time()?, reader.time()?);
    let mut candle = Candle {
        open_time,
        open: reader.double()?,
        high: reader.double()?,
        low: reader.double()?,
        close: reader.double()?,
        volume: reader.double()?,
        trades: None,
    };
    let notional = reader.double()?;
    candle.trades = reader.optional()?.map(i64::unsigned_abs);
    let flags = RowFlags::from_bits(reader.small("flags")?);
    let bar = CountBar { spec, number, candle, end, notional, known_at, flags };
    reader.end(Counted { instrument, bar })
}

fn read_closed(value: &[u8], instruments: &mut Instruments) -> Result<Closed, Refusal> {
    let mut reader = Reader::new(value, CLOSED_MARK, "what a window came to")?;
    let instrument = instruments.named(reader.text()?)?;
    let interval = interval(reader.long()?)?;
    let known_at = reader.time()?;
    let bar = match reader.long()? {
        0 => Bar::Candle(CandleVersion {
            candle: Candle {
                open_time: reader.time()?,
                open: reader.double()?,
                high: reader.double()?,
                low: reader.double()?,
                close: reader.double()?,
                volume: reader.double()?,
                trades: None,
            },
            notional: reader.double()?,
            known_at,
            version: 0,
            flags: RowFlags::NONE,
        }),
        1 => Bar::Silent {
            from: reader.time()?,
            to: reader.time()?,
            reason: match reader.long()? {
                0 => Silence::NoTrade,
                1 => Silence::FeedDown,
                other => return branch(other),
            },
            version: reader.small("version")?,
            known_at,
        },
        2 => Bar::TooLate { time: reader.time()?, id: reader.optional()?, known_at },
        other => return branch(other),
    };
    let bar = match bar {
        Bar::Candle(mut version) => {
            version.candle.trades = reader.optional()?.map(i64::unsigned_abs);
            version.version = reader.small("version")?;
            version.flags = RowFlags::from_bits(reader.small("flags")?);
            Bar::Candle(version)
        }
        other => other,
    };
    reader.end(Closed { instrument, interval, bar })
}

pub(super) fn read_features(value: &[u8]) -> Result<FeatureRecord, Refusal> {
    let mut reader = Reader::new(value, FEATURES_MARK, "feature rows")?;
    let instrument = Instruments::default().named(reader.text()?)?;
    let interval = interval(reader.long()?)?;
    let (as_of, known_at) = (reader.time()?, reader.time()?);
    let version = reader.small("version")?;
    let (hash, feature_set) = (reader.hash()?, reader.hash()?);
    let base_price = reader.double()?;
    let flags = RowFlags::from_bits(reader.small("flags")?);
    let (gaps_in_window, filled_in_window) = (reader.count()?, reader.count()?);
    let name = |r: &mut Reader<'_>| r.text().map(str::to_owned);
    let (names, features) = (reader.array(name)?.into(), reader.array(Reader::double)?);
    let (context_names, context) = (reader.array(name)?.into(), reader.array(Reader::double)?);
    let row = FeatureRow {
        instrument,
        interval,
        as_of,
        known_at,
        names,
        features,
        context_names,
        context,
        base_price,
        flags,
        gaps_in_window,
        filled_in_window,
        feature_set,
    };
    reader.end(FeatureRecord { hash, version, row })
}
