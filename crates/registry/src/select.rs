//! Lists with optional conditions, newest first, in a stable order.
//!
//! Conditions and columns are literals of this crate; values are always bound.

use foretell_market::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Encode, QueryBuilder, Sqlite, SqlitePool, Type};

use crate::RegistryError;

/// Where the next page of a list starts: the time and id of the last record seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The time that the list is ordered by (UTC).
    pub at: Timestamp,
    /// The record's id, which orders records of one time.
    pub id: String,
}

/// A `SELECT` in the making.
pub(crate) struct Select {
    builder: QueryBuilder<Sqlite>,
    conditions: u32,
}

impl Select {
    /// Starts from a whole `SELECT … FROM …` without conditions.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { builder: QueryBuilder::new(sql), conditions: 0 }
    }

    /// Adds a condition such as `"pipeline ="` when there is a value.
    pub(crate) fn when<T>(mut self, condition: &'static str, value: Option<T>) -> Self
    where
        T: Encode<'static, Sqlite> + Type<Sqlite> + 'static,
    {
        if let Some(value) = value {
            self.and();
            self.builder.push(condition).push(" ").push_bind(value);
        }
        self
    }

    /// Adds a condition that is text alone.
    pub(crate) fn always(mut self, condition: &'static str) -> Self {
        self.and();
        self.builder.push(condition);
        self
    }

    /// Adds text to the last condition, such as a closing bracket.
    pub(crate) fn push(mut self, text: &'static str) -> Self {
        self.builder.push(text);
        self
    }

    /// Keeps what comes after the cursor in an order of `(time DESC, id DESC)`.
    pub(crate) fn after(mut self, columns: &'static str, cursor: Option<&Cursor>) -> Self {
        if let Some(cursor) = cursor {
            self.and();
            self.builder.push(columns).push(" < (").push_bind(cursor.at.micros());
            self.builder.push(", ").push_bind(cursor.id.clone()).push(")");
        }
        self
    }

    /// Keeps the forecasts `f` that come after the cursor in an order of `(as_of DESC,
    /// made_at DESC, id DESC)`. A forecast is never changed, so its id tells when it was
    /// made.
    pub(crate) fn after_made(mut self, cursor: Option<&Cursor>) -> Self {
        if let Some(cursor) = cursor {
            self.and();
            self.builder.push("(f.as_of, f.made_at, f.id) < (").push_bind(cursor.at.micros());
            self.builder.push(", (SELECT c.made_at FROM forecasts c WHERE c.id = ");
            self.builder.push_bind(cursor.id.clone()).push("), ");
            self.builder.push_bind(cursor.id.clone()).push(")");
        }
        self
    }

    /// Reads the rows in the given order, at most `limit` of them.
    pub(crate) async fn rows(
        mut self,
        order: &'static str,
        limit: Option<u32>,
        pool: &SqlitePool,
    ) -> Result<Vec<SqliteRow>, RegistryError> {
        self.builder.push(" ORDER BY ").push(order);
        if let Some(limit) = limit {
            self.builder.push(" LIMIT ").push_bind(i64::from(limit));
        }
        Ok(self.builder.build().fetch_all(pool).await?)
    }

    fn and(&mut self) {
        self.builder.push(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.conditions += 1;
    }
}
