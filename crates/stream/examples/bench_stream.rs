//! How fast the river runs from the durable log, with checksums, state and commits.
//!
//! `bench_stream candles|features|many|day [json|avro] [TICKS.csv...]` prints one JSON object
//! per measure, of both encodings where none is named. Ticks are `timestamp (ms),price,qty,...`
//! with a header; without files a seeded market is used: one instrument with 460 trades per
//! candle, `many` 500 with two, `day` 500 with four (3,000,000 trades in a day).
//!
//! One thread processes; the log syncs to disk every 100 ms on another. `cpu_s` is what the
//! processing thread used (Linux): on a busy machine it says more than the time on the clock.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod bench;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bench::{Market, Scratch, record, thread_cpu, written};
use foretell_market::{Instrument, Timestamp, Trade};
use foretell_stream::codec::Encoding;
use foretell_stream::{Log, Record, Task};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "candles".to_owned());
    let mut files: Vec<String> = arguments.collect();
    let encodings = match files.first().map(String::as_str) {
        Some("json") => vec![Encoding::Json],
        Some("avro") => vec![Encoding::Avro],
        _ => vec![Encoding::Avro, Encoding::Json],
    };
    files.retain(|file| file != "json" && file != "avro");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(measure(&mode, &encodings, &files));
}

async fn measure(mode: &str, encodings: &[Encoding], files: &[String]) {
    for &encoding in encodings {
        let scratch = Scratch::open(None).await;
        let (log, topics) = (scratch.log.clone(), scratch.topics.clone());
        let started = Instant::now();
        let trades = match mode {
            "many" => append(&scratch, market(500, 600, 2), encoding).await,
            "day" => append(&scratch, market(500, 1500, 4), encoding).await,
            _ if files.is_empty() => append(&scratch, market(1, 4_000, 460), encoding).await,
            _ => append(&scratch, ticks(files).into_iter(), encoding).await,
        };
        let appended = started.elapsed().as_secs_f64();
        let make = scratch.river(mode != "candles", encoding);
        let counted = Arc::new(Mutex::new((0usize, 0usize)));
        let (counter, feature) = (Arc::clone(&counted), topics.feature.clone());
        let told = move |written: &[(foretell_stream::TopicName, u32, Record)]| {
            let rows = written.iter().filter(|(t, ..)| *t == feature).count();
            let mut counts = counter.lock().expect("nobody panicked");
            *counts = (counts.0 + written.len() - rows, counts.1 + rows);
        };
        let mut task = Task::new(log, topics, scratch.settings(), make).on_commit(Box::new(told));
        let (started, used, before) = (Instant::now(), thread_cpu(), written());
        task.drain().await.expect("the river runs");
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), thread_cpu() - used);
        let (candles, rows) = *counted.lock().expect("nobody panicked");
        println!(
            "{{\"mode\":\"{mode}\",\"encoding\":\"{encoding:?}\",\"trades\":{trades},\
             \"appended_per_s\":{:.0},\"trades_per_s\":{:.0},\"candles\":{candles},\
             \"rows\":{rows},\"rows_per_s\":{:.0},\"seconds\":{seconds:.3},\
             \"cpu_s\":{cpu:.3},\"rows_per_cpu_s\":{:.0},\"trades_per_cpu_s\":{:.0},\
             \"written_mb\":{:.0}}}",
            trades as f64 / appended,
            trades as f64 / seconds,
            rows as f64 / seconds,
            rows as f64 / cpu,
            trades as f64 / cpu,
            written() - before,
        );
    }
}

/// Writes trades to the log and says how many they were.
async fn append(
    scratch: &Scratch,
    trades: impl Iterator<Item = Trade>,
    encoding: Encoding,
) -> usize {
    let mut trades = trades.peekable();
    let mut count = 0;
    while trades.peek().is_some() {
        let records: Vec<Record> =
            trades.by_ref().take(1000).map(|trade| record(&trade, encoding)).collect();
        count += records.len();
        let appended = scratch.log.append(&scratch.topics.trade, 0, records).await;
        appended.expect("the log takes records");
    }
    count
}

/// Seeded walks: `instruments` × `minutes`, each with `per_minute` trades.
fn market(instruments: usize, minutes: i64, per_minute: i64) -> impl Iterator<Item = Trade> {
    let mut market = Market::new(instruments);
    (0..minutes * per_minute)
        .flat_map(move |_| market.trades(60_000_000 / per_minute).collect::<Vec<_>>())
}

/// The trades of tick files, one file after the other.
fn ticks(files: &[String]) -> Vec<Trade> {
    let instrument: Instrument = "SPY-USD".parse().expect("an instrument");
    let mut out = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a tick file is read");
        for line in text.lines().skip(1) {
            let mut cells = line.split(',');
            let mut cell = || cells.next().expect("a cell");
            let time = Timestamp::from_millis(cell().parse().expect("milliseconds"));
            let price = cell().parse().expect("a price");
            let quantity = cell().parse().expect("a quantity");
            let (instrument, id) = (instrument.clone(), Some(out.len() as i64));
            out.push(Trade { instrument, time, id, price, quantity, side: None });
        }
    }
    out
}
