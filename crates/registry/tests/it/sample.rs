//! One record of every kind, made by hand, and a registry in its own directory.

use foretell_market::{Fingerprint, Interval, Timestamp};
use foretell_registry::{
    Artifact, ArtifactPlace, AuditEvent, Calibration, DatasetRecord, ForecastRecord, GapFinding,
    GapRecord, LockBox, LockBoxOpening, Metric, MissingSpan, ModelVersion, Outcome, Param,
    Registry, Run, Search, SearchTrialRecord, Sighting, Snapshot, SpreadLosses, Status, Step,
    Trial, TrialTerms,
};
use tempfile::TempDir;

/// Seconds after 2025-10-31T00:00:00Z.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_761_868_800 + secs)
}

pub(crate) fn hash(text: &str) -> Fingerprint {
    Fingerprint::of_bytes(text.as_bytes())
}

pub(crate) async fn registry() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&dir.path().join("registry.sqlite")).await.unwrap();
    (dir, registry)
}

/// A registry that holds the run, the dataset and one version of the model.
pub(crate) async fn with_version() -> (TempDir, Registry) {
    let (dir, registry) = registry().await;
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.insert_dataset(&dataset()).await.unwrap();
    registry.insert_model_version(&version("run-1", "model")).await.unwrap();
    (dir, registry)
}

pub(crate) fn run(id: &str, secs: i64) -> Run {
    Run {
        id: id.to_owned(),
        pipeline: "btc-usd-hourly".to_owned(),
        kind: "run".to_owned(),
        status: Status::Running,
        started_at: at(secs),
        finished_at: None,
        config_json: r#"{"label":{"horizon":"1h"}}"#.to_owned(),
        error: None,
    }
}

pub(crate) fn step() -> Step {
    Step {
        run_id: "run-1".to_owned(),
        name: "gate".to_owned(),
        position: 1,
        attempt: 2,
        status: Status::Succeeded,
        started_at: Some(at(1)),
        finished_at: Some(at(2)),
        detail_json: r#"{"rows":26280}"#.to_owned(),
    }
}

pub(crate) fn params() -> Vec<Param> {
    [("model.depth", "4"), ("seed", "7")]
        .map(|(name, value)| Param { name: name.to_owned(), value: value.to_owned() })
        .to_vec()
}

pub(crate) fn metrics() -> Vec<Metric> {
    [("coverage", 0.903, 0), ("mae_bp", 38.2, 0), ("mae_bp", f64::INFINITY, 1)]
        .map(|(name, value, step)| Metric { name: name.to_owned(), value, step })
        .to_vec()
}

pub(crate) fn artifacts() -> Vec<Artifact> {
    let place = [
        ("model", ArtifactPlace::Content(hash("bytes"))),
        ("report", ArtifactPlace::Path("reports/run-1.html".to_owned())),
    ];
    place
        .map(|(name, place)| Artifact { run_id: "run-1".to_owned(), name: name.to_owned(), place })
        .to_vec()
}

pub(crate) fn dataset() -> DatasetRecord {
    let snapshot = |layer: &str, version| Snapshot {
        layer: layer.to_owned(),
        table: "btc-usd-1h".to_owned(),
        version,
    };
    DatasetRecord {
        fingerprint: hash("dataset"),
        run_id: "run-1".to_owned(),
        instrument: "BTC-USD".parse().unwrap(),
        interval: Interval::HOUR,
        horizon: Interval::HOUR,
        feature_set: hash("set"),
        rows: 26_000,
        from: at(-90_000_000),
        to: at(0),
        known_at: at(0),
        created_at: at(3),
        snapshots: vec![snapshot("clean", 3), snapshot("features", 5)],
    }
}

pub(crate) fn version(run: &str, model: &str) -> ModelVersion {
    ModelVersion {
        name: "btc-usd-hourly".to_owned(),
        version: 1,
        run_id: run.to_owned(),
        spec_json: r#"{"kind":"random_walk"}"#.to_owned(),
        hash: hash(model),
        artifact: hash("bytes"),
        dataset: hash("dataset"),
        feature_set: hash("set"),
        fitted_as_of: at(0),
        train_from: at(-90_000_000),
        train_to: at(0),
        calibration_json: r#"{"version":1}"#.to_owned(),
        evaluation_json: r#"{"mae_bp":38.2}"#.to_owned(),
        created_at: at(4),
    }
}

