//! Overfitting across the ledger: what the number of trials does to the best of them.
//!
//! Every recipe ever judged for an instrument and horizon is a trial, whatever became of
//! it. The deflated Sharpe ratio counts all of them whose returns can be compared; the
//! probability of backtest overfitting compares, row by row, those that were judged on the
//! same rows: points by absolute error, spreads by QLIKE. What repeats another to the bit
//! (a new seed for a recipe that draws nothing) is no trial of its own.

use foretell_market::Fingerprint;
use foretell_model::evaluate::overfitting::probability_of_overfitting;
use foretell_model::evaluate::{Evaluation, FailedRecipe, Recipe, RecipeEvaluation};
use foretell_registry::{Trial, TrialTerms};

use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::views::Overfitting;

/// Blocks of time that are halved in all ways: 12,870 splits, as in the paper.
const BLOCKS: usize = 16;

/// What the trials of a pipeline are judged under.
pub(crate) fn terms(pipeline: &Pipeline) -> TrialTerms {
    TrialTerms {
        interval: pipeline.interval,
        cost_bp: pipeline.evaluation.cost_bp,
        alpha: pipeline.alpha,
        coverage: pipeline.evaluation.coverage,
    }
}

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
    let recipes = deflate(store, pipeline, evaluation).await?;
    let others = others(pipeline, evaluation);
    let beside = async |rows: &Fingerprint| {
        let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
        let trials = store.registry.distinct_trials(instrument, horizon, Some(rows)).await?;
        Ok::<_, PlatformError>(trials.into_iter().filter(&others).collect::<Vec<_>>())
    };
    let points = beside(&evaluation.rows_fingerprint()).await?;
    let points = points.iter().map(|t| &t.losses[..]);
    let own = evaluation.recipes.iter().map(|r| &r.losses[..]);
    let walk = &evaluation.random_walk().losses;
    let (probability, trials) = on_the_same_rows(walk, own.chain(points));
    let (mut spread_probability, mut spread_trials) = (None, 0);
    if let Some(walk) = &evaluation.random_walk().spread
        && let Some(rows) = &walk.rows_hash
    {
        let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
        let spreads = store.registry.distinct_spreads(instrument, horizon, rows).await?;
        let spreads: Vec<Trial> = spreads.into_iter().filter(&others).collect();
        let spreads = spreads.iter().filter_map(|t| Some(&t.spread.as_ref()?.losses[..]));
        let own = evaluation.recipes.iter().filter_map(|r| Some(&r.spread.as_ref()?.losses[..]));
        (spread_probability, spread_trials) = on_the_same_rows(&walk.losses, own.chain(spreads));
    }
    Ok(Overfitting { probability, trials, spread_probability, spread_trials, recipes })
}

/// Deflates the Sharpe ratios of a run by every recipe of the ledger whose returns can be
/// compared with the run's: the same interval and the same cost. Of trials from before
/// these were kept neither is known; they count, since leaving them out would forgive them. So
/// does a recipe that failed and was never judged: a try without returns.
/// Returns the number of trials.
///
/// # Errors
/// When the registry cannot be read.
pub(crate) async fn deflate(
    store: &Store,
    pipeline: &Pipeline,
    evaluation: &mut Evaluation,
) -> Result<usize, PlatformError> {
    let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
    let now = terms(pipeline);
    let alike = |t: &Trial| {
        t.terms.is_none_or(|of| (of.interval, of.cost_bp) == (now.interval, now.cost_bp))
    };
    let ever = store.registry.distinct_trials(instrument, horizon, None).await?;
    // Tries without a result, of other recipes than the run's.
    let hash = |f: &FailedRecipe| {
        pipeline.recipe_hash(&Recipe { name: f.name.clone(), spec: f.spec.clone() })
    };
    let mut own = own_hashes(pipeline, evaluation);
    own.extend(evaluation.unjudged().map(hash));
    // Who is counted as failed now is not counted for an earlier result as well.
    let others = |t: &Trial| !own.contains(&t.recipe_hash);
    let ever: Vec<Trial> = ever.into_iter().filter(|t| others(t) && alike(t)).collect();
    let returns: Vec<&[f64]> = ever.iter().map(|t| &t.returns[..]).collect();
    let failed = store.registry.failed_recipes(instrument, horizon).await?;
    let failed = failed.iter().filter(|f| !own.contains(f)).count();
    Ok(evaluation.deflate_beside(&returns, failed))
}

/// Whether a trial is of another recipe than those of the run.
fn others(pipeline: &Pipeline, evaluation: &Evaluation) -> impl Fn(&Trial) -> bool + use<> {
    let own = own_hashes(pipeline, evaluation);
    move |t: &Trial| !own.contains(&t.recipe_hash)
}

/// The recipes that the run judged.
fn own_hashes(pipeline: &Pipeline, evaluation: &Evaluation) -> Vec<Fingerprint> {
    let hash = |r: &RecipeEvaluation| {
        pipeline.recipe_hash(&Recipe { name: r.name.clone(), spec: r.spec.clone() })
    };
    evaluation.recipes.iter().map(hash).collect()
}

/// The probability of overfitting over losses on the same rows, and over how many distinct
/// series. What is selected by is the loss, so what a trial earns per row is how much
/// smaller its loss is than the random walk's, which itself earns nothing.
fn on_the_same_rows<'a>(
    walk: &[f64],
    losses: impl Iterator<Item = &'a [f64]>,
) -> (Option<f64>, usize) {
    let bits = |l: &[f64]| l.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
    let mut seen = std::collections::HashSet::from([bits(walk)]);
    let distinct = losses.filter(|l| l.len() == walk.len() && seen.insert(bits(l)));
    let gains = distinct.map(|l| walk.iter().zip(l).map(|(w, l)| w - l).collect::<Vec<f64>>());
    let all: Vec<Vec<f64>> = std::iter::once(vec![0.0; walk.len()]).chain(gains).collect();
    let views: Vec<&[f64]> = all.iter().map(Vec::as_slice).collect();
    (probability_of_overfitting(&views, BLOCKS).map(|found| found.probability), all.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_testkit::{normal, rng};

    #[test]
    fn a_copy_is_no_trial() {
        let mut random = rng(6);
        let mut losses = || (0..400).map(|_| normal(&mut random)).collect::<Vec<f64>>();
        let (walk, one, other) = (losses(), losses(), losses());
        let plain = on_the_same_rows(&walk, [&one[..], &other, &walk].into_iter());
        assert_eq!(plain.1, 3, "the random walk is one of them, once");
        let copies = std::iter::repeat_n(&other[..], 20);
        assert_eq!(on_the_same_rows(&walk, [&one[..], &other].into_iter().chain(copies)), plain);
    }
}
