//! The audit trail: who did what, when. Only ever appended to.

use foretell_market::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::row::Columns;
use crate::select::Select;
use crate::{Registry, RegistryError};

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When (UTC).
    pub at: Timestamp,
    /// Who: a person, or the part of Foretell that acted.
    pub actor: String,
    /// What, such as `promote` or `open-lock-box`.
    pub action: String,
    /// To what, such as a model's name.
    pub subject: String,
    /// The rest, as JSON. Never a secret.
    pub detail_json: String,
}

/// An event with its place in the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, ascending in the order of writing.
    pub seq: i64,
    /// What was done.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// Which events to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By one actor.
    pub actor: Option<String>,
    /// Of one action.
    pub action: Option<String>,
    /// To one subject.
    pub subject: Option<String>,
    /// Written before this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: Option<u32>,
}

impl Registry {
    /// Writes an event and returns its number.
    ///
    /// # Errors
    /// When its detail is not JSON.
    pub async fn insert_audit_event(&self, event: &AuditEvent) -> Result<i64, RegistryError> {
        let mut write = self.write().await?;
        let seq = append(&mut write, event).await?;
        write.commit().await?;
        Ok(seq)
    }

    /// Events, the last written first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_events(
        &self,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        let rows = Select::new("SELECT * FROM audit_events")
            .when("actor =", filter.actor.clone())
            .when("action =", filter.action.clone())
            .when("subject =", filter.subject.clone())
            .when("seq <", filter.before)
            .rows("seq DESC", filter.limit, &self.readers)
            .await?;
        let read = |row: &SqliteRow| {
            let columns = Columns::new(row, "audit event");
            let event = AuditEvent {
                at: columns.time("at")?,
                actor: columns.get("actor")?,
                action: columns.get("action")?,
                subject: columns.get("subject")?,
                detail_json: columns.get("detail_json")?,
            };
            Ok(AuditEntry { seq: columns.get("seq")?, event })
        };
        rows.iter().map(read).collect()
    }
}

/// Writes an event as part of a transaction of another aggregate.
pub(crate) async fn append(
    write: &mut Transaction<'static, Sqlite>,
    event: &AuditEvent,
) -> Result<i64, RegistryError> {
    let done = sqlx::query(
        "INSERT INTO audit_events (at, actor, action, subject, detail_json) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(event.at.micros())
    .bind(&event.actor)
    .bind(&event.action)
    .bind(&event.subject)
    .bind(&event.detail_json)
    .execute(&mut **write)
    .await
    .map_err(|e| RegistryError::of_write(e, "audit event", &event.action, "nothing"))?;
    Ok(done.last_insert_rowid())
}
