//! Which trials are given up before their last split.
//!
//! A trial tells its mean loss after each split of the training rows. A pruner compares it
//! with what earlier trials had after as many splits; trials that run side by side never
//! see one another, so that threads decide nothing.
//!
//! Sources: D. Golovin et al., *Google Vizier*, KDD 2017, for the median rule; L. Li et
//! al., *Hyperband*, JMLR 18 (2018), and L. Li et al., *A System for Massively Parallel
//! Hyperparameter Tuning*, MLSys 2020, for its brackets without waiting.

use serde::{Deserialize, Serialize};

/// What ends a trial early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// Nothing.
    None,
    /// A mean loss above the median of the complete trials after as many splits.
    #[default]
    Median,
    /// Not to be in the best third of its bracket after 1, 3, 9 … splits; brackets begin to
    /// prune later and later.
    Hyperband,
}

/// Complete trials before the median rule prunes.
const STARTUP: usize = 5;
/// One in so many goes on at each rung of a bracket.
const FACTOR: usize = 3;

/// A trial as a pruner sees it: its number, from 0, its mean loss after each split that it
/// finished, and whether it finished all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course<'a> {
    /// Its number.
    pub number: usize,
    /// Mean loss after each split.
    pub steps: &'a [f64],
    /// Whether it finished every split.
    pub complete: bool,
}

impl Pruner {
    /// Whether a trial is given up after the splits that it has finished, of `splits` in
    /// all; `earlier` are the trials that ended before it began.
    pub fn gives_up(self, trial: Course<'_>, splits: usize, earlier: &[Course<'_>]) -> bool {
        let done = trial.steps.len();
        let Some(value) = trial.steps.last() else { return false };
        if done >= splits {
            return false;
        }
        match self {
            Self::None => false,
            Self::Median => {
                let complete = earlier.iter().filter(|c| c.complete);
                let mut theirs: Vec<f64> = complete.map(|c| c.steps[done - 1]).collect();
                theirs.sort_by(f64::total_cmp);
                theirs.len() >= STARTUP && *value > crate::empirical_quantile(&theirs, 0.5)
            }
            Self::Hyperband => {
                let own = bracket(trial.number, splits);
                let rung = (0..).map(|k| FACTOR.pow(own + k)).find(|r| *r >= done);
                if rung != Some(done) {
                    return false;
                }
                let alike = earlier.iter().filter(|c| bracket(c.number, splits) == own);
                let theirs = alike.filter_map(|c| c.steps.get(done - 1));
                let all = theirs.clone().count() + 1;
                let better = theirs.filter(|v| *v < value).count();
                better >= (all / FACTOR).max(1)
            }
        }
    }
}

/// The bracket of a trial: brackets take turns in proportion to the trials that Hyperband
/// gives them, those that prune early the most.
fn bracket(number: usize, splits: usize) -> u32 {
    let brackets = (0..).take_while(|k| FACTOR.pow(*k) <= splits).count() as u32;
    let share = |b: u32| {
        let s = brackets - 1 - b;
        (brackets as usize * FACTOR.pow(s)).div_ceil(s as usize + 1)
    };
    let round: usize = (0..brackets).map(share).sum();
    let mut left = number % round.max(1);
    for b in 0..brackets {
        if left < share(b) {
            return b;
        }
        left -= share(b);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(number: usize, steps: &[f64]) -> Course<'_> {
        Course { number, steps, complete: steps.len() == 3 }
    }

    #[test]
    fn the_median_rule_waits_for_five_and_spares_the_better_half() {
        let values: Vec<[f64; 3]> = (0..5).map(|i| [f64::from(i); 3]).collect();
        let earlier: Vec<Course<'_>> =
            values.iter().enumerate().map(|(i, v)| course(i, v)).collect();
        let rule = |steps: &[f64], earlier: &[Course<'_>]| {
            Pruner::Median.gives_up(course(9, steps), 3, earlier)
        };
        assert!(rule(&[2.1], &earlier), "above the median of 0 to 4");
        assert!(!rule(&[2.0], &earlier) && !rule(&[0.5, 1.0], &earlier));
        assert!(!rule(&[9.0], &earlier[..4]), "four are too few to tell");
        assert!(!rule(&[9.0; 3], &earlier), "nothing is left to save");
        assert!(!Pruner::None.gives_up(course(9, &[9.0]), 3, &earlier));
    }

    #[test]
    fn hyperband_prunes_at_its_rungs_and_inside_its_brackets() {
        // Nine splits: brackets that prune from split 1, from split 3 and never; 9, 5 and 3
        // of every 17 trials (Li et al., table 1, with R = 9).
        let of: Vec<u32> = (0..17).map(|n| bracket(n, 9)).collect();
        let count = |b: u32| of.iter().filter(|o| **o == b).count();
        assert_eq!((count(0), count(1), count(2)), (9, 5, 3));
        let values: Vec<Vec<f64>> = (0..6).map(|i| vec![f64::from(i); 9]).collect();
        let earlier: Vec<Course<'_>> =
            (0..6).map(|i| Course { number: i, steps: &values[i], complete: true }).collect();
        let gives_up = |number: usize, steps: &[f64]| {
            let trial = Course { number, steps, complete: false };
            Pruner::Hyperband.gives_up(trial, 9, &earlier)
        };
        assert!(!gives_up(6, &[0.5]), "the second of seven is in the best third");
        assert!(gives_up(6, &[1.5]), "the third is not");
        assert!(!gives_up(6, &[9.0, 9.0]), "split 2 is no rung");
        assert!(!gives_up(9, &[9.0]), "another bracket begins at split 3");
        assert!(!gives_up(9, &[9.0; 3]), "and has nobody to be compared with yet");
    }
}
