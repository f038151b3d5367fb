//! The forecaster as its callers use it, one file per promise.

mod abstaining;
mod contest;
mod identity;
mod passport;
mod refusing;
mod river;
mod sample;
