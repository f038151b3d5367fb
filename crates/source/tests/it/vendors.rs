//! Vendors played by a local server, with every fault that a network has.

use std::io::Write as _;
use std::sync::Mutex;

use crate::exchange::{Answer, Request, Vendor, patience};
use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::RawTable;
use foretell_source::{
    Backfill, BackfillCursor, Beginning, BinanceSpec, CoinGeckoPlan, CoinGeckoSpec, ExtractRequest,
    FileSpec, HttpSettings, KaggleSpec, KrakenHistory, KrakenSpec, Progress, RateBudget, Secret,
    SourceError, SourceSpec, extract, kraken,
};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const RATE_LIMIT: &str = r#"{"error":["EGeneral:Too many requests"]}"#;
/// Room for any number of requests, so that only the tests of budgets wait for one.
const UNLIMITED: RateBudget = RateBudget { requests: 1_000_000, per_millis: 1_000 };

fn payload(name: &str) -> Vec<u8> {
    std::fs::read(format!("{ROOT}/tests/data/payloads/{name}")).unwrap()
}

fn instrument(name: &str) -> Instrument {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn request<'a>(instrument: &'a Instrument, interval: Interval, now: &str) -> ExtractRequest<'a> {
    ExtractRequest { instrument, interval, from: None, to: None, lag: 0, now: at(now) }
}

fn kraken_at(vendor: &Vendor) -> KrakenSpec {
    KrakenSpec { base_url: vendor.url.clone(), budget: UNLIMITED, ..KrakenSpec::default() }
}

/// Fetches Kraken's recorded minutes of 2025 from a vendor that follows a script.
async fn recorded(
    answers: Vec<Answer>,
    http: &HttpSettings,
) -> (Result<RawTable, SourceError>, Vec<Request>) {
    let vendor = Vendor::scripted(answers).await;
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::MINUTE, "2025-11-11T00:17:30Z");
    let spec = SourceSpec::Kraken(kraken_at(&vendor));
    let result = extract(&spec, &request, http, &()).await;
    (result, vendor.requests())
}

fn good() -> Answer {
    Answer::ok(payload("kraken/ohlc_2025_1m.json"))
}

#[tokio::test]
async fn krakens_forming_bar_is_dropped_and_quiet_bars_are_marked() {
    let (http, _) = patience();
    let (table, requests) = recorded(vec![good()], &http).await;
    let table = table.unwrap();
    assert_eq!(requests[0].target, "/0/public/OHLC?pair=XBTUSDT&interval=1");
    assert_eq!(table.len(), 158);
    assert_eq!(table.rows.last().unwrap().time.secs(), 1_762_820_160);
    let trades = table.column("trades").unwrap();
    for (row, trades) in table.rows.iter().zip(trades) {
        assert_eq!(row.flags.contains(RowFlags::NO_TRADE), *trades == 0.0);
    }
    // The last bar closed half a minute before the request: it was seen live.
    let now = at("2025-11-11T00:17:30Z");
    let (last, older) = table.rows.split_last().unwrap();
    assert!(!last.flags.contains(RowFlags::BACKFILLED));
    assert_eq!((last.known_at, last.ingested_at), (now, now));
    for row in older {
        assert!(row.flags.contains(RowFlags::BACKFILLED));
        assert_eq!((row.known_at, row.ingested_at), (row.time + Interval::MINUTE, now));
    }
    assert!(table.origin.starts_with("kraken http://127.0.0.1"), "{}", table.origin);
}

#[tokio::test]
async fn a_rate_limit_inside_http_200_is_waited_for() {
    let (http, stopwatch) = patience();
    let limited = Answer::ok(RATE_LIMIT);
    let (table, requests) = recorded(vec![limited.clone(), limited.clone(), good()], &http).await;
    assert_eq!((table.unwrap().len(), requests.len()), (158, 3));
    let waits = stopwatch.waits();
    // Ten seconds at first: asking again at once makes the limit last longer.
    let (first, second) = (5_000..=10_000, 10_000..=20_000);
    assert!(first.contains(&waits[0]) && second.contains(&waits[1]), "{waits:?}");
    let (refused, requests) = recorded(vec![limited], &http).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, SourceError::RateLimited { attempts: 5, .. }), "{error:?}");
    assert_eq!(requests.len(), 5);
    let message = error.to_string();
    for piece in ["kraken", "/0/public/OHLC?pair=XBTUSDT", "Too many requests", "later"] {
        assert!(message.contains(piece), "{message}");
    }
}

