//! Forest and boosting against scikit-learn on the same rows (`tests/reference/trees.py`):
//! other random draws and another search for splits, so errors are compared, not numbers.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

mod tables;

use foretell_model::conformance::planted;
use foretell_model::{EstimatorSpec, ModelState};
use foretell_panel::Dataset;
use tables::{data_path, dataset, fit, pinball, reference, spec};

fn rows() -> (Dataset, Dataset) {
    let path = data_path("reference/trees.csv");
    let text = std::fs::read_to_string(path).expect("the fixture is committed");
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut row: Vec<f64> = line.split(',').map(|v| v.parse().expect("a number")).collect();
        labels.push(row.pop().expect("a target"));
        features.extend(row);
    }
    let prices = vec![100.0; labels.len()];
    let all = dataset(features, &labels, &[], prices);
    (all.slice(0..800), all.slice(800..1600))
}

#[test]
fn the_forest_is_as_good_as_scikit_learns() {
    let (train, test) = rows();
    let expected = reference("trees.json");
    for answer in expected["forest"].as_array().expect("answers by share of columns") {
        let share = answer["column_share"].as_f64().expect("a number");
        let spec = spec(&format!(r#"{{"kind":"random_forest","column_share":{share}}}"#));
        let (mut rmse, mut loss) = (0.0, 0.0);
        for seed in 0..5 {
            let fitted = fit(&spec, &train, seed).unwrap();
            let ModelState::RandomForest(state) = fitted.state() else { panic!("a forest") };
            let means = state.means(&test.features);
            let squares = means.iter().zip(&test.labels).map(|(m, l)| (m - l.value).powi(2));
            rmse += (squares.sum::<f64>() / test.len() as f64).sqrt() / 5.0;
            loss += pinball(&fitted.predict_dataset(&test).unwrap(), &test.labels) / 5.0;
        }
        let of = |name: &str| answer[name].as_f64().expect("a number");
        assert!((rmse / of("rmse") - 1.0).abs() < 0.015, "rmse {rmse} against {answer}");
        assert!((loss / of("pinball") - 1.0).abs() < 0.015, "pinball {loss} against {answer}");
    }
}

#[test]
fn boosting_is_as_good_as_scikit_learns() {
    let (train, test) = rows();
    let spec = spec(
        r#"{"kind":"gradient_boosting","rounds":200,"depth":3,"eta":0.05,"min_child_weight":5.0,
            "column_sample":1.0,"max_bin":256}"#,
    );
    let fitted = fit(&spec, &train, 1).unwrap();
    let loss = pinball(&fitted.predict_dataset(&test).unwrap(), &test.labels);
    let expected = reference("trees.json")["boosting"]["pinball"].as_f64().expect("a number");
    assert!(loss < 1.02 * expected, "pinball {loss} against {expected}");
}

/// The loss of an estimator's defaults on rows it has not seen, relative to the
/// historical mean's, which knows the drift of the planted rows.
fn relative_loss(kind: &str, train: &Dataset, test: &Dataset) -> f64 {
    let loss = |kind: &str| {
        let spec = EstimatorSpec::named(kind).expect("a kind");
        let forecast = fit(&spec, train, 1).and_then(|m| m.predict_dataset(test));
        let forecast = forecast.expect("planted rows can be learnt");
        pinball(&forecast, &test.labels)
    };
    loss(kind) / loss("historical_mean")
}

#[test]
fn planted_links_are_found_and_noise_is_not_learnt() {
    let (train, test) = (planted(3_000, 1), planted(1_500, 2));
    // A random order of the labels has the same distribution and no link to the rows.
    let shuffled = |data: &Dataset| {
        let mut data = data.clone();
        let n = data.len();
        let values: Vec<f64> = data.labels.iter().map(|l| l.value).collect();
        (0..n).for_each(|i| data.labels[i].value = values[(i * 787 + 11) % n]);
        data
    };
    let (noise, noise_test) = (shuffled(&train), shuffled(&test));
    for (kind, at_most) in [
        ("ridge", 0.9),
        ("random_forest", 0.92),
        ("gradient_boosting", 0.88),
        ("ewma_volatility", 0.985),
    ] {
        let loss = relative_loss(kind, &train, &test);
        assert!(loss < at_most, "{kind} misses what is there: {loss}");
        let loss = relative_loss(kind, &noise, &noise_test);
        assert!(loss > 0.995, "{kind} finds what is not there: {loss}");
    }
}

#[test]
fn boosted_quantiles_cover_what_they_say() {
    let (train, test) = (planted(4_000, 3), planted(4_000, 4));
    let spec = EstimatorSpec::named("gradient_boosting").expect("a kind");
    let forecast = fit(&spec, &train, 1).and_then(|m| m.predict_dataset(&test)).unwrap();
    for (k, level) in foretell_model::QUANTILE_LEVELS.iter().enumerate() {
        let below = (0..test.len()).filter(|&i| test.labels[i].value <= forecast.row(i)[k]).count();
        let share = below as f64 / test.len() as f64;
        // Learnt and judged on other rows: a binomial band of three deviations, widened
        // because leaves are fitted to the rows that chose them.
        let band = 3.0 * (level * (1.0 - level) / test.len() as f64).sqrt() + 0.02;
        assert!((share - level).abs() < band, "level {level} covers {share}");
    }
}
