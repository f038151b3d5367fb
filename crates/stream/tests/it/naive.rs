//! Candles against a reference that keeps every trade and looks at all of them again after
//! each event, whatever comes, and however the work is cut.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use foretell_market::{
    Arrival, Bar, FeedEvent, Interval, Lateness, RowFlags, Silence, Timestamp, Trade,
};
use foretell_stream::codec::{Encoding, Instruments, decode_ohlcv, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, Lost, Ohlcv, Operator, Outbox, Record, Stored, Topics,
    partition_of,
};
use proptest::prelude::*;

const START: i64 = 1_718_616_960;
const PARTITIONS: u32 = 4;
const TICKS: usize = 5;

/// What happens next: a record, or records that nobody will read.
#[derive(Debug, Clone)]
enum Step {
    Record(Arrival),
    Lost(Timestamp),
}

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

/// What the operator writes, in pieces; between two of them it is saved and restored.
fn written(steps: &[Step], lateness: Lateness, cuts: &[usize]) -> Vec<(String, Record)> {
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
    out.take().into_iter().map(|(topic, _, record)| (topic.to_string(), record)).collect()
}

/// What a window came to, all that is said of it.
#[derive(Debug, Clone, PartialEq)]
enum Came {
    /// Open, high, low, close, volume, notional, trades, late, tainted.
    Candle([f64; 6], u64, bool, bool),
    Silent(Silence),
}

type Answers = BTreeMap<i64, Vec<(u32, Came, Timestamp)>>;

struct Naive {
    interval: i64,
    delay: i64,
    allowed: i64,
    now: Timestamp,
    watermark: i64,
    /// Start of the first window that is asked for.
    first: Option<i64>,
    /// Trades in the order of arrival, and whether their window was closed by then.
    trades: Vec<(Trade, bool)>,
    /// Seconds of which nothing is known.
    unknown: BTreeSet<i64>,
    answers: Answers,
    too_late: Vec<i64>,
}

/// Long before anything.
const WORLD: i64 = START - 10_000;

impl Naive {
    fn new(interval: i64, lateness: Lateness) -> Self {
        let (delay, allowed) = (lateness.delay / 1_000_000, lateness.allowed / 1_000_000);
        let now = Timestamp::from_secs(0);
        let (trades, too_late) = (Vec::new(), Vec::new());
        let (unknown, answers) = (BTreeSet::new(), BTreeMap::new());
        Self {
            interval,
            delay,
            allowed,
            now,
            watermark: 0,
            first: None,
            trades,
            unknown,
            answers,
            too_late,
        }
    }

    fn begin(&mut self, time: i64, watermark: i64) {
        if self.first.is_none() {
            self.first = Some(watermark.div_euclid(self.interval) * self.interval);
            self.watermark = watermark;
            self.unknown.extend(WORLD..time);
        }
    }

    fn window(&self, time: i64) -> i64 {
        time.div_euclid(self.interval) * self.interval
    }

    fn take(&mut self, event: &FeedEvent, at: Timestamp) {
        self.now = self.now.max(at);
        let before = self.watermark;
        match event {
            FeedEvent::Trade(trade) => {
                let time = trade.time.secs();
                self.begin(time, time - self.delay);
                let end = self.window(time) + self.interval;
                if end + self.allowed <= self.watermark {
                    self.too_late.push(time);
                } else {
                    self.trades.push((trade.clone(), end <= self.watermark));
                }
                self.watermark = self.watermark.max(time - self.delay);
            }
            FeedEvent::Heartbeat { time, .. } => {
                self.begin(time.secs(), time.secs());
                self.watermark = self.watermark.max(time.secs());
            }
            FeedEvent::Gap { from, to, .. } => self.unknown.extend(from.secs()..to.secs()),
            FeedEvent::Repaired { from, to, .. } => {
                let (from, to) = (from.secs(), to.secs());
                self.unknown.retain(|s| !(from..to).contains(s));
            }
            FeedEvent::Renumbered { .. } => {}
        }
        self.look(before);
    }

    /// Answers for every window that is over, where the answer is another than it was.
    fn look(&mut self, before: i64) {
        let Some(first) = self.first else { return };
        let earliest = self.trades.iter().map(|(t, _)| self.window(t.time.secs())).min();
        let mut start = earliest.map_or(first, |e| e.min(first));
        while start + self.interval <= self.watermark {
            let end = start + self.interval;
            let told = self.answers.get(&start).and_then(|all| all.last());
            let is_final = told.is_some() && end + self.allowed <= before;
            let came = self.came(start).filter(|c| start >= first || matches!(c, Came::Candle(..)));
            if let Some(came) = came.filter(|c| !is_final && told.is_none_or(|t| t.1 != *c)) {
                let version = told.map_or(1, |t| t.0 + 1);
                self.answers.entry(start).or_default().push((version, came, self.now));
            }
            start = end;
        }
    }

    fn came(&self, start: i64) -> Option<Came> {
        let end = start + self.interval;
        let of = |t: &&(Trade, bool)| (start..end).contains(&t.0.time.secs());
        let trades: Vec<&(Trade, bool)> = self.trades.iter().filter(of).collect();
        let tainted = self.unknown.range(start..end).next().is_some();
        let Some((first, _)) = trades.first() else {
            return Some(Came::Silent(if tainted { Silence::FeedDown } else { Silence::NoTrade }));
        };
        // Of equal times the first and the last to arrive.
        let mut ordered: Vec<&Trade> = trades.iter().map(|(trade, _)| trade).collect();
        ordered.sort_by_key(|trade| trade.time);
        let prices = || trades.iter().map(|(trade, _)| trade.price);
        let (mut volume, mut notional) = (0.0, 0.0);
        for (trade, _) in &trades {
            volume += trade.quantity;
            notional += trade.price * trade.quantity;
        }
        let numbers = [
            ordered[0].price,
            prices().fold(first.price, f64::max),
            prices().fold(first.price, f64::min),
            ordered[ordered.len() - 1].price,
            volume,
            notional,
        ];
        let late = trades.iter().any(|(_, late)| *late);
        Some(Came::Candle(numbers, trades.len() as u64, late, tainted))
    }
}

