//! Models that were trained elsewhere: judged like ours, never promoted on what they may know.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod tables;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use foretell_market::{Fingerprint, Interval, Timestamp};
use foretell_model::evaluate::{EvaluationPlan, Recipe, decide_promotion, evaluate};
use foretell_model::{
    Activation, Answers, Architecture, Body, EstimatorSpec, ImportedModel, ImportedSettings, Layer,
    MEDIAN, ModelError, ModelState, SavedModel,
};
use foretell_panel::{Dataset, TrainWindow, WalkForward};
use foretell_testkit::{normal, rng};
use tables::{dataset, fit};

/// A network that answers its newest price times a factor, whatever the one before was.
fn persistence(factor: f32, trained_until: Option<Timestamp>) -> ImportedModel {
    let dense = Layer::Dense { units: 1, activation: None };
    ImportedModel {
        name: "persistence".to_owned(),
        format: "test".to_owned(),
        origin: Fingerprint::of_bytes(b"test"),
        columns: vec!["close".to_owned(), "close[-1]".to_owned()],
        answers: Answers::Price { of: "close".to_owned() },
        trained_until,
        body: Body::Network {
            architecture: Architecture { inputs: 2, steps: 1, layers: vec![dense] },
            weights: vec![vec![factor, 0.0], vec![0.0]],
            means: vec![0.0; 2],
            scales: vec![1.0; 2],
            centre: 0.0,
            spread: 1.0,
        },
    }
}

fn recipe(model: ImportedModel) -> EstimatorSpec {
    EstimatorSpec::Imported(ImportedSettings::with(Arc::new(model)))
}

/// Hourly prices around 100 whose next log return is the gap to 100, and noise.
fn market(rows: usize) -> Dataset {
    let mut rng = rng(5);
    let mut prices = vec![100.0f64];
    for i in 0..=rows {
        prices.push(prices[i] * (0.01 * normal(&mut rng)).exp());
    }
    let labels: Vec<f64> = (1..=rows).map(|i| (prices[i + 1] / prices[i]).ln()).collect();
    let features = (1..=rows).flat_map(|i| [prices[i], 1.0, prices[i - 1]]).collect();
    let zeros = vec![0.0; rows];
    let variance = vec![1e-4; rows];
    let context = [("seasonal_log_return", &zeros[..]), ("ewma_variance", &variance)];
    let mut data = dataset(features, &labels, &context, prices[1..=rows].to_vec());
    data.feature_names = ["close", "other", "close[-1]"].map(str::to_owned).to_vec();
    data
}

#[test]
fn its_answer_is_the_median_and_its_errors_are_the_spread() {
    let data = market(400);
    let fitted = fit(&recipe(persistence(1.01, None)), &data, 1).unwrap();
    let forecast = fitted.predict_dataset(&data).unwrap();
    for i in 0..data.len() {
        assert!((forecast.median(i) - 1.01f64.ln()).abs() < 1e-6, "always one percent up");
    }
    let ModelState::Imported(state) = fitted.state() else { panic!("an imported model") };
    assert_eq!(state.offsets[MEDIAN], 0.0);
    // The errors are those of noise of one percent: numpy.quantile of a normal, 5 % tails.
    assert!((state.offsets[1] + 0.01645).abs() < 0.003, "{:?}", state.offsets);
    let saved = SavedModel::new(&*fitted, &recipe(persistence(1.01, None)), &data, 7, "any");
    let bytes = saved.to_bytes();
    assert_eq!(saved.extension(), "safetensors");
    let back = SavedModel::from_bytes(&bytes).unwrap();
    assert_eq!(back.to_bytes(), bytes);
    let again = back.model().unwrap().predict_dataset(&data).unwrap();
    assert_eq!(again.as_slice(), forecast.as_slice());
    for cut in (0..bytes.len()).step_by(37) {
        let error = SavedModel::from_bytes(&bytes[..cut]).unwrap_err();
        assert!(matches!(error, ModelError::Damaged { .. }), "cut at {cut}: {error}");
    }
}

/// The errors of rows that it has seen would be too small.
#[test]
fn its_spread_comes_from_rows_after_its_training_where_there_are_enough() {
    let mut data = market(400);
    // Before the middle the next return is exactly what the model says.
    for label in &mut data.labels[..200] {
        label.value = 1.01f64.ln();
    }
    let middle = data.labels[200].start;
    let offsets = |trained_until| {
        let fitted = fit(&recipe(persistence(1.01, trained_until)), &data, 1).unwrap();
        let ModelState::Imported(state) = fitted.state() else { panic!("an imported model") };
        state.offsets
    };
    let (blind, told) = (offsets(None), offsets(Some(middle)));
    let middle_half = |offsets: [f64; 9]| offsets[5] - offsets[3];
    assert!(middle_half(told) > 1.2 * middle_half(blind), "{told:?} against {blind:?}");
}

#[test]
fn rows_without_its_columns_and_answers_that_are_no_prices_are_refused() {
    let mut data = market(200);
    data.feature_names[2] = "open[-1]".to_owned();
    let error = fit(&recipe(persistence(1.0, None)), &data, 1).unwrap_err().to_string();
    assert!(error.contains("reads the column `close[-1]`"), "{error}");
    let error = fit(&recipe(persistence(-1.0, None)), &market(200), 1).unwrap_err().to_string();
    assert!(error.contains("prices are above 0") && error.contains("--answers"), "{error}");
    let error = fit(&recipe(persistence(1.0, None)), &market(50), 1).unwrap_err().to_string();
    assert!(error.contains("at least 100 training rows"), "{error}");
    let bare = r#"{"kind":"imported","model":"a.safetensors"}"#;
    let bare: EstimatorSpec = serde_json::from_str(bare).unwrap();
    let error = fit(&bare, &market(200), 1).unwrap_err().to_string();
    assert!(error.contains("foretell import"), "{error}");
}

