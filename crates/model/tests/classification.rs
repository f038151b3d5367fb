//! Classes of outcomes as networks learn them, and every recipe judged as a classifier of
//! direction (`tests/reference/classification.py` made the numbers).

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod markets;
mod tables;

use std::sync::atomic::AtomicBool;

use foretell_model::conformance::planted_for;
use foretell_model::evaluate::classifier::{base_rate, direction_skill, probability_of_rise};
use foretell_model::evaluate::{DirectionSkill, Evaluation, EvaluationPlan, Recipe, evaluate};
use foretell_model::{
    Activation, Architecture, Classes, EstimatorSpec, Layer, ModelError, ModelState, NeuralState,
    SavedModel, Schema,
};
use foretell_panel::{Dataset, Matrix};
use markets::{baselines, plan, random_walk};
use serde_json::Value;
use tables::{dataset, fit, numbers, reference, spec};

const KINDS: [&str; 4] = ["lstm", "gru", "mlp", "dlinear"];

/// The answers of scikit-learn's network from the same weights, as probabilities and as the
/// quantiles of the mixture.
#[test]
fn a_network_of_classes_answers_as_scikit_learn_and_the_mixture_do() {
    let all = &reference("classification.json")["network"];
    let lists = |name: &str| -> Vec<Vec<f64>> {
        all[name].as_array().expect("a list").iter().map(numbers).collect()
    };
    let dense = |units, activation| Layer::Dense { units, activation };
    let classes = Classes { edges: numbers(&all["edges"]), within: lists("within") };
    let state = NeuralState {
        architecture: Architecture {
            inputs: 3,
            steps: 1,
            layers: vec![dense(5, Some(Activation::Relu)), dense(4, None)],
        },
        window: 1,
        kernel: None,
        weights: lists("weights").iter().map(|w| w.iter().map(|v| *v as f32).collect()).collect(),
        means: vec![0.0; 3],
        scales: vec![1.0; 3],
        centre: 0.0,
        spread: 1.0,
        offsets: None,
        classes: Some(classes.clone()),
        epochs: 60,
    };
    let rows = dataset(numbers(&all["asked"]), &[0.0; 12], &[], vec![100.0; 12]);
    let model = ModelState::Neural(state).into_fitted(Schema::of(&rows)).unwrap();
    let answers = model.predict_dataset(&rows).unwrap();
    for (i, (p, expected)) in lists("probabilities").iter().zip(lists("quantiles")).enumerate() {
        // From the logarithms of probabilities a softmax leads back to these.
        let logits: Vec<f64> = p.iter().map(|p| p.ln() + 7.0).collect();
        for (own, p) in Classes::probabilities(&logits).iter().zip(p) {
            assert!((own - p).abs() < 1e-12, "{own} is not {p}");
        }
        for (own, q) in classes.quantiles(p).iter().zip(&expected) {
            assert!((own - q).abs() < 1e-9, "row {i}: {own} is not {q}");
        }
        // The network itself has 32 bits.
        for (own, q) in answers.row(i).iter().zip(&expected) {
            assert!((own - q).abs() < 2e-6, "row {i}: {own} is not {q}");
        }
    }
}

