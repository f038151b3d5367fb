//! Kraken's WebSocket v2, channel `trade`, and its HTTP route `Trades`.
//!
//! Symbols are `BTC/USD` on the socket and `XBTUSD` over HTTP. Trades are numbered one by
//! one per market on both. A heartbeat comes every second in which nothing else does.

use foretell_market::Instrument;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::finding::{FindingKind, Trouble};
use super::protocol::{
    Fields, Heard, Limits, RawTrade, Said, Symbols, TradeFeed, TradesCursor, TradesPage,
    message_of, texts,
};
use crate::error::{Malformed, excerpt};
use crate::http::{Verdict, endpoint};
use crate::kraken::{judge, pair_of, parse_trades};
use crate::{RateBudget, SourceError};

/// The most trades of one answer.
const PAGE: usize = 1_000;

/// Kraken's live trades, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KrakenTrades {
    /// Where its socket is.
    pub url: Url,
    /// Where its HTTP interface is.
    pub base_url: Url,
    /// How often the latter may be asked.
    pub budget: RateBudget,
}

impl Default for KrakenTrades {
    fn default() -> Self {
        Self {
            url: Url::parse("wss://ws.kraken.com/v2").expect("a constant URL"),
            base_url: Url::parse("https://api.kraken.com").expect("a constant URL"),
            budget: RateBudget { requests: 1, per_millis: 1_000 },
        }
    }
}

impl TradeFeed for KrakenTrades {
    fn venue(&self) -> &'static str {
        crate::kraken::VENUE
    }

    fn symbol(&self, instrument: &Instrument) -> String {
        format!("{}/{}", instrument.base(), instrument.quote())
    }

    fn socket_url(&self, _symbols: &[&str]) -> Url {
        self.url.clone()
    }

    fn subscribe(&self, symbols: &[&str]) -> Vec<String> {
        let symbols = texts(symbols);
        vec![format!(
            r#"{{"method":"subscribe","params":{{"channel":"trade","symbol":{symbols},"snapshot":false}}}}"#
        )]
    }

    fn read(&self, message: &[u8], symbols: &Symbols, limits: &Limits) -> Heard {
        let value = match message_of(message) {
            Ok(value) => value,
            Err(trouble) => return vec![Err(trouble)],
        };
        let fields = Fields(&value);
        let (channel, method) = (fields.get("channel"), fields.get("method"));
        match (channel.and_then(Value::as_str), method.and_then(Value::as_str)) {
            (Some("trade"), None) => trades(fields, symbols, limits),
            (Some("heartbeat"), _) | (_, Some("pong")) => vec![Ok(Said::Alive)],
            (Some("status"), None) => vec![status(fields)],
            (_, Some("subscribe")) => acknowledgement(fields, symbols),
            _ => vec![Err(unknown(message))],
        }
    }

    fn keeps_talking(&self) -> bool {
        true
    }

    fn budget(&self) -> RateBudget {
        self.budget
    }

    fn judge(&self) -> fn(u16, &[u8]) -> Verdict {
        judge
    }

    fn page_url(&self, instrument: &Instrument, cursor: &TradesCursor) -> Url {
        // One nanosecond before, whether Kraken counts `since` in or out.
        let start = cursor.after.time.micros().saturating_mul(1_000).saturating_sub(1).max(0);
        let since = cursor.token.unwrap_or(start);
        let mut url = endpoint(&self.base_url, "/0/public/Trades");
        let query = [("pair", pair_of(instrument)), ("since", since.to_string())];
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    fn page(&self, cursor: &TradesCursor, body: &[u8]) -> Result<TradesPage, SourceError> {
        let page = parse_trades(body)?;
        for (row, trade) in (1u64..).zip(&page.trades) {
            if let Some(id) = trade.id
                && !(0..=RawTrade::LARGEST_ID).contains(&id)
            {
                let detail = format!("trade_id {id} is not a trade's number");
                let remedy = "the vendor may have changed its format: report it";
                return Err(Malformed::new("kraken Trades", detail, remedy).row(row).into());
            }
        }
        let full = page.trades.len() >= PAGE;
        let raw = |trade: &crate::kraken::KrakenTrade| {
            let (time, price, quantity, side) =
                (trade.time, trade.price, trade.quantity, trade.side);
            Some(RawTrade { id: trade.id?, time, price, quantity, side })
        };
        // Trades of one instant can fall on two pages: a little is asked for twice.
        let behind = cursor.token.map_or(0, |token| token.saturating_add(1));
        let next = page.last.saturating_sub(1).max(behind);
        Ok(TradesPage {
            trades: page.trades.iter().filter_map(raw).collect(),
            token: Some(next),
            full,
        })
    }
}

fn unknown(message: &[u8]) -> Trouble {
    Trouble::malformed("a message of no known kind", message)
}

fn trades(fields: Fields<'_>, symbols: &Symbols, limits: &Limits) -> Heard {
    let list = match fields.list("data") {
        Ok(list) => list,
        Err(trouble) => return vec![Err(trouble)],
    };
    let before = fields.get("type").and_then(Value::as_str) == Some("snapshot");
    let trade = |element: &Value| {
        let fields = Fields(element);
        let instrument = symbols.instrument(fields.text("symbol")?)?;
        let raw = RawTrade {
            id: fields.number("trade_id")?,
            time: fields.time("timestamp")?,
            price: fields.amount("price")?,
            quantity: fields.amount("qty")?,
            side: fields.side("side")?,
        };
        let trade = raw.believed(instrument, limits)?;
        Ok(if before { Said::Before(trade) } else { Said::Trade(trade) })
    };
    list.iter().map(trade).collect()
}

/// Whether the exchange is open; another state is worth telling.
fn status(fields: Fields<'_>) -> Result<Said, Trouble> {
    let state = fields.list("data")?.first().map(|first| Fields(first).text("system"));
    match state.transpose()? {
        Some("online") | None => Ok(Said::Alive),
        Some(other) => {
            let detail = format!("the exchange is in the state `{}`", excerpt(other, 40));
            Err(Trouble::new(FindingKind::Notice, detail))
        }
    }
}

fn acknowledgement(fields: Fields<'_>, symbols: &Symbols) -> Heard {
    if fields.get("success").and_then(Value::as_bool) == Some(true) {
        let Some(result) = fields.get("result").map(Fields) else {
            return vec![Err(unknown(fields.0.to_string().as_bytes()))];
        };
        if result.get("channel").and_then(Value::as_str) != Some("trade") {
            return vec![Ok(Said::Alive)];
        }
        let named = result.text("symbol").and_then(|symbol| symbols.instrument(symbol));
        return vec![named.map(|instrument| Said::Acknowledged(instrument.clone()))];
    }
    let why = fields.get("error").and_then(Value::as_str).unwrap_or("without a reason");
    let why = excerpt(why, 120);
    let named = fields.get("symbol").and_then(Value::as_str);
    vec![match named.map(|symbol| symbols.instrument(symbol)) {
        Some(Ok(instrument)) => Ok(Said::Refused(instrument.clone(), why)),
        Some(Err(trouble)) => Err(trouble),
        None => Err(Trouble::new(FindingKind::Notice, format!("a subscription failed: {why}"))),
    }]
}
