//! Live use: new rows come in, outcomes are judged, the next forecast is made.
//!
//! A forecast is made when the lake gains a row, never by a read.

use std::sync::Arc;

use foretell_forecaster::view;
use foretell_lake::{AsOf, Layer};
use foretell_market::Timestamp;
use foretell_panel::{Frame, KnownAt, RawTable};
use foretell_registry::ModelVersion;
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::forecasting::{CHAMPION, Made, Provenance};
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::Pipeline;
use crate::service::Service;
use crate::telling::Told;
use crate::versions::Versions;
use crate::{backfill, extract, gate, market, wording};

/// What an advance did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advance {
    /// The run's id; `None` when there was nothing to do.
    pub run: Option<String>,
    /// Rows that the clean table gained.
    pub gained: usize,
    /// Outcomes that were judged.
    pub judged: usize,
    /// The forecast that was made, if a row was gained.
    pub forecast: Option<String>,
    /// The run that refused the rows there are: nothing came since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Advance {
    /// The line for people.
    pub fn summary(&self) -> String {
        let gained = wording::thousands(self.gained as u64);
        match (&self.forecast, &self.refused) {
            (Some(id), _) => format!("{gained} new rows · {} outcomes judged · {id}", self.judged),
            (None, Some(run)) => {
                format!("no new row, and run {run} refused those there are: mend them or wait")
            }
            (None, None) => "no new row: nothing to forecast from".to_owned(),
        }
    }
}

/// How many rows before the last one are asked for again.
const COMES_AGAIN: i64 = 3;

impl Service {
    /// Takes in what is new at the source, judges outcomes that are known now and
    /// forecasts from the last row. Without a new or corrected row, and with the last
    /// row's forecast made, nothing happens and no run is recorded.
    ///
    /// # Errors
    /// When the source or the gate refuses, or the stop was asked for; what was served
    /// before stays.
    pub async fn advance(
        &self,
        pipeline: &Pipeline,
        observer: Arc<dyn Observer>,
        stop: &Stop,
    ) -> Result<Advance, PlatformError> {
        let (store, name) = (&self.store, &pipeline.name);
        let _turn = self.turns.take("advance", name, &*store.clock, &*observer, stop).await?;
        market::check(store, pipeline).await?;
        let clean = store.clean(pipeline).await?;
        let last = clean.as_ref().and_then(|f| f.rows().last()).map(|r| r.time);
        observer.event(Event::Started { station: Station::Extract });
        // Of candles that the vendor has dropped since, the oldest that is left.
        let spec = extract::declared_spec(&pipeline.source)?;
        let oldest = spec.oldest(pipeline.interval, store.clock.now());
        let since = self.ask_from(pipeline, last).await?;
        let since = since.map(|since| oldest.map_or(since, |oldest| oldest.max(since)));
        if let Some((last, oldest)) = last.zip(oldest) {
            backfill::warn_of_lost(pipeline, last, oldest, &*observer);
        }
        let fetch = extract::extract(pipeline, None, since, &*store.clock, &store.http, &*observer);
        let rows = stop.or_stopped(fetch).await?;
        let changed = store.changes(pipeline, &rows).await?;
        let made = last.is_none_or(|t| self.board.is_made(pipeline, t + pipeline.interval));
        // Rows that a killed advance or a back-fill left in the raw table are new as well;
        // those that the gate refused are not, until something comes to them.
        let judged = self.judged(pipeline, None).await?;
        let unjudged = store.unjudged(pipeline, judged.as_ref()).await?;
        let refused = judged.filter(|j| j.refused).map(|j| j.run);
        let done = made || refused.is_some();
        if rows.is_empty() || (changed == 0 && done && !unjudged) {
            return Ok(Advance { run: None, gained: 0, judged: 0, forecast: None, refused });
        }
        let record = self.begin(pipeline, "advance").await?;
        let outcome = self.advance_run(&record.id, pipeline, &rows, last).await;
        self.end(&record.id, outcome.as_ref().err()).await?;
        outcome
    }

