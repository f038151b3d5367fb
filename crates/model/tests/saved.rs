//! Stored models: every old version is still read, what is damaged or newer is refused.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod tables;

use foretell_model::conformance::{planted, planted_for};
use foretell_model::{EstimatorSpec, ModelError, SavedModel};
use proptest::prelude::*;
use serde_json::{Value, json};
use tables::{data_path, fit, numbers, spec};

const NETWORKS: [&str; 4] = ["lstm", "gru", "mlp", "dlinear"];

fn golden(kind: &str) -> Vec<u8> {
    let ending = if NETWORKS.contains(&kind) { "safetensors" } else { "json" };
    let path = data_path("models").join(format!("v1-{kind}.{ending}"));
    std::fs::read(path).expect("the golden file is committed")
}

/// A stored network with something changed in its JSON, of the same length.
fn with_text(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "offsets stay");
    let place = bytes.windows(from.len()).position(|w| w == from.as_bytes());
    let place = place.unwrap_or_else(|| panic!("there is no {from}"));
    let mut changed = bytes.to_vec();
    changed[place..place + to.len()].copy_from_slice(to.as_bytes());
    changed
}

#[test]
fn networks_that_do_not_hold_together_are_refused_by_place() {
    let lstm = golden("lstm");
    for (from, to, says) in [
        ("lstm.weight_ih_l0", "lstm.weight_ih_l7", "lstm.weight_ih_l0"),
        ("\"dtype\":\"F32\"", "\"dtype\":\"F64\"", "`F64` is not read"),
        ("\"foretell\"", "\"foretelm\"", "nothing that Foretell wrote"),
        ("\\\"units\\\":3", "\\\"units\\\":4", "shape"),
        ("\\\"version\\\":1", "\\\"version\\\":2", "upgrade foretell or retrain"),
        ("\\\"kind\\\":\\\"lstm\\\",", "\\\"kind\\\":\\\"lsdm\\\",", "unknown variant"),
    ] {
        let error = SavedModel::from_bytes(&with_text(&lstm, from, to)).unwrap_err().to_string();
        assert!(error.contains(says), "{from}: {error}");
    }
    // A weight that is no number.
    let mut nan = lstm.clone();
    let last = nan.len() - 4;
    nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = SavedModel::from_bytes(&nan).unwrap_err().to_string();
    assert!(error.contains("not a finite number"), "{error}");
    // The JSON alone is no network any more.
    let text = SavedModel::from_bytes(&lstm).unwrap();
    let json = serde_json::to_vec(&text).expect("plain data");
    let error = SavedModel::from_bytes(&json).unwrap_err().to_string();
    assert!(error.contains("safetensors, not as JSON"), "{error}");
    // Sizes are looked at before anything is allocated: a layer of 4,096 times as many units.
    let huge = with_text(&lstm, "\\\"inputs\\\":6,", "\\\"inputs\\\":9,");
    assert!(SavedModel::from_bytes(&huge).unwrap_err().to_string().contains("shape"));
}

#[test]
fn models_of_version_1_are_read_and_answer_as_they_did() {
    for kind in EstimatorSpec::KINDS {
        let bytes = golden(kind);
        let spec = EstimatorSpec::named(kind).expect("a kind");
        let test = planted_for(&spec, 5, 2);
        let saved = SavedModel::from_bytes(&bytes).unwrap();
        assert_eq!((saved.version, saved.spec.kind(), saved.seed), (1, kind, 7));
        assert_eq!(saved.to_bytes(), bytes, "{kind}: what is read is written back unchanged");
        let answer = saved.model().unwrap().predict_dataset(&test).unwrap();
        let path = data_path("models").join(format!("v1-{kind}.answer.json"));
        let text = std::fs::read_to_string(path).expect("the golden answer is committed");
        let expected = numbers(&serde_json::from_str(&text).expect("numbers"));
        let network = NETWORKS.contains(&kind);
        if !network {
            assert_eq!(answer.as_slice(), expected, "{kind}: equal to the last bit");
            continue;
        }
        // Networks answer with the vectors of the processor at hand, whose last bits differ.
        for (found, expected) in answer.as_slice().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-7, "{kind}: {found} against {expected}");
        }
    }
}

