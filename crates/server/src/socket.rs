//! The server's end of a WebSocket (RFC 6455): the handshake, and one client that listens.
//!
//! The one client library of the house is used from this side too
//! (docs/decisions/0017-websocket-client.md): axum's own feature brings another copy of it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::feed::Feed;
use crate::problem::Problem;

/// How often a client is asked whether it lives.
const BEAT: Duration = Duration::from_secs(20);
/// How many of these questions in a row it may leave without an answer.
const UNANSWERED: u32 = 2;
/// How long a client may take to accept a message.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients have nothing to say.
const LONGEST_MESSAGE: usize = 4 << 10;

/// A request that becomes a WebSocket.
pub(crate) struct Upgrade {
    accept: HeaderValue,
    connection: OnUpgrade,
}

/// Whether a header is a list that holds a word.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// Whether the page that asks, where one does, is of this host: browsers let every page open
/// sockets everywhere and read them, unlike answers.
fn is_of_this_host(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|o| o.split_once("://"));
    origin.is_some_and(|(_, authority)| text(header::HOST) == Some(authority))
}

impl Upgrade {
    /// Reads the client's half of the handshake.
    pub(crate) fn of(mut request: Request) -> Result<Self, Problem> {
        let headers = request.headers();
        if !is_of_this_host(headers) {
            return Err(Problem::forbidden("a page of another host may not open a WebSocket here"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| {
            lists(headers, header::CONNECTION, "upgrade")
                && lists(headers, header::UPGRADE, "websocket")
                && lists(headers, header::SEC_WEBSOCKET_VERSION, "13")
        });
        let accept =
            key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
        let connection = request.extensions_mut().remove::<OnUpgrade>();
        match accept.zip(connection) {
            Some((accept, connection)) => Ok(Self { accept, connection }),
            None => Err(Problem::upgrade_required()),
        }
    }

    /// The server's half; what follows on it is told to the client until it goes.
    pub(crate) fn answer(self, feed: Feed) -> Response {
        let Self { accept, connection } = self;
        tokio::spawn(async move {
            match connection.await {
                Ok(upgraded) => tell(upgraded, feed).await,
                Err(error) => tracing::debug!(%error, "a WebSocket was not opened"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The client has gone, or does not read.
struct Gone;

async fn send(socket: &mut Socket, message: Message) -> Result<(), Gone> {
    match timeout(PATIENCE, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

async fn tell(upgraded: Upgraded, feed: Feed) {
    let config = WebSocketConfig::default()
        .read_buffer_size(LONGEST_MESSAGE)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let upgraded = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    // Whoever has gone is not told.
    let _ = converse(&mut socket, feed).await;
}

async fn converse(socket: &mut Socket, mut feed: Feed) -> Result<(), Gone> {
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            next = feed.next() => {
                let Some(message) = next else {
                    let reason = "the server ends".into();
                    let frame = CloseFrame { code: CloseCode::Away, reason };
                    return send(socket, Message::Close(Some(frame))).await;
                };
                let text = serde_json::to_string(&message).unwrap_or_default();
                send(socket, Message::text(text)).await?;
            }
            came = socket.next() => match came {
                Some(Ok(Message::Close(_))) => {
                    // The answer to it waits to be sent.
                    let _ = timeout(PATIENCE, socket.flush()).await;
                    return Ok(());
                }
                Some(Ok(_)) => {
                    unanswered = 0;
                    // So does that to a ping.
                    timeout(PATIENCE, socket.flush()).await.map_err(|_| Gone)?.map_err(|_| Gone)?;
                }
                Some(Err(_)) | None => return Err(Gone),
            },
            _ = beat.tick() => {
                if unanswered >= UNANSWERED {
                    return Err(Gone);
                }
                unanswered += 1;
                send(socket, Message::Ping(Bytes::new())).await?;
            }
        }
    }
}
