//! Classical models against statsmodels, arch and scipy (`tests/reference/classical.py`).

mod tables;

use foretell_model::{EstimatorSpec, EtsState, Fitted, LEVELS, MEDIAN, ModelState, Schema, Trend};
use foretell_panel::{Dataset, Matrix};
use foretell_testkit::assert_close;
use serde_json::Value;
use tables::{dataset, fit, numbers, reference, spec};

/// Past returns of a row.
const LAGS: usize = 256;

fn names() -> Vec<String> {
    std::iter::once("known_returns".to_owned())
        .chain((0..LAGS).map(|k| format!("log_return_lag_{k}")))
        .collect()
}

/// What a row knows after these returns, the newest last.
fn window(returns: &[f64]) -> Vec<f64> {
    let mut row = vec![returns.len().min(LAGS) as f64];
    row.extend(returns.iter().rev().chain(std::iter::repeat(&0.0)).take(LAGS));
    row
}

/// A row after each return but the last, its label the next return.
fn rows(returns: &[f64]) -> Dataset {
    let n = returns.len() - 1;
    let mut price = 0.0;
    let mut prices = Vec::new();
    let mut context = Vec::new();
    for (t, r) in returns[..n].iter().enumerate() {
        price += r;
        prices.push(libm::exp(price));
        context.extend(window(&returns[..=t]));
    }
    let zeros = vec![0.0; n];
    let mut data = dataset(zeros.clone(), &returns[1..], &[("none", &zeros)], prices);
    data.context_names = names();
    data.context = Matrix::new(n, LAGS + 1, context);
    data
}

/// Fits on all returns but the last, which the reference knows too: its last row is
/// forecast from.
fn fitted(json: &str, returns: &[f64]) -> Box<dyn Fitted> {
    fit(&spec(json), &rows(returns), 0).expect("returns can be learnt")
}

/// The median after all returns.
fn ahead(model: &dyn Fitted, returns: &[f64]) -> f64 {
    let context = Matrix::new(1, LAGS + 1, window(returns));
    model.predict(&Matrix::new(1, 1, vec![0.0]), &context).expect("a row").row(0)[MEDIAN]
}

/// The same model with another horizon.
fn over(state: &Value, kind: &str, steps: u64) -> Box<dyn Fitted> {
    let mut state = state.clone();
    state[kind]["steps"] = steps.into();
    let state: ModelState = serde_json::from_value(state).expect("a state");
    let schema = Schema { feature_names: vec!["f0".to_owned()], context_names: names() };
    state.into_fitted(schema).expect("a sound state")
}

