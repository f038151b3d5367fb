//! Records as JSON objects. Times are UTC: `_ms` milliseconds, `_us` microseconds.
//!
//! Fields that are not known are skipped: other programs may add theirs.

use std::borrow::Cow;

use foretell_market::{
    Arrival, Bar, Candle, CandleVersion, CountBar, CountSpec, FeedEvent, Fingerprint, Interval,
    RowFlags, Side, Silence, Timestamp, Trade,
};
use serde::{Deserialize, Serialize};

use super::{Instruments, Refusal, product_id, trade_json};
use crate::rows::{Closed, Counted, FeatureRecord, Ohlcv};

#[derive(Default, Serialize, Deserialize)]
struct WireArrival<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_us: Option<i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    gap: Option<WireSpan<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    repaired: Option<WireSpan<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    renumbered: Option<WireMark<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived_us: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    backfilled: bool,
}

#[derive(Serialize, Deserialize)]
struct WireSpan<'a> {
    from_us: i64,
    to_us: i64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct WireMark<'a> {
    time_us: i64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("plain fields are written to memory");
}

pub(super) fn arrival(arrival: &Arrival, out: &mut Vec<u8>) {
    let name = product_id(arrival.event.instrument());
    let mut wire = WireArrival {
        product_id: Cow::Borrowed(&name),
        arrived_us: Some(arrival.at.micros()),
        backfilled: arrival.backfilled,
        ..WireArrival::default()
    };
    let span = |from: &Timestamp, to: &Timestamp| (from.micros(), to.micros());
    match &arrival.event {
        FeedEvent::Trade(trade) => {
            wire.price = Some(trade.price);
            wire.quantity = Some(trade.quantity);
            wire.timestamp_ms = Some(trade.time.millis());
            wire.timestamp_us = Some(trade.time.micros());
            (wire.trade_id, wire.side) = (trade.id, trade.side);
        }
        FeedEvent::Heartbeat { time, .. } => wire.heartbeat_us = Some(time.micros()),
        FeedEvent::Gap { from, to, reason, .. } => {
            let (from_us, to_us) = span(from, to);
            wire.gap = Some(WireSpan { from_us, to_us, reason: Some(Cow::Borrowed(reason)) });
        }
        FeedEvent::Repaired { from, to, .. } => {
            let (from_us, to_us) = span(from, to);
            wire.repaired = Some(WireSpan { from_us, to_us, reason: None });
        }
        FeedEvent::Renumbered { time, reason, .. } => {
            let reason = Some(Cow::Borrowed(&**reason));
            wire.renumbered = Some(WireMark { time_us: time.micros(), reason });
        }
    }
    write(&wire, out);
}

fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(value).map_err(|e| Refusal::new(format!("JSON: {e}")))
}

pub(super) fn read_arrival(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Result<Arrival, Refusal> {
    trade_json::read(value, written, instruments)
        .unwrap_or_else(|| read_any(value, written, instruments))
}

/// What a feed brought, however it is written.
pub(super) fn read_any(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Result<Arrival, Refusal> {
    let wire: WireArrival<'_> = parse(value)?;
    let instrument = instruments.named(&wire.product_id)?;
    let at = wire.arrived_us.map_or(written, Timestamp::from_micros);
    let times = |span: &WireSpan<'_>| {
        (Timestamp::from_micros(span.from_us), Timestamp::from_micros(span.to_us))
    };
    let event = if let (Some(price), Some(quantity)) = (wire.price, wire.quantity) {
        let exact = wire.timestamp_us.map(Timestamp::from_micros);
        let time = match (exact, wire.timestamp_ms) {
            (Some(exact), _) => exact,
            (None, Some(ms)) => millis("timestamp_ms", ms)?,
            (None, None) => return Err(Refusal::new("a trade without `timestamp_ms`")),
        };
        let (id, side) = (wire.trade_id, wire.side);
        FeedEvent::Trade(Trade { instrument, time, id, price, quantity, side })
    } else if let Some(time) = wire.heartbeat_us {
        FeedEvent::Heartbeat { instrument, time: Timestamp::from_micros(time) }
    } else if let Some(span) = &wire.gap {
        let (from, to) = times(span);
        FeedEvent::Gap { instrument, from, to, reason: said(span.reason.as_deref()) }
    } else if let Some(span) = &wire.repaired {
        let (from, to) = times(span);
        FeedEvent::Repaired { instrument, from, to }
    } else if let Some(mark) = &wire.renumbered {
        let time = Timestamp::from_micros(mark.time_us);
        FeedEvent::Renumbered { instrument, time, reason: said(mark.reason.as_deref()) }
    } else {
        let text = "neither a trade (`price` and `quantity`) nor `heartbeat_us`, `gap`, \
                    `repaired`, `renumbered`";
        return Err(Refusal::new(text));
    };
    Ok(Arrival { event, at, backfilled: wire.backfilled })
}

fn said(reason: Option<&str>) -> String {
    reason.unwrap_or("not said").to_owned()
}

#[derive(Default, Serialize, Deserialize)]
struct WireClosed<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Interval>,
    /// What a bar by count counts, in place of an interval; with its number and its ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<CountSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    /// The end of the window, milliseconds: the name that other streams give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notional: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vwap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trades: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    flags: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silence: Option<Silence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    too_late_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_id: Option<i64>,
    known_at_us: Option<i64>,
}

