//! A forecast as a classifier of direction: how good is the probability of a rise that its
//! quantiles imply?
//!
//! Every recipe answers a distribution, so every recipe says how probable a rise is. That
//! probability is judged by proper scores (log loss, Brier), by how often it comes true
//! (calibration curve) and by the Matthews correlation of "rise" where it is over one half,
//! against the base rate of the training rows. Outcomes of exactly zero have no direction:
//! they are left out, and counted.
//!
//! Sources: G. W. Brier, *Monthly Weather Review* 78 (1950) 1–3; A. H. Murphy, *J. Applied
//! Meteorology* 12 (1973) 595–600; D. B. Stephenson, C. A. S. Coelho and I. T. Jolliffe,
//! *Weather and Forecasting* 23 (2008) 752–757 (the part inside the bins); B. W. Matthews,
//! *Biochimica et Biophysica Acta* 405 (1975) 442–451.

use serde::{Deserialize, Serialize};

use super::dm::diebold_mariano;
use super::metrics::mean;
use crate::{LEVELS, QUANTILE_LEVELS, empirical_quantile};

/// Groups of the calibration curve.
const GROUPS: usize = 10;

/// What the probability of a rise is worth, over the rows that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectionSkill {
    /// Rows that moved.
    pub rows: usize,
    /// Rows that did not, which are left out.
    pub unmoved: usize,
    /// Share of rises among the rows that moved.
    pub rises: f64,
    /// Mean of `−ln` of the probability given to what came, nats.
    pub log_loss: f64,
    /// The same of the base rate: the share of rises in each fold's training rows.
    pub base_log_loss: f64,
    /// `1 − log loss / base log loss`: 0.01 is one per cent better than the base rate.
    pub log_loss_skill: f64,
    /// Mean squared difference of probability and what came (0 or 1).
    pub brier: f64,
    /// The same of the base rate.
    pub base_brier: f64,
    /// `1 − Brier score / that of the base rate`.
    pub brier_skill: f64,
    /// Murphy's reliability over the groups of the curve: how far probabilities lie from how
    /// often they come true; 0 is best.
    pub reliability: f64,
    /// Murphy's resolution: how far the groups lie from the mean; more is better.
    pub resolution: f64,
    /// Murphy's uncertainty, the variance of the outcomes: nobody's merit.
    pub uncertainty: f64,
    /// What differs inside the groups, so that
    /// `brier = reliability − resolution + uncertainty + within`.
    pub within: f64,
    /// Matthews correlation of "the probability of a rise is over one half" with a rise;
    /// absent when one of both is always the same.
    pub mcc: Option<f64>,
    /// One-sided Diebold–Mariano p-value of a smaller log loss than the base rate's,
    /// uncorrected; absent for a recipe that gives every row one half, and when untestable.
    /// It promotes nobody.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over the recipes of the table.
    pub p_holm: Option<f64>,
    /// The calibration curve: groups of equally many probabilities, the smallest first.
    pub curve: Vec<CalibrationGroup>,
}

/// One group of similar probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationGroup {
    /// Rows in it.
    pub rows: usize,
    /// Their mean probability of a rise.
    pub probability: f64,
    /// Their share of rises.
    pub rises: f64,
}

/// The probability of a rise that nine quantiles (log returns, not falling, at
/// [`QUANTILE_LEVELS`]) imply, given that the price moves: `P(y > 0) / P(y ≠ 0)` of the
/// distribution function that is linear between the quantiles. Beyond the outermost ones it
/// stays at their levels, so the probability lies between 0.025 and 0.975. Quantiles that
/// are exactly zero are a chance of no move: all levels between the first and the last of
/// them are taken from both sides. A median of zero amid other quantiles gives one half.
pub fn probability_of_rise(quantiles: &[f64]) -> f64 {
    const LEAST: f64 = QUANTILE_LEVELS[0];
    // The levels are symmetric, which keeps a forecast without direction at exactly one half.
    let mirrored = |i: usize| QUANTILE_LEVELS[LEVELS - 1 - i];
    let falls = quantiles.iter().take_while(|q| **q < 0.0).count();
    let not_rises = quantiles.iter().take_while(|q| **q <= 0.0).count();
    match (falls, not_rises) {
        (0, 0) => mirrored(0),
        (LEVELS, _) => mirrored(LEVELS - 1),
        (a, b) if a == b => {
            let share = quantiles[a] / (quantiles[a] - quantiles[a - 1]);
            mirrored(a) + share * (mirrored(a - 1) - mirrored(a))
        }
        (a, b) => {
            let (fall, rise) = (QUANTILE_LEVELS[a], mirrored(b - 1));
            (rise / (rise + fall)).clamp(LEAST, mirrored(0))
        }
    }
}

