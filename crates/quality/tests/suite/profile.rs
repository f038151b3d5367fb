//! The profile's numbers against numpy and pandas.

use foretell_market::Interval;
use foretell_panel::{CellFault, Column, RawTable, RowMeta};
use foretell_quality::stats::{histogram, quantile};
use foretell_quality::{BINS, ColumnKind, ColumnProfile, PROBABILITIES, Profile, profile};
use foretell_testkit::assert_close;
use serde::Deserialize;

use crate::support::candles;

/// What `tests/reference/quality.py` wrote.
#[derive(Deserialize)]
struct Reference {
    probabilities: Vec<f64>,
    bins: usize,
    columns: Vec<Sample>,
    tables: Vec<Table>,
}

/// A column and what numpy and pandas say of it.
#[derive(Deserialize)]
struct Sample {
    name: String,
    values: Vec<Option<f64>>,
    mean: Option<f64>,
    std: Option<f64>,
    skew: Option<f64>,
    kurt: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    distinct: usize,
    quantiles: Vec<f64>,
    log10: bool,
    edges: Vec<f64>,
    counts: Vec<u64>,
}

/// A small table and what pandas counts in it.
#[derive(Deserialize)]
struct Table {
    hours: Vec<i64>,
    values: Vec<Vec<Option<f64>>>,
    duplicate_rows: usize,
    missing_share: f64,
    duplicate_share: f64,
    quality_score: f64,
    expected: usize,
    present: usize,
    gaps: Vec<(i64, usize)>,
    log_return: Vec<f64>,
}

fn reference() -> Reference {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/data/reference/quality.json"
    ));
    serde_json::from_str(text).unwrap()
}

fn numbers(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().map(|v| v.unwrap_or(f64::NAN)).collect()
}

fn raw(hours: &[i64], columns: Vec<Column>) -> RawTable {
    let at = |h: &i64| {
        let time = foretell_market::Timestamp::from_secs(1_704_067_200 + 3_600 * h);
        RowMeta::at_close(time, Interval::HOUR)
    };
    RawTable {
        instrument: "BTC-USD".parse().unwrap(),
        interval: Interval::HOUR,
        origin: "reference".to_owned(),
        positions: (2..hours.len() as u64 + 2).collect(),
        rows: hours.iter().map(at).collect(),
        columns,
        faults: Vec::new(),
    }
}

fn described(sample: &Sample) -> ColumnProfile {
    let values = numbers(&sample.values);
    let hours: Vec<i64> = (0..values.len() as i64).collect();
    let mut profile = profile(&raw(&hours, vec![Column::new(sample.name.clone(), values)]));
    profile.columns.remove(0)
}

#[track_caller]
fn same(actual: Option<f64>, expected: Option<f64>, scale: f64) {
    match (actual, expected) {
        (Some(a), Some(e)) => {
            assert!((a - e).abs() <= 1e-11 * scale.max(e.abs()), "{a} is not {e}");
        }
        (a, e) => assert_eq!(a, e),
    }
}

#[test]
fn statistics_equal_numpy_and_pandas() {
    let reference = reference();
    assert_eq!(reference.probabilities, PROBABILITIES);
    assert_eq!(reference.bins, BINS);
    assert!(reference.columns.len() >= 8);
    for sample in &reference.columns {
        let column = described(sample);
        let scale = sample.max.unwrap_or(0.0).abs().max(sample.min.unwrap_or(0.0).abs());
        same(column.mean, sample.mean, scale);
        same(column.std, sample.std, scale);
        same(column.skewness, sample.skew, 1.0);
        same(column.excess_kurtosis, sample.kurt, 1.0);
        assert_eq!((column.min, column.max), (sample.min, sample.max), "{}", sample.name);
        assert_eq!(column.distinct, sample.distinct, "{}", sample.name);
        let quantiles: Vec<f64> = column.quantiles.iter().map(|q| q.1).collect();
        assert_eq!(quantiles, sample.quantiles, "{}: to the bit", sample.name);
    }
}

#[test]
fn histograms_equal_numpy_to_the_count() {
    for sample in &reference().columns {
        let h = described(sample).histogram;
        assert_eq!(h.log10, sample.log10, "{}", sample.name);
        assert_eq!(h.counts, sample.counts, "{}", sample.name);
        assert_eq!(h.edges.len(), sample.edges.len());
        for (a, e) in h.edges.iter().zip(&sample.edges) {
            assert_close(*a, *e, 1e-14);
        }
    }
}

