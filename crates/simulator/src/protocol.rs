//! What the simulated venues have in common: the one seam between exchange and protocol.

use std::collections::BTreeSet;

use foretell_market::{Instrument, Timestamp, Trade};

use crate::binance::Binance;
use crate::coinbase::Coinbase;
use crate::kraken::Kraken;
use crate::market::Market;

/// Which venue is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Venue {
    /// WebSocket v2 and `/0/public/Trades`.
    Kraken,
    /// Combined streams and `/api/v3/historicalTrades`.
    Binance,
    /// `market_trades` and `matches`, and `/products/{product}/trades`.
    Coinbase,
}

impl Venue {
    pub(crate) fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Kraken => &Kraken,
            Self::Binance => &Binance,
            Self::Coinbase => &Coinbase,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kraken => "kraken",
            Self::Binance => "binance",
            Self::Coinbase => "coinbase",
        }
    }

    /// The path of its socket.
    pub fn socket_path(self) -> &'static str {
        match self {
            Self::Kraken => "/v2",
            Self::Binance | Self::Coinbase => "/",
        }
    }
}

/// What one connection has agreed on.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    /// What it is sent.
    pub(crate) subscribed: BTreeSet<Instrument>,
    /// Whether it speaks the older of two dialects.
    pub(crate) older: bool,
    /// Whether it asked for heartbeats.
    pub(crate) heartbeats: bool,
    /// Messages sent so far, where they are numbered.
    pub(crate) sequence: u64,
    pub(crate) beats: u64,
}

/// What is asked over HTTP.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
}

impl Question {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.query(name)?.parse().ok()
    }
}

/// An answer over HTTP: status and JSON.
pub(crate) type Reply = (u16, String);

/// One venue's way of speaking.
pub(crate) trait Protocol: Send + Sync {
    /// The smallest step of its times, in microseconds.
    fn resolution(&self) -> i64 {
        1
    }

    /// A connection was made to a path and query: what it is told at once.
    fn greet(&self, target: &Question, agreed: &mut Agreed, market: &Market) -> Vec<String>;

    /// The other side said something: what it is told.
    fn hear(&self, text: &str, agreed: &mut Agreed, market: &Market, now: Timestamp)
    -> Vec<String>;

    /// A trade as it is sent.
    fn trade(&self, trade: &Trade, agreed: &mut Agreed) -> String;

    /// The same trade with a price that is none.
    fn trade_with_price(&self, trade: &Trade, price: &str, agreed: &mut Agreed) -> String;

    /// What is sent every second. `sent` is the place on the tape that the connection has
    /// come to.
    fn beat(
        &self,
        agreed: &mut Agreed,
        market: &Market,
        sent: usize,
        now: Timestamp,
    ) -> Vec<String>;

    /// An answer over HTTP.
    fn answer(&self, question: &Question, market: &Market) -> Reply;
}

/// RFC 3339 with microseconds, as the venues write it.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let seconds = Timestamp::from_secs(time.secs()).to_string();
    let micros = time.micros().rem_euclid(1_000_000);
    format!("{}.{micros:06}Z", seconds.trim_end_matches('Z'))
}

/// A trade's number; every trade of a tape has one.
pub(crate) fn id(trade: &Trade) -> i64 {
    trade.id.unwrap_or_default()
}
