//! The forecast station: a registered version, its calibration, one feature row.

use std::sync::Arc;

use foretell_feature::{FeatureRow, feature_row};
use foretell_forecaster::{
    FeatureRange, Forecast, ServedVersion, Skill, Terms, forecast as decide, forecast_id,
};
use foretell_market::Timestamp;
use foretell_model::SavedModel;
use foretell_model::evaluate::CalibrationState;
use foretell_panel::Frame;
use foretell_registry::{ForecastRecord, ModelVersion, RegistryError};
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::pipeline::{Pipeline, Present};
use crate::store::Store;
use crate::training::Evidence;

/// The alias under which forecasts are served.
pub(crate) const CHAMPION: &str = "champion";
/// The alias of the best version that is not served.
pub(crate) const CHALLENGER: &str = "challenger";

/// A forecast as the registry keeps it, with what is needed to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredForecast {
    /// Version of this form.
    pub(crate) format: u32,
    /// The forecast.
    pub(crate) forecast: Forecast,
    /// The run whose pipeline and rows it was made from.
    pub(crate) run: String,
    /// Version of the raw table.
    pub(crate) raw_version: u64,
    /// The present when the gate judged the rows.
    pub(crate) present: Timestamp,
    /// The calibration at that instant.
    pub(crate) calibration: CalibrationState,
}

/// The form that this version writes.
const FORMAT: u32 = 1;

impl StoredForecast {
    /// Reads a stored body.
    pub(crate) fn read(record: &ForecastRecord) -> Result<Self, PlatformError> {
        let damaged = |error: String| {
            PlatformError::Mismatch(format!("forecast {} cannot be read: {error}", record.id))
        };
        let stored: Self =
            serde_json::from_str(&record.body_json).map_err(|e| damaged(e.to_string()))?;
        match stored.format {
            FORMAT => Ok(stored),
            newer => Err(damaged(format!("its form {newer} is newer than this program"))),
        }
    }
}

/// How forecasts of a pipeline are read.
pub(crate) fn terms(pipeline: &Pipeline) -> Terms {
    Terms {
        time_to_live: pipeline.time_to_live,
        historical_demo: pipeline.as_of == Present::EndOfData,
    }
}

/// Everything that a pipeline's forecast at an instant is made from.
pub(crate) fn row_at(
    pipeline: &Pipeline,
    clean: &Frame,
    at: Timestamp,
) -> Result<FeatureRow, PlatformError> {
    let set = pipeline.features.feature_set()?;
    Ok(feature_row(&set, clean, &pipeline.context_spec(), &pipeline.label_spec(), at)?)
}

/// The version as it serves, from its record and its stored bytes.
pub(crate) fn served(
    pipeline: &Pipeline,
    record: &ModelVersion,
    alias: &str,
    bytes: &[u8],
) -> Result<ServedVersion, PlatformError> {
    let what = format!("{} version {}", record.name, record.version);
    let saved = SavedModel::from_bytes(bytes).map_err(PlatformError::model(what.clone()))?;
    let model = saved.model().map_err(PlatformError::model(what.clone()))?;
    let evidence: Evidence = serde_json::from_str(&record.evaluation_json)
        .map_err(|e| PlatformError::Mismatch(format!("the evidence of {what}: {e}")))?;
    let range = |(min, max): &(f64, f64)| FeatureRange { min: *min, max: *max };
    Ok(ServedVersion {
        name: record.name.clone(),
        version: record.version,
        alias: alias.to_owned(),
        hash: record.hash,
        model: Arc::from(model),
        instrument: pipeline.instrument.clone(),
        interval: pipeline.interval,
        horizon: pipeline.label.horizon,
        feature_set: record.feature_set,
        dataset: record.dataset,
        fitted_as_of: record.fitted_as_of,
        train_to: record.train_to,
        refit_every: pipeline.evaluation.walk_forward.refit_every,
        train_rows: saved.rows,
        includes_lock_box: false,
        ranges: evidence.feature_ranges.iter().map(range).collect(),
        skill: skill(&evidence),
    })
}

fn skill(evidence: &Evidence) -> Skill {
    match (evidence.line.skill, evidence.line.p_value) {
        (Some(skill), Some(p)) => Skill::judged(skill, p, evidence.passed),
        _ => Skill::random_walk(evidence.best_p),
    }
}

/// A forecast together with the record to keep.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) forecast: Forecast,
    pub(crate) record: Option<ForecastRecord>,
}

/// Where a forecast comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provenance<'a> {
    pub(crate) run: &'a str,
    pub(crate) raw_version: u64,
    pub(crate) present: Timestamp,
}

impl Store {
    /// The version as it serves, read from the lake.
    pub(crate) async fn served_version(
        &self,
        pipeline: &Pipeline,
        record: &ModelVersion,
        alias: &str,
    ) -> Result<ServedVersion, PlatformError> {
        let bytes = self.lake.artifact(&record.artifact).await;
        let bytes = bytes.map_err(PlatformError::lake("reading a model"))?;
        served(pipeline, record, alias, &bytes)
    }

    /// The calibration of a version at an instant: the latest that is stored, or the
    /// one that its evaluation ended with.
    pub(crate) async fn calibration(
        &self,
        record: &ModelVersion,
        at: Timestamp,
    ) -> Result<CalibrationState, PlatformError> {
        let stored = self.registry.calibration(&record.name, record.version, at).await?;
        let json = stored.map_or_else(|| record.calibration_json.clone(), |c| c.state_json);
        serde_json::from_str(&json).map_err(|e| {
            let what = format!("{} version {}", record.name, record.version);
            PlatformError::Mismatch(format!("the calibration of {what}: {e}"))
        })
    }

    /// Makes the forecast of a version from the last clean row, or finds the very same
    /// one made before: a replay makes no second forecast.
    pub(crate) async fn forecast(
        &self,
        pipeline: &Pipeline,
        version: &ServedVersion,
        calibration: CalibrationState,
        clean: &Frame,
        provenance: Provenance<'_>,
    ) -> Result<Made, PlatformError> {
        let Some(last) = clean.rows().last() else {
            return Err(PlatformError::not_found(
                format!("clean row of {}", pipeline.instrument),
                "run the pipeline first",
            ));
        };
        let row = row_at(pipeline, clean, last.time + pipeline.interval)?;
        let id = forecast_id(version, row.as_of, row.known_at);
        match self.registry.forecast(&id).await {
            Ok(record) => {
                let forecast = StoredForecast::read(&record)?.forecast;
                return Ok(Made { forecast, record: None });
            }
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let made_at = self.clock.now();
        let forecast = decide(version, &calibration, &row, made_at, &terms(pipeline))?;
        let stored = StoredForecast {
            format: FORMAT,
            forecast: forecast.clone(),
            run: provenance.run.to_owned(),
            raw_version: provenance.raw_version,
            present: provenance.present,
            calibration,
        };
        let record = ForecastRecord {
            id: forecast.id.clone(),
            instrument: forecast.instrument.clone(),
            model: forecast.model.name.clone(),
            version: forecast.model.version,
            alias: forecast.model.alias.clone(),
            as_of: forecast.as_of,
            target_time: forecast.target_time,
            made_at: forecast.made_at,
            horizon: forecast.horizon,
            body_json: serde_json::to_string(&stored).unwrap_or_default(),
            feature_row_hash: forecast.features.row,
        };
        Ok(Made { forecast, record: Some(record) })
    }
}
