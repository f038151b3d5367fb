//! The metadata database: runs, gaps, versions, aliases, forecasts, outcomes, lock-boxes,
//! ledger, searches.
//!
//! The only crate with SQL. Everything here is a record that says what happened:
//! plain structs go in and come out, one file per aggregate. It computes nothing,
//! fetches nothing, reads no clock and holds no secret; tables of numbers live in
//! the lake and are named here by their content hash. Paths are relative to the
//! data directory, so that the directory can be moved or copied.
//!
//! One process owns the file: one connection writes, a few read (SQLite in WAL mode).

mod audit;
mod datasets;
mod error;
mod forecasts;
mod gaps;
mod ledger;
mod lockbox;
mod models;
mod rates;
mod row;
mod runs;
mod searches;
mod select;
mod store;

pub use audit::{AuditEntry, AuditEvent, AuditFilter};
pub use datasets::{DatasetFilter, DatasetRecord, Snapshot};
pub use error::RegistryError;
pub use forecasts::{ForecastFilter, ForecastRecord, JudgedForecast, Outcome};
pub use gaps::{GapChanges, GapFilter, GapFinding, GapRecord, MissingSpan, Sighting};
pub use ledger::{JudgedTogether, SpreadLosses, Trial, TrialFilter, TrialTerms};
pub use lockbox::{LockBox, LockBoxOpening};
pub use models::{Alias, AliasChange, Calibration, ModelFilter, ModelVersion};
pub use runs::{Artifact, ArtifactPlace, Metric, Param, Run, RunFilter, Status, Step};
pub use searches::{Search, SearchTrialRecord};
pub use select::Cursor;
pub use store::{Registry, SCHEMA_VERSION, Written};
