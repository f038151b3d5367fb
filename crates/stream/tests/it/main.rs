//! The river as its users run it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behind;
mod cluster;
mod codecs;
mod corrections;
mod event_time;
mod foreign;
mod further;
mod kafka;
mod kill;
mod latest;
mod log_suite;
mod market;
mod naive;
mod parity;
mod replicas;
mod river;
mod secured;
mod unread;
mod unread_rows;
mod view;
