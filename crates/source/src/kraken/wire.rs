//! Kraken's public REST answers: `{"error": […], "result": {…}}`.
//!
//! Rate limiting and unknown pairs come as HTTP 200 with a text in `error`. Rows of
//! another length, other types or a second pair are refused. Order and duplicates are
//! kept.

use foretell_market::{Candle, Side, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::SourceError;
use crate::error::{Malformed, excerpt};
use crate::http::{Verdict, Wait, by_status};
use crate::wire::{Row, document, plain_number};

/// Bars of `OHLC`, the last of which is still forming.
#[derive(Debug, Clone, PartialEq)]
pub struct OhlcPage {
    /// The pair as Kraken names it in the answer.
    pub pair: String,
    /// The bars in the order of the answer.
    pub candles: Vec<Candle>,
    /// Volume-weighted average prices, one per bar.
    pub vwap: Vec<f64>,
    /// Open time of the last complete bar, where the answer gives it.
    pub last: Option<Timestamp>,
}

/// One trade of a page; the instrument is known to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KrakenTrade {
    /// When it happened (UTC, rounded down to the microsecond).
    pub time: Timestamp,
    /// Price in the quote currency.
    pub price: f64,
    /// Amount in the base asset.
    pub quantity: f64,
    /// The aggressor.
    pub side: Side,
    /// Kraken's number of the trade; recordings before 2021 have none.
    pub id: Option<i64>,
}

/// A page of `Trades`.
#[derive(Debug, Clone, PartialEq)]
pub struct TradesPage {
    /// The pair as Kraken names it in the answer.
    pub pair: String,
    /// The trades in the order of the answer.
    pub trades: Vec<KrakenTrade>,
    /// Where the next page starts: nanoseconds since 1970.
    pub last: i64,
}

/// One pair of `AssetPairs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPair {
    /// The key in the answer, such as `XXBTZUSD`.
    pub key: String,
    /// The short name, such as `XBTUSD`.
    pub altname: String,
    /// The name on the websocket, such as `XBT/USD`, where there is one.
    pub wsname: Option<String>,
    /// Base asset.
    pub base: String,
    /// Quote currency.
    pub quote: String,
    /// Whether it trades (`online`), where the answer says so.
    pub status: Option<String>,
}

/// One pair of `Ticker`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ticker {
    /// Best ask.
    pub ask: f64,
    /// Best bid.
    pub bid: f64,
    /// Price of the last trade.
    pub last: f64,
    /// Amount of the last 24 hours, base asset.
    pub volume: f64,
    /// Highest price of the last 24 hours.
    pub high: f64,
    /// Lowest price of the last 24 hours.
    pub low: f64,
    /// First price of the UTC day.
    pub open: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    error: Vec<String>,
    result: Option<Map<String, Value>>,
}

/// How long a temporary lockout is waited out; Kraken says no more than that it passes.
const LOCKOUT_SECS: u64 = 900;

/// What Kraken's answer means: its errors live in the body, under HTTP 200.
pub(crate) fn judge(status: u16, body: &[u8]) -> Verdict {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return by_status(status, None);
    };
    let Some(first) = envelope.error.iter().find(|e| e.starts_with('E')) else {
        return by_status(status, None);
    };
    let message = excerpt(first, 200);
    match first.as_str() {
        "EGeneral:Too many requests" | "EAPI:Rate limit exceeded" => {
            Verdict::RateLimited { message, wait: Wait::Unsaid }
        }
        "EGeneral:Temporary lockout" => {
            Verdict::RateLimited { message, wait: Wait::Seconds(LOCKOUT_SECS) }
        }
        // `EService:Throttled: 1700000000`: when to come back, in seconds since 1970.
        throttled if throttled.starts_with("EService:Throttled") => {
            let until = throttled.rsplit(':').next().and_then(|t| t.trim().parse().ok());
            Verdict::RateLimited { message, wait: until.map_or(Wait::Unsaid, Wait::Until) }
        }
        "EService:Unavailable"
        | "EService:Busy"
        | "EService:Timeout"
        | "EGeneral:Internal error" => Verdict::Trouble { message },
        "EQuery:Unknown asset pair" => Verdict::Refused {
            message,
            remedy: "give Kraken's name of the pair in `pair`, such as XBTUSD".to_owned(),
        },
        _ => Verdict::Refused { message, remedy: "check the source's settings".to_owned() },
    }
}

