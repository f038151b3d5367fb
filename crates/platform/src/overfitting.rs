//! Overfitting across the ledger: what the number of trials does to the best of them.
//!
//! Every recipe ever judged for an instrument and horizon is a trial, whatever became of
//! it. The deflated Sharpe ratio counts all of them; the probability of backtest
//! overfitting compares, row by row, those that were judged on the same rows.

use foretell_market::Fingerprint;
use foretell_model::evaluate::overfitting::probability_of_overfitting;
use foretell_model::evaluate::sharpe::SharpeEvidence;
use foretell_model::evaluate::{Evaluation, Recipe, RecipeEvaluation};
use foretell_registry::Trial;

use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::views::Overfitting;

/// Blocks of time that are halved in all ways: 12,870 splits, as in the paper.
const BLOCKS: usize = 16;

/// Deflates the Sharpe ratios of a run by every recipe of the ledger, and asks how often
/// the most accurate of all trials on its rows is so by luck.
///
/// # Errors
/// When the registry cannot be read.
pub(crate) async fn judge(
    store: &Store,
    pipeline: &Pipeline,
    evaluation: &mut Evaluation,
) -> Result<Overfitting, PlatformError> {
    let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
    let hash = |r: &RecipeEvaluation| {
        pipeline.recipe_hash(&Recipe { name: r.name.clone(), spec: r.spec.clone() })
    };
    let own: Vec<Fingerprint> = evaluation.recipes.iter().map(hash).collect();
    let is_new = |t: &Trial| !own.contains(&t.recipe_hash);
    let ever = store.registry.distinct_trials(instrument, horizon, None).await?;
    let ever: Vec<Trial> = ever.into_iter().filter(is_new).collect();
    let ratios: Vec<f64> = ever.iter().map(|t| SharpeEvidence::of(&t.returns).sharpe).collect();
    evaluation.deflate(&ratios);
    let rows = evaluation.rows_fingerprint();
    let beside = store.registry.distinct_trials(instrument, horizon, Some(&rows)).await?;
    let beside: Vec<Trial> = beside.into_iter().filter(is_new).collect();
    let (probability, trials) = on_the_same_rows(evaluation, &beside);
    Ok(Overfitting { probability, trials, recipes: own.len() + ever.len() })
}

/// The probability of overfitting over the recipes of a run and further trials on its
/// rows, and over how many. What is selected by is accuracy, so what a trial earns per
/// row is how much smaller its error is than the random walk's, which itself earns
/// nothing. Recipes that repeat the random walk's points are one trial with it.
fn on_the_same_rows(evaluation: &Evaluation, beside: &[Trial]) -> (Option<f64>, usize) {
    let walk = &evaluation.random_walk().losses;
    let losses = evaluation.recipes.iter().map(|r| &r.losses);
    let losses = losses.chain(beside.iter().map(|t| &t.losses));
    let points = losses.filter(|l| *l != walk && l.len() == walk.len());
    let gains = points.map(|l| walk.iter().zip(l).map(|(w, l)| w - l).collect::<Vec<f64>>());
    let all: Vec<Vec<f64>> = std::iter::once(vec![0.0; walk.len()]).chain(gains).collect();
    let views: Vec<&[f64]> = all.iter().map(Vec::as_slice).collect();
    (probability_of_overfitting(&views, BLOCKS).map(|found| found.probability), all.len())
}
