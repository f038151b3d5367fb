//! Forecasts with their passports, and what came of them.
//!
//! A forecast's id is a hash of its content, made by the forecaster: writing the
//! same forecast twice changes nothing, another body under one id is refused.

use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::models::insert_calibration;
use crate::row::Columns;
use crate::select::Select;
use crate::{Calibration, Cursor, Registry, RegistryError, Written};

/// A forecast as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastRecord {
    /// `f_` and a hash of its content.
    pub id: String,
    /// The instrument.
    pub instrument: Instrument,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: u32,
    /// The alias of the version when the forecast was made: `champion` is served,
    /// `challenger` is only judged.
    pub alias: String,
    /// The decision time (UTC).
    pub as_of: Timestamp,
    /// The time it speaks of (UTC).
    pub target_time: Timestamp,
    /// When it was made (UTC).
    pub made_at: Timestamp,
    /// From `as_of` to `target_time`.
    pub horizon: Interval,
    /// The forecast with its whole passport, as JSON; kept to the byte.
    pub body_json: String,
    /// Hash of the feature row that it was made from.
    pub feature_row_hash: Fingerprint,
}

/// The price that a forecast spoke of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The forecast.
    pub forecast_id: String,
    /// The price at the target time, quote currency.
    pub value: f64,
    /// When it was known (UTC); a correction is another outcome, known later.
    pub known_at: Timestamp,
}

/// A forecast and its latest outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedForecast {
    /// The forecast.
    pub forecast: ForecastRecord,
    /// What came of it.
    pub outcome: Outcome,
}

/// Which forecasts to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct ForecastFilter {
    /// Of one instrument.
    pub instrument: Option<Instrument>,
    /// Of one horizon.
    pub horizon: Option<Interval>,
    /// Of one model.
    pub model: Option<String>,
    /// Of one version (of that model).
    pub version: Option<u32>,
    /// Made under one alias.
    pub alias: Option<String>,
    /// Decided at or after (UTC).
    pub from: Option<Timestamp>,
    /// Decided before (UTC).
    pub to: Option<Timestamp>,
    /// Older than this place in the list.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: Option<u32>,
}

const KIND: &str = "forecast";

/// The latest decision first; of two for the same decision the one made later, which
/// knows a correction. An id is a hash and tells nothing of time.
const NEWEST: &str = "f.as_of DESC, f.made_at DESC, f.id DESC";

impl ForecastRecord {
    /// The place of this forecast in a list, to ask for what follows.
    pub fn cursor(&self) -> Cursor {
        Cursor { at: self.as_of, id: self.id.clone() }
    }

    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        Ok(Self {
            id: columns.get("id")?,
            instrument: columns.parse("instrument")?,
            model: columns.get("model")?,
            version: columns.get("version")?,
            alias: columns.get("alias")?,
            as_of: columns.time("as_of")?,
            target_time: columns.time("target_time")?,
            made_at: columns.time("made_at")?,
            horizon: columns.parse("horizon")?,
            body_json: columns.get("body_json")?,
            feature_row_hash: columns.parse("feature_row_hash")?,
        })
    }
}

impl ForecastFilter {
    fn select(&self, sql: &'static str) -> Select {
        Select::new(sql)
            .when("f.instrument =", self.instrument.as_ref().map(Instrument::to_string))
            .when("f.horizon =", self.horizon.as_ref().map(Interval::to_string))
            .when("f.model =", self.model.clone())
            .when("f.version =", self.version)
            .when("f.alias =", self.alias.clone())
            .when("f.as_of >=", self.from.map(Timestamp::micros))
            .when("f.as_of <", self.to.map(Timestamp::micros))
            .after_made(self.after.as_ref())
    }
}

