//! Candles in event time: windows close when event time has passed them, and trades that come
//! late make new versions of them.

mod silences;
mod spans;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::silences::{Run, Silences};
use self::spans::Spans;
use crate::{Arrival, Candle, FeedEvent, Interval, RowFlags, Timestamp, Trade};

/// When windows close and how long they can still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lateness {
    /// How far event time stays behind the latest trade, microseconds: trades that are out of
    /// order by less do not even come late.
    pub delay: i64,
    /// For how long after its close a window can still be answered otherwise, by late trades,
    /// gaps and repairs, microseconds.
    pub allowed: i64,
}

/// One version of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CandleVersion {
    /// The candle.
    pub candle: Candle,
    /// Price times amount, summed over its trades: quote currency.
    pub notional: f64,
    /// When this version became known (UTC): the arrival of what closed or changed it.
    pub known_at: Timestamp,
    /// 1 for the first answer of the window, silences included, and one more for every
    /// correction.
    pub version: u32,
    /// Marks: late, corrected, tainted by a gap.
    pub flags: RowFlags,
}

impl CandleVersion {
    /// The volume-weighted average price, quote currency; that of the close where only
    /// amounts of zero were traded.
    pub fn vwap(&self) -> f64 {
        if self.candle.volume > 0.0 {
            self.notional / self.candle.volume
        } else {
            self.candle.close
        }
    }
}

/// Why whole windows have no candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// The feed was up and nobody traded.
    NoTrade,
    /// The feed was down: nobody here knows.
    FeedDown,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Bar {
    /// A closed candle, or a correction of one.
    Candle(CandleVersion),
    /// The windows of `[from, to)` have no candle, in each of them.
    Silent {
        /// Start of the first window (UTC).
        from: Timestamp,
        /// End of the last window (UTC).
        to: Timestamp,
        /// Why.
        reason: Silence,
        /// When that was known (UTC).
        known_at: Timestamp,
        /// 1 for the first answer of these windows, and one more for every correction: a gap
        /// that was told of later, or its repair.
        version: u32,
    },
    /// A trade that came when its window took none any more: counted nowhere.
    TooLate {
        /// When it happened (UTC).
        time: Timestamp,
        /// The venue's id of it.
        id: Option<i64>,
        /// When it came (UTC).
        known_at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    candle: Candle,
    notional: f64,
    /// Event times of the trades behind `open` and `close`.
    first: Timestamp,
    last: Timestamp,
    /// How often the window was answered for, as silent too; never while it is open.
    versions: u32,
    tainted: bool,
    late: bool,
}

/// The candles of one instrument and interval, fed with what its feed brings in the order of
/// arrival. What comes out depends on that sequence alone.
///
/// Event time is the latest time that a trade (less the delay) or a heartbeat named; it never
/// goes back. A window `[t, t + interval)` closes when event time reaches its end, and can be
/// answered otherwise until event time is the allowed lateness past it (the rule of Flink's
/// `allowedLateness`): by late trades, by gaps that are told of later and by repairs. Of trades
/// out of order, `open` is the earliest and `close` the latest in event time; of equal times
/// the first and the last to arrive. Windows are answered for from the first trade or heartbeat
/// on; what was before it is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tumbling {
    interval: Interval,
    lateness: Lateness,
    /// Event time.
    watermark: Timestamp,
    /// Up to where windows have been answered for; `None` before the first trade or heartbeat.
    answered: Option<Timestamp>,
    /// The windows that have trades and may still change, oldest first.
    windows: VecDeque<Window>,
    /// The windows that have none and may still change.
    silences: Silences,
    /// What is not known and may still touch a window.
    gaps: Spans,
    /// The latest arrival so far: a clock that steps back makes nothing known earlier.
    now: Timestamp,
}

impl Tumbling {
    /// Before the first event.
    pub fn new(interval: Interval, lateness: Lateness) -> Self {
        Self {
            interval,
            lateness,
            watermark: Timestamp::from_micros(i64::MIN),
            answered: None,
            windows: VecDeque::new(),
            silences: Silences::default(),
            gaps: Spans::default(),
            now: Timestamp::from_micros(i64::MIN),
        }
    }

