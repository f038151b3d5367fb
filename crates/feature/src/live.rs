//! Decisions of a stream: rows in, each one's [`FeatureRow`] out, with the bits of a batch.

use std::sync::Arc;

use foretell_market::{Fingerprint, Instrument, Timestamp};
use foretell_panel::{FrameError, RowMeta};
use serde::{Deserialize, Serialize};

use crate::FeatureError;
use crate::context::Variance;
use crate::history::{Fed, History, Kept};
use crate::kernel::{cells, rolling};
use crate::returns::newest_windows;
use crate::row::{FeatureRow, missing_values};
use crate::stepper::{MOST_INPUTS, RowStepper, Step, Stepped};

/// The version of the saved form.
const VERSION: u32 = 2;

/// What the next decision of one instrument needs from the rows before it: the memories of
/// recursive features, and the last values of what something looks back at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowState {
    version: u32,
    /// Of the set, the context, the label and the interval.
    made_for: Fingerprint,
    instrument: Instrument,
    history: History,
    fed: Vec<Fed>,
    variance: Variance,
    /// The latest known-at time of all rows so far.
    known_at: Option<Timestamp>,
}

/// One row's decision: its inputs, or why it has none yet.
pub type Decision = Result<FeatureRow, FeatureError>;

impl RowState {
    pub(crate) fn origin(
        made_for: Fingerprint,
        instrument: Instrument,
        history: History,
        fed: Vec<Fed>,
        variance: Variance,
    ) -> Self {
        Self { version: VERSION, made_for, instrument, history, fed, variance, known_at: None }
    }

    /// The open time of the last row that was fed.
    pub fn through(&self) -> Option<Timestamp> {
        self.history.through()
    }

    /// Whose rows these are.
    pub fn instrument(&self) -> &Instrument {
        &self.instrument
    }
}

impl RowStepper {
    /// Feeds the next row of an instrument and returns the decision at its close: what
    /// [`crate::feature_row()`] gives over the frame of all rows since the origin. A row whose
    /// windows are not full yet has the refusal that says so. `values` are those of
    /// [`RowStepper::inputs()`], NaN where one is missing.
    ///
    /// # Errors
    /// As [`RowStepper::feed()`].
    pub fn push(
        &mut self,
        state: &mut RowState,
        row: RowMeta,
        values: &[f64],
    ) -> Result<Decision, FeatureError> {
        let context = self.step(state, row, values)?;
        let (flags, filled_in_window) = state.history.marks();
        let decision = FeatureRow {
            instrument: state.instrument.clone(),
            interval: self.interval,
            as_of: row.time + self.interval,
            known_at: state.known_at.unwrap_or(row.known_at),
            names: Arc::clone(&self.names),
            features: self.features().collect(),
            context_names: Arc::clone(&self.context_names),
            context,
            base_price: self.now[self.context.price],
            flags,
            gaps_in_window: self.reach + 1 - state.history.rows(self.interval),
            filled_in_window,
            feature_set: self.feature_set,
        };
        let refusal = missing_values(&decision, &self.price_column, self.reach + 1);
        Ok(refusal.map_or(Ok(decision), Err))
    }

    /// Feeds the next row without asking for its decision.
    ///
    /// # Errors
    /// When the state was made for something else or by a version that is not known, or the row
    /// does not come after those already fed. The state is unchanged then.
    pub fn feed(
        &mut self,
        state: &mut RowState,
        row: RowMeta,
        values: &[f64],
    ) -> Result<(), FeatureError> {
        self.step(state, row, values).map(|_| ())
    }