    /// From where on rows come again: the last ones, which a vendor may have corrected or
    /// have published late, and what is missing in the window of the next forecast.
    async fn ask_from(
        &self,
        pipeline: &Pipeline,
        last: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, PlatformError> {
        let Some(last) = last else { return Ok(None) };
        let interval = pipeline.interval;
        let back = |steps: i64| Timestamp::from_micros(last.micros() - steps * interval.micros());
        let season = pipeline.features.season.secs() / interval.secs().max(1);
        let reach = (pipeline.features.feature_set()?.warm_up() as i64).max(season);
        let gaps = self.store.open_gaps(pipeline).await?;
        let missing = gaps.iter().filter(|g| g.to > back(reach)).map(|g| g.from.max(back(reach)));
        Ok(missing.chain([back(COMES_AGAIN)]).min())
    }

    async fn advance_run(
        &self,
        run: &str,
        pipeline: &Pipeline,
        rows: &RawTable,
        last: Option<Timestamp>,
    ) -> Result<Advance, PlatformError> {
        let store = &self.store;
        let version = store.put_raw(pipeline, rows, false, run).await?;
        let version = store.tidy_up(Layer::Raw, &pipeline.name, version).await?;
        let read_at = store.clock.stamp();
        let known = KnownAt::instant(read_at);
        let Some(versions) = store.versions(pipeline, AsOf::Version(version), known).await? else {
            return Err(PlatformError::Mismatch("the raw rows just written are gone".to_owned()));
        };
        store.keep_judged(run, version, read_at).await?;
        let raw = versions.latest(pipeline)?;
        let present = gate::present(pipeline, &raw, read_at);
        let outcome = gate::gate(pipeline, &raw, present)?;
        let quarantine = store.dir.file("quarantine", &format!("{run}.json"));
        let subject = format!("run {run}");
        store.keep_demo(pipeline, present, run).await?;
        let (clean, outcome) = gate::admit(outcome, &raw, &subject, Some(&quarantine))?;
        store.keep_gaps(pipeline, &outcome, &clean, run).await?;
        let source = clean.fingerprint();
        let name = &pipeline.name;
        let written = store.put_frame(Layer::Clean, name, &clean, run, source).await?;
        store.tidy_up(Layer::Clean, name, written).await?;
        let gained = clean.rows().iter().filter(|r| last.is_none_or(|l| r.time > l)).count();
        let judged = store.judge_outcomes(pipeline, &clean, present, read_at).await?;
        let changed_at = changed_behind(&versions, pipeline, &clean);
        let provenance = Provenance { run, raw_version: version, present, read_at, changed_at };
        let forecast = self.forecast_from(pipeline, &clean, provenance).await?;
        if let Some(last) = clean.rows().last() {
            store.export_forecasts(pipeline, Some(last.time + pipeline.interval), run).await?;
        }
        let (run, refused) = (Some(run.to_owned()), None);
        Ok(Advance { run, gained, judged, forecast, refused })
    }

    /// Makes and serves the champion's forecast from the last clean row.
    async fn forecast_from(
        &self,
        pipeline: &Pipeline,
        clean: &Frame,
        provenance: Provenance<'_>,
    ) -> Result<Option<String>, PlatformError> {
        let Some(record) = self.store.registry.aliased(&pipeline.name, CHAMPION).await? else {
            return Ok(None);
        };
        let made = self.forecast_of(pipeline, &record, clean, provenance).await?;
        Ok(Some(self.serve(made).await?))
    }

    /// The forecast of a version as the champion, not served yet.
    async fn forecast_of(
        &self,
        pipeline: &Pipeline,
        record: &ModelVersion,
        clean: &Frame,
        provenance: Provenance<'_>,
    ) -> Result<Made, PlatformError> {
        let store = &self.store;
        let version = store.served_version(pipeline, record, CHAMPION).await?;
        let calibration = store.calibration(record, provenance.present).await?;
        store.forecast(pipeline, &version, calibration, clean, provenance).await
    }

    /// Keeps and serves a forecast, and tells who listens of a new one.
    pub(crate) async fn serve(&self, made: Made) -> Result<String, PlatformError> {
        if let Some(record) = &made.record {
            self.store.registry.insert_forecast(record).await?;
            let read = view(&made.forecast, self.store.clock.now());
            self.tell(Told::Forecast(Box::new(read)));
        }
        let id = made.forecast.id.clone();
        self.board.put(made.forecast);
        Ok(id)
    }

    /// The forecast that a version would make as the champion, from the rows of the latest
    /// run of its pipeline; none when that never ran.
    pub(crate) async fn forecast_as_champion(
        &self,
        record: &ModelVersion,
    ) -> Result<Option<Made>, PlatformError> {
        let pipelines = self.pipelines().await?;
        let Some((run, pipeline)) = pipelines.iter().find(|(r, _)| r.pipeline == record.name)
        else {
            return Ok(None);
        };
        let read_at = self.store.clock.stamp();
        let known = KnownAt::instant(read_at);
        let Some(versions) = self.store.versions(pipeline, AsOf::Latest, known).await? else {
            return Ok(None);
        };
        let (version, raw) = (versions.version, versions.latest(pipeline)?);
        let present = gate::present(pipeline, &raw, read_at);
        let outcome = gate::gate(pipeline, &raw, present)?;
        let (clean, _) = gate::admit(outcome, &raw, "the stored rows", None)?;
        let (run, changed_at) = (&run.id, changed_behind(&versions, pipeline, &clean));
        let provenance = Provenance { run, raw_version: version, present, read_at, changed_at };
        Ok(Some(self.forecast_of(pipeline, record, &clean, provenance).await?))
    }
}

/// When rows behind the last clean one came or went after it.
fn changed_behind(versions: &Versions, pipeline: &Pipeline, clean: &Frame) -> Option<Timestamp> {
    versions.changed_behind(pipeline, clean.rows().last()?.time + pipeline.interval)
}
