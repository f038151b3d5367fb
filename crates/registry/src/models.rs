//! Versions of models, the aliases that point at them, and their calibration.
//!
//! Whether a version deserves an alias is decided elsewhere; here the change and
//! its audit event are one transaction.

use foretell_market::{Fingerprint, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::audit::append;
use crate::row::Columns;
use crate::select::Select;
use crate::{AuditEvent, Registry, RegistryError, Written};

/// A fitted model that may be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name, usually its pipeline's.
    pub name: String,
    /// Its number, from 1; given by [`Registry::insert_model_version`].
    pub version: u32,
    /// The run that fitted it.
    pub run_id: String,
    /// The estimator's specification, as JSON.
    pub spec_json: String,
    /// Content hash of the fitted model.
    pub hash: Fingerprint,
    /// The model's bytes in the lake.
    pub artifact: Fingerprint,
    /// The dataset it was fitted on.
    pub dataset: Fingerprint,
    /// Content hash of the feature set's definitions.
    pub feature_set: Fingerprint,
    /// The instant whose knowledge it was fitted with (UTC).
    pub fitted_as_of: Timestamp,
    /// The first decision time of its training rows (UTC).
    pub train_from: Timestamp,
    /// The last label end of its training rows (UTC).
    pub train_to: Timestamp,
    /// The interval calibration at its registration, as JSON.
    pub calibration_json: String,
    /// The evaluation of its recipe, as JSON.
    pub evaluation_json: String,
    /// When it was registered (UTC).
    pub created_at: Timestamp,
}

/// The calibration of a version after the outcomes known at `as_of`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// The model's name.
    pub model: String,
    /// The version.
    pub version: u32,
    /// The instant up to which outcomes are taken in (UTC).
    pub as_of: Timestamp,
    /// The state, as JSON.
    pub state_json: String,
}

/// A name such as `champion` that points at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The model's name.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// The version it points at.
    pub version: u32,
}

/// One change of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasChange {
    /// The model's name.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// The version it has pointed at since; `None` when it was taken away.
    pub version: Option<u32>,
    /// When (UTC).
    pub at: Timestamp,
}

/// Which versions to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct ModelFilter {
    /// Of one model.
    pub name: Option<String>,
    /// Fitted by one run.
    pub run_id: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

const KIND: &str = "model version";

impl ModelVersion {
    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        Ok(Self {
            name: columns.get("name")?,
            version: columns.get("version")?,
            run_id: columns.get("run_id")?,
            spec_json: columns.get("spec_json")?,
            hash: columns.parse("hash")?,
            artifact: columns.parse("artifact")?,
            dataset: columns.parse("dataset")?,
            feature_set: columns.parse("feature_set")?,
            fitted_as_of: columns.time("fitted_as_of")?,
            train_from: columns.time("train_from")?,
            train_to: columns.time("train_to")?,
            calibration_json: columns.get("calibration_json")?,
            evaluation_json: columns.get("evaluation_json")?,
            created_at: columns.time("created_at")?,
        })
    }
}

