//! The API of the process that owns a data directory, used by other commands.

use std::path::Path;
use std::time::Duration;

use foretell_market::{Instrument, Interval};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::advance::Advance;
use crate::backfill::BackfillDone;
use crate::data_dir::Owner;
use crate::error::PlatformError;
use crate::gaps::GapQuery;
use crate::observer::{Observer, Stop};
use crate::pipeline::Pipeline;
use crate::searches::SearchDetail;
use crate::service::RunOptions;
use crate::views::{
    ExplanationView, GapView, ModelDetail, ModelView, Proof, RunDetail, RunReport, RunView,
};

/// A client of another process's API.
#[derive(Clone)]
pub struct Remote {
    owner: Owner,
    base: String,
    token: Option<String>,
    secret: Option<String>,
    http: reqwest::Client,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remote({})", self.base)
    }
}

/// The media type of events, one JSON object a line.
const EVENTS: &str = "application/x-ndjson";

/// The header that carries the secret of the data directory.
pub const SECRET_HEADER: &str = "x-foretell-secret";

/// An error as the API sends it.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    hint: Option<String>,
}

/// The token of the API that answers for a data directory, where it has one.
pub(crate) fn client_token() -> Result<Option<String>, PlatformError> {
    let Some(path) = std::env::var_os("FORETELL_TOKEN_FILE") else { return Ok(None) };
    let text = crate::read_text(Path::new(&path))?;
    Ok(text.lines().next().map(|line| line.trim().to_owned()))
}

/// Long work (a run, a reproduction) is bounded by this and not by a request's timeout.
const LONG_WORK: Duration = Duration::from_secs(6 * 3600);

impl Remote {
    /// A client of an owner's API, if it has one.
    ///
    /// # Errors
    /// When the token file cannot be read, or no HTTP client can be made on this machine.
    pub(crate) fn of(owner: &Owner) -> Result<Option<Self>, PlatformError> {
        let Some(api) = &owner.api else { return Ok(None) };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(|e| PlatformError::Remote(format!("no HTTP client: {e}")))?;
        Ok(Some(Self {
            base: api.trim_end_matches('/').to_owned(),
            token: client_token()?,
            secret: owner.secret.clone(),
            owner: owner.clone(),
            http,
        }))
    }

    /// Where the API is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Who answers and since when, for people.
    pub fn describe(&self) -> String {
        self.owner.describe()
    }

