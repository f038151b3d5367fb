//! What venues say on their sockets, and their answers about trades that were missed.

use foretell_market::{Instrument, Timestamp, Trade};
use foretell_source::live::{CoinbaseTrades, Finding, Mark, Messages, Venue};

pub(super) const WORDS: &[&str] = &[
    "\"channel\":",
    "\"trade\"",
    "\"heartbeat\"",
    "\"subscriptions\"",
    "\"market_trades\"",
    "\"match\"",
    "\"method\":\"subscribe\"",
    "\"success\":",
    "\"symbol\":\"BTC/USD\"",
    "\"product_id\":\"BTC-USD\"",
    "\"s\":\"BTCUSD\"",
    "\"trade_id\":",
    "\"timestamp\":",
    "\"time\":",
    "\"sequence_num\":",
    "\"data\":",
    "\"events\":",
    "[",
    "]",
    "{",
    "}",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "\"NaN\"",
    "9223372036854775807",
    "-9223372036854775808",
    "\"9999-12-31T23:59:59Z\"",
    "\"0001-01-01T00:00:00Z\"",
];

/// 2009-01-03 and 2027-01-01.
const LIMITS: (Timestamp, Timestamp) =
    (Timestamp::from_secs(1_230_940_800), Timestamp::from_secs(1_798_761_600));

fn instruments() -> Vec<Instrument> {
    ["BTC-USD", "ETH-USD"].iter().map(|name| name.parse().expect("a name")).collect()
}

/// A trade is one that was asked for and can be believed; what is none says why, in bounds.
fn believed(trades: Vec<Result<Trade, Finding>>) {
    for trade in trades {
        match trade {
            Ok(trade) => {
                assert!(instruments().contains(&trade.instrument), "{trade:?}");
                assert!(trade.price.is_finite() && trade.price > 0.0, "{trade:?}");
                assert!(trade.quantity.is_finite() && trade.quantity > 0.0, "{trade:?}");
                assert!((LIMITS.0..=LIMITS.1).contains(&trade.time), "{trade:?}");
                let id = trade.id.expect("venues number their trades");
                assert!(id.checked_add(1).is_some(), "{trade:?}");
            }
            Err(finding) => {
                let said = finding.to_string();
                assert!(!finding.detail.is_empty() && said.len() < 2_000, "{said}");
                assert!(!said.contains(['\n', '\u{1b}']), "{said:?}");
            }
        }
    }
}

fn heard(venue: Venue, bytes: &[u8]) {
    let messages = Messages::of(venue, &instruments(), LIMITS).expect("two markets");
    for message in bytes.split(|byte| *byte == b'\n') {
        believed(messages.trades(message));
    }
    let after = Mark { id: 7, time: LIMITS.0 };
    match messages.page(&instruments()[0], after, bytes) {
        Ok(trades) => believed(trades),
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 2_000, "{said}");
        }
    }
}

pub(super) fn kraken(bytes: &[u8]) {
    heard(Venue::named("kraken").expect("it is known"), bytes);
}

pub(super) fn binance(bytes: &[u8]) {
    heard(Venue::named("binance").expect("it is known"), bytes);
}

pub(super) fn coinbase(bytes: &[u8]) {
    heard(Venue::named("coinbase").expect("it is known"), bytes);
    heard(Venue::Coinbase(CoinbaseTrades::matches()), bytes);
}
