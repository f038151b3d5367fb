//! Coinbase: Advanced Trade's channel `market_trades`, or the exchange feed's `matches`.
//!
//! Both number the trades of a product one by one, with the same numbers, and name the
//! maker's side. Advanced Trade also numbers the messages of a connection; the exchange
//! feed's heartbeat names the last trade. Missing trades come from the exchange's HTTP
//! interface, which pages by trade number.

use foretell_market::Instrument;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::finding::{FindingKind, Trouble};
use super::line::Mark;
use super::protocol::{
    Fields, Heard, Limits, RawTrade, Said, Symbols, TradeFeed, TradesCursor, TradesPage,
    message_of, opposite, texts,
};
use crate::error::{Malformed, excerpt};
use crate::http::{Verdict, Wait, by_status, endpoint};
use crate::wire::document;
use crate::{RateBudget, SourceError};

/// The most trades of one answer.
const PAGE: i64 = 1_000;

/// Which of Coinbase's two feeds is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoinbaseChannel {
    /// Advanced Trade.
    #[default]
    MarketTrades,
    /// The exchange's own feed.
    Matches,
}

/// Coinbase's live trades, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoinbaseTrades {
    /// Where its socket is.
    pub url: Url,
    /// Where the exchange's HTTP interface is.
    pub base_url: Url,
    /// Which channel is subscribed to.
    pub channel: CoinbaseChannel,
    /// How often the HTTP interface may be asked.
    pub budget: RateBudget,
}

impl Default for CoinbaseTrades {
    fn default() -> Self {
        let url = "wss://advanced-trade-ws.coinbase.com";
        Self {
            url: Url::parse(url).expect("a constant URL"),
            base_url: Url::parse("https://api.exchange.coinbase.com").expect("a constant URL"),
            channel: CoinbaseChannel::MarketTrades,
            budget: RateBudget { requests: 5, per_millis: 1_000 },
        }
    }
}

impl CoinbaseTrades {
    /// The exchange's own feed instead of Advanced Trade's.
    pub fn matches() -> Self {
        let url = Url::parse("wss://ws-feed.exchange.coinbase.com").expect("a constant URL");
        Self { url, channel: CoinbaseChannel::Matches, ..Self::default() }
    }
}

impl TradeFeed for CoinbaseTrades {
    fn venue(&self) -> &'static str {
        "coinbase"
    }

    fn symbol(&self, instrument: &Instrument) -> String {
        instrument.to_string()
    }

    fn socket_url(&self, _symbols: &[&str]) -> Url {
        self.url.clone()
    }

    fn subscribe(&self, symbols: &[&str]) -> Vec<String> {
        let products = texts(symbols);
        match self.channel {
            CoinbaseChannel::MarketTrades => ["market_trades", "heartbeats"]
                .map(|channel| {
                    format!(
                        r#"{{"type":"subscribe","product_ids":{products},"channel":"{channel}"}}"#
                    )
                })
                .into(),
            CoinbaseChannel::Matches => vec![format!(
                r#"{{"type":"subscribe","product_ids":{products},"channels":["matches","heartbeat"]}}"#
            )],
        }
    }

    fn read(&self, message: &[u8], symbols: &Symbols, limits: &Limits) -> Heard {
        let value = match message_of(message) {
            Ok(value) => value,
            Err(trouble) => return vec![Err(trouble)],
        };
        let fields = Fields(&value);
        match fields.get("channel").and_then(Value::as_str) {
            Some(channel) => advanced(channel, fields, symbols, limits),
            None => exchange(fields, symbols, limits),
        }
    }

    fn keeps_talking(&self) -> bool {
        true
    }

    fn all_or_nothing(&self) -> bool {
        true
    }

    fn budget(&self) -> RateBudget {
        self.budget
    }

    fn judge(&self) -> fn(u16, &[u8]) -> Verdict {
        judge
    }

    fn page_url(&self, instrument: &Instrument, cursor: &TradesCursor) -> Url {
        // `after` means older than: a window of one page behind the last known trade.
        let mut url = endpoint(&self.base_url, &format!("/products/{instrument}/trades"));
        url.query_pairs_mut().extend_pairs([
            ("limit", PAGE.to_string()),
            ("after", (cursor.after.id + PAGE + 1).to_string()),
        ]);
        url
    }

    fn page(&self, cursor: &TradesCursor, body: &[u8]) -> Result<TradesPage, SourceError> {
        const ORIGIN: &str = "coinbase trades";
        let list: Vec<Value> = document(ORIGIN, body)?;
        let mut trades = Vec::with_capacity(list.len());
        for (row, element) in (1u64..).zip(&list) {
            trades.push(raw(Fields(element)).map_err(|trouble| {
                let remedy = "the vendor may have changed its format: report it";
                Malformed::new(ORIGIN, trouble.detail, remedy).row(row)
            })?);
        }
        let full = trades.iter().any(|trade| trade.id >= cursor.after.id + PAGE);
        Ok(TradesPage { trades, token: None, full })
    }
}

/// The trade fields that both feeds and the HTTP interface share.
fn raw(fields: Fields<'_>) -> Result<RawTrade, Trouble> {
    Ok(RawTrade {
        id: fields.number("trade_id")?,
        time: fields.time("time")?,
        price: fields.amount("price")?,
        quantity: fields.amount("size")?,
        side: opposite(fields.side("side")?),
    })
}

