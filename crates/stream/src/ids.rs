//! Which trades of an instrument were counted, by the venue's ids.
//!
//! A trade that comes twice counts once. Whether one that comes was counted is not always
//! known: ids begin anew, and only so many holes between ids are remembered. Such a trade is
//! not counted, and whoever asks is told why.

use std::collections::VecDeque;

use foretell_market::{Timestamp, Trade};
use serde::{Deserialize, Serialize};

/// The most runs of ids that are remembered: behind that, the oldest are forgotten.
const RUNS: usize = 1024;
/// An id that was counted, on a trade that is so much later than all that were counted, is no
/// repetition, microseconds: interfaces of one venue round times differently.
const LATER: i64 = 1_000_000;

/// What is known of a trade that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not counted before, and is from now on.
    New,
    /// It was counted before.
    Again,
    /// Whether it was counted is not known.
    Unknown(Doubt),
}

/// Why it is not known whether a trade was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    /// Its id is below those that are remembered, or its numbering before the last two.
    #[error("of ids only the latest {RUNS} runs of the latest two numberings are remembered")]
    Forgotten,
    /// Its id was counted, but it is later than all trades that were.
    #[error(
        "the id was counted, but this trade is later than all that were: where the venue numbers \
         anew, a record `renumbered` has to come first"
    )]
    Reused,
    /// It is older than the new numbering, and one of the two numberings has its id.
    #[error("it is older than the venue's new numbering, and only one of the two has its id")]
    TwoNumberings,
}

/// The ids that were counted of one instrument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    now: Numbering,
    before: Option<Before>,
}

/// The numbering before the one now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    ids: Numbering,
    /// When its first trade happened, where there was another before it.
    from: Option<Timestamp>,
    /// When the first trade of the one now happened.
    to: Timestamp,
}

impl Ids {
    /// Counts a trade, unless it was counted or may have been. Without an id each is new.
    pub(crate) fn add(&mut self, trade: &Trade) -> Seen {
        let Some(id) = trade.id else { return Seen::New };
        match &mut self.before {
            Some(before) if trade.time < before.to => {
                let older = before.from.is_some_and(|from| trade.time < from);
                match (before.ids.holds(id), self.now.holds(id)) {
                    _ if older => Seen::Unknown(Doubt::Forgotten),
                    (None, _) | (_, None) => Seen::Unknown(Doubt::Forgotten),
                    (Some(old), Some(new)) if old == new => before.ids.add(id, trade.time),
                    _ => Seen::Unknown(Doubt::TwoNumberings),
                }
            }
            _ => self.now.add(id, trade.time),
        }
    }

    /// The venue numbers anew from a trade of `time` on. The same said twice is one thing.
    pub(crate) fn renumbered(&mut self, time: Timestamp) {
        let from = self.before.as_ref().map(|before| before.to);
        if from.is_none_or(|from| from < time) {
            let ids = std::mem::take(&mut self.now);
            self.before = Some(Before { ids, from, to: time });
        }
    }
}

/// A set of ids as ranges: one range while no trade is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Numbering {
    /// Ascending, apart, both ends inclusive.
    ranges: VecDeque<(i64, i64)>,
    /// Ids up to this one are not remembered.
    forgotten: Option<i64>,
    /// When the latest trade happened.
    latest: Timestamp,
}

impl Default for Numbering {
    fn default() -> Self {
        let latest = Timestamp::from_micros(i64::MIN);
        Self { ranges: VecDeque::new(), forgotten: None, latest }
    }
}

impl Numbering {
    fn add(&mut self, id: i64, time: Timestamp) -> Seen {
        // The ordinary case: the next one.
        if let Some((_, last)) = self.ranges.back_mut()
            && last.checked_add(1) == Some(id)
        {
            *last = id;
            self.latest = self.latest.max(time);
            return Seen::New;
        }
        match self.holds(id) {
            None => return Seen::Unknown(Doubt::Forgotten),
            Some(true) if time.micros() > self.latest.micros().saturating_add(LATER) => {
                return Seen::Unknown(Doubt::Reused);
            }
            Some(true) => return Seen::Again,
            Some(false) => {}
        }
        self.latest = self.latest.max(time);
        self.insert(id);
        Seen::New
    }

