//! A file of every schema version that was ever published opens and reads as it was
//! written, and is brought forward.

use std::path::{Path, PathBuf};

use foretell_market::Interval;
use foretell_registry::{
    AuditFilter, DatasetFilter, ForecastFilter, GapFilter, ModelFilter, Registry, RunFilter,
    SCHEMA_VERSION, Trial, TrialFilter,
};

use crate::sample::{
    artifacts, at, audit, calibration, dataset, fill, forecast, gap, lock_box, metrics, opening,
    outcome, params, registry, run, search, search_trial, step, terms, version,
};

fn golden(version: i64) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/registry");
    dir.join(format!("v{version}.sqlite"))
}

/// Everything that [`fill`] wrote is there, field for field, as far as the schema version
/// that it was written under had a place for it.
pub(crate) async fn assert_filled(registry: &Registry, schema: i64) {
    assert_eq!(registry.run("run-1").await.unwrap(), run("run-1", 0));
    assert_eq!(registry.runs(&RunFilter::default()).await.unwrap(), [run("run-1", 0)]);
    assert_eq!(registry.steps("run-1").await.unwrap(), [step()]);
    assert_eq!(registry.params("run-1").await.unwrap(), params());
    assert_eq!(registry.metrics("run-1").await.unwrap(), metrics());
    assert_eq!(registry.artifacts("run-1").await.unwrap(), artifacts());
    assert_eq!(registry.dataset(&dataset().fingerprint).await.unwrap(), dataset());
    assert_eq!(registry.datasets(&DatasetFilter::default()).await.unwrap(), [dataset()]);
    assert_eq!(registry.referenced_versions("clean", "btc-usd-1h").await.unwrap(), [3]);
    let versions = registry.model_versions(&ModelFilter::default()).await.unwrap();
    assert_eq!(versions, [version("run-1", "model")]);
    let champion = registry.aliased("btc-usd-hourly", "champion").await.unwrap();
    assert_eq!(champion, Some(version("run-1", "model")));
    let state = registry.calibration("btc-usd-hourly", 1, at(9_000)).await.unwrap();
    assert_eq!(state, Some(calibration()));
    let events = registry.audit_events(&AuditFilter::default()).await.unwrap();
    assert_eq!(events.into_iter().map(|e| e.event).collect::<Vec<_>>(), [audit("promote", 4)]);
    let forecasts = registry.forecasts(&ForecastFilter::default()).await.unwrap();
    assert_eq!(forecasts, [forecast("f_1", 0)]);
    assert_eq!(registry.outcomes("f_1").await.unwrap(), [outcome()]);
    let (instrument, hour) = (lock_box().instrument, Interval::HOUR);
    assert_eq!(registry.lock_box(&instrument, hour).await.unwrap(), Some(lock_box()));
    assert_eq!(registry.lock_box_openings(&instrument, hour).await.unwrap(), [opening()]);
    let trials = registry.trials(&TrialFilter::default()).await.unwrap();
    let known = |t: Trial| Trial { rows: t.rows.filter(|_| schema >= 2), ..t };
    let written: Vec<Trial> = crate::sample::trials(schema).into_iter().rev().map(known).collect();
    assert_eq!(trials, written);
    let alpha = registry.promotion_rate(&instrument, hour).await.unwrap();
    assert_eq!(alpha, (schema >= 4).then(|| terms().alpha));
    // The versions before 5 had no searches.
    let searches = if schema >= 5 { vec![search("run-1")] } else { Vec::new() };
    assert_eq!(registry.searches("run-1").await.unwrap(), searches);
    let stored = registry.search_trials(&search("run-1").study).await.unwrap();
    let known = if schema >= 5 { vec![search_trial(0), search_trial(1)] } else { Vec::new() };
    // A NaN is kept, and is never equal.
    assert_eq!(format!("{stored:?}"), format!("{known:?}"));
}

#[tokio::test]
async fn what_is_written_reads_back_in_every_field() {
    let (_dir, registry) = registry().await;
    fill(&registry, SCHEMA_VERSION).await;
    assert_filled(&registry, SCHEMA_VERSION).await;
}

#[tokio::test]
async fn files_of_every_version_are_brought_forward_and_keep_every_record() {
    // `FORETELL_WRITE_GOLDEN=1` adds the file of the present version, once.
    let present = golden(SCHEMA_VERSION);
    if std::env::var_os("FORETELL_WRITE_GOLDEN").is_some() && !present.exists() {
        let (_dir, registry) = registry().await;
        fill(&registry, SCHEMA_VERSION).await;
        registry.backup(&present).await.unwrap();
    }
    for schema in 1..=SCHEMA_VERSION {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.sqlite");
        let file = golden(schema);
        std::fs::copy(&file, &path).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let registry = Registry::open(&path).await.unwrap();
        assert_eq!(registry.schema_version().await.unwrap(), SCHEMA_VERSION);
        assert_filled(&registry, schema).await;
        // The versions before 3 had no gaps.
        let gaps = if schema >= 3 { vec![gap()] } else { Vec::new() };
        assert_eq!(registry.gaps(&GapFilter::default()).await.unwrap(), gaps);
        // And it goes on: the same records again are no news, new ones are taken.
        fill(&registry, schema).await;
        registry.insert_run(&run("run-2", 60)).await.unwrap();
        assert_eq!(registry.runs(&RunFilter::default()).await.unwrap().len(), 2);
    }
}
