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
    let silent = |bar: &Bar| match bar {
        Bar::Silent { from, to, reason, .. } => (from.secs(), to.secs(), *reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(candle(&out[0]).candle.open_time, secs(0));
    assert_eq!(silent(&out[1]), (60, 180, Silence::NoTrade));
    assert_eq!(silent(&out[2]), (180, 240, Silence::NoTrade));
    assert_eq!(silent(&out[3]), (240, 300, Silence::FeedDown));
    assert_eq!(silent(&out[4]), (300, 420, Silence::NoTrade));
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
    let repaired = FeedEvent::Repaired { instrument: instrument(), from: secs(50), to: secs(70) };
    let whole = run(&mut bars, &[late(55, 9.0, 1.0, 130), arrival(repaired, 131)]);
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
        let mut known_at = secs(i64::MIN / 2_000_000);
        for bar in &out {
            match bar {
                Bar::Candle(version) => {
                    prop_assert!(version.known_at >= known_at);
                    known_at = version.known_at;
                    let before = last.insert(version.candle.open_time, *version);
                    prop_assert_eq!(version.version, before.map_or(1, |b: CandleVersion| b.version + 1));
                }
                Bar::Silent { .. } => {}
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
                Bar::Silent { from, to, .. } => spans.push((from.secs(), to.secs())),
                _ => {}
            }
        }
        for pair in spans.windows(2) {
            prop_assert_eq!(pair[0].1, pair[1].0);
        }
        prop_assert_eq!(spans.last().map(|s| s.1), Some((time + 600) / 60 * 60));
    }
}
