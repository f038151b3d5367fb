//! The walk as a whole: no skill where there is none, nothing seen early, the same on
//! any number of threads, stoppable, storable.

mod markets;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foretell_model::evaluate::{
    CalibrationState, Evaluation, EvaluationPlan, EvaluationProgress, RANDOM_WALK, Recipe,
    decide_promotion, evaluate,
};
use foretell_model::{EstimatorSpec, ModelError};
use foretell_panel::{Dataset, Matrix};
use markets::{baselines, dataset, plan, random_walk, recipe};

fn run(dataset: &Dataset, recipes: &[Recipe], plan: &EvaluationPlan) -> Evaluation {
    evaluate(dataset, None, recipes, plan, &AtomicBool::new(false), &()).expect("recipes fit")
}

fn json(evaluation: &Evaluation) -> String {
    serde_json::to_string(evaluation).expect("it can be stored")
}

/// Planted-leak check: on a seeded random walk an evaluation that leaks would find
/// skill; this one finds none, and its intervals still cover.
#[test]
fn a_random_walk_shows_no_skill_and_calibrated_intervals() {
    let mut best = Vec::new();
    for seed in 0..12 {
        let rows = dataset(&random_walk(3_000, seed), 1);
        let evaluation = run(&rows, &baselines(), &plan(30, 15));
        let decision = decide_promotion(&evaluation, None, 0.1, 0);
        assert_eq!(decision.winner, RANDOM_WALK, "seed {seed}: {}", decision.reason);
        assert!(decision.reason.starts_with("no better than a random walk (p = "));
        best.push(decision.best_p);
        for r in &evaluation.recipes {
            let (name, metrics) = (&r.name, &r.metrics);
            assert!(metrics.relative_mae > 0.985, "seed {seed} {name}: {metrics:?}");
            assert!((metrics.coverage - 0.9).abs() < 0.02, "seed {seed} {name}: {metrics:?}");
            assert_eq!(r.adaptive.unbounded_rows, 0);
            assert!((r.own.coverage - 0.9).abs() < 0.04, "seed {seed} {name}");
        }
        // Constant variance: the exponential mean must not look skilled.
        let spread = evaluation.recipe("ewma_volatility").unwrap().spread.clone().unwrap();
        assert!(spread.p_value > 0.05, "seed {seed}: {spread:?}");
    }
    assert!(best.iter().filter(|p| **p < 0.1).count() <= 3, "{best:?}");
}

/// The counter-check: when the answer really is among the features, it is found.
#[test]
fn a_leaked_label_shows_as_skill() {
    let mut rows = dataset(&random_walk(2_500, 1), 1);
    let mut features = rows.features.as_slice().to_vec();
    let columns = rows.feature_names.len();
    for (i, label) in rows.labels.iter().enumerate() {
        features[i * columns] = label.value;
    }
    rows.features = Matrix::new(rows.len(), columns, features);
    let evaluation = run(&rows, &baselines(), &plan(30, 15));
    let decision = decide_promotion(&evaluation, None, 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.skilled), ("ridge", true));
    assert!(evaluation.recipe("ridge").unwrap().metrics.relative_mae < 0.2);
}

/// What is said about a row must not change when everything later is replaced.
#[test]
fn nothing_later_moves_an_earlier_forecast_or_interval() {
    for steps in [1usize, 6] {
        let rows = dataset(&random_walk(2_000, 4), steps);
        let plan = EvaluationPlan { bootstrap_draws: 10, ..plan(30, 10) };
        let before = run(&rows, &baselines(), &plan);
        let cut = 1_500;
        let decided = rows.labels[cut].start;
        let mut garbage = rows.clone();
        let columns = rows.feature_names.len();
        let mut features = rows.features.as_slice().to_vec();
        features[cut * columns..].iter_mut().for_each(|v| *v = 7.0 - *v);
        garbage.features = Matrix::new(rows.len(), columns, features);
        for label in &mut garbage.labels {
            if label.end > decided {
                label.value = 0.5 - label.value;
            }
        }
        let after = run(&garbage, &baselines(), &plan);
        let first = before.times[0];
        let same = rows.labels[..cut].iter().filter(|l| l.start >= first).count();
        assert!(same > 500 && same < before.times.len());
        for (a, b) in before.recipes.iter().zip(&after.recipes) {
            assert_eq!(a.quantiles[..same * 9], b.quantiles[..same * 9], "{} {steps}", a.name);
            assert_eq!(a.lower[..same], b.lower[..same], "{} {steps}", a.name);
            assert_eq!(a.upper[..same], b.upper[..same], "{} {steps}", a.name);
            assert_ne!(a.upper[same..], b.upper[same..], "{} {steps}", a.name);
        }
    }
}

