//! Errors on the wire: problem+json (RFC 9457), with the hint people need.

use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use foretell_platform::PlatformError;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of an error.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// An error as the API sends it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:foretell:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request makes no sense", detail)
    }

    /// A body that cannot be read as what it should be.
    pub(crate) fn of_body(rejection: &JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                let detail = rejection.body_text();
                Self::new(status, "payload-too-large", "the body is too large", detail)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media(),
            _ => Self::bad_request(rejection.body_text()),
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such thing", detail)
    }

    pub(crate) fn method_not_allowed(detail: impl Into<String>) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method-not-allowed", "this cannot be done there", detail)
    }

    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "not allowed", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "send the header `Authorization: Bearer <token>`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed", detail)
    }

    pub(crate) fn upgrade_required() -> Self {
        let detail = "this is a WebSocket: send the headers `Connection: Upgrade`, `Upgrade: \
                      websocket`, `Sec-WebSocket-Version: 13` and `Sec-WebSocket-Key`; \
                      /api/v1/stream tells the same without";
        let status = StatusCode::UPGRADE_REQUIRED;
        Self::new(status, "upgrade-required", "another protocol is spoken here", detail)
    }

    pub(crate) fn unsupported_media() -> Self {
        let detail = "send the header `Content-Type: application/json`";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported-media-type", "only JSON is understood", detail)
    }
}

impl From<PlatformError> for Problem {
    fn from(error: PlatformError) -> Self {
        let (status, kind, title) = match &error {
            PlatformError::NotFound { .. } => {
                (StatusCode::NOT_FOUND, "not-found", "there is no such thing")
            }
            PlatformError::Usage { .. } | PlatformError::Pipeline(_) => {
                (StatusCode::BAD_REQUEST, "bad-request", "the request makes no sense")
            }
            PlatformError::Gate(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "gate-refused", "the gate refused the rows")
            }
            PlatformError::Prices(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "bad-prices", "no price follows from these")
            }
            PlatformError::NoSkill(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "no-skill", "nothing beats the random walk")
            }
            PlatformError::Mismatch(_) => {
                (StatusCode::CONFLICT, "mismatch", "a stored result does not recompute")
            }
            PlatformError::Busy(_) => (StatusCode::CONFLICT, "busy", "the same work is going on"),
            PlatformError::Interrupted => {
                (StatusCode::SERVICE_UNAVAILABLE, "interrupted", "the server is stopping")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "the work failed"),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = error.chain(), "request failed");
        }
        let mut problem = Self::new(status, kind, title, error.chain());
        problem.hint = error.hint();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
            let version = header::HeaderValue::from_static("13");
            headers.insert(header::SEC_WEBSOCKET_VERSION, version);
        }
        response
    }
}
