//! How long a row takes: `bench_latency [TRADES_PER_SECOND] [SECONDS]` (50,000 and 20).
//!
//! A producer writes trades of 500 instruments to the embedded log on a fixed schedule, 100
//! per candle, those that are due once a millisecond, so that a minute of the market passes every second and all candles close with
//! the first trades of the next minute. The latency of a row is counted from when the trade
//! that closed its candle was due, whether or not it could be written then, to its commit;
//! so a stall is charged to every row that had to wait. Beside it, the latest row of an
//! instrument is looked up in the view a thousand times a second.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod bench;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bench::{EVERY, Market, OPENS, Scratch, record};
use foretell_market::{Instrument, Interval, Timestamp};
use foretell_stream::codec::{Encoding, decode_features};
use foretell_stream::{Log, Record, Task, TaskSettings, View};
use tokio::sync::watch;

const INSTRUMENTS: usize = 500;
const PER_CANDLE: i64 = 100;
/// How often the producer writes what is due, as a feed writes what came in the meantime.
const TICK: Duration = Duration::from_millis(1);
/// How long what was read may wait for its commit, and the state for being saved, when no row
/// waits: rows are committed at once, and the state between two closes. So the state is at
/// most 100 ms old.
const SAVE: Duration = Duration::from_millis(50);
/// Candles before the measured ones, so that every window is full.
const BEFORE: i64 = 40;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rate: f64 = arguments.next().map_or(50_000.0, |n| n.parse().expect("trades per second"));
    let seconds: f64 = arguments.next().map_or(20.0, |n| n.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let scratch = runtime.block_on(Scratch::open(None));
    let (log, topics) = (scratch.log.clone(), scratch.topics.clone());

    // A sparse past: two trades per candle.
    let mut market = Market::new(INSTRUMENTS);
    for _ in 0..2 * BEFORE {
        let trades = market.trades(30_000_000);
        let records = trades.map(|trade| record(&trade, Encoding::Avro)).collect();
        runtime.block_on(log.append(&topics.trade, 0, records)).expect("the log takes records");
    }
    let first = market.step();

    let view = Arc::new(View::new(10));
    let (tell, told) = mpsc::channel();
    let feature = topics.feature.clone();
    let on_commit = move |written: &[(foretell_stream::TopicName, u32, Record)]| {
        let now = Instant::now();
        for (_, _, record) in written.iter().filter(|(topic, ..)| *topic == feature) {
            // Nobody listens any more when the bench ends.
            let _ = tell.send((now, record.clone()));
        }
    };
    let make = scratch.river(true, Encoding::Avro);
    let settings = TaskSettings { commit_every: SAVE, save_every: SAVE, ..scratch.settings() };
    let mut task =
        Task::new(log.clone(), topics.clone(), settings, make).on_commit(Box::new(on_commit));
    let (stop, stopped) = watch::channel(false);
    let river = named("river", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(task.run(stopped)).expect("the river runs");
    });
    while runtime.block_on(log.committed("bench", &topics.trade, 0)).expect("the log answers")
        < Some(first as u64 * INSTRUMENTS as u64)
    {
        std::thread::sleep(Duration::from_millis(5));
    }

    let begun = Instant::now() + Duration::from_millis(200);
    let due = move |n: u64| begun + Duration::from_secs_f64(n as f64 / rate);
    let collector = {
        let view = Arc::clone(&view);
        // The candle of minute `m` of instrument `i` closes with trade `m * PER_CANDLE` of it.
        let places: HashMap<Instrument, u64> = Market::new(INSTRUMENTS)
            .trades(0)
            .enumerate()
            .map(|(i, trade)| (trade.instrument, i as u64))
            .collect();
        named("collector", move || {
            let mut latencies = Vec::new();
            for (now, record) in told {
                let decoded = decode_features(&record.value).expect("we wrote it");
                let minute = (decoded.row.as_of.micros() - OPENS) / 60_000_000 - BEFORE;
                // The candles that were open when the schedule began close with its first step.
                if minute >= 0 {
                    let step = (minute * PER_CANDLE) as u64;
                    let number = step * INSTRUMENTS as u64 + places[&decoded.row.instrument];
                    latencies.push(now.saturating_duration_since(due(number)));
                }
                view.take(decoded);
            }
            latencies
        })
    };
    let over = Arc::new(AtomicBool::new(false));
    let looker = {
        let (view, over) = (Arc::clone(&view), Arc::clone(&over));
        let names: Vec<Instrument> =
            Market::new(INSTRUMENTS).trades(0).map(|trade| trade.instrument).collect();
        named("looker", move || {
            let mut lookups = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let instrument = &names[lookups.len() % names.len()];
                let asked = Instant::now();
                let now = Timestamp::from_micros(i64::MAX);
                let row = view.latest(instrument, Interval::MINUTE, now, None);
                if row.is_some() {
                    lookups.push(asked.elapsed());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            lookups
        })
    };

    let apart = 60_000_000 / PER_CANDLE;
    let total = (rate * seconds) as u64;
    let mut pending = Vec::new();
    // Steps come whole: the trades that are not due yet are held back.
    let mut held = VecDeque::new();
    let (mut sent, mut furthest) = (0u64, Duration::ZERO);
    let mut tick = begun;
    while sent < total {
        tick = (tick + TICK).max(Instant::now());
        std::thread::sleep(tick.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        while due(sent + pending.len() as u64) <= now {
            if held.is_empty() {
                held.extend(market.trades(apart));
            }
            pending.extend(held.pop_front().map(|trade| record(&trade, Encoding::Avro)));
        }
        if pending.is_empty() {
            continue;
        }
        furthest = furthest.max(Instant::now().saturating_duration_since(due(sent)));
        let records = std::mem::take(&mut pending);
        sent += records.len() as u64;
        runtime.block_on(log.append(&topics.trade, 0, records)).expect("the log takes records");
    }
    std::thread::sleep(Duration::from_millis(500));
    over.store(true, Ordering::Relaxed);
    stop.send(true).expect("the task listens");
    river.join().expect("the task ends");
    let latencies = collector.join().expect("the collector ends");
    let lookups = looker.join().expect("the looker ends");
    println!(
        "{{\"trades_per_s\":{rate},\"rows\":{},\"commit_ms\":{},\"sync_ms\":{},\"tick_ms\":{},\
         \"behind_schedule_ms\":{:.2},\"row_ms\":{},\"lookups\":{},\"lookup_ms\":{}}}",
        latencies.len(),
        SAVE.as_millis(),
        EVERY.as_millis(),
        TICK.as_millis(),
        furthest.as_secs_f64() * 1e3,
        quantiles(latencies),
        lookups.len(),
        quantiles(lookups),
    );
}

/// A thread with a name, for whoever looks at it from outside.
fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.expect("a thread starts")
}

/// Median, 99th percentile and largest, milliseconds, as JSON.
fn quantiles(mut durations: Vec<Duration>) -> String {
    durations.sort_unstable();
    let at = |share: f64| {
        let index = ((durations.len() as f64 * share) as usize).min(durations.len() - 1);
        durations[index].as_secs_f64() * 1e3
    };
    format!("{{\"p50\":{:.4},\"p99\":{:.4},\"max\":{:.4}}}", at(0.5), at(0.99), at(1.0))
}
