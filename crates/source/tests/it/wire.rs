//! Vendors' recorded answers, read and refused.

use foretell_market::{CandleBuilder, Interval, Side, Timestamp, Trade};
use foretell_source::kraken::AssetPair;
use foretell_source::{binance, coingecko, kraken};
use proptest::prelude::*;
use serde_json::{Value, json};

const PAYLOADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/payloads");

fn payload(name: &str) -> Vec<u8> {
    std::fs::read(format!("{PAYLOADS}/{name}")).unwrap()
}

#[test]
fn reads_krakens_bars_of_every_year() {
    let page = kraken::parse_ohlc(&payload("kraken/ohlc_2025_1m.json")).unwrap();
    assert_eq!((page.pair.as_str(), page.candles.len()), ("XBTUSDT", 159));
    assert_eq!(page.last, Some(Timestamp::from_secs(1_762_820_160)));
    let last = page.candles[158];
    assert_eq!((last.open_time.secs(), last.close, last.volume), (1_762_820_220, 105_899.4, 0.0));
    assert_eq!((last.trades, page.vwap[158]), (Some(0), 0.0));
    let page = kraken::parse_ohlc(&payload("kraken/ohlc_2023.json")).unwrap();
    assert_eq!((page.pair.as_str(), page.candles[0].open), ("XXBTZUSD", 30_306.1));
    assert_eq!((page.candles[0].trades, page.candles[0].volume), (Some(23), 3.39243896));
    // Some answers of 2026 name the pair with a slash and have no `last`.
    let recent = r#"{"error":[],"result":{"BTC/USD":[[1790348400,"84001.9","84075.9","83351.5",
                   "83777.5","83714.6","159.04",9205]]}}"#;
    let page = kraken::parse_ohlc(recent.as_bytes()).unwrap();
    assert_eq!((page.pair.as_str(), page.last), ("BTC/USD", None));
}

#[test]
fn reads_krakens_trades_with_six_and_seven_values() {
    let page = kraken::parse_trades(&payload("kraken/trades_2023.json")).unwrap();
    assert_eq!(page.last, 1_688_671_969_993_150_842);
    let first = page.trades[0];
    assert_eq!((first.price, first.quantity, first.side), (30_243.4, 0.34507674, Side::Buy));
    assert_eq!((first.time.micros(), first.id), (1_688_669_597_827_736, Some(61_044_952)));
    let old =
        br#"{"error":[],"result":{"XXBTZUSD":[["9597.9","0.0015",1582070402.9817,"s","l",""]],
                  "last":"1582070402981700000"}}"#;
    let page = kraken::parse_trades(old).unwrap();
    assert_eq!((page.trades[0].id, page.trades[0].side), (None, Side::Sell));
    let empty = br#"{"error":[],"result":{"XXBTZUSD":[],"last":"1582070402981700000"}}"#;
    assert_eq!(kraken::parse_trades(empty).unwrap().trades, vec![]);
}

#[test]
fn candles_from_krakens_trades_are_krakens_own_candles() {
    let ohlc = kraken::parse_ohlc(&payload("kraken/ohlc_2025_1m.json")).unwrap();
    let trades = kraken::parse_trades(&payload("kraken/trades_2025.json")).unwrap().trades;
    let mut builder = CandleBuilder::new(Interval::MINUTE);
    let mut built = Vec::new();
    for trade in &trades {
        let trade = Trade {
            instrument: "BTC-USDT".parse().unwrap(),
            time: trade.time,
            id: trade.id,
            price: trade.price,
            quantity: trade.quantity,
            side: Some(trade.side),
        };
        built.extend(builder.push(&trade).unwrap());
    }
    // The first minute may have lost trades to the cut; the last is not closed.
    let mut compared = 0;
    for candle in &built[1..] {
        let theirs = ohlc.candles.iter().find(|c| c.open_time == candle.open_time).unwrap();
        let ours = (candle.open, candle.high, candle.low, candle.close, candle.trades);
        let wanted = (theirs.open, theirs.high, theirs.low, theirs.close, theirs.trades);
        // Kraken's bars have one decimal, its trades five.
        let round = |v: f64| (v * 10.0).round() / 10.0;
        assert_eq!((round(ours.0), round(ours.1), round(ours.2), round(ours.3), ours.4), wanted);
        assert!((candle.volume - theirs.volume).abs() < 1e-8, "{candle:?} {theirs:?}");
        compared += 1;
    }
    assert!(compared > 50, "{compared} minutes with trades");
}