#[test]
fn duplicates_gaps_and_score_equal_pandas() {
    for table in &reference().tables {
        let columns = table.values.iter().zip(["close", "volume"]);
        let columns = columns.map(|(values, name)| Column::new(name, numbers(values))).collect();
        let p = profile(&raw(&table.hours, columns));
        assert_eq!(p.duplicate_rows, table.duplicate_rows);
        assert_close(p.missing_share, table.missing_share, 1e-15);
        assert_close(p.duplicate_share, table.duplicate_share, 1e-15);
        assert_close(p.quality_score, table.quality_score, 1e-12);
        assert_eq!((p.intervals_expected, p.intervals_present), (table.expected, table.present));
        let start =
            |hours: i64| foretell_market::Timestamp::from_secs(1_704_067_200 + 3_600 * hours);
        let gaps: Vec<_> = p.gaps.iter().map(|g| (g.from, g.intervals)).collect();
        let expected: Vec<_> = table.gaps.iter().map(|(h, n)| (start(*h), *n)).collect();
        assert_eq!(gaps, expected);
        let returns = p.log_return.unwrap();
        assert_eq!(returns.count, table.log_return.len());
        let mean = table.log_return.iter().sum::<f64>() / table.log_return.len() as f64;
        assert_close(returns.mean.unwrap(), mean, 1e-12);
    }
}

#[test]
fn cells_are_counted_by_what_they_hold() {
    let mut raw = raw(
        &[0, 1, 2, 3, 4],
        vec![
            Column::new("close", vec![1.5, f64::NAN, f64::INFINITY, -2.0, 0.0]),
            Column::new("trades", vec![3.0, 3.0, 4.0, 0.0, 7.0]),
            Column::new("flat", vec![2.0; 5]),
            Column::new("none", vec![f64::NAN; 5]),
        ],
    );
    raw.faults.push(CellFault { position: 3, column: "close".to_owned(), text: "n/a".to_owned() });
    let Profile { columns, missing_share, .. } = profile(&raw);
    let [close, trades, flat, none] = &columns[..] else { panic!("four columns") };
    assert_eq!((close.count, close.missing, close.unreadable), (3, 1, 1));
    assert_eq!((close.infinite, close.zeros, close.negative), (1, 1, 1));
    let kinds = [close, trades, flat, none].map(|c| c.kind);
    use ColumnKind::{Constant, Empty, Integer, Number};
    assert_eq!(kinds, [Number, Integer, Constant, Empty]);
    assert!(none.quantiles.is_empty() && none.histogram.counts.is_empty());
    assert_eq!(missing_share, 7.0 / 20.0);
}

#[test]
fn the_overview_keeps_extremes_and_sums() {
    let hours: Vec<i64> = (0..2_000).collect();
    let close: Vec<f64> = (0..2_000).map(|i| if i == 777 { 500.0 } else { 100.0 }).collect();
    let columns = vec![Column::new("close", close), Column::new("volume", vec![2.0; 2_000])];
    let o = profile(&raw(&hours, columns)).overview;
    assert_eq!(o.stretch_secs, 6 * 3_600);
    assert_eq!(o.stretches.len(), 334);
    let sum: f64 = o.stretches.iter().filter_map(|s| s.volume).sum();
    assert_eq!(sum, 4_000.0);
    assert_eq!(o.stretches.iter().filter_map(|s| s.high).fold(0.0, f64::max), 500.0);
    assert_eq!(o.stretches.iter().map(|s| s.rows).sum::<usize>(), 2_000);
}

#[test]
fn disorder_and_times_off_the_grid_are_counted() {
    let raw = candles(&[
        (4, "2024-02-11T02:07,48020,48050,48000,48030,1.5"),
        (6, "2024-02-11T00:00,48040,48070,48020,48050,1.5"),
    ]);
    let p = profile(&raw);
    assert_eq!((p.off_grid, p.steps_back, p.conflicting_rows), (1, 1, 1));
    assert_eq!((p.intervals_present, p.intervals_expected), (11, 12));
    assert!((p.coverage() - 11.0 / 12.0).abs() < 1e-15);
}

#[test]
fn too_few_numbers_have_no_statistics() {
    assert!(quantile(&[], 0.5).is_nan());
    assert!(histogram(&[], 10).counts.is_empty());
    assert!(histogram(&[-f64::MAX, f64::MAX], 10).counts.is_empty());
    assert_eq!(histogram(&[3.0], 2).edges, [2.5, 3.0, 3.5]);
}