#[tokio::test]
async fn kraken_is_left_alone_for_as_long_as_it_says() {
    let locked = Answer::ok(r#"{"error":["EGeneral:Temporary lockout"]}"#);
    let (http, stopwatch) = patience();
    let (refused, requests) = recorded(vec![locked.clone()], &http).await;
    let error = refused.unwrap_err();
    let limited = matches!(error, SourceError::RateLimited { retry_after: Some(900), .. });
    assert!(limited && error.to_string().contains("in 900 seconds"), "{error:?}");
    assert_eq!((requests.len(), stopwatch.waits()), (1, vec![]));
    let (mut http, stopwatch) = patience();
    http.max_retry_after_seconds = 1_000;
    let (table, _) = recorded(vec![locked, good()], &http).await;
    assert_eq!((table.unwrap().len(), stopwatch.waits()), (158, vec![900_000]));
    // 2021-05-15 14:42:23 UTC is 1621089743, by Kraken's own clock.
    let throttled = Answer::ok(r#"{"error":["EService:Throttled: 1621089763"]}"#);
    let dated = throttled.clone().header("Date: Sat, 15 May 2021 14:42:23 GMT");
    let (http, stopwatch) = patience();
    let (table, _) = recorded(vec![dated, good()], &http).await;
    assert_eq!((table.unwrap().len(), stopwatch.waits()), (158, vec![20_000]));
    let (http, stopwatch) = patience();
    let (table, _) = recorded(vec![throttled, good()], &http).await;
    assert!(table.is_ok() && (5_000..=10_000).contains(&stopwatch.waits()[0]));
}

#[tokio::test]
async fn a_bar_that_forms_at_the_vendor_is_not_final_by_a_fast_clock() {
    let first = 420_000;
    let hour = |n: i64| Timestamp::from_secs((first + n) * 3_600);
    let klines = klines_vendor(first, 3_000);
    // At the vendor it is half past the hundredth hour: 2017-12-04 04:00 UTC and a half.
    assert_eq!(hour(100), at("2017-12-04T04:00:00Z"));
    let vendor =
        Vendor::start(move |r| klines(r).header("Date: Mon, 04 Dec 2017 04:30:00 GMT")).await;
    let (http, _) = patience();
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let spec = SourceSpec::Binance(spec);
    let btc = instrument("BTC-USDT");
    let fast = ExtractRequest {
        from: Some(hour(90)),
        now: hour(102).plus_secs(60),
        ..request(&btc, Interval::HOUR, "2026-01-01")
    };
    let mut backfill = Backfill::open(&spec, fast, &http, None).unwrap();
    let piece = backfill.step().await.unwrap().unwrap();
    assert_eq!(piece.rows.last().unwrap().time, hour(99));
    let place = backfill.cursor().clone();
    assert_eq!((place.done, place.to), (true, hour(100).plus_secs(1_800)));
    // What formed then is asked for later, with the bar before it.
    let later = ExtractRequest { now: hour(110), ..fast };
    let backfill = Backfill::open(&spec, later, &http, Some(place)).unwrap();
    assert_eq!(backfill.cursor().next, Some(hour(99)));
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_limit() {
    let (http, stopwatch) = patience();
    let busy = Answer::status(429, "slow down").header("Retry-After: 7");
    let (table, _) = recorded(vec![busy, good()], &http).await;
    assert_eq!((table.unwrap().len(), stopwatch.waits()), (158, vec![7_000]));
    let dated = Answer::status(503, "")
        .header("Date: Sat, 15 May 2021 14:42:00 GMT")
        .header("Retry-After: Sat, 15 May 2021 14:43:30 GMT");
    let (http, stopwatch) = patience();
    let (table, _) = recorded(vec![dated, good()], &http).await;
    assert_eq!((table.unwrap().len(), stopwatch.waits()), (158, vec![90_000]));
    let (http, stopwatch) = patience();
    let tomorrow = Answer::status(429, "").header("Retry-After: 86400");
    let (refused, requests) = recorded(vec![tomorrow], &http).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("run it again in 86400 seconds"), "{message}");
    assert_eq!((requests.len(), stopwatch.waits()), (1, vec![]));
}

#[tokio::test]
async fn passing_troubles_are_tried_again_and_lasting_ones_reported() {
    for trouble in [
        Answer::status(500, "oops"),
        Answer::status(502, "<html>Bad gateway</html>"),
        Answer::CutOff(payload("kraken/ohlc_2025_1m.json")),
        Answer::Close,
        Answer::ok(r#"{"error":["EService:Unavailable"]}"#),
    ] {
        let (http, stopwatch) = patience();
        let (table, requests) = recorded(vec![trouble.clone(), good()], &http).await;
        assert_eq!(table.unwrap().len(), 158, "{trouble:?}");
        assert_eq!((requests.len(), stopwatch.waits().len()), (2, 1));
        let (refused, requests) = recorded(vec![trouble.clone()], &http).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable { attempts: 5, .. }), "{error:?}");
        assert_eq!(requests.len(), 5);
        assert!(error.to_string().contains("after 5 attempts"), "{error}");
    }
}

#[tokio::test]
async fn a_vendor_that_hangs_is_left() {
    let (mut http, _) = patience();
    http.timeout_millis = 150;
    http.max_attempts = 2;
    let (refused, requests) = recorded(vec![Answer::Hang], &http).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("no answer within 150 ms (after 2 attempts)"), "{message}");
    assert_eq!(requests.len(), 2);
    http.timeout_millis = 5_000;
    let (table, _) = recorded(vec![good()], &http).await;
    assert_eq!(table.unwrap().len(), 158);
}

#[tokio::test]
async fn nobody_listening_is_said_so() {
    let (http, _) = patience();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let instrument = instrument("BTC-USD");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let spec = KrakenSpec { base_url: url, budget: UNLIMITED, ..KrakenSpec::default() };
    let error = extract(&SourceSpec::Kraken(spec), &request, &http, &()).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("cannot connect") && message.contains("network"), "{message}");
}

