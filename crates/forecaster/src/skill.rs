//! What is known of a recipe's skill, in the words that every output uses.

use foretell_model::evaluate::SpreadSkill;
use serde::{Deserialize, Serialize};

/// The rival that skill is measured against.
const RIVAL: &str = "random-walk";

/// What the evaluation says of the recipe, in one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The promotion rule was passed.
    #[serde(rename = "better than a random walk")]
    Better,
    /// The promotion rule was not passed, or the model is the random walk.
    #[serde(rename = "no better than a random walk")]
    NoBetter,
    /// No evaluation has been made yet.
    #[serde(rename = "not judged yet")]
    NotJudged,
}

/// Out-of-sample skill against the random walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skill {
    /// The rival, `random-walk`.
    pub against: String,
    /// One minus the ratio of mean absolute log-return errors: 0.01 is an error one
    /// per cent smaller. `None` when it was not measured.
    pub mae_skill: Option<f64>,
    /// The one-sided p-value after Holm; for the random walk itself the best of its
    /// rivals. `None` when nothing was tested.
    pub p_value: Option<f64>,
    /// The sentence on the point.
    pub verdict: Verdict,
    /// Whether the p-value is that of its own test, uncorrected: a champion that keeps its
    /// place. Left out when it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_test: bool,
    /// Why nothing better is claimed although the p-value is significant; left out when it
    /// is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// What the spread is worth, for a recipe whose point is the random walk's; left out
    /// for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadSkill>,
}

impl Skill {
    /// The skill of a recipe that was compared with the random walk; numbers that are
    /// not finite are left out, and without a p-value nothing is claimed.
    pub fn judged(mae_skill: f64, p_value: f64, promoted: bool) -> Self {
        let p_value = finite(p_value);
        let better = promoted && p_value.is_some() && mae_skill > 0.0;
        let verdict = if better { Verdict::Better } else { Verdict::NoBetter };
        Self { mae_skill: finite(mae_skill), p_value, verdict, ..Self::not_judged() }
    }

    /// The random walk itself, after rivals were judged; `best_p` is the smallest
    /// p-value among them.
    pub fn random_walk(best_p: Option<f64>) -> Self {
        let p_value = best_p.and_then(finite);
        let verdict = Verdict::NoBetter;
        Self { mae_skill: Some(0.0), p_value, verdict, ..Self::not_judged() }
    }

    /// A recipe whose point is the random walk's and whose spread was judged: of the price
    /// nothing is claimed, see [`Self::random_walk`].
    pub fn of_spread(best_p: Option<f64>, spread: SpreadSkill) -> Self {
        Self { spread: Some(spread), ..Self::random_walk(best_p) }
    }

    /// Before any evaluation.
    pub fn not_judged() -> Self {
        Self {
            against: RIVAL.to_owned(),
            mae_skill: None,
            p_value: None,
            verdict: Verdict::NotJudged,
            own_test: false,
            withheld: None,
            spread: None,
        }
    }

    /// For people: `no better than a random walk (p = 0.71)`, and for a spread what it is
    /// worth after that.
    pub fn sentence(&self) -> String {
        let words = match self.verdict {
            Verdict::Better => "better than a random walk",
            Verdict::NoBetter => "no better than a random walk",
            Verdict::NotJudged => "not judged yet",
        };
        let own = if self.own_test { ", own test, uncorrected" } else { "" };
        let point = match (&self.withheld, self.p_value) {
            (Some(why), _) => why.clone(),
            (None, Some(p)) if p < 0.001 => format!("{words} (p < 0.001{own})"),
            (None, Some(p)) => format!("{words} (p = {}{own})", significant(p)),
            (None, None) => words.to_owned(),
        };
        match &self.spread {
            Some(spread) => format!("{point}; {}", spread.sentence()),
            None => point,
        }
    }
}

/// Two decimals, or three where two would show 0.0x.
fn significant(p: f64) -> String {
    if p < 0.1 { format!("{p:.3}") } else { format!("{p:.2}") }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_sentence_everywhere() {
        let said = |skill: Skill| skill.sentence();
        assert_eq!(said(Skill::random_walk(Some(0.71))), "no better than a random walk (p = 0.71)");
        assert_eq!(said(Skill::random_walk(None)), "no better than a random walk");
        assert_eq!(said(Skill::judged(0.02, 0.004, true)), "better than a random walk (p = 0.004)");
        assert_eq!(said(Skill::judged(0.02, 1e-9, true)), "better than a random walk (p < 0.001)");
        assert_eq!(said(Skill::not_judged()), "not judged yet");
        let spread = SpreadSkill {
            recipe: "ewma volatility".to_owned(),
            qlike_skill: Some(0.2),
            p_value: 0.004,
            better: true,
            own_test: false,
        };
        let why = "`x` is more accurate than a random walk (p < 0.001), but its distribution is \
                   worse: not promoted";
        let withheld = Skill { withheld: Some(why.to_owned()), ..Skill::random_walk(Some(0.0004)) };
        assert_eq!(said(withheld), why);
        let kept = Skill { own_test: true, ..Skill::judged(0.02, 0.004, true) };
        assert_eq!(said(kept), "better than a random walk (p = 0.004, own test, uncorrected)");
        assert_eq!(
            said(Skill::of_spread(Some(0.71), spread)),
            "no better than a random walk (p = 0.71); spread by `ewma volatility`: QLIKE 20.0 % \
             lower than the random walk's, p = 0.004"
        );
    }

    #[test]
    fn claims_nothing_without_a_test_a_promotion_and_a_gain() {
        for (gain, p, promoted) in [(0.02, f64::NAN, true), (0.02, 0.01, false), (-0.1, 0.01, true)]
        {
            assert_eq!(Skill::judged(gain, p, promoted).verdict, Verdict::NoBetter);
        }
        let json = serde_json::to_string(&Skill::judged(f64::NAN, f64::NAN, false)).unwrap();
        assert_eq!(
            json,
            r#"{"against":"random-walk","mae_skill":null,"p_value":null,"verdict":"no better than a random walk"}"#
        );
    }
}
