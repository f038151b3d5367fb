//! A line against a venue whose every trade is known, with time as a number.

use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_000_000_000;

fn btc() -> Instrument {
    "BTC-USD".parse().expect("an instrument")
}

/// Trade number `id` of the venue: one a second.
fn trade(id: i64) -> Trade {
    let time = Timestamp::from_micros(START + id * 1_000_000);
    Trade { instrument: btc(), time, id: Some(id), price: 1.0, quantity: 1.0, side: None }
}

fn mark(id: i64) -> Mark {
    Mark { id, time: trade(id).time }
}

/// So many milliseconds after the start; the wall's clock runs a thousand times as fast,
/// so that a millisecond is a trade.
fn now(millis: u64) -> Now {
    let wall = Timestamp::from_micros(START + i64::try_from(millis).expect("small") * 1_000_000);
    Now { wall, since: Duration::from_millis(millis) }
}

fn settings() -> LiveSettings {
    LiveSettings {
        heartbeat_millis: 10,
        delay_millis: 2_000,
        reorder_millis: 5,
        hold_millis: 100,
        retry_millis: 10,
        repair_millis: 2_000,
        ..LiveSettings::default()
    }
}

/// A line that was acknowledged at 0 and is in no doubt, behind trade 10.
fn certain() -> (Line, Vec<Out>) {
    let (mut line, mut out) = (Line::new(btc(), Some(mark(10))), Vec::new());
    line.acknowledged(now(0));
    let wanted = line.ask(now(0), &settings()).expect("it is in doubt");
    assert_eq!((wanted.after, wanted.to), (mark(10), None));
    line.asked(wanted, None, now(0), &settings(), &mut out);
    (line, out)
}

fn ids(out: &[Out]) -> Vec<i64> {
    let id = |out: &Out| match out {
        Out::Event(FeedEvent::Trade(trade), _) => trade.id,
        _ => None,
    };
    out.iter().filter_map(id).collect()
}

fn gaps(out: &[Out]) -> Vec<(Timestamp, Timestamp, String)> {
    let gap = |out: &Out| match out {
        Out::Event(FeedEvent::Gap { from, to, reason, .. }, _) => {
            Some((*from, *to, reason.clone()))
        }
        _ => None,
    };
    out.iter().filter_map(gap).collect()
}

fn repairs(out: &[Out]) -> Vec<(Timestamp, Timestamp)> {
    let repair = |out: &Out| match out {
        Out::Event(FeedEvent::Repaired { from, to, .. }, _) => Some((*from, *to)),
        _ => None,
    };
    out.iter().filter_map(repair).collect()
}

fn beats(out: &[Out]) -> Vec<Timestamp> {
    let beat = |out: &Out| match out {
        Out::Event(FeedEvent::Heartbeat { time, .. }, _) => Some(*time),
        _ => None,
    };
    out.iter().filter_map(beat).collect()
}

#[test]
fn disorder_within_the_moment_asks_nobody() {
    let (mut line, mut out) = certain();
    let set = settings();
    for id in [12, 11, 11, 13] {
        line.trade(trade(id), false, now(20), &set, &mut out);
        assert_eq!(line.ask(now(20), &set), None, "not within the moment");
    }
    assert_eq!(ids(&out), [11, 12, 13]);
    assert_eq!(out.iter().filter(|out| **out == Out::Duplicate).count(), 1);
    assert_eq!(line.ask(now(60), &set), None);
    assert_eq!((gaps(&out), repairs(&out)), (vec![], vec![]));
}

