//! The gate, the replay, the profile and its page, from the outside.

mod gate;
mod laws;
mod page;
mod profile;
mod replay;
mod support;
