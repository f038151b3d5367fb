//! Who is served: the rule that keeps noise from being promoted, fixed in advance.
//!
//! A candidate must be more accurate than the random walk *and* than the champion, after
//! Holm's correction over all candidates of the run and at the level that alpha-spending
//! leaves for this retrain; its CRPS and interval score must be no worse than theirs. Ties
//! keep the champion. Accuracy is absolute log-return error for a recipe that forecasts a
//! point, and QLIKE of the variance for one that forecasts a spread; both by a one-sided
//! Diebold–Mariano test, that of spreads with fixed smoothing. A spread by other means than
//! the exponentially weighted variance must beat that too. A spread contends only where there is no point skill: the champion
//! is the random walk or a spread itself, and a point that passes goes first. Pure: stores
//! nothing, moves no alias.

use serde::{Deserialize, Serialize};

use super::dm::{DieboldMariano, diebold_mariano, diebold_mariano_fixed_smoothing};
use super::metrics::mean;
use super::report::{Evaluation, RecipeEvaluation};
use super::spread::SpreadSkill;
use super::{holm, spent_alpha};
use crate::EstimatorSpec;

/// The decision after one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The recipe that is to be served.
    pub winner: String,
    /// Whether the winner is another than the champion (or the first champion), so that
    /// the alias has to move.
    pub promoted: bool,
    /// Whether the winner's *point* is better than a random walk's by the evidence of this
    /// run.
    pub skilled: bool,
    /// What the winner's *spread* is worth, when it wins by its spread: its point is the
    /// random walk's then, and `skilled` is false.
    #[serde(default)]
    pub spread: Option<SpreadSkill>,
    /// The verdict in words.
    pub reason: String,
    /// The smallest Holm-corrected p-value of a point against the random walk; 1 without
    /// candidates.
    pub best_p: f64,
    /// Why the recipe with that p-value is not served although it is significant: words for
    /// a point that is more accurate and was not promoted.
    #[serde(default)]
    pub withheld: Option<String>,
    /// The level that this test was allowed to use, and so used up.
    pub alpha_spent: f64,
    /// What was found about each candidate.
    pub candidates: Vec<CandidateVerdict>,
}

/// What a candidate is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Absolute error of its point.
    #[default]
    Point,
    /// QLIKE of its variance.
    Spread,
}

/// What was found about one recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateVerdict {
    /// The recipe.
    pub name: String,
    /// What it was judged by.
    #[serde(default)]
    pub aspect: Aspect,
    /// One-sided p-value against the random walk; for a spread the largest against all its
    /// rivals but the champion.
    pub p_random_walk: f64,
    /// The part of it that is against the exponentially weighted variance, for a spread that
    /// is made by other means.
    #[serde(default)]
    pub p_ewma: Option<f64>,
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

/// Who reigns, by what it can do.
#[derive(Debug, Clone, Copy)]
enum Reign<'a> {
    /// The random walk, or nobody yet.
    RandomWalk,
    /// A recipe that was promoted for its point.
    Point(&'a RecipeEvaluation),
    /// A recipe that was promoted for its spread.
    Spread(&'a RecipeEvaluation),
}

impl<'a> Reign<'a> {
    fn of(recipe: Option<&'a RecipeEvaluation>) -> Self {
        match recipe {
            Some(r) if r.spec.forecasts_spread() => Self::Spread(r),
            Some(r) if !r.is_random_walk() => Self::Point(r),
            _ => Self::RandomWalk,
        }
    }

    /// The recipe that must be beaten beside the random walk.
    fn rival(self) -> Option<&'a RecipeEvaluation> {
        match self {
            Self::RandomWalk => None,
            Self::Point(r) | Self::Spread(r) => Some(r),
        }
    }

    /// The champion that is still better than the random walk by its own test at `alpha`,
    /// with that test's p-value.
    fn kept(self, alpha: f64) -> Option<(Aspect, &'a RecipeEvaluation, f64)> {
        let (aspect, r, p) = match self {
            Self::RandomWalk => return None,
            Self::Point(r) => (Aspect::Point, r, r.versus_random_walk.p_value),
            Self::Spread(r) => (Aspect::Spread, r, spread_p(r)),
        };
        (p < alpha).then_some((aspect, r, p))
    }
}

/// The uncorrected p-value of a spread; 1 where none was judged.
fn spread_p(recipe: &RecipeEvaluation) -> f64 {
    recipe.spread.as_ref().map_or(1.0, |s| s.p_value)
}

