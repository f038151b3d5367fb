//! Search: as good as Optuna's, the same on any number of threads and after any
//! interruption, and blind to what comes after the rows it is given.

mod functions;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foretell_market::{Fingerprint, Interval};
use foretell_model::conformance::{check_estimator, planted};
use foretell_model::evaluate::{EvaluationPlan, EvaluationProgress, Recipe, evaluate};
use foretell_model::search::{Objective, Pruner, Range, Sampler, Space, TrialState};
use foretell_model::{
    Checkpoints, EstimatorSpec, FitContext, FitProgress, ModelError, SavedModel, SearchRecord,
    SearchSettings, SearchTrial, Study,
};
use foretell_panel::{Dataset, TrainWindow, WalkForward};

use functions::{best_of, functions};

fn reference() -> serde_json::Value {
    let text = include_str!("../../../tests/data/reference/search.json");
    serde_json::from_str(text).expect("the reference is committed")
}

/// The one-sided p-value of "ours are larger" (Mann and Whitney, 1947; normal
/// approximation with the correction for continuity, two samples of 20).
fn larger(ours: &[f64], theirs: &[f64]) -> f64 {
    let wins = |a: f64| theirs.iter().map(move |b| f64::from(a > *b) + 0.5 * f64::from(a == *b));
    let u: f64 = ours.iter().copied().flat_map(wins).sum();
    let (m, n) = (ours.len() as f64, theirs.len() as f64);
    let z = (u - m * n / 2.0 - 0.5) / (m * n * (m + n + 1.0) / 12.0).sqrt();
    foretell_model::evaluate::special::normal_cdf(-z)
}

#[test]
fn the_functions_are_those_of_the_reference() {
    let fixed = &reference()["fixed"];
    let all = functions();
    let arguments = |name: &str| -> BTreeMap<String, serde_json::Value> {
        let pairs: Vec<(String, serde_json::Value)> = match name {
            "branin" => vec![("x".into(), 2.5.into()), ("y".into(), 7.5.into())],
            "hartmann6" => {
                (0..6).map(|j| (format!("x{j}"), (0.1 + 0.15 * f64::from(j)).into())).collect()
            }
            "rosenbrock4" => {
                (0..4).map(|j| (format!("x{j}"), (0.5 - 0.4 * f64::from(j)).into())).collect()
            }
            _ => vec![
                ("eta".into(), 0.1.into()),
                ("depth".into(), 9.into()),
                ("rounds".into(), 77.into()),
                ("word".into(), "c".into()),
                ("share".into(), 0.45.into()),
            ],
        };
        pairs.into_iter().collect()
    };
    for function in all {
        let expected = fixed[function.name].as_f64().unwrap();
        let value = (function.value)(&arguments(function.name));
        foretell_testkit::assert_close(value, expected, 1e-12);
    }
}

#[test]
fn after_fifty_trials_it_is_no_worse_than_optuna() {
    let reference = reference();
    let found = |function: &functions::Function, sampler, batch| -> Vec<f64> {
        (0..20).map(|seed| best_of(function, sampler, 50, batch, seed)).collect()
    };
    let peers = |name: &str, function: &functions::Function| -> Option<Vec<f64>> {
        let values = reference["best"][name][function.name].as_array()?;
        Some(values.iter().filter_map(serde_json::Value::as_f64).collect())
    };
    // Chance against chance says nothing: random search is only what both must beat.
    let samplers = [(Sampler::Tpe, "tpe"), (Sampler::CmaEs, "cmaes")];
    for (sampler, peer) in samplers {
        for function in functions() {
            let Some(theirs) = peers(peer, &function) else { continue };
            assert_eq!(theirs.len(), 20, "twenty seeds");
            let ours = found(&function, sampler, 1);
            let p = larger(&ours, &theirs);
            assert!(p > 0.05, "{sampler:?} on {}: p = {p:.4}\n{ours:?}", function.name);
        }
    }
    // Asking for two at once costs a little and stays better than chance.
    for function in functions() {
        let theirs = peers("random", &function).unwrap();
        let p = larger(&found(&function, Sampler::Tpe, 2), &theirs);
        assert!(p > 0.95, "{}: p = {p:.4}", function.name);
    }
}

fn spec(settings: SearchSettings) -> EstimatorSpec {
    EstimatorSpec::Search(Box::new(settings))
}

