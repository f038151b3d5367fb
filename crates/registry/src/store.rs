//! The database file: opening, migrating, one writer, a few readers.
//!
//! Knows no aggregate; the functions on records are in their own files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr as _, Sqlite, SqlitePool, Transaction};

use crate::RegistryError;
use crate::error::is_not_a_database;

/// The newest schema version that this build knows and writes.
pub const SCHEMA_VERSION: i64 = 6;

/// Every migration, oldest first. A published one is never edited: add the next.
const MIGRATIONS: &[Step] = &[
    (1, "first", include_str!("../migrations/0001_first.sql")),
    (2, "trial_rows", include_str!("../migrations/0002_trial_rows.sql")),
    (3, "gaps", include_str!("../migrations/0003_gaps.sql")),
    (4, "terms", include_str!("../migrations/0004_terms.sql")),
    (5, "searches", include_str!("../migrations/0005_searches.sql")),
    (6, "failed_trials", include_str!("../migrations/0006_failed_trials.sql")),
];

/// How long a statement waits for a lock of another connection before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write may wait for its turn behind other writes of this process.
const TURN_TIMEOUT: Duration = Duration::from_secs(120);
/// How many statements read at once.
const READERS: u32 = 4;

/// The open metadata database. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Registry {
    path: PathBuf,
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
}

/// Whether an idempotent write found something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The record is new.
    New,
    /// The same record was there already; nothing was written.
    Same,
}

impl Registry {
    /// Opens the database file, makes it when it is not there and brings an older
    /// one to the present schema. The directory must exist.
    ///
    /// # Errors
    /// When the file cannot be opened, is no registry, was written by a newer
    /// Foretell, or a migration fails (the file then stays as it was).
    pub async fn open(path: &Path) -> Result<Self, RegistryError> {
        let failed = |source: sqlx::Error| {
            let path = path.to_owned();
            if is_not_a_database(&source) {
                RegistryError::NotARegistry { path }
            } else {
                RegistryError::Open { path, source }
            }
        };
        // FULL: what a finished command has written outlives a power failure.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let forever = SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None);
        let writer = forever
            .clone()
            .max_connections(1)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        migrate(&writer, path, MIGRATIONS).await?;
        let readers = forever
            .max_connections(READERS)
            .acquire_timeout(TURN_TIMEOUT)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The schema version of the open file.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schema_version(&self) -> Result<i64, RegistryError> {
        applied_version(&self.readers).await.map_err(RegistryError::from)
    }

    /// Writes a consistent copy of the whole database to a new file, while others
    /// read and write.
    ///
    /// # Errors
    /// When the target exists already or cannot be written.
    pub async fn backup(&self, to: &Path) -> Result<(), RegistryError> {
        let failed = |source| RegistryError::Open { path: to.to_owned(), source };
        // SQLite would accept an empty file that is there; a backup overwrites nothing.
        if to.exists() {
            let there = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(failed(sqlx::Error::Io(there)));
        }
        let target = to.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO ?1").bind(target).execute(&self.writer).await.map_err(failed)?;
        Ok(())
    }

    /// Ends all connections; the write-ahead log is folded into the file, which can
    /// then be copied by itself.
    pub async fn close(&self) {
        // The writer goes last: the last connection does the folding.
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that holds the write lock from its start. It is rolled back
    /// unless it is committed.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, RegistryError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// A migration's version, description and SQL.
type Step = (i64, &'static str, &'static str);

async fn migrate(writer: &SqlitePool, path: &Path, steps: &[Step]) -> Result<(), RegistryError> {
    let owned = || path.to_owned();
    let known = steps.iter().map(|step| step.0).max().unwrap_or(0);
    let found = found_version(writer, path).await?;
    if found > known {
        return Err(RegistryError::NewerSchema { path: owned(), found, known });
    }
    let migrations = steps.iter().map(|(version, description, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    migrator.run(writer).await.map_err(|source| match source {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            RegistryError::ForeignSchema { path: owned(), version }
        }
        source => RegistryError::Migration { path: owned(), source },
    })?;
    if found < known {
        tracing::debug!(from = found, to = known, "migrated the registry");
    }
    Ok(())
}

/// The version of the file before migrating; 0 for an empty one. Another program's
/// database is refused before a table is made in it.
async fn found_version(pool: &SqlitePool, path: &Path) -> Result<i64, RegistryError> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(pool)
            .await?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return Err(RegistryError::NotARegistry { path: path.to_owned() });
    }
    Ok(applied_version(pool).await?)
}

async fn applied_version(pool: &SqlitePool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Step = (1, "first", "CREATE TABLE a (x INTEGER NOT NULL) STRICT;");
    const SECOND: Step = (2, "second", "ALTER TABLE a ADD COLUMN y TEXT NOT NULL DEFAULT 'old';");
    const BROKEN: Step =
        (2, "second", "CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1);");

    async fn pool(path: &Path) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
    }

    #[tokio::test]
    async fn an_older_file_is_brought_forward_with_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.sqlite");
        let pool = pool(&path).await;
        migrate(&pool, &path, &[FIRST]).await.unwrap();
        sqlx::query("INSERT INTO a VALUES (7)").execute(&pool).await.unwrap();
        migrate(&pool, &path, &[FIRST, SECOND]).await.unwrap();
        migrate(&pool, &path, &[FIRST, SECOND]).await.unwrap();
        let row: (i64, String) =
            sqlx::query_as("SELECT x, y FROM a").fetch_one(&pool).await.unwrap();
        assert_eq!(row, (7, "old".to_owned()));
        assert_eq!(applied_version(&pool).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.sqlite");
        let pool = pool(&path).await;
        migrate(&pool, &path, &[FIRST]).await.unwrap();
        let error = migrate(&pool, &path, &[FIRST, BROKEN]).await.unwrap_err();
        assert!(matches!(error, RegistryError::Migration { .. }), "{error}");
        assert_eq!(applied_version(&pool).await.unwrap(), 1);
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'b'")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(tables, 0);
        migrate(&pool, &path, &[FIRST, SECOND]).await.unwrap();
    }

    #[tokio::test]
    async fn a_newer_or_edited_schema_is_refused_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.sqlite");
        let pool = pool(&path).await;
        migrate(&pool, &path, &[FIRST, SECOND]).await.unwrap();
        let error = migrate(&pool, &path, &[FIRST]).await.unwrap_err().to_string();
        assert!(error.contains("schema version 2") && error.contains("up to 1"), "{error}");
        assert!(error.contains("use a newer Foretell"), "{error}");
        let edited = (1, "first", "CREATE TABLE other (x INTEGER);");
        let error = migrate(&pool, &path, &[edited, SECOND]).await.unwrap_err();
        assert!(matches!(error, RegistryError::ForeignSchema { version: 1, .. }), "{error}");
    }

    #[test]
    fn migrations_are_numbered_without_a_hole_up_to_the_present() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|step| step.0).collect();
        assert_eq!(numbers, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }
}