    /// Whether it has an id; `None` when it cannot say.
    fn holds(&self, id: i64) -> Option<bool> {
        if self.forgotten.is_some_and(|last| id <= last) {
            return None;
        }
        let at = self.ranges.partition_point(|(_, last)| *last < id);
        Some(self.ranges.get(at).is_some_and(|(first, _)| *first <= id))
    }

    /// Adds an id that it does not have.
    fn insert(&mut self, id: i64) {
        let at = self.ranges.partition_point(|(_, last)| *last < id);
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
        if self.ranges.len() > RUNS
            && let Some((_, last)) = self.ranges.pop_front()
        {
            self.forgotten = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn trade(id: i64, secs: i64) -> Trade {
        Trade {
            instrument: "BTC-USD".parse().unwrap(),
            time: Timestamp::from_secs(secs),
            id: Some(id),
            price: 1.0,
            quantity: 1.0,
            side: None,
        }
    }

    proptest! {
        #[test]
        fn an_id_is_new_once(ids in prop::collection::vec(-20i64..200, 0..300)) {
            let (mut set, mut reference) = (Ids::default(), BTreeSet::new());
            for id in ids {
                let expected = if reference.insert(id) { Seen::New } else { Seen::Again };
                prop_assert_eq!(set.add(&trade(id, 0)), expected);
                let ranges: Vec<(i64, i64)> = set.now.ranges.iter().copied().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{ranges:?}");
            }
        }

        /// Whatever comes: what was counted is never counted again, what was not is counted or
        /// said to be in doubt.
        #[test]
        fn no_trade_counts_twice_and_none_goes_unsaid(
            steps in prop::collection::vec((-3000i64..3000, 0i64..400, 0u32..400), 0..2500),
        ) {
            let (mut set, mut counted) = (Ids::default(), BTreeSet::new());
            let mut newest = 0;
            for (id, back, what) in steps {
                if what == 0 {
                    newest += 1;
                    set.renumbered(Timestamp::from_secs(newest * 100));
                }
                // Its time says of which numbering it is.
                let time = (newest * 100 + 99 - back).max(0);
                let (trade, numbering) = (trade(id * 2, time), time / 100);
                match set.add(&trade) {
                    Seen::New => prop_assert!(counted.insert((numbering, id))),
                    Seen::Again => prop_assert!(counted.contains(&(numbering, id))),
                    Seen::Unknown(_) => {}
                }
                prop_assert!(set.now.ranges.len() <= RUNS);
            }
        }
    }

    #[test]
    fn holes_are_bounded_and_what_is_forgotten_is_said() {
        let mut set = Ids::default();
        for id in (0..10_000).step_by(2) {
            assert_eq!(set.add(&trade(id, id)), Seen::New);
        }
        assert_eq!(set.now.ranges.len(), RUNS);
        for id in [0, 1, -5] {
            assert_eq!(set.add(&trade(id, 0)), Seen::Unknown(Doubt::Forgotten));
        }
        assert_eq!(set.add(&trade(9_997, 9_997)), Seen::New);
        assert_eq!(set.add(&trade(9_996, 9_996)), Seen::Again);
    }

    #[test]
    fn ids_that_begin_anew_are_followed_when_a_record_says_so_and_told_of_otherwise() {
        let mut set = Ids::default();
        for id in 1..100 {
            assert_eq!(set.add(&trade(id, id)), Seen::New);
        }
        assert_eq!(set.add(&trade(7, 200)), Seen::Unknown(Doubt::Reused));
        set.renumbered(Timestamp::from_secs(200));
        assert_eq!(set.add(&trade(7, 200)), Seen::New);
        // The same records once more, as after an append whose answer was lost.
        assert_eq!(set.add(&trade(99, 99)), Seen::Unknown(Doubt::TwoNumberings));
        assert_eq!(set.add(&trade(7, 7)), Seen::Again);
        set.renumbered(Timestamp::from_secs(200));
        assert_eq!(set.add(&trade(7, 200)), Seen::Again);
        assert_eq!(set.add(&trade(8, 201)), Seen::New);
        // A trade of the old numbering that is found late.
        assert_eq!(set.add(&trade(150, 150)), Seen::New);
    }
}
