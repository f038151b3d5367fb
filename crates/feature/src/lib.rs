//! Feature definitions and kernels, labels, dataset assembly, look-ahead audit.
//!
//! A [`FeatureSet`] is a list of features with their parameters and one content hash;
//! [`compute()`] turns a frame into a frame of features, [`context()`] into the columns
//! that baselines need, [`assemble()`] joins both with labels to a dataset, and
//! [`feature_row()`] gives one decision's inputs with the same bits. Where rows were
//! corrected, [`assemble_vintage()`] and [`join_vintages()`] join each decision with the
//! features of what was known then.
//!
//! Lags and windows count intervals, not rows. A feature of a row is a function of rows
//! up to it; labels are another type. This crate does no IO, reads no clock and knows
//! no model.

mod assemble;
mod audit;
mod catalogue;
mod compute;
mod context;
mod definition;
mod error;
mod graph;
mod history;
mod kernel;
mod kinds;
mod label;
mod live;
mod params;
mod recursion;
mod returns;
mod row;
mod runs;
mod set;
mod shipped;
mod stage;
mod stepper;
mod vintage;
mod workspace;

pub use assemble::assemble;
pub use audit::{AuditReport, Garbage, Hole, Offender, audit};
pub use catalogue::catalogue;
pub use compute::{compute, compute_with};
pub use context::{ContextSpec, context};
pub use definition::{Fallback, Kind, Memory, Parameter};
pub use error::FeatureError;
pub use kinds::{KERNEL_VERSION, kinds};
pub use label::{LabelSpec, labels};
pub use live::{Decision, RowState};
pub use params::{ParamValue, Params};
pub use returns::{ReturnWindows, cut_returns};
pub use row::{FeatureRow, feature_row, feature_row_as_known};
pub use set::{FeatureDoc, FeatureSet, FeatureSpec};
pub use stepper::RowStepper;
pub use vintage::{VintagePart, Vintaged, assemble_vintage, join_vintages};
pub use workspace::Workspace;