/// Decides who is served. `champion` names the recipe served now, `alpha` is the whole
/// error rate (0.1 in the shipped pipelines), `earlier_tests` how often this decision
/// was made before for the instrument and horizon.
///
/// When no candidate passes, the champion stays as long as it is itself still better
/// than the random walk at `alpha` by what it was promoted for; otherwise the random walk
/// is served. That test is not corrected: noise can only be kept where noise was promoted,
/// so the chance of ever serving it is bounded by the promotions alone. `champion` must
/// therefore be a recipe that was promoted by this rule.
pub fn decide_promotion(
    evaluation: &Evaluation,
    champion: Option<&str>,
    alpha: f64,
    earlier_tests: u64,
) -> Promotion {
    let walk = evaluation.random_walk();
    let reigning = champion.and_then(|name| evaluation.recipe(name));
    // A champion that failed cannot be compared with anybody: it keeps its place as it is.
    let lost = champion.and_then(|name| evaluation.unjudged().find(|f| f.name == name));
    // What may have learnt from these rows proves nothing on them: it neither reigns nor
    // contends, and the verdict says so.
    let first = evaluation.times.first().copied();
    let barred = |r: &RecipeEvaluation| r.spec.barred(first);
    let reign = Reign::of(reigning.filter(|r| barred(r).is_none()));
    let alpha_spent = spent_alpha(alpha, earlier_tests);
    let mut candidates = candidates(evaluation, walk, reign);
    // Who would have passed, and why it cannot be served.
    let mut hindered: Vec<(String, String)> = Vec::new();
    for verdict in &mut candidates {
        (verdict.passed, verdict.reason) = verdict.judge(alpha_spent, reign);
        let refit = evaluation.failed.iter().find(|f| f.was_judged() && f.name == verdict.name);
        let hindrance = match (lost, refit) {
            (Some(lost), _) => Some(format!("the champion `{}` {lost}", lost.name)),
            (None, failed) => failed.map(|f| format!("it {f}")),
        };
        if let Some(why) = hindrance.filter(|_| verdict.passed) {
            verdict.passed = false;
            verdict.reason.push_str(&format!("; not promoted: {why}"));
            hindered.push((verdict.name.clone(), why));
        }
    }
    // All of these have passed: the most accurate serves, not the surest.
    let best = |aspect: Aspect, loss: fn(&RecipeEvaluation) -> f64| {
        let of = |c: &CandidateVerdict| evaluation.recipe(&c.name).map_or(f64::INFINITY, loss);
        let passed = candidates.iter().filter(|c| c.passed && c.aspect == aspect);
        passed.min_by(|a, b| of(a).total_cmp(&of(b)).then(a.p_holm.total_cmp(&b.p_holm)))
    };
    let best_point = best(Aspect::Point, |r| r.metrics.mae_bp);
    let best_spread = best(Aspect::Spread, spread_loss);
    let honest = || evaluation.recipes.iter().filter(|r| barred(r).is_none());
    let best_p = honest().map(|r| r.versus_random_walk.p_holm).fold(1.0, f64::min);
    let surest = honest().find(|r| r.versus_random_walk.p_holm == best_p);
    let withheld = surest
        .filter(|_| best_p < alpha_spent)
        .and_then(|r| candidates.iter().find(|c| c.name == r.name && c.aspect == Aspect::Point))
        .and_then(|c| {
            let hindrance = hindered.iter().find(|(name, _)| *name == c.name);
            c.withheld(best_p, alpha_spent, reign, hindrance.map(|(_, why)| &why[..]))
        });
    let no_better = withheld
        .clone()
        .unwrap_or_else(|| format!("no better than a random walk ({})", p_text(best_p)));
    let winner = match (best_point, best_spread, reign.kept(alpha)) {
        _ if let Some(lost) = lost => Winner {
            name: lost.name.clone(),
            skilled: false,
            spread: None,
            reason: format!(
                "the champion `{}` {lost}; its last version stays, and nobody is promoted who \
                 cannot be compared with it",
                lost.name
            ),
        },
        (Some(best), _, _) => Winner {
            name: best.name.clone(),
            skilled: true,
            spread: None,
            reason: format!(
                "`{}` is more accurate than {} ({} at level {})",
                best.name,
                rivals(reign, false),
                p_text(best.p_holm),
                level_text(alpha_spent)
            ),
        },
        (None, _, Some((Aspect::Point, own, p))) => Winner {
            name: own.name.clone(),
            skilled: true,
            spread: None,
            reason: format!(
                "no candidate beats the champion `{}`, which is better than a random walk ({}{OWN})",
                own.name,
                p_text(p)
            ),
        },
        (None, Some(best), _) => {
            let judged = evaluation.recipe(&best.name);
            let spread = judged.and_then(|r| r.spread_skill(true, best.p_holm));
            Winner::by_spread(&best.name, spread, &no_better)
        }
        (None, None, Some((Aspect::Spread, own, p))) => {
            let spread = own.spread_skill(true, p).map(|s| SpreadSkill { own_test: true, ..s });
            Winner::by_spread(&own.name, spread, &no_better)
        }
        (None, None, None) => {
            let lost = match reign {
                Reign::RandomWalk => String::new(),
                Reign::Point(own) => {
                    let p = p_text(own.versus_random_walk.p_value);
                    format!("; the champion `{}` has lost its lead ({p})", own.name)
                }
                Reign::Spread(own) => {
                    let p = p_text(spread_p(own));
                    format!("; the spread of the champion `{}` has lost its lead ({p})", own.name)
                }
            };
            let (name, reason) = (walk.name.clone(), no_better + &lost);
            Winner { name, skilled: false, spread: None, reason }
        }
    };
    let Winner { name, skilled, spread, mut reason } = winner;
    if let (Some(name), None, None) = (champion, reigning, lost) {
        reason.push_str(&format!("; the champion `{name}` was not evaluated"));
    }
    for recipe in evaluation.recipes.iter().filter(|r| r.spec.forecasts_spread() && !judgeable(r)) {
        reason.push_str(&format!("; the spread of `{}` could not be judged", recipe.name));
    }
    for recipe in &evaluation.recipes {
        if let Some(why) = barred(recipe) {
            reason.push_str(&format!(
                "; `{}` was trained elsewhere and cannot be promoted by these rows: {why}",
                recipe.name
            ));
        }
    }
    let promoted = champion != Some(name.as_str());
    let withheld = withheld.filter(|_| !skilled);
    Promotion {
        winner: name,
        promoted,
        skilled,
        spread,
        reason,
        best_p,
        withheld,
        alpha_spent,
        candidates,
    }
}

