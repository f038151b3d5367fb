//! Comparison of recipes against arch, scipy and scikit-learn
//! (`tests/reference/comparison.py` made the numbers).

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod tables;

use foretell_model::evaluate::bootstrap::stationary_means;
use foretell_model::evaluate::mcs::{MostDifferent, confidence_p_values};
use foretell_model::evaluate::permutation_importance;
use foretell_model::evaluate::ranks::{rank, studentized_range_quantile};
use foretell_model::evaluate::special::chi_squared_sf;
use foretell_model::stacking_weights;
use foretell_testkit::assert_close;
use serde_json::Value;
use tables::{dataset, fit, numbers, reference, spec};

fn topic(name: &str) -> Value {
    reference("comparison.json")[name].clone()
}

fn lists(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().expect("lists").iter().map(numbers).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

const STATISTICS: [(&str, MostDifferent); 2] =
    [("T_max", MostDifferent::FromTheMean), ("T_R", MostDifferent::OfAPair)];

#[test]
fn the_confidence_set_equals_archs_on_the_same_draws() {
    let given = topic("confidence_set");
    let losses = lists(&given["losses"]);
    let means: Vec<f64> = losses.iter().map(|l| mean(l)).collect();
    let drawn = |losses: &Vec<f64>| {
        let draw =
            |rows: Vec<f64>| mean(&rows.iter().map(|i| losses[*i as usize]).collect::<Vec<_>>());
        lists(&given["indices"]).into_iter().map(draw).collect::<Vec<f64>>()
    };
    let draws: Vec<Vec<f64>> = losses.iter().map(drawn).collect();
    let views: Vec<&[f64]> = draws.iter().map(Vec::as_slice).collect();
    for (name, statistic) in STATISTICS {
        let found = confidence_p_values(&means, &views, statistic);
        for (found, expected) in found.iter().zip(numbers(&given[name])) {
            assert_close(*found, expected, 1e-12);
        }
    }
}

/// Our own draws: within Monte-Carlo error of arch's 10,000 (0.5 points at a p of one half).
#[test]
fn the_confidence_set_equals_archs_within_the_error_of_the_draws() {
    let given = topic("confidence_set");
    let losses = lists(&given["losses"]);
    let views: Vec<&[f64]> = losses.iter().map(Vec::as_slice).collect();
    let means: Vec<f64> = losses.iter().map(|l| mean(l)).collect();
    let block = given["block"].as_f64().expect("a length");
    let draws = stationary_means(&views, block, 10_000, 3);
    let draws: Vec<&[f64]> = draws.iter().map(Vec::as_slice).collect();
    for (name, statistic) in STATISTICS {
        let found = confidence_p_values(&means, &draws, statistic);
        for (found, expected) in found.iter().zip(numbers(&given[&format!("{name}_10000")])) {
            assert!((found - expected).abs() < 0.02, "{name}: {found} against {expected}");
        }
    }
}

#[test]
fn ranks_equal_scipys() {
    let given = topic("ranks");
    let found = rank(&lists(&given["losses"]), 0.95).expect("five recipes in 14 folds");
    for (found, expected) in found.mean.iter().zip(numbers(&given["mean"])) {
        assert_close(*found, expected, 1e-12);
    }
    for (found, name) in [
        (found.statistic, "statistic"),
        (found.p_value, "p_value"),
        (found.critical_difference, "critical_difference"),
    ] {
        // scipy integrates the range to about eight digits.
        assert_close(found, given[name].as_f64().expect("a number"), 1e-7);
    }
    for case in lists(&given["studentized_range"]) {
        assert_close(studentized_range_quantile(case[0], case[1] as usize), case[2], 1e-6);
    }
    for case in lists(&given["chi_squared_sf"]) {
        assert_close(chi_squared_sf(case[0], case[1]) / case[2], 1.0, 1e-10);
    }
    assert!(
        rank(&[vec![1.0, 2.0]], 0.95).is_none() && rank(&[vec![1.0], vec![2.0]], 0.95).is_none()
    );
}

#[test]
fn permutation_importance_equals_scikit_learns_within_its_error() {
    let given = topic("importance");
    let labels = numbers(&given["labels"]);
    let rows = dataset(lists(&given["features"]).concat(), &labels, &[], vec![100.0; labels.len()]);
    let first = given["train"].as_u64().expect("a number") as usize;
    let fitted = fit(&spec(r#"{"kind":"ridge"}"#), &rows.slice(0..first), 0).unwrap();
    let test = rows.slice(first..rows.len());
    let shuffles = given["shuffles"].as_u64().expect("a number") as usize;
    let found = permutation_importance(&*fitted, &test, shuffles, 5).unwrap();
    let (means, deviations) = (numbers(&given["mean_bp"]), numbers(&given["deviation_bp"]));
    for (j, name) in test.feature_names.iter().enumerate() {
        let own = found.iter().find(|f| f.feature == *name).expect("every feature");
        // Both are means over 2,000 shuffles: four deviations of their difference.
        let bound = 4.0 * deviations[j] * (2.0 / shuffles as f64).sqrt();
        assert!((own.mean_bp - means[j]).abs() < bound, "{own:?} against {}", means[j]);
        assert_close(own.deviation_bp / deviations[j], 1.0, 0.1);
        assert_eq!(own.shuffles, shuffles);
    }
    assert_eq!(found[0].feature, "f0", "the largest stands first");
}

#[test]
fn stacking_weights_are_those_of_the_linear_program() {
    let given = topic("weights");
    let members = lists(&given["members"]);
    let views: Vec<&[f64]> = members.iter().map(Vec::as_slice).collect();
    let outcomes = numbers(&given["outcomes"]);
    let found = stacking_weights(&views, &outcomes);
    let loss = |weights: &[f64]| {
        let mut sum = 0.0;
        for (i, y) in outcomes.iter().enumerate() {
            for (level, p) in foretell_model::QUANTILE_LEVELS.iter().enumerate() {
                let at = i * foretell_model::LEVELS + level;
                let error = y - weights.iter().zip(&members).map(|(w, m)| w * m[at]).sum::<f64>();
                sum += (p * error).max((p - 1.0) * error);
            }
        }
        sum / (outcomes.len() * foretell_model::LEVELS) as f64
    };
    let best = given["loss"].as_f64().expect("a number");
    assert_close(loss(&numbers(&given["weights"])), best, 1e-9);
    assert!(loss(&found) <= best * (1.0 + 1e-4), "{} against {best}: {found:?}", loss(&found));
    for (found, expected) in found.iter().zip(numbers(&given["weights"])) {
        assert!((found - expected).abs() < 0.02, "{found} against {expected}");
    }
    assert_close(found.iter().sum::<f64>(), 1.0, 1e-12);
    assert_eq!(stacking_weights(&views[..1], &outcomes), [1.0]);
    assert_eq!(stacking_weights(&[&[], &[]], &[]), [0.5, 0.5]);
}
