//! When a failed attempt is followed by another.
//!
//! Delays are a function of policy, attempt and seed; nothing here waits.

use foretell_market::FingerprintHasher;
use serde::{Deserialize, Serialize};

/// How often a step is tried and how long it rests in between: the delay doubles from
/// `first_delay_millis` up to `max_delay_millis`, less a random part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1. Default: 3.
    pub max_attempts: u32,
    /// The delay after the first attempt, in milliseconds. Default: 1,000.
    pub first_delay_millis: u64,
    /// No delay is longer, in milliseconds. Default: 60,000.
    pub max_delay_millis: u64,
    /// By how many percent a delay may be shortened at random, 0 to 100, so that many
    /// who failed together do not come back together. Default: 50.
    pub jitter_percent: u8,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            first_delay_millis: 1_000,
            max_delay_millis: 60_000,
            jitter_percent: 50,
        }
    }
}

/// A policy that cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// No attempt at all.
    #[error("`max_attempts` is 0: give 1 to try once and never again")]
    NoAttempt,
    /// More than all of the delay.
    #[error("`jitter_percent` is {0}: give a number from 0 to 100")]
    Jitter(u8),
}

impl RetryPolicy {
    /// One attempt and no other.
    pub const fn never() -> Self {
        Self { max_attempts: 1, first_delay_millis: 0, max_delay_millis: 0, jitter_percent: 0 }
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// When there is no attempt, or the jitter is over 100 %.
    pub const fn validate(&self) -> Result<(), RetryError> {
        if self.max_attempts == 0 {
            return Err(RetryError::NoAttempt);
        }
        if self.jitter_percent > 100 {
            return Err(RetryError::Jitter(self.jitter_percent));
        }
        Ok(())
    }

    /// The delay in milliseconds after a failed attempt (1 is the first); `None` when it
    /// was the last. The same seed, key and attempt give the same delay.
    pub fn delay_after(&self, attempt: u32, key: &str, seed: u64) -> Option<u64> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(63);
        let full = self.first_delay_millis.saturating_mul(1 << doublings);
        let full = full.min(self.max_delay_millis);
        let most = u128::from(full) * u128::from(self.jitter_percent.min(100)) / 100;
        let mut hasher = FingerprintHasher::new("retry-jitter");
        hasher.u64(seed).text(key).u64(u64::from(attempt));
        let hash = hasher.finish();
        let bytes = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        // most × (a number from 0 to 2⁶⁴ − 1) / 2⁶⁴ is below most + 1 and fits.
        let less = (most * u128::from(u64::from_le_bytes(bytes))) >> 64;
        Some(full - less as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_delay_doubles_up_to_the_cap_and_ends() {
        let policy = RetryPolicy {
            max_attempts: 6,
            jitter_percent: 0,
            max_delay_millis: 5_000,
            ..RetryPolicy::default()
        };
        let delays: Vec<_> = (1..=6).map(|a| policy.delay_after(a, "extract", 1)).collect();
        let millis = [Some(1_000), Some(2_000), Some(4_000), Some(5_000), Some(5_000), None];
        assert_eq!(delays, millis);
        assert_eq!(RetryPolicy::never().delay_after(1, "extract", 1), None);
    }

    #[test]
    fn steps_that_failed_together_do_not_come_back_together() {
        let policy = RetryPolicy::default();
        let of = |key: &str, seed| policy.delay_after(1, key, seed);
        assert_eq!(of("extract", 7), of("extract", 7));
        assert_ne!(of("extract", 7), of("gate", 7));
        assert_ne!(of("extract", 7), of("extract", 8));
        let mean = (0..1_000).filter_map(|seed| of("extract", seed)).sum::<u64>() / 1_000;
        // Uniform from 500 to 1,000: the mean of 1,000 draws has a deviation of 4.6.
        assert!((727..=773).contains(&mean), "{mean}");
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused() {
        let none = RetryPolicy { max_attempts: 0, ..RetryPolicy::default() };
        assert_eq!(none.validate(), Err(RetryError::NoAttempt));
        let much = RetryPolicy { jitter_percent: 101, ..RetryPolicy::default() };
        assert_eq!(much.validate(), Err(RetryError::Jitter(101)));
        assert_eq!(RetryPolicy::default().validate(), Ok(()));
    }

    proptest! {
        #[test]
        fn every_delay_is_within_the_jitter_of_its_cap(
            first in 0u64..u64::MAX, cap: u64, jitter in 0u8..=100, attempt in 1u32..200, seed: u64,
        ) {
            let policy = RetryPolicy {
                max_attempts: 200, first_delay_millis: first, max_delay_millis: cap,
                jitter_percent: jitter,
            };
            let full = u128::from(first) << (attempt - 1).min(63);
            let full = full.min(u128::from(u64::MAX)).min(u128::from(cap));
            let delay = policy.delay_after(attempt, "step", seed).map(u128::from);
            let Some(delay) = delay else {
                return Err(TestCaseError::fail("an attempt is left"));
            };
            prop_assert!(delay <= full);
            prop_assert!(delay >= full - full * u128::from(jitter) / 100);
        }
    }
}
