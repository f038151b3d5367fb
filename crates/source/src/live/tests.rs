//! What the protocols make of recorded messages, and what they send, byte for byte.

use foretell_market::{Instrument, Side, Timestamp, Trade};
use proptest::prelude::*;

use super::finding::FindingKind;
use super::line::Mark;
use super::protocol::{Heard, Limits, Said, Symbols, TradesCursor};
use super::{BinanceTrades, CoinbaseTrades, KrakenTrades, TradeFeed, Venue};

const KRAKEN: &str = include_str!("../../../../tests/data/source/live/kraken.jsonl");
const KRAKEN_2026: &[u8] =
    include_bytes!("../../../../tests/data/source/live/kraken_trades_2026.json");
const BINANCE: &str = include_str!("../../../../tests/data/source/live/binance.jsonl");
const BINANCE_2020: &[u8] =
    include_bytes!("../../../../tests/data/source/live/binance_trades_2020.json");
const COINBASE: &str = include_str!("../../../../tests/data/source/live/coinbase.jsonl");

fn instruments(names: &[&str]) -> Vec<Instrument> {
    names.iter().map(|name| name.parse().expect("an instrument")).collect()
}

fn limits() -> Limits {
    let time = |text: &str| text.parse().expect("a time");
    Limits { earliest: time("2009-01-03"), latest: time("2027-01-01") }
}

fn read(feed: &dyn TradeFeed, names: &[&str], message: &str) -> Heard {
    let symbols = Symbols::of(feed, &instruments(names)).expect("symbols");
    feed.read(message.as_bytes(), &symbols, &limits())
}

fn trade(name: &str, time: &str, id: i64, price: f64, quantity: f64, side: Side) -> Trade {
    let instrument = name.parse().expect("an instrument");
    let time = time.parse().expect("a time");
    Trade { instrument, time, id: Some(id), price, quantity, side: Some(side) }
}

fn kinds(heard: &Heard) -> Vec<Option<FindingKind>> {
    heard.iter().map(|said| said.as_ref().err().map(|trouble| trouble.kind)).collect()
}

#[test]
fn krakens_recorded_messages_are_understood() {
    let feed = KrakenTrades::default();
    let heard: Vec<Heard> = KRAKEN.lines().map(|m| read(&feed, &["BTC-USD"], m)).collect();
    assert_eq!(heard.len(), 10);
    let btc = instruments(&["BTC-USD"]).remove(0);
    assert_eq!(heard[0], [Ok(Said::Alive)]);
    assert_eq!(heard[1], [Ok(Said::Acknowledged(btc))]);
    let time = "2026-09-25T17:48:26.844359Z";
    let expected = trade("BTC-USD", time, 109_116_693, 83_744.3, 0.000_447_8, Side::Buy);
    assert_eq!(heard[2], [Ok(Said::Trade(expected))]);
    assert_eq!(heard[3], [Ok(Said::Alive)]);
    // `XBT/USD` is not what was asked for, and `private` names no market.
    assert_eq!(kinds(&heard[4]), [Some(FindingKind::UnknownSymbol)]);
    assert_eq!(kinds(&heard[5]), [Some(FindingKind::Notice)]);
    let time = "2024-07-27T21:16:00.512060Z";
    let expected = trade("BTC-USD", time, 72_166_031, 68_580.0, 0.142_258_64, Side::Buy);
    assert_eq!(heard[6], [Ok(Said::Trade(expected))]);
    assert_eq!(kinds(&heard[7]), [Some(FindingKind::Malformed)]);
    assert_eq!(heard[8], [Ok(Said::Alive)]);
    let one = trade(
        "BTC-USD",
        "2023-10-06T17:35:55.440295Z",
        10_218_208,
        105_944.2,
        0.000_276_25,
        Side::Buy,
    );
    let two = trade(
        "BTC-USD",
        "2023-10-06T17:35:56.123456Z",
        10_218_209,
        105_910.5,
        0.000_124_6,
        Side::Sell,
    );
    assert_eq!(heard[9], [Ok(Said::Trade(one)), Ok(Said::Trade(two))]);
    // A market that was asked for is refused by name.
    let refused = r#"{"error":"Currency pair not supported NO/WHERE","method":"subscribe","success":false,"symbol":"NO/WHERE"}"#;
    let heard = read(&feed, &["BTC-USD", "NO-WHERE"], refused);
    assert!(
        matches!(&heard[..], [Ok(Said::Refused(i, why))] if i.as_str() == "NO-WHERE" && why.contains("not supported"))
    );
}

