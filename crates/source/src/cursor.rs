//! Where a back-fill goes on: what was asked for, and how far that has come.
//!
//! A place is good for the request that it was reached with and for no other: rows of
//! two markets must not end up in one history because somebody edited a file between
//! two calls. So a place keeps its request, and another request begins anew; whether its
//! rows may stand beside those that are stored, whoever stores them decides.

use std::fmt;

use foretell_market::{Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Malformed;
use crate::http::shown;
use crate::{ExtractRequest, KrakenHistory, SourceSpec};

/// The version of [`BackfillCursor`] that this code writes. Version 1 did not say which
/// market was fetched from where and since when.
const VERSION: u32 = 2;

/// What a back-fill asks for, its end aside: two that are equal share their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// The kind of source.
    pub source: String,
    /// Where it is, without user, password and keys; empty for a file.
    pub base_url: String,
    /// The vendor's name of the market: pair, symbol, coin and currency, dataset and
    /// file, or a path.
    pub market: String,
    /// Which of the vendor's routes is read, where there are several.
    pub feed: Option<String>,
    /// Our name of the market.
    pub instrument: Instrument,
    /// The length of a candle or sample.
    pub interval: Interval,
    /// First open time wanted; `None` is the beginning of what the vendor has.
    pub from: Option<Timestamp>,
    /// Seconds between an interval's end and the instant its row is held to be known.
    pub lag: i64,
}

/// How far a back-fill has come. Store it after each piece and hand it back later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillCursor {
    /// Version of this form.
    pub version: u32,
    /// What is fetched.
    pub request: BackfillRequest,
    /// First open time still missing; `None` is the beginning of what the vendor has.
    pub next: Option<Timestamp>,
    /// Open times wanted lie before it.
    pub to: Timestamp,
    /// Elements received so far.
    pub received: u64,
    /// Whether everything has been fetched.
    pub done: bool,
}

/// How a back-fill begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// There was no place to go on from, or the source sends everything each time.
    First,
    /// Where it was stopped, or, after its end, where that was.
    GoesOn,
    /// At the start again, because another request is meant than the one before.
    Anew(Changed),
}

/// What differs between a request and the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// One clause per key, such as "`pair` was XBTUSD and is XBTEUR".
    pub what: Vec<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what.join(", "))
    }
}

impl BackfillRequest {
    /// What a source is asked for.
    pub fn of(spec: &SourceSpec, request: &ExtractRequest<'_>) -> Self {
        let instrument = request.instrument;
        let (base_url, market, feed) = match spec {
            SourceSpec::File(file) => (String::new(), file.path.display().to_string(), None),
            SourceSpec::Kaggle(kaggle) => {
                let market = format!("{} {}", kaggle.dataset, kaggle.file.path.display());
                (shown(&kaggle.base_url), market.trim_end().to_owned(), None)
            }
            SourceSpec::Kraken(kraken) => {
                let feed = match kraken.history {
                    KrakenHistory::Ohlc => "ohlc",
                    KrakenHistory::Trades => "trades",
                };
                (shown(&kraken.base_url), kraken.pair_of(instrument), Some(feed.to_owned()))
            }
            SourceSpec::Binance(binance) => {
                (shown(&binance.base_url), binance.symbol_of(instrument), None)
            }
            SourceSpec::CoinGecko(gecko) => {
                let market = format!("{} in {}", gecko.coin, gecko.currency_of(instrument));
                (shown(&gecko.base_url), market, None)
            }
        };
        Self {
            source: spec.kind().to_owned(),
            base_url,
            market,
            feed,
            instrument: instrument.clone(),
            interval: request.interval,
            from: request.from,
            lag: request.lag,
        }
    }

    /// The key that names the market.
    fn market_key(&self) -> &'static str {
        match self.source.as_str() {
            "kraken" => "pair",
            "binance" => "symbol",
            "coingecko" => "coin",
            "kaggle" => "dataset",
            _ => "path",
        }
    }

    /// What this request has otherwise than the one before; `None` when nothing.
    fn changed_from(&self, before: &Self) -> Option<Changed> {
        let mut what = Vec::new();
        let mut compare = |key: &str, was: &str, is: &str| {
            if was != is {
                what.push(format!("`{key}` was {was} and is {is}"));
            }
        };
        compare("kind", &before.source, &self.source);
        compare("instrument", before.instrument.as_str(), self.instrument.as_str());
        compare("interval", &before.interval.to_string(), &self.interval.to_string());
        if before.source == self.source {
            compare(self.market_key(), &before.market, &self.market);
            compare("base_url", &before.base_url, &self.base_url);
            let feed = |request: &Self| request.feed.clone().unwrap_or_default();
            compare("feed", &feed(before), &feed(self));
        }
        let time = |t: Option<Timestamp>| t.map_or("not given".to_owned(), Timestamp::human);
        compare("from", &time(before.from), &time(self.from));
        compare("lag", &format!("{} s", before.lag), &format!("{} s", self.lag));
        (!what.is_empty()).then_some(Changed { what })
    }
}

impl BackfillCursor {
    /// The beginning of a request.
    pub fn start(spec: &SourceSpec, request: &ExtractRequest<'_>) -> Self {
        let to = request.to.map_or(request.now, |to| to.min(request.now));
        Self {
            version: VERSION,
            request: BackfillRequest::of(spec, request),
            next: request.from,
            to,
            received: 0,
            done: request.from.is_some_and(|from| from >= to),
        }
    }

    /// Reads a stored place.
    ///
    /// # Errors
    /// When the bytes are none, or of a version that did not keep its request.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let refuse = |problem: String| {
            Malformed::new("the place of the last back-fill", problem, "it begins anew")
        };
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| refuse(format!("it cannot be read ({error})")))?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => serde_json::from_value(value)
                .map_err(|error| refuse(format!("it cannot be read ({error})"))),
            Some(version) => Err(refuse(format!(
                "it is of version {version}, which this program does not go on from"
            ))),
            None => Err(refuse("it names no version".to_owned())),
        }
    }

    /// Where a request begins, given the place that was stored last.
    pub(crate) fn begin(
        stored: Option<Self>,
        spec: &SourceSpec,
        request: &ExtractRequest<'_>,
    ) -> (Self, Beginning) {
        let fresh = Self::start(spec, request);
        let Some(stored) = stored.filter(|_| !spec.is_whole()) else {
            return (fresh, Beginning::First);
        };
        if let Some(changed) = fresh.request.changed_from(&stored.request) {
            return (fresh, Beginning::Anew(changed));
        }
        (stored.up_to(fresh.to, request.now), Beginning::GoesOn)
    }

    /// The same place on the way to another end.
    fn up_to(mut self, to: Timestamp, now: Timestamp) -> Self {
        let interval = self.request.interval;
        if self.done {
            if to <= self.to {
                return self;
            }
            // The bar that was forming at the old end was not taken, and the one before it
            // may have been corrected. A source that is read from its beginning without a
            // `from` keeps no more than it sends.
            let latest_only = self.next.is_none() && self.request.feed.as_deref() == Some("ohlc");
            if !latest_only {
                let next = interval.floor(self.to) - interval;
                self.next = Some(self.request.from.map_or(next, |from| next.max(from)));
            }
        }
        self.to = to;
        self.done = self.next.is_some_and(|next| next >= to || next + interval > now);
        self
    }
}
