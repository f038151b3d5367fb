//! Random histories of imports, corrections and retractions against a naive model.

use std::collections::BTreeMap;

use foretell_market::Interval;
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;

fn hour(h: i64) -> Timestamp {
    Timestamp::from_secs(h * HOUR)
}

/// Something that happens to a store: values by hour, several for duplicates.
#[derive(Debug, Clone)]
struct Event {
    arrival: Arrival,
    cells: Vec<(i64, i8)>,
    lag: i64,
    /// Minutes after the event before.
    pause: i64,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let arrival = prop_oneof![
        Just(Arrival::Vendor),
        Just(Arrival::Import { whole: true }),
        Just(Arrival::Import { whole: false }),
    ];
    let cells = prop::collection::vec((0i64..8, 0i8..3), 0..9);
    let event = (arrival, cells, prop_oneof![Just(0i64), 0i64..7_200], 1i64..90);
    let event = event.prop_map(|(arrival, cells, lag, pause)| Event { arrival, cells, lag, pause });
    prop::collection::vec(event, 1..9)
}

/// A table of versions as a store keeps it.
#[derive(Debug, Clone, Default)]
struct Store {
    rows: Vec<RowMeta>,
    values: Vec<Option<i8>>,
}

impl Store {
    /// Takes an event in; answers how many rows that added.
    fn take_in(&mut self, event: &Event, now: Timestamp) -> usize {
        let (rows, values) = arriving(event, now);
        let equal = |j: usize, i: usize| self.values[j] == Some(values[i]);
        let added = additions(&self.rows, &rows, equal, event.arrival, now);
        for addition in &added {
            self.rows.push(addition.row);
            self.values.push(match addition.content {
                Content::Arrived(i) => Some(values[i]),
                Content::Retracted(_) => None,
            });
        }
        added.len()
    }

    /// The values per time that the implementation says were known.
    fn read(&self, at: KnownAt) -> BTreeMap<Timestamp, Vec<i8>> {
        self.of(&as_known(&self.rows, at))
    }

    fn of(&self, rows: &[usize]) -> BTreeMap<Timestamp, Vec<i8>> {
        let mut known: BTreeMap<Timestamp, Vec<i8>> = BTreeMap::new();
        for &i in rows {
            known.entry(self.rows[i].time).or_default().push(self.values[i].unwrap());
        }
        known.values_mut().for_each(|values| values.sort_unstable());
        known
    }

    /// The same, found by looking at every row for every time.
    fn naive(&self, at: KnownAt) -> BTreeMap<Timestamp, Vec<i8>> {
        let mut known = BTreeMap::new();
        for time in self.rows.iter().map(|r| r.time) {
            let seen = |r: &RowMeta| {
                r.time == time && r.known_at <= at.known_by && r.ingested_at <= at.taken_in_by
            };
            let seen = || (0..self.rows.len()).filter(|&i| seen(&self.rows[i]));
            let stamp = |i: usize| (self.rows[i].known_at, self.rows[i].ingested_at);
            let Some(last) = seen().map(stamp).max() else { continue };
            let mut values: Vec<i8> =
                seen().filter(|&i| stamp(i) == last).filter_map(|i| self.values[i]).collect();
            values.sort_unstable();
            if !values.is_empty() {
                known.insert(time, values);
            }
        }
        known
    }
}

/// The rows of an event as a source hands them over.
fn arriving(event: &Event, now: Timestamp) -> (Vec<RowMeta>, Vec<i8>) {
    let row = |&(h, _): &(i64, i8)| {
        let close = hour(h) + Interval::HOUR;
        let live = event.arrival == Arrival::Vendor && now < close + Interval::HOUR;
        let (known_at, flags) = match live {
            true => (now, RowFlags::NONE),
            false => (close.plus_secs(event.lag), RowFlags::BACKFILLED),
        };
        RowMeta { time: hour(h), known_at, ingested_at: now, flags }
    };
    let closed = |&&(h, _): &&(i64, i8)| hour(h) + Interval::HOUR <= now;
    let cells: Vec<(i64, i8)> = event.cells.iter().filter(closed).copied().collect();
    (cells.iter().map(row).collect(), cells.iter().map(|(_, value)| *value).collect())
}

/// Every instant at which something could change, and those just before.
fn instants(store: &Store) -> Vec<Timestamp> {
    let stamps = store.rows.iter().flat_map(|r| [r.known_at, r.ingested_at]);
    let around = stamps.flat_map(|t| [t, Timestamp::from_micros(t.micros() - 1)]);
    around.collect::<BTreeSet<_>>().into_iter().collect()
}

