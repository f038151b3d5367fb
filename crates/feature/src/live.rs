//! Decisions of a stream: rows in, each one's [`FeatureRow`] out, with the bits of a batch.

use std::sync::Arc;

use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};
use serde::{Deserialize, Serialize};

use crate::FeatureError;
use crate::context::{ContextMemory, ContextSpec, context_after};
use crate::label::LabelSpec;
use crate::row::{FeatureRow, column_names, missing_values};
use crate::set::FeatureSet;
use crate::state::FeatureState;

/// The version of the saved form.
const VERSION: u32 = 1;

/// What the next decision of one instrument needs from the rows before it: the state of its
/// features, the memory of its context, and the rows still inside a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowState {
    version: u32,
    spec: ContextSpec,
    features: FeatureState,
    memory: ContextMemory,
    /// The rows inside the longest window: open time, known-at time, flags.
    rows: Vec<(Timestamp, Timestamp, u32)>,
    /// Their prices. Bits, because JSON has no NaN.
    prices: Vec<u64>,
    /// The latest known-at time of all rows so far.
    known_at: Option<Timestamp>,
}

/// One row's decision: its inputs, or why it has none yet.
pub type Decision = (Timestamp, Result<FeatureRow, FeatureError>);

impl RowState {
    /// Before the first row of an instrument: the origin.
    pub fn new(
        set: &FeatureSet,
        spec: &ContextSpec,
        instrument: Instrument,
        interval: Interval,
    ) -> Self {
        Self {
            version: VERSION,
            spec: *spec,
            features: FeatureState::new(set, instrument, interval),
            memory: ContextMemory::new(spec),
            rows: Vec::new(),
            prices: Vec::new(),
            known_at: None,
        }
    }

    /// The open time of the last row that was fed.
    pub fn through(&self) -> Option<Timestamp> {
        self.features.through()
    }

    /// Feeds the next rows and returns the decision at each one's close: what
    /// [`crate::feature_row()`] gives over the frame of all rows since the origin, however the
    /// rows are cut into pieces. A row whose windows are not full yet has the refusal that
    /// says so.
    ///
    /// # Errors
    /// As [`FeatureState::advance()`], and when the state is of another context. The state is
    /// unchanged then.
    pub fn advance(
        &mut self,
        set: &FeatureSet,
        spec: &ContextSpec,
        label: &LabelSpec,
        next: &Frame,
    ) -> Result<Vec<Decision>, FeatureError> {
        if self.version != VERSION || self.spec != *spec {
            let text = "it is of another context: start from the first row".to_owned();
            return Err(FeatureError::State(text));
        }
        let interval = next.interval();
        label.steps(interval)?;
        let price = next.require(&label.price_column)?.to_vec();
        let (seen, all) = (self.rows.len(), self.with_tail(label, next)?);
        let mut memory = self.memory.clone();
        let context = context_after(&all, &label.price_column, spec, seen, &mut memory)?;
        // The last that can fail, and it changes nothing then.
        let features = self.features.advance(set, next)?;
        let (names, context_names) = (column_names(&features), column_names(&context));
        let feature_set = set.fingerprint();

        let reach = set.warm_up().max(spec.warm_up(interval));
        let mut known_at = self.known_at;
        let mut decisions = Vec::with_capacity(next.len());
        for (i, row) in next.rows().iter().enumerate() {
            known_at = known_at.max(Some(row.known_at));
            let at = row.time + interval;
            let first = row.time.plus_secs(-(reach as i64) * interval.secs());
            let window = all.rows()[..=seen + i].partition_point(|r| r.time < first)..seen + i + 1;
            let window = &all.rows()[window];
            let cells = |frame: &Frame, i: usize| -> Vec<f64> {
                frame.columns().iter().map(|c| c.values[i]).collect()
            };
            let decision = FeatureRow {
                instrument: next.instrument().clone(),
                interval,
                as_of: at,
                known_at: known_at.unwrap_or(row.known_at),
                names: Arc::clone(&names),
                features: cells(&features, i),
                context_names: Arc::clone(&context_names),
                context: cells(&context, seen + i),
                base_price: price[i],
                flags: features.rows()[i].flags | context.rows()[seen + i].flags,
                gaps_in_window: reach + 1 - window.len(),
                filled_in_window: window
                    .iter()
                    .filter(|r| r.flags.contains(RowFlags::FILLED))
                    .count(),
                feature_set,
            };
            let refusal = missing_values(&decision, &label.price_column, reach + 1);
            decisions.push((at, refusal.map_or(Ok(decision), Err)));
        }

        if let Some(last) = all.rows().last() {
            let from = last.time.plus_secs(-(reach as i64) * interval.secs());
            let kept = all.rows().partition_point(|r| r.time < from);
            let rows = &all.rows()[kept..];
            self.rows = rows.iter().map(|r| (r.time, r.known_at, r.flags.bits())).collect();
            let prices = &all.require(&label.price_column)?[kept..];
            self.prices = prices.iter().map(|p| p.to_bits()).collect();
        }
        (self.memory, self.known_at) = (memory, known_at);
        Ok(decisions)
    }

    /// The kept rows with the next rows behind them, price alone.
    fn with_tail(&self, label: &LabelSpec, next: &Frame) -> Result<Frame, FeatureError> {
        let kept = self.rows.iter().map(|(time, known_at, flags)| RowMeta {
            time: *time,
            known_at: *known_at,
            ingested_at: *known_at,
            flags: RowFlags::from_bits(*flags),
        });
        let rows = kept.chain(next.rows().iter().copied()).collect();
        let mut price: Vec<f64> = self.prices.iter().map(|b| f64::from_bits(*b)).collect();
        price.extend_from_slice(next.require(&label.price_column)?);
        let column = Column::new(label.price_column.clone(), price);
        Ok(Frame::new(next.instrument().clone(), next.interval(), rows, vec![column])?)
    }
}
