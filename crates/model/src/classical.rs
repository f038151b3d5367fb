//! Classical time-series models of the one-interval log returns: Theta, ETS and ARIMA for
//! the point, GARCH and HAR for the spread. They read context columns, never features.
//!
//! Each is a filter of past returns whose weights fade. Its parameters are estimated on
//! the training rows in succession; a forecast filters the window of returns that its row
//! holds, the newest [`LAGS`] of those since the last gap. Before the window stands the value that the model has without news: what is cut off is at most
//! the filter's decay to the power of the window's length, times how far the full filter
//! was from that value there (docs/decisions/0010-classical-models-on-rows.md).

pub(crate) mod arima;
mod ets;
mod garch;
mod har;
mod minimise;
mod returns;
mod theta;

use foretell_panel::{Dataset, Matrix};

pub use arima::ArimaState;
pub use ets::{EtsState, EtsTrend, Trend};
pub(crate) use garch::GarchFit;
pub use garch::{GarchState, Shocks};
pub use har::HarState;
pub(crate) use har::{CascadeColumns, HarFit};
pub(crate) use returns::{ReturnColumns, Returns};
pub use theta::ThetaState;

use crate::baseline::{volatility, volatility_floor};
use crate::estimator::check_training;
use crate::quantiles::centred_quantiles;
use crate::state::{check_finite, check_offsets, damaged};
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState, Quantiles, Schema,
};

/// How many past returns a forecast filters, at most.
pub(crate) const LAGS: usize = 256;

/// Fewer rows than this say next to nothing of three or four parameters.
const MIN_ROWS: usize = 100;

/// Learns a classical model.
#[derive(Debug)]
pub(crate) struct ClassicalEstimator {
    spec: EstimatorSpec,
}

impl ClassicalEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }

    /// The state without offsets, from the training rows.
    fn learn(&self, train: &Dataset, columns: Columns) -> ModelState {
        let steps = steps(train);
        let returns = match columns {
            Columns::Returns(columns) => columns.in_succession(train, 0..train.len()),
            Columns::Cascade(_) => Returns::default(),
        };
        let offsets = [0.0; LEVELS];
        match (&self.spec, columns) {
            (EstimatorSpec::Ets { trend }, _) => ModelState::Ets(ets::fit(&returns, *trend, steps)),
            (EstimatorSpec::Arima { order }, _) => {
                ModelState::Arima(arima::fit(&returns, order, steps))
            }
            (EstimatorSpec::Garch { distribution }, _) => {
                let fit = GarchFit::of(&returns, *distribution);
                ModelState::Garch(GarchState { fit, steps, floor: 0.0, offsets })
            }
            (EstimatorSpec::Har { weighted }, Columns::Cascade(columns)) => {
                let fit = HarFit::of(&columns.training_pairs(train, steps), *weighted);
                ModelState::Har(HarState { fit, steps, floor: 0.0, offsets })
            }
            _ => ModelState::Theta(theta::fit(&returns, train, steps)),
        }
    }
}

/// The horizon of a dataset in intervals, at least one.
fn steps(dataset: &Dataset) -> usize {
    (dataset.horizon.secs() / dataset.interval.secs()).max(1) as usize
}

impl Estimator for ClassicalEstimator {
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
        context.go_on(0, 1)?;
        check_training(self, train)?;
        let schema = Schema::of(train);
        let columns = Columns::find(&schema, self.spec.kind())?;
        let mut state = self.learn(train, columns);
        context.go_on(0, 1)?;
        let labels = || train.labels.iter().map(|l| l.value).zip(0..);
        let row = |i: usize| train.context.row(i);
        if let Some(part) = Spread::of(&mut state) {
            let variances: Vec<f64> =
                (0..train.len()).map(|i| part.law.variance(columns, row(i))).collect();
            *part.floor = volatility_floor(&variances);
            let floor = *part.floor;
            let standardised: Vec<f64> =
                labels().map(|(y, i): (f64, usize)| y / volatility(variances[i], floor)).collect();
            *part.offsets = centred_quantiles(&standardised);
        } else {
            let residuals: Vec<f64> =
                labels().map(|(y, i): (f64, usize)| y - centre(&state, columns, row(i))).collect();
            *offsets_of(&mut state) = centred_quantiles(&residuals);
        }
        let fitted = Classical::new(state, schema)?;
        context.progress.steps(1, 1);
        Ok(Box::new(fitted))
    }
}

/// The context columns that a model reads.
#[derive(Debug, Clone, Copy)]
enum Columns {
    Returns(ReturnColumns),
    Cascade(CascadeColumns),
}

impl Columns {
    /// # Errors
    /// [`ModelError::MissingContext`] naming a column that is absent.
    fn find(schema: &Schema, kind: &str) -> Result<Self, ModelError> {
        let missing = |column: &str| ModelError::MissingContext {
            kind: kind.to_owned(),
            column: column.to_owned(),
        };
        if kind == "har" {
            return CascadeColumns::find(schema).map(Self::Cascade).map_err(missing);
        }
        ReturnColumns::find(schema, LAGS).map(Self::Returns).map_err(|column| missing(&column))
    }
}

