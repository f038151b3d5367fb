//! Searches: a run finds settings, keeps every trial, goes on after it was killed, and can be
//! made again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::market::{Kind, Market, signal};

/// The seeded market's pipeline with nothing but a searched model.
fn searching(market: &Market, model: &str) {
    let text = market.read("pipeline.toml");
    let head = text.split("[[models]]").next().expect("a head");
    market.write("pipeline.toml", &format!("{head}\n{model}"));
}

const RIDGE: &str = r#"
[[models]]
kind = "ridge"
[models.search]
trials = 12
every = 2
[models.search.space]
alpha = { from = 0.01, to = 1e6, log = true }
volatility_scaled = [true, false]
"#;

#[test]
fn a_run_keeps_every_trial_and_tells_what_was_found() {
    let market = Market::new(Kind::Noise, 900, 31);
    searching(&market, RIDGE);
    let report = market.json(&["run", "pipeline.toml"]);
    let found = &report["searches"][0];
    assert_eq!((&found["recipe"], &found["fold"]), (&"ridge, searched".into(), &().into()));
    assert_eq!(found["trials"].as_array().unwrap().len(), 12);
    let run = report["run"].as_str().unwrap();
    let detail = market.json(&["search", "show", run]);
    let searches = detail["searches"].as_array().unwrap();
    assert_eq!(searches[0], *found, "the final refit comes first");
    // Every second fold searched, each on rows of its own.
    let folds: Vec<u64> = searches[1..].iter().map(|s| s["fold"].as_u64().unwrap()).collect();
    assert!(folds.len() >= 2 && folds.iter().all(|f| f % 2 == 1), "{folds:?}");
    let studies: BTreeSet<&str> = searches.iter().map(|s| s["study"].as_str().unwrap()).collect();
    assert_eq!(studies.len(), searches.len());
    for search in searches {
        let best = search["best"].as_u64().unwrap();
        let complete = |t: &&serde_json::Value| t["state"] == "complete";
        let loss = |t: &serde_json::Value| t["objective"].as_f64().unwrap();
        let trials = search["trials"].as_array().unwrap();
        let least = trials.iter().filter(complete).min_by(|a, b| loss(a).total_cmp(&loss(b)));
        assert_eq!(least.unwrap()["number"], best);
        assert!((0.0..=1.0).contains(&search["probability"].as_f64().unwrap()));
    }
    // By the pipeline's name, by its file, of one fold; in words.
    assert_eq!(market.json(&["search", "show", "pipeline.toml"]), detail);
    let words = market.ok(&["search", "show", "pipeline.toml", "--fold", "1"]);
    assert!(words.contains("ridge, searched, fold 1: ") && words.contains('★'), "{words}");
    let words = market.fails(1, &["search", "show", run, "--recipe", "forest"]);
    assert!(words.contains("lists them all"), "{words}");
    let page = market.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    for said in ["Settings that were searched for", "trial by trial", "The best trials"] {
        assert!(page.contains(said), "{said}");
    }
    // The models can be made again, and nothing is left behind.
    let proof = market.json(&["reproduce", run]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert!(!market.file(".foretell/checkpoints").exists());
    // The same once more adds searches and no trials.
    let again = market.json(&["run", "pipeline.toml"]);
    assert_eq!(again["searches"], report["searches"]);
    assert_eq!(again["table"][1]["mae_bp"], report["table"][1]["mae_bp"]);
}

#[test]
fn a_budget_of_time_is_reproduced_by_the_number_of_trials() {
    let market = Market::new(Kind::Noise, 900, 33);
    let timed = RIDGE.replace("trials = 12", "trials = 10000\ntime_budget = \"1s\"\nbatch = 4");
    searching(&market, &timed.replace("every = 2", "every = 1000"));
    let report = market.json(&["run", "pipeline.toml"]);
    let trials = report["searches"][0]["trials"].as_array().unwrap().len();
    assert!((1..10_000).contains(&trials) && trials.is_multiple_of(4), "{trials}");
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
}

#[test]
fn a_run_that_is_killed_in_a_search_goes_on_from_its_last_trial() {
    let slow = r#"
[[models]]
kind = "gradient_boosting"
rounds = 150
min_child_weight = 1.0
[models.search]
trials = 20
every = 1000
pruner = "none"
[models.search.space]
depth = [3, 6]
eta = { from = 0.01, to = 0.3, log = true }
"#;
    let killed = Market::new(Kind::Noise, 900, 35);
    searching(&killed, slow);
    let mut child = killed.command(&["run", "pipeline.toml"]).spawn().unwrap();
    let folder = killed.file(".foretell/checkpoints/seeded-daily");
    let begun = Instant::now();
    // Trials are kept while they end: as soon as some are, the process is killed.
    // A file that is still being written has another ending; how long the search has gone on
    // stands in one of its own, which is written before the first trial is.
    let whole = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.ends_with(".json") && !name.ends_with(".spent.json")
        })
    };
    while !std::fs::read_dir(&folder).is_ok_and(|mut found| found.any(whole)) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint was written");
        assert!(child.try_wait().unwrap().is_none(), "the search ended before it was killed");
        std::thread::yield_now();
    }
    signal(child.id(), "KILL");
    child.wait().unwrap();
    let output = killed.run(&["run", "pipeline.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the search goes on from trial "), "{said}");
    // And ends where it would have ended without the interruption.
    let other = Market::new(Kind::Noise, 900, 35);
    searching(&other, slow);
    let expected = other.json(&["run", "pipeline.toml"]);
    let detail = killed.json(&["search", "show", "pipeline.toml"]);
    assert_eq!(detail["searches"][0], expected["searches"][0]);
    assert!(!killed.file(".foretell/checkpoints").exists());
}
