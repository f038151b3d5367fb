//! A Kafka broker in memory, for benches: the test broker of `krafka`, behind a front that
//! answers fetches as a cluster does, with no more bytes than were asked for. The broker by
//! itself sends all that is behind the offset.
//!
//! Prints its address and serves until its standard input ends.
#![allow(clippy::print_stdout, reason = "whoever starts it has to know the address")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use krafka::testing::{FakeBroker, PartitionState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The number of the request `Fetch`; the broker has version 11 of it alone.
const FETCH: i16 = 1;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;
/// How often a fetch that waits looks for records.
const LOOK_EVERY: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Arc::new(FakeBroker::start().await?);
    let behind: SocketAddr = broker.bootstrap_servers().parse()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    broker.with_state(|state| {
        for node in &mut state.brokers {
            (node.host, node.port) = (address.ip().to_string(), address.port().into());
        }
    });
    println!("{address}");
    let serving = Arc::clone(&broker);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let broker = Arc::clone(&serving);
            // A client that goes away ends its connection and nothing else.
            tokio::spawn(async move { serve(client, behind, &broker).await });
        }
    });
    // It remembers every request, and looks at all of them for each.
    tokio::spawn(async move {
        loop {
            broker.clear_requests();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let end = || io::copy(&mut io::stdin(), &mut io::sink());
    tokio::task::spawn_blocking(end).await??;
    Ok(())
}

/// Answers one connection, request by request.
async fn serve(mut client: TcpStream, behind: SocketAddr, broker: &FakeBroker) -> io::Result<()> {
    let mut server = TcpStream::connect(behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    loop {
        let request = frame(&mut client).await?;
        let answer = if request.len() >= 8 && request[..2] == FETCH.to_be_bytes() {
            fetch(request, broker).await?
        } else {
            server.write_u32(request.len() as u32).await?;
            server.write_all(&request).await?;
            frame(&mut server).await?
        };
        client.write_u32(answer.len() as u32).await?;
        client.write_all(&answer).await?;
    }
}

async fn frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let length = stream.read_u32().await? as usize;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// One partition that is asked for.
struct Wanted {
    topic: String,
    partition: i32,
    offset: i64,
    bytes: i32,
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a fetch is cut off")
}

fn text(buffer: &mut Bytes) -> io::Result<String> {
    let length = buffer.try_get_i16().map_err(|_| cut())?.max(0) as usize;
    if buffer.remaining() < length {
        return Err(cut());
    }
    String::from_utf8(buffer.split_to(length).to_vec()).map_err(|_| cut())
}

/// Waits for the records that a fetch asks for, and answers.
async fn fetch(mut request: Bytes, broker: &FakeBroker) -> io::Result<Bytes> {
    let int = |buffer: &mut Bytes| buffer.try_get_i32().map_err(|_| cut());
    request.advance(4);
    let correlation = int(&mut request)?;
    text(&mut request)?;
    int(&mut request)?;
    let (wait, least, most) = (int(&mut request)?, int(&mut request)?, int(&mut request)?);
    let committed = request.try_get_i8().map_err(|_| cut())? == 1;
    let session = int(&mut request)?;
    int(&mut request)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for _ in 0..int(&mut request)? {
        let topic = text(&mut request)?;
        for _ in 0..int(&mut request)? {
            let partition = int(&mut request)?;
            int(&mut request)?;
            let offset = request.try_get_i64().map_err(|_| cut())?;
            request.try_get_i64().map_err(|_| cut())?;
            let bytes = int(&mut request)?;
            wanted.push(Wanted { topic: topic.clone(), partition, offset, bytes });
        }
    }
    let deadline = Instant::now() + Duration::from_millis(wait.max(0) as u64);
    loop {
        let mut answer = BytesMut::new();
        answer.put_i32(correlation);
        answer.put_i32(0);
        answer.put_i16(0);
        answer.put_i32(session);
        answer.put_u32(wanted.len() as u32);
        let mut left = i64::from(most);
        let mut failed = false;
        broker.with_state(|state| {
            for one in &wanted {
                answer.put_i16(one.topic.len() as i16);
                answer.put_slice(one.topic.as_bytes());
                answer.put_u32(1);
                answer.put_i32(one.partition);
                let topic = state.topics.get(&one.topic);
                let found = topic.and_then(|t| t.partitions.get(one.partition as usize));
                failed |= put(found, one, committed, i64::from(most), &mut left, &mut answer);
            }
        });
        let enough = i64::from(most) - left >= i64::from(least.max(1));
        if enough || failed || Instant::now() >= deadline {
            return Ok(answer.freeze());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The answer for one partition: whole batches, as many as there is room for, and one where
/// there is none in the whole answer yet. Whether it is an error.
fn put(
    partition: Option<&PartitionState>,
    wanted: &Wanted,
    committed: bool,
    most: i64,
    left: &mut i64,
    answer: &mut BytesMut,
) -> bool {
    let error = match partition {
        None => UNKNOWN_TOPIC,
        Some(p) if wanted.offset > p.next_offset => OFFSET_OUT_OF_RANGE,
        Some(_) => 0,
    };
    let stable = |p: &PartitionState| p.open_transactions.values().copied().min();
    let (high, first) = partition.map_or((-1, -1), |p| (p.next_offset, p.log_start_offset));
    let limit = partition.and_then(stable).unwrap_or(high);
    answer.put_i16(error);
    answer.put_i64(high);
    answer.put_i64(limit);
    answer.put_i64(first);
    let mut records: &[Bytes] = &[];
    let mut aborted: Vec<(i64, i64)> = Vec::new();
    if let Some(p) = partition.filter(|_| error == 0) {
        let from = p.log.partition_point(|batch| last(batch) < wanted.offset);
        let (mut count, mut room) = (0, i64::from(wanted.bytes).min(*left));
        for batch in &p.log[from..] {
            let size = batch.len() as i64;
            let nothing = *left == most && count == 0;
            if (size > room && !nothing) || (committed && last(batch) >= limit) {
                break;
            }
            (count, room) = (count + 1, room - size);
        }
        records = &p.log[from..from + count];
        let end = records.last().map_or(wanted.offset, |batch| last(batch));
        if committed {
            let touched = p.aborted_transactions.iter();
            let touched = touched.filter(|(_, at, mark)| *mark >= wanted.offset && *at <= end);
            aborted = touched.map(|(producer, at, _)| (*producer, *at)).collect();
        }
    }
    answer.put_u32(aborted.len() as u32);
    for (producer, at) in aborted {
        answer.put_i64(producer);
        answer.put_i64(at);
    }
    answer.put_i32(-1);
    let size: usize = records.iter().map(Bytes::len).sum();
    answer.put_u32(size as u32);
    for batch in records {
        answer.put_slice(batch);
    }
    *left -= size as i64;
    error != 0
}

/// The offset of the last record of a batch.
fn last(mut batch: &[u8]) -> i64 {
    let base = batch.get_i64();
    batch.advance(15);
    base + i64::from(batch.get_i32())
}
