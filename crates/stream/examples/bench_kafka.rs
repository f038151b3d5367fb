//! Times one-minute candles from trades on a Kafka cluster:
//! `bench_kafka kafka://host:port [trades] [rounds]` (80,000 and 10).
//!
//! Each round writes the trades (JSON, 50 instruments, 460 per candle) to topics of its own,
//! then reads them once without doing anything, and once into candles with state and commits
//! every 100 ms. Prints one line of JSON: the topics, and seconds and CPU-seconds of this
//! process alone, per step, over all rounds (Linux).
//!
//! Rounds, because the broker of `kafka_broker` answers a fetch with all that is behind the
//! offset, whatever was asked for: a long log would be sent many times over, which a cluster
//! does not do.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod bench;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::process_cpu as cpu;

use foretell_market::{Arrival, FeedEvent, Instrument, Interval, Lateness, Timestamp, Trade};
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, KafkaLog, KafkaOptions, Log, Operator, Record, StreamError,
    Task, TaskSettings, TopicSpec, Topics, partition_of,
};

const PARTITIONS: u32 = 2;
const PER_CANDLE: i64 = 460;
/// So few that a round has some candles of each.
const INSTRUMENTS: i64 = 50;
const AT_ONCE: usize = 10_000;

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

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("bench_kafka kafka://host:port [trades]")?;
    let count: i64 = arguments.next().map_or(Ok(80_000), |n| n.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(10), |n| n.parse())?;
    let log = Arc::new(KafkaLog::connect(&url, KafkaOptions::new("bench")).await?);
    let mut steps: Vec<(&str, f64, f64)> =
        ["write", "read", "candles"].map(|name| (name, 0.0, 0.0)).to_vec();
    let mut step = |number: usize, since: (Instant, f64)| {
        steps[number].1 += since.0.elapsed().as_secs_f64();
        steps[number].2 += cpu() - since.1;
    };
    let mut names = Vec::new();
    for round in 0..rounds {
        let topics = Topics::new(PARTITIONS, Some(&format!("r{round}")));
        for name in topics.all() {
            let (name, kept_for) = (name.to_string(), Vec::new());
            let spec = TopicSpec { name, partitions: PARTITIONS, retention_secs: None, kept_for };
            log.create(&spec).await?;
        }
        names.push(topics.trade.to_string());
        let all = trades(count);
        let since = (Instant::now(), cpu());
        for (partition, records) in all.into_iter().enumerate() {
            for some in records.chunks(AT_ONCE) {
                log.append(&topics.trade, partition as u32, some.to_vec()).await?;
            }
        }
        step(0, since);
        let since = (Instant::now(), cpu());
        for partition in 0..PARTITIONS {
            let mut from = 0;
            loop {
                let some =
                    log.read(&topics.trade, partition, from, 1 << 20, Duration::ZERO).await?;
                let Some(last) = some.last() else { break };
                from = last.offset + 1;
            }
        }
        step(1, since);
        let settings = TaskSettings {
            group: format!("bench-{round}"),
            topic: topics.trade.clone(),
            commit_every: Duration::from_millis(100),
            save_every: Duration::from_millis(100),
            poll_bytes: 1 << 20,
        };
        let own = topics.clone();
        let make = move || -> Result<Box<dyn Operator>, StreamError> {
            let lateness = Lateness { delay: 0, allowed: 60_000_000 };
            let (bars, encoding) = (vec![Interval::MINUTE.into()], Encoding::Json);
            let settings = CandleSettings { bars, lateness, ahead: 60_000_000, encoding };
            Ok(Box::new(CandleOperator::new(settings, own.clone())))
        };
        let since = (Instant::now(), cpu());
        Task::new(log.clone(), topics, settings, Box::new(make)).drain().await?;
        step(2, since);
    }
    let steps: serde_json::Map<String, serde_json::Value> = steps
        .into_iter()
        .map(|(name, seconds, cpu)| {
            (name.to_owned(), serde_json::json!({ "seconds": seconds, "cpu": cpu }))
        })
        .collect();
    let trades = count * rounds as i64;
    println!("{}", serde_json::json!({ "trades": trades, "topics": names, "steps": steps }));
    Ok(())
}
