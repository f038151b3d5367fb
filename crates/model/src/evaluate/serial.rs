//! How numbers that may be missing are stored: NaN as JSON null, and back.
//!
//! JSON has no NaN; without this a stored evaluation could not be read again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn present(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// One number.
pub(crate) mod number {
    use super::{Deserialize, Deserializer, Serialize, Serializer, present};

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        present(*value).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
    }
}

/// Many numbers.
pub(crate) mod numbers {
    use super::{Deserialize, Deserializer, Serializer, present};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|v| present(*v)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(from)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}
