//! The river of a data directory with everything that goes wrong in one, and what it writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use foretell_market::{
    Arrival, Clock, FeedEvent, FixedClock, Instrument, Interval, Side, Timestamp, Trade,
};
use foretell_registry::{ForecastFilter, ForecastRecord, Outcome};
use foretell_source::live::LiveSettings;
use foretell_stream::codec::{encode_arrival, product_id};
use foretell_stream::{EmbeddedLog, EmbeddedOptions, Log, Record, partition_of};
use foretell_testkit::random_walk;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::parts::{Part, Processes};
use super::plan::RiverPlan;
use super::replay::caught_up;
use super::status::RiverStatus;
use crate::data_dir::{DataDir, Ownership};
use crate::live_forecasts::{ForecastSink, LiveChampion};
use crate::observer::Stop;
use crate::pipeline::Pipeline;
use crate::service::{RunOptions, Service};

mod kafka;
mod kill;

/// Minutes that are learnt from.
const LEARNT: usize = 900;
const NAMES: [&str; 2] = ["BTC-USD", "ETH-USD"];

/// A generator of numbers (splitmix64): the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Once in so many times.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn text(instrument: &str) -> String {
    format!(
        "name = \"minutes-{instrument}\"\ninstrument = \"{instrument}\"\ninterval = \"1m\"\n\
         as_of = \"now\"\n[source]\nkind = \"file\"\npath = \"{instrument}.csv\"\n[gate]\n\
         expect = \"candles\"\n[features]\nset = \"candle-base\"\nseason = \"30m\"\n[label]\n\
         horizon = \"2m\"\n[evaluation]\ninitial_train = \"300m\"\nrefit_every = \"300m\"\n\
         bootstrap_draws = 100\nmin_refits = 1\n[[models]]\nkind = \"historical_mean\"\n\
         [[models]]\nkind = \"ewma_volatility\"\n[live]\nvenue = \"kraken\"\nlateness = \"1m\"\n"
    )
}

/// A folder with a data directory, `data`, in which each pipeline has run once, and another one
/// that is the same, `whole`.
struct World {
    folder: TempDir,
    plan: RiverPlan,
}

/// When the river begins: when the last of the learnt candles is over.
fn begins() -> Timestamp {
    Timestamp::from_secs(1_704_067_200 + 60 * LEARNT as i64)
}

