//! Every statistic of the evaluation against scipy, statsmodels, scikit-learn, pandas
//! and arch (`tests/reference/evaluation.py` made the numbers).

use foretell_market::Timestamp;
use foretell_model::evaluate::bootstrap::{
    optimal_block_length, percentile_interval, stationary_means,
};
use foretell_model::evaluate::conformal::{CalibrationState, score, split_conformal, widened};
use foretell_model::evaluate::coverage::{LikelihoodRatio, coverage_tests};
use foretell_model::evaluate::direction::direction;
use foretell_model::evaluate::dm::{
    DieboldMariano, diebold_mariano, diebold_mariano_fixed_smoothing,
};
use foretell_model::evaluate::holm;
use foretell_model::evaluate::metrics::{
    NaiveScale, absolute_errors, crps, interval_score, mase, mean, pinball, r2_against_zero, rmsse,
};
use foretell_model::evaluate::overfitting::probability_of_overfitting;
use foretell_model::evaluate::rolling::rolling_quantile_intervals;
use foretell_model::evaluate::sharpe::{SharpeEvidence, deflated_sharpe};
use foretell_model::evaluate::special;
use foretell_model::evaluate::spread::{mean_qlike, second_moment};
use foretell_model::evaluate::volatility::qlike;
use foretell_model::{LEVELS, QUANTILE_LEVELS};
use serde_json::Value;

const FIXTURE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/reference/evaluation.json"
));

fn reference(topic: &str) -> Value {
    let all: Value = serde_json::from_str(FIXTURE).expect("the fixture is JSON");
    all[topic].clone()
}

