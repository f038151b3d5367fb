//! Records of the live river, which anybody may write, and the saved states of its operators.

use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows};
use foretell_market::{Arrival, FeedEvent, Instrument, Interval, Lateness, Timestamp, Trade};
use foretell_platform::live_forecasts::{ForecastOperator, ForecastSettings, decode, encode};
use foretell_stream::codec::{
    Encoding, Instruments, Refusal, avro, decode_arrival, decode_features, decode_ohlcv,
    encode_arrival, encode_closed, encode_counted, encode_features,
};
use foretell_stream::{
    CandleOperator, CandleSettings, FeatureOperator, FeatureSettings, Ohlcv, Operator, Outbox,
    Record, Stored, StreamError, Topics, View, save_state,
};
use serde::ser::{Serialize, SerializeTuple as _, Serializer};

pub(super) const ARRIVAL_WORDS: &[&str] = &[
    "\"product_id\":\"BTC/USD\"",
    "\"price\":",
    "\"quantity\":",
    "\"timestamp_ms\":",
    "\"timestamp_us\":",
    "\"arrived_us\":",
    "\"trade_id\":",
    "\"heartbeat_us\":",
    "\"gap\":{\"from_us\":",
    "\"to_us\":",
    "\"repaired\":",
    "\"renumbered\":{\"time_us\":",
    "1767225599000000",
    "7258118400000000",
    "946684800000000",
    "1e308",
    "9223372036854775807",
    "\n",
    ",",
];

pub(super) const OHLCV_WORDS: &[&str] = &[
    "\"product_id\":\"BTC/USD\"",
    "\"interval\":\"1m\"",
    "\"bar\":\"tick-3\"",
    "\"start\":",
    "\"end\":",
    "\"start_us\":",
    "\"end_us\":",
    "\"known_at_us\":",
    "\"silence\":\"feed_down\"",
    "\"too_late_us\":",
    "\"version\":",
    "\"flags\":[\"tainted\"]",
    "1767225540000",
    "7258118340000",
    "946684800000",
    "1e308",
    "4294967295",
    "\n",
    ",",
];

pub(super) const ROW_WORDS: &[&str] = &[
    "\"hash\":",
    "\"row\":",
    "\"features\":[",
    "\"context\":[",
    "\"names\":[",
    "\"version\":",
    "null",
    "1e999",
    "-0.0",
    "18446744073709551615",
];

pub(super) const FORECAST_WORDS: &[&str] = &[
    "\"kind\":\"forecast\"",
    "\"kind\":\"outcome\"",
    "\"kind\":\"unresolved\"",
    "\"format\":",
    "\"forecast_id\":",
    "\"instrument\":",
    "\"target_time\":",
    "\"known_at\":",
    "\"live\":{",
    "null",
    "[]",
    "{}",
    "\\u0000",
];

/// When the records were written: 2026-01-01 UTC.
const WRITTEN: Timestamp = Timestamp::from_secs(1_767_225_600);
const MINUTE: i64 = 60_000_000;

/// What is not understood says why, in a few words.
fn refusal(refusal: &Refusal) {
    assert!(!refusal.0.is_empty() && refusal.0.len() < 2_000, "{}", refusal.0);
}

/// Records that stand one behind the other: JSON in lines, Avro alone.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    match bytes.first() {
        Some(&avro::MARKER) => vec![bytes],
        _ => bytes.split(|byte| *byte == b'\n').collect(),
    }
}

fn encoding_of(value: &[u8]) -> Encoding {
    if value.first() == Some(&avro::MARKER) { Encoding::Avro } else { Encoding::Json }
}

fn topics() -> Topics {
    Topics::new(1, None)
}

fn stored(offset: usize, value: &[u8], time: Timestamp) -> Stored {
    let (key, value) = ("BTC/USD".into(), value.to_vec().into());
    Stored { offset: offset as u64, record: Record { key, value, time } }
}

