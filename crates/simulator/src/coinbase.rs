//! Coinbase: Advanced Trade's channels, the exchange's own feed, and its route `trades`.

use foretell_market::{Instrument, Side, Timestamp, Trade};
use serde_json::{Value, json};

use crate::market::Market;
use crate::protocol::{Agreed, Protocol, Question, Reply, id, rfc3339};

pub(crate) struct Coinbase;

/// The maker's side: the opposite of who crossed the spread.
fn maker(trade: &Trade) -> &'static str {
    match trade.side {
        Some(Side::Sell) => "buy",
        _ => "sell",
    }
}

/// An envelope of Advanced Trade, numbered.
fn envelope(agreed: &mut Agreed, channel: &str, time: Timestamp, events: &str) -> String {
    let number = agreed.sequence;
    agreed.sequence += 1;
    format!(
        r#"{{"channel":"{channel}","client_id":"","timestamp":"{}","sequence_num":{number},"events":{events}}}"#,
        rfc3339(time)
    )
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Protocol for Coinbase {
    fn greet(&self, _target: &Question, _agreed: &mut Agreed, _market: &Market) -> Vec<String> {
        Vec::new()
    }

    fn hear(
        &self,
        text: &str,
        agreed: &mut Agreed,
        market: &Market,
        now: Timestamp,
    ) -> Vec<String> {
        let fail = |reason: &str| {
            vec![
                json!({"type": "error", "message": "Failed to subscribe", "reason": reason})
                    .to_string(),
            ]
        };
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return fail("Malformed JSON");
        };
        let mut channels = texts(&request["channels"]);
        agreed.older = request.get("channels").is_some();
        channels.extend(request["channel"].as_str().map(str::to_owned));
        let mut named: Vec<Instrument> = Vec::new();
        for product in texts(&request["product_ids"]) {
            // One wrong name and nothing is subscribed to.
            match product.parse() {
                Ok(instrument) if market.has(&instrument) => named.push(instrument),
                _ => return fail(&format!("{product} is not a valid product")),
            }
        }
        for channel in &channels {
            match channel.as_str() {
                "market_trades" | "matches" => agreed.subscribed.extend(named.iter().cloned()),
                "heartbeats" | "heartbeat" => agreed.heartbeats = true,
                other => return fail(&format!("{other} is not a valid channel")),
            }
        }
        let products: Vec<String> = agreed.subscribed.iter().map(ToString::to_string).collect();
        if agreed.older {
            let channels = json!([{"name": "matches", "product_ids": products}]);
            vec![json!({"type": "subscriptions", "channels": channels}).to_string()]
        } else {
            let events = json!([{"subscriptions": {"market_trades": products}}]).to_string();
            vec![envelope(agreed, "subscriptions", now, &events)]
        }
    }

    fn trade(&self, trade: &Trade, agreed: &mut Agreed) -> String {
        self.trade_with_price(trade, &trade.price.to_string(), agreed)
    }

    fn trade_with_price(&self, trade: &Trade, price: &str, agreed: &mut Agreed) -> String {
        let (product, time) = (&trade.instrument, rfc3339(trade.time));
        let (number, size) = (id(trade), trade.quantity);
        if agreed.older {
            return format!(
                r#"{{"type":"match","trade_id":{number},"maker_order_id":"m","taker_order_id":"t","side":"{}","size":"{size}","price":"{price}","product_id":"{product}","sequence":{},"time":"{time}"}}"#,
                maker(trade),
                number * 7
            );
        }
        let side = maker(trade).to_ascii_uppercase();
        let events = format!(
            r#"[{{"type":"update","trades":[{{"trade_id":"{number}","product_id":"{product}","price":"{price}","size":"{size}","side":"{side}","time":"{time}"}}]}}]"#
        );
        envelope(agreed, "market_trades", trade.time, &events)
    }

    fn beat(
        &self,
        agreed: &mut Agreed,
        market: &Market,
        sent: usize,
        now: Timestamp,
    ) -> Vec<String> {
        if !agreed.heartbeats {
            return Vec::new();
        }
        agreed.beats += 1;
        if !agreed.older {
            let beats = agreed.beats;
            let events = json!([{"current_time": rfc3339(now), "heartbeat_counter": beats}]);
            return vec![envelope(agreed, "heartbeats", now, &events.to_string())];
        }
        let beat = |product: &Instrument| {
            let last = market.last_number(product, sent);
            json!({"type": "heartbeat", "sequence": last * 7, "last_trade_id": last,
                "product_id": product.to_string(), "time": rfc3339(now)})
            .to_string()
        };
        agreed.subscribed.iter().map(beat).collect()
    }

    fn answer(&self, question: &Question, market: &Market) -> Reply {
        let product =
            question.path.strip_prefix("/products/").and_then(|p| p.strip_suffix("/trades"));
        let instrument =
            product.and_then(|p| p.parse::<Instrument>().ok()).filter(|i| market.has(i));
        let Some(instrument) = instrument else {
            return (404, r#"{"message":"NotFound"}"#.to_owned());
        };
        let limit = usize::try_from(question.number("limit").unwrap_or(1_000)).unwrap_or(0);
        let older_than = question.number("after").unwrap_or(i64::MAX);
        let page = market.known(&instrument).rev().filter(|trade| id(trade) < older_than);
        let rows: Vec<String> = page
            .take(limit.min(1_000))
            .map(|trade| {
                format!(
                    r#"{{"trade_id":{},"side":"{}","size":"{}","price":"{}","time":"{}"}}"#,
                    id(trade),
                    maker(trade),
                    trade.quantity,
                    trade.price,
                    rfc3339(trade.time)
                )
            })
            .collect();
        (200, format!("[{}]", rows.join(",")))
    }
}
