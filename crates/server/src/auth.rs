//! Who may ask: anyone on this machine, or whoever carries the token.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use foretell_platform::SECRET_HEADER;

use crate::problem::Problem;

/// A bearer token; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token of at least 16 characters.
    ///
    /// # Errors
    /// In words, when it is shorter.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < 16 {
            return Err("the token must have at least 16 characters".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Compares in a time that does not depend on where the texts differ.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let differing = a.iter().zip(b).fold(0u8, |d, (x, y)| d | (x ^ y));
    a.len() == b.len() && differing == 0
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What every request is held against.
pub(crate) struct Guard {
    pub(crate) token: Option<Token>,
    /// What a request that changes something must carry where there is no token.
    pub(crate) secret: String,
    pub(crate) loopback: bool,
    /// Whether every request must carry the secret: the API is for those who may read the
    /// data directory.
    pub(crate) private: bool,
}

/// Lets a request through, or answers for it.
pub(crate) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = admit(&guard, &request) {
        return problem.into_response();
    }
    next.run(request).await
}

/// Whether a path only answers, although what it is asked stands in a body.
pub(crate) fn asks(path: &str) -> bool {
    ["/predict_next_price", "/api/v1/predict"].contains(&path)
}

fn admit(guard: &Guard, request: &Request) -> Result<(), Problem> {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    if let Some(token) = &guard.token {
        // The health check tells nothing and is for probes that carry no token.
        let open = request.uri().path() == "/health";
        let carried = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
        if !open && !carried.is_some_and(|t| same(&token.0, t)) {
            return Err(Problem::unauthorized());
        }
    } else if guard.loopback && !text(header::HOST).is_none_or(is_local_host) {
        // A page of another site that resolves its own name to this machine (DNS
        // rebinding) names its own host.
        return Err(Problem::forbidden("requests must name this machine as their host"));
    }
    // A form of another site cannot send JSON without asking first.
    let sends = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let changes = sends && !asks(request.uri().path());
    let json = text(header::CONTENT_TYPE).is_some_and(|v| v.starts_with("application/json"));
    if sends && !json {
        return Err(Problem::unsupported_media());
    }
    // Others on this machine may read forecasts; changing something is for those who may
    // read the data directory, where the secret stands.
    let secret = text(header::HeaderName::from_static(SECRET_HEADER)).unwrap_or_default();
    let guarded = changes || (guard.private && request.uri().path() != "/health");
    if guarded && guard.token.is_none() && !same(&guard.secret, secret) {
        return Err(Problem::forbidden(
            "send the secret of owner.json in the data directory as X-Foretell-Secret",
        ));
    }
    Ok(())
}

fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = axum::http::Request::builder().method(method).uri("/api/v1/runs");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn a_token_is_required_where_there_is_one_and_never_printed() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(Token::new("short").is_err());
        let guard =
            Guard { token: Some(token), secret: "s".to_owned(), loopback: false, private: false };
        assert!(admit(&guard, &request("GET", &[])).is_err());
        let wrong = [("authorization", "Bearer 0123456789abcdeX")];
        assert!(admit(&guard, &request("GET", &wrong)).is_err());
        let right = [("authorization", "Bearer 0123456789abcdef")];
        assert!(admit(&guard, &request("GET", &right)).is_ok());
    }

    #[test]
    fn another_site_can_neither_rebind_nor_post_a_form() {
        let guard = Guard { token: None, secret: "s".to_owned(), loopback: true, private: false };
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"] {
            assert!(admit(&guard, &request("GET", &[("host", host)])).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"] {
            assert!(admit(&guard, &request("GET", &[("host", host)])).is_err(), "{host}");
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert!(admit(&guard, &request("POST", &form)).is_err());
        let json = ("content-type", "application/json");
        assert!(admit(&guard, &request("POST", &[json])).is_err(), "no secret");
        assert!(admit(&guard, &request("POST", &[json, (SECRET_HEADER, "s")])).is_ok());
        let private = Guard { private: true, ..guard };
        assert!(admit(&private, &request("GET", &[])).is_err(), "no secret");
        assert!(admit(&private, &request("GET", &[(SECRET_HEADER, "s")])).is_ok());
    }
}
