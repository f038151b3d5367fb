//! Binance: combined trade streams and the routes `historicalTrades` and `trades`.

use foretell_market::{Instrument, Side, Timestamp, Trade};
use serde_json::Value;

use crate::market::Market;
use crate::protocol::{Agreed, Protocol, Question, Reply, id};

pub(crate) struct Binance;

fn symbol(instrument: &Instrument) -> String {
    format!("{}{}", instrument.base(), instrument.quote())
}

/// The buyer made the offer that a seller took.
fn buyer_is_maker(trade: &Trade) -> bool {
    trade.side == Some(Side::Sell)
}

/// Adds the instruments of stream names; unknown ones are accepted in silence.
fn add<'a>(streams: impl Iterator<Item = &'a str>, agreed: &mut Agreed, market: &Market) {
    for stream in streams {
        let Some(name) = stream.strip_suffix("@trade") else { continue };
        let known = market.instruments().find(|i| symbol(i).eq_ignore_ascii_case(name));
        agreed.subscribed.extend(known.cloned());
    }
}

impl Protocol for Binance {
    fn resolution(&self) -> i64 {
        1_000
    }

    fn greet(&self, target: &Question, agreed: &mut Agreed, market: &Market) -> Vec<String> {
        add(target.query("streams").unwrap_or_default().split('/'), agreed, market);
        Vec::new()
    }

    fn hear(
        &self,
        text: &str,
        agreed: &mut Agreed,
        market: &Market,
        _now: Timestamp,
    ) -> Vec<String> {
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return vec![r#"{"error":{"code":3,"msg":"Invalid JSON"},"id":null}"#.to_owned()];
        };
        if request["method"] == "SUBSCRIBE" {
            let streams = request["params"].as_array().cloned().unwrap_or_default();
            add(streams.iter().filter_map(Value::as_str), agreed, market);
        }
        vec![format!(r#"{{"result":null,"id":{}}}"#, request["id"])]
    }

    fn trade(&self, trade: &Trade, agreed: &mut Agreed) -> String {
        self.trade_with_price(trade, &trade.price.to_string(), agreed)
    }

    fn trade_with_price(&self, trade: &Trade, price: &str, _agreed: &mut Agreed) -> String {
        let (symbol, millis) = (symbol(&trade.instrument), trade.time.millis());
        format!(
            r#"{{"stream":"{}@trade","data":{{"e":"trade","E":{millis},"s":"{symbol}","t":{},"p":"{price}","q":"{}","T":{millis},"m":{},"M":true}}}}"#,
            symbol.to_ascii_lowercase(),
            id(trade),
            trade.quantity,
            buyer_is_maker(trade)
        )
    }

    fn beat(
        &self,
        _agreed: &mut Agreed,
        _market: &Market,
        _sent: usize,
        _now: Timestamp,
    ) -> Vec<String> {
        Vec::new()
    }

    fn answer(&self, question: &Question, market: &Market) -> Reply {
        let wanted = question.query("symbol").unwrap_or_default();
        let Some(instrument) = market.instruments().find(|known| symbol(known) == wanted) else {
            return (400, r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned());
        };
        let limit =
            usize::try_from(question.number("limit").unwrap_or(500)).unwrap_or(0).min(1_000);
        let page: Vec<&Trade> = match (question.path.as_str(), question.number("fromId")) {
            ("/api/v3/historicalTrades", Some(from)) => {
                market.known(instrument).filter(|trade| id(trade) >= from).take(limit).collect()
            }
            ("/api/v3/historicalTrades" | "/api/v3/trades", _) => {
                let mut latest: Vec<&Trade> = market.known(instrument).rev().take(limit).collect();
                latest.reverse();
                latest
            }
            _ => return (404, "{}".to_owned()),
        };
        let rows: Vec<String> = page
            .iter()
            .map(|trade| {
                format!(
                    r#"{{"id":{},"price":"{}","qty":"{}","quoteQty":"{}","time":{},"isBuyerMaker":{},"isBestMatch":true}}"#,
                    id(trade),
                    trade.price,
                    trade.quantity,
                    trade.price * trade.quantity,
                    trade.time.millis(),
                    buyer_is_maker(trade)
                )
            })
            .collect();
        (200, format!("[{}]", rows.join(",")))
    }
}
