//! Asks CoinGecko for `market_chart`, in windows short enough for hourly points.

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_panel::Column;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{parse_market_chart, sample};
use crate::backfill::{Page, Window};
use crate::http::{Ask, Client, Verdict, by_status, endpoint};
use crate::rows::Rows;
use crate::{ExtractRequest, HttpSettings, RateBudget, Secret, SourceError};

const VENDOR: &str = "coingecko";
/// CoinGecko's code of a time range that the plan does not cover.
const OUTSIDE_THE_PLAN: u64 = 10_012;
const DAY: i64 = 86_400;
/// Beyond 90 days CoinGecko thins hourly points to daily ones.
const HOURLY_DAYS: i64 = 89;
/// Up to a day before the present it sends points of five minutes, and hourly ones from
/// two days on: so much is asked for at least, whatever is wanted of it.
const HOURLY_FROM_DAYS: i64 = 3;

/// CoinGecko's REST interface, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoinGeckoSpec {
    /// Where it lives (`https://pro-api.coingecko.com` for paying plans).
    #[serde(default = "public_url")]
    pub base_url: Url,
    /// CoinGecko's name of the coin, such as `bitcoin`.
    pub coin: String,
    /// The quote currency as CoinGecko writes it; `None` derives it (`USD` is `usd`).
    #[serde(default)]
    pub currency: Option<String>,
    /// The API key, where there is one.
    #[serde(default)]
    pub key: Option<Secret>,
    /// Which plan the key is of.
    #[serde(default)]
    pub plan: CoinGeckoPlan,
    /// How often we may ask.
    #[serde(default = "public_budget")]
    pub budget: RateBudget,
}

/// Which header the key travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoinGeckoPlan {
    /// `x-cg-demo-api-key`.
    #[default]
    Demo,
    /// `x-cg-pro-api-key`.
    Pro,
}

fn public_url() -> Url {
    Url::parse("https://api.coingecko.com").expect("a constant URL")
}

fn public_budget() -> RateBudget {
    RateBudget { requests: 10, per_millis: 60_000 }
}

impl CoinGeckoSpec {
    /// The public interface for one coin.
    pub fn of(coin: impl Into<String>) -> Self {
        Self {
            base_url: public_url(),
            coin: coin.into(),
            currency: None,
            key: None,
            plan: CoinGeckoPlan::Demo,
            budget: public_budget(),
        }
    }

    /// The quote currency as CoinGecko writes it.
    pub fn currency_of(&self, instrument: &Instrument) -> String {
        self.currency.clone().unwrap_or_else(|| instrument.quote().to_lowercase())
    }
}

/// Refuses what is no name of a coin, and rows denser than a history's points.
pub(crate) fn check(spec: &CoinGeckoSpec, interval: Interval) -> Result<(), SourceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !spec.coin.starts_with(|c: char| c.is_ascii_alphanumeric()) || !spec.coin.chars().all(plain)
    {
        return Err(SourceError::Setting {
            field: "coin",
            problem: format!("`{}` is not a name of a coin", spec.coin),
            remedy: "write CoinGecko's API id, such as bitcoin".to_owned(),
        });
    }
    if interval.secs() < 3_600 {
        return Err(SourceError::Setting {
            field: "interval",
            problem: format!("coingecko has no history of {interval}: its points come hourly"),
            remedy: "choose 1h or longer".to_owned(),
        });
    }
    Ok(())
}

/// What CoinGecko's answer means.
fn judge(status: u16, body: &[u8]) -> Verdict {
    let document = serde_json::from_slice::<Value>(body).unwrap_or_default();
    // The status of an error stands at the top or inside `error`, which may be a text too.
    let of = |name: &str| {
        let pointers = [format!("/status/{name}"), format!("/error/status/{name}")];
        pointers.iter().find_map(|p| document.pointer(p))
    };
    let said = of("error_message").or_else(|| document.get("error")).and_then(Value::as_str);
    let said = said.map(str::to_owned);
    match (of("error_code").and_then(Value::as_u64), by_status(status, said.clone())) {
        (Some(429), _) => by_status(429, said),
        (Some(OUTSIDE_THE_PLAN), Verdict::Refused { message, .. }) => Verdict::Refused {
            message,
            remedy: "shorten `days` or move `from`; without a paying plan there are 365 days"
                .to_owned(),
        },
        (_, Verdict::Refused { message, .. }) if status == 401 => Verdict::Refused {
            message,
            remedy: "check the API key in the variable that `key_env` names, and its plan"
                .to_owned(),
        },
        (_, verdict) => verdict,
    }
}

