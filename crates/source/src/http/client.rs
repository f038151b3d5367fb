//! One request to a vendor: within the budget, tried again when that can help, and
//! read only as far as the limit.
//!
//! Knows HTTP and nothing of any vendor's format: what a body means is told to it by a
//! [`Verdict`]. Keys travel in headers and reach neither messages nor other hosts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use foretell_market::Timestamp;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use url::Url;

use super::{HttpSettings, RateBudget, may_hold_keys};
use crate::error::excerpt;
use crate::{Secret, SourceError};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// What a vendor's answer means, whatever its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The body is what was asked for.
    Accept,
    /// Too many requests; waiting helps, for as long as the body says.
    RateLimited { message: String, wait: Wait },
    /// The vendor has a passing trouble; waiting helps.
    Trouble { message: String },
    /// The vendor refuses; waiting does not help.
    Refused { message: String, remedy: String },
}

/// How long a body asks us to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It does not say; a header may.
    Unsaid,
    /// So many seconds.
    Seconds(u64),
    /// Until this second since 1970, by the vendor's clock.
    Until(i64),
}

impl Wait {
    /// In seconds, given the answer's own time, so that no clock of ours is needed.
    fn seconds(self, answered: Option<Timestamp>) -> Option<u64> {
        match self {
            Self::Unsaid => None,
            Self::Seconds(seconds) => Some(seconds),
            Self::Until(until) => {
                let left = until.saturating_sub(answered?.secs());
                Some(u64::try_from(left).unwrap_or(0))
            }
        }
    }
}

/// What a vendor answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// When it did so by its own clock (the header `Date`), where it says.
    pub(crate) at: Option<Timestamp>,
}

/// One question to a vendor.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) url: Url,
    /// Headers that hold keys.
    pub(crate) keys: Vec<(&'static str, Secret)>,
    /// User name and key of basic authentication.
    pub(crate) basic: Option<(String, Secret)>,
    /// Whether the body is an archive that may take long, as long as it keeps coming.
    pub(crate) download: bool,
}

/// How many times longer than a request a download may take in all.
const DOWNLOAD_PATIENCE: u32 = 40;

impl Ask {
    pub(crate) fn new(url: Url) -> Self {
        Self { url, keys: Vec::new(), basic: None, download: false }
    }
}

/// A base URL with a path behind its own.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// A URL as messages may show it: without user, password and keys in its query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for URLs that can hold no user at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        let secret = |name: &str| {
            let name = name.to_lowercase();
            ["key", "token", "secret", "sign", "password", "credential"]
                .iter()
                .any(|word| name.contains(word))
        };
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if secret(&name) { "***".into() } else { value };
                (name.into_owned(), value.into_owned())
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.to_string()
}

/// A client of one vendor.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    vendor: &'static str,
    settings: &'a HttpSettings,
    budget: RateBudget,
    http: reqwest::Client,
    jitter: Mutex<ChaCha12Rng>,
}

/// What one attempt came to.
enum Attempt {
    Body(Answer),
    /// Worth another try: what happened, how long the vendor asks to wait, and whether
    /// it was the vendor's rate limit.
    Again {
        problem: String,
        retry_after: Option<u64>,
        limited: bool,
    },
}

