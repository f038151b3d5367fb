//! From features, context and labels to the rows a model learns from.

use foretell_panel::{Dataset, Frame, FrameError, Matrix};

use crate::FeatureError;
use crate::label::{LabelSpec, labels};
use crate::set::FeatureSet;

/// Joins a frame with its features and context into a dataset.
///
/// A row is kept when every feature and context value is finite, its price is positive,
/// and nothing that it was computed from became known after the row itself (a late row
/// could not have been used at the decision). Its label may be NaN: unknown yet, or
/// across a gap; the caller filters.
///
/// # Errors
/// When the three frames do not have the same rows, the features are not those of the
/// set, or the label does not fit the frame.
pub fn assemble(
    frame: &Frame,
    features: &Frame,
    context: &Frame,
    label: &LabelSpec,
    set: &FeatureSet,
) -> Result<Dataset, FeatureError> {
    for (what, other) in [("features", features), ("context", context)] {
        let same = other.interval() == frame.interval()
            && other.instrument() == frame.instrument()
            && other.len() == frame.len()
            && other.rows().iter().zip(frame.rows()).all(|(a, b)| a.time == b.time);
        if !same {
            let text = format!("{what} were computed from other rows than the frame's");
            return Err(FrameError::Mismatch(text).into());
        }
    }
    let names: Vec<&str> = features.columns().iter().map(|c| c.name.as_str()).collect();
    if names != set.names() {
        let text = format!("the features are not those of the set `{}`", set.name());
        return Err(FrameError::Mismatch(text).into());
    }
    let all = labels(frame, label)?;
    let price = frame.require(&label.price_column)?;
    let usable = |i: usize| {
        let known = frame.rows()[i].known_at;
        features.rows()[i].known_at <= known
            && context.rows()[i].known_at <= known
            && price[i].is_finite()
            && price[i] > 0.0
    };
    let mut keep: Vec<bool> = (0..frame.len()).map(usable).collect();
    for column in features.columns().iter().chain(context.columns()) {
        for (keep, value) in keep.iter_mut().zip(column.values.iter()) {
            *keep &= value.is_finite();
        }
    }
    let rows: Vec<usize> = (0..frame.len()).filter(|&i| keep[i]).collect();
    let flag = |&i: &usize| features.rows()[i].flags | context.rows()[i].flags;
    Ok(Dataset {
        instrument: frame.instrument().clone(),
        interval: frame.interval(),
        horizon: label.horizon,
        feature_set: set.fingerprint(),
        feature_names: names.iter().map(|n| (*n).to_owned()).collect(),
        features: matrix_of(features, &rows),
        context_names: context.columns().iter().map(|c| c.name.clone()).collect(),
        context: matrix_of(context, &rows),
        labels: rows.iter().map(|&i| all[i]).collect(),
        base_prices: rows.iter().map(|&i| price[i]).collect(),
        flags: rows.iter().map(flag).collect(),
    })
}

/// The named rows of a frame, row by row.
fn matrix_of(frame: &Frame, rows: &[usize]) -> Matrix {
    let columns = frame.columns();
    let mut data = Vec::with_capacity(rows.len() * columns.len());
    for &i in rows {
        data.extend(columns.iter().map(|c| c.values[i]));
    }
    Matrix::new(rows.len(), columns.len(), data)
}
