//! Datasets by content hash, and the table versions that they were made from.
//!
//! The rows lie in the lake; here is what they were and where they came from.

use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns, signed};
use crate::select::Select;
use crate::{Registry, RegistryError, Written};

/// One version of one table of the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Snapshot {
    /// The layer's name, such as `clean`.
    pub layer: String,
    /// The table's name in the layer.
    pub table: String,
    /// The version.
    pub version: u64,
}

/// The rows that a model was fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Hash of all logical content.
    pub fingerprint: Fingerprint,
    /// The run that made it first.
    pub run_id: String,
    /// The instrument.
    pub instrument: Instrument,
    /// The step of the grid.
    pub interval: Interval,
    /// How far ahead the label ends.
    pub horizon: Interval,
    /// Content hash of the feature set's definitions.
    pub feature_set: Fingerprint,
    /// The number of rows.
    pub rows: u64,
    /// The first decision time (UTC).
    pub from: Timestamp,
    /// The last decision time (UTC).
    pub to: Timestamp,
    /// The instant as known at which its rows were read (UTC).
    pub known_at: Timestamp,
    /// When it was recorded (UTC).
    pub created_at: Timestamp,
    /// The table versions that were read, sorted.
    pub snapshots: Vec<Snapshot>,
}

/// Which datasets to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct DatasetFilter {
    /// Of one instrument.
    pub instrument: Option<Instrument>,
    /// Of one horizon.
    pub horizon: Option<Interval>,
    /// First made by one run.
    pub run_id: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

const KIND: &str = "dataset";

impl Registry {
    /// Records a dataset. The same content made again, by whichever run, is the
    /// same dataset: the first record stays.
    ///
    /// # Errors
    /// When its run is not registered.
    pub async fn insert_dataset(&self, dataset: &DatasetRecord) -> Result<Written, RegistryError> {
        let id = dataset.fingerprint.to_string();
        let mut write = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO datasets (fingerprint, run_id, instrument, interval, horizon, \
             feature_set, row_count, from_time, to_time, known_at, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
             ON CONFLICT (fingerprint) DO NOTHING",
        )
        .bind(&id)
        .bind(&dataset.run_id)
        .bind(dataset.instrument.as_str())
        .bind(dataset.interval.to_string())
        .bind(dataset.horizon.to_string())
        .bind(dataset.feature_set.to_string())
        .bind(signed(dataset.rows, KIND, &id, "rows")?)
        .bind(dataset.from.micros())
        .bind(dataset.to.micros())
        .bind(dataset.known_at.micros())
        .bind(dataset.created_at.micros())
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &id, "a run"))?;
        // The same content read from other table versions must be kept by these too.
        for snapshot in &dataset.snapshots {
            sqlx::query(
                "INSERT INTO snapshots (dataset, layer, table_name, version) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )
            .bind(&id)
            .bind(&snapshot.layer)
            .bind(&snapshot.table)
            .bind(signed(snapshot.version, KIND, &id, "version")?)
            .execute(&mut *write)
            .await
            .map_err(|e| RegistryError::of_write(e, KIND, &id, "a dataset"))?;
        }
        write.commit().await?;
        Ok(if done.rows_affected() == 1 { Written::New } else { Written::Same })
    }

    /// One dataset.
    ///
    /// # Errors
    /// When there is no such dataset.
    pub async fn dataset(&self, fingerprint: &Fingerprint) -> Result<DatasetRecord, RegistryError> {
        let id = fingerprint.to_string();
        let row = sqlx::query("SELECT * FROM datasets WHERE fingerprint = ?1")
            .bind(&id)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else {
            return Err(RegistryError::NotFound { kind: KIND, id });
        };
        self.read_dataset(&row).await
    }

    /// Datasets, the last recorded first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn datasets(
        &self,
        filter: &DatasetFilter,
    ) -> Result<Vec<DatasetRecord>, RegistryError> {
        let rows = Select::new("SELECT * FROM datasets")
            .when("instrument =", filter.instrument.as_ref().map(Instrument::to_string))
            .when("horizon =", filter.horizon.as_ref().map(Interval::to_string))
            .when("run_id =", filter.run_id.clone())
            .rows("created_at DESC, fingerprint DESC", filter.limit, &self.readers)
            .await?;
        let mut datasets = Vec::with_capacity(rows.len());
        for row in &rows {
            datasets.push(self.read_dataset(row).await?);
        }
        Ok(datasets)
    }

    /// The versions of a lake table that some dataset was made from, ascending: a
    /// vacuum must keep them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn referenced_versions(
        &self,
        layer: &str,
        table: &str,
    ) -> Result<Vec<u64>, RegistryError> {
        let rows = sqlx::query(
            "SELECT DISTINCT version FROM snapshots WHERE layer = ?1 AND table_name = ?2 \
             ORDER BY version",
        )
        .bind(layer)
        .bind(table)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Columns::new(row, "snapshot").unsigned("version")).collect()
    }

    async fn read_dataset(&self, row: &SqliteRow) -> Result<DatasetRecord, RegistryError> {
        let columns = Columns::new(row, KIND);
        let id: String = columns.get("fingerprint")?;
        let snapshots = sqlx::query(
            "SELECT layer, table_name, version FROM snapshots WHERE dataset = ?1 \
             ORDER BY layer, table_name, version",
        )
        .bind(&id)
        .fetch_all(&self.readers)
        .await?;
        let snapshot = |row: &SqliteRow| {
            let columns = Columns::new(row, "snapshot");
            Ok(Snapshot {
                layer: columns.get("layer")?,
                table: columns.get("table_name")?,
                version: columns.unsigned("version")?,
            })
        };
        Ok(DatasetRecord {
            fingerprint: columns.parse("fingerprint")?,
            run_id: columns.get("run_id")?,
            instrument: columns.parse("instrument")?,
            interval: columns.parse("interval")?,
            horizon: columns.parse("horizon")?,
            feature_set: columns.parse("feature_set")?,
            rows: columns.unsigned("row_count")?,
            from: columns.time("from_time")?,
            to: columns.time("to_time")?,
            known_at: columns.time("known_at")?,
            created_at: columns.time("created_at")?,
            snapshots: snapshots.iter().map(snapshot).collect::<Result<_, RegistryError>>()?,
        })
    }
}
