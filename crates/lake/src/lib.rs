//! Versioned tables and artifacts on a directory or an object store.
//!
//! A [`Lake`] is one directory (or one prefix of a bucket). It holds five layers of
//! tables and a store of content-addressed artifacts. Tables are in the Delta Lake
//! format: every commit is atomic, every version stays readable until a vacuum that
//! was told which versions are still needed, and other tools read them.
//!
//! Three rules shape the crate. Time is the caller's: a version is found by the time
//! written in its commit, never by the time of a file. Identity is logical: a
//! fingerprint covers rows, not files, so that compaction changes nothing. Paths are
//! relative: a lake can be moved or copied.
//!
//! This crate knows tables of rows in time; it does not know what the rows mean,
//! reads no clock and starts no thread pool of its own beside a multi-threaded
//! runtime. `kernel` is the only module that speaks to `delta_kernel`.

mod artifact;
mod error;
mod file;
mod history;
mod kernel;
mod lake;
mod log;
mod maintain;
mod name;
mod plan;
mod raw;
mod rows;
mod schema;
mod table;
mod write;

pub use error::LakeError;
pub use history::{AsOf, Version, VersionInfo};
pub use lake::{Lake, Layer};
pub use maintain::{Compaction, VacuumReport};
pub use raw::{
    RawBatchError, RawComparison, raw_from_record_batch, raw_row_metas, raw_schema, raw_take,
    raw_to_record_batch,
};
pub use rows::{as_known_at, rows_fingerprint};
pub use table::Table;
pub use write::CommitInfo;