#[test]
fn a_hole_is_asked_for_filled_and_called_whole() {
    let (mut line, mut out) = certain();
    let set = settings();
    line.trade(trade(14), false, now(20), &set, &mut out);
    let wanted = line.ask(now(26), &set).expect("a hole");
    assert_eq!((wanted.after, wanted.to), (mark(10), Some(13)));
    assert_eq!(line.ask(now(27), &set), None, "one question at a time");
    for id in 11..=13 {
        line.trade(trade(id), true, now(30), &set, &mut out);
    }
    line.asked(wanted, None, now(30), &set, &mut out);
    assert_eq!(ids(&out), [11, 12, 13, 14]);
    let behind_14 = Timestamp::from_micros(trade(14).time.micros() + 1);
    assert_eq!(repairs(&out), [(trade(10).time, behind_14)]);
    let fetched: Vec<bool> = out
        .iter()
        .filter_map(|out| match out {
            Out::Event(FeedEvent::Trade(_), fetched) => Some(*fetched),
            _ => None,
        })
        .collect();
    assert_eq!(fetched, [true, true, true, false]);
    assert_eq!(gaps(&out), []);
}

#[test]
fn what_is_not_filled_in_time_is_a_gap_and_what_is_late_repairs_it() {
    let (mut line, mut out) = certain();
    let set = settings();
    line.trade(trade(14), false, now(20), &set, &mut out);
    let wanted = line.ask(now(26), &set).expect("a hole");
    line.asked(wanted, Some("HTTP 503".to_owned()), now(30), &set, &mut out);
    line.tick(None, now(119), &set, &mut out);
    assert_eq!(gaps(&out), []);
    line.tick(None, now(120), &set, &mut out);
    let declared = gaps(&out);
    assert_eq!(declared.len(), 1);
    let (from, to, reason) = &declared[0];
    assert!((*from..*to).contains(&trade(11).time) && (*from..*to).contains(&trade(13).time));
    assert_eq!(reason, "trades 11 to 13 did not come, and fetching failed: HTTP 503");
    assert_eq!(ids(&out), [14], "newer ones wait no longer");
    // The next goes on as if nothing had happened.
    line.trade(trade(15), false, now(121), &set, &mut out);
    assert_eq!(ids(&out), [14, 15]);
    let wanted = line.ask(now(140), &set).expect("it is owed");
    assert_eq!((wanted.after.id, wanted.to), (10, Some(13)));
    for id in 11..=13 {
        line.trade(trade(id), true, now(150), &set, &mut out);
    }
    assert_eq!(ids(&out), [14, 15, 11, 12, 13]);
    assert_eq!(repairs(&out), [(*from, *to)]);
    // Paid is paid.
    line.trade(trade(12), true, now(151), &set, &mut out);
    assert_eq!(ids(&out).len(), 5);
}

#[test]
fn a_connection_is_in_doubt_until_the_next_number_or_an_answer() {
    let set = settings();
    let (mut line, _) = certain();
    line.interrupted();
    let mut out = Vec::new();
    line.acknowledged(now(50));
    line.tick(Some(now(70).wall), now(70), &set, &mut out);
    assert_eq!(beats(&out), [], "no heartbeat in doubt");
    // The very next number proves that nothing was missed.
    line.trade(trade(11), false, now(71), &set, &mut out);
    line.tick(Some(now(90).wall), now(90), &set, &mut out);
    assert_eq!(beats(&out), [Timestamp::from_micros(now(90).wall.micros() - 2_000_000)]);
    assert_eq!((gaps(&out), repairs(&out)), (vec![], vec![]));

    // An answer to a question from before the connection proves nothing.
    let (mut line, _) = certain();
    let mut out = Vec::new();
    line.unsure(now(40));
    let old = line.ask(now(40), &set).expect("doubt");
    line.interrupted();
    line.acknowledged(now(50));
    line.asked(old, None, now(51), &set, &mut out);
    line.tick(Some(now(80).wall), now(80), &set, &mut out);
    assert_eq!(beats(&out), []);
    // Without any answer it is a gap, and what is claimed goes on behind it.
    line.tick(Some(now(151).wall), now(151), &set, &mut out);
    let declared = gaps(&out);
    assert_eq!(declared.len(), 1);
    assert_eq!(declared[0].1, now(50).wall);
    assert_eq!(beats(&out).len(), 1, "behind the gap");
    line.trade(trade(11), false, now(171), &set, &mut out);
    assert_eq!(repairs(&out), [(declared[0].0, declared[0].1)]);
}

