//! Runs and what belongs to them.

use foretell_registry::{
    Artifact, ArtifactPlace, Metric, Param, RegistryError, RunFilter, Status, Step, Written,
};

use crate::sample::{at, metrics, params, registry, run, step};

#[tokio::test]
async fn runs_are_listed_last_first_in_a_stable_order_and_page() {
    let (_dir, registry) = registry().await;
    for (id, secs) in [("b", 5), ("a", 5), ("c", 1), ("d", 9)] {
        registry.insert_run(&run(id, secs)).await.unwrap();
    }
    let ids = async |filter: RunFilter| {
        let runs = registry.runs(&filter).await.unwrap();
        runs.into_iter().map(|r| r.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(RunFilter::default()).await, ["d", "b", "a", "c"]);
    let mut seen = Vec::new();
    let mut filter = RunFilter { limit: Some(1), ..RunFilter::default() };
    while let Some(last) = registry.runs(&filter).await.unwrap().pop() {
        filter.after = Some(last.cursor());
        seen.push(last.id);
    }
    assert_eq!(seen, ["d", "b", "a", "c"]);
    let mut other = run("e", 3);
    other.pipeline = "eth".to_owned();
    other.status = Status::Failed;
    registry.insert_run(&other).await.unwrap();
    let eth = RunFilter { pipeline: Some("eth".to_owned()), ..RunFilter::default() };
    assert_eq!(ids(eth).await, ["e"]);
    let failed = RunFilter { status: Some(Status::Failed), ..RunFilter::default() };
    assert_eq!(ids(failed).await, ["e"]);
    let none = RunFilter { kind: Some("train".to_owned()), ..RunFilter::default() };
    assert_eq!(ids(none).await, [""; 0]);
}

#[tokio::test]
async fn a_run_is_recorded_once_and_its_status_moves_on() {
    let (_dir, registry) = registry().await;
    assert_eq!(registry.insert_run(&run("r", 0)).await.unwrap(), Written::New);
    let error = Some("gate refused 2 of 26,280 rows");
    registry.set_run_status("r", Status::Refused, Some(at(8)), error).await.unwrap();
    let stored = registry.run("r").await.unwrap();
    assert_eq!((stored.status, stored.finished_at), (Status::Refused, Some(at(8))));
    assert_eq!(stored.error.as_deref(), error);
    // The same beginning again changes nothing, least of all the status.
    assert_eq!(registry.insert_run(&run("r", 0)).await.unwrap(), Written::Same);
    assert_eq!(registry.run("r").await.unwrap(), stored);
    let mut other = run("r", 0);
    other.config_json = "{}".to_owned();
    let error = registry.insert_run(&other).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { kind: "run", .. }), "{error}");
    let error = registry.set_run_status("x", Status::Failed, None, None).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no run `x` in the registry");
    other.id = "y".to_owned();
    other.config_json = "horizon = 1h".to_owned();
    let error = registry.insert_run(&other).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { kind: "run", .. }), "{error}");
}

#[tokio::test]
async fn what_a_dead_process_left_at_work_is_cancelled() {
    let (_dir, registry) = registry().await;
    let mut done = run("run-0", -5);
    done.status = Status::Succeeded;
    registry.insert_run(&done).await.unwrap();
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.put_step(&step()).await.unwrap();
    let train = Step {
        name: "train".to_owned(),
        position: 2,
        status: Status::Running,
        finished_at: None,
        ..step()
    };
    registry.put_step(&train).await.unwrap();
    assert_eq!(registry.cancel_unfinished(at(60)).await.unwrap(), ["run-1"]);
    let stored = registry.run("run-1").await.unwrap();
    assert_eq!((stored.status, stored.finished_at), (Status::Cancelled, Some(at(60))));
    assert!(stored.status.is_final());
    let steps = registry.steps("run-1").await.unwrap();
    let states: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.status)).collect();
    assert_eq!(states, [("gate", Status::Succeeded), ("train", Status::Cancelled)]);
    assert_eq!(registry.run("run-0").await.unwrap(), done);
    assert_eq!(registry.cancel_unfinished(at(61)).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn parts_of_a_run_are_replaced_by_name_and_need_their_run() {
    let (_dir, registry) = registry().await;
    let error = registry.put_metrics("run-1", &metrics()).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");
    assert_eq!(registry.metrics("run-1").await.unwrap(), []);
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.put_params("run-1", &params()).await.unwrap();
    let seed = Param { name: "seed".to_owned(), value: "8".to_owned() };
    registry.put_params("run-1", std::slice::from_ref(&seed)).await.unwrap();
    assert_eq!(registry.params("run-1").await.unwrap(), [params()[0].clone(), seed]);
    let nan = Metric { name: "r2".to_owned(), value: f64::NAN, step: 0 };
    registry.put_metrics("run-1", &[nan]).await.unwrap();
    assert!(registry.metrics("run-1").await.unwrap()[0].value.is_nan());
    registry.put_step(&step()).await.unwrap();
    let retried = Step { attempt: 3, status: Status::Failed, ..step() };
    registry.put_step(&retried).await.unwrap();
    assert_eq!(registry.steps("run-1").await.unwrap(), [retried]);
}

#[tokio::test]
async fn an_absolute_path_is_refused() {
    let (dir, registry) = registry().await;
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    let artifact = |path: String| Artifact {
        run_id: "run-1".to_owned(),
        name: "report".to_owned(),
        place: ArtifactPlace::Path(path),
    };
    let absolute = dir.path().join("report.html").to_string_lossy().into_owned();
    let error = registry.put_artifact(&artifact(absolute)).await.unwrap_err().to_string();
    assert!(error.contains("write it relative to the directory"), "{error}");
    registry.put_artifact(&artifact("reports/a.html".to_owned())).await.unwrap();
    assert_eq!(registry.artifacts("run-1").await.unwrap().len(), 1);
}
