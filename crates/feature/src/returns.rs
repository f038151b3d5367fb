//! Windows of past returns in the context of a row: what classical models filter.

use std::ops::Range;

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

use crate::kernel::rolling;

/// Which past returns a row holds beside the columns that every context has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReturnWindows {
    /// How many one-interval log returns, the newest first: `log_return_lag_0` and on.
    pub lags: usize,
    /// Whether the mean squared returns of the horizon, a day, a week and a month stand
    /// beside them.
    pub cascade: bool,
}

impl ReturnWindows {
    /// How many returns are known without a gap, up to the reach of the windows.
    pub const KNOWN: &'static str = "known_returns";
    /// What the names of single returns begin with; their age in intervals follows.
    pub const LAG: &'static str = "log_return_lag_";
    /// Mean squared returns of the horizon, a day, seven days and thirty.
    pub const CASCADE: [&'static str; 4] =
        ["mean_square_horizon", "mean_square_day", "mean_square_week", "mean_square_month"];

    /// The windows behind context columns of these names.
    pub fn of_names(names: &[String]) -> Self {
        Self {
            lags: names.iter().filter(|n| n.starts_with(Self::LAG)).count(),
            cascade: names.iter().any(|n| n == Self::CASCADE[0]),
        }
    }

    /// What either of two needs.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let cascade = self.cascade || other.cascade;
        Self { lags: self.lags.max(other.lags), cascade }
    }

    /// The names of its columns, in order.
    pub(crate) fn names(self) -> impl Iterator<Item = String> {
        let known = self.is_some().then(|| Self::KNOWN.to_owned());
        let lags = (0..self.lags).map(|k| format!("{}{k}", Self::LAG));
        let cascade = Self::CASCADE.iter().filter(move |_| self.cascade).map(|n| (*n).to_owned());
        known.into_iter().chain(lags).chain(cascade)
    }

    fn is_some(self) -> bool {
        self != Self::default()
    }

    /// The widths of the cascade in intervals: the horizon, a day, seven days, thirty.
    pub(crate) fn widths(interval: Interval, horizon: Interval) -> [usize; 4] {
        let day = (Interval::DAY.secs() / interval.secs()).max(1) as usize;
        let horizon = (horizon.secs() / interval.secs()).max(1) as usize;
        [horizon, day, 7 * day, 30 * day]
    }

    /// The most returns that its windows hold; 0 when it has none.
    pub(crate) fn reach(self, interval: Interval, horizon: Interval) -> usize {
        let longest = Self::widths(interval, horizon).into_iter().max().unwrap_or(1);
        self.lags.max(if self.cascade { longest } else { 0 })
    }
}

/// The columns of [`ReturnWindows`] in their order, from the runs of rows whose returns are
/// known, the log returns with their squares, and the widths of the cascade.
pub(crate) fn return_windows(
    asked: ReturnWindows,
    known: &[Range<usize>],
    (returns, squares): (&[f64], &[f64]),
    widths: [usize; 4],
) -> Vec<Vec<f64>> {
    let nulls = || vec![f64::NAN; returns.len()];
    let mut columns = Vec::new();
    if asked.is_some() {
        let longest = widths.into_iter().filter(|_| asked.cascade).max().unwrap_or(0);
        let reach = asked.lags.max(longest);
        let mut count = nulls();
        for run in known {
            for (i, value) in count[run.clone()].iter_mut().enumerate() {
                *value = (i + 1).min(reach) as f64;
            }
        }
        columns.push(count);
    }
    for age in 0..asked.lags {
        let mut lag = nulls();
        for run in known {
            let begun = (run.start + age).min(run.end);
            lag[run.start..begun].fill(0.0);
            lag[begun..run.end].copy_from_slice(&returns[run.start..run.end - (begun - run.start)]);
        }
        columns.push(lag);
    }
    let widths = widths.into_iter().filter(|_| asked.cascade);
    columns.extend(widths.map(|width| {
        let mut mean = nulls();
        for run in known {
            let (squares, mean) = (&squares[run.clone()], &mut mean[run.clone()]);
            rolling::sum(squares, width, mean);
            let mut sum = 0.0;
            for (i, value) in mean.iter_mut().enumerate() {
                if i + 1 < width {
                    sum += squares[i];
                    *value = sum / (i + 1) as f64;
                } else {
                    *value /= width as f64;
                }
            }
        }
        mean
    }));
    columns
}

