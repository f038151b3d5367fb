//! Ridge regression in closed form on columns that are standardised inside the fit.
//!
//! Source: Hoerl & Kennard (1970), *Ridge regression*, Technometrics 12(1). Equal to
//! scikit-learn's `make_pipeline(StandardScaler(), Ridge(alpha))`. The intercept is not
//! penalised. A constant column has weight zero. All sums run in row order on one
//! thread, so the result is the same on any machine.

use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

use crate::baseline::{context_column, volatility, volatility_floor};
use crate::estimator::{check_training, shares};
use crate::explain::Explanations;
use crate::quantiles::centred_quantiles;
use crate::state::{check_finite, check_offsets, damaged};
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState, Quantiles, Schema,
};

/// Nine residual quantiles need some rows.
const MIN_ROWS: usize = 30;

/// What ridge regression learnt. The forecast is `intercept + Σ weight × (x − mean) /
/// scale`, in log returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RidgeState {
    /// The mean training label.
    pub intercept: f64,
    /// The mean of each column.
    pub means: Vec<f64>,
    /// The standard deviation of each column; 1 for a constant one.
    pub scales: Vec<f64>,
    /// The weight of each standardised column; 0 for a constant one.
    pub weights: Vec<f64>,
    /// Quantiles of the training residuals around the forecast, in units of the
    /// volatility when there is a floor.
    pub offsets: [f64; LEVELS],
    /// The smallest volatility that is used, when the spread follows the volatility.
    pub volatility_floor: Option<f64>,
}

/// Learns a ridge regression.
#[derive(Debug)]
pub(crate) struct RidgeEstimator {
    spec: EstimatorSpec,
}

impl RidgeEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }
}

impl Estimator for RidgeEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    fn min_rows(&self) -> usize {
        MIN_ROWS
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        let (alpha, scaled) = match self.spec {
            EstimatorSpec::Ridge { alpha, volatility_scaled } => (alpha, volatility_scaled),
            _ => (1.0, false),
        };
        context.go_on(0, 1)?;
        check_training(self, train)?;
        let labels: Vec<f64> = train.labels.iter().map(|l| l.value).collect();
        let intercept = labels.iter().sum::<f64>() / labels.len() as f64;
        let (means, scales, constant) = standardisation(&train.features);
        let equations = Equations::of(&train.features, &labels, &means, &scales, intercept);
        context.go_on(0, 1)?;
        let weights = equations.solve(alpha, &constant)?;
        let volatilities = match scaled {
            true => Some(context_column(&self.spec, train)?),
            false => None,
        };
        let volatility_floor = volatilities.as_deref().map(volatility_floor);
        let mut state = RidgeState {
            intercept,
            means,
            scales,
            weights,
            offsets: [0.0; LEVELS],
            volatility_floor,
        };
        let residual = |(i, y): (usize, &f64)| {
            let spread = match (&volatilities, volatility_floor) {
                (Some(variance), Some(floor)) => volatility(variance[i], floor),
                _ => 1.0,
            };
            (y - state.centre(train.features.row(i))) / spread
        };
        let residuals: Vec<f64> = labels.iter().enumerate().map(residual).collect();
        state.offsets = centred_quantiles(&residuals);
        let fitted = Ridge::new(state, Schema::of(train))?;
        context.progress.steps(1, 1);
        Ok(Box::new(fitted))
    }
}

impl RidgeState {
    fn centre(&self, row: &[f64]) -> f64 {
        let mut sum = self.intercept;
        for (j, x) in row.iter().enumerate() {
            sum += self.weights[j] * ((x - self.means[j]) / self.scales[j]);
        }
        sum
    }
}

/// Mean and population standard deviation of each column, and which are constant (to
/// rounding: the rule of scikit-learn's `StandardScaler`).
fn standardisation(features: &Matrix) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
    let (n, cols) = (features.rows() as f64, features.cols());
    let mut means = vec![0.0; cols];
    for i in 0..features.rows() {
        means.iter_mut().zip(features.row(i)).for_each(|(m, x)| *m += x);
    }
    means.iter_mut().for_each(|m| *m /= n);
    let mut variances = vec![0.0; cols];
    // The sum of deviations corrects the mean's rounding (Chan, Golub & LeVeque, 1983).
    let mut drifts = vec![0.0; cols];
    for i in 0..features.rows() {
        for (j, x) in features.row(i).iter().enumerate() {
            let deviation = x - means[j];
            variances[j] += deviation * deviation;
            drifts[j] += deviation;
        }
    }
    let mut scales = vec![1.0; cols];
    let mut constant = vec![true; cols];
    for j in 0..cols {
        let variance = (variances[j] - drifts[j] * drifts[j] / n) / n;
        let rounding = n * means[j] * f64::EPSILON;
        if variance > n * f64::EPSILON * variance + rounding * rounding {
            scales[j] = libm::sqrt(variance);
            constant[j] = false;
        }
    }
    (means, scales, constant)
}

/// The normal equations of standardised columns: `gram × weights = moments`.
struct Equations {
    cols: usize,
    /// The lower triangle is filled, row by row.
    gram: Vec<f64>,
    moments: Vec<f64>,
}

