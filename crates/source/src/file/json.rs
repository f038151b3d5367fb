//! JSON arrays: of rows (`[[time, open, high, low, close, volume], …]`, as freqtrade
//! and exchanges write them) or of objects with named values.
//!
//! Numbers may be JSON numbers or text; `null` is a missing value.

use serde_json::Value;

use super::cells::{Collector, Counting, Found};
use super::{FileSpec, text_of};
use crate::SourceError;
use crate::error::{Malformed, excerpt};
use crate::rows::Rows;

/// freqtrade's order of six values.
const SIX: [&str; 6] = ["time", "open", "high", "low", "close", "volume"];
/// The order of Binance's klines.
const TWELVE: [&str; 12] = [
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_base",
    "taker_quote",
    "ignored",
];

/// Reads a JSON file's bytes (already unpacked).
///
/// # Errors
/// [`SourceError::Malformed`] naming file, line or element, field and remedy when the
/// text is not JSON or no array of rows, or a time cannot be read.
pub fn read_json(bytes: &[u8], spec: &FileSpec) -> Result<(Rows, Found), SourceError> {
    let origin = spec.path.display().to_string();
    let text = text_of(bytes, &origin)?;
    let value: Value = serde_json::from_str(text).map_err(|error| broken(&origin, &error))?;
    let Value::Array(elements) = value else {
        return Err(Malformed::new(
            &origin,
            "the top of the document is not an array",
            "give an array of rows or of objects, or declare `format = \"coingecko\"`",
        )
        .into());
    };
    match elements.first() {
        None => Err(Malformed::new(&origin, "the array is empty", "give a file with data").into()),
        Some(Value::Array(first)) => {
            let width = first.len();
            let header: Vec<String> = match (&spec.header, width) {
                (Some(names), _) => names.clone(),
                (None, 6) => SIX.map(str::to_owned).to_vec(),
                (None, 12) => TWELVE.map(str::to_owned).to_vec(),
                (None, _) => {
                    let problem = format!("rows of {width} values have no known order");
                    let remedy = "give the names of the values in `header`, such as [\"time\", \
                                  \"open\", \"close\", \"high\", \"low\", \"volume\"]";
                    let malformed = Malformed::new(&origin, problem, remedy);
                    return Err(malformed.row(1).field("header").into());
                }
            };
            let mut collector = Collector::new(&origin, Counting::Elements, &header, spec)?;
            for (position, element) in (1u64..).zip(&elements) {
                let row = element.as_array().filter(|row| row.len() == header.len());
                let Some(row) = row else {
                    let problem = format!(
                        "`{}` is not a row of {} values",
                        excerpt(&element.to_string(), 60),
                        header.len()
                    );
                    let remedy = "mend the row, or give the names of all values in `header`";
                    return Err(Malformed::new(&origin, problem, remedy).row(position).into());
                };
                let cells: Vec<String> = row.iter().map(plain).collect();
                collector.push(position, |i| cells.get(i).map(String::as_str))?;
            }
            let (rows, found) = collector.finish()?;
            if spec.header.is_none() {
                check_order(&rows, &origin)?;
            }
            Ok((rows, found))
        }
        Some(Value::Object(first)) => {
            let header: Vec<String> = first.keys().cloned().collect();
            let mut collector = Collector::new(&origin, Counting::Elements, &header, spec)?;
            for (position, element) in (1u64..).zip(&elements) {
                let Some(object) = element.as_object() else {
                    let problem =
                        format!("`{}` is not an object", excerpt(&element.to_string(), 60));
                    let remedy = "mend the element: the first one is an object";
                    return Err(Malformed::new(&origin, problem, remedy).row(position).into());
                };
                let cells: Vec<Option<String>> =
                    header.iter().map(|name| object.get(name).map(plain)).collect();
                collector.push(position, |i| cells.get(i).and_then(|cell| cell.as_deref()))?;
            }
            Ok(collector.finish()?)
        }
        Some(other) => Err(Malformed::new(
            &origin,
            format!("`{}` is not a row", excerpt(&other.to_string(), 60)),
            "give an array of rows or of objects",
        )
        .row(1)
        .into()),
    }
}

/// Refuses an assumed order that most rows contradict: some exchanges write the close
/// before the high, which would pass unnoticed as a price.
fn check_order(rows: &Rows, origin: &str) -> Result<(), Malformed> {
    let column = |name: &str| rows.columns.iter().find(|c| c.name == name).map(|c| &c.values);
    let (Some(open), Some(high), Some(low), Some(close)) =
        (column("open"), column("high"), column("low"), column("close"))
    else {
        return Ok(());
    };
    let breaks = |i: &usize| {
        let i = *i;
        high[i] < low[i] || high[i] < open[i].max(close[i]) || low[i] > open[i].min(close[i])
    };
    let broken = (0..rows.times.len()).filter(breaks).count();
    if broken * 2 > rows.times.len() {
        return Err(Malformed::new(
            origin,
            format!(
                "read as time, open, high, low, close, volume, {broken} of {} rows have a high \
                 below or a low above another price",
                rows.times.len()
            ),
            "give the order in `header`, such as [\"time\", \"open\", \"close\", \"high\", \
             \"low\", \"volume\"]",
        )
        .field("header"));
    }
    Ok(())
}

/// A value as the text of a cell; `null` is an empty cell.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A syntax error with its line.
pub(crate) fn broken(origin: &str, error: &serde_json::Error) -> Malformed {
    let problem = if error.is_eof() {
        "the JSON text is cut off".to_owned()
    } else {
        format!("not JSON: {error}")
    };
    Malformed::new(origin, problem, "fetch or export the file again").line(error.line() as u64)
}
