//! Records as bytes: both encodings carry everything, and Avro's bytes are Avro's.

use foretell_feature::FeatureRow;
use foretell_market::{
    Arrival, Bar, Candle, CandleVersion, CountBar, FeedEvent, Fingerprint, Interval, RowFlags,
    Side, Silence, Timestamp, Trade,
};
use foretell_stream::codec::{
    Encoding, Instruments, avro, decode_arrival, decode_closed, decode_features, decode_ohlcv,
    encode_arrival, encode_closed, encode_counted, encode_features,
};
use foretell_stream::{Closed, Counted, FeatureRecord, Ohlcv};
use proptest::prelude::*;

const AT: Timestamp = Timestamp::from_micros(1_718_616_960_123_456);

fn events() -> impl Strategy<Value = FeedEvent> {
    let instrument = || "BTC-USD".parse().unwrap();
    let time =
        || (1_000_000_000_000_000i64..1_718_616_960_000_000).prop_map(Timestamp::from_micros);
    let side =
        prop::option::of(prop::bool::ANY.prop_map(|b| if b { Side::Buy } else { Side::Sell }));
    prop_oneof![
        (time(), 1e-12f64..1e12, 0.0f64..1e9, prop::option::of(any::<i64>()), side).prop_map(
            move |(time, price, quantity, id, side)| {
                FeedEvent::Trade(Trade {
                    instrument: instrument(),
                    time,
                    id,
                    price,
                    quantity,
                    side,
                })
            }
        ),
        time().prop_map(move |time| FeedEvent::Heartbeat { instrument: instrument(), time }),
        (time(), 1i64..1_000_000, ".{0,40}").prop_map(move |(from, span, reason)| {
            let to = Timestamp::from_micros(from.micros() + span);
            FeedEvent::Gap { instrument: instrument(), from, to, reason }
        }),
        (time(), 1i64..1_000_000).prop_map(move |(from, span)| {
            let to = Timestamp::from_micros(from.micros() + span);
            FeedEvent::Repaired { instrument: instrument(), from, to }
        }),
        (time(), ".{0,40}").prop_map(move |(time, reason)| {
            FeedEvent::Renumbered { instrument: instrument(), time, reason }
        }),
    ]
}

fn bars() -> impl Strategy<Value = Bar> {
    let known_at = AT;
    let minute = (16_000_000i64..20_000_000).prop_map(|m| Timestamp::from_secs(m * 60));
    let numbers = (1.0f64..1e6, 0.0f64..1e6, prop::option::of(any::<u32>()), 1u32..9, 0u32..512);
    prop_oneof![
        (minute.clone(), numbers).prop_map(
            move |(open_time, (price, volume, trades, version, flags))| {
                let (open, close) = (price, price * 1.5);
                let candle = Candle {
                    open_time,
                    open,
                    high: close,
                    low: open,
                    close,
                    volume,
                    trades: trades.map(u64::from),
                };
                let flags = RowFlags::from_bits(flags);
                Bar::Candle(CandleVersion {
                    candle,
                    notional: price * volume,
                    known_at,
                    version,
                    flags,
                })
            }
        ),
        (minute.clone(), 1i64..99, any::<bool>(), 1u32..9).prop_map(
            move |(from, n, up, version)| {
                let reason = if up { Silence::NoTrade } else { Silence::FeedDown };
                Bar::Silent { from, to: from.plus_secs(n * 60), reason, known_at, version }
            }
        ),
        (minute, prop::option::of(any::<i64>())).prop_map(move |(time, id)| Bar::TooLate {
            time,
            id,
            known_at
        }),
    ]
}

