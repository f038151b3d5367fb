//! A local server that plays a vendor, faults and all, and a stopwatch that only
//! pretends to wait. For tests alone.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foretell_source::HttpSettings;
use foretell_source::http::Pause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, further header lines, body.
    Body(u16, Vec<String>, Vec<u8>),
    /// Accepts and never answers.
    Hang,
    /// Announces the whole body and closes half-way.
    CutOff(Vec<u8>),
    /// Closes without a word.
    Close,
}

impl Answer {
    /// Status 200.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Answer::Body(200, Vec::new(), body.into())
    }

    /// A status with a body.
    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer::Body(status, Vec::new(), body.into())
    }

    /// The same answer with a header line.
    pub(crate) fn header(mut self, line: &str) -> Self {
        if let Answer::Body(_, headers, _) = &mut self {
            headers.push(line.to_owned());
        }
        self
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// How many came before it.
    pub(crate) number: usize,
    /// Path and query.
    pub(crate) target: String,
    /// All header lines, as sent.
    pub(crate) head: String,
}

impl Request {
    /// A value of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse(&format!("http://vendor{}", self.target)).unwrap();
        url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// A vendor on 127.0.0.1 that follows a script; it ends with the test.
pub(crate) struct Vendor {
    /// Where it listens.
    pub(crate) url: Url,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Vendor {
    /// Listens and answers every request by the script.
    pub(crate) async fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { url, requests }
    }

    /// Answers the n-th request with the n-th answer, and the last one from then on.
    pub(crate) async fn scripted(answers: Vec<Answer>) -> Self {
        Self::start(move |r| answers[r.number.min(answers.len() - 1)].clone()).await
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    let mut head = Vec::new();
    let mut buffer = [0u8; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let request = {
        let mut seen = seen.lock().unwrap();
        let request = Request { number: seen.len(), target, head };
        seen.push(request.clone());
        request
    };
    // Writing fails when the client has given up, which some tests want.
    match script(&request) {
        Answer::Body(status, headers, body) => {
            let mut text = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n",
                body.len()
            );
            for line in headers {
                text.push_str(&line);
                text.push_str("\r\n");
            }
            text.push_str("\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.write_all(&body).await;
            let _ = stream.shutdown().await;
        }
        Answer::Hang => {
            // Holds the connection open until the client closes it.
            while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
        }
        Answer::CutOff(body) => {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.write_all(&body[..body.len() / 2]).await;
            let _ = stream.shutdown().await;
        }
        Answer::Close => {}
    }
}

/// Writes down every wait and lets its own clock run instead.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Mutex<(Duration, Vec<Duration>)>);

impl Stopwatch {
    /// The waits so far, in milliseconds.
    pub(crate) fn waits(&self) -> Vec<u64> {
        self.0.lock().unwrap().1.iter().map(|d| d.as_millis() as u64).collect()
    }
}

impl Pause for Stopwatch {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn wait(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut state = self.0.lock().unwrap();
        state.0 += duration;
        state.1.push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// Settings that wait by a stopwatch, and that stopwatch.
pub(crate) fn patience() -> (HttpSettings, Arc<Stopwatch>) {
    let stopwatch = Arc::new(Stopwatch::default());
    let settings = HttpSettings { pause: stopwatch.clone(), ..HttpSettings::default() };
    (settings, stopwatch)
}
