//! The machine's clock: the only place of the house that reads it. And a store's, which
//! puts what it writes and what it reads in one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use foretell_market::{Clock, Timestamp};

/// Tells the machine's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The clock of a store. Its stamps are in the order in which they were given, whatever
/// the machine's clock does: rows that are stamped after a reading are later than it, and
/// are not seen by whoever reads again as of that reading.
pub(crate) struct StoreClock {
    machine: Arc<dyn Clock>,
    /// The latest stamp, in microseconds.
    last: AtomicI64,
}

impl StoreClock {
    pub(crate) fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, last: AtomicI64::new(i64::MIN) }
    }

    /// The machine's present, no stamp.
    pub(crate) fn now(&self) -> Timestamp {
        self.machine.now()
    }

    /// Gives no stamp at or before an instant any more: one that is stored already.
    pub(crate) fn is_past(&self, stored: Timestamp) {
        self.last.fetch_max(stored.micros(), Ordering::SeqCst);
    }

    /// An instant that is later than all stamps before it: the machine's where it is.
    pub(crate) fn stamp(&self) -> Timestamp {
        let now = self.machine.now().micros();
        let next = |last: i64| now.max(last.saturating_add(1));
        let update = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |l| Some(next(l)));
        Timestamp::from_micros(next(update.unwrap_or_else(|last| last)))
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.machine.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine's clock as a test sets it.
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn stamps_stand_in_the_order_they_were_given_though_the_clock_steps_back() {
        let hand = Arc::new(Hand(AtomicI64::new(1_000)));
        let clock = StoreClock::new(hand.clone());
        let stamp = || clock.stamp().micros();
        assert_eq!([stamp(), stamp()], [1_000, 1_001]);
        hand.0.store(400, Ordering::SeqCst);
        assert_eq!(stamp(), 1_002);
        clock.is_past(Timestamp::from_micros(5_000));
        assert_eq!(stamp(), 5_001);
        hand.0.store(9_000, Ordering::SeqCst);
        assert_eq!((stamp(), clock.now().micros()), (9_000, 9_000));
    }
}
