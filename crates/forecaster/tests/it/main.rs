//! The forecaster as its callers use it, one file per promise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod abstaining;
mod contest;
mod identity;
mod passport;
mod refusing;
mod river;
mod sample;