#[test]
fn reads_pairs_and_tickers() {
    let pairs = kraken::parse_asset_pairs(&payload("kraken/asset_pairs_2021.json")).unwrap();
    let btc = pairs.iter().find(|p| p.key == "XXBTZUSD").unwrap();
    assert_eq!((btc.altname.as_str(), btc.wsname.as_deref()), ("XBTUSD", Some("XBT/USD")));
    assert_eq!((btc.base.as_str(), btc.quote.as_str(), &btc.status), ("XXBT", "ZUSD", &None));
    // The websocket's names of the recording, with the two assets that only Kraken writes so.
    let named: Vec<String> = pairs.iter().map(|p| p.instrument().unwrap().to_string()).collect();
    assert_eq!(named, ["AAVE-ETH", "DOGE-USD", "ETH-BTC", "ETH-USD", "BTC-USD"]);
    for pair in &pairs {
        let derived = kraken::pair_of(&pair.instrument().unwrap());
        assert_eq!(derived, pair.altname, "the way there and back");
        assert!(pair.is_named(&pair.key) && pair.is_named(&derived) && !pair.is_named("XBT"));
    }
    let dark = AssetPair { wsname: None, ..pairs[4].clone() };
    assert_eq!(dark.instrument(), None);
    let pairs = kraken::parse_asset_pairs(&payload("kraken/asset_pairs_2025.json")).unwrap();
    assert_eq!(pairs[0].status.as_deref(), Some("online"));
    let (pair, ticker) =
        kraken::parse_ticker(&payload("kraken/ticker_2023.json")).unwrap()[0].clone();
    assert_eq!(
        (pair.as_str(), ticker.ask, ticker.bid, ticker.last),
        ("XXBTZUSD", 30_300.1, 30_300.0, 30_303.2)
    );
    assert_eq!(
        (ticker.volume, ticker.low, ticker.high, ticker.open),
        (4_412.73601799, 29_868.3, 31_631.0, 30_502.8)
    );
}

#[test]
fn reads_binances_klines() {
    let klines = binance::parse_klines(&payload("binance/klines_1m.json")).unwrap();
    assert_eq!((klines.len(), klines[0].open_time.millis()), (60, 1_588_740_120_000));
    assert_eq!(klines[0].close_time.millis() - klines[0].open_time.millis(), 59_999);
    let steps = klines.windows(2).all(|w| w[1].open_time.secs() - w[0].open_time.secs() == 60);
    assert!(steps && klines.iter().all(|k| k.low <= k.high && k.trades > 0));
    assert_eq!(binance::parse_klines(&payload("binance/klines_1h.json")).unwrap().len(), 100);
}

#[test]
fn reads_coingeckos_snapshots() {
    let chart = coingecko::parse_market_chart(&payload("coingecko/market_chart_daily.json"));
    let chart = chart.unwrap();
    let first = chart.snapshots[0];
    assert_eq!(chart.snapshots.len(), 91);
    assert!(first.price > 0.0 && first.market_cap > first.price && first.total_volume > 0.0);
    let nulls = br#"{"prices":[[1,2.0]],"market_caps":[[1,null]],"total_volumes":[[1,3]]}"#;
    let chart = coingecko::parse_market_chart(nulls).unwrap();
    assert!(chart.snapshots[0].market_cap.is_nan());
}

#[track_caller]
fn refused<T: std::fmt::Debug>(parsed: Result<T, foretell_source::SourceError>, pieces: &[&str]) {
    let message = parsed.unwrap_err().to_string();
    for piece in pieces {
        assert!(message.contains(piece), "`{piece}` is not in `{message}`");
    }
}

