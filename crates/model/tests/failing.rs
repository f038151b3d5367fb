//! A recipe that fails fails alone: the others are judged as if it had not been there, but
//! for the corrections, in which it is a try that proved nothing.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod markets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foretell_market::Fingerprint;
use foretell_model::evaluate::{
    Evaluation, EvaluationPlan, EvaluationProgress, FailedAt, FailedRecipe, FinishedFits, Recipe,
    RecipeEvaluation, decide_promotion, evaluate,
};
use foretell_model::{
    Activation, Answers, Architecture, Body, Concern, EstimatorSpec, ImportedModel,
    ImportedSettings, Layer, ModelError,
};
use foretell_panel::{Dataset, Matrix};
use markets::{dataset, plan, random_walk, recipe};

/// Behind ReLU a state grows without bound over a long window, and steps of 1 take it there.
const DIVERGING: &str = r#"{"kind":"lstm","units":[8],"activation":"relu",
    "objective":"squared","batch":16,"learning_rate":1.0,"clip":0.0,"epochs":200,"patience":0,
    "plateau":0}"#;

fn named(name: &str, json: &str) -> Recipe {
    Recipe { name: name.to_owned(), spec: serde_json::from_str(json).expect("settings") }
}

fn forest() -> Recipe {
    named("forest", r#"{"kind":"random_forest","trees":4,"depth":3}"#)
}

fn ensemble(name: &str, members: &[&Recipe]) -> Recipe {
    let members: Vec<_> = members.iter().map(|m| serde_json::to_value(&m.spec)).collect();
    let members: Vec<_> = members.into_iter().map(|m| m.expect("settings")).collect();
    let spec = serde_json::json!({"kind": "mean", "members": members});
    Recipe { name: name.to_owned(), spec: serde_json::from_value(spec).expect("settings") }
}

/// Hours whose features are a window of the last forty returns.
fn rows() -> Dataset {
    const STEPS: usize = 40;
    let whole = dataset(&random_walk(1_500, 5), 1);
    let change = |i: usize| (whole.base_prices[i] / whole.base_prices[i - 1]).ln();
    let mut rows = whole.slice(STEPS..whole.len());
    let window = |i: usize| (0..STEPS).map(move |back| i + back + 1);
    let features = (0..rows.len()).flat_map(window).map(change).collect();
    rows.features = Matrix::new(rows.len(), STEPS, features);
    let name =
        |t: usize| if t == STEPS - 1 { "x".to_owned() } else { format!("x[-{}]", STEPS - 1 - t) };
    rows.feature_names = (0..STEPS).map(name).collect();
    rows
}

fn run(recipes: &[Recipe], plan: &EvaluationPlan) -> Evaluation {
    evaluate(&rows(), None, recipes, plan, &AtomicBool::new(false), &()).expect("some are judged")
}

/// All that is said of a recipe but what depends on how many were tried.
fn alone(recipe: &RecipeEvaluation) -> RecipeEvaluation {
    let mut recipe = recipe.clone();
    recipe.versus_random_walk.p_holm = 0.0;
    recipe.sharpe.deflated = 0.0;
    if let Some(spread) = &mut recipe.spread {
        spread.p_holm = 0.0;
    }
    recipe
}

fn text(evaluation: &Evaluation) -> String {
    serde_json::to_string(evaluation).expect("plain data")
}

#[test]
fn a_network_that_diverges_fails_alone_and_takes_its_ensembles_with_it() {
    let lost = named("network", DIVERGING);
    let others = [recipe("ridge"), forest(), recipe("ewma_volatility")];
    let both = ensemble("both", &[&others[0], &others[1]]);
    let broken = ensemble("broken", &[&others[0], &lost]);
    let plan = EvaluationPlan { seeds: 3, threads: 2, shuffles: 1, ..plan(20, 10) };
    let without: Vec<Recipe> = others.iter().cloned().chain([both.clone()]).collect();
    let with: Vec<Recipe> =
        [std::slice::from_ref(&lost), &others[..], &[broken.clone(), both]].concat();
    let (without, with) = (run(&without, &plan), run(&with, &plan));
    let failed: Vec<_> = with.failed.iter().map(|f| (&f.name[..], &f.at)).collect();
    let member = FailedAt::Member { member: "network".to_owned() };
    let first = FailedAt::Fit { fold: 1, seed: 1 };
    assert_eq!(failed, [("network", &first), ("broken", &member)]);
    let told = with.failed[0].to_string();
    assert!(told.starts_with("failed in fold 1, seed 1: "), "{told}");
    assert!(told.contains("diverged") && told.contains("lower `learning_rate`"), "{told}");
    // Everyone else is judged on the same rows with the same result.
    assert_eq!(with.rows_fingerprint(), without.rows_fingerprint());
    let names = |e: &Evaluation| e.recipes.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&with), names(&without));
    for (a, b) in with.recipes.iter().zip(&without.recipes) {
        assert_eq!(
            serde_json::to_value(alone(a)).expect("plain data"),
            serde_json::to_value(alone(b)).expect("plain data"),
            "{}",
            a.name
        );
    }
    assert_eq!(with.confidence_sets, without.confidence_sets);
    assert_eq!(with.ranks, without.ranks);
    // Two more tries: Holm by hand, the smallest of m p-values times m.
    let family = |e: &Evaluation| -> Vec<f64> {
        let points = e.recipes.iter().filter(|r| !r.is_random_walk() && r.spread.is_none());
        let points = points.map(|r| r.versus_random_walk.p_value);
        let spreads = e.recipes.iter().filter(|r| !r.is_random_walk());
        points.chain(spreads.filter_map(|r| Some(r.spread.as_ref()?.p_value))).collect()
    };
    let smallest = family(&with).into_iter().fold(1.0, f64::min);
    let corrected = |e: &Evaluation| {
        let p = |r: &RecipeEvaluation| {
            r.spread.as_ref().map_or(r.versus_random_walk.p_holm, |s| s.p_holm)
        };
        e.recipes.iter().filter(|r| !r.is_random_walk()).map(p).fold(1.0, f64::min)
    };
    let tests = family(&without).len() as f64;
    assert_eq!(corrected(&without), (smallest * tests).min(1.0));
    assert_eq!(corrected(&with), (smallest * (tests + 2.0)).min(1.0));
    // Nobody could know from the threads who failed where.
    let same: Vec<Recipe> = [&[lost], &others[..], &[broken, without_both(&others)]].concat();
    assert_eq!(text(&run(&same, &EvaluationPlan { threads: 1, ..plan })), text(&with));
}

