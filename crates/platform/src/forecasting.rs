//! The forecast station: a registered version, its calibration, one feature row.

use std::sync::Arc;

use foretell_feature::{FeatureError, FeatureRow, feature_row_as_known};
use foretell_forecaster::{
    FeatureRange, FeaturesUsed, Forecast, InputQuality, ModelUsed, ServedVersion, Skill, Terms,
    forecast as decide, forecast_id,
};
use foretell_market::{FingerprintHasher, RowFlags, Timestamp};
use foretell_model::evaluate::CalibrationState;
use foretell_model::{SavedModel, Schema};
use foretell_panel::{Frame, RowMeta};
use foretell_registry::{ForecastRecord, ModelVersion, RegistryError};
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::live_forecasts::LiveForecast;
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
    /// When the rows were read: on both clocks nothing later was seen. Absent in forecasts
    /// from before rows had versions.
    #[serde(default)]
    pub(crate) read_at: Option<Timestamp>,
    /// The calibration at that instant.
    pub(crate) calibration: CalibrationState,
    /// The row of the live river that it was made from; then nothing of it comes from the raw
    /// table, and `present` and `read_at` are when the row was known. Absent in forecasts from
    /// the raw table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<FeatureRow>,
}

/// The form of a forecast from the raw table. In form 1 rows that were added late or
/// retracted did not count in a forecast's known-at.
const FORMAT: u32 = 2;
/// The form of a forecast of the live river, with its row.
const LIVE_FORMAT: u32 = 3;
/// The first form in which they do.
const LATE_ROWS_COUNT: u32 = 2;

impl StoredForecast {
    /// Reads a stored body.
    pub(crate) fn read(record: &ForecastRecord) -> Result<Self, PlatformError> {
        let damaged = |error: String| {
            PlatformError::Mismatch(format!("forecast {} cannot be read: {error}", record.id))
        };
        let stored: Self =
            serde_json::from_str(&record.body_json).map_err(|e| damaged(e.to_string()))?;
        match stored.format {
            1..=LIVE_FORMAT => Ok(stored),
            newer => Err(damaged(format!("its form {newer} is newer than this program"))),
        }
    }

    /// A forecast of the live river.
    pub(crate) fn live(made: &LiveForecast) -> Self {
        let known_at = made.forecast.known_at;
        Self {
            format: LIVE_FORMAT,
            forecast: made.forecast.clone(),
            run: made.run.clone(),
            raw_version: 0,
            present: known_at,
            read_at: Some(known_at),
            calibration: made.calibration.state.clone(),
            row: Some(made.row.clone()),
        }
    }

    /// The record to keep.
    pub(crate) fn record(&self) -> ForecastRecord {
        let forecast = &self.forecast;
        ForecastRecord {
            id: forecast.id.clone(),
            instrument: forecast.instrument.clone(),
            model: forecast.model.name.clone(),
            version: forecast.model.version,
            alias: forecast.model.alias.clone(),
            as_of: forecast.as_of,
            target_time: forecast.target_time,
            made_at: forecast.made_at,
            horizon: forecast.horizon,
            body_json: serde_json::to_string(self).unwrap_or_default(),
            feature_row_hash: forecast.features.row,
        }
    }

    /// Whether rows that came or went late count in its known-at.
    pub(crate) fn late_rows_count(&self) -> bool {
        self.format >= LATE_ROWS_COUNT
    }
}

/// How forecasts of a pipeline are read.
pub(crate) fn terms(pipeline: &Pipeline) -> Terms {
    Terms {
        time_to_live: pipeline.time_to_live,
        historical_demo: pipeline.as_of == Present::EndOfData,
    }
}

/// Everything that a pipeline's forecast at an instant is made from: all rows of `clean`
/// up to it, which holds what was known when it was read. A row behind it that was
/// corrected after the fact makes it known only from that correction on, so that a
/// forecast from corrected rows is another forecast: a vendor's correction carries its
/// own known-at, of a mended file the ingest counts. Its context is the one that a model
/// of this schema reads: a version outlives changes of the models in its file.
pub(crate) fn row_at(
    pipeline: &Pipeline,
    schema: &Schema,
    clean: &Frame,
    at: Timestamp,
) -> Result<FeatureRow, PlatformError> {
    let set = pipeline.features.feature_set()?;
    let context = pipeline.context_spec().reading(&schema.context_names);
    let label = pipeline.label_spec();
    let mut row = feature_row_as_known(&set, clean, &context, &label, at, Timestamp::MAX)?;
    if row.flags.contains(RowFlags::CORRECTED) {
        let corrected = |r: &&RowMeta| r.flags.contains(RowFlags::CORRECTED) && r.time < at;
        let latest = clean.rows().iter().filter(corrected).map(|r| r.ingested_at).max();
        row.known_at = row.known_at.max(latest.unwrap_or(row.known_at));
    }
    Ok(row)
}

