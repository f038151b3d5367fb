//! Windows close when event time has passed them, whatever order trades come in.

use proptest::prelude::*;

use super::*;
use crate::Instrument;

const SECOND: i64 = 1_000_000;

fn instrument() -> Instrument {
    "BTC-USD".parse().unwrap()
}

fn secs(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn arrival(event: FeedEvent, at: i64) -> Arrival {
    Arrival { event, at: secs(at), backfilled: false }
}

/// A trade that arrives one second after it happened.
fn trade(time: i64, price: f64, quantity: f64) -> Arrival {
    late(time, price, quantity, time + 1)
}

fn late(time: i64, price: f64, quantity: f64, at: i64) -> Arrival {
    let trade =
        Trade { instrument: instrument(), time: secs(time), id: None, price, quantity, side: None };
    arrival(FeedEvent::Trade(trade), at)
}

fn heartbeat(time: i64) -> Arrival {
    arrival(FeedEvent::Heartbeat { instrument: instrument(), time: secs(time) }, time + 2)
}

fn gap(from: i64, to: i64, at: i64) -> Arrival {
    let (from, to, reason) = (secs(from), secs(to), "the connection was lost".to_owned());
    arrival(FeedEvent::Gap { instrument: instrument(), from, to, reason }, at)
}

fn minute(allowed: i64) -> Tumbling {
    Tumbling::new(Interval::MINUTE, Lateness { delay: 0, allowed: allowed * SECOND })
}

fn repaired(from: i64, to: i64, at: i64) -> Arrival {
    let (from, to) = (secs(from), secs(to));
    arrival(FeedEvent::Repaired { instrument: instrument(), from, to }, at)
}

fn silent(bar: &Bar) -> (i64, i64, Silence, u32) {
    match bar {
        Bar::Silent { from, to, reason, version, .. } => {
            (from.secs(), to.secs(), *reason, *version)
        }
        other => panic!("{other:?} is no silence"),
    }
}

fn run(bars: &mut Tumbling, events: &[Arrival]) -> Vec<Bar> {
    let mut out = Vec::new();
    for event in events {
        bars.feed(event, |bar| out.push(bar));
    }
    out
}

fn candle(bar: &Bar) -> CandleVersion {
    let Bar::Candle(candle) = bar else { panic!("{bar:?} is no candle") };
    *candle
}

#[test]
fn a_candle_is_known_when_what_closes_it_arrives() {
    let out =
        run(&mut minute(0), &[trade(0, 10.0, 1.0), trade(59, 12.0, 3.0), trade(61, 9.0, 1.0)]);
    assert_eq!(out.len(), 1);
    let closed = candle(&out[0]);
    assert_eq!((closed.candle.open, closed.candle.close, closed.candle.high), (10.0, 12.0, 12.0));
    assert_eq!((closed.candle.trades, closed.candle.volume), (Some(2), 4.0));
    assert_eq!(closed.vwap(), 11.5);
    assert_eq!((closed.known_at, closed.version, closed.flags), (secs(62), 1, RowFlags::NONE));
}

#[test]
fn no_trade_and_no_feed_are_told_apart() {
    let mut bars = minute(0);
    let events =
        [trade(0, 10.0, 1.0), heartbeat(180), gap(250, 290, 291), heartbeat(420), heartbeat(430)];
    let out = run(&mut bars, &events);
    assert_eq!(candle(&out[0]).candle.open_time, secs(0));
    assert_eq!(silent(&out[1]), (60, 180, Silence::NoTrade, 1));
    assert_eq!(silent(&out[2]), (180, 240, Silence::NoTrade, 1));
    assert_eq!(silent(&out[3]), (240, 300, Silence::FeedDown, 1));
    assert_eq!(silent(&out[4]), (300, 420, Silence::NoTrade, 1));
    assert_eq!(out.len(), 5);
}

#[test]
fn a_late_trade_makes_a_new_version_until_its_time_is_over() {
    let mut bars = minute(60);
    let events = [trade(0, 10.0, 1.0), trade(61, 11.0, 1.0), late(30, 14.0, 2.0, 70)];
    let out = run(&mut bars, &events);
    let corrected = candle(&out[1]);
    assert_eq!((corrected.candle.high, corrected.candle.close), (14.0, 14.0));
    assert_eq!((corrected.version, corrected.known_at), (2, secs(70)));
    assert_eq!(corrected.flags, RowFlags::LATE | RowFlags::CORRECTED);
    // Event time at 120: the window that ended at 60 takes nothing any more.
    let out = run(&mut bars, &[trade(120, 11.0, 1.0), late(31, 99.0, 1.0, 130)]);
    assert_eq!(out.len(), 2);
    assert_eq!(out[1], Bar::TooLate { time: secs(31), id: None, known_at: secs(130) });
}

#[test]
fn a_gap_taints_what_it_touches_and_a_repair_takes_it_back() {
    let mut bars = minute(600);
    run(&mut bars, &[trade(0, 10.0, 1.0), trade(61, 11.0, 1.0)]);
    let tainted = run(&mut bars, &[gap(50, 70, 75), trade(121, 12.0, 1.0)]);
    let flags: Vec<_> = tainted.iter().map(|b| candle(b).flags).collect();
    assert_eq!(flags, [RowFlags::CORRECTED | RowFlags::TAINTED, RowFlags::TAINTED]);
    let whole = run(&mut bars, &[late(55, 9.0, 1.0, 130), repaired(50, 70, 131)]);
    let versions: Vec<_> = whole.iter().map(|b| (candle(b).version, candle(b).flags)).collect();
    let (late, corrected) = (RowFlags::LATE, RowFlags::CORRECTED);
    assert_eq!(
        versions,
        [(3, late | corrected | RowFlags::TAINTED), (4, late | corrected), (2, corrected)]
    );
}

#[test]
fn the_window_that_a_feed_began_in_is_tainted() {
    let out = run(&mut minute(0), &[trade(30, 10.0, 1.0), trade(61, 9.0, 1.0), heartbeat(120)]);
    let flags: Vec<_> = out.iter().map(|b| candle(b).flags).collect();
    assert_eq!(flags, [RowFlags::TAINTED, RowFlags::NONE]);
}

#[test]
fn silences_are_corrected_by_gaps_and_repairs_that_are_told_of_later() {
    let (up, down) = (Silence::NoTrade, Silence::FeedDown);
    let mut bars = minute(600);
    let told = run(&mut bars, &[trade(0, 1.0, 1.0), heartbeat(360)]);
    assert_eq!(told[1..].iter().map(silent).collect::<Vec<_>>(), [(60, 360, up, 1)]);
    let told = run(&mut bars, &[gap(130, 200, 370)]);
    assert_eq!(told.iter().map(silent).collect::<Vec<_>>(), [(120, 240, down, 2)]);
    assert!(matches!(told[0], Bar::Silent { known_at, .. } if known_at == secs(370)));
    // A part of it was up after all.
    let told = run(&mut bars, &[repaired(100, 185, 380), repaired(130, 185, 381)]);
    assert_eq!(told.iter().map(silent).collect::<Vec<_>>(), [(120, 180, up, 3)]);
    // A trade that comes into a silence is its correction.
    let told = run(&mut bars, &[late(190, 5.0, 1.0, 390), late(70, 5.0, 1.0, 391)]);
    let versions: Vec<_> = told.iter().map(|b| (candle(b).version, candle(b).flags)).collect();
    let corrected = RowFlags::LATE | RowFlags::CORRECTED;
    assert_eq!(versions, [(3, corrected | RowFlags::TAINTED), (2, corrected)]);
    // What is answered for good stays: [0, 60) and [60, 120) by now.
    let told = run(&mut bars, &[heartbeat(720), gap(0, 400, 730)]);
    assert_eq!(silent(&told[0]), (360, 720, up, 1));
    assert_eq!(
        told[1..].iter().map(silent).collect::<Vec<_>>(),
        [(120, 180, down, 4), (240, 420, down, 2)]
    );
}

#[test]
fn a_trade_before_the_first_window_is_answered_at_the_first_close() {
    let lateness = Lateness { delay: 60 * SECOND, allowed: 0 };
    let mut bars = Tumbling::new(Interval::MINUTE, lateness);
    let events = [trade(130, 10.0, 1.0), late(70, 9.0, 1.0, 132), trade(241, 11.0, 1.0)];
    let out = run(&mut bars, &events);
    let told: Vec<_> =
        out.iter().map(|b| (candle(b).candle.open_time.secs(), candle(b).flags)).collect();
    assert_eq!(told, [(60, RowFlags::TAINTED), (120, RowFlags::TAINTED)]);
    assert_eq!(bars.windows.len(), 1);
}

/// Trades in event time, each delivered up to 30 seconds out of order.
fn shuffled() -> impl Strategy<Value = Vec<(i64, i64, f64, u32)>> {
    prop::collection::vec((0i64..90, 0i64..30, 1.0f64..100.0, 1u32..1000), 1..150)
}

proptest! {
    #[test]
    fn the_last_versions_are_the_candles_of_the_ordered_trades(steps in shuffled()) {
        let mut time = 0;
        let mut trades: Vec<(i64, i64, f64, u32)> = Vec::new();
        for (step, delay, price, quantity) in steps {
            time += step;
            trades.push((time, time + delay, price, quantity));
        }
        let mut arriving = trades.clone();
        arriving.sort_by_key(|t| t.1);
        let events: Vec<Arrival> =
            arriving.iter().map(|t| late(t.0, t.2, f64::from(t.3), t.1)).collect();
        let mut bars = minute(3600);
        let mut out = run(&mut bars, &events);
        out.extend(run(&mut bars, &[heartbeat(time + 120)]));
        let mut last = std::collections::BTreeMap::new();
        let mut answers = std::collections::BTreeMap::new();
        let mut known_at = secs(i64::MIN / 2_000_000);
        for bar in &out {
            match bar {
                Bar::Candle(version) => {
                    prop_assert!(version.known_at >= known_at);
                    known_at = version.known_at;
                    let open_time = version.candle.open_time;
                    last.insert(open_time, *version);
                    let answers: &mut u32 = answers.entry(open_time).or_default();
                    *answers += 1;
                    prop_assert_eq!(version.version, *answers);
                }
                Bar::Silent { from, to, version, .. } => {
                    prop_assert_eq!(*version, 1);
                    for start in (from.secs()..to.secs()).step_by(60) {
                        *answers.entry(secs(start)).or_default() += 1;
                    }
                }
                Bar::TooLate { .. } => prop_assert!(false, "{bar:?}"),
            }
        }
        // The builder of ordered trades is the reference. Of equal times the arrival counts.
        let mut ordered = arriving.clone();
        ordered.sort_by_key(|t| t.0);
        let mut builder = crate::CandleBuilder::new(Interval::MINUTE);
        let mut expected = Vec::new();
        for t in &ordered {
            let FeedEvent::Trade(trade) = late(t.0, t.2, f64::from(t.3), t.1).event else {
                unreachable!()
            };
            expected.extend(builder.push(&trade).unwrap());
        }
        expected.extend(builder.close_until(secs(time + 120)));
        let found: Vec<Candle> = last.values().map(|v| v.candle).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn every_window_is_answered_once_and_a_saved_state_goes_on(
        steps in shuffled(), beats in prop::collection::vec(0usize..150, 0..10), cut in 0usize..160
    ) {
        let mut time = 0;
        let mut events = Vec::new();
        for (i, (step, _, price, quantity)) in steps.into_iter().enumerate() {
            time += step;
            events.push(trade(time, price, f64::from(quantity)));
            if beats.contains(&i) {
                events.push(heartbeat(time + 45));
                events.push(gap(time - 40, time - 10, time + 50));
            }
        }
        events.push(heartbeat(time + 600));
        let whole = run(&mut minute(60), &events);
        let cut = cut.min(events.len());
        let mut first = minute(60);
        let mut pieces = run(&mut first, &events[..cut]);
        let saved = serde_json::to_string(&first).unwrap();
        let mut second: Tumbling = serde_json::from_str(&saved).unwrap();
        pieces.extend(run(&mut second, &events[cut..]));
        prop_assert_eq!(&pieces, &whole);
        // First versions and silences tile the time from the first event to the end.
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for bar in &whole {
            match bar {
                Bar::Candle(v) if v.version == 1 && !v.flags.contains(RowFlags::LATE) => {
                    spans.push((v.candle.open_time.secs(), v.candle.open_time.secs() + 60));
                }
                Bar::Silent { from, to, version: 1, .. } => spans.push((from.secs(), to.secs())),
                _ => {}
            }
        }
        for pair in spans.windows(2) {
            prop_assert_eq!(pair[0].1, pair[1].0);
        }
        prop_assert_eq!(spans.last().map(|s| s.1), Some((time + 600) / 60 * 60));
    }

    #[test]
    fn every_trade_is_in_one_candle_or_too_late_and_memory_is_bounded(
        steps in prop::collection::vec((0i64..900, 0u32..1000, any::<bool>()), 1..120),
        delay in 0i64..300, allowed in 0i64..300,
    ) {
        let lateness = Lateness { delay: delay * SECOND, allowed: allowed * SECOND };
        let mut bars = Tumbling::new(Interval::MINUTE, lateness);
        let mut out = Vec::new();
        // In any order whatever.
        let mut drift = 0;
        for (n, (time, quantity, beat)) in steps.iter().enumerate() {
            drift += i64::from(*beat) * 40;
            let event = if *beat && n % 3 == 0 {
                heartbeat(time + drift)
            } else {
                late(time + drift, 1.0, f64::from(*quantity), 10_000 + n as i64)
            };
            out.extend(run(&mut bars, &[event]));
            let most = ((delay + allowed) / 60 + 3) as usize;
            prop_assert!(bars.windows.len() <= most, "{} windows", bars.windows.len());
            prop_assert!(bars.silences.len() <= most, "{} silences", bars.silences.len());
            prop_assert!(bars.gaps.len() <= 1);
        }
        out.extend(run(&mut bars, &[heartbeat(100_000)]));
        prop_assert_eq!((bars.windows.len(), bars.gaps.len()), (0, 0));
        let mut last = std::collections::BTreeMap::new();
        let mut too_late = 0;
        for bar in &out {
            match bar {
                Bar::Candle(v) => {
                    last.insert(v.candle.open_time, v.candle.trades.unwrap());
                }
                Bar::TooLate { .. } => too_late += 1,
                Bar::Silent { from, .. } => prop_assert!(!last.contains_key(from)),
            }
        }
        let trades = steps.iter().enumerate().filter(|(n, s)| !(s.2 && n % 3 == 0)).count();
        prop_assert_eq!(last.values().sum::<u64>() + too_late, trades as u64);
    }
}
