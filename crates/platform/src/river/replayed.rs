//! What the forecasts of a replay are beside those that the river recorded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use foretell_market::Fingerprint;
use foretell_stream::Log;
use serde::{Deserialize, Serialize};

use super::plan::RiverPlan;
use super::read::each;
use crate::error::PlatformError;
use crate::live_forecasts::{LiveChampion, LiveRecord, decode};
use crate::observer::Stop;

/// What a version forecast from the rows of a replay.
///
/// A forecast of the replay and one of the river have one id when version, decision and the
/// instant at which the row was known are the same. Then they are equal in every field of
/// forecast and passport where row and calibration are, too: from the first candle of the
/// river on they are; a replay that begins later has windows filled from closed candles,
/// marked as such, and a calibration that lacks the outcomes of the forecasts before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastsReplayed {
    /// The pipeline.
    pub pipeline: String,
    /// The version that forecast; `None` without a champion, and nothing was forecast then.
    pub version: Option<u32>,
    /// Forecasts.
    pub forecasts: u64,
    /// Outcomes.
    pub outcomes: u64,
    /// Forecasts whose target time got no row.
    pub unresolved: u64,
    /// Forecasts that the river made just so.
    pub same: u64,
    /// Forecasts that the river made from another row or with another calibration.
    pub differing: u64,
    /// Forecasts that are not among the river's.
    pub unrecorded: u64,
}

/// Counts the forecasts of a job and compares each with the one that the river recorded.
pub(super) async fn replayed(
    log: &dyn Log,
    plan: &RiverPlan,
    job: &RiverPlan,
    champions: &BTreeMap<String, LiveChampion>,
    stop: &Stop,
) -> Result<Vec<ForecastsReplayed>, PlatformError> {
    let mut all: BTreeMap<&str, ForecastsReplayed> = BTreeMap::new();
    for pipeline in plan.pipelines() {
        let name = pipeline.name.as_str();
        let version = champions.get(name).map(|champion| champion.served.version);
        let none = ForecastsReplayed { pipeline: name.to_owned(), version, ..Default::default() };
        all.insert(name, none);
    }
    let (recorded, again) = (plan.topics().forecast, job.topics().forecast);
    for partition in 0..plan.topics().partitions {
        // What is not compared yet, by id.
        let mut open: BTreeMap<String, (String, Fingerprint)> = BTreeMap::new();
        records(log, &again, partition, stop, |record| match record {
            LiveRecord::Forecast(made) => {
                let made = made.forecast;
                if let Some(of) = all.get_mut(made.model.name.as_str()) {
                    of.forecasts += 1;
                }
                open.insert(made.id.clone(), (made.model.name.clone(), made.hash()));
            }
            LiveRecord::Outcome(came) => {
                if let Some(of) = all.get_mut(came.model.as_str()) {
                    of.outcomes += 1;
                }
            }
            LiveRecord::Unresolved(left) => {
                if let Some(of) = all.get_mut(left.model.as_str()) {
                    of.unresolved += 1;
                }
            }
        })
        .await?;
        if open.is_empty() {
            continue;
        }
        records(log, &recorded, partition, stop, |record| {
            if let LiveRecord::Forecast(made) = record
                && let Some((name, hash)) = open.remove(&made.forecast.id)
                && let Some(of) = all.get_mut(name.as_str())
            {
                let same = u64::from(made.forecast.hash() == hash);
                of.same += same;
                of.differing += 1 - same;
            }
        })
        .await?;
        for (name, _) in open.into_values() {
            if let Some(of) = all.get_mut(name.as_str()) {
                of.unrecorded += 1;
            }
        }
    }
    Ok(all.into_values().collect())
}

async fn records(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    stop: &Stop,
    mut take: impl FnMut(LiveRecord),
) -> Result<(), PlatformError> {
    each(log, topic, partition, 0, |stored| {
        // Others may write there, too.
        if let Ok(Some(record)) = decode(&stored.record.value) {
            take(record);
        }
        if stop.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    stop.check()
}