#[test]
fn a_venue_that_numbers_anew_is_followed_after_some_trades_and_a_gap() {
    let (mut line, mut out) = certain();
    let set = settings();
    let anew = |n: i64| Trade { id: Some(n), ..trade(1_000 + n) };
    for n in 1..=6 {
        line.trade(anew(n), false, now(20), &set, &mut out);
    }
    assert_eq!(ids(&out), [5, 6]);
    let troubles = out.iter().filter(|out| matches!(out, Out::Trouble(_))).count();
    assert_eq!((troubles, gaps(&out).len()), (4, 1));
    let (from, to, reason) = &gaps(&out)[0];
    assert!(*from <= trade(10).time && *to > trade(1_005).time);
    // That it does is on record before the first new number.
    let at = |wanted: &dyn Fn(&FeedEvent) -> bool| {
        out.iter().position(|out| matches!(out, Out::Event(event, _) if wanted(event)))
    };
    let told = at(&|event| {
        let (time, reason) = (anew(5).time, reason.clone());
        *event == FeedEvent::Renumbered { instrument: btc(), time, reason }
    });
    let first = at(&|event| *event == FeedEvent::Trade(anew(5)));
    assert!(told.is_some() && told < first, "{told:?} {first:?}");

    // What is missing of the old numbers is not asked for by them, and stays a gap.
    let (mut line, mut out) = certain();
    line.trade(trade(14), false, now(20), &set, &mut out);
    line.tick(None, now(120), &set, &mut out);
    assert_eq!((gaps(&out).len(), line.owed.len()), (1, 1));
    for n in 1..=5 {
        line.trade(anew(n), false, now(121), &set, &mut out);
    }
    line.trade(Trade { id: Some(12), ..trade(1_012) }, false, now(122), &set, &mut out);
    assert_eq!((line.owed.len(), repairs(&out)), (0, vec![]));

    // One number that is out of this world poisons nothing.
    let (mut line, mut out) = certain();
    line.trade(Trade { id: Some(i64::MAX / 2), ..trade(11) }, false, now(20), &set, &mut out);
    line.trade(trade(11), false, now(21), &set, &mut out);
    assert_eq!(ids(&out), [11]);
}

#[test]
fn memory_is_bounded_and_what_was_let_go_comes_again() {
    let (mut line, mut out) = certain();
    let set = LiveSettings { max_held: 3, ..settings() };
    for id in 12..=30 {
        line.trade(trade(id), false, now(20), &set, &mut out);
    }
    assert_eq!(line.held.len(), 3);
    assert_eq!(out.iter().filter(|out| **out == Out::LetGo).count(), 16);
    for id in 11..=14 {
        line.trade(trade(id), true, now(25), &set, &mut out);
    }
    let wanted = line.ask(now(40), &set).expect("what was let go is missing");
    assert_eq!((wanted.after, wanted.to), (mark(14), Some(30)));
    for id in 11..=30 {
        line.trade(trade(id), true, now(30), &set, &mut out);
    }
    assert_eq!(ids(&out), (11..=30).collect::<Vec<_>>());
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The venue has so many trades more, of which each bit says whether it is sent.
    Trades(u8, u8),
    /// The last one sent comes again.
    Again,
    /// Two that come next are exchanged.
    Swapped,
    /// The connection breaks while so many happen.
    Broken(u8),
    /// Time passes.
    Wait(u8),
    /// The next so many answers over HTTP fail.
    Down(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..8, any::<u8>(), any::<u8>()).prop_map(|(n, a, b)| Step::Trades(n, a | b)),
        1 => Just(Step::Again),
        1 => Just(Step::Swapped),
        1 => (0u8..20).prop_map(Step::Broken),
        2 => (1u8..60).prop_map(Step::Wait),
        1 => (1u8..40).prop_map(Step::Down),
    ]
}