/// The `result` of an answer without errors.
fn result(origin: &str, bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    let envelope: Envelope = document(origin, bytes)?;
    if let Some(first) = envelope.error.first() {
        let problem = format!("the vendor says `{}`", excerpt(first, 200));
        let remedy = "check `pair` and `requests_per_minute` of [source], then run it again";
        return Err(Malformed::new(origin, problem, remedy).field("error"));
    }
    let missing = || {
        let remedy = "the vendor may have changed its format: keep the answer and report it";
        Malformed::new(origin, "there is no result", remedy).field("result")
    };
    envelope.result.ok_or_else(missing)
}

/// The one pair's rows beside `last`.
fn rows_of(
    origin: &str,
    mut result: Map<String, Value>,
) -> Result<(String, Vec<Value>, Option<Value>), Malformed> {
    let last = result.remove("last");
    let names: Vec<String> = result.keys().cloned().collect();
    let mut pairs = result.into_iter();
    match (pairs.next(), pairs.next()) {
        (Some((pair, Value::Array(rows))), None) => Ok((pair, rows, last)),
        _ => {
            let problem = format!("not the rows of one pair: {}", excerpt(&names.join(", "), 100));
            let remedy = "ask for one pair at a time";
            Err(Malformed::new(origin, problem, remedy).field("result"))
        }
    }
}

/// Seconds since 1970 within the calendar.
fn time_of(row: &Row<'_>, index: usize, secs: i64) -> Result<Timestamp, Malformed> {
    let range = 0..Timestamp::MAX.secs() / 2;
    let time = range.contains(&secs).then(|| Timestamp::from_secs(secs));
    time.ok_or_else(|| row.refuse(index, "time", "a time in seconds"))
}

/// Parses an answer of `/0/public/OHLC`: rows of
/// `[time, open, high, low, close, vwap, volume, count]`.
///
/// # Errors
/// [`SourceError::Malformed`] with the 1-based row, the field and a remedy.
pub fn parse_ohlc(bytes: &[u8]) -> Result<OhlcPage, SourceError> {
    const ORIGIN: &str = "kraken OHLC";
    let (pair, elements, last) = rows_of(ORIGIN, result(ORIGIN, bytes)?)?;
    let mut page = OhlcPage { pair, candles: Vec::new(), vwap: Vec::new(), last: None };
    for (position, element) in (1u64..).zip(&elements) {
        let row = Row::of(ORIGIN, position, element, &[8])?;
        page.vwap.push(row.number(5, "vwap")?);
        page.candles.push(Candle {
            open_time: time_of(&row, 0, row.whole(0, "time")?)?,
            open: row.number(1, "open")?,
            high: row.number(2, "high")?,
            low: row.number(3, "low")?,
            close: row.number(4, "close")?,
            volume: row.number(6, "volume")?,
            trades: Some(
                u64::try_from(row.whole(7, "count")?)
                    .map_err(|_| row.refuse(7, "count", "a count"))?,
            ),
        });
    }
    if let Some(last) = last {
        let range = 0..Timestamp::MAX.secs() / 2;
        let secs = last.as_i64().filter(|secs| range.contains(secs)).ok_or_else(|| {
            let problem = format!("`{}` is not a time in seconds", excerpt(&last.to_string(), 40));
            Malformed::new(ORIGIN, problem, "fetch the answer again").field("last")
        })?;
        page.last = Some(Timestamp::from_secs(secs));
    }
    Ok(page)
}

