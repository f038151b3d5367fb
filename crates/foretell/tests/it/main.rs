//! The binary as people use it: files in, exit codes and words out.
//!
//! Every test has its own folder and, where it serves, its own free port.

mod at_once;
mod bars;
mod bucket;
mod classical;
mod comparing;
mod device;
mod direction;
mod errors;
mod failing;
mod interop;
mod judging;
mod lifecycle;
mod live;
mod market;
mod push;
mod records;
mod replaying;
mod river;
mod search;
mod serving;
mod shown;
mod simulating;
mod stations;
mod vendor;
