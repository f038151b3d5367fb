//! How a raw table looks: rows, types, nulls, quantiles, histograms, duplicates, gaps.
//!
//! Describes the rows as they came, before any gate; judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_panel::{Gap, RawTable};
use serde::{Deserialize, Serialize};

use crate::checks;
use crate::stats::{self, Histogram};

/// The probabilities of [`ColumnProfile::quantiles`].
pub const PROBABILITIES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// Bins of every histogram.
pub const BINS: usize = 40;

/// Stretches of the overview at most.
const STRETCHES: usize = 480;

/// What kind of numbers a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// No number at all.
    Empty,
    /// One number throughout.
    Constant,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
}

/// One column, described. Statistics are over its finite numbers and `None` where
/// there are too few.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The column.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Finite numbers.
    pub count: usize,
    /// Cells that are empty, unreadable ones included.
    pub missing: usize,
    /// Cells that could not be read as a number; they count as missing too.
    pub unreadable: usize,
    /// Infinite values.
    pub infinite: usize,
    /// Zeros.
    pub zeros: usize,
    /// Numbers under zero.
    pub negative: usize,
    /// Different numbers.
    pub distinct: usize,
    /// The mean.
    pub mean: Option<f64>,
    /// The sample standard deviation.
    pub std: Option<f64>,
    /// The bias-corrected skewness.
    pub skewness: Option<f64>,
    /// The bias-corrected excess kurtosis.
    pub excess_kurtosis: Option<f64>,
    /// The least number.
    pub min: Option<f64>,
    /// The largest number.
    pub max: Option<f64>,
    /// Probability and quantile, at [`PROBABILITIES`]; empty without numbers.
    pub quantiles: Vec<(f64, f64)>,
    /// Counts over [`BINS`] bins; logarithmic where the numbers are positive and span
    /// more than three powers of ten.
    pub histogram: Histogram,
}

/// A stretch of time in the overview of the price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its start (UTC).
    pub from: Timestamp,
    /// Rows in it.
    pub rows: usize,
    /// The lowest price (of the low, where there is one).
    pub low: Option<f64>,
    /// The highest price (of the high, where there is one).
    pub high: Option<f64>,
    /// The last price.
    pub last: Option<f64>,
    /// The sum of the volume, or the last of a rolling one.
    pub volume: Option<f64>,
}

/// Price and volume over time, in at most 480 stretches of equal length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The column that is the price, where there is one.
    pub price: Option<String>,
    /// The column that is the volume, where there is one.
    pub volume: Option<String>,
    /// Seconds in a stretch.
    pub stretch_secs: i64,
    /// The stretches that hold rows, in time order.
    pub stretches: Vec<Stretch>,
}

/// A table, described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The version of this layout: 1.
    pub version: u32,
    /// Where the rows came from.
    pub origin: String,
    /// The instrument.
    pub instrument: Instrument,
    /// The interval that the source declares.
    pub interval: Interval,
    /// Rows as they came.
    pub rows: usize,
    /// The earliest time (UTC).
    pub from: Option<Timestamp>,
    /// The latest time (UTC).
    pub to: Option<Timestamp>,
    /// Intervals from the earliest to the latest time.
    pub intervals_expected: usize,
    /// How many of them have a row.
    pub intervals_present: usize,
    /// Runs of missing intervals.
    pub gaps: Vec<Gap>,
    /// Rows whose time is not on the grid.
    pub off_grid: usize,
    /// Rows that are earlier than the row before them.
    pub steps_back: usize,
    /// Rows that repeat an earlier one in time and every value.
    pub duplicate_rows: usize,
    /// Rows of a time that an earlier row has, with other values.
    pub conflicting_rows: usize,
    /// The share of cells without a finite number, 0 to 1.
    pub missing_share: f64,
    /// The share of rows that repeat an earlier one, 0 to 1.
    pub duplicate_share: f64,
    /// `100 − min(2 × missing %, 50) − min(3 × duplicate %, 30)`, the score of the
    /// CoinGecko pipeline's profile; 0 without rows.
    pub quality_score: f64,
    /// The columns.
    pub columns: Vec<ColumnProfile>,
    /// The natural logarithm of price over price one interval before, where both are
    /// there and positive; `None` without such pairs.
    pub log_return: Option<ColumnProfile>,
    /// Price and volume over time.
    pub overview: Overview,
}

impl Profile {
    /// The share of intervals that have a row, 0 to 1; 0 without rows.
    pub fn coverage(&self) -> f64 {
        if self.intervals_expected == 0 {
            return 0.0;
        }
        self.intervals_present as f64 / self.intervals_expected as f64
    }
}

