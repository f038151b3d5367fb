//! Asks Kraken: recent bars from `OHLC`, any history from `Trades`.
//!
//! `OHLC` gives the latest 720 bars and no more; `Trades` goes back to the first trade
//! and is the only way to older bars. Knows requests; the parser knows formats.

use std::collections::BTreeSet;

use foretell_market::{Candle, CandleBuilder, Instrument, Interval, RowFlags, Timestamp, Trade};
use foretell_panel::Column;
use serde::{Deserialize, Serialize};
use url::Url;

use super::names;
use super::wire::{
    self, AssetPair, KrakenTrade, Ticker, parse_asset_pairs, parse_ohlc, parse_ticker, parse_trades,
};
use crate::backfill::{Page, Window};
use crate::http::{Ask, Client, endpoint};
use crate::rows::Rows;
use crate::{ExtractRequest, HttpSettings, RateBudget, SourceError};

/// How we call the vendor.
pub(crate) const VENDOR: &str = "kraken";
/// The number of bars that `OHLC` keeps.
const KEPT: i64 = 720;
/// Bar lengths that `OHLC` knows, in minutes.
const MINUTES: [i64; 8] = [1, 5, 15, 30, 60, 240, 1_440, 10_080];

/// Kraken's public REST interface, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KrakenSpec {
    /// Where it lives.
    pub base_url: Url,
    /// Kraken's name of the pair; `None` derives it (`BTC-USD` is `XBTUSD`).
    pub pair: Option<String>,
    /// Which route rows come from.
    pub history: KrakenHistory,
    /// How often we may ask.
    pub budget: RateBudget,
}

/// Which of Kraken's routes is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KrakenHistory {
    /// The latest 720 bars.
    #[default]
    Ohlc,
    /// Bars built from trades, from any time on.
    Trades,
}

impl Default for KrakenSpec {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://api.kraken.com").expect("a constant URL"),
            pair: None,
            history: KrakenHistory::Ohlc,
            budget: RateBudget { requests: 1, per_millis: 1_000 },
        }
    }
}

impl KrakenSpec {
    /// Kraken's name of an instrument's pair: the declared one, or the derived.
    pub fn pair_of(&self, instrument: &Instrument) -> String {
        self.pair.clone().unwrap_or_else(|| names::pair_of(instrument))
    }
}

/// The bar's length as `OHLC` wants it.
fn minutes_of(interval: Interval) -> Result<i64, SourceError> {
    let minutes = MINUTES.into_iter().find(|m| m * 60 == interval.secs());
    minutes.ok_or_else(|| SourceError::Setting {
        field: "interval",
        problem: format!("kraken has no bars of {interval}"),
        remedy: "choose 1m, 5m, 15m, 30m, 1h, 4h, 1d or 7d, or `feed = \"trades\"`".to_owned(),
    })
}

fn no_beginning() -> SourceError {
    SourceError::Setting {
        field: "from",
        problem: "building bars from trades needs a beginning".to_owned(),
        remedy: "write the first time wanted".to_owned(),
    }
}

/// Refuses bars that `OHLC` does not have, and trades without a beginning.
pub(crate) fn check(
    spec: &KrakenSpec,
    interval: Interval,
    from: Option<Timestamp>,
) -> Result<(), SourceError> {
    match spec.history {
        KrakenHistory::Ohlc => minutes_of(interval).map(|_| ()),
        KrakenHistory::Trades => from.map(|_| ()).ok_or_else(no_beginning),
    }
}

/// A conversation with Kraken.
#[derive(Debug)]
pub struct Session<'a> {
    spec: &'a KrakenSpec,
    client: Client<'a>,
}

impl<'a> Session<'a> {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(spec: &'a KrakenSpec, http: &'a HttpSettings) -> Result<Self, SourceError> {
        Ok(Self { spec, client: Client::new(VENDOR, http, spec.budget)? })
    }

