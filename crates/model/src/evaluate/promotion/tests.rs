//! The rule on simulated runs: noise is not promoted beyond the stated rate, planted
//! skill is, ties keep the champion.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{TrainWindow, WalkForward};
use foretell_testkit::{normal, rng};
use rand_chacha::ChaCha12Rng;

use super::super::special::{binomial_quantile, normal_quantile};
use super::super::{EvaluationPlan, FoldSummary, RANDOM_WALK, Trial, Walk, judge};
use super::*;
use crate::{EstimatorSpec, QUANTILE_LEVELS};

/// Spread of the simulated outcomes.
const SIGMA: f64 = 0.01;

/// A run over these outcomes; each candidate is (name, medians, factor on the spread).
fn run(outcomes: Vec<f64>, candidates: &[(&str, Vec<f64>, f64)]) -> Evaluation {
    let rows = outcomes.len();
    let at = |i: usize| Timestamp::from_secs(i as i64 * 3600);
    let fold = FoldSummary {
        fit_at: at(0),
        train_from: at(0),
        train_to: at(0),
        train_rows: 100,
        purged: 0,
        first_row: 0,
        rows,
        naive_mae: SIGMA,
        naive_mse: SIGMA * SIGMA,
    };
    let times: Vec<Timestamp> = (0..rows).map(at).collect();
    let known: Vec<Timestamp> = (1..=rows).map(at).collect();
    let walk = Walk::on_rows(Interval::HOUR, Interval::HOUR, vec![fold], times, known, outcomes);
    let trial = |name: &str, spec: EstimatorSpec, medians: &[f64], spread: f64| Trial {
        name: name.to_owned(),
        spec,
        quantiles: medians
            .iter()
            .flat_map(|m| QUANTILE_LEVELS.map(|p| m + spread * SIGMA * normal_quantile(p)))
            .collect(),
    };
    let mut trials = vec![trial(RANDOM_WALK, EstimatorSpec::RandomWalk, &vec![0.0; rows], 1.0)];
    for (name, medians, spread) in candidates {
        trials.push(trial(name, EstimatorSpec::Drift, medians, *spread));
    }
    let plan = WalkForward {
        initial_train: Interval::DAY,
        refit_every: Interval::DAY,
        window: TrainWindow::Expanding,
    };
    let plan =
        EvaluationPlan { bootstrap_draws: 0, block_length: Some(1.0), ..EvaluationPlan::new(plan) };
    judge(&walk, trials, &plan).unwrap()
}

/// Four candidates without skill. `fair`: their losses are distributed exactly as the
/// random walk's (the forecast is twice the little it knows), the hardest case of "no
/// better"; otherwise their forecasts are independent noise.
fn noise(rows: usize, fair: bool, random: &mut ChaCha12Rng) -> Evaluation {
    let names = ["a", "b", "c", "d"];
    let mut medians = vec![Vec::with_capacity(rows); names.len()];
    let mut outcomes = Vec::with_capacity(rows);
    for _ in 0..rows {
        let calls: Vec<f64> = names.iter().map(|_| 0.2 * SIGMA * normal(random)).collect();
        let shift = if fair { calls[0] / 2.0 } else { 0.0 };
        outcomes.push(shift + SIGMA * normal(random));
        medians.iter_mut().zip(calls).for_each(|(m, c)| m.push(c));
    }
    let candidates: Vec<(&str, Vec<f64>, f64)> =
        names.into_iter().zip(medians).map(|(n, m)| (n, m, 1.0)).collect();
    run(outcomes, &candidates)
}

/// 1,000 retrains: 100 instruments with ten retrains each. The stated rate is per
/// instrument, over all its retrains and all candidates: 0.1.
fn false_promotions(fair: bool) -> u64 {
    let mut random = rng(if fair { 71 } else { 70 });
    let mut ever = 0;
    for _ in 0..100 {
        let mut promoted = false;
        for earlier in 0..10 {
            let evaluation = noise(250, fair, &mut random);
            let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, earlier);
            promoted |= decision.promoted;
            if !decision.promoted {
                assert_eq!(decision.winner, RANDOM_WALK);
                assert!(decision.reason.starts_with("no better than a random walk (p = "));
            }
        }
        ever += u64::from(promoted);
    }
    ever
}

#[test]
fn noise_is_not_promoted_in_1000_retrains_beyond_the_stated_rate() {
    let most = binomial_quantile(0.999, 100, 0.1);
    for fair in [false, true] {
        let found = false_promotions(fair);
        println!("fair {fair}: {found} of 100 instruments ever promoted noise, at most {most}");
        assert!(found <= most, "{found} of 100 instruments, at most {most} (fair: {fair})");
    }
}

