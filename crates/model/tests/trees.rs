//! Forest and boosting against scikit-learn on the same rows (`tests/reference/trees.py`):
//! other random draws and another search for splits, so errors are compared, not numbers.

mod tables;

use foretell_model::ModelState;
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
