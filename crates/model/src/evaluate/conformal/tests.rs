//! Coverage of split conformal on exchangeable data, of the adaptive form on any.

use foretell_testkit::{normal, rng};
use proptest::prelude::*;

use super::super::special::binomial_quantile;
use super::*;

fn gaussian(scale: f64) -> [f64; 9] {
    QUANTILE_LEVELS.map(|p| scale * super::super::special::normal_quantile(p))
}

#[test]
fn picks_the_nearest_pair_of_quantiles() {
    assert_eq!(base_interval(0.9), (1, 7));
    assert_eq!(base_interval(0.95), (0, 8));
    assert_eq!(base_interval(0.99), (0, 8));
    assert_eq!(base_interval(0.5), (3, 5));
    assert_eq!(base_interval(0.8), (2, 6));
}

#[test]
fn split_calibration_covers_exchangeable_data_within_the_binomial_band() {
    let mut random = rng(11);
    // With 99 scores the 90th is exceeded by the 100th draw with probability 0.1 exactly,
    // whatever the distribution: here heavy tails.
    let mut draw = || {
        let z = normal(&mut random);
        z * z * z
    };
    let trials = 5_000u64;
    let mut hits = 0;
    for _ in 0..trials {
        let scores: Vec<f64> = (0..99).map(|_| draw()).collect();
        hits += u64::from(draw() <= split_conformal(&scores, 0.9));
    }
    let band = (binomial_quantile(0.0005, trials, 0.9), binomial_quantile(0.9995, trials, 0.9));
    assert!((band.0..=band.1).contains(&hits), "{hits} of {trials}, band {band:?}");
}

#[test]
fn split_calibration_of_too_few_scores_promises_nothing() {
    assert_eq!(split_conformal(&[1.0; 8], 0.9), f64::INFINITY);
    assert_eq!(split_conformal(&[1.0; 9], 0.9), 1.0);
    assert_eq!(split_conformal(&[], 0.5), f64::INFINITY);
}

#[test]
fn an_over_confident_model_is_widened_to_its_level() {
    let mut random = rng(5);
    let quantiles = gaussian(0.002);
    let mut state = CalibrationState::new(0.9).unwrap();
    assert_eq!(state.interval(&quantiles), (quantiles[1], quantiles[7]));
    for _ in 0..3_000 {
        state.update(&quantiles, 0.01 * normal(&mut random));
    }
    let (coverage, over) = state.realised_coverage();
    assert_eq!(over, 500);
    assert!((coverage - 0.9).abs() < 0.03, "{coverage}");
    let (lower, upper) = state.interval(&quantiles);
    // The true 90 % interval of the outcomes is ±0.01645.
    assert!((upper - lower - 0.0329).abs() < 0.005, "{lower} {upper}");
}

#[test]
fn a_jump_in_volatility_is_followed() {
    let mut random = rng(6);
    let quantiles = gaussian(0.01);
    let mut state = CalibrationState::new(0.9).unwrap();
    let mut late = 0;
    for i in 0..4_000 {
        let scale = if i < 2_000 { 0.01 } else { 0.03 };
        let outcome = scale * normal(&mut random);
        let (lower, upper) = state.interval(&quantiles);
        late += i32::from(i >= 2_500 && lower <= outcome && outcome <= upper);
        state.update(&quantiles, outcome);
    }
    let coverage = f64::from(late) / 1_500.0;
    assert!((coverage - 0.9).abs() < 0.025, "{coverage}");
}

#[test]
fn storing_keeps_every_later_answer_and_refuses_other_versions() {
    let mut random = rng(7);
    let quantiles = gaussian(0.01);
    let mut state = CalibrationState::with(0.8, 0.01, 50).unwrap();
    (0..120).for_each(|_| state.update(&quantiles, 0.01 * normal(&mut random)));
    let text = serde_json::to_string(&state).unwrap();
    let mut back: CalibrationState = serde_json::from_str(&text).unwrap();
    assert_eq!(back, state);
    (0..120).for_each(|_| {
        let outcome = 0.02 * normal(&mut random);
        back.update(&quantiles, outcome);
        state.update(&quantiles, outcome);
        assert_eq!(back.interval(&quantiles), state.interval(&quantiles));
    });
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    let error = serde_json::from_str::<CalibrationState>(&newer).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    assert!(CalibrationState::new(1.0).is_err());
}

proptest! {
    /// Proposition 4.1: for any sequence of outcomes and any sequence of forecasts.
    #[test]
    fn the_share_of_misses_obeys_the_finite_sample_bound_for_any_sequence(
        rows in prop::collection::vec((-3.0f64..3.0, 0.0f64..2.0, 0u8..4), 1..600),
        level in 0.5f64..0.99, step in 0.001f64..0.5, window in 1usize..100,
    ) {
        let mut state = CalibrationState::with(level, step, window).unwrap();
        let alpha = 1.0 - level;
        let mut missed = 0.0;
        for (i, (outcome, scale, kind)) in rows.iter().enumerate() {
            let quantiles = gaussian(*scale);
            let (lower, upper) = state.interval(&quantiles);
            // Some outcomes are chosen by an adversary who sees the interval.
            let outcome = match kind {
                0 => upper + 0.1,
                1 => f64::midpoint(lower, upper),
                _ => *outcome,
            };
            let before = state.long_run_misses();
            state.update(&quantiles, outcome);
            let (share, count) = state.long_run_misses();
            missed = share * count as f64;
            let bound = (alpha.max(1.0 - alpha) + step) / (step * count as f64);
            prop_assert!((share - alpha).abs() <= bound + 1e-9, "{share} after {count}");
            prop_assert_eq!(count, before.1 + 1);
            prop_assert_eq!(count, i as u64 + 1);
        }
        prop_assert!(missed <= rows.len() as f64);
    }

    #[test]
    fn what_is_counted_as_covered_lies_inside_the_interval(
        rows in prop::collection::vec((-3.0f64..3.0, 0.01f64..2.0), 1..300), window in 1usize..100,
    ) {
        let mut state = CalibrationState::with(0.9, 0.01, window).unwrap();
        for (outcome, scale) in rows {
            let quantiles = gaussian(scale);
            let (lower, upper) = state.interval(&quantiles);
            prop_assert!(lower <= upper);
            let inside = lower - 1e-12 <= outcome && outcome <= upper + 1e-12;
            let before = state.long_run_misses();
            let misses_before = if before.1 == 0 { 0.0 } else { before.0 * before.1 as f64 };
            state.update(&quantiles, outcome);
            let after = state.long_run_misses();
            let missed = after.0 * after.1 as f64 - misses_before > 0.5;
            prop_assert!(inside != missed || (outcome - lower).abs() < 1e-9 || (outcome - upper).abs() < 1e-9);
        }
    }
}