impl<'a> Client<'a> {
    pub(crate) fn new(
        vendor: &'static str,
        settings: &'a HttpSettings,
        budget: RateBudget,
    ) -> Result<Self, SourceError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(settings.timeout_millis.max(1)))
            .read_timeout(Duration::from_millis(settings.timeout_millis.max(1)))
            .connect_timeout(Duration::from_millis(settings.connect_timeout_millis.max(1)))
            .redirect(Policy::none())
            .user_agent(&settings.user_agent)
            .build()
            .map_err(|error| SourceError::Unavailable {
                vendor,
                url: "over HTTPS".to_owned(),
                problem: format!("no client can be built ({error})"),
                attempts: 0,
                remedy: "check the machine's TLS certificates".to_owned(),
            })?;
        let jitter = Mutex::new(ChaCha12Rng::seed_from_u64(settings.jitter_seed));
        Ok(Self { vendor, settings, budget, http, jitter })
    }

    /// `vendor URL` for messages about a body.
    pub(crate) fn origin(&self, ask: &Ask) -> String {
        format!("{} {}", self.vendor, shown(&ask.url))
    }

    /// Asks until the vendor accepts or trying again cannot help. `judge` sees status
    /// and body of every answer.
    pub(crate) async fn get(
        &self,
        ask: &Ask,
        judge: fn(u16, &[u8]) -> Verdict,
    ) -> Result<Answer, SourceError> {
        let keyed = !ask.keys.is_empty() || ask.basic.is_some();
        if keyed && !may_hold_keys(self.vendor, &ask.url) {
            return Err(SourceError::Setting {
                field: "base_url",
                problem: format!("a key of {} may not be sent to this address", self.vendor),
                remedy: "name the vendor's own host, with https".to_owned(),
            });
        }
        let attempts = self.settings.max_attempts.max(1);
        let mut attempt = 1;
        loop {
            let wait =
                self.settings.budgets.reserve(self.vendor, self.budget, self.settings.pause.now());
            if !wait.is_zero() {
                self.settings.pause.wait(wait).await;
            }
            let (problem, retry_after, limited) = match self.attempt(ask, judge).await? {
                Attempt::Body(answer) => return Ok(answer),
                Attempt::Again { problem, retry_after, limited } => (problem, retry_after, limited),
            };
            let too_long = retry_after.is_some_and(|s| s > self.settings.max_retry_after_seconds);
            if attempt >= attempts || too_long {
                return Err(self.gave_up(ask, problem, attempt, retry_after, limited));
            }
            let wait = match (limited, retry_after) {
                // Whoever says how long need not be second-guessed.
                (true, Some(seconds)) => Duration::from_secs(seconds.max(1)),
                (_, seconds) => {
                    let asked = Duration::from_secs(seconds.unwrap_or(0));
                    self.backoff(attempt, limited).max(asked)
                }
            };
            tracing::warn!(
                vendor = self.vendor,
                url = shown(&ask.url),
                attempt,
                wait_millis = wait.as_millis() as u64,
                "{problem}; trying again"
            );
            self.settings.pause.wait(wait).await;
            attempt += 1;
        }
    }

    fn gave_up(
        &self,
        ask: &Ask,
        problem: String,
        attempts: u32,
        retry_after: Option<u64>,
        limited: bool,
    ) -> SourceError {
        let (vendor, url) = (self.vendor, shown(&ask.url));
        if limited {
            return SourceError::RateLimited {
                vendor,
                url,
                message: problem,
                attempts,
                retry_after,
            };
        }
        let remedy = match retry_after {
            Some(secs) => format!("run it again in {secs} seconds"),
            None => "check the network and the base URL, then run it again".to_owned(),
        };
        SourceError::Unavailable { vendor, url, problem, attempts, remedy }
    }

    /// The wait after a failed attempt: doubling from the first, between half and all
    /// of it by chance, so that many clients do not come back together.
    fn backoff(&self, attempt: u32, limited: bool) -> Duration {
        let first = match limited {
            true => self.settings.limited_backoff_millis,
            false => self.settings.backoff_millis,
        };
        let doubled = first.saturating_mul(1u64.checked_shl(attempt - 1).unwrap_or(u64::MAX));
        let longest = doubled.min(self.settings.max_backoff_millis) as f64;
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        let share = 0.5 + 0.5 * jitter.random::<f64>();
        Duration::from_micros((longest * 1e3 * share) as u64)
    }

    async fn attempt(
        &self,
        ask: &Ask,
        judge: fn(u16, &[u8]) -> Verdict,
    ) -> Result<Attempt, SourceError> {
        let again = |problem: String| Attempt::Again { problem, retry_after: None, limited: false };
        let mut response = match self.send(ask).await? {
            Ok(response) => response,
            Err(error) => return Ok(again(self.in_words(&error))),
        };
        let limit = self.settings.max_body_bytes;
        let too_large = || SourceError::Refused {
            vendor: self.vendor,
            url: shown(&ask.url),
            status: 200,
            message: format!("the body is longer than {limit} bytes"),
            remedy: match ask.download {
                true => "fetch it by hand, unpack it and declare it as a file with its `path`",
                false => "ask for less at once: narrow `from` and `to` of [source]",
            }
            .to_owned(),
        };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(too_large());
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Ok(again(self.in_words(&error))),
            }
        }
        let (status, body) = (response.status().as_u16(), body.freeze());
        let answered = date(response.headers());
        let retry_after = retry_after(response.headers(), answered);
        Ok(match judge(status, &body) {
            Verdict::Accept => Attempt::Body(Answer { body, at: answered }),
            Verdict::RateLimited { message, wait } => {
                let retry_after = retry_after.max(wait.seconds(answered));
                Attempt::Again { problem: message, retry_after, limited: true }
            }
            Verdict::Trouble { message } => {
                Attempt::Again { problem: message, retry_after, limited: false }
            }
            Verdict::Refused { message, remedy } => {
                let (vendor, url) = (self.vendor, shown(&ask.url));
                return Err(SourceError::Refused { vendor, url, status, message, remedy });
            }
        })
    }

    /// Sends, following redirects; keys go to the first host alone.
    async fn send(
        &self,
        ask: &Ask,
    ) -> Result<Result<reqwest::Response, reqwest::Error>, SourceError> {
        let refused = |message: String| SourceError::Refused {
            vendor: self.vendor,
            url: shown(&ask.url),
            status: 302,
            message,
            remedy: "check the base URL".to_owned(),
        };
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.http.get(url.clone());
            if ask.download {
                let patience = Duration::from_millis(self.settings.timeout_millis.max(1));
                request = request.timeout(patience * DOWNLOAD_PATIENCE);
            }
            if url.origin() == ask.url.origin() {
                for (name, key) in &ask.keys {
                    request = request.header(*name, key.expose());
                }
                if let Some((user, key)) = &ask.basic {
                    request = request.basic_auth(user, Some(key.expose()));
                }
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let Some(location) = location.filter(|_| response.status().is_redirection()) else {
                return Ok(Ok(response));
            };
            let next = url.join(location).map_err(|_| refused("redirected nowhere".to_owned()))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(refused("redirected from https to an open connection".to_owned()));
            }
            url = next;
        }
        Err(refused(format!("more than {REDIRECTS} redirects")))
    }

    /// What broke, without the URL that reqwest would add, keys and all.
    fn in_words(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} ms", self.settings.timeout_millis);
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = excerpt(&cause.to_string(), 120);
        if error.is_connect() {
            format!("cannot connect ({cause})")
        } else if error.is_body() || error.is_decode() {
            format!("the answer was cut off ({cause})")
        } else {
            format!("the connection broke ({cause})")
        }
    }
}

