//! One decision's inputs, as they are served and stored with the forecast.

use std::sync::Arc;

use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::{Frame, FrameError};
use serde::{Deserialize, Serialize};

use crate::FeatureError;
use crate::compute::compute;
use crate::context::{ContextSpec, context};
use crate::label::LabelSpec;
use crate::set::FeatureSet;

/// Everything a forecast is made from, at one decision time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureRow {
    /// The instrument.
    pub instrument: Instrument,
    /// The step of the grid.
    pub interval: Interval,
    /// The decision time (UTC): the close of the last row.
    pub as_of: Timestamp,
    /// When the last of the rows behind it became known (UTC).
    pub known_at: Timestamp,
    /// Names of `features`, shared by the rows of a stream.
    pub names: Arc<[String]>,
    /// The features, finite.
    pub features: Vec<f64>,
    /// Names of `context`.
    pub context_names: Arc<[String]>,
    /// The context, finite.
    pub context: Vec<f64>,
    /// The last known price, quote currency.
    pub base_price: f64,
    /// Quality marks of the rows behind it, or-ed.
    pub flags: RowFlags,
    /// Missing intervals in the window of features and context.
    pub gaps_in_window: usize,
    /// Filled rows in that window.
    pub filled_in_window: usize,
    /// Content hash of the feature set.
    pub feature_set: Fingerprint,
}

impl FeatureRow {
    /// The hash of the row's content, stored with a forecast and compared when it is
    /// verified.
    pub fn hash(&self) -> Fingerprint {
        let mut hasher = FingerprintHasher::new("feature-row/1");
        hasher.text(self.instrument.as_str()).i64(self.interval.secs()).time(self.as_of);
        hasher.time(self.known_at).fingerprint(&self.feature_set);
        for (names, values) in [(&self.names, &self.features), (&self.context_names, &self.context)]
        {
            hasher.u64(names.len() as u64);
            for name in names.iter() {
                hasher.text(name);
            }
            hasher.f64s(values);
        }
        hasher.f64(self.base_price).u64(u64::from(self.flags.bits()));
        hasher.u64(self.gaps_in_window as u64).u64(self.filled_in_window as u64);
        hasher.finish()
    }
}

/// The inputs of the decision taken when the interval that ends at `at` closes: the
/// same bits as the row of [`crate::assemble()`] over the same frame. Rows that became
/// known after the row that closes at `at` are not used.
///
/// The frame must begin at the same origin for a set or context that is recursive.
///
/// # Errors
/// When no row closes at `at`, or a feature has no value there; the message says which.
pub fn feature_row(
    set: &FeatureSet,
    frame: &Frame,
    context_spec: &ContextSpec,
    label: &LabelSpec,
    at: Timestamp,
) -> Result<FeatureRow, FeatureError> {
    let time = at - frame.interval();
    let index = frame.rows().binary_search_by_key(&time, |r| r.time);
    // Without such a row the answer below says so.
    let cutoff = index.map_or(Timestamp::MAX, |i| frame.rows()[i].known_at);
    feature_row_as_known(set, frame, context_spec, label, at, cutoff)
}

/// [`feature_row()`] for a decision that is taken later than its last row was known, so
/// that it uses what was known by then: rows that came late, and corrections of earlier
/// rows. The row's `known_at` is the latest of all rows behind it.
///
/// # Errors
/// As [`feature_row()`].
pub fn feature_row_as_known(
    set: &FeatureSet,
    frame: &Frame,
    context_spec: &ContextSpec,
    label: &LabelSpec,
    at: Timestamp,
    cutoff: Timestamp,
) -> Result<FeatureRow, FeatureError> {
    let interval = frame.interval();
    let missing = || FeatureError::NoRow { instrument: frame.instrument().to_string(), at };
    let index =
        frame.rows().binary_search_by_key(&(at - interval), |r| r.time).map_err(|_| missing())?;
    let past = frame.slice(0..index + 1);
    if past.rows()[index].known_at > cutoff {
        return Err(missing());
    }
    let known = if past.rows().iter().all(|r| r.known_at <= cutoff) {
        past
    } else {
        past.as_known_at(cutoff)
    };
    let known_at = known.rows().iter().map(|r| r.known_at).max().ok_or_else(missing)?;
    let reach = set.warm_up().max(context_spec.warm_up(interval));
    let first = at - interval;
    let first = Timestamp::from_micros(first.micros() - reach as i64 * interval.micros());
    let window = known.rows().partition_point(|r| r.time < first)..known.len();
    // A set that only looks back a window does not need older rows.
    let tail = if set.is_recursive() { known.clone() } else { known.slice(window.clone()) };
    let features = compute(set, &tail)?;
    let context = context(&known, &label.price_column, context_spec)?;
    label.steps(interval)?;
    let base_price = *known.require(&label.price_column)?.last().ok_or_else(missing)?;

    let rows = &known.rows()[window.clone()];
    let expected = reach + 1;
    let gaps_in_window = expected - rows.len();
    let last = |frame: &Frame| -> Vec<f64> {
        frame.columns().iter().map(|c| c.values[c.values.len() - 1]).collect()
    };
    let row = FeatureRow {
        instrument: frame.instrument().clone(),
        interval,
        as_of: at,
        known_at,
        names: column_names(&features),
        features: last(&features),
        context_names: column_names(&context),
        context: last(&context),
        base_price,
        flags: features.rows()[tail.len() - 1].flags | context.rows()[known.len() - 1].flags,
        gaps_in_window,
        filled_in_window: rows.iter().filter(|r| r.flags.contains(RowFlags::FILLED)).count(),
        feature_set: set.fingerprint(),
    };
    if let Some(refusal) = missing_values(&row, &label.price_column, expected) {
        return Err(refusal);
    }
    if row.features.len() != set.len() {
        return Err(FrameError::Mismatch("features do not fit their set".to_owned()).into());
    }
    Ok(row)
}

/// The names of a frame's columns.
pub(crate) fn column_names(frame: &Frame) -> Arc<[String]> {
    frame.columns().iter().map(|c| c.name.clone()).collect()
}

/// The refusal of a row that lacks a value.
pub(crate) fn missing_values(row: &FeatureRow, price: &str, window: usize) -> Option<FeatureError> {
    let named = row.names.iter().chain(row.context_names.iter());
    let values = row.features.iter().chain(&row.context);
    let mut absent: Vec<&str> =
        named.zip(values).filter(|(_, v)| !v.is_finite()).map(|(n, _)| n.as_str()).collect();
    if !(row.base_price.is_finite() && row.base_price > 0.0) {
        absent.push(price);
    }
    if absent.is_empty() {
        return None;
    }
    absent.truncate(8);
    let columns = absent.join(", ");
    let (at, gaps) = (row.as_of, row.gaps_in_window);
    Some(FeatureError::Incomplete { at, columns, window, gaps })
}
