//! Datasets made from plain tables, for tests.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use foretell_market::{Fingerprint, Interval, RowFlags, Timestamp};
use foretell_model::{EstimatorSpec, FitContext, Fitted, ModelError};
use foretell_panel::{Dataset, Label, Matrix};

/// A path under `tests/data`.
pub(crate) fn data_path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(name)
}

/// A JSON fixture of the references.
pub(crate) fn reference(name: &str) -> serde_json::Value {
    let path = data_path("reference").join(name);
    let text = std::fs::read_to_string(&path).expect("the fixture is committed");
    serde_json::from_str(&text).expect("the fixture is JSON")
}

/// The numbers of a JSON list.
pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("a list of numbers")
}

/// Hourly rows from a table of features (row-major), labels, context columns and prices.
pub(crate) fn dataset(
    features: Vec<f64>,
    labels: &[f64],
    context: &[(&str, &[f64])],
    base_prices: Vec<f64>,
) -> Dataset {
    let rows = labels.len();
    let columns = features.len() / rows;
    let start = Timestamp::from_secs(1_704_067_200);
    let label = |(i, value): (usize, &f64)| {
        let start = start.plus_secs(3600 * i as i64);
        Label { value: *value, start, end: start + Interval::HOUR }
    };
    let values: Vec<&[f64]> = context.iter().map(|(_, values)| *values).collect();
    Dataset {
        instrument: "BTC-USD".parse().expect("a valid name"),
        interval: Interval::HOUR,
        horizon: Interval::HOUR,
        feature_set: Fingerprint::of_bytes(b"table"),
        feature_names: (0..columns).map(|j| format!("f{j}")).collect(),
        features: Matrix::new(rows, columns, features),
        context_names: context.iter().map(|(name, _)| (*name).to_owned()).collect(),
        context: Matrix::from_columns(rows, &values),
        labels: labels.iter().enumerate().map(label).collect(),
        base_prices,
        flags: vec![RowFlags::default(); rows],
    }
}

/// A fit on two threads that nobody stops.
pub(crate) fn fit(
    spec: &EstimatorSpec,
    train: &Dataset,
    seed: u64,
) -> Result<Box<dyn Fitted>, ModelError> {
    let stop = AtomicBool::new(false);
    spec.build()?.fit(
        train,
        &FitContext {
            seed,
            threads: 2,
            stop: &stop,
            progress: &(),
            checkpoints: None,
            accelerator: None,
        },
    )
}

/// Settings as files write them.
pub(crate) fn spec(json: &str) -> EstimatorSpec {
    serde_json::from_str(json).expect("valid settings")
}

/// The mean pinball loss over rows and levels.
pub(crate) fn pinball(quantiles: &foretell_model::Quantiles, labels: &[Label]) -> f64 {
    let mut sum = 0.0;
    for (i, label) in labels.iter().enumerate() {
        for (q, p) in quantiles.row(i).iter().zip(foretell_model::QUANTILE_LEVELS) {
            let error = label.value - q;
            sum += if error > 0.0 { p * error } else { (p - 1.0) * error };
        }
    }
    sum / (labels.len() * foretell_model::LEVELS) as f64
}
