//! A plan of steps over intervals: order, states, retries, back-fill.
//!
//! A [`Graph`] orders [`Step`]s by what they need; a [`Run`] of it over one named span
//! of time is a state machine that changes by [`Run::apply`] alone; a
//! [`RetryPolicy`] says when a failed step is tried again; [`backfill`] lists the
//! chunks of a range that are still to be done. Everything is a value: what executes
//! the steps, stores the states and tells the time lives elsewhere.

mod backfill;
mod error;
mod graph;
mod retry;
mod run;

pub use backfill::{BackfillError, Chunk, Span, backfill};
pub use error::{ErrorDomain, RetryHint, StepError};
pub use graph::{Graph, GraphError, Step};
pub use retry::{RetryError, RetryPolicy};
pub use run::{Event, EventKind, Run, RunOutcome, SkipReason, StepState, TransitionError};