/// A conversation with CoinGecko.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    spec: &'a CoinGeckoSpec,
    client: Client<'a>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        spec: &'a CoinGeckoSpec,
        http: &'a HttpSettings,
    ) -> Result<Self, SourceError> {
        Ok(Self { spec, client: Client::new(VENDOR, http, spec.budget)? })
    }

    /// The sampled rows of the window's next days.
    pub(crate) async fn page(
        &self,
        request: &ExtractRequest<'_>,
        window: &Window,
    ) -> Result<Page, SourceError> {
        let interval = request.interval;
        check(self.spec, interval)?;
        let currency = self.spec.currency_of(request.instrument);
        let path = format!("/api/v3/coins/{}/market_chart", self.spec.coin);
        let days = days_per_window(interval);
        let (url, until) = match window.next {
            Some(from) => {
                let until = end_of_window(interval, from, window.to);
                let since = asked_since(interval, from, until);
                let mut url = endpoint(&self.spec.base_url, &format!("{path}/range"));
                url.query_pairs_mut().extend_pairs([
                    ("vs_currency", currency),
                    ("from", since.secs().to_string()),
                    ("to", until.secs().to_string()),
                ]);
                (url, until)
            }
            None => {
                let days = days.map_or_else(|| "max".to_owned(), |d| d.to_string());
                let mut url = endpoint(&self.spec.base_url, &path);
                url.query_pairs_mut().extend_pairs([("vs_currency", currency), ("days", days)]);
                (url, window.to)
            }
        };
        let mut ask = Ask::new(url);
        if let Some(key) = &self.spec.key {
            let header = match self.spec.plan {
                CoinGeckoPlan::Demo => "x-cg-demo-api-key",
                CoinGeckoPlan::Pro => "x-cg-pro-api-key",
            };
            ask.keys.push((header, key.clone()));
        }
        let answer = self.client.get(&ask, judge).await?;
        let origin = self.client.origin(&ask);
        let chart = parse_market_chart(&answer.body).map_err(|e| e.of(&origin))?;
        let present = answer.at.map_or(request.now, |at| at.min(request.now));
        let rows = sample(&chart, interval, until.min(present));
        // What was asked for only to have hourly points, and a snapshot at the very start,
        // belong to the window before.
        let rows = match window.next {
            Some(from) => from_on(&rows, from),
            None => rows,
        };
        let next = window.next.is_some().then(|| interval.floor(until));
        let next = next.filter(|next| *next < window.to && until < window.to);
        Ok(Page {
            rows,
            received: chart.snapshots.len() as u64,
            next,
            origin,
            at: answer.at,
            reached: None,
        })
    }
}

/// How many days one request may span so that points are dense enough; `None` where
/// daily points are.
fn days_per_window(interval: Interval) -> Option<i64> {
    match interval.secs() {
        ..DAY => Some(HOURLY_DAYS),
        _ => None,
    }
}

/// The end of a window: long spans are cut into equal ones, so that none is short.
fn end_of_window(interval: Interval, from: Timestamp, to: Timestamp) -> Timestamp {
    let Some(days) = days_per_window(interval) else { return to };
    let (span, longest) = (to.secs() - from.secs(), days * DAY);
    if span <= longest {
        return to;
    }
    let windows = (span + longest - 1) / longest;
    interval.floor(from.plus_secs(span / windows))
}

/// From when on a window is asked for, so that its points come hourly.
fn asked_since(interval: Interval, from: Timestamp, until: Timestamp) -> Timestamp {
    match interval.secs() {
        ..DAY => from.min(until.plus_secs(-HOURLY_FROM_DAYS * DAY)),
        _ => from,
    }
}

/// The rows from an open time on.
fn from_on(rows: &Rows, from: Timestamp) -> Rows {
    let kept: Vec<usize> = (0..rows.times.len()).filter(|&i| rows.times[i] >= from).collect();
    let pick =
        |c: &Column| Column::new(c.name.clone(), kept.iter().map(|&i| c.values[i]).collect());
    Rows {
        positions: kept.iter().map(|&i| rows.positions[i]).collect(),
        times: kept.iter().map(|&i| rows.times[i]).collect(),
        known_at: Vec::new(),
        flags: kept.iter().map(|&i| rows.flags[i]).collect(),
        columns: rows.columns.iter().map(pick).collect(),
        faults: Vec::new(),
    }
}
