//! Records of the river as columns, and feature rows back from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_feature::FeatureRow;
use foretell_lake::Layer;
use foretell_market::{
    Arrival, Bar, FeedEvent, Fingerprint, Instrument, Interval, RowFlags, Side, Silence, Timestamp,
};
use foretell_panel::arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use foretell_panel::arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use foretell_stream::codec::{Instruments, decode_arrival, decode_features, decode_ohlcv};
use foretell_stream::{Closed, FeatureRecord, Ohlcv, Record, Stored};

use super::bars;
use super::lake::Sink;
use crate::error::PlatformError;

/// What the columns of context begin with, beside those of features.
const CONTEXT: &str = "context:";
/// Columns of a feature table that are neither.
const PLAIN: [&str; 10] = [
    "time",
    "instrument",
    "known_at",
    "hash",
    "version",
    "base_price",
    "flags",
    "gaps_in_window",
    "filled_in_window",
    "feature_set",
];

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Time(Timestamp),
    Text(String),
    Whole(i64),
    Number(f64),
    None,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Time,
    Text,
    Whole,
    Number,
}

/// Rows of one table.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    columns: Vec<(String, Kind)>,
    pub(super) cells: Vec<Vec<Cell>>,
}

/// Rows by layer and table.
pub(super) type Tables = BTreeMap<(Layer, String), Rows>;

impl Rows {
    pub(super) fn new(columns: Vec<(String, Kind)>) -> Self {
        Self { columns, cells: Vec::new() }
    }

    /// As a batch of Arrow.
    pub(super) fn batch(&self) -> Result<RecordBatch, PlatformError> {
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (k, (name, kind)) in self.columns.iter().enumerate() {
            let cells = self.cells.iter().map(|row| &row[k]);
            let (data_type, array): (DataType, ArrayRef) = match kind {
                Kind::Time => {
                    let values = cells.map(|c| match c {
                        Cell::Time(time) => Some(time.micros()),
                        _ => None,
                    });
                    let array: TimestampMicrosecondArray = values.collect();
                    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                    (zone, Arc::new(array.with_timezone("UTC")))
                }
                Kind::Text => {
                    let values = cells.map(|c| match c {
                        Cell::Text(text) => Some(text.as_str()),
                        _ => None,
                    });
                    (DataType::Utf8, Arc::new(values.collect::<StringArray>()))
                }
                Kind::Whole => {
                    let values = cells.map(|c| match c {
                        Cell::Whole(number) => Some(*number),
                        _ => None,
                    });
                    (DataType::Int64, Arc::new(values.collect::<Int64Array>()))
                }
                Kind::Number => {
                    let values = cells.map(|c| match c {
                        Cell::Number(number) => Some(*number),
                        _ => None,
                    });
                    (DataType::Float64, Arc::new(values.collect::<Float64Array>()))
                }
            };
            fields.push(Field::new(name, data_type, true));
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| PlatformError::Mismatch(format!("records of the river: {e}")))
    }
}

