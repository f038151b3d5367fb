//! The watch: every live pipeline is looked at when its next row should be there.
//!
//! Nothing is repeated without a pause: a vendor that is late is asked again after a
//! rest, a failure makes the next try wait longer, and a refit is tried once an interval
//! at most, and only when rows came since the last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foretell_market::{Interval, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::error::PlatformError;
use crate::forecasting::CHAMPION;
use crate::observer::{Event, Observer};
use crate::pipeline::{Pipeline, Present};
use crate::service::{RunOptions, Service};

/// How long after a row's close vendors are given to publish it.
const SETTLE: Duration = Duration::from_secs(5);
/// How long to rest when a vendor is late, and after a first failure.
const REST: Duration = Duration::from_secs(60);
/// How long to rest after many failures.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// What is remembered of a pipeline between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    not_before: Timestamp,
    failures: u32,
    refit_tried: Option<Timestamp>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { not_before: Timestamp::MIN, failures: 0, refit_tried: None }
    }
}

impl Patience {
    /// How long is still to wait.
    fn rest(&self, now: Timestamp) -> Duration {
        Duration::from_micros(self.not_before.micros().saturating_sub(now.micros()).max(0) as u64)
    }

    fn wait(&mut self, now: Timestamp, rest: Duration) {
        let micros = i64::try_from(rest.as_micros()).unwrap_or(i64::MAX);
        self.not_before = Timestamp::from_micros(now.micros().saturating_add(micros));
    }

    fn succeeded(&mut self, now: Timestamp, rest: Duration) {
        self.failures = 0;
        self.wait(now, rest);
    }

    /// Doubles the rest with every failure in a row, up to the interval or an hour.
    fn failed(&mut self, now: Timestamp, interval: Interval) {
        let interval = Duration::from_secs(interval.secs().unsigned_abs());
        let most = interval.clamp(REST, LONGEST_REST);
        let rest = REST * 2u32.pow(self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.wait(now, rest.min(most));
    }

    /// Whether an interval has passed since the last try of a refit.
    fn may_refit(&self, now: Timestamp, interval: Interval) -> bool {
        self.refit_tried.is_none_or(|tried| tried + interval <= now)
    }
}

impl Service {
    /// Advances every live pipeline after each of its intervals and refits it at its
    /// cadence, until cancelled.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut patience: BTreeMap<String, Patience> = BTreeMap::new();
        loop {
            let pipelines = match self.pipelines().await {
                Ok(pipelines) => pipelines,
                Err(error) => {
                    tracing::error!(error = error.chain(), "failed to list pipelines");
                    Vec::new()
                }
            };
            let live = pipelines.into_iter().map(|(_, p)| p).filter(|p| p.as_of == Present::Now);
            let mut rest = REST;
            for pipeline in live {
                if shutdown.is_cancelled() {
                    return;
                }
                let patience = patience.entry(pipeline.name.clone()).or_default();
                match self.look(&pipeline, patience).await {
                    Ok(again) => rest = rest.min(again),
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

    /// Looks at one pipeline: does what is due, and answers how long it may rest.
    pub(crate) async fn look(
        &self,
        pipeline: &Pipeline,
        patience: &mut Patience,
    ) -> Result<Duration, PlatformError> {
        let (clock, interval) = (&self.store.clock, pipeline.interval);
        let now = clock.now();
        let due = self.due_in(pipeline).await.max(patience.rest(now));
        if !due.is_zero() {
            return Ok(due);
        }
        let outcome = match patience.may_refit(now, interval) && self.refit_is_due(pipeline).await?
        {
            true => {
                patience.refit_tried = Some(now);
                self.refit(pipeline).await
            }
            false => {
                let advance = self.advance(pipeline, Arc::new(Quiet), &self.stopping()).await;
                advance.map(|a| a.gained > 0)
            }
        };
        let gained = outcome.inspect_err(|_| patience.failed(clock.now(), interval))?;
        // Without a row the vendor is late: it is asked again after a rest, not at once.
        let rest = match gained {
            true => self.due_in(pipeline).await.max(SETTLE),
            false => REST,
        };
        patience.succeeded(clock.now(), rest.min(REST));
        Ok(rest)
    }

    /// Whether the champion will be older than its refit cadence at the next decision, and
    /// rows came since the last run: fitting the same rows again makes nothing younger.
    async fn refit_is_due(&self, pipeline: &Pipeline) -> Result<bool, PlatformError> {
        let store = &self.store;
        let Some(champion) = store.registry.aliased(&pipeline.name, CHAMPION).await? else {
            return Ok(true);
        };
        let every = pipeline.evaluation.walk_forward.refit_every;
        if champion.fitted_as_of + every > store.clock.now() + pipeline.interval {
            return Ok(false);
        }
        let judged = self.judged(pipeline, Some("run")).await?;
        store.unjudged(pipeline, judged.as_ref()).await
    }

    /// Refits a pipeline; answers whether a row was gained.
    async fn refit(&self, pipeline: &Pipeline) -> Result<bool, PlatformError> {
        tracing::info!(pipeline = pipeline.name, "refitting at the cadence");
        let before = self.last_row(pipeline).await?;
        let (options, stop) = (RunOptions::default(), self.stopping());
        self.run(pipeline.clone(), options, Arc::new(Quiet), stop).await?;
        Ok(self.last_row(pipeline).await? > before)
    }

    /// The time of the last clean row.
    async fn last_row(&self, pipeline: &Pipeline) -> Result<Option<Timestamp>, PlatformError> {
        let clean = self.store.clean(pipeline).await?;
        Ok(clean.and_then(|frame| frame.rows().last().map(|r| r.time)))
    }

    /// How long until the next row of a pipeline should be there.
    async fn due_in(&self, pipeline: &Pipeline) -> Duration {
        let Some(last) = self.last_row(pipeline).await.ok().flatten() else {
            return Duration::ZERO;
        };
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
pub(crate) struct Quiet;

impl Observer for Quiet {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            tracing::warn!(message, "while advancing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_rest_doubles_with_every_failure_up_to_the_interval() {
        let mut patience = Patience::default();
        let mut rests = Vec::new();
        for _ in 0..9 {
            patience.failed(at(1_000), Interval::HOUR);
            rests.push(patience.rest(at(1_000)).as_secs());
        }
        assert_eq!(rests, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
        assert_eq!(patience.rest(at(1_600)).as_secs(), 3_000);
        assert_eq!(patience.rest(at(5_000)), Duration::ZERO);
        patience.succeeded(at(5_000), REST);
        patience.failed(at(6_000), Interval::HOUR);
        assert_eq!(patience.rest(at(6_000)).as_secs(), 60, "a success begins anew");
    }

    #[test]
    fn a_refit_is_tried_once_an_interval() {
        let mut patience = Patience::default();
        assert!(patience.may_refit(at(0), Interval::HOUR));
        patience.refit_tried = Some(at(0));
        assert!(!patience.may_refit(at(3_599), Interval::HOUR));
        assert!(patience.may_refit(at(3_600), Interval::HOUR));
    }
}
