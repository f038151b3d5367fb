//! `feature` in, `forecast` out.

use std::collections::BTreeMap;

use bytes::Bytes;
use foretell_feature::FeatureRow;
use foretell_market::Timestamp;
use foretell_stream::codec::{Refusal, decode_features, product_id};
use foretell_stream::{
    FeatureRecord, Operator, Outbox, Record, Stored, StreamError, Topics, restore_state, save_state,
};

use super::lane::{Lane, Market, SavedLane, Seen, Standing, Waiting};
use super::record::{LiveRecord, encode};
use super::{LiveChampion, Rows, VersionKey};

/// How forecasts are made in the river.
#[derive(Debug, Clone)]
pub struct ForecastSettings {
    /// For how long after its close a candle may still come or be corrected, microseconds: as
    /// in the settings of the rows.
    pub allowed: i64,
    /// The names of the topics.
    pub topics: Topics,
}

/// How far what a record says of itself may be ahead of when it was written, microseconds: two
/// clocks differ.
const SKEW: i64 = 60_000_000;

/// What the keys of the saved state begin with.
const SEEN: &str = "s/";
const LANE: &str = "l/";
const WAITING: &str = "w/";

/// Forecasts from the rows of one partition, each with the champions that read them.
///
/// A forecast is made from the row of each new decision, and from a correction of the newest
/// one; it is judged when the row of its target time comes, judged anew when another price is
/// known for that, and given up when no such row can come any more. What is written depends
/// on the sequence of records alone: `made_at` is the instant at which the row was known.
#[derive(Debug)]
pub struct ForecastOperator {
    settings: ForecastSettings,
    champions: BTreeMap<Rows, BTreeMap<VersionKey, LiveChampion>>,
    markets: BTreeMap<Rows, Market>,
}

impl ForecastOperator {
    /// With no row seen. Of two champions with one name and model the later one counts.
    pub fn new(champions: Vec<LiveChampion>, settings: ForecastSettings) -> Self {
        let mut by_rows: BTreeMap<Rows, BTreeMap<VersionKey, LiveChampion>> = BTreeMap::new();
        for champion in champions {
            by_rows.entry(champion.rows()).or_default().insert(champion.key(), champion);
        }
        Self { settings, champions: by_rows, markets: BTreeMap::new() }
    }

    fn take(&mut self, stored: &Stored, record: &FeatureRecord, out: &mut Outbox) {
        let row = &record.row;
        let rows = Rows::of(row);
        let champions = self.champions.get(&rows);
        if champions.is_none() && !self.markets.contains_key(&rows) {
            // Nobody here forecasts from it.
            return;
        }
        let market = self.markets.entry(rows).or_default();
        for (key, champion) in champions.into_iter().flatten() {
            market.lanes.entry(key.clone()).or_insert_with(|| Lane::new(champion));
        }
        let standing = market.seen.take(row, record.hash);
        let through = market.seen.through().map(|newest| {
            let lasts = self.settings.allowed.saturating_add(row.interval.micros());
            Timestamp::from_micros(newest.micros().saturating_sub(lasts))
        });
        let forecast_topic = &self.settings.topics.forecast;
        let key = Bytes::from(product_id(&row.instrument));
        let write = |record: &LiveRecord, out: &mut Outbox| {
            out.write(forecast_topic, key.clone(), encode(record).into(), row.known_at);
        };
        for (version, lane) in &mut market.lanes {
            // What is known by now moves the calibration that the forecast is made with.
            let mut told = lane.mature(row);
            told.extend(through.into_iter().flat_map(|t| lane.give_up(t, row.known_at)));
            told.iter().for_each(|record| write(record, out));
            let champion = champions.and_then(|all| all.get(version));
            let Some(champion) = champion.filter(|_| standing == Standing::Newest) else {
                continue;
            };
            match lane.decide(champion, row, market.seen.passed_over) {
                Ok(made) => write(&made, out),
                Err(error) => {
                    let text = format!("{} makes no forecast of it: {error}", champion.label());
                    out.refuse(stored, &Refusal(text));
                }
            }
        }
        if standing == Standing::Ambiguous {
            out.refuse(stored, &Refusal(format!(
                "another row of the decision at {} was known at the same instant, and a forecast \
                 was made from that: none is made of this one",
                row.as_of
            )));
        }
    }
}

