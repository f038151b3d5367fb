//! What the river committed, brought to where it is asked for: registry, board, clients.

use std::sync::Arc;
use std::time::Duration;

use foretell_forecaster::view;
use foretell_registry::{Calibration, Outcome, RegistryError, Written};
use foretell_stream::{Commit, Log, LogError, Member, Polled, Stored, TopicName, Topics};
use tokio::sync::watch;

use super::record::{LiveForecast, LiveOutcome, LiveRecord, decode};
use crate::error::PlatformError;
use crate::forecasting::StoredForecast;
use crate::service::Service;
use crate::telling::Told;

/// The consumer group of the registry: what it has read stands there.
const GROUP: &str = "sink-registry";
/// About how many bytes it reads at once.
const POLL_BYTES: usize = 1 << 20;
/// How long it waits for something to come before it looks whether to stop.
const WAIT: Duration = Duration::from_secs(1);
/// How often in a row the same records are tried again before it gives up, and the pause
/// before each.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// What a sink did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sunk {
    /// Forecasts that the registry did not have.
    pub forecasts: u64,
    /// Outcomes that it did not have.
    pub outcomes: u64,
    /// Records that were there already: read again after a process had died.
    pub again: u64,
    /// Records that the registry will never take, each with an error in the log.
    pub refused: u64,
}

/// Reads the topic `forecast` as a consumer group of its own and writes what it finds into
/// the registry, onto the board and to whoever listens, in the order of the topic.
///
/// A record may be read twice, when a process dies between writing and moving on: the
/// registry takes it once, and clients are told once. Nothing waits for the sink, and what
/// comes while it is away it reads later.
#[derive(Debug)]
pub struct ForecastSink {
    service: Arc<Service>,
    log: Arc<dyn Log>,
    topic: TopicName,
    sunk: Sunk,
}

impl ForecastSink {
    /// A sink that has not begun.
    pub fn new(service: Arc<Service>, log: Arc<dyn Log>, topics: &Topics) -> Self {
        Self { service, log, topic: topics.forecast.clone(), sunk: Sunk::default() }
    }

    /// What it has done so far.
    pub fn sunk(&self) -> Sunk {
        self.sunk
    }

