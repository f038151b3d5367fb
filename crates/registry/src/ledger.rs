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
    /// What it was judged under; `None` for trials that were written before it was kept.
    pub terms: Option<TrialTerms>,
    /// The losses of its variance forecast; `None` where no spread was judged.
    pub spread: Option<SpreadLosses>,
    /// Why it failed before it could be judged, with what would help: such a trial has
    /// neither losses nor returns. `None` for one that was judged.
    #[serde(default)]
    pub failure: Option<String>,
    /// When it was written (UTC).
    pub created_at: Timestamp,
}

/// What a trial was judged under.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialTerms {
    /// The step of the grid: how long a period of [`Trial::returns`] is.
    pub interval: Interval,
    /// What the sign strategy paid, basis points of what it traded.
    pub cost_bp: f64,
    /// The whole error rate of the promotion rule.
    pub alpha: f64,
    /// The coverage of the intervals, whose score takes part in the rule.
    pub coverage: f64,
}

/// The losses of a variance forecast, on rows of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpreadLosses {
    /// Hash of these rows: decision times and what stands in for the variance.
    pub rows: Fingerprint,
    /// QLIKE per row, in time order.
    pub losses: Vec<f64>,
}

/// A recipe of a run with everything that the promotion rule compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedTogether<'a> {
    /// Content hash of the recipe.
    pub recipe: Fingerprint,
    /// Absolute error per out-of-sample row.
    pub losses: &'a [f64],
    /// QLIKE per row of the spread, where one was judged.
    pub spread: Option<&'a [f64]>,
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
            terms: Self::read_terms(columns)?,
            spread: match (
                columns.parse_option("spread_rows_hash")?,
                columns.f64s_option("spread_losses")?,
            ) {
                (Some(rows), Some(losses)) => Some(SpreadLosses { rows, losses }),
                _ => None,
            },
            failure: columns.get("failure")?,
            created_at: columns.time("created_at")?,
        })
    }

    fn read_terms(columns: Columns<'_>) -> Result<Option<TrialTerms>, RegistryError> {
        let number = |column| columns.get::<Option<f64>>(column);
        let interval = columns.parse_option("interval")?;
        let all = (interval, number("cost_bp")?, number("alpha")?, number("coverage")?);
        let (Some(interval), Some(cost_bp), Some(alpha), Some(coverage)) = all else {
            return Ok(None);
        };
        Ok(Some(TrialTerms { interval, cost_bp, alpha, coverage }))
    }

    fn judged(&self) -> JudgedTogether<'_> {
        JudgedTogether {
            recipe: self.recipe_hash,
            losses: &self.losses,
            spread: self.spread.as_ref().map(|s| &s.losses[..]),
        }
    }
}

