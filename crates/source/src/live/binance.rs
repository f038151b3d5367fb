//! Binance's combined stream `<symbol>@trade` and its HTTP route `historicalTrades`.
//!
//! The address names the streams; an unknown one is not refused but silent, so the HTTP
//! interface is asked whether there is such a market. Times have milliseconds. The server
//! pings now and then and is silent otherwise: we ping.

use foretell_market::{Instrument, Side};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::finding::{FindingKind, Trouble};
use super::protocol::{
    Fields, Heard, Limits, RawTrade, Said, Symbols, TradeFeed, TradesCursor, TradesPage, message_of,
};
use crate::binance::judge;
use crate::error::{Malformed, excerpt};
use crate::http::{Verdict, endpoint};
use crate::wire::document;
use crate::{RateBudget, SourceError};

/// The most trades of one answer.
const PAGE: usize = 1_000;

/// Binance's live trades, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinanceTrades {
    /// Where its sockets are; `/stream?streams=…` is put behind it.
    pub url: Url,
    /// Where its HTTP interface is.
    pub base_url: Url,
    /// How often the latter may be asked: a page weighs 25 of the 6,000 of a minute.
    pub budget: RateBudget,
}

impl Default for BinanceTrades {
    fn default() -> Self {
        Self {
            url: Url::parse("wss://stream.binance.com:9443").expect("a constant URL"),
            base_url: Url::parse("https://api.binance.com").expect("a constant URL"),
            budget: RateBudget { requests: 3, per_millis: 1_000 },
        }
    }
}

impl TradeFeed for BinanceTrades {
    fn venue(&self) -> &'static str {
        crate::binance::VENUE
    }

    fn symbol(&self, instrument: &Instrument) -> String {
        format!("{}{}", instrument.base(), instrument.quote())
    }

    fn socket_url(&self, symbols: &[&str]) -> Url {
        let streams: Vec<String> =
            symbols.iter().map(|symbol| format!("{}@trade", symbol.to_ascii_lowercase())).collect();
        let mut url = endpoint(&self.url, "/stream");
        // Names are letters and digits: nothing to escape, and the slash stays one.
        url.set_query(Some(&format!("streams={}", streams.join("/"))));
        url
    }

    fn subscribe(&self, _symbols: &[&str]) -> Vec<String> {
        Vec::new()
    }

    fn read(&self, message: &[u8], symbols: &Symbols, limits: &Limits) -> Heard {
        vec![message_of(message).and_then(|value| said(&value, symbols, limits))]
    }

    fn keeps_talking(&self) -> bool {
        false
    }

    fn budget(&self) -> RateBudget {
        self.budget
    }

    fn judge(&self) -> fn(u16, &[u8]) -> Verdict {
        judge
    }

    fn page_url(&self, instrument: &Instrument, cursor: &TradesCursor) -> Url {
        let mut url = endpoint(&self.base_url, "/api/v3/historicalTrades");
        url.query_pairs_mut().extend_pairs([
            ("symbol", self.symbol(instrument)),
            ("fromId", (cursor.after.id + 1).to_string()),
            ("limit", PAGE.to_string()),
        ]);
        url
    }

    fn page(&self, _cursor: &TradesCursor, body: &[u8]) -> Result<TradesPage, SourceError> {
        const ORIGIN: &str = "binance trades";
        let list: Vec<Value> = document(ORIGIN, body)?;
        let mut trades = Vec::with_capacity(list.len());
        for (row, element) in (1u64..).zip(&list) {
            let parse = |fields: Fields<'_>| {
                Ok::<_, Trouble>(RawTrade {
                    id: fields.number("id")?,
                    time: fields.millis("time")?,
                    price: fields.amount("price")?,
                    quantity: fields.amount("qty")?,
                    side: aggressor(fields, "isBuyerMaker")?,
                })
            };
            trades.push(parse(Fields(element)).map_err(|trouble| {
                let remedy = "the vendor may have changed its format: report it";
                Malformed::new(ORIGIN, trouble.detail, remedy).row(row)
            })?);
        }
        Ok(TradesPage { full: trades.len() >= PAGE, trades, token: None })
    }

    fn probe_url(&self, instrument: &Instrument) -> Option<Url> {
        let mut url = endpoint(&self.base_url, "/api/v3/trades");
        let query = [("symbol", self.symbol(instrument)), ("limit", "1".to_owned())];
        url.query_pairs_mut().extend_pairs(query);
        Some(url)
    }
}

/// The buyer made the offer that was taken: the seller crossed the spread.
fn aggressor(fields: Fields<'_>, maker: &str) -> Result<Side, Trouble> {
    match fields.get(maker).and_then(Value::as_bool) {
        Some(true) => Ok(Side::Sell),
        Some(false) => Ok(Side::Buy),
        None => {
            let problem = format!("`{maker}` is not true or false");
            Err(Trouble::malformed(&problem, fields.0.to_string().as_bytes()))
        }
    }
}

fn said(value: &Value, symbols: &Symbols, limits: &Limits) -> Result<Said, Trouble> {
    let fields = Fields(value);
    if let Some(error) = fields.get("error") {
        let detail = format!("the exchange says {}", excerpt(&error.to_string(), 120));
        return Err(Trouble::new(FindingKind::Notice, detail));
    }
    // An answer to a request of ours.
    if fields.get("result").is_some() {
        return Ok(Said::Alive);
    }
    // The combined stream wraps; a single one does not.
    let data = Fields(fields.get("data").unwrap_or(value));
    match data.text("e") {
        Ok("trade") => {
            let instrument = symbols.instrument(data.text("s")?)?;
            let raw = RawTrade {
                id: data.number("t")?,
                time: data.millis("T")?,
                price: data.amount("p")?,
                quantity: data.amount("q")?,
                side: aggressor(data, "m")?,
            };
            raw.believed(instrument, limits).map(Said::Trade)
        }
        Ok("serverShutdown") => {
            let detail = "the exchange is about to close this connection";
            Err(Trouble::new(FindingKind::Notice, detail))
        }
        _ => Err(Trouble::malformed("a message of no known kind", value.to_string().as_bytes())),
    }
}
