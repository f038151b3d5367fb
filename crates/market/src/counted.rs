//! Bars by count: so many trades, so much volume, so much money.
//!
//! Source: M. López de Prado, *Advances in Financial Machine Learning* (Wiley, 2018), section
//! 2.3.1, "Standard bars". A bar closes with the trade that reaches its bound; that trade is
//! not split, so a bar may hold more than its bound, and the next one begins with nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Arrival, Candle, FeedEvent, Interval, RowFlags, Timestamp, Trade};

/// What a bar by count counts, and up to where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CountSpec {
    /// So many trades: tick bars.
    Ticks(u64),
    /// So much of the base asset: volume bars.
    Volume(f64),
    /// So much of the quote currency: dollar bars.
    Notional(f64),
}

/// The text names no bar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no bar: write an interval (1m), tick-<trades> of 1 or more, volume-<base amount> or \
     dollar-<quote amount> of 1e-12 to 1e18"
)]
pub struct BarSpecError(pub String);

impl CountSpec {
    /// Whether sums of trades reach the bound.
    fn is_reached(self, trades: u64, volume: f64, notional: f64) -> bool {
        match self {
            Self::Ticks(bound) => trades >= bound,
            Self::Volume(bound) => volume >= bound,
            Self::Notional(bound) => notional >= bound,
        }
    }
}

/// Writes `tick-100`, `volume-12.5`, `dollar-1000000`.
impl fmt::Display for CountSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticks(bound) => write!(f, "tick-{bound}"),
            Self::Volume(bound) => write!(f, "volume-{bound}"),
            Self::Notional(bound) => write!(f, "dollar-{bound}"),
        }
    }
}

impl FromStr for CountSpec {
    type Err = BarSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || BarSpecError(text.to_owned());
        let (kind, bound) = text.split_once('-').ok_or_else(fail)?;
        // Bounds that a name can be made of, and sums reach.
        let amount = || bound.parse().ok().filter(|b: &f64| (1e-12..=1e18).contains(b));
        let spec = match kind {
            "tick" => bound.parse().ok().filter(|b| *b > 0).map(Self::Ticks),
            "volume" => amount().map(Self::Volume),
            "dollar" => amount().map(Self::Notional),
            _ => None,
        };
        spec.ok_or_else(fail)
    }
}

impl Serialize for CountSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CountSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What closes a bar: time or a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BarSpec {
    /// The end of a window of event time.
    Time(Interval),
    /// A sum of trades.
    Count(CountSpec),
}

impl From<Interval> for BarSpec {
    fn from(interval: Interval) -> Self {
        Self::Time(interval)
    }
}

impl From<CountSpec> for BarSpec {
    fn from(count: CountSpec) -> Self {
        Self::Count(count)
    }
}

/// Writes `1m` or `tick-100`.
impl fmt::Display for BarSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(interval) => interval.fmt(f),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl FromStr for BarSpec {
    type Err = BarSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(interval) => Ok(Self::Time(interval)),
            Err(_) => text.parse().map(Self::Count),
        }
    }
}

impl Serialize for BarSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BarSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A bar by count; it is final.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountBar {
    /// What closed it.
    pub spec: CountSpec,
    /// 0 for the first bar, and one more for each that follows.
    pub number: u64,
    /// `open` is the first trade and `close` the last one in the order of arrival; `open_time`
    /// is when the earliest of them happened (UTC).
    pub candle: Candle,
    /// When the latest of them happened (UTC).
    pub end: Timestamp,
    /// Price times amount, summed over its trades: quote currency.
    pub notional: f64,
    /// When it became known (UTC): the arrival of the trade that closed it.
    pub known_at: Timestamp,
    /// Late: it holds a trade that is older than one of an earlier bar. Tainted: a gap was told
    /// of while it was open or since the bar before.
    pub flags: RowFlags,
}