    fn ask(&self, route: &str, query: &[(&str, String)]) -> Ask {
        let mut url = endpoint(&self.spec.base_url, &format!("/0/public/{route}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ask::new(url)
    }

    /// All pairs that Kraken trades.
    ///
    /// # Errors
    /// When Kraken cannot be reached or understood.
    pub async fn asset_pairs(&self) -> Result<Vec<AssetPair>, SourceError> {
        let ask = self.ask("AssetPairs", &[]);
        let answer = self.client.get(&ask, wire::judge).await?;
        parse_asset_pairs(&answer.body).map_err(|e| e.of(&self.client.origin(&ask)))
    }

    /// The present prices of one pair by Kraken's name.
    ///
    /// # Errors
    /// When Kraken cannot be reached or understood, or knows no such pair.
    pub async fn ticker(&self, pair: &str) -> Result<Vec<(String, Ticker)>, SourceError> {
        let ask = self.ask("Ticker", &[("pair", pair.to_owned())]);
        let answer = self.client.get(&ask, wire::judge).await?;
        parse_ticker(&answer.body).map_err(|e| e.of(&self.client.origin(&ask)))
    }

    /// The next rows of a window, by the declared route.
    pub(crate) async fn page(
        &self,
        request: &ExtractRequest<'_>,
        window: &Window,
    ) -> Result<Page, SourceError> {
        match self.spec.history {
            KrakenHistory::Ohlc => self.ohlc(request, window).await,
            KrakenHistory::Trades => self.trades(request, window).await,
        }
    }

    async fn ohlc(
        &self,
        request: &ExtractRequest<'_>,
        window: &Window,
    ) -> Result<Page, SourceError> {
        let interval = request.interval;
        let minutes = minutes_of(interval)?;
        let oldest = oldest_ohlc(interval, request.now);
        let mut query = vec![
            ("pair", self.spec.pair_of(request.instrument)),
            ("interval", minutes.to_string()),
        ];
        if let Some(from) = window.next {
            if from < oldest {
                let remedy = "declare `feed = \"trades\"` to build older bars from trades, or \
                              ask for less";
                return Err(SourceError::TooOld {
                    vendor: VENDOR,
                    from,
                    oldest,
                    remedy: remedy.to_owned(),
                });
            }
            query.push(("since", (from.secs() - 1).to_string()));
        }
        let ask = self.ask("OHLC", &query);
        let answer = self.client.get(&ask, wire::judge).await?;
        let origin = self.client.origin(&ask);
        let page = parse_ohlc(&answer.body).map_err(|e| e.of(&origin))?;
        let received = page.candles.len();
        // The bar behind `last` is still forming; without `last` it is the final one.
        let complete = |i: usize, candle: &Candle| match page.last {
            Some(last) => candle.open_time <= last,
            None => i + 1 < received,
        };
        let kept: Vec<(u64, Candle)> = (1u64..)
            .zip(page.candles.iter().copied())
            .enumerate()
            .filter(|(i, (_, candle))| complete(*i, candle))
            .map(|(_, kept)| kept)
            .collect();
        Ok(Page {
            rows: rows_of(&kept),
            received: received as u64,
            next: None,
            origin,
            at: answer.at,
            reached: None,
        })
    }

    /// Bars of up to a day, built from every trade of that day.
    async fn trades(
        &self,
        request: &ExtractRequest<'_>,
        window: &Window,
    ) -> Result<Page, SourceError> {
        let interval = request.interval;
        let from = window.next.ok_or_else(no_beginning)?;
        let start = if interval.is_on_grid(from) { from } else { interval.floor(from) + interval };
        let bars = (86_400 / interval.secs()).max(1);
        let end = start.plus_secs(bars * interval.secs()).min(window.to);
        if start >= end {
            let (rows, origin) = (rows_of(&[]), VENDOR.to_owned());
            return Ok(Page { rows, received: 0, next: None, origin, at: None, reached: None });
        }
        let mut trades: Vec<KrakenTrade> = Vec::new();
        let mut seen = BTreeSet::new();
        // One nanosecond before, whether Kraken counts `since` in or out.
        let nanos = start.micros().checked_mul(1_000).filter(|nanos| *nanos > 0);
        let mut since = nanos.ok_or_else(|| no_trades_then(from))? - 1;
        // An answer without a new trade is the end of what there is, or Kraken's trouble of
        // a moment: the second one in a row is believed.
        let mut silent = 0;
        let (mut asked, mut at) = (None, None);
        while silent < 2 && !trades.iter().any(|t| t.time >= end) {
            let query =
                [("pair", self.spec.pair_of(request.instrument)), ("since", since.to_string())];
            let ask = self.ask("Trades", &query);
            let answer = self.client.get(&ask, wire::judge).await?;
            let origin = self.client.origin(&ask);
            let page = parse_trades(&answer.body).map_err(|e| e.of(&origin))?;
            let numbered = page.trades.iter().all(|t| t.id.is_some());
            let before = trades.len();
            // Without numbers a page that does not move on would be counted twice.
            if numbered || page.last > since {
                let new = page.trades.into_iter().filter(|t| t.id.is_none_or(|id| seen.insert(id)));
                trades.extend(new);
            }
            silent = if trades.len() == before { silent + 1 } else { 0 };
            // Trades of one instant can fall on two pages. Numbered ones are asked for
            // again from just before the cursor and known by their numbers.
            let next = if numbered { (page.last - 1).max(since + 1) } else { page.last };
            since = next.max(since);
            asked.get_or_insert(origin);
            // What closed after the first answer may have had trades after it.
            at = at.or(answer.at);
        }
        let received = trades.len() as u64;
        let first = trades.iter().map(|t| t.time).filter(|t| *t >= start).min();
        let last = trades.iter().map(|t| t.time).max();
        let present = at.map_or(request.now, |at| at.min(request.now));
        let candles = candles_of(trades, request, present, start, end);
        let kept: Vec<(u64, Candle)> = (1u64..).zip(candles).collect();
        // Before a listing there is nothing: the next piece begins with its first trade.
        let next = first.map_or(end, |first| end.max(interval.floor(first)));
        let ended = silent >= 2;
        Ok(Page {
            rows: rows_of(&kept),
            received,
            next: (next < window.to && !ended).then_some(next),
            origin: asked.unwrap_or_else(|| VENDOR.to_owned()),
            at,
            reached: ended.then(|| last.unwrap_or(start).max(start)),
        })
    }
}

/// Refuses a beginning that has no number of nanoseconds since 1970.
fn no_trades_then(from: Timestamp) -> SourceError {
    SourceError::Setting {
        field: "from",
        problem: format!("{from} is no time at which there were trades"),
        remedy: "write a time after 2010".to_owned(),
    }
}

/// The bars of `[start, end)` from trades in any order.
fn candles_of(
    mut trades: Vec<KrakenTrade>,
    request: &ExtractRequest<'_>,
    present: Timestamp,
    start: Timestamp,
    end: Timestamp,
) -> Vec<Candle> {
    trades.retain(|t| (start..end).contains(&t.time));
    trades.sort_by_key(|t| (t.time, t.id));
    let mut builder = CandleBuilder::new(request.interval);
    let mut candles = Vec::new();
    for trade in &trades {
        let trade = Trade {
            instrument: request.instrument.clone(),
            time: trade.time,
            id: trade.id,
            price: trade.price,
            quantity: trade.quantity,
            side: Some(trade.side),
        };
        // Sorted trades are never late.
        candles.extend(builder.push(&trade).unwrap_or(None));
    }
    candles.extend(builder.close_until(present));
    candles
}

/// Bars with their positions as rows; a bar without a trade is marked.
fn rows_of(candles: &[(u64, Candle)]) -> Rows {
    let column = |name: &str, of: fn(&Candle) -> f64| {
        Column::new(name, candles.iter().map(|(_, c)| of(c)).collect())
    };
    let flag = |c: &Candle| {
        if c.trades == Some(0) { RowFlags::NO_TRADE } else { RowFlags::NONE }
    };
    Rows {
        positions: candles.iter().map(|(position, _)| *position).collect(),
        times: candles.iter().map(|(_, c)| c.open_time).collect(),
        known_at: Vec::new(),
        flags: candles.iter().map(|(_, c)| flag(c)).collect(),
        columns: vec![
            column("open", |c| c.open),
            column("high", |c| c.high),
            column("low", |c| c.low),
            column("close", |c| c.close),
            column("volume", |c| c.volume),
            column("trades", |c| c.trades.map_or(f64::NAN, |n| n as f64)),
        ],
        faults: Vec::new(),
    }
}

/// The oldest open time that `OHLC` is sure to have still at an instant.
pub fn oldest_ohlc(interval: Interval, now: Timestamp) -> Timestamp {
    interval.floor(now).plus_secs(-(KEPT - 1) * interval.secs())
}
