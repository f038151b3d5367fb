//! Binance's klines: arrays of twelve values; errors are `{"code": …, "msg": …}`.

use foretell_market::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::SourceError;
use crate::error::Malformed;
use crate::http::{Verdict, Wait, by_status};
use crate::wire::{Row, document};

/// One bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kline {
    /// Start of the interval (UTC).
    pub open_time: Timestamp,
    /// Last millisecond of the interval, as Binance writes it.
    pub close_time: Timestamp,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Traded amount, base asset.
    pub volume: f64,
    /// Traded amount, quote currency.
    pub quote_volume: f64,
    /// Number of trades.
    pub trades: u64,
}

#[derive(Deserialize)]
struct Complaint {
    code: i64,
    msg: String,
}

/// What Binance's answer means.
pub(crate) fn judge(status: u16, body: &[u8]) -> Verdict {
    let complaint = serde_json::from_slice::<Complaint>(body).ok();
    let said = complaint.as_ref().map(|c| format!("{} ({})", c.msg, c.code));
    match (status, complaint.as_ref().map(|c| c.code)) {
        // 418 is the ban that follows 429s not heeded; it carries Retry-After.
        (418, _) => {
            let message = "HTTP 418: banned for too many requests".to_owned();
            Verdict::RateLimited { message, wait: Wait::Unsaid }
        }
        (_, Some(-1003)) => {
            let message = said.unwrap_or_else(|| "too many requests".to_owned());
            Verdict::RateLimited { message, wait: Wait::Unsaid }
        }
        (_, Some(-1121)) => Verdict::Refused {
            message: said.unwrap_or_default(),
            remedy: "give Binance's name of the market in `symbol`, such as BTCUSDT".to_owned(),
        },
        (451, _) => Verdict::Refused {
            message: "HTTP 451: not served in this country".to_owned(),
            remedy: "name another address in `base_url`, or another source".to_owned(),
        },
        _ => by_status(status, said),
    }
}

/// Parses an answer of `/api/v3/klines`.
///
/// # Errors
/// [`SourceError::Malformed`] with the 1-based row, the field and a remedy.
pub fn parse_klines(bytes: &[u8]) -> Result<Vec<Kline>, SourceError> {
    const ORIGIN: &str = "binance klines";
    let document: Value = document(ORIGIN, bytes)?;
    let Some(elements) = document.as_array() else {
        let remedy = "check the symbol and the interval; the vendor may have changed its format";
        return Err(Malformed::new(ORIGIN, "the answer is not an array", remedy).into());
    };
    let mut klines = Vec::with_capacity(elements.len());
    for (position, element) in (1u64..).zip(elements) {
        let row = Row::of(ORIGIN, position, element, &[12])?;
        let time = |index, field| {
            let millis = row.whole(index, field)?;
            let range = 0..Timestamp::MAX.millis() / 2;
            let fits = range.contains(&millis).then(|| Timestamp::from_millis(millis));
            fits.ok_or_else(|| row.refuse(index, field, "a time in milliseconds"))
        };
        klines.push(Kline {
            open_time: time(0, "open_time")?,
            close_time: time(6, "close_time")?,
            open: row.number(1, "open")?,
            high: row.number(2, "high")?,
            low: row.number(3, "low")?,
            close: row.number(4, "close")?,
            volume: row.number(5, "volume")?,
            quote_volume: row.number(7, "quote_volume")?,
            trades: u64::try_from(row.whole(8, "trades")?)
                .map_err(|_| row.refuse(8, "trades", "a count"))?,
        });
    }
    Ok(klines)
}