impl Equations {
    fn of(features: &Matrix, labels: &[f64], means: &[f64], scales: &[f64], mean: f64) -> Self {
        let cols = features.cols();
        let (mut gram, mut moments) = (vec![0.0; cols * cols], vec![0.0; cols]);
        let mut z = vec![0.0; cols];
        for (i, label) in labels.iter().enumerate() {
            for (j, x) in features.row(i).iter().enumerate() {
                z[j] = (x - means[j]) / scales[j];
            }
            let y = label - mean;
            for j in 0..cols {
                let zj = z[j];
                moments[j] += zj * y;
                let row = &mut gram[j * cols..j * cols + j + 1];
                row.iter_mut().zip(&z).for_each(|(g, zk)| *g += zj * zk);
            }
        }
        Self { cols, gram, moments }
    }

    /// Weights by the Cholesky factor `L Lᵀ = gram + alpha I`; constant columns are left
    /// out with weight zero.
    fn solve(mut self, alpha: f64, constant: &[bool]) -> Result<Vec<f64>, ModelError> {
        let (n, a) = (self.cols, &mut self.gram);
        for j in 0..n {
            if constant[j] {
                // An equation of its own, 1 × weight = 0, keeps the matrix definite.
                (0..j).for_each(|k| a[j * n + k] = 0.0);
                (j..n).for_each(|i| a[i * n + j] = 0.0);
                (a[j * n + j], self.moments[j]) = (1.0, 0.0);
            } else {
                a[j * n + j] += alpha;
            }
        }
        for j in 0..n {
            let whole = a[j * n + j];
            let mut rest = whole;
            for k in 0..j {
                rest -= a[j * n + k] * a[j * n + k];
            }
            if rest <= whole * 1e-14 {
                let message =
                    "columns are linear combinations of each other: give `alpha` more than 0";
                let kind = "ridge".to_owned();
                return Err(ModelError::Numerical { kind, message: message.to_owned() });
            }
            let pivot = libm::sqrt(rest);
            a[j * n + j] = pivot;
            for i in j + 1..n {
                let mut sum = a[i * n + j];
                for k in 0..j {
                    sum -= a[i * n + k] * a[j * n + k];
                }
                a[i * n + j] = sum / pivot;
            }
        }
        let mut w = self.moments;
        for i in 0..n {
            for k in 0..i {
                w[i] -= a[i * n + k] * w[k];
            }
            w[i] /= a[i * n + i];
        }
        for i in (0..n).rev() {
            for k in i + 1..n {
                w[i] -= a[k * n + i] * w[k];
            }
            w[i] /= a[i * n + i];
        }
        (0..n).filter(|j| constant[*j]).for_each(|j| w[j] = 0.0);
        Ok(w)
    }
}

/// A fitted ridge regression.
#[derive(Debug)]
pub(crate) struct Ridge {
    state: RidgeState,
    schema: Schema,
    /// The position of the variance column, when the spread follows it.
    variance: Option<usize>,
}

impl Ridge {
    /// From what was learnt.
    ///
    /// # Errors
    /// When the parts do not form a model of these columns.
    pub(crate) fn new(state: RidgeState, schema: Schema) -> Result<Self, ModelError> {
        let columns = schema.feature_names.len();
        for (place, values) in
            [("means", &state.means), ("scales", &state.scales), ("weights", &state.weights)]
        {
            if values.len() != columns {
                return Err(damaged(place, &format!("the model has {columns} columns")));
            }
            check_finite(place, values)?;
        }
        if let Some(j) = state.scales.iter().position(|s| *s <= 0.0) {
            return Err(damaged(&format!("scales[{j}]"), "the scale is not over 0"));
        }
        check_finite("intercept", &[state.intercept])?;
        check_finite("volatility_floor", state.volatility_floor.as_slice())?;
        check_offsets(&state.offsets)?;
        let variance = match state.volatility_floor {
            None => None,
            Some(_) => {
                let column = "ewma_variance".to_owned();
                let found = schema.context_index(&column);
                let kind = "ridge".to_owned();
                Some(found.ok_or(ModelError::MissingContext { kind, column })?)
            }
        };
        Ok(Self { state, schema, variance })
    }
}

impl Fitted for Ridge {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let place = |i: usize| {
            let spread = match (self.variance, self.state.volatility_floor) {
                (Some(column), Some(floor)) => volatility(context.get(i, column), floor),
                _ => 1.0,
            };
            (self.state.centre(features.row(i)), spread)
        };
        Quantiles::located((0..features.rows()).map(place), &self.state.offsets)
    }

    fn state(&self) -> ModelState {
        ModelState::Ridge(self.state.clone())
    }

    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        let said = self.predict(features, context)?;
        let RidgeState { weights, means, scales, intercept, .. } = &self.state;
        let term = |(j, x): (usize, &f64)| weights[j] * ((x - means[j]) / scales[j]);
        let parts = |i: usize| (*intercept, features.row(i).iter().enumerate().map(term).collect());
        let parts = (0..features.rows()).map(parts).collect();
        Ok(Explanations::new(self.schema.feature_names.clone(), parts, &said))
    }

    /// The share of each standardised column in the sum of absolute weights.
    fn importance(&self) -> Vec<(String, f64)> {
        let sizes: Vec<f64> = self.state.weights.iter().map(|w| w.abs()).collect();
        shares(&self.schema, &sizes)
    }
}