/// Who serves, and why.
struct Winner {
    name: String,
    skilled: bool,
    spread: Option<SpreadSkill>,
    reason: String,
}

impl Winner {
    fn by_spread(name: &str, spread: Option<SpreadSkill>, no_better: &str) -> Self {
        let said = spread.as_ref().map_or_else(String::new, |s| format!("; {}", s.sentence()));
        let reason = format!("{no_better}{said}");
        Self { name: name.to_owned(), skilled: false, spread, reason }
    }
}

/// What decides between spreads that pass, the mean of what they were tested by: the lower
/// the better.
fn spread_loss(recipe: &RecipeEvaluation) -> f64 {
    recipe.spread.as_ref().map_or(f64::INFINITY, |s| mean(&s.losses))
}

/// Whether a spread was tested; that it repeats the random walk's is an answer too.
fn judgeable(recipe: &RecipeEvaluation) -> bool {
    let test = recipe.spread.as_ref().map(|s| s.test);
    matches!(test, Some(DieboldMariano::Tested { .. } | DieboldMariano::NoDifference))
}

/// Who must be beaten, in words; `ewma` when the exponentially weighted variance is among them.
fn rivals(reign: Reign<'_>, ewma: bool) -> String {
    let is_champion = |c: &RecipeEvaluation| c.spec == EstimatorSpec::EwmaVolatility;
    match (reign.rival(), ewma) {
        (None, false) => "a random walk".to_owned(),
        (None, true) => "a random walk and EWMA".to_owned(),
        (Some(c), true) if !is_champion(c) => {
            format!("a random walk, EWMA and the champion `{}`", c.name)
        }
        (Some(c), _) => format!("a random walk and the champion `{}`", c.name),
    }
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

/// The recipes that could be promoted. For their point: all but the champion, the random
/// walk, and those whose point is the random walk's in every row. For their spread, unless
/// the champion has a point: all but the champion that promise one and were judged on it.
fn candidates(
    evaluation: &Evaluation,
    walk: &RecipeEvaluation,
    reign: Reign<'_>,
) -> Vec<CandidateVerdict> {
    let rival = reign.rival();
    let free = |r: &&RecipeEvaluation| {
        !r.is_random_walk()
            && rival.is_none_or(|champion| champion.name != r.name)
            && r.spec.barred(evaluation.times.first().copied()).is_none()
    };
    let verdict = |r: &RecipeEvaluation, aspect, p_random_walk, p_champion| {
        let no_worse = |c: &RecipeEvaluation| {
            let (own, rival) = (&r.metrics, &c.metrics);
            own.crps <= rival.crps && own.interval_score <= rival.interval_score
        };
        CandidateVerdict {
            name: r.name.clone(),
            aspect,
            p_random_walk,
            p_ewma: None,
            p_champion,
            p_holm: 1.0,
            distribution_holds: no_worse(walk) && rival.is_none_or(no_worse),
            passed: false,
            reason: String::new(),
        }
    };
    let points = evaluation.recipes.iter().filter(free);
    let points = points.filter(|r| !r.spec.forecasts_spread() && r.losses != walk.losses);
    let mut all: Vec<CandidateVerdict> = points
        .map(|r| {
            let against = |c: &RecipeEvaluation| {
                diebold_mariano(&r.losses, &c.losses, evaluation.steps).p_value()
            };
            verdict(r, Aspect::Point, r.versus_random_walk.p_value, rival.map(against))
        })
        .collect();
    if !matches!(reign, Reign::Point(_)) {
        let spreads = evaluation.recipes.iter().filter(free);
        let spreads = spreads.filter(|r| r.spec.forecasts_spread());
        all.extend(spreads.filter_map(|r| {
            let own = r.spread.as_ref()?;
            let against = |c: &RecipeEvaluation| {
                let rival = c.spread.as_ref();
                rival.map_or(1.0, |c| {
                    diebold_mariano_fixed_smoothing(&own.losses, &c.losses).p_value()
                })
            };
            let p_ewma = own.versus_ewma.map(|test| test.p_value());
            let verdict = verdict(r, Aspect::Spread, own.p_value, rival.map(against));
            Some(CandidateVerdict { p_ewma, ..verdict })
        }));
    }
    // To beat both is to reject both: the larger p-value counts (intersection–union).
    let p = all.iter().map(|v| v.p_random_walk.max(v.p_champion.unwrap_or(0.0)));
    // Who failed was a candidate too, and is counted as one that proved nothing.
    let first = evaluation.times.first().copied();
    let failed = evaluation.unjudged().filter(|f| f.spec.barred(first).is_none()).map(|_| 1.0);
    let p: Vec<f64> = p.chain(failed).collect();
    for (verdict, adjusted) in all.iter_mut().zip(holm(&p)) {
        verdict.p_holm = adjusted;
    }
    all
}

/// What stands behind a p-value that no correction was made to.
const OWN: &str = ", own test, uncorrected";

impl CandidateVerdict {
    /// Why a point that is more accurate than the random walk is not served.
    fn withheld(
        &self,
        p: f64,
        level: f64,
        reign: Reign<'_>,
        hindrance: Option<&str>,
    ) -> Option<String> {
        let why = match reign.rival() {
            _ if self.passed => return None,
            _ if let Some(why) = hindrance => why.to_owned(),
            Some(rival) if self.p_holm >= level => {
                format!("not more accurate than the champion `{}`", rival.name)
            }
            _ if !self.distribution_holds => "its distribution is worse".to_owned(),
            _ => return None,
        };
        let (name, p) = (&self.name, p_text(p));
        Some(format!("`{name}` is more accurate than a random walk ({p}), but {why}: not promoted"))
    }

    fn judge(&self, level: f64, reign: Reign<'_>) -> (bool, String) {
        let better = match self.aspect {
            Aspect::Point => "more accurate",
            Aspect::Spread => "of lower QLIKE",
        };
        let significant = self.p_holm < level;
        let (p, level) = (p_text(self.p_holm), level_text(level));
        let than = rivals(reign, self.p_ewma.is_some());
        if !significant {
            return (false, format!("not {better} than {than} ({p}, needs {level})"));
        }
        if !self.distribution_holds {
            let lost = "but CRPS or interval score are worse than a rival's";
            return (false, format!("{better}, {lost} ({p})"));
        }
        (true, format!("{better} than {than} ({p}, needs {level})"))
    }
}

#[cfg(test)]
mod tests;
