//! From what a feed brings to candles: one lane per instrument, several intervals at once.

use std::collections::HashMap;

use bytes::Bytes;
use foretell_market::{Arrival, Bar, FeedEvent, Instrument, Interval, Lateness, Tumbling};
use serde::{Deserialize, Serialize};

use crate::codec::{Encoding, Instruments, decode_arrival, encode_closed, is_product, product_id};
use crate::ids::Ids;
use crate::log::Stored;
use crate::operator::{Operator, Outbox, StreamError, Topics};
use crate::rows::Closed;
use crate::saved;

/// What candles are made, and how.
#[derive(Debug, Clone)]
pub struct CandleSettings {
    /// Their lengths.
    pub intervals: Vec<Interval>,
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
    bars: Vec<Tumbling>,
    ids: Ids,
    #[serde(skip)]
    changed: bool,
}

/// `trade` in, `ohlcv` out.
#[derive(Debug)]
pub struct CandleOperator {
    settings: CandleSettings,
    topics: Topics,
    instruments: Instruments,
    lanes: HashMap<Bytes, Lane>,
    buffer: Vec<u8>,
}

impl CandleOperator {
    /// With no trade seen.
    pub fn new(settings: CandleSettings, topics: Topics) -> Self {
        Self {
            settings,
            topics,
            instruments: Instruments::default(),
            lanes: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    fn take(&mut self, arrival: &Arrival, key: &Bytes, out: &mut Outbox) {
        let lane = match self.lanes.get_mut(key) {
            Some(lane) => lane,
            None => {
                let instrument = arrival.event.instrument().clone();
                let lateness = self.settings.lateness;
                let bars = self.settings.intervals.iter().map(|i| Tumbling::new(*i, lateness));
                let bars = bars.collect();
                let lane = Lane { instrument, bars, ids: Ids::default(), changed: false };
                self.lanes.entry(key.clone()).or_insert(lane)
            }
        };
        lane.changed = true;
        // A trade that comes twice counts once.
        if let FeedEvent::Trade(trade) = &arrival.event
            && let Some(id) = trade.id
            && !lane.ids.add(id)
        {
            return;
        }
        let Lane { instrument, bars, .. } = lane;
        for bar in bars {
            let interval = bar.interval();
            bar.feed(arrival, |bar| {
                let known_at = match &bar {
                    Bar::Candle(version) => version.known_at,
                    Bar::Silent { known_at, .. } | Bar::TooLate { known_at, .. } => *known_at,
                };
                let closed = Closed { instrument: instrument.clone(), interval, bar };
                self.buffer.clear();
                encode_closed(&closed, self.settings.encoding, &mut self.buffer);
                out.put(&self.topics.ohlcv, key.clone(), &self.buffer, known_at);
            });
        }
    }
}

impl Operator for CandleOperator {
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        self.lanes.clear();
        for (key, value) in state {
            let lane: Lane = saved::restore(key, value)?;
            let found: Vec<Interval> = lane.bars.iter().map(Tumbling::interval).collect();
            if found != self.settings.intervals {
                let wanted = &self.settings.intervals;
                return Err(StreamError::State {
                    key: String::from_utf8_lossy(key).into_owned(),
                    reason: format!("it has candles of {found:?}, not of {wanted:?}"),
                });
            }
            self.lanes.insert(key.clone(), lane);
        }
        Ok(())
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        for stored in records {
            let written = stored.record.time;
            let ahead = self.settings.ahead;
            let value = &stored.record.value;
            match decode_arrival(value, written, ahead, &mut self.instruments) {
                Ok(arrival) => {
                    let instrument = arrival.event.instrument();
                    // Records of others may have another key, or none.
                    if is_product(&stored.record.key, instrument) {
                        self.take(&arrival, &stored.record.key, out);
                    } else {
                        let key = Bytes::from(product_id(instrument));
                        self.take(&arrival, &key, out);
                    }
                }
                Err(refusal) => out.refuse(stored, &refusal),
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        saved::changes(&mut self.lanes, |lane| std::mem::take(&mut lane.changed))
    }
}
