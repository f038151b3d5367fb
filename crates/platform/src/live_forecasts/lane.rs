//! What a version in the river remembers: its calibration, how it has done, and the
//! forecasts whose time has not come.

use std::collections::{BTreeMap, BTreeSet};

use foretell_feature::FeatureRow;
use foretell_forecaster::{Awaited, ForecastError, forecast};
use foretell_market::{Fingerprint, Timestamp};
use foretell_model::evaluate::CalibrationState;
use serde::{Deserialize, Serialize};

use super::record::{Calibrated, LiveForecast, LiveOutcome, LiveRecord, LiveSkill, Unresolved};
use super::{LiveChampion, Rows, VersionKey};

/// Target time and known-at: of one version and one target there is one forecast for each
/// instant at which its inputs were known.
pub(super) type Place = (Timestamp, Timestamp);

/// A version in the river.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    pub(super) model: String,
    pub(super) version: u32,
    pub(super) hash: Fingerprint,
    calibration: CalibrationState,
    /// When the last outcome in it was known.
    calibrated_at: Option<Timestamp>,
    /// The latest target time of an outcome in it.
    taken_in_to: Option<Timestamp>,
    tally: Tally,
    #[serde(skip)]
    waiting: BTreeMap<Place, Waiting>,
    #[serde(skip)]
    changed: bool,
    /// The places of `waiting` that are not saved as they are.
    #[serde(skip)]
    touched: BTreeSet<Place>,
}

/// A forecast that waits for its outcome, or for a correction of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    awaited: Awaited,
    /// The price that came and when it was known.
    outcome: Option<(f64, Timestamp)>,
}

/// Sums over the outcomes of a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tally {
    n: u64,
    error: f64,
    random_walk_error: f64,
    intervals: u64,
    inside: u64,
}

impl Tally {
    fn skill(&self) -> LiveSkill {
        let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
        LiveSkill {
            n: self.n,
            relative_mae: share(self.error, self.random_walk_error),
            coverage: share(self.inside as f64, self.intervals as f64),
            intervals: self.intervals,
        }
    }
}

/// One of two instants that is behind the other by a microsecond at least.
fn behind(last: Timestamp) -> Timestamp {
    Timestamp::from_micros(last.micros().saturating_add(1))
}

