//! Variance forecasts through the whole walk: planted clusters are found, constant variance
//! is not, and what is judged does not overlap.

mod markets;

use std::sync::atomic::AtomicBool;

use foretell_market::Interval;
use foretell_model::evaluate::{
    Evaluation, EvaluationPlan, RANDOM_WALK, VarianceProxy, Walk, decide_promotion, evaluate,
};
use foretell_panel::LockBox;
use markets::{baselines, dataset, garch, plan, random_walk, recipe, returns};

/// Every cheap recipe on these prices, `steps` hours ahead, with spans of a day.
fn run(closes: &[f64], steps: usize) -> Evaluation {
    let plan = EvaluationPlan {
        bootstrap_draws: 10,
        volatility_span: Some(Interval::DAY),
        ..plan(120, 60)
    };
    let (rows, returns) = (dataset(closes, steps), returns(closes));
    evaluate(&rows, Some(&returns), &baselines(), &plan, &AtomicBool::new(false), &())
        .expect("recipes fit")
}

#[test]
fn a_planted_garch_is_found_at_the_horizon_and_over_days() {
    for steps in [1, 6] {
        let evaluation = run(&garch(24_000, 0.1, 0.88, 1), steps);
        let spread = evaluation.recipe("ewma_volatility").unwrap().spread.clone().unwrap();
        assert!(spread.p_holm < 0.01 && spread.skill > 0.0, "{steps}: {:?}", spread.test);
        // Six hours have a realised variance, and so has the horizon before; one has none.
        let previous = spread.versus_previous.map(|t| t.p_value());
        assert_eq!(previous.is_some(), steps == 6);
        assert!(previous.is_none_or(|p| p < 0.01 && p <= spread.p_value), "{previous:?}");
        let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
        assert_eq!((decision.winner.as_str(), decision.skilled), ("ewma_volatility", false));
        let days = evaluation.volatility.unwrap();
        assert!(days.p_value() < 0.01, "{steps}: {days:?}");
        assert_eq!(days.span, Some(Interval::DAY));
        // 24,000 hours less 120 days of training, one row per day.
        assert!((860..=880).contains(&days.rows), "{}", days.rows);
    }
}

#[test]
fn constant_variance_is_not_found() {
    for seed in 0..10 {
        let evaluation = run(&random_walk(8_000, seed), 1);
        let days = evaluation.volatility.clone().unwrap();
        assert!(days.versus_constant.p_value() > 0.05, "seed {seed}: {days:?}");
        let decision = decide_promotion(&evaluation, None, 0.1, 0);
        assert_eq!(decision.winner, RANDOM_WALK, "seed {seed}: {}", decision.reason);
    }
}

#[test]
fn the_proxy_is_the_finest_there_is_and_rows_do_not_overlap() {
    let closes = garch(5_000, 0.1, 0.88, 2);
    let (rows, squares) = (dataset(&closes, 6), returns(&closes));
    let plan = plan(60, 30);
    let fine = Walk::plan(&rows, Some(&squares), &plan).unwrap();
    assert_eq!(fine.proxy, VarianceProxy::RealisedVariance);
    let apart = fine.apart();
    assert!(apart.windows(2).all(|w| w[1] == w[0] + 6), "every sixth row");
    let coarse = Walk::plan(&rows, None, &plan).unwrap();
    assert_eq!(coarse.proxy, VarianceProxy::SquaredReturn);
    for &i in &apart {
        let squared = fine.outcomes[i] * fine.outcomes[i];
        assert_eq!(coarse.proxies[i], squared);
        let realised = squares.between(fine.times[i], fine.known_at[i]).unwrap();
        assert_eq!(fine.proxies[i], realised);
    }
    let one = Walk::plan(&dataset(&closes, 1), Some(&squares), &plan).unwrap();
    assert_eq!(one.proxy, VarianceProxy::SquaredReturn, "nothing is finer than one interval");
    assert_eq!(one.apart().len(), one.times.len());
}

#[test]
fn a_span_with_a_missing_interval_is_null_and_a_lock_box_is_one() {
    let closes = garch(8_000, 0.1, 0.88, 3);
    let rows = dataset(&closes, 1);
    let plan = EvaluationPlan { volatility_span: Some(Interval::DAY), ..plan(120, 60) };
    let whole = Walk::plan(&rows, None, &plan).unwrap();
    let of = |squares| whole.volatility(&rows, &squares, Interval::DAY).unwrap().rows;
    let all = of(returns(&closes));
    // One hour in the middle of a judged day: that day, and the one that looks back at it.
    let day = Interval::DAY.floor(whole.times[whole.times.len() / 2]);
    let noon = day.plus_secs(12 * 3_600);
    let hole = LockBox { from: noon, to: noon + Interval::HOUR };
    assert_eq!(of(returns(&closes).without(Some(hole))), all - 2);
    // A span of one interval has nothing finer inside.
    assert!(whole.volatility(&rows, &returns(&closes), Interval::HOUR).is_none());
}

/// What is said about a row must not change when everything later is replaced.
#[test]
fn nothing_later_moves_an_earlier_variance_forecast() {
    let before = garch(4_000, 0.1, 0.88, 4);
    let mut after = before.clone();
    after[3_000..]
        .iter_mut()
        .enumerate()
        .for_each(|(i, p)| *p *= 1.0 + 0.3 * f64::from(i as u32 % 7));
    let said = |closes: &[f64]| {
        let (rows, squares) = (dataset(closes, 6), returns(closes));
        let stop = AtomicBool::new(false);
        let recipes = [recipe("random_walk"), recipe("ewma_volatility")];
        let walked = foretell_model::evaluate::walk(
            &rows,
            Some(&squares),
            &recipes,
            &plan(60, 10),
            &stop,
            &(),
        )
        .unwrap();
        (walked.walk, walked.trials)
    };
    let ((walk, one), (moved, other)) = (said(&before), said(&after));
    let decided = walk.times.partition_point(|t| *t < markets::close_of(3_000));
    assert!(decided > 500);
    let previous = (walk.previous.as_ref().unwrap(), moved.previous.as_ref().unwrap());
    assert_eq!(previous.0[..decided], previous.1[..decided]);
    assert_ne!(previous.0[decided..], previous.1[decided..]);
    for (a, b) in one.iter().zip(&other) {
        let (a, b) = (a.variance.as_ref().unwrap(), b.variance.as_ref().unwrap());
        assert_eq!(a[..decided], b[..decided]);
        assert_ne!(a[decided..], b[decided..]);
    }
}
