//! The few columns that baselines need, all functions of rows known at the decision.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Column, Frame};
use serde::{Deserialize, Serialize};

use crate::compute::over_windows;
use crate::kernel::ema::WeightedMean;
use crate::kernel::{cells, rolling};
use crate::returns::{ReturnWindows, return_windows};
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
    /// The past returns that classical models filter; none unless a model asks for them.
    #[serde(default)]
    pub returns: ReturnWindows,
}

impl ContextSpec {
    /// The names of the context columns that every row has, in order.
    pub const NAMES: [&'static str; 4] =
        ["log_return", "seasonal_log_return", "ewma_variance", "realized_variance_season"];

    /// The same with the windows that these columns need: what a model reads that learnt
    /// on them, whatever a pipeline asks for now.
    #[must_use]
    pub fn reading(self, names: &[String]) -> Self {
        Self { returns: ReturnWindows::of_names(names), ..self }
    }

    /// Horizon and season in intervals.
    pub(crate) fn steps(&self, interval: Interval) -> Result<(usize, usize), FeatureError> {
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
    /// thousandth: the season, and the exponential weights until that little is left. Windows
    /// of returns can be cut instead ([`crate::cut_returns`]) and do not count.
    pub fn memory(&self, interval: Interval) -> usize {
        let faded = (libm::log(1e-3) / libm::log(self.ewma_lambda)).ceil();
        // A decay that is out of range is refused when the columns are computed.
        let faded = if faded.is_finite() && faded > 0.0 { faded as usize } else { 0 };
        self.steps(interval).map_or(0, |(_, s)| s).max(faded)
    }

    /// The reach of its windows in intervals before the row itself.
    pub(crate) fn warm_up(&self, interval: Interval) -> usize {
        let reach = self.returns.reach(interval, self.horizon);
        self.steps(interval).map_or(0, |(_, s)| s.max(reach))
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
///   last season; null when an interval of it is missing;
///
/// and, where [`ContextSpec::returns`] asks for them, windows of returns that end at a gap
/// instead of being null across it, so that a row is usable as soon as its season is:
///
/// - `known_returns`: how many one-interval log returns are known in unbroken succession
///   up to this row, at most the reach of the windows;
/// - `log_return_lag_k`: the return k intervals before the row's own (k = 0 is its own);
///   0, and meaning nothing, from `known_returns` on;
/// - `mean_square_horizon`, `_day`, `_week`, `_month`: the mean squared one-interval log
///   return over the horizon, 1, 7 and 30 days, or over the part of it since the gap.
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
    let mut variance = Variance::new(spec);
    for run in &known {
        for i in run.clone() {
            ewma[i] = variance.push(frame.interval(), rows[i].time, squares[i]);
        }
    }

    let mut realized = vec![f64::NAN; n];
    for run in &known {
        rolling::sum(&squares[run.clone()], season, &mut realized[run.clone()]);
    }

    let reach = spec.returns.reach(frame.interval(), spec.horizon);
    let widths = ReturnWindows::widths(frame.interval(), spec.horizon);
    let windows = return_windows(spec.returns, &known, (&log_return, &squares), widths);
    let columns = [log_return, seasonal, ewma, realized];
    let columns = ContextSpec::NAMES.iter().zip(columns).map(|(n, v)| Column::new(*n, v));
    let windows = spec.returns.names().zip(windows).map(|(n, v)| Column::new(n, v));
    Ok(over_windows(frame, season.max(reach), true, columns.chain(windows).collect())?)
}

/// The exponentially weighted variance since the first return: what it remembers of all rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Variance {
    mean: WeightedMean,
    /// The last row whose return it was fed.
    last: Option<Timestamp>,
}

impl Variance {
    /// Before the first row.
    pub(crate) fn new(spec: &ContextSpec) -> Self {
        Self { mean: WeightedMean::with_alpha(1.0 - spec.ewma_lambda), last: None }
    }

    /// Adds the squared return of the next row that has one.
    pub(crate) fn push(&mut self, interval: Interval, time: Timestamp, square: f64) -> f64 {
        let missing = self.last.map_or(0, |last| interval.steps(last, time) - 1);
        self.mean.skip(missing.max(0) as u64);
        self.last = Some(time);
        self.mean.push(square)
    }
}
