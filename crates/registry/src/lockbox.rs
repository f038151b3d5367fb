//! Lock-boxes: spans of time that ordinary runs never read, and each look inside.
//!
//! A box is fixed once; a recipe looks once. The look is written down before the
//! result, so that a crash in between does not allow a second one.

use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::row::Columns;
use crate::select::Select;
use crate::{Registry, RegistryError, Written};

/// The dates kept back for one instrument and horizon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBox {
    /// The instrument.
    pub instrument: Instrument,
    /// The horizon.
    pub horizon: Interval,
    /// Its first instant (UTC).
    pub from: Timestamp,
    /// The first instant after it (UTC).
    pub to: Timestamp,
}

/// One look of one recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBoxOpening {
    /// The instrument of the box.
    pub instrument: Instrument,
    /// The horizon of the box.
    pub horizon: Interval,
    /// Content hash of the recipe that looked.
    pub recipe_hash: Fingerprint,
    /// When (UTC).
    pub opened_at: Timestamp,
    /// What was seen, as JSON; `None` when the look was never finished.
    pub result_json: Option<String>,
}

const KIND: &str = "lock-box";
const OPENINGS: &str = "SELECT o.*, r.result_json FROM lock_box_openings o \
                        LEFT JOIN lock_box_results r ON r.opening = o.seq";

impl LockBoxOpening {
    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "lock-box opening");
        Ok(Self {
            instrument: columns.parse("instrument")?,
            horizon: columns.parse("horizon")?,
            recipe_hash: columns.parse("recipe_hash")?,
            opened_at: columns.time("opened_at")?,
            result_json: columns.get("result_json")?,
        })
    }
}

