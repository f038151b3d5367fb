//! Raw rows on two clocks: what arriving rows add to stored ones, what was known at an
//! instant, and the vintages that decisions saw. Decides; `store` reads and writes.

use std::collections::BTreeSet;

use foretell_feature::{FeatureSet, assemble_vintage, join_vintages};
use foretell_lake::{
    RawComparison, Version, raw_from_record_batch, raw_row_metas, raw_take, raw_to_record_batch,
};
use foretell_market::Timestamp;
use foretell_panel::arrow::record_batch::RecordBatch;
use foretell_panel::{
    Arrival, Column, Content, Frame, KnownAt, RawTable, RowMeta, Vintage, Vintages, additions,
};
use foretell_quality::{QuarantinedRow, mend};

use crate::error::PlatformError;
use crate::gate;
use crate::materialise::{Materialised, materialise, memory, squared_returns};
use crate::pipeline::Pipeline;

/// How many vintages a materialisation computes features of; the oldest above are put
/// together, which is said.
const MOST_VINTAGES: usize = 500;

/// The versions of a pipeline's raw rows, as they were known at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    /// The version of the table.
    pub(crate) version: Version,
    /// Times and marks of all rows, every version of them.
    pub(crate) rows: Vec<RowMeta>,
    /// Which of them were known, and when they changed.
    history: Vintages,
    /// As known at which instant.
    known: KnownAt,
    batch: RecordBatch,
}

impl Versions {
    pub(crate) fn new(
        pipeline: &Pipeline,
        version: Version,
        batch: RecordBatch,
        known: KnownAt,
    ) -> Result<Self, PlatformError> {
        let rows = raw_row_metas(&batch).map_err(|e| others(pipeline, &e))?;
        let history = Vintages::new(&rows, known);
        Ok(Self { version, rows, history, known, batch })
    }

    /// The latest version of every row.
    pub(crate) fn latest(&self, pipeline: &Pipeline) -> Result<RawTable, PlatformError> {
        self.table(pipeline, &self.history.latest())
    }

    /// Every row as it is stored: tables from before there were versions were read so.
    pub(crate) fn stored(&self, pipeline: &Pipeline) -> Result<RawTable, PlatformError> {
        table(pipeline, &self.batch, &self.origin(pipeline))
    }

    /// Whether a row became known after one instant and by another.
    pub(crate) fn gained(&self, after: Timestamp, by: Timestamp) -> bool {
        self.rows.iter().any(|r| after < r.known_at && r.known_at <= by)
    }

    /// When a row behind a decision came, was corrected or was retracted, if that was after
    /// the decision's own last row had come: the latest such instant, on whichever clock.
    pub(crate) fn changed_behind(
        &self,
        pipeline: &Pipeline,
        decision: Timestamp,
    ) -> Option<Timestamp> {
        let seen = |r: &&RowMeta| {
            r.known_at <= self.known.known_by && r.ingested_at <= self.known.taken_in_by
        };
        let seen = || self.rows.iter().filter(seen).filter(|r| r.time < decision);
        let last = decision - pipeline.interval;
        let came = seen().filter(|r| r.time == last).map(|r| r.ingested_at).min()?;
        let late = seen().filter(|r| r.ingested_at > came);
        late.map(|r| r.known_at.max(r.ingested_at)).max()
    }

    fn origin(&self, pipeline: &Pipeline) -> String {
        format!("raw/{} version {}", pipeline.name, self.version)
    }

    fn table(&self, pipeline: &Pipeline, rows: &[usize]) -> Result<RawTable, PlatformError> {
        let known = raw_take(&self.batch, rows)
            .map_err(|e| PlatformError::Mismatch(format!("raw rows: {e}")))?;
        table(pipeline, &known, &self.origin(pipeline))
    }

    /// What mended rows of a quarantine add to the rows that were judged; `None` when they
    /// are as they were.
    ///
    /// # Errors
    /// When they do not fit the table.
    pub(crate) fn mended(
        &self,
        pipeline: &Pipeline,
        mended: &[QuarantinedRow],
        now: Timestamp,
    ) -> Result<Option<RawTable>, PlatformError> {
        let judged = self.latest(pipeline)?;
        let table = mend(&judged, mended, now).map_err(|e| PlatformError::Usage {
            message: e.to_string(),
            hint: "mend the quarantine file of the latest run".to_owned(),
        })?;
        // A version is all rows of its event time: those beside a mended one stay.
        let mut times = BTreeSet::new();
        for (i, row) in table.rows.iter().enumerate() {
            let was = judged.rows.get(i);
            if was != Some(row) {
                times.extend(was.map(|r| r.time).into_iter().chain([row.time]));
            }
        }
        let at_those = |rows: &[RowMeta]| -> Vec<usize> {
            (0..rows.len()).filter(|&i| times.contains(&rows[i].time)).collect()
        };
        let stored = raw_take(&self.batch, &at_those(&self.rows))
            .map_err(|e| PlatformError::Mismatch(format!("raw rows: {e}")))?;
        let arriving = part(&table, &at_those(&table.rows));
        added(&arriving, &stored, Arrival::Mend, now)
    }

