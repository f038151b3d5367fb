//! Versions are numbered, aliases move together with their audit event.

use foretell_registry::{
    AliasChange, AuditFilter, Calibration, ModelFilter, RegistryError, Written,
};

use crate::sample::{at, audit, calibration, dataset, hash, registry, run, version, with_version};

const MODEL: &str = "btc-usd-hourly";

#[tokio::test]
async fn versions_count_up_by_name_and_a_second_registration_is_the_first() {
    let (_dir, registry) = with_version().await;
    registry.insert_run(&run("run-2", 10)).await.unwrap();
    let number = async |run: &str, model: &str| {
        registry.insert_model_version(&version(run, model)).await.unwrap().version
    };
    assert_eq!(number("run-1", "model").await, 1);
    assert_eq!(number("run-1", "other").await, 2);
    // The same model of another run is another version: it has another history.
    assert_eq!(number("run-2", "model").await, 3);
    assert_eq!(number("run-2", "model").await, 3);
    let mut eth = version("run-1", "model");
    eth.name = "eth-usd-hourly".to_owned();
    assert_eq!(registry.insert_model_version(&eth).await.unwrap().version, 1);
    let of = ModelFilter { name: Some(MODEL.to_owned()), ..ModelFilter::default() };
    let listed = registry.model_versions(&of).await.unwrap();
    assert_eq!(listed.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2, 1]);
    let two = ModelFilter { limit: Some(2), ..of };
    assert_eq!(registry.model_versions(&two).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_version_without_its_dataset_is_refused() {
    let (_dir, registry) = registry().await;
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    let error = registry.insert_model_version(&version("run-1", "model")).await.unwrap_err();
    assert!(error.to_string().contains("a run or dataset that is not registered"), "{error}");
    registry.insert_dataset(&dataset()).await.unwrap();
    let mut broken = version("run-1", "model");
    broken.spec_json = "kind = ridge".to_owned();
    let error = registry.insert_model_version(&broken).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
    let none = registry.model_versions(&ModelFilter::default()).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn a_promotion_and_its_audit_event_are_one() {
    let (_dir, registry) = with_version().await;
    registry.insert_model_version(&version("run-1", "other")).await.unwrap();
    registry.promote(MODEL, 1, "champion", &audit("promote", 1)).await.unwrap();
    registry.promote(MODEL, 2, "challenger", &audit("promote", 2)).await.unwrap();

    // A change whose event cannot be written does not happen.
    let mut broken = audit("promote", 3);
    broken.detail_json = "not json".to_owned();
    registry.promote(MODEL, 2, "champion", &broken).await.unwrap_err();
    let error = registry.promote(MODEL, 9, "champion", &audit("promote", 3)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no model version `btc-usd-hourly v9` in the registry");
    let champion = registry.aliased(MODEL, "champion").await.unwrap().unwrap();
    assert_eq!(champion.version, 1);
    assert_eq!(registry.audit_events(&AuditFilter::default()).await.unwrap().len(), 2);

    registry.promote(MODEL, 2, "champion", &audit("promote", 4)).await.unwrap();
    registry.remove_alias(MODEL, "challenger", &audit("remove-alias", 5)).await.unwrap();
    let again = registry.remove_alias(MODEL, "challenger", &audit("remove-alias", 6)).await;
    assert!(matches!(again, Err(RegistryError::NotFound { kind: "alias", .. })));
    let aliases = registry.aliases(Some(MODEL)).await.unwrap();
    let named: Vec<_> = aliases.iter().map(|a| (a.alias.as_str(), a.version)).collect();
    assert_eq!(named, [("champion", 2)]);
    let change = |alias: &str, version, secs| AliasChange {
        model: MODEL.to_owned(),
        alias: alias.to_owned(),
        version,
        at: at(secs),
    };
    let history = registry.alias_history(MODEL, "champion").await.unwrap();
    assert_eq!(history, [change("champion", Some(2), 4), change("champion", Some(1), 1)]);
    let history = registry.alias_history(MODEL, "challenger").await.unwrap();
    assert_eq!(history, [change("challenger", None, 5), change("challenger", Some(2), 2)]);
    assert_eq!(registry.aliased(MODEL, "challenger").await.unwrap(), None);
    assert_eq!(registry.audit_events(&AuditFilter::default()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn the_calibration_of_an_instant_is_the_last_one_up_to_it() {
    let (_dir, registry) = with_version().await;
    let state = |secs: i64, n: u32| Calibration {
        as_of: at(secs),
        state_json: format!("{{\"outcomes\":{n}}}"),
        ..calibration()
    };
    assert_eq!(registry.insert_calibration(&state(100, 1)).await.unwrap(), Written::New);
    assert_eq!(registry.insert_calibration(&state(200, 2)).await.unwrap(), Written::New);
    assert_eq!(registry.insert_calibration(&state(200, 2)).await.unwrap(), Written::Same);
    let error = registry.insert_calibration(&state(200, 3)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { kind: "calibration", .. }), "{error}");
    let found = async |secs| registry.calibration(MODEL, 1, at(secs)).await.unwrap();
    assert_eq!(found(99).await, None);
    assert_eq!(found(100).await, Some(state(100, 1)));
    assert_eq!(found(199).await, Some(state(100, 1)));
    assert_eq!(found(900).await, Some(state(200, 2)));
    let orphan = Calibration { version: 7, ..state(1, 1) };
    let error = registry.insert_calibration(&orphan).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");
}

#[tokio::test]
async fn the_same_dataset_from_other_tables_keeps_those_too() {
    let (_dir, registry) = with_version().await;
    let mut again = dataset();
    again.snapshots[0].version = 8;
    again.rows = 1;
    assert_eq!(registry.insert_dataset(&again).await.unwrap(), Written::Same);
    let stored = registry.dataset(&hash("dataset")).await.unwrap();
    assert_eq!(stored.rows, dataset().rows, "the first record stays");
    assert_eq!(registry.referenced_versions("clean", "btc-usd-1h").await.unwrap(), [3, 8]);
    assert_eq!(registry.referenced_versions("raw", "btc-usd-1h").await.unwrap(), [0u64; 0]);
    let mut huge = dataset();
    huge.fingerprint = hash("huge");
    huge.rows = u64::MAX;
    let error = registry.insert_dataset(&huge).await.unwrap_err();
    assert!(error.to_string().contains("is too large"), "{error}");
}
