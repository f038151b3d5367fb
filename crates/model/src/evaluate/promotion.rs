//! Who is served: the rule that keeps noise from being promoted, fixed in advance.
//!
//! A candidate must be more accurate than the random walk *and* than the champion
//! (one-sided Diebold–Mariano on absolute log-return error), after Holm's correction
//! over all candidates of the run and at the level that alpha-spending leaves for this
//! retrain; its CRPS and interval score must be no worse than theirs. Ties keep the
//! champion. Pure: stores nothing, moves no alias.

use serde::{Deserialize, Serialize};

use super::dm::diebold_mariano;
use super::report::{Evaluation, RecipeEvaluation};
use super::{holm, spent_alpha};

/// The decision after one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The recipe that is to be served.
    pub winner: String,
    /// Whether the winner is another than the champion (or the first champion), so that
    /// the alias has to move.
    pub promoted: bool,
    /// Whether the winner is better than a random walk by the evidence of this run.
    pub skilled: bool,
    /// The verdict in words.
    pub reason: String,
    /// The smallest Holm-corrected p-value against the random walk; 1 without candidates.
    pub best_p: f64,
    /// The level that this test was allowed to use, and so used up.
    pub alpha_spent: f64,
    /// What was found about each candidate.
    pub candidates: Vec<CandidateVerdict>,
}

/// What was found about one recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateVerdict {
    /// The recipe.
    pub name: String,
    /// One-sided p-value against the random walk.
    pub p_random_walk: f64,
    /// One-sided p-value against the champion, when that is another recipe.
    pub p_champion: Option<f64>,
    /// The larger of the two after Holm's correction over the candidates of the run.
    pub p_holm: f64,
    /// Whether CRPS and interval score are no worse than those of both rivals.
    pub distribution_holds: bool,
    /// Whether it may be promoted.
    pub passed: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Decides who is served. `champion` names the recipe served now, `alpha` is the whole
/// error rate (0.1 in the shipped pipelines), `earlier_tests` how often this decision
/// was made before for the instrument and horizon.
///
/// When no candidate passes, the champion stays as long as it is itself still better
/// than the random walk at `alpha` (it was promoted once and is not tested anew);
/// otherwise the random walk is served.
pub fn decide_promotion(
    evaluation: &Evaluation,
    champion: Option<&str>,
    alpha: f64,
    earlier_tests: u64,
) -> Promotion {
    let walk = evaluation.random_walk();
    let reigning = champion.and_then(|name| evaluation.recipe(name));
    let skilled_champion = reigning.filter(|r| !r.is_random_walk());
    let alpha_spent = spent_alpha(alpha, earlier_tests);
    let mut candidates = candidates(evaluation, walk, skilled_champion);
    for verdict in &mut candidates {
        (verdict.passed, verdict.reason) = verdict.judge(alpha_spent, skilled_champion);
    }
    let loss = |name: &str| evaluation.recipe(name).map_or(f64::INFINITY, |r| r.metrics.mae_bp);
    let best = candidates
        .iter()
        .filter(|c| c.passed)
        // All of them have passed; of these the most accurate serves, not the surest.
        .min_by(|a, b| loss(&a.name).total_cmp(&loss(&b.name)).then(a.p_holm.total_cmp(&b.p_holm)));
    let best_p = evaluation.recipes.iter().map(|r| r.versus_random_walk.p_holm).fold(1.0, f64::min);
    let (winner, skilled, mut reason) = match (best, skilled_champion) {
        (Some(best), _) => {
            let reason = format!(
                "`{}` is more accurate than {} ({} at level {})",
                best.name,
                rivals(skilled_champion),
                p_text(best.p_holm),
                level_text(alpha_spent)
            );
            (best.name.clone(), true, reason)
        }
        (None, Some(own)) if own.versus_random_walk.p_value < alpha => {
            let p = p_text(own.versus_random_walk.p_value);
            let reason = format!(
                "no candidate beats the champion `{}`, which is better than a random walk ({p})",
                own.name
            );
            (own.name.clone(), true, reason)
        }
        (None, own) => {
            let mut reason = format!("no better than a random walk ({})", p_text(best_p));
            if let Some(own) = own {
                let p = p_text(own.versus_random_walk.p_value);
                reason.push_str(&format!("; the champion `{}` has lost its lead ({p})", own.name));
            }
            (walk.name.clone(), false, reason)
        }
    };
    if let (Some(name), None) = (champion, reigning) {
        reason.push_str(&format!("; the champion `{name}` was not evaluated"));
    }
    let promoted = champion != Some(winner.as_str());
    Promotion { winner, promoted, skilled, reason, best_p, alpha_spent, candidates }
}

fn rivals(champion: Option<&RecipeEvaluation>) -> String {
    champion.map_or_else(
        || "a random walk".to_owned(),
        |c| format!("a random walk and the champion `{}`", c.name),
    )
}

/// Three digits, and never a rounded zero.
fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// Two digits that count, however small.
fn level_text(level: f64) -> String {
    let digits = (1.0 - libm::log10(level.max(1e-12)).floor()).clamp(2.0, 12.0) as usize;
    format!("{level:.digits$}")
}

/// The recipes that could be promoted: all but the champion, the random walk, and those
/// whose point forecast is the random walk's in every row.
fn candidates(
    evaluation: &Evaluation,
    walk: &RecipeEvaluation,
    champion: Option<&RecipeEvaluation>,
) -> Vec<CandidateVerdict> {
    let challenges = |r: &&RecipeEvaluation| {
        let reigns = champion.is_some_and(|c| c.name == r.name);
        !r.is_random_walk() && !reigns && r.losses != walk.losses
    };
    let verdict = |r: &RecipeEvaluation| {
        let against = |c: &RecipeEvaluation| {
            diebold_mariano(&r.losses, &c.losses, evaluation.steps).p_value()
        };
        let no_worse = |c: &RecipeEvaluation| {
            let (own, rival) = (&r.metrics, &c.metrics);
            own.crps <= rival.crps && own.interval_score <= rival.interval_score
        };
        CandidateVerdict {
            name: r.name.clone(),
            p_random_walk: r.versus_random_walk.p_value,
            p_champion: champion.map(against),
            p_holm: 1.0,
            distribution_holds: no_worse(walk) && champion.is_none_or(no_worse),
            passed: false,
            reason: String::new(),
        }
    };
    let mut all: Vec<CandidateVerdict> =
        evaluation.recipes.iter().filter(challenges).map(verdict).collect();
    // To beat both is to reject both: the larger p-value counts (intersection–union).
    let p: Vec<f64> =
        all.iter().map(|v| v.p_random_walk.max(v.p_champion.unwrap_or(0.0))).collect();
    for (verdict, adjusted) in all.iter_mut().zip(holm(&p)) {
        verdict.p_holm = adjusted;
    }
    all
}

impl CandidateVerdict {
    fn judge(&self, level: f64, champion: Option<&RecipeEvaluation>) -> (bool, String) {
        let significant = self.p_holm < level;
        let (p, level) = (p_text(self.p_holm), level_text(level));
        if !significant {
            let than = rivals(champion);
            return (false, format!("not more accurate than {than} ({p}, needs {level})"));
        }
        if !self.distribution_holds {
            let lost = "more accurate, but CRPS or interval score are worse than a rival's";
            return (false, format!("{lost} ({p})"));
        }
        (true, format!("more accurate than {} ({p}, needs {level})", rivals(champion)))
    }
}

#[cfg(test)]
mod tests;