#[test]
fn probabilities_and_their_scores_equal_scikit_learn() {
    let all = &reference("classification.json")["direction"];
    let quantiles: Vec<Vec<f64>> =
        all["quantiles"].as_array().expect("a list").iter().map(numbers).collect();
    let own: Vec<f64> = quantiles.iter().map(|q| probability_of_rise(q)).collect();
    let same = |own: f64, expected: &Value| {
        let expected = expected.as_f64().expect("a number");
        assert!((own - expected).abs() <= 1e-11, "{own} is not {expected}");
    };
    for (own, expected) in own.iter().zip(all["probabilities"].as_array().unwrap()) {
        same(*own, expected);
    }
    assert!(own.contains(&0.975) && own.iter().any(|p| (p - 0.025).abs() < 1e-15));
    let found = direction_skill(&numbers(&all["outcomes"]), &own, &numbers(&all["base"]), 1);
    let found = found.unwrap();
    assert_eq!((found.rows, found.unmoved), (344, 3));
    same(found.rises, &all["rises"]);
    same(found.log_loss, &all["log_loss"]);
    same(found.base_log_loss, &all["base_log_loss"]);
    same(found.brier, &all["brier"]);
    same(found.base_brier, &all["base_brier"]);
    same(found.mcc.unwrap(), &all["mcc"]);
    same(found.reliability, &all["reliability"]);
    same(found.resolution, &all["resolution"]);
    same(found.uncertainty, &all["uncertainty"]);
    same(found.within, &all["within"]);
    assert_eq!(found.curve.len(), 10);
    for (i, group) in found.curve.iter().enumerate() {
        same(group.rises, &all["curve_rises"][i]);
        same(group.probability, &all["curve_probabilities"][i]);
        assert_eq!(group.rows as u64, all["curve_rows"][i].as_u64().unwrap());
    }
}

/// Rows whose outcome rises when `x` did two steps before, in nineteen of twenty cases.
fn signs(rows: usize) -> Dataset {
    let mut state = 5u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let x: Vec<f64> = (0..rows + 2).map(|_| 2.0 * draw() - 1.0).collect();
    let features = (0..rows).flat_map(|i| [x[i], x[i + 1], x[i + 2]]).collect();
    let labels: Vec<f64> = (0..rows)
        .map(|i| {
            let size = 0.001 + 0.02 * draw();
            let follows = if draw() < 0.95 { 1.0 } else { -1.0 };
            size * follows * x[i].signum()
        })
        .collect();
    let mut data = dataset(features, &labels, &[], vec![100.0; rows]);
    data.feature_names = ["x[-2]", "x[-1]", "x"].map(str::to_owned).to_vec();
    data
}

fn judged(spec: &EstimatorSpec, train: &Dataset, test: &Dataset) -> DirectionSkill {
    let model = fit(spec, train, 1).expect("the rows can be learnt");
    let answers = model.predict_dataset(test).expect("and forecast");
    let p: Vec<f64> = (0..test.len()).map(|i| probability_of_rise(answers.row(i))).collect();
    let outcomes: Vec<f64> = test.labels.iter().map(|l| l.value).collect();
    let base = base_rate(train.labels.iter().map(|l| l.value));
    direction_skill(&outcomes, &p, &vec![base; p.len()], 1).expect("some rows moved")
}

/// Nobody can do better than 0.199, the entropy of one in twenty.
#[test]
fn a_planted_sign_is_learnt_by_networks_of_every_kind() {
    let all = signs(2_000);
    let (train, test) = (all.slice(0..1_500), all.slice(1_500..2_000));
    for kind in KINDS {
        for classes in [2, 5] {
            let json = format!(
                r#"{{"kind":"{kind}","objective":"classes","classes":{classes},"learning_rate":0.01,
                    "batch":32,"epochs":40}}"#
            );
            let found = judged(&spec(&json), &train, &test);
            // A linear model can only approach a jump, and of five classes the one in the
            // middle holds both signs.
            let bound = match (kind, classes) {
                ("dlinear", _) => 0.45,
                (_, 2) => 0.30,
                _ => 0.40,
            };
            let told = format!("{kind}, {classes} classes: {found:?}");
            assert!(found.base_log_loss > 0.68, "{told}");
            assert!(found.log_loss < bound && found.log_loss > 0.15, "{told}");
            assert!(found.mcc.unwrap() > 0.75 && found.p_value.unwrap() < 1e-6, "{told}");
            assert!(found.reliability < 0.03, "{told}");
        }
    }
}