fn boosting() -> SearchSettings {
    let base = r#"{"kind":"gradient_boosting","rounds":20,"min_child_weight":10.0,"eta":0.1}"#;
    let ranges = [
        ("rounds", Range::Whole { from: 5, to: 40, log: false }),
        ("depth", Range::Whole { from: 1, to: 5, log: false }),
        ("eta", Range::Number { from: 0.02, to: 0.4, log: true }),
        ("subsample", Range::Number { from: 0.5, to: 1.0, log: false }),
    ];
    let space = Space(ranges.into_iter().map(|(n, r)| (n.to_owned(), r)).collect());
    SearchSettings {
        trials: 16,
        batch: 3,
        ..SearchSettings::new(serde_json::from_str(base).expect("a model"), space)
    }
}

fn ridge(trials: usize) -> SearchSettings {
    let alpha = Range::Number { from: 1e-3, to: 1e6, log: true };
    let space = Space([("alpha".to_owned(), alpha)].into());
    SearchSettings {
        trials,
        ..SearchSettings::new(EstimatorSpec::named("ridge").expect("a kind"), space)
    }
}

/// What was heard of a fit; stops it after some trials.
#[derive(Default)]
struct Ear {
    stop: AtomicBool,
    stop_after: Option<usize>,
    ended: AtomicUsize,
    resumed: Mutex<Vec<usize>>,
    in_time: Option<usize>,
}

impl FitProgress for Ear {
    fn steps(&self, _done: u64, _total: u64) {}

    fn trial(&self, _study: &Study, _trial: &SearchTrial) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if Some(ended) == self.stop_after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn resumed(&self, _study: &Study, done: usize) {
        self.resumed.lock().expect("no panic before").push(done);
    }

    fn in_time(&self, _study: &Study, _budget: Interval, trials: usize) -> bool {
        self.in_time.is_none_or(|most| trials < most)
    }
}

/// Keeps everything, at once.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, Vec<u8>>>);

impl Checkpoints for Shelf {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().expect("no panic before").get(key).cloned()
    }

    fn save(&self, key: &str, state: &dyn Fn() -> Vec<u8>) {
        self.0.lock().expect("no panic before").insert(key.to_owned(), state());
    }
}

fn fit(
    spec: &EstimatorSpec,
    rows: &Dataset,
    threads: usize,
    ear: &Ear,
    shelf: Option<&Shelf>,
) -> Result<(SearchRecord, Fingerprint), ModelError> {
    let checkpoints = shelf.map(|s| s as &dyn Checkpoints);
    let context = FitContext {
        seed: 7,
        threads,
        stop: &ear.stop,
        progress: ear,
        checkpoints,
        accelerator: None,
    };
    let fitted = spec.build()?.fit(rows, &context)?;
    let saved = SavedModel::new(&*fitted, spec, rows, 7, "test");
    Ok((fitted.search().expect("it was searched").clone(), saved.hash()))
}

#[test]
fn a_search_conforms() {
    check_estimator(&spec(ridge(6)));
    check_estimator(&spec(SearchSettings { trials: 5, pruner: Pruner::None, ..boosting() }));
}

#[test]
fn what_is_found_is_the_best_complete_trial_and_no_worse_than_what_was_written() {
    let rows = planted(600, 1);
    let settings = boosting();
    let (record, _) = fit(&spec(settings.clone()), &rows, 2, &Ear::default(), None).unwrap();
    assert_eq!(record.trials.len(), 16);
    let complete = record.trials.iter().filter(|t| t.state == TrialState::Complete);
    let least = complete.filter_map(SearchTrial::objective).fold(f64::INFINITY, f64::min);
    let found = record.best().objective().unwrap();
    assert_eq!(found, least);
    assert_eq!(record.trials[0].settings["rounds"], 20, "the first trial is what was written");
    assert!(found < record.trials[0].objective().unwrap(), "and sixteen find something better");
    assert_eq!(record.spec, settings.with(&record.best().settings).unwrap());
    let mean = |t: &SearchTrial| t.losses.iter().sum::<f64>() / t.losses.len() as f64;
    for trial in &record.trials {
        foretell_testkit::assert_close(mean(trial), trial.objective().unwrap(), 1e-12);
        let whole = trial.state == TrialState::Complete;
        assert_eq!(whole, trial.losses.len() == record.study.judged);
        assert_eq!(trial.returns.len(), trial.losses.len());
    }
    assert!(record.trials.iter().any(|t| t.state == TrialState::Pruned), "some are given up");
}