#[tokio::test]
async fn bodies_that_are_not_understood_are_refused_once_with_their_place() {
    let (http, _) = patience();
    let whole = payload("kraken/ohlc_2025_1m.json");
    for (body, pieces) in [
        (b"<!DOCTYPE html><title>Maintenance</title>".to_vec(), ["a web page", "base URL"]),
        (whole[..whole.len() / 2].to_vec(), ["line 1", "cut off"]),
        (br#"{"error":[],"result":{"X":[[1,2]]}}"#.to_vec(), ["row 1", "2 values instead of 8"]),
        (br#"{"error":["EQuery:Unknown asset pair"]}"#.to_vec(), ["Unknown asset pair", "`pair`"]),
        (
            br#"{"error":["EGeneral:Invalid arguments"]}"#.to_vec(),
            ["Invalid arguments", "settings"],
        ),
    ] {
        let (refused, requests) = recorded(vec![Answer::ok(body)], &http).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.starts_with("kraken http://127.0.0.1"), "{message}");
        for piece in pieces {
            assert!(message.contains(piece), "`{piece}` is not in `{message}`");
        }
        assert_eq!(requests.len(), 1, "{message}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read() {
    let (mut http, _) = patience();
    http.max_body_bytes = 1_000;
    let (refused, requests) = recorded(vec![good()], &http).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("longer than 1000 bytes"), "{message}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn waits_double_with_seeded_jitter_and_a_ceiling() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let (mut http, stopwatch) = patience();
        http.jitter_seed = seed;
        http.max_attempts = 9;
        http.max_backoff_millis = 10_000;
        let (refused, _) = recorded(vec![Answer::status(500, "")], &http).await;
        assert!(refused.is_err());
        let waits = stopwatch.waits();
        assert_eq!(waits.len(), 8);
        for (i, wait) in waits.iter().enumerate() {
            let longest = (500u64 << i).min(10_000);
            assert!((longest / 2..=longest).contains(wait), "{waits:?}");
        }
        runs.push(waits);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn requests_keep_to_the_vendors_budget_across_extractions() {
    let vendor = Vendor::scripted(vec![good()]).await;
    let (http, stopwatch) = patience();
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::MINUTE, "2025-11-11T00:17:30Z");
    let budget = RateBudget { requests: 2, per_millis: 10_000 };
    let spec = SourceSpec::Kraken(KrakenSpec { budget, ..kraken_at(&vendor) });
    for _ in 0..5 {
        extract(&spec, &request, &http.clone(), &()).await.unwrap();
    }
    assert_eq!(stopwatch.waits(), [10_000, 10_000]);
}

#[tokio::test]
async fn older_bars_than_ohlc_keeps_need_trades() {
    let (http, _) = patience();
    let vendor = Vendor::scripted(vec![good()]).await;
    let instrument = instrument("BTC-USD");
    let mut request = request(&instrument, Interval::HOUR, "2025-11-11T00:17:30Z");
    request.from = Some(at("2025-10-01"));
    let spec = SourceSpec::Kraken(kraken_at(&vendor));
    let message = extract(&spec, &request, &http, &()).await.unwrap_err().to_string();
    assert!(message.contains("2025-10-12T01:00:00Z") && message.contains("trades"), "{message}");
    assert_eq!(vendor.requests().len(), 0);
    let odd = ExtractRequest { interval: "7m".parse().unwrap(), ..request };
    let message = extract(&spec, &odd, &http, &()).await.unwrap_err().to_string();
    assert!(message.contains("`interval`") && message.contains("choose 1m"), "{message}");
}

/// Plays `Trades` from the recording: pages of so many from `since` on, shuffled, with
/// the last trade of the page before sent again.
fn trades_vendor(page: usize) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let recording: Value = serde_json::from_slice(&payload("kraken/trades_2025.json")).unwrap();
    let trades = recording["result"]["XBTUSDT"].as_array().unwrap().clone();
    move |request| {
        let nanos = |t: &Value| (t[2].as_f64().unwrap() * 1e9) as i64;
        let since: i64 = request.query("since").unwrap().parse().unwrap();
        let first = trades.iter().position(|t| nanos(t) > since).unwrap_or(trades.len());
        let rows = &trades[first.saturating_sub(1)..(first + page).min(trades.len())];
        let last = rows.last().map_or(since, nanos).max(since);
        let mut rows = rows.to_vec();
        rows.reverse();
        let body = json!({"error": [], "result": {"XBTUSDT": rows, "last": last.to_string()}});
        Answer::ok(body.to_string())
    }
}

#[tokio::test]
async fn bars_from_pages_of_trades_equal_krakens_bars() {
    let (http, _) = patience();
    let vendor = Vendor::start(trades_vendor(37)).await;
    let instrument = instrument("BTC-USDT");
    let mut request = request(&instrument, Interval::MINUTE, "2025-11-11T00:13:30Z");
    request.from = Some(Timestamp::from_secs(1_762_811_380));
    let spec = KrakenSpec { history: KrakenHistory::Trades, ..kraken_at(&vendor) };
    let table = extract(&SourceSpec::Kraken(spec), &request, &http, &()).await.unwrap();
    let (ohlc, _) = recorded(vec![good()], &http).await;
    let ohlc = ohlc.unwrap();
    let mut compared = 0;
    for (i, row) in table.rows.iter().enumerate() {
        let j = ohlc.rows.iter().position(|r| r.time == row.time).unwrap();
        for name in ["open", "high", "low", "close", "volume", "trades"] {
            let (ours, theirs) = (table.column(name).unwrap()[i], ohlc.column(name).unwrap()[j]);
            // Kraken's bars have prices of one decimal, its trades of five.
            let exact = matches!(name, "volume" | "trades");
            let tolerance = if exact { 1e-8 } else { 0.051 };
            assert!((ours - theirs).abs() <= tolerance, "{name} {ours} {theirs}");
        }
        compared += 1;
    }
    // Every minute with a trade has a bar, and no minute without one.
    let busy = ohlc.column("trades").unwrap().iter().zip(&ohlc.rows);
    let busy = busy.filter(|(n, r)| **n > 0.0 && r.time >= table.rows[0].time);
    assert_eq!(compared, busy.filter(|(_, r)| r.time + Interval::MINUTE <= request.now).count());
    assert!(vendor.requests().len() >= 10);
    assert_eq!(vendor.requests()[0].query("since").unwrap(), "1762811399999999999");
}

#[tokio::test]
async fn the_end_of_trades_is_believed_at_the_second_silent_answer() {
    let (http, _) = patience();
    let play = trades_vendor(37);
    // Kraken has a moment's trouble with the third request.
    let vendor = Vendor::start(move |request| {
        let since = request.query("since").unwrap();
        match request.number {
            2 => Answer::ok(
                json!({"error": [], "result": {"XBTUSDT": [], "last": since}}).to_string(),
            ),
            _ => play(request),
        }
    })
    .await;
    let instrument = instrument("BTC-USDT");
    let mut request = request(&instrument, Interval::MINUTE, "2025-11-11T01:00:00Z");
    request.from = Some(Timestamp::from_secs(1_762_811_380));
    let spec = KrakenSpec { history: KrakenHistory::Trades, ..kraken_at(&vendor) };
    let spec = SourceSpec::Kraken(spec);
    let mut backfill = Backfill::open(&spec, request, &http, None).unwrap();
    let mut rows = 0;
    while let Some(piece) = backfill.step().await.unwrap() {
        rows += piece.len();
    }
    let whole = Vendor::start(trades_vendor(1_000)).await;
    let undisturbed = KrakenSpec { history: KrakenHistory::Trades, ..kraken_at(&whole) };
    let undisturbed = extract(&SourceSpec::Kraken(undisturbed), &request, &http, &()).await;
    assert_eq!(rows, undisturbed.unwrap().len());
    // It has come as far as the last trade, and not to the present.
    let recording: Value = serde_json::from_slice(&payload("kraken/trades_2025.json")).unwrap();
    let trades = recording["result"]["XBTUSDT"].as_array().unwrap();
    let last = trades.iter().map(|t| t[2].as_f64().unwrap()).fold(0.0, f64::max);
    let place = backfill.cursor();
    assert!(place.done && place.to.secs() == last as i64, "{place:?}");
    // A later call asks for what came after it.
    let later = ExtractRequest { now: request.now.plus_secs(600), ..request };
    let again = Backfill::open(&spec, later, &http, Some(place.clone())).unwrap();
    let expected = Interval::MINUTE.floor(place.to) - Interval::MINUTE;
    assert_eq!((again.cursor().next, again.cursor().done), (Some(expected), false));
}

#[tokio::test]
async fn the_years_before_a_listing_cost_one_request() {
    let (http, _) = patience();
    let vendor = Vendor::start(trades_vendor(1_000)).await;
    let instrument = instrument("BTC-USDT");
    let mut request = request(&instrument, Interval::MINUTE, "2025-11-11T00:13:30Z");
    request.from = Some(at("2020-01-01"));
    let spec = KrakenSpec { history: KrakenHistory::Trades, ..kraken_at(&vendor) };
    let spec = SourceSpec::Kraken(spec);
    let mut backfill = Backfill::open(&spec, request, &http, None).unwrap();
    assert_eq!(backfill.step().await.unwrap().unwrap().len(), 0);
    assert_eq!(vendor.requests().len(), 1);
    let next = backfill.cursor().next.unwrap();
    assert!(next > at("2025-11-10") && Interval::MINUTE.is_on_grid(next), "{next}");
    let piece = backfill.step().await.unwrap().unwrap();
    assert_eq!(piece.rows[0].time, next, "the piece begins with the first trade");
}

#[test]
fn candles_that_kraken_has_dropped_are_passed_over() {
    let (http, _) = patience();
    let btc = instrument("BTC-USD");
    let from = Some(at("2025-10-20"));
    let request = ExtractRequest { from, ..request(&btc, Interval::HOUR, "2025-11-01") };
    let spec = SourceSpec::Kraken(KrakenSpec::default());
    let mut place = BackfillCursor::start(&spec, &request);
    place.done = true;
    // After a pause of three months; 720 hours before 2026-02-01 are thirty days.
    let later = ExtractRequest { now: at("2026-02-01T00:10:00Z"), ..request };
    let mut backfill = Backfill::open(&spec, later, &http, Some(place)).unwrap();
    assert_eq!(backfill.cursor().next, Some(at("2025-10-31T23:00:00Z")));
    assert_eq!(backfill.skip_lost(), Some(at("2026-01-02T01:00:00Z")));
    assert_eq!(backfill.cursor().next, Some(at("2026-01-02T01:00:00Z")));
    assert!(!backfill.cursor().done);
    // Binance and Kraken's trades drop nothing.
    let trades = KrakenSpec { history: KrakenHistory::Trades, ..KrakenSpec::default() };
    for spec in [SourceSpec::Kraken(trades), SourceSpec::Binance(BinanceSpec::default())] {
        let mut backfill = Backfill::open(&spec, later, &http, None).unwrap();
        assert_eq!((backfill.skip_lost(), backfill.cursor().next), (None, from));
    }
}

#[tokio::test]
async fn bars_from_trades_need_a_beginning() {
    let (http, _) = patience();
    let vendor = Vendor::start(trades_vendor(100)).await;
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::MINUTE, "2025-11-11T00:13:30Z");
    let spec = KrakenSpec { history: KrakenHistory::Trades, ..kraken_at(&vendor) };
    let error = extract(&SourceSpec::Kraken(spec), &request, &http, &()).await.unwrap_err();
    assert!(error.to_string().contains("`from`"), "{error}");
}

#[tokio::test]
async fn kraken_tells_its_pairs_and_prices() {
    let (http, _) = patience();
    let vendor = Vendor::start(|r| match r.target.as_str() {
        "/0/public/AssetPairs" => Answer::ok(payload("kraken/asset_pairs_2025.json")),
        "/0/public/Ticker?pair=XBTUSDT" => Answer::ok(payload("kraken/ticker_2025.json")),
        _ => Answer::status(404, ""),
    })
    .await;
    let spec = kraken_at(&vendor);
    let session = kraken::Session::new(&spec, &http).unwrap();
    assert_eq!(session.asset_pairs().await.unwrap()[0].altname, "XBTUSDT");
    assert_eq!(session.ticker("XBTUSDT").await.unwrap()[0].1.last, 105_899.4);
}

/// A kline of an hour, and a vendor that has so many of them from a beginning.
fn kline(hour: i64) -> Value {
    let (open, close) = (hour * 3_600_000, hour * 3_600_000 + 3_599_999);
    let price = format!("{}.5", 100 + hour % 7);
    json!([open, price, price, price, price, "2", close, "3", 4, "1", "1", "0"])
}

fn klines_vendor(first: i64, count: i64) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| {
        let number = |name: &str| request.query(name).unwrap().parse::<i64>().unwrap();
        let (start, end, limit) = (number("startTime"), number("endTime"), number("limit"));
        let hours = (first..first + count).filter(|h| (start..=end).contains(&(h * 3_600_000)));
        let rows: Vec<Value> = hours.take(limit as usize).map(kline).collect();
        Answer::ok(json!(rows).to_string())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(u64, Option<u64>)>>);

impl Progress for Heard {
    fn rows(&self, done: u64, total: Option<u64>) {
        self.0.lock().unwrap().push((done, total));
    }
}

#[tokio::test]
async fn binance_is_read_page_by_page_from_its_first_bar() {
    let (http, _) = patience();
    let first = 420_000;
    let vendor = Vendor::start(klines_vendor(first, 2_500)).await;
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let spec = SourceSpec::Binance(spec);
    let instrument = instrument("BTC-USDT");
    // The vendor's last bar is still forming: `now` lies inside it.
    let mut request = request(&instrument, Interval::HOUR, "2026-01-01");
    request.now = Timestamp::from_secs((first + 2_500) * 3_600 - 10);
    let table = extract(&spec, &request, &http, &()).await.unwrap();
    assert_eq!(table.len(), 2_499);
    assert!(table.rows.windows(2).all(|w| w[1].time == w[0].time + Interval::HOUR));
    assert!(table.positions.windows(2).all(|w| w[0] < w[1]), "positions stay unique");
    let requests = vendor.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].query("startTime").as_deref(), Some("0"));
    assert_eq!(requests[0].query("symbol").as_deref(), Some("BTCUSDT"));
    request.from = Some(Timestamp::from_secs((first + 10) * 3_600));
    request.to = Some(Timestamp::from_secs((first + 15) * 3_600));
    let heard = Heard::default();
    let part = extract(&spec, &request, &http, &heard).await.unwrap();
    assert_eq!((part.len(), part.rows[0].time), (5, request.from.unwrap()));
    assert_eq!(*heard.0.lock().unwrap(), [(5, Some(5))]);
    request.to = request.from;
    assert_eq!(extract(&spec, &request, &http, &()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_back_fill_goes_on_where_it_was_interrupted() {
    let first = 420_000;
    let whole = klines_vendor(first, 3_200);
    // The second request meets a vendor that is down for good.
    let vendor = Vendor::start(move |request| {
        if (1..=5).contains(&request.number) { Answer::status(500, "") } else { whole(request) }
    })
    .await;
    let (http, _) = patience();
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let spec = SourceSpec::Binance(spec);
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let mut times = Vec::new();
    let mut backfill = Backfill::open(&spec, request, &http, None).unwrap();
    let piece = backfill.step().await.unwrap().unwrap();
    times.extend(piece.rows.iter().map(|r| r.time));
    let before = backfill.cursor().clone();
    assert!(backfill.step().await.is_err());
    assert_eq!(*backfill.cursor(), before, "a failed piece moves nothing");
    // Another process, a day later, from what was stored.
    let stored = serde_json::to_string(&before).unwrap();
    let cursor: BackfillCursor = serde_json::from_str(&stored).unwrap();
    let later = ExtractRequest { now: request.now.plus_secs(86_400), ..request };
    let mut backfill = Backfill::open(&spec, later, &http, Some(cursor)).unwrap();
    while let Some(piece) = backfill.step().await.unwrap() {
        times.extend(piece.rows.iter().map(|r| r.time));
    }
    let wanted: Vec<_> = (first..first + 3_200).map(|h| Timestamp::from_secs(h * 3_600)).collect();
    assert_eq!(times, wanted);
    assert!(backfill.cursor().done && backfill.step().await.unwrap().is_none());
    assert_eq!(*backfill.beginning(), Beginning::GoesOn);
}

/// How a back-fill begins with a place that was stored for another request.
fn begun(stored: &BackfillCursor, spec: &SourceSpec, request: ExtractRequest<'_>) -> Beginning {
    let (http, _) = patience();
    let backfill = Backfill::open(spec, request, &http, Some(stored.clone())).unwrap();
    if let Beginning::Anew(_) = backfill.beginning() {
        assert_eq!(backfill.cursor().next, request.from, "it begins at its start");
        assert_eq!((backfill.cursor().received, backfill.cursor().done), (0, false));
    }
    backfill.beginning().clone()
}

#[test]
fn a_place_is_good_for_its_own_request_alone() {
    let btc = instrument("BTC-USD");
    let from = Some(at("2024-01-01"));
    let request = ExtractRequest { from, ..request(&btc, Interval::HOUR, "2025-01-01") };
    let kraken = KrakenSpec { history: KrakenHistory::Trades, ..KrakenSpec::default() };
    let spec = SourceSpec::Kraken(kraken.clone());
    let mut stored = BackfillCursor::start(&spec, &request);
    stored.next = Some(at("2024-06-01"));
    assert_eq!(begun(&stored, &spec, request), Beginning::GoesOn);
    // The derived name of the pair and the same name declared are one request.
    let named = KrakenSpec { pair: Some("XBTUSD".to_owned()), ..kraken.clone() };
    assert_eq!(begun(&stored, &SourceSpec::Kraken(named), request), Beginning::GoesOn);
    let changed = |spec: &SourceSpec, request: ExtractRequest<'_>| {
        let Beginning::Anew(changed) = begun(&stored, spec, request) else {
            panic!("it must begin anew")
        };
        changed.to_string()
    };
    let pair = KrakenSpec { pair: Some("XBTEUR".to_owned()), ..kraken.clone() };
    let expected = "`pair` was XBTUSD and is XBTEUR";
    assert_eq!(changed(&SourceSpec::Kraken(pair), request), expected);
    let elsewhere = "https://kraken.example/".parse().unwrap();
    let elsewhere = KrakenSpec { base_url: elsewhere, ..kraken.clone() };
    let what = changed(&SourceSpec::Kraken(elsewhere), request);
    assert!(what.contains("`base_url` was https://api.kraken.com/ and is"), "{what}");
    let ohlc = KrakenSpec { history: KrakenHistory::Ohlc, ..kraken };
    assert_eq!(changed(&SourceSpec::Kraken(ohlc), request), "`feed` was trades and is ohlc");
    let earlier = ExtractRequest { from: Some(at("2020-01-01")), ..request };
    let expected = "`from` was 2024-01-01 00:00 UTC and is 2020-01-01 00:00 UTC";
    assert_eq!(changed(&spec, earlier), expected);
    let late = ExtractRequest { lag: 60, ..request };
    assert_eq!(changed(&spec, late), "`lag` was 0 s and is 60 s");
    let daily = ExtractRequest { interval: Interval::DAY, ..request };
    assert_eq!(changed(&spec, daily), "`interval` was 1h and is 1d");
    let what = changed(&SourceSpec::Binance(BinanceSpec::default()), request);
    assert!(what.starts_with("`kind` was kraken and is binance"), "{what}");
}

#[tokio::test]
async fn a_finished_back_fill_fetches_only_what_came_since() {
    let first = 420_000;
    let hour = |n: i64| Timestamp::from_secs((first + n) * 3_600);
    let vendor = Vendor::start(klines_vendor(first, 3_000)).await;
    let (http, _) = patience();
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let spec = SourceSpec::Binance(spec);
    let btc = instrument("BTC-USDT");
    let from = Some(hour(0));
    let request = request(&btc, Interval::HOUR, "2026-01-01");
    // Ten minutes into the hour: the bar of that hour is still forming.
    let now = hour(1_500).plus_secs(600);
    let request = ExtractRequest { from, now, ..request };
    let mut times = Vec::new();
    let mut fetch = async |request, stored| {
        let mut backfill = Backfill::open(&spec, request, &http, stored).unwrap();
        let mut new = 0;
        while let Some(piece) = backfill.step().await.unwrap() {
            new += piece.len();
            times.extend(piece.rows.iter().map(|r| r.time));
        }
        // The last bar comes again: it may have been corrected.
        times.sort_unstable();
        times.dedup();
        (new, backfill.cursor().clone())
    };
    let (new, place) = fetch(request, None).await;
    assert_eq!((new, place.done), (1_500, true));
    let asked = vendor.requests().len();
    let (new, place) = fetch(request, Some(place)).await;
    assert_eq!((new, vendor.requests().len()), (0, asked), "nothing has closed since");
    let later = ExtractRequest { now: hour(1_520).plus_secs(600), ..request };
    let (new, place) = fetch(later, Some(place)).await;
    assert_eq!(new, 21);
    assert_eq!(vendor.requests().len(), asked + 1);
    // An end that was declared and is put off goes on as well.
    let ended = ExtractRequest { to: Some(hour(1_600)), now: hour(2_000), ..request };
    let (new, place) = fetch(ended, Some(place)).await;
    assert_eq!(new, 81);
    let put_off = ExtractRequest { to: Some(hour(1_700)), ..ended };
    assert_eq!(fetch(put_off, Some(place)).await.0, 101);
    assert_eq!(times, (0..1_700).map(hour).collect::<Vec<_>>());
}

#[test]
fn a_place_of_the_old_form_is_not_gone_on_from() {
    // As version 1 wrote it.
    let old = br#"{"version":1,"source":"binance","instrument":"BTC-USDT","interval":"1h",
        "next":"2024-01-01T00:00:00Z","to":"2025-01-01T00:00:00Z","received":5,"done":false}"#;
    let refused = BackfillCursor::read(old).unwrap_err().to_string();
    assert!(refused.contains("version 1") && refused.contains("begins anew"), "{refused}");
    for broken in [&b"{"[..], b"[]", br#"{"version":2}"#, br#"{"version":3}"#] {
        let refused = BackfillCursor::read(broken).unwrap_err().to_string();
        assert!(refused.contains("begins anew"), "{refused}");
    }
    let btc = instrument("BTC-USDT");
    let request = request(&btc, Interval::HOUR, "2025-01-01");
    let place = BackfillCursor::start(&SourceSpec::Binance(BinanceSpec::default()), &request);
    let stored = serde_json::to_vec(&place).unwrap();
    assert_eq!(BackfillCursor::read(&stored).unwrap(), place);
}