/// A network that knows the next price: what it learnt from is the rows it is judged on.
#[test]
fn a_model_that_may_know_the_rows_is_not_promoted() {
    let mut data = market(900);
    // The label is what the model says, but for a little noise: perfect skill.
    let mut noise = rng(9);
    for label in &mut data.labels {
        label.value = 1.01f64.ln() + 0.001 * normal(&mut noise);
    }
    let hours = |n: i64| Interval::from_secs(3600 * n).unwrap();
    let plan = EvaluationPlan {
        walk_forward: WalkForward {
            initial_train: hours(300),
            refit_every: hours(200),
            window: TrainWindow::Expanding,
        },
        level: 0.9,
        seed: 1,
        threads: 1,
        block_length: None,
        bootstrap_draws: 100,
        cost_bp: 0.0,
        volatility_span: None,
        seeds: 1,
        folds: None,
        shuffles: 0,
    };
    let decided = |trained_until, champion: Option<&str>| {
        let walk = Recipe { name: "random walk".to_owned(), spec: EstimatorSpec::RandomWalk };
        let spec = recipe(persistence(1.01, trained_until));
        let recipes = [walk, Recipe { name: "theirs".to_owned(), spec }];
        let stop = AtomicBool::new(false);
        let judged = evaluate(&data, None, &recipes, &plan, &stop, &()).unwrap();
        decide_promotion(&judged, champion, 0.1, 0)
    };
    let before = data.labels[0].start;
    let served = decided(Some(before), None);
    assert_eq!((served.winner.as_str(), served.skilled), ("theirs", true), "{}", served.reason);
    // Neither as a candidate nor as a champion that somebody made one by hand.
    let later = data.labels[800].start;
    for trained_until in [None, Some(later)] {
        for champion in [None, Some("theirs")] {
            let refused = decided(trained_until, champion);
            assert_eq!(refused.winner, "random walk", "{}", refused.reason);
            assert!(!refused.skilled && refused.candidates.is_empty());
            assert_eq!(refused.best_p, 1.0, "its p-value is nobody's evidence");
            assert!(
                refused.reason.contains("cannot be promoted by these rows"),
                "{}",
                refused.reason
            );
        }
    }
}

#[test]
fn a_stored_model_that_does_not_hold_together_is_refused() {
    let good = persistence(1.0, None);
    let built = |model: &ImportedModel| ImportedModel::from_bytes(&model.to_bytes());
    assert_eq!(built(&good).unwrap(), good);
    let mut more = good.clone();
    more.columns.push("volume".to_owned());
    let error = built(&more).unwrap_err().to_string();
    assert!(error.contains("takes 2 columns, 3 are named"), "{error}");
    let Body::Network { architecture, weights, means, scales, centre, .. } = good.body.clone()
    else {
        panic!("a network")
    };
    let with = |spread: f64, scales: Vec<f64>| ImportedModel {
        body: Body::Network {
            architecture: architecture.clone(),
            weights: weights.clone(),
            means: means.clone(),
            scales,
            centre,
            spread,
        },
        ..good.clone()
    };
    for bad in [with(0.0, scales.clone()), with(1.0, vec![1.0, -1.0]), with(1.0, vec![1.0])] {
        assert!(matches!(built(&bad), Err(ModelError::Damaged { .. })));
    }
    let recurrent = Layer::Lstm { units: 1, activation: Activation::Tanh };
    assert!(recurrent.is_recurrent());
}

/// ONNX graphs with what onnxruntime answers (tests/reference/onnx_models.py).
#[test]
fn graphs_are_served_where_the_runtime_is_built_in_and_refused_elsewhere() {
    let file = |name: &str| std::fs::read(tables::data_path("onnx").join(name)).unwrap();
    let model = |name: &str, columns: usize| ImportedModel {
        columns: (0..columns).map(|i| format!("c{i}")).collect(),
        answers: Answers::LogReturn,
        body: Body::Onnx { graph: file(name) },
        ..persistence(1.0, None)
    };
    let engine = |name: &str, columns| foretell_model::ImportedEngine::new(&model(name, columns));
    if cfg!(not(feature = "onnx")) {
        let error = engine("mlp.onnx", 7).unwrap_err().to_string();
        assert!(error.contains("--features onnx"), "{error}");
        return;
    }
    let expected: serde_json::Value = serde_json::from_slice(&file("expected.json")).unwrap();
    let rows: Vec<Vec<f64>> = serde_json::from_value(expected["rows"].clone()).unwrap();
    for name in ["mlp", "lstm"] {
        let engine = engine(&format!("{name}.onnx"), 7).unwrap();
        let answers: Vec<f64> = serde_json::from_value(expected[name].clone()).unwrap();
        for (row, expected) in rows.iter().zip(answers) {
            foretell_testkit::assert_close(engine.answer(row).unwrap(), expected, 1e-5);
        }
    }
    let error = engine("mlp.onnx", 6).unwrap_err().to_string();
    assert!(error.contains("takes 7 numbers, 6 columns are named"), "{error}");
    let error = engine("two.onnx", 7).unwrap_err().to_string();
    assert!(error.contains("2 inputs"), "{error}");
    let whole = file("lstm.onnx");
    let cut = |length: usize| ImportedModel {
        body: Body::Onnx { graph: whole[..length].to_vec() },
        ..model("lstm.onnx", 7)
    };
    // The format has no checksum; its last bytes only say which operators are meant.
    for length in (0..whole.len() - 40).step_by(41) {
        assert!(foretell_model::ImportedEngine::new(&cut(length)).is_err(), "cut at {length}");
    }
}
