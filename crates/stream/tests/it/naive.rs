//! The reference of event time: it keeps every trade, and looks at all of them again after
//! each event.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use foretell_market::{Arrival, FeedEvent, Lateness, Silence, Timestamp, Trade};

/// When feeds of whole seconds begin.
pub(crate) const START: i64 = 1_718_616_960;

/// What happens next: a record, or records that nobody will read.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Record(Arrival),
    Lost(Timestamp),
}

/// What a window came to, all that is said of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    /// Open, high, low, close, volume, notional, trades, late, tainted.
    Candle([f64; 6], u64, bool, bool),
    Silent(Silence),
}

/// All answers of each window, with version and known-at.
pub(crate) type Answers = BTreeMap<i64, Vec<(u32, Came, Timestamp)>>;

/// The answers of one interval.
pub(crate) struct Naive {
    pub(crate) interval: i64,
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
    pub(crate) answers: Answers,
    pub(crate) too_late: Vec<i64>,
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
    /// When each but the first began.
    since: Vec<Timestamp>,
}

impl Numbers {
    fn renumbered(&mut self, time: Timestamp) {
        if self.since.last().is_none_or(|since| *since < time) {
            if self.all.is_empty() {
                self.all.push((HashSet::new(), Timestamp::MIN));
            }
            self.all.push((HashSet::new(), Timestamp::MIN));
            self.since.push(time);
        }
    }

    fn counts(&mut self, trade: &Trade) -> Option<bool> {
        if self.all.is_empty() {
            self.all.push((HashSet::new(), Timestamp::MIN));
        }
        let (id, last) = (trade.id.unwrap(), self.all.len() - 1);
        let before = |since: &&Timestamp| trade.time < **since;
        let old = match self.since.iter().filter(before).count() {
            0 => false,
            1 => true,
            // Older than the last two numberings.
            _ => return None,
        };
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

/// What a feed comes to.
pub(crate) struct Reference {
    pub(crate) naive: Vec<Naive>,
    /// The trades that count, and whether something was missing since the one before.
    pub(crate) counted: Vec<(Trade, bool)>,
    /// How many trades came of which nobody knows whether they were counted.
    pub(crate) unknown: usize,
    /// How many were counted before.
    pub(crate) again: u64,
}

impl Reference {
    pub(crate) fn of(steps: &[Step], intervals: &[i64], lateness: Lateness) -> Self {
        let naive = intervals.iter().map(|interval| Naive::new(*interval, lateness)).collect();
        let mut reference = Self { naive, counted: Vec::new(), unknown: 0, again: 0 };
        let mut numbers = Numbers::default();
        let (mut begun, mut missing) = (false, false);
        for step in steps {
            let arrival = match step {
                Step::Record(arrival) => arrival,
                Step::Lost(until) => {
                    missing = true;
                    for naive in &mut reference.naive {
                        // An instrument that was not met has no answers yet.
                        if begun {
                            naive.now = naive.now.max(*until);
                        }
                        naive.unknown.extend(WORLD..=until.secs());
                        naive.look(naive.watermark);
                    }
                    continue;
                }
            };
            begun = true;
            let mut event = arrival.event.clone();
            match &arrival.event {
                FeedEvent::Trade(trade) => match numbers.counts(trade) {
                    Some(true) => {
                        reference.counted.push((trade.clone(), std::mem::take(&mut missing)));
                    }
                    Some(false) => {
                        reference.again += 1;
                        continue;
                    }
                    None => {
                        reference.unknown += 1;
                        missing = true;
                        let (from, to) = (trade.time, trade.time.plus_secs(1));
                        let (instrument, reason) = (trade.instrument.clone(), String::new());
                        event = FeedEvent::Gap { instrument, from, to, reason };
                    }
                },
                FeedEvent::Renumbered { time, .. } => numbers.renumbered(*time),
                FeedEvent::Gap { .. } => missing = true,
                FeedEvent::Heartbeat { .. } | FeedEvent::Repaired { .. } => {}
            }
            for naive in &mut reference.naive {
                naive.take(&event, arrival.at);
            }
        }
        reference
    }
}
