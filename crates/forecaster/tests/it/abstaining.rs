//! A forecast that may not be relied on says so and leaves its numbers out.

use foretell_forecaster::{Terms, forecast, judge, view};
use foretell_market::Interval;

use crate::sample::{RETURNS, at, fresh, made, row, terms, version};

#[test]
fn past_its_time_to_live_a_reader_sees_no_numbers() {
    let made = made();
    let fresh = view(&made, at(7_199));
    assert_eq!((fresh.age_seconds, &fresh.forecast), (7_199, &made));
    let stale = view(&made, at(7_200));
    assert_eq!((stale.forecast.point, stale.forecast.interval), (None, None));
    assert_eq!(stale.forecast.quantiles, []);
    let reason = stale.forecast.abstained.unwrap();
    assert!(reason.contains("held until 2025-11-01 02:00 UTC"), "{reason}");
    assert_eq!(stale.age_seconds, 7_200);
    assert_eq!(view(&made, at(-9)).age_seconds, 0, "a clock that is behind makes no negative age");
    assert_eq!(made.abstained, None, "the record keeps its numbers");
}

#[test]
fn a_historical_demo_tells_its_age_and_does_not_expire() {
    let terms = Terms { historical_demo: true, ..terms() };
    let made = forecast(&version(RETURNS), &fresh(), &row(), at(3), &terms).unwrap();
    let seen = view(&made, at(40_000_000));
    assert_eq!((seen.age_seconds, &seen.forecast), (40_000_000, &made));
    assert!(seen.forecast.historical_demo);
}

#[test]
fn a_model_past_its_refit_cadence_abstains_with_the_remedy() {
    let mut old = version(RETURNS);
    old.refit_every = Interval::DAY;
    // Fitted exactly a cadence ago: in the evaluation the next fit served this decision.
    let made = forecast(&old, &fresh(), &row(), at(3), &terms()).unwrap();
    assert_eq!((made.point, made.interval.clone()), (None, None));
    let reason = made.abstained.clone().unwrap();
    assert!(reason.contains("btc-usd-hourly v3 was fitted as of"), "{reason}");
    assert!(reason.contains("refit every 1d") && reason.contains("run its pipeline"), "{reason}");
    judge(&made, 109_000.0).unwrap_err();
    old.fitted_as_of = old.fitted_as_of.plus_secs(1);
    let made = forecast(&old, &fresh(), &row(), at(3), &terms()).unwrap();
    assert_eq!(made.abstained, None);
}

#[test]
fn numbers_that_are_no_prices_are_never_given() {
    let with = |i: usize, value: f64| {
        let mut returns = RETURNS;
        returns[i] = value;
        forecast(&version(returns), &fresh(), &row(), at(3), &terms()).unwrap()
    };
    for made in [with(4, f64::NAN), with(8, f64::INFINITY), with(8, 800.0), with(0, -800.0)] {
        assert_eq!((made.point, made.interval.clone()), (None, None));
        assert_eq!(made.quantiles, []);
        let reason = made.abstained.clone().unwrap();
        assert!(reason.contains("not a finite number: retrain it"), "{reason}");
        assert_eq!(made.id, crate::sample::made().id);
        assert!(made.to_json().contains("\"point\":null"));
    }
}

#[test]
fn after_a_row_of_misses_it_abstains_and_recovers() {
    let mut calibration = fresh();
    while !calibration.covers_all() {
        calibration.update(&RETURNS, 0.9 + calibration.long_run_misses().1 as f64);
    }
    let made = forecast(&version(RETURNS), &calibration, &row(), at(3), &terms()).unwrap();
    let reason = made.abstained.clone().unwrap();
    assert!(reason.ends_with("no interval can be given at 90 %"), "{reason}");
    assert_eq!((made.point, made.interval.clone()), (None, None));
    assert_eq!(made.quantiles.len(), 9, "kept, so that calibration can go on");
    assert_eq!(view(&made, at(3)).forecast.quantiles, []);
    while calibration.covers_all() {
        foretell_forecaster::observe(&mut calibration, &made, 109_541.0).unwrap();
    }
    let made = forecast(&version(RETURNS), &calibration, &row(), at(3), &terms()).unwrap();
    assert_eq!(made.abstained, None);
}