/// A sum with what rounding took from it (Neumaier 1974), so that amounts of decimal digits
/// reach a bound of decimal digits when they do so on paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum(f64, f64);

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.0 + value;
        let (larger, smaller) =
            if self.0.abs() >= value.abs() { (self.0, value) } else { (value, self.0) };
        self.1 += (larger - sum) + smaller;
        self.0 = sum;
    }

    fn value(self) -> f64 {
        // Of a sum that ran over, what is left is no number.
        if self.0.is_finite() { self.0 + self.1 } else { self.0 }
    }
}

/// The bars by count of one instrument, fed with what its feed brings in the order of arrival.
///
/// Trades count in that order, late and back-filled ones too: a bar that was closed is never
/// opened again, so that its bound holds. A gap taints the bar that is open when it is told
/// of, or else the next one. A repair takes nothing back: what it brings counts where it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counting {
    spec: CountSpec,
    number: u64,
    open: Option<CountBar>,
    volume: Sum,
    notional: Sum,
    /// A gap was told of since the last bar closed.
    tainted: bool,
    /// When the latest trade of the bars before happened.
    latest: Option<Timestamp>,
    /// The latest arrival so far.
    now: Timestamp,
}

impl Counting {
    /// Before the first trade.
    pub fn new(spec: CountSpec) -> Self {
        let now = Timestamp::from_micros(i64::MIN);
        let (volume, notional) = (Sum::default(), Sum::default());
        Self { spec, number: 0, open: None, volume, notional, tainted: false, latest: None, now }
    }

    /// Behind bars that were made before, so that none has a number twice. Nobody counted the
    /// trades since: the first bar is tainted.
    pub fn resumed(spec: CountSpec, number: u64) -> Self {
        Self { number, tainted: true, ..Self::new(spec) }
    }

    /// What its bars count.
    pub fn spec(&self) -> CountSpec {
        self.spec
    }

    /// The number of the bar that closes next.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Takes the next event and hands out the bar that it closed.
    pub fn feed(&mut self, arrival: &Arrival) -> Option<CountBar> {
        self.now = self.now.max(arrival.at);
        match &arrival.event {
            FeedEvent::Trade(trade) => self.trade(trade),
            FeedEvent::Gap { .. } => {
                self.tainted = true;
                None
            }
            FeedEvent::Heartbeat { .. }
            | FeedEvent::Repaired { .. }
            | FeedEvent::Renumbered { .. } => None,
        }
    }

    fn trade(&mut self, trade: &Trade) -> Option<CountBar> {
        self.volume.add(trade.quantity);
        self.notional.add(trade.price * trade.quantity);
        let bar = match &mut self.open {
            Some(bar) => {
                let candle = &mut bar.candle;
                candle.open_time = candle.open_time.min(trade.time);
                candle.high = candle.high.max(trade.price);
                candle.low = candle.low.min(trade.price);
                candle.close = trade.price;
                candle.trades = candle.trades.map(|n| n + 1);
                bar.end = bar.end.max(trade.time);
                bar
            }
            None => self.open.insert(CountBar {
                spec: self.spec,
                number: self.number,
                candle: Candle {
                    open_time: trade.time,
                    open: trade.price,
                    high: trade.price,
                    low: trade.price,
                    close: trade.price,
                    volume: 0.0,
                    trades: Some(1),
                },
                end: trade.time,
                notional: 0.0,
                known_at: self.now,
                flags: RowFlags::NONE,
            }),
        };
        if self.latest.is_some_and(|latest| trade.time < latest) {
            bar.flags |= RowFlags::LATE;
        }
        (bar.candle.volume, bar.notional) = (self.volume.value(), self.notional.value());
        let Candle { trades, volume, .. } = bar.candle;
        if !self.spec.is_reached(trades.unwrap_or(0), volume, bar.notional) {
            return None;
        }
        let mut closed = self.open.take()?;
        if std::mem::take(&mut self.tainted) {
            closed.flags |= RowFlags::TAINTED;
        }
        closed.known_at = self.now.max(closed.end);
        self.latest = self.latest.max(Some(closed.end));
        self.number += 1;
        (self.volume, self.notional) = (Sum::default(), Sum::default());
        Some(closed)
    }
}

#[cfg(test)]
mod tests;
