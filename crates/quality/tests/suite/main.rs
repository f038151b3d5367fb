//! The gate, the replay, the profile and its page, from the outside.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod gate;
mod laws;
mod page;
mod profile;
mod replay;
mod support;