/// A venue of which the line sees what the steps let through.
struct World {
    line: Line,
    set: LiveSettings,
    out: Vec<Out>,
    /// The venue's last trade.
    last: i64,
    millis: u64,
    down: u8,
    lost: std::collections::BTreeSet<i64>,
}

impl World {
    /// A millisecond passes; questions are answered at once.
    fn pass(&mut self) {
        self.millis += 1;
        let now = now(self.millis);
        self.line.tick(Some(now.wall), now, &self.set, &mut self.out);
        let Some(wanted) = self.line.ask(now, &self.set) else { return };
        let problem = (self.down > 0).then(|| "down".to_owned());
        self.down = self.down.saturating_sub(1);
        if problem.is_none() {
            let to = wanted.to.unwrap_or(self.last).min(self.last);
            for id in (wanted.after.id + 1..=to).filter(|id| !self.lost.contains(id)) {
                self.line.trade(trade(id), true, now, &self.set, &mut self.out);
            }
        }
        self.line.asked(wanted, problem, now, &self.set, &mut self.out);
    }

    fn send(&mut self, id: i64) {
        if !self.lost.contains(&id) {
            self.line.trade(trade(id), false, now(self.millis), &self.set, &mut self.out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_each_trade_is_handed_on_once_or_named_in_a_gap(
        steps in prop::collection::vec(step(), 1..60),
        lost in prop::collection::btree_set(12i64..200, 0..6),
        room in 1usize..30,
    ) {
        let (line, _) = certain();
        let set = LiveSettings { max_held: room, ..settings() };
        let mut world = World { line, set, out: Vec::new(), last: 10, millis: 1, down: 0, lost };
        for step in steps {
            match step {
                Step::Trades(count, sent) => {
                    for n in 0..count {
                        world.last += 1;
                        if sent & (1 << n) != 0 {
                            world.send(world.last);
                        }
                    }
                }
                Step::Again => world.send(world.last),
                Step::Swapped => {
                    world.last += 2;
                    world.send(world.last);
                    world.send(world.last - 1);
                }
                Step::Broken(away) => {
                    world.line.interrupted();
                    world.last += i64::from(away);
                    world.pass();
                    world.line.acknowledged(now(world.millis));
                }
                Step::Wait(millis) => (0..millis).for_each(|_| world.pass()),
                Step::Down(answers) => world.down = answers,
            }
        }
        // A trade that is sent shows what is missing before it; then there is time.
        world.last += 1;
        world.lost.remove(&world.last);
        world.down = 0;
        world.send(world.last);
        (0..1_500).for_each(|_| world.pass());

        let got = ids(&world.out);
        let once: std::collections::BTreeSet<i64> = got.iter().copied().collect();
        prop_assert_eq!(once.len(), got.len(), "doubled: {:?}", got);
        let declared = gaps(&world.out);
        let repaired = repairs(&world.out);
        for id in 11..=world.last {
            let time = trade(id).time;
            let open = declared.iter().any(|(from, to, _)| (*from..*to).contains(&time));
            if world.lost.contains(&id) {
                prop_assert!(!once.contains(&id));
                prop_assert!(open, "{id} is lost and in no gap: {declared:?}");
            } else {
                prop_assert!(once.contains(&id), "{id} never came: {declared:?}");
            }
        }
        // A gap of which nothing is lost was said to be whole again. What a broken connection may
        // have missed becomes one with the numbers that are known to be missing, and is whole
        // when all of these came.
        let missing: Vec<i64> = world.lost.range(..=world.last).copied().collect();
        for (from, to, reason) in &declared {
            let inside = |id: &i64| (*from..*to).contains(&trade(*id).time);
            let unknown = reason.starts_with("the connection was down") && !missing.is_empty();
            let whole = repaired.iter().any(|(start, end)| start <= from && to <= end);
            let lost = unknown || missing.iter().any(inside);
            prop_assert!(lost || whole, "{reason}: {from} {to}: {repaired:?}");
        }
        // Heartbeats go forward and keep behind trades that come in order.
        let times = beats(&world.out);
        prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(world.line.held.is_empty());
    }
}