pub(crate) fn calibration() -> Calibration {
    Calibration {
        model: "btc-usd-hourly".to_owned(),
        version: 1,
        as_of: at(3600),
        state_json: r#"{"version":1,"outcomes":1}"#.to_owned(),
    }
}

pub(crate) fn audit(action: &str, secs: i64) -> AuditEvent {
    AuditEvent {
        at: at(secs),
        actor: "pipeline".to_owned(),
        action: action.to_owned(),
        subject: "btc-usd-hourly".to_owned(),
        detail_json: r#"{"best_p":0.71}"#.to_owned(),
    }
}

pub(crate) fn forecast(id: &str, hour: i64) -> ForecastRecord {
    ForecastRecord {
        id: id.to_owned(),
        instrument: "BTC-USD".parse().unwrap(),
        model: "btc-usd-hourly".to_owned(),
        version: 1,
        alias: "champion".to_owned(),
        as_of: at(hour * 3600),
        target_time: at((hour + 1) * 3600),
        made_at: at(hour * 3600 + 3),
        horizon: Interval::HOUR,
        body_json: format!(r#"{{"id":"{id}","point":109541.0}}"#),
        feature_row_hash: hash("row"),
    }
}

pub(crate) fn outcome() -> Outcome {
    Outcome { forecast_id: "f_1".to_owned(), value: 109_600.5, known_at: at(3601) }
}

pub(crate) fn lock_box() -> LockBox {
    LockBox {
        instrument: "BTC-USD".parse().unwrap(),
        horizon: Interval::HOUR,
        from: at(-7_776_000),
        to: at(0),
    }
}

pub(crate) fn opening() -> LockBoxOpening {
    LockBoxOpening {
        instrument: "BTC-USD".parse().unwrap(),
        horizon: Interval::HOUR,
        recipe_hash: hash("recipe"),
        opened_at: at(5),
        result_json: Some(r#"{"mae_bp":39.0}"#.to_owned()),
    }
}

pub(crate) fn terms() -> TrialTerms {
    TrialTerms { interval: Interval::HOUR, cost_bp: 5.0, alpha: 0.1, coverage: 0.9 }
}

pub(crate) fn trial(run: &str, recipe: &str) -> Trial {
    Trial {
        id: Trial::id_of(run, &hash(recipe)),
        run_id: run.to_owned(),
        pipeline: "btc-usd-hourly".to_owned(),
        instrument: "BTC-USD".parse().unwrap(),
        horizon: Interval::HOUR,
        recipe_name: recipe.to_owned(),
        recipe_hash: hash(recipe),
        p_value: Some(0.71),
        alpha_spent: 0.05,
        rows: Some(hash("rows")),
        losses: vec![0.001, 0.0, -0.0, f64::MIN_POSITIVE, 1.0 / 3.0],
        returns: vec![0.0005, -0.0005],
        terms: Some(terms()),
        spread: Some(SpreadLosses { rows: hash("spread rows"), losses: vec![-8.5, -0.0] }),
        failure: None,
        created_at: at(6),
    }
}

/// The trial of a recipe that failed.
pub(crate) fn failed_trial(run: &str, recipe: &str) -> Trial {
    Trial {
        p_value: Some(1.0),
        rows: None,
        losses: Vec::new(),
        returns: Vec::new(),
        spread: None,
        failure: Some("failed in fold 3, seed 7: training diverged".to_owned()),
        ..trial(run, recipe)
    }
}

/// A trial as far as a schema version of its stored form had a place for it.
pub(crate) fn known_at(schema: i64, t: Trial) -> Trial {
    let terms = t.terms.filter(|_| schema >= 4);
    Trial { terms, spread: t.spread.filter(|_| schema >= 4), ..t }
}

/// Writes every record above, the trials as they were written under a schema version.
pub(crate) async fn fill(registry: &Registry, schema: i64) {
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.put_step(&step()).await.unwrap();
    registry.put_params("run-1", &params()).await.unwrap();
    registry.put_metrics("run-1", &metrics()).await.unwrap();
    registry.record_gaps(&finding("run-1", 5, &[(3, 2)])).await.unwrap();
    for artifact in artifacts() {
        registry.put_artifact(&artifact).await.unwrap();
    }
    registry.insert_dataset(&dataset()).await.unwrap();
    registry.insert_model_version(&version("run-1", "model")).await.unwrap();
    registry.insert_calibration(&calibration()).await.unwrap();
    registry.promote("btc-usd-hourly", 1, "champion", &audit("promote", 4)).await.unwrap();
    registry.insert_forecast(&forecast("f_1", 0)).await.unwrap();
    registry.insert_outcome(&outcome()).await.unwrap();
    registry.insert_lock_box(&lock_box()).await.unwrap();
    registry.open_lock_box(&opening()).await.unwrap();
    registry.insert_trials(&trials(schema)).await.unwrap();
    let lock_box = lock_box();
    let (instrument, horizon) = (&lock_box.instrument, lock_box.horizon);
    registry.insert_promotion_rate(instrument, horizon, terms().alpha).await.unwrap();
    for number in 0..2 {
        registry.insert_search_trial(&search("run-1"), &search_trial(number)).await.unwrap();
    }
}

/// A search of the run's final refit.
pub(crate) fn search(run_id: &str) -> Search {
    Search {
        run_id: run_id.to_owned(),
        recipe_name: "boosting".to_owned(),
        recipe_hash: hash("boosting"),
        kind: "gradient_boosting".to_owned(),
        fold: 0,
        study: hash("study"),
        rows: hash("judged rows"),
        judged: 3,
        splits: 3,
        created_at: at(40),
    }
}

/// A trial of it: the first was pruned.
pub(crate) fn search_trial(number: u64) -> SearchTrialRecord {
    let (state, judged) = if number == 0 { ("pruned", 1) } else { ("complete", 3) };
    SearchTrialRecord {
        study: hash("study"),
        rows: hash("judged rows"),
        number,
        state: state.to_owned(),
        settings_json: format!(r#"{{"depth":{}}}"#, 3 + number),
        steps: vec![0.002; judged],
        losses: [0.001, f64::NAN, 0.003][..judged].to_vec(),
        returns: vec![-0.0; judged],
        error: None,
        created_at: at(41),
    }
}

/// The trials of the run, in the order in which they are written, as far as a schema version
/// had a place for them.
pub(crate) fn trials(schema: i64) -> Vec<Trial> {
    let all = [trial("run-1", "ridge"), trial("run-1", "boosting"), failed_trial("run-1", "lstm")];
    let known = all.into_iter().filter(|t| schema >= 6 || t.failure.is_none());
    known.map(|t| known_at(schema, t)).collect()
}

/// What a run found missing in a day of hours, given as (first hour, hours).
pub(crate) fn finding(run: &str, secs: i64, missing: &[(i64, u64)]) -> GapFinding {
    let span = |(hour, intervals): &(i64, u64)| MissingSpan {
        from: at(hour * 3_600),
        to: at((hour + *intervals as i64) * 3_600),
        intervals: *intervals,
    };
    GapFinding {
        pipeline: "btc-usd-hourly".to_owned(),
        instrument: lock_box().instrument,
        interval: Interval::HOUR,
        from: at(0),
        to: at(86_400),
        missing: missing.iter().map(span).collect(),
        seen: Sighting { run: run.to_owned(), at: at(secs) },
    }
}

/// The record of the gap that [`fill`] writes.
pub(crate) fn gap() -> GapRecord {
    let GapFinding { pipeline, instrument, interval, missing, seen, .. } =
        finding("run-1", 5, &[(3, 2)]);
    let span = missing[0];
    GapRecord {
        seq: 1,
        pipeline,
        instrument,
        interval,
        span,
        first_seen: seen,
        closed: None,
        partly: false,
    }
}
