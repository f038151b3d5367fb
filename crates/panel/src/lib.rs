//! The one table of the house: instrument × time × column.
//!
//! [`Frame`] holds observed rows, [`Grid`] the same rows on a complete axis of
//! intervals (a missing interval is a row of NaN), [`Dataset`] the rows a model
//! learns from, with labels kept apart from features. [`walk_forward`] splits a
//! dataset and derives the purge from the labels; [`Vintages`] tell what was known when.
//! No IO, no clock.
//!
//! In memory a missing number is NaN; at the door to Arrow ([`Frame::to_record_batch`])
//! it becomes null, and back.

mod asof;
mod batch;
mod dataset;
mod frame;
mod grid;
mod matrix;
mod raw;
mod resample;
mod split;
mod vintage;

pub use asof::{AsOfMatch, as_of};
pub use batch::BatchError;
pub use dataset::{Dataset, Label};
pub use frame::{Column, Frame, FrameError, RowMeta};
pub use grid::{Gap, Grid};
pub use matrix::Matrix;
pub use raw::{CellFault, RawTable};
pub use resample::{Aggregation, resample};
pub use split::{Fold, LockBox, SplitError, TrainWindow, WalkForward, walk_forward};
pub use vintage::{Addition, Arrival, Content, KnownAt, Vintage, Vintages, additions, as_known};

/// Re-exported so that crates above name one version of Arrow.
pub use arrow;