#[test]
fn krakens_answers_of_2026_number_trades_in_texts() {
    let feed = KrakenTrades::default();
    let after = Mark { id: 109_118_757, time: Timestamp::from_micros(1_790_359_840_000_000) };
    let cursor = TradesCursor { after, token: None };
    let page = feed.page(&cursor, KRAKEN_2026).expect("a page");
    let rows: Vec<_> =
        page.trades.iter().map(|t| (t.id, t.time.micros(), t.price, t.side)).collect();
    assert_eq!(
        rows,
        [
            (109_118_758, 1_790_359_840_939_291, 83_930.3, Side::Sell),
            (109_118_759, 1_790_359_841_138_228, 83_928.0, Side::Buy),
            (109_118_760, 1_790_359_841_138_228, 83_935.4, Side::Buy),
        ]
    );
    assert_eq!((page.token, page.full), (Some(1_790_359_841_138_228_745), false));
}

#[test]
fn binances_recorded_messages_are_understood() {
    let feed = BinanceTrades::default();
    let heard: Vec<Heard> =
        BINANCE.lines().map(|m| read(&feed, &["BTC-USDT", "NKN-USDT"], m)).collect();
    // The documentation's example happened on the second day of 1970.
    assert_eq!(kinds(&heard[0]), [Some(FindingKind::BadTime)]);
    assert_eq!(kinds(&heard[1]), [Some(FindingKind::Malformed)]);
    let now = BINANCE.lines().next().expect("a line").replace("123456785", "1633998523963");
    let expected =
        trade("BTC-USDT", "2021-10-12T00:28:43.963Z", 5_933_014, 0.001, 100.0, Side::Sell);
    assert_eq!(read(&feed, &["BTC-USDT"], &now), [Ok(Said::Trade(expected))]);

    let after = Mark { id: 445_572_810, time: Timestamp::from_millis(1_603_949_112_000) };
    let page = feed.page(&TradesCursor { after, token: None }, BINANCE_2020).expect("a page");
    assert_eq!(page.trades.len(), 6);
    let first = &page.trades[0];
    assert_eq!((first.id, first.time.millis()), (445_572_811, 1_603_949_112_567));
    assert_eq!((first.price, first.quantity, first.side), (13_246.33, 0.060_286, Side::Buy));
    assert_eq!(page.trades[1].side, Side::Sell);
    assert!(!page.full);
}

