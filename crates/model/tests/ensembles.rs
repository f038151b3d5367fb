//! What ensembles promise: the mean is the mean, stacking learns from the past alone.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod tables;

use foretell_market::Fingerprint;
use foretell_model::conformance::planted;
use foretell_model::{EstimatorSpec, ModelError, ModelState, SavedModel};
use foretell_panel::Dataset;
use tables::{fit, pinball, spec};

fn ensemble(kind: &str, members: &[&str]) -> EstimatorSpec {
    spec(&format!(r#"{{"kind":"{kind}","members":[{}]}}"#, members.join(",")))
}

const RIDGE: &str = r#"{"kind":"ridge"}"#;
const FOREST: &str = r#"{"kind":"random_forest","trees":20,"depth":4}"#;
const WALK: &str = r#"{"kind":"random_walk"}"#;

fn weights(spec: &EstimatorSpec, train: &Dataset) -> Vec<f64> {
    match fit(spec, train, 3).expect("it fits").state() {
        ModelState::Stacking(state) => state.weights,
        other => panic!("a stacked ensemble, not {}", other.kind()),
    }
}

#[test]
fn the_mean_is_the_arithmetic_mean_to_the_bit() {
    let (train, test) = (planted(400, 1), planted(60, 2));
    let members = [RIDGE, FOREST, WALK];
    let whole = fit(&ensemble("mean", &members), &train, 5).unwrap();
    let said = whole.predict_dataset(&test).unwrap();
    let parts = members.map(|m| fit(&spec(m), &train, 5).unwrap().predict_dataset(&test).unwrap());
    for (i, q) in said.as_slice().iter().enumerate() {
        let sum = parts[0].as_slice()[i] + parts[1].as_slice()[i] + parts[2].as_slice()[i];
        assert_eq!(*q, sum / 3.0);
    }
}

/// Over ten markets with a planted link the stacked ensemble loses no more than the best of
/// its members on average, and less than the worst each time.
#[test]
fn stacking_is_as_good_as_its_best_member_on_planted_rows() {
    let members = [RIDGE, FOREST, WALK];
    let stacked = ensemble("stacking", &members);
    let mut sums = [0.0; 4];
    for market in 0..10 {
        let (train, test) = (planted(600, 10 + market), planted(600, 100 + market));
        let loss = |spec: &EstimatorSpec| {
            let fitted = fit(spec, &train, 1).unwrap();
            pinball(&fitted.predict_dataset(&test).unwrap(), &test.labels)
        };
        let own = loss(&stacked);
        let alone = members.map(|m| loss(&spec(m)));
        assert!(own < alone.iter().copied().fold(0.0, f64::max), "{own} against {alone:?}");
        for (sum, loss) in sums.iter_mut().zip(alone.into_iter().chain([own])) {
            *sum += loss / 10.0;
        }
    }
    let best = sums[..3].iter().copied().fold(f64::MAX, f64::min);
    assert!(sums[3] <= best, "{sums:?}");
}

#[test]
fn weights_follow_the_rows_that_were_learnt_from_and_no_later_ones() {
    let all = planted(900, 4);
    let stacked = ensemble("stacking", &[RIDGE, WALK]);
    let train = all.slice(0..600);
    let learnt = weights(&stacked, &train);
    assert!(learnt[0] > 0.5, "the planted link is worth its weight: {learnt:?}");
    // Whatever comes after the training rows, the weights are the same.
    let mut garbage = all.clone();
    garbage.labels[600..].iter_mut().for_each(|l| l.value = 1e3 * (l.value + 1.0));
    assert_eq!(weights(&stacked, &garbage.slice(0..600)), learnt);
    // A label that ends after a block begins is not learnt from before that block: garbage
    // there moves the block's own outcome, and no member.
    let mut purged = train.clone();
    purged.labels[299].end = purged.labels[599].end;
    let without = weights(&stacked, &purged);
    purged.labels[299].value = 50.0;
    // It still counts in the final fit and in no inner one, so the weights stay.
    assert_eq!(weights(&stacked, &purged), without);
    // Where nothing can be known a ridge is worth less than where something can.
    let mut noise = train.clone();
    let shifted: Vec<f64> = noise.labels.iter().rev().map(|l| l.value).collect();
    noise.labels.iter_mut().zip(shifted).for_each(|(l, v)| l.value = v);
    let against_mean = ensemble("stacking", &[RIDGE, r#"{"kind":"historical_mean"}"#]);
    let (known, unknown) = (weights(&against_mean, &train), weights(&against_mean, &noise));
    assert!(known[0] > 0.9 && unknown[0] < 0.6, "{known:?} and {unknown:?}");
}

#[test]
fn ensembles_of_ensembles_and_of_one_are_refused() {
    let inner = format!(r#"{{"kind":"mean","members":[{RIDGE},{WALK}]}}"#);
    for (members, says) in [
        (vec![RIDGE], "two or more"),
        (vec![RIDGE, RIDGE], "once"),
        (vec![RIDGE, &inner], "no ensemble"),
    ] {
        let error = ensemble("stacking", &members).build().unwrap_err();
        let named = matches!(&error, ModelError::Setting { field, .. } if field == "members");
        assert!(named && error.to_string().contains(says), "{error}");
    }
    let error = spec(r#"{"kind":"stacking","inner_folds":0}"#).build().unwrap_err();
    assert!(error.to_string().contains("inner_folds"), "{error}");
}

#[test]
fn a_stored_ensemble_whose_parts_do_not_fit_is_refused() {
    let train = planted(300, 1);
    let spec = ensemble("mean", &[RIDGE, WALK]);
    let fitted = fit(&spec, &train, 1).unwrap();
    let saved = SavedModel::new(&*fitted, &spec, &train, 1, "test");
    let hash: Fingerprint = saved.hash();
    assert_eq!(SavedModel::from_bytes(&saved.to_bytes()).unwrap().hash(), hash);
    let damage = |place: &str, value: serde_json::Value, says: &str| {
        let mut json = serde_json::to_value(&saved).expect("plain data");
        *json.pointer_mut(place).expect("the place exists") = value;
        let error = SavedModel::from_bytes(json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(says), "{place}: {error}");
    };
    damage("/state/mean/weights", serde_json::json!([0.5, 0.6]), "sum to 1");
    damage("/state/mean/weights", serde_json::json!([1.0]), "one for each");
    damage("/spec/members/0", serde_json::json!({ "kind": "drift" }), "those of the settings");
    damage("/state/mean/members/0/ridge/means", serde_json::json!([]), "means");
}