/// A label whose price was corrected counts from when the correction was known, and holds
/// up none of the labels after it.
#[test]
fn a_corrected_label_moves_nothing_before_it_was_known() {
    for steps in [1usize, 6] {
        let plain = dataset(&random_walk(2_000, 4), steps);
        let plan = EvaluationPlan { bootstrap_draws: 10, ..plan(30, 10) };
        let (known, rows) = (1_500, [200usize, 900, 1_200, 1_201]);
        let corrected = |value: f64| {
            let mut rows_of = plain.clone();
            for row in rows {
                rows_of.labels[row].value = value;
                rows_of.labels[row].end = plain.labels[known].start;
            }
            rows_of
        };
        let (a, b) = (corrected(0.2), corrected(-0.3));
        let (a, b) = (run(&a, &baselines(), &plan), run(&b, &baselines(), &plan));
        let same = a.times.partition_point(|t| *t < plain.labels[known].start);
        assert!(same > 500 && same < a.times.len());
        for (a, b) in a.recipes.iter().zip(&b.recipes) {
            assert_eq!(a.quantiles[..same * 9], b.quantiles[..same * 9], "{} {steps}", a.name);
            assert_eq!(a.lower[..same], b.lower[..same], "{} {steps}", a.name);
            assert_eq!(a.upper[..same], b.upper[..same], "{} {steps}", a.name);
            assert_ne!(a.upper[same..], b.upper[same..], "{} {steps}", a.name);
        }
        // Later fits use them; earlier ones go on learning from all others.
        for (a, all) in a.folds.iter().zip(&run(&plain, &baselines(), &plan).folds) {
            let ended = |&&row: &&usize| plain.labels[row].end <= all.fit_at;
            let waits = a.fit_at < plain.labels[known].start;
            let late = if waits { rows.iter().filter(ended).count() } else { 0 };
            assert_eq!(a.train_rows + late, all.train_rows, "{}", a.fit_at);
        }
    }
}

#[test]
fn the_number_of_threads_and_a_second_run_change_nothing() {
    let rows = dataset(&random_walk(1_800, 2), 3);
    let forest = Recipe {
        name: "forest".to_owned(),
        spec: serde_json::from_str(r#"{"kind":"random_forest","trees":5,"depth":4}"#).unwrap(),
    };
    let recipes: Vec<Recipe> = baselines().into_iter().chain([forest]).collect();
    let on = |threads| json(&run(&rows, &recipes, &EvaluationPlan { threads, ..plan(30, 10) }));
    let one = on(1);
    assert_eq!(one, on(1));
    assert_eq!(one, on(2));
    assert_eq!(one, on(100));
}

#[test]
fn an_evaluation_survives_storing_and_its_calibration_goes_on() {
    let rows = dataset(&random_walk(1_500, 3), 1);
    let evaluation = run(&rows, &baselines(), &plan(30, 10));
    let text = json(&evaluation);
    let back: Evaluation = serde_json::from_str(&text).unwrap();
    assert_eq!(json(&back), text);
    let walk = back.random_walk();
    assert!(walk.metrics.directional_accuracy.is_nan(), "NaN came back from null");
    assert_eq!(walk.calibration, evaluation.random_walk().calibration);
    assert_eq!(walk.calibration.realised_coverage().1, 500);
    let small = evaluation.summary();
    assert!(json(&small).len() < text.len() / 4);
    assert_eq!(small.random_walk().metrics.mae_bp, walk.metrics.mae_bp);
    // The calibration is the one that has seen every row.
    let mut state = CalibrationState::new(0.9).unwrap();
    for (row, outcome) in evaluation.outcomes.iter().enumerate() {
        let (lower, upper) = state.interval(walk.quantiles_of(row));
        assert_eq!((lower, upper), (walk.lower[row], walk.upper[row]));
        state.update(walk.quantiles_of(row), *outcome);
    }
    assert_eq!(state, walk.calibration);
}

#[test]
fn stored_forms_of_version_1_are_read_for_good() {
    let mut state: CalibrationState =
        serde_json::from_str(include_str!("../../../tests/data/evaluation/calibration-v1.json"))
            .unwrap();
    // Of −0.2, 0, 0.1, 0.4 the third is the smallest that three quarters do not exceed:
    // each side of the middle half grows by a tenth of its width.
    let quantiles = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0];
    assert_eq!(state.interval(&quantiles), (-1.2, 1.2));
    assert_eq!(state.realised_coverage(), (0.75, 4));
    state.update(&quantiles, 5.0);
    assert_eq!(state.long_run_misses(), (0.5, 8));
    // The miss asks for a little more than three quarters, so for the largest score: its
    // own, two widths.
    assert_eq!(state.interval(&quantiles), (-5.0, 5.0));

    let text = include_str!("../../../tests/data/evaluation/evaluation-v1.json");
    let evaluation: Evaluation = serde_json::from_str(text).unwrap();
    assert_eq!((evaluation.version, evaluation.folds.len(), evaluation.recipes.len()), (1, 3, 2));
    assert!(evaluation.recipe("drift").unwrap().sharpe.sharpe.is_finite());
    // Its volatility was judged on every row, against the season before.
    let volatility = evaluation.volatility.unwrap();
    assert_eq!((volatility.span, volatility.rows), (None, 52));
    assert!(volatility.versus_previous.p_value() < volatility.versus_constant.p_value());
    let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
    let error = serde_json::from_str::<Evaluation>(&newer).unwrap_err().to_string();
    assert!(error.contains("version 2") && error.contains("evaluate again"), "{error}");
}

