//! Everything that can go wrong in a lake, with what to do about it.

use std::ops::Range;

use arrow::datatypes::DataType;
use foretell_market::{Fingerprint, Timestamp};

use crate::Version;

/// Why a lake could not do what was asked. A failed write leaves the last version
/// as it was.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The address is no lake.
    #[error(
        "`{url}` cannot hold a lake: {reason}; give a directory or a URL such as \
         file:///srv/lake, s3://bucket/prefix, az://container/prefix or gs://bucket/prefix"
    )]
    Url {
        /// The address as given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name is no table name.
    #[error(
        "`{0}` is not a table name: use 1 to 120 letters, digits, dots, dashes and \
         underscores, and begin with a letter or a digit"
    )]
    Name(String),
    /// The store failed.
    #[error("{action} failed: {source}; the last version is unharmed, try again")]
    Store {
        /// What was being done, with the path.
        action: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The table does not exist.
    #[error("the lake has no table `{table}`: write to it first, or check the name")]
    NoTable {
        /// Layer and name.
        table: String,
    },
    /// The table has no such version.
    #[error("table `{table}` has no version {asked}: its versions are {first} to {last}")]
    NoVersion {
        /// Layer and name.
        table: String,
        /// The version asked for.
        asked: Version,
        /// The oldest version that the log still tells of.
        first: Version,
        /// The newest version.
        last: Version,
    },
    /// The table had no version at that time.
    #[error("table `{table}` had no version at {time}: its first commit is of {first}")]
    NoVersionAt {
        /// Layer and name.
        table: String,
        /// The time asked for.
        time: Timestamp,
        /// The time of the oldest commit that the log tells of, in words.
        first: String,
    },
    /// A data file of the version is gone.
    #[error(
        "version {version} of table `{table}` can no longer be read, because a vacuum \
         removed `{file}`: ask for a later version, and name the versions to keep when vacuuming"
    )]
    Gone {
        /// Layer and name.
        table: String,
        /// The version.
        version: Version,
        /// The missing data file.
        file: String,
    },
    /// A column has another type, or is there on one side only.
    #[error(
        "column `{column}` of table `{table}` is {expected} but the rows bring {found}; \
         bring the same columns, or write to a table of another name"
    )]
    Schema {
        /// Layer and name.
        table: String,
        /// The column.
        column: String,
        /// What the table holds: a type, or `absent`.
        expected: String,
        /// What the rows bring: a type, or `absent`.
        found: String,
    },
    /// The layer demands a column that the rows do not bring.
    #[error("tables of layer {layer} need a column `{column}` of type {expected}, not {found}")]
    Key {
        /// The layer.
        layer: &'static str,
        /// The column.
        column: &'static str,
        /// The type it must have.
        expected: DataType,
        /// What the rows bring: a type, or `absent`.
        found: String,
    },
    /// A value is missing where the table allows none.
    #[error("column `{column}` of table `{table}` is null in row {row}: every row needs a value")]
    Null {
        /// Layer and name.
        table: String,
        /// The column.
        column: String,
        /// Index of the row in the batch.
        row: usize,
    },
    /// The type cannot be stored.
    #[error(
        "column `{column}` is of type {found}, which a table cannot hold: use Utf8, Boolean, \
         Int32, Int64, Float32, Float64, Date32, Binary or Timestamp(µs, UTC)"
    )]
    Unsupported {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// A row lies outside the interval that it is to replace.
    #[error(
        "row {row} is of {time}, outside the interval {from} to {to} that is replaced",
        from = interval.start, to = interval.end
    )]
    OutOfInterval {
        /// Index of the row in the batch.
        row: usize,
        /// Its time.
        time: Timestamp,
        /// The interval, its end excluded.
        interval: Range<Timestamp>,
    },
    /// The interval has no length.
    #[error(
        "the interval {from} to {to} is empty: its end must come after its start",
        from = .0.start, to = .0.end
    )]
    EmptyInterval(Range<Timestamp>),
    /// Two rows share a key that must be unique.
    #[error(
        "table `{table}` holds one row per {key}, but two are of {value}: a correction needs \
         a later known_at, a re-run needs `replace`"
    )]
    Duplicate {
        /// Layer and name.
        table: String,
        /// The columns of the key.
        key: String,
        /// Their values.
        value: String,
    },
    /// Another writer changed the same rows first.
    #[error(
        "another writer came first: version {winner} of table `{table}` changed rows of the same \
         interval; nothing was written: read again and repeat the write"
    )]
    Conflict {
        /// Layer and name.
        table: String,
        /// The version that this write began from; `None` when there was no table yet.
        base: Option<Version>,
        /// The version that came first.
        winner: Version,
    },
    /// Other writers were faster every time.
    #[error(
        "table `{table}` was committed to by others {attempts} times in a row; nothing was \
         written: try again later"
    )]
    Busy {
        /// Layer and name.
        table: String,
        /// How often the commit was tried.
        attempts: u32,
    },
    /// The table was made by another tool with features that are only read here.
    #[error("table `{table}` can be read but not written here: {reason}; write to another table")]
    Foreign {
        /// Layer and name.
        table: String,
        /// Which feature stands in the way.
        reason: String,
    },
    /// The table is of a later format.
    #[error(
        "table `{table}` is of format {found}, this build knows formats up to {known}: \
         use a newer foretell"
    )]
    Format {
        /// Layer and name.
        table: String,
        /// The format found.
        found: String,
        /// The newest format known.
        known: u32,
    },
    /// The log cannot be understood.
    #[error(
        "table `{table}` cannot be read: {source}; if its files are damaged, restore them from \
         a copy"
    )]
    Log {
        /// Layer and name.
        table: String,
        /// What the reader of the format said.
        source: Box<delta_kernel::KernelError>,
    },
    /// A commit cannot be understood.
    #[error(
        "commit {version} of table `{table}` cannot be read: line {line}: {reason}; restore it \
         from a copy"
    )]
    Commit {
        /// Layer and name.
        table: String,
        /// The version.
        version: Version,
        /// Line of the commit file, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A data file cannot be read or written.
    #[error(
        "data file `{file}` of table `{table}`: {source}; restore it from a copy, or read a \
         version that does without it"
    )]
    Parquet {
        /// Layer and name.
        table: String,
        /// The file, relative to the table.
        file: String,
        /// What the Parquet library said.
        source: parquet::errors::ParquetError,
    },
    /// Arrow refused an operation.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The artifact is not there.
    #[error("the lake has no artifact {0}: it was never stored here, or the copy is incomplete")]
    NoArtifact(Fingerprint),
    /// The artifact's bytes are not what they were.
    #[error("artifact {asked} is damaged, its bytes hash to {found}: restore `{path}` from a copy")]
    DamagedArtifact {
        /// The fingerprint asked for.
        asked: Fingerprint,
        /// The fingerprint of the bytes found.
        found: Fingerprint,
        /// Where it lies, relative to the lake.
        path: String,
    },
    /// A decoder gave up on the bytes of a file.
    #[error(
        "a file of the table cannot be decoded ({0}): restore the lake from a copy, or, where \
         its files are sound, report this"
    )]
    Undecodable(String),
    /// A background task died.
    #[error("a background task of the lake died: {0}; this is a defect, please report it")]
    Task(String),
}

impl LakeError {
    /// Whether another writer came first: reading again and repeating can succeed.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Busy { .. })
    }

    /// What to do when the store itself is what fails: where its address and keys come from.
    pub fn remedy(&self) -> Option<&'static str> {
        let Self::Store { source, .. } = self else { return None };
        let object_store::Error::Generic { store, .. } = source else { return None };
        Some(match *store {
            "S3" => {
                "check that the store answers; its settings are AWS_REGION, AWS_ACCESS_KEY_ID, \
                 AWS_SECRET_ACCESS_KEY and, for other stores than Amazon's, AWS_ENDPOINT \
                 (AWS_ALLOW_HTTP=true for http)"
            }
            "MicrosoftAzure" => {
                "check that the store answers; its settings are AZURE_STORAGE_ACCOUNT_NAME, \
                 AZURE_STORAGE_ACCOUNT_KEY and, for an emulator, AZURE_STORAGE_ENDPOINT \
                 (AZURE_ALLOW_HTTP=true for http)"
            }
            "GCS" => "check that the store answers; GOOGLE_SERVICE_ACCOUNT names its key file",
            _ => "check the free space and the permissions of the lake's directory",
        })
    }
}
