//! So many requests in so long a time, per vendor.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A vendor's limit as we keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateBudget {
    /// Requests allowed in any window.
    pub requests: u32,
    /// Length of the window in milliseconds.
    pub per_millis: u32,
}

impl RateBudget {
    /// So many requests a minute, one after another at equal distances: a minute's worth
    /// at once would break the limits that vendors keep by the second.
    pub fn per_minute(requests: u32) -> Self {
        Self { requests: 1, per_millis: 60_000_u32.div_ceil(requests.max(1)) }
    }
}

/// When each vendor was asked, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Budgets(Arc<Mutex<BTreeMap<String, VecDeque<Duration>>>>);

impl Budgets {
    /// Reserves the next free moment for a request to a vendor and returns how long to
    /// wait for it. Callers are served in the order of their calls.
    pub fn reserve(&self, vendor: &str, budget: RateBudget, now: Duration) -> Duration {
        let window = Duration::from_millis(u64::from(budget.per_millis));
        let allowed = budget.requests.max(1) as usize;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = all.entry(vendor.to_owned()).or_default();
        let mut slot = now;
        if slots.len() >= allowed {
            slot = slot.max(slots[slots.len() - allowed] + window);
        }
        slots.push_back(slot);
        while slots.len() > allowed {
            slots.pop_front();
        }
        slot.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_budget(
            requests in 1u32..8,
            per_millis in 1u32..5_000,
            steps in prop::collection::vec(0u64..900, 1..80),
        ) {
            let budgets = Budgets::default();
            let budget = RateBudget { requests, per_millis };
            let (mut now, mut sent) = (Duration::ZERO, Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                sent.push(now + budgets.reserve("vendor", budget, now));
            }
            let window = Duration::from_millis(u64::from(per_millis));
            for pair in sent.windows(requests as usize + 1) {
                prop_assert!(pair[requests as usize] - pair[0] >= window);
            }
        }
    }

    #[test]
    fn a_minutes_requests_are_spread_over_the_minute() {
        let (budgets, budget) = (Budgets::default(), RateBudget::per_minute(30));
        let waits = (0..4).map(|_| budgets.reserve("vendor", budget, Duration::ZERO).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [0, 2, 4, 6]);
        assert_eq!(RateBudget::per_minute(7), RateBudget { requests: 1, per_millis: 8_572 });
        assert_eq!(RateBudget::per_minute(100_000).per_millis, 1);
    }

    #[test]
    fn vendors_do_not_share_a_budget_but_clones_do() {
        let budgets = Budgets::default();
        let budget = RateBudget { requests: 1, per_millis: 2_000 };
        assert_eq!(budgets.reserve("a", budget, Duration::ZERO), Duration::ZERO);
        assert_eq!(budgets.reserve("b", budget, Duration::ZERO), Duration::ZERO);
        assert_eq!(budgets.clone().reserve("a", budget, Duration::ZERO), Duration::from_secs(2));
        assert_eq!(budgets.reserve("a", budget, Duration::from_secs(1)), Duration::from_secs(3));
    }
}
