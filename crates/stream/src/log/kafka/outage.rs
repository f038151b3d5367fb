//! A cluster that does not answer for a while.

use std::time::Duration;

use krafka::error::{ErrorCode, KrafkaError};
use tokio::time::Instant;

use crate::log::LogError;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// An error this long after the one before begins an outage of its own.
const APART: Duration = Duration::from_secs(60);

/// What is known of the time since the cluster answered last.
#[derive(Debug)]
pub(super) struct Outage {
    patience: Duration,
    began: Option<Instant>,
    told: Option<Instant>,
    last: Option<Instant>,
    pause: Duration,
}

impl Outage {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, began: None, told: None, last: None, pause: FIRST_PAUSE }
    }

    /// Waits a little after an error that passes, and warns now and then.
    ///
    /// # Errors
    /// An error that does not pass, or one that lasts longer than the patience.
    pub(super) async fn bear(&mut self, what: &str, error: &KrafkaError) -> Result<(), LogError> {
        if !passes(error) && !of_the_group(error) {
            return Err(failed(error));
        }
        if self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() > APART) {
            self.over();
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let lasted = began.elapsed();
        if lasted >= self.patience {
            let seconds = lasted.as_secs_f64();
            let text = format!("the cluster did not answer for {seconds:.1} s: {error}");
            return Err(LogError::Storage(text));
        }
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let seconds = lasted.as_secs();
            tracing::warn!(%error, "{what}: the cluster does not answer for {seconds} s; waiting");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The cluster answered.
    pub(super) fn over(&mut self) {
        if let Some(began) = self.began.take() {
            let seconds = began.elapsed().as_secs_f64();
            tracing::info!("the cluster answers again after {seconds:.1} s");
        }
        *self = Self::new(self.patience);
    }
}

/// Whether the same call may do in a while what it does not now.
pub(super) fn passes(error: &KrafkaError) -> bool {
    let late = matches!(error, KrafkaError::DeliveryTimeout { .. });
    !no_topic(error) && (error.is_retriable() || late)
}

fn code(error: &KrafkaError) -> Option<ErrorCode> {
    match error {
        KrafkaError::Broker { code, .. } => Some(*code),
        _ => None,
    }
}

/// Whether the group refused a member that gave its place to others, or has none yet.
pub(super) fn of_the_group(error: &KrafkaError) -> bool {
    let codes = [
        ErrorCode::IllegalGeneration,
        ErrorCode::UnknownMemberId,
        ErrorCode::RebalanceInProgress,
        ErrorCode::StaleMemberEpoch,
        ErrorCode::FencedMemberEpoch,
        ErrorCode::TransactionAbortable,
        ErrorCode::InvalidProducerIdMapping,
        ErrorCode::UnknownProducerId,
    ];
    error.requires_abort() || code(error).is_some_and(|code| codes.contains(&code))
}

/// Whether another process took this one's place.
pub(super) fn fenced(error: &KrafkaError) -> bool {
    let codes = [
        ErrorCode::ProducerFenced,
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::FencedInstanceId,
        ErrorCode::UnreleasedInstanceId,
    ];
    let said = matches!(error, KrafkaError::Fenced { .. });
    said || code(error).is_some_and(|code| codes.contains(&code))
}

/// Whether a topic is not there.
pub(super) fn no_topic(error: &KrafkaError) -> bool {
    matches!(error, KrafkaError::UnknownTopic { .. })
        || code(error) == Some(ErrorCode::UnknownTopicOrPartition)
}

/// Calls until the cluster answers. The inner error is its answer.
///
/// # Errors
/// When it does not answer within the patience.
pub(super) async fn patiently<T, F>(
    patience: Duration,
    what: &str,
    call: impl Fn() -> F,
) -> Result<krafka::Result<T>, LogError>
where
    F: Future<Output = krafka::Result<T>>,
{
    let mut outage = Outage::new(patience);
    loop {
        match call().await {
            Err(error) if passes(&error) => outage.bear(what, &error).await?,
            answer => return Ok(answer),
        }
    }
}

/// Waits for a call that waits for the cluster by itself, and warns now and then.
pub(super) async fn told<T>(what: &str, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    let began = Instant::now();
    loop {
        if let Ok(answer) = tokio::time::timeout(TELL_EVERY, &mut call).await {
            return answer;
        }
        let seconds = began.elapsed().as_secs();
        tracing::warn!("{what}: the cluster does not answer for {seconds} s; waiting");
    }
}

/// An error of the cluster as one of the log.
pub(super) fn failed(error: &KrafkaError) -> LogError {
    match error {
        KrafkaError::UnknownTopic { topic } => LogError::NoTopic(topic.clone()),
        other => LogError::Storage(other.to_string()),
    }
}