fn volatility() -> Value {
    let text = include_str!("../../../tests/data/reference/volatility.json");
    serde_json::from_str(text).expect("the fixture is JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

/// Within 1e-9 of the expected number, relative to it.
#[track_caller]
fn same(actual: f64, expected: &Value) {
    let expected = number(expected);
    let bound = 1e-9 * expected.abs();
    assert!((actual - expected).abs() <= bound, "{actual} is not {expected}");
}

#[test]
fn distributions_equal_scipy() {
    let all = reference("distributions");
    let cases = |name: &str| -> Vec<Vec<f64>> {
        all[name].as_array().unwrap().iter().map(numbers).collect()
    };
    let check = |actual: f64, expected: f64, what: &str| {
        let bound = 1e-9 * expected.abs();
        assert!((actual - expected).abs() <= bound, "{what}: {actual} is not {expected}");
    };
    for c in cases("normal_cdf") {
        check(special::normal_cdf(c[0]), c[1], "normal");
    }
    for c in cases("normal_quantile") {
        check(special::normal_quantile(c[0]), c[1], "normal quantile");
    }
    for c in cases("student_t_cdf") {
        check(special::student_t_cdf(c[0], c[1]), c[2], &format!("t {c:?}"));
    }
    for c in cases("chi_squared_1") {
        check(special::chi_squared_1_sf(c[0]), c[1], "chi-squared 1");
    }
    for c in cases("chi_squared_2") {
        check(special::chi_squared_2_sf(c[0]), c[1], "chi-squared 2");
    }
    for c in cases("binomial_at_least") {
        let tail = special::binomial_at_least(c[0] as u64, c[1] as u64, c[2]);
        check(tail, c[3], &format!("binomial {c:?}"));
    }
    for c in cases("binomial_quantile") {
        assert_eq!(special::binomial_quantile(c[0], c[1] as u64, c[2]), c[3] as u64);
    }
}

#[test]
fn diebold_mariano_equals_statsmodels_with_the_published_factor() {
    let all = reference("diebold_mariano");
    let (losses, rival) = (numbers(&all["losses"]), numbers(&all["rival"]));
    for case in all["cases"].as_array().unwrap() {
        let steps = case["steps"].as_u64().unwrap() as usize;
        let DieboldMariano::Tested { mean_difference, statistic, p_value, lag1_autocorrelation } =
            diebold_mariano(&losses, &rival, steps)
        else {
            panic!("{steps} steps can be tested");
        };
        same(mean_difference, &all["mean_difference"]);
        same(lag1_autocorrelation, &all["lag1"]);
        same(statistic, &case["statistic"]);
        same(p_value, &case["p_value"]);
    }
}

#[test]
fn holm_equals_statsmodels() {
    for case in reference("holm").as_array().unwrap() {
        let adjusted = holm(&numbers(&case["p"]));
        for (actual, expected) in adjusted.iter().zip(case["adjusted"].as_array().unwrap()) {
            same(*actual, expected);
        }
    }
}

#[test]
fn metrics_equal_scikit_learn_and_the_published_formulas() {
    let all = reference("metrics");
    let (outcomes, median) = (numbers(&all["outcomes"]), numbers(&all["median"]));
    let quantiles = numbers(&all["quantiles"]);
    let rows = || quantiles.chunks_exact(LEVELS).zip(&outcomes);
    let errors: Vec<f64> = outcomes.iter().zip(&median).map(|(y, m)| y - m).collect();
    let scale = NaiveScale::of(numbers(&all["train"]).into_iter());
    let scales = vec![scale; outcomes.len()];
    same(mean(&absolute_errors(&outcomes, &median)), &all["mae"]);
    same(r2_against_zero(&outcomes, &median), &all["r2_zero"]);
    same(mase(&errors, &scales), &all["mase"]);
    same(rmsse(&errors, &scales), &all["rmsse"]);
    for (j, level) in QUANTILE_LEVELS.iter().enumerate() {
        let losses: Vec<f64> = rows().map(|(q, y)| pinball(*y, q[j], *level)).collect();
        same(mean(&losses), &all["pinball"][j]);
    }
    same(mean(&rows().map(|(q, y)| crps(*y, q)).collect::<Vec<_>>()), &all["crps"]);
    let scores: Vec<f64> = rows().map(|(q, y)| interval_score(*y, q[1], q[7], 0.9)).collect();
    same(mean(&scores), &all["interval_score"]);
    let found = direction(&outcomes, &median);
    let expected = &all["direction"];
    assert_eq!(Some(found.hits), expected["hits"].as_u64());
    assert_eq!(Some(found.rows), expected["rows"].as_u64());
    same(found.accuracy, &expected["accuracy"]);
    same(found.binomial_p, &expected["binomial_p"]);
    same(found.pesaran_timmermann, &expected["pesaran_timmermann"]);
    same(found.pesaran_timmermann_p, &expected["pesaran_timmermann_p"]);
}

#[test]
fn coverage_tests_equal_the_likelihood_ratios_of_scipy() {
    for case in reference("coverage").as_array().unwrap() {
        let covered: Vec<bool> =
            case["covered"].as_array().unwrap().iter().map(|c| c.as_bool().unwrap()).collect();
        let found = coverage_tests(&covered, 0.9);
        let check = |found: LikelihoodRatio, expected: &Value| {
            same(found.statistic, &expected[0]);
            same(found.p_value, &expected[1]);
        };
        check(found.kupiec, &case["kupiec"]);
        check(found.independence, &case["independence"]);
        check(found.christoffersen, &case["christoffersen"]);
    }
}

#[test]
fn block_length_equals_arch_and_the_bootstrap_spreads_as_its() {
    for (name, case) in reference("bootstrap").as_object().unwrap() {
        let values = numbers(&case["values"]);
        let length = number(&case["length"]).max(1.0);
        let found = optimal_block_length(&values);
        assert!((found - length).abs() <= 1e-9 * length, "{name}: {found} is not {length}");
        let means = &stationary_means(&[&values], number(&case["block"]), 20_000, 3)[0];
        let centre = mean(means);
        let sd = mean(&means.iter().map(|m| (m - centre).powi(2)).collect::<Vec<_>>()).sqrt();
        // Both sides are 20,000 draws: the standard error of the ratio is 0.7 %.
        let ratio = sd / number(&case["sd"]);
        assert!((ratio - 1.0).abs() < 0.03, "{name}: {ratio}");
        let (low, high) = percentile_interval(means.iter().copied(), 0.9);
        assert!((low - number(&case["quantiles"][0])).abs() < 0.08 * sd, "{name}: {low}");
        assert!((high - number(&case["quantiles"][1])).abs() < 0.08 * sd, "{name}: {high}");
    }
}

#[test]
fn sharpe_evidence_equals_the_papers_formulas_on_scipy_moments() {
    let all = reference("sharpe");
    let evidence = SharpeEvidence::of(&numbers(&all["returns"]));
    same(evidence.sharpe, &all["sharpe"]);
    same(evidence.skewness, &all["skewness"]);
    same(evidence.kurtosis, &all["kurtosis"]);
    same(evidence.probabilistic, &all["probabilistic"]);
    same(evidence.minimum_track_record, &all["minimum_track_record"]);
    same(deflated_sharpe(&evidence, &numbers(&all["trials"])).unwrap(), &all["deflated"]);
}

#[test]
fn calibration_equals_the_paper_written_in_numpy() {
    let all = reference("conformal");
    let (outcomes, own) = (numbers(&all["outcomes"]), numbers(&all["own_lower"]));
    let upper = numbers(&all["own_upper"]);
    let mut state = CalibrationState::with(
        number(&all["level"]),
        number(&all["step"]),
        all["window"].as_u64().unwrap() as usize,
    )
    .unwrap();
    for (i, outcome) in outcomes.iter().enumerate() {
        let mut quantiles = [0.0; LEVELS];
        (quantiles[1], quantiles[7]) = (own[i], upper[i]);
        let (low, high) = state.interval(&quantiles);
        same(low, &all["lower"][i]);
        same(high, &all["upper"][i]);
        state.update(&quantiles, *outcome);
        same(state.error_level(), &all["error_levels"][i]);
    }
    let scores: Vec<f64> =
        (0..outcomes.len()).map(|i| score(own[i], upper[i], outcomes[i])).collect();
    let rows = all["split_rows"].as_u64().unwrap() as usize;
    let widths = split_conformal(&scores[..rows], number(&all["level"]));
    same(widths, &all["split"]);
    let covered = (0..rows).filter(|&i| {
        let (low, high) = widened(own[i], upper[i], widths);
        low - 1e-12 <= outcomes[i] && outcomes[i] <= high + 1e-12
    });
    assert!(covered.count() as f64 >= 0.9 * rows as f64);
}

#[test]
fn the_rolling_rival_equals_pandas() {
    let all = reference("rolling");
    let values = numbers(&all["values"]);
    let at = |i: usize| Timestamp::from_secs(i as i64);
    let known: Vec<_> = values.iter().enumerate().map(|(i, v)| (at(i), *v)).collect();
    let decisions: Vec<_> = (0..values.len() - 1).map(at).collect();
    let found = rolling_quantile_intervals(&known, &decisions, 60, 0.9);
    for (i, (lower, upper)) in found.into_iter().enumerate() {
        same(lower, &all["lower"][i]);
        same(upper, &all["upper"][i]);
    }
}

#[test]
fn the_probability_of_overfitting_equals_the_paper_written_in_numpy() {
    let all = reference("overfitting");
    let trials: Vec<Vec<f64>> = all["trials"].as_array().unwrap().iter().map(numbers).collect();
    let views: Vec<&[f64]> = trials.iter().map(Vec::as_slice).collect();
    let blocks = all["blocks"].as_u64().unwrap() as usize;
    let mut found = probability_of_overfitting(&views, blocks).unwrap();
    same(found.probability, &all["probability"]);
    found.logits.sort_by(f64::total_cmp);
    assert_eq!(found.logits.len(), all["logits"].as_array().unwrap().len());
    for (actual, expected) in found.logits.iter().zip(all["logits"].as_array().unwrap()) {
        let expected = number(expected);
        assert!((actual - expected).abs() <= 1e-9, "{actual} is not {expected}");
    }
}

#[test]
fn qlike_equals_its_formula() {
    let all = reference("qlike");
    let (proxy, forecast) = (numbers(&all["proxy"]), numbers(&all["forecast"]));
    for i in 0..proxy.len() {
        same(qlike(proxy[i], forecast[i]), &all["loss"][i]);
    }
}

#[test]
fn variance_forecasts_equal_quadrature_the_published_loss_and_numpy() {
    let all = volatility();
    for case in all["second_moments"].as_array().unwrap() {
        same(second_moment(&numbers(&case["quantiles"])), &case["moment"]);
    }
    let all = &all["comparison"];
    let (proxy, own, rival) = (numbers(&all["proxy"]), numbers(&all["own"]), numbers(&all["walk"]));
    let qlike_of = |forecasts: &[f64]| mean_qlike(&proxy, forecasts);
    same(qlike_of(&own), &all["qlike"]);
    same(1.0 - qlike_of(&own) / qlike_of(&rival), &all["skill"]);
    let losses = |forecasts: &[f64]| -> Vec<f64> {
        proxy.iter().zip(forecasts).map(|(x, f)| qlike(*x, *f)).collect()
    };
    let test = diebold_mariano_fixed_smoothing(&losses(&own), &losses(&rival));
    same(test.statistic(), &all["statistic"]);
    same(test.p_value(), &all["p_value"]);
}

#[test]
fn the_test_for_persistent_differences_equals_the_fourier_transform_of_numpy() {
    for case in volatility()["persistent"].as_array().unwrap() {
        let (losses, rival) = (numbers(&case["losses"]), numbers(&case["rival"]));
        let test = diebold_mariano_fixed_smoothing(&losses, &rival);
        same(test.statistic(), &case["statistic"]);
        same(test.p_value(), &case["p_value"]);
    }
}