#[test]
fn coinbases_recorded_messages_are_understood_with_the_takers_side() {
    let feed = CoinbaseTrades::default();
    let names = ["BAND-GBP", "SKL-BTC", "SKL-USD", "BTC-USD"];
    let heard: Vec<Heard> = COINBASE.lines().map(|m| read(&feed, &names, m)).collect();
    // Ten markets were asked for in that session, three of which are asked for here.
    let named = heard[0].iter().filter(|said| matches!(said, Ok(Said::Acknowledged(_)))).count();
    let unknown =
        kinds(&heard[0]).iter().filter(|k| **k == Some(FindingKind::UnknownSymbol)).count();
    assert_eq!((named, unknown), (3, 7));
    let band = instruments(&["BAND-GBP"]).remove(0);
    let time = "2021-04-17T16:43:30.244075Z".parse().expect("a time");
    assert_eq!(heard[1], [Ok(Said::Latest(band, Mark { id: 881_613, time }))]);
    let expected =
        trade("SKL-BTC", "2021-04-17T16:43:37.089723Z", 280_232, 0.000_013_05, 985.0, Side::Buy);
    assert_eq!(heard[2], [Ok(Said::Trade(expected))]);
    let expected =
        trade("SKL-USD", "2021-04-17T16:43:37.121358Z", 1_568_268, 0.791, 450.0, Side::Buy);
    assert_eq!(heard[3], [Ok(Said::Trade(expected))]);
    let one =
        trade("BTC-USD", "2026-04-07T14:30:02.789012Z", 995_098_700, 68_900.5, 0.0015, Side::Sell);
    let two = trade("BTC-USD", "2026-04-07T14:30:02.800Z", 995_098_701, 68_900.0, 0.05, Side::Buy);
    assert_eq!(heard[4], [Ok(Said::Sequence(5)), Ok(Said::Trade(one)), Ok(Said::Trade(two))]);
    // An error names a whole product or none.
    let error = |reason: &str| {
        let message =
            format!(r#"{{"type":"error","message":"Failed to subscribe","reason":"{reason}"}}"#);
        read(&feed, &["ETH-USD", "BTC-USD"], &message)
    };
    assert!(
        matches!(&error("ETH-USD is not a valid product")[..], [Ok(Said::Refused(i, _))] if i.as_str() == "ETH-USD")
    );
    assert!(matches!(&error("WETH-USD is not a valid product")[..], [Ok(Said::RefusedAll(_))]));
}

#[test]
fn what_cannot_be_a_trade_is_told_and_never_passed_on() {
    let kraken = |price: &str, quantity: &str, id: &str, time: &str| {
        let message = format!(
            r#"{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"buy","price":{price},"qty":{quantity},"ord_type":"limit","trade_id":{id},"timestamp":"{time}"}}]}}"#
        );
        kinds(&read(&KrakenTrades::default(), &["BTC-USD"], &message))
    };
    let noon = "2026-01-01T12:00:00Z";
    assert_eq!(kraken("1.5", "2", "7", noon), [None]);
    for bad in ["0", "-1", "null", "\"NaN\"", "\"inf\"", "\"\"", "1e999"] {
        let number = kraken(bad, "2", "7", noon);
        // A number that JSON cannot hold breaks the message.
        let expected = if bad == "1e999" { FindingKind::Malformed } else { FindingKind::BadNumber };
        assert_eq!(number, [Some(expected)], "{bad}");
        assert_eq!(kraken("1.5", bad, "7", noon), [Some(expected)], "{bad}");
    }
    for time in ["1970-01-01T00:00:00Z", "2008-12-31T00:00:00Z", "2030-01-01T00:00:00Z"] {
        assert_eq!(kraken("1.5", "2", "7", time), [Some(FindingKind::BadTime)], "{time}");
    }
    for (id, time) in
        [("7.5", noon), ("-1", noon), ("null", noon), ("9223372036854775807", noon), ("7", "noon")]
    {
        assert_eq!(kraken("1.5", "2", id, time), [Some(FindingKind::Malformed)], "{id} {time}");
    }
    // Whatever comes, each protocol says something about it and goes on.
    for name in ["kraken", "binance", "coinbase"] {
        let venue = Venue::named(name).expect("a venue");
        for message in
            ["", "{", "[]", "null", "5", "\"x\"", "{}", "{\"channel\":5}", "{\"data\":{}}", "\u{0}"]
        {
            let heard = read(venue.feed(), &["BTC-USD"], message);
            assert!(!heard.is_empty() && heard.iter().all(Result::is_err), "{name} {message:?}");
        }
    }
}

#[test]
fn what_is_sent_is_this_to_the_byte() {
    let kraken = KrakenTrades::default();
    assert_eq!(
        kraken.subscribe(&["BTC/USD", "ETH/EUR"]),
        [
            r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","ETH/EUR"],"snapshot":false}}"#
        ]
    );
    assert_eq!(kraken.socket_url(&["BTC/USD"]).as_str(), "wss://ws.kraken.com/v2");
    let [btc, usdt] = [instruments(&["BTC-USD"]).remove(0), instruments(&["BTC-USDT"]).remove(0)];
    let after = Mark { id: 41, time: Timestamp::from_micros(1_700_000_000_123_456) };
    let cursor = TradesCursor { after, token: None };
    assert_eq!(
        kraken.page_url(&btc, &cursor).as_str(),
        "https://api.kraken.com/0/public/Trades?pair=XBTUSD&since=1700000000123455999"
    );

    let binance = BinanceTrades::default();
    assert_eq!(
        binance.socket_url(&["BTCUSDT", "ETHUSDT"]).as_str(),
        "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@trade"
    );
    assert_eq!(binance.subscribe(&["BTCUSDT"]), Vec::<String>::new());
    assert_eq!(
        binance.page_url(&usdt, &cursor).as_str(),
        "https://api.binance.com/api/v3/historicalTrades?symbol=BTCUSDT&fromId=42&limit=1000"
    );
    assert_eq!(
        binance.probe_url(&usdt).expect("a probe").as_str(),
        "https://api.binance.com/api/v3/trades?symbol=BTCUSDT&limit=1"
    );

    let coinbase = CoinbaseTrades::default();
    assert_eq!(
        coinbase.subscribe(&["BTC-USD"]),
        [
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}"#,
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"heartbeats"}"#,
        ]
    );
    assert_eq!(
        CoinbaseTrades::matches().subscribe(&["BTC-USD", "ETH-USD"]),
        [
            r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["matches","heartbeat"]}"#
        ]
    );
    assert_eq!(
        coinbase.page_url(&btc, &cursor).as_str(),
        "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=1000&after=1042"
    );
}

