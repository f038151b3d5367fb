//! The as-of join: the last value known at an instant, with its age.

use foretell_market::Timestamp;

/// What an as-of look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOfMatch {
    /// Index of the observation.
    pub index: usize,
    /// How old it was at the instant, in microseconds (zero or more).
    pub age_micros: i64,
}

/// For each instant, the last observation at or before it. `observed` must be
/// sorted (equal times: the last one wins); nothing later is ever seen.
pub fn as_of(observed: &[Timestamp], instants: &[Timestamp]) -> Vec<Option<AsOfMatch>> {
    debug_assert!(observed.is_sorted(), "observations are in time order");
    let find = |t: &Timestamp| {
        let index = observed.partition_point(|o| o <= t).checked_sub(1)?;
        Some(AsOfMatch { index, age_micros: t.micros() - observed[index].micros() })
    };
    instants.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_later_than_the_instant_is_seen(
            mut observed in prop::collection::vec(0i64..1000, 0..50),
            instants in prop::collection::vec(-10i64..1010, 0..50),
        ) {
            observed.sort_unstable();
            let observed: Vec<_> = observed.into_iter().map(Timestamp::from_secs).collect();
            let instants: Vec<_> = instants.into_iter().map(Timestamp::from_secs).collect();
            for (t, found) in instants.iter().zip(as_of(&observed, &instants)) {
                let expected = observed.iter().rposition(|o| o <= t);
                prop_assert_eq!(found.map(|m| m.index), expected);
                if let Some(m) = found {
                    prop_assert!(m.age_micros >= 0);
                }
            }
        }
    }
}
