//! Behaviour of pipeline files: what is read, and what is refused in which words.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
name = "btc-usd-hourly"
instrument = "BTC-USD"
interval = "1h"
as_of = "end-of-data"

[source]
kind = "file"
path = "../data/btc-usd-hourly.csv.gz"

[label]
horizon = "1h"

[evaluation]
initial_train = "180d"
refit_every = "30d"

[[models]]
kind = "ridge"
alpha = 10.0

[[models]]
kind = "seasonal_naive"
"#;

fn parse(text: &str) -> Result<Pipeline, Box<Diagnostics>> {
    Pipeline::parse(text, Path::new("pipelines/btc.toml"))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("the file must be refused").to_string()
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let pipeline = parse(GOOD).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pipeline.as_of, Present::EndOfData);
    assert_eq!(pipeline.models[0].name, "ridge");
    assert_eq!(pipeline.models[0].spec.kind(), "ridge");
    assert_eq!(pipeline.time_to_live.to_string(), "2h");
    assert_eq!(pipeline.gate.max_null_share, 0.01);
    let SourceKind::File { path, form } = &pipeline.source.kind else { panic!("a file") };
    assert_eq!(path, Path::new("data/btc-usd-hourly.csv.gz"));
    assert_eq!(form.zone, "UTC");
}

#[test]
fn a_misspelt_key_is_shown_in_its_line_with_the_nearest_key() {
    let text = GOOD.replace("horizon = ", "horizn = ");
    expect_test::expect![[r#"
        pipelines/btc.toml:11: [label] needs the key `horizon`
          11 │ [label]
             │ ^ How far ahead is forecast: a multiple of the interval.
        pipelines/btc.toml:12: unknown key `horizn` in [label]
          12 │ horizn = "1h"
             │ ^^^^^^ did you mean `horizon`?
        help: `foretell check pipelines/btc.toml` lists every key with its meaning"#]]
    .assert_eq(&refusal(&text));
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = GOOD
        .replace("interval = \"1h\"", "interval = \"1 year\"")
        .replace("\"ridge\"", "\"rigde\"")
        .replace("refit_every", "refit")
        .replace("as_of = \"end-of-data\"", "as_of = \"yesterday\"");
    let message = refusal(&text);
    for part in [
        "`interval` in the head of the file must be a length of time",
        "unknown kind `rigde` in [models]",
        "did you mean `ridge`?",
        "[evaluation] needs the key `refit_every`",
        "`as_of` in the head of the file must be one of now, end-of-data",
    ] {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
}

#[test]
fn faults_across_keys_are_seen() {
    let horizon = refusal(&GOOD.replace("horizon = \"1h\"", "horizon = \"90m\""));
    assert!(horizon.contains("`horizon` must be a multiple of the interval (1h)"), "{horizon}");
    let season = GOOD.replace("[label]", "[features]\nseason = \"30m\"\n\n[label]");
    assert!(refusal(&season).contains("a shorter one would look ahead"));
    let boxed = format!("{GOOD}\n[lock_box]\nfrom = \"2020-01-01\"\nto = \"2019-01-01\"\n");
    assert!(refusal(&boxed).contains("the lock-box ends before it begins"));
    let twice = format!("{GOOD}\n[[models]]\nkind = \"ridge\"\n");
    assert!(refusal(&twice).contains("two models are named `ridge`"));
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    assert!(refusal("name = \n").starts_with("pipelines/btc.toml:1: "));
    assert!(refusal("source = 3\n").contains("`source` must be a table: write [source]"));
    assert!(refusal("models = 3\n").contains("must be written as [[models]]"));
}

#[test]
fn the_template_is_a_valid_pipeline() {
    let text = template("my-btc", "BTC-USD", "btc.csv");
    let pipeline = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(pipeline.models.len(), 3);
}

#[test]
fn the_schema_names_every_key() {
    let schema = json_schema();
    assert_eq!(schema["properties"]["label"]["required"], serde_json::json!(["horizon"]));
    let kinds = schema["properties"]["models"]["items"]["oneOf"].as_array().unwrap();
    assert!(kinds.iter().any(|k| k["properties"]["kind"]["const"] == "gradient_boosting"));
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_schema_beside_the_pipelines_is_the_one_of_this_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/pipeline.schema.json");
    let stored = std::fs::read_to_string(path).expect("pipelines/pipeline.schema.json is there");
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let remedy = "write it anew: `foretell check --schema > pipelines/pipeline.schema.json`";
    assert!(stored == json_schema(), "{remedy}");
}

#[test]
fn every_shipped_pipeline_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let pipeline = Pipeline::parse(&text, &path).unwrap_or_else(|e| panic!("{e}"));
            names.push(pipeline.name);
        }
    }
    names.sort();
    for name in ["btc-usd-daily", "btc-usd-hourly", "coingecko-hourly"] {
        assert!(names.iter().any(|n| n == name), "{name} is not shipped: {names:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0usize..GOOD.len(), put in "[\\[\\]\"=a-z0-9\n.]{0,6}") {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + put.len()).min(GOOD.len()), &put);
        let _ = parse(&text);
    }
}
