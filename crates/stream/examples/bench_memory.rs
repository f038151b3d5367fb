//! What the river holds in memory: `bench_memory [TRADES] [KEPT_SECONDS]` (50,000,000 and 600).
//!
//! Trades of 500 instruments, 460 per candle, go through the embedded log and the operators
//! while they are written, and stay for some seconds of the market's time. Prints one JSON
//! object for every tenth of them, and one at the end.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod bench;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{Market, Scratch, process_cpu, record, resident};
use foretell_stream::codec::{Encoding, decode_features};
use foretell_stream::{Log, Record, Task, View};
use tokio::sync::watch;

const INSTRUMENTS: usize = 500;
const PER_CANDLE: i64 = 460;
/// How far the writer may be ahead of the reader, records.
const AHEAD: u64 = 500_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(50_000_000, |n| n.parse().expect("a number"));
    let kept = arguments.next().map_or(600, |n| n.parse().expect("seconds"));
    let scratch = Scratch::open(Some(kept)).await;
    let (log, topics) = (scratch.log.clone(), scratch.topics.clone());
    let view = Arc::new(View::new(10));
    let (shown, feature) = (Arc::clone(&view), topics.feature.clone());
    let told = move |written: &[(foretell_stream::TopicName, u32, Record)]| {
        for (_, _, record) in written.iter().filter(|(topic, ..)| *topic == feature) {
            shown.take(decode_features(&record.value).expect("we wrote it"));
        }
    };
    let make = scratch.river(true, Encoding::Avro);
    let mut task =
        Task::new(log.clone(), topics.clone(), scratch.settings(), make).on_commit(Box::new(told));
    let (stop, stopped) = watch::channel(false);
    let reader = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ran = runtime.expect("a runtime starts").block_on(task.run(stopped));
        ran.expect("the river runs");
    });

    let mut market = Market::new(INSTRUMENTS);
    let (started, used) = (Instant::now(), process_cpu());
    let (mut written, mut told, mut most) = (0u64, 0, 0.0f64);
    while written < count {
        let trades = market.trades(60_000_000 / PER_CANDLE);
        let records: Vec<Record> = trades.map(|trade| record(&trade, Encoding::Avro)).collect();
        written += records.len() as u64;
        log.append(&topics.trade, 0, records).await.expect("the log takes records");
        if market.step() % 200 == 0 {
            log.expire(market.time()).expect("old records go");
            while written - read(&scratch).await > AHEAD {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            most = most.max(resident());
        }
        if written * 10 / count > told {
            told = written * 10 / count;
            let (rss, disk) = (resident(), log.disk_space().expect("the disk is read") / 1_000_000);
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "{{\"trades\":{written},\"rss_mb\":{rss:.0},\"disk_mb\":{disk},\
                 \"seconds\":{seconds:.1}}}"
            );
        }
    }
    while read(&scratch).await < written {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process_cpu() - used);
    stop.send(true).expect("the task listens");
    reader.join().expect("the task ends");
    println!(
        "{{\"trades\":{written},\"most_rss_mb\":{most:.0},\"seconds\":{seconds:.1},\
         \"cpu_s\":{cpu:.1}}}"
    );
}

/// How far the reader has committed.
async fn read(scratch: &Scratch) -> u64 {
    let committed = scratch.log.committed("bench", &scratch.topics.trade, 0).await;
    committed.expect("the log answers").unwrap_or(0)
}
