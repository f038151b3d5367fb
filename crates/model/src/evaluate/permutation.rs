//! Permutation importance: how much larger the error becomes when a feature is shuffled
//! among rows that the model had not learnt from.
//!
//! Source: Breiman (2001), *Random forests*, in the form of scikit-learn's
//! `permutation_importance`: any fitted model, the loss on held-out rows. All steps of a
//! window are shuffled together. A feature whose twin stays in place seems to matter less
//! than it does; it says what the model uses, not what is true.

use std::sync::atomic::{AtomicBool, Ordering};

use foretell_panel::{Dataset, Matrix};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::metrics::BASIS_POINTS;
use super::serial::number;
use crate::explain::features_of;
use crate::{Fitted, ModelError};

/// What shuffling one feature does to the mean absolute error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermutationImportance {
    /// The feature; the steps of a window are one.
    pub feature: String,
    /// By how much the mean absolute error of the log return grows, basis points; below
    /// zero is luck.
    pub mean_bp: f64,
    /// Standard deviation over shuffles and seeds; NaN of a single one.
    #[serde(with = "number")]
    pub deviation_bp: f64,
    /// How many shuffles that is, over all seeds.
    pub shuffles: usize,
}

/// The growth of the mean absolute error per feature and shuffle, log returns, feature by
/// feature in schema order.
///
/// # Errors
/// When a row cannot be forecast, or the stop flag is raised.
pub(crate) fn shuffled_errors(
    model: &dyn Fitted,
    rows: &Dataset,
    (shuffles, seed): (usize, u64),
    stop: &AtomicBool,
) -> Result<Vec<f64>, ModelError> {
    let error = |features: &Matrix| -> Result<f64, ModelError> {
        let medians = model.predict(features, &rows.context)?.medians();
        let sum: f64 = medians.iter().zip(&rows.labels).map(|(m, l)| (l.value - m).abs()).sum();
        Ok(sum / rows.len().max(1) as f64)
    };
    let plain = error(&rows.features)?;
    let players = features_of(&model.schema().feature_names);
    let (count, columns) = (rows.len(), rows.features.cols());
    // The same shuffles for every feature.
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..count).collect();
    let orders: Vec<Vec<usize>> = (0..shuffles)
        .map(|_| {
            order.shuffle(&mut random);
            order.clone()
        })
        .collect();
    let mut grown = Vec::with_capacity(players.len() * shuffles);
    for (_, places) in &players {
        for order in &orders {
            if stop.load(Ordering::Relaxed) {
                return Err(ModelError::Stopped { done: 0, total: 1 });
            }
            let mut values = rows.features.as_slice().to_vec();
            for (i, from) in order.iter().enumerate() {
                let source = rows.features.row(*from);
                places.iter().for_each(|c| values[i * columns + c] = source[*c]);
            }
            grown.push(error(&Matrix::new(count, columns, values))? - plain);
        }
    }
    Ok(grown)
}

/// Means and deviations over shuffles of all seeds, the largest first; each part holds the
/// same number of shuffles per feature.
pub(crate) fn summarised(columns: &[String], parts: &[Vec<f64>]) -> Vec<PermutationImportance> {
    let players = features_of(columns);
    let mut all = Vec::with_capacity(players.len());
    for (j, (name, _)) in players.iter().enumerate() {
        let own = parts.iter().flat_map(|part| {
            let each = part.len() / players.len();
            part[j * each..(j + 1) * each].iter().map(|v| v * BASIS_POINTS)
        });
        let values: Vec<f64> = own.collect();
        let (mean_bp, deviation_bp) = super::seeds::mean_and_deviation(&values);
        let shuffles = values.len();
        all.push(PermutationImportance { feature: name.clone(), mean_bp, deviation_bp, shuffles });
    }
    all.sort_by(|a, b| b.mean_bp.total_cmp(&a.mean_bp).then_with(|| a.feature.cmp(&b.feature)));
    all
}

/// The importance of every feature of a fitted model on rows that it had not learnt from,
/// the largest first.
///
/// # Errors
/// When a row cannot be forecast.
pub fn permutation_importance(
    model: &dyn Fitted,
    rows: &Dataset,
    shuffles: usize,
    seed: u64,
) -> Result<Vec<PermutationImportance>, ModelError> {
    let part = shuffled_errors(model, rows, (shuffles, seed), &AtomicBool::new(false))?;
    Ok(summarised(&model.schema().feature_names, &[part]))
}
