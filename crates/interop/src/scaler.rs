//! Scalers of scikit-learn: what is taken off each column and what it is divided by.

use crate::InteropError;
use crate::error::{damaged, unsupported};
use crate::pickle::{self, Id, Node, Origin, Values};

const WHAT: &str = "scaler";

/// A fitted scaler: a column becomes `(x - shift) / scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    /// What is taken off each column.
    pub shifts: Vec<f64>,
    /// What each is divided by then.
    pub scales: Vec<f64>,
}

impl Scaler {
    /// Reads a `StandardScaler` or `MinMaxScaler` that `joblib.dump` or `pickle.dump` wrote.
    ///
    /// # Errors
    /// When it is another object or damaged. Nothing in it is ever run.
    pub fn read(bytes: &[u8]) -> Result<Self, InteropError> {
        let compressed =
            [&b"\x78"[..], b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d"];
        if compressed.iter().any(|magic| bytes.starts_with(magic)) {
            return Err(unsupported(
                "this joblib file is compressed",
                "save it again with `joblib.dump(scaler, path, compress=0)`",
            ));
        }
        let values = pickle::read(bytes, Origin::Joblib)?;
        let Some((class, state)) = values.object(values.top()) else {
            return Err(unsupported(
                "this pickle holds something else than a scaler",
                "give the file of a fitted StandardScaler or MinMaxScaler",
            ));
        };
        let scaler = match class {
            "StandardScaler" => Self::standard(&values, state)?,
            _ => Self::min_max(&values, state)?,
        };
        let bad = |at: usize| damaged(WHAT, format!("column {at}"), "its numbers cannot be used");
        if scaler.shifts.len() != scaler.scales.len() || scaler.scales.is_empty() {
            return Err(bad(0));
        }
        let pairs = scaler.shifts.iter().zip(&scaler.scales);
        match pairs
            .clone()
            .position(|(shift, scale)| !(shift.is_finite() && scale.is_finite() && *scale > 0.0))
        {
            Some(at) => Err(bad(at)),
            None => Ok(scaler),
        }
    }

    fn standard(values: &Values, state: Id) -> Result<Self, InteropError> {
        let columns = values.entry(state, "n_features_in_").and_then(|id| values.size(id));
        let flag = |name: &str| {
            !matches!(values.entry(state, name).map(|id| values.node(id)), Some(Node::Bool(false)))
        };
        let known = |name: &str, there: bool, otherwise: f64| match (there, columns) {
            (false, Some(columns)) => Ok(vec![otherwise; columns.min(100_000)]),
            _ => column(values, state, name),
        };
        Ok(Self {
            shifts: known("mean_", flag("with_mean"), 0.0)?,
            scales: known("scale_", flag("with_std"), 1.0)?,
        })
    }

    /// `x * scale_ + min_`, cut at the range where `clip` asks for it.
    fn min_max(values: &Values, state: Id) -> Result<Self, InteropError> {
        if let Some(Node::Bool(true)) = values.entry(state, "clip").map(|id| values.node(id)) {
            return Err(unsupported(
                "this MinMaxScaler cuts values at its range (clip=True), which is not read",
                "fit one without `clip`, or export the whole model to ONNX",
            ));
        }
        let (factors, offsets) = (column(values, state, "scale_")?, column(values, state, "min_")?);
        let shifts = factors.iter().zip(&offsets).map(|(factor, offset)| -offset / factor);
        Ok(Self { shifts: shifts.collect(), scales: factors.iter().map(|f| 1.0 / f).collect() })
    }
}

/// One number per column.
fn column(values: &Values, state: Id, name: &str) -> Result<Vec<f64>, InteropError> {
    let found = values.entry(state, name).map(|id| values.node(id));
    match found {
        Some(Node::Array(array)) if array.shape.len() == 1 => Ok(array.numbers()),
        _ => Err(damaged(WHAT, format!("`{name}`"), "it is missing: is the scaler fitted?")),
    }
}