/// What forecasts a variance.
#[derive(Debug)]
enum Law {
    Garch(GarchFit, usize),
    Har(HarFit, usize),
}

impl Law {
    /// The variance of the log return over the horizon of a row.
    fn variance(&self, columns: Columns, row: &[f64]) -> f64 {
        match (self, columns) {
            (Self::Garch(fit, steps), Columns::Returns(columns)) => {
                fit.variance(columns.window(row), *steps)
            }
            (Self::Har(fit, steps), Columns::Cascade(columns)) => {
                *steps as f64 * fit.mean_square(columns.row(row))
            }
            // A law is built with the columns of its own kind.
            _ => f64::NAN,
        }
    }
}

/// The parts of a state that forecasts a spread.
struct Spread<'a> {
    law: Law,
    floor: &'a mut f64,
    offsets: &'a mut [f64; LEVELS],
}

impl<'a> Spread<'a> {
    fn of(state: &'a mut ModelState) -> Option<Self> {
        let law = law_of(state)?;
        match state {
            ModelState::Garch(GarchState { floor, offsets, .. })
            | ModelState::Har(HarState { floor, offsets, .. }) => {
                Some(Self { law, floor, offsets })
            }
            _ => None,
        }
    }
}

fn law_of(state: &ModelState) -> Option<Law> {
    match state {
        ModelState::Garch(state) => Some(Law::Garch(state.fit.clone(), state.steps)),
        ModelState::Har(state) => Some(Law::Har(state.fit.clone(), state.steps)),
        _ => None,
    }
}

fn offsets_of(state: &mut ModelState) -> &mut [f64; LEVELS] {
    match state {
        ModelState::Theta(ThetaState { offsets, .. })
        | ModelState::Ets(EtsState { offsets, .. })
        | ModelState::Arima(ArimaState { offsets, .. })
        | ModelState::Garch(GarchState { offsets, .. })
        | ModelState::Har(HarState { offsets, .. }) => offsets,
        other => unreachable!("{} is no classical model", other.kind()),
    }
}

/// The expected log return over the horizon of a row; 0 for a model of the spread.
fn centre(state: &ModelState, columns: Columns, row: &[f64]) -> f64 {
    let Columns::Returns(columns) = columns else { return 0.0 };
    match state {
        ModelState::Theta(state) => state.centre(columns.window(row)),
        ModelState::Ets(state) => state.centre(columns.window(row)),
        ModelState::Arima(state) => state.centre(columns.window(row)),
        _ => 0.0,
    }
}

/// A fitted classical model.
#[derive(Debug)]
pub(crate) struct Classical {
    state: ModelState,
    schema: Schema,
    columns: Columns,
    /// For a model of the spread its law and the smallest volatility that is used.
    spread: Option<(Law, f64)>,
    offsets: [f64; LEVELS],
}

impl Classical {
    /// From what was learnt.
    ///
    /// # Errors
    /// When a number is out of range, quantiles fall or a context column is absent.
    pub(crate) fn new(mut state: ModelState, schema: Schema) -> Result<Self, ModelError> {
        let columns = Columns::find(&schema, state.kind())?;
        let steps = match &state {
            ModelState::Theta(s) => s.check().map(|()| s.steps)?,
            ModelState::Ets(s) => s.check().map(|()| s.steps)?,
            ModelState::Arima(s) => s.check().map(|()| s.steps)?,
            ModelState::Garch(s) => s.fit.check().map(|()| s.steps)?,
            ModelState::Har(s) => s.fit.check().map(|()| s.steps)?,
            other => {
                let message = format!("{} is no classical model", other.kind());
                return Err(damaged("state.kind", &message));
            }
        };
        if !(1..=1_000_000).contains(&steps) {
            return Err(damaged("steps", "the horizon has 1 to 1,000,000 intervals"));
        }
        let offsets = *offsets_of(&mut state);
        check_offsets(&offsets)?;
        let spread = Spread::of(&mut state).map(|part| (part.law, *part.floor));
        if let Some((_, floor)) = &spread {
            check_finite("floor", &[*floor])?;
            if *floor < 0.0 {
                return Err(damaged("floor", "a volatility is not negative"));
            }
        }
        Ok(Self { state, schema, columns, spread, offsets })
    }
}

impl Fitted for Classical {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let place = |i: usize| {
            let row = context.row(i);
            match &self.spread {
                Some((law, floor)) => (0.0, volatility(law.variance(self.columns, row), *floor)),
                None => (centre(&self.state, self.columns, row), 1.0),
            }
        };
        Quantiles::located((0..context.rows()).map(place), &self.offsets)
    }

    fn state(&self) -> ModelState {
        self.state.clone()
    }

    fn importance(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}
