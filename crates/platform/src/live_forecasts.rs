//! Forecasts of the live river: made when a row comes, judged when their time has come.
//!
//! [`ForecastOperator`] reads the topic of feature rows and writes that of forecasts: pure
//! work on the sequence of records, whose state commits together with what it writes.
//! [`ForecastSink`] brings what was committed into the registry, onto the board and to the
//! clients that listen.

mod lane;
mod operator;
mod record;
mod sink;

#[cfg(test)]
mod tests;

use foretell_feature::FeatureRow;
use foretell_forecaster::{ServedVersion, Terms};
use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use foretell_model::evaluate::CalibrationState;
use foretell_registry::{ModelVersion, RegistryError};

use crate::error::PlatformError;
use crate::forecasting::{CHAMPION, terms};
use crate::pipeline::Pipeline;
use crate::service::Service;

pub use operator::{ForecastOperator, ForecastSettings};
pub use record::{
    Calibrated, LiveForecast, LiveOutcome, LiveRecord, LiveSkill, Unresolved, decode, encode,
};
pub use sink::{ForecastSink, Sunk};

/// The champion of a pipeline as it forecasts in the river.
#[derive(Debug, Clone)]
pub struct LiveChampion {
    /// The version.
    pub served: ServedVersion,
    /// Its calibration where the river has none of its own yet.
    pub calibration: CalibrationState,
    /// The terms of its pipeline.
    pub terms: Terms,
    /// The run whose pipeline these are, for whoever proves a forecast.
    pub run: String,
}

/// The rows that a version forecasts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rows {
    instrument: Instrument,
    interval: Interval,
    set: Fingerprint,
}

impl Rows {
    fn of(row: &FeatureRow) -> Self {
        let (interval, set) = (row.interval, row.feature_set);
        Self { instrument: row.instrument.clone(), interval, set }
    }
}

/// A version and the model in it: another model under the same number is another one.
type VersionKey = (String, Fingerprint);

impl LiveChampion {
    fn rows(&self) -> Rows {
        let ServedVersion { interval, feature_set: set, .. } = self.served;
        Rows { instrument: self.served.instrument.clone(), interval, set }
    }

    fn key(&self) -> VersionKey {
        (self.served.name.clone(), self.served.hash)
    }
}

impl Service {
    /// The champion of a pipeline that has run, with its calibration as of an instant of the
    /// market: the present for a river that begins now, the start of the rows for a replay,
    /// whose forecasts must not know what came of them. `None` when there is no champion.
    ///
    /// # Errors
    /// When no such pipeline ran, or the champion's bytes are gone.
    pub async fn live_champion(
        &self,
        pipeline: &str,
        at: Timestamp,
    ) -> Result<Option<LiveChampion>, PlatformError> {
        let ran = self.ran(pipeline).await?;
        match self.store.registry.aliased(pipeline, CHAMPION).await? {
            Some(record) => Ok(Some(self.as_champion(ran, &record, at).await?)),
            None => Ok(None),
        }
    }

    /// A version of a pipeline that has run as it would forecast if it were champion; its
    /// calibration as in [`Service::live_champion()`].
    ///
    /// # Errors
    /// When no such pipeline ran, it has no such version, or its bytes are gone.
    pub async fn live_version(
        &self,
        pipeline: &str,
        version: u32,
        at: Timestamp,
    ) -> Result<LiveChampion, PlatformError> {
        let ran = self.ran(pipeline).await?;
        let record = match self.store.registry.model_version(pipeline, version).await {
            Err(RegistryError::NotFound { .. }) => {
                let hint = "`foretell models list` shows those there are";
                return Err(PlatformError::not_found(
                    format!("{pipeline} version {version}"),
                    hint,
                ));
            }
            found => found?,
        };
        self.as_champion(ran, &record, at).await
    }

    /// The latest run of a pipeline, and what it says.
    async fn ran(&self, pipeline: &str) -> Result<(String, Pipeline), PlatformError> {
        let pipelines = self.pipelines().await?;
        let Some((run, of)) = pipelines.iter().find(|(run, _)| run.pipeline == pipeline) else {
            let names: Vec<&str> = pipelines.iter().map(|(run, _)| run.pipeline.as_str()).collect();
            let hint = format!("run it first; those that ran: {}", names.join(", "));
            return Err(PlatformError::not_found(format!("run of pipeline `{pipeline}`"), hint));
        };
        Ok((run.id.clone(), of.clone()))
    }

    async fn as_champion(
        &self,
        (run, of): (String, Pipeline),
        record: &ModelVersion,
        at: Timestamp,
    ) -> Result<LiveChampion, PlatformError> {
        let served = self.store.served_version(&of, record, CHAMPION).await?;
        let calibration = self.store.calibration(record, at).await?;
        Ok(LiveChampion { served, calibration, terms: terms(&of), run })
    }
}
