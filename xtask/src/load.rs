//! `cargo xtask load`: an open-loop load generator for one URL.
//!
//! Requests leave on a fixed schedule, whatever the answers do, and a latency is
//! counted from the moment the request was *due*: a server that stalls is not
//! flattered by requests that were never sent. Plain HTTP/1.1 over keep-alive
//! connections, one thread each; no dependency, so that the generator costs little
//! beside the server it measures.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// What is sent, how often and for how long.
#[derive(Debug, Clone)]
struct Plan {
    host: String,
    path: String,
    rate: u32,
    seconds: u32,
    connections: u32,
}

/// Latencies of the answered requests, in microseconds, and what went wrong.
#[derive(Debug, Default)]
struct Tally {
    micros: Vec<u64>,
    failures: u64,
    first_failure: Option<String>,
}

/// Runs the load and prints one JSON object; false when a request failed.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let url: String = crate::option(arguments, "--url", None)?;
    let (host, path) = split_url(&url)?;
    let plan = Plan {
        host,
        path,
        rate: crate::option(arguments, "--rate", Some(1000))?,
        seconds: crate::option(arguments, "--seconds", Some(30))?,
        connections: crate::option(arguments, "--connections", Some(32))?,
    };
    ensure!(plan.rate > 0 && plan.connections > 0, "--rate and --connections must be above 0");
    let started = Instant::now();
    let mut tally = drive(&plan)?;
    let elapsed = started.elapsed().as_secs_f64();
    tally.micros.sort_unstable();
    let answered = tally.micros.len() as u64;
    let report = serde_json::json!({
        "url": url,
        "sent": answered + tally.failures,
        "answered": answered,
        "failures": tally.failures,
        "first_failure": tally.first_failure,
        "elapsed_seconds": elapsed,
        "rate_per_second": answered as f64 / elapsed,
        "p50_ms": percentile(&tally.micros, 50.0),
        "p90_ms": percentile(&tally.micros, 90.0),
        "p99_ms": percentile(&tally.micros, 99.0),
        "p999_ms": percentile(&tally.micros, 99.9),
        "max_ms": percentile(&tally.micros, 100.0),
    });
    println!("{report}");
    Ok(tally.failures == 0 && answered > 0)
}

/// `http://host:port/path` in two parts.
fn split_url(url: &str) -> anyhow::Result<(String, String)> {
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("`{url}` is not an http:// address");
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    ensure!(!host.is_empty(), "`{url}` names no host");
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    Ok((host, format!("/{path}")))
}

/// The nearest-rank percentile of sorted microseconds, in milliseconds.
fn percentile(sorted: &[u64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).map(|&us| us as f64 / 1000.0)
}

fn drive(plan: &Plan) -> anyhow::Result<Tally> {
    let total = u64::from(plan.rate) * u64::from(plan.seconds);
    let start = Instant::now() + Duration::from_millis(50);
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.connections)
            .map(|worker| scope.spawn(move || work(plan, worker, total, start)))
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?)
            .collect::<anyhow::Result<Vec<Tally>>>()
    })?;
    let mut whole = Tally::default();
    for part in parts {
        whole.micros.extend(part.micros);
        whole.failures += part.failures;
        whole.first_failure = whole.first_failure.or(part.first_failure);
    }
    Ok(whole)
}

/// Sends requests `worker`, `worker + connections`, … each when it is due.
fn work(plan: &Plan, worker: u32, total: u64, start: Instant) -> anyhow::Result<Tally> {
    let mut connection = Connection::open(&plan.host)?;
    let request =
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\r\n", plan.path, plan.host);
    let mut tally = Tally::default();
    let mut number = u64::from(worker);
    while number < total {
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(plan.rate));
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        match connection.exchange(request.as_bytes()) {
            Ok(200) => tally.micros.push(due.elapsed().as_micros() as u64),
            Ok(status) => tally.fail(format!("status {status}")),
            Err(error) => {
                tally.fail(format!("{error:#}"));
                connection = Connection::open(&plan.host)?;
            }
        }
        number += u64::from(plan.connections);
    }
    Ok(tally)
}

impl Tally {
    fn fail(&mut self, what: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(what);
    }
}

struct Connection {
    reader: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("failed to reach {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { reader: BufReader::new(stream), line: String::new(), body: Vec::new() })
    }

    /// Sends one request and reads the whole answer; the status code.
    fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.reader.get_mut().write_all(request)?;
        self.read_line()?;
        let status = self.line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let Some(status) = status else {
            bail!("`{}` is not a status line", self.line.trim_end());
        };
        let mut length = None;
        let mut chunked = false;
        loop {
            self.read_line()?;
            let Some((name, value)) = self.line.trim_end().split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse::<usize>().context("content-length is not a number")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            }
        }
        if chunked {
            loop {
                self.read_line()?;
                let size = usize::from_str_radix(self.line.trim_end(), 16)
                    .context("a chunk without a size")?;
                self.read_body(size + 2)?;
                if size == 0 {
                    return Ok(status);
                }
            }
        }
        self.read_body(length.context("the answer names no length")?)?;
        Ok(status)
    }

    fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        ensure!(self.reader.read_line(&mut self.line)? > 0, "the server closed the connection");
        Ok(())
    }

    fn read_body(&mut self, length: usize) -> anyhow::Result<()> {
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn percentiles_are_nearest_rank() {
        let micros: Vec<u64> = (1..=1000).map(|i| i * 1000).collect();
        assert_eq!(percentile(&micros, 50.0), Some(500.0));
        assert_eq!(percentile(&micros, 99.0), Some(990.0));
        assert_eq!(percentile(&micros, 100.0), Some(1000.0));
        assert_eq!(percentile(&[7000], 99.0), Some(7.0));
        assert_eq!(percentile(&[], 99.0), None);
    }

    #[test]
    fn addresses_are_split() {
        let (host, path) = split_url("http://127.0.0.1:8080/a/b?c=1").unwrap();
        assert_eq!((host.as_str(), path.as_str()), ("127.0.0.1:8080", "/a/b?c=1"));
        assert_eq!(split_url("http://localhost").unwrap().0, "localhost:80");
        assert!(split_url("https://localhost").is_err());
    }

    /// A server that stalls once for 200 ms: the requests that fell due meanwhile
    /// must show the stall, although they were sent after it.
    #[test]
    fn a_stall_is_charged_to_every_request_that_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for number in 0..40 {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    assert!(reader.read_line(&mut line).unwrap() > 0);
                }
                if number == 5 {
                    std::thread::sleep(Duration::from_millis(200));
                }
                let answer = if number % 2 == 0 {
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                } else {
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                };
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        let plan = Plan { host, path: "/".into(), rate: 40, seconds: 1, connections: 1 };
        let tally = drive(&plan).unwrap();
        server.join().unwrap();
        assert_eq!((tally.micros.len(), tally.failures), (40, 0));
        // One request every 25 ms: a stall of 200 ms holds up the next ones too.
        let late = tally.micros.iter().filter(|&&us| us > 50_000).count();
        assert!((5..=12).contains(&late), "{late} requests saw the stall");
    }
}
