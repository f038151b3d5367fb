//! Kraken: WebSocket v2 and the route `Trades`.

use foretell_market::{Instrument, Side, Timestamp, Trade};
use serde_json::{Value, json};

use crate::market::Market;
use crate::protocol::{Agreed, Protocol, Question, Reply, id, rfc3339};

/// The most trades of one answer.
const PAGE: usize = 1_000;

pub(crate) struct Kraken;

fn symbol(instrument: &Instrument) -> String {
    format!("{}/{}", instrument.base(), instrument.quote())
}

/// The pair's short name over HTTP, with Kraken's own names of two assets.
fn pair(instrument: &Instrument) -> String {
    let own = |asset: &str| match asset {
        "BTC" => "XBT".to_owned(),
        "DOGE" => "XDG".to_owned(),
        other => other.to_owned(),
    };
    format!("{}{}", own(instrument.base()), own(instrument.quote()))
}

fn side(trade: &Trade) -> &'static str {
    match trade.side {
        Some(Side::Sell) => "sell",
        _ => "buy",
    }
}

impl Protocol for Kraken {
    fn greet(&self, _target: &Question, _agreed: &mut Agreed, _market: &Market) -> Vec<String> {
        vec![
            r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":1}]}"#
                .to_owned(),
        ]
    }

    fn hear(
        &self,
        text: &str,
        agreed: &mut Agreed,
        market: &Market,
        now: Timestamp,
    ) -> Vec<String> {
        let time = rfc3339(now);
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return vec![json!({"error": "Malformed request", "success": false, "time_in": time, "time_out": time}).to_string()];
        };
        match request["method"].as_str() {
            Some("ping") => vec![json!({"method": "pong", "time_in": time, "time_out": time}).to_string()],
            Some("subscribe") if request["params"]["channel"] == "trade" => {
                agreed.heartbeats = true;
                let symbols = request["params"]["symbol"].as_array().cloned().unwrap_or_default();
                let answer = |wanted: &Value| {
                    let wanted = wanted.as_str().unwrap_or_default();
                    match market.instruments().find(|known| symbol(known) == wanted) {
                        Some(known) => {
                            agreed.subscribed.insert(known.clone());
                            json!({"method": "subscribe", "result": {"channel": "trade", "snapshot": false, "symbol": wanted},
                                "success": true, "time_in": time, "time_out": time})
                        }
                        None => json!({"error": format!("Currency pair not supported {wanted}"), "method": "subscribe",
                            "success": false, "symbol": wanted, "time_in": time, "time_out": time}),
                    }
                    .to_string()
                };
                symbols.iter().map(answer).collect()
            }
            _ => vec![json!({"error": "Unsupported method", "success": false, "time_in": time, "time_out": time}).to_string()],
        }
    }

    fn trade(&self, trade: &Trade, agreed: &mut Agreed) -> String {
        self.trade_with_price(trade, &trade.price.to_string(), agreed)
    }

    fn trade_with_price(&self, trade: &Trade, price: &str, _agreed: &mut Agreed) -> String {
        // JSON has no NaN: Kraken would have to write something else.
        let price = if price.parse().is_ok_and(f64::is_finite) { price } else { "null" };
        format!(
            r#"{{"channel":"trade","type":"update","data":[{{"symbol":"{}","side":"{}","price":{price},"qty":{},"ord_type":"market","trade_id":{},"timestamp":"{}"}}]}}"#,
            symbol(&trade.instrument),
            side(trade),
            trade.quantity,
            id(trade),
            rfc3339(trade.time)
        )
    }

    fn beat(
        &self,
        _agreed: &mut Agreed,
        _market: &Market,
        _sent: usize,
        _now: Timestamp,
    ) -> Vec<String> {
        vec![r#"{"channel":"heartbeat"}"#.to_owned()]
    }

    fn answer(&self, question: &Question, market: &Market) -> Reply {
        if question.path != "/0/public/Trades" {
            return (200, r#"{"error":["EGeneral:Unknown method"]}"#.to_owned());
        }
        let wanted = question.query("pair").unwrap_or_default();
        let Some(instrument) = market.instruments().find(|known| pair(known) == wanted) else {
            return (200, r#"{"error":["EQuery:Unknown asset pair"]}"#.to_owned());
        };
        let since = question.number("since").unwrap_or(0);
        let page: Vec<&Trade> = market
            .known(instrument)
            .filter(|trade| trade.time.micros().saturating_mul(1_000) > since)
            .take(PAGE)
            .collect();
        let last = page.last().map_or(since, |trade| trade.time.micros().saturating_mul(1_000));
        let rows: Vec<String> = page
            .iter()
            .map(|trade| {
                let (secs, micros) = (trade.time.secs(), trade.time.micros().rem_euclid(1_000_000));
                format!(
                    r#"["{}","{}",{secs}.{micros:06},"{}","m","",{}]"#,
                    trade.price,
                    trade.quantity,
                    &side(trade)[..1],
                    id(trade)
                )
            })
            .collect();
        let rows = rows.join(",");
        (200, format!(r#"{{"error":[],"result":{{"{wanted}":[{rows}],"last":"{last}"}}}}"#))
    }
}
