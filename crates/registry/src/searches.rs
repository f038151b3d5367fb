//! Searches for settings: who made them, and every trial, whatever became of it. Only ever
//! appended to.

use foretell_market::{Fingerprint, FingerprintHasher, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns, f64_bytes, signed};
use crate::select::Select;
use crate::{Registry, RegistryError, Written};

/// The search of a recipe in one fit of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The run.
    pub run_id: String,
    /// The recipe's name in its pipeline.
    pub recipe_name: String,
    /// Content hash of the recipe.
    pub recipe_hash: Fingerprint,
    /// Kind of the model whose settings were searched for.
    pub kind: String,
    /// The fold of the walk-forward evaluation, from 1; 0 is the final refit.
    pub fold: u64,
    /// Content hash of everything that decides what its trials find.
    pub study: Fingerprint,
    /// Hash of the rows that its trials are judged on.
    pub rows: Fingerprint,
    /// How many rows these are.
    pub judged: u64,
    /// In how many splits.
    pub splits: u64,
    /// When it was written (UTC).
    pub created_at: Timestamp,
}

/// One trial of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchTrialRecord {
    /// The search that it belongs to.
    pub study: Fingerprint,
    /// Hash of the rows that it was judged on.
    pub rows: Fingerprint,
    /// Its number, from 0.
    pub number: u64,
    /// `complete`, `pruned` or `failed`.
    pub state: String,
    /// What it tried, as a JSON object.
    pub settings_json: String,
    /// The mean loss after each split that it finished.
    pub steps: Vec<f64>,
    /// The loss of each row that it was judged on, in time order.
    pub losses: Vec<f64>,
    /// Return of its lag-1 sign strategy in each of these rows, after costs.
    pub returns: Vec<f64>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was written (UTC).
    pub created_at: Timestamp,
}

const KIND: &str = "search";
const TRIAL: &str = "search trial";

impl SearchTrialRecord {
    /// The hash of everything but the time of writing.
    fn id(&self) -> String {
        let mut hasher = FingerprintHasher::new("search-trial/1");
        hasher.fingerprint(&self.study).fingerprint(&self.rows).u64(self.number);
        hasher.text(&self.state).text(&self.settings_json);
        hasher.f64s(&self.steps).f64s(&self.losses).f64s(&self.returns);
        hasher.text(self.error.as_deref().unwrap_or_default());
        format!("s_{}", &hasher.finish().to_string()[..32])
    }

    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, TRIAL);
        Ok(Self {
            study: columns.parse("study")?,
            rows: columns.parse("rows_hash")?,
            number: columns.unsigned("number")?,
            state: columns.get("state")?,
            settings_json: columns.get("settings_json")?,
            steps: columns.f64s("steps")?,
            losses: columns.f64s("losses")?,
            returns: columns.f64s("returns")?,
            error: columns.get("error")?,
            created_at: columns.time("created_at")?,
        })
    }
}

impl Search {
    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        Ok(Self {
            run_id: columns.get("run_id")?,
            recipe_name: columns.get("recipe_name")?,
            recipe_hash: columns.parse("recipe_hash")?,
            kind: columns.get("kind")?,
            fold: columns.unsigned("fold")?,
            study: columns.parse("study")?,
            rows: columns.parse("rows_hash")?,
            judged: columns.unsigned("judged")?,
            splits: columns.unsigned("splits")?,
            created_at: columns.time("created_at")?,
        })
    }
}

impl Registry {
    /// Writes a trial with the search that it belongs to. What is there already is left
    /// alone: a search that another run makes again, or goes on with, has the same trials.
    ///
    /// # Errors
    /// When they are of two studies or the run is not registered.
    pub async fn insert_search_trial(
        &self,
        search: &Search,
        trial: &SearchTrialRecord,
    ) -> Result<Written, RegistryError> {
        let id = trial.id();
        if (search.study, search.rows) != (trial.study, trial.rows) {
            let problem = "is of another study or of other rows than its search".to_owned();
            return Err(RegistryError::Invalid { kind: TRIAL, id, problem });
        }
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO searches (run_id, recipe_name, recipe_hash, fold, study, rows_hash, \
             judged, splits, created_at, kind) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
             ON CONFLICT (run_id, recipe_hash, fold, study) DO NOTHING",
        )
        .bind(&search.run_id)
        .bind(&search.recipe_name)
        .bind(search.recipe_hash.to_string())
        .bind(signed(search.fold, KIND, &search.run_id, "fold")?)
        .bind(search.study.to_string())
        .bind(search.rows.to_string())
        .bind(signed(search.judged, KIND, &search.run_id, "judged")?)
        .bind(signed(search.splits, KIND, &search.run_id, "splits")?)
        .bind(search.created_at.micros())
        .bind(&search.kind)
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, KIND, &search.run_id, "a run"))?;
        let done = sqlx::query(
            "INSERT INTO search_trials (id, study, rows_hash, number, state, settings_json, \
             steps, losses, returns, error, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&id)
        .bind(trial.study.to_string())
        .bind(trial.rows.to_string())
        .bind(signed(trial.number, TRIAL, &id, "number")?)
        .bind(&trial.state)
        .bind(&trial.settings_json)
        .bind(f64_bytes(&trial.steps))
        .bind(f64_bytes(&trial.losses))
        .bind(f64_bytes(&trial.returns))
        .bind(&trial.error)
        .bind(trial.created_at.micros())
        .execute(&mut *write)
        .await
        .map_err(|e| RegistryError::of_write(e, TRIAL, &id, "a search"))?;
        write.commit().await?;
        Ok(if done.rows_affected() == 1 { Written::New } else { Written::Same })
    }

    /// The searches of a run, in the order in which they were written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn searches(&self, run_id: &str) -> Result<Vec<Search>, RegistryError> {
        let rows = Select::new("SELECT * FROM searches")
            .when("run_id =", Some(run_id.to_owned()))
            .rows("seq", None, &self.readers)
            .await?;
        rows.iter().map(Search::read).collect()
    }

    /// The trials of a search by their number; of one that was run with other results on
    /// another machine, all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search_trials(
        &self,
        study: &Fingerprint,
    ) -> Result<Vec<SearchTrialRecord>, RegistryError> {
        let rows = Select::new("SELECT * FROM search_trials")
            .when("study =", Some(study.to_string()))
            .rows("number, seq", None, &self.readers)
            .await?;
        rows.iter().map(SearchTrialRecord::read).collect()
    }

    /// The trials of whatever search that were judged on these rows; of one kind of model, or
    /// of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search_trials_on(
        &self,
        judged_rows: &Fingerprint,
        kind: Option<&str>,
    ) -> Result<Vec<SearchTrialRecord>, RegistryError> {
        let rows = sqlx::query(
            "SELECT * FROM search_trials WHERE rows_hash = ?1 AND (?2 IS NULL OR study IN \
             (SELECT study FROM searches WHERE kind = ?2)) ORDER BY study, number, seq",
        )
        .bind(judged_rows.to_string())
        .bind(kind)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(SearchTrialRecord::read).collect()
    }
}
