//! Seeds, folds and finished fits: further seeds change what is said of the first in nothing,
//! the last folds are those of the whole walk, an interrupted evaluation goes on to the bit.

mod markets;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foretell_model::evaluate::{
    Evaluation, EvaluationPlan, EvaluationProgress, FinishedFits, Recipe, evaluate,
};
use foretell_model::{EstimatorSpec, ModelError};
use foretell_panel::Dataset;
use markets::{dataset, plan, random_walk, recipe};

fn recipes() -> Vec<Recipe> {
    let forest: EstimatorSpec =
        serde_json::from_str(r#"{"kind":"random_forest","trees":4,"depth":3}"#).expect("settings");
    vec![recipe("ridge"), Recipe { name: "forest".to_owned(), spec: forest }]
}

fn rows() -> Dataset {
    dataset(&random_walk(1_500, 5), 1)
}

fn run(plan: &EvaluationPlan, progress: &dyn EvaluationProgress) -> Result<Evaluation, ModelError> {
    evaluate(&rows(), None, &recipes(), plan, &AtomicBool::new(false), progress)
}

fn of<'a>(
    evaluation: &'a Evaluation,
    name: &str,
) -> &'a foretell_model::evaluate::RecipeEvaluation {
    evaluation.recipe(name).expect("it was judged")
}

#[test]
fn further_seeds_give_deviations_and_leave_the_judgement_alone() {
    let one = run(&plan(20, 10), &()).unwrap();
    let three = EvaluationPlan { seeds: 3, threads: 2, ..plan(20, 10) };
    let found = run(&three, &()).unwrap();
    for name in ["ridge", "forest"] {
        let (one, found) = (of(&one, name), of(&found, name));
        assert_eq!(one.quantiles, found.quantiles, "the first seed is judged");
        assert_eq!(one.versus_random_walk, found.versus_random_walk);
    }
    let folds = found.folds.len();
    let forest = of(&found, "forest").seeds.clone().unwrap();
    assert_eq!((forest.seeds, forest.folds, forest.draws), (3, folds, true));
    assert!(forest.mae_bp.deviation > 0.0 && forest.skill.deviation > 0.0);
    // Three evaluations of one seed each are the reference; the seeds differ.
    let ridge = of(&found, "ridge").seeds.clone().unwrap();
    assert_eq!((ridge.seeds, ridge.draws), (1, false), "another seed learns nothing else");
    assert!(ridge.mae_bp.deviation.is_nan());
    assert_eq!(ridge.mae_bp.mean, of(&found, "ridge").metrics.mae_bp);
    let spread = of(&found, "forest").metrics.mae_bp - forest.mae_bp.mean;
    assert!(spread.abs() < 3.0 * forest.mae_bp.deviation);
    // Not one thread more or less makes a difference.
    let text = |e: &Evaluation| serde_json::to_string(e).expect("plain data");
    let again = run(&EvaluationPlan { threads: 1, ..three }, &()).unwrap();
    assert_eq!(text(&again), text(&found));
}

#[test]
fn the_last_folds_are_those_of_the_whole_walk() {
    let whole = run(&plan(20, 10), &()).unwrap();
    let last = run(&EvaluationPlan { folds: Some(2), ..plan(20, 10) }, &()).unwrap();
    assert!(whole.folds.len() > 2);
    let tail = &whole.folds[whole.folds.len() - 2..];
    let fits = |folds: &[foretell_model::evaluate::FoldSummary]| {
        folds.iter().map(|f| (f.fit_at, f.train_rows, f.rows)).collect::<Vec<_>>()
    };
    assert_eq!(fits(&last.folds), fits(tail));
    let (a, b) = (&of(&whole, "forest").quantiles, &of(&last, "forest").quantiles);
    assert_eq!(&a[a.len() - b.len()..], &b[..], "the same fits with the same seeds");
    let many = run(&EvaluationPlan { folds: Some(1_000), ..plan(20, 10) }, &()).unwrap();
    assert_eq!(many.folds.len(), whole.folds.len());
    let none = run(&EvaluationPlan { folds: Some(0), ..plan(20, 10) }, &()).unwrap_err();
    assert!(none.to_string().contains("folds"), "{none}");
}

/// Says that time is up after so many further seeds have begun.
struct Hurried {
    left: AtomicUsize,
}