/// The windows of the newest row alone, as [`return_windows`] has them in its last row:
/// `returns` are the last ones, as many as there are lags; `squares` are those that are known
/// in unbroken succession, at most as many as the windows reach, none where the row's own
/// return is not known.
pub(crate) fn newest_windows(
    asked: ReturnWindows,
    (returns, squares): (&[f64], &[f64]),
    widths: [usize; 4],
    out: &mut Vec<f64>,
) {
    let known = squares.len();
    let or_null = |value: f64| if known == 0 { f64::NAN } else { value };
    if asked.is_some() {
        out.push(or_null(known as f64));
    }
    out.extend((0..asked.lags).map(|age| {
        let value = if age < known { returns[returns.len() - 1 - age] } else { 0.0 };
        or_null(value)
    }));
    out.extend(widths.into_iter().filter(|_| asked.cascade).map(|width| {
        or_null(if known < width {
            squares.iter().fold(0.0, |sum, s| sum + s) / known as f64
        } else {
            rolling::sum_of(&squares[known - width..]) / width as f64
        })
    }));
}

/// The rows of a dataset as if a gap ended at `end` (UTC): of those that are decided after it,
/// windows of returns begin there. Everything else is as it was. What a window holds then
/// comes from the row itself and, for mean squares, from the returns that the rows since
/// `end` knew as their own; a row between which and `end` others are missing is left out when
/// it is not known without them.
pub fn cut_returns(dataset: &Dataset, end: Timestamp) -> Dataset {
    let windows = ReturnWindows::of_names(&dataset.context_names);
    let column = |name: &str| dataset.context_index(name);
    let (Some(known), Some(own)) = (column(ReturnWindows::KNOWN), column("log_return")) else {
        return dataset.clone();
    };
    let lag = column(&format!("{}0", ReturnWindows::LAG)).unwrap_or(0);
    let cascade = ReturnWindows::CASCADE.map(|name| column(name).unwrap_or(0));
    let widths = ReturnWindows::widths(dataset.interval, dataset.horizon);
    let (interval, columns) = (dataset.interval, dataset.context.cols());
    let start = |i: usize| dataset.labels[i].start;
    // Squared returns up to a row, all rows of the dataset since `end`.
    let first = dataset.labels.partition_point(|l| l.start <= end);
    let mut sums = vec![0.0];
    for i in first..dataset.len() {
        sums.push(sums[i - first] + dataset.context.get(i, own) * dataset.context.get(i, own));
    }
    let mut values = dataset.context.as_slice().to_vec();
    let mut keep = vec![true; dataset.len()];
    for i in first..dataset.len() {
        let row = &mut values[i * columns..(i + 1) * columns];
        let since = interval.steps(end, start(i)).max(0) as usize;
        if since as f64 >= row[known] {
            continue;
        }
        row[known] = since as f64;
        row[lag + since.min(windows.lags)..lag + windows.lags].fill(0.0);
        for (&place, width) in cascade.iter().zip(widths).filter(|_| windows.cascade) {
            if width <= since {
                continue;
            }
            let behind = (i + 1).checked_sub(since).filter(|b| *b >= first);
            let whole = behind.filter(|&b| interval.steps(start(b), start(i)) + 1 == since as i64);
            match whole {
                Some(b) => row[place] = (sums[i + 1 - first] - sums[b - first]) / since as f64,
                None => keep[i] = false,
            }
        }
    }
    let cut = Dataset { context: Matrix::new(dataset.len(), columns, values), ..dataset.clone() };
    if keep.iter().all(|k| *k) {
        return cut;
    }
    cut.select(&(0..cut.len()).filter(|&i| keep[i]).collect::<Vec<_>>())
}
