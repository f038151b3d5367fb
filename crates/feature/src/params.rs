//! Parameters of features as a pipeline file writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// One value of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A count or a number.
    Number(f64),
    /// A column's name.
    Text(String),
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "`{text}`"),
        }
    }
}

/// Parameters by name. For a named set the key is `feature.parameter` (a table per
/// feature in a file); for one feature it is the parameter's name.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, ParamValue>);

impl Params {
    /// No parameter: every default holds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same parameters and one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// One value.
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.get(name)
    }

    /// All values in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Params {
    /// Reads a flat table, or one table per feature.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Entry {
            Value(ParamValue),
            Table(BTreeMap<String, ParamValue>),
        }
        let mut flat = BTreeMap::new();
        for (name, entry) in BTreeMap::<String, Entry>::deserialize(deserializer)? {
            match entry {
                Entry::Value(value) => {
                    flat.insert(name, value);
                }
                Entry::Table(table) => {
                    flat.extend(table.into_iter().map(|(p, v)| (format!("{name}.{p}"), v)));
                }
            }
        }
        Ok(Self(flat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_per_feature_is_flattened() {
        let text = r#"{"bb_width": {"window": 20, "column": "close"}, "x": 2}"#;
        let params: Params = serde_json::from_str(text).unwrap();
        let expected = Params::new()
            .with("bb_width.window", 20.0)
            .with("bb_width.column", "close")
            .with("x", 2.0);
        assert_eq!(params, expected);
    }
}
