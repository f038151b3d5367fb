//! Runs of pipelines: their steps, parameters, metrics and artefacts.
//!
//! Which step may follow which state is the business of the one who runs them; a
//! record only says what happened.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use foretell_market::{Fingerprint, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use crate::row::Columns;
use crate::select::Select;
use crate::{Cursor, Registry, RegistryError, Written};

/// How a run or a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn.
    Pending,
    /// Is at work.
    Running,
    /// Failed and waits for another attempt.
    Retrying,
    /// Is done.
    Succeeded,
    /// Was not needed, or something before it did not succeed.
    Skipped,
    /// The gate refused the data; nothing was written downstream.
    Refused,
    /// Ended with an error.
    Failed,
    /// Was ended by a person or by the end of its process.
    Cancelled,
}

impl Status {
    const ALL: [Status; 8] = [
        Self::Pending,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Skipped,
        Self::Refused,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stored and shown name, such as `succeeded`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retrying)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the name that [`Status::as_str`] writes.
impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not the status of a run"))
    }
}

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id, made by the caller.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What was asked, such as `run`, `train` or `evaluate`.
    pub kind: String,
    /// How it stands.
    pub status: Status,
    /// When it began (UTC).
    pub started_at: Timestamp,
    /// When it ended (UTC).
    pub finished_at: Option<Timestamp>,
    /// The whole resolved configuration, as JSON.
    pub config_json: String,
    /// What went wrong, for people.
    pub error: Option<String>,
}

/// One step of a run; its latest attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The run.
    pub run_id: String,
    /// Its name, unique in the run.
    pub name: String,
    /// Its place in the order of steps, from 0.
    pub position: u32,
    /// Which attempt this is, from 1; 0 before the first.
    pub attempt: u32,
    /// How it stands.
    pub status: Status,
    /// When the attempt began (UTC).
    pub started_at: Option<Timestamp>,
    /// When the attempt ended (UTC).
    pub finished_at: Option<Timestamp>,
    /// What it did or what went wrong, as JSON.
    pub detail_json: String,
}

/// A setting of a run, flattened for lists and comparisons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name, such as `model.depth`.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// A number that a run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, such as `random-walk.mae_bp`.
    pub name: String,
    /// The number; NaN and infinities are kept.
    pub value: f64,
    /// Its place in a series, 0 for a single number.
    pub step: i64,
}

/// Where an artefact lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactPlace {
    /// A file, by its path relative to the data directory with `/` between parts.
    Path(String),
    /// The lake's content-addressed store.
    Content(Fingerprint),
}

/// Something that a run left behind: a report, a model, a quarantine file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The run.
    pub run_id: String,
    /// Its name, unique in the run.
    pub name: String,
    /// Where it lies.
    pub place: ArtifactPlace,
}

/// Which runs to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of one pipeline.
    pub pipeline: Option<String>,
    /// Of one kind.
    pub kind: Option<String>,
    /// In one status.
    pub status: Option<Status>,
    /// Older than this place in the list.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: Option<u32>,
}

const KIND: &str = "run";

impl Run {
    /// The place of this run in a list, to ask for what follows.
    pub fn cursor(&self) -> Cursor {
        Cursor { at: self.started_at, id: self.id.clone() }
    }

    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        Ok(Self {
            id: columns.get("id")?,
            pipeline: columns.get("pipeline")?,
            kind: columns.get("kind")?,
            status: columns.parse("status")?,
            started_at: columns.time("started_at")?,
            finished_at: columns.time_option("finished_at")?,
            config_json: columns.get("config_json")?,
            error: columns.get("error")?,
        })
    }
}

