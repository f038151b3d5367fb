//! What to follow and how patiently: plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use foretell_market::{Instrument, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{BinanceTrades, CoinbaseTrades, KrakenTrades, Mark, TradeFeed};
use crate::{HttpSettings, SourceError};

/// Whose trades are followed, by which protocol and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "venue", rename_all = "lowercase")]
pub enum Venue {
    /// Kraken, WebSocket v2, channel `trade`.
    Kraken(KrakenTrades),
    /// Binance, combined stream `<symbol>@trade`.
    Binance(BinanceTrades),
    /// Coinbase, channel `market_trades` or `matches`.
    Coinbase(CoinbaseTrades),
}

impl Venue {
    /// The venue of a name, at its public addresses; `None` for a name that is not known.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "kraken" => Self::Kraken(KrakenTrades::default()),
            "binance" => Self::Binance(BinanceTrades::default()),
            "coinbase" => Self::Coinbase(CoinbaseTrades::default()),
            _ => return None,
        })
    }

    /// Its protocol.
    pub(crate) fn feed(&self) -> &dyn TradeFeed {
        match self {
            Self::Kraken(feed) => feed,
            Self::Binance(feed) => feed,
            Self::Coinbase(feed) => feed,
        }
    }

    /// The same venue elsewhere, such as at a simulator: `url` is the address of its
    /// sockets (`ws://` or `wss://`), and its HTTP interface is taken to lie on the same
    /// host and port (`http://` or `https://`).
    ///
    /// # Errors
    /// [`SourceError::Setting`] when the address is none of a socket.
    pub fn at(mut self, url: Url) -> Result<Self, SourceError> {
        let scheme = match url.scheme() {
            "ws" => "http",
            "wss" => "https",
            other => {
                return Err(SourceError::Setting {
                    field: "url",
                    problem: format!("`{other}` is no scheme of a WebSocket"),
                    remedy: "write ws://host:port or wss://host:port".to_owned(),
                });
            }
        };
        let mut base = url.clone();
        base.set_path("");
        base.set_query(None);
        if base.set_scheme(scheme).is_err() {
            // Both are special schemes of the URL standard: one becomes the other.
            return Err(SourceError::Setting {
                field: "url",
                problem: format!("no HTTP address can be made of `{url}`"),
                remedy: "write ws://host:port or wss://host:port".to_owned(),
            });
        }
        let (socket, rest) = match &mut self {
            Self::Kraken(feed) => (&mut feed.url, &mut feed.base_url),
            Self::Binance(feed) => (&mut feed.url, &mut feed.base_url),
            Self::Coinbase(feed) => (&mut feed.url, &mut feed.base_url),
        };
        (*socket, *rest) = (url, base);
        Ok(self)
    }
}

/// What one feed follows.
#[derive(Debug, Clone)]
pub struct FeedSpec {
    /// Whose trades.
    pub venue: Venue,
    /// Of which instruments.
    pub instruments: Vec<Instrument>,
    /// The last trade of each that is stored already: the feed goes on behind it and
    /// back-fills what happened since. Without one it begins with the first trade it sees.
    pub after: BTreeMap<Instrument, Mark>,
}

/// How patient a feed is. Durations in milliseconds unless the name says otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    /// An instrument without a trade for so long gets a heartbeat; 0 is no heartbeats.
    pub heartbeat_millis: u64,
    /// How far a heartbeat's event time stays behind the last sign of life: the longest
    /// that a trade may be under way from the venue's matching to us.
    pub delay_millis: u64,
    /// A connection that said nothing for so long is dead.
    pub stale_millis: u64,
    /// A subscription that is not acknowledged for so long is asked for again.
    pub ack_millis: u64,
    /// The longest that connecting may take, TLS and handshake included.
    pub connect_millis: u64,
    /// The first wait before a reconnect; it doubles with each.
    pub backoff_millis: u64,
    /// The longest wait before a reconnect.
    pub max_backoff_millis: u64,
    /// A connection that lived for so long starts the waits anew.
    pub stable_millis: u64,
    /// How long a missing number may still come by itself before it is asked for.
    pub reorder_millis: u64,
    /// How long newer trades are held back for missing ones, counted from the last
    /// progress of the repair; then the hole is declared a gap and they go on.
    pub hold_millis: u64,
    /// The wait between two attempts to repair the same hole.
    pub retry_millis: u64,
    /// How long a declared gap is still tried to be repaired.
    pub repair_millis: u64,
    /// Trades held back per instrument; more are let go and fetched again.
    pub max_held: usize,
    /// Trades before this instant are no trades (1970, a missing time).
    pub earliest: Timestamp,
    /// How far a trade's time may lie ahead of our clock.
    pub future_millis: u64,
    /// The longest message that is read, in bytes.
    pub max_message_bytes: usize,
    /// Seed of the jitter of reconnects.
    pub jitter_seed: u64,
    /// How the HTTP interface is asked, how waiting is done and how we name ourselves.
    pub http: HttpSettings,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            heartbeat_millis: 1_000,
            delay_millis: 2_000,
            stale_millis: 15_000,
            ack_millis: 10_000,
            connect_millis: 10_000,
            backoff_millis: 500,
            max_backoff_millis: 30_000,
            stable_millis: 30_000,
            reorder_millis: 250,
            hold_millis: 20_000,
            retry_millis: 2_000,
            repair_millis: 900_000,
            max_held: 50_000,
            // The first block of Bitcoin: nothing was traded before it.
            earliest: Timestamp::from_secs(1_230_940_800),
            future_millis: 60_000,
            max_message_bytes: 4 << 20,
            jitter_seed: 0,
            http: HttpSettings { max_attempts: 2, ..HttpSettings::default() },
        }
    }
}

impl LiveSettings {
    /// How often the feed looks at its deadlines: a fifth of the shortest, between a
    /// millisecond and 200.
    pub(crate) fn tick(&self) -> Duration {
        let deadlines = [self.stale_millis, self.ack_millis, self.reorder_millis.max(1)];
        let quiet = if self.heartbeat_millis == 0 { u64::MAX } else { self.heartbeat_millis };
        let shortest = deadlines.into_iter().chain([quiet, self.retry_millis]).min().unwrap_or(200);
        Duration::from_millis((shortest / 5).clamp(1, 200))
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`SourceError::Setting`] with the setting and what to write.
    pub fn check(&self) -> Result<(), SourceError> {
        let refuse = |field, problem: &str, remedy: &str| {
            let (problem, remedy) = (problem.to_owned(), remedy.to_owned());
            Err(SourceError::Setting { field, problem, remedy })
        };
        if self.stale_millis == 0 || self.stale_millis <= self.heartbeat_millis {
            return refuse(
                "stale_millis",
                "a connection would be called dead before its first sign of life",
                "write more than `heartbeat_millis`",
            );
        }
        if self.max_held == 0 {
            return refuse("max_held", "nothing could be held back", "write 1 or more");
        }
        Ok(())
    }
}