#[test]
fn without_the_corrections_noise_would_be_promoted() {
    // The same hardest case by the naive rule "p < 0.1": the test above has teeth.
    let mut random = rng(72);
    let naive = (0..100).filter(|_| {
        let evaluation = noise(250, true, &mut random);
        evaluation.recipes.iter().any(|r| r.versus_random_walk.p_value < 0.1)
    });
    assert!(naive.count() >= 8);
}

/// Outcomes of which `share` of the spread is known in advance, and that knowledge.
fn planted(rows: usize, share: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = rng(seed);
    let signal: Vec<f64> = (0..rows).map(|_| share * SIGMA * normal(&mut random)).collect();
    let outcomes = signal.iter().map(|s| s + SIGMA * normal(&mut random)).collect();
    (outcomes, signal)
}

#[test]
fn planted_skill_is_promoted_and_says_so() {
    for seed in 0..20 {
        let (outcomes, signal) = planted(4_000, 0.25, seed);
        let noisy = signal.iter().rev().copied().collect();
        let evaluation = run(outcomes, &[("noise", noisy, 1.0), ("skill", signal, 1.0)]);
        let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
        assert_eq!(decision.winner, "skill", "{decision:?}");
        assert!(decision.promoted && decision.skilled && decision.best_p < 0.05);
        assert!(decision.reason.contains("more accurate than a random walk"));
        // The verdict survives storing.
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Promotion>(&text).unwrap(), decision);
    }
}

#[test]
fn ties_keep_the_champion() {
    let (outcomes, signal) = planted(4_000, 0.25, 3);
    let copy = signal.clone();
    let evaluation = run(outcomes, &[("champion", signal, 1.0), ("copy", copy, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("champion"), 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.promoted), ("champion", false));
    assert!(decision.skilled);
    assert_eq!(decision.candidates.len(), 1);
    assert_eq!(decision.candidates[0].p_champion, Some(1.0));
}

#[test]
fn a_better_challenger_replaces_the_champion() {
    let (outcomes, signal) = planted(6_000, 0.4, 4);
    let weaker = signal.iter().map(|s| 0.2 * s).collect();
    let evaluation = run(outcomes, &[("old", weaker, 1.0), ("new", signal, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("old"), 0.1, 3);
    assert_eq!((decision.winner.as_str(), decision.promoted), ("new", true), "{decision:?}");
    assert!(decision.reason.contains("the champion `old`"));
}

#[test]
fn a_champion_that_lost_its_lead_gives_way_to_the_random_walk() {
    let (outcomes, signal) = planted(2_000, 0.25, 5);
    let stale: Vec<f64> = signal.iter().rev().copied().collect();
    let evaluation = run(outcomes, &[("old", stale, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("old"), 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.promoted), (RANDOM_WALK, true));
    assert!(!decision.skilled && decision.reason.contains("`old` has lost its lead"));
}

#[test]
fn a_good_point_with_a_bad_spread_is_not_promoted() {
    let (outcomes, signal) = planted(4_000, 0.25, 6);
    let evaluation = run(outcomes, &[("sure", signal, 0.2)]);
    let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
    assert_eq!(decision.winner, RANDOM_WALK);
    assert!(decision.candidates[0].p_holm < 0.01 && !decision.candidates[0].distribution_holds);
    assert!(decision.candidates[0].reason.contains("CRPS"));
}

#[test]
fn the_first_champion_is_the_random_walk_unless_a_recipe_passes() {
    let evaluation = noise(250, false, &mut rng(8));
    let first = decide_promotion(&evaluation, None, 0.1, 0);
    assert_eq!((first.winner.as_str(), first.promoted, first.skilled), (RANDOM_WALK, true, false));
    let gone = decide_promotion(&evaluation, Some("gone"), 0.1, 1);
    assert_eq!(gone.winner, RANDOM_WALK);
    assert!(gone.reason.contains("the champion `gone` was not evaluated"));
    assert!(gone.alpha_spent < first.alpha_spent);
}

#[test]
fn a_recipe_that_repeats_the_random_walk_is_no_candidate() {
    let (outcomes, _) = planted(300, 0.25, 9);
    let evaluation = run(outcomes, &[("wider", vec![0.0; 300], 2.0)]);
    let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
    assert!(decision.candidates.is_empty());
    assert_eq!(decision.best_p, 1.0);
}
