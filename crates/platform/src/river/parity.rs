//! Parity: a streamed period computed again in batch from what came in, and compared.
//!
//! Nothing of the stream's operators is used: candles are made of the trades of their window
//! in the order of arrival, rows by the batch functions over the candles that were known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use foretell_feature::feature_row_as_known;
use foretell_market::{
    Arrival, Bar, Candle, CandleVersion, FeedEvent, Instrument, Interval, RowFlags, Timestamp,
    Trade,
};
use foretell_panel::{Column, Frame, RowMeta};
use foretell_stream::codec::{Instruments, decode_arrival, decode_closed, decode_features};
use foretell_stream::{FeatureRecord, Log, Record};
use serde::{Deserialize, Serialize};

use super::plan::{AHEAD_MICROS, RiverPlan};
use super::read::each;
use super::replay::check_period;
use crate::error::PlatformError;
use crate::observer::Stop;
use crate::pipeline::Pipeline;

/// How many differences are told.
const TOLD: usize = 20;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParityReport {
    /// Start of the period (UTC).
    pub from: Timestamp,
    /// Its end, exclusive (UTC).
    pub to: Timestamp,
    /// Trades of the period's windows that were read.
    pub trades: u64,
    /// Candle versions that were made again.
    pub candles: u64,
    /// Feature rows that were made again.
    pub rows: u64,
    /// Candles and rows whose trades or candles are not in the log any more.
    pub gone: u64,
    /// What differs, the first of them.
    pub differences: Vec<String>,
    /// How many differ.
    pub different: u64,
}

impl ParityReport {
    /// Whether everything that was compared is equal.
    pub fn is_equal(&self) -> bool {
        self.different == 0
    }

    fn differs(&mut self, what: String) {
        self.different += 1;
        if self.differences.len() < TOLD {
            self.differences.push(what);
        }
    }
}

/// A trade as it came: the event and when.
type Came = (Trade, Timestamp);
/// What a window is told apart by.
type Window = (Instrument, Interval, Timestamp);

/// Computes `[from, to)` of event time again and compares. Of the log it holds no more than the
/// period's trades and rows, and the candles. `progress` is told how much is done, in per cent.
///
/// # Errors
/// When the log cannot be read, or the user stopped it.
pub(super) async fn parity(
    log: &dyn Log,
    plan: &RiverPlan,
    (from, to): (Timestamp, Timestamp),
    progress: &(dyn Fn(u64) + Send + Sync),
    stop: &Stop,
) -> Result<ParityReport, PlatformError> {
    check_period(from, to)?;
    let mut report = ParityReport { from, to, ..ParityReport::default() };
    let topics = plan.topics();
    for partition in 0..topics.partitions {
        let (versions, too_late) = versions(log, &topics.ohlcv, partition, stop).await?;
        let longest = versions.keys().map(|(_, interval)| *interval).max();
        let longest = longest.unwrap_or(Interval::MINUTE);
        let mut arrived = Arrived::within((from, to + longest));
        read(log, &topics.trade, partition, stop, |record| arrived.take(record)).await?;
        report.trades += arrived.by_instrument.values().map(|all| all.len() as u64).sum::<u64>();
        candles(&arrived, &versions, &too_late, (from, to), &mut report);
        for pipeline in plan.pipelines() {
            let key = (pipeline.instrument.clone(), pipeline.interval);
            let Some(known) = versions.get(&key) else { continue };
            let rows = rows(log, &topics.feature, partition, pipeline, (from, to), stop).await?;
            features(pipeline, known, &rows, &mut report, stop)?;
        }
        progress(u64::from(100 * (partition + 1) / topics.partitions));
    }
    Ok(report)
}

