//! Times one-minute candles from trades on a Kafka cluster:
//! `bench_kafka kafka://host:port [trades] [steps] [commit_ms]` (1,000,000,
//! `write,read,candles` and 100).
//!
//! Writes the trades (JSON, 50 instruments, 460 per candle) to a topic, then reads them once
//! without doing anything, and once into candles with state and commits. Prints one line of
//! JSON: the topic, and seconds and CPU-seconds of this process alone, per step (Linux).
//! `kafka_broker` is a broker for it.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod bench;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::process_cpu as cpu;

use foretell_market::{Arrival, FeedEvent, Instrument, Interval, Lateness, Timestamp, Trade};
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, KafkaLog, KafkaOptions, Log, LogError, Operator, Polled,
    Record, StreamError, Task, TaskSettings, TopicSpec, Topics, partition_of,
};

const PARTITIONS: u32 = 2;
const PER_CANDLE: i64 = 460;
/// So few that a round has some candles of each.
const INSTRUMENTS: i64 = 50;
const AT_ONCE: usize = 10_000;
const POLL_BYTES: usize = 1 << 20;

fn trades(count: i64) -> Vec<Vec<Record>> {
    let instruments: Vec<Instrument> = (0..INSTRUMENTS)
        .map(|n| format!("A{n}-USD").parse().expect("it is an instrument"))
        .collect();
    let mut out = vec![Vec::new(); PARTITIONS as usize];
    // Whole milliseconds, as Kafka has them.
    let step = 60_000 / PER_CANDLE * 1000;
    for n in 0..count {
        let instrument = instruments[n as usize % instruments.len()].clone();
        let id = n / instruments.len() as i64;
        let time = Timestamp::from_micros(1_718_616_960_000_000 + id * step);
        let key = product_id(&instrument);
        let (price, quantity) = (100.0 + (n % 977) as f64 / 100.0, 0.25);
        let trade = Trade { instrument, time, id: Some(id), price, quantity, side: None };
        let at = Timestamp::from_micros(time.micros() + 50_000);
        let arrival = Arrival { event: FeedEvent::Trade(trade), at, backfilled: false };
        let mut value = Vec::new();
        encode_arrival(&arrival, Encoding::Json, &mut value);
        let partition = partition_of(key.as_bytes(), PARTITIONS) as usize;
        out[partition].push(Record { key: key.into(), value: value.into(), time: at });
    }
    out
}

/// What a step takes.
struct Step {
    name: &'static str,
    seconds: f64,
    cpu: f64,
}

/// Runs a step, if it was asked for.
async fn step<E>(
    name: &'static str,
    asked: &str,
    done: &mut Vec<Step>,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    if asked.split(',').any(|one| one == name) {
        let (began, used) = (Instant::now(), cpu());
        work.await?;
        done.push(Step { name, seconds: began.elapsed().as_secs_f64(), cpu: cpu() - used });
    }
    Ok(())
}

async fn write(log: &KafkaLog, topics: &Topics, all: Vec<Vec<Record>>) -> Result<(), LogError> {
    for (partition, records) in all.into_iter().enumerate() {
        for some in records.chunks(AT_ONCE) {
            log.append(&topics.trade, partition as u32, some.to_vec()).await?;
        }
    }
    Ok(())
}

/// As a member of a group that does nothing with what it is given.
async fn read(log: &KafkaLog, topics: &Topics) -> Result<(), LogError> {
    let mut member = log.join("bench-read", &topics.trade).await?;
    loop {
        if let Polled::Idle = member.poll(POLL_BYTES, Duration::ZERO).await? {
            return member.leave().await;
        }
    }
}

async fn candles(
    log: Arc<KafkaLog>,
    topics: &Topics,
    commit_every: Duration,
) -> Result<(), StreamError> {
    let settings = TaskSettings {
        group: "bench".to_owned(),
        topic: topics.trade.clone(),
        commit_every,
        save_every: commit_every,
        poll_bytes: POLL_BYTES,
    };
    let own = topics.clone();
    let make = move || -> Result<Box<dyn Operator>, StreamError> {
        let lateness = Lateness { delay: 0, allowed: 60_000_000 };
        let (bars, encoding) = (vec![Interval::MINUTE.into()], Encoding::Json);
        let settings = CandleSettings { bars, lateness, ahead: 60_000_000, encoding };
        Ok(Box::new(CandleOperator::new(settings, own.clone())))
    };
    Task::new(log, topics.clone(), settings, Box::new(make)).drain().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("bench_kafka kafka://host:port [trades] [steps]")?;
    let count: i64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let asked = arguments.next().unwrap_or_else(|| "write,read,candles".to_owned());
    let commit_every: u64 = arguments.next().map_or(Ok(100), |n| n.parse())?;
    let log = Arc::new(KafkaLog::connect(&url, KafkaOptions::new("bench")).await?);
    let topics = Topics::new(PARTITIONS, None);
    for name in topics.all() {
        let (name, kept_for) = (name.to_string(), Vec::new());
        let spec = TopicSpec { name, partitions: PARTITIONS, retention_secs: None, kept_for };
        log.create(&spec).await?;
    }
    let mut done = Vec::new();
    if asked.contains("write") {
        let all = trades(count);
        step("write", &asked, &mut done, write(&log, &topics, all)).await?;
    }
    step("read", &asked, &mut done, read(&log, &topics)).await?;
    let commit_every = Duration::from_millis(commit_every);
    step("candles", &asked, &mut done, candles(log.clone(), &topics, commit_every)).await?;
    let steps: serde_json::Map<String, serde_json::Value> = done
        .into_iter()
        .map(|Step { name, seconds, cpu }| {
            (name.to_owned(), serde_json::json!({ "seconds": seconds, "cpu": cpu }))
        })
        .collect();
    let topics = [&*topics.trade];
    println!("{}", serde_json::json!({ "trades": count, "topics": topics, "steps": steps }));
    Ok(())
}