#[test]
fn threads_and_interruptions_change_nothing() {
    let rows = planted(600, 1);
    let spec = spec(boosting());
    let whole = fit(&spec, &rows, 1, &Ear::default(), None).unwrap();
    for threads in [2, 5] {
        assert_eq!(fit(&spec, &rows, threads, &Ear::default(), None).unwrap(), whole);
    }
    let shelf = Shelf::default();
    // Interrupted twice, in the middle of batches.
    for (after, there) in [(5, None), (11, Some(5))] {
        let ear = Ear { stop_after: Some(after), ..Ear::default() };
        let error = fit(&spec, &rows, 1, &ear, Some(&shelf)).unwrap_err();
        assert!(matches!(error, ModelError::Stopped { .. }), "{error}");
        assert_eq!(ear.resumed.lock().unwrap().first().copied(), there);
    }
    let ear = Ear::default();
    assert_eq!(fit(&spec, &rows, 2, &ear, Some(&shelf)).unwrap(), whole);
    assert_eq!(*ear.resumed.lock().unwrap(), [11]);
    assert_eq!(ear.ended.load(Ordering::Relaxed), 16, "trials of before are told again");
    // More trials go on from those that are there; fewer are the first of them.
    let EstimatorSpec::Search(settings) = &spec else { unreachable!() };
    let more = self::spec(SearchSettings { trials: 20, ..(**settings).clone() });
    let ear = Ear::default();
    let (longer, _) = fit(&more, &rows, 2, &ear, Some(&shelf)).unwrap();
    assert_eq!(longer.trials[..15], whole.0.trials[..15]);
    assert_eq!(*ear.resumed.lock().unwrap(), [16]);
    // A checkpoint of other rows is another key; one that is damaged is not read.
    shelf.0.lock().unwrap().values_mut().for_each(|bytes| bytes.truncate(9));
    assert_eq!(fit(&spec, &rows, 2, &Ear::default(), Some(&shelf)).unwrap(), whole);
}

#[test]
fn a_budget_of_time_ends_at_a_trial_that_can_be_replayed() {
    let rows = planted(500, 1);
    let settings = SearchSettings { time_budget: Some(Interval::HOUR), batch: 1, ..ridge(30) };
    let ear = Ear { in_time: Some(7), ..Ear::default() };
    let (timed, hash) = fit(&spec(settings.clone()), &rows, 1, &ear, None).unwrap();
    assert_eq!(timed.trials.len(), 7);
    let again = Ear { in_time: Some(7), ..Ear::default() };
    assert_eq!(fit(&spec(settings), &rows, 2, &again, None).unwrap().1, hash);
    let (counted, _) =
        fit(&spec(SearchSettings { batch: 1, ..ridge(7) }), &rows, 1, &Ear::default(), None)
            .unwrap();
    assert_eq!(counted.trials, timed.trials);
}

#[test]
fn settings_that_cannot_be_fitted_fail_alone() {
    let base = r#"{"kind":"mlp","units":[4],"epochs":3,"learning_rate":0.01}"#;
    let decay = Range::OneOf(vec![0.0.into(), 1e6.into()]);
    let space = Space([("weight_decay".to_owned(), decay)].into());
    let settings = SearchSettings::new(serde_json::from_str(base).expect("a model"), space);
    let grid = SearchSettings { sampler: Sampler::Grid, ..settings };
    let (record, _) = fit(&spec(grid.clone()), &planted(500, 1), 1, &Ear::default(), None).unwrap();
    assert_eq!(record.trials.len(), 2, "a grid ends with its last point");
    let failed: Vec<&SearchTrial> =
        record.trials.iter().filter(|t| t.state == TrialState::Failed).collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].error.as_ref().unwrap().contains("diverged"));
    assert_eq!(record.best().settings["weight_decay"], 0.0);
    let only = Range::OneOf(vec![1e6.into()]);
    let space = Space([("weight_decay".to_owned(), only)].into());
    let error =
        fit(&spec(SearchSettings { space, ..grid }), &planted(500, 1), 1, &Ear::default(), None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("none of 1 trials") && error.contains("learning_rate"), "{error}");
}