impl World {
    async fn new(instruments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (n, instrument) in instruments.iter().enumerate() {
            let frame = random_walk(LEARNT, Interval::MINUTE, 0.001, 5 + n as u64);
            let mut text = String::from("time,open,high,low,close,volume\n");
            for (i, row) in frame.rows().iter().enumerate() {
                let _ = write!(text, "{}", row.time);
                for column in frame.columns() {
                    let _ = write!(text, ",{}", column.values[i]);
                }
                text.push('\n');
            }
            std::fs::write(folder.path().join(format!("{instrument}.csv")), text).unwrap();
            assert_eq!(frame.rows()[LEARNT - 1].time + Interval::MINUTE, begins());
        }
        let plan = plan(folder.path(), instruments);
        let world = Self { folder, plan };
        let service = world.service("data").await;
        for pipeline in world.plan.pipelines() {
            let (options, stop) = (RunOptions::default(), Arc::new(Stop::default()));
            service.run(pipeline.clone(), options, Arc::new(()), stop).await.unwrap();
        }
        // While nobody writes, and before its end, which takes files away.
        copy(&world.path("data"), &world.path("whole"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn service(&self, name: &str) -> Arc<Service> {
        open(&self.path(name)).await
    }

    /// Makes the topics and puts the past into a log.
    async fn seed(&self, service: &Service, log: &Arc<dyn Log>) {
        let (clock, status) = (Arc::new(FixedClock(begins())), Arc::default());
        Processes::on(Arc::clone(log), &self.plan, None, clock, status).await.unwrap();
        let seeded = service.seed_history(log, &self.plan).await.unwrap();
        assert_eq!(seeded, LEARNT * self.plan.pipelines().len());
    }
}

fn plan(folder: &Path, instruments: &[&str]) -> RiverPlan {
    let texts: Vec<String> = instruments.iter().map(|instrument| text(instrument)).collect();
    planned(folder, &texts)
}

fn planned(folder: &Path, texts: &[String]) -> RiverPlan {
    let file = folder.join("pipeline.toml");
    let pipelines = texts.iter().map(|text| Pipeline::parse(text, &file).unwrap());
    RiverPlan::new(pipelines.collect(), None).unwrap()
}

async fn open(path: &Path) -> Arc<Service> {
    let Ownership::Mine(dir) = DataDir::take(path, "test").unwrap() else {
        panic!("nobody else has it")
    };
    let clock: Arc<dyn Clock> = Arc::new(FixedClock(begins()));
    Arc::new(Service::open(dir, None, "test", clock).await.unwrap())
}

fn embedded(data: &Path) -> Arc<dyn Log> {
    let options = EmbeddedOptions { path: data.join("log"), budget: None, sync_every: None };
    Arc::new(EmbeddedLog::open(options).unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A log as each of the parts sees it.
struct Logs {
    candles: Arc<dyn Log>,
    rows: Arc<dyn Log>,
    forecasts: Arc<dyn Log>,
    registry: Arc<dyn Log>,
}

impl Logs {
    /// All in one process.
    fn of(log: &Arc<dyn Log>) -> Self {
        let [candles, rows, forecasts, registry] = std::array::from_fn(|_| Arc::clone(log));
        Self { candles, rows, forecasts, registry }
    }
}

/// Works as `up` does on what stands in `trade`, the champions pinned, until every part has read
/// all there is.
async fn work(service: &Arc<Service>, logs: Logs, plan: &RiverPlan, bytes: usize) {
    let status = Arc::new(RiverStatus::default());
    let mut champions: BTreeMap<String, LiveChampion> = BTreeMap::new();
    for name in plan.pipelines().iter().map(|pipeline| &pipeline.name) {
        let champion = service.live_champion(name, service.store.clock.now()).await;
        champions.insert(name.clone(), champion.unwrap().unwrap());
    }
    let begin = async |log: &Arc<dyn Log>| {
        let (log, clock) = (Arc::clone(log), Arc::clone(&service.store.clock) as _);
        let processes = Processes::on(log, plan, None, clock, Arc::clone(&status)).await;
        processes.unwrap().in_steps(bytes)
    };
    let live = LiveSettings::default();
    let mut candles = begin(&logs.candles).await;
    candles.start(Part::Transform, plan, &live).unwrap();
    let mut rows = begin(&logs.rows).await;
    rows.start(Part::Features, plan, &live).unwrap();
    let mut forecasts = begin(&logs.forecasts).await;
    forecasts.pinned(plan, &champions);
    let mut registry = begin(&logs.registry).await;
    let topics = plan.topics();
    let mut sink = ForecastSink::new(Arc::clone(service), Arc::clone(&logs.registry), &topics);
    registry.watch_group("sink-registry", &topics.forecast);
    let stopping = registry.stopping();
    registry.spawn("sink-registry", async move { sink.run(stopping).await });

    let (stop, _) = watch::channel(false);
    let mut parts = JoinSet::new();
    for processes in [candles, rows, forecasts, registry] {
        let mut stopped = stop.subscribe();
        let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
        parts.spawn(processes.until(until));
    }
    let done = async {
        caught_up(&*logs.registry, &status, &Stop::default()).await.unwrap();
        stop.send_replace(true);
    };
    let ended = async {
        while let Some(ended) = parts.join_next().await {
            ended.unwrap().unwrap();
        }
    };
    tokio::join!(done, ended);
}

/// What was written about each instrument, in order, topic by topic. Several processors put
/// records aside, so those have no order.
async fn written(log: &dyn Log, plan: &RiverPlan) -> BTreeMap<(String, String), Vec<Record>> {
    let topics = plan.topics();
    let mut all: BTreeMap<(String, String), Vec<Record>> = BTreeMap::new();
    for topic in [&topics.ohlcv, &topics.feature, &topics.forecast, &topics.refused] {
        for partition in 0..topics.partitions {
            let mut from = 0;
            loop {
                let some = log.read(topic, partition, from, 1 << 22, Duration::ZERO).await.unwrap();
                let Some(last) = some.last() else { break };
                from = last.offset + 1;
                for stored in some {
                    let key = String::from_utf8_lossy(&stored.record.key).into_owned();
                    all.entry((topic.to_string(), key)).or_default().push(stored.record);
                }
            }
        }
    }
    for ((topic, _), records) in &mut all {
        if *topic == *topics.refused {
            records.sort_by(|a, b| (a.time, &a.value).cmp(&(b.time, &b.value)));
        }
    }
    all
}

/// The forecasts of the registry and their outcomes.
async fn registered(service: &Service) -> Vec<(ForecastRecord, Vec<Outcome>)> {
    let registry = &service.store.registry;
    let mut forecasts = registry.forecasts(&ForecastFilter::default()).await.unwrap();
    forecasts.sort_by(|a, b| a.id.cmp(&b.id));
    let mut all = Vec::new();
    for forecast in forecasts {
        let mut outcomes = registry.outcomes(&forecast.id).await.unwrap();
        outcomes.sort_by_key(|outcome| outcome.known_at);
        all.push((forecast, outcomes));
    }
    all
}

/// The arrivals of an untidy feed, in the order in which they came: trades late and twice,
/// minutes of silence, gaps, some of them repaired.
fn arrivals(instruments: &[&str], trades: u64, seed: u64) -> Vec<Arrival> {
    let (mut numbers, mut all) = (Numbers(seed), Vec::new());
    for instrument in instruments {
        let instrument: Instrument = instrument.parse().unwrap();
        let mut time = begins().micros() + 1_000_000;
        let mut price = 100.0;
        let arrive = |event, at: i64, backfilled| {
            let at = Timestamp::from_micros(at);
            Arrival { event, at, backfilled }
        };
        let heartbeat = |time: i64| {
            let time = Timestamp::from_micros(time);
            FeedEvent::Heartbeat { instrument: instrument.clone(), time }
        };
        for id in 0..trades as i64 {
            time += numbers.below(14_000_000) as i64;
            if numbers.once_in(400) {
                for _ in 0..numbers.below(120) {
                    time += 2_000_000;
                    all.push(arrive(heartbeat(time), time + 2_000_000, false));
                }
            }
            if numbers.once_in(400) {
                let from = Timestamp::from_micros(time);
                time += numbers.below(90_000_000) as i64;
                let to = Timestamp::from_micros(time + 1);
                let (reason, instrument) = ("the connection was lost".to_owned(), &instrument);
                let gap = FeedEvent::Gap { instrument: instrument.clone(), from, to, reason };
                all.push(arrive(gap, time + 100_000, false));
                if id % 2 == 0 {
                    let repaired = FeedEvent::Repaired { instrument: instrument.clone(), from, to };
                    all.push(arrive(repaired, time + 5_000_000, false));
                }
            }
            price *= 1.0 + (numbers.below(2_001) as f64 - 1_000.0) * 1e-6;
            let trade = FeedEvent::Trade(Trade {
                instrument: instrument.clone(),
                time: Timestamp::from_micros(time),
                id: Some(id),
                price: (price * 100.0).round() / 100.0,
                quantity: (1 + numbers.below(5_000)) as f64 / 1_000.0,
                side: Some(if numbers.once_in(2) { Side::Buy } else { Side::Sell }),
            });
            let late = numbers.once_in(40);
            let delay =
                if late { numbers.below(120_000_000) } else { 50_000 + numbers.below(90_000) };
            let at = time + delay as i64;
            all.push(arrive(trade.clone(), at, late));
            if numbers.once_in(100) {
                all.push(arrive(trade, at + numbers.below(20_000_000) as i64, true));
            }
        }
        // Every window closes, and nothing waits for more of an arrival.
        for minutes in [10, 20] {
            let end = time + minutes * 60_000_000;
            all.push(arrive(heartbeat(end), end + 2_000_000, false));
        }
    }
    all.sort_by_key(|arrival| arrival.at);
    all
}

async fn append(log: &dyn Log, plan: &RiverPlan, arrivals: &[Arrival]) {
    let topics = plan.topics();
    let mut parts: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for arrival in arrivals {
        let key = product_id(arrival.event.instrument());
        let mut value = Vec::new();
        encode_arrival(arrival, plan.encoding, &mut value);
        let partition = partition_of(key.as_bytes(), topics.partitions);
        let record = Record { key: key.into(), value: value.into(), time: arrival.at };
        parts.entry(partition).or_default().push(record);
    }
    for (partition, records) in parts {
        log.append(&topics.trade, partition, records).await.unwrap();
    }
}

/// Candles, rows, forecasts and outcomes among what was written.
fn counts(written: &BTreeMap<(String, String), Vec<Record>>) -> BTreeMap<&str, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for ((topic, _), records) in written {
        *counts.entry(topic).or_default() += records.len();
        let outcome = br#"{"kind":"outcome""#;
        let outcomes = records.iter().filter(|r| r.value.starts_with(outcome)).count();
        *counts.entry("outcome").or_default() += outcomes;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_those_that_the_champion_reads_whatever_its_file_names_by_now() {
    let world = World::new(&NAMES[..1]).await;
    // The file gets a model that reads windows of returns; nothing was trained since.
    let more = format!("{}[[models]]\nkind = \"har\"\n", text(NAMES[0]));
    let mut changed = planned(world.folder.path(), &[more]);
    let context = |plan: &RiverPlan| plan.features(&plan.pipelines()[0]).unwrap().context;
    assert_ne!(context(&changed), context(&world.plan));
    let (service, log) = (world.service("data").await, embedded(&world.path("data")));
    service.rows_for_champions(&mut changed).await.unwrap();
    assert_eq!(context(&changed), context(&world.plan));
    world.seed(&service, &log).await;
    let arrivals = arrivals(&NAMES[..1], 600, 4);
    append(&*log, &changed, &arrivals).await;
    work(&service, Logs::of(&log), &changed, 1 << 20).await;
    let written = written(&*log, &changed).await;
    assert!(counts(&written)["forecast"] > 120, "{:?}", counts(&written));
    let key = ("refused".to_owned(), product_id(&NAMES[0].parse().unwrap()));
    for record in written.get(&key).into_iter().flatten() {
        let refused = String::from_utf8_lossy(&record.value);
        assert!(!refused.contains("makes no forecast"), "{refused}");
    }
}