impl Registry {
    /// Registers a fitted model under the next number of its name and returns it
    /// with that number; the number in the argument does not count. The same model
    /// (hash) of the same run is registered once: a second call returns the first
    /// record.
    ///
    /// # Errors
    /// When its run or dataset is not registered, or a JSON field is not JSON.
    pub async fn insert_model_version(
        &self,
        version: &ModelVersion,
    ) -> Result<ModelVersion, RegistryError> {
        let mut write = self.write().await?;
        let hash = version.hash.to_string();
        let there = sqlx::query(
            "SELECT * FROM model_versions WHERE name = ?1 AND run_id = ?2 AND hash = ?3",
        )
        .bind(&version.name)
        .bind(&version.run_id)
        .bind(&hash)
        .fetch_optional(&mut *write)
        .await?;
        if let Some(row) = there {
            return ModelVersion::read(&row);
        }
        let number: u32 = sqlx::query_scalar(
            "SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE name = ?1",
        )
        .bind(&version.name)
        .fetch_one(&mut *write)
        .await?;
        sqlx::query(
            "INSERT INTO model_versions (name, version, run_id, spec_json, hash, artifact, \
             dataset, feature_set, fitted_as_of, train_from, train_to, calibration_json, \
             evaluation_json, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )
        .bind(&version.name)
        .bind(number)
        .bind(&version.run_id)
        .bind(&version.spec_json)
        .bind(&hash)
        .bind(version.artifact.to_string())
        .bind(version.dataset.to_string())
        .bind(version.feature_set.to_string())
        .bind(version.fitted_as_of.micros())
        .bind(version.train_from.micros())
        .bind(version.train_to.micros())
        .bind(&version.calibration_json)
        .bind(&version.evaluation_json)
        .bind(version.created_at.micros())
        .execute(&mut *write)
        .await
        .map_err(|e| {
            RegistryError::of_write(e, KIND, &label(&version.name, number), "a run or dataset")
        })?;
        write.commit().await?;
        Ok(ModelVersion { version: number, ..version.clone() })
    }

    /// One version.
    ///
    /// # Errors
    /// When there is no such version.
    pub async fn model_version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<ModelVersion, RegistryError> {
        let row = sqlx::query("SELECT * FROM model_versions WHERE name = ?1 AND version = ?2")
            .bind(name)
            .bind(version)
            .fetch_optional(&self.readers)
            .await?;
        let missing = || RegistryError::NotFound { kind: KIND, id: label(name, version) };
        ModelVersion::read(&row.ok_or_else(missing)?)
    }

    /// Versions, the last registered first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn model_versions(
        &self,
        filter: &ModelFilter,
    ) -> Result<Vec<ModelVersion>, RegistryError> {
        let rows = Select::new("SELECT * FROM model_versions")
            .when("name =", filter.name.clone())
            .when("run_id =", filter.run_id.clone())
            .rows("created_at DESC, name DESC, version DESC", filter.limit, &self.readers)
            .await?;
        rows.iter().map(ModelVersion::read).collect()
    }

