//! What vendors' JSON answers share: prices as text or numbers in arrays of a fixed
//! length, and pages of HTML where JSON should be.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Malformed, excerpt};
use crate::file::broken_json;

/// What to do about an answer of a form that is not known.
const REMEDY: &str = "the vendor may have changed its format: keep the answer and report it";

/// Reads an answer as JSON; a web page is called one.
pub(crate) fn document<T: DeserializeOwned>(origin: &str, bytes: &[u8]) -> Result<T, Malformed> {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if start.is_empty() {
        return Err(Malformed::new(origin, "the answer is empty", "run it again later"));
    }
    if start.starts_with(b"<") {
        let remedy = "check the base URL; the service may be down for maintenance";
        return Err(Malformed::new(origin, "a web page, not JSON", remedy));
    }
    serde_json::from_slice(start).map_err(|error| broken_json(origin, &error))
}

/// One array of an answer, with its place for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    origin: &'a str,
    row: u64,
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The `row`-th element (1-based), which must be an array of an allowed length.
    pub(crate) fn of(
        origin: &'a str,
        row: u64,
        element: &'a Value,
        lengths: &[usize],
    ) -> Result<Self, Malformed> {
        let refuse = |problem: String| Malformed::new(origin, problem, REMEDY).row(row);
        let Some(values) = element.as_array() else {
            let shown = excerpt(&element.to_string(), 60);
            return Err(refuse(format!("`{shown}` is not an array")));
        };
        if !lengths.contains(&values.len()) {
            let wanted: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            let problem = format!("{} values instead of {}", values.len(), wanted.join(" or "));
            return Err(refuse(problem));
        }
        Ok(Self { origin, row, values })
    }

    /// A complaint about one of its values.
    pub(crate) fn refuse(&self, index: usize, field: &str, expected: &str) -> Malformed {
        let value = self.values.get(index).map_or_else(String::new, Value::to_string);
        let problem = format!("`{}` is not {expected}", excerpt(&value, 60));
        Malformed::new(self.origin, problem, REMEDY).row(self.row).field(field)
    }

    /// A finite number, written as a number or as text.
    pub(crate) fn number(&self, index: usize, field: &str) -> Result<f64, Malformed> {
        let value = match self.values.get(index) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => plain_number(text),
            _ => None,
        };
        value.filter(|v| v.is_finite()).ok_or_else(|| self.refuse(index, field, "a number"))
    }

    /// A whole number, written as a number.
    pub(crate) fn whole(&self, index: usize, field: &str) -> Result<i64, Malformed> {
        let value = self.values.get(index).and_then(Value::as_i64);
        value.ok_or_else(|| self.refuse(index, field, "a whole number"))
    }

    /// A whole number, written as a number or as text.
    pub(crate) fn whole_or_text(&self, index: usize, field: &str) -> Result<i64, Malformed> {
        let text = self.values.get(index).and_then(Value::as_str);
        match text.and_then(|text| text.parse().ok()) {
            Some(whole) => Ok(whole),
            None => self.whole(index, field),
        }
    }

    /// A text.
    pub(crate) fn text(&self, index: usize, field: &str) -> Result<&'a str, Malformed> {
        let value = self.values.get(index).and_then(Value::as_str);
        value.ok_or_else(|| self.refuse(index, field, "a text"))
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// A decimal number as vendors write it: no `inf`, no `nan`, no spaces.
pub(crate) fn plain_number(text: &str) -> Option<f64> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    text.parse::<f64>().ok().filter(|value| starts && value.is_finite())
}
