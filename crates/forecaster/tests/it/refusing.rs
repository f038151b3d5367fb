//! A row or version that does not fit is an error with a remedy, not a forecast.

use foretell_feature::FeatureRow;
use foretell_forecaster::{FeatureRange, ForecastError, ServedVersion, forecast};
use foretell_market::{Interval, RowFlags};
use foretell_model::ModelError;

use crate::sample::{RETURNS, at, fresh, hash, row, terms, version};

fn error(version: &ServedVersion, row: &FeatureRow) -> ForecastError {
    forecast(version, &fresh(), row, at(3), &terms()).unwrap_err()
}

#[test]
fn a_row_of_another_feature_set_market_or_columns_is_refused() {
    let version = version(RETURNS);
    let other = FeatureRow { feature_set: hash("other"), ..row() };
    let message = error(&version, &other).to_string();
    assert!(message.starts_with("the row has feature set"), "{message}");
    assert!(message.contains("btc-usd-hourly v3"), "{message}");
    assert!(matches!(error(&version, &other), ForecastError::OtherFeatureSet { .. }));

    let eth = FeatureRow { instrument: "ETH-USD".parse().unwrap(), ..row() };
    assert!(matches!(error(&version, &eth), ForecastError::OtherMarket { .. }));
    let daily = FeatureRow { interval: Interval::DAY, ..row() };
    let message = error(&version, &daily).to_string();
    assert!(message.contains("of BTC-USD 1d, but btc-usd-hourly v3 forecasts BTC-USD 1h"));

    let mut names = row().names.to_vec();
    names.swap(0, 1);
    let swapped = FeatureRow { names: names.into(), ..row() };
    let schema = ForecastError::Model(ModelError::Schema {
        difference: "feature 0 was `rsi`, is `atr`".to_owned(),
    });
    assert_eq!(error(&version, &swapped), schema);
}

#[test]
fn an_input_that_is_no_number_names_its_column() {
    let version = version(RETURNS);
    let mut hole = row();
    hole.features[1] = f64::NAN;
    let message = error(&version, &hole).to_string();
    assert!(message.starts_with("`atr` of the row at 2025-11-01T00:00:00Z is NaN"), "{message}");
    let mut hole = row();
    hole.context[0] = f64::INFINITY;
    assert!(
        matches!(error(&version, &hole), ForecastError::Input { column, .. } if column == "vol")
    );
    for base_price in [0.0, -1.0, f64::NAN] {
        let hole = FeatureRow { base_price, ..row() };
        assert!(matches!(error(&version, &hole), ForecastError::Input { .. }));
    }
}

#[test]
fn nothing_is_forecast_with_knowledge_of_its_future() {
    let mut version = version(RETURNS);
    version.train_to = at(1);
    let message = error(&version, &row()).to_string();
    assert!(message.contains("labels up to 2025-11-01T00:00:01Z, after the decision"), "{message}");
    version.train_to = at(0);
    version.fitted_as_of = at(0);
    forecast(&version, &fresh(), &row(), at(3), &terms()).unwrap();
    let early = forecast(&version, &fresh(), &row(), at(1), &terms()).unwrap_err();
    assert_eq!(early, ForecastError::MadeTooEarly { made_at: at(1), known_at: at(2) });
}

#[test]
fn a_version_registered_without_its_ranges_is_refused() {
    let mut version = version(RETURNS);
    version.ranges.pop();
    assert!(matches!(
        error(&version, &row()),
        ForecastError::Ranges { ranges: 2, features: 3, .. }
    ));
}

#[test]
fn what_is_known_of_the_inputs_reaches_the_passport() {
    let version = version(RETURNS);
    let mut late = row();
    late.flags = RowFlags::LATE;
    late.features = vec![0.0, 100.0, 100.0];
    let made = forecast(&version, &fresh(), &late, at(3), &terms()).unwrap();
    assert_eq!((made.inputs.late_corrections, made.inputs.out_of_range_share), (1, 0.0));
    assert_eq!(made.inputs.flags, ["late"]);
    late.features = vec![-1e-9, 100.1, 1e9];
    let made = forecast(&version, &fresh(), &late, at(3), &terms()).unwrap();
    assert_eq!(made.inputs.out_of_range_share, 1.0);
    assert!(FeatureRange { min: 1.0, max: 1.0 }.holds(1.0));
}