#[tokio::test]
async fn disorder_and_duplicates_are_kept_for_the_gate() {
    let (http, _) = patience();
    let rows = json!([kline(420_002), kline(420_000), kline(420_002), kline(420_001)]);
    let vendor = Vendor::scripted(vec![Answer::ok(rows.to_string())]).await;
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let table = extract(&SourceSpec::Binance(spec), &request, &http, &()).await.unwrap();
    let hours: Vec<i64> = table.rows.iter().map(|r| r.time.secs() / 3_600).collect();
    assert_eq!(hours, [420_002, 420_000, 420_002, 420_001]);
    assert_eq!(table.positions, [1, 2, 3, 4]);
}

#[tokio::test]
async fn paging_that_does_not_move_on_ends() {
    let (http, _) = patience();
    let rows: Vec<Value> = (0..1_000).map(|i| kline(420_000 + i)).collect();
    let vendor = Vendor::scripted(vec![Answer::ok(json!(rows).to_string())]).await;
    let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
    let instrument = instrument("BTC-USDT");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let error = extract(&SourceSpec::Binance(spec), &request, &http, &()).await.unwrap_err();
    assert!(error.to_string().contains("paging would never end"), "{error}");
    assert_eq!(vendor.requests().len(), 2);
}

#[tokio::test]
async fn binances_refusals_are_passed_on() {
    let (http, stopwatch) = patience();
    for (answer, pieces, requests) in [
        (
            Answer::status(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#),
            ["Invalid symbol", "`symbol`"],
            1,
        ),
        (Answer::status(418, "").header("Retry-After: 3600"), ["banned", "in 3600 seconds"], 1),
        (Answer::status(451, ""), ["not served in this country", "another"], 1),
        (
            Answer::status(429, r#"{"code":-1003,"msg":"Way too much"}"#),
            ["Way too much", "requests_per_minute"],
            5,
        ),
    ] {
        let vendor = Vendor::scripted(vec![answer]).await;
        let spec = BinanceSpec { base_url: vendor.url.clone(), budget: UNLIMITED, symbol: None };
        let instrument = instrument("BTC-USDT");
        let request = request(&instrument, Interval::HOUR, "2026-01-01");
        let error = extract(&SourceSpec::Binance(spec), &request, &http, &()).await.unwrap_err();
        for piece in pieces {
            assert!(error.to_string().contains(piece), "`{piece}` is not in `{error}`");
        }
        assert_eq!(vendor.requests().len(), requests);
    }
    assert_eq!(stopwatch.waits().len(), 4);
}

fn coingecko_at(vendor: &Vendor) -> CoinGeckoSpec {
    CoinGeckoSpec {
        base_url: vendor.url.clone(),
        key: Some(Secret::new("CG-very-secret")),
        budget: UNLIMITED,
        ..CoinGeckoSpec::of("bitcoin")
    }
}

#[tokio::test]
async fn coingecko_is_sampled_and_its_key_stays_in_the_header() {
    let (http, _) = patience();
    let recording = std::fs::read(format!("{ROOT}/data/coingecko-bitcoin-hourly.json")).unwrap();
    let vendor = Vendor::scripted(vec![Answer::ok(recording)]).await;
    let instrument = instrument("BTC-USD");
    // Asked when the recording was made, 28 minutes after its last snapshot.
    let request = request(&instrument, Interval::HOUR, "2021-05-15T14:42:23Z");
    let spec = coingecko_at(&vendor);
    let table = extract(&SourceSpec::CoinGecko(spec.clone()), &request, &http, &()).await.unwrap();
    assert_eq!(table.len(), 715);
    assert_eq!(table.rows.last().unwrap().time.to_string(), "2021-05-15T13:00:00Z");
    let asked = &vendor.requests()[0];
    let target = "/api/v3/coins/bitcoin/market_chart?vs_currency=usd&days=89";
    assert_eq!(asked.target, target);
    assert!(asked.head.to_lowercase().contains("x-cg-demo-api-key: cg-very-secret"));
    let shown = format!("{spec:?}{}{}", serde_json::to_string(&spec).unwrap(), table.origin);
    assert!(!shown.contains("very-secret"), "{shown}");
    let pro = CoinGeckoSpec { plan: CoinGeckoPlan::Pro, ..spec };
    extract(&SourceSpec::CoinGecko(pro), &request, &http, &()).await.unwrap();
    assert!(vendor.requests()[1].head.to_lowercase().contains("x-cg-pro-api-key: cg-very-secret"));
}

#[tokio::test]
async fn coingeckos_long_ranges_are_asked_in_windows_that_stay_hourly() {
    // A snapshot 10 minutes before each full hour, and one on it every tenth. Spans below
    // two days come every five minutes, above ninety every day.
    let vendor = Vendor::start(|request| {
        let number = |name: &str| request.query(name).unwrap().parse::<i64>().unwrap();
        let (from, to) = (number("from"), number("to"));
        let step = match to - from {
            ..172_800 => 300,
            172_800..=7_776_000 => 3_600,
            _ => 86_400,
        };
        if step != 3_600 {
            let times = (from / step + 1..=to / step).map(|n| n * step);
            let series: Vec<Value> = times.map(|t| json!([t * 1_000, t as f64])).collect();
            let body = json!({"prices": series, "market_caps": series, "total_volumes": series});
            return Answer::ok(body.to_string());
        }
        let mut times: Vec<i64> =
            (from / 3_600..=to / 3_600 + 1).map(|h| h * 3_600 - 600).collect();
        times.extend((from / 3_600..=to / 3_600).filter(|h| h % 10 == 0).map(|h| h * 3_600));
        times.sort_unstable();
        times.retain(|t| (from..=to).contains(t));
        let series: Vec<Value> = times.iter().map(|t| json!([t * 1_000, *t as f64])).collect();
        let body = json!({"prices": series, "market_caps": series, "total_volumes": series});
        Answer::ok(body.to_string())
    })
    .await;
    let (http, _) = patience();
    let instrument = instrument("BTC-USD");
    let mut request = request(&instrument, Interval::HOUR, "2026-01-01");
    request.from = Some(at("2025-01-01"));
    request.to = Some(at("2025-07-20"));
    let spec = SourceSpec::CoinGecko(coingecko_at(&vendor));
    let table = extract(&spec, &request, &http, &()).await.unwrap();
    assert_eq!(vendor.requests().len(), 3);
    assert_eq!(table.len(), 200 * 24);
    for (i, row) in table.rows.iter().enumerate() {
        assert_eq!(row.time, request.from.unwrap().plus_secs(3_600 * i as i64));
        let taken = table.column("price").unwrap()[i];
        let end = (row.time + Interval::HOUR).secs();
        let full = (end / 3_600) % 10 == 0;
        assert_eq!(taken, (end - if full { 0 } else { 600 }) as f64, "row {i}");
    }
    // Ninety days are two windows of forty-five, not one of eighty-nine and a day.
    request.from = Some(at("2025-04-21"));
    assert_eq!(extract(&spec, &request, &http, &()).await.unwrap().len(), 90 * 24);
    let asked = vendor.requests();
    let spans = asked[3..].iter().map(|r| {
        let number = |name: &str| r.query(name).unwrap().parse::<i64>().unwrap();
        (number("to") - number("from")) / 86_400
    });
    assert_eq!(spans.collect::<Vec<_>>(), [45, 45]);
    // Two hours, as live use asks for them, have the values that the history has.
    request.from = Some(at("2025-07-19T22:00:00Z"));
    let newest = extract(&spec, &request, &http, &()).await.unwrap();
    assert_eq!(
        newest.rows.iter().map(|r| r.time).collect::<Vec<_>>(),
        [at("2025-07-19T22:00:00Z"), at("2025-07-19T23:00:00Z"),]
    );
    let tail = &table.column("price").unwrap()[200 * 24 - 2..];
    assert_eq!(newest.column("price").unwrap(), tail);
}

#[tokio::test]
async fn coingeckos_refusals_hold_no_key() {
    let (http, _) = patience();
    for (answer, pieces) in [
        (
            Answer::status(404, r#"{"error":"coin not found"}"#),
            ["coin not found", "check the name"],
        ),
        (
            Answer::status(
                401,
                r#"{"status":{"error_code":10002,"error_message":"API Key Missing"}}"#,
            ),
            ["API Key Missing", "check the API key"],
        ),
        (
            Answer::status(
                401,
                r#"{"error":{"status":{"timestamp":"2025-11-11T00:00:00.000+00:00","error_code":10012,"error_message":"Your request exceeds the allowed time range. Public API users are limited to querying historical data within the past 365 days."}}}"#,
            ),
            ["exceeds the allowed time range", "shorten `days` or move `from`"],
        ),
        (
            Answer::status(
                429,
                r#"{"status":{"error_code":429,"error_message":"You've exceeded the Rate Limit."}}"#,
            ),
            ["exceeded the Rate Limit", "requests_per_minute"],
        ),
        (
            Answer::status(422, r#"{"error":"Missing parameter vs_currency"}"#),
            ["Missing parameter", "settings"],
        ),
    ] {
        let vendor = Vendor::scripted(vec![answer]).await;
        let instrument = instrument("BTC-USD");
        let request = request(&instrument, Interval::HOUR, "2026-01-01");
        let spec = SourceSpec::CoinGecko(coingecko_at(&vendor));
        let error = extract(&spec, &request, &http, &()).await.unwrap_err();
        let message = format!("{error} {error:?}");
        for piece in pieces {
            assert!(message.contains(piece), "`{piece}` is not in `{message}`");
        }
        assert!(!message.contains("very-secret"), "{message}");
    }
    // Nothing is sent to a stranger, not even a request without the key.
    let vendor = Vendor::scripted(vec![good()]).await;
    let stranger = "http://api.coingecko.com.example".parse().unwrap();
    let spec = CoinGeckoSpec { base_url: stranger, ..coingecko_at(&vendor) };
    let btc = instrument("BTC-USD");
    let asked = request(&btc, Interval::HOUR, "2026-01-01");
    let error = extract(&SourceSpec::CoinGecko(spec), &asked, &http, &()).await.unwrap_err();
    assert!(error.to_string().contains("may not be sent to this address"), "{error}");
    let spec = CoinGeckoSpec { coin: "../../admin".to_owned(), ..coingecko_at(&vendor) };
    let instrument = instrument("BTC-USD");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let error = extract(&SourceSpec::CoinGecko(spec), &request, &http, &()).await.unwrap_err();
    assert!(error.to_string().contains("`coin`"), "{error}");
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn kaggle_at(vendor: &Vendor, file: &str) -> KaggleSpec {
    KaggleSpec {
        base_url: vendor.url.clone(),
        dataset: "someone/bitcoin-history".to_owned(),
        version: Some(7),
        username: Some("someone".to_owned()),
        key: Some(Secret::new("kaggle-very-secret")),
        file: FileSpec::at(file),
        budget: UNLIMITED,
    }
}

#[tokio::test]
async fn kaggles_archive_is_read_like_a_file_and_its_key_stays_with_its_host() {
    let csv = "Unix Time,Open,High,Low,Close\n1577959200,1,2,0.5,1.5\n";
    let zip = archive(&[("readme.md", "hello"), ("data/btc.csv", csv)]);
    let store = Vendor::scripted(vec![Answer::ok(zip)]).await;
    let target = format!("Location: {}signed?token=abc", store.url);
    let vendor = Vendor::scripted(vec![Answer::status(302, "").header(&target)]).await;
    let (http, _) = patience();
    let instrument = instrument("BTC-USD");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let mut spec = kaggle_at(&vendor, "data/btc.csv");
    spec.file.columns.time = Some("Unix Time".to_owned());
    let table = extract(&SourceSpec::Kaggle(spec), &request, &http, &()).await.unwrap();
    assert_eq!((table.len(), table.column("close").unwrap()[0]), (1, 1.5));
    assert!(table.origin.ends_with("data/btc.csv"), "{}", table.origin);
    let first = &vendor.requests()[0];
    let asked = "/api/v1/datasets/download/someone/bitcoin-history?datasetVersionNumber=7";
    assert_eq!(first.target, asked);
    assert!(first.head.to_lowercase().contains("authorization: basic"));
    assert!(!store.requests()[0].head.to_lowercase().contains("authorization"));
}

#[test]
fn a_zip_archive_of_one_file_is_read_like_that_file() {
    let csv = "time,close\n1577959200,1\n1577962800,2\n";
    let instrument = instrument("BTC-USD");
    let request = request(&instrument, Interval::HOUR, "2026-01-01");
    let read = |files: &[(&str, &str)]| {
        let bytes = archive(files).into();
        foretell_source::file::read_file(bytes, &FileSpec::at("prices.zip"), &request)
    };
    assert_eq!(read(&[("BTCUSDT-1h.csv", csv)]).unwrap().len(), 2);
    assert_eq!(read(&[("a.csv", csv), ("__MACOSX/a.csv", "?")]).unwrap().len(), 2);
    for (files, pieces) in [
        (&[("a.csv", csv), ("b.csv", csv)][..], ["2 files: a.csv, b.csv", "unpack"]),
        (&[("[Content_Types].xml", ""), ("xl/workbook.xml", "")], ["spreadsheet", "as CSV"]),
        (&[], ["0 files", "unpack"]),
    ] {
        let message = read(files).unwrap_err().to_string();
        for piece in pieces {
            assert!(message.contains(piece), "`{piece}` is not in `{message}`");
        }
    }
}

#[tokio::test]
async fn kaggles_faults_are_named() {
    let csv = "time,close\n1577959200,1\n";
    let two = archive(&[("a.csv", csv), ("b.csv", "time,close\nnever,1\n")]);
    let cut = two[..two.len() - 30].to_vec();
    for (answer, file, pieces) in [
        (Answer::ok("<html>Sign in</html>"), "a.csv", ["not a zip archive", "API key"]),
        (
            Answer::status(403, r#"{"message":"Permission denied"}"#),
            "a.csv",
            ["Permission denied", "licence"],
        ),
        (Answer::ok(two.clone()), "c.csv", ["holds no `c.csv`", "a.csv, b.csv"]),
        (Answer::ok(two.clone()), "", ["holds 2 files", "`file`"]),
        (Answer::ok(two), "b.csv", ["b.csv: line 2: `time`", "`never`"]),
        (Answer::ok(cut), "a.csv", ["damaged or cut off", "fetch or pack it again"]),
    ] {
        let vendor = Vendor::scripted(vec![answer]).await;
        let (http, _) = patience();
        let instrument = instrument("BTC-USD");
        let request = request(&instrument, Interval::HOUR, "2026-01-01");
        let spec = SourceSpec::Kaggle(kaggle_at(&vendor, file));
        let error = extract(&spec, &request, &http, &()).await.unwrap_err();
        let message = format!("{error} {error:?} {spec:?}");
        for piece in pieces {
            assert!(message.contains(piece), "`{piece}` is not in `{message}`");
        }
        assert!(!message.contains("very-secret"), "{message}");
    }
}
