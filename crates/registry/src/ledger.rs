//! The ledger of trials: every recipe that was ever judged, with its per-period
//! losses and returns, so that the number of trials can be paid for. Only ever
//! appended to.

use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::row::{Columns, f64_bytes};
use crate::select::Select;
use crate::{Registry, RegistryError, Written};

/// One recipe judged in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its id; [`Trial::id_of`] makes one that a second run of the step makes again.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The instrument.
    pub instrument: Instrument,
    /// The horizon.
    pub horizon: Interval,
    /// The recipe's name in its pipeline.
    pub recipe_name: String,
    /// Content hash of the recipe.
    pub recipe_hash: Fingerprint,
    /// The p-value of its promotion test; `None` for what is not tested, such as the
    /// random walk itself.
    pub p_value: Option<f64>,
    /// The significance level that its test was allowed to spend.
    pub alpha_spent: f64,
    /// Hash of the out-of-sample rows, decision times and outcomes; `None` for trials
    /// that were written before it was kept.
    pub rows: Option<Fingerprint>,
    /// Absolute log-return error of each out-of-sample row, in time order; NaN kept.
    pub losses: Vec<f64>,
    /// Return of the lag-1 sign strategy in each out-of-sample row, after its stated
    /// cost; NaN kept.
    pub returns: Vec<f64>,
    /// When it was written (UTC).
    pub created_at: Timestamp,
}

/// Which trials to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct TrialFilter {
    /// Of one run.
    pub run_id: Option<String>,
    /// Of one pipeline.
    pub pipeline: Option<String>,
    /// Of one instrument.
    pub instrument: Option<Instrument>,
    /// Of one horizon.
    pub horizon: Option<Interval>,
    /// At most so many.
    pub limit: Option<u32>,
}

const KIND: &str = "trial";

impl Trial {
    /// The id of a recipe's trial in a run.
    pub fn id_of(run_id: &str, recipe_hash: &Fingerprint) -> String {
        let mut hasher = FingerprintHasher::new("trial/1");
        hasher.text(run_id).fingerprint(recipe_hash);
        format!("t_{}", &hasher.finish().to_string()[..32])
    }

    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        Ok(Self {
            id: columns.get("id")?,
            run_id: columns.get("run_id")?,
            pipeline: columns.get("pipeline")?,
            instrument: columns.parse("instrument")?,
            horizon: columns.parse("horizon")?,
            recipe_name: columns.get("recipe_name")?,
            recipe_hash: columns.parse("recipe_hash")?,
            p_value: columns.get("p_value")?,
            alpha_spent: columns.get("alpha_spent")?,
            rows: columns.parse_option("rows_hash")?,
            losses: columns.f64s("losses")?,
            returns: columns.f64s("returns")?,
            created_at: columns.time("created_at")?,
        })
    }
}

impl Registry {
    /// Writes the trials of a run, all or none. They are one family: every recipe that
    /// was judged together, tested or not. Trials that are there with the same losses,
    /// returns and p-value are left alone.
    ///
    /// # Errors
    /// When they are not of one run, instrument and horizon, the run is not registered,
    /// a p-value or level is NaN, or an id is there with other content.
    pub async fn insert_trials(&self, trials: &[Trial]) -> Result<Written, RegistryError> {
        let Some(first) = trials.first() else { return Ok(Written::Same) };
        let of = |t: &Trial| (t.run_id.clone(), t.instrument.clone(), t.horizon);
        if let Some(other) = trials.iter().find(|t| of(t) != of(first)) {
            let (kind, id) = (KIND, other.id.clone());
            let problem = "is of another run, instrument or horizon than the trials beside it: \
                           write each family by itself";
            return Err(RegistryError::Invalid { kind, id, problem: problem.to_owned() });
        }
        let judged: Vec<_> = trials.iter().map(|t| (t.recipe_hash, &t.losses[..])).collect();
        let family = family(&first.instrument, first.horizon, &judged);
        let mut write = self.write().await?;
        let mut written = Written::Same;
        for trial in trials {
            if insert(&mut write, trial, &family).await? == Written::New {
                written = Written::New;
            }
        }
        write.commit().await?;
        Ok(written)
    }

