//! A feature set fed piece by piece, with the bits of the whole history.

use foretell_market::{Fingerprint, Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame, RowMeta};
use serde::{Deserialize, Serialize};

use crate::FeatureError;
use crate::compute::frame_of;
use crate::definition::Memory;
use crate::graph::Node;
use crate::set::FeatureSet;
use crate::stage::{Fed, Resume, evaluate};
use crate::workspace::Workspace;

/// The version of the saved form.
const VERSION: u32 = 1;

/// Everything that the next rows of a stream need from the rows before them: the
/// memories of recursive features, and the rows still inside a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureState {
    version: u32,
    feature_set: Fingerprint,
    instrument: Instrument,
    interval: Interval,
    /// The rows inside the window: open time, known-at time, ingest time, flags.
    rows: Vec<(Timestamp, Timestamp, Timestamp, u32)>,
    /// Their input columns, in the set's order. Bits, because JSON has no NaN.
    inputs: Vec<Vec<u64>>,
    /// The latest known-at time of all rows so far.
    known_at: Option<Timestamp>,
    /// Per recursive feature, its memory and its values of `rows`.
    nodes: Vec<(Fed, Vec<u64>)>,
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn numbers(bits: &[u64]) -> Vec<f64> {
    bits.iter().map(|b| f64::from_bits(*b)).collect()
}

fn recursive_nodes(set: &FeatureSet) -> impl Iterator<Item = (usize, &Node)> {
    set.graph.nodes.iter().enumerate().filter(|(_, n)| n.kind.memory == Memory::Recursive)
}

impl FeatureState {
    /// The state before the first row of an instrument: the origin.
    pub fn new(set: &FeatureSet, instrument: Instrument, interval: Interval) -> Self {
        Self {
            version: VERSION,
            feature_set: set.fingerprint(),
            instrument,
            interval,
            rows: Vec::new(),
            inputs: vec![Vec::new(); set.inputs().len()],
            known_at: None,
            nodes: Vec::new(),
        }
    }

    /// The open time of the last row that was fed.
    pub fn through(&self) -> Option<Timestamp> {
        self.rows.last().map(|(time, ..)| *time)
    }

    /// Feeds the next rows and returns their features: the same bits that
    /// [`crate::compute()`] gives for these rows in the frame of all rows since the
    /// origin, however the rows are cut into pieces.
    ///
    /// # Errors
    /// When the state belongs to another set, instrument or interval or to an unknown
    /// version, or the rows do not come after those already fed. The state is unchanged
    /// then.
    pub fn advance(&mut self, set: &FeatureSet, next: &Frame) -> Result<Frame, FeatureError> {
        self.check(set, next)?;
        let frame = self.with_tail(set, next)?;
        let seen = self.rows.len();
        let brought: Vec<(Fed, Vec<f64>)> =
            self.nodes.iter().map(|(fed, values)| (fed.clone(), numbers(values))).collect();
        let resume = Resume { seen, nodes: &brought };
        let evaluated = evaluate(set, &frame, Some(&resume), true, &mut Workspace::new())?;

        let reach = set.warm_up() as i64 * self.interval.micros();
        let Some(last) = frame.rows().last() else {
            return frame_of(set, &frame, &evaluated);
        };
        let from = Timestamp::from_micros(last.time.micros() - reach);
        let kept = frame.rows().partition_point(|r| r.time < from)..frame.len();
        let kept_rows = &frame.rows()[kept.clone()];
        let node_values = |index: usize| {
            let values = evaluated.values[index].as_ref().expect("all values are kept");
            bits(&values[kept.clone()])
        };
        let nodes: Vec<_> = recursive_nodes(set)
            .zip(&evaluated.fed)
            .map(|((index, _), fed)| (fed.clone(), node_values(index)))
            .collect();
        let inputs: Result<Vec<_>, FeatureError> =
            set.inputs().iter().map(|c| Ok(bits(&frame.require(c)?[kept.clone()]))).collect();
        let inputs = inputs?;

        let features = frame_of(set, &frame, &evaluated)?.slice(seen..frame.len());
        let features = if set.is_recursive() { self.with_history(features)? } else { features };
        let so_far = frame.rows().iter().map(|r| r.known_at).max();
        self.rows =
            kept_rows.iter().map(|r| (r.time, r.known_at, r.ingested_at, r.flags.bits())).collect();
        (self.inputs, self.nodes) = (inputs, nodes);
        self.known_at = self.known_at.max(so_far);
        Ok(features)
    }

    fn check(&self, set: &FeatureSet, next: &Frame) -> Result<(), FeatureError> {
        let unfit = |text: String| Err(FeatureError::State(text));
        if self.version != VERSION {
            return unfit(format!("version {} is not known, {VERSION} is", self.version));
        }
        if self.feature_set != set.fingerprint() {
            let (have, want) = (self.feature_set.short(), set.fingerprint().short());
            return unfit(format!("it is of set {have}, not {want}: start from the first row"));
        }
        if &self.instrument != next.instrument() || self.interval != next.interval() {
            let (have, want) = (&self.instrument, next.instrument());
            let (a, b) = (self.interval, next.interval());
            return unfit(format!("it is of {have} every {a}, not of {want} every {b}"));
        }
        if let (Some(through), Some(first)) = (self.through(), next.rows().first())
            && first.time <= through
        {
            return unfit(format!("row {} is not after the last row {through}", first.time));
        }
        let lengths_fit = self.inputs.iter().all(|c| c.len() == self.rows.len())
            && self.nodes.iter().all(|(_, values)| values.len() == self.rows.len())
            && self.inputs.len() == set.inputs().len()
            && (self.rows.is_empty() || self.nodes.len() == recursive_nodes(set).count());
        if lengths_fit { Ok(()) } else { unfit("its parts differ in length".to_owned()) }
    }

    /// The kept rows with the next rows behind them.
    fn with_tail(&self, set: &FeatureSet, next: &Frame) -> Result<Frame, FeatureError> {
        let mut rows: Vec<RowMeta> = Vec::with_capacity(self.rows.len() + next.len());
        for (time, known_at, ingested_at, flags) in &self.rows {
            rows.push(RowMeta {
                time: *time,
                known_at: *known_at,
                ingested_at: *ingested_at,
                flags: RowFlags::from_bits(*flags),
            });
        }
        rows.extend_from_slice(next.rows());
        let mut columns = Vec::with_capacity(self.inputs.len());
        for (name, tail) in set.inputs().into_iter().zip(&self.inputs) {
            let mut values = numbers(tail);
            values.extend_from_slice(next.require(name)?);
            columns.push(Column::new(name, values));
        }
        Ok(Frame::new(self.instrument.clone(), self.interval, rows, columns)?)
    }

    /// A recursive feature is known no earlier than any row since its origin.
    fn with_history(&self, features: Frame) -> Result<Frame, FeatureError> {
        let Some(before) = self.known_at else { return Ok(features) };
        let later = |row: &RowMeta| RowMeta { known_at: row.known_at.max(before), ..*row };
        let rows = features.rows().iter().map(later).collect();
        let columns = features.columns().to_vec();
        Ok(Frame::new(self.instrument.clone(), self.interval, rows, columns)?)
    }
}
