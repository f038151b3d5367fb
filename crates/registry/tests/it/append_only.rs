//! The ledger, the audit trail and the looks into lock-boxes cannot be changed, not
//! even by SQL of our own.

use foretell_registry::{AuditFilter, RegistryError};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::sample::{audit, fill, registry};

#[tokio::test]
async fn nothing_that_is_only_appended_to_can_be_changed_or_deleted() {
    let (dir, registry) = registry().await;
    fill(&registry, foretell_registry::SCHEMA_VERSION).await;
    let options = SqliteConnectOptions::new().filename(dir.path().join("registry.sqlite"));
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let attempts = [
        ("UPDATE trials SET p_value = 0.001", "trials"),
        ("DELETE FROM trials", "trials"),
        ("UPDATE audit_events SET actor = 'nobody'", "audit events"),
        ("DELETE FROM audit_events WHERE seq = 1", "audit events"),
        ("UPDATE alias_changes SET version = 2", "alias changes"),
        ("DELETE FROM alias_changes", "alias changes"),
        ("UPDATE lock_box_openings SET opened_at = 0", "lock box openings"),
        ("DELETE FROM lock_box_openings", "lock box openings"),
        ("UPDATE lock_box_results SET result_json = '{}'", "lock box results"),
        ("DELETE FROM lock_box_results", "lock box results"),
        ("UPDATE lock_boxes SET to_time = to_time + 1", "lock boxes"),
        ("DELETE FROM lock_boxes", "lock boxes"),
        ("UPDATE promotion_rates SET alpha = 0.2", "promotion rates"),
        ("DELETE FROM promotion_rates", "promotion rates"),
        ("UPDATE searches SET fold = 9", "searches"),
        ("DELETE FROM searches", "searches"),
        ("UPDATE search_trials SET number = 9", "search trials"),
        ("DELETE FROM search_trials", "search trials"),
        ("DELETE FROM gaps", "gaps"),
        ("UPDATE gaps SET to_time = to_time + 1", "gaps"),
        ("UPDATE gaps SET closed_run = 'run-1', closed_at = 0, first_seen = 0", "gaps"),
        ("REPLACE INTO trials SELECT * FROM trials", "trials"),
    ];
    // One connection: the setting below is its own.
    let mut connection = pool.acquire().await.unwrap();
    // A replacement deletes first; its trigger fires only with this setting.
    sqlx::query("PRAGMA recursive_triggers = ON").execute(&mut *connection).await.unwrap();
    for (sql, table) in attempts {
        let error = sqlx::query(sql).execute(&mut *connection).await.unwrap_err();
        match RegistryError::from(error) {
            RegistryError::AppendOnly { table: named } => assert_eq!(named, table, "{sql}"),
            other => panic!("{sql}: {other}"),
        }
    }
    drop(connection);
    crate::golden::assert_filled(&registry, foretell_registry::SCHEMA_VERSION).await;
}

#[tokio::test]
async fn audit_events_are_listed_last_first_and_page_by_their_number() {
    let (_dir, registry) = registry().await;
    for i in 0..5 {
        let action = if i % 2 == 0 { "promote" } else { "rollback" };
        assert_eq!(registry.insert_audit_event(&audit(action, i)).await.unwrap(), i + 1);
    }
    let seqs = async |filter: AuditFilter| {
        let events = registry.audit_events(&filter).await.unwrap();
        events.iter().map(|e| e.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(AuditFilter::default()).await, [5, 4, 3, 2, 1]);
    let page = AuditFilter { limit: Some(2), before: Some(4), ..AuditFilter::default() };
    assert_eq!(seqs(page).await, [3, 2]);
    let of = AuditFilter { action: Some("rollback".to_owned()), ..AuditFilter::default() };
    assert_eq!(seqs(of).await, [4, 2]);
    let mut broken = audit("promote", 9);
    broken.detail_json = "{not json".to_owned();
    let error = registry.insert_audit_event(&broken).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
}
