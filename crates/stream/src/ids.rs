//! Which trades of an instrument were counted, by the venue's ids.

use serde::{Deserialize, Serialize};

/// The most holes that are remembered: behind that, the oldest counts as filled.
const HOLES: usize = 256;

/// A set of ids as ranges: one range while no trade is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// Ascending, apart, both ends inclusive.
    ranges: Vec<(i64, i64)>,
}

impl Ids {
    /// Adds an id; whether it is new.
    pub(crate) fn add(&mut self, id: i64) -> bool {
        // The ordinary case: the next one.
        if let Some((_, last)) = self.ranges.last_mut()
            && last.checked_add(1) == Some(id)
        {
            *last = id;
            return true;
        }
        let at = self.ranges.partition_point(|(_, last)| *last < id);
        if self.ranges.get(at).is_some_and(|(first, _)| *first <= id) {
            return false;
        }
        let joins_left = at > 0 && self.ranges[at - 1].1.checked_add(1) == Some(id);
        let joins_right =
            self.ranges.get(at).is_some_and(|(first, _)| id.checked_add(1) == Some(*first));
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = id,
            (false, true) => self.ranges[at].0 = id,
            (false, false) => self.ranges.insert(at, (id, id)),
        }
        if self.ranges.len() > HOLES {
            let (first, _) = self.ranges.remove(0);
            self.ranges[0].0 = first;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_is_new_once(ids in prop::collection::vec(-20i64..200, 0..300)) {
            let (mut set, mut reference) = (Ids::default(), BTreeSet::new());
            for id in ids {
                prop_assert_eq!(set.add(id), reference.insert(id));
                let apart = set.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0);
                prop_assert!(apart, "{:?}", set.ranges);
            }
        }
    }

    #[test]
    fn holes_are_bounded() {
        let mut set = Ids::default();
        for id in (0..10_000).step_by(2) {
            assert!(set.add(id));
        }
        assert_eq!(set.ranges.len(), HOLES);
        assert!(!set.add(1), "an old hole counts as filled");
        assert!(set.add(9_997));
    }
}