impl Registry {
    /// Registers the lock-box of an instrument and horizon.
    ///
    /// # Errors
    /// When it is registered with other dates (they are fixed), or ends before it
    /// begins.
    pub async fn insert_lock_box(&self, lock_box: &LockBox) -> Result<Written, RegistryError> {
        let id = label(&lock_box.instrument, lock_box.horizon);
        let mut write = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO lock_boxes (instrument, horizon, from_time, to_time) \
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (instrument, horizon) DO NOTHING",
        )
        .bind(lock_box.instrument.as_str())
        .bind(lock_box.horizon.to_string())
        .bind(lock_box.from.micros())
        .bind(lock_box.to.micros())
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &id, "nothing"))?;
        write.commit().await?;
        if done.rows_affected() == 1 {
            return Ok(Written::New);
        }
        match self.lock_box(&lock_box.instrument, lock_box.horizon).await? {
            Some(stored) if stored == *lock_box => Ok(Written::Same),
            _ => Err(RegistryError::Conflict { kind: KIND, id, what: "span of dates" }),
        }
    }

    /// The lock-box of an instrument and horizon, if one is registered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_box(
        &self,
        instrument: &Instrument,
        horizon: Interval,
    ) -> Result<Option<LockBox>, RegistryError> {
        let row = sqlx::query("SELECT * FROM lock_boxes WHERE instrument = ?1 AND horizon = ?2")
            .bind(instrument.as_str())
            .bind(horizon.to_string())
            .fetch_optional(&self.readers)
            .await?;
        let read = |row: SqliteRow| {
            let columns = Columns::new(&row, KIND);
            Ok(LockBox {
                instrument: columns.parse("instrument")?,
                horizon: columns.parse("horizon")?,
                from: columns.time("from_time")?,
                to: columns.time("to_time")?,
            })
        };
        row.map(read).transpose()
    }

    /// Writes down that a recipe looks into a box, with its result when there is
    /// one already. Returns [`Written::New`] to the one caller that may look; to
    /// every later one [`Written::Same`] with what is stored, to be shown again.
    ///
    /// # Errors
    /// When the box is not registered or the result is not JSON.
    pub async fn open_lock_box(
        &self,
        opening: &LockBoxOpening,
    ) -> Result<(Written, LockBoxOpening), RegistryError> {
        let id = label(&opening.instrument, opening.horizon);
        let mut write = self.write().await?;
        let stored = find(&mut write, opening).await?;
        if let Some((_, stored)) = stored {
            return Ok((Written::Same, stored));
        }
        let done = sqlx::query(
            "INSERT INTO lock_box_openings (instrument, horizon, recipe_hash, opened_at) \
             VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(opening.instrument.as_str())
        .bind(opening.horizon.to_string())
        .bind(opening.recipe_hash.to_string())
        .bind(opening.opened_at.micros())
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, "lock-box opening", &id, "a lock-box"))?;
        if let Some(result) = &opening.result_json {
            store_result(&mut write, done.last_insert_rowid(), &id, result).await?;
        }
        write.commit().await?;
        Ok((Written::New, opening.clone()))
    }

    /// Stores what a recipe saw, once.
    ///
    /// # Errors
    /// When the recipe has not opened the box, has another result already, or the
    /// result is not JSON.
    pub async fn finish_lock_box(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        recipe_hash: &Fingerprint,
        result_json: &str,
    ) -> Result<Written, RegistryError> {
        let id = label(instrument, horizon);
        let opening = LockBoxOpening {
            instrument: instrument.clone(),
            horizon,
            recipe_hash: *recipe_hash,
            opened_at: Timestamp::default(),
            result_json: None,
        };
        let mut write = self.write().await?;
        let kind = "lock-box opening";
        match find(&mut write, &opening).await? {
            None => Err(RegistryError::NotFound { kind, id }),
            Some((seq, LockBoxOpening { result_json: None, .. })) => {
                store_result(&mut write, seq, &id, result_json).await?;
                write.commit().await?;
                Ok(Written::New)
            }
            Some((_, stored)) if stored.result_json.as_deref() == Some(result_json) => {
                Ok(Written::Same)
            }
            Some(_) => Err(RegistryError::Conflict { kind, id, what: "result" }),
        }
    }

    /// Every look into a box, the last first: their number is shown with each
    /// result.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_box_openings(
        &self,
        instrument: &Instrument,
        horizon: Interval,
    ) -> Result<Vec<LockBoxOpening>, RegistryError> {
        let rows = Select::new(OPENINGS)
            .when("o.instrument =", Some(instrument.to_string()))
            .when("o.horizon =", Some(horizon.to_string()))
            .rows("o.seq DESC", None, &self.readers)
            .await?;
        rows.iter().map(LockBoxOpening::read).collect()
    }
}

async fn find(
    write: &mut Transaction<'static, Sqlite>,
    opening: &LockBoxOpening,
) -> Result<Option<(i64, LockBoxOpening)>, RegistryError> {
    let row = sqlx::query(
        "SELECT o.*, r.result_json FROM lock_box_openings o \
         LEFT JOIN lock_box_results r ON r.opening = o.seq \
         WHERE o.instrument = ?1 AND o.horizon = ?2 AND o.recipe_hash = ?3",
    )
    .bind(opening.instrument.as_str())
    .bind(opening.horizon.to_string())
    .bind(opening.recipe_hash.to_string())
    .fetch_optional(&mut **write)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let seq = Columns::new(&row, "lock-box opening").get("seq")?;
    Ok(Some((seq, LockBoxOpening::read(&row)?)))
}

async fn store_result(
    write: &mut Transaction<'static, Sqlite>,
    opening: i64,
    id: &str,
    result_json: &str,
) -> Result<(), RegistryError> {
    sqlx::query("INSERT INTO lock_box_results (opening, result_json) VALUES (?1, ?2)")
        .bind(opening)
        .bind(result_json)
        .execute(&mut **write)
        .await
        .map_err(|e| RegistryError::of_write(e, "lock-box result", id, "an opening"))?;
    Ok(())
}

fn label(instrument: &Instrument, horizon: Interval) -> String {
    format!("{instrument} {horizon}")
}
