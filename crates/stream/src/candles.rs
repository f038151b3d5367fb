//! From what a feed brings to candles: one lane per instrument, several bars at once.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use foretell_market::{
    Arrival, Bar, BarSpec, CountSpec, Counting, FeedEvent, Instrument, Lateness, Timestamp, Trade,
    Tumbling,
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
    /// Bars by count that nobody asks for any more, with the number that comes next: no two
    /// bars have one number.
    ended: Vec<(CountSpec, u64)>,
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
    further: BTreeMap<Instrument, Vec<BarSpec>>,
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

/// The bars that an instrument has.
fn wanted(
    settings: &CandleSettings,
    further: &BTreeMap<Instrument, Vec<BarSpec>>,
    instrument: &Instrument,
) -> Vec<BarSpec> {
    let mut all = settings.bars.clone();
    for spec in further.get(instrument).into_iter().flatten() {
        if !all.contains(spec) {
            all.push(*spec);
        }
    }
    all
}

impl Lane {
    fn new(instrument: Instrument, bars: &[BarSpec], lateness: Lateness) -> Self {
        let (ids, ended) = (Ids::default(), Vec::new());
        let mut lane = Self { instrument, bars: Vec::new(), ended, ids, changed: false };
        lane.make(bars, lateness);
        lane
    }

    /// Goes on with these bars: those that it has go on as they are, others begin now, and of
    /// those that nobody asks for any more the open one is given up.
    fn make(&mut self, wanted: &[BarSpec], lateness: Lateness) {
        let mut old = std::mem::take(&mut self.bars);
        for spec in wanted {
            let bars = match old.iter().position(|bars| bars.spec() == *spec) {
                Some(at) => old.remove(at),
                None => self.begun(*spec, lateness),
            };
            self.bars.push(bars);
        }
        for bars in old {
            if let Bars::Count(bars) = bars {
                self.ended.push((bars.spec(), bars.number()));
            }
        }
    }

    fn begun(&mut self, spec: BarSpec, lateness: Lateness) -> Bars {
        let before = self.ended.iter().position(|(of, _)| BarSpec::from(*of) == spec);
        match before.map(|at| self.ended.remove(at)) {
            Some((count, number)) => Bars::Count(Counting::resumed(count, number)),
            None => Bars::new(spec, lateness),
        }
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
            further: BTreeMap::new(),
            topics,
            instruments: Instruments::default(),
            partition: None,
            lanes: HashMap::new(),
            place: Place::default(),
            buffer: Vec::new(),
        }
    }

    /// Makes further bars of some instruments in the same pass.
    ///
    /// The list may change between two processes: a saved state goes on with the bars that it
    /// has, begins others with the next record, and gives up what nobody asks for any more.
    /// Bars by count that are asked for again go on numbering where they ended.
    #[must_use]
    pub fn and_of(mut self, further: BTreeMap<Instrument, Vec<BarSpec>>) -> Self {
        self.further = further;
        self
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
                    let bars = wanted(&self.settings, &self.further, instrument);
                    let lateness = self.settings.lateness;
                    let mut lane = Lane::new(instrument.clone(), &bars, lateness);
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
            let mut lane: Lane = saved::restore(key, value)?;
            let bars = wanted(&self.settings, &self.further, &lane.instrument);
            lane.make(&bars, self.settings.lateness);
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