/// Advanced Trade: an envelope with a channel, a sequence number and events.
fn advanced(channel: &str, fields: Fields<'_>, symbols: &Symbols, limits: &Limits) -> Heard {
    let mut heard: Heard = Vec::new();
    if let Some(number) = fields.get("sequence_num").and_then(Value::as_u64) {
        heard.push(Ok(Said::Sequence(number)));
    }
    let events = match fields.list("events") {
        Ok(events) => events,
        Err(trouble) => {
            heard.push(Err(trouble));
            return heard;
        }
    };
    match channel {
        "heartbeats" => heard.push(Ok(Said::Alive)),
        "subscriptions" => {
            for event in events {
                let products = event.get("subscriptions").and_then(|s| s.get("market_trades"));
                for product in products.and_then(Value::as_array).into_iter().flatten() {
                    heard.push(acknowledged(product, symbols));
                }
            }
        }
        "market_trades" => {
            for event in events {
                let before = event.get("type").and_then(Value::as_str) == Some("snapshot");
                let list = match Fields(event).list("trades") {
                    Ok(list) => list,
                    Err(trouble) => {
                        heard.push(Err(trouble));
                        continue;
                    }
                };
                let trade = |element: &Value| {
                    let fields = Fields(element);
                    let instrument = symbols.instrument(fields.text("product_id")?)?;
                    let trade = raw(fields)?.believed(instrument, limits)?;
                    Ok(if before { Said::Before(trade) } else { Said::Trade(trade) })
                };
                heard.extend(list.iter().map(trade));
            }
        }
        _ => heard.push(Err(Trouble::malformed(
            "a message of no known kind",
            fields.0.to_string().as_bytes(),
        ))),
    }
    heard
}

fn acknowledged(product: &Value, symbols: &Symbols) -> Result<Said, Trouble> {
    let name = product.as_str().unwrap_or_default();
    symbols.instrument(name).map(|instrument| Said::Acknowledged(instrument.clone()))
}

/// The exchange's own feed: flat messages with a type.
fn exchange(fields: Fields<'_>, symbols: &Symbols, limits: &Limits) -> Heard {
    let kind = match fields.text("type") {
        Ok(kind) => kind,
        Err(trouble) => return vec![Err(trouble)],
    };
    let one = || -> Result<Said, Trouble> {
        let instrument = || symbols.instrument(fields.text("product_id")?);
        match kind {
            "match" => Ok(Said::Trade(raw(fields)?.believed(instrument()?, limits)?)),
            "last_match" => {
                let trade = raw(fields)?.believed(instrument()?, limits)?;
                let mark = Mark { id: trade.id.unwrap_or_default(), time: trade.time };
                Ok(Said::Latest(trade.instrument, mark))
            }
            "heartbeat" => {
                let mark = Mark { id: fields.number("last_trade_id")?, time: fields.time("time")? };
                Ok(Said::Latest(instrument()?.clone(), mark))
            }
            _ => Err(Trouble::malformed(
                "a message of no known kind",
                fields.0.to_string().as_bytes(),
            )),
        }
    };
    match kind {
        "subscriptions" => {
            let channels = fields.list("channels").unwrap_or_default();
            let matches = channels.iter().filter(|channel| {
                let name = channel.get("name").and_then(Value::as_str);
                name.is_some_and(|name| name == "matches")
            });
            let products = matches.filter_map(|channel| channel.get("product_ids")?.as_array());
            let mut heard: Heard = vec![Ok(Said::Alive)];
            heard.extend(products.flatten().map(|product| acknowledged(product, symbols)));
            heard
        }
        "error" => vec![refusal(fields, symbols)],
        _ => vec![one()],
    }
}

/// An error: about the product that it names, or about the request as a whole.
fn refusal(fields: Fields<'_>, symbols: &Symbols) -> Result<Said, Trouble> {
    let part = |field| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    let said = excerpt(&format!("{} {}", part("message"), part("reason")), 160);
    // Whole words: `TH-USD` is not named by `ETH-USD`.
    let named = said
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .find_map(|word| symbols.iter().find(|(symbol, _)| symbol.eq_ignore_ascii_case(word)));
    match named {
        Some((_, instrument)) => Ok(Said::Refused(instrument.clone(), said)),
        None if said.to_ascii_lowercase().contains("subscribe") => Ok(Said::RefusedAll(said)),
        None => Err(Trouble::new(FindingKind::Notice, format!("the exchange says: {said}"))),
    }
}

/// What an answer of the exchange's HTTP interface means: errors are `{"message": …}`.
fn judge(status: u16, body: &[u8]) -> Verdict {
    let said = serde_json::from_slice::<Value>(body).ok();
    let said = said.as_ref().and_then(|v| v.get("message")?.as_str()).map(str::to_owned);
    match (status, &said) {
        (404, Some(message)) => Verdict::Refused {
            message: excerpt(message, 200),
            remedy: "check the name of the product, such as BTC-USD".to_owned(),
        },
        (_, Some(message)) if message.to_ascii_lowercase().contains("rate limit") => {
            Verdict::RateLimited { message: excerpt(message, 200), wait: Wait::Unsaid }
        }
        _ => by_status(status, said),
    }
}