/// Seconds that the vendor asks us to wait: a number, or a date against the answer's
/// own `Date`, so that no clock of ours is needed.
fn retry_after(headers: &HeaderMap, answered: Option<Timestamp>) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(secs);
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    Wait::Until(until.timestamp()).seconds(answered)
}

/// When the vendor answered, by its own clock.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(Timestamp::from_secs(date.timestamp()))
}

/// What a status alone says; vendors refine it by the body.
pub(crate) fn by_status(status: u16, said: Option<String>) -> Verdict {
    let message = match said {
        Some(said) => format!("HTTP {status}: {}", excerpt(&said, 200)),
        None => format!("HTTP {status}"),
    };
    match status {
        200..=299 => Verdict::Accept,
        429 => Verdict::RateLimited { message, wait: Wait::Unsaid },
        408 | 425 | 500 | 502 | 503 | 504 | 520..=529 => Verdict::Trouble { message },
        401 | 403 => Verdict::Refused {
            message,
            remedy: "the vendor, or a firewall or proxy on the way, does not serve this machine: \
                     check the network, or name another address in `base_url`"
                .to_owned(),
        },
        404 => Verdict::Refused { message, remedy: "check the name that was asked for".to_owned() },
        _ => Verdict::Refused { message, remedy: "check the source's settings".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_key() {
        let url = "https://me:pw@api.example.com/x?symbol=BTC&x_cg_demo_api_key=CG-1&Signature=s"
            .parse()
            .unwrap();
        let text = shown(&url);
        assert_eq!(
            text,
            "https://api.example.com/x?symbol=BTC&x_cg_demo_api_key=***&Signature=***"
        );
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(n, v)| ((*n).try_into().unwrap(), v.parse().unwrap())).collect()
        };
        let retry_after = |headers: &HeaderMap| retry_after(headers, date(headers));
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(7));
        let date = ("date", "Sat, 15 May 2021 14:42:23 GMT");
        let until = ("retry-after", "Sat, 15 May 2021 14:43:00 GMT");
        assert_eq!(retry_after(&headers(&[date, until])), Some(37));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }

    #[test]
    fn an_endpoint_keeps_the_path_of_its_base() {
        let base: Url = "http://127.0.0.1:9/kraken/".parse().unwrap();
        assert_eq!(
            endpoint(&base, "/0/public/OHLC").as_str(),
            "http://127.0.0.1:9/kraken/0/public/OHLC"
        );
    }
}
