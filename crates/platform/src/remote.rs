//! The API of the process that owns a data directory, used by other commands.

use std::sync::Arc;
use std::time::Duration;

use foretell_market::{Instrument, Interval};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::PlatformError;
use crate::observer::{Event, Observer, Stop};
use crate::service::RunOptions;
use crate::views::{ModelView, Proof, RunDetail, RunReport, RunView};

/// A client of another process's API.
#[derive(Clone)]
pub struct Remote {
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

/// The header that carries the secret of the data directory.
pub const SECRET_HEADER: &str = "x-foretell-secret";

/// An error as the API sends it.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    hint: Option<String>,
}

/// Long work (a run, a reproduction) is bounded by this and not by a request's timeout.
const LONG_WORK: Duration = Duration::from_secs(6 * 3600);

impl Remote {
    /// A client of the API at a base URL.
    ///
    /// # Errors
    /// When no HTTP client can be made on this machine.
    pub fn new(
        base: &str,
        token: Option<String>,
        secret: Option<String>,
    ) -> Result<Self, PlatformError> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(|e| PlatformError::Remote(format!("no HTTP client: {e}")))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token, secret, http })
    }

    /// Where the API is.
    pub fn base(&self) -> &str {
        &self.base
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
        let response = request.send().await.map_err(|e| {
            PlatformError::Remote(format!("the process at {} does not answer: {e}", self.base))
        })?;
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
        response.json().await.map_err(|e| self.unreadable(&e))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, PlatformError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = self.send(request.timeout(LONG_WORK)).await?;
        response.json().await.map_err(|e| self.unreadable(&e))
    }

    fn unreadable(&self, error: &reqwest::Error) -> PlatformError {
        let base = &self.base;
        PlatformError::Remote(format!("the answer of {base} cannot be read: {error}"))
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
        let pipeline = pipeline.map(|p| format!("pipeline={p}"));
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
        self.post(&format!("/api/v1/models/{name}/promote"), &body).await
    }

    /// The latest runs.
    ///
    /// # Errors
    /// When the process does not answer.
    pub async fn runs(&self) -> Result<Vec<RunView>, PlatformError> {
        self.get("/api/v1/runs").await
    }

    /// One run.
    ///
    /// # Errors
    /// When there is no such run or the process does not answer.
    pub async fn run_detail(&self, id: &str) -> Result<RunDetail, PlatformError> {
        self.get(&format!("/api/v1/runs/{id}")).await
    }

    /// The report of a run, or of the latest.
    ///
    /// # Errors
    /// When there is none or the process does not answer.
    pub async fn report(&self, run: Option<&str>) -> Result<String, PlatformError> {
        let path = run.map_or_else(|| "/".to_owned(), |id| format!("/reports/{id}"));
        let request = self.http.get(format!("{}{path}", self.base));
        let response = self.send(request.timeout(Duration::from_secs(60))).await?;
        response.text().await.map_err(|e| self.unreadable(&e))
    }

    /// Recomputes a forecast.
    ///
    /// # Errors
    /// When there is no such forecast or the process does not answer.
    pub async fn verify(&self, id: &str) -> Result<Proof, PlatformError> {
        self.post(&format!("/api/v1/forecast/{id}/verify"), &serde_json::json!({})).await
    }

    /// Retrains a run.
    ///
    /// # Errors
    /// When there is no such run or the process does not answer.
    pub async fn reproduce(&self, run: &str) -> Result<Proof, PlatformError> {
        self.post(&format!("/api/v1/runs/{run}/reproduce"), &serde_json::json!({})).await
    }

    /// Has the other process run a pipeline, handing its events on.
    ///
    /// # Errors
    /// What the run failed with, or that the process went away.
    pub async fn run(
        &self,
        text: &str,
        file: &str,
        options: RunOptions,
        observer: Arc<dyn Observer>,
        stop: &Stop,
    ) -> Result<RunReport, PlatformError> {
        let body = serde_json::json!({
            "text": text, "file": file,
            "require_skill": options.require_skill, "lock_box": options.lock_box,
            "mended": options.mended,
        });
        let request = self.http.post(format!("{}/api/v1/runs", self.base)).json(&body);
        let mut response = self.send(request.timeout(LONG_WORK)).await?;
        let mut buffer = Vec::new();
        // Giving up closes the connection, which cancels the run over there.
        while let Some(chunk) = stop
            .or_stopped(async { response.chunk().await.map_err(|e| self.unreadable(&e)) })
            .await?
        {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(Line::Finished { report }) => return Ok(*report),
                    Ok(Line::Failed { message, hint, exit_code }) => {
                        return Err(PlatformError::RemoteFailed { message, hint, exit_code });
                    }
                    Ok(Line::Event(event)) => observer.event(event),
                    Err(error) => {
                        let text = format!("the events cannot be read: {error}");
                        return Err(PlatformError::Remote(text));
                    }
                }
            }
        }
        Err(PlatformError::Remote("the process ended before the run did".to_owned()))
    }
}

/// One line of a run's event stream.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The end.
    Finished { report: Box<RunReport> },
    /// The end of a failed run.
    Failed { message: String, hint: Option<String>, exit_code: u8 },
    /// Something on the way.
    Event(Event),
}
