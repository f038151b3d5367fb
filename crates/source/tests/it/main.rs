//! Tests of the sources against recorded data and a local server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod exchange;
mod files;
mod live;
mod vendors;
mod wire;