/// The share of rises among labels that moved, as a probability: between the same bounds as
/// [`probability_of_rise`]; one half when none moved.
pub fn base_rate(labels: impl Iterator<Item = f64>) -> f64 {
    let (mut rises, mut moved) = (0u64, 0u64);
    labels.filter(|y| *y != 0.0).for_each(|y| {
        moved += 1;
        rises += u64::from(y > 0.0);
    });
    match moved {
        0 => 0.5,
        _ => (rises as f64 / moved as f64).clamp(QUANTILE_LEVELS[0], QUANTILE_LEVELS[LEVELS - 1]),
    }
}

/// Judges probabilities of a rise, one per outcome, against base rates, one per outcome.
/// The horizon is `steps` rows long. `None` when no outcome moved.
pub fn direction_skill(
    outcomes: &[f64],
    probabilities: &[f64],
    base: &[f64],
    steps: usize,
) -> Option<DirectionSkill> {
    let moved: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i] != 0.0).collect();
    if moved.is_empty() {
        return None;
    }
    let n = moved.len() as f64;
    let at = |series: &[f64]| moved.iter().map(|i| series[*i]).collect::<Vec<f64>>();
    let (p, base) = (at(probabilities), at(base));
    let came: Vec<f64> = moved.iter().map(|i| f64::from(u8::from(outcomes[*i] > 0.0))).collect();
    let (own, rival) = (log_losses(&p, &came), log_losses(&base, &came));
    let (log_loss, base_log_loss) = (mean(&own), mean(&rival));
    let squared = |p: &[f64]| p.iter().zip(&came).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / n;
    let (brier, base_brier) = (squared(&p), squared(&base));
    let rises = mean(&came);
    let curve = curve(&p, &came);
    let over = |of: &dyn Fn(&CalibrationGroup) -> f64| {
        curve.iter().map(|g| g.rows as f64 * of(g)).sum::<f64>() / n
    };
    let reliability = over(&|g| (g.probability - g.rises).powi(2));
    let resolution = over(&|g| (g.rises - rises).powi(2));
    let uncertainty = rises * (1.0 - rises);
    let says_something = p.iter().any(|p| *p != 0.5);
    let test = diebold_mariano(&own, &rival, steps);
    Some(DirectionSkill {
        rows: moved.len(),
        unmoved: outcomes.len() - moved.len(),
        rises,
        log_loss,
        base_log_loss,
        log_loss_skill: 1.0 - log_loss / base_log_loss,
        brier,
        base_brier,
        brier_skill: 1.0 - brier / base_brier,
        reliability,
        resolution,
        uncertainty,
        within: brier - (reliability - resolution + uncertainty),
        mcc: matthews(&p, &came),
        p_value: (says_something && test.statistic().is_finite()).then(|| test.p_value()),
        p_holm: None,
        curve,
    })
}

fn log_losses(p: &[f64], came: &[f64]) -> Vec<f64> {
    let loss = |(p, y): (&f64, &f64)| -libm::log(if *y > 0.5 { *p } else { 1.0 - p });
    p.iter().zip(came).map(loss).collect()
}

