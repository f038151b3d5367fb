//! Bars by count against pandas, and what they do about disorder and gaps.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Instrument;

fn instrument() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn arrival(event: FeedEvent, at: i64) -> Arrival {
    Arrival { event, at: Timestamp::from_secs(at), backfilled: false }
}

fn trade(time: i64, price: f64, quantity: f64) -> Arrival {
    let (instrument, time) = (instrument(), Timestamp::from_secs(time));
    let trade = Trade { instrument, time, id: None, price, quantity, side: None };
    let at = trade.time.secs() + 1;
    arrival(FeedEvent::Trade(trade), at)
}

fn bars(spec: &str, events: &[Arrival]) -> Vec<CountBar> {
    let mut counting = Counting::new(spec.parse().unwrap());
    events.iter().filter_map(|event| counting.feed(event)).collect()
}

/// `tests/reference/count_bars.py`: exact decimals decide where bars end.
#[test]
fn bars_are_those_of_pandas_on_recorded_trades() {
    let text = include_str!("../../../../tests/data/payloads/kraken/trades_2025.json");
    let recorded: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let rows = recorded["result"]["XBTUSDT"].as_array().unwrap();
    let events: Vec<Arrival> = rows
        .iter()
        .map(|row| trade(row[2].as_f64().unwrap() as i64, number(&row[0]), number(&row[1])))
        .collect();
    assert_eq!(events.len(), 420);
    let text = include_str!("../../../../tests/data/reference/count-bars.json");
    let reference: Value = serde_json::from_str(text).unwrap();
    for (spec, expected) in reference["bars"].as_object().unwrap() {
        let found = bars(spec, &events);
        let expected = expected.as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{spec}");
        for (bar, expected) in found.iter().zip(expected) {
            let candle = &bar.candle;
            let close = |found: f64, name: &str| {
                let wanted = expected[name].as_f64().unwrap();
                assert!(
                    (found - wanted).abs() <= 1e-12 * wanted,
                    "{spec} {name}: {found} {wanted}"
                );
            };
            close(candle.open, "open");
            close(candle.high, "high");
            close(candle.low, "low");
            close(candle.close, "close");
            close(candle.volume, "volume");
            close(bar.notional, "notional");
            assert_eq!(candle.trades, expected["trades"].as_u64(), "{spec}");
        }
        let numbers: Vec<u64> = found.iter().map(|bar| bar.number).collect();
        assert_eq!(numbers, (0..found.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_trade_that_reaches_the_bound_is_not_split_and_is_known_when_it_comes() {
    let found = bars("volume-10", &[trade(0, 2.0, 4.0), trade(1, 3.0, 9.0), trade(2, 1.0, 1.0)]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].candle.volume, found[0].notional), (13.0, 35.0));
    assert_eq!(
        (found[0].candle.open_time, found[0].end),
        (Timestamp::from_secs(0), Timestamp::from_secs(1))
    );
    assert_eq!((found[0].known_at, found[0].flags), (Timestamp::from_secs(2), RowFlags::NONE));
}

#[test]
fn late_trades_count_where_they_come_and_gaps_taint() {
    let (from, to) = (Timestamp::from_secs(3), Timestamp::from_secs(4));
    let (reason, own) = ("the connection was lost".to_owned(), instrument());
    let gap = arrival(FeedEvent::Gap { instrument: own, from, to, reason }, 5);
    let repaired = arrival(FeedEvent::Repaired { instrument: instrument(), from, to }, 6);
    let at = |time| trade(time, 1.0, 1.0);
    let events = [at(1), at(2), gap, repaired, at(5), at(1), at(6), at(7), at(8), at(9)];
    let flags: Vec<RowFlags> = bars("tick-2", &events).iter().map(|bar| bar.flags).collect();
    let late_and_tainted = RowFlags::LATE | RowFlags::TAINTED;
    assert_eq!(flags, [RowFlags::NONE, late_and_tainted, RowFlags::NONE, RowFlags::NONE]);
}

#[test]
fn a_bar_is_named_as_people_write_it() {
    for text in ["1m", "tick-100", "volume-12.5", "dollar-1000000"] {
        let spec: BarSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), text);
        assert_eq!(serde_json::from_str::<BarSpec>(&format!("\"{text}\"")).unwrap(), spec);
    }
    for text in [
        "",
        "tick-0",
        "tick-1.5",
        "volume-0",
        "volume--1",
        "dollar-inf",
        "dollar-NaN",
        "bar-5",
        "tick",
    ] {
        let refused = text.parse::<BarSpec>().unwrap_err().to_string();
        assert!(refused.contains("tick-<trades>"), "{refused}");
    }
}

proptest! {
    #[test]
    fn bars_hold_every_trade_once_and_a_saved_state_goes_on(
        trades in prop::collection::vec((0i64..100, 1.0f64..9.0, 0u32..9), 0..200), cut in 0usize..200,
        spec in prop::sample::select(vec!["tick-7", "volume-20", "dollar-99.5"]),
    ) {
        let events: Vec<Arrival> =
            trades.iter().map(|(t, p, q)| trade(*t, *p, f64::from(*q))).collect();
        let whole = bars(spec, &events);
        let cut = cut.min(events.len());
        let mut first = Counting::new(spec.parse().unwrap());
        let mut pieces: Vec<CountBar> = events[..cut].iter().filter_map(|e| first.feed(e)).collect();
        let saved = serde_json::to_string(&first).unwrap();
        let mut second: Counting = serde_json::from_str(&saved).unwrap();
        pieces.extend(events[cut..].iter().filter_map(|e| second.feed(e)));
        prop_assert_eq!(&pieces, &whole);
        let open = second.open.and_then(|bar| bar.candle.trades).unwrap_or(0);
        let closed: u64 = whole.iter().filter_map(|bar| bar.candle.trades).sum();
        prop_assert_eq!(closed + open, events.len() as u64);
        for bar in &whole {
            prop_assert!(bar.candle.check().is_ok());
            // Without its last trade it had not reached its bound.
            if let CountSpec::Ticks(bound) = bar.spec {
                prop_assert_eq!(bar.candle.trades, Some(bound));
            }
        }
    }
}

#[test]
fn bars_that_are_taken_up_again_go_on_numbering_and_the_first_is_tainted() {
    let events: Vec<Arrival> = (0..5).map(|i| trade(i, 100.0, 1.0)).collect();
    let mut counting = Counting::resumed("tick-2".parse().unwrap(), 7);
    let bars: Vec<CountBar> = events.iter().filter_map(|event| counting.feed(event)).collect();
    let told: Vec<(u64, bool)> =
        bars.iter().map(|bar| (bar.number, bar.flags.contains(RowFlags::TAINTED))).collect();
    assert_eq!(told, [(7, true), (8, false)]);
    assert_eq!(counting.number(), 9);
}