fn state_of(model: &dyn Fitted) -> Value {
    serde_json::to_value(model.state()).expect("plain data")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// `found` is `expected` up to a share of its size.
fn assert_near(found: f64, expected: f64, share: f64, what: &str) {
    let bound = share * expected.abs();
    assert!((found - expected).abs() <= bound, "{what}: {found} is not {expected} to {share}");
}

/// The reference has one return more than the fit: with 1,500 that moves a parameter by less
/// than a thousandth of itself.
fn case(name: &str) -> (Value, Vec<f64>) {
    let fixture = reference("classical.json")[name].clone();
    let mut returns = numbers(&fixture["returns"]);
    // One more row whose label nobody reads: the fit sees every return of the reference.
    returns.push(0.0);
    (fixture, returns)
}

#[test]
fn theta_equals_statsmodels() {
    let (fixture, returns) = case("smoothing");
    let model = fitted(r#"{"kind":"theta"}"#, &returns);
    let (state, expected) = (state_of(&*model), &fixture["theta"]);
    let theta = &state["theta"];
    assert_near(number(&theta["alpha"]), number(&expected["alpha"]), 1e-3, "alpha");
    // Its trend has one price more, the one before the first return.
    assert_near(number(&theta["slope"]), number(&expected["slope"]), 2e-3, "slope");
    let seen = &returns[..returns.len() - 1];
    for steps in [1, 6] {
        let found = ahead(&*over(&state, "theta", steps), seen);
        assert_near(found, number(&expected["ahead"][steps.to_string()]), 5e-3, "forecast");
    }
}

#[test]
fn ets_equals_statsmodels() {
    let (fixture, returns) = case("smoothing");
    let seen = &returns[..returns.len() - 1];
    let mut criteria = Vec::new();
    for name in ["none", "additive", "damped"] {
        let model = fitted(&format!(r#"{{"kind":"ets","trend":"{name}"}}"#), &returns);
        let (state, expected) = (state_of(&*model), &fixture["ets"][name]);
        let ets = &state["ets"];
        for parameter in ["alpha", "beta", "phi"] {
            let wanted = number(&expected[parameter]);
            assert_near(number(&ets[parameter]), wanted, 1e-3, &format!("{name}: {parameter}"));
        }
        assert_near(number(&ets["slope"]), number(&expected["slope"]), 1e-2, "slope");
        for steps in [1, 6] {
            let found = ahead(&*over(&state, "ets", steps), seen);
            let wanted = number(&expected["ahead"][steps.to_string()]);
            // The window cuts off what the slowest root leaves of 256 intervals, 0.7 %.
            assert_near(found, wanted, 1e-2, &format!("{name}: {steps} ahead"));
        }
        criteria.push((number(&expected["aicc"]), name));
        // The filter itself, at parameters that nobody fitted.
        let given = &expected["given"];
        let at = |key: &str| number(&given[key]);
        let trend = match name {
            "none" => Trend::None,
            "additive" => Trend::Additive,
            _ => Trend::Damped,
        };
        let (alpha, beta, phi, slope) = (at("alpha"), at("beta"), at("phi"), at("slope"));
        let offsets = [0.0; LEVELS];
        let state = ModelState::Ets(EtsState { steps: 1, trend, alpha, beta, phi, slope, offsets });
        let state = serde_json::to_value(state).expect("plain data");
        for steps in [1, 6] {
            let found = ahead(&*over(&state, "ets", steps), seen);
            let wanted = number(&expected["given_ahead"][steps.to_string()]);
            assert_near(found, wanted, 1e-9, &format!("{name}: given, {steps} ahead"));
        }
    }
    criteria.sort_by(|a, b| a.0.total_cmp(&b.0));
    let chosen = state_of(&*fitted(r#"{"kind":"ets"}"#, &returns));
    assert_eq!(chosen["ets"]["trend"], criteria[0].1, "the lowest AICc");
}

#[test]
fn arima_equals_its_conditional_sum_of_squares_and_nearly_exact_likelihood() {
    let (fixture, returns) = case("arima");
    let seen = &returns[..returns.len() - 1];
    for (p, q) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)] {
        let model = fitted(&format!(r#"{{"kind":"arima","order":[{p},1,{q}]}}"#), &returns);
        let (state, expected) = (state_of(&*model), &fixture["orders"][format!("{p}{q}")]);
        let arima = &state["arima"];
        let (css, exact) = (&expected["css"], &expected["exact"]);
        assert_near(number(&arima["mean"]), number(&css["mean"]), 1e-4, "mean");
        for part in ["ar", "ma"] {
            let (found, wanted) = (numbers(&arima[part]), numbers(&css[part]));
            assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_near(*found, *wanted, 1e-3, &format!("({p}, {q}): {part}"));
            }
            // Exact likelihood gives the first returns another weight: a share of 1 / n.
            for (found, wanted) in found.iter().zip(&numbers(&exact[part])) {
                assert!((found - wanted).abs() < 4e-3, "{part}: {found}, exact {wanted}");
            }
        }
        for steps in [1, 6] {
            let found = ahead(&*over(&state, "arima", steps), seen);
            let key = steps.to_string();
            assert_close(found, number(&css["ahead"][&key]), 1e-6);
            assert_close(found, number(&exact["ahead"][&key]), 3e-5);
        }
    }
    // Planted: two lags of the return, one of the error.
    let chosen = state_of(&*fitted(r#"{"kind":"arima"}"#, &returns));
    let lags = numbers(&chosen["arima"]["ar"]).len() + numbers(&chosen["arima"]["ma"]).len();
    assert!((2..=4).contains(&lags), "{chosen}");
}

#[test]
fn garch_equals_arch() {
    for (name, json) in [
        ("garch", r#"{"kind":"garch"}"#),
        ("garch_t", r#"{"kind":"garch","distribution":"student_t"}"#),
    ] {
        let (expected, returns) = case(name);
        let ModelState::Garch(state) = fitted(json, &returns).state() else {
            panic!("a garch knows a garch")
        };
        for (found, key) in
            [(state.fit.omega, "omega"), (state.fit.alpha, "alpha"), (state.fit.beta, "beta")]
        {
            assert_near(found, number(&expected[key]), 1e-3, &format!("{name}: {key}"));
        }
        if name == "garch_t" {
            let degrees = state.fit.degrees.expect("they were estimated");
            assert_near(degrees, number(&expected["degrees"]), 1e-3, "degrees");
        }
        // The interval of one unit of the offsets, squared, is the variance.
        let seen = &returns[..returns.len() - 1];
        let mut one = state;
        one.offsets = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0];
        let one = serde_json::to_value(ModelState::Garch(one)).expect("plain data");
        for steps in [1, 6] {
            let model = over(&one, "garch", steps);
            let context = Matrix::new(1, LAGS + 1, window(seen));
            let forecast = model.predict(&Matrix::new(1, 1, vec![0.0]), &context).expect("a row");
            let sigma = forecast.row(0)[MEDIAN + 1];
            let wanted = number(&expected["variance"][steps.to_string()]);
            assert_near(sigma * sigma, wanted, 3e-4, &format!("{name}: {steps} ahead"));
        }
    }
}

#[test]
fn har_equals_least_squares() {
    let fixture = reference("classical.json")["har"].clone();
    let cascade: Vec<Vec<f64>> =
        serde_json::from_value(fixture["cascade"].clone()).expect("rows of four");
    let names = ["horizon", "day", "week", "month"].map(|part| format!("mean_square_{part}"));
    let learnt = |target: &[f64], json: &str| {
        let n = target.len();
        // The squared label is the realised variance; its sign means nothing.
        let labels: Vec<f64> = target.iter().map(|y| libm::sqrt(*y)).collect();
        let zeros = vec![0.0; n];
        let mut data = dataset(zeros.clone(), &labels, &[("none", &zeros)], vec![1.0; n]);
        data.context_names = names.to_vec();
        data.context = Matrix::new(n, 4, cascade.concat());
        let ModelState::Har(state) = fit(&spec(json), &data, 0).expect("a fit").state() else {
            panic!("a har knows a har")
        };
        // On daily rows the day is the horizon and has no weight of its own.
        assert_eq!(state.fit.weights[1], 0.0);
        let [horizon, _, week, month] = state.fit.weights;
        [state.fit.intercept, horizon, week, month]
    };
    let (plain, weighted) = (r#"{"kind":"har","weighted":false}"#, r#"{"kind":"har"}"#);
    let (target, against) = (numbers(&fixture["target"]), numbers(&fixture["against"]));
    for (found, key) in [
        (learnt(&target, plain), "ols"),
        (learnt(&target, weighted), "wls"),
        (learnt(&against, plain), "nnls"),
    ] {
        for (found, wanted) in found.iter().zip(numbers(&fixture[key])) {
            assert!((found - wanted).abs() <= 1e-7 * wanted.abs(), "{key}: {found}, {wanted}");
        }
    }
    assert!(EstimatorSpec::named("har").is_some_and(|s| s.forecasts_spread()));
}
