//! How fast the river runs from the durable log, with checksums, state and commits.
//!
//! `bench_stream candles|features|many [json|avro] [TICKS.csv...]` prints one JSON object per
//! measure, of both encodings where none is named. `cpu_s` is what the processing thread used
//! (Linux): on a busy machine it says more than the time on the clock.
//! Ticks are `timestamp (ms),price,qty,...` with a header; without files a seeded market is
//! used. One thread processes; the log syncs to disk every 100 ms on another.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows};
use foretell_market::{Arrival, FeedEvent, Instrument, Interval, Lateness, Timestamp, Trade};
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, Chain, EmbeddedLog, EmbeddedOptions, FeatureOperator,
    FeatureSettings, Log, Operator, Record, StreamError, Task, TaskSettings, TopicSpec, Topics,
};

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

/// Seconds of CPU that this thread has used.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanos.unwrap_or(f64::NAN) / 1e9
}

/// Megabytes that this process has handed to the operating system to write.
fn written() -> f64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    found.and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6
}

async fn measure(mode: &str, encodings: &[Encoding], files: &[String]) {
    let trades = match mode {
        "many" => many(500, 600, 2),
        _ if files.is_empty() => many(1, 2_000, 460),
        _ => ticks(files),
    };
    for &encoding in encodings {
        let folder = std::env::temp_dir().join(format!("bench-stream-{}", std::process::id()));
        let options = EmbeddedOptions {
            path: folder.clone(),
            budget: None,
            sync_every: Some(Duration::from_millis(100)),
        };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log opens"));
        let topics = Topics::new(1, None);
        for name in topics.all() {
            let name = name.to_string();
            let spec =
                TopicSpec { name, partitions: 1, retention_secs: None, kept_for: Vec::new() };
            log.create(&spec).await.expect("a topic is created");
        }
        let started = Instant::now();
        for chunk in trades.chunks(1000) {
            let records = chunk.iter().map(|trade| record(trade, encoding)).collect();
            log.append(&topics.trade, 0, records).await.expect("the log takes records");
        }
        let appended = started.elapsed().as_secs_f64();
        let settings = TaskSettings {
            group: "bench".to_owned(),
            topic: topics.trade.clone(),
            commit_every: Duration::from_millis(100),
            poll_bytes: 1 << 20,
        };
        let (made_for, with_rows) = (topics.clone(), mode != "candles");
        let make = move || operator(&made_for, with_rows, encoding);
        let counted = Arc::new(Mutex::new((0usize, 0usize)));
        let (counter, feature) = (Arc::clone(&counted), topics.feature.clone());
        let told = move |written: &[(foretell_stream::TopicName, u32, Record)]| {
            let rows = written.iter().filter(|(t, ..)| *t == feature).count();
            let mut counts = counter.lock().expect("nobody panicked");
            *counts = (counts.0 + written.len() - rows, counts.1 + rows);
        };
        let mut task = Task::new(log.clone(), topics.clone(), settings, Box::new(make))
            .on_commit(Box::new(told));
        let (started, used, before) = (Instant::now(), cpu(), written());
        task.drain().await.expect("the river runs");
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu() - used);
        let (candles, rows) = *counted.lock().expect("nobody panicked");
        println!(
            "{{\"mode\":\"{mode}\",\"encoding\":\"{encoding:?}\",\"trades\":{},\
             \"appended_per_s\":{:.0},\"trades_per_s\":{:.0},\"candles\":{candles},\
             \"rows\":{rows},\"rows_per_s\":{:.0},\"seconds\":{seconds:.3},\
             \"cpu_s\":{cpu:.3},\"rows_per_cpu_s\":{:.0},\"trades_per_cpu_s\":{:.0},\
             \"written_mb\":{:.0}}}",
            trades.len(),
            trades.len() as f64 / appended,
            trades.len() as f64 / seconds,
            rows as f64 / seconds,
            rows as f64 / cpu,
            trades.len() as f64 / cpu,
            written() - before,
        );
        drop((task, log));
        std::fs::remove_dir_all(&folder).expect("the log's folder is removed");
    }
}

fn operator(
    topics: &Topics,
    with_rows: bool,
    encoding: Encoding,
) -> Result<Box<dyn Operator>, StreamError> {
    let lateness = Lateness { delay: 0, allowed: 0 };
    let intervals = vec![Interval::MINUTE];
    let settings = CandleSettings { intervals, lateness, ahead: 60_000_000, encoding };
    let candles = CandleOperator::new(settings, topics.clone());
    if !with_rows {
        return Ok(Box::new(candles));
    }
    let horizon = Interval::from_secs(300).expect("five minutes");
    let settings = FeatureSettings {
        interval: Interval::MINUTE,
        set: FeatureSet::named("kraken-62", &Params::new())?,
        context: ContextSpec {
            horizon,
            season: Interval::from_secs(1800).expect("half an hour"),
            ewma_lambda: 0.94,
            returns: ReturnWindows::default(),
        },
        label: LabelSpec { horizon, price_column: "close".into() },
        allowed: 0,
        encoding,
    };
    let features = FeatureOperator::new(settings, topics.clone())?;
    Ok(Box::new(Chain::new(candles, topics.ohlcv.clone(), features)))
}

fn record(trade: &Trade, encoding: Encoding) -> Record {
    let at = Timestamp::from_micros(trade.time.micros() + 50_000);
    let key = product_id(&trade.instrument).into();
    let arrival = Arrival { event: FeedEvent::Trade(trade.clone()), at, backfilled: false };
    let mut value = Vec::new();
    encode_arrival(&arrival, encoding, &mut value);
    Record { key, value: value.into(), time: at }
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

/// Seeded walks: `instruments` × `minutes`, each with `per_minute` trades.
fn many(instruments: usize, minutes: i64, per_minute: i64) -> Vec<Trade> {
    let name = |i: usize| format!("A{i}-USD").parse().expect("an instrument");
    let names: Vec<Instrument> = (0..instruments).map(name).collect();
    let mut out = Vec::with_capacity(instruments * (minutes * per_minute) as usize);
    let mut seed = 1u64;
    let mut prices = vec![100.0; instruments];
    for step in 0..minutes * per_minute {
        for (i, instrument) in names.iter().enumerate() {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let share = (seed >> 11) as f64 / (1u64 << 53) as f64;
            prices[i] *= 1.0 + (share - 0.5) * 0.001;
            let time = 1_718_616_960_000_000 + step * 60_000_000 / per_minute + i as i64;
            out.push(Trade {
                instrument: instrument.clone(),
                time: Timestamp::from_micros(time),
                id: Some(step),
                price: prices[i],
                quantity: share + 0.1,
                side: None,
            });
        }
    }
    out
}
