//! A model that fails fails alone: it is told in every output, counted, never served; what
//! is served is what would have been served without it.

use serde_json::Value;

use crate::market::{Kind, Market};

/// Behind ReLU a state grows without bound over a long window, and steps of 1 take it there.
const NETWORK: &str = r#"
[[models]]
kind = "lstm"
name = "network"
units = [8]
activation = "relu"
objective = "squared"
batch = 16
learning_rate = 1.0
clip = 0.0
epochs = 200
patience = 0
plateau = 0
"#;

const ENSEMBLE: &str = r#"
[[models]]
kind = "mean"
name = "both"
members = ["ridge", "network"]
"#;

/// The seeded market with windows, few folds and more models.
fn market(more: &str) -> Market {
    let market = Market::new(Kind::Reverting, 700, 41);
    let text =
        market.read("pipeline.toml").replace("season = \"7d\"", "season = \"7d\"\nwindow = 40");
    let text = text.replace("min_refits = 5", "min_refits = 2\nfolds = 2");
    market.write("pipeline.toml", &(text + more));
    market
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|l| l["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_model_that_diverges_changes_nothing_for_the_others_and_is_told_everywhere() {
    let (with, without) = (market(&format!("{NETWORK}{ENSEMBLE}")), market(""));
    let report = with.json(&["run", "pipeline.toml"]);
    let plain = without.json(&["run", "pipeline.toml"]);
    assert_eq!(names(&report["failed"]), ["network", "both"]);
    let network = &report["failed"][0];
    assert_eq!((&network["fold"], &network["seed"]), (&1.into(), &1.into()), "{network}");
    let reason = network["reason"].as_str().unwrap();
    assert!(reason.contains("diverged") && reason.contains("lower `learning_rate`"), "{reason}");
    assert_eq!(report["failed"][1]["member"], "network");
    assert_eq!(plain["failed"], serde_json::json!([]));
    // The others are judged as without it, and the same forecast is served.
    assert_eq!(names(&report["table"]), names(&plain["table"]));
    for (a, b) in report["table"].as_array().unwrap().iter().zip(plain["table"].as_array().unwrap())
    {
        for key in ["mae_bp", "crps_bp", "skill", "skill_interval", "coverage", "after_cost_bp"] {
            assert_eq!(a[key], b[key], "{key} of {}", a["name"]);
        }
    }
    for key in ["dataset", "champion", "rows", "refits", "confidence_sets", "ranks", "volatility"] {
        assert_eq!(report[key], plain[key], "{key}");
    }
    for key in ["id", "point", "interval", "quantiles"] {
        assert_eq!(report["forecast"][key], plain["forecast"][key], "{key}");
    }
    let hashes = |market: &Market| -> Vec<(Value, Value)> {
        let list = market.json(&["models", "list"]);
        let list = list.as_array().expect("models");
        list.iter().map(|m| (m["recipe"].clone(), m["hash"].clone())).collect()
    };
    let (kept, expected) = (hashes(&with), hashes(&without));
    assert!(kept.iter().all(|(recipe, _)| recipe != "network" && recipe != "both"), "{kept:?}");
    assert_eq!(kept, expected);
    // Two more tries are counted.
    let counted = |report: &Value| report["overfitting"]["recipes"].as_u64().unwrap();
    assert_eq!(counted(&report), counted(&plain) + 2);
    let run = report["run"].as_str().unwrap();
    let words = with.ok(&["runs", "show", run]);
    assert!(words.contains("failed/network") && words.contains("failed_recipes"), "{words}");
    let page = with.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    assert!(page.contains("Models that failed") && page.contains("failed in fold 1, seed 1: "));
    assert_eq!(with.json(&["reproduce", run])["matches"], true);
    // The same again is the same test and says the same.
    let again = with.run(&["run", "pipeline.toml"]);
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success(), "{told}");
    assert!(told.contains(" network failed in fold 1, seed 1: lstm: training diverged"), "{told}");
    assert!(told.contains(" both failed with its member `network`: "), "{told}");
    let errors = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(errors.contains("the others go on without it"), "{errors}");
    assert_eq!(hashes(&with), expected);
    let words = with.ok(&["evaluate", "pipeline.toml"]);
    assert!(words.contains(" network failed in fold 1, seed 1: "), "{words}");
}

/// Runs and expects exit code 1; answers with standard error, where the failure is told as it
/// happens, before the error.
fn fails(market: &Market, arguments: &[&str]) -> String {
    let output = market.run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("\nerror: ") && !errors.contains("panicked"), "{errors}");
    errors
}

#[test]
fn a_run_in_which_all_fail_ends_with_their_remedies() {
    let market = market(NETWORK);
    let text = market.read("pipeline.toml");
    let (head, _) = text.split_once("[[models]]").expect("models");
    market.write("pipeline.toml", &format!("{head}{NETWORK}"));
    let errors = fails(&market, &["run", "pipeline.toml"]);
    assert!(errors.contains("no model is left beside the random walk"), "{errors}");
    assert!(errors.contains("`network` failed in fold 1, seed 1"), "{errors}");
    assert!(errors.contains("lower `learning_rate`"), "{errors}");
    let runs = market.json(&["runs", "list"]);
    let words = market.ok(&["runs", "show", runs[0]["id"].as_str().unwrap()]);
    assert!(words.contains("failed/network"), "the try is on record: {words}");
    let errors = fails(&market, &["evaluate", "pipeline.toml"]);
    assert!(errors.contains("no model is left beside the random walk"), "{errors}");
}
