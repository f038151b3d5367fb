//! Every address of the API and the use case behind it.

mod forecasts;
mod gaps;
mod models;
mod pages;
mod predict;
mod push;
mod recorded;
mod river;
mod runs;
mod searches;
mod series;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::routing::{MethodRouter, get, post};
use foretell_platform::Service;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::problem::Problem;

pub(crate) use forecasts::{__path_by_id, __path_explain, __path_latest, __path_verify};
pub(crate) use gaps::{__path_list as __path_gaps, __path_of_instrument};
pub(crate) use models::{
    __path_file, __path_list as __path_models, __path_promote, __path_show as __path_model,
};
pub(crate) use pages::{
    __path_health, __path_latest_report, __path_metrics, __path_openapi, __path_report,
};
pub(crate) use predict::{__path_next_price, __path_predict};
pub(crate) use push::{__path_events, __path_socket};
pub(crate) use recorded::{__path_parity, __path_replay};
pub(crate) use river::__path_show as __path_river;
pub(crate) use runs::{__path_list as __path_runs, __path_reproduce, __path_show, __path_start};
pub(crate) use searches::__path_show as __path_searches;
pub(crate) use series::{__path_candles, __path_features, __path_instruments};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    /// The end of the server: streams that go on for ever end with it.
    ending: CancellationToken,
}

impl FromRef<App> for Arc<Service> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.service)
    }
}

/// What names something in an address.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|e| Problem::bad_request(e.body_text()))?;
        Ok(Self(text))
    }
}

/// Largest request body: a pipeline file is a few kilobytes.
const MAX_BODY: usize = 1 << 20;

/// Largest wish for work: mended rows of a quarantine file come with it.
const MAX_WISH: usize = 256 << 20;

/// An address and what is answered there.
type Route = (&'static str, fn() -> MethodRouter<App>);

/// Every address.
const ROUTES: [Route; 29] = [
    ("/", || get(pages::latest_report)),
    ("/reports/{run}", || get(pages::report)),
    ("/health", || get(pages::health)),
    ("/metrics", || get(pages::metrics)),
    ("/api/openapi.json", || get(pages::openapi)),
    ("/api/v1/instruments", || get(series::instruments)),
    ("/api/v1/candles/{instrument}", || get(series::candles)),
    ("/api/v1/forecasts/{instrument}", || get(forecasts::latest)),
    ("/api/v1/forecast/{id}", || get(forecasts::by_id)),
    ("/api/v1/forecast/{id}/explanation", || get(forecasts::explain)),
    ("/api/v1/forecast/{id}/verify", || post(forecasts::verify)),
    ("/api/v1/gaps", || get(gaps::list)),
    ("/api/v1/gaps/{instrument}", || get(gaps::of_instrument)),
    ("/api/v1/models", || get(models::list)),
    ("/api/v1/models/{name}", || get(models::show)),
    ("/api/v1/models/{name}/promote", || post(models::promote)),
    ("/api/v1/models/{name}/file", || get(models::file)),
    ("/api/v1/predict", || post(predict::predict)),
    ("/predict_next_price", || post(predict::next_price)),
    ("/api/v1/runs", || get(runs::list).post(runs::start).layer(DefaultBodyLimit::max(MAX_WISH))),
    ("/api/v1/runs/{id}", || get(runs::show)),
    ("/api/v1/runs/{id}/reproduce", || post(runs::reproduce)),
    ("/api/v1/river", || get(river::show)),
    ("/api/v1/river/parity", || post(recorded::parity)),
    ("/api/v1/river/replay", || post(recorded::replay)),
    ("/api/v1/searches/{of}", || get(searches::show)),
    ("/api/v1/features/{instrument}", || get(series::features)),
    ("/api/v1/stream", || get(push::events)),
    ("/api/v1/ws", || get(push::socket)),
];

pub(crate) fn router(
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    ending: CancellationToken,
) -> Router {
    let routes = ROUTES.iter();
    routes
        .fold(Router::new(), |router, (path, answered)| router.route(path, answered()))
        .fallback(|uri: Uri| async move {
            Problem::not_found(format!("nothing is at {}: see /api/openapi.json", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::method_not_allowed(format!("{method} is not answered at {}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(App { service, metrics, ending })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use foretell_platform::{DataDir, Ownership, SystemClock};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// An API without the guard, on a free port, as long as the folder is kept.
    async fn served() -> (tempfile::TempDir, std::net::SocketAddr) {
        let folder = tempfile::tempdir().unwrap();
        let Ownership::Mine(dir) = DataDir::take(folder.path(), "test").unwrap() else {
            panic!("nobody else has it");
        };
        let service = Service::open(dir, None, "test", Arc::new(SystemClock)).await.unwrap();
        let ending = CancellationToken::new();
        let app = router(Arc::new(service), Arc::new(Metrics::new()), ending);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (folder, address)
    }

    /// Sends a request and answers with its status, headers (in lower case) and body.
    async fn ask(to: std::net::SocketAddr, head: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let (length, line) = (body.len(), "host: localhost\r\nconnection: close");
        let head = format!("{head}\r\n{line}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // A body that is refused unread may not be taken whole.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    #[tokio::test]
    async fn the_document_names_what_the_router_answers_and_nothing_else() {
        let (_folder, address) = served().await;
        let document = crate::openapi::document();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
        let mut answered = BTreeSet::new();
        for (path, _) in ROUTES {
            let asked = path.replace(['{', '}'], "");
            // Whoever does not answer a method tells which it does.
            let (status, head, _) = ask(address, &format!("BREW {asked} HTTP/1.1"), b"").await;
            assert_eq!(status, 405, "{path}");
            let allowed = head.lines().find_map(|l| l.strip_prefix("allow: ")).unwrap();
            for method in allowed.split(',').map(|m| m.trim().to_uppercase()) {
                // HEAD comes with GET.
                if method != "HEAD" {
                    answered.insert((path.to_owned(), method));
                }
            }
        }
        assert_eq!(described, answered);
    }

    #[tokio::test]
    async fn what_is_refused_before_a_handler_is_a_problem_too() {
        let (_folder, address) = served().await;
        let json = "content-type: application/json";
        let large = vec![b' '; MAX_BODY + 1];
        let promote = format!("POST /api/v1/models/m/promote HTTP/1.1\r\n{json}");
        let start = format!("POST /api/v1/runs HTTP/1.1\r\n{json}");
        let plain = "POST /api/v1/runs HTTP/1.1\r\ncontent-type: text/plain";
        let (none, path) = (&b""[..], "GET /api/v1/runs/%FF HTTP/1.1");
        for (head, body, status) in [
            (promote.as_str(), &large[..], 413),
            // Mended rows may be as large as that; these are no wish at all.
            (&start, &large[..], 400),
            (plain, &b"{}"[..], 415),
            (path, none, 400),
            ("GET /nothing HTTP/1.1", none, 404),
            ("DELETE /health HTTP/1.1", none, 405),
        ] {
            let (answered, headers, body) = ask(address, head, body).await;
            assert_eq!(answered, status, "{head}: {body}");
            let media = format!("content-type: {}", crate::problem::MEDIA_TYPE);
            assert!(headers.contains(&media), "{head}: {headers}");
            assert!(body.contains("\"detail\""), "{head}: {body}");
        }
    }
}
