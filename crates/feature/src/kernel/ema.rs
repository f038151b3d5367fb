//! The exponentially weighted mean of pandas (`adjust=True`, `ignore_na=False`).

use serde::{Deserialize, Serialize};

/// `Σ wᵢ xᵢ / Σ wᵢ` with `w = (1 - alpha)^age`, where age counts *intervals* since the
/// value: across a gap the old terms age and nothing is reset. Its origin is the first
/// value of the frame.
///
/// Source: pandas user guide, "Exponentially weighted window"; the update form is that
/// of a weighted mean, `mean ← mean + (x - mean) / (w + 1)`, `w ← (w + 1)(1 - alpha)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WeightedMean {
    keep: f64,
    mean: f64,
    /// Weight of all older values at the next interval; zero before the first.
    weight: f64,
}

impl WeightedMean {
    /// With `alpha` the weight of the newest value, `0 < alpha < 1`.
    pub(crate) fn with_alpha(alpha: f64) -> Self {
        Self { keep: 1.0 - alpha, mean: 0.0, weight: 0.0 }
    }

    /// With `alpha = 2 / (span + 1)`.
    pub(crate) fn with_span(span: f64) -> Self {
        Self::with_alpha(2.0 / (span + 1.0))
    }

    /// Ages the old terms by missing intervals.
    pub(crate) fn skip(&mut self, intervals: u64) {
        for _ in 0..intervals {
            if self.weight == 0.0 {
                return;
            }
            self.weight *= self.keep;
        }
    }

    /// Adds the value of the next interval and returns the mean.
    pub(crate) fn push(&mut self, x: f64) -> f64 {
        let all = self.weight + 1.0;
        // The reciprocal does not wait for the mean, so the chain from row to row stays
        // short; the first value has weight one and becomes the mean as it is.
        self.mean += (x - self.mean) * (1.0 / all);
        self.weight = all * self.keep;
        self.mean
    }
}