impl LiveChampion {
    fn label(&self) -> String {
        self.served.label()
    }
}

/// A row that may be believed: its price is one, and it was known neither before its decision
/// nor after it was written.
fn decode(record: &Record) -> Result<FeatureRecord, Refusal> {
    let found = decode_features(&record.value)?;
    let FeatureRow { as_of, known_at, base_price, .. } = found.row;
    if !(base_price.is_finite() && base_price > 0.0) {
        return Err(Refusal(format!("base_price {base_price} is not a positive number")));
    }
    if known_at < as_of {
        return Err(Refusal(format!("it was known at {known_at}, before its decision at {as_of}")));
    }
    let written = record.time;
    if known_at.micros() > written.micros().saturating_add(SKEW) {
        let text = format!("it was known at {known_at}, after it was written at {written}");
        return Err(Refusal(text));
    }
    Ok(found)
}

fn market_key(rows: &Rows) -> String {
    format!("{SEEN}{}/{}/{}", rows.instrument, rows.interval.secs(), rows.set)
}

fn lane_key((model, hash): &VersionKey) -> String {
    format!("{LANE}{model}/{hash}")
}

fn waiting_key((model, hash): &VersionKey, target: Timestamp, known_at: Timestamp) -> String {
    format!("{WAITING}{model}/{hash}/{}/{}", target.micros(), known_at.micros())
}

impl Operator for ForecastOperator {
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        self.markets.clear();
        // Forecasts come after the versions that they belong to.
        let mut waiting: Vec<(&Bytes, VersionKey, Waiting)> = Vec::new();
        let mut place: BTreeMap<VersionKey, Rows> = BTreeMap::new();
        for (key, value) in state {
            if key.starts_with(SEEN.as_bytes()) {
                let saved: SavedLane<Seen> = restore_state(key, value)?;
                let rows = saved.rows();
                self.markets.entry(rows).or_default().seen = saved.lane;
            } else if key.starts_with(LANE.as_bytes()) {
                let saved: SavedLane<Lane> = restore_state(key, value)?;
                let (rows, lane) = (saved.rows(), saved.lane);
                place.insert(lane.key(), rows.clone());
                self.markets.entry(rows).or_default().lanes.insert(lane.key(), lane);
            } else {
                let (of, forecast): (VersionKey, Waiting) = restore_state(key, value)?;
                waiting.push((key, of, forecast));
            }
        }
        for (key, of, forecast) in waiting {
            let market = place.get(&of).and_then(|rows| self.markets.get_mut(rows));
            let Some(lane) = market.and_then(|m| m.lanes.get_mut(&of)) else {
                let key = String::from_utf8_lossy(key).into_owned();
                let reason = "it is a forecast of a version that was not saved".to_owned();
                return Err(StreamError::State { key, reason });
            };
            lane.resume(forecast);
        }
        Ok(())
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        for stored in records {
            match decode(&stored.record) {
                Ok(record) => self.take(stored, &record, out),
                Err(refusal) => out.refuse(stored, &refusal),
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        let mut all = Vec::new();
        for (rows, market) in &mut self.markets {
            if std::mem::take(&mut market.seen.changed) {
                let saved = save_state(&SavedLane::new(rows, &market.seen));
                all.push((market_key(rows).into(), Some(saved)));
            }
            for (version, lane) in &mut market.lanes {
                let (changed, forecasts) = lane.changes();
                for ((target, known_at), waiting) in forecasts {
                    let key = waiting_key(version, target, known_at).into();
                    all.push((key, waiting.map(|w| save_state(&(version, w)))));
                }
                if changed {
                    let saved = save_state(&SavedLane::new(rows, &*lane));
                    all.push((lane_key(version).into(), Some(saved)));
                }
            }
        }
        all
    }
}