    /// Trials, the last written first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trials(&self, filter: &TrialFilter) -> Result<Vec<Trial>, RegistryError> {
        let rows = Select::new("SELECT * FROM trials")
            .when("run_id =", filter.run_id.clone())
            .when("pipeline =", filter.pipeline.clone())
            .when("instrument =", filter.instrument.as_ref().map(Instrument::to_string))
            .when("horizon =", filter.horizon.as_ref().map(Interval::to_string))
            .rows("seq DESC", filter.limit, &self.readers)
            .await?;
        rows.iter().map(Trial::read).collect()
    }

    /// The latest trial of every distinct recipe of an instrument and horizon, of whatever
    /// pipeline, by recipe hash: what the number of trials is counted from. With `rows`
    /// only trials on those out-of-sample rows count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn distinct_trials(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        rows: Option<&Fingerprint>,
    ) -> Result<Vec<Trial>, RegistryError> {
        let found = sqlx::query(
            "SELECT * FROM trials WHERE seq IN (SELECT max(seq) FROM trials \
             WHERE instrument = ?1 AND horizon = ?2 AND (?3 IS NULL OR rows_hash = ?3) \
             GROUP BY recipe_hash) ORDER BY recipe_hash",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(rows.map(Fingerprint::to_string))
        .fetch_all(&self.readers)
        .await?;
        found.iter().map(Trial::read).collect()
    }

    /// How many promotion tests an instrument and horizon have had, of whatever
    /// pipeline. The recipes of a run are one family (Holm) and count once; so does the
    /// same family with the same losses judged again. Families spend the level between
    /// them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_tests(
        &self,
        instrument: &Instrument,
        horizon: Interval,
    ) -> Result<u64, RegistryError> {
        self.count_tests_up_to(instrument, horizon, i64::MAX).await
    }

    /// [`Self::count_tests`] as it stood before a run wrote its own trials, to judge
    /// that run again the same way. `None`, or a run without trials, counts all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_tests_before(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        run_id: Option<&str>,
    ) -> Result<u64, RegistryError> {
        let first: Option<i64> =
            sqlx::query_scalar("SELECT min(seq) FROM trials WHERE run_id = ?1")
                .bind(run_id)
                .fetch_one(&self.readers)
                .await?;
        self.count_tests_up_to(instrument, horizon, first.unwrap_or(i64::MAX)).await
    }

    /// How many promotion tests came before the one about to be decided: all those on
    /// record, or, when the very same recipes were judged with the very same losses
    /// before, those before that. Judging again spends nothing; another recipe on the
    /// same rows is another test.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn earlier_tests(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        judged: &[(Fingerprint, &[f64])],
    ) -> Result<u64, RegistryError> {
        let first: Option<i64> =
            sqlx::query_scalar("SELECT min(seq) FROM trials WHERE family = ?1")
                .bind(family(instrument, horizon, judged))
                .fetch_one(&self.readers)
                .await?;
        self.count_tests_up_to(instrument, horizon, first.unwrap_or(i64::MAX)).await
    }

    async fn count_tests_up_to(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        seq: i64,
    ) -> Result<u64, RegistryError> {
        let row = sqlx::query(
            "SELECT count(DISTINCT family) AS tests FROM trials \
             WHERE instrument = ?1 AND horizon = ?2 AND seq < ?3 AND p_value IS NOT NULL",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(seq)
        .fetch_one(&self.readers)
        .await?;
        Columns::new(&row, KIND).unsigned("tests")
    }
}

/// The hash of recipes judged together, in whatever order, and of all their losses.
fn family(instrument: &Instrument, horizon: Interval, judged: &[(Fingerprint, &[f64])]) -> String {
    let mut members: Vec<Fingerprint> = judged
        .iter()
        .map(|(recipe, losses)| {
            let mut hasher = FingerprintHasher::new("trial-losses/1");
            hasher.fingerprint(recipe).f64s(losses);
            hasher.finish()
        })
        .collect();
    members.sort();
    let mut hasher = FingerprintHasher::new("trial-family/1");
    hasher.text(instrument.as_str()).i64(horizon.secs()).u64(members.len() as u64);
    members.iter().for_each(|member| {
        hasher.fingerprint(member);
    });
    hasher.finish().to_string()
}

async fn insert(
    write: &mut Transaction<'static, Sqlite>,
    trial: &Trial,
    family: &str,
) -> Result<Written, RegistryError> {
    // A NaN would be stored as null and read as "not tested", which spends nothing.
    if trial.p_value.is_some_and(f64::is_nan) || trial.alpha_spent.is_nan() {
        return Err(RegistryError::Invalid {
            kind: KIND,
            id: trial.id.clone(),
            problem: "a p-value or level is NaN: leave out the p-value of what is not tested"
                .to_owned(),
        });
    }
    let stored = sqlx::query("SELECT * FROM trials WHERE id = ?1")
        .bind(&trial.id)
        .fetch_optional(&mut **write)
        .await?;
    if let Some(row) = stored {
        let stored = Trial::read(&row)?;
        let same = f64_bytes(&stored.losses) == f64_bytes(&trial.losses)
            && f64_bytes(&stored.returns) == f64_bytes(&trial.returns)
            && stored.run_id == trial.run_id
            && stored.recipe_hash == trial.recipe_hash
            && stored.p_value == trial.p_value;
        let conflict = RegistryError::Conflict { kind: KIND, id: trial.id.clone(), what: "result" };
        return if same { Ok(Written::Same) } else { Err(conflict) };
    }
    sqlx::query(
        "INSERT INTO trials (id, family, run_id, pipeline, instrument, horizon, recipe_name, \
         recipe_hash, p_value, alpha_spent, losses, returns, created_at, rows_hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(&trial.id)
    .bind(family)
    .bind(&trial.run_id)
    .bind(&trial.pipeline)
    .bind(trial.instrument.as_str())
    .bind(trial.horizon.to_string())
    .bind(&trial.recipe_name)
    .bind(trial.recipe_hash.to_string())
    .bind(trial.p_value)
    .bind(trial.alpha_spent)
    .bind(f64_bytes(&trial.losses))
    .bind(f64_bytes(&trial.returns))
    .bind(trial.created_at.micros())
    .bind(trial.rows.map(|rows| rows.to_string()))
    .execute(&mut **write)
    .await
    .map_err(|e| RegistryError::of_write(e, KIND, &trial.id, "a run"))?;
    Ok(Written::New)
}
