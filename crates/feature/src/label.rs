//! What is to be forecast. A label is another type than a feature and never in a frame.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Frame, Label};
use serde::{Deserialize, Serialize};

use crate::{FeatureError, runs};

/// The log return of a price over a horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelSpec {
    /// How far ahead.
    pub horizon: Interval,
    /// The price, a column of the frame.
    pub price_column: String,
}

impl LabelSpec {
    /// The horizon in intervals.
    ///
    /// # Errors
    /// When it is not a whole multiple of the interval.
    pub fn steps(&self, interval: Interval) -> Result<usize, FeatureError> {
        let (what, length) = ("horizon", self.horizon);
        let remedy = "write a whole multiple of the interval";
        let whole = interval.divides(length).map(|n| n as usize);
        whole.ok_or(FeatureError::Length { what, length, interval, remedy })
    }

    /// The decision time of a row: the close of its interval.
    pub(crate) fn start(time: Timestamp, interval: Interval) -> Timestamp {
        time + interval
    }
}

/// One label per row of a frame: `ln P[t+h] / P[t]`, NaN where the end is not in the
/// frame, an interval of the span is missing, or a price is not positive.
///
/// # Errors
/// When the price column is absent or the horizon does not fit the grid.
pub fn labels(frame: &Frame, spec: &LabelSpec) -> Result<Vec<Label>, FeatureError> {
    let steps = spec.steps(frame.interval())?;
    let price = frame.require(&spec.price_column)?;
    let rows = frame.rows();
    let mut labels = Vec::with_capacity(rows.len());
    for run in runs::contiguous(rows, frame.interval()) {
        for i in run.clone() {
            let (now, then) =
                (price[i], if i + steps < run.end { price[i + steps] } else { f64::NAN });
            let known = now > 0.0 && then > 0.0 && now.is_finite() && then.is_finite();
            let value = if known { libm::log(then / now) } else { f64::NAN };
            let start = LabelSpec::start(rows[i].time, frame.interval());
            labels.push(Label { value, start, end: start + spec.horizon });
        }
    }
    Ok(labels)
}
