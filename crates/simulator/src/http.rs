//! As much HTTP as a simulated exchange needs: one request a connection, JSON back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::Url;

use crate::market::Market;
use crate::protocol::{Protocol, Question};

/// The longest head of a request.
const HEAD: usize = 16 << 10;

/// A request's first lines.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) question: Question,
    /// The key of a WebSocket handshake, if it is one.
    key: Option<String>,
}

impl Head {
    pub(crate) fn is_socket(&self) -> bool {
        self.key.is_some()
    }
}

/// Reads the head of a request; `None` when the other side sends none.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let (mut head, mut buffer) = (Vec::new(), [0u8; 1024]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&buffer[..read]);
        if head.len() > HEAD {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?;
    let url = Url::parse("http://exchange").ok()?.join(target).ok()?;
    let key = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()));
    let question = Question { path: url.path().to_owned(), query: query.collect() };
    Some(Head { question, key })
}

/// Completes the handshake of a WebSocket.
pub(crate) async fn accept(stream: &mut TcpStream, head: &Head) -> std::io::Result<()> {
    let key = derive_accept_key(head.key.as_deref().unwrap_or_default().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {key}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await
}

/// Answers a question, or fails as the faults want it.
pub(crate) async fn answer(
    stream: &mut TcpStream,
    head: &Head,
    market: &Market,
    protocol: &dyn Protocol,
) -> std::io::Result<()> {
    let (status, body) = if market.http_fails() {
        (503, r#"{"message":"simulated failure"}"#.to_owned())
    } else {
        protocol.answer(&head.question, market)
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