/// Hears and can stop.
#[derive(Default)]
struct Listener {
    calls: Mutex<Vec<(String, usize, usize)>>,
    highest: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    stop_at: Option<usize>,
}

impl EvaluationProgress for Listener {
    fn fitting(&self, recipe: &str, fold: usize, folds: usize) {
        let mut calls = self.calls.lock().expect("no panic before");
        calls.push((recipe.to_owned(), fold, folds));
        if Some(calls.len()) == self.stop_at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn steps(&self, done: u64, total: u64) {
        self.highest.fetch_max(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}

#[test]
fn progress_reaches_its_end_and_a_stop_ends_it() {
    let rows = dataset(&random_walk(1_200, 5), 1);
    let all = Listener::default();
    let recipes = baselines();
    let evaluation = evaluate(&rows, None, &recipes, &plan(20, 10), &all.stop, &all).unwrap();
    let tasks = evaluation.folds.len() * recipes.len();
    assert_eq!(all.calls.lock().unwrap().len(), tasks);
    assert_eq!(all.highest.load(Ordering::Relaxed), all.total.load(Ordering::Relaxed));
    let stopped = Listener { stop_at: Some(4), ..Listener::default() };
    let error =
        evaluate(&rows, None, &recipes, &plan(20, 10), &stopped.stop, &stopped).unwrap_err();
    assert!(matches!(error, ModelError::Stopped { .. }), "{error}");
    assert!(stopped.calls.lock().unwrap().len() < tasks);
}

#[test]
fn the_random_walk_is_always_there_and_bad_requests_name_their_remedy() {
    let rows = dataset(&random_walk(1_200, 6), 1);
    let alone = run(&rows, &[recipe("drift")], &plan(20, 10));
    assert_eq!(alone.recipes[0].name, RANDOM_WALK);
    assert_eq!(alone.recipes[0].spec, EstimatorSpec::RandomWalk);
    assert_eq!(alone.random_walk().metrics.relative_mae, 1.0);
    let refused = |rows: &Dataset, recipes: &[Recipe], plan: &EvaluationPlan| {
        evaluate(rows, None, recipes, plan, &AtomicBool::new(false), &()).unwrap_err().to_string()
    };
    let twice = refused(&rows, &[recipe("drift"), recipe("drift")], &plan(20, 10));
    assert!(twice.contains("two recipes are named `drift`"), "{twice}");
    let mut unlabelled = rows.clone();
    unlabelled.labels[17].value = f64::NAN;
    let hole = refused(&unlabelled, &[], &plan(20, 10));
    assert!(hole.contains("row 17"), "{hole}");
    let short = refused(&rows, &[], &plan(300, 10));
    assert!(short.contains("initial_train"), "{short}");
    let level = refused(&rows, &[], &EvaluationPlan { level: 1.0, ..plan(20, 10) });
    assert!(level.contains("level"), "{level}");
}

#[test]
fn folds_purge_what_was_not_known_and_metrics_agree_with_the_series() {
    let rows = dataset(&random_walk(1_500, 7), 6);
    let evaluation = run(&rows, &baselines(), &plan(30, 10));
    assert_eq!(evaluation.steps, 6);
    for fold in &evaluation.folds {
        assert!(fold.train_to <= fold.fit_at && fold.fit_at <= evaluation.times[fold.first_row]);
        assert_eq!(fold.purged, 5);
    }
    for r in &evaluation.recipes {
        let mean = r.losses.iter().sum::<f64>() / r.losses.len() as f64;
        assert!((r.metrics.mae_bp - mean * 1e4).abs() < 1e-9);
        let weighted: f64 =
            r.folds.iter().zip(&evaluation.folds).map(|(m, f)| m.mae_bp * f.rows as f64).sum();
        assert!((weighted / evaluation.times.len() as f64 - r.metrics.mae_bp).abs() < 1e-9);
        let range = r.metrics.mae_bp_interval;
        assert!(range.lower < r.metrics.mae_bp && r.metrics.mae_bp < range.upper);
        let skill = r.versus_random_walk.skill_interval;
        assert!(r.is_random_walk() || skill.lower <= r.versus_random_walk.skill);
        assert!(r.is_random_walk() || r.versus_random_walk.skill <= skill.upper);
    }
}