pub(super) fn closed(closed: &Closed, out: &mut Vec<u8>) {
    let name = product_id(&closed.instrument);
    let mut wire = WireClosed {
        product_id: Cow::Borrowed(&name),
        interval: Some(closed.interval),
        ..WireClosed::default()
    };
    let mut window = |from: Timestamp, to: Timestamp, known_at: Timestamp| {
        (wire.start, wire.end) = (Some(from.millis()), Some(to.millis()));
        wire.timestamp_ms = wire.end;
        wire.known_at_us = Some(known_at.micros());
    };
    match &closed.bar {
        Bar::Candle(version) => {
            let candle = &version.candle;
            window(candle.open_time, candle.open_time + closed.interval, version.known_at);
            (wire.open, wire.high) = (Some(candle.open), Some(candle.high));
            (wire.low, wire.close) = (Some(candle.low), Some(candle.close));
            (wire.volume, wire.notional) = (Some(candle.volume), Some(version.notional));
            (wire.vwap, wire.trades) = (Some(version.vwap()), candle.trades);
            wire.version = Some(version.version);
            wire.flags = version.flags.names().into_iter().map(Cow::Borrowed).collect();
        }
        Bar::Silent { from, to, reason, known_at, version } => {
            window(*from, *to, *known_at);
            (wire.silence, wire.version) = (Some(*reason), Some(*version));
        }
        Bar::TooLate { time, id, known_at } => {
            (wire.too_late_us, wire.trade_id) = (Some(time.micros()), *id);
            wire.known_at_us = Some(known_at.micros());
        }
    }
    write(&wire, out);
}

pub(super) fn counted(counted: &Counted, out: &mut Vec<u8>) {
    let name = product_id(&counted.instrument);
    let CountBar { spec, number, candle, end, notional, known_at, flags } = &counted.bar;
    let wire = WireClosed {
        product_id: Cow::Borrowed(&name),
        bar: Some(*spec),
        number: Some(*number),
        start_us: Some(candle.open_time.micros()),
        end_us: Some(end.micros()),
        timestamp_ms: Some(end.millis()),
        open: Some(candle.open),
        high: Some(candle.high),
        low: Some(candle.low),
        close: Some(candle.close),
        volume: Some(candle.volume),
        notional: Some(*notional),
        vwap: (candle.volume > 0.0).then_some(*notional / candle.volume),
        trades: candle.trades,
        flags: flags.names().into_iter().map(Cow::Borrowed).collect(),
        known_at_us: Some(known_at.micros()),
        ..WireClosed::default()
    };
    write(&wire, out);
}

/// A time of whole milliseconds.
fn millis(name: &str, value: i64) -> Result<Timestamp, Refusal> {
    let micros = value.checked_mul(1000);
    let micros = micros.ok_or_else(|| Refusal::new(format!("`{name}` {value} is no time")))?;
    Ok(Timestamp::from_micros(micros))
}

