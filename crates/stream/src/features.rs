//! From candles to feature rows: one lane per instrument, with corrections.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, RowState};
use foretell_market::{Bar, CandleVersion, Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};
use serde::{Deserialize, Serialize};

use crate::codec::{Encoding, Instruments, Refusal, decode_ohlcv, encode_features, product_id};
use crate::log::{Record, Stored};
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    instrument: Instrument,
    /// The rows up to the last candle that nothing can correct any more.
    settled: RowState,
    /// The candles behind that, by open time.
    recent: BTreeMap<Timestamp, CandleVersion>,
    /// The version of the row of each of their closes.
    versions: BTreeMap<Timestamp, u32>,
    /// `settled` and then `recent`; made again when it is not there.
    #[serde(skip)]
    tip: Option<RowState>,
    #[serde(skip)]
    changed: bool,
}

/// `ohlcv` in, `feature` out.
#[derive(Debug)]
pub struct FeatureOperator {
    settings: FeatureSettings,
    topics: Topics,
    instruments: Instruments,
    lanes: HashMap<Bytes, Lane>,
    buffer: Vec<u8>,
}

impl FeatureOperator {
    /// With no candle seen.
    ///
    /// # Errors
    /// When the set reads a column that candles do not have.
    pub fn new(settings: FeatureSettings, topics: Topics) -> Result<Self, StreamError> {
        let instrument: Instrument = "CHECK-CHECK".parse().expect("a name of the right form");
        let empty = frame(&settings, &instrument, &[])?;
        let mut state =
            RowState::new(&settings.set, &settings.context, instrument, settings.interval);
        state.advance(&settings.set, &settings.context, &settings.label, &empty)?;
        Ok(Self {
            settings,
            topics,
            instruments: Instruments::default(),
            lanes: HashMap::new(),
            buffer: Vec::new(),
        })
    }

    /// Takes candles of one instrument in the order in which they came.
    fn take(
        &mut self,
        key: &Bytes,
        instrument: &Instrument,
        candles: &[CandleVersion],
        out: &mut Outbox,
    ) -> Result<(), StreamError> {
        let settings = &self.settings;
        let lane = match self.lanes.get_mut(key) {
            Some(lane) => lane,
            None => {
                let lane = Lane::new(settings, instrument.clone());
                self.lanes.entry(key.clone()).or_insert(lane)
            }
        };
        lane.changed = true;
        let mut rest = candles;
        while let Some(first) = rest.first() {
            let through = lane.through();
            let rows = if through.is_none_or(|t| t < first.candle.open_time) {
                // A run of new candles is one piece.
                let count = 1 + rest
                    .windows(2)
                    .take_while(|w| w[0].candle.open_time < w[1].candle.open_time)
                    .count();
                let (run, behind) = rest.split_at(count);
                rest = behind;
                lane.extend(settings, run)?
            } else {
                rest = &rest[1..];
                match lane.correct(settings, first)? {
                    Ok(rows) => rows,
                    Err(refusal) => {
                        let record = crate::log::Record {
                            key: key.clone(),
                            value: Bytes::new(),
                            time: first.known_at,
                        };
                        out.refuse(&Stored { offset: 0, record }, &refusal);
                        continue;
                    }
                }
            };
            for record in rows {
                self.buffer.clear();
                encode_features(&record, settings.encoding, &mut self.buffer);
                let value = Bytes::copy_from_slice(&self.buffer);
                out.write(&self.topics.feature, key.clone(), value, record.row.known_at);
            }
        }
        Ok(())
    }
}

/// Candles as the rows of a frame.
fn frame(
    settings: &FeatureSettings,
    instrument: &Instrument,
    candles: &[CandleVersion],
) -> Result<Frame, StreamError> {
    let rows = candles.iter().map(|v| RowMeta {
        time: v.candle.open_time,
        known_at: v.known_at,
        ingested_at: v.known_at,
        flags: v.flags,
    });
    let mut names = settings.set.inputs();
    if !names.contains(&settings.label.price_column.as_str()) {
        names.push(&settings.label.price_column);
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let value: fn(&CandleVersion) -> f64 = match name {
            "open" => |v| v.candle.open,
            "high" => |v| v.candle.high,
            "low" => |v| v.candle.low,
            "close" | "price" => |v| v.candle.close,
            "volume" => |v| v.candle.volume,
            "total_volume" | "quote_volume" => |v| v.notional,
            "vwap" => CandleVersion::vwap,
            "trades" => |v| v.candle.trades.map_or(f64::NAN, |n| n as f64),
            _ => continue,
        };
        columns.push(Column::new(name, candles.iter().map(value).collect()));
    }
    let (instrument, interval) = (instrument.clone(), settings.interval);
    let frame = Frame::new(instrument, interval, rows.collect(), columns);
    Ok(frame.map_err(foretell_feature::FeatureError::from)?)
}

impl Lane {
    fn new(settings: &FeatureSettings, instrument: Instrument) -> Self {
        let FeatureSettings { set, context, interval, .. } = settings;
        let settled = RowState::new(set, context, instrument.clone(), *interval);
        Self {
            instrument,
            settled,
            recent: BTreeMap::new(),
            versions: BTreeMap::new(),
            tip: None,
            changed: false,
        }
    }

    fn through(&self) -> Option<Timestamp> {
        self.recent.last_key_value().map(|(time, _)| *time).or(self.settled.through())
    }