/// Describes a raw table. Rows off the grid count in the interval they fall in;
/// columns shorter than the rows count as missing where they end.
pub fn profile(raw: &RawTable) -> Profile {
    let rows = raw.len();
    let columns: Vec<ColumnProfile> = raw
        .columns
        .iter()
        .map(|c| {
            let unreadable = raw.faults.iter().filter(|f| f.column == c.name).count();
            column_profile(&c.name, &c.values, rows, unreadable)
        })
        .collect();
    let cells = (rows * columns.len()).max(1) as f64;
    let missing: usize = columns.iter().map(|c| c.missing + c.infinite).sum();
    let missing_share = missing as f64 / cells;
    let (duplicate_rows, conflicting_rows) = duplicates(raw);
    let duplicate_share = duplicate_rows as f64 / rows.max(1) as f64;
    let score =
        100.0 - (2.0 * 100.0 * missing_share).min(50.0) - (3.0 * 100.0 * duplicate_share).min(30.0);
    let cells: BTreeSet<i64> =
        raw.rows.iter().map(|r| raw.interval.floor(r.time).micros()).collect();
    let gaps = gaps(&cells, raw.interval);
    let absent: usize = gaps.iter().map(|g| g.intervals).sum();
    Profile {
        version: 1,
        origin: raw.origin.clone(),
        instrument: raw.instrument.clone(),
        interval: raw.interval,
        rows,
        from: raw.rows.iter().map(|r| r.time).min(),
        to: raw.rows.iter().map(|r| r.time).max(),
        intervals_expected: cells.len() + absent,
        intervals_present: cells.len(),
        gaps,
        off_grid: raw.rows.iter().filter(|r| !raw.interval.is_on_grid(r.time)).count(),
        steps_back: raw.rows.windows(2).filter(|w| w[1].time < w[0].time).count(),
        duplicate_rows,
        conflicting_rows,
        missing_share,
        duplicate_share,
        quality_score: if rows == 0 { 0.0 } else { score },
        columns,
        log_return: log_return(raw),
        overview: overview(raw),
    }
}

fn gaps(cells: &BTreeSet<i64>, interval: Interval) -> Vec<Gap> {
    let cells: Vec<i64> = cells.iter().copied().collect();
    let step = interval.micros();
    let between = |w: &[i64]| {
        let missing = (w[1] - w[0]) / step - 1;
        (missing > 0).then(|| Gap {
            from: Timestamp::from_micros(w[0] + step),
            to: Timestamp::from_micros(w[1]),
            intervals: missing as usize,
        })
    };
    cells.windows(2).filter_map(between).collect()
}

/// Rows that repeat an earlier one, and rows that contradict an earlier one.
fn duplicates(raw: &RawTable) -> (usize, usize) {
    if !checks::shape(raw).is_empty() {
        return (0, 0);
    }
    let mut by_time: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
    let (mut exact, mut conflicting) = (0, 0);
    for (row, meta) in raw.rows.iter().enumerate() {
        let distinct = by_time.entry(meta.time).or_default();
        if distinct.iter().any(|&earlier| checks::same_values(raw, earlier, row)) {
            exact += 1;
        } else {
            conflicting += usize::from(!distinct.is_empty());
            distinct.push(row);
        }
    }
    (exact, conflicting)
}

fn column_profile(name: &str, values: &[f64], rows: usize, unreadable: usize) -> ColumnProfile {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let numbers = sorted.clone();
    sorted.sort_by(f64::total_cmp);
    let infinite = values.iter().filter(|v| v.is_infinite()).count();
    let distinct = sorted.chunk_by(|a, b| a == b).count();
    let present = |v: f64| v.is_finite().then_some(v);
    let (min, max) = (sorted.first().copied(), sorted.last().copied());
    let wide = min.zip(max).is_some_and(|(min, max)| min > 0.0 && max / min > 1_000.0);
    let kind = match distinct {
        0 => ColumnKind::Empty,
        1 if sorted.len() > 1 => ColumnKind::Constant,
        _ if sorted.iter().all(|v| v.fract() == 0.0) => ColumnKind::Integer,
        _ => ColumnKind::Number,
    };
    ColumnProfile {
        name: name.to_owned(),
        kind,
        count: sorted.len(),
        missing: rows - sorted.len().min(rows) - infinite.min(rows),
        unreadable,
        infinite,
        zeros: sorted.iter().filter(|v| **v == 0.0).count(),
        negative: sorted.iter().filter(|v| **v < 0.0).count(),
        distinct,
        mean: present(stats::mean(&numbers)),
        std: present(stats::std(&numbers)),
        skewness: present(stats::skewness(&numbers)),
        excess_kurtosis: present(stats::excess_kurtosis(&numbers)),
        min,
        max,
        quantiles: if sorted.is_empty() {
            Vec::new()
        } else {
            let quantiles = PROBABILITIES.iter().map(|&p| (p, stats::quantile(&sorted, p)));
            quantiles.filter(|(_, q)| q.is_finite()).collect()
        },
        histogram: if wide {
            stats::log_histogram(&numbers, BINS)
        } else {
            stats::histogram(&numbers, BINS)
        },
    }
}