#[test]
fn models_of_newer_versions_are_refused_with_a_remedy() {
    let mut newer: Value = serde_json::from_slice(&golden("ridge")).expect("JSON");
    newer["version"] = json!(2);
    newer["a_field_of_the_future"] = json!({});
    let error = SavedModel::from_bytes(newer.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, ModelError::NewerVersion { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("upgrade foretell or retrain"), "{error}");
}

#[test]
fn damaged_models_are_refused_by_field() {
    let cases = [
        ("ridge", "/state/ridge/weights/0", json!(null), "invalid type: null"),
        ("ridge", "/state/ridge/scales/1", json!(0.0), "scales[1]"),
        ("ridge", "/state/ridge/means", json!([1.0]), "means"),
        ("ridge", "/state/ridge/offsets/2", json!(1e9), "offsets"),
        ("ridge", "/state", json!({ "drift": {} }), "missing field `drift`"),
        ("ridge", "/state", json!({ "prophet": {} }), "unknown variant `prophet`"),
        ("ridge", "/version", json!(0), "version"),
        ("ridge", "/context_names", json!([]), "ewma_variance"),
        ("ridge", "/spec", json!({ "kind": "drift" }), "state.kind"),
        ("random_walk", "/state/random_walk/offsets", json!([0.0]), "length"),
        ("random_walk", "/feature_set", json!("abc"), "fingerprint"),
        ("random_forest", "/state/random_forest/trees", json!([]), "trees"),
        ("random_forest", "/state/random_forest/labels/0", json!(9.0), "labels"),
        ("random_forest", "/state/random_forest/trees/0/right/0", json!(1), "trees[0].right"),
        (
            "random_forest",
            "/state/random_forest/trees/0/feature/0",
            json!(6),
            "trees[0].feature[0]",
        ),
        ("random_forest", "/state/random_forest/trees/0/ranks/0", json!(9999), "trees[0].ranks[0]"),
        ("random_forest", "/state/random_forest/importance", json!([]), "importance"),
        ("gradient_boosting", "/state/gradient_boosting/base/0", json!("NaN"), "invalid type"),
        (
            "gradient_boosting",
            "/state/gradient_boosting/trees/0/feature/0",
            json!(77),
            "trees[0].feature[0]",
        ),
        ("gradient_boosting", "/state/gradient_boosting/trees/0/left/0", json!(2), "trees[0].left"),
        ("gradient_boosting", "/state/gradient_boosting/trees/0/gain", json!([]), "trees[0].gain"),
        ("theta", "/state/theta/alpha", json!(1.5), "alpha"),
        ("theta", "/context_names/2", json!("known"), "known_returns"),
        ("ets", "/state/ets/phi", json!(1.5), "phi"),
        ("ets", "/state/ets/steps", json!(0), "steps"),
        ("arima", "/state/arima/ar/0", json!(1.2), "stationary"),
        ("arima", "/state/arima/ma", json!([0.1, 0.1, 0.1, 0.1]), "three weights"),
        ("garch", "/state/garch/fit/beta", json!(1.1), "more than 1"),
        ("garch", "/state/garch/floor", json!(-0.1), "not negative"),
        ("har", "/state/har/fit/weights/1", json!(-0.1), "weights"),
        ("har", "/context_names/5", json!("month"), "mean_square_month"),
    ];
    for (kind, place, value, says) in cases {
        let mut bad: Value = serde_json::from_slice(&golden(kind)).expect("JSON");
        let there = bad.pointer_mut(place);
        *there.unwrap_or_else(|| panic!("{kind} has no {place}")) = value;
        let error = SavedModel::from_bytes(bad.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(says), "{kind} {place}: {error}");
        assert!(error.to_string().contains(';') || error.to_string().contains(':'), "{error}");
    }
    for bytes in [&b""[..], b"\xff\xfe", b"[]", b"{}", b"{\"version\":\"1\"}", b"not json"] {
        let error = SavedModel::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, ModelError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("retrain the model or restore the file"), "{error}");
    }
}