fn without_both(others: &[Recipe]) -> Recipe {
    ensemble("both", &[&others[0], &others[1]])
}

/// A model that answers, for every row, its first column: infinite once its scale is tiny.
fn impossible(name: &str, weight: f32) -> Recipe {
    let model = ImportedModel {
        name: name.to_owned(),
        format: "test".to_owned(),
        origin: Fingerprint::of_bytes(b"test"),
        columns: vec!["x".to_owned()],
        answers: Answers::LogReturn,
        trained_until: None,
        body: Body::Network {
            architecture: Architecture {
                inputs: 1,
                steps: 1,
                layers: vec![
                    Layer::Dense { units: 1, activation: Some(Activation::Relu) },
                    Layer::Dense { units: 1, activation: None },
                ],
            },
            // The second product leaves the range of 32 bits.
            weights: vec![vec![weight], vec![1.0], vec![weight], vec![0.0]],
            means: vec![0.0],
            scales: vec![1.0],
            centre: 0.0,
            spread: 1.0,
        },
    };
    let spec = EstimatorSpec::Imported(ImportedSettings::with(Arc::new(model)));
    Recipe { name: name.to_owned(), spec }
}

#[test]
fn an_imported_model_with_an_impossible_answer_fails_alone() {
    let (bad, good) = (impossible("bad", 1e30), impossible("good", 1e-3));
    let found = run(&[recipe("ridge"), bad, good], &plan(20, 10));
    let names: Vec<&str> = found.recipes.iter().map(|r| &r.name[..]).collect();
    assert_eq!(names, ["random_walk", "ridge", "good"]);
    assert_eq!(found.failed.len(), 1);
    let told = found.failed[0].to_string();
    assert!(found.failed[0].name == "bad" && told.contains("no number to serve"), "{told}");
}

