//! Vendors on this machine that play recorded answers.
//!
//! The recordings are years old and a live pipeline wants the present, so their bars are
//! given later times: values, order and form stay as they were recorded.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use reqwest::Url;
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const HOUR: i64 = 3_600;

/// Status and body.
type Answer = (u16, Vec<u8>);
/// What a vendor answers to its n-th request, counted from 0.
type Script = dyn Fn(usize, &Url) -> Answer + Send + Sync;

/// A vendor that answers by a script until the test ends.
pub(crate) struct Vendor {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Url>>>,
    refused: Arc<AtomicUsize>,
}

impl Vendor {
    /// Answers every request with a status and a body.
    pub(crate) fn start(script: impl Fn(&Url) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let refused = Arc::new(AtomicUsize::new(usize::MAX));
        let refuse = Arc::clone(&refused);
        let (base, seen) = (url.clone(), Arc::clone(&asked));
        let script: Arc<Script> = Arc::new(move |number, url| {
            if number == refuse.load(Ordering::SeqCst) { (400, Vec::new()) } else { script(url) }
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (base, seen, script) = (base.clone(), Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &base, &seen, &*script));
            }
        });
        Self { url, asked, refused }
    }

    /// Refuses the request of this number, counted from 0.
    pub(crate) fn refuse(&self, number: usize) {
        self.refused.store(number, Ordering::SeqCst);
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Url> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: TcpStream, base: &str, seen: &Mutex<Vec<Url>>, script: &Script) {
    let mut head = Vec::new();
    let mut buffer = [0u8; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or("/");
    let url: Url = format!("{base}{target}").parse().expect("a URL");
    let number = {
        let mut seen = seen.lock().expect("not poisoned");
        seen.push(url.clone());
        seen.len() - 1
    };
    let (status, body) = script(number, &url);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// A number of the query.
pub(crate) fn number(url: &Url, name: &str) -> Option<i64> {
    let (_, value) = url.query_pairs().find(|(n, _)| n == name)?;
    value.parse().ok()
}

/// A recorded answer; packed ones are unpacked.
pub(crate) fn payload(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(format!("{ROOT}/tests/data/payloads/{name}")).expect("a recording");
    if !name.ends_with(".gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
    plain
}

fn recorded(name: &str) -> Value {
    serde_json::from_slice(&payload(name)).expect("JSON")
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

/// Kraken with its recorded 721 bars as the latest hours, the last one forming, and its
/// recorded pairs and prices.
pub(crate) fn kraken() -> Vendor {
    let recording = recorded("kraken/ohlc_2025_720.json.gz");
    let bars = array(&recording["result"]["XBTUSDT"]).clone();
    Vendor::start(move |url| match url.path() {
        "/0/public/OHLC" => {
            let forming = now() / HOUR * HOUR;
            let since = number(url, "since").unwrap_or(0);
            let time = |i: usize| forming - (bars.len() - 1 - i) as i64 * HOUR;
            let dated = bars.iter().enumerate().map(|(i, bar)| {
                let mut bar = bar.clone();
                bar[0] = time(i).into();
                bar
            });
            let rows: Vec<Value> = dated.filter(|b| b[0].as_i64() > Some(since)).collect();
            let result = json!({"XXBTZUSD": rows, "last": forming - HOUR});
            (200, json!({"error": [], "result": result}).to_string().into_bytes())
        }
        "/0/public/AssetPairs" => (200, payload("kraken/asset_pairs_2021.json")),
        "/0/public/Ticker" if url.query() == Some("pair=XBTUSD") => {
            (200, payload("kraken/ticker_2023.json"))
        }
        "/0/public/Ticker" => (200, br#"{"error":["EQuery:Unknown asset pair"]}"#.to_vec()),
        _ => (404, Vec::new()),
    })
}

/// Hours that [`binance`] has.
pub(crate) const BINANCE_HOURS: i64 = 1_468;

/// Binance with 1,468 recorded hours as the latest ones, the last one forming.
pub(crate) fn binance() -> Vendor {
    let mut bars = array(&recorded("binance/klines_1h_2020_page1.json.gz")).clone();
    bars.extend(array(&recorded("binance/klines_1h_2020_page2.json.gz")).clone());
    assert_eq!(bars.len() as i64, BINANCE_HOURS);
    Vendor::start(move |url| {
        if url.path() != "/api/v3/klines" {
            return (404, Vec::new());
        }
        let asked = |name| number(url, name).expect("a number");
        let span = asked("startTime")..=asked("endTime");
        let forming = now() / HOUR * HOUR;
        let dated = bars.iter().enumerate().map(|(i, bar)| {
            let open = (forming - (BINANCE_HOURS - 1 - i as i64) * HOUR) * 1_000;
            let mut bar = bar.clone();
            bar[0] = open.into();
            bar[6] = (open + HOUR * 1_000 - 1).into();
            bar
        });
        let wanted = dated.filter(|b| b[0].as_i64().is_some_and(|t| span.contains(&t)));
        let rows: Vec<Value> = wanted.take(asked("limit") as usize).collect();
        (200, Value::from(rows).to_string().into_bytes())
    })
}

/// CoinGecko with its recorded month as the latest one, moved by whole hours; below two
/// days there is a point every five minutes, carried on from the hour before.
pub(crate) fn coingecko() -> Vendor {
    let text = std::fs::read(format!("{ROOT}/data/coingecko-bitcoin-hourly.json"));
    let recording: Value = serde_json::from_slice(&text.expect("the sample")).expect("JSON");
    let last = array(&recording["prices"]).last().expect("points")[0].as_i64().expect("a time");
    Vendor::start(move |url| {
        if url.path() != "/api/v3/coins/bitcoin/market_chart/range" {
            return (404, br#"{"error":"coin not found"}"#.to_vec());
        }
        let asked = |name| number(url, name).expect("a number") * 1_000;
        let span = asked("from")..=asked("to");
        let shift = (now() * 1_000 - last) / (HOUR * 1_000) * (HOUR * 1_000);
        let mut answer = json!({});
        for name in ["prices", "market_caps", "total_volumes"] {
            let dated = array(&recording[name]).iter().map(|point| {
                let time = point[0].as_i64().expect("a time") + shift;
                (time, json!([time, point[1]]))
            });
            let wanted = dated.filter(|(time, _)| span.contains(time)).map(|(_, point)| point);
            let wanted: Vec<Value> = wanted.collect();
            let short = span.end() - span.start() < 48 * HOUR * 1_000;
            let dense = wanted.iter().flat_map(|point| {
                let at = |step: i64| point[0].as_i64().expect("a time") + step * 300_000;
                (0..12).map(move |step| json!([at(step), point[1]]))
            });
            answer[name] = if short { dense.collect() } else { wanted.into() };
        }
        (200, answer.to_string().into_bytes())
    })
}
