//! Recipes that fail while the others are judged: what is told of them, and who fails with
//! them.
//!
//! A recipe fails as a whole. One fit that diverges, in whatever fold and with whatever seed,
//! is enough: who could go on with the seeds that came out well would choose among them. A
//! failed recipe has no line, no rank and no place in a confidence set; it is a try all the
//! same and makes the corrections over the run no weaker than they would be with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::EstimatorSpec;

/// A recipe that could not be judged, or not be fitted once it was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedRecipe {
    /// Its name.
    pub name: String,
    /// What should have been fitted.
    pub spec: EstimatorSpec,
    /// Where it failed first.
    #[serde(flatten)]
    pub at: FailedAt,
    /// What went wrong and what helps.
    pub reason: String,
}

/// Where a recipe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum FailedAt {
    /// In the search for its settings in a fold (from 1).
    Search {
        /// The fold.
        fold: usize,
    },
    /// In a fit, or in what the fitted model answered, in a fold with a seed (both from 1;
    /// the first seed is the judged one).
    Fit {
        /// The fold.
        fold: usize,
        /// The seed.
        seed: usize,
    },
    /// Not by itself: a member of the ensemble failed.
    Member {
        /// The member's name.
        member: String,
    },
    /// In the final refit on all rows, after it was judged.
    Refit,
}

impl FailedRecipe {
    /// Whether it was judged before it failed: then it has its line and its test.
    pub fn was_judged(&self) -> bool {
        self.at == FailedAt::Refit
    }
}

/// In words: `failed in fold 3, seed 7`.
impl fmt::Display for FailedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Search { fold } => write!(f, "failed in its search in fold {fold}"),
            Self::Fit { fold, seed } => write!(f, "failed in fold {fold}, seed {seed}"),
            Self::Member { member } => write!(f, "failed with its member `{member}`"),
            Self::Refit => f.write_str("failed in its refit on all rows"),
        }
    }
}

/// Where and why, without the name: `failed in fold 3, seed 7: …`.
impl fmt::Display for FailedRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.reason)
    }
}

/// The failures of a walk, by recipe. Work has an order; the failure that comes first in it
/// is kept, whichever thread is the faster.
pub(crate) struct Failures(Vec<Mutex<Option<(usize, FailedRecipe)>>>);

impl Failures {
    pub(crate) fn new(recipes: usize) -> Self {
        Self((0..recipes).map(|_| Mutex::new(None)).collect())
    }

    /// Whether a recipe has failed in earlier work than this, which need not be done then.
    pub(crate) fn before(&self, recipe: usize, order: usize) -> bool {
        let first = self.0[recipe].lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().is_some_and(|(at, _)| *at < order)
    }

    /// Keeps a failure; whether it is the first that is heard of its recipe.
    pub(crate) fn note(&self, recipe: usize, order: usize, failed: FailedRecipe) -> bool {
        let mut first = self.0[recipe].lock().unwrap_or_else(PoisonError::into_inner);
        let unheard = first.is_none();
        if first.as_ref().is_none_or(|(at, _)| order < *at) {
            *first = Some((order, failed));
        }
        unheard
    }

    /// The failure of each recipe that has one.
    pub(crate) fn into_inner(self) -> Vec<Option<FailedRecipe>> {
        let first = |slot: Mutex<Option<(usize, FailedRecipe)>>| {
            slot.into_inner().unwrap_or_else(PoisonError::into_inner).map(|(_, failed)| failed)
        };
        self.0.into_iter().map(first).collect()
    }
}

/// Fails every ensemble of which a member has failed, for that reason. Failures stand at the
/// places of their recipes.
///
/// # Panics
/// When there is not one place for each recipe (a bug of the caller).
pub fn fail_ensembles(recipes: &[Recipe], failed: &mut [Option<FailedRecipe>]) {
    assert_eq!(recipes.len(), failed.len(), "one place for each recipe");
    for (i, recipe) in recipes.iter().enumerate() {
        let lost = recipe.spec.members().iter().find_map(|member| {
            let place = recipes.iter().position(|other| other.spec == *member)?;
            failed[place].clone()
        });
        if let Some(member) = lost {
            failed[i] = Some(FailedRecipe {
                name: recipe.name.clone(),
                spec: recipe.spec.clone(),
                at: FailedAt::Member { member: member.name },
                reason: member.reason,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str, fold: usize) -> FailedRecipe {
        FailedRecipe {
            name: name.to_owned(),
            spec: EstimatorSpec::named("ridge").expect("a kind"),
            at: FailedAt::Fit { fold, seed: 1 },
            reason: "diverged".to_owned(),
        }
    }

    #[test]
    fn the_first_in_the_order_of_work_is_kept() {
        let failures = Failures::new(2);
        assert!(failures.note(1, 7, failed("late", 2)));
        assert!(!failures.note(1, 4, failed("early", 1)));
        assert!(!failures.note(1, 9, failed("later", 3)));
        assert!(!failures.before(1, 4) && failures.before(1, 5) && !failures.before(0, 5));
        let kept = failures.into_inner();
        assert_eq!(kept[0], None);
        assert_eq!(kept[1].as_ref().map(|f| &f.name[..]), Some("early"));
    }

    #[test]
    fn it_is_stored_and_told_with_its_place() {
        let lstm = failed("lstm", 3);
        assert_eq!(lstm.to_string(), "failed in fold 3, seed 1: diverged");
        let json = serde_json::to_value(&lstm).unwrap();
        assert_eq!((&json["stage"], &json["fold"]), (&"fit".into(), &3.into()));
        assert_eq!(serde_json::from_value::<FailedRecipe>(json).unwrap(), lstm);
        let refit = FailedRecipe { at: FailedAt::Refit, ..lstm };
        assert!(refit.was_judged() && refit.to_string().contains("refit on all rows"));
        let json = serde_json::to_string(&refit).unwrap();
        assert_eq!(serde_json::from_str::<FailedRecipe>(&json).unwrap(), refit);
    }
}
