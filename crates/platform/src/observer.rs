//! What a long use case tells while it works: plain events, shown by the caller.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::PlatformError;

/// The stations of the river, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Station {
    /// Rows from a vendor or a file.
    Extract,
    /// Checks.
    Gate,
    /// Feature columns.
    Features,
    /// Rows to learn from.
    Dataset,
    /// Fitting and walk-forward evaluation.
    Train,
    /// Which version serves.
    Promote,
    /// The forecast.
    Forecast,
    /// The page.
    Report,
}

impl Station {
    /// The name as printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Gate => "gate",
            Self::Features => "features",
            Self::Dataset => "dataset",
            Self::Train => "train",
            Self::Promote => "promote",
            Self::Forecast => "forecast",
            Self::Report => "report",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A station began.
    Started {
        /// Which.
        station: Station,
    },
    /// A station goes on.
    Progress {
        /// Which.
        station: Station,
        /// What is being done, such as "gradient boosting fold 17/24".
        doing: String,
        /// Units done.
        done: u64,
        /// Units in all, where known.
        total: Option<u64>,
    },
    /// A station ended well.
    Done {
        /// Which.
        station: Station,
        /// The line for people.
        summary: String,
        /// How long it took, seconds.
        seconds: f64,
    },
    /// Something that people should know and that stops nothing.
    Warning {
        /// The words.
        message: String,
    },
}

/// Receives events; called from any thread.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

impl Observer for () {
    fn event(&self, _: Event) {}
}

/// A flag that asks long work to stop at the next safe point.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Asks for the stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the stop was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for crates below.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Waits for work, or gives it up when the stop is asked for.
    ///
    /// # Errors
    /// [`PlatformError::Interrupted`] after a stop, or what the work failed with.
    pub async fn or_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, PlatformError>>,
    ) -> Result<T, PlatformError> {
        // Work that is always done at once would otherwise never hear of the stop.
        self.check()?;
        let mut work = std::pin::pin!(work);
        loop {
            let tick = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                done = &mut work => return done,
                () = tick => self.check()?,
            }
        }
    }

    /// Refuses to go on after a stop.
    ///
    /// # Errors
    /// [`PlatformError::Interrupted`] when the stop was asked for.
    pub fn check(&self) -> Result<(), PlatformError> {
        if self.is_stopped() { Err(PlatformError::Interrupted) } else { Ok(()) }
    }
}
