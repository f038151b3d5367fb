//! Shapley values of any model by sampled orderings: features are switched one after
//! another from a reference row to the row at hand, and what the forecast moves by is theirs.
//!
//! Every ordering is used forwards and backwards, which evens the estimate out; the parts of
//! each ordering sum to the difference of the two forecasts, so the means do too.

use foretell_panel::Matrix;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::{Explanations, features_of};
use crate::{Fitted, ModelError};

/// Orderings per row, half of them the other half backwards.
const ORDERINGS: usize = 16;

/// The forecasts of rows against a reference row of as many columns.
pub(crate) fn against(
    model: &dyn Fitted,
    reference: &[f64],
    features: &Matrix,
    context: &Matrix,
) -> Result<Explanations, ModelError> {
    let said = model.predict(features, context)?;
    let players = features_of(&model.schema().feature_names);
    let names = players.iter().map(|(name, _)| name.clone()).collect();
    let mut parts = Vec::with_capacity(features.rows());
    for i in 0..features.rows() {
        // The same orderings for every row: an answer depends on its row alone.
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut order: Vec<usize> = (0..players.len()).collect();
        let mut orders = Vec::with_capacity(ORDERINGS);
        for _ in 0..ORDERINGS / 2 {
            order.shuffle(&mut random);
            orders.push(order.clone());
            orders.push(order.iter().rev().copied().collect());
        }
        let (target, columns) = (features.row(i), features.cols());
        let mut rows = Vec::with_capacity((orders.len() * players.len() + 1) * columns);
        rows.extend_from_slice(reference);
        for order in &orders {
            let mut row = reference.to_vec();
            for player in order {
                players[*player].1.iter().for_each(|c| row[*c] = target[*c]);
                rows.extend_from_slice(&row);
            }
        }
        let count = orders.len() * players.len() + 1;
        let same = context.select(&vec![i; count]);
        let medians = model.predict(&Matrix::new(count, columns, rows), &same)?.medians();
        let mut shares = vec![0.0; players.len()];
        for (k, order) in orders.iter().enumerate() {
            let mut before = medians[0];
            for (step, player) in order.iter().enumerate() {
                let after = medians[1 + k * players.len() + step];
                shares[*player] += (after - before) / orders.len() as f64;
                before = after;
            }
        }
        parts.push((medians[0], shares));
    }
    Ok(Explanations::new(names, parts, &said))
}
