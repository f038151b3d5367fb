//! From what a feed brings to candles: one lane per instrument, several bars at once.

use std::collections::HashMap;

use bytes::Bytes;
use foretell_market::{
    Arrival, Bar, BarSpec, Counting, FeedEvent, Instrument, Lateness, Timestamp, Trade, Tumbling,
};
use serde::{Deserialize, Serialize};

use crate::codec::{
    Encoding, Instruments, Refusal, decode_arrival, encode_closed, encode_counted, product_id,
};
use crate::ids::{Ids, Seen};
use crate::log::{Lost, Stored, partition_of};
use crate::operator::{Operator, Outbox, StreamError, Topics};
use crate::rows::{Closed, Counted};
use crate::saved;

/// What candles are made, and how.
#[derive(Debug, Clone)]
pub struct CandleSettings {
    /// Their lengths, or what they count.
    pub bars: Vec<BarSpec>,
    /// When windows close.
    pub lateness: Lateness,
    /// How far a trade's time may be ahead of its arrival, microseconds.
    pub ahead: i64,
    /// How they are written.
    pub encoding: Encoding,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    instrument: Instrument,
    bars: Vec<Bars>,
    ids: Ids,
    #[serde(skip)]
    changed: bool,
}

/// The bars of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Bars {
    Time(Tumbling),
    Count(Counting),
}

/// What is known of the whole partition, saved under a key that no product has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Records went before they were read, all of them from before this instant.
    lost_until: Option<Timestamp>,
    #[serde(skip)]
    changed: bool,
}

const PLACE: &[u8] = b"\0place";

/// `trade` in, `ohlcv` out.
#[derive(Debug)]
pub struct CandleOperator {
    settings: CandleSettings,
    topics: Topics,
    instruments: Instruments,
    /// The partition it works on, of how many; `None` takes every record.
    partition: Option<(u32, u32)>,
    lanes: HashMap<Bytes, Lane>,
    place: Place,
    buffer: Vec<u8>,
}

impl Bars {
    fn new(spec: BarSpec, lateness: Lateness) -> Self {
        match spec {
            BarSpec::Time(interval) => Self::Time(Tumbling::new(interval, lateness)),
            BarSpec::Count(count) => Self::Count(Counting::new(count)),
        }
    }

    fn spec(&self) -> BarSpec {
        match self {
            Self::Time(bars) => bars.interval().into(),
            Self::Count(bars) => bars.spec().into(),
        }
    }
}

/// Where bars are written.
struct Writer<'a> {
    topics: &'a Topics,
    encoding: Encoding,
    buffer: &'a mut Vec<u8>,
    out: &'a mut Outbox,
}

impl Writer<'_> {
    fn write(
        &mut self,
        key: &Bytes,
        known_at: Timestamp,
        encode: impl FnOnce(Encoding, &mut Vec<u8>),
    ) {
        self.buffer.clear();
        encode(self.encoding, self.buffer);
        self.out.put(&self.topics.ohlcv, key.clone(), self.buffer, known_at);
    }
}

impl Lane {
    fn new(instrument: Instrument, settings: &CandleSettings) -> Self {
        let bars = settings.bars.iter().map(|spec| Bars::new(*spec, settings.lateness)).collect();
        Self { instrument, bars, ids: Ids::default(), changed: false }
    }

    /// Hands an event to all bars, and writes what they answer.
    fn feed(&mut self, arrival: &Arrival, key: &Bytes, writer: &mut Writer<'_>) {
        self.changed = true;
        for bars in &mut self.bars {
            match bars {
                Bars::Time(bars) => {
                    let interval = bars.interval();
                    bars.feed(arrival, |bar| {
                        let known_at = match &bar {
                            Bar::Candle(version) => version.known_at,
                            Bar::Silent { known_at, .. } | Bar::TooLate { known_at, .. } => {
                                *known_at
                            }
                        };
                        let instrument = self.instrument.clone();
                        let closed = Closed { instrument, interval, bar };
                        writer.write(key, known_at, |e, out| encode_closed(&closed, e, out));
                    });
                }
                Bars::Count(bars) => {
                    if let Some(bar) = bars.feed(arrival) {
                        let counted = Counted { instrument: self.instrument.clone(), bar };
                        let known_at = bar.known_at;
                        writer.write(key, known_at, |e, out| encode_counted(&counted, e, out));
                    }
                }
            }
        }
    }

    /// What happened in `[from, to)` is not known, as of `at`.
    fn miss(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        at: Timestamp,
        key: &Bytes,
        writer: &mut Writer<'_>,
    ) {
        let (instrument, reason) = (self.instrument.clone(), String::new());
        let event = FeedEvent::Gap { instrument, from, to, reason };
        self.feed(&Arrival { event, at, backfilled: false }, key, writer);
    }
}

/// The first microsecond behind an instant.
fn behind(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(1))
}

