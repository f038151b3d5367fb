//! The id depends on what it names and on nothing else; a replay is the same to the
//! bit; interval, point and quantiles hold together for any model and calibration.

use foretell_feature::FeatureRow;
use foretell_forecaster::{Forecast, Skill, Terms, forecast, forecast_id};
use foretell_market::{Interval, RowFlags};
use foretell_model::evaluate::CalibrationState;
use proptest::prelude::*;

use crate::sample::{RETURNS, at, fresh, hash, made, row, terms, version};

#[test]
fn each_part_of_the_id_makes_another_one() {
    let mut ids = vec![made().id];
    let base = version(RETURNS);
    let mut changed = [(); 5].map(|()| base.clone());
    changed[0].name = "btc-usd-daily".to_owned();
    changed[1].version = 4;
    changed[2].hash = hash("other");
    changed[3].horizon = Interval::DAY;
    changed[4].instrument = "ETH-USD".parse().unwrap();
    ids.extend(changed.iter().map(|version| forecast_id(version, at(0), at(2))));
    ids.push(forecast_id(&base, at(3600), at(2)));
    ids.push(forecast_id(&base, at(0), at(1)));
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(ids.iter().all(|id| id.len() == 34 && id.starts_with("f_")));
}

fn calibration() -> impl Strategy<Value = CalibrationState> {
    let outcomes = prop::collection::vec((0.0001f64..0.05, -0.1f64..0.1), 0..60);
    (outcomes, 0.5f64..0.99).prop_map(|(outcomes, level)| {
        let mut state = CalibrationState::new(level).unwrap();
        for (scale, outcome) in outcomes {
            state.update(&RETURNS.map(|q| q * scale * 100.0), outcome);
        }
        state
    })
}

fn ordered(forecast: &Forecast) -> Result<(), TestCaseError> {
    prop_assert!(forecast.quantiles.windows(2).all(|w| w[0].price <= w[1].price));
    prop_assert!(forecast.quantiles.windows(2).all(|w| w[0].level < w[1].level));
    let Some(interval) = &forecast.interval else {
        prop_assert!(forecast.abstained.is_some() && forecast.point.is_none());
        return Ok(());
    };
    let point = forecast.point.unwrap();
    prop_assert!(interval.lower <= point && point <= interval.upper);
    prop_assert!(interval.lower > 0.0 && interval.upper.is_finite());
    prop_assert_eq!(&forecast.abstained, &None);
    Ok(())
}

proptest! {
    #[test]
    fn the_id_depends_on_nothing_else(
        returns in prop::array::uniform9(-0.1f64..0.1),
        state in calibration(),
        features in prop::array::uniform3(-1e6f64..1e6),
        base_price in 1e-3f64..1e6,
        (delay, ttl, gaps, bits) in (0i64..1_000_000, 1i64..100_000, 0usize..99, 0u32..128),
        demo in any::<bool>(),
    ) {
        let mut version = version(returns);
        version.alias = format!("alias-{gaps}");
        version.dataset = hash(&delay.to_string());
        version.skill = Skill::judged(base_price, 0.01, demo);
        version.train_rows = gaps;
        version.includes_lock_box = demo;
        let row = FeatureRow {
            features: features.to_vec(),
            base_price,
            gaps_in_window: gaps,
            filled_in_window: gaps / 2,
            flags: RowFlags::from_bits(bits),
            ..row()
        };
        let terms =
            Terms { time_to_live: Interval::from_secs(ttl).unwrap(), historical_demo: demo };
        let forecast = forecast(&version, &state, &row, at(2 + delay), &terms).unwrap();
        prop_assert_eq!(&forecast.id, &made().id);
        ordered(&forecast)?;
    }

    #[test]
    fn a_replay_gives_the_same_id_and_body(
        returns in prop::array::uniform9(-0.1f64..0.1), state in calibration(),
    ) {
        let once = forecast(&version(returns), &state, &row(), at(3), &terms()).unwrap();
        // The calibration and the row come back from storage.
        let state: CalibrationState =
            serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        let row: FeatureRow =
            serde_json::from_str(&serde_json::to_string(&row()).unwrap()).unwrap();
        let again = forecast(&version(returns), &state, &row, at(3), &terms()).unwrap();
        prop_assert_eq!(&again.id, &once.id);
        prop_assert_eq!(again.to_json(), once.to_json());
        prop_assert_eq!(again.hash(), once.hash());
        let stored = Forecast::from_json(&once.to_json()).unwrap();
        prop_assert_eq!(&stored, &once);
        prop_assert_eq!(stored.hash(), once.hash());
    }

    #[test]
    fn interval_point_and_quantiles_hold_together(
        // Skewed, degenerate and nearly equal quantiles among them.
        returns in prop::array::uniform9(prop_oneof![
            -0.5f64..0.5, Just(0.0), (0i32..4).prop_map(|i| f64::from(i) * f64::EPSILON / 4.0),
        ]),
        state in calibration(), base_price in 1e-9f64..1e9,
    ) {
        let row = FeatureRow { base_price, ..row() };
        let forecast = forecast(&version(returns), &state, &row, at(3), &terms()).unwrap();
        ordered(&forecast)?;
        let median = libm::exp(forecast.quantiles[4].log_return) * base_price;
        if let Some(point) = forecast.point {
            prop_assert!((point / median - 1.0).abs() < 1e-15);
        }
    }
}

#[test]
fn a_calibration_of_a_skewed_model_still_holds_the_point() {
    // All the spread lies below the median; outcomes sit far inside, so that the
    // calibrated interval shrinks to its middle, away from the median.
    let skewed = [-0.9, -0.8, -0.6, -0.3, 0.0, 1e-6, 2e-6, 3e-6, 4e-6];
    let mut state = fresh();
    for _ in 0..200 {
        state.update(&skewed, -0.4);
    }
    let (_, upper) = state.interval(&skewed);
    assert!(upper < 0.0, "the case is real: {upper}");
    let made = forecast(&version(skewed), &state, &row(), at(3), &terms()).unwrap();
    assert_eq!(made.interval.unwrap().upper, made.point.unwrap());
}
