//! From candles to feature rows: one lane per instrument, with corrections.

use std::collections::HashMap;

use bytes::Bytes;
use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, RowStepper};
use foretell_market::{Bar, CandleVersion, Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::FrameError;
use serde::{Deserialize, Serialize};

use crate::codec::{
    Encoding, Instruments, Refusal, decode_ohlcv, encode_features, is_product, product_id,
};
use crate::lane::{Candles, Lane};
use crate::log::{Lost, Record, Stored, TopicName};
use crate::operator::{Operator, Outbox, StreamError, Topics};
use crate::rows::{FeatureRecord, Ohlcv};
use crate::saved;

/// What rows are made of the candles of one interval.
#[derive(Debug, Clone)]
pub struct FeatureSettings {
    /// The interval; candles of others are left to others.
    pub interval: Interval,
    /// The features.
    pub set: FeatureSet,
    /// What baselines need.
    pub context: ContextSpec,
    /// What the rows are for.
    pub label: LabelSpec,
    /// For how long after its close a candle may still be corrected, microseconds.
    pub allowed: i64,
    /// How rows are written.
    pub encoding: Encoding,
}

/// `ohlcv` in, `feature` out.
///
/// Corrections that one arrival made have one `known_at` and follow each other; rows are
/// corrected once for all of them, when the first record of another arrival comes, or
/// [`Operator::complete()`] says that there are no more.
#[derive(Debug)]
pub struct FeatureOperator {
    candles: Candles,
    interval: Interval,
    topics: Topics,
    instruments: Instruments,
    lanes: HashMap<Bytes, Lane>,
    /// The lanes that corrections wait in.
    waiting: Vec<Bytes>,
    place: Place,
    writer: Writer,
}

/// What is known of the whole partition, saved under a key that no lane has.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Candles went before they were read, all of them from before this instant: what a lane
    /// that begins later lacks is not known.
    lost_until: Option<Timestamp>,
    #[serde(skip)]
    changed: bool,
}

const PLACE: &[u8] = b"\0place";

/// Writes rows as records.
#[derive(Debug)]
struct Writer {
    encoding: Encoding,
    buffer: Vec<u8>,
    rows: Vec<FeatureRecord>,
    interval: Interval,
    /// Where the latest row of each instrument is written too.
    latest: Option<TopicName>,
}

impl FeatureOperator {
    /// With no candle seen.
    ///
    /// # Errors
    /// When the set reads a column that candles do not have.
    pub fn new(settings: FeatureSettings, topics: Topics) -> Result<Self, StreamError> {
        let FeatureSettings { interval, set, context, label, allowed, encoding } = settings;
        let stepper = RowStepper::new(&set, &context, &label, interval)?;
        let columns: Result<Vec<_>, _> = stepper.inputs().iter().map(|name| column(name)).collect();
        Ok(Self {
            candles: Candles::new(stepper, columns?, allowed),
            interval,
            topics,
            instruments: Instruments::default(),
            lanes: HashMap::new(),
            waiting: Vec::new(),
            place: Place::default(),
            writer: Writer {
                encoding,
                buffer: Vec::new(),
                rows: Vec::new(),
                interval,
                latest: None,
            },
        })
    }

    /// Also writes the latest row of each instrument to a topic that keeps one per key: the
    /// product, the interval and the feature set.
    #[must_use]
    pub fn keeping_latest(mut self, topic: Option<TopicName>) -> Self {
        self.writer.latest = topic;
        self
    }

    /// Takes what a window of the interval came to.
    fn take(
        &mut self,
        key: &Bytes,
        instrument: &Instrument,
        bar: &Bar,
        out: &mut Outbox,
    ) -> Result<(), StreamError> {
        let lane = match self.lanes.get_mut(key) {
            Some(lane) => lane,
            None => {
                // Silences do not make a lane.
                let Bar::Candle(_) = bar else { return Ok(()) };
                let mut lane = Lane::new(self.candles.origin(instrument.clone()));
                if let Some(until) = self.place.lost_until {
                    lane.lose(until, until);
                }
                self.lanes.entry(key.clone()).or_insert(lane)
            }
        };
        let known_at = match bar {
            Bar::Candle(version) => version.known_at,
            Bar::Silent { known_at, .. } | Bar::TooLate { known_at, .. } => *known_at,
        };
        if lane.waits_since().is_some_and(|since| since != known_at) {
            correct(&mut self.candles, lane, key, &self.topics, &mut self.writer, out)?;
        }
        let Bar::Candle(version) = bar else { return Ok(()) };
        let version = &lane.doubted(*version);
        if lane.waits_since().is_none() && lane.is_next(version) {
            lane.extend(&mut self.candles, version, &mut self.writer.rows)?;
            self.writer.write(key, lane.through(), &self.topics, out);
        } else if version.flags.contains(RowFlags::BACKFILLED) {
            // What was known before the river began changes nothing that it has brought.
        } else {
            lane.wait(*version);
            self.waiting.push(key.clone());
        }
        Ok(())
    }
}

