//! Gaps as records: what the gate of a run found missing, and when it was found filled.

use foretell_market::Instrument;
use foretell_panel::Frame;
use foretell_quality::GateOutcome;
use foretell_registry::{GapFilter, GapFinding, GapRecord, MissingSpan, Sighting};

use crate::error::PlatformError;
use crate::named::unknown;
use crate::pipeline::Pipeline;
use crate::service::Service;
use crate::store::Store;
use crate::views::GapView;

/// Which gaps are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GapQuery {
    /// Of one instrument.
    pub instrument: Option<Instrument>,
    /// Of one pipeline.
    pub pipeline: Option<String>,
    /// Only those that are still missing.
    pub open: bool,
    /// The latest so many.
    pub limit: Option<u32>,
}

fn gap_view(record: GapRecord) -> GapView {
    let (closed_by, closed_at) = record.closed.map(|s| (s.run, s.at)).unzip();
    GapView {
        pipeline: record.pipeline,
        instrument: record.instrument,
        interval: record.interval,
        from: record.span.from,
        to: record.span.to,
        intervals: record.span.intervals,
        first_seen_by: record.first_seen.run,
        first_seen_at: record.first_seen.at,
        closed_by,
        closed_at,
        partly: record.partly,
    }
}

impl Store {
    /// Takes what the gate admitted into the record of gaps.
    pub(crate) async fn keep_gaps(
        &self,
        pipeline: &Pipeline,
        outcome: &GateOutcome,
        clean: &Frame,
        run: &str,
    ) -> Result<(), PlatformError> {
        let (Some(first), Some(last)) = (clean.rows().first(), clean.rows().last()) else {
            return Ok(());
        };
        let missing = outcome.gaps.iter();
        let missing =
            missing.map(|g| MissingSpan { from: g.from, to: g.to, intervals: g.intervals as u64 });
        let finding = GapFinding {
            pipeline: pipeline.name.clone(),
            instrument: pipeline.instrument.clone(),
            interval: pipeline.interval,
            from: first.time,
            to: last.time + pipeline.interval,
            missing: missing.collect(),
            seen: Sighting { run: run.to_owned(), at: self.clock.now() },
        };
        self.registry.record_gaps(&finding).await?;
        Ok(())
    }

    /// The gaps of a pipeline that are open, in time order.
    pub(crate) async fn open_gaps(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Vec<GapView>, PlatformError> {
        let filter =
            GapFilter { pipeline: Some(pipeline.name.clone()), open: true, ..GapFilter::default() };
        Ok(self.registry.gaps(&filter).await?.into_iter().map(gap_view).collect())
    }
}

impl Service {
    /// Gaps in the order of their time: the open ones, and those that a later run found
    /// filled.
    ///
    /// # Errors
    /// When no pipeline of that name or instrument ran.
    pub async fn gaps(&self, query: &GapQuery) -> Result<Vec<GapView>, PlatformError> {
        let filter = GapFilter {
            pipeline: query.pipeline.clone(),
            instrument: query.instrument.clone(),
            interval: None,
            open: query.open,
            limit: query.limit,
        };
        let found = self.store.registry.gaps(&filter).await?;
        if found.is_empty() {
            self.check_known(query).await?;
        }
        Ok(found.into_iter().map(gap_view).collect())
    }

    /// Nothing is missing only where something was looked at.
    async fn check_known(&self, query: &GapQuery) -> Result<(), PlatformError> {
        let pipelines = self.pipelines().await?;
        if let Some(name) = &query.pipeline
            && !pipelines.iter().any(|(run, _)| run.pipeline == *name)
        {
            let names: Vec<&str> = pipelines.iter().map(|(r, _)| r.pipeline.as_str()).collect();
            return Err(unknown("pipeline", name, &names, "`foretell runs list` shows them"));
        }
        if let Some(instrument) = &query.instrument
            && !pipelines.iter().any(|(_, p)| p.instrument == *instrument)
        {
            let names: Vec<&str> = pipelines.iter().map(|(_, p)| p.instrument.as_str()).collect();
            let hint = "`foretell runs list` shows what ran";
            return Err(unknown("instrument", instrument.as_str(), &names, hint));
        }
        Ok(())
    }
}