/// Which trades count, by sets of all ids; `None` says that it is not known.
#[derive(Default)]
struct Numbers {
    /// Per numbering its ids and the latest time of its trades.
    all: Vec<(HashSet<i64>, Timestamp)>,
    since: Option<Timestamp>,
}

impl Numbers {
    fn renumbered(&mut self, time: Timestamp) {
        if self.since.is_none_or(|since| since < time) {
            if self.all.is_empty() {
                self.all.push((HashSet::new(), Timestamp::MIN));
            }
            self.all.push((HashSet::new(), Timestamp::MIN));
            self.since = Some(time);
        }
    }

    fn counts(&mut self, trade: &Trade) -> Option<bool> {
        if self.all.is_empty() {
            self.all.push((HashSet::new(), Timestamp::MIN));
        }
        let (id, last) = (trade.id.unwrap(), self.all.len() - 1);
        let old = self.since.is_some_and(|since| trade.time < since);
        if old && self.all[last - 1].0.contains(&id) != self.all[last].0.contains(&id) {
            return None;
        }
        let (ids, latest) = &mut self.all[if old { last - 1 } else { last }];
        if ids.contains(&id) {
            return if trade.time > latest.plus_secs(1) { None } else { Some(false) };
        }
        *latest = trade.time.max(*latest);
        Some(ids.insert(id))
    }
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
        let steps = feed(&choices);
        let whole = written(&steps, lateness, &[]);
        prop_assert_eq!(&written(&steps, lateness, &cuts), &whole, "however it is cut");

        let mut naive = [Naive::new(60, lateness), Naive::new(300, lateness)];
        let mut numbers = Numbers::default();
        let (mut counted, mut unsaid, mut begun) = (Vec::new(), 0, false);
        for step in &steps {
            match step {
                Step::Lost(until) => for naive in &mut naive {
                    // An instrument that was not met has no answers that could be late.
                    if begun { naive.now = naive.now.max(*until); }
                    naive.unknown.extend(WORLD..=until.secs());
                    naive.look(naive.watermark);
                },
                Step::Record(Arrival { event, at, .. }) => {
                    begun = true;
                    let own = || event.instrument().clone();
                    let event = match event {
                        FeedEvent::Trade(trade) => match numbers.counts(trade) {
                            Some(true) => { counted.push(trade.clone()); event.clone() }
                            Some(false) => continue,
                            None => {
                                unsaid += 1;
                                let (from, to) = (trade.time, trade.time.plus_secs(1));
                                FeedEvent::Gap { instrument: own(), from, to, reason: String::new() }
                            }
                        },
                        FeedEvent::Renumbered { time, .. } => { numbers.renumbered(*time); event.clone() }
                        _ => event.clone(),
                    };
                    for naive in &mut naive { naive.take(&event, *at); }
                }
            }
        }

        let mut names = Instruments::default();
        let (mut found, mut late): (HashMap<i64, Answers>, HashMap<i64, Vec<i64>>) = Default::default();
        let (mut refused, mut ticks) = (0, Vec::new());
        for (topic, record) in &whole {
            if topic == "refused" {
                refused += 1;
                continue;
            }
            let closed = match decode_ohlcv(&record.value, record.time, &mut names).unwrap() {
                Ohlcv::Closed(closed) => closed,
                Ohlcv::Counted(counted) => { ticks.push(counted.bar); continue }
            };
            let interval: Interval = closed.interval;
            let answers = found.entry(interval.secs()).or_default();
            match closed.bar {
                Bar::Candle(v) => {
                    let c = v.candle;
                    let numbers = [c.open, c.high, c.low, c.close, c.volume, v.notional];
                    let has = |flag| v.flags.contains(flag);
                    prop_assert_eq!(has(RowFlags::CORRECTED), v.version > 1);
                    let came = Came::Candle(numbers, c.trades.unwrap(), has(RowFlags::LATE), has(RowFlags::TAINTED));
                    answers.entry(c.open_time.secs()).or_default().push((v.version, came, v.known_at));
                }
                Bar::Silent { from, to, reason, known_at, version } => {
                    for start in (from.secs()..to.secs()).step_by(interval.secs() as usize) {
                        let answer = (version, Came::Silent(reason), known_at);
                        answers.entry(start).or_default().push(answer);
                    }
                }
                Bar::TooLate { time, .. } => late.entry(interval.secs()).or_default().push(time.secs()),
            }
        }
        for naive in naive {
            let answers = found.remove(&naive.interval).unwrap_or_default();
            prop_assert_eq!(answers, naive.answers, "{} s", naive.interval);
            prop_assert_eq!(late.remove(&naive.interval).unwrap_or_default(), naive.too_late);
        }
        prop_assert_eq!(refused, unsaid);
        prop_assert_eq!(ticks.len(), counted.len() / TICKS);
        for (bar, trades) in ticks.iter().zip(counted.chunks(TICKS)) {
            let volume: f64 = trades.iter().map(|t| t.quantity).sum();
            prop_assert_eq!((bar.candle.open, bar.candle.close), (trades[0].price, trades[TICKS - 1].price));
            prop_assert!((bar.candle.volume - volume).abs() <= 1e-9 * volume.max(1.0));
        }
    }
}
