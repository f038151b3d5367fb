//! The registry as its callers use it, one file per promise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod append_only;
mod concurrent;
mod forecasts;
mod gaps;
mod golden;
mod ledger;
mod models;
mod opening;
mod runs;
mod sample;
mod searches;
