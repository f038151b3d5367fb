//! Outcomes as classes: a network answers the probability of each, and the answer is a
//! distribution again.
//!
//! The edges between classes are fitted on the learnt outcomes. Probabilities fix the
//! distribution function at the edges; inside a class it is the empirical one of the learnt
//! outcomes of that class. The forecast is that mixture, its point the median.
//!
//! Sources: E. Imani and M. White, *Improving Regression Performance with Distributional
//! Losses*, ICML 2018 (the histogram loss); R. Li, B. J. Reich and H. D. Bondell, *Deep
//! Distribution Regression*, Computational Statistics & Data Analysis 159 (2021).

use serde::{Deserialize, Serialize};

use super::settings::FALL_OR_RISE;
use crate::state::{check_finite, damaged};
use crate::{LEVELS, ModelError, QUANTILE_LEVELS, empirical_quantile};

/// The most classes.
pub(crate) const MOST: usize = 21;

/// The fewest learnt outcomes of a class: fewer tell nothing of what it looks like inside.
pub(crate) const LEAST_OF_A_CLASS: usize = 10;

/// How many quantiles of its outcomes a class keeps, from the smallest to the largest in
/// equal steps of probability: every level of a forecast is one of them.
const KEPT: usize = 41;

/// Classes of outcomes, log returns. Class `k` holds what is over edge `k − 1` and not over
/// edge `k`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// Where one class ends and the next begins, rising; one fewer than classes.
    pub edges: Vec<f64>,
    /// Per class some quantiles of its learnt outcomes at equally spaced probabilities from
    /// 0 to 1.
    pub within: Vec<Vec<f64>>,
}

