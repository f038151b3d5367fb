//! The few columns that baselines need, all functions of rows known at the decision.

use foretell_market::Interval;
use foretell_panel::{Column, Frame};
use serde::{Deserialize, Serialize};

use crate::compute::over_windows;
use crate::kernel::ema::WeightedMean;
use crate::kernel::{cells, rolling};
use crate::{FeatureError, runs};

/// What the context depends on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContextSpec {
    /// How far ahead the forecast looks.
    pub horizon: Interval,
    /// The length of a season, at least the horizon: a day or a week.
    pub season: Interval,
    /// The decay of the exponentially weighted variance, between 0 and 1.
    pub ewma_lambda: f64,
}

impl ContextSpec {
    /// The names of the context columns, in order.
    pub const NAMES: [&'static str; 4] =
        ["log_return", "seasonal_log_return", "ewma_variance", "realized_variance_season"];

    /// Horizon and season in intervals.
    fn steps(&self, interval: Interval) -> Result<(usize, usize), FeatureError> {
        let steps = |what: &'static str, length: Interval| {
            let remedy = "write a whole multiple of the interval";
            let whole = interval.divides(length).map(|n| n as usize);
            whole.ok_or(FeatureError::Length { what, length, interval, remedy })
        };
        let (h, s) = (steps("horizon", self.horizon)?, steps("season", self.season)?);
        if s < h {
            let remedy = "the season must not be shorter than the horizon";
            let (what, length) = ("season", self.season);
            return Err(FeatureError::Length { what, length, interval, remedy });
        }
        if !(self.ewma_lambda > 0.0 && self.ewma_lambda < 1.0) {
            let (name, value) = ("ewma_lambda", self.ewma_lambda);
            let remedy = "write a number between 0 and 1, such as 0.94";
            return Err(FeatureError::Number { name, value, remedy });
        }
        Ok((h, s))
    }

    /// How many intervals before a row still move its context columns by more than a
    /// thousandth: the season, and the exponential weights until that little is left.
    pub fn memory(&self, interval: Interval) -> usize {
        let faded = (libm::log(1e-3) / libm::log(self.ewma_lambda)).ceil();
        // A decay that is out of range is refused when the columns are computed.
        let faded = if faded.is_finite() && faded > 0.0 { faded as usize } else { 0 };
        self.warm_up(interval).max(faded)
    }

    /// The reach of its windows in intervals before the row itself.
    pub(crate) fn warm_up(&self, interval: Interval) -> usize {
        self.steps(interval).map_or(0, |(_, s)| s)
    }
}

/// The context columns of every row of a frame:
///
/// - `log_return`: ln P\[t\] / P\[t-1\];
/// - `seasonal_log_return`: ln P\[t+h-s\] / P\[t-s\]: what the horizon brought one
///   season ago, known at t because the season is not shorter than the horizon;
/// - `ewma_variance`: exponentially weighted mean of squared one-interval log returns,
///   weights `λ^age` normalised to one (age in intervals; across a gap the old terms
///   age). Origin: the first return of the frame. RiskMetrics Technical Document (4th
///   ed., 1996), ch. 5, with normalised weights so that the start needs no guess;
/// - `realized_variance_season`: sum of the squared one-interval log returns of the
///   last season; null when an interval of it is missing.
///
/// # Errors
/// When the price column is absent or the lengths do not fit the grid.
pub fn context(
    frame: &Frame,
    price_column: &str,
    spec: &ContextSpec,
) -> Result<Frame, FeatureError> {
    let (horizon, season) = spec.steps(frame.interval())?;
    let price = frame.require(price_column)?;
    let rows = frame.rows();
    let contiguous = runs::contiguous(rows, frame.interval());
    let n = frame.len();
    let mut log_return = vec![f64::NAN; n];
    for run in &contiguous {
        let (past, now) = (run.start..run.end - 1, run.start + 1..run.end);
        cells::log_change(&price[now.clone()], &price[past], &mut log_return[now]);
    }
    let squares: Vec<f64> = log_return.iter().map(|r| r * r).collect();
    let known = runs::finite(&contiguous, &squares);

    let mut seasonal = vec![f64::NAN; n];
    let at = |i: usize, back: usize| {
        let wanted = rows[i].time.plus_secs(-(back as i64) * frame.interval().secs());
        // Without a gap the row stands exactly `back` rows earlier.
        if i >= back && rows[i - back].time == wanted {
            return price[i - back];
        }
        rows[..i].binary_search_by_key(&wanted, |r| r.time).map_or(f64::NAN, |j| price[j])
    };
    for (i, value) in seasonal.iter_mut().enumerate() {
        let (before, after) = (at(i, season), at(i, season - horizon));
        *value = cells::known(libm::log(after / before));
    }

    let mut ewma = vec![f64::NAN; n];
    let mut memory = WeightedMean::with_alpha(1.0 - spec.ewma_lambda);
    let mut last = None;
    for run in &known {
        let missing = last.map_or(0, |t| frame.interval().steps(t, rows[run.start].time) - 1);
        memory.skip(missing.max(0) as u64);
        for i in run.clone() {
            ewma[i] = memory.push(squares[i]);
        }
        last = Some(rows[run.end - 1].time);
    }

    let mut realized = vec![f64::NAN; n];
    for run in &known {
        rolling::sum(&squares[run.clone()], season, &mut realized[run.clone()]);
    }

    let columns = [log_return, seasonal, ewma, realized];
    let columns = ContextSpec::NAMES.iter().zip(columns).map(|(n, v)| Column::new(*n, v));
    Ok(over_windows(frame, season, true, columns.collect())?)
}