#[test]
fn what_concerns_everything_still_ends_everything() {
    let stop = AtomicBool::new(false);
    let ask = |rows: &Dataset, recipes: &[Recipe]| {
        evaluate(rows, None, recipes, &plan(20, 10), &stop, &()).map(|_| ()).unwrap_err()
    };
    let lost = named("network", DIVERGING);
    let mut broken = rows();
    let mut features = broken.features.as_slice().to_vec();
    features[40 * 3] = f64::NAN;
    broken.features = Matrix::new(broken.len(), 40, features);
    let error = ask(&broken, &[lost.clone(), recipe("ridge")]);
    assert!(matches!(error, ModelError::NotFinite { .. }), "{error}");
    assert_eq!(error.concern(), Concern::Everything);
    let setting = named("few", r#"{"kind":"random_forest","trees":0}"#);
    let error = ask(&rows(), &[lost.clone(), setting]);
    assert!(matches!(error, ModelError::Setting { .. }), "{error}");
    stop.store(true, Ordering::Relaxed);
    let error = ask(&rows(), &[lost]);
    assert!(matches!(error, ModelError::Stopped { .. }), "{error}");
}

#[test]
fn where_all_fail_the_random_walk_is_what_is_left() {
    let found = run(&[named("network", DIVERGING)], &plan(20, 10));
    assert_eq!(found.recipes.len(), 1);
    assert!(found.recipes[0].is_random_walk() && found.failed.len() == 1);
    let promotion = decide_promotion(&found, None, 0.1, 0);
    assert_eq!((&promotion.winner[..], promotion.skilled), ("random_walk", false));
}

#[test]
fn a_champion_that_fails_keeps_its_place_and_nobody_overtakes_it() {
    // The label itself: ridge is sure to pass.
    let mut rows = rows();
    let mut features = rows.features.as_slice().to_vec();
    for (i, label) in rows.labels.iter().enumerate() {
        features[i * 40] = label.value;
    }
    rows.features = Matrix::new(rows.len(), 40, features);
    let recipes = [recipe("ridge"), named("network", DIVERGING)];
    let stop = AtomicBool::new(false);
    let mut found = evaluate(&rows, None, &recipes, &plan(20, 10), &stop, &()).unwrap();
    let fresh = decide_promotion(&found, None, 0.1, 0);
    assert_eq!((&fresh.winner[..], fresh.promoted), ("ridge", true));
    let kept = decide_promotion(&found, Some("network"), 0.1, 0);
    assert_eq!((&kept.winner[..], kept.promoted, kept.skilled), ("network", false, false));
    assert!(kept.reason.contains("the champion `network` failed in fold 1"), "{}", kept.reason);
    assert!(kept.candidates.iter().all(|c| !c.passed));
    assert!(kept.withheld.unwrap().contains("not promoted"));
    // Judged, and then not to be fitted on all rows: it is not promoted, and says why.
    let ridge = found.failed[0].clone();
    found.failed = vec![FailedRecipe {
        name: "ridge".to_owned(),
        spec: recipes[0].spec.clone(),
        at: FailedAt::Refit,
        reason: ridge.reason,
    }];
    let refused = decide_promotion(&found, None, 0.1, 0);
    assert_eq!(refused.winner, "random_walk");
    assert!(refused.reason.contains("failed in its refit on all rows"), "{}", refused.reason);
    // As the champion it keeps its place by its own test.
    let kept = decide_promotion(&found, Some("ridge"), 0.1, 0);
    assert_eq!((&kept.winner[..], kept.promoted, kept.skilled), ("ridge", false, true));
}

/// Keeps pieces in memory, counts fits and hears of failures.
#[derive(Default)]
struct Keeper {
    pieces: Mutex<BTreeMap<String, Vec<u8>>>,
    fits: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

impl EvaluationProgress for Keeper {
    fn fitting(&self, _recipe: &str, _fold: usize, _folds: usize) {
        self.fits.fetch_add(1, Ordering::Relaxed);
    }
    fn steps(&self, _done: u64, _total: u64) {}
    fn failed(&self, recipe: &FailedRecipe) {
        let told = format!("{} {recipe}", recipe.name);
        self.heard.lock().expect("nobody panics").push(told);
    }
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
fn an_evaluation_that_goes_on_does_not_try_again_what_failed() {
    let recipes = [recipe("ridge"), named("network", DIVERGING), forest()];
    let plan = EvaluationPlan { seeds: 2, ..plan(20, 10) };
    let (keeper, stop) = (Keeper::default(), AtomicBool::new(false));
    let go = || evaluate(&rows(), None, &recipes, &plan, &stop, &keeper).unwrap();
    let first = go();
    let folds = first.folds.len();
    // The random walk and ridge once, the forest with two seeds, the network a single time.
    assert_eq!(keeper.fits.swap(0, Ordering::Relaxed), folds * 4 + 1);
    assert_eq!(text(&go()), text(&first));
    assert_eq!(keeper.fits.load(Ordering::Relaxed), 0);
    let heard = keeper.heard.lock().expect("nobody panics");
    assert_eq!(heard.len(), 2, "once in each evaluation: {heard:?}");
    assert!(heard[0].starts_with("network failed in fold 1, seed 1: "), "{heard:?}");
}
