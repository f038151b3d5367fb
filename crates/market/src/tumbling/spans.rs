//! Sets of instants, as spans of time.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A half-open span of time.
pub(super) type Span = (Timestamp, Timestamp);

/// A set of instants: half-open spans `[from, to)`, ascending and apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Spans(Vec<Span>);

impl Spans {
    /// Adds the instants of `[from, to)`.
    pub(super) fn add(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let first = self.0.partition_point(|(_, end)| *end < from);
        let behind = self.0.partition_point(|(start, _)| *start <= to);
        let mut joined = (from, to);
        for (start, end) in self.0.drain(first..behind.max(first)) {
            joined = (joined.0.min(start), joined.1.max(end));
        }
        self.0.insert(first, joined);
    }

    /// Takes the instants of `[from, to)` away.
    pub(super) fn remove(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let left = self.0.iter().flat_map(|(a, b)| [(*a, (*b).min(from)), ((*a).max(to), *b)]);
        self.0 = left.filter(|(a, b)| a < b).collect();
    }

    /// The first span that has an instant of `[from, to)`.
    pub(super) fn first_in(&self, from: Timestamp, to: Timestamp) -> Option<Span> {
        let first = self.0.partition_point(|(_, end)| *end <= from);
        self.0.get(first).copied().filter(|(start, _)| *start < to)
    }

    /// Whether it has an instant of `[from, to)`.
    pub(super) fn touches(&self, from: Timestamp, to: Timestamp) -> bool {
        !self.0.is_empty() && self.first_in(from, to).is_some()
    }

    /// Drops the spans that end at or before an instant.
    pub(super) fn forget(&mut self, limit: Timestamp) {
        if self.0.first().is_some_and(|(_, end)| *end <= limit) {
            self.0.retain(|(_, end)| *end > limit);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_instants(
            steps in prop::collection::vec((any::<bool>(), 0i64..60, 0i64..12), 0..60),
            from in 0i64..60, length in 1i64..12,
        ) {
            let at = Timestamp::from_micros;
            let (mut spans, mut reference) = (Spans::default(), BTreeSet::new());
            for (add, from, length) in steps {
                let to = from + length;
                if add {
                    spans.add(at(from), at(to));
                    reference.extend(from..to);
                } else {
                    spans.remove(at(from), at(to));
                    reference.retain(|i| !(from..to).contains(i));
                }
                prop_assert!(spans.0.iter().all(|(a, b)| a < b), "{spans:?}");
                prop_assert!(spans.0.windows(2).all(|w| w[0].1 < w[1].0), "{spans:?}");
            }
            let to = from + length;
            let held: BTreeSet<i64> =
                spans.0.iter().flat_map(|(a, b)| a.micros()..b.micros()).collect();
            prop_assert_eq!(&held, &reference);
            let touched = reference.range(from..to).next().is_some();
            prop_assert_eq!(spans.touches(at(from), at(to)), touched);
        }
    }
}