impl Lane {
    pub(super) fn new(champion: &LiveChampion) -> Self {
        Self {
            model: champion.served.name.clone(),
            version: champion.served.version,
            hash: champion.served.hash,
            calibration: champion.calibration.clone(),
            calibrated_at: None,
            taken_in_to: None,
            tally: Tally::default(),
            waiting: BTreeMap::new(),
            changed: true,
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn key(&self) -> VersionKey {
        (self.model.clone(), self.hash)
    }

    /// Takes up a forecast that was saved.
    pub(super) fn resume(&mut self, waiting: Waiting) {
        let place = (waiting.awaited.target_time, waiting.awaited.known_at);
        self.waiting.insert(place, waiting);
    }

    /// The forecasts that changed since this was asked last, `None` for one that is done, and
    /// whether anything else has.
    pub(super) fn changes(&mut self) -> (bool, Vec<(Place, Option<&Waiting>)>) {
        let touched = std::mem::take(&mut self.touched);
        let changed = std::mem::take(&mut self.changed);
        let of = |place: Place| (place, self.waiting.get(&place));
        (changed, touched.into_iter().map(of).collect())
    }

    /// Judges the forecasts of a row's decision time by its price: those that wait for it, and
    /// again those that another price was known for.
    ///
    /// As in a batch, the calibration takes in the price that was known first, and nothing
    /// that was due before what it has taken in already.
    pub(super) fn mature(&mut self, row: &FeatureRow) -> Vec<LiveRecord> {
        let (target, price) = (row.as_of, row.base_price);
        let (calibration, tally) = (&mut self.calibration, &mut self.tally);
        let in_order = self.taken_in_to.is_none_or(|to| to < target);
        let (mut records, mut moved) = (Vec::new(), false);
        let all =
            (target, Timestamp::from_micros(i64::MIN))..=(target, Timestamp::from_micros(i64::MAX));
        for (place, waiting) in self.waiting.range_mut(all) {
            let (known_at, corrects) = match waiting.outcome {
                Some((known, _)) if known.to_bits() == price.to_bits() => continue,
                Some((_, at)) => (row.known_at.max(behind(at)), true),
                None => (row.known_at, false),
            };
            waiting.outcome = Some((price, known_at));
            self.touched.insert(*place);
            let awaited = &waiting.awaited;
            // A forecast that abstained may hold nothing to judge: its outcome is told.
            let judged = match in_order && !corrects {
                true => awaited.observe(calibration, price).inspect(|_| moved = true).ok(),
                false => awaited.judge(price).ok(),
            };
            let inside = judged.as_ref().and_then(|j| j.covered);
            if let Some(judgement) = judged.filter(|_| !corrects) {
                tally.n += 1;
                tally.error += judgement.error;
                tally.random_walk_error += judgement.random_walk_error;
                tally.intervals += u64::from(inside.is_some());
                tally.inside += u64::from(inside == Some(true));
            }
            records.push(LiveRecord::Outcome(Box::new(LiveOutcome {
                forecast_id: awaited.id.clone(),
                instrument: awaited.instrument.clone(),
                model: self.model.clone(),
                version: self.version,
                as_of: awaited.as_of,
                target_time: target,
                price,
                known_at,
                inside,
                corrects,
                live: tally.skill(),
            })));
        }
        if moved {
            let next = self.calibrated_at.map_or(row.known_at, |at| row.known_at.max(behind(at)));
            (self.calibrated_at, self.taken_in_to) = (Some(next), Some(target));
        }
        self.changed |= !records.is_empty();
        records
    }

    /// Gives up on the forecasts of target times up to an instant: no row of them can come or
    /// be corrected any more.
    pub(super) fn give_up(&mut self, through: Timestamp, known_at: Timestamp) -> Vec<LiveRecord> {
        let mut records = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > through {
                break;
            }
            let (place, Waiting { awaited, outcome }) = first.remove_entry();
            self.touched.insert(place);
            if outcome.is_none() {
                records.push(LiveRecord::Unresolved(Unresolved {
                    forecast_id: awaited.id,
                    instrument: awaited.instrument,
                    model: self.model.clone(),
                    version: self.version,
                    as_of: awaited.as_of,
                    target_time: awaited.target_time,
                    known_at,
                }));
            }
        }
        records
    }

    /// The forecast from a row, made at the instant at which that was known.
    pub(super) fn decide(
        &mut self,
        champion: &LiveChampion,
        row: &FeatureRow,
        passed_over: u64,
    ) -> Result<LiveRecord, ForecastError> {
        let LiveChampion { served, terms, run, .. } = champion;
        let made = forecast(served, &self.calibration, row, row.known_at, terms)?;
        let place = (made.target_time, made.known_at);
        self.waiting.insert(place, Waiting { awaited: Awaited::from(&made), outcome: None });
        self.touched.insert(place);
        let calibration = Calibrated { as_of: self.calibrated_at, state: self.calibration.clone() };
        Ok(LiveRecord::Forecast(Box::new(LiveForecast {
            forecast: made,
            run: run.clone(),
            calibration,
            row: row.clone(),
            passed_over,
        })))
    }
}

/// The rows of one instrument, interval and feature set, and the versions that read them.
#[derive(Debug, Default)]
pub(super) struct Market {
    pub(super) seen: Seen,
    pub(super) lanes: BTreeMap<VersionKey, Lane>,
}

/// How far the rows have come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    pub(super) newest: Option<Newest>,
    /// How many rows came of decisions behind the newest one.
    pub(super) passed_over: u64,
    #[serde(skip)]
    pub(super) changed: bool,
}

/// The row of the newest decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    as_of: Timestamp,
    known_at: Timestamp,
    row: Fingerprint,
}

/// What a row is among those of its market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Of a later decision than all others, or a correction of the newest: forecast from it.
    Newest,
    /// The newest once more.
    Again,
    /// Of a decision that others have followed.
    Behind,
    /// Another row of the newest decision, known at the same instant or before.
    Ambiguous,
}

impl Seen {
    /// Takes a row in.
    pub(super) fn take(&mut self, row: &FeatureRow, hash: Fingerprint) -> Standing {
        let standing = match &self.newest {
            Some(newest) if row.as_of < newest.as_of => Standing::Behind,
            Some(newest) if row.as_of == newest.as_of && newest.row == hash => Standing::Again,
            Some(newest) if row.as_of == newest.as_of && row.known_at <= newest.known_at => {
                Standing::Ambiguous
            }
            _ => Standing::Newest,
        };
        match standing {
            Standing::Newest => {
                let (as_of, known_at) = (row.as_of, row.known_at);
                self.newest = Some(Newest { as_of, known_at, row: hash });
            }
            Standing::Behind => self.passed_over += 1,
            Standing::Again | Standing::Ambiguous => return standing,
        }
        self.changed = true;
        standing
    }

    /// The decision time that event time has reached.
    pub(super) fn through(&self) -> Option<Timestamp> {
        self.newest.map(|newest| newest.as_of)
    }
}

/// Where a version's rows stand, kept with it: a version that is no champion any more is
/// judged from the same rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedLane<L> {
    pub(super) instrument: foretell_market::Instrument,
    pub(super) interval: foretell_market::Interval,
    pub(super) set: Fingerprint,
    pub(super) lane: L,
}

impl<L> SavedLane<L> {
    pub(super) fn new(rows: &Rows, lane: L) -> Self {
        let Rows { instrument, interval, set } = rows.clone();
        Self { instrument, interval, set, lane }
    }

    pub(super) fn rows(&self) -> Rows {
        Rows { instrument: self.instrument.clone(), interval: self.interval, set: self.set }
    }
}