fn candles() -> CandleOperator {
    let bars = ["1s", "1m", "1d", "tick-3", "volume-2.5", "dollar-1000"];
    let bars = bars.iter().map(|bar| bar.parse().expect("a bar")).collect();
    let lateness = Lateness { delay: 0, allowed: 30_000_000 };
    let (ahead, encoding) = (MINUTE, Encoding::Json);
    let mut made =
        CandleOperator::new(CandleSettings { bars, lateness, ahead, encoding }, topics());
    made.begin(0, 1);
    made
}

fn rows() -> FeatureOperator {
    let minutes = |n: i64| Interval::from_secs(60 * n).expect("minutes");
    let settings = FeatureSettings {
        interval: Interval::MINUTE,
        set: FeatureSet::named("candle-base", &Params::new()).expect("it is shipped"),
        context: ContextSpec {
            horizon: minutes(1),
            season: minutes(5),
            ewma_lambda: 0.94,
            returns: ReturnWindows::default(),
        },
        label: LabelSpec { horizon: minutes(1), price_column: "close".to_owned() },
        allowed: 30_000_000,
        encoding: Encoding::Avro,
    };
    FeatureOperator::new(settings, topics()).expect("candles have its columns")
}

/// An ordinary trade, before and behind what is strange.
fn trade(id: i64, time: i64) -> Vec<u8> {
    let instrument: Instrument = "BTC-USD".parse().expect("a name");
    let time = Timestamp::from_micros(time);
    let event = FeedEvent::Trade(Trade {
        instrument,
        time,
        id: Some(id),
        price: 100.0,
        quantity: 1.0,
        side: None,
    });
    let mut out = Vec::new();
    encode_arrival(&Arrival { event, at: time, backfilled: false }, Encoding::Avro, &mut out);
    out
}

/// Everything that was written: each is read by who comes next.
fn written(out: &mut Outbox) -> Vec<Stored> {
    let ohlcv = topics().ohlcv;
    let mut names = Instruments::default();
    let mut next = Vec::new();
    for (offset, (topic, _, record)) in out.take().into_iter().enumerate() {
        if topic == ohlcv {
            if let Err(refused) = decode_ohlcv(&record.value, record.time, &mut names) {
                let value = String::from_utf8_lossy(&record.value);
                panic!("a bar of ours is refused: {refused}: {value}");
            }
            next.push(Stored { offset: offset as u64, record });
        }
    }
    next
}

/// What a feed brings: read, written, read; then counted among ordinary trades.
pub(super) fn arrival(bytes: &[u8]) {
    let mut names = Instruments::default();
    let mut came = vec![stored(0, &trade(1, WRITTEN.micros() - MINUTE), WRITTEN)];
    for value in records(bytes) {
        match decode_arrival(value, WRITTEN, MINUTE, &mut names) {
            Ok(read) => {
                let mut once = Vec::new();
                encode_arrival(&read, encoding_of(value), &mut once);
                let again = decode_arrival(&once, WRITTEN, MINUTE, &mut names);
                assert_eq!(again.as_ref(), Ok(&read), "read, written, read");
            }
            Err(refused) => refusal(&refused),
        }
        came.push(stored(came.len(), value, WRITTEN));
    }
    came.push(stored(came.len(), &trade(i64::MAX / 4, WRITTEN.micros() + MINUTE), WRITTEN));
    let (mut candles, mut rows) = (candles(), rows());
    let mut out = Outbox::new(&topics());
    candles.process(&came, &mut out).expect("records are refused, not failed on");
    let closed = written(&mut out);
    rows.process(&closed, &mut out).expect("our own candles are understood");
    rows.complete(&mut out).expect("our own candles are understood");
    // What was saved is what goes on.
    let saved: Vec<_> =
        candles.save().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    self::candles().restore(&saved).expect("a state of ours is read");
}