#[test]
fn what_cannot_be_searched_is_refused_with_the_remedy() {
    let refused = |settings: SearchSettings| spec(settings).build().unwrap_err().to_string();
    let with = |name: &str, range: Range| SearchSettings {
        space: Space([(name.to_owned(), range)].into()),
        ..ridge(5)
    };
    let line = |from: f64, to: f64| Range::Number { from, to, log: false };
    assert!(refused(with("depth", line(1.0, 2.0))).contains("ridge has no such setting"));
    assert!(refused(with("kind", line(1.0, 2.0))).contains("no such setting"));
    assert!(refused(with("alpha", line(-1.0, 2.0))).contains("`alpha` = -1"));
    assert!(refused(with("alpha", line(3.0, 2.0))).contains("begins above its end"));
    let zero = Range::Number { from: 0.0, to: 1.0, log: true };
    assert!(refused(with("alpha", zero)).contains("logarithmic"));
    assert!(
        refused(SearchSettings { space: Space::default(), ..ridge(5) }).contains("at least one")
    );
    assert!(refused(SearchSettings { trials: 0, ..ridge(5) }).contains("give 1 to 10000"));
    let twice = SearchSettings { base: spec(ridge(5)), ..ridge(5) };
    assert!(refused(twice).contains("search for the settings of a search"));
    let fine = SearchSettings { sampler: Sampler::Grid, points: 1_000, ..boosting() };
    assert!(refused(fine).contains("lower `points`"));
    let rows = planted(30, 1);
    let error =
        fit(&spec(SearchSettings { splits: 20, ..ridge(3) }), &rows, 1, &Ear::default(), None);
    assert!(matches!(error, Err(ModelError::TooFewRows { .. })));
}

#[test]
fn every_sampler_and_objective_runs() {
    let rows = planted(500, 1);
    for sampler in [Sampler::Tpe, Sampler::Random, Sampler::Grid, Sampler::CmaEs] {
        let settings = SearchSettings { sampler, objective: Objective::Mae, ..ridge(12) };
        let (record, _) = fit(&spec(settings), &rows, 2, &Ear::default(), None).unwrap();
        let expected = if sampler == Sampler::Grid { 5 } else { 12 };
        assert_eq!(record.trials.len(), expected, "{sampler:?}");
    }
    let hyperband = SearchSettings { pruner: Pruner::Hyperband, splits: 9, ..ridge(17) };
    let (record, _) = fit(&spec(hyperband), &rows, 2, &Ear::default(), None).unwrap();
    assert!(record.trials.iter().any(|t| t.state == TrialState::Pruned));
}

/// Which trials each fold of an evaluation had.
#[derive(Default)]
struct Folds(Mutex<BTreeMap<usize, BTreeMap<usize, SearchTrial>>>);

impl EvaluationProgress for Folds {
    fn fitting(&self, _recipe: &str, _fold: usize, _folds: usize) {}
    fn steps(&self, _done: u64, _total: u64) {}

    fn trial(&self, _recipe: &str, fold: usize, _study: &Study, trial: &SearchTrial) {
        let mut all = self.0.lock().expect("no panic before");
        all.entry(fold).or_default().insert(trial.number, trial.clone());
    }
}

fn walk(rows: &Dataset, every: usize, threads: usize) -> (Vec<f64>, Folds) {
    let hours = |h: i64| Interval::from_secs(h * 3600).expect("a length");
    let walk_forward = WalkForward {
        initial_train: hours(400),
        refit_every: hours(60),
        window: TrainWindow::Expanding,
    };
    let plan =
        EvaluationPlan { threads, bootstrap_draws: 100, ..EvaluationPlan::new(walk_forward) };
    let recipe =
        Recipe { name: "searched".to_owned(), spec: spec(SearchSettings { every, ..ridge(8) }) };
    let folds = Folds::default();
    let evaluation = evaluate(rows, None, &[recipe], &plan, &AtomicBool::new(false), &folds);
    let evaluation = evaluation.expect("the rows can be judged");
    (evaluation.recipe("searched").expect("it was judged").losses.clone(), folds)
}

#[test]
fn a_walk_forward_evaluation_searches_inside_its_folds_and_never_looks_ahead() {
    let rows = planted(640, 3);
    let (losses, folds) = walk(&rows, 1, 1);
    let of = |folds: &Folds| folds.0.lock().unwrap().clone();
    assert_eq!(of(&folds).keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    let (same, again) = walk(&rows, 1, 4);
    assert_eq!((&same, of(&again)), (&losses, of(&folds)), "threads change nothing");
    // Every second fold searches, the others use what was found before them.
    let (_, second) = walk(&rows, 2, 2);
    assert_eq!(of(&second).keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(of(&second)[&3], of(&folds)[&3]);
    // What comes after the first fit of a fold changes no trial of it.
    let mut garbage = rows.clone();
    garbage.labels[520..].iter_mut().for_each(|l| l.value *= -10.0);
    let (_, other) = walk(&garbage, 1, 2);
    for fold in 1..=3 {
        assert_eq!(of(&other)[&fold], of(&folds)[&fold], "fold {fold}");
    }
    assert_ne!(of(&other)[&4], of(&folds)[&4]);
}