#[test]
fn a_feed_is_pointed_elsewhere_by_one_address() {
    let url = |text: &str| text.parse().expect("a URL");
    let Ok(Venue::Kraken(kraken)) =
        Venue::named("kraken").expect("a venue").at(url("ws://127.0.0.1:9300/v2"))
    else {
        panic!("it is Kraken's");
    };
    assert_eq!(kraken.url.as_str(), "ws://127.0.0.1:9300/v2");
    assert_eq!(kraken.base_url.as_str(), "http://127.0.0.1:9300/");
    let wrong = Venue::named("binance").expect("a venue").at(url("http://127.0.0.1:9300"));
    assert!(wrong.is_err_and(|error| error.to_string().contains("ws://host:port")));
    assert!(Venue::named("bitmex").is_none());
}

#[test]
fn two_markets_of_one_name_and_none_at_all_are_refused() {
    let feed = BinanceTrades::default();
    assert!(Symbols::of(&feed, &[]).is_err());
    let twice = instruments(&["BTC-USDT", "BTCU-SDT"]);
    let error = Symbols::of(&feed, &twice).expect_err("one name").to_string();
    assert!(error.contains("BTCUSDT"), "{error}");
}

/// A recorded message, some of whose bytes are others.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<&str> = KRAKEN.lines().chain(BINANCE.lines()).chain(COINBASE.lines()).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
    let changes = prop::collection::vec(change, 0..4);
    (prop::sample::select(all), changes).prop_map(|(message, changes)| {
        let mut bytes = message.as_bytes().to_vec();
        for (place, byte, how) in changes {
            let place = place.index(bytes.len().max(1));
            match how {
                0 if place < bytes.len() => bytes[place] = byte,
                // A digit or a sign where JSON still holds.
                1 if place < bytes.len() => {
                    bytes[place] = b"0123456789-.eE"[usize::from(byte) % 14];
                }
                2 => bytes.truncate(place),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_message_yields_trades_that_can_be_or_says_what_is_wrong(message in broken()) {
        let names = ["BTC-USD", "BTC-USDT", "SKL-USD", "SKL-BTC", "BAND-GBP"];
        for name in ["kraken", "binance", "coinbase"] {
            let venue = Venue::named(name).expect("a venue");
            let symbols = Symbols::of(venue.feed(), &instruments(&names)).expect("symbols");
            for said in venue.feed().read(&message, &symbols, &limits()) {
                match said {
                    Ok(Said::Trade(trade) | Said::Before(trade)) => {
                        prop_assert!(trade.price > 0.0 && trade.price.is_finite());
                        prop_assert!(trade.quantity > 0.0 && trade.quantity.is_finite());
                        prop_assert!((limits().earliest..=limits().latest).contains(&trade.time));
                        prop_assert!(trade.id.is_some_and(|id| id >= 0));
                    }
                    Ok(_) => {}
                    Err(trouble) => prop_assert!(trouble.detail.chars().count() <= 201),
                }
            }
        }
    }
}

#[test]
fn a_page_with_a_number_that_no_trade_has_is_refused() {
    let page = |id: &str| {
        format!(
            r#"{{"error":[],"result":{{"XXBTZUSD":[["8","2",1790352287,"b","m","",{id}]],"last":"1"}}}}"#
        )
    };
    let after = Mark { id: 1, time: Timestamp::from_secs(0) };
    let cursor = TradesCursor { after, token: None };
    let feed = KrakenTrades::default();
    assert_eq!(feed.page(&cursor, page("7").as_bytes()).unwrap().trades[0].id, 7);
    for id in ["9223372036854775807", "-1"] {
        let said = feed.page(&cursor, page(id).as_bytes()).unwrap_err().to_string();
        assert!(said.contains(id) && said.contains("; "), "{said}");
    }
}
