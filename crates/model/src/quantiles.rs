//! Nine quantiles per row: what every model answers. Knows no estimator.

use foretell_panel::Matrix;

use crate::ModelError;

/// How many quantiles a forecast has.
pub const LEVELS: usize = 9;

/// The probabilities of the quantiles, in rising order.
pub const QUANTILE_LEVELS: [f64; LEVELS] = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975];

/// The position of the median, which is the point forecast.
pub const MEDIAN: usize = 4;

/// Forecast quantiles of log returns, `rows × 9` at [`QUANTILE_LEVELS`]; each row is
/// finite and does not fall from left to right. A price quantile is
/// `base_price × exp(q)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantiles {
    values: Vec<f64>,
}

impl Quantiles {
    /// From row-major values, each row re-ordered so that it does not cross: the
    /// monotone rearrangement of Chernozhukov, Fernández-Val & Galichon (2010),
    /// *Quantile and probability curves without crossing*, Econometrica 78(3), which
    /// on a grid of levels is sorting and never increases the pinball loss.
    ///
    /// # Errors
    /// When a value is not finite.
    ///
    /// # Panics
    /// When the values are no multiple of nine (a bug of the caller).
    pub fn rearranged(mut values: Vec<f64>) -> Result<Self, ModelError> {
        assert_eq!(values.len() % LEVELS, 0, "nine values per row");
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let level = QUANTILE_LEVELS[i % LEVELS];
            return Err(ModelError::ImpossibleAnswer { row: i / LEVELS, level, value: values[i] });
        }
        values.chunks_exact_mut(LEVELS).for_each(|row| row.sort_by(f64::total_cmp));
        Ok(Self { values })
    }

    /// `centre + scale × offset` for each row, with the offsets of all nine levels in
    /// rising order and scales of zero or more.
    ///
    /// # Errors
    /// When a centre or scale is not finite.
    pub fn located(
        rows: impl IntoIterator<Item = (f64, f64)>,
        offsets: &[f64; LEVELS],
    ) -> Result<Self, ModelError> {
        let values = rows.into_iter().flat_map(|(c, s)| offsets.map(|o| c + s * o)).collect();
        Self::rearranged(values)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / LEVELS
    }

    /// The nine quantiles of a row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * LEVELS..(i + 1) * LEVELS]
    }

    /// The median of a row: the point forecast.
    pub fn median(&self, i: usize) -> f64 {
        self.values[i * LEVELS + MEDIAN]
    }

    /// The medians of all rows.
    pub fn medians(&self) -> Vec<f64> {
        (0..self.rows()).map(|i| self.median(i)).collect()
    }

    /// All values, row by row.
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }

    /// As a `rows × 9` matrix.
    pub fn to_matrix(&self) -> Matrix {
        Matrix::new(self.rows(), LEVELS, self.values.clone())
    }
}

/// The quantile of sorted numbers at probability `p` by linear interpolation between
/// order statistics: type 7 of Hyndman & Fan (1996), the default of numpy. NaN when
/// there is none.
pub fn empirical_quantile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = p * last as f64;
    let below = (position as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// The nine empirical quantiles of some finite numbers.
pub(crate) fn nine_quantiles(values: &[f64]) -> [f64; LEVELS] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    QUANTILE_LEVELS.map(|p| empirical_quantile(&sorted, p))
}

/// The nine empirical quantiles, moved so that the median is exactly zero.
pub(crate) fn centred_quantiles(values: &[f64]) -> [f64; LEVELS] {
    let raw = nine_quantiles(values);
    raw.map(|q| q - raw[MEDIAN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equals_numpy_on_a_worked_case() {
        // numpy.quantile([1, 2, 4, 8], [0.05, 0.25, 0.5, 0.9])
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let expected = [(0.05, 1.15), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)];
        for (p, q) in expected {
            foretell_testkit::assert_close(empirical_quantile(&sorted, p), q, 1e-14);
        }
        assert!(empirical_quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn refuses_what_is_not_finite() {
        let mut values = vec![0.0; 18];
        values[13] = f64::NAN;
        let error = Quantiles::rearranged(values).unwrap_err();
        assert!(matches!(error, ModelError::ImpossibleAnswer { row: 1, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn rearranged_rows_never_cross_and_keep_their_values(
            values in prop::collection::vec(-1e3f64..1e3, LEVELS)
        ) {
            let q = Quantiles::rearranged(values.clone()).unwrap();
            prop_assert!(q.row(0).is_sorted());
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(q.row(0), &sorted[..]);
        }

        #[test]
        fn centred_quantiles_have_median_zero(
            values in prop::collection::vec(-1e3f64..1e3, 1..50)
        ) {
            let q = centred_quantiles(&values);
            prop_assert_eq!(q[MEDIAN], 0.0);
            prop_assert!(q.is_sorted());
        }
    }
}
