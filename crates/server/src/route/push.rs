//! What happens, as it happens: server-sent events and a WebSocket.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};

use super::App;
use crate::feed::{Feed, FeedQuery};
use crate::problem::Problem;
use crate::socket;

/// How long a stream may be silent before a comment shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a client that comes back has heard last.
const LAST_EVENT_ID: &str = "last-event-id";

/// What happens from now on, as server-sent events: `forecast` (its `id` is the forecast's, its
/// data that of `/api/v1/forecast/{id}`), `outcome`, `row`, `gap`, and `missed` with the number
/// of events that a client was too slow for. A client that comes back with `Last-Event-ID` is
/// told first what forecasts were recorded since, the latest 1,000.
#[utoipa::path(get, path = "/api/v1/stream", operation_id = "stream_events", params(FeedQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(mut query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let last = headers.get(LAST_EVENT_ID).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
    query.after = last.map(str::to_owned).or(query.after);
    let client = app.metrics.push_client("sse");
    let feed = Feed::begin(&app.service, &query, client, app.ending.clone()).await?;
    let events = futures::stream::unfold(feed, |mut feed| async move {
        let message = feed.next().await?;
        let data = serde_json::to_string(&message.data).unwrap_or_default();
        let event = Event::default().event(message.event).data(data);
        let event = match message.id {
            Some(id) => event.id(id),
            None => event,
        };
        Some((Ok::<_, Infallible>(event), feed))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Proxies that gather answers would hold events back.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(unbuffered, HeaderValue::from_static("no"));
    Ok(response)
}

/// The same over a WebSocket: each event is a text frame, a JSON object of `event`, `id` and
/// `data`. What a client sends is not read but for closing and pongs.
#[utoipa::path(get, path = "/api/v1/ws", operation_id = "socket_events", params(FeedQuery),
    responses((status = 101, body = crate::wire::Message), (status = 426, body = Problem)))]
pub(crate) async fn socket(
    State(app): State<App>,
    query: Result<Query<FeedQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_request(e.body_text()))?;
    let upgrade = socket::Upgrade::of(request)?;
    let client = app.metrics.push_client("websocket");
    let feed = Feed::begin(&app.service, &query, client, app.ending.clone()).await?;
    Ok(upgrade.answer(feed))
}