/// The value of a field, or the refusal that names it.
fn need<T>(name: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::new(format!("there is no field `{name}`")))
}

fn flags(names: &[Cow<'_, str>]) -> Result<RowFlags, Refusal> {
    let mut flags = RowFlags::NONE;
    for name in names {
        let flag = RowFlags::named(name);
        flags |= flag.ok_or_else(|| Refusal::new(format!("`{name}` is no flag")))?;
    }
    Ok(flags)
}

fn candle(wire: &WireClosed<'_>, open_time: Timestamp) -> Result<Candle, Refusal> {
    Ok(Candle {
        open_time,
        open: need("open", wire.open)?,
        high: need("high", wire.high)?,
        low: need("low", wire.low)?,
        close: need("close", wire.close)?,
        volume: need("volume", wire.volume)?,
        trades: wire.trades,
    })
}

fn read_counted(
    wire: &WireClosed<'_>,
    spec: CountSpec,
    instrument: foretell_market::Instrument,
    written: Timestamp,
) -> Result<Counted, Refusal> {
    let time = |name, us| need(name, us).map(Timestamp::from_micros);
    let end = time("end_us", wire.end_us)?;
    let bar = CountBar {
        spec,
        number: need("number", wire.number)?,
        candle: candle(wire, time("start_us", wire.start_us)?)?,
        end,
        notional: need("notional", wire.notional)?,
        known_at: wire.known_at_us.map_or(end.max(written), Timestamp::from_micros),
        flags: flags(&wire.flags)?,
    };
    Ok(Counted { instrument, bar })
}

pub(super) fn read_ohlcv(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Result<Ohlcv, Refusal> {
    let wire: WireClosed<'_> = parse(value)?;
    let instrument = instruments.named(&wire.product_id)?;
    if let Some(spec) = wire.bar {
        return read_counted(&wire, spec, instrument, written).map(Ohlcv::Counted);
    }
    let (start, end) = (wire.start, wire.end);
    let millis = |name, value| need(name, value).and_then(|ms| millis(name, ms));
    // A stream of others names no interval; its windows do.
    let interval = match wire.interval {
        Some(interval) => interval,
        None => Interval::from_secs(need("end", end)?.saturating_sub(need("start", start)?) / 1000)
            .map_err(|e| Refusal::new(e.to_string()))?,
    };
    let known_at =
        |end: Timestamp| wire.known_at_us.map_or(end.max(written), Timestamp::from_micros);
    let bar = if let Some(time) = wire.too_late_us {
        let time = Timestamp::from_micros(time);
        Bar::TooLate { time, id: wire.trade_id, known_at: known_at(time) }
    } else if let Some(reason) = wire.silence {
        let (from, to) = (millis("start", start)?, millis("end", end)?);
        let version = wire.version.unwrap_or(1);
        Bar::Silent { from, to, reason, known_at: known_at(to), version }
    } else {
        let open_time = millis("start", start)?;
        Bar::Candle(CandleVersion {
            candle: candle(&wire, open_time)?,
            notional: wire.notional.unwrap_or(f64::NAN),
            known_at: known_at(open_time + interval),
            version: wire.version.unwrap_or(1),
            flags: flags(&wire.flags)?,
        })
    };
    Ok(Ohlcv::Closed(Closed { instrument, interval, bar }))
}

#[derive(Serialize, Deserialize)]
struct WireFeatures<R> {
    product_id: String,
    /// The decision time, milliseconds.
    timestamp_ms: i64,
    hash: Fingerprint,
    version: u32,
    row: R,
}

pub(super) fn features(record: &FeatureRecord, out: &mut Vec<u8>) {
    let wire = WireFeatures {
        product_id: product_id(&record.row.instrument),
        timestamp_ms: record.row.as_of.millis(),
        hash: record.hash,
        version: record.version,
        row: &record.row,
    };
    write(&wire, out);
}

pub(super) fn read_features(value: &[u8]) -> Result<FeatureRecord, Refusal> {
    let wire: WireFeatures<foretell_feature::FeatureRow> = parse(value)?;
    Ok(FeatureRecord { hash: wire.hash, version: wire.version, row: wire.row })
}
