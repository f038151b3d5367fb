//! CoinGecko's `market_chart` answer: three series of `[milliseconds, value]`.
//!
//! Refuses what it does not understand: other keys, pairs of another length, series
//! whose times differ. Order and duplicates are kept.

use foretell_market::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::SourceError;
use crate::error::{Malformed, excerpt};
use crate::file::broken_json;

const ORIGIN: &str = "coingecko market_chart";

/// One observation of a coin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// When CoinGecko took it (UTC).
    pub time: Timestamp,
    /// Price in the quote currency, NaN where null.
    pub price: f64,
    /// Market capitalisation in the quote currency, NaN where null.
    pub market_cap: f64,
    /// Traded amount of the last 24 hours in the quote currency, NaN where null.
    pub total_volume: f64,
}

/// The snapshots of one answer, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MarketChart {
    /// The observations.
    pub snapshots: Vec<Snapshot>,
}

impl MarketChart {
    /// The latest time of any snapshot.
    pub fn last(&self) -> Option<Timestamp> {
        self.snapshots.iter().map(|s| s.time).max()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    prices: Vec<Value>,
    market_caps: Vec<Value>,
    total_volumes: Vec<Value>,
}

/// A pair's time in milliseconds and its value.
fn pair(series: &str, row: u64, value: &Value) -> Result<(i64, f64), Malformed> {
    let refuse = |problem: String| {
        Malformed::new(ORIGIN, problem, "fetch the answer again; the format may have changed")
            .row(row)
            .field(series)
    };
    let shown = || excerpt(&value.to_string(), 60);
    let Some([time, value]) = value.as_array().map(Vec::as_slice) else {
        return Err(refuse(format!("`{}` is not a pair of time and value", shown())));
    };
    let bounds = Timestamp::from_secs(0).millis()..Timestamp::MAX.millis() / 2;
    let Some(time) = time.as_i64().filter(|t| bounds.contains(t)) else {
        return Err(refuse(format!("`{}` has no time in milliseconds", shown())));
    };
    match value {
        Value::Null => Ok((time, f64::NAN)),
        Value::Number(number) => Ok((time, number.as_f64().unwrap_or(f64::NAN))),
        _ => Err(refuse(format!("`{}` has a value that is not a number", shown()))),
    }
}

/// Parses an answer of `market_chart` or `market_chart/range`.
///
/// # Errors
/// [`SourceError::Malformed`] with the series, the 1-based element and a remedy.
pub fn parse_market_chart(bytes: &[u8]) -> Result<MarketChart, SourceError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii_start().first() == Some(&b'<') {
        let remedy = "check the base URL; the service may be down for maintenance";
        return Err(Malformed::new(ORIGIN, "a web page, not JSON", remedy).into());
    }
    let wire: Wire = serde_json::from_slice(bytes).map_err(|error| broken_json(ORIGIN, &error))?;
    for (name, series) in
        [("market_caps", &wire.market_caps), ("total_volumes", &wire.total_volumes)]
    {
        if series.len() != wire.prices.len() {
            let problem = format!("{} values for {} prices", series.len(), wire.prices.len());
            let remedy = "fetch the answer again";
            return Err(Malformed::new(ORIGIN, problem, remedy).field(name).into());
        }
    }
    let mut snapshots = Vec::with_capacity(wire.prices.len());
    let rows = wire.prices.iter().zip(&wire.market_caps).zip(&wire.total_volumes);
    for (row, ((price, cap), volume)) in (1u64..).zip(rows) {
        let (time, price) = pair("prices", row, price)?;
        let (cap_time, market_cap) = pair("market_caps", row, cap)?;
        let (volume_time, total_volume) = pair("total_volumes", row, volume)?;
        for (name, other) in [("market_caps", cap_time), ("total_volumes", volume_time)] {
            if other != time {
                let problem = format!("the time {other} is not that of the price ({time})");
                let remedy = "fetch the answer again";
                return Err(Malformed::new(ORIGIN, problem, remedy).row(row).field(name).into());
            }
        }
        let time = Timestamp::from_millis(time);
        snapshots.push(Snapshot { time, price, market_cap, total_volume });
    }
    Ok(MarketChart { snapshots })
}
