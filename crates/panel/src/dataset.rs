//! The rows a model learns from: features known at the decision, labels apart.

use foretell_market::{Fingerprint, FingerprintHasher, Instrument, Interval, RowFlags, Timestamp};

use crate::{FrameError, Matrix};

/// What is to be forecast, and the span of time that reveals it. Never a feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// The log return from the decision to the end of the horizon; NaN when the
    /// span has a missing interval.
    pub value: f64,
    /// When the decision is taken (UTC): the close of the last row it may see.
    pub start: Timestamp,
    /// When the label becomes known (UTC), as the close of the first decision that could
    /// use it: `start + horizon`, or later where a price of it was corrected later.
    pub end: Timestamp,
}

/// Feature rows with their labels, in decision-time order. `features` is what
/// estimators learn from; `context` are the few columns that baselines need
/// (also functions of rows known at the decision).
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The instrument.
    pub instrument: Instrument,
    /// The step of the grid.
    pub interval: Interval,
    /// How far ahead the label ends.
    pub horizon: Interval,
    /// Content hash of the feature set's definitions.
    pub feature_set: Fingerprint,
    /// Names of the columns of `features`.
    pub feature_names: Vec<String>,
    /// `rows × feature_names`.
    pub features: Matrix,
    /// Names of the columns of `context`.
    pub context_names: Vec<String>,
    /// `rows × context_names`.
    pub context: Matrix,
    /// One label per row.
    pub labels: Vec<Label>,
    /// The last known price at each decision, quote currency: turns a log return
    /// back into a price.
    pub base_prices: Vec<f64>,
    /// Quality marks of the rows behind each feature row.
    pub flags: Vec<RowFlags>,
}

impl Dataset {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The position of a context column.
    pub fn context_index(&self, name: &str) -> Option<usize> {
        self.context_names.iter().position(|n| n == name)
    }

    /// The rows of an index range, copied.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        self.select(&range.collect::<Vec<_>>())
    }

    /// The named rows, copied in the order given.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            instrument: self.instrument.clone(),
            interval: self.interval,
            horizon: self.horizon,
            feature_set: self.feature_set,
            feature_names: self.feature_names.clone(),
            features: self.features.select(rows),
            context_names: self.context_names.clone(),
            context: self.context.select(rows),
            labels: rows.iter().map(|&i| self.labels[i]).collect(),
            base_prices: rows.iter().map(|&i| self.base_prices[i]).collect(),
            flags: rows.iter().map(|&i| self.flags[i]).collect(),
        }
    }

    /// The rows of datasets of one feature set, one after the other.
    ///
    /// # Errors
    /// When instruments, grids, horizons or columns differ, or there is no dataset.
    pub fn concat(parts: &[Self]) -> Result<Self, FrameError> {
        let Some(first) = parts.first() else {
            return Err(FrameError::Mismatch("there is no dataset to put together".to_owned()));
        };
        let same = |other: &Self| {
            (&other.instrument, other.interval, other.horizon, other.feature_set)
                == (&first.instrument, first.interval, first.horizon, first.feature_set)
                && other.feature_names == first.feature_names
                && other.context_names == first.context_names
        };
        if !parts.iter().all(same) {
            let text = "datasets of different columns were put together".to_owned();
            return Err(FrameError::Mismatch(text));
        }
        let joined = |of: fn(&Self) -> &Matrix, cols: usize| {
            let data: Vec<f64> =
                parts.iter().flat_map(|p| of(p).as_slice().iter().copied()).collect();
            Matrix::new(parts.iter().map(Self::len).sum(), cols, data)
        };
        Ok(Self {
            features: joined(|p| &p.features, first.feature_names.len()),
            context: joined(|p| &p.context, first.context_names.len()),
            labels: parts.iter().flat_map(|p| p.labels.iter().copied()).collect(),
            base_prices: parts.iter().flat_map(|p| p.base_prices.iter().copied()).collect(),
            flags: parts.iter().flat_map(|p| p.flags.iter().copied()).collect(),
            ..first.select(&[])
        })
    }

    /// The rows that satisfy a condition on their label.
    pub fn filter(&self, keep: impl Fn(&Label) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&i| keep(&self.labels[i])).collect();
        self.select(&rows)
    }

    /// The hash of all logical content.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = FingerprintHasher::new("dataset/1");
        hasher.text(self.instrument.as_str());
        hasher.i64(self.interval.secs()).i64(self.horizon.secs()).fingerprint(&self.feature_set);
        for (names, matrix) in
            [(&self.feature_names, &self.features), (&self.context_names, &self.context)]
        {
            hasher.u64(names.len() as u64);
            names.iter().for_each(|name| {
                hasher.text(name);
            });
            hasher.f64s(matrix.as_slice());
        }
        hasher.u64(self.labels.len() as u64);
        for (i, label) in self.labels.iter().enumerate() {
            hasher.time(label.start).time(label.end).f64(label.value);
            hasher.f64(self.base_prices[i]).u64(u64::from(self.flags[i].bits()));
        }
        hasher.finish()
    }
}