/// The correlation of two indicators; `None` when one of them is constant.
fn matthews(p: &[f64], came: &[f64]) -> Option<f64> {
    // Said and came: rise and rise, rise and fall, fall and rise, fall and fall.
    let mut counts = [[0.0f64; 2]; 2];
    for (p, y) in p.iter().zip(came) {
        counts[usize::from(*p <= 0.5)][usize::from(*y < 0.5)] += 1.0;
    }
    let [[tp, fp], [fn_, tn]] = counts;
    let scale = (tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_);
    (scale > 0.0).then(|| (tp * tn - fp * fn_) / scale.sqrt())
}

/// Groups between the deciles of the probabilities, the upper one included; what is equal
/// stays together, so there may be fewer than ten.
fn curve(p: &[f64], came: &[f64]) -> Vec<CalibrationGroup> {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let edges: Vec<f64> =
        (1..GROUPS).map(|k| empirical_quantile(&sorted, k as f64 / GROUPS as f64)).collect();
    let mut sums = [(0usize, 0.0, 0.0); GROUPS];
    for (p, y) in p.iter().zip(came) {
        let (rows, probability, rises) = &mut sums[edges.partition_point(|edge| edge < p)];
        *rows += 1;
        *probability += p;
        *rises += y;
    }
    let group = |(rows, probability, rises): (usize, f64, f64)| CalibrationGroup {
        rows,
        probability: probability / rows as f64,
        rises: rises / rows as f64,
    };
    sums.into_iter().filter(|(rows, ..)| *rows > 0).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_zero_are_no_direction() {
        let symmetric = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!(probability_of_rise(&symmetric), 0.5);
        assert_eq!(probability_of_rise(&[0.0; 9]), 0.5);
        // No move up to the 75 % quantile: of the rest three quarters of a tenth fall.
        let often_still = [-2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0];
        let expected = 0.25 / (0.25 + 0.1);
        assert!((probability_of_rise(&often_still) - expected).abs() < 1e-15);
    }

    #[test]
    fn beyond_the_outermost_quantiles_nobody_is_sure() {
        let up: Vec<f64> = (1..=9).map(f64::from).collect();
        let down: Vec<f64> = (1..=9).map(|i| f64::from(i) - 10.0).collect();
        assert!((probability_of_rise(&up) - 0.975).abs() < 1e-12);
        assert!((probability_of_rise(&down) - 0.025).abs() < 1e-12);
        assert!((base_rate([1.0, 2.0, 0.0].into_iter()) - 0.975).abs() < 1e-12);
        assert_eq!(base_rate([0.0, 0.0].into_iter()), 0.5);
    }

    #[test]
    fn who_always_says_one_half_has_no_correlation_and_no_test() {
        let outcomes = [0.1, -0.2, 0.0, 0.3, 0.1, -0.1, 0.2, 0.3, -0.2, 0.1];
        let found = direction_skill(&outcomes, &[0.5; 10], &[0.6; 10], 1).unwrap();
        assert_eq!((found.rows, found.unmoved, found.mcc, found.p_value), (9, 1, None, None));
        assert!((found.log_loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert!(found.log_loss_skill < 0.0, "the base rate knows that rises are more frequent");
        assert!(direction_skill(&[0.0; 3], &[0.5; 3], &[0.5; 3], 1).is_none());
    }

    proptest! {
        #[test]
        fn a_shift_up_never_makes_a_rise_less_probable(
            mut q in prop::collection::vec(-1.0f64..1.0, LEVELS), shift in 0.0f64..1.0,
        ) {
            q.sort_by(f64::total_cmp);
            let before = probability_of_rise(&q);
            prop_assert!((0.025..=0.975).contains(&before));
            q.iter_mut().for_each(|v| *v += shift);
            prop_assert!(probability_of_rise(&q) >= before - 1e-12);
            let mirrored: Vec<f64> = q.iter().rev().map(|v| -v).collect();
            let both = probability_of_rise(&q) + probability_of_rise(&mirrored);
            prop_assert!((both - 1.0).abs() < 1e-9, "rise and fall are mirror images");
        }
    }
}
