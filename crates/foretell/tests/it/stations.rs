//! Every station alone, on a file.

use crate::market::{Kind, Market};

#[test]
fn each_station_takes_a_file_and_leaves_a_file() {
    let market = Market::new(Kind::Noise, 700, 1);
    let raw = market.json(&["extract", "pipeline.toml", "--output", "raw.parquet"]);
    assert_eq!(raw["rows"], 700);
    let clean = market.json(&[
        "gate",
        "pipeline.toml",
        "--input",
        "raw.parquet",
        "--output",
        "clean.parquet",
    ]);
    assert_eq!(clean["table"]["rows"], 700);
    let from_clean = market.json(&["features", "pipeline.toml", "--input", "clean.parquet"]);
    let from_source = market.json(&["features", "pipeline.toml", "--output", "features.csv"]);
    let columns = |v: &serde_json::Value| v["columns"].as_array().unwrap().len();
    assert_eq!(columns(&from_clean), columns(&from_source));
    let header = market.read("features.csv").lines().next().unwrap().to_owned();
    assert!(header.starts_with("instrument,time,known_at,flags,"), "{header}");
    market.ok(&["profile", "pipeline.toml", "--output", "profile.html"]);
    assert!(market.read("profile.html").contains("<svg"));
    let models = market.json(&["train", "pipeline.toml", "--output", "models"]);
    assert_eq!(models.as_array().unwrap().len(), 3);
    assert!(market.file("models/ridge.json").exists());
    let judged = market.json(&["evaluate", "pipeline.toml", "--output", "evaluation.json"]);
    assert_eq!(judged["skill"], false);
    assert_eq!(judged["table"][0]["name"], "random walk");
    market.ok(&["evaluate", "pipeline.toml", "--output", "rows.csv"]);
    let header = market.read("rows.csv").lines().next().unwrap().to_owned();
    assert!(header.contains("outcome,random walk.median"), "{header}");
    let error = market.fails(2, &["train", "pipeline.toml", "--output", "models.csv"]);
    assert!(error.contains("no folder"), "{error}");
    let audit = market.ok(&["audit", "pipeline.toml"]);
    assert!(audit.contains("none moved"), "{audit}");
    assert!(!market.file(".foretell").exists(), "stations store nothing");
}

#[test]
fn piped_output_has_no_colour_and_no_moving_bar() {
    let market = Market::new(Kind::Noise, 700, 2);
    let output = market.run(&["run", "pipeline.toml"]);
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for station in ["extract", "gate", "features", "dataset", "train", "promote", "forecast"] {
        assert!(text.contains(&format!(" ✔ {station}")), "{text}");
    }
}

#[test]
fn every_feature_is_explained() {
    let market = Market::new(Kind::Noise, 50, 3);
    let listed = market.json(&["features", "pipeline.toml", "--list"]);
    let listed = listed.as_array().unwrap();
    assert!(listed.len() > 30);
    for feature in listed {
        for key in ["name", "definition", "source"] {
            assert!(!feature[key].as_str().unwrap().is_empty(), "{feature}");
        }
    }
}

#[test]
fn a_back_fill_commits_its_rows_and_goes_on_from_there() {
    let market = Market::new(Kind::Noise, 700, 4);
    let first = market.json(&["backfill", "pipeline.toml"]);
    assert_eq!((&first["rows"], &first["done"]), (&700.into(), &true.into()));
    // What was fetched is the lake's: a run finds the very same rows.
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!(report["historical_demo"], "2021-12-01T00:00:00Z");
}