#[test]
fn refuses_what_it_does_not_understand() {
    let ohlc = |row: Value| {
        let text = json!({"error": [], "result": {"XXBTZUSD": [
            [1_700_000_000, "1", "1", "1", "1", "1", "1", 1], row], "last": 1_700_000_000}});
        kraken::parse_ohlc(text.to_string().as_bytes())
    };
    assert!(ohlc(json!([1_700_000_060, "1", "1", "1", "1", "1", "1", 1])).is_ok());
    refused(
        ohlc(json!([1, "1", "1", "1", "1", "1", 1])),
        &["kraken", "row 2", "7 values instead of 8"],
    );
    refused(
        ohlc(json!(["1", "1", "1", "1", "1", "1", "1", 1])),
        &["row 2", "`time`", "whole number"],
    );
    refused(ohlc(json!([1, "x", "1", "1", "1", "1", "1", 1])), &["row 2", "`open`", "`\"x\"`"]);
    refused(ohlc(json!([1, "1", "NaN", "1", "1", "1", "1", 1])), &["`high`", "not a number"]);
    refused(ohlc(json!([1, "1", "1", null, "1", "1", "1", 1])), &["`low`", "`null`"]);
    refused(ohlc(json!([1, "1", "1", "1", "inf", "1", "1", 1])), &["`close`"]);
    refused(ohlc(json!([1, "1", "1", "1", "1", "1", ["1"], 1])), &["`volume`"]);
    refused(ohlc(json!([1, "1", "1", "1", "1", "1", "1", -1])), &["`count`", "a count"]);
    refused(ohlc(json!([-5, "1", "1", "1", "1", "1", "1", 1])), &["`time`"]);
    refused(ohlc(json!({"time": 1})), &["row 2", "not an array"]);
    let parse = |text: &str| kraken::parse_ohlc(text.as_bytes());
    refused(parse("<html>503</html>"), &["a web page, not JSON", "base URL"]);
    refused(parse(""), &["the answer is empty"]);
    refused(parse(r#"{"error":[],"result":{"X":[[17"#), &["line 1", "cut off"]);
    refused(parse(r#"{"error":[],"result":{"A":[],"B":[]}}"#), &["`result`", "A, B"]);
    refused(parse(r#"{"error":[]}"#), &["`result`", "no result"]);
    refused(
        parse(r#"{"error":["EGeneral:Too many requests"]}"#),
        &["`error`", "Too many requests"],
    );
    refused(parse(r#"{"errors":[]}"#), &["unknown field `errors`"]);
    refused(parse(r#"{"error":[],"result":{"A":[],"last":"x"}}"#), &["`last`", "seconds"]);

    let trade = |row: &str| {
        let text = format!(r#"{{"error":[],"result":{{"A":[{row}],"last":"17"}}}}"#);
        kraken::parse_trades(text.as_bytes())
    };
    assert!(trade(r#"["1","1",1700000000.5,"b","m","",7]"#).is_ok());
    refused(trade(r#"["1","1",1700000000.5,"b","m"]"#), &["row 1", "5 values instead of 6 or 7"]);
    refused(trade(r#"["1","1",1700000000.5,"x","m",""]"#), &["`side`", "`b` or `s`"]);
    refused(trade(r#"["1","1",1e300,"b","m",""]"#), &["`time`"]);
    let no_cursor = br#"{"error":[],"result":{"A":[],"last":-1}}"#;
    refused(kraken::parse_trades(no_cursor), &["`last`", "cursor"]);
    refused(
        kraken::parse_asset_pairs(br#"{"error":[],"result":{"A":{}}}"#),
        &["row 1", "`altname`"],
    );
    refused(kraken::parse_ticker(br#"{"error":[],"result":{"A":{"a":["x"]}}}"#), &["row 1", "`a`"]);

    let kline = |row: Value| binance::parse_klines(json!([row]).to_string().as_bytes());
    let good = json!([1, "1", "1", "1", "1", "1", 2, "1", 3, "1", "1", "0"]);
    assert!(kline(good.clone()).is_ok());
    let with = |index: usize, value: Value| {
        let mut row = good.clone();
        row[index] = value;
        kline(row)
    };
    refused(with(0, json!("1")), &["binance", "row 1", "`open_time`"]);
    refused(with(4, json!("")), &["`close`"]);
    refused(with(8, json!(1.5)), &["`trades`"]);
    refused(kline(json!([1, 2])), &["2 values instead of 12"]);
    refused(binance::parse_klines(br#"{"code":-1121,"msg":"Invalid symbol."}"#), &["not an array"]);

    let chart = |text: &str| coingecko::parse_market_chart(text.as_bytes());
    refused(
        chart(r#"{"prices":[],"market_caps":[]}"#),
        &["coingecko", "missing field `total_volumes`"],
    );
    refused(
        chart(r#"{"prices":[[1,2]],"market_caps":[],"total_volumes":[[1,2]]}"#),
        &["`market_caps`", "0 values for 1 prices"],
    );
    refused(
        chart(r#"{"prices":[[1,2]],"market_caps":[[2,2]],"total_volumes":[[1,2]]}"#),
        &["row 1", "`market_caps`", "not that of the price"],
    );
    refused(
        chart(r#"{"prices":[[1,2,3]],"market_caps":[[1,2]],"total_volumes":[[1,2]]}"#),
        &["row 1", "`prices`", "not a pair"],
    );
    refused(
        chart(r#"{"prices":[[1,"2"]],"market_caps":[[1,2]],"total_volumes":[[1,2]]}"#),
        &["row 1", "`prices`", "not a number"],
    );
}

/// Feeds bytes to every parser; none may panic.
fn all_parsers(bytes: &[u8]) {
    let messages = [
        kraken::parse_ohlc(bytes).err(),
        kraken::parse_trades(bytes).err(),
        kraken::parse_asset_pairs(bytes).err(),
        kraken::parse_ticker(bytes).err(),
        binance::parse_klines(bytes).err(),
        coingecko::parse_market_chart(bytes).err(),
    ];
    for message in messages.into_iter().flatten() {
        assert!(message.to_string().contains("; "), "no remedy in `{message}`");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all_parsers(&bytes);
    }

    #[test]
    fn damaged_answers_never_panic(
        which in 0usize..6,
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let names = ["kraken/ohlc_2023.json", "kraken/trades_2023.json", "kraken/ticker_2023.json",
            "kraken/asset_pairs_2025.json", "binance/klines_1d_ethbtc.json",
            "coingecko/market_chart_daily.json"];
        let mut bytes = payload(names[which]);
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        all_parsers(&bytes);
    }

    #[test]
    fn samples_never_look_ahead_and_are_used_once(
        secs in prop::collection::vec(0i64..40_000, 0..60),
        until in 0i64..40_000,
    ) {
        let snapshots = secs.iter().map(|&s| coingecko::Snapshot {
            time: Timestamp::from_secs(s), price: s as f64, market_cap: 1.0, total_volume: 1.0,
        });
        let chart = coingecko::MarketChart { snapshots: snapshots.collect() };
        let until = Timestamp::from_secs(until);
        let rows = coingecko::sample(&chart, Interval::HOUR, until);
        let mut later = chart.clone();
        later.snapshots.retain(|s| s.time <= until);
        let again = coingecko::sample(&later, Interval::HOUR, until);
        prop_assert_eq!(&rows.times, &again.times, "what comes later changes nothing");
        prop_assert!(rows.times.windows(2).all(|w| w[0] < w[1]));
        for (i, time) in rows.times.iter().enumerate() {
            let end = *time + Interval::HOUR;
            let taken = Timestamp::from_secs(rows.columns[0].values[i] as i64);
            prop_assert!(*time < taken && taken <= end && end <= until);
            prop_assert_eq!(rows.columns[3].values[i], (end.secs() - taken.secs()) as f64);
            let newest = chart.snapshots.iter().map(|s| s.time).filter(|t| *t <= end).max();
            prop_assert_eq!(newest, Some(taken));
        }
    }
}