fn log_return(raw: &RawTable) -> Option<ColumnProfile> {
    let price = raw.column("close").or_else(|| raw.column("price"))?;
    let priced = raw.rows.iter().zip(price).filter(|(_, p)| p.is_finite() && **p > 0.0);
    // The last row of a time in the origin stands for it.
    let by_time: BTreeMap<Timestamp, f64> = priced.map(|(r, p)| (r.time, *p)).collect();
    let pairs = by_time.iter().zip(by_time.iter().skip(1));
    let adjacent = pairs.filter(|((a, _), (b, _))| **a + raw.interval == **b);
    let returns: Vec<f64> = adjacent.map(|((_, p), (_, q))| (q / p).ln()).collect();
    let rows = returns.len();
    (rows > 0).then(|| column_profile("log return", &returns, rows, 0))
}

/// The length of a stretch in microseconds: a round one where there is one of whole
/// intervals.
fn stretch_length(first: Timestamp, last: Timestamp, interval: Interval) -> i64 {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 86_400;
    let round = [
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        4 * HOUR,
        6 * HOUR,
        8 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        3 * DAY,
        4 * DAY,
        7 * DAY,
        14 * DAY,
        28 * DAY,
    ];
    let steps = interval.steps(first, last) + 1;
    // One stretch less than allowed, because the first may begin before the first row.
    let least = (steps as u64).div_ceil(STRETCHES as u64 - 1).max(1) as i64;
    let fits = |secs: &&i64| **secs % interval.secs() == 0 && **secs / interval.secs() >= least;
    let intervals = if least == 1 { Some(1) } else { None };
    let intervals =
        intervals.or_else(|| round.iter().find(fits).map(|secs| secs / interval.secs()));
    intervals.unwrap_or(least) * interval.micros()
}

fn overview(raw: &RawTable) -> Overview {
    let named = |names: &[&str]| {
        let found = names.iter().find_map(|n| raw.columns.iter().find(|c| c.name == *n));
        found.filter(|c| c.values.len() == raw.len())
    };
    let price = named(&["close", "price"]);
    let (low, high) = (named(&["low"]).or(price), named(&["high"]).or(price));
    let volume = named(&["volume", "total_volume"]);
    // A vendor's total volume is that of the last day, so it must not be summed.
    let rolling = volume.is_some_and(|v| v.name == "total_volume");
    let mut order: Vec<usize> = (0..raw.len()).collect();
    order.sort_by_key(|&row| (raw.rows[row].time, row));
    let (Some(first), Some(last)) = (order.first(), order.last()) else {
        return Overview { price: None, volume: None, stretch_secs: 0, stretches: Vec::new() };
    };
    let first = raw.interval.floor(raw.rows[*first].time);
    let length = stretch_length(first, raw.rows[*last].time, raw.interval);
    let first = Timestamp::from_micros(first.micros().div_euclid(length) * length);
    let index = |row: usize| (raw.rows[row].time.micros() - first.micros()) / length;
    let finite = |column: Option<&foretell_panel::Column>, row: usize| {
        column.map(|c| c.values[row]).filter(|v| v.is_finite())
    };
    let stretches = order.chunk_by(|a, b| index(*a) == index(*b)).map(|rows| {
        let extreme = |column, pick: fn(f64, f64) -> f64| {
            rows.iter().filter_map(|&r| finite(column, r)).reduce(pick)
        };
        let mut volumes = rows.iter().filter_map(|&r| finite(volume, r));
        Stretch {
            from: Timestamp::from_micros(first.micros() + index(rows[0]) * length),
            rows: rows.len(),
            low: extreme(low, f64::min),
            high: extreme(high, f64::max),
            last: rows.iter().rev().find_map(|&r| finite(price, r)),
            volume: if rolling { volumes.next_back() } else { volumes.reduce(|a, b| a + b) }
                .filter(|v| v.is_finite()),
        }
    });
    Overview {
        price: price.map(|c| c.name.clone()),
        volume: volume.map(|c| c.name.clone()),
        stretch_secs: length / 1_000_000,
        stretches: stretches.collect(),
    }
}
