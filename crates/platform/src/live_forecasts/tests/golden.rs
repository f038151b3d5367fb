//! Stored forms of every version stay readable.

use crate::forecasting::StoredForecast;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/forecaster");

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}/{name}")).unwrap()
}

#[test]
fn records_are_read_and_written_to_the_byte() {
    let golden = file("live-v1.jsonl");
    let kinds = golden.lines().map(|line| {
        let record = decode(line.as_bytes()).unwrap().unwrap();
        assert_eq!(encode(&record), line.as_bytes());
        match record {
            LiveRecord::Forecast(made) => {
                assert_eq!(made.forecast.features.row, made.row.hash());
                "forecast"
            }
            LiveRecord::Outcome(_) => "outcome",
            LiveRecord::Unresolved(_) => "unresolved",
        }
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["forecast", "outcome", "unresolved"]);
}

#[test]
fn the_stored_body_holds_the_row_and_old_ones_none() {
    let line = file("live-v1.jsonl").lines().next().unwrap().to_owned();
    let Some(LiveRecord::Forecast(made)) = decode(line.as_bytes()).unwrap() else {
        panic!("{line}")
    };
    let record = StoredForecast::live(&made).record();
    let golden = file("stored-v3.json");
    assert_eq!(record.body_json, golden.trim_end());
    let stored = StoredForecast::read(&record).unwrap();
    assert_eq!(stored.row, Some(made.row));
    // Form 2 is the same without a row.
    let mut value: serde_json::Value = serde_json::from_str(&golden).unwrap();
    value["format"] = 2.into();
    value.as_object_mut().unwrap().remove("row");
    let old = foretell_registry::ForecastRecord { body_json: value.to_string(), ..record.clone() };
    assert_eq!(StoredForecast::read(&old).unwrap().row, None);
    value["format"] = 4.into();
    let newer = foretell_registry::ForecastRecord { body_json: value.to_string(), ..record };
    assert!(StoredForecast::read(&newer).unwrap_err().to_string().contains("newer"));
}
