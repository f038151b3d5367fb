//! What each feature adds to one forecast: Shapley values of the point forecast.
//!
//! A forecast is taken apart as `base + Σ features + rest`, all log returns. The base is
//! what the model says when no feature is known. Trees are taken apart exactly by
//! path-dependent TreeSHAP ([`trees`]), a linear model by its terms, a network by sampled
//! orderings of its features against the training means ([`sampled`]). The rest is what no
//! feature can be given: a forest's median is not the mean that its trees add up to.
//!
//! Sources: Shapley (1953); Štrumbelj & Kononenko (2014), *Explaining prediction models and
//! individual predictions with feature contributions*, Knowledge and Information Systems 41;
//! Lundberg & Lee (2017), *A unified approach to interpreting model predictions*.

pub(crate) mod sampled;
pub(crate) mod trees;

use serde::{Deserialize, Serialize};

use crate::Quantiles;

/// One forecast, taken apart; log returns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// What the model says when no feature is known.
    pub base: f64,
    /// What each feature adds, in the order of [`Explanations::names`].
    pub features: Vec<f64>,
    /// What belongs to no feature.
    pub rest: f64,
    /// The point forecast: the sum of all these.
    pub forecast: f64,
}

/// Forecasts of several rows, taken apart by the same features.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanations {
    /// The features. The steps of a window count as one where the model reads them as one.
    pub names: Vec<String>,
    /// One per row.
    pub rows: Vec<Explanation>,
}

impl Explanations {
    /// Forecasts that no feature has a part in.
    pub fn without_features(said: &Quantiles) -> Self {
        let row = |forecast: f64| Explanation {
            base: forecast,
            features: Vec::new(),
            rest: 0.0,
            forecast,
        };
        Self { names: Vec::new(), rows: said.medians().into_iter().map(row).collect() }
    }

    /// Forecasts with a base and the parts of features for each row; what is missing to the
    /// forecast is the rest.
    pub(crate) fn new(names: Vec<String>, parts: Vec<(f64, Vec<f64>)>, said: &Quantiles) -> Self {
        let row = |(base, features)| Explanation { base, features, rest: 0.0, forecast: 0.0 };
        let mut all = Self { names, rows: parts.into_iter().map(row).collect() };
        all.settle(said);
        all
    }

    /// Adds the weighted parts of another model on the same rows, feature by feature.
    pub(crate) fn add(&mut self, other: &Self, weight: f64) {
        if self.rows.is_empty() {
            self.rows = vec![Explanation::default(); other.rows.len()];
        }
        let mut place = Vec::with_capacity(other.names.len());
        for name in &other.names {
            let known = self.names.iter().position(|n| n == name);
            place.push(known.unwrap_or_else(|| {
                self.names.push(name.clone());
                self.names.len() - 1
            }));
        }
        let width = self.names.len();
        for (own, theirs) in self.rows.iter_mut().zip(&other.rows) {
            own.features.resize(width, 0.0);
            own.base += weight * theirs.base;
            for (at, value) in place.iter().zip(&theirs.features) {
                own.features[*at] += weight * value;
            }
        }
    }

    /// Sets the forecasts, and the rest to what is missing to them.
    pub(crate) fn settle(&mut self, said: &Quantiles) {
        for (row, forecast) in self.rows.iter_mut().zip(said.medians()) {
            row.features.resize(self.names.len(), 0.0);
            row.forecast = forecast;
            row.rest = forecast - row.base - row.features.iter().sum::<f64>();
        }
    }

    /// The mean absolute part of each feature over the rows, the largest first.
    pub fn mean_absolute(&self) -> Vec<(String, f64)> {
        let n = self.rows.len().max(1) as f64;
        let mean = |j: usize| self.rows.iter().map(|r| r.features[j].abs()).sum::<f64>() / n;
        let mut all: Vec<(String, f64)> =
            self.names.iter().enumerate().map(|(j, name)| (name.clone(), mean(j))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

/// The columns of each feature: the steps of a window `x[-2]`, `x[-1]`, `x` are those of `x`.
pub(crate) fn features_of(columns: &[String]) -> Vec<(String, Vec<usize>)> {
    let mut found: Vec<(String, Vec<usize>)> = Vec::new();
    for (i, column) in columns.iter().enumerate() {
        let steps = column.strip_suffix(']').and_then(|c| c.rsplit_once("[-"));
        let name = steps.filter(|(_, n)| n.parse::<usize>().is_ok()).map_or(&column[..], |s| s.0);
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, places)) => places.push(i),
            None => found.push((name.to_owned(), vec![i])),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_window_are_one_feature() {
        let columns = ["a[-1]", "b[-1]", "a", "b", "c[-x]"].map(str::to_owned);
        let expected = vec![
            ("a".to_owned(), vec![0, 2]),
            ("b".to_owned(), vec![1, 3]),
            ("c[-x]".to_owned(), vec![4]),
        ];
        assert_eq!(features_of(&columns), expected);
    }
}
