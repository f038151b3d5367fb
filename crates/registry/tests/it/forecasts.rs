//! Forecasts are written once, listed stably and judged as known at an instant.

use foretell_market::Interval;
use foretell_registry::{
    Calibration, ForecastFilter, JudgedForecast, Outcome, RegistryError, Written,
};

use crate::sample::{at, calibration, forecast, outcome, with_version};

#[tokio::test]
async fn the_same_forecast_twice_is_one_and_another_body_is_refused() {
    let (_dir, registry) = with_version().await;
    assert_eq!(registry.insert_forecast(&forecast("f_1", 0)).await.unwrap(), Written::New);
    assert_eq!(registry.insert_forecast(&forecast("f_1", 0)).await.unwrap(), Written::Same);
    let mut other = forecast("f_1", 0);
    other.body_json = other.body_json.replace("109541.0", "109541.5");
    let error = registry.insert_forecast(&other).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "forecast `f_1` is already registered with another body: a record is never overwritten"
    );
    assert_eq!(registry.forecast("f_1").await.unwrap(), forecast("f_1", 0));
    let mut orphan = forecast("f_2", 0);
    orphan.version = 9;
    let error = registry.insert_forecast(&orphan).await.unwrap_err();
    assert!(error.to_string().contains("a model version that is not registered"), "{error}");
    let error = registry.forecast("f_2").await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { kind: "forecast", .. }), "{error}");
}

#[tokio::test]
async fn lists_are_newest_first_with_filters_and_pages() {
    let (_dir, registry) = with_version().await;
    for hour in [3, 1, 2, 0] {
        registry.insert_forecast(&forecast(&format!("f_{hour}"), hour)).await.unwrap();
        let mut shadow = forecast(&format!("s_{hour}"), hour);
        shadow.alias = "challenger".to_owned();
        registry.insert_forecast(&shadow).await.unwrap();
    }
    let mut daily = forecast("d_9", 9);
    daily.horizon = Interval::DAY;
    registry.insert_forecast(&daily).await.unwrap();
    let ids = async |filter: ForecastFilter| {
        let found = registry.forecasts(&filter).await.unwrap();
        found.into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    let all = ["d_9", "s_3", "f_3", "s_2", "f_2", "s_1", "f_1", "s_0", "f_0"];
    assert_eq!(ids(ForecastFilter::default()).await, all);
    let hourly = ForecastFilter {
        instrument: Some("BTC-USD".parse().unwrap()),
        horizon: Some(Interval::HOUR),
        alias: Some("champion".to_owned()),
        ..ForecastFilter::default()
    };
    assert_eq!(ids(hourly.clone()).await, ["f_3", "f_2", "f_1", "f_0"]);
    let span = ForecastFilter { from: Some(at(3600)), to: Some(at(3 * 3600)), ..hourly.clone() };
    assert_eq!(ids(span).await, ["f_2", "f_1"]);
    let mut page = ForecastFilter { limit: Some(4), ..ForecastFilter::default() };
    let first = registry.forecasts(&page).await.unwrap();
    page.after = first.last().map(foretell_registry::ForecastRecord::cursor);
    assert_eq!(ids(page).await, ["f_2", "s_1", "f_1", "s_0"]);
    let of = ForecastFilter { model: Some("eth".to_owned()), ..hourly };
    assert_eq!(ids(of).await, [""; 0]);

    let instrument = "BTC-USD".parse().unwrap();
    let latest = async |alias: &str, horizon| {
        let found = registry.latest_forecast(&instrument, horizon, alias).await.unwrap();
        found.map(|f| f.id)
    };
    assert_eq!(latest("champion", Interval::HOUR).await.as_deref(), Some("f_3"));
    assert_eq!(latest("challenger", Interval::HOUR).await.as_deref(), Some("s_3"));
    assert_eq!(latest("champion", Interval::MINUTE).await, None);
    // Of two for one decision the later made one counts: it knows a correction.
    let mut corrected = forecast("a_3", 3);
    corrected.made_at = at(3 * 3600 + 90);
    registry.insert_forecast(&corrected).await.unwrap();
    assert_eq!(latest("champion", Interval::HOUR).await.as_deref(), Some("a_3"));
    // Lists keep to that order, and their pages lose and repeat nothing.
    let version = ForecastFilter {
        model: Some("btc-usd-hourly".to_owned()),
        version: Some(1),
        horizon: Some(Interval::HOUR),
        limit: Some(1),
        ..ForecastFilter::default()
    };
    assert_eq!(ids(version).await, ["a_3"]);
    let whole = ["d_9", "a_3", "s_3", "f_3", "s_2", "f_2", "s_1", "f_1", "s_0", "f_0"];
    let (mut paged, mut after) = (Vec::new(), None);
    for _ in 0..whole.len() {
        let page = ForecastFilter { limit: Some(1), after, ..ForecastFilter::default() };
        let found = registry.forecasts(&page).await.unwrap();
        after = found.last().map(foretell_registry::ForecastRecord::cursor);
        paged.extend(found.into_iter().map(|f| f.id));
    }
    assert_eq!(paged, whole);
}

#[tokio::test]
async fn outcomes_are_judged_as_they_were_known() {
    let (_dir, registry) = with_version().await;
    for hour in 0..3 {
        registry.insert_forecast(&forecast(&format!("f_{hour}"), hour)).await.unwrap();
    }
    let first = outcome();
    let corrected = Outcome { value: 109_700.0, known_at: at(9_000), ..outcome() };
    assert_eq!(registry.insert_outcome(&first).await.unwrap(), Written::New);
    assert_eq!(registry.insert_outcome(&first).await.unwrap(), Written::Same);
    assert_eq!(registry.insert_outcome(&corrected).await.unwrap(), Written::New);
    let changed = Outcome { value: 1.0, ..outcome() };
    let error = registry.insert_outcome(&changed).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { kind: "outcome", .. }), "{error}");
    for value in [f64::NAN, f64::INFINITY] {
        let error = registry.insert_outcome(&Outcome { value, ..outcome() }).await.unwrap_err();
        assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
    }
    let unknown = Outcome { forecast_id: "f_9".to_owned(), ..outcome() };
    let error = registry.insert_outcome(&unknown).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");

    assert_eq!(registry.outcomes("f_1").await.unwrap(), [corrected.clone(), first.clone()]);
    let all = ForecastFilter::default();
    let judged = async |secs| registry.judged_forecasts(at(secs), &all).await.unwrap();
    let of = |outcome: &Outcome| JudgedForecast {
        forecast: forecast("f_1", 1),
        outcome: outcome.clone(),
    };
    assert_eq!(judged(3_600).await, []);
    assert_eq!(judged(8_999).await, [of(&first)]);
    assert_eq!(judged(9_000).await, [of(&corrected)]);

    let latest = registry.latest_outcomes(&all).await.unwrap();
    assert_eq!(latest, [(forecast("f_1", 1).target_time, corrected)]);

    let open = registry.unjudged_forecasts(at(2 * 3600), &all).await.unwrap();
    assert_eq!(open.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["f_0"]);
    let open = registry.unjudged_forecasts(at(3 * 3600), &all).await.unwrap();
    assert_eq!(open.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["f_2", "f_0"]);
}