    /// Whether the process is there.
    pub(crate) async fn answers(&self) -> bool {
        let request = self.http.get(format!("{}/health", self.base));
        let answer = request.timeout(Duration::from_secs(5)).send().await;
        answer.is_ok_and(|a| a.status().is_success())
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, PlatformError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = match &self.secret {
            Some(secret) => request.header(SECRET_HEADER, secret),
            None => request,
        };
        let response = request.send().await.map_err(|e| self.lost(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem = response.json::<Problem>().await.ok();
        let Some(problem) = problem else {
            return Err(PlatformError::Remote(format!("{} answered {status}", self.base)));
        };
        let hint = problem.hint.unwrap_or_default();
        Err(match status.as_u16() {
            404 => PlatformError::NotFound {
                what: problem.detail.trim_start_matches("there is no ").to_owned(),
                hint,
            },
            400 => PlatformError::Usage { message: problem.detail, hint },
            401 => PlatformError::Usage {
                message: format!("{} wants its token", self.base),
                hint: "name the file that holds it: FORETELL_TOKEN_FILE=token foretell …".into(),
            },
            409 => PlatformError::Mismatch(problem.detail),
            _ => PlatformError::Remote(problem.detail),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PlatformError> {
        let request = self.http.get(format!("{}{path}", self.base));
        let response = self.send(request.timeout(Duration::from_secs(60))).await?;
        self.read(response).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, PlatformError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = self.send(request.timeout(LONG_WORK)).await?;
        self.read(response).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: reqwest::Response,
    ) -> Result<T, PlatformError> {
        let bytes = response.bytes().await.map_err(|e| self.lost(&e))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let base = &self.base;
            PlatformError::Remote(format!("the answer of {base} cannot be read: {error}"))
        })
    }

    /// Why there is no whole answer. A process that answered just now and whose connection
    /// fails has ended; one that is too slow has not.
    fn lost(&self, error: &reqwest::Error) -> PlatformError {
        let message = format!("the process at {} does not answer: {error}", self.base);
        match error.is_timeout() {
            true => PlatformError::Remote(message),
            false => PlatformError::Gone(message),
        }
    }

    /// The latest forecast, as the API serves it.
    ///
    /// # Errors
    /// When there is none or the process does not answer.
    pub async fn forecast(
        &self,
        instrument: &Instrument,
        horizon: Option<Interval>,
        pipeline: Option<&str>,
    ) -> Result<serde_json::Value, PlatformError> {
        let horizon = horizon.map(|h| format!("horizon={h}"));
        let pipeline = pipeline.map(|p| format!("pipeline={}", segment(p)));
        let query: Vec<String> = horizon.into_iter().chain(pipeline).collect();
        self.get(&format!("/api/v1/forecasts/{instrument}?{}", query.join("&"))).await
    }

    /// Every model version.
    ///
    /// # Errors
    /// When the process does not answer.
    pub async fn models(&self) -> Result<Vec<ModelView>, PlatformError> {
        self.get("/api/v1/models").await
    }

    /// Makes a version the champion.
    ///
    /// # Errors
    /// When there is no such version or the process does not answer.
    pub async fn promote(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ModelView, PlatformError> {
        let body = serde_json::json!({ "version": version });
        self.post(&format!("/api/v1/models/{}/promote", segment(name)), &body).await
    }

    /// The latest runs.
    ///
    /// # Errors
    /// When the process does not answer.
    pub async fn runs(&self) -> Result<Vec<RunView>, PlatformError> {
        self.get("/api/v1/runs").await
    }

    /// The searches of a run, or of the latest run of a pipeline that searched.
    ///
    /// # Errors
    /// When there are none or the process does not answer.
    pub async fn searches(&self, of: &str) -> Result<SearchDetail, PlatformError> {
        self.get(&format!("/api/v1/searches/{}", segment(of))).await
    }

    /// One run.
    ///
    /// # Errors
    /// When there is no such run or the process does not answer.
    pub async fn run_detail(&self, id: &str) -> Result<RunDetail, PlatformError> {
        self.get(&format!("/api/v1/runs/{}", segment(id))).await
    }

    /// The report of a run, or of the latest.
    ///
    /// # Errors
    /// When there is none or the process does not answer.
    pub async fn report(&self, run: Option<&str>) -> Result<String, PlatformError> {
        let path = run.map_or_else(|| "/".to_owned(), |id| format!("/reports/{}", segment(id)));
        let request = self.http.get(format!("{}{path}", self.base));
        let response = self.send(request.timeout(Duration::from_secs(60))).await?;
        response.text().await.map_err(|e| self.lost(&e))
    }

    /// Recomputes a forecast.
    ///
    /// # Errors
    /// When there is no such forecast or the process does not answer.
    pub async fn verify(&self, id: &str) -> Result<Proof, PlatformError> {
        self.post(&format!("/api/v1/forecast/{}/verify", segment(id)), &serde_json::json!({})).await
    }

    /// Takes a forecast apart.
    ///
    /// # Errors
    /// When there is no such forecast or the process does not answer.
    pub async fn explain(&self, id: &str) -> Result<ExplanationView, PlatformError> {
        self.get(&format!("/api/v1/forecast/{}/explanation", segment(id))).await
    }

    /// One version of a model; without a number the champion.
    ///
    /// # Errors
    /// When there is no such version or the process does not answer.
    pub async fn model_detail(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ModelDetail, PlatformError> {
        let query = version.map_or_else(String::new, |v| format!("?version={v}"));
        self.get(&format!("/api/v1/models/{}{query}", segment(name))).await
    }

    /// The stored bytes of a model version; of the champion without a number.
    ///
    /// # Errors
    /// When there is no such version or the process does not answer.
    pub async fn model_file(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Vec<u8>, PlatformError> {
        let query = version.map_or_else(String::new, |v| format!("?version={v}"));
        let path = format!("{}/api/v1/models/{}/file{query}", self.base, segment(name));
        let response = self.send(self.http.get(path).timeout(Duration::from_secs(60))).await?;
        Ok(response.bytes().await.map_err(|e| self.lost(&e))?.to_vec())
    }

    /// Gaps, in the order of their time.
    ///
    /// # Errors
    /// When no such pipeline or instrument ran, or the process does not answer.
    pub async fn gaps(&self, query: &GapQuery) -> Result<Vec<GapView>, PlatformError> {
        let pipeline = query.pipeline.as_ref().map(|p| format!("pipeline={}", segment(p)));
        let limit = query.limit.map(|n| format!("limit={n}"));
        let open = query.open.then(|| "open=true".to_owned());
        let parts: Vec<String> = pipeline.into_iter().chain(limit).chain(open).collect();
        let of = query.instrument.as_ref().map_or_else(String::new, |i| format!("/{i}"));
        self.get(&format!("/api/v1/gaps{of}?{}", parts.join("&"))).await
    }

    /// Retrains a run, handing its events on.
    ///
    /// # Errors
    /// When there is no such run or the process does not answer.
    pub async fn reproduce(
        &self,
        run: &str,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<Proof, PlatformError> {
        let path = format!("/api/v1/runs/{}/reproduce", segment(run));
        self.work(&path, "proof", &serde_json::json!({}), observer, stop).await
    }

    /// Has the other process run a pipeline, handing its events on.
    ///
    /// # Errors
    /// What the run failed with, or that the process went away.
    pub async fn run(
        &self,
        pipeline: &Pipeline,
        options: RunOptions,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<RunReport, PlatformError> {
        let mut body = wish("run", pipeline);
        body["require_skill"] = options.require_skill.into();
        body["lock_box"] = options.lock_box.into();
        body["full"] = options.full.into();
        body["mended"] = serde_json::json!(options.mended);
        self.work("/api/v1/runs", "report", &body, observer, stop).await
    }

    /// Has the other process take in new rows and forecast from them.
    ///
    /// # Errors
    /// What the advance failed with, or that the process went away.
    pub async fn advance(
        &self,
        pipeline: &Pipeline,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<Advance, PlatformError> {
        let body = wish("advance", pipeline);
        self.work("/api/v1/runs", "advance", &body, observer, stop).await
    }

    /// Has the other process fetch a history piece by piece.
    ///
    /// # Errors
    /// What the back-fill failed with, or that the process went away.
    pub async fn backfill(
        &self,
        pipeline: &Pipeline,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<BackfillDone, PlatformError> {
        let body = wish("backfill", pipeline);
        self.work("/api/v1/runs", "backfill", &body, observer, stop).await
    }

    /// Work whose events come one a line; the last line holds its result under a name.
    /// Giving up closes the connection, which stops the work over there at its next safe
    /// point.
    pub(crate) async fn work<T: DeserializeOwned>(
        &self,
        path: &str,
        result: &str,
        body: &serde_json::Value,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<T, PlatformError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let request = request.header("accept", EVENTS).timeout(LONG_WORK);
        let mut response = stop.or_stopped(self.send(request)).await?;
        let mut buffer = Vec::new();
        while let Some(chunk) =
            stop.or_stopped(async { response.chunk().await.map_err(|e| self.lost(&e)) }).await?
        {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let unreadable = |error: serde_json::Error| {
                    PlatformError::Remote(format!("the events cannot be read: {error}"))
                };
                let mut line: serde_json::Value =
                    serde_json::from_slice(&line).map_err(unreadable)?;
                match line["event"].as_str() {
                    Some("finished") => {
                        return serde_json::from_value(line[result].take()).map_err(unreadable);
                    }
                    Some("failed") => {
                        let failed: Failed = serde_json::from_value(line).map_err(unreadable)?;
                        let Failed { message, hint, exit_code } = failed;
                        return Err(PlatformError::RemoteFailed { message, hint, exit_code });
                    }
                    _ => observer.event(serde_json::from_value(line).map_err(unreadable)?),
                }
            }
        }
        Err(PlatformError::Remote("the process ended before the work did".to_owned()))
    }
}

/// What the API is asked to do with a pipeline.
fn wish(kind: &str, pipeline: &Pipeline) -> serde_json::Value {
    // Relative paths in it start at its folder, wherever the other process stands.
    let file = std::path::absolute(&pipeline.file).unwrap_or_else(|_| pipeline.file.clone());
    serde_json::json!({ "kind": kind, "text": pipeline.text, "file": file })
}

/// The last line of work that failed.
#[derive(Debug, Deserialize)]
struct Failed {
    message: String,
    hint: Option<String>,
    exit_code: u8,
}

/// A text as one segment or value of a URL.
fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_segments_of_a_url() {
        assert_eq!(segment("btc-usd_1h.x~"), "btc-usd_1h.x~");
        assert_eq!(segment("a/b ?ü"), "a%2Fb%20%3F%C3%BC");
    }
}
