//! Asking the process that runs a river for a period that it has recorded.

use foretell_market::Timestamp;
use serde_json::{Value, json};

use super::parity::ParityReport;
use super::plan::RiverPlan;
use super::replay::{ReplayOptions, ReplayReport};
use crate::error::PlatformError;
use crate::observer::{Observer, Stop};
use crate::remote::Remote;

impl Remote {
    /// Has the other process make a period again and compare; the pipelines are those that it
    /// runs under these names.
    ///
    /// # Errors
    /// When no such river runs there, somebody is at this already, or the process went away.
    pub async fn parity(
        &self,
        plan: &RiverPlan,
        log: &str,
        (from, to): (Timestamp, Timestamp),
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<ParityReport, PlatformError> {
        let body = json!({ "pipelines": names(plan), "log": log, "from": from, "to": to });
        self.work("/api/v1/river/parity", "parity", &body, observer, stop).await
    }

    /// Has the other process play a period again.
    ///
    /// # Errors
    /// As [`Remote::parity()`].
    pub async fn replay(
        &self,
        plan: &RiverPlan,
        log: &str,
        options: &ReplayOptions,
        version: Option<u32>,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<ReplayReport, PlatformError> {
        let ReplayOptions { from, to, speed, job, keep } = options;
        let body = json!({
            "pipelines": names(plan), "log": log, "from": from, "to": to, "speed": speed,
            "job": job, "keep": keep, "version": version,
        });
        self.work("/api/v1/river/replay", "replay", &body, observer, stop).await
    }
}

fn names(plan: &RiverPlan) -> Value {
    plan.pipelines().iter().map(|pipeline| pipeline.name.as_str()).collect()
}
