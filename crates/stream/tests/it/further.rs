//! Bars beside the candles of a pass, and what becomes of a saved state when others are asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use foretell_market::{BarSpec, CountBar, FeedEvent, Instrument, RowFlags, Trade};
use foretell_stream::codec::{Encoding, Instruments, decode_ohlcv};
use foretell_stream::{CandleOperator, CandleSettings, Ohlcv, Operator, Outbox, Record, Stored};

use crate::market::{FAULTS, Faults, arrivals, instruments, records};
use crate::river::{candle_settings, topics};

const TIDY: Faults = Faults { late: 0, twice: 0, quiet: 0, gaps: 0 };

/// Further bars of the first instrument alone.
fn of_btc(bars: &[&str]) -> BTreeMap<Instrument, Vec<BarSpec>> {
    let bars = bars.iter().map(|bar| bar.parse().unwrap()).collect();
    [(instruments().remove(0), bars)].into()
}

fn operator(further: &[&str]) -> CandleOperator {
    let settings =
        CandleSettings { bars: vec!["1m".parse().unwrap()], ..candle_settings(Encoding::Json) };
    CandleOperator::new(settings, topics()).and_of(of_btc(further))
}

/// Works through records in pieces, each with another list of bars and behind a restart.
fn work(pieces: &[(&[Stored], &[&str])]) -> Vec<Ohlcv> {
    let mut state: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let (mut out, mut names) = (Outbox::new(&topics()), Instruments::default());
    for (records, further) in pieces {
        let mut operator = operator(further);
        let saved: Vec<(Bytes, Bytes)> = state.clone().into_iter().collect();
        operator.restore(&saved).unwrap();
        operator.process(records, &mut out).unwrap();
        for (key, value) in operator.save() {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
    let written = out
        .take()
        .into_iter()
        .map(|(_, _, Record { value, time, .. })| decode_ohlcv(&value, time, &mut names).unwrap());
    written.collect()
}

fn stored(seed: u64, faults: Faults) -> Vec<Stored> {
    let all = records(&arrivals(seed, 400, faults), Encoding::Avro, 2);
    let numbered = all.into_iter().enumerate();
    numbered.map(|(n, (_, record))| Stored { offset: n as u64, record }).collect()
}

fn bars(written: &[Ohlcv], kind: &str) -> Vec<CountBar> {
    let count = |one: &Ohlcv| match one {
        Ohlcv::Counted(of) if of.bar.spec.to_string() == kind => {
            assert_eq!(of.instrument, instruments()[0], "nobody asked for others");
            Some(of.bar)
        }
        _ => None,
    };
    written.iter().filter_map(count).collect()
}

fn windows(written: &[Ohlcv], interval: &str) -> Vec<Ohlcv> {
    let of = |one: &&Ohlcv| matches!(one, Ohlcv::Closed(closed) if closed.interval.to_string() == interval);
    written.iter().filter(of).cloned().collect()
}

#[test]
fn one_pass_makes_what_passes_of_their_own_would() {
    let all = stored(5, FAULTS);
    let together = work(&[(&all, &["5m", "tick-20", "volume-12.5", "dollar-5000"])]);
    for kind in ["tick-20", "volume-12.5", "dollar-5000"] {
        let alone = work(&[(&all, &[kind])]);
        assert!(bars(&alone, kind).len() > 10, "{kind}");
        assert_eq!(bars(&together, kind), bars(&alone, kind), "{kind}");
        assert_eq!(windows(&together, "1m"), windows(&alone, "1m"), "{kind}");
    }
    let long = windows(&together, "5m");
    assert!(long.len() > 10);
    assert_eq!(long, windows(&work(&[(&all, &["5m"])]), "5m"));
    let Ohlcv::Closed(first) = &long[0] else { panic!("it is of a window") };
    assert_eq!(first.instrument, instruments()[0]);
}

#[test]
fn a_saved_state_goes_on_with_what_it_has_when_others_are_asked_for() {
    let all = stored(9, TIDY);
    let (first, rest) = all.split_at(400);
    let (second, third) = rest.split_at(400);
    let whole = work(&[(&all, &["tick-20"])]);
    let changed = work(&[
        (first, &["tick-20"]),
        (second, &["tick-7", "5m"]),
        (third, &["tick-7", "tick-20"]),
    ]);
    // What was asked for all the time is as if nothing had happened.
    assert_eq!(windows(&changed, "1m"), windows(&whole, "1m"));

    let trades = |part: &[Stored]| {
        let btc = part.iter().filter(|s| s.record.key == "BTC/USD");
        btc.count() as u64
    };
    // A new kind begins with the next trade and counts each from then on.
    let sevens = bars(&changed, "tick-7");
    assert_eq!(sevens.len() as u64, (trades(second) + trades(third)) / 7);
    let begun = arrivals(9, 400, TIDY).into_iter().filter_map(|a| match a.event {
        FeedEvent::Trade(trade) if trade.instrument == instruments()[0] => Some(trade),
        _ => None,
    });
    let begun: Vec<Trade> = begun.skip(trades(first) as usize).collect();
    for (bar, trades) in sevens.iter().zip(begun.chunks_exact(7)) {
        assert_eq!((bar.candle.open, bar.candle.close), (trades[0].price, trades[6].price));
        assert_eq!(bar.flags, RowFlags::NONE);
    }
    let numbers: Vec<u64> = sevens.iter().map(|bar| bar.number).collect();
    assert_eq!(numbers, (0..sevens.len() as u64).collect::<Vec<_>>());

    // One that is asked for again has no number twice, and says that trades are missing.
    let twenties = bars(&changed, "tick-20");
    let before = (trades(first) / 20) as usize;
    assert_eq!(twenties[..before], bars(&whole, "tick-20")[..before]);
    assert_eq!(twenties.len() as u64, trades(first) / 20 + trades(third) / 20);
    let numbers: Vec<u64> = twenties.iter().map(|bar| bar.number).collect();
    assert_eq!(numbers, (0..twenties.len() as u64).collect::<Vec<_>>());
    let tainted: Vec<usize> =
        (0..twenties.len()).filter(|n| twenties[*n].flags.contains(RowFlags::TAINTED)).collect();
    assert_eq!(tainted, [before]);
    // Windows that are asked for later begin with one of which the start is not known.
    let Some(Ohlcv::Closed(first)) = windows(&changed, "5m").first().cloned() else {
        panic!("there are some")
    };
    let foretell_market::Bar::Candle(version) = first.bar else { panic!("it has trades") };
    assert!(version.flags.contains(RowFlags::TAINTED));
}