impl EvaluationProgress for Hurried {
    fn fitting(&self, _recipe: &str, _fold: usize, _folds: usize) {}
    fn steps(&self, _done: u64, _total: u64) {}
    fn time_for_another_seed(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[test]
fn a_spent_budget_begins_no_further_seed_and_ends_what_has_begun() {
    let plan = EvaluationPlan { seeds: 5, threads: 2, ..plan(20, 10) };
    for begun in [0, 2] {
        let found = run(&plan, &Hurried { left: AtomicUsize::new(begun) }).unwrap();
        let seeds = of(&found, "forest").seeds.clone().unwrap();
        assert_eq!((seeds.seeds, seeds.folds), (begun + 1, found.folds.len()));
        assert!(of(&found, "forest").quantiles.len() > 9, "the first seed always runs");
    }
}

/// Keeps pieces in memory, counts fits, and may raise the flag after some.
#[derive(Default)]
struct Keeper {
    pieces: Mutex<BTreeMap<String, Vec<u8>>>,
    fits: AtomicUsize,
    stop: AtomicBool,
    most: Option<usize>,
}

impl EvaluationProgress for Keeper {
    fn fitting(&self, _recipe: &str, _fold: usize, _folds: usize) {
        let fits = self.fits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.most.is_some_and(|most| fits > most) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn steps(&self, _done: u64, _total: u64) {}
    fn finished(&self) -> Option<&dyn FinishedFits> {
        Some(self)
    }
}

impl FinishedFits for Keeper {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.pieces.lock().expect("nobody panics").get(key).cloned()
    }
    fn keep(&self, key: &str, piece: &[u8]) {
        self.pieces.lock().expect("nobody panics").insert(key.to_owned(), piece.to_vec());
    }
}

#[test]
fn an_interrupted_evaluation_goes_on_and_ends_the_same() {
    let plan = EvaluationPlan { seeds: 3, shuffles: 2, ..plan(20, 10) };
    let text = |e: &Evaluation| serde_json::to_string(e).expect("plain data");
    let whole = run(&plan, &()).unwrap();
    let tasks = whole.folds.len() * (3 + 2);
    let stopped = Keeper { most: Some(tasks / 2), ..Keeper::default() };
    let error = evaluate(&rows(), None, &recipes(), &plan, &stopped.stop, &stopped).unwrap_err();
    assert!(matches!(error, ModelError::Stopped { .. }), "{error}");
    let pieces = stopped.pieces.into_inner().expect("nobody panics");
    let kept = pieces.len();
    assert!(kept >= tasks / 2 - 1 && kept < tasks, "{kept} of {tasks}");
    // One is damaged: it is computed again, and nothing else is.
    let mut pieces = pieces;
    let first = pieces.values_mut().next().expect("some were kept");
    first.pop();
    let keeper = Keeper { pieces: Mutex::new(pieces), ..Keeper::default() };
    let found = run(&plan, &keeper).unwrap();
    assert_eq!(keeper.fits.load(Ordering::Relaxed), tasks - kept + 1);
    assert_eq!(text(&found), text(&whole));
    // All are there now; of other rows none is of use.
    let fits = || keeper.fits.swap(0, Ordering::Relaxed);
    fits();
    run(&plan, &keeper).unwrap();
    assert_eq!(fits(), 0);
    let mut other = rows();
    other.labels[3].value += 1e-9;
    evaluate(&other, None, &recipes(), &plan, &AtomicBool::new(false), &keeper).unwrap();
    assert_eq!(fits(), tasks);
}

#[test]
fn features_are_shuffled_where_they_are_read_and_nowhere_else() {
    let mut rows = rows();
    let columns = rows.feature_names.len();
    let mut features = rows.features.as_slice().to_vec();
    for (i, label) in rows.labels.iter().enumerate() {
        features[i * columns] = label.value;
    }
    rows.features = foretell_panel::Matrix::new(rows.len(), columns, features);
    let plan = EvaluationPlan { seeds: 2, shuffles: 3, ..plan(20, 10) };
    let found = evaluate(&rows, None, &recipes(), &plan, &AtomicBool::new(false), &()).unwrap();
    assert!(found.random_walk().permutation.is_empty());
    for (name, shuffles) in [("ridge", 3), ("forest", 6)] {
        let told = &of(&found, name).permutation;
        assert_eq!(told.len(), columns);
        assert_eq!((told[0].feature.as_str(), told[0].shuffles), ("f0", shuffles), "{told:?}");
        assert!(told[0].mean_bp > 4.0 * told[0].deviation_bp.max(told[1].mean_bp), "{told:?}");
    }
    // The label itself wins every fold.
    let ranks = found.ranks.clone().unwrap();
    let first = found.recipes.iter().position(|r| r.name == "ridge").unwrap();
    assert!(ranks.mean[first] < 1.01 && ranks.p_value < 0.01, "{ranks:?}");
    assert_eq!(found.confidence_sets.len(), 4);
    for set in &found.confidence_sets {
        assert_eq!(set.inside, ["ridge"], "{set:?}");
    }
}
