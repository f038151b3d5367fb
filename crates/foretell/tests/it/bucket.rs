//! The lake in a bucket, chosen by URL alone; everything else stays in the directory.

use std::process::Output;

use foretell_testkit::{AZURE_ACCOUNT, AZURE_KEY, Server};

use crate::market::{Kind, Market};

/// Runs with a lake at `url` and settings from the environment, and reads the answer.
#[track_caller]
fn json(
    market: &Market,
    url: &str,
    settings: &[(&str, String)],
    arguments: &[&str],
) -> serde_json::Value {
    let output = run(market, url, settings, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn run(market: &Market, url: &str, settings: &[(&str, String)], arguments: &[&str]) -> Output {
    let mut command = market.command(&[&["--lake", url], arguments].concat());
    command.envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
    command.output().expect("the binary starts")
}

#[test]
fn a_run_on_s3_forecasts_verifies_and_keeps_no_key() {
    let server = Server::s3("lakes");
    let settings = [
        ("AWS_ENDPOINT", server.url()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "anyone".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "do-not-print-me".to_owned()),
    ];
    whole_river("s3://lakes/some/prefix", &settings, "do-not-print-me");
}

#[test]
fn a_run_on_azure_forecasts_verifies_and_keeps_no_key() {
    let server = Server::azure("lakes");
    let settings = [
        ("AZURE_STORAGE_ENDPOINT", format!("{}/{AZURE_ACCOUNT}", server.url())),
        ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY.to_owned()),
    ];
    whole_river("az://lakes/some/prefix", &settings, AZURE_KEY);
}

fn whole_river(url: &str, settings: &[(&str, String)], key: &str) {
    let market = Market::new(Kind::Reverting, 700, 7);
    let report = json(&market, url, settings, &["run", "pipeline.toml"]);
    assert_eq!(report["champion"], "ridge");
    let forecast = report["forecast"]["id"].as_str().expect("an id");
    let proof = json(&market, url, settings, &["verify", forecast]);
    assert_eq!(proof["matches"], true, "{proof}");
    let proof =
        json(&market, url, settings, &["reproduce", report["run"].as_str().expect("an id")]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert!(!market.file(".foretell/lake/raw").exists(), "the lake is in the bucket");

    // Without the key the answer names the store, says what to do, and holds no secret.
    let without: Vec<(&str, String)> = settings
        .iter()
        .map(|(name, value)| {
            let wrong = name.ends_with("ENDPOINT");
            (*name, if wrong { "http://127.0.0.1:9".to_owned() } else { value.clone() })
        })
        .collect();
    let output = run(&market, url, &without, &["run", "pipeline.toml"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("error: ") && errors.contains("help: "), "{errors}");
    assert!(!errors.contains(key) && !errors.contains("panicked"), "{errors}");
}