fn count_bars() -> impl Strategy<Value = CountBar> {
    let numbers = (any::<u32>(), 1.0f64..1e6, 1e-9f64..1e6, 0i64..1_000_000, 0u32..512);
    let bound = prop_oneof![
        (1..=u64::MAX).prop_map(|n| format!("tick-{n}")),
        (1e-9f64..1e12).prop_map(|n| format!("volume-{n}")),
        (1e-9f64..1e12).prop_map(|n| format!("dollar-{n}")),
    ];
    (numbers, bound).prop_map(|((number, price, volume, length, flags), bound)| CountBar {
        spec: bound.parse().unwrap(),
        number: number.into(),
        candle: Candle {
            open_time: Timestamp::from_micros(AT.micros() - length),
            open: price,
            high: price * 1.5,
            low: price,
            close: price,
            volume,
            trades: Some(number.into()),
        },
        end: AT,
        notional: price * volume,
        known_at: AT,
        flags: RowFlags::from_bits(flags),
    })
}

proptest! {
    #[test]
    fn both_encodings_carry_everything(
        event in events(), backfilled in any::<bool>(), bar in bars(), count in count_bars(),
        values in prop::collection::vec(-1e9f64..1e9, 0..70), cut in 0usize..400,
    ) {
        let mut names = Instruments::default();
        let arrival = Arrival { event, at: AT, backfilled };
        let closed = Closed { instrument: "ETH-EUR".parse().unwrap(), interval: Interval::MINUTE, bar };
        let counted = Counted { instrument: "ETH-EUR".parse().unwrap(), bar: count };
        let row = FeatureRow {
            instrument: "ETH-EUR".parse().unwrap(),
            interval: Interval::MINUTE,
            as_of: Timestamp::from_secs(1_718_616_960),
            known_at: AT,
            names: (0..values.len()).map(|i| format!("feature_{i}")).collect(),
            features: values.clone(),
            context_names: ["log_return".to_owned()].into(),
            context: vec![-0.001],
            base_price: 3401.25,
            flags: RowFlags::LATE | RowFlags::TAINTED,
            gaps_in_window: 3,
            filled_in_window: 1,
            feature_set: Fingerprint::of_bytes(b"a set"),
        };
        let record = FeatureRecord { hash: row.hash(), version: 2, row };
        for encoding in [Encoding::Json, Encoding::Avro] {
            let mut bytes = Vec::new();
            encode_arrival(&arrival, encoding, &mut bytes);
            prop_assert_eq!(&decode_arrival(&bytes, AT, 2_000_000, &mut names).unwrap(), &arrival);
            let short = &bytes[..cut.min(bytes.len() - 1)];
            prop_assert!(decode_arrival(short, AT, 2_000_000, &mut names).is_err());
            bytes.clear();
            encode_closed(&closed, encoding, &mut bytes);
            prop_assert_eq!(&decode_closed(&bytes, AT, &mut names).unwrap(), &closed);
            let short = &bytes[..cut.min(bytes.len() - 1)];
            prop_assert!(decode_closed(short, AT, &mut names).is_err());
            bytes.clear();
            encode_counted(&counted, encoding, &mut bytes);
            let found = decode_ohlcv(&bytes, AT, &mut names).unwrap();
            prop_assert_eq!(found, Ohlcv::Counted(counted.clone()));
            prop_assert!(decode_closed(&bytes, AT, &mut names).is_err());
            let short = &bytes[..cut.min(bytes.len() - 1)];
            prop_assert!(decode_ohlcv(short, AT, &mut names).is_err());
            bytes.clear();
            encode_features(&record, encoding, &mut bytes);
            prop_assert_eq!(&decode_features(&bytes).unwrap(), &record);
        }
    }

    #[test]
    fn foreign_bytes_are_refused_and_never_crash(bytes in prop::collection::vec(any::<u8>(), 0..200), which in 0usize..5) {
        let mut names = Instruments::default();
        let mut value = bytes;
        if let Some((mark, _)) = avro::SCHEMAS.get(which) {
            let mut marked = vec![avro::MARKER, 1];
            marked.extend(mark.to_le_bytes());
            marked.extend(value);
            value = marked;
        }
        let _ = decode_arrival(&value, AT, 0, &mut names);
        let _ = decode_ohlcv(&value, AT, &mut names);
        prop_assert!(decode_features(&value).is_err());
    }
}