    /// What models learn from: one frame when nothing was corrected later, and else each
    /// decision with the features of what was known when it was taken. `clean` are the
    /// latest rows, cleaned; `present` is when they were judged.
    ///
    /// # Errors
    /// When a column that the set or the label needs is absent.
    pub(crate) fn materialise(
        &self,
        pipeline: &Pipeline,
        clean: &Frame,
        present: Timestamp,
    ) -> Result<Materialised, PlatformError> {
        if self.history.corrections().is_empty() {
            return materialise(pipeline, clean);
        }
        let set = pipeline.features.feature_set()?;
        let (spans, grouped) = self.history.spans(MOST_VINTAGES);
        let mut warnings = Vec::new();
        if grouped > 0 {
            warnings.push(format!(
                "corrections divide the history into more than {MOST_VINTAGES} vintages: the \
                 oldest {grouped} are taken as one, which sees none of the corrections inside it"
            ));
        }
        let mut parts = Vec::with_capacity(spans.len());
        for span in &spans {
            let frame = match self.history.is_latest(span) {
                true => Some(clean.clone()),
                false => self.frame_of(pipeline, span, present)?,
            };
            match frame {
                Some(frame) => parts.push(self.part(pipeline, &set, &frame, span)?),
                None => warnings.push(format!(
                    "the gate cannot clean the rows as they were known between {} and {}: \
                     decisions of that time are left out",
                    span.from, span.to
                )),
            }
        }
        if parts.is_empty() {
            let latest = Vintage { from: Timestamp::MAX, to: Timestamp::MAX };
            parts.push(self.part(pipeline, &set, clean, &latest)?);
        }
        let joined = join_vintages(&parts, clean, &self.history, &pipeline.label_spec())?;
        let (features, dataset) = (joined.features, joined.dataset);
        // What came is taken from the latest rows, as labels are.
        let returns = squared_returns(pipeline, clean)?;
        let (rows, memory) = (joined.rows, memory(pipeline, &set));
        Ok(Materialised { set, features, dataset, returns, rows, memory, warnings })
    }

    /// The clean rows that decisions of a span could see.
    fn frame_of(
        &self,
        pipeline: &Pipeline,
        span: &Vintage,
        present: Timestamp,
    ) -> Result<Option<Frame>, PlatformError> {
        let raw = self.table(pipeline, &self.history.rows_of(span))?;
        let last = raw.rows.iter().map(|r| r.time + pipeline.interval).max();
        gate::clean_only(pipeline, &raw, last.unwrap_or(present).min(present))
    }

    fn part(
        &self,
        pipeline: &Pipeline,
        set: &FeatureSet,
        frame: &Frame,
        span: &Vintage,
    ) -> Result<foretell_feature::VintagePart, PlatformError> {
        let (context, label) = (pipeline.context_spec(), pipeline.label_spec());
        Ok(assemble_vintage(frame, span, &self.history, &context, &label, set)?)
    }
}

/// Why stored rows cannot be read as the pipeline's.
fn others(pipeline: &Pipeline, error: &foretell_lake::RawBatchError) -> PlatformError {
    PlatformError::Usage {
        message: format!("the stored rows of pipeline `{}` are others: {error}", pipeline.name),
        hint: "give the pipeline another `name`, or name another --data-dir".to_owned(),
    }
}

/// Stored rows as a raw table.
///
/// # Errors
/// When they are not the pipeline's.
pub(crate) fn table(
    pipeline: &Pipeline,
    batch: &RecordBatch,
    origin: &str,
) -> Result<RawTable, PlatformError> {
    raw_from_record_batch(batch, &pipeline.instrument, pipeline.interval, origin)
        .map_err(|e| others(pipeline, &e))
}

/// The named rows of a raw table.
fn part(table: &RawTable, rows: &[usize]) -> RawTable {
    let positions: Vec<u64> = rows.iter().map(|&i| table.positions[i]).collect();
    let present: BTreeSet<u64> = positions.iter().copied().collect();
    let columns = table.columns.iter();
    let columns = columns
        .map(|c| Column::new(c.name.clone(), rows.iter().map(|&i| c.values[i]).collect()))
        .collect();
    let mut faults = table.faults.clone();
    faults.retain(|f| present.contains(&f.position));
    RawTable {
        instrument: table.instrument.clone(),
        interval: table.interval,
        origin: table.origin.clone(),
        positions,
        rows: rows.iter().map(|&i| table.rows[i]).collect(),
        columns,
        faults,
    }
}

/// The rows that arriving ones add to stored ones; `None` when they add nothing.
///
/// # Errors
/// When the stored rows are no raw table.
pub(crate) fn added(
    arriving: &RawTable,
    stored: &RecordBatch,
    arrival: Arrival,
    now: Timestamp,
) -> Result<Option<RawTable>, PlatformError> {
    let rows = raw_row_metas(stored)
        .map_err(|e| PlatformError::Mismatch(format!("the stored rows: {e}")))?;
    let batch = raw_to_record_batch(arriving);
    let comparison = RawComparison::new(stored, &batch);
    let equal = |j: usize, i: usize| comparison.is_same(j, i);
    let added = additions(&rows, &arriving.rows, equal, arrival, now);
    if added.is_empty() {
        return Ok(None);
    }
    let arrived = |content: &Content| match *content {
        Content::Arrived(i) => Some(i),
        Content::Retracted(_) => None,
    };
    let from: Vec<Option<usize>> = added.iter().map(|a| arrived(&a.content)).collect();
    // A retraction stands nowhere in the origin: places are counted from 1.
    let positions: Vec<u64> = from.iter().map(|i| i.map_or(0, |i| arriving.positions[i])).collect();
    let columns = arriving.columns.iter().map(|c| {
        let value = |i: &Option<usize>| i.map_or(f64::NAN, |i| c.values[i]);
        Column::new(c.name.clone(), from.iter().map(value).collect())
    });
    let columns = columns.collect();
    let present: BTreeSet<u64> = positions.iter().copied().collect();
    let mut faults = arriving.faults.clone();
    faults.retain(|f| present.contains(&f.position));
    Ok(Some(RawTable {
        instrument: arriving.instrument.clone(),
        interval: arriving.interval,
        origin: arriving.origin.clone(),
        positions,
        rows: added.iter().map(|a| a.row).collect(),
        columns,
        faults,
    }))
}

#[cfg(test)]
mod tests;