/// Hands the records of a partition on, from the first one.
async fn read(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    stop: &Stop,
    mut take: impl FnMut(&Record),
) -> Result<(), PlatformError> {
    each(log, topic, partition, 0, |stored| {
        take(&stored.record);
        if stop.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    stop.check()
}

/// The trades of a partition in a span of event time by instrument, in the order of their
/// arrival, each id once.
struct Arrived {
    span: (Timestamp, Timestamp),
    names: Instruments,
    by_instrument: HashMap<Instrument, Vec<Came>>,
    ids: HashMap<Instrument, HashSet<i64>>,
    /// When the first record of an instrument came: older trades may be gone.
    first: HashMap<Instrument, Timestamp>,
    /// The latest arrival: a clock that stepped back makes nothing known earlier.
    now: HashMap<Instrument, Timestamp>,
}

impl Arrived {
    fn within(span: (Timestamp, Timestamp)) -> Self {
        Self {
            span,
            names: Instruments::default(),
            by_instrument: HashMap::new(),
            ids: HashMap::new(),
            first: HashMap::new(),
            now: HashMap::new(),
        }
    }

    fn take(&mut self, Record { value, time, .. }: &Record) {
        let Ok(Arrival { event, at, .. }) =
            decode_arrival(value, *time, AHEAD_MICROS, &mut self.names)
        else {
            return;
        };
        let instrument = event.instrument().clone();
        let latest = self.now.entry(instrument.clone()).or_insert(at);
        *latest = at.max(*latest);
        let at = *latest;
        let trade = match event {
            FeedEvent::Trade(trade) => trade,
            FeedEvent::Renumbered { .. } => {
                self.ids.remove(&instrument);
                return;
            }
            _ => return,
        };
        self.first.entry(instrument.clone()).or_insert(trade.time);
        // A trade that comes twice has its time twice.
        let (from, to) = self.span;
        if !(from..to).contains(&trade.time) {
            return;
        }
        if let Some(id) = trade.id
            && !self.ids.entry(instrument.clone()).or_default().insert(id)
        {
            return;
        }
        self.by_instrument.entry(instrument).or_default().push((trade, at));
    }
}

type Versions = BTreeMap<(Instrument, Interval), Vec<CandleVersion>>;
type TooLate = HashSet<(Instrument, Interval, Option<i64>)>;

/// Every version of a candle in the order of the log, and the trades that came too late.
async fn versions(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    stop: &Stop,
) -> Result<(Versions, TooLate), PlatformError> {
    let (mut names, mut versions, mut too_late) =
        (Instruments::default(), Versions::new(), TooLate::new());
    read(log, topic, partition, stop, |Record { value, time, .. }| {
        let Ok(closed) = decode_closed(value, *time, &mut names) else { return };
        match closed.bar {
            Bar::Candle(version) => {
                versions.entry((closed.instrument, closed.interval)).or_default().push(version);
            }
            Bar::TooLate { id, .. } => {
                too_late.insert((closed.instrument, closed.interval, id));
            }
            Bar::Silent { .. } => {}
        }
    })
    .await?;
    Ok((versions, too_late))
}

/// The rows of a pipeline whose last candle is of the period.
async fn rows(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    pipeline: &Pipeline,
    (from, to): (Timestamp, Timestamp),
    stop: &Stop,
) -> Result<Vec<FeatureRecord>, PlatformError> {
    let set = pipeline.features.feature_set()?.fingerprint();
    let mut found = Vec::new();
    read(log, topic, partition, stop, |record| {
        let Ok(record) = decode_features(&record.value) else { return };
        let row = &record.row;
        let ours = row.instrument == pipeline.instrument
            && row.interval == pipeline.interval
            && row.feature_set == set;
        if ours && (from..to).contains(&(row.as_of - row.interval)) {
            found.push(record);
        }
    })
    .await?;
    Ok(found)
}

/// Makes every candle version of the period again.
fn candles(
    arrived: &Arrived,
    versions: &Versions,
    too_late: &TooLate,
    (from, to): (Timestamp, Timestamp),
    report: &mut ParityReport,
) {
    for ((instrument, interval), known) in versions {
        let none = Vec::new();
        let trades = arrived.by_instrument.get(instrument).unwrap_or(&none);
        let mut windows: HashMap<Window, Vec<&Came>> = HashMap::new();
        for one in trades {
            let left_out = too_late.contains(&(instrument.clone(), *interval, one.0.id));
            let open_time = interval.floor(one.0.time);
            if !left_out && (from..to).contains(&open_time) {
                let window = (instrument.clone(), *interval, open_time);
                windows.entry(window).or_default().push(one);
            }
        }
        let first = arrived.first.get(instrument).copied().unwrap_or(Timestamp::MAX);
        let in_period = |v: &&CandleVersion| {
            (from..to).contains(&v.candle.open_time) && !v.flags.contains(RowFlags::BACKFILLED)
        };
        for version in known.iter().filter(in_period) {
            let open_time = version.candle.open_time;
            if open_time < first {
                report.gone += 1;
                continue;
            }
            report.candles += 1;
            let key = (instrument.clone(), *interval, open_time);
            let of_window = windows.get(&key).map_or(&[][..], Vec::as_slice);
            if let Err(why) = check(version, of_window) {
                let number = version.version;
                let time = open_time.human();
                report.differs(format!(
                    "{instrument} {interval} candle of {time}, version {number}: {why}"
                ));
            }
        }
    }
}

/// Whether a version is what its window's trades, in the order of their arrival, make.
fn check(version: &CandleVersion, trades: &[&Came]) -> Result<(), String> {
    let count = version.candle.trades.unwrap_or(0) as usize;
    if count == 0 || count > trades.len() {
        return Err(format!("it counts {count} trades, the log has {}", trades.len()));
    }
    let (inside, rest) = trades.split_at(count);
    if let Some((trade, at)) = inside.iter().find(|(_, at)| *at > version.known_at) {
        let (time, at) = (trade.time, at.human());
        return Err(format!(
            "it counts the trade of {time}, which came at {at}, after it was known"
        ));
    }
    if let Some((trade, at)) = rest.iter().find(|(_, at)| *at < version.known_at) {
        let (time, at) = (trade.time, at.human());
        return Err(format!(
            "it lacks the trade of {time}, which came at {at}, before it was known"
        ));
    }
    let (candle, notional) = batch(version.candle.open_time, inside);
    let bits = |c: &Candle| [c.open, c.high, c.low, c.close, c.volume].map(f64::to_bits);
    if bits(&candle) != bits(&version.candle) || notional.to_bits() != version.notional.to_bits() {
        return Err(format!("the log has {:?}, its trades make {candle:?}", version.candle));
    }
    Ok(())
}

/// Open, high, low, close, volume and notional of trades in the order of their arrival.
fn batch(open_time: Timestamp, trades: &[&Came]) -> (Candle, f64) {
    // Of equal times the first and the last to arrive: `min_by_key` takes the first of equals,
    // `max_by_key` the last.
    let first = trades.iter().min_by_key(|(trade, _)| trade.time);
    let last = trades.iter().max_by_key(|(trade, _)| trade.time);
    let prices = || trades.iter().map(|(trade, _)| trade.price);
    let sum = |of: fn(&Trade) -> f64| {
        trades.iter().map(|(trade, _)| of(trade)).reduce(|a, b| a + b).unwrap_or(0.0)
    };
    let candle = Candle {
        open_time,
        open: first.map_or(f64::NAN, |(trade, _)| trade.price),
        high: prices().fold(f64::NEG_INFINITY, f64::max),
        low: prices().fold(f64::INFINITY, f64::min),
        close: last.map_or(f64::NAN, |(trade, _)| trade.price),
        volume: sum(|t| t.quantity),
        trades: Some(trades.len() as u64),
    };
    (candle, sum(|t| t.price * t.quantity))
}

/// Makes every feature row of the period again.
fn features(
    pipeline: &Pipeline,
    known: &[CandleVersion],
    rows: &[FeatureRecord],
    report: &mut ParityReport,
    stop: &Stop,
) -> Result<(), PlatformError> {
    let set = pipeline.features.feature_set()?;
    let label = pipeline.label_spec();
    for found in rows {
        stop.check()?;
        let row = &found.row;
        // Rows hold what the champion of their time read.
        let context = pipeline.context_spec().reading(&row.context_names);
        report.rows += 1;
        let mut latest: BTreeMap<Timestamp, &CandleVersion> = BTreeMap::new();
        for version in known.iter().filter(|v| v.known_at <= row.known_at) {
            if version.candle.open_time < row.as_of {
                latest.insert(version.candle.open_time, version);
            }
        }
        let frame = frame(pipeline, &latest)?;
        let again = feature_row_as_known(&set, &frame, &context, &label, row.as_of, row.known_at);
        let why = match again {
            Ok(again) if again.hash() == found.hash => continue,
            Ok(again) => {
                let differ = |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits();
                let names = row.names.iter().zip(row.features.iter().zip(&again.features));
                let name = names.filter(|(_, pair)| differ(*pair)).map(|(n, _)| n.as_str()).next();
                name.map_or_else(
                    || "other marks or times".to_owned(),
                    |name| format!("`{name}` differs"),
                )
            }
            Err(error) => error.to_string(),
        };
        let (instrument, interval, time) = (&row.instrument, row.interval, row.as_of.human());
        let number = found.version;
        report.differs(format!("{instrument} {interval} row of {time}, version {number}: {why}"));
    }
    Ok(())
}

/// Candles as the rows of a frame, with the columns that clean rows have.
fn frame(
    pipeline: &Pipeline,
    candles: &BTreeMap<Timestamp, &CandleVersion>,
) -> Result<Frame, PlatformError> {
    let all: Vec<&CandleVersion> = candles.values().copied().collect();
    let rows = all.iter().map(|v| RowMeta {
        time: v.candle.open_time,
        known_at: v.known_at,
        ingested_at: v.known_at,
        flags: v.flags,
    });
    let column = |name: &str, of: fn(&CandleVersion) -> f64| {
        Column::new(name, all.iter().map(|v| of(v)).collect())
    };
    let columns = vec![
        column("open", |v| v.candle.open),
        column("high", |v| v.candle.high),
        column("low", |v| v.candle.low),
        column("close", |v| v.candle.close),
        column("price", |v| v.candle.close),
        column("volume", |v| v.candle.volume),
        column("total_volume", |v| v.notional),
        column("quote_volume", |v| v.notional),
        column("vwap", CandleVersion::vwap),
        column("trades", |v| v.candle.trades.map_or(f64::NAN, |n| n as f64)),
    ];
    let (instrument, interval) = (pipeline.instrument.clone(), pipeline.interval);
    let frame = Frame::new(instrument, interval, rows.collect(), columns);
    Ok(frame.map_err(foretell_feature::FeatureError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn came(time: i64, price: f64, quantity: f64, arrived: i64) -> Came {
        let instrument: Instrument = "BTC-USD".parse().expect("a name");
        let trade =
            Trade { instrument, time: at(time), price, quantity, side: None, id: Some(time) };
        (trade, at(arrived))
    }

    /// The window of the first second, as pandas' `resample().ohlc()` makes it of the first
    /// three trades: 10, 12, 9, 9; volume 6, notional 10 + 24 + 27.
    fn version() -> CandleVersion {
        let candle = Candle {
            open_time: at(0),
            open: 10.0,
            high: 12.0,
            low: 9.0,
            close: 9.0,
            volume: 6.0,
            trades: Some(3),
        };
        let (known_at, flags) = (at(1_000_500), RowFlags::NONE);
        CandleVersion { candle, notional: 61.0, known_at, version: 1, flags }
    }

    #[test]
    fn a_version_is_what_its_trades_make_in_the_order_of_their_arrival() {
        let mut trades = vec![
            came(100, 10.0, 1.0, 150),
            came(300, 9.0, 3.0, 350),
            came(200, 12.0, 2.0, 400),
            came(400, 99.0, 1.0, 1_000_500),
        ];
        let check = |version: &CandleVersion, trades: &[Came]| {
            check(version, &trades.iter().collect::<Vec<_>>())
        };
        assert_eq!(check(&version(), &trades), Ok(()), "the fourth came with what closed it");
        let with = |change: fn(&mut CandleVersion)| {
            let mut version = version();
            change(&mut version);
            version
        };
        for wrong in [
            with(|v| v.candle.high = f64::from_bits(v.candle.high.to_bits() + 1)),
            with(|v| v.candle.close = 10.0),
            with(|v| v.notional = 61.5),
            with(|v| v.candle.trades = Some(2)),
            with(|v| v.candle.trades = Some(5)),
            // It would have known of a trade before that came.
            with(|v| v.known_at = at(399)),
        ] {
            assert!(check(&wrong, &trades).is_err(), "{wrong:?}");
        }
        // A trade that had come and is not in it.
        trades[3].1 = at(1_000_499);
        let lacks = check(&version(), &trades).unwrap_err();
        assert!(lacks.contains("it lacks the trade"), "{lacks}");
    }
}