impl Registry {
    /// Writes the trials of a run, all or none. They are one family: every recipe that
    /// was judged together, tested or not. Trials that are there with the same losses,
    /// returns and p-value are left alone.
    ///
    /// # Errors
    /// When they are not of one run, instrument, horizon and terms, the run is not registered,
    /// a p-value or level is NaN, or an id is there with other content.
    pub async fn insert_trials(&self, trials: &[Trial]) -> Result<Written, RegistryError> {
        let Some(first) = trials.first() else { return Ok(Written::Same) };
        let of = |t: &Trial| (t.run_id.clone(), t.instrument.clone(), t.horizon, t.terms);
        if let Some(other) = trials.iter().find(|t| of(t) != of(first)) {
            let (kind, id) = (KIND, other.id.clone());
            let problem = "is of another run, instrument, horizon or terms than the trials beside \
                           it: write each family by itself";
            return Err(RegistryError::Invalid { kind, id, problem: problem.to_owned() });
        }
        let judged: Vec<_> = trials.iter().map(Trial::judged).collect();
        let family = family(&first.instrument, first.horizon, first.terms.as_ref(), &judged);
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

    /// The latest judged trial of every distinct recipe of an instrument and horizon, of
    /// whatever pipeline, by recipe hash: what the number of trials is counted from, with
    /// [`Self::failed_recipes`]. With `rows` only trials on those out-of-sample rows count.
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
             AND failure IS NULL GROUP BY recipe_hash) ORDER BY recipe_hash",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(rows.map(Fingerprint::to_string))
        .fetch_all(&self.readers)
        .await?;
        found.iter().map(Trial::read).collect()
    }

    /// The recipes of an instrument and horizon that failed and were never judged, by hash:
    /// tries without a result.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn failed_recipes(
        &self,
        instrument: &Instrument,
        horizon: Interval,
    ) -> Result<Vec<Fingerprint>, RegistryError> {
        let found = sqlx::query(
            "SELECT recipe_hash FROM trials WHERE instrument = ?1 AND horizon = ?2 \
             GROUP BY recipe_hash HAVING count(failure) = count(*) ORDER BY recipe_hash",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .fetch_all(&self.readers)
        .await?;
        found.iter().map(|row| Columns::new(row, KIND).parse("recipe_hash")).collect()
    }

    /// The latest trial of every distinct recipe whose spread was judged on these rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn distinct_spreads(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        rows: &Fingerprint,
    ) -> Result<Vec<Trial>, RegistryError> {
        let found = sqlx::query(
            "SELECT * FROM trials WHERE seq IN (SELECT max(seq) FROM trials \
             WHERE instrument = ?1 AND horizon = ?2 AND spread_rows_hash = ?3 \
             GROUP BY recipe_hash) ORDER BY recipe_hash",
        )
        .bind(instrument.as_str())
        .bind(horizon.to_string())
        .bind(rows.to_string())
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
    /// record, or, when the very same recipes were judged with the very same losses, rate
    /// and coverage before, those before that. Judging again spends nothing; another recipe
    /// on the same rows, or the same ones at another coverage, is another test.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn earlier_tests(
        &self,
        instrument: &Instrument,
        horizon: Interval,
        terms: Option<&TrialTerms>,
        judged: &[JudgedTogether<'_>],
    ) -> Result<u64, RegistryError> {
        let first: Option<i64> =
            sqlx::query_scalar("SELECT min(seq) FROM trials WHERE family = ?1")
                .bind(family(instrument, horizon, terms, judged))
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

/// The hash of recipes judged together, in whatever order, of all their losses, and of what
/// else the promotion rule reads. Without terms and spreads it is that of the first form.
fn family(
    instrument: &Instrument,
    horizon: Interval,
    terms: Option<&TrialTerms>,
    judged: &[JudgedTogether<'_>],
) -> String {
    let mut members: Vec<Fingerprint> = judged
        .iter()
        .map(|one| {
            let mut hasher = FingerprintHasher::new("trial-losses/1");
            hasher.fingerprint(&one.recipe).f64s(one.losses);
            if let Some(spread) = one.spread {
                hasher.f64s(spread);
            }
            hasher.finish()
        })
        .collect();
    members.sort();
    let mut hasher = FingerprintHasher::new("trial-family/1");
    hasher.text(instrument.as_str()).i64(horizon.secs()).u64(members.len() as u64);
    members.iter().for_each(|member| {
        hasher.fingerprint(member);
    });
    if let Some(terms) = terms {
        hasher.f64(terms.alpha).f64(terms.coverage);
    }
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
    let bits = |s: &Option<SpreadLosses>| s.as_ref().map(|s| (s.rows, f64_bytes(&s.losses)));
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
            && stored.terms == trial.terms
            && bits(&stored.spread) == bits(&trial.spread)
            && stored.failure == trial.failure
            && stored.p_value == trial.p_value;
        let conflict = RegistryError::Conflict { kind: KIND, id: trial.id.clone(), what: "result" };
        return if same { Ok(Written::Same) } else { Err(conflict) };
    }
    sqlx::query(
        "INSERT INTO trials (id, family, run_id, pipeline, instrument, horizon, recipe_name, \
         recipe_hash, p_value, alpha_spent, losses, returns, created_at, rows_hash, \
         interval, cost_bp, alpha, coverage, spread_losses, spread_rows_hash, failure) VALUES \
         (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
         ?21)",
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
    .bind(trial.terms.map(|t| t.interval.to_string()))
    .bind(trial.terms.map(|t| t.cost_bp))
    .bind(trial.terms.map(|t| t.alpha))
    .bind(trial.terms.map(|t| t.coverage))
    .bind(trial.spread.as_ref().map(|s| f64_bytes(&s.losses)))
    .bind(trial.spread.as_ref().map(|s| s.rows.to_string()))
    .bind(&trial.failure)
    .execute(&mut **write)
    .await
    .map_err(|e| RegistryError::of_write(e, KIND, &trial.id, "a run"))?;
    Ok(Written::New)
}