#[test]
fn classes_come_from_the_learnt_rows_alone() {
    let data = signs(400);
    let json = r#"{"kind":"mlp","objective":"classes","classes":4,"epochs":2,"validation":0.25}"#;
    let cut = |data: &Dataset| match fit(&spec(json), data, 1).unwrap().state() {
        ModelState::Neural(state) => state.classes.expect("it learns classes"),
        other => panic!("{} is no network", other.kind()),
    };
    let before = cut(&data);
    let mut learnt: Vec<f64> = data.labels[..300].iter().map(|l| l.value).collect();
    learnt.sort_by(f64::total_cmp);
    for (k, edge) in before.edges.iter().enumerate() {
        let expected = foretell_model::empirical_quantile(&learnt, (k + 1) as f64 / 4.0);
        assert_eq!(*edge, expected);
    }
    let mut later = data.clone();
    later.labels[300..].iter_mut().for_each(|l| l.value = 10.0 * l.value + 1.0);
    assert!(cut(&later) == before, "what is kept for validation moved an edge");
}

#[test]
fn outcomes_that_are_no_classes_are_refused_with_a_remedy() {
    let mut rising = signs(300);
    rising.labels.iter_mut().for_each(|l| l.value = l.value.abs());
    let mut still = signs(300);
    still.labels[..150].iter_mut().for_each(|l| l.value = 0.0);
    let cases = [(&rising, 2, "no rise"), (&still, 6, "coincide at the log return 0")];
    for (data, classes, says) in cases {
        let json = format!(r#"{{"kind":"mlp","objective":"classes","classes":{classes}}}"#);
        let error = fit(&spec(&json), data, 1).unwrap_err();
        // The outcomes of a fold refuse it, so that the recipe fails alone.
        assert_eq!(error.concern(), foretell_model::Concern::Recipe);
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("give"), "{text}");
    }
    let many = spec(r#"{"kind":"mlp","objective":"classes","classes":21}"#);
    let error = fit(&many, &signs(200), 1).unwrap_err();
    assert!(matches!(error, ModelError::TooFewRows { need: 249, have: 200, .. }), "{error}");
}

/// The first stored network of classes, and what it must answer for good.
#[test]
fn a_stored_network_of_classes_answers_bit_for_bit() {
    let path = |ending: &str| tables::data_path("models").join(format!("v1-mlp-classes.{ending}"));
    let bytes = std::fs::read(path("safetensors")).expect("the golden file is committed");
    let saved = SavedModel::from_bytes(&bytes).unwrap();
    let test = planted_for(&saved.spec, 5, 2);
    let answer = saved.model().unwrap().predict_dataset(&test).unwrap();
    let text = std::fs::read_to_string(path("answer.json")).expect("and what it answers");
    let expected: Vec<f64> = serde_json::from_str(&text).unwrap();
    assert_eq!(answer.as_slice(), &expected[..]);
    // A quantile that leaves its class is damage, and so is a class too few.
    let ModelState::Neural(state) = &saved.state else { panic!("a network") };
    let classes = state.classes.clone().expect("it has classes");
    let mut bad = [classes.clone(), classes.clone(), classes];
    bad[0].within[1][0] = bad[0].edges[0];
    bad[1].within.pop();
    bad[2].edges.reverse();
    for classes in bad {
        let state = NeuralState { classes: Some(classes), ..state.clone() };
        let error = ModelState::Neural(state).into_fitted(Schema::of(&test)).unwrap_err();
        assert!(error.to_string().contains("classes"), "{error}");
    }
}

/// Settings that were stored before there were classes are what they were, to the byte.
#[test]
fn two_classes_are_not_told_and_more_can_be_searched_for() {
    for kind in KINDS {
        let text = serde_json::to_string(&EstimatorSpec::named(kind).unwrap()).unwrap();
        assert!(!text.contains("classes"), "{text}");
    }
    let base = spec(r#"{"kind":"mlp","objective":"classes"}"#);
    let range = foretell_model::search::Range::Whole { from: 2, to: 9, log: false };
    let space = foretell_model::search::Space([("classes".to_owned(), range)].into());
    let search = foretell_model::SearchSettings::new(base, space);
    let found = search.with(&[("classes".to_owned(), 7.into())].into()).unwrap();
    let EstimatorSpec::Mlp(settings) = found else { panic!("an mlp") };
    assert_eq!(settings.classes, 7);
}

fn run(dataset: &Dataset, plan: &EvaluationPlan) -> Evaluation {
    let mut recipes = baselines();
    let learnt = spec(r#"{"kind":"mlp","objective":"classes","learning_rate":0.01}"#);
    recipes.push(Recipe { name: "classes".to_owned(), spec: learnt });
    evaluate(dataset, None, &recipes, plan, &AtomicBool::new(false), &()).expect("recipes fit")
}

/// No look-ahead in base rates, and what a stored evaluation says comes back.
#[test]
fn an_evaluation_judges_every_recipe_against_the_base_rate_of_its_fold() {
    let rows = markets::dataset(&random_walk(2_000, 3), 1);
    let plan = EvaluationPlan { bootstrap_draws: 10, ..plan(30, 15) };
    let evaluation = run(&rows, &plan);
    for fold in &evaluation.folds {
        let learnt =
            rows.labels.iter().filter(|l| l.end <= fold.fit_at && l.start >= fold.train_from);
        let moved: Vec<f64> = learnt.map(|l| l.value).filter(|y| *y != 0.0).collect();
        let share = moved.iter().filter(|y| **y > 0.0).count() as f64 / moved.len() as f64;
        assert!((fold.base_rate - share).abs() < 1e-12, "{} is not {share}", fold.base_rate);
    }
    let walk = evaluation.random_walk().classifier.clone().unwrap();
    assert_eq!((walk.mcc, walk.p_value, walk.p_holm), (None, None, None));
    assert!((walk.log_loss - std::f64::consts::LN_2).abs() < 1e-12);
    for recipe in &evaluation.recipes {
        let found = recipe.classifier.as_ref().unwrap();
        assert_eq!(found.rows + found.unmoved, evaluation.outcomes.len(), "{}", recipe.name);
        assert_eq!(found.base_log_loss, walk.base_log_loss, "{}", recipe.name);
        // Nothing forecasts the direction of a random walk.
        assert!(found.log_loss_skill < 0.02, "{}: {found:?}", recipe.name);
        assert!(found.p_holm.is_none_or(|p| p >= found.p_value.unwrap()), "{}", recipe.name);
    }
    let text = serde_json::to_string(&evaluation).unwrap();
    let back: Evaluation = serde_json::from_str(&text).unwrap();
    for (a, b) in evaluation.recipes.iter().zip(&back.recipes) {
        assert_eq!(a.classifier, b.classifier, "{}", a.name);
    }
    // The same, as it was stored before directions were judged.
    let mut old: Value = serde_json::from_str(&text).unwrap();
    for fold in old["folds"].as_array_mut().unwrap() {
        fold.as_object_mut().unwrap().remove("base_rate").unwrap();
    }
    for recipe in old["recipes"].as_array_mut().unwrap() {
        recipe.as_object_mut().unwrap().remove("classifier").unwrap();
    }
    let old: Evaluation = serde_json::from_value(old).unwrap();
    assert!(old.recipes.iter().all(|r| r.classifier.is_none()));
}

/// A rule that is there is seen as skill against the base rate.
#[test]
fn a_leaked_sign_shows_as_skill_of_direction() {
    let mut rows = markets::dataset(&random_walk(2_000, 1), 1);
    let mut features = rows.features.as_slice().to_vec();
    let columns = rows.feature_names.len();
    for (i, label) in rows.labels.iter().enumerate() {
        features[i * columns] = label.value.signum();
    }
    rows.features = Matrix::new(rows.len(), columns, features);
    let plan = EvaluationPlan { bootstrap_draws: 10, ..plan(30, 15) };
    let evaluation = run(&rows, &plan);
    let found = evaluation.recipe("classes").unwrap().classifier.clone().unwrap();
    assert!(found.log_loss_skill > 0.5 && found.mcc.unwrap() > 0.95, "{found:?}");
    assert!(found.p_holm.unwrap() < 1e-6, "{found:?}");
}
