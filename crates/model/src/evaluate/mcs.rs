//! The model confidence set: the recipes that cannot be told from the best.
//!
//! Source: P. R. Hansen, A. Lunde and J. M. Nason, *The Model Confidence Set*, Econometrica
//! 79 (2011) 453–497, with both of its statistics: `T_max`, a model's loss against the mean
//! of all that are left, and `T_R`, the largest difference of a pair. The worst is taken out
//! while equal accuracy is rejected; a model's p-value is the largest one met until it left,
//! so the set at 90 % holds every model with a p-value of 0.1 or more. Rows are drawn in
//! blocks, the same for all models; drawing is left to the caller.

use serde::{Deserialize, Serialize};

/// How equal accuracy is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MostDifferent {
    /// A model against the mean of all that are left.
    #[serde(rename = "T_max")]
    FromTheMean,
    /// The largest difference of a pair.
    #[serde(rename = "T_R")]
    OfAPair,
}

/// What a set was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The absolute error of the log return.
    AbsoluteError,
    /// The continuous ranked probability score.
    Crps,
}

/// The recipes that cannot be told from the best by one loss and one statistic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceSet {
    /// The loss.
    pub loss: Loss,
    /// The statistic.
    pub statistic: MostDifferent,
    /// The confidence, such as 0.9.
    pub level: f64,
    /// Every recipe's p-value, in the order of the evaluation.
    pub p_values: Vec<f64>,
    /// The names of the recipes inside, in that order.
    pub inside: Vec<String>,
}

impl ConfidenceSet {
    /// The set at a confidence, from mean losses and their bootstrap means (see
    /// [`confidence_p_values`]).
    pub fn of(
        names: &[&str],
        means: &[f64],
        draws: &[&[f64]],
        (loss, statistic, level): (Loss, MostDifferent, f64),
    ) -> Self {
        let p_values = confidence_p_values(means, draws, statistic);
        // 1 − 0.9 is a little less than 0.1.
        let within = |p: &f64| *p >= 1.0 - level - 1e-12;
        let inside = names.iter().zip(&p_values).filter(|(_, p)| within(p));
        let inside = inside.map(|(name, _)| (*name).to_owned()).collect();
        Self { loss, statistic, level, p_values, inside }
    }
}

/// The p-value of each model in the model confidence set: `means` are the mean losses,
/// `draws` for each model its mean loss in every bootstrap draw, the same rows drawn for
/// all. Models of equal mean and draws are one model. Without draws every p-value is 1.
///
/// # Panics
/// When the numbers of models or draws differ (a bug of the caller).
pub fn confidence_p_values(means: &[f64], draws: &[&[f64]], statistic: MostDifferent) -> Vec<f64> {
    let count = means.len();
    assert_eq!(draws.len(), count, "there are draws of every model");
    let number = draws.first().map_or(0, |d| d.len());
    assert!(draws.iter().all(|d| d.len() == number), "all models have the same draws");
    let same = |a: usize, b: usize| means[a] == means[b] && draws[a] == draws[b];
    let first = |i: usize| (0..i).find(|j| same(*j, i)).unwrap_or(i);
    let leads: Vec<usize> = (0..count).map(first).collect();
    let mut left: Vec<usize> = (0..count).filter(|i| leads[*i] == *i).collect();
    let mut p_values = vec![1.0; count];
    if number == 0 {
        return p_values;
    }
    // How far each draw's mean lies from the mean itself: the null has them centred.
    let errors: Vec<Vec<f64>> =
        draws.iter().zip(means).map(|(d, m)| d.iter().map(|v| v - m).collect()).collect();
    let field = Field { means, errors: &errors, number };
    let mut largest = 0.0f64;
    while left.len() > 1 {
        let (worst, p) = match statistic {
            MostDifferent::FromTheMean => field.against_the_mean(&left),
            MostDifferent::OfAPair => field.of_a_pair(&left),
        };
        largest = largest.max(p);
        p_values[left[worst]] = largest;
        left.remove(worst);
    }
    (0..count).map(|i| p_values[leads[i]]).collect()
}

struct Field<'a> {
    means: &'a [f64],
    errors: &'a [Vec<f64>],
    number: usize,
}

