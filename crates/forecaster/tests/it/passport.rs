//! The stored body holds what a reader needs, and numbers that a reference agrees with.

use foretell_forecaster::{
    Forecast, ForecastError, Skill, differences, forecast, judge, observe, view,
};
use foretell_model::evaluate::SpreadSkill;
use foretell_testkit::assert_close;
use serde_json::Value;

use crate::sample::{RETURNS, at, fresh, made, row, terms, version};

/// Written by `tests/reference/forecaster.py`.
const REFERENCE: &str = include_str!("../../../../tests/data/reference/forecaster.json");
/// [`made`] as it was stored when its format was the present one.
const STORED_V1: &str = include_str!("../../../../tests/data/forecaster/forecast-v1.json");

fn reference() -> Value {
    serde_json::from_str(REFERENCE).unwrap()
}

#[test]
fn id_prices_and_interval_equal_the_reference() {
    let (forecast, reference) = (made(), reference());
    assert_eq!(forecast.model.hash.to_string(), reference["model_hash"]);
    assert_eq!(forecast.id, reference["id"]);
    let number = |field: &str| reference[field].as_f64().unwrap();
    for (i, quantile) in forecast.quantiles.iter().enumerate() {
        let expected = reference["prices"][i].as_f64().unwrap();
        assert_close(quantile.price / expected, 1.0, 4e-16);
        assert_eq!(quantile.log_return, reference["log_returns"][i].as_f64().unwrap());
    }
    assert_eq!(forecast.point, Some(forecast.quantiles[4].price));
    let interval = forecast.interval.clone().unwrap();
    assert_close(interval.lower / number("lower"), 1.0, 4e-16);
    assert_close(interval.upper / number("upper"), 1.0, 4e-16);
    let judged = judge(&forecast, number("outcome")).unwrap();
    // The ratio of two prices is rounded near 1: half of 2^-52 is lost there.
    assert_close(judged.log_return, number("outcome_log_return"), 1.2e-16);
    assert_close(judged.error, number("outcome_log_return") - 0.00015, 1.2e-16);
    assert_eq!(judged.random_walk_error, judged.log_return);
    assert_eq!(judged.covered, Some(true));
    assert_eq!(judge(&forecast, 111_000.0).unwrap().covered, Some(false));
}

