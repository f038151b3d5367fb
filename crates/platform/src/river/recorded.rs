//! A recorded period once more: computed again in batch, or played as a job. By the process
//! that runs the river, for others too, or by one that has the data directory to itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foretell_market::Timestamp;
use foretell_stream::Log;
use tokio::sync::OwnedMutexGuard;

use super::parity::{ParityReport, parity};
use super::plan::RiverPlan;
use super::replay::{ReplayOptions, ReplayReport, replay};
use crate::clock::SystemClock;
use crate::error::PlatformError;
use crate::live_forecasts::LiveChampion;
use crate::observer::{Event, Observer, Station, Stop};
use crate::service::Service;

/// A recorded river at hand.
#[derive(Debug)]
pub struct Recorded {
    log: Arc<dyn Log>,
    plan: RiverPlan,
    /// Who has the champions; nothing is forecast without.
    service: Option<Arc<Service>>,
    /// There is room for one in a process.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Service {
    /// What the river of this process has recorded, of some of its pipelines, or of all where
    /// none is named. `log` is the address of the log that is meant, where that matters.
    ///
    /// # Errors
    /// When no river runs here, it has no such pipeline or another log, or somebody is at
    /// this already.
    pub fn recorded(
        self: &Arc<Self>,
        pipelines: &[String],
        log: Option<&str>,
    ) -> Result<Recorded, PlatformError> {
        let Some(river) = self.running_river() else {
            let hint = "start one with `foretell up`; or stop this process, and `foretell parity` \
                        and `foretell replay` read the log by themselves";
            return Err(PlatformError::not_found("live river in this process", hint));
        };
        if let Some(other) = log.filter(|log| *log != river.address) {
            return Err(PlatformError::Usage {
                message: format!("the river of this process has its log at {}", river.address),
                hint: format!("leave --log away, or stop it and name {other} again"),
            });
        }
        let plan = RiverPlan::clone(&river.plan).only(pipelines)?;
        let turn = Arc::clone(&self.recorded).try_lock_owned().map_err(|_| {
            let text = "another parity or replay is going on: ask again when it has ended";
            PlatformError::Busy(text.to_owned())
        })?;
        let service = Some(Arc::clone(self));
        Ok(Recorded { log: river.log, plan, service, _turn: Some(turn) })
    }
}

impl Recorded {
    /// What a log that this process has open holds of a plan.
    pub fn on(log: Arc<dyn Log>, plan: RiverPlan) -> Self {
        Self { log, plan, service: None, _turn: None }
    }

    /// The same, with the champions of a data directory.
    #[must_use]
    pub fn with(mut self, service: Arc<Service>) -> Self {
        self.service = Some(service);
        self
    }

    /// Makes every candle and every row of `[from, to)` of event time again and compares.
    ///
    /// # Errors
    /// When the log cannot be read, or the user stopped it.
    pub async fn parity(
        self,
        period: (Timestamp, Timestamp),
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<ParityReport, PlatformError> {
        aside(async move {
            // All of it: its turn lasts as long as the work, whoever still waits for that.
            let whole = self;
            let progress = told(observer, "parity");
            parity(&*whole.log, &whole.plan, period, &progress, &stop).await
        })
        .await
    }

    /// Plays a period again, with its forecasts: those of the champion of now, or of the
    /// version that is named, with the calibration that it had when the period began. They
    /// are written to a topic of the job alone.
    ///
    /// # Errors
    /// When the version is not there, the log fails, or the user stopped it.
    pub async fn replay(
        self,
        options: ReplayOptions,
        version: Option<u32>,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<ReplayReport, PlatformError> {
        let champions = self.champions(version, options.from).await?;
        aside(async move {
            let whole = self;
            let (log, progress) = (Arc::clone(&whole.log), told(observer, "replay"));
            let clock = Arc::new(SystemClock);
            replay(log, &whole.plan, &champions, &options, clock, &progress, &stop).await
        })
        .await
    }

    /// Who forecasts in a replay, by pipeline.
    async fn champions(
        &self,
        version: Option<u32>,
        at: Timestamp,
    ) -> Result<BTreeMap<String, LiveChampion>, PlatformError> {
        let mut champions = BTreeMap::new();
        let Some(service) = &self.service else { return Ok(champions) };
        for name in self.plan.pipelines().iter().map(|pipeline| &pipeline.name) {
            let champion = match version {
                Some(version) => Some(service.live_version(name, version, at).await?),
                None => match service.live_champion(name, at).await {
                    // Candles and rows can be played without a model.
                    Err(PlatformError::NotFound { .. }) => None,
                    found => found?,
                },
            };
            champions.extend(champion.map(|champion| (name.clone(), champion)));
        }
        Ok(champions)
    }
}

/// Works on a thread of its own: hours of arithmetic would hold up who else works in this
/// process.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, PlatformError>> + Send + 'static,
) -> Result<T, PlatformError> {
    let runtime = tokio::runtime::Handle::current();
    let worked = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    worked.map_err(|panicked| PlatformError::Remote(format!("the work ended: {panicked}")))?
}

/// Hands each new per cent on.
fn told(observer: Arc<dyn Observer>, doing: &'static str) -> impl Fn(u64) + Send + Sync {
    let last = AtomicU64::new(u64::MAX);
    move |share| {
        if last.swap(share, Ordering::Relaxed) != share {
            observer.event(Event::Progress {
                station: Station::Extract,
                doing: doing.to_owned(),
                done: share,
                total: Some(100),
            });
        }
    }
}
