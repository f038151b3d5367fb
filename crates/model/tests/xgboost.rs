//! The exchange with Python `xgboost`: both directions, through its own reader and writer.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests call python")]

mod tables;

use std::path::Path;
use std::process::Command;

use foretell_model::conformance::planted;
use foretell_model::{
    Answers, Body, BoostingState, ImportedEngine, ImportedModel, ModelError, ModelState, Schema,
    xgboost_feature_names, xgboost_to_ubjson,
};
use foretell_panel::Matrix;
use serde_json::{Value, json};
use tables::{fit, spec};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn python(mode: &str, model: &Path, names: &[String], rows: &Matrix) -> Value {
    let given = std::env::var("FORETELL_PYTHON");
    let program = given.unwrap_or_else(|_| format!("{ROOT}/.venv/bin/python"));
    assert!(Path::new(&program).exists(), "{program} is missing: run `make python`");
    let listed: Vec<&[f64]> = (0..rows.rows()).map(|i| rows.row(i)).collect();
    let rows_path = model.with_extension("rows.json");
    let text = json!({ "names": names, "rows": listed }).to_string();
    std::fs::write(&rows_path, text).expect("a temporary file");
    let output = Command::new(&program)
        .arg(format!("{ROOT}/tests/reference/xgboost_exchange.py"))
        .args([mode.as_ref(), model.as_os_str(), rows_path.as_os_str()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

/// Python's nine outputs per row, re-ordered as our forecasts are.
fn sorted_outputs(answer: &Value) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> =
        serde_json::from_value(answer["outputs"].clone()).expect("nine numbers per row");
    rows.iter_mut().for_each(|row| row.sort_by(f64::total_cmp));
    rows.concat()
}

#[test]
fn python_loads_what_is_exported_and_forecasts_the_same() {
    let (train, test) = (planted(900, 1), planted(200, 2));
    let small = r#"{"kind":"gradient_boosting","rounds":60,"eta":0.1,"min_child_weight":10.0}"#;
    let fitted = fit(&spec(small), &train, 3).unwrap();
    let ModelState::GradientBoosting(state) = fitted.state() else { panic!("boosted trees") };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.json");
    std::fs::write(&path, state.to_xgboost_json(fitted.schema())).expect("a temporary file");
    let answer = python("predict", &path, &test.feature_names, &test.features);

    let forecast = fitted.predict_dataset(&test).unwrap();
    assert_eq!(sorted_outputs(&answer), forecast.as_slice(), "equal to the last bit");
    assert_eq!(answer["names"], json!(train.feature_names));
    assert_eq!(answer["rounds"], json!(60));
    let total: f64 =
        answer["gains"].as_object().expect("gain by name").values().filter_map(Value::as_f64).sum();
    for (name, share) in fitted.importance() {
        let gain = answer["gains"].get(&name).and_then(Value::as_f64).unwrap_or(0.0);
        foretell_testkit::assert_close(share, gain / total, 1e-4);
    }
    // Shapley values of the median: XGBoost sums in 32 bits, of numbers about 0.01.
    let told = fitted.explain(&test.features, &test.context).unwrap();
    for (i, row) in told.rows.iter().enumerate() {
        let of_row: Vec<Vec<f64>> =
            serde_json::from_value(answer["contributions"][i].clone()).expect("nine outputs");
        let (base, parts) = of_row[foretell_model::MEDIAN].split_last().expect("base at the end");
        assert!((row.base - base).abs() < 2e-7, "row {i}: base {} against {base}", row.base);
        for (own, expected) in row.features.iter().zip(parts) {
            assert!((own - expected).abs() < 2e-7, "row {i}: {own} against {expected}");
        }
    }
    let (back, names) =
        BoostingState::from_xgboost(&state.to_xgboost_json(fitted.schema())).unwrap();
    assert_eq!((back, names), (state, train.feature_names));
}

#[test]
fn what_python_trained_is_read_and_forecasts_the_same() {
    let test = planted(200, 5);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.json");
    let answer = python("train", &path, &test.feature_names, &test.features);
    let bytes = std::fs::read(&path).expect("python wrote the model");
    let (state, feature_names) = BoostingState::from_xgboost(&bytes).unwrap();
    assert_eq!((state.rounds(), &feature_names), (25, &test.feature_names));
    let schema = Schema { feature_names, context_names: test.context_names.clone() };
    let fitted = ModelState::GradientBoosting(state).into_fitted(schema).unwrap();
    let forecast = fitted.predict_dataset(&test).unwrap();
    assert_eq!(forecast.as_slice(), sorted_outputs(&answer), "equal to the last bit");
}

#[test]
fn the_binary_document_is_exchanged_both_ways() {
    let (train, test) = (planted(900, 1), planted(200, 2));
    let small = r#"{"kind":"gradient_boosting","rounds":40,"eta":0.1,"min_child_weight":10.0}"#;
    let fitted = fit(&spec(small), &train, 3).unwrap();
    let ModelState::GradientBoosting(state) = fitted.state() else { panic!("boosted trees") };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ours = folder.path().join("ours.ubj");
    let bytes = state.to_xgboost_ubjson(fitted.schema());
    std::fs::write(&ours, &bytes).expect("a temporary file");
    let answer = python("predict", &ours, &test.feature_names, &test.features);
    let forecast = fitted.predict_dataset(&test).unwrap();
    assert_eq!(sorted_outputs(&answer), forecast.as_slice(), "equal to the last bit");
    assert_eq!(answer["names"], json!(train.feature_names));
    let (back, names) = BoostingState::from_xgboost(&bytes).unwrap();
    assert_eq!((back, &names), (state, &train.feature_names));
    assert_eq!(xgboost_feature_names(&bytes).unwrap(), names);

    let theirs = folder.path().join("theirs.ubj");
    let answer = python("train", &theirs, &test.feature_names, &test.features);
    let bytes = std::fs::read(&theirs).expect("python wrote the model");
    let (state, feature_names) = BoostingState::from_xgboost(&bytes).unwrap();
    let schema = Schema { feature_names, context_names: test.context_names.clone() };
    let fitted = ModelState::GradientBoosting(state).into_fitted(schema).unwrap();
    let forecast = fitted.predict_dataset(&test).unwrap();
    assert_eq!(forecast.as_slice(), sorted_outputs(&answer), "equal to the last bit");
    for cut in (0..bytes.len()).step_by(101) {
        assert!(BoostingState::from_xgboost(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// A model of one answer a row, as people train it, is imported and answers as in Python.
#[test]
fn a_model_of_one_answer_is_imported() {
    let test = planted(50, 7);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["model.json", "model.ubj"] {
        let path = folder.path().join(name);
        let answer = python("train-squared", &path, &test.feature_names, &test.features);
        let bytes = std::fs::read(&path).expect("python wrote the model");
        let model = ImportedModel {
            name: "theirs".to_owned(),
            format: "xgboost".to_owned(),
            origin: foretell_market::Fingerprint::of_bytes(&bytes),
            columns: xgboost_feature_names(&bytes).unwrap(),
            answers: Answers::LogReturn,
            trained_until: None,
            body: Body::Xgboost { document: xgboost_to_ubjson(&bytes).unwrap() },
        };
        assert_eq!(model.columns, test.feature_names);
        let model = ImportedModel::from_bytes(&model.to_bytes()).unwrap();
        let engine = ImportedEngine::new(&model).unwrap();
        let expected = answer["outputs"].as_array().expect("one number per row");
        for (i, expected) in expected.iter().enumerate() {
            let found = engine.answer(test.features.row(i)).unwrap();
            foretell_testkit::assert_close(found, expected.as_f64().expect("a number"), 1e-6);
        }
    }
}

/// What Python writes with one answer a row, as a document that can be changed.
fn squared(folder: &Path) -> (Value, Matrix) {
    let test = planted(50, 7);
    let path = folder.join("model.json");
    python("train-squared", &path, &test.feature_names, &test.features);
    let bytes = std::fs::read(&path).expect("python wrote the model");
    (serde_json::from_slice(&bytes).expect("JSON"), test.features)
}

fn engine(document: &Value, answers: Answers) -> Result<ImportedEngine, ModelError> {
    let bytes = document.to_string().into_bytes();
    ImportedEngine::new(&ImportedModel {
        name: "theirs".to_owned(),
        format: "xgboost".to_owned(),
        origin: foretell_market::Fingerprint::of_bytes(&bytes),
        columns: xgboost_feature_names(&bytes)?,
        answers,
        trained_until: None,
        body: Body::Xgboost { document: xgboost_to_ubjson(&bytes)? },
    })
}

/// XGBoost before 3.1 writes its `base_score` as one number.
#[test]
fn the_base_score_of_older_versions_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut document, rows) = squared(folder.path());
    let now = engine(&document, Answers::LogReturn).unwrap();
    let base = "/learner/learner_model_param/base_score";
    let base = document.pointer_mut(base).expect("the place exists");
    let list = base.as_str().expect("a text").to_owned();
    let scalar = list.strip_prefix('[').and_then(|l| l.strip_suffix(']')).expect("a list");
    *base = json!(scalar);
    let older = engine(&document, Answers::LogReturn).unwrap();
    for i in 0..rows.rows() {
        assert_eq!(older.answer(rows.row(i)).unwrap(), now.answer(rows.row(i)).unwrap());
    }
    // In the binary form as well: what was rewritten is a list there.
    let bytes = xgboost_to_ubjson(document.to_string().as_bytes()).unwrap();
    assert_eq!(xgboost_to_ubjson(&bytes).unwrap(), bytes);
    assert!(bytes.windows(list.len()).any(|w| w == list.as_bytes()));
}

#[test]
fn objectives_whose_answer_is_no_price_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (document, _) = squared(folder.path());
    let price = || Answers::Price { of: "close".to_owned() };
    let with = |name: &str, answers: Answers| {
        let mut changed = document.clone();
        let objective = match name {
            "reg:tweedie" => {
                json!({ "name": name, "tweedie_regression_param": { "tweedie_variance_power": "1.5" } })
            }
            "reg:pseudohubererror" => {
                json!({ "name": name, "pseudo_huber_param": { "huber_slope": "1" } })
            }
            "reg:quantileerror" => {
                json!({ "name": name, "quantile_loss_param": { "quantile_alpha": "[5E-1]" } })
            }
            _ => json!({ "name": name, "reg_loss_param": { "scale_pos_weight": "1" } }),
        };
        *changed.pointer_mut("/learner/objective").expect("the place exists") = objective;
        // The links of these take no other.
        let base = "/learner/learner_model_param/base_score";
        *changed.pointer_mut(base).expect("the place exists") = json!("[5E-1]");
        engine(&changed, answers).map(drop)
    };
    for name in
        ["reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"]
    {
        with(name, Answers::LogReturn).unwrap_or_else(|e| panic!("{name}: {e}"));
        with(name, price()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for name in ["reg:gamma", "reg:tweedie"] {
        with(name, price()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let error = with(name, Answers::LogReturn).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("--answers price"), "{error}");
    }
    for name in ["binary:logistic", "reg:logistic", "count:poisson"] {
        let error = with(name, price()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("reg:squarederror"), "{error}");
    }
}

#[test]
fn foreign_and_damaged_models_are_refused_by_name() {
    let train = planted(300, 1);
    let small = r#"{"kind":"gradient_boosting","rounds":3,"depth":2,"min_child_weight":1.0}"#;
    let fitted = fit(&spec(small), &train, 3).unwrap();
    let ModelState::GradientBoosting(state) = fitted.state() else { panic!("boosted trees") };
    let bytes = state.to_xgboost_json(fitted.schema());
    let good: Value = serde_json::from_slice(&bytes).expect("JSON");
    let tree = "/learner/gradient_booster/model/trees/0";
    let cases = [
        ("/learner/objective/name", json!("reg:squarederror"), "reg:quantileerror"),
        ("/learner/objective/quantile_loss_param/quantile_alpha", json!("[0.5]"), "nine"),
        ("/learner/gradient_booster/name", json!("dart"), "gbtree"),
        ("/learner/learner_model_param/base_score", json!("[1E0,x]"), "no number"),
        ("/learner/gradient_booster/model/tree_info", json!([0, 1]), "one entry per tree"),
        (&format!("{tree}/split_type"), json!([1]), "categorical"),
        (&format!("{tree}/left_children/0"), json!(0), "child"),
        (&format!("{tree}/right_children/0"), json!(99), "child"),
        (&format!("{tree}/left_children"), json!([1]), "nodes"),
        (&format!("{tree}/split_conditions/0"), json!(1e99), "number out of range"),
    ];
    for (place, value, says) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect("the place exists") = value;
        let error = BoostingState::from_xgboost(bad.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, ModelError::Damaged { .. }), "{place}: {error}");
        assert!(error.to_string().contains(says), "{place}: {error}");
    }
    let error = BoostingState::from_xgboost(&bytes[..bytes.len() / 2]).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}
