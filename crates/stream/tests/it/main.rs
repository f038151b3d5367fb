//! The river as its users run it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod codecs;
mod kill;
mod log_suite;
mod market;
mod parity;
mod river;
