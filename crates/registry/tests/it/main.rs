//! The registry as its callers use it, one file per promise.

mod append_only;
mod concurrent;
mod forecasts;
mod golden;
mod ledger;
mod models;
mod opening;
mod runs;
mod sample;