#[tokio::test]
async fn outcomes_and_the_calibration_that_took_them_in_are_one() {
    let (_dir, registry) = with_version().await;
    registry.insert_forecast(&forecast("f_1", 0)).await.unwrap();
    registry.insert_forecast(&forecast("f_2", 1)).await.unwrap();
    let second = Outcome { forecast_id: "f_2".to_owned(), known_at: at(7201), ..outcome() };
    let outcomes = [outcome(), second];
    let broken = Calibration { state_json: "not json".to_owned(), ..calibration() };
    let error = registry.insert_outcomes(&outcomes, Some(&broken)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { kind: "calibration", .. }), "{error}");
    assert_eq!(registry.outcomes("f_1").await.unwrap(), [], "neither was written");
    let state = async || registry.calibration("btc-usd-hourly", 1, at(9_000)).await.unwrap();
    let unknown = Outcome { forecast_id: "f_9".to_owned(), ..outcome() };
    let error = registry.insert_outcomes(&[outcome(), unknown], Some(&calibration())).await;
    assert!(matches!(error, Err(RegistryError::MissingReference { .. })));
    assert_eq!(state().await, None);
    registry.insert_outcomes(&outcomes, Some(&calibration())).await.unwrap();
    registry.insert_outcomes(&outcomes, Some(&calibration())).await.unwrap();
    assert_eq!(registry.outcomes("f_2").await.unwrap().len(), 1);
    assert_eq!(state().await, Some(calibration()));
}