impl Field<'_> {
    /// The worst of the models that are left, and the p-value of equal accuracy.
    fn against_the_mean(&self, left: &[usize]) -> (usize, f64) {
        let size = left.len() as f64;
        let centre = left.iter().map(|i| self.means[*i]).sum::<f64>() / size;
        let centres: Vec<f64> = (0..self.number)
            .map(|b| left.iter().map(|i| self.errors[*i][b]).sum::<f64>() / size)
            .collect();
        let off = |i: usize, b: usize| self.errors[i][b] - centres[b];
        let deviations: Vec<f64> = left
            .iter()
            .map(|i| {
                let squares = (0..self.number).map(|b| off(*i, b) * off(*i, b)).sum::<f64>();
                (squares / self.number as f64).sqrt()
            })
            .collect();
        let statistic = |k: usize| ratio(self.means[left[k]] - centre, deviations[k]);
        let (worst, seen) = largest((0..left.len()).map(statistic));
        let beyond = (0..self.number).filter(|b| {
            let most = (0..left.len()).map(|k| ratio(off(left[k], *b), deviations[k]));
            largest(most).1 > seen
        });
        (worst, beyond.count() as f64 / self.number as f64)
    }

    fn of_a_pair(&self, left: &[usize]) -> (usize, f64) {
        let pairs: Vec<(usize, usize)> = (0..left.len())
            .flat_map(|i| (0..left.len()).filter(move |j| *j != i).map(move |j| (i, j)))
            .collect();
        let off =
            |(i, j): (usize, usize), b: usize| self.errors[left[i]][b] - self.errors[left[j]][b];
        let deviations: Vec<f64> = pairs
            .iter()
            .map(|pair| {
                let squares = (0..self.number).map(|b| off(*pair, b) * off(*pair, b)).sum::<f64>();
                (squares / self.number as f64).sqrt()
            })
            .collect();
        let difference = |(i, j): (usize, usize)| self.means[left[i]] - self.means[left[j]];
        let statistics = pairs.iter().zip(&deviations).map(|(p, d)| ratio(difference(*p), *d));
        let (at, seen) = largest(statistics);
        let beyond = (0..self.number).filter(|b| {
            let most = pairs.iter().zip(&deviations).map(|(p, d)| ratio(off(*p, *b), *d));
            largest(most).1 > seen
        });
        (pairs[at].0, beyond.count() as f64 / self.number as f64)
    }
}

/// A difference in units of its deviation; nothing differs where nothing varies and both
/// are the same.
fn ratio(difference: f64, deviation: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference / deviation }
}

/// The place and size of the largest.
fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    values
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap::stationary_means;
    use super::*;
    use foretell_testkit::{normal, rng};

    fn p_values(losses: &[Vec<f64>], statistic: MostDifferent, seed: u64) -> Vec<f64> {
        let views: Vec<&[f64]> = losses.iter().map(Vec::as_slice).collect();
        let draws = stationary_means(&views, 5.0, 300, seed);
        let draws: Vec<&[f64]> = draws.iter().map(Vec::as_slice).collect();
        let means: Vec<f64> =
            losses.iter().map(|l| l.iter().sum::<f64>() / l.len() as f64).collect();
        confidence_p_values(&means, &draws, statistic)
    }

    /// Of models of equal accuracy all stay in nine of ten cases; a bad one never does.
    #[test]
    fn the_set_keeps_equals_at_its_level_and_drops_the_bad() {
        for statistic in [MostDifferent::FromTheMean, MostDifferent::OfAPair] {
            let mut kept = 0;
            for seed in 0..100 {
                let mut random = rng(seed);
                let mut losses: Vec<Vec<f64>> = (0..4)
                    .map(|_| (0..250).map(|_| normal(&mut random)).collect::<Vec<f64>>())
                    .collect();
                losses.push((0..250).map(|_| 1.0 + normal(&mut random)).collect());
                let found = p_values(&losses, statistic, seed);
                assert!(found[4] < 0.01, "{found:?}");
                kept += i32::from(found[..4].iter().all(|p| *p >= 0.1));
            }
            // Binomial with 0.9: 83 and 97 are 2.3 deviations away.
            assert!((80..=99).contains(&kept), "{statistic:?}: {kept} of 100");
        }
    }

    #[test]
    fn copies_are_one_model_and_nothing_drawn_drops_nobody() {
        let mut random = rng(4);
        let one: Vec<f64> = (0..200).map(|_| normal(&mut random)).collect();
        let bad: Vec<f64> = one.iter().map(|v| v + 0.5 + 0.1 * normal(&mut random)).collect();
        let alone = p_values(&[one.clone(), bad.clone()], MostDifferent::FromTheMean, 1);
        let with_copy = p_values(&[one.clone(), one, bad], MostDifferent::FromTheMean, 1);
        assert_eq!((with_copy[0], with_copy[1], with_copy[2]), (alone[0], alone[0], alone[1]));
        assert_eq!(
            confidence_p_values(&[1.0, 2.0], &[&[], &[]], MostDifferent::OfAPair),
            [1.0, 1.0]
        );
    }
}
