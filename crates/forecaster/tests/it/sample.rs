//! A version whose model answers what a test tells it to.

use std::sync::Arc;

use foretell_feature::FeatureRow;
use foretell_forecaster::{FeatureRange, Forecast, ServedVersion, Skill, Terms, forecast};
use foretell_market::{Fingerprint, Interval, RowFlags, Timestamp};
use foretell_model::evaluate::CalibrationState;
use foretell_model::{Fitted, LEVELS, ModelError, ModelState, Quantiles, Schema};
use foretell_panel::Matrix;

/// 2025-11-01T00:00:00Z and so many seconds.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_761_955_200 + secs)
}

pub(crate) fn hash(text: &str) -> Fingerprint {
    Fingerprint::of_bytes(text.as_bytes())
}

/// Answers the same to every row; NaN is answered as a model does.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    schema: Schema,
    returns: [f64; LEVELS],
}

impl Fitted for Told {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        Quantiles::rearranged(self.returns.repeat(features.rows()))
    }

    fn state(&self) -> ModelState {
        ModelState::RandomWalk { offsets: self.returns }
    }

    fn importance(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

pub(crate) const RETURNS: [f64; LEVELS] =
    [-0.0125, -0.01, -0.006, -0.0025, 0.00015, 0.0025, 0.0061, 0.0102, 0.013];

pub(crate) fn version(returns: [f64; LEVELS]) -> ServedVersion {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let schema =
        Schema { feature_names: names(&["rsi", "atr", "obv"]), context_names: names(&["vol"]) };
    ServedVersion {
        name: "btc-usd-hourly".to_owned(),
        version: 3,
        alias: "champion".to_owned(),
        hash: hash("model"),
        model: Arc::new(Told { schema, returns }),
        instrument: "BTC-USD".parse().unwrap(),
        interval: Interval::HOUR,
        horizon: Interval::HOUR,
        feature_set: hash("set"),
        dataset: hash("dataset"),
        fitted_as_of: at(-86_400),
        train_to: at(-86_400),
        refit_every: Interval::from_secs(30 * 86_400).unwrap(),
        train_rows: 26_000,
        includes_lock_box: false,
        ranges: vec![FeatureRange { min: 0.0, max: 100.0 }; 3],
        skill: Skill::judged(-0.001, 0.71, false),
    }
}

pub(crate) fn row() -> FeatureRow {
    FeatureRow {
        instrument: "BTC-USD".parse().unwrap(),
        interval: Interval::HOUR,
        as_of: at(0),
        known_at: at(2),
        names: ["rsi", "atr", "obv"].map(str::to_owned).into(),
        features: vec![55.0, 100.0, 250.0],
        context_names: ["vol".to_owned()].into(),
        context: vec![0.004],
        base_price: 109_541.0,
        flags: RowFlags::BACKFILLED | RowFlags::FILLED,
        gaps_in_window: 1,
        filled_in_window: 2,
        feature_set: hash("set"),
    }
}

pub(crate) fn terms() -> Terms {
    Terms { time_to_live: Interval::from_secs(7200).unwrap(), historical_demo: false }
}

pub(crate) fn fresh() -> CalibrationState {
    CalibrationState::new(0.9).unwrap()
}

pub(crate) fn made() -> Forecast {
    forecast(&version(RETURNS), &fresh(), &row(), at(3), &terms()).unwrap()
}