    /// Works until `stop` is true, or nobody can make it so any more.
    ///
    /// # Errors
    /// When the log or the registry fails for good; what was not moved past is read again.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), PlatformError> {
        self.work(Some(&mut stop)).await
    }

    /// Works until nothing is left to read.
    ///
    /// # Errors
    /// As [`ForecastSink::run()`].
    pub async fn drain(&mut self) -> Result<(), PlatformError> {
        self.work(None).await
    }

    async fn work(
        &mut self,
        mut stop: Option<&mut watch::Receiver<bool>>,
    ) -> Result<(), PlatformError> {
        let mut member = self.log.join(GROUP, &self.topic).await?;
        let worked = loop {
            match self.step(&mut *member, stop.as_deref_mut()).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let left = member.leave().await;
        worked?;
        Ok(left?)
    }

    /// One poll and what follows on it. Whether there is more to do.
    async fn step(
        &mut self,
        member: &mut dyn Member,
        stop: Option<&mut watch::Receiver<bool>>,
    ) -> Result<bool, PlatformError> {
        let polled = match stop {
            None => member.poll(POLL_BYTES, Duration::ZERO).await,
            Some(stop) => {
                if *stop.borrow_and_update() {
                    return Ok(false);
                }
                tokio::select! {
                    polled = member.poll(POLL_BYTES, WAIT) => match polled {
                        Ok(Polled::Idle) => return Ok(true),
                        other => other,
                    },
                    changed = stop.changed() => return Ok(changed.is_ok()),
                }
            }
        };
        match polled {
            Ok(Polled::Records(partition, records)) => {
                for stored in &records {
                    self.keep(stored).await?;
                }
                let next = records.last().map_or(0, |r| r.offset + 1);
                let commit = Commit { next, ..Commit::default() };
                match member.commit(partition, commit).await {
                    // Somebody has them now, and reads again what was not moved past.
                    Err(error @ LogError::Rebalanced { .. }) => {
                        tracing::warn!(%error, "forecasts are read again");
                    }
                    other => other?,
                }
            }
            Ok(Polled::Idle) => return Ok(false),
            Ok(Polled::Assigned(_) | Polled::Revoked(_)) => {}
            Err(error @ LogError::Rebalanced { .. }) => {
                tracing::warn!(%error, "forecasts are read again");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Keeps a record. One that the registry will never take is told and passed over: others
    /// have been waiting behind it.
    async fn keep(&mut self, stored: &Stored) -> Result<(), PlatformError> {
        let record = match decode(&stored.record.value) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(refusal) => {
                self.sunk.refused += 1;
                let (offset, topic) = (stored.offset, &*self.topic);
                tracing::error!(topic, offset, %refusal, "a record is no forecast");
                return Ok(());
            }
        };
        let mut tries = 0;
        loop {
            let error = match self.write(&record).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let (offset, topic) = (stored.offset, &*self.topic);
            if is_final(&error) {
                self.sunk.refused += 1;
                let error = error.to_string();
                tracing::error!(topic, offset, error, "a record does not go into the registry");
                return Ok(());
            }
            tries += 1;
            if tries >= TRIES {
                return Err(error.into());
            }
            tracing::warn!(topic, offset, error = error.to_string(), "the registry is asked again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(&mut self, record: &LiveRecord) -> Result<(), RegistryError> {
        match record {
            LiveRecord::Forecast(made) => self.forecast(made).await,
            LiveRecord::Outcome(came) => self.outcome(came).await,
            LiveRecord::Unresolved(of) => {
                // The registry holds outcomes; that there is none it says by having none.
                self.service.tell(Told::Unresolved(of.clone()));
                Ok(())
            }
        }
    }

    async fn forecast(&mut self, made: &LiveForecast) -> Result<(), RegistryError> {
        let registry = &self.service.store.registry;
        let forecast = &made.forecast;
        // Whoever finds the forecast finds the calibration that it was made with.
        if let Some(as_of) = made.calibration.as_of {
            let calibration = Calibration {
                model: forecast.model.name.clone(),
                version: forecast.model.version,
                as_of,
                state_json: serde_json::to_string(&made.calibration.state).unwrap_or_default(),
            };
            match registry.insert_calibration(&calibration).await {
                // The forecast holds its own copy and proves itself without.
                Err(error) if is_final(&error) => {
                    self.sunk.refused += 1;
                    let (error, model) = (error.to_string(), &forecast.model.name);
                    tracing::error!(model, error, "a calibration does not go into the registry");
                }
                other => drop(other?),
            }
        }
        let written = registry.insert_forecast(&StoredForecast::live(made).record()).await?;
        self.service.board.put(forecast.clone());
        if self.is_new(written) {
            self.sunk.forecasts += 1;
            let read = view(forecast, self.service.store.clock.now());
            self.service.tell(Told::Forecast(Box::new(read)));
        }
        Ok(())
    }

    async fn outcome(&mut self, came: &LiveOutcome) -> Result<(), RegistryError> {
        let outcome = Outcome {
            forecast_id: came.forecast_id.clone(),
            value: came.price,
            known_at: came.known_at,
        };
        let written = self.service.store.registry.insert_outcome(&outcome).await?;
        if self.is_new(written) {
            self.sunk.outcomes += 1;
            self.service.tell(Told::Outcome(Box::new(came.clone())));
        }
        Ok(())
    }

    fn is_new(&mut self, written: Written) -> bool {
        let new = matches!(written, Written::New);
        self.sunk.again += u64::from(!new);
        new
    }
}

/// Whether trying again changes nothing.
fn is_final(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Conflict { .. }
            | RegistryError::MissingReference { .. }
            | RegistryError::Invalid { .. }
            | RegistryError::NotFound { .. }
    )
}
