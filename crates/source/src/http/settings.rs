//! How we talk to vendors: patience, limits, and the waiting itself as parameters.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::budget::Budgets;

/// Settings of every HTTP source. A clone shares the budgets: one process, one budget
/// per vendor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The longest that one request may take, body included, in milliseconds. A download
    /// of an archive may take forty times as long, if no pause in it is longer than this.
    pub timeout_millis: u64,
    /// The longest that connecting may take, in milliseconds.
    pub connect_timeout_millis: u64,
    /// How often a request is tried in all.
    pub max_attempts: u32,
    /// The first wait between attempts, in milliseconds; it doubles with each.
    pub backoff_millis: u64,
    /// The first wait after a refusal for too many requests, in milliseconds: asking again
    /// at once makes a vendor's limit last longer. It doubles as well.
    pub limited_backoff_millis: u64,
    /// The longest wait between attempts, in milliseconds.
    pub max_backoff_millis: u64,
    /// The longest `Retry-After` that is waited for, in seconds; beyond it the request
    /// fails with that number in its message.
    pub max_retry_after_seconds: u64,
    /// The longest body that is read, unpacked, in bytes.
    pub max_body_bytes: u64,
    /// Seed of the jitter of waits.
    pub jitter_seed: u64,
    /// How we name ourselves.
    pub user_agent: String,
    /// Requests made so far per vendor.
    #[serde(skip)]
    pub budgets: Budgets,
    /// How waiting is done.
    #[serde(skip, default = "real_waiting")]
    pub pause: Arc<dyn Pause>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout_millis: 30_000,
            connect_timeout_millis: 10_000,
            max_attempts: 5,
            backoff_millis: 500,
            limited_backoff_millis: 10_000,
            max_backoff_millis: 60_000,
            max_retry_after_seconds: 120,
            max_body_bytes: 256 << 20,
            jitter_seed: 0,
            user_agent: concat!("foretell/", env!("CARGO_PKG_VERSION")).to_owned(),
            budgets: Budgets::default(),
            pause: real_waiting(),
        }
    }
}

/// A stopwatch and a way to wait, so that tests of back-off do not sleep.
pub trait Pause: Send + Sync + fmt::Debug {
    /// Time since some fixed instant.
    fn now(&self) -> Duration;
    /// Completes after a duration.
    fn wait(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Waits by tokio's clock.
#[derive(Debug, Clone, Copy)]
pub struct TokioPause(Instant);

impl Pause for TokioPause {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

fn real_waiting() -> Arc<dyn Pause> {
    Arc::new(TokioPause(Instant::now()))
}
