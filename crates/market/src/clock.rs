//! Time as a parameter: nothing below `platform` reads the machine's clock.

use crate::Timestamp;

/// Tells the time. The one that reads the machine's clock lives in `platform`.
pub trait Clock: Send + Sync {
    /// The present instant in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still, for replays and tests.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
