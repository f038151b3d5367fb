//! Asks Binance for klines, a thousand at a time.
//!
//! A page starts where the one before it ended, by what came and not by the clock, so
//! that a market's years before its listing cost one request.

use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::Column;
use serde::{Deserialize, Serialize};
use url::Url;

use super::wire::{Kline, judge, parse_klines};
use crate::backfill::{Page, Window};
use crate::error::Malformed;
use crate::http::{Ask, Client, endpoint};
use crate::rows::Rows;
use crate::{ExtractRequest, HttpSettings, RateBudget, SourceError};

pub(crate) const VENDOR: &str = "binance";
/// The most klines that one answer holds.
const LIMIT: usize = 1_000;
/// Lengths whose bars start on our grid (weeks of Binance start on Mondays).
const INTERVALS: [(&str, i64); 13] = [
    ("1s", 1),
    ("1m", 60),
    ("3m", 180),
    ("5m", 300),
    ("15m", 900),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("4h", 14_400),
    ("6h", 21_600),
    ("8h", 28_800),
    ("12h", 43_200),
    ("1d", 86_400),
];

/// Binance's public REST interface, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinanceSpec {
    /// Where it lives.
    pub base_url: Url,
    /// Binance's name of the market; `None` derives it (`BTC-USDT` is `BTCUSDT`).
    pub symbol: Option<String>,
    /// How often we may ask.
    pub budget: RateBudget,
}

impl Default for BinanceSpec {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://api.binance.com").expect("a constant URL"),
            symbol: None,
            budget: RateBudget { requests: 10, per_millis: 1_000 },
        }
    }
}

impl BinanceSpec {
    /// Binance's name of an instrument's market: the declared one, or the derived.
    pub fn symbol_of(&self, instrument: &Instrument) -> String {
        let derived = || format!("{}{}", instrument.base(), instrument.quote());
        self.symbol.clone().unwrap_or_else(derived)
    }
}

/// A conversation with Binance.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    spec: &'a BinanceSpec,
    client: Client<'a>,
}

fn name_of(interval: Interval) -> Result<&'static str, SourceError> {
    let found = INTERVALS.iter().find(|(_, secs)| *secs == interval.secs());
    found.map(|(name, _)| *name).ok_or_else(|| SourceError::Setting {
        field: "interval",
        problem: format!("binance has no bars of {interval} that start on the UTC grid"),
        remedy: "choose one of 1s, 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d".to_owned(),
    })
}

/// Refuses an interval of which Binance has no bars.
pub(crate) fn check(interval: Interval) -> Result<(), SourceError> {
    name_of(interval).map(|_| ())
}

impl<'a> Session<'a> {
    pub(crate) fn new(spec: &'a BinanceSpec, http: &'a HttpSettings) -> Result<Self, SourceError> {
        Ok(Self { spec, client: Client::new(VENDOR, http, spec.budget)? })
    }

    /// Up to a thousand rows from the window's beginning.
    pub(crate) async fn page(
        &self,
        request: &ExtractRequest<'_>,
        window: &Window,
    ) -> Result<Page, SourceError> {
        let start = window.next.unwrap_or(Timestamp::from_secs(0));
        let mut url = endpoint(&self.spec.base_url, "/api/v3/klines");
        url.query_pairs_mut().extend_pairs([
            ("symbol", self.spec.symbol_of(request.instrument)),
            ("interval", name_of(request.interval)?.to_owned()),
            ("startTime", start.millis().to_string()),
            ("endTime", (window.to.millis() - 1).to_string()),
            ("limit", LIMIT.to_string()),
        ]);
        let ask = Ask::new(url);
        let answer = self.client.get(&ask, judge).await?;
        let origin = self.client.origin(&ask);
        let klines = parse_klines(&answer.body).map_err(|e| e.of(&origin))?;
        let last = klines.iter().map(|k| k.open_time).max();
        let next = match last {
            Some(last) if klines.len() >= LIMIT => {
                if last < start {
                    let problem = format!("asked for bars from {start}, got bars up to {last}");
                    let remedy = "check `base_url`: paging would never end";
                    return Err(Malformed::new(&origin, problem, remedy).field("startTime").into());
                }
                let next = Timestamp::from_millis(last.millis() + 1);
                (next < window.to).then_some(next)
            }
            _ => None,
        };
        Ok(Page {
            received: klines.len() as u64,
            rows: rows_of(&klines),
            next,
            origin,
            at: answer.at,
            reached: None,
        })
    }
}

fn rows_of(klines: &[Kline]) -> Rows {
    let column =
        |name: &str, of: fn(&Kline) -> f64| Column::new(name, klines.iter().map(of).collect());
    let flag = |k: &Kline| if k.trades == 0 { RowFlags::NO_TRADE } else { RowFlags::NONE };
    Rows {
        positions: (1..=klines.len() as u64).collect(),
        times: klines.iter().map(|k| k.open_time).collect(),
        known_at: Vec::new(),
        flags: klines.iter().map(flag).collect(),
        columns: vec![
            column("open", |k| k.open),
            column("high", |k| k.high),
            column("low", |k| k.low),
            column("close", |k| k.close),
            column("volume", |k| k.volume),
            column("quote_volume", |k| k.quote_volume),
            column("trades", |k| k.trades as f64),
        ],
        faults: Vec::new(),
    }
}
