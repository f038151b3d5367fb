//! Recipes against each other: seeds, ensembles, confidence set and ranks; what a forecast is
//! made of; an evaluation in full that was killed goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::market::{Kind, Market, signal};

/// The seeded market's pipeline with a forest and two ensembles.
fn with_ensembles(market: &Market, seeds: u32) {
    let text = market.read("pipeline.toml").replace(
        "min_refits = 5",
        &format!("min_refits = 5\nseeds = {seeds}\ntime_budget = \"10m\""),
    );
    let more = r#"
[[models]]
kind = "mean"
members = ["ridge", "forest"]

[[models]]
kind = "stacking"
members = ["ridge", "forest", "historical mean"]

[[models]]
kind = "random_forest"
name = "forest"
trees = 10
depth = 4
"#;
    market.write("pipeline.toml", &(text + more));
}

fn line<'a>(table: &'a Value, name: &str) -> &'a Value {
    let lines = table.as_array().expect("lines");
    lines.iter().find(|l| l["name"] == name).unwrap_or_else(|| panic!("no line of {name}"))
}

#[test]
fn recipes_are_compared_with_seeds_sets_and_ranks_in_every_output() {
    let market = Market::new(Kind::Reverting, 700, 31);
    with_ensembles(&market, 3);
    let report = market.json(&["run", "pipeline.toml"]);
    let table = &report["table"];
    let refits = report["refits"].clone();
    for (name, seeds) in
        [("random walk", 1), ("ridge", 1), ("forest", 3), ("mean", 3), ("stacking", 3)]
    {
        let told = &line(table, name)["seeds"];
        assert_eq!((&told["seeds"], &told["folds"]), (&seeds.into(), &refits), "{name}");
        assert_eq!(told["mae_bp"][1].is_number(), seeds > 1, "{name}: {told}");
        assert_eq!(told["draws"], seeds > 1);
    }
    let sets = report["confidence_sets"].as_array().unwrap();
    assert_eq!(sets.len(), 4);
    for set in sets {
        let inside = set["inside"].as_array().unwrap();
        assert!(!inside.is_empty(), "the best is always inside");
        for blind in ["random walk", "historical mean"] {
            assert!(!inside.contains(&blind.into()), "what sees the planted link is better: {set}");
        }
    }
    assert_eq!(report["ranks"]["folds"], refits);
    let page = market.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    for part in [
        "Models against each other",
        "Seeds: means and standard deviations",
        "Model confidence set at 90 %",
        "Mean rank by absolute error over",
        "what its features add to a forecast",
        "when a feature is shuffled",
        "up to 3 seeds",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let words = market.ok(&["evaluate", "pipeline.toml"]);
    for part in ["model confidence set at 90 %: ", "mean rank over ", "forest, 3 seeds × ", "fits"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    // The stored models answer again, members and weights included.
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert!(!market.file(".foretell/evaluations").exists(), "what is finished is tidied up");
}

#[test]
fn the_parts_of_a_forecast_sum_to_it_here_and_through_the_server() {
    let market = Market::new(Kind::Reverting, 900, 2);
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!(report["champion"], "ridge");
    let id = report["forecast"]["id"].as_str().unwrap();
    let told = market.json(&["explain", id]);
    let number = |pointer: &str| told.pointer(pointer).and_then(Value::as_f64).unwrap();
    let parts = told["parts"].as_array().unwrap();
    let sum: f64 = parts.iter().map(|p| p["bp"].as_f64().unwrap()).sum();
    let whole = number("/base_bp") + sum + number("/rest_bp");
    assert!((whole - number("/forecast_bp")).abs() < 1e-9, "{told}");
    let point = number("/base_price") * (number("/forecast_bp") / 1e4).exp();
    let served = report["forecast"]["point"].as_f64().unwrap();
    assert!((point / served - 1.0).abs() < 1e-12, "{point} against {served}");
    let sizes: Vec<f64> = parts.iter().map(|p| p["bp"].as_f64().unwrap().abs()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "the largest first");
    assert!(parts.iter().all(|p| p["value"].is_number()));
    let words = market.ok(&["explain", id]);
    assert!(words.contains("base, no feature known") && words.contains("`ridge`"), "{words}");
    let model = market.json(&["explain", "seeded-daily"]);
    assert_eq!(model["recipe"], "ridge");
    let shap = model["shap_bp"].as_array().unwrap();
    let shuffled = model["permutation"].as_array().unwrap();
    assert!(!shap.is_empty() && shuffled[0]["mean_bp"].as_f64().unwrap() > 0.0, "{model}");
    let words = market.ok(&["models", "show", "seeded-daily"]);
    assert!(words.contains("mean |SHAP| bp") && words.contains("error when shuffled"), "{words}");
    let errors = market.fails(1, &["explain", "f_no-such"]);
    assert!(errors.contains("there is no"), "{errors}");
    let serving = market.serve(&[]);
    assert_eq!(market.json(&["explain", id]), told);
    assert_eq!(market.json(&["explain", "seeded-daily"]), model);
    drop(serving);
}

/// How many finished fits lie in the data directory.
fn pieces(market: &Market) -> usize {
    let folder: PathBuf = market.file(".foretell/evaluations/seeded-daily.run");
    std::fs::read_dir(folder).map_or(0, |files| {
        let name = |f: &std::fs::DirEntry| f.file_name().to_string_lossy().starts_with('.');
        files.flatten().filter(|f| !name(f)).count()
    })
}

#[test]
fn a_run_in_full_that_was_killed_goes_on_and_ends_the_same() {
    let (market, whole) = (Market::new(Kind::Noise, 700, 33), Market::new(Kind::Noise, 700, 33));
    for market in [&market, &whole] {
        with_ensembles(market, 2);
        let text = market.read("pipeline.toml").replace("trees = 10", "trees = 60");
        market.write("pipeline.toml", &text.replace("min_refits = 5", "min_refits = 2\nfolds = 3"));
    }
    let mut child = market.command(&["run", "pipeline.toml", "--full", "--json"]).spawn().unwrap();
    let begun = Instant::now();
    while pieces(&market) < 40 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no fit is kept");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    signal(child.id(), "KILL");
    child.wait().unwrap();
    let kept = pieces(&market);
    assert!(kept >= 40);
    let report = market.json(&["run", "pipeline.toml", "--full"]);
    assert_eq!(pieces(&market), 0, "the work is done");
    let expected = whole.json(&["run", "pipeline.toml", "--full"]);
    assert_eq!(report["table"], expected["table"]);
    let forest = &line(&report["table"], "forest")["seeds"];
    assert_eq!(forest["seeds"], 20);
    assert!(forest["folds"].as_u64().unwrap() > 3, "all folds: {forest}");
    // Without --full the bounds of the file hold.
    let bounded = whole.json(&["run", "pipeline.toml"]);
    let forest = &line(&bounded["table"], "forest")["seeds"];
    assert_eq!((&forest["seeds"], &forest["folds"]), (&2.into(), &3.into()));
}