#[test]
fn a_reader_sees_the_whole_passport() {
    let seen = serde_json::to_value(view(&made(), at(3))).unwrap();
    let expected = serde_json::json!({
        "instrument": "BTC-USD", "made_at": "2025-11-01T00:00:03Z",
        "as_of": "2025-11-01T00:00:00Z", "target_time": "2025-11-01T01:00:00Z",
        "known_at": "2025-11-01T00:00:02Z", "expires_at": "2025-11-01T02:00:00Z",
        "horizon": "1h", "currency": "USD", "base_price": 109_541.0,
        "skill": { "against": "random-walk", "mae_skill": -0.001, "p_value": 0.71,
                   "verdict": "no better than a random walk" },
        "age_seconds": 3, "abstained": null, "historical_demo": false,
        "inputs": { "gaps_in_window": 1, "filled_in_window": 2, "late_corrections": 0,
                    "out_of_range_share": 1.0 / 3.0, "flags": ["backfilled", "filled"] },
        "fitted_as_of": "2025-10-31T00:00:00Z", "train_to": "2025-10-31T00:00:00Z",
        "refitted_note": "the recipe refitted on all 26000 allowed rows up to \
                          2025-10-31 00:00 UTC; its skill was measured on earlier fits, \
                          out of sample",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[field], value, "{field}");
    }
    assert_eq!(seen["interval"]["method"], "adaptive-conformal");
    assert_eq!(seen["interval"]["level"], 0.9);
    assert_eq!(seen["interval"]["realised_coverage"], Value::Null);
    assert_eq!(seen["model"]["alias"], "champion");
    assert_eq!(seen["model"]["version"], 3);
    assert_eq!(seen["features"]["row"], row().hash().to_string());
    assert_eq!(seen["quantiles"].as_array().unwrap().len(), 9);
    let missing: Vec<&str> =
        ["id", "point", "dataset"].into_iter().filter(|field| seen[*field].is_null()).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_stored_format_reads_back_to_the_same_bytes() {
    let read = Forecast::from_json(STORED_V1).unwrap();
    // The same inputs give the same bytes here as on the machine that wrote the file.
    assert_eq!(made().to_json(), STORED_V1);
    assert_eq!(differences(&read, &made()), []);
    assert_eq!(read.hash(), made().hash());
}

#[test]
fn a_spread_and_an_opened_lock_box_are_told_and_survive_storing() {
    let spread = SpreadSkill {
        recipe: "ewma volatility".to_owned(),
        qlike_skill: Some(0.2),
        p_value: 0.004,
        better: true,
        own_test: false,
    };
    let mut version = version(RETURNS);
    version.includes_lock_box = true;
    version.skill = Skill::of_spread(Some(0.71), spread);
    let told = forecast(&version, &fresh(), &row(), at(3), &terms()).unwrap();
    let seen = serde_json::to_value(view(&told, at(3))).unwrap();
    assert_eq!(seen["includes_lock_box"], true);
    assert!(seen["refitted_note"].as_str().unwrap().contains("the opened lock-box included"));
    assert_eq!(seen["skill"]["verdict"], "no better than a random walk");
    assert_eq!(seen["skill"]["spread"]["qlike_skill"], 0.2);
    assert_eq!(Forecast::from_json(&told.to_json()).unwrap(), told);
    // A passport without either is the one that was always written.
    let plain = serde_json::to_value(view(&made(), at(3))).unwrap();
    assert_eq!((plain.get("includes_lock_box"), plain["skill"].get("spread")), (None, None));
}

#[test]
fn a_newer_or_broken_body_is_refused() {
    let newer = made().to_json().replacen("\"format\":1", "\"format\":2,\"more\":{}", 1);
    let error = Forecast::from_json(&newer).unwrap_err();
    assert_eq!(error, ForecastError::NewerFormat { found: 2, known: 1 });
    let body = made().to_json();
    for broken in ["", "{}", "null", &body[..body.len() / 2], &body.replace("\"1h\"", "\"x\"")] {
        let error = Forecast::from_json(broken).unwrap_err();
        assert!(matches!(error, ForecastError::Damaged(_)), "{error}");
    }
}

#[test]
fn verifying_names_the_fields_that_moved() {
    let mut changed = row();
    changed.features[0] += 1e-12;
    changed.base_price = changed.base_price.next_up();
    let again = forecast(&version(RETURNS), &fresh(), &changed, at(3), &terms()).unwrap();
    let moved: Vec<String> = differences(&made(), &again).into_iter().map(|d| d.field).collect();
    assert!(moved.contains(&"features.row".to_owned()), "{moved:?}");
    assert!(moved.contains(&"base_price".to_owned()), "{moved:?}");
    assert!(!moved.contains(&"id".to_owned()), "{moved:?}");
    assert_ne!(made().hash(), again.hash());
}

#[test]
fn outcomes_move_the_calibration_as_the_evaluation_did() {
    let (mut here, mut there) = (fresh(), fresh());
    let forecast = made();
    for price in [109_000.0, 112_000.0, 109_541.0, 100_000.0] {
        let judged = observe(&mut here, &forecast, price).unwrap();
        there.update(&RETURNS, judged.log_return);
        assert_eq!(here, there);
    }
    for price in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = observe(&mut here, &forecast, price).unwrap_err();
        assert!(matches!(error, ForecastError::Outcome { .. }), "{error}");
    }
    let mut empty = forecast;
    empty.quantiles.clear();
    let error = observe(&mut here, &empty, 109_000.0).unwrap_err();
    assert!(matches!(error, ForecastError::NothingToJudge { .. }), "{error}");
    assert_eq!(here, there, "an outcome that is refused moves nothing");
}