impl Registry {
    /// Records a forecast.
    ///
    /// # Errors
    /// When its version is not registered, or its id is there with another body.
    pub async fn insert_forecast(
        &self,
        forecast: &ForecastRecord,
    ) -> Result<Written, RegistryError> {
        let mut write = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO forecasts (id, instrument, model, version, alias, as_of, target_time, \
             made_at, horizon, body_json, feature_row_hash) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&forecast.id)
        .bind(forecast.instrument.as_str())
        .bind(&forecast.model)
        .bind(forecast.version)
        .bind(&forecast.alias)
        .bind(forecast.as_of.micros())
        .bind(forecast.target_time.micros())
        .bind(forecast.made_at.micros())
        .bind(forecast.horizon.to_string())
        .bind(&forecast.body_json)
        .bind(forecast.feature_row_hash.to_string())
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &forecast.id, "a model version"))?;
        if done.rows_affected() == 1 {
            write.commit().await?;
            return Ok(Written::New);
        }
        let stored = sqlx::query("SELECT * FROM forecasts WHERE id = ?1")
            .bind(&forecast.id)
            .fetch_one(&mut *write)
            .await?;
        if ForecastRecord::read(&stored)? == *forecast {
            Ok(Written::Same)
        } else {
            Err(RegistryError::Conflict { kind: KIND, id: forecast.id.clone(), what: "body" })
        }
    }

    /// One forecast.
    ///
    /// # Errors
    /// When there is no such forecast.
    pub async fn forecast(&self, id: &str) -> Result<ForecastRecord, RegistryError> {
        let row = sqlx::query("SELECT * FROM forecasts WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let missing = || RegistryError::NotFound { kind: KIND, id: id.to_owned() };
        ForecastRecord::read(&row.ok_or_else(missing)?)
    }

    /// The forecast of an alias with the latest decision time; of two for the same
    /// decision, the one made later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_forecast(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        alias: &str,
    ) -> Result<Option<ForecastRecord>, RegistryError> {
        let row = sqlx::query(
            "SELECT * FROM forecasts WHERE instrument = ?1 AND horizon = ?2 AND alias = ?3 \
             ORDER BY as_of DESC, made_at DESC, id DESC LIMIT 1",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(alias)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(ForecastRecord::read).transpose()
    }

    /// Forecasts, the latest decision first; of two for the same decision, the one made
    /// later first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forecasts(
        &self,
        filter: &ForecastFilter,
    ) -> Result<Vec<ForecastRecord>, RegistryError> {
        let rows = filter
            .select("SELECT f.* FROM forecasts f")
            .rows(NEWEST, filter.limit, &self.readers)
            .await?;
        rows.iter().map(ForecastRecord::read).collect()
    }

    /// Forecasts that were recorded after one, by its id, the last recorded first; none of an
    /// id that is not there. The order is that of writing, whatever the decisions' is: nothing
    /// that was written later is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forecasts_after(
        &self,
        id: &str,
        filter: &ForecastFilter,
    ) -> Result<Vec<ForecastRecord>, RegistryError> {
        let rows = filter
            .select("SELECT f.* FROM forecasts f")
            .when("f.rowid > (SELECT c.rowid FROM forecasts c WHERE c.id =", Some(id.to_owned()))
            .push(")")
            .rows("f.rowid DESC", filter.limit, &self.readers)
            .await?;
        rows.iter().map(ForecastRecord::read).collect()
    }

    /// Forecasts whose target time has come by `now` and that have no outcome yet,
    /// the latest decision first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unjudged_forecasts(
        &self,
        now: Timestamp,
        filter: &ForecastFilter,
    ) -> Result<Vec<ForecastRecord>, RegistryError> {
        let rows = filter
            .select("SELECT f.* FROM forecasts f")
            .when("f.target_time <=", Some(now.micros()))
            .always("NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.forecast_id = f.id)")
            .rows(NEWEST, filter.limit, &self.readers)
            .await?;
        rows.iter().map(ForecastRecord::read).collect()
    }

    /// Forecasts with what came of them as known at an instant, the latest decision
    /// first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn judged_forecasts(
        &self,
        known_at: Timestamp,
        filter: &ForecastFilter,
    ) -> Result<Vec<JudgedForecast>, RegistryError> {
        let rows = filter
            .select(
                "SELECT f.*, o.value AS outcome_value, o.known_at AS outcome_known_at \
                 FROM forecasts f JOIN outcomes o ON o.forecast_id = f.id",
            )
            .when(
                "o.known_at = (SELECT max(p.known_at) FROM outcomes p \
                 WHERE p.forecast_id = f.id AND p.known_at <=",
                Some(known_at.micros()),
            )
            .push(")")
            .rows(NEWEST, filter.limit, &self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "outcome");
            let forecast = ForecastRecord::read(row)?;
            let outcome = Outcome {
                forecast_id: forecast.id.clone(),
                value: columns.get("outcome_value")?,
                known_at: columns.time("outcome_known_at")?,
            };
            Ok(JudgedForecast { forecast, outcome })
        };
        rows.iter().map(read).collect()
    }

    /// The target time of every forecast that has an outcome, with the outcome that was
    /// known last; the latest decision first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_outcomes(
        &self,
        filter: &ForecastFilter,
    ) -> Result<Vec<(Timestamp, Outcome)>, RegistryError> {
        let rows = filter
            .select(
                "SELECT f.target_time, o.forecast_id, o.value, o.known_at \
                 FROM forecasts f JOIN outcomes o ON o.forecast_id = f.id",
            )
            .always(
                "o.known_at = (SELECT max(p.known_at) FROM outcomes p WHERE p.forecast_id = f.id)",
            )
            .rows(NEWEST, filter.limit, &self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "outcome");
            let outcome = Outcome {
                forecast_id: columns.get("forecast_id")?,
                value: columns.get("value")?,
                known_at: columns.time("known_at")?,
            };
            Ok((columns.time("target_time")?, outcome))
        };
        rows.iter().map(read).collect()
    }

    /// Records what came of a forecast.
    ///
    /// # Errors
    /// When there is no such forecast, the value is not a finite number, or another
    /// value known at the same instant is there.
    pub async fn insert_outcome(&self, outcome: &Outcome) -> Result<Written, RegistryError> {
        let mut write = self.write().await?;
        let written = insert_outcome(&mut write, outcome).await?;
        write.commit().await?;
        Ok(written)
    }

    /// Records outcomes and the calibration that has taken them in, all or none: a
    /// process that ends in between neither loses an outcome for the calibration nor
    /// counts one twice.
    ///
    /// # Errors
    /// As [`Self::insert_outcome`] and [`Self::insert_calibration`].
    pub async fn insert_outcomes(
        &self,
        outcomes: &[Outcome],
        calibration: Option<&Calibration>,
    ) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        for outcome in outcomes {
            insert_outcome(&mut write, outcome).await?;
        }
        if let Some(calibration) = calibration {
            insert_calibration(&mut write, calibration).await?;
        }
        Ok(write.commit().await?)
    }

    /// What is known of a forecast, the last known first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outcomes(&self, forecast_id: &str) -> Result<Vec<Outcome>, RegistryError> {
        let rows =
            sqlx::query("SELECT * FROM outcomes WHERE forecast_id = ?1 ORDER BY known_at DESC")
                .bind(forecast_id)
                .fetch_all(&self.readers)
                .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "outcome");
            Ok(Outcome {
                forecast_id: columns.get("forecast_id")?,
                value: columns.get("value")?,
                known_at: columns.time("known_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}

async fn insert_outcome(
    write: &mut Transaction<'static, Sqlite>,
    outcome: &Outcome,
) -> Result<Written, RegistryError> {
    let (kind, id) = ("outcome", outcome.forecast_id.clone());
    if !outcome.value.is_finite() {
        let problem = format!("the price {} is not a finite number", outcome.value);
        return Err(RegistryError::Invalid { kind, id, problem });
    }
    let done = sqlx::query(
        "INSERT INTO outcomes (forecast_id, known_at, value) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&outcome.forecast_id)
    .bind(outcome.known_at.micros())
    .bind(outcome.value)
    .execute(&mut **write)
    .await
    .map_err(|e| RegistryError::of_write(e, kind, &id, "a forecast"))?;
    if done.rows_affected() == 1 {
        return Ok(Written::New);
    }
    let stored: f64 =
        sqlx::query_scalar("SELECT value FROM outcomes WHERE forecast_id = ?1 AND known_at = ?2")
            .bind(&outcome.forecast_id)
            .bind(outcome.known_at.micros())
            .fetch_one(&mut **write)
            .await?;
    if stored.to_bits() == outcome.value.to_bits() {
        Ok(Written::Same)
    } else {
        Err(RegistryError::Conflict { kind, id, what: "value" })
    }
}
