//! Live use: new rows come in, outcomes are judged, the next forecast is made.
//!
//! A forecast is made when the lake gains a row, never by a read.

use std::sync::Arc;
use std::time::Duration;

use foretell_lake::{AsOf, Layer};
use foretell_market::Timestamp;
use foretell_panel::{Frame, KnownAt, RawTable};
use foretell_registry::Param;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::PlatformError;
use crate::forecasting::{CHAMPION, Provenance};
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::{Pipeline, Present};
use crate::service::{RunOptions, Service};
use crate::{extract, gate, wording};

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
}

impl Advance {
    /// The line for people.
    pub fn summary(&self) -> String {
        let gained = wording::thousands(self.gained as u64);
        match &self.forecast {
            Some(id) => format!("{gained} new rows · {} outcomes judged · {id}", self.judged),
            None => "no new row: nothing to forecast from".to_owned(),
        }
    }
}

/// How long after a row's close vendors are given to publish it.
const SETTLE: Duration = Duration::from_secs(5);
/// How long to rest after a failure.
const REST: Duration = Duration::from_secs(60);

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
        let clean = store.clean(pipeline).await?;
        let last = clean.as_ref().and_then(|f| f.rows().last()).map(|r| r.time);
        observer.event(Event::Started { station: Station::Extract });
        // The last known row comes again: a vendor may have corrected it.
        let fetch = extract::extract(pipeline, None, last, &*store.clock, &store.http, &*observer);
        let rows = stop.or_stopped(fetch).await?;
        let changed = store.changes(pipeline, &rows).await?;
        let made = last.is_none_or(|t| self.board.is_made(pipeline, t + pipeline.interval));
        // Rows that a refused or killed advance left in the raw table are new as well.
        let known = KnownAt::instant(store.clock.now());
        let latest = store.versions(pipeline, AsOf::Latest, known).await?;
        let judged = match (&latest, self.judged_version(pipeline).await?) {
            // Of the same rows some may have been declared to be known only since then.
            (Some(latest), Some((version, read_at))) => {
                let gained = |at| latest.gained(at, known.known_by);
                latest.version == version && !read_at.is_some_and(gained)
            }
            (latest, judged) => latest.is_none() && judged.is_none(),
        };
        if rows.is_empty() || (changed == 0 && made && judged) {
            return Ok(Advance { run: None, gained: 0, judged: 0, forecast: None });
        }
        let record = self.begin(pipeline, "advance").await?;
        let outcome = self.advance_run(&record.id, pipeline, &rows, last).await;
        self.end(&record.id, outcome.as_ref().err()).await?;
        outcome
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
        store.tidy_up(Layer::Raw, &pipeline.name, version).await?;
        let read_at = store.clock.now();
        let known = KnownAt::instant(read_at);
        let Some(versions) = store.versions(pipeline, AsOf::Version(version), known).await? else {
            return Err(PlatformError::Mismatch("the raw rows just written are gone".to_owned()));
        };
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
        let provenance = Provenance { run, raw_version: version, present, read_at };
        let forecast = self.forecast_from(pipeline, &clean, provenance).await?;
        store.export_forecasts(pipeline, run).await?;
        let param = |name: &str, value: String| Param { name: name.to_owned(), value };
        let judged_from =
            [param("raw_version", version.to_string()), param("read_at", read_at.to_string())];
        store.registry.put_params(run, &judged_from).await?;
        Ok(Advance { run: Some(run.to_owned()), gained, judged, forecast })
    }

    /// Makes and serves the champion's forecast from the last clean row.
    async fn forecast_from(
        &self,
        pipeline: &Pipeline,
        clean: &Frame,
        provenance: Provenance<'_>,
    ) -> Result<Option<String>, PlatformError> {
        let store = &self.store;
        let Some(record) = store.registry.aliased(&pipeline.name, CHAMPION).await? else {
            return Ok(None);
        };
        let version = store.served_version(pipeline, &record, CHAMPION).await?;
        let calibration = store.calibration(&record, provenance.present).await?;
        let made = store.forecast(pipeline, &version, calibration, clean, provenance).await?;
        if let Some(record) = &made.record {
            store.registry.insert_forecast(record).await?;
        }
        let id = made.forecast.id.clone();
        self.board.put(made.forecast);
        Ok(Some(id))
    }

    /// Forecasts again from the rows of the latest run of a pipeline, after its
    /// champion was changed by hand.
    pub(crate) async fn forecast_again(&self, name: &str) -> Result<(), PlatformError> {
        let pipelines = self.pipelines().await?;
        let Some((run, pipeline)) = pipelines.iter().find(|(r, _)| r.pipeline == name) else {
            return Ok(());
        };
        let read_at = self.store.clock.now();
        let known = KnownAt::instant(read_at);
        let Some(versions) = self.store.versions(pipeline, AsOf::Latest, known).await? else {
            return Ok(());
        };
        let (version, raw) = (versions.version, versions.latest(pipeline)?);
        let present = gate::present(pipeline, &raw, read_at);
        let outcome = gate::gate(pipeline, &raw, present)?;
        let (clean, _) = gate::admit(outcome, &raw, "the stored rows", None)?;
        let provenance = Provenance { run: &run.id, raw_version: version, present, read_at };
        self.forecast_from(pipeline, &clean, provenance).await?;
        Ok(())
    }

    /// Advances every live pipeline after each of its intervals and refits it at its
    /// cadence, until cancelled.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let pipelines = match self.pipelines().await {
                Ok(pipelines) => pipelines,
                Err(error) => {
                    tracing::error!(error = error.chain(), "failed to list pipelines");
                    Vec::new()
                }
            };
            let live: Vec<Pipeline> =
                pipelines.into_iter().map(|(_, p)| p).filter(|p| p.as_of == Present::Now).collect();
            let mut rest = REST;
            for pipeline in &live {
                if shutdown.is_cancelled() {
                    return;
                }
                let due = self.due_in(pipeline).await;
                if !due.is_zero() {
                    rest = rest.min(due);
                    continue;
                }
                let outcome = match self.refit_is_due(pipeline).await {
                    true => self.refit(pipeline).await,
                    false => {
                        let stop = self.stopping();
                        let advance = self.advance(pipeline, Arc::new(Quiet), &stop).await;
                        advance.map(|a| a.gained > 0)
                    }
                };
                match outcome {
                    Ok(true) => rest = rest.min(self.due_in(pipeline).await.max(SETTLE)),
                    // The vendor is late: ask again after a rest, not at once.
                    Ok(false) => {}
                    Err(PlatformError::Interrupted) => return,
                    Err(error) => {
                        let name = &pipeline.name;
                        tracing::error!(
                            pipeline = name,
                            error = error.chain(),
                            "failed to advance"
                        );
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Whether the champion will be older than its refit cadence at the next decision.
    async fn refit_is_due(&self, pipeline: &Pipeline) -> bool {
        let champion = self.store.registry.aliased(&pipeline.name, CHAMPION).await.ok().flatten();
        let every = pipeline.evaluation.walk_forward.refit_every;
        champion
            .is_none_or(|v| v.fitted_as_of + every <= self.store.clock.now() + pipeline.interval)
    }

    async fn refit(&self, pipeline: &Pipeline) -> Result<bool, PlatformError> {
        tracing::info!(pipeline = pipeline.name, "refitting at the cadence");
        let (options, stop) = (RunOptions::default(), self.stopping());
        self.run(pipeline.clone(), options, Arc::new(Quiet), stop).await.map(|_| true)
    }

    /// How long until the next row of a pipeline should be there.
    async fn due_in(&self, pipeline: &Pipeline) -> Duration {
        let clean = self.store.clean(pipeline).await.ok().flatten();
        let last = clean.as_ref().and_then(|f| f.rows().last()).map(|r| r.time);
        let Some(last) = last else { return Duration::ZERO };
        let lag = pipeline.source.lag_secs;
        let due = (last + pipeline.interval + pipeline.interval).plus_secs(lag);
        let micros = due.micros() - self.store.clock.now().micros();
        match u64::try_from(micros) {
            Ok(micros) => Duration::from_micros(micros) + SETTLE,
            Err(_) => Duration::ZERO,
        }
    }
}

/// Logs what a person would see.
struct Quiet;

impl Observer for Quiet {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            tracing::warn!(message, "while advancing");
        }
    }
}