/// A forecast that says nothing and why: a gap reaches into the last window.
fn abstain(
    version: &ServedVersion,
    clean: &Frame,
    gap: &GapInWindow,
    changed_at: Option<Timestamp>,
    made_at: Timestamp,
    terms: &Terms,
) -> Forecast {
    let behind = clean.rows().iter().filter(|r| r.time < gap.at);
    let last = behind.map(|r| r.known_at).max().unwrap_or(made_at);
    let last = changed_at.map_or(last, |at| at.max(last));
    let nothing = FingerprintHasher::new("no-feature-row").finish();
    Forecast {
        format: foretell_forecaster::FORECAST_FORMAT,
        id: forecast_id(version, gap.at, last),
        instrument: version.instrument.clone(),
        made_at,
        as_of: gap.at,
        known_at: last,
        target_time: gap.at + version.horizon,
        horizon: version.horizon,
        expires_at: gap.at + terms.time_to_live,
        point: None,
        currency: version.instrument.quote().to_owned(),
        base_price: 0.0,
        interval: None,
        quantiles: Vec::new(),
        skill: version.skill.clone(),
        inputs: InputQuality {
            gaps_in_window: gap.gaps,
            filled_in_window: 0,
            late_corrections: 0,
            out_of_range_share: 0.0,
            flags: Vec::new(),
        },
        model: ModelUsed {
            name: version.name.clone(),
            version: version.version,
            alias: version.alias.clone(),
            hash: version.hash,
        },
        dataset: version.dataset,
        features: FeaturesUsed { set: version.feature_set, row: nothing },
        fitted_as_of: version.fitted_as_of,
        train_to: version.train_to,
        refitted_note: version.refitted_note(),
        includes_lock_box: version.includes_lock_box,
        historical_demo: terms.historical_demo,
        abstained: Some(gap.reason.clone()),
    }
}

/// A missing interval in the window of the last row.
struct GapInWindow {
    at: Timestamp,
    gaps: usize,
    reason: String,
}

/// The forecast of a version at an instant, or its abstention across a gap: a pure
/// function of what is stored, so that `verify` makes it again. `changed_at` is when a row
/// behind it came or went last, if that was after its own last row came: other rows make
/// another forecast.
pub(crate) fn make(
    pipeline: &Pipeline,
    version: &ServedVersion,
    calibration: &CalibrationState,
    clean: &Frame,
    at: Timestamp,
    changed_at: Option<Timestamp>,
    made_at: Timestamp,
) -> Result<Forecast, PlatformError> {
    let terms = terms(pipeline);
    match row_at(pipeline, version.model.schema(), clean, at) {
        Ok(mut row) => {
            row.known_at = changed_at.map_or(row.known_at, |at| at.max(row.known_at));
            Ok(decide(version, calibration, &row, made_at, &terms)?)
        }
        Err(PlatformError::Feature(ref error @ FeatureError::Incomplete { gaps, .. })) => {
            let gap = GapInWindow { at, gaps, reason: error.to_string() };
            Ok(abstain(version, clean, &gap, changed_at, made_at, &terms))
        }
        Err(error) => Err(error),
    }
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
        includes_lock_box: evidence.includes_lock_box,
        ranges: evidence.feature_ranges.iter().map(range).collect(),
        skill: skill(&evidence),
    })
}

fn skill(evidence: &Evidence) -> Skill {
    // Of a recipe whose point is the random walk's nothing is said but of its spread.
    let withheld = evidence.withheld.clone();
    if let Some(spread) = &evidence.spread {
        return Skill { withheld, ..Skill::of_spread(evidence.best_p, spread.clone()) };
    }
    match (evidence.line.skill, evidence.line.p_value) {
        (Some(skill), Some(p)) => {
            Skill { own_test: evidence.own_test, ..Skill::judged(skill, p, evidence.passed) }
        }
        _ => Skill { withheld, ..Skill::random_walk(evidence.best_p) },
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
    pub(crate) read_at: Timestamp,
    /// When a row behind the last one came or went after it (see [`make`]).
    pub(crate) changed_at: Option<Timestamp>,
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
        let at = last.time + pipeline.interval;
        // What was read is known by then, even when the machine's clock stepped back since.
        let (changed_at, now) = (provenance.changed_at, self.clock.now().max(provenance.read_at));
        let forecast = make(pipeline, version, &calibration, clean, at, changed_at, now)?;
        match self.registry.forecast(&forecast.id).await {
            Ok(record) => {
                let forecast = StoredForecast::read(&record)?.forecast;
                return Ok(Made { forecast, record: None });
            }
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let stored = StoredForecast {
            format: FORMAT,
            forecast: forecast.clone(),
            run: provenance.run.to_owned(),
            raw_version: provenance.raw_version,
            present: provenance.present,
            read_at: Some(provenance.read_at),
            calibration,
            row: None,
        };
        let record = stored.record();
        Ok(Made { forecast, record: Some(record) })
    }
}