#[test]
fn a_model_cut_off_anywhere_is_refused() {
    for kind in EstimatorSpec::KINDS {
        let bytes = golden(kind);
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let error = SavedModel::from_bytes(&bytes[..length]).unwrap_err();
            assert!(matches!(error, ModelError::Damaged { .. }), "{kind} at {length}: {error}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let cases = [
        (r#"{"kind":"ridge","alpha":-1.0}"#, "alpha"),
        (r#"{"kind":"random_forest","trees":0}"#, "trees"),
        (r#"{"kind":"random_forest","depth":31}"#, "depth"),
        (r#"{"kind":"random_forest","min_split":1}"#, "min_split"),
        (r#"{"kind":"random_forest","min_leaf":0}"#, "min_leaf"),
        (r#"{"kind":"random_forest","column_share":0.0}"#, "column_share"),
        (r#"{"kind":"gradient_boosting","rounds":0}"#, "rounds"),
        (r#"{"kind":"gradient_boosting","depth":0}"#, "depth"),
        (r#"{"kind":"gradient_boosting","eta":1.5}"#, "eta"),
        (r#"{"kind":"gradient_boosting","subsample":0.0}"#, "subsample"),
        (r#"{"kind":"gradient_boosting","column_sample":2.0}"#, "column_sample"),
        (r#"{"kind":"gradient_boosting","lambda":-0.1}"#, "lambda"),
        (r#"{"kind":"gradient_boosting","min_child_weight":-3.0}"#, "min_child_weight"),
        (r#"{"kind":"gradient_boosting","max_bin":1}"#, "max_bin"),
        (r#"{"kind":"lstm","units":[]}"#, "units"),
        (r#"{"kind":"lstm","units":[5000]}"#, "units"),
        (r#"{"kind":"gru","dropout":0.9}"#, "dropout"),
        (r#"{"kind":"gru","epochs":0}"#, "epochs"),
        (r#"{"kind":"mlp","batch":0}"#, "batch"),
        (r#"{"kind":"mlp","learning_rate":0.0}"#, "learning_rate"),
        (r#"{"kind":"mlp","weight_decay":-1.0}"#, "weight_decay"),
        (r#"{"kind":"mlp","plateau_factor":2.0}"#, "plateau_factor"),
        (r#"{"kind":"mlp","clip":-1.0}"#, "clip"),
        (r#"{"kind":"lstm","objective":"squared","validation":0.0}"#, "validation"),
        (r#"{"kind":"dlinear","kernel":0}"#, "kernel"),
        (r#"{"kind":"mlp","objective":"classes","classes":22}"#, "classes"),
        (r#"{"kind":"gru","objective":"classes","classes":1}"#, "classes"),
        (r#"{"kind":"mlp","classes":3}"#, "classes"),
        (r#"{"kind":"arima","order":[1,0,1]}"#, "order"),
        (r#"{"kind":"arima","order":[4,1,0]}"#, "order"),
        (r#"{"kind":"arima","order":[1,1]}"#, "order"),
    ];
    let train = planted(200, 1);
    for (json, name) in cases {
        let error = fit(&spec(json), &train, 0).unwrap_err();
        let named = matches!(&error, ModelError::Setting { field, .. } if field == name);
        assert!(named, "{json}: {error}");
        assert!(error.to_string().contains("give"), "a remedy: {error}");
    }
    for unknown in [r#"{"kind":"ridge","alhpa":1.0}"#, r#"{"kind":"random_walk","alpha":1.0}"#] {
        let error = serde_json::from_str::<EstimatorSpec>(unknown).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
    assert!(EstimatorSpec::named("prophet").is_none());
    for kind in EstimatorSpec::KINDS {
        let spec = EstimatorSpec::named(kind).expect("every kind has defaults");
        assert_eq!(spec.kind(), kind);
        let text = serde_json::to_string(&spec).expect("settings are plain data");
        assert_eq!(serde_json::from_str::<EstimatorSpec>(&text).expect("and come back"), spec);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever a few changed bytes make of a stored model, reading it ends in an error or
    /// in a model whose answers are numbers.
    #[test]
    fn changed_bytes_never_panic(
        kind in prop::sample::select(&EstimatorSpec::KINDS[..]),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&b"0123456789-.,[]{}e\"n"[..])),
            1..4,
        ),
    ) {
        let mut bytes = golden(kind);
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(saved) = SavedModel::from_bytes(&bytes) {
            let test = planted_for(&saved.spec, 3, 2);
            let model = saved.model().expect("what is read can be used");
            if let Ok(answer) = model.predict(&test.features, &test.context) {
                prop_assert!(answer.as_slice().iter().all(|q| q.is_finite()));
            }
        }
    }
}