    /// Points an alias at a version and writes the audit event, both or neither.
    /// The change carries the event's time.
    ///
    /// # Errors
    /// When there is no such version or the event's detail is not JSON.
    pub async fn promote(
        &self,
        model: &str,
        version: u32,
        alias: &str,
        audit: &AuditEvent,
    ) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        let there: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM model_versions WHERE name = ?1 AND version = ?2")
                .bind(model)
                .bind(version)
                .fetch_optional(&mut *write)
                .await?;
        if there.is_none() {
            return Err(RegistryError::NotFound { kind: KIND, id: label(model, version) });
        }
        sqlx::query(
            "INSERT INTO aliases (model, alias, version) VALUES (?1, ?2, ?3) \
             ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
        )
        .bind(model)
        .bind(alias)
        .bind(version)
        .execute(&mut *write)
        .await?;
        log_change(&mut write, model, alias, Some(version), audit).await?;
        Ok(write.commit().await?)
    }

    /// Takes an alias away and writes the audit event, both or neither.
    ///
    /// # Errors
    /// When there is no such alias or the event's detail is not JSON.
    pub async fn remove_alias(
        &self,
        model: &str,
        alias: &str,
        audit: &AuditEvent,
    ) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM aliases WHERE model = ?1 AND alias = ?2")
            .bind(model)
            .bind(alias)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            let id = format!("{model}/{alias}");
            return Err(RegistryError::NotFound { kind: "alias", id });
        }
        log_change(&mut write, model, alias, None, audit).await?;
        Ok(write.commit().await?)
    }

    /// The version that an alias points at, if it points at one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aliased(
        &self,
        model: &str,
        alias: &str,
    ) -> Result<Option<ModelVersion>, RegistryError> {
        let row = sqlx::query(
            "SELECT v.* FROM model_versions v JOIN aliases a \
             ON a.model = v.name AND a.version = v.version WHERE a.model = ?1 AND a.alias = ?2",
        )
        .bind(model)
        .bind(alias)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(ModelVersion::read).transpose()
    }

    /// Aliases by model and name; of one model, or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aliases(&self, model: Option<&str>) -> Result<Vec<Alias>, RegistryError> {
        let rows = Select::new("SELECT * FROM aliases")
            .when("model =", model.map(str::to_owned))
            .rows("model, alias", None, &self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "alias");
            Ok(Alias {
                model: columns.get("model")?,
                alias: columns.get("alias")?,
                version: columns.get("version")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Every change of an alias, the last first: the first entry is the present
    /// state, the second what a rollback returns to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alias_history(
        &self,
        model: &str,
        alias: &str,
    ) -> Result<Vec<AliasChange>, RegistryError> {
        let rows = sqlx::query(
            "SELECT * FROM alias_changes WHERE model = ?1 AND alias = ?2 ORDER BY seq DESC",
        )
        .bind(model)
        .bind(alias)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "alias change");
            Ok(AliasChange {
                model: columns.get("model")?,
                alias: columns.get("alias")?,
                version: columns.get("version")?,
                at: columns.time("at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Records the calibration of a version after some outcomes.
    ///
    /// # Errors
    /// When there is no such version, the state is not JSON, or another state of
    /// the same instant is there.
    pub async fn insert_calibration(
        &self,
        calibration: &Calibration,
    ) -> Result<Written, RegistryError> {
        let mut write = self.write().await?;
        let written = insert_calibration(&mut write, calibration).await?;
        write.commit().await?;
        Ok(written)
    }

    /// The calibration of a version that held at an instant: the last state of it
    /// or before. `None` means the one in the version itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn calibration(
        &self,
        model: &str,
        version: u32,
        at: Timestamp,
    ) -> Result<Option<Calibration>, RegistryError> {
        let row = sqlx::query(
            "SELECT * FROM calibrations WHERE model = ?1 AND version = ?2 AND as_of <= ?3 \
             ORDER BY as_of DESC LIMIT 1",
        )
        .bind(model)
        .bind(version)
        .bind(at.micros())
        .fetch_optional(&self.readers)
        .await?;
        let read = |row: SqliteRow| {
            let columns = Columns::new(&row, "calibration");
            Ok(Calibration {
                model: columns.get("model")?,
                version: columns.get("version")?,
                as_of: columns.time("as_of")?,
                state_json: columns.get("state_json")?,
            })
        };
        row.map(read).transpose()
    }
}

/// Writes a calibration as part of a transaction of another aggregate.
pub(crate) async fn insert_calibration(
    write: &mut Transaction<'static, Sqlite>,
    calibration: &Calibration,
) -> Result<Written, RegistryError> {
    let kind = "calibration";
    let id = format!("{} {}", label(&calibration.model, calibration.version), calibration.as_of);
    let done = sqlx::query(
        "INSERT INTO calibrations (model, version, as_of, state_json) \
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(&calibration.model)
    .bind(calibration.version)
    .bind(calibration.as_of.micros())
    .bind(&calibration.state_json)
    .execute(&mut **write)
    .await
    .map_err(|e| RegistryError::of_write(e, kind, &id, "a model version"))?;
    if done.rows_affected() == 1 {
        return Ok(Written::New);
    }
    let stored: String = sqlx::query_scalar(
        "SELECT state_json FROM calibrations WHERE model = ?1 AND version = ?2 AND as_of = ?3",
    )
    .bind(&calibration.model)
    .bind(calibration.version)
    .bind(calibration.as_of.micros())
    .fetch_one(&mut **write)
    .await?;
    if stored == calibration.state_json {
        Ok(Written::Same)
    } else {
        Err(RegistryError::Conflict { kind, id, what: "state" })
    }
}

async fn log_change(
    write: &mut Transaction<'static, Sqlite>,
    model: &str,
    alias: &str,
    version: Option<u32>,
    audit: &AuditEvent,
) -> Result<(), RegistryError> {
    let event = append(write, audit).await?;
    sqlx::query(
        "INSERT INTO alias_changes (model, alias, version, at, audit_event) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(model)
    .bind(alias)
    .bind(version)
    .bind(audit.at.micros())
    .bind(event)
    .execute(&mut **write)
    .await?;
    Ok(())
}

fn label(name: &str, version: u32) -> String {
    format!("{name} v{version}")
}