    /// Whether a state that was read fits.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, state: &RowState) -> Result<(), FeatureError> {
        let unfit = |text: String| Err(FeatureError::State(text));
        if state.version != VERSION {
            return unfit(format!("version {} is not known, {VERSION} is", state.version));
        }
        if state.made_for != self.made_for {
            let (have, want) = (state.made_for.short(), self.made_for.short());
            return unfit(format!(
                "it is of another set, context, label or interval ({have}, not {want}): start \
                 from the first row"
            ));
        }
        let fits = state.history.size() == self.size && state.fed.len() == self.origins.len();
        if fits { Ok(()) } else { unfit("its parts differ in length".to_owned()) }
    }

    /// One row: all columns, and the context.
    fn step(
        &mut self,
        state: &mut RowState,
        row: RowMeta,
        values: &[f64],
    ) -> Result<Vec<f64>, FeatureError> {
        self.check(state)?;
        let (time, interval) = (row.time, self.interval);
        if !interval.is_on_grid(time) {
            return Err(FrameError::OffGrid { row: 0, time, interval }.into());
        }
        if let Some(through) = state.through()
            && time <= through
        {
            let text = format!("row {time} is not after the last row {through}");
            return Err(FeatureError::State(text));
        }
        if values.len() != self.inputs.len() {
            let (found, wanted) = (values.len(), self.inputs.len());
            return Err(FeatureError::State(format!("a row has {found} values, not {wanted}")));
        }
        let joined = state.history.begin(time, row.flags, interval, self.reach);
        state.known_at = state.known_at.max(Some(row.known_at));
        for (column, value) in values.iter().enumerate() {
            self.write(&mut state.history, column, *value);
        }
        for index in 0..self.nodes.len() {
            let value = self.node(state, index, time);
            let column = self.nodes[index].column;
            self.write(&mut state.history, column, value);
        }
        Ok(self.context(state, time, joined))
    }

    fn write(&mut self, history: &mut History, column: usize, value: f64) {
        self.now[column] = value;
        if let Some(kept) = self.kept[column] {
            history.write(kept, value);
        }
    }

    fn kept(&self, column: usize) -> Kept {
        self.kept[column].expect("the plan keeps what is looked back at")
    }

    /// How many of the last rows, `most` at most, have a value in each of some columns.
    fn joint(&self, history: &History, columns: &[usize], most: usize) -> usize {
        columns.iter().fold(most, |joint, &column| {
            let known = match self.kept[column] {
                Some(kept) => history.known(kept),
                None => usize::from(self.now[column].is_finite()),
            };
            joint.min(known)
        })
    }

    /// The last values of a column.
    fn last<'a>(&'a self, history: &'a History, column: usize, count: usize) -> &'a [f64] {
        match self.kept[column] {
            Some(kept) => history.last(kept, count),
            None => &std::slice::from_ref(&self.now[column])[..count],
        }
    }

    /// A node's value of the row at hand.
    fn node(&mut self, state: &mut RowState, index: usize, time: Timestamp) -> f64 {
        let mut out = std::mem::take(&mut self.out);
        let value = self.value(state, &self.nodes[index], time, &mut out);
        self.out = out;
        value
    }

    fn value(&self, state: &mut RowState, node: &Stepped, time: Timestamp, out: &mut [f64]) -> f64 {
        let interval = self.interval;
        let history = &state.history;
        match node.step {
            Step::Clock(value, ahead) => value(time.plus_secs(ahead)),
            Step::Lag(steps) => history.before(self.kept(node.inputs[0]), steps, interval),
            Step::Pair(kernel, steps) => {
                let past = history.before(self.kept(node.inputs[0]), steps, interval);
                kernel(&[self.now[node.inputs[0]]], &[past], &mut out[..1]);
                out[0]
            }
            Step::Rolling(statistic, width) => {
                if self.joint(history, &node.inputs, width) < width {
                    return f64::NAN;
                }
                rolling::of_window(statistic, self.last(history, node.inputs[0], width))
            }
            Step::Run(kernel, most) => {
                let rows = self.joint(history, &node.inputs, most);
                if rows == 0 {
                    return f64::NAN;
                }
                let mut slices: [&[f64]; MOST_INPUTS] = [&[]; MOST_INPUTS];
                for (slice, column) in slices.iter_mut().zip(&node.inputs) {
                    *slice = self.last(history, *column, rows);
                }
                kernel(&node.numbers, &slices[..node.inputs.len()], &mut out[..rows]);
                out[rows - 1]
            }
            Step::Recursion(number) => {
                if self.joint(history, &node.inputs, 1) == 0 {
                    return f64::NAN;
                }
                let mut slices: [&[f64]; MOST_INPUTS] = [&[]; MOST_INPUTS];
                for (slice, column) in slices.iter_mut().zip(&node.inputs) {
                    *slice = std::slice::from_ref(&self.now[*column]);
                }
                let Fed { memory, last } = &mut state.fed[number];
                let missing = match *last {
                    // The ordinary case needs no division.
                    Some(last) if last + interval != time => interval.steps(last, time) - 1,
                    _ => 0,
                };
                let missing = missing.max(0);
                let slices = &slices[..node.inputs.len()];
                memory.run(missing as u64, slices, &mut out[..1]);
                *last = Some(time);
                out[0]
            }
        }
    }

    /// The context of the row at hand, as [`crate::context()`] defines it.
    fn context(&mut self, state: &mut RowState, time: Timestamp, joined: bool) -> Vec<f64> {
        let interval = self.interval;
        let columns = &self.context;
        let (returns, squares) = (columns.returns, columns.squares);
        let (season, ahead) = (columns.season, columns.season - columns.horizon);
        let price = self.kept(columns.price);
        let mut log_return = f64::NAN;
        if joined && let [past, now] = state.history.last(price, 2) {
            let out = std::slice::from_mut(&mut log_return);
            cells::log_change(&[*now], &[*past], out);
        }
        let square = log_return * log_return;
        self.write(&mut state.history, returns, log_return);
        self.write(&mut state.history, squares, square);

        let history = &state.history;
        let (before, after) =
            (history.before(price, season, interval), history.before(price, ahead, interval));
        let seasonal = cells::known(libm::log(after / before));
        let known = self.joint(history, &[squares], usize::MAX);
        let realized = if known < season {
            f64::NAN
        } else {
            rolling::sum_of(self.last(history, squares, season))
        };
        let ewma = if known == 0 { f64::NAN } else { state.variance.push(interval, time, square) };
        let mut out = Vec::with_capacity(self.context_names.len());
        out.extend([log_return, seasonal, ewma, realized]);
        let columns = &self.context;
        let lagged = self.last(history, returns, self.spec.returns.lags.max(1));
        let squared = self.last(history, squares, known.min(columns.reach));
        newest_windows(self.spec.returns, (lagged, squared), columns.widths, &mut out);
        out
    }
}