/// What a window came to: read, written, read; then a feature row of it, or a refusal.
pub(super) fn ohlcv(bytes: &[u8]) {
    let mut names = Instruments::default();
    let mut came = Vec::new();
    for value in records(bytes) {
        match decode_ohlcv(value, WRITTEN, &mut names) {
            Ok(read) => {
                let encode = |read: &Ohlcv| {
                    let mut out = Vec::new();
                    match read {
                        Ohlcv::Closed(of) => encode_closed(of, encoding_of(value), &mut out),
                        Ohlcv::Counted(of) => encode_counted(of, encoding_of(value), &mut out),
                    }
                    out
                };
                let once = encode(&read);
                // Bytes, because a number that is none is not equal to itself.
                let again = decode_ohlcv(&once, WRITTEN, &mut names).expect("what we write");
                assert_eq!(encode(&again), once, "read, written, read");
            }
            Err(refused) => refusal(&refused),
        }
        came.push(stored(came.len(), value, WRITTEN));
    }
    let (mut rows, mut out) = (rows(), Outbox::new(&topics()));
    rows.process(&came, &mut out).expect("records are refused, not failed on");
    rows.complete(&mut out).expect("records are refused, not failed on");
    let saved: Vec<_> =
        rows.save().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    self::rows().restore(&saved).expect("a state of ours is read");
}

/// A feature row: read, written, read; shown, and handed to whoever forecasts.
pub(super) fn features(bytes: &[u8]) {
    let view = View::new(2);
    for value in records(bytes) {
        match decode_features(value) {
            Ok(read) => {
                let mut once = Vec::new();
                encode_features(&read, encoding_of(value), &mut once);
                assert_eq!(decode_features(&once).as_ref(), Ok(&read), "read, written, read");
                view.take(read);
                assert_eq!(view.len(), 1);
            }
            Err(refused) => refusal(&refused),
        }
        let (mut operator, mut out) = (forecasts(), Outbox::new(&topics()));
        let came = [stored(0, value, WRITTEN)];
        operator.process(&came, &mut out).expect("records are refused, not failed on");
    }
}

fn forecasts() -> ForecastOperator {
    ForecastOperator::new(Vec::new(), ForecastSettings { allowed: MINUTE, topics: topics() })
}

/// A forecast, an outcome, one that has none: read, written, read.
pub(super) fn forecast(bytes: &[u8]) {
    match decode(bytes) {
        Ok(Some(read)) => {
            let once = encode(&read);
            let again = decode(&once).expect("what we write").expect("of a kind that is known");
            assert_eq!(encode(&again), once, "read, written, read");
        }
        Ok(None) => {}
        Err(refused) => refusal(&refused),
    }
}

/// Bytes as they are, behind the seal of a state of ours.
struct Sealed<'a>(&'a [u8]);

impl Serialize for Sealed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

/// A saved state: entries of a key and a value, each behind its length (one byte, two bytes).
/// The first byte says whose it is, and whether a seal is put around the values: with it, what
/// is behind the seal is read; without, a damaged state has to be found out by it.
pub(super) fn state(bytes: &[u8]) {
    let Some((kind, mut rest)) = bytes.split_first() else { return };
    let sealed = kind & 0x80 != 0;
    let mut entries = Vec::new();
    while let [length, tail @ ..] = rest {
        let Some((key, tail)) = tail.split_at_checked(usize::from(*length)) else { break };
        let Some(([low, high], tail)) = tail.split_first_chunk::<2>() else { break };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (value, tail) = tail.split_at(length);
        let value = if sealed { save_state(&Sealed(value)) } else { value.to_vec().into() };
        entries.push((key.to_vec().into(), value));
        rest = tail;
    }
    let mut operator: Box<dyn Operator> = match kind & 0x7f {
        0 => Box::new(candles()),
        1 => Box::new(rows()),
        _ => Box::new(forecasts()),
    };
    match operator.restore(&entries) {
        Ok(()) if sealed => {}
        // Nobody else makes the seal: it is a state of ours, and goes on.
        Ok(()) => {
            let came = [stored(0, &trade(1, WRITTEN.micros()), WRITTEN)];
            let mut out = Outbox::new(&topics());
            operator.process(&came, &mut out).expect("it goes on");
        }
        Err(error @ StreamError::State { .. }) => {
            let said = error.to_string();
            assert!(said.contains("replay from the start"), "has no remedy: {said}");
        }
        Err(other) => panic!("it is no error of a state: {other}"),
    }
}