proptest! {
    #[test]
    fn what_was_known_equals_the_naive_model_and_never_changes_afterwards(events in events()) {
        let mut store = Store::default();
        let mut now = hour(2);
        let mut earlier: Vec<(KnownAt, BTreeMap<Timestamp, Vec<i8>>)> = Vec::new();
        for event in &events {
            now = now.plus_secs(event.pause * 60);
            let before = store.clone();
            store.take_in(event, now);
            prop_assert_eq!(&store.rows[..before.rows.len()], &before.rows[..]);
            // Everything that was read before reads the same.
            for (at, known) in &earlier {
                prop_assert_eq!(&store.read(*at), known);
            }
            for t in instants(&store) {
                let at = KnownAt { known_by: t, taken_in_by: now };
                let known = store.read(at);
                prop_assert_eq!(&known, &store.naive(at));
                for i in as_known(&store.rows, KnownAt::instant(t)) {
                    prop_assert!(store.rows[i].known_at <= t && store.rows[i].ingested_at <= t);
                }
                earlier.push((at, known));
                let at = KnownAt::instant(t);
                let known = store.read(at);
                prop_assert_eq!(&known, &store.naive(at));
                if t <= now {
                    earlier.push((at, known));
                }
            }
            // What a vendor corrects was not known before, whoever asks.
            if event.arrival == Arrival::Vendor {
                for t in instants(&before).into_iter().filter(|t| *t < now) {
                    let at = KnownAt { known_by: t, taken_in_by: Timestamp::MAX };
                    let (was, is) = (before.read(at), store.read(at));
                    for (time, values) in was {
                        prop_assert_eq!(Some(&values), is.get(&time));
                    }
                }
            }
        }
    }

    #[test]
    fn what_came_last_holds_and_adds_nothing_when_it_comes_again(events in events()) {
        let mut store = Store::default();
        let mut now = hour(2);
        for event in &events {
            now = now.plus_secs(event.pause * 60);
            store.take_in(event, now);
            let (rows, values) = arriving(event, now);
            let mut came: BTreeMap<Timestamp, Vec<i8>> = BTreeMap::new();
            for (row, value) in rows.iter().zip(&values) {
                came.entry(row.time).or_default().push(*value);
            }
            came.values_mut().for_each(|values| values.sort_unstable());
            let latest = store.read(KnownAt::EVER);
            for (time, values) in &came {
                prop_assert_eq!(Some(values), latest.get(time));
            }
            if event.arrival == (Arrival::Import { whole: true }) {
                prop_assert_eq!(&latest, &came);
            }
            let mut again = event.clone();
            again.cells.retain(|(h, _)| hour(*h) + Interval::HOUR <= now);
            prop_assert_eq!(store.take_in(&again, now), 0);
            prop_assert_eq!(store.take_in(&again, now.plus_secs(60)), 0);
        }
    }

    #[test]
    fn a_vintage_is_what_each_of_its_decisions_saw(events in events(), most in 1usize..6) {
        let mut store = Store::default();
        let mut now = hour(2);
        for event in &events {
            now = now.plus_secs(event.pause * 60);
            store.take_in(event, now);
        }
        let history = Vintages::new(&store.rows, KnownAt::EVER);
        prop_assert_eq!(history.latest(), as_known(&store.rows, KnownAt::EVER));
        let (exact, none) = history.spans(usize::MAX);
        prop_assert_eq!(none, 0);
        let (bounded, grouped) = history.spans(most);
        prop_assert!(bounded.len() <= most);
        prop_assert_eq!(grouped > 0, exact.len() > most);
        let times: BTreeSet<Timestamp> = store.rows.iter().map(|r| r.time).collect();
        for &time in &times {
            let decided = history.decided_at(time).unwrap();
            let first = store.rows.iter().filter(|r| r.time == time).map(|r| r.known_at).min();
            prop_assert_eq!(Some(decided), first);
            prop_assert_eq!(bounded.iter().filter(|v| v.holds(decided)).count(), 1);
            let span = exact.iter().filter(|v| v.holds(decided)).collect::<Vec<_>>();
            prop_assert_eq!(span.len(), 1);
            let at = KnownAt { known_by: decided, taken_in_by: Timestamp::MAX };
            let mut seen = store.of(&history.rows_of(span[0]));
            // Rows that first became known after the decision may come along: they carry
            // a later known-at, which a decision does not use.
            seen.retain(|time, _| history.decided_at(*time).unwrap() <= decided);
            prop_assert_eq!(seen, store.naive(at));
        }
        for span in &bounded {
            for i in history.rows_of(span) {
                let row = store.rows[i];
                let first = history.decided_at(row.time).unwrap();
                prop_assert!(row.known_at == first || row.known_at <= span.from);
            }
        }
    }
}

fn row(h: i64, known: i64, ingested: i64, flags: RowFlags) -> RowMeta {
    RowMeta { time: hour(h), known_at: hour(known), ingested_at: hour(ingested), flags }
}