/// Parses an answer of `/0/public/Trades`: rows of
/// `[price, volume, time, side, kind, misc]` with the trade's number as a seventh value
/// since 2021 (a text in answers of 2026), and `last` in nanoseconds.
///
/// # Errors
/// [`SourceError::Malformed`] with the 1-based row, the field and a remedy.
pub fn parse_trades(bytes: &[u8]) -> Result<TradesPage, SourceError> {
    const ORIGIN: &str = "kraken Trades";
    let (pair, elements, last) = rows_of(ORIGIN, result(ORIGIN, bytes)?)?;
    let mut trades = Vec::with_capacity(elements.len());
    for (position, element) in (1u64..).zip(&elements) {
        let row = Row::of(ORIGIN, position, element, &[6, 7])?;
        let secs = row.number(2, "time")?;
        time_of(&row, 2, secs as i64)?;
        trades.push(KrakenTrade {
            // Rounded down: rounding up could move a trade into the next candle.
            time: Timestamp::from_micros((secs * 1e6).floor() as i64),
            price: row.number(0, "price")?,
            quantity: row.number(1, "volume")?,
            side: match row.text(3, "side")? {
                "b" => Side::Buy,
                "s" => Side::Sell,
                _ => return Err(row.refuse(3, "side", "`b` or `s`").into()),
            },
            id: if row.len() == 7 { Some(row.whole_or_text(6, "trade_id")?) } else { None },
        });
    }
    let last = last.as_ref().and_then(|last| match last {
        Value::String(text) => text.parse::<i64>().ok(),
        other => other.as_i64(),
    });
    let last = last.filter(|nanos| *nanos >= 0).ok_or_else(|| {
        let problem = "there is no cursor in nanoseconds";
        Malformed::new(ORIGIN, problem, "fetch the answer again").field("last")
    })?;
    Ok(TradesPage { pair, trades, last })
}

/// Parses an answer of `/0/public/AssetPairs`. Further keys of a pair (fees, leverage,
/// limits) are of no use here and vary with the year; they are passed over.
///
/// # Errors
/// [`SourceError::Malformed`] with the pair, the field and a remedy.
pub fn parse_asset_pairs(bytes: &[u8]) -> Result<Vec<AssetPair>, SourceError> {
    const ORIGIN: &str = "kraken AssetPairs";
    let mut pairs = Vec::new();
    for (position, (key, value)) in (1u64..).zip(&result(ORIGIN, bytes)?) {
        let text = |field: &str| {
            value.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
                let problem = format!("pair `{}` has no such text", excerpt(key, 40));
                Malformed::new(ORIGIN, problem, "fetch the answer again").row(position).field(field)
            })
        };
        pairs.push(AssetPair {
            key: key.clone(),
            altname: text("altname")?,
            wsname: value.get("wsname").and_then(Value::as_str).map(str::to_owned),
            base: text("base")?,
            quote: text("quote")?,
            status: value.get("status").and_then(Value::as_str).map(str::to_owned),
        });
    }
    Ok(pairs)
}

/// Parses an answer of `/0/public/Ticker` into its pairs.
///
/// # Errors
/// [`SourceError::Malformed`] with the pair, the field and a remedy.
pub fn parse_ticker(bytes: &[u8]) -> Result<Vec<(String, Ticker)>, SourceError> {
    const ORIGIN: &str = "kraken Ticker";
    let mut tickers = Vec::new();
    for (position, (pair, value)) in (1u64..).zip(&result(ORIGIN, bytes)?) {
        // Arrays are [today, last 24 hours] or [price, lot, …].
        let number = |field: &str, index: usize| {
            let found = value.get(field).map(|v| v.get(index).unwrap_or(v));
            found.and_then(Value::as_str).and_then(plain_number).ok_or_else(|| {
                let problem = format!("pair `{}` has no such number", excerpt(pair, 40));
                Malformed::new(ORIGIN, problem, "fetch the answer again").row(position).field(field)
            })
        };
        let ticker = Ticker {
            ask: number("a", 0)?,
            bid: number("b", 0)?,
            last: number("c", 0)?,
            volume: number("v", 1)?,
            high: number("h", 1)?,
            low: number("l", 1)?,
            open: number("o", 0)?,
        };
        tickers.push((pair.clone(), ticker));
    }
    Ok(tickers)
}
