//! A set of whole numbers that lie close together, as ranges.

use std::collections::BTreeMap;

/// Trade numbers; a run of a million takes as much room as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    /// Every number from `first` to `last`, both included.
    pub(super) fn of(first: i64, last: i64) -> Self {
        Self((first <= last).then_some((first, last)).into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a number out; whether it was in.
    pub(super) fn remove(&mut self, number: i64) -> bool {
        let Some((&first, &last)) = self.0.range(..=number).next_back() else { return false };
        if number > last {
            return false;
        }
        self.0.remove(&first);
        if first < number {
            self.0.insert(first, number - 1);
        }
        if number < last {
            self.0.insert(number + 1, last);
        }
        true
    }

    /// The first and the last number in it.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        Some((*self.0.first_key_value()?.0, *self.0.last_key_value()?.1))
    }

    /// How many numbers are in it.
    pub(super) fn count(&self) -> i64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

/// `trade 5`, `trades 5 to 9`, with the count where some in between are known.
impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bounds() {
            None => f.write_str("no trades"),
            Some((first, last)) if first == last => write!(f, "trade {first}"),
            Some((first, last)) if self.count() == last - first + 1 => {
                write!(f, "trades {first} to {last}")
            }
            Some((first, last)) => write!(f, "{} of trades {first} to {last}", self.count()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(first in -5i64..5, len in 0i64..20, taken in prop::collection::vec(-10i64..30, 0..40)) {
            let mut ranges = Ranges::of(first, first + len - 1);
            let mut set: BTreeSet<i64> = (first..first + len).collect();
            for number in taken {
                prop_assert_eq!(ranges.remove(number), set.remove(&number));
                prop_assert_eq!(ranges.count(), set.len() as i64);
                prop_assert_eq!(ranges.is_empty(), set.is_empty());
                prop_assert_eq!(ranges.bounds(), set.first().copied().zip(set.last().copied()));
            }
        }
    }
}