    /// The rows of candles behind all others.
    fn extend(
        &mut self,
        settings: &FeatureSettings,
        run: &[CandleVersion],
    ) -> Result<Vec<FeatureRecord>, StreamError> {
        let mut tip = match self.tip.take() {
            Some(tip) => tip,
            None => self.made_again(settings)?,
        };
        let rows = self.advance(settings, &mut tip, run, Timestamp::from_micros(i64::MIN))?;
        self.recent.extend(run.iter().map(|v| (v.candle.open_time, *v)));
        self.tip = Some(tip);
        self.settle(settings)?;
        Ok(rows)
    }

    /// The rows that a late or corrected candle changes: its own and all behind it.
    fn correct(
        &mut self,
        settings: &FeatureSettings,
        version: &CandleVersion,
    ) -> Result<Result<Vec<FeatureRecord>, Refusal>, StreamError> {
        let time = version.candle.open_time;
        if version.flags.contains(RowFlags::BACKFILLED) {
            // What was known before the river began changes nothing that it has brought.
            return Ok(Ok(Vec::new()));
        }
        if self.settled.through().is_some_and(|t| time <= t) {
            return Ok(Err(Refusal(format!(
                "the candle of {time} was corrected after {} us, too late for its row",
                settings.allowed
            ))));
        }
        self.recent.insert(time, *version);
        let mut tip = self.settled.clone();
        let recent: Vec<CandleVersion> = self.recent.values().copied().collect();
        let rows = self.advance(settings, &mut tip, &recent, time)?;
        self.tip = Some(tip);
        Ok(Ok(rows))
    }

    /// Feeds candles and returns the rows of those from `from` on that have all values.
    fn advance(
        &mut self,
        settings: &FeatureSettings,
        state: &mut RowState,
        candles: &[CandleVersion],
        from: Timestamp,
    ) -> Result<Vec<FeatureRecord>, StreamError> {
        let FeatureSettings { set, context, label, interval, .. } = settings;
        let frame = frame(settings, &self.instrument, candles)?;
        let mut records = Vec::new();
        for (as_of, decision) in state.advance(set, context, label, &frame)? {
            let time = as_of - *interval;
            // Rows of the past fill windows and are no news.
            let place = candles.binary_search_by_key(&time, |v| v.candle.open_time);
            let is_past = place.is_ok_and(|i| candles[i].flags.contains(RowFlags::BACKFILLED));
            if time < from || is_past {
                continue;
            }
            // A row that is not complete yet is none.
            if let Ok(row) = decision {
                let version = self.versions.entry(as_of).or_default();
                *version += 1;
                records.push(FeatureRecord { hash: row.hash(), version: *version, row });
            }
        }
        Ok(records)
    }

    fn made_again(&self, settings: &FeatureSettings) -> Result<RowState, StreamError> {
        let mut tip = self.settled.clone();
        if !self.recent.is_empty() {
            let recent: Vec<CandleVersion> = self.recent.values().copied().collect();
            let frame = frame(settings, &self.instrument, &recent)?;
            tip.advance(&settings.set, &settings.context, &settings.label, &frame)?;
        }
        Ok(tip)
    }

    /// Moves candles that nothing can correct any more into the settled rows.
    fn settle(&mut self, settings: &FeatureSettings) -> Result<(), StreamError> {
        let Some(newest) = self.through() else { return Ok(()) };
        // A window takes trades until event time is past its end by the allowed lateness;
        // event time is at least at the newest window's end.
        let limit = newest.micros().saturating_sub(settings.allowed);
        let behind = self.recent.split_off(&Timestamp::from_micros(limit.saturating_add(1)));
        let done: Vec<CandleVersion> =
            std::mem::replace(&mut self.recent, behind).into_values().collect();
        let Some(last) = done.last() else { return Ok(()) };
        let kept = last.candle.open_time + settings.interval;
        self.versions = self.versions.split_off(&Timestamp::from_micros(kept.micros() + 1));
        if self.recent.is_empty() {
            // The newest row is settled too: both states are the same.
            let tip = self.tip.take();
            self.settled = tip.unwrap_or_else(|| self.settled.clone());
            return Ok(());
        }
        let frame = frame(settings, &self.instrument, &done)?;
        self.settled.advance(&settings.set, &settings.context, &settings.label, &frame)?;
        Ok(())
    }
}

impl Operator for FeatureOperator {
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        self.lanes.clear();
        for (key, value) in state {
            let lane: Lane = saved::restore(key, value)?;
            self.lanes.insert(key.clone(), lane);
        }
        Ok(())
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        // Lanes do not touch each other, so the candles of one are taken together. Lanes go
        // by their first candle, which is not how the records came: rows of one instrument
        // are in order, and no more is promised.
        let mut order: Vec<Bytes> = Vec::new();
        let mut by_lane: HashMap<Bytes, (Instrument, Vec<CandleVersion>)> = HashMap::new();
        for stored in records {
            let Record { value, time, .. } = &stored.record;
            match decode_ohlcv(value, *time, &mut self.instruments) {
                Ok(Ohlcv::Closed(closed)) if closed.interval == self.settings.interval => {
                    let Bar::Candle(version) = closed.bar else { continue };
                    let key = Bytes::from(product_id(&closed.instrument));
                    let lane = by_lane.entry(key).or_insert_with_key(|key| {
                        order.push(key.clone());
                        (closed.instrument, Vec::new())
                    });
                    lane.1.push(version);
                }
                Ok(_) => {}
                Err(refusal) => out.refuse(stored, &refusal),
            }
        }
        for key in order {
            if let Some((instrument, candles)) = by_lane.remove(&key) {
                self.take(&key, &instrument, &candles, out)?;
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        saved::changes(&mut self.lanes, |lane| std::mem::take(&mut lane.changed))
    }
}