/// Corrects the rows of a lane by the candles that wait there.
fn correct(
    candles: &mut Candles,
    lane: &mut Lane,
    key: &Bytes,
    topics: &Topics,
    writer: &mut Writer,
    out: &mut Outbox,
) -> Result<(), StreamError> {
    for late in lane.correct(candles, &mut writer.rows)? {
        let (time, allowed) = (late.candle.open_time, candles.allowed());
        let text =
            format!("the candle of {time} was corrected after {allowed} us, too late for its row");
        let record = Record { key: key.clone(), value: Bytes::new(), time: late.known_at };
        out.refuse(&Stored { offset: 0, record }, &Refusal(text));
    }
    writer.write(key, lane.through(), topics, out);
    Ok(())
}

impl Writer {
    /// Writes the rows that were made of candles up to `through`.
    fn write(
        &mut self,
        key: &Bytes,
        through: Option<Timestamp>,
        topics: &Topics,
        out: &mut Outbox,
    ) {
        let newest = through.map(|open_time| open_time + self.interval);
        for record in self.rows.drain(..) {
            self.buffer.clear();
            encode_features(&record, self.encoding, &mut self.buffer);
            let row = &record.row;
            out.put(&topics.feature, key.clone(), &self.buffer, row.known_at);
            // A correction of an older row does not take the place of a newer one.
            if let Some(latest) = self.latest.as_ref().filter(|_| Some(row.as_of) == newest) {
                let product = product_id(&row.instrument);
                let key = format!("{product} {} {}", row.interval, row.feature_set);
                out.put(latest, key.into(), &self.buffer, row.known_at);
            }
        }
    }
}

/// How a column of a set is read from a candle.
fn column(name: &str) -> Result<fn(&CandleVersion) -> f64, StreamError> {
    Ok(match name {
        "open" => |v| v.candle.open,
        "high" => |v| v.candle.high,
        "low" => |v| v.candle.low,
        "close" | "price" => |v| v.candle.close,
        "volume" => |v| v.candle.volume,
        "total_volume" | "quote_volume" => |v| v.notional,
        "vwap" => CandleVersion::vwap,
        "trades" => |v| v.candle.trades.map_or(f64::NAN, |n| n as f64),
        _ => {
            let present = "open, high, low, close, price, volume, total_volume, quote_volume, \
                           vwap, trades";
            let (name, present) = (name.to_owned(), present.to_owned());
            let error = FrameError::MissingColumn { name, present };
            return Err(foretell_feature::FeatureError::from(error).into());
        }
    })
}

impl Operator for FeatureOperator {
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        let (place, lanes): (Vec<_>, Vec<_>) =
            state.iter().cloned().partition(|(key, _)| key == PLACE);
        self.place = match place.first() {
            Some((key, value)) => saved::restore(key, value)?,
            None => Place::default(),
        };
        self.lanes = self.candles.restore(&lanes)?;
        let waits = |(key, lane): (&Bytes, &Lane)| lane.waits_since().map(|_| key.clone());
        self.waiting = self.lanes.iter().filter_map(waits).collect();
        self.waiting.sort_unstable();
        Ok(())
    }

    /// Candles and corrections of them may have been among the records: what could still be
    /// corrected is tainted, and so are the candles up to the first one that opened after the
    /// first record behind them was written. Rows are, as long as one of these is in their window.
    fn lost(&mut self, _: &Lost, until: Timestamp, out: &mut Outbox) -> Result<(), StreamError> {
        let end = Timestamp::from_micros(until.micros().saturating_add(1));
        self.place = Place { lost_until: self.place.lost_until.max(Some(end)), changed: true };
        self.complete(out)?;
        // In an order that is the same in a replay.
        let mut lanes: Vec<_> = self.lanes.iter_mut().collect();
        lanes.sort_unstable_by_key(|(key, _)| *key);
        for (key, lane) in lanes {
            lane.lose(until, end);
            correct(&mut self.candles, lane, key, &self.topics, &mut self.writer, out)?;
        }
        Ok(())
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        for stored in records {
            let Record { key, value, time } = &stored.record;
            match decode_ohlcv(value, *time, &mut self.instruments) {
                Ok(Ohlcv::Closed(closed)) if closed.interval == self.interval => {
                    // Records of others may have another key, or none.
                    if is_product(key, &closed.instrument) {
                        self.take(key, &closed.instrument, &closed.bar, out)?;
                    } else {
                        let key = Bytes::from(product_id(&closed.instrument));
                        self.take(&key, &closed.instrument, &closed.bar, out)?;
                    }
                }
                Ok(_) => {}
                Err(refusal) => out.refuse(stored, &refusal),
            }
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Outbox) -> Result<(), StreamError> {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                correct(&mut self.candles, lane, &key, &self.topics, &mut self.writer, out)?;
            }
        }
        Ok(())
    }

    fn repeats(&self) -> bool {
        true
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        let mut all = self.candles.save(&mut self.lanes);
        if std::mem::take(&mut self.place.changed) {
            all.push((Bytes::from_static(PLACE), Some(saved::save(&self.place))));
        }
        all
    }
}