#[test]
fn a_vendors_correction_is_known_from_now_on_and_a_files_from_its_declared_instant() {
    let stored = [row(1, 2, 9, RowFlags::BACKFILLED)];
    let now = hour(20);
    let differs = |_, _| false;
    let vendor = additions(&stored, &stored, differs, Arrival::Vendor, now);
    let known_now = row(1, 20, 20, RowFlags::CORRECTED);
    assert_eq!(vendor, [Addition { content: Content::Arrived(0), row: known_now }]);
    let file = additions(&stored, &stored, differs, Arrival::Import { whole: false }, now);
    let declared = row(1, 2, 20, RowFlags::CORRECTED | RowFlags::BACKFILLED);
    assert_eq!(file, [Addition { content: Content::Arrived(0), row: declared }]);
    let gone = additions(&stored, &[], differs, Arrival::Import { whole: true }, now);
    let tombstone = row(1, 2, 20, RowFlags::RETRACTED | RowFlags::BACKFILLED);
    assert_eq!(gone, [Addition { content: Content::Retracted(0), row: tombstone }]);
    // What was seen live cannot have been otherwise then: a file that says so is new.
    let live = [row(1, 2, 2, RowFlags::NONE)];
    let file = additions(&live, &stored, differs, Arrival::Import { whole: false }, now);
    assert_eq!(file[0].row, known_now);
}

#[test]
fn a_clock_that_stepped_back_does_not_reorder_versions() {
    let stored = [row(1, 2, 30, RowFlags::BACKFILLED)];
    let now = hour(20);
    let added = additions(&stored, &stored, |_, _| false, Arrival::Vendor, now);
    assert!(added[0].row.ingested_at > stored[0].ingested_at);
    let rows = [stored[0], added[0].row];
    assert_eq!(as_known(&rows, KnownAt::EVER), [1]);
}

#[test]
fn rows_without_corrections_are_one_vintage() {
    let rows: Vec<RowMeta> = (0..5).map(|h| RowMeta::at_close(hour(h), Interval::HOUR)).collect();
    let history = Vintages::new(&rows, KnownAt::EVER);
    assert!(history.corrections().is_empty());
    let (spans, grouped) = history.spans(500);
    assert_eq!(spans, [Vintage { from: Timestamp::MIN, to: Timestamp::MAX }]);
    assert_eq!((grouped, history.rows_of(&spans[0])), (0, vec![0, 1, 2, 3, 4]));
    assert_eq!(history.first_to_see(hour(2), hour(3)), Some(hour(2)));
    assert_eq!(history.first_to_see(hour(2), hour(5)), Some(hour(4)));
    assert_eq!(history.first_to_see(hour(2), hour(6)), None);
}

#[test]
fn a_mend_holds_until_the_origin_sends_something_else() {
    for arrival in [Arrival::Vendor, Arrival::Import { whole: true }] {
        let mut store = Store::default();
        let event = |arrival, cells: &[(i64, i8)]| Event {
            arrival,
            cells: cells.to_vec(),
            lag: 0,
            pause: 0,
        };
        let sent = event(arrival, &[(0, 0), (1, 1), (2, 2)]);
        assert_eq!(store.take_in(&sent, hour(3)), 3);
        // A person sets row 1 right and moves row 2 to where the origin has none.
        let mend = Event { cells: vec![(-3, 2), (1, 7)], ..event(Arrival::Mend, &[]) };
        let touched: Vec<usize> = vec![1, 2];
        let part = Store {
            rows: touched.iter().map(|&i| store.rows[i]).collect(),
            values: touched.iter().map(|&i| store.values[i]).collect(),
        };
        let mut mended = part.clone();
        assert_eq!(mended.take_in(&mend, hour(4)), 3);
        let new = mended.rows.split_off(2);
        assert!(new.iter().all(|r| r.flags.contains(RowFlags::MENDED)), "{new:?}");
        store.rows.extend(new);
        store.values.extend(mended.values.split_off(2));
        let now = |store: &Store| -> Vec<(Timestamp, Vec<i8>)> {
            store.read(KnownAt::EVER).into_iter().collect()
        };
        let right = vec![(hour(-3), vec![2]), (hour(0), vec![0]), (hour(1), vec![7])];
        assert_eq!(now(&store), right);
        // The origin goes on sending what was mended: nothing is added.
        for at in [5, 6] {
            assert_eq!(store.take_in(&sent, hour(at)), 0, "{arrival:?}");
        }
        assert_eq!(now(&store), right);
        // It sends another value: that is a correction like any other.
        let corrected = event(arrival, &[(0, 0), (1, 9), (2, 2)]);
        assert_eq!(store.take_in(&corrected, hour(7)), 1);
        assert_eq!(now(&store)[2], (hour(1), vec![9]));
        assert_eq!(store.take_in(&corrected, hour(8)), 0);
    }
}
