//! From columns to the vocabulary of markets and back; no query lives here.

use std::fmt::Display;
use std::str::FromStr;

use foretell_market::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use crate::RegistryError;

/// Reads typed values out of one row; an error names the record and the column.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r> {
    row: &'r SqliteRow,
    kind: &'static str,
}

impl<'r> Columns<'r> {
    pub(crate) fn new(row: &'r SqliteRow, kind: &'static str) -> Self {
        Self { row, kind }
    }

    /// A value that SQLite stores as such: text, integer, real or blob.
    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, RegistryError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        self.row.try_get(column).map_err(|e| self.stored(column, e))
    }

    /// A value that is stored as text and parsed.
    pub(crate) fn parse<T>(&self, column: &'static str) -> Result<T, RegistryError>
    where
        T: FromStr<Err: Display>,
    {
        let text: String = self.get(column)?;
        text.parse().map_err(|e| self.stored(column, e))
    }

    /// A value that is stored as text and parsed, or null.
    pub(crate) fn parse_option<T>(&self, column: &'static str) -> Result<Option<T>, RegistryError>
    where
        T: FromStr<Err: Display>,
    {
        let text: Option<String> = self.get(column)?;
        text.map(|t| t.parse().map_err(|e| self.stored(column, e))).transpose()
    }

    /// An instant.
    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, RegistryError> {
        Ok(Timestamp::from_micros(self.get(column)?))
    }

    /// An instant that may be null.
    pub(crate) fn time_option(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, RegistryError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    /// A number of zero or more.
    pub(crate) fn unsigned(&self, column: &'static str) -> Result<u64, RegistryError> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|e| self.stored(column, e))
    }

    /// A series of numbers.
    pub(crate) fn f64s(&self, column: &'static str) -> Result<Vec<f64>, RegistryError> {
        let bytes: Vec<u8> = self.get(column)?;
        self.numbers(column, &bytes)
    }

    /// A series of numbers that may be null.
    pub(crate) fn f64s_option(
        &self,
        column: &'static str,
    ) -> Result<Option<Vec<f64>>, RegistryError> {
        let bytes: Option<Vec<u8>> = self.get(column)?;
        bytes.map(|bytes| self.numbers(column, &bytes)).transpose()
    }

    fn numbers(&self, column: &'static str, bytes: &[u8]) -> Result<Vec<f64>, RegistryError> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(self.stored(column, "its length is not a multiple of 8 bytes"));
        }
        Ok(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect())
    }

    fn stored(&self, column: &'static str, problem: impl Display) -> RegistryError {
        RegistryError::Stored { kind: self.kind, column, problem: problem.to_string() }
    }
}

/// A series of numbers as it is stored: little-endian f64, bits kept.
pub(crate) fn f64_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A count as SQLite keeps it.
pub(crate) fn signed(
    value: u64,
    kind: &'static str,
    id: &str,
    field: &'static str,
) -> Result<i64, RegistryError> {
    i64::try_from(value).map_err(|_| RegistryError::Invalid {
        kind,
        id: id.to_owned(),
        problem: format!("{field} {value} is too large: at most 2^63 - 1"),
    })
}
