//! Candles, silences and bars by count are those of every trade that was known when they
//! were, whatever comes, and however the work is cut.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use foretell_market::{Arrival, Bar, CountBar, FeedEvent, Lateness, RowFlags, Timestamp, Trade};
use foretell_stream::codec::{Encoding, Instruments, decode_ohlcv, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, Lost, Ohlcv, Operator, Outbox, Record, Stored, Topics,
    partition_of,
};
use proptest::prelude::*;

use crate::naive::{Answers, Came, Reference, START, Step};

const PARTITIONS: u32 = 4;
const TICKS: usize = 5;

/// A feed with everything that goes wrong in one; times are whole seconds.
fn feed(choices: &[(u8, i64, i64, u32)]) -> Vec<Step> {
    let instrument: foretell_market::Instrument = "BTC-USD".parse().unwrap();
    let secs = Timestamp::from_secs;
    let traded = |time: i64, id: i64, amount: u32| {
        let (price, quantity) = (f64::from(amount % 7 + 1) * 0.1, f64::from(amount) * 0.1);
        let (instrument, time, id) = (instrument.clone(), secs(time), Some(id));
        Trade { instrument, time, id, price, quantity, side: None }
    };
    let (mut now, mut id) = (START, 70);
    let mut sent: Vec<Trade> = Vec::new();
    let mut out = Vec::new();
    for (kind, step, back, amount) in choices {
        let (kind, step, back) = (*kind, *step, *back);
        let own = instrument.clone();
        if !matches!(kind, 7..=8 | 10) {
            now += step;
        }
        let trade = |sent: &mut Vec<Trade>, time: i64, id: i64| {
            sent.push(traded(time, id, *amount));
            FeedEvent::Trade(traded(time, id, *amount))
        };
        let event = match kind {
            0..=6 => {
                id += 1;
                trade(&mut sent, now, id)
            }
            // Late, by less than an hour.
            7..=8 => {
                id += 1;
                trade(&mut sent, now - back, id)
            }
            // Numbers were skipped.
            9 => {
                id += 1 + back;
                trade(&mut sent, now, id)
            }
            // One comes again.
            10 if !sent.is_empty() => {
                FeedEvent::Trade(sent[(back as usize * 31) % sent.len()].clone())
            }
            11 | 10 => FeedEvent::Heartbeat { instrument: own, time: secs(now) },
            12 => {
                let (from, to) = (secs(now - back), secs(now - back + step + 1));
                FeedEvent::Gap { instrument: own, from, to, reason: "down".to_owned() }
            }
            13 => {
                let (from, to) = (secs(now - back), secs(now - back + 4 * step + 1));
                FeedEvent::Repaired { instrument: own, from, to }
            }
            14 => {
                id = i64::from(*amount % 90);
                FeedEvent::Renumbered { instrument: own, time: secs(now), reason: String::new() }
            }
            // A venue that numbers anew and nobody says so.
            15 => {
                id = 71;
                trade(&mut sent, now, id)
            }
            _ => {
                out.push(Step::Lost(secs(now)));
                continue;
            }
        };
        // Clocks step back now and then.
        let at = secs(now + i64::from(*amount % 5));
        out.push(Step::Record(Arrival { event, at, backfilled: false }));
    }
    out
}

fn settings(lateness: Lateness) -> CandleSettings {
    let bars = ["1m", "5m", "tick-5"].map(|bar| bar.parse().unwrap()).to_vec();
    CandleSettings { bars, lateness, ahead: 600_000_000, encoding: Encoding::Avro }
}

/// What the operator writes, in pieces; between two of them it is saved and restored. And how
/// many trades it has counted before.
fn written(steps: &[Step], lateness: Lateness, cuts: &[usize]) -> (Vec<(String, Record)>, u64) {
    let topics = Topics::new(PARTITIONS, None);
    let mut state: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut out = Outbox::new(&topics);
    let mut operator = CandleOperator::new(settings(lateness), topics.clone());
    for (n, step) in steps.iter().enumerate() {
        if n == 0 || cuts.contains(&n) {
            for (key, value) in operator.save() {
                state.insert(key, value.expect("no state is removed"));
            }
            operator = CandleOperator::new(settings(lateness), topics.clone());
            operator.begin(partition_of(b"BTC/USD", PARTITIONS), PARTITIONS);
            let saved: Vec<_> = state.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            operator.restore(&saved).unwrap();
        }
        match step {
            Step::Record(arrival) => {
                let mut value = Vec::new();
                encode_arrival(arrival, Encoding::Avro, &mut value);
                let key = product_id(arrival.event.instrument()).into();
                // What it says of itself was true when it was written.
                let record = Record { key, value: value.into(), time: arrival.at };
                operator.process(&[Stored { offset: n as u64, record }], &mut out).unwrap();
            }
            Step::Lost(until) => operator.lost(&Lost { from: 0, to: 1 }, *until, &mut out).unwrap(),
        }
    }
    let repeats = out.repeats();
    let named = out.take().into_iter().map(|(topic, _, record)| (topic.to_string(), record));
    (named.collect(), repeats)
}