impl CandleOperator {
    /// With no trade seen.
    pub fn new(settings: CandleSettings, topics: Topics) -> Self {
        Self {
            settings,
            topics,
            instruments: Instruments::default(),
            partition: None,
            lanes: HashMap::new(),
            place: Place::default(),
            buffer: Vec::new(),
        }
    }

    /// Takes what came, or says why not.
    fn take(
        &mut self,
        arrival: &Arrival,
        stored: &Stored,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let instrument = arrival.event.instrument();
        let mut writer = Writer {
            topics: &self.topics,
            encoding: self.settings.encoding,
            buffer: &mut self.buffer,
            out,
        };
        let product;
        let (key, lane) = match self.lanes.get_mut(&stored.record.key) {
            // The ordinary case: a record under the key of its product.
            Some(lane) if lane.instrument == *instrument => (&stored.record.key, lane),
            _ => {
                product = belongs(instrument, self.partition)?;
                let lane = self.lanes.entry(product.clone()).or_insert_with(|| {
                    let mut lane = Lane::new(instrument.clone(), &self.settings);
                    if let Some(until) = self.place.lost_until {
                        lane.miss((Timestamp::MIN, until), arrival.at, &product, &mut writer);
                    }
                    lane
                });
                (&product, lane)
            }
        };
        match &arrival.event {
            FeedEvent::Trade(trade) => match lane.ids.add(trade) {
                Seen::New => lane.feed(arrival, key, &mut writer),
                Seen::Again => writer.out.repeated(),
                Seen::Unknown(doubt) => {
                    // It may be missing in its candle.
                    let Trade { id, time, .. } = trade;
                    lane.miss((*time, behind(*time)), arrival.at, key, &mut writer);
                    return Err(Refusal(format!(
                        "trade {} was not counted, and its candle is tainted: {doubt}",
                        id.unwrap_or_default()
                    )));
                }
            },
            FeedEvent::Renumbered { time, .. } => {
                lane.ids.renumbered(*time);
                lane.feed(arrival, key, &mut writer);
            }
            _ => lane.feed(arrival, key, &mut writer),
        }
        Ok(())
    }
}

/// The key of an instrument whose records are of this partition, of how many.
fn belongs(instrument: &Instrument, partition: Option<(u32, u32)>) -> Result<Bytes, Refusal> {
    let product = product_id(instrument);
    if let Some((here, partitions)) = partition {
        let there = partition_of(product.as_bytes(), partitions);
        if there != here {
            return Err(Refusal(format!(
                "{product} belongs to partition {there} of {partitions}, not to {here}: write it \
                 under the key `{product}` with Kafka's default partitioner \
                 (`partitioner=murmur2_random` in librdkafka)"
            )));
        }
    }
    Ok(product.into())
}

impl Operator for CandleOperator {
    fn begin(&mut self, partition: u32, partitions: u32) {
        self.partition = Some((partition, partitions));
    }

    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        self.lanes.clear();
        self.place = Place::default();
        for (key, value) in state {
            if key == PLACE {
                self.place = saved::restore(key, value)?;
                continue;
            }
            let lane: Lane = saved::restore(key, value)?;
            let found: Vec<BarSpec> = lane.bars.iter().map(Bars::spec).collect();
            if found != self.settings.bars {
                let wanted = &self.settings.bars;
                return Err(StreamError::State {
                    key: String::from_utf8_lossy(key).into_owned(),
                    reason: format!("it has bars of {found:?}, not of {wanted:?}"),
                });
            }
            self.lanes.insert(key.clone(), lane);
        }
        Ok(())
    }

    /// Late trades, gaps and repairs may have been among them: nothing is known of any window
    /// that was not final, up to when the first record behind them was written.
    fn lost(&mut self, _: &Lost, until: Timestamp, out: &mut Outbox) -> Result<(), StreamError> {
        let end = behind(until);
        self.place = Place { lost_until: self.place.lost_until.max(Some(end)), changed: true };
        let mut writer = Writer {
            topics: &self.topics,
            encoding: self.settings.encoding,
            buffer: &mut self.buffer,
            out,
        };
        // In an order that is the same in a replay.
        let mut lanes: Vec<_> = self.lanes.iter_mut().collect();
        lanes.sort_unstable_by_key(|(key, _)| *key);
        for (key, lane) in lanes {
            lane.miss((Timestamp::MIN, end), until, key, &mut writer);
        }
        Ok(())
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        for stored in records {
            let (written, ahead) = (stored.record.time, self.settings.ahead);
            let value = &stored.record.value;
            let taken = decode_arrival(value, written, ahead, &mut self.instruments)
                .and_then(|arrival| self.take(&arrival, stored, out));
            if let Err(refusal) = taken {
                out.refuse(stored, &refusal);
            }
        }
        Ok(())
    }

    fn repeats(&self) -> bool {
        true
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        let mut all = saved::changes(&mut self.lanes, |lane| std::mem::take(&mut lane.changed));
        if std::mem::take(&mut self.place.changed) {
            all.push((Bytes::from_static(PLACE), Some(saved::save(&self.place))));
        }
        all
    }
}