/// What the Kraken stream of others writes, without anything of ours.
#[test]
fn records_of_other_programs_are_read() {
    let text = br#"{"product_id":"BTC/EUR","quantity":0.5,"price":60123.4,"timestamp_ms":1718616960000,"more":[1]}"#;
    let arrival = decode_arrival(text, AT, 0, &mut Instruments::default()).unwrap();
    let FeedEvent::Trade(trade) = arrival.event else { panic!("it is a trade") };
    assert_eq!((trade.instrument.as_str(), trade.price, trade.quantity), ("BTC-EUR", 60123.4, 0.5));
    assert_eq!((trade.time, arrival.at), (Timestamp::from_millis(1_718_616_960_000), AT));
    let text = br#"{"product_id":"BTC/EUR","start":1718616960000,"end":1718617020000,"open":1,"high":2,"low":1,"close":2,"volume":3}"#;
    let closed = decode_closed(text, AT, &mut Instruments::default()).unwrap();
    assert_eq!(closed.interval, Interval::MINUTE);
    let wrong = br#"{"product_id":"BTC/EUR","ts":1,"price":2}"#;
    let refusal = decode_closed(wrong, AT, &mut Instruments::default()).unwrap_err();
    assert_eq!(refusal.to_string(), "there is no field `end`");
}

/// Bytes and fingerprints of fastavro (`tests/reference/avro_records.py`), from our schemas.
#[test]
fn avro_is_what_another_program_writes() {
    let text = include_str!("../../../../tests/data/reference/avro-records.json");
    let reference: serde_json::Value = serde_json::from_str(text).unwrap();
    let names = ["ARRIVAL", "CLOSED", "COUNTED", "FEATURES"];
    for (name, (mark, schema)) in names.into_iter().zip(avro::SCHEMAS) {
        let expected = &reference["schemas"][name];
        assert_eq!(expected["canonical"], schema, "{name} is in parsing canonical form");
        let mark: String = mark.to_le_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(expected["fingerprint"], mark, "{name}");
    }
    let minute = Timestamp::from_micros(1_718_616_960_000_000);
    let instrument: foretell_market::Instrument = "BTC-USD".parse().unwrap();
    let trade = |id, side| {
        let time = Timestamp::from_micros(AT.micros() - 1000);
        let instrument = instrument.clone();
        FeedEvent::Trade(Trade { instrument, time, id, price: 60123.4, quantity: 0.125, side })
    };
    let (from, to) = (minute, AT);
    let reason = "the cable, häufig".to_owned();
    let said = "1 came after 9".to_owned();
    let own = || instrument.clone();
    let arrivals = [
        ("bought", trade(Some(70_000_000_000), Some(Side::Buy)), false),
        ("sold", trade(Some(-1), Some(Side::Sell)), true),
        ("bare", trade(None, None), false),
        ("heartbeat", FeedEvent::Heartbeat { instrument: own(), time: AT }, false),
        ("gap", FeedEvent::Gap { instrument: own(), from, to, reason }, false),
        ("repaired", FeedEvent::Repaired { instrument: own(), from, to }, false),
        ("renumbered", FeedEvent::Renumbered { instrument: own(), time: AT, reason: said }, false),
    ];
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut bytes = Vec::new();
    for (name, event, backfilled) in arrivals {
        encode_arrival(&Arrival { event, at: AT, backfilled }, Encoding::Avro, &mut bytes);
        found.push((name, std::mem::take(&mut bytes)));
    }
    let candle = |trades, version, flags| {
        let candle = Candle {
            open_time: minute,
            open: 1.5,
            high: 4.0,
            low: 0.5,
            close: 2.25,
            volume: 300.0,
            trades,
        };
        let flags = RowFlags::from_bits(flags);
        Bar::Candle(CandleVersion { candle, notional: 600.75, known_at: AT, version, flags })
    };
    let silent = |reason, version| Bar::Silent { from, to, reason, known_at: AT, version };
    let bars = [
        ("candle", candle(Some(12), 1, 0)),
        ("corrected", candle(None, 300, 511)),
        ("no trade", silent(Silence::NoTrade, 1)),
        ("feed down", silent(Silence::FeedDown, 2)),
        ("too late", Bar::TooLate { time: Timestamp::from_micros(-1), id: Some(7), known_at: AT }),
        ("too late, no id", Bar::TooLate { time: minute, id: None, known_at: AT }),
    ];
    for (name, bar) in bars {
        let closed = Closed { instrument: own(), interval: Interval::MINUTE, bar };
        encode_closed(&closed, Encoding::Avro, &mut bytes);
        found.push((name, std::mem::take(&mut bytes)));
    }
    let bar = CountBar {
        spec: "dollar-1000000.5".parse().unwrap(),
        number: 300,
        candle: Candle {
            open_time: minute,
            open: 1.5,
            high: 4.0,
            low: 0.5,
            close: 2.25,
            volume: 300.0,
            trades: Some(12),
        },
        end: AT,
        notional: 600.75,
        known_at: AT,
        flags: RowFlags::from_bits(64),
    };
    encode_counted(&Counted { instrument: own(), bar }, Encoding::Avro, &mut bytes);
    found.push(("count bar", std::mem::take(&mut bytes)));
    let row = FeatureRow {
        instrument: "ETH-EUR".parse().unwrap(),
        interval: Interval::MINUTE,
        as_of: minute,
        known_at: AT,
        names: ["log_return_1", "é"].map(str::to_owned).into(),
        features: vec![-0.001, 1e300],
        context_names: [].into(),
        context: Vec::new(),
        base_price: 3401.25,
        flags: RowFlags::from_bits(5),
        gaps_in_window: 3,
        filled_in_window: 1,
        feature_set: Fingerprint::from_bytes(std::array::from_fn(|i| 32 + i as u8)),
    };
    let hash = Fingerprint::from_bytes(std::array::from_fn(|i| i as u8));
    encode_features(&FeatureRecord { hash, version: 2, row }, Encoding::Avro, &mut bytes);
    found.push(("row", bytes));
    let expected = reference["records"].as_object().unwrap();
    assert_eq!(found.len(), expected.len());
    for (name, bytes) in found {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(expected[name], hex, "{name}");
    }
}