/// What was written, by interval.
#[derive(Default)]
struct Found {
    answers: HashMap<i64, Answers>,
    late: HashMap<i64, Vec<i64>>,
    ticks: Vec<CountBar>,
    refused: usize,
}

impl Found {
    fn of(written: &[(String, Record)]) -> Self {
        let (mut found, mut names) = (Self::default(), Instruments::default());
        for (topic, record) in written {
            if topic == "refused" {
                found.refused += 1;
                continue;
            }
            match decode_ohlcv(&record.value, record.time, &mut names).unwrap() {
                Ohlcv::Closed(closed) => found.take(closed.interval.secs(), closed.bar),
                Ohlcv::Counted(counted) => found.ticks.push(counted.bar),
            }
        }
        found
    }

    fn take(&mut self, interval: i64, bar: Bar) {
        let answers = self.answers.entry(interval).or_default();
        match bar {
            Bar::Candle(v) => {
                let c = v.candle;
                let numbers = [c.open, c.high, c.low, c.close, c.volume, v.notional];
                let has = |flag| v.flags.contains(flag);
                assert_eq!(has(RowFlags::CORRECTED), v.version > 1);
                let (late, tainted) = (has(RowFlags::LATE), has(RowFlags::TAINTED));
                let came = Came::Candle(numbers, c.trades.unwrap(), late, tainted);
                let all = answers.entry(c.open_time.secs()).or_default();
                all.push((v.version, came, v.known_at));
            }
            Bar::Silent { from, to, reason, known_at, version } => {
                for start in (from.secs()..to.secs()).step_by(interval as usize) {
                    let answer = (version, Came::Silent(reason), known_at);
                    answers.entry(start).or_default().push(answer);
                }
            }
            Bar::TooLate { time, .. } => {
                self.late.entry(interval).or_default().push(time.secs());
            }
        }
    }
}

fn bars_by_count_are_of_the_log(ticks: &[CountBar], counted: &[(Trade, bool)]) {
    assert_eq!(ticks.len(), counted.len() / TICKS);
    let mut latest = Timestamp::MIN;
    for (bar, trades) in ticks.iter().zip(counted.chunks(TICKS)) {
        let price = |n: usize| trades[n].0.price;
        assert_eq!((bar.candle.open, bar.candle.close), (price(0), price(TICKS - 1)));
        let volume: f64 = trades.iter().map(|(t, _)| t.quantity).sum();
        assert!((bar.candle.volume - volume).abs() <= 1e-9 * volume.max(1.0));
        let times = || trades.iter().map(|(t, _)| t.time);
        assert_eq!(Some(bar.candle.open_time), times().min());
        assert_eq!(Some(bar.end), times().max());
        let late = times().any(|time| time < latest);
        let tainted = trades.iter().any(|(_, missing)| *missing);
        let has = |flag| bar.flags.contains(flag);
        assert_eq!((has(RowFlags::LATE), has(RowFlags::TAINTED)), (late, tainted));
        latest = latest.max(bar.end);
    }
}

fn all_is_as_it_was_known(choices: &[(u8, i64, i64, u32)], cuts: &[usize], lateness: Lateness) {
    let steps = feed(choices);
    let whole = written(&steps, lateness, &[]);
    assert_eq!(written(&steps, lateness, cuts), whole, "however it is cut");
    let (whole, repeats) = whole;
    let mut found = Found::of(&whole);
    let reference = Reference::of(&steps, &[60, 300], lateness);
    for naive in reference.naive {
        let answers = found.answers.remove(&naive.interval).unwrap_or_default();
        assert_eq!(answers, naive.answers, "{} s", naive.interval);
        let late = found.late.remove(&naive.interval).unwrap_or_default();
        assert_eq!(late, naive.too_late, "{} s", naive.interval);
    }
    assert_eq!((found.refused, repeats), (reference.unknown, reference.again));
    bars_by_count_are_of_the_log(&found.ticks, &reference.counted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn candles_are_those_of_every_trade_that_was_known(
        choices in prop::collection::vec((0u8..17, 0i64..100, 0i64..400, 0u32..1000), 1..160),
        cuts in prop::collection::vec(0usize..160, 0..6),
        delay in 0i64..120, allowed in 0i64..600,
    ) {
        let lateness = Lateness { delay: delay * 1_000_000, allowed: allowed * 1_000_000 };
        all_is_as_it_was_known(&choices, &cuts, lateness);
    }
}