impl Classes {
    /// Cuts outcomes into so many classes: two at zero, into falls (or no move) and rises,
    /// more at equally spaced quantiles, so that all are about as frequent.
    ///
    /// # Errors
    /// In words, what to change, when a class would hold fewer than ten outcomes.
    pub(crate) fn cut(outcomes: &[f64], count: usize) -> Result<Self, String> {
        let mut sorted = outcomes.to_vec();
        sorted.sort_by(f64::total_cmp);
        let edges: Vec<f64> = match count {
            FALL_OR_RISE => vec![0.0],
            _ => (1..count).map(|k| empirical_quantile(&sorted, k as f64 / count as f64)).collect(),
        };
        if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!(
                "two edges between classes coincide at the log return {}, since many outcomes \
                 are equal; give fewer classes",
                pair[0]
            ));
        }
        let mut classes = Self { edges, within: Vec::with_capacity(count) };
        for k in 0..count {
            let members: Vec<f64> =
                sorted.iter().copied().filter(|outcome| classes.of(*outcome) == k).collect();
            if members.len() < LEAST_OF_A_CLASS {
                return Err(Self::too_few(k, count, members.len(), outcomes.len()));
            }
            let step = |i: usize| i as f64 / (KEPT - 1) as f64;
            classes.within.push((0..KEPT).map(|i| empirical_quantile(&members, step(i))).collect());
        }
        Ok(classes)
    }

    fn too_few(class: usize, count: usize, have: usize, of: usize) -> String {
        match (count, class) {
            (FALL_OR_RISE, 0) => format!(
                "only {have} of {of} learnt outcomes are no rise, and {LEAST_OF_A_CLASS} are \
                 needed; bring more history, or give more classes, which are cut elsewhere"
            ),
            (FALL_OR_RISE, _) => format!(
                "only {have} of {of} learnt outcomes are rises, and {LEAST_OF_A_CLASS} are \
                 needed; bring more history, or give more classes, which are cut elsewhere"
            ),
            _ => format!(
                "class {} of {count} holds {have} of {of} learnt outcomes, and \
                 {LEAST_OF_A_CLASS} are needed; give fewer classes, or bring more history",
                class + 1
            ),
        }
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.edges.len() + 1
    }

    /// The class of an outcome, from 0.
    pub fn of(&self, outcome: f64) -> usize {
        self.edges.partition_point(|edge| *edge < outcome)
    }

    /// The logarithm of each class's share of some targets, which hold every class: what a
    /// network answers that knows nothing else.
    pub(crate) fn log_shares(&self, targets: &[f32]) -> Vec<f32> {
        let mut counts = vec![0.0; self.count()];
        targets.iter().for_each(|class| counts[*class as usize] += 1.0);
        counts.iter().map(|n| libm::log(n / targets.len() as f64) as f32).collect()
    }

    /// The probability of each class: the softmax of a network's answers; not a number
    /// where these are none.
    pub fn probabilities(answers: &[f64]) -> Vec<f64> {
        let largest = answers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let parts: Vec<f64> = answers.iter().map(|a| libm::exp(a - largest)).collect();
        let sum: f64 = parts.iter().sum();
        parts.into_iter().map(|part| part / sum).collect()
    }

    /// The nine quantiles of the mixture, log returns, not falling; not numbers where the
    /// probabilities are none.
    pub fn quantiles(&self, probabilities: &[f64]) -> [f64; LEVELS] {
        if probabilities.iter().any(|p| p.is_nan()) {
            return [f64::NAN; LEVELS];
        }
        QUANTILE_LEVELS.map(|level| {
            let mut below = 0.0;
            let mut found = f64::NAN;
            for (p, within) in probabilities.iter().zip(&self.within) {
                if *p <= 0.0 {
                    continue;
                }
                // Rounding may leave the sum a little under 1: the last class ends it.
                found = empirical_quantile(within, ((level - below) / p).clamp(0.0, 1.0));
                below += p;
                if level <= below {
                    break;
                }
            }
            found
        })
    }

    /// Refuses stored classes that do not hold together.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] naming the place.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let count = self.count();
        check_finite("classes.edges", &self.edges)?;
        if !(FALL_OR_RISE..=MOST).contains(&count) || self.within.len() != count {
            return Err(damaged("classes.within", "there is not one list for each class"));
        }
        if self.edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(damaged("classes.edges", "the edges do not rise"));
        }
        for (k, within) in self.within.iter().enumerate() {
            let place = format!("classes.within[{k}]");
            check_finite(&place, within)?;
            let inside = within.iter().all(|outcome| self.of(*outcome) == k);
            if within.len() < 2 || !within.is_sorted() || !inside {
                return Err(damaged(&place, "its quantiles fall, or leave the class"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcomes(rows: usize) -> Vec<f64> {
        let mut state = 11u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        (0..rows).map(|_| 0.02 * (draw() + draw() + draw())).collect()
    }

    #[test]
    fn classes_are_as_frequent_as_one_another() {
        let all = outcomes(1_000);
        let classes = Classes::cut(&all, 5).unwrap();
        let mut counts = [0; 5];
        all.iter().for_each(|y| counts[classes.of(*y)] += 1);
        assert_eq!(counts, [200; 5]);
        classes.check().unwrap();
    }

    #[test]
    fn two_classes_part_at_zero_and_no_move_is_no_rise() {
        let mut all = outcomes(200);
        all[3] = 0.0;
        let classes = Classes::cut(&all, 2).unwrap();
        assert_eq!((classes.edges[0], classes.of(0.0), classes.of(1e-12)), (0.0, 0, 1));
        assert!(classes.within[0].iter().all(|y| *y <= 0.0));
        assert!(classes.within[1].iter().all(|y| *y > 0.0));
    }

    /// Sure of one class, the forecast is that class: to the bit, since every level is kept.
    #[test]
    fn a_sure_network_answers_the_empirical_quantiles_of_the_class() {
        let all = outcomes(400);
        for count in [2, 3, 7] {
            let classes = Classes::cut(&all, count).unwrap();
            for k in 0..count {
                let mut members: Vec<f64> =
                    all.iter().copied().filter(|y| classes.of(*y) == k).collect();
                members.sort_by(f64::total_cmp);
                let mut answers = vec![-2_000.0; count];
                answers[k] = 0.0;
                let sure = Classes::probabilities(&answers);
                assert_eq!(sure[k], 1.0);
                let expected = QUANTILE_LEVELS.map(|p| empirical_quantile(&members, p));
                for (q, e) in classes.quantiles(&sure).iter().zip(expected) {
                    assert!((q - e).abs() <= 1e-15, "class {k} of {count}: {q}, not {e}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused_with_a_remedy() {
        let rising: Vec<f64> = outcomes(200).iter().map(|y| y.abs() + 1e-6).collect();
        let error = Classes::cut(&rising, 2).unwrap_err();
        assert!(error.contains("only 0 of 200 learnt outcomes are no rise"), "{error}");
        assert!(error.contains("bring more history"), "{error}");
        let mut still = outcomes(200);
        still[..120].fill(0.0);
        let error = Classes::cut(&still, 5).unwrap_err();
        assert!(error.contains("coincide at the log return 0"), "{error}");
        assert!(error.contains("give fewer classes"), "{error}");
        let error = Classes::cut(&outcomes(100), 21).unwrap_err();
        assert!(error.contains("of 100 learnt outcomes") && error.contains("fewer classes"));
    }

    #[test]
    fn answers_that_are_no_numbers_give_no_numbers() {
        let classes = Classes::cut(&outcomes(100), 3).unwrap();
        for bad in [[f64::NAN, 0.0, 0.0], [f64::INFINITY, 0.0, 0.0], [f64::NEG_INFINITY; 3]] {
            let answer = classes.quantiles(&Classes::probabilities(&bad));
            assert!(answer.iter().all(|q| q.is_nan()), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_never_fall_and_stay_among_the_outcomes(
            answers in prop::collection::vec(-30.0f64..30.0, 2..=21),
        ) {
            let all = outcomes(500);
            let classes = Classes::cut(&all, answers.len()).unwrap();
            let p = Classes::probabilities(&answers);
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let q = classes.quantiles(&p);
            prop_assert!(q.is_sorted(), "{:?}", q);
            let (least, most) = all.iter().fold((1.0f64, -1.0f64), |(a, b), y| (a.min(*y), b.max(*y)));
            prop_assert!(q.iter().all(|v| (least..=most).contains(v)));
        }
    }
}