/// Times with which sums would run over, or which would close every window for good.
#[test]
fn times_that_no_clock_shows_are_refused() {
    let mut names = Instruments::default();
    let far = i64::MAX;
    for (text, says) in [
        (format!(r#"{{"product_id":"BTC/USD","gap":{{"from_us":1718616960000000,"to_us":{far}}}}}"#), "after 2200"),
        (r#"{"product_id":"BTC/USD","heartbeat_us":7000000000000000,"arrived_us":7000000000000000}"#.to_owned(), "after it was written"),
        (format!(r#"{{"product_id":"BTC/USD","price":1,"quantity":1,"timestamp_ms":{far}}}"#), "is no time"),
        (format!(r#"{{"product_id":"BTC/USD","price":1,"quantity":1,"timestamp_ms":1718616960000,"arrived_us":{far}}}"#), "after 2200"),
    ] {
        let refusal = decode_arrival(text.as_bytes(), AT, 0, &mut names).unwrap_err();
        assert!(refusal.to_string().contains(says), "{refusal}");
    }
    let candle = |start: i64, known: &str| {
        format!(
            r#"{{"product_id":"BTC/USD","interval":"1m","start":{start},"open":1,"high":2,"low":1,"close":2,"volume":3{known}}}"#
        )
    };
    let known = |us: i64| format!(r#","known_at_us":{us}"#);
    for (text, says) in [
        (candle(4_102_444_800_000, ""), "after it was written"),
        (candle(1_718_616_900_000, &known(1_718_616_930_000_000)), "before its end"),
        (candle(1_718_616_900_000, &known(1_818_616_930_000_000)), "after it was written"),
    ] {
        let refusal = decode_closed(text.as_bytes(), AT, &mut names).unwrap_err();
        assert!(refusal.to_string().contains(says), "{refusal}");
    }
    let late = candle(1_718_616_780_000, "");
    let closed = decode_closed(late.as_bytes(), AT, &mut names).unwrap();
    let Bar::Candle(version) = closed.bar else { panic!("it is a candle") };
    assert_eq!(version.known_at, AT, "known when it was written, not at its end");
}
