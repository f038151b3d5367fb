//! Real price excerpts and reference columns for the tests of this crate.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};

/// The text of a file under `tests/data`, taken in when the test is built.
macro_rules! data {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/", $path))
    };
}
pub(crate) use data;

/// The names and columns of a CSV file of numbers; empty cells are NaN.
pub(crate) fn table(text: &str) -> Vec<(String, Vec<f64>)> {
    let mut lines = text.lines();
    let names = lines.next().expect("a header").split(',');
    let mut columns: Vec<(String, Vec<f64>)> = names.map(|n| (n.to_owned(), vec![])).collect();
    for line in lines {
        for (cell, (_, values)) in line.split(',').zip(&mut columns) {
            values.push(if cell.is_empty() { f64::NAN } else { cell.parse().expect("a number") });
        }
    }
    columns
}

/// An hourly frame from a table whose first column is the open time in milliseconds.
pub(crate) fn frame(text: &str) -> Frame {
    let mut columns = table(text);
    let (_, times) = columns.remove(0);
    let at = |ms: &f64| RowMeta::at_close(Timestamp::from_millis(*ms as i64), Interval::HOUR);
    let rows = times.iter().map(at).collect();
    let columns = columns.into_iter().map(|(name, values)| Column::new(name, values)).collect();
    Frame::new("BTC-USD".parse().expect("a name"), Interval::HOUR, rows, columns)
        .expect("the excerpt is in order")
}

#[allow(dead_code, reason = "each test binary takes in the whole module")]
/// Fails unless a column has the reference's nulls and values, to 1e-9 of its scale.
pub(crate) fn assert_column(name: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{name}: rows");
    let scale = expected.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(scale.is_finite(), "{name}: the reference has values");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert_eq!(a.is_nan(), e.is_nan(), "{name}, row {i}: {a} for {e}");
        let error = (a - e).abs();
        assert!(e.is_nan() || error <= 1e-9 * scale, "{name}, row {i}: {a} is not {e} ({scale})");
    }
}
