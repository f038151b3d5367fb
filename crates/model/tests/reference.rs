//! Baselines and ridge against numpy and scikit-learn (`tests/reference/estimators.py`).

mod tables;

use foretell_model::{EstimatorSpec, MEDIAN, ModelState, Quantiles};
use foretell_panel::Dataset;
use foretell_testkit::assert_all_close;
use serde_json::Value;
use tables::{dataset, fit, numbers, reference};

fn rows(fixture: &Value) -> (Dataset, Dataset) {
    let features: Vec<Vec<f64>> =
        serde_json::from_value(fixture["features"].clone()).expect("rows of numbers");
    let column = |name: &str| numbers(&fixture[name]);
    let (seasonal, variance) = (column("seasonal"), column("variance"));
    let context = [("seasonal_log_return", &seasonal[..]), ("ewma_variance", &variance[..])];
    let all = dataset(features.concat(), &column("labels"), &context, column("base_prices"));
    let train = fixture["train"].as_u64().expect("a number of rows") as usize;
    (all.slice(0..train), all.slice(train..all.len()))
}

fn medians(forecast: &Quantiles) -> Vec<f64> {
    forecast.medians()
}

/// Every quantile of every row is `centre + scale × offset`.
fn assert_located(forecast: &Quantiles, centre: &[f64], scale: &[f64], offsets: &[f64]) {
    let expected: Vec<f64> = centre
        .iter()
        .zip(scale)
        .flat_map(|(c, s)| offsets.iter().map(move |o| c + s * o))
        .collect();
    assert_all_close(forecast.as_slice(), &expected, 1e-12);
}

#[test]
fn baselines_equal_numpy() {
    let fixture = reference("estimators.json");
    let (train, test) = rows(&fixture);
    for (kind, answer) in fixture["baselines"].as_object().expect("answers by kind") {
        let spec = EstimatorSpec::named(kind).expect("a kind");
        let fitted = fit(&spec, &train, 0).unwrap();
        let forecast = fitted.predict_dataset(&test).unwrap();
        let ones = vec![1.0; test.len()];
        let scale = answer.get("scale").map_or(ones, numbers);
        assert_located(
            &forecast,
            &numbers(&answer["centre"]),
            &scale,
            &numbers(&answer["offsets"]),
        );
        if kind == "random_walk" {
            assert!(medians(&forecast).iter().all(|m| m.to_bits() == 0), "exactly zero");
        }
    }
}

#[test]
fn ridge_equals_scikit_learn() {
    let fixture = reference("estimators.json");
    let (train, test) = rows(&fixture);
    let volatility = numbers(&fixture["volatility"]);
    for answer in fixture["ridge"].as_array().expect("answers by alpha") {
        let alpha = answer["alpha"].as_f64().expect("a number");
        let centre = numbers(&answer["centre"]);
        for (volatility_scaled, offsets, scale) in [
            (false, numbers(&answer["offsets"]), vec![1.0; test.len()]),
            (true, numbers(&answer["scaled_offsets"]), volatility.clone()),
        ] {
            let fitted =
                fit(&EstimatorSpec::Ridge { alpha, volatility_scaled }, &train, 0).unwrap();
            let ModelState::Ridge(state) = fitted.state() else { panic!("a ridge knows a ridge") };
            assert_all_close(&state.weights, &numbers(&answer["weights"]), 1e-9);
            assert_eq!(state.weights[4], 0.0, "a constant column has no weight");
            let forecast = fitted.predict_dataset(&test).unwrap();
            assert_all_close(&medians(&forecast), &centre, 1e-9);
            for (i, spread) in scale.iter().enumerate() {
                let row = forecast.row(i);
                let around: Vec<f64> = row.iter().map(|q| (q - row[MEDIAN]) / spread).collect();
                assert_all_close(&around, &offsets, 1e-9);
            }
        }
    }
}

#[test]
fn ridge_without_penalty_refuses_equal_columns() {
    let fixture = reference("estimators.json");
    let (mut train, _) = rows(&fixture);
    let twice: Vec<f64> = (0..train.len())
        .flat_map(|i| [train.features.get(i, 0), 2.0 * train.features.get(i, 0)])
        .collect();
    train.features = foretell_panel::Matrix::new(train.len(), 2, twice);
    train.feature_names.truncate(2);
    let exact = EstimatorSpec::Ridge { alpha: 0.0, volatility_scaled: false };
    let error = fit(&exact, &train, 0).unwrap_err();
    assert!(error.to_string().contains("give `alpha` more than 0"), "{error}");
    let penalised = EstimatorSpec::Ridge { alpha: 1e-3, volatility_scaled: false };
    assert!(fit(&penalised, &train, 0).is_ok());
}
