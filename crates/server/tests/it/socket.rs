//! The WebSocket, with a client of its own.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::sample::{Serving, forecast, gap, row};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(serving: &Serving, query: &str, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    let url = format!("ws://{}/api/v1/ws{query}", serving.address);
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    Ok(connect_async(request).await?.0)
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("more to come").expect("a frame") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_says_the_same_as_events() {
    let serving = Serving::new(None).await;
    let mut socket = open(&serving, "?pipeline=hours", &[]).await.unwrap();
    serving.service.tell(forecast("f_0", "BTC-USD", "days"));
    serving.service.tell(gap());
    serving.service.tell(forecast("f_1", "BTC-USD", "hours"));
    let heard = next(&mut socket).await;
    assert_eq!((&heard["event"], &heard["id"]), (&"forecast".into(), &"f_1".into()));
    assert_eq!(heard["data"]["id"], "f_1");
    assert!(heard["data"]["interval"]["lower"].is_number(), "{heard}");
    // A ping is answered, and so is the end.
    socket.send(Message::Ping("there?".into())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::Pong("there?".into()));
    socket.close(None).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_read_costs_its_client_messages_and_nobody_else() {
    let serving = Serving::new(None).await;
    let mut slow = open(&serving, "?kinds=row,gap", &[]).await.unwrap();
    let mut other = open(&serving, "?kinds=gap", &[]).await.unwrap();
    let all = 200_000;
    (0..all).for_each(|number| serving.service.tell(row(number)));
    serving.service.tell(gap());
    // Whoever wanted none of it is told that there was too much at once, and then goes on.
    loop {
        let heard = next(&mut other).await;
        if heard["event"] == "gap" {
            break;
        }
        assert_eq!(heard["event"], "missed");
    }
    let (mut rows, mut missed) = (0, 0);
    loop {
        let heard = next(&mut slow).await;
        match heard["event"].as_str().unwrap() {
            "row" => rows += 1,
            "missed" => missed += heard["data"]["missed"].as_u64().unwrap(),
            _ => break,
        }
    }
    assert_eq!(rows + missed, all);
    assert!(missed > 0, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_host_opens_no_socket() {
    let serving = Serving::new(None).await;
    let host = serving.address.to_string();
    open(&serving, "", &[("origin", &format!("http://{host}"))]).await.unwrap();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let error = open(&serving, "", &[("origin", origin)]).await.unwrap_err();
        let Error::Http(response) = error else { panic!("{error}") };
        assert_eq!(response.status(), 403, "{origin}");
    }
    let guarded = Serving::new(Some("0123456789abcdef")).await;
    let error = open(&guarded, "", &[]).await.unwrap_err();
    assert!(matches!(error, Error::Http(response) if response.status() == 401));
    let right = [("authorization", "Bearer 0123456789abcdef")];
    open(&guarded, "", &right).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_told_what_is() {
    let serving = Serving::new(None).await;
    let response = reqwest::get(serving.url("/api/v1/ws")).await.unwrap();
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("Sec-WebSocket-Key"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_with_the_server_and_by_who_says_too_much() {
    let serving = Serving::new(None).await;
    let mut talker = open(&serving, "", &[]).await.unwrap();
    let _ = talker.send(Message::text("x".repeat(1 << 20))).await;
    while let Some(Ok(message)) = talker.next().await {
        assert!(!matches!(message, Message::Text(_)), "{message:?}");
    }
    let mut socket = open(&serving, "", &[]).await.unwrap();
    serving.ending.cancel();
    let closed = socket.next().await.unwrap().unwrap();
    let Message::Close(Some(frame)) = closed else { panic!("{closed:?}") };
    assert_eq!(frame.code, CloseCode::Away);
    let ended = tokio::time::timeout(Duration::from_secs(5), serving.answering).await;
    ended.expect("the server ends").unwrap().unwrap();
}