    /// The length of its candles.
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// How far event time has come; `None` before the first trade or heartbeat.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.answered.map(|_| self.watermark)
    }

    /// Takes the next event and hands out what it closed or changed, oldest first.
    pub fn feed(&mut self, arrival: &Arrival, mut out: impl FnMut(Bar)) {
        self.now = self.now.max(arrival.at);
        match &arrival.event {
            FeedEvent::Trade(trade) => self.trade(trade, &mut out),
            FeedEvent::Heartbeat { time, .. } => {
                self.begin(*time, *time);
                self.advance(*time, &mut out);
            }
            FeedEvent::Gap { from, to, .. } => self.gap(*from, *to, &mut out),
            FeedEvent::Repaired { from, to, .. } => {
                self.gaps.remove(*from, *to);
                self.remark(*from, *to, &mut out);
            }
            // Numbers are the business of whoever counts each trade once.
            FeedEvent::Renumbered { .. } => {}
        }
    }

    /// What was before the first trade or heartbeat is not known; windows that event time has passed by
    /// then are not asked for.
    fn begin(&mut self, time: Timestamp, watermark: Timestamp) {
        if self.answered.is_none() {
            self.watermark = watermark;
            self.answered = Some(self.interval.floor(watermark));
            self.gaps.add(Timestamp::from_micros(i64::MIN), time);
        }
    }

    /// Where event time is when a trade of `time` has come.
    fn delayed(&self, time: Timestamp) -> Timestamp {
        Timestamp::from_micros(time.micros().saturating_sub(self.lateness.delay))
    }

    fn trade(&mut self, trade: &Trade, out: &mut impl FnMut(Bar)) {
        let watermark = self.delayed(trade.time);
        self.begin(trade.time, watermark);
        // The ordinary case: the next trade of the newest window.
        if let Some(window) = self.windows.back_mut()
            && window.versions == 0
            && trade.time >= window.last
            && trade.time < window.candle.open_time + self.interval
        {
            window.add(trade);
        } else {
            self.place(trade, out);
        }
        self.advance(watermark, out);
    }

    /// Adds a trade to whatever window it belongs to.
    fn place(&mut self, trade: &Trade, out: &mut impl FnMut(Bar)) {
        let open_time = self.interval.floor(trade.time);
        let end = open_time + self.interval;
        if self.is_past(end) {
            out(Bar::TooLate { time: trade.time, id: trade.id, known_at: self.now });
            return;
        }
        let index = match self.windows.binary_search_by_key(&open_time, |w| w.candle.open_time) {
            Ok(index) => {
                self.windows[index].add(trade);
                index
            }
            Err(index) => {
                let mut window = Window::of(open_time, trade);
                window.versions = self.silences.take(open_time, self.interval);
                self.windows.insert(index, window);
                index
            }
        };
        if end <= self.watermark {
            let tainted = self.gaps.touches(open_time, end);
            let window = &mut self.windows[index];
            (window.late, window.tainted) = (true, tainted);
            out(Bar::Candle(window.version(self.now, end)));
        }
    }

    /// Whether a window that ends here is answered for good.
    fn is_past(&self, end: Timestamp) -> bool {
        end.micros().saturating_add(self.lateness.allowed) <= self.watermark.micros()
    }

    /// Moves event time on and closes what it has passed.
    fn advance(&mut self, time: Timestamp, out: &mut impl FnMut(Bar)) {
        if time <= self.watermark {
            return;
        }
        self.watermark = time;
        let Some(mut answered) = self.answered else { return };
        if time < answered + self.interval {
            return;
        }
        let reached = self.interval.floor(time);
        let from = self.windows.partition_point(|w| w.candle.open_time < answered);
        for index in from..self.windows.len() {
            let open_time = self.windows[index].candle.open_time;
            let end = open_time + self.interval;
            if end > reached {
                break;
            }
            self.silence(answered, open_time, out);
            let tainted = self.gaps.touches(open_time, end);
            let window = &mut self.windows[index];
            window.tainted = tainted;
            out(Bar::Candle(window.version(self.now, end)));
            answered = end;
        }
        self.silence(answered, reached, out);
        self.answered = Some(reached);
        self.forget();
    }

    /// Answers for windows without a trade, in runs of one reason.
    fn silence(&mut self, from: Timestamp, to: Timestamp, out: &mut impl FnMut(Bar)) {
        let mut start = from;
        while start < to {
            let (end, reason) = reason(&self.gaps, self.interval, start, to);
            let run = Run { from: start, to: end, reason, version: 1 };
            // A run is known when its last window is.
            out(run.bar(self.now.max(to)));
            self.silences.push(run);
            start = end;
        }
    }

    /// Drops what nothing can change any more.
    fn forget(&mut self) {
        while let Some(window) = self.windows.front() {
            if window.versions == 0 || !self.is_past(window.candle.open_time + self.interval) {
                break;
            }
            self.windows.pop_front();
        }
        let horizon = self.horizon();
        self.silences.forget(horizon);
        self.gaps.forget(horizon);
    }

    /// Start of the first window that is not answered for good.
    fn horizon(&self) -> Timestamp {
        let limit = self.watermark.micros().saturating_sub(self.lateness.allowed);
        // Far from both ends of the axis, where the grid has no place left.
        let lowest = Timestamp::MIN.micros();
        self.interval.floor(Timestamp::from_micros(limit.max(lowest)))
    }

    fn gap(&mut self, from: Timestamp, to: Timestamp, out: &mut impl FnMut(Bar)) {
        self.gaps.add(from, to);
        self.remark(from, to, out);
    }

    /// Answers again for the windows that a gap or its repair changes.
    fn remark(&mut self, from: Timestamp, to: Timestamp, out: &mut impl FnMut(Bar)) {
        let Some(answered) = self.answered else { return };
        let from = self.interval.floor(from.max(self.horizon()));
        if from >= to {
            return;
        }
        let (gaps, interval) = (&self.gaps, self.interval);
        let silent = (from, ceil(interval, to.min(answered)));
        let changed = self.silences.again(silent, |from, to| reason(gaps, interval, from, to));
        let mut changed = changed.into_iter().peekable();
        let first = self.windows.partition_point(|w| w.candle.open_time < from);
        for window in self.windows.range_mut(first..) {
            let (open_time, end) = (window.candle.open_time, window.candle.open_time + interval);
            if window.versions == 0 || open_time >= to {
                break;
            }
            while let Some(run) = changed.next_if(|run| run.from < open_time) {
                out(run.bar(self.now.max(run.to)));
            }
            let tainted = gaps.touches(open_time, end);
            if window.tainted != tainted {
                window.tainted = tainted;
                out(Bar::Candle(window.version(self.now, end)));
            }
        }
        for run in changed {
            out(run.bar(self.now.max(run.to)));
        }
    }
}