pub(super) fn columns(named: &[(&str, Kind)]) -> Vec<(String, Kind)> {
    named.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// `trade` as it was taken in, heartbeats and gaps included: a table per partition, in the
/// order of offsets.
#[derive(Debug, Default)]
pub(super) struct Trades {
    names: Instruments,
    tables: BTreeMap<(Layer, String), Rows>,
}

impl Sink for Trades {
    fn add(&mut self, partition: u32, stored: &Stored) {
        let Record { value, time, .. } = &stored.record;
        let ahead = i64::MAX / 4;
        let Ok(Arrival { event, at, backfilled }) =
            decode_arrival(value, *time, ahead, &mut self.names)
        else {
            return;
        };
        let key = (Layer::Raw, format!("live-trade-{partition}"));
        let rows = self.tables.entry(key).or_insert_with(|| {
            use Kind::{Number, Text, Time, Whole};
            Rows::new(columns(&[
                ("time", Time),
                ("position", Whole),
                ("instrument", Text),
                ("known_at", Time),
                ("kind", Text),
                ("price", Number),
                ("quantity", Number),
                ("trade_id", Whole),
                ("side", Text),
                ("backfilled", Whole),
                ("until", Time),
                ("reason", Text),
            ]))
        });
        let instrument = text(event.instrument().as_str());
        let (mut price, mut quantity, mut id, mut side) =
            (Cell::None, Cell::None, Cell::None, Cell::None);
        let (mut until, mut reason) = (Cell::None, Cell::None);
        let (time, kind) = match event {
            FeedEvent::Trade(trade) => {
                (price, quantity) = (Cell::Number(trade.price), Cell::Number(trade.quantity));
                id = trade.id.map_or(Cell::None, Cell::Whole);
                side = match trade.side {
                    Some(Side::Buy) => text("buy"),
                    Some(Side::Sell) => text("sell"),
                    None => Cell::None,
                };
                (trade.time, "trade")
            }
            FeedEvent::Heartbeat { time, .. } => (time, "heartbeat"),
            FeedEvent::Gap { from, to, reason: why, .. } => {
                (until, reason) = (Cell::Time(to), text(why));
                (from, "gap")
            }
            FeedEvent::Repaired { from, to, .. } => {
                until = Cell::Time(to);
                (from, "repaired")
            }
            FeedEvent::Renumbered { time, reason: why, .. } => {
                reason = text(why);
                (time, "renumbered")
            }
        };
        rows.cells.push(vec![
            Cell::Time(time),
            Cell::Whole(i64::try_from(stored.offset).unwrap_or(i64::MAX)),
            instrument,
            Cell::Time(at),
            text(kind),
            price,
            quantity,
            id,
            side,
            Cell::Whole(i64::from(backfilled)),
            until,
            reason,
        ]);
    }

    fn take(&mut self) -> BTreeMap<(Layer, String), Rows> {
        std::mem::take(&mut self.tables)
    }
}

/// `ohlcv`: a table per interval, with every version and silence, and one per kind of bar by
/// count.
#[derive(Debug, Default)]
pub(super) struct Candles {
    names: Instruments,
    tables: Tables,
}

impl Sink for Candles {
    fn add(&mut self, _: u32, stored: &Stored) {
        let Record { value, time, .. } = &stored.record;
        let Closed { instrument, interval, bar } = match decode_ohlcv(value, *time, &mut self.names)
        {
            Ok(Ohlcv::Closed(closed)) => closed,
            Ok(Ohlcv::Counted(counted)) => return bars::add(&mut self.tables, &counted),
            Err(_) => return,
        };
        let key = (Layer::Clean, format!("live-ohlcv-{interval}"));
        let rows = self.tables.entry(key).or_insert_with(|| {
            use Kind::{Number, Text, Time, Whole};
            Rows::new(columns(&[
                ("time", Time),
                ("instrument", Text),
                ("known_at", Time),
                ("until", Time),
                ("kind", Text),
                ("open", Number),
                ("high", Number),
                ("low", Number),
                ("close", Number),
                ("volume", Number),
                ("notional", Number),
                ("trades", Whole),
                ("version", Whole),
                ("flags", Whole),
            ]))
        });
        let row = match bar {
            Bar::Candle(v) => {
                let c = v.candle;
                let mut row = vec![
                    Cell::Time(c.open_time),
                    text(instrument.as_str()),
                    Cell::Time(v.known_at),
                    Cell::Time(c.open_time + interval),
                    text("candle"),
                ];
                let numbers = [c.open, c.high, c.low, c.close, c.volume, v.notional];
                row.extend(numbers.map(Cell::Number));
                row.push(
                    c.trades
                        .map_or(Cell::None, |n| Cell::Whole(i64::try_from(n).unwrap_or(i64::MAX))),
                );
                row.extend([
                    Cell::Whole(i64::from(v.version)),
                    Cell::Whole(i64::from(v.flags.bits())),
                ]);
                row
            }
            Bar::Silent { from, to, reason, known_at, .. } => {
                let kind = match reason {
                    Silence::NoTrade => "no_trade",
                    Silence::FeedDown => "feed_down",
                };
                empty(&instrument, [from, known_at, to], kind)
            }
            Bar::TooLate { time, known_at, .. } => {
                empty(&instrument, [time, known_at, time], "too_late")
            }
        };
        rows.cells.push(row);
    }

    fn take(&mut self) -> BTreeMap<(Layer, String), Rows> {
        std::mem::take(&mut self.tables)
    }
}

/// A row of `ohlcv` without a candle.
fn empty(instrument: &Instrument, [from, known_at, to]: [Timestamp; 3], kind: &str) -> Vec<Cell> {
    let mut row = vec![Cell::Time(from), text(instrument.as_str())];
    row.extend([Cell::Time(known_at), Cell::Time(to), text(kind)]);
    row.resize(14, Cell::None);
    row
}

/// `feature`: a table per pipeline, named `live-<pipeline>`.
#[derive(Debug)]
pub(super) struct Features {
    /// The pipelines by what tells their rows: instrument, interval, feature set.
    pub(super) tables_of: BTreeMap<(Instrument, Interval, Fingerprint), String>,
    pub(super) tables: BTreeMap<(Layer, String), Rows>,
}

impl Sink for Features {
    fn add(&mut self, _: u32, stored: &Stored) {
        let Ok(FeatureRecord { hash, version, row }) = decode_features(&stored.record.value) else {
            return;
        };
        let key = (row.instrument.clone(), row.interval, row.feature_set);
        let Some(name) = self.tables_of.get(&key) else { return };
        let rows = self.tables.entry((Layer::Features, name.clone())).or_insert_with(|| {
            use Kind::{Number, Text, Time, Whole};
            let kinds =
                [Time, Text, Time, Text, Whole, Number, Whole, Whole, Whole, Text].into_iter();
            let plain = PLAIN.iter().zip(kinds).map(|(n, k)| ((*n).to_owned(), k));
            let features = row.names.iter().map(|n| (n.clone(), Number));
            let context = row.context_names.iter().map(|n| (format!("{CONTEXT}{n}"), Number));
            Rows::new(plain.chain(features).chain(context).collect())
        });
        let count = |n: usize| Cell::Whole(i64::try_from(n).unwrap_or(i64::MAX));
        let mut cells = vec![
            Cell::Time(row.as_of - row.interval),
            text(row.instrument.as_str()),
            Cell::Time(row.known_at),
            text(hash.to_string()),
            Cell::Whole(i64::from(version)),
            Cell::Number(row.base_price),
            Cell::Whole(i64::from(row.flags.bits())),
            count(row.gaps_in_window),
            count(row.filled_in_window),
            text(row.feature_set.to_string()),
        ];
        cells.extend(row.features.iter().chain(&row.context).map(|v| Cell::Number(*v)));
        // Rows of one pipeline have the same columns; others are of another set.
        if cells.len() == rows.columns.len() {
            rows.cells.push(cells);
        }
    }

    fn take(&mut self) -> BTreeMap<(Layer, String), Rows> {
        std::mem::take(&mut self.tables)
    }
}

/// A feature row of a table's batch, with its version.
pub(super) fn feature_row(
    batch: &RecordBatch,
    row: usize,
    interval: Interval,
) -> Option<FeatureRecord> {
    let time = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(Timestamp::from_micros(column.value(row)))
    };
    let whole =
        |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(row));
    let number = |column: &ArrayRef| {
        let column = column.as_primitive_opt::<Float64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let words = |name: &str| Some(batch.column_by_name(name)?.as_string_opt::<i32>()?.value(row));
    let (mut names, mut features) = (Vec::new(), Vec::new());
    let (mut context_names, mut context) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = field.name();
        if PLAIN.contains(&name.as_str()) {
            continue;
        }
        match name.strip_prefix(CONTEXT) {
            Some(name) => {
                context_names.push(name.to_owned());
                context.push(number(column)?);
            }
            None => {
                names.push(name.clone());
                features.push(number(column)?);
            }
        }
    }
    let count = |name: &str| usize::try_from(whole(name)?).ok();
    let record = FeatureRecord {
        hash: words("hash")?.parse().ok()?,
        version: u32::try_from(whole("version")?).ok()?,
        row: FeatureRow {
            instrument: words("instrument")?.parse().ok()?,
            interval,
            as_of: time("time")? + interval,
            known_at: time("known_at")?,
            names: names.into(),
            features,
            context_names: context_names.into(),
            context,
            base_price: number(batch.column_by_name("base_price")?)?,
            flags: RowFlags::from_bits(u32::try_from(whole("flags")?).ok()?),
            gaps_in_window: count("gaps_in_window")?,
            filled_in_window: count("filled_in_window")?,
            feature_set: words("feature_set")?.parse().ok()?,
        },
    };
    // What does not have its own hash is no row of the river.
    (record.row.hash() == record.hash).then_some(record)
}
