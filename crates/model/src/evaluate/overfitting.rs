//! The probability of backtest overfitting: is the best of many best by luck?
//!
//! Combinatorially symmetric cross-validation over the per-period results of all
//! trials. Source: D. H. Bailey, J. Borwein, M. López de Prado and Q. J. Zhu, *Journal
//! of Computational Finance* 20 (2017). Knows no recipe and no ledger.

/// What all splits together say.
#[derive(Debug, Clone, PartialEq)]
pub struct Overfitting {
    /// The share of splits in which the winner of one half ranks in the lower half of
    /// the other; over one half is a red flag.
    pub probability: f64,
    /// The logit of the winner's relative rank out of sample, per split.
    pub logits: Vec<f64>,
}

/// Judges `trials` (per-period returns or negated losses, the more the better, equal
/// lengths) over all ways to halve `blocks` blocks of time (even, 2 to 20). A half is
/// scored by its Sharpe ratio. `None` for fewer than two trials or rows than blocks.
pub fn probability_of_overfitting(trials: &[&[f64]], blocks: usize) -> Option<Overfitting> {
    let rows = trials.first()?.len();
    let sound = trials.len() >= 2 && trials.iter().all(|t| t.len() == rows);
    if !sound || !blocks.is_multiple_of(2) || !(2..=20).contains(&blocks) || rows / blocks < 2 {
        return None;
    }
    // As in the paper, blocks are of equal size; the oldest rows that are left over go.
    let size = rows / blocks;
    let skip = rows - size * blocks;
    let sums = |trial: &[f64]| -> Vec<(f64, f64)> {
        let block = |b: &[f64]| (b.iter().sum(), b.iter().map(|v| v * v).sum());
        trial[skip..].chunks_exact(size).map(block).collect()
    };
    let blocks_of: Vec<Vec<(f64, f64)>> = trials.iter().map(|t| sums(t)).collect();
    let half = (size * blocks / 2) as f64;
    let sharpe = |blocks: &[(f64, f64)], mask: u32| {
        let chosen = blocks.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
        let (sum, squares) = chosen.fold((0.0, 0.0), |(a, b), (_, (s, q))| (a + s, b + q));
        let mean = sum / half;
        let variance = (squares / half - mean * mean) * half / (half - 1.0);
        if variance > 0.0 { mean / variance.sqrt() } else { 0.0 }
    };
    let all = (1u32 << blocks) - 1;
    let mut logits = Vec::new();
    for mask in (0..=all).filter(|m| m.count_ones() as usize == blocks / 2) {
        let scores: Vec<f64> = blocks_of.iter().map(|b| sharpe(b, mask)).collect();
        let winner = (1..scores.len()).fold(0, |w, i| if scores[i] > scores[w] { i } else { w });
        let other: Vec<f64> = blocks_of.iter().map(|b| sharpe(b, all & !mask)).collect();
        let below = other.iter().filter(|s| **s < other[winner]).count() as f64;
        let equal = other.iter().filter(|s| **s == other[winner]).count() as f64;
        // The mean rank among ties, from 1 (worst), over the number of trials and one.
        let rank = (below + (equal + 1.0) / 2.0) / (other.len() as f64 + 1.0);
        logits.push(libm::log(rank / (1.0 - rank)));
    }
    let bad = logits.iter().filter(|l| **l <= 0.0).count() as f64;
    Some(Overfitting { probability: bad / logits.len() as f64, logits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_testkit::{normal, rng};

    fn noise(trials: usize, rows: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = rng(seed);
        (0..trials).map(|_| (0..rows).map(|_| normal(&mut random)).collect()).collect()
    }

    fn probability(trials: &[Vec<f64>]) -> f64 {
        let views: Vec<&[f64]> = trials.iter().map(Vec::as_slice).collect();
        probability_of_overfitting(&views, 10).unwrap().probability
    }

    /// The test cases of the paper's section 5: pure noise overfits in about half of all
    /// splits or more, one truly better trial hardly ever.
    #[test]
    fn noise_overfits_and_a_truly_better_trial_does_not() {
        let mean = (0..20).map(|s| probability(&noise(50, 1_000, s))).sum::<f64>() / 20.0;
        assert!((0.35..0.75).contains(&mean), "{mean}");
        let mut planted = noise(50, 1_000, 99);
        planted[7].iter_mut().for_each(|r| *r += 0.25);
        assert!(probability(&planted) < 0.01);
    }

    #[test]
    fn what_cannot_be_split_has_no_answer() {
        let trials = noise(2, 10, 1);
        let views: Vec<&[f64]> = trials.iter().map(Vec::as_slice).collect();
        assert!(probability_of_overfitting(&views[..1], 2).is_none());
        assert!(probability_of_overfitting(&views, 3).is_none());
        assert!(probability_of_overfitting(&views, 8).is_none());
        assert_eq!(probability_of_overfitting(&views, 4).unwrap().logits.len(), 6);
    }
}
