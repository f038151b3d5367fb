//! Whether a forecast that was made again is the one that was stored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Forecast;

/// A field in which two forecasts differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The field's path, such as `interval.lower`.
    pub field: String,
    /// What was stored.
    pub stored: Value,
    /// What was made again.
    pub remade: Value,
}

/// Every field in which the two differ, by path; none when they are equal to the bit.
pub fn differences(stored: &Forecast, remade: &Forecast) -> Vec<Difference> {
    let value = |forecast: &Forecast| {
        serde_json::to_value(forecast).expect("a forecast is plain data with text keys")
    };
    let mut found = Vec::new();
    compare("", &value(stored), &value(remade), &mut found);
    found.sort_by(|a, b| a.field.cmp(&b.field));
    found
}

fn compare(path: &str, stored: &Value, remade: &Value, found: &mut Vec<Difference>) {
    let join = |part: &str| {
        if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") }
    };
    match (stored, remade) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                compare(&join(name), value, b.get(name).unwrap_or(&Value::Null), found);
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                compare(&join(name), &Value::Null, value, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&join(&i.to_string()), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            found.push(Difference { field: path.to_owned(), stored: a.clone(), remade: b.clone() });
        }
    }
}