/// Up to where windows without a trade, from `start` on and before `to`, have one reason.
fn reason(
    gaps: &Spans,
    interval: Interval,
    start: Timestamp,
    to: Timestamp,
) -> (Timestamp, Silence) {
    match gaps.first_in(start, to) {
        Some((a, b)) if a < start + interval => (ceil(interval, b).min(to), Silence::FeedDown),
        Some((a, _)) => (interval.floor(a), Silence::NoTrade),
        None => (to, Silence::NoTrade),
    }
}

fn ceil(interval: Interval, time: Timestamp) -> Timestamp {
    let floor = interval.floor(time);
    if floor == time { time } else { floor + interval }
}

impl Run {
    fn bar(&self, known_at: Timestamp) -> Bar {
        let Self { from, to, reason, version } = *self;
        Bar::Silent { from, to, reason, known_at, version }
    }
}

impl Window {
    fn of(open_time: Timestamp, trade: &Trade) -> Self {
        Self {
            candle: Candle {
                open_time,
                open: trade.price,
                high: trade.price,
                low: trade.price,
                close: trade.price,
                volume: trade.quantity,
                trades: Some(1),
            },
            notional: trade.price * trade.quantity,
            first: trade.time,
            last: trade.time,
            versions: 0,
            tainted: false,
            late: false,
        }
    }

    fn add(&mut self, trade: &Trade) {
        let candle = &mut self.candle;
        if trade.time >= self.last {
            (self.last, candle.close) = (trade.time, trade.price);
        } else if trade.time < self.first {
            (self.first, candle.open) = (trade.time, trade.price);
        }
        candle.high = candle.high.max(trade.price);
        candle.low = candle.low.min(trade.price);
        candle.volume += trade.quantity;
        candle.trades = candle.trades.map(|n| n + 1);
        self.notional += trade.price * trade.quantity;
    }

    fn version(&mut self, at: Timestamp, end: Timestamp) -> CandleVersion {
        self.versions += 1;
        let mut flags = RowFlags::NONE;
        for (set, flag) in [
            (self.late, RowFlags::LATE),
            (self.versions > 1, RowFlags::CORRECTED),
            (self.tainted, RowFlags::TAINTED),
        ] {
            if set {
                flags |= flag;
            }
        }
        CandleVersion {
            candle: self.candle,
            notional: self.notional,
            // Nothing is known before it is over, whatever a clock says.
            known_at: at.max(end),
            version: self.versions,
            flags,
        }
    }
}

#[cfg(test)]
mod tests;
