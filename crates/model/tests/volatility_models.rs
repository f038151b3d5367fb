//! GARCH and HAR through the whole walk: they are found where they were planted, against
//! EWMA too, and not where the variance is constant.

mod markets;

use std::sync::atomic::AtomicBool;

use foretell_market::Interval;
use foretell_model::evaluate::{
    Aspect, Evaluation, EvaluationPlan, RANDOM_WALK, decide_promotion, evaluate,
};
use markets::{garch, plan, random_walk, recipe, returns, with_returns};

/// The recipes of the spread on these prices, `steps` hours ahead, with spans of a day,
/// fitted anew every `refit` days.
fn run(closes: &[f64], steps: usize, kinds: &[&str], refit: i64) -> Evaluation {
    let plan = EvaluationPlan {
        bootstrap_draws: 10,
        volatility_span: Some(Interval::DAY),
        ..plan(120, refit)
    };
    let (rows, returns) = (with_returns(closes, steps), returns(closes));
    let recipes: Vec<_> = kinds.iter().map(|kind| recipe(kind)).collect();
    evaluate(&rows, Some(&returns), &recipes, &plan, &AtomicBool::new(false), &())
        .expect("recipes fit")
}

const ALL: [&str; 4] = ["random_walk", "ewma_volatility", "garch", "har"];

#[test]
fn a_planted_garch_is_found_and_beats_ewma() {
    for steps in [1, 6] {
        // Its variance forgets in hours, which a fixed decay of 0.94 does not.
        let evaluation = run(&garch(12_000, 0.25, 0.6, 1), steps, &ALL, 90);
        let spread = evaluation.recipe("garch").unwrap().spread.clone().unwrap();
        let ewma = spread.versus_ewma.unwrap().p_value();
        assert!(ewma < 0.01 && spread.skill > 0.0, "{steps}: {:?}", spread.test);
        assert!(spread.p_value >= ewma, "the largest of all rivals counts");
        let of = |name: &str| evaluation.recipe(name).unwrap().spread.clone().unwrap();
        assert!(of("ewma_volatility").versus_ewma.is_none(), "it is no rival of itself");
        assert!(of("random_walk").versus_ewma.is_none());
        let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
        assert_eq!((decision.winner.as_str(), decision.skilled), ("garch", false));
        let verdict = decision.candidates.iter().find(|c| c.name == "garch").unwrap();
        assert_eq!((verdict.aspect, verdict.p_ewma), (Aspect::Spread, Some(ewma)));
        assert!(verdict.reason.contains("than a random walk and EWMA ("), "{}", verdict.reason);
        // EWMA reigns: the better one takes its place.
        let decision = decide_promotion(&evaluation, Some("ewma_volatility"), 0.1, 3);
        assert_eq!(decision.winner, "garch", "{}", decision.reason);
    }
}

#[test]
fn days_are_forecast_by_garch_and_har_too() {
    let evaluation = run(&garch(24_000, 0.05, 0.94, 3), 1, &["random_walk", "garch", "har"], 90);
    let days = evaluation.volatility.unwrap();
    let names: Vec<&str> = days.others.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["GARCH", "HAR"]);
    let corrected = days.p_holm_of_others().into_iter().zip(days.p_values_of_others());
    for (other, ([ewma, previous, constant], p_value)) in days.others.iter().zip(corrected) {
        assert!(previous < 0.01 && constant < 0.01, "{other:?}");
        assert_eq!(p_value, ewma.max(previous).max(constant));
        // EWMA knows neither the mean to which the variance returns nor the horizon.
        assert!(other.qlike < days.qlike, "{}: {} of {}", other.name, other.qlike, days.qlike);
    }
    // Without the past returns of a row nobody else is judged.
    let closes = garch(6_000, 0.1, 0.88, 2);
    let plain = markets::dataset(&closes, 1);
    let walk = foretell_model::evaluate::Walk::plan(&plain, None, &plan(60, 60)).unwrap();
    let few = walk.volatility(&plain, &returns(&closes), Interval::DAY).unwrap();
    assert!(few.others.is_empty());
}

/// A GARCH without anything to find is a constant with noise: who is promoted for it is
/// promoted by chance, and that is bounded by the level of the first test, 6.1 %, in the
/// family of all recipes; the same over days at 5 %. (Fitted once, such a GARCH is another
/// constant, which *is* nearer to the truth or farther from it: there must be refits.)
#[test]
fn constant_variance_is_not_found_beyond_the_stated_rate() {
    const RUNS: u64 = 40;
    let (mut promoted, mut days) = (0, 0);
    for seed in 0..RUNS {
        let steps = if seed % 2 == 0 { 1 } else { 4 };
        let evaluation = run(&random_walk(6_000, 100 + seed), steps, &ALL, 15);
        let decision = decide_promotion(&evaluation, None, 0.1, 0);
        promoted += u64::from(decision.winner != RANDOM_WALK);
        let others = evaluation.volatility.unwrap().p_values_of_others();
        days += u64::from(others.iter().any(|p| *p < 0.05));
    }
    // More than these have a chance below one in a hundred at the stated rates.
    assert!(promoted <= 7, "{promoted} of {RUNS} runs promoted noise");
    assert!(days <= 6, "{days} of {RUNS} runs found a volatility that is not there");
}

/// What is said about a row must not change when everything later is replaced.
#[test]
fn nothing_later_moves_an_earlier_forecast() {
    let before = garch(3_000, 0.1, 0.88, 4);
    let mut after = before.clone();
    let later = after[2_200..].iter_mut().enumerate();
    later.for_each(|(i, p)| *p *= 1.0 + 0.3 * f64::from(i as u32 % 7));
    let kinds = ["random_walk", "theta", "ets", "arima", "garch", "har"];
    let said = |closes: &[f64]| {
        let (rows, squares) = (with_returns(closes, 3), returns(closes));
        let (stop, recipes) = (AtomicBool::new(false), kinds.map(recipe));
        let plan = plan(60, 10);
        let walked =
            foretell_model::evaluate::walk(&rows, Some(&squares), &recipes, &plan, &stop, &())
                .unwrap();
        (walked.walk, walked.trials)
    };
    let ((walk, one), (_, other)) = (said(&before), said(&after));
    let decided = walk.times.partition_point(|t| *t < markets::close_of(2_200));
    assert!(decided > 500);
    for (a, b) in one.iter().zip(&other) {
        assert_eq!(a.quantiles[..9 * decided], b.quantiles[..9 * decided], "{}", a.name);
        assert_ne!(a.quantiles[9 * decided..], b.quantiles[9 * decided..], "{}", a.name);
    }
}