impl Registry {
    /// Records a run that begins.
    ///
    /// # Errors
    /// When a run of this id is there with other content, or the configuration is
    /// not JSON.
    pub async fn insert_run(&self, run: &Run) -> Result<Written, RegistryError> {
        let mut write = self.write().await?;
        let written = sqlx::query(
            "INSERT INTO runs (id, pipeline, kind, status, started_at, finished_at, config_json, \
             error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&run.id)
        .bind(&run.pipeline)
        .bind(&run.kind)
        .bind(run.status.as_str())
        .bind(run.started_at.micros())
        .bind(run.finished_at.map(Timestamp::micros))
        .bind(&run.config_json)
        .bind(&run.error)
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &run.id, "nothing"))?;
        if written.rows_affected() == 1 {
            write.commit().await?;
            return Ok(Written::New);
        }
        let stored = sqlx::query("SELECT * FROM runs WHERE id = ?1")
            .bind(&run.id)
            .fetch_one(&mut *write)
            .await?;
        let stored = Run::read(&stored)?;
        let same = stored.pipeline == run.pipeline
            && stored.kind == run.kind
            && stored.started_at == run.started_at
            && stored.config_json == run.config_json;
        if same {
            Ok(Written::Same)
        } else {
            Err(RegistryError::Conflict { kind: KIND, id: run.id.clone(), what: "configuration" })
        }
    }

    /// Records how a run stands now; `finished_at` and `error` when it has ended.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn set_run_status(
        &self,
        id: &str,
        status: Status,
        finished_at: Option<Timestamp>,
        error: Option<&str>,
    ) -> Result<(), RegistryError> {
        let done =
            sqlx::query("UPDATE runs SET status = ?2, finished_at = ?3, error = ?4 WHERE id = ?1")
                .bind(id)
                .bind(status.as_str())
                .bind(finished_at.map(Timestamp::micros))
                .bind(error)
                .execute(&self.writer)
                .await?;
        if done.rows_affected() == 0 {
            return Err(RegistryError::NotFound { kind: KIND, id: id.to_owned() });
        }
        Ok(())
    }

    /// Marks every run that has not ended as cancelled, with their unfinished steps:
    /// for the start of the one process that owns the directory, when nothing can be
    /// at work any more. Returns the ids, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_unfinished(&self, now: Timestamp) -> Result<Vec<String>, RegistryError> {
        let mut write = self.write().await?;
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM runs WHERE status IN ('pending', 'running', 'retrying') \
             ORDER BY started_at, id",
        )
        .fetch_all(&mut *write)
        .await?;
        for id in &ids {
            sqlx::query(
                "UPDATE steps SET status = 'cancelled', finished_at = ?2 WHERE run_id = ?1 \
                 AND status IN ('pending', 'running', 'retrying')",
            )
            .bind(id)
            .bind(now.micros())
            .execute(&mut *write)
            .await?;
            sqlx::query(
                "UPDATE runs SET status = 'cancelled', finished_at = ?2, \
                 error = 'the process ended before the run did' WHERE id = ?1",
            )
            .bind(id)
            .bind(now.micros())
            .execute(&mut *write)
            .await?;
        }
        write.commit().await?;
        Ok(ids)
    }

    /// One run.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn run(&self, id: &str) -> Result<Run, RegistryError> {
        let row = sqlx::query("SELECT * FROM runs WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let missing = || RegistryError::NotFound { kind: KIND, id: id.to_owned() };
        Run::read(&row.ok_or_else(missing)?)
    }

    /// Runs, the last begun first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, RegistryError> {
        let rows = Select::new("SELECT * FROM runs")
            .when("pipeline =", filter.pipeline.clone())
            .when("kind =", filter.kind.clone())
            .when("status =", filter.status.map(Status::as_str))
            .after("(started_at, id)", filter.after.as_ref())
            .rows("started_at DESC, id DESC", filter.limit, &self.readers)
            .await?;
        rows.iter().map(Run::read).collect()
    }

    /// Records how a step stands: inserts it or replaces its earlier state.
    ///
    /// # Errors
    /// When its run is not registered or its detail is not JSON.
    pub async fn put_step(&self, step: &Step) -> Result<(), RegistryError> {
        let id = || format!("{}/{}", step.run_id, step.name);
        sqlx::query(
            "INSERT INTO steps (run_id, name, position, attempt, status, started_at, \
             finished_at, detail_json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (run_id, name) DO UPDATE SET position = excluded.position, \
             attempt = excluded.attempt, status = excluded.status, \
             started_at = excluded.started_at, finished_at = excluded.finished_at, \
             detail_json = excluded.detail_json",
        )
        .bind(&step.run_id)
        .bind(&step.name)
        .bind(step.position)
        .bind(step.attempt)
        .bind(step.status.as_str())
        .bind(step.started_at.map(Timestamp::micros))
        .bind(step.finished_at.map(Timestamp::micros))
        .bind(&step.detail_json)
        .execute(&self.writer)
        .await
        .map_err(|e| RegistryError::of_write(e, "step", &id(), "a run"))?;
        Ok(())
    }

    /// The steps of a run in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps(&self, run_id: &str) -> Result<Vec<Step>, RegistryError> {
        let rows = sqlx::query("SELECT * FROM steps WHERE run_id = ?1 ORDER BY position, name")
            .bind(run_id)
            .fetch_all(&self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "step");
            Ok(Step {
                run_id: columns.get("run_id")?,
                name: columns.get("name")?,
                position: columns.get("position")?,
                attempt: columns.get("attempt")?,
                status: columns.parse("status")?,
                started_at: columns.time_option("started_at")?,
                finished_at: columns.time_option("finished_at")?,
                detail_json: columns.get("detail_json")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Records parameters of a run, all or none; a name that is there is replaced.
    ///
    /// # Errors
    /// When the run is not registered.
    pub async fn put_params(&self, run_id: &str, params: &[Param]) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        for param in params {
            sqlx::query(
                "INSERT INTO params (run_id, name, value) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (run_id, name) DO UPDATE SET value = excluded.value",
            )
            .bind(run_id)
            .bind(&param.name)
            .bind(&param.value)
            .execute(&mut *write)
            .await
            .map_err(|e| RegistryError::of_write(e, "parameter", &param.name, "a run"))?;
        }
        Ok(write.commit().await?)
    }

    /// The parameters of a run by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn params(&self, run_id: &str) -> Result<Vec<Param>, RegistryError> {
        let rows = sqlx::query("SELECT name, value FROM params WHERE run_id = ?1 ORDER BY name")
            .bind(run_id)
            .fetch_all(&self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "parameter");
            Ok(Param { name: columns.get("name")?, value: columns.get("value")? })
        };
        rows.iter().map(read).collect()
    }

    /// One parameter of every run that has it: its values by run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn params_named(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        let rows = sqlx::query("SELECT run_id, value FROM params WHERE name = ?1")
            .bind(name)
            .fetch_all(&self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "parameter");
            Ok((columns.get("run_id")?, columns.get("value")?))
        };
        rows.iter().map(read).collect()
    }

    /// Records metrics of a run, all or none; a (name, step) that is there is
    /// replaced.
    ///
    /// # Errors
    /// When the run is not registered.
    pub async fn put_metrics(&self, run_id: &str, metrics: &[Metric]) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        for metric in metrics {
            sqlx::query(
                "INSERT INTO metrics (run_id, name, step, value) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (run_id, name, step) DO UPDATE SET value = excluded.value",
            )
            .bind(run_id)
            .bind(&metric.name)
            .bind(metric.step)
            .bind(metric.value)
            .execute(&mut *write)
            .await
            .map_err(|e| RegistryError::of_write(e, "metric", &metric.name, "a run"))?;
        }
        Ok(write.commit().await?)
    }

    /// The metrics of a run by name and step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn metrics(&self, run_id: &str) -> Result<Vec<Metric>, RegistryError> {
        let rows = sqlx::query(
            "SELECT name, step, value FROM metrics WHERE run_id = ?1 ORDER BY name, step",
        )
        .bind(run_id)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "metric");
            let value: Option<f64> = columns.get("value")?;
            Ok(Metric {
                name: columns.get("name")?,
                step: columns.get("step")?,
                value: value.unwrap_or(f64::NAN),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Records what a run left behind; a name that is there is replaced.
    ///
    /// # Errors
    /// When the run is not registered, or a path is absolute or leaves the data
    /// directory.
    pub async fn put_artifact(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        let id = format!("{}/{}", artifact.run_id, artifact.name);
        let (path, fingerprint) = match &artifact.place {
            ArtifactPlace::Path(path) => {
                check_relative(path).map_err(|problem| RegistryError::Invalid {
                    kind: "artefact",
                    id: id.clone(),
                    problem,
                })?;
                (Some(path), None)
            }
            ArtifactPlace::Content(fingerprint) => (None, Some(fingerprint.to_string())),
        };
        sqlx::query(
            "INSERT INTO artifacts (run_id, name, path, fingerprint) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (run_id, name) DO UPDATE SET path = excluded.path, \
             fingerprint = excluded.fingerprint",
        )
        .bind(&artifact.run_id)
        .bind(&artifact.name)
        .bind(path)
        .bind(fingerprint)
        .execute(&self.writer)
        .await
        .map_err(|e| RegistryError::of_write(e, "artefact", &id, "a run"))?;
        Ok(())
    }

    /// What a run left behind, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifacts(&self, run_id: &str) -> Result<Vec<Artifact>, RegistryError> {
        let rows = sqlx::query("SELECT * FROM artifacts WHERE run_id = ?1 ORDER BY name")
            .bind(run_id)
            .fetch_all(&self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "artefact");
            let place = match columns.get::<Option<String>>("path")? {
                Some(path) => ArtifactPlace::Path(path),
                None => ArtifactPlace::Content(columns.parse("fingerprint")?),
            };
            Ok(Artifact { run_id: columns.get("run_id")?, name: columns.get("name")?, place })
        };
        rows.iter().map(read).collect()
    }
}

/// A path that still means the same after the data directory has been moved, on
/// every system.
fn check_relative(path: &str) -> Result<(), String> {
    let parts_are_plain =
        path.split('/').all(|part| !part.is_empty() && part != ".." && part != ".");
    if parts_are_plain && !path.contains(['\\', ':']) {
        return Ok(());
    }
    Err(format!(
        "`{path}` is not a path inside the data directory: write it relative to the directory, \
         with `/` between its parts"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_inside_the_directory_are_kept() {
        for path in ["reports/a.html", "a", "a/b..c/d"] {
            assert_eq!(check_relative(path), Ok(()), "{path}");
        }
        for path in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "C:/a", "a\\b"] {
            assert!(check_relative(path).is_err(), "{path}");
        }
    }

    #[test]
    fn every_status_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        assert!("done".parse::<Status>().is_err());
    }
}
