//! The live river of a data directory: trades in, candles, feature rows and forecasts out.
//!
//! The pieces are those of `stream`; here they are given their settings by pipeline files,
//! put together in one process ([`Service::up`](crate::Service::up)) or run apart on a Kafka
//! cluster ([`Part`]), and joined to the lake, the registry and whoever reads.

mod address;
mod asked;
mod bars;
mod columns;
mod history;
mod ingest;
mod lake;
mod parity;
mod parts;
mod plan;
mod read;
#[cfg(test)]
mod rebalance;
mod recorded;
mod replay;
mod replayed;
mod shown;
mod status;
mod up;

pub use foretell_stream::Log;

pub use address::{LogAddress, OpenLog};
pub use parity::ParityReport;
pub use parts::{Heard, Part, Processes};
pub use plan::RiverPlan;
pub use recorded::Recorded;
pub use replay::{ReplayOptions, ReplayReport};
pub use replayed::ForecastsReplayed;
pub use status::{FeedView, FindingView, GroupView, RiverStatus, RiverView};
pub(crate) use up::Running;
pub use up::{Ready, RiverOptions, RiverStarted, run_part};

#[cfg(test)]
mod tests;
