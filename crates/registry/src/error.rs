//! What can go wrong with the database, with the remedy; nothing is retried here.

use std::path::PathBuf;

/// Why the registry could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be opened or made.
    #[error("cannot open the registry {}: {source}; check that its directory exists and can be written", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The file is something else.
    #[error("{} is not a Foretell registry: move it away, or name another data directory", path.display())]
    NotARegistry {
        /// The file.
        path: PathBuf,
    },
    /// A later Foretell wrote the file.
    #[error(
        "{} has schema version {found}, but this Foretell knows only up to {known}: \
         use a newer Foretell, or restore a backup made before the upgrade", path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// The migrations that made the file are not those of this build.
    #[error(
        "{} was made with another migration {version} than this Foretell has: \
         use the Foretell that made it, or restore a backup", path.display()
    )]
    ForeignSchema {
        /// The database file.
        path: PathBuf,
        /// The migration that differs.
        version: i64,
    },
    /// A migration failed; the file is as it was before it.
    #[error("cannot bring {} to the present schema (it is unchanged): {source}", path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// What failed.
        source: sqlx::migrate::MigrateError,
    },
    /// There is no such record.
    #[error("there is no {kind} `{id}` in the registry")]
    NotFound {
        /// Which kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// A record of this id is there with other content; nothing was written.
    #[error(
        "{kind} `{id}` is already registered with another {what}: a record is never overwritten"
    )]
    Conflict {
        /// Which kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What differs.
        what: &'static str,
    },
    /// A record that this one refers to is missing; nothing was written.
    #[error("{kind} `{id}` refers to {refers_to} that is not registered: register that first")]
    MissingReference {
        /// Which kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What it may refer to.
        refers_to: &'static str,
    },
    /// A field of the record is not acceptable; nothing was written.
    #[error("{kind} `{id}`: {problem}")]
    Invalid {
        /// Which kind of record.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong, with the remedy.
        problem: String,
    },
    /// A table that is only ever appended to would have been changed.
    #[error("the {table} are a record that is only appended to: write another entry instead")]
    AppendOnly {
        /// The table.
        table: String,
    },
    /// What is stored cannot be read as what it should be.
    #[error("stored {kind} has an unreadable {column}: {problem}; restore a backup")]
    Stored {
        /// Which kind of record.
        kind: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
    /// Another process holds the file longer than the busy timeout.
    #[error("the registry is held by another process: only one may own a data directory")]
    Busy,
    /// Anything else that SQLite reports.
    #[error("the registry failed: {0}")]
    Database(#[source] sqlx::Error),
}

/// SQLite's primary result codes that are told apart here (<https://sqlite.org/rescode.html>).
const BUSY: i32 = 5;
const NOT_A_DATABASE: i32 = 26;

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else { return Self::Database(error) };
        if let Some(table) = database.message().strip_prefix("append-only: ") {
            return Self::AppendOnly { table: table.replace('_', " ") };
        }
        if primary_code(&error) == Some(BUSY) { Self::Busy } else { Self::Database(error) }
    }
}

impl RegistryError {
    /// The error of a write of one record: a broken reference or check is told as
    /// such, with the record's id.
    pub(crate) fn of_write(
        error: sqlx::Error,
        kind: &'static str,
        id: &str,
        refers_to: &'static str,
    ) -> Self {
        use sqlx::error::ErrorKind;
        let Some(database) = error.as_database_error() else { return error.into() };
        let id = id.to_owned();
        match database.kind() {
            ErrorKind::ForeignKeyViolation => Self::MissingReference { kind, id, refers_to },
            ErrorKind::CheckViolation => Self::Invalid {
                kind,
                id,
                problem: format!("{}; see the field's documentation", database.message()),
            },
            ErrorKind::NotNullViolation => Self::Invalid {
                kind,
                id,
                problem: format!("{}: a number must not be NaN here", database.message()),
            },
            _ => error.into(),
        }
    }
}

/// Whether SQLite says that the file is not a database.
pub(crate) fn is_not_a_database(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(NOT_A_DATABASE)
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
