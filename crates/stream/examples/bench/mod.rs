//! What the benches of the river share: a log in a scratch folder, the operators, a seeded
//! market, and what the operating system says of this process (Linux).
#![allow(dead_code, reason = "each bench uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows};
use foretell_market::{Arrival, FeedEvent, Instrument, Interval, Lateness, Timestamp, Trade};
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{
    CandleOperator, CandleSettings, Chain, EmbeddedLog, EmbeddedOptions, FeatureOperator,
    FeatureSettings, Log, MakeOperator, Operator, Record, StreamError, TaskSettings, TopicSpec,
    Topics,
};

/// The time between what was read and its commit, and between two syncs of the disk.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// When the seeded market opens: a whole minute.
pub(crate) const OPENS: i64 = 1_718_616_960_000_000;

/// A log in a folder of its own, which goes with it.
pub(crate) struct Scratch {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) folder: PathBuf,
    pub(crate) topics: Topics,
}

impl Scratch {
    /// With one partition per topic, and a retention in seconds where one is given: `trade` is
    /// kept for the group `bench`.
    pub(crate) async fn open(retention_secs: Option<i64>) -> Self {
        let folder = std::env::temp_dir().join(format!("bench-river-{}", std::process::id()));
        let options =
            EmbeddedOptions { path: folder.clone(), budget: None, sync_every: Some(EVERY) };
        let log = Arc::new(EmbeddedLog::open(options).expect("a log opens"));
        let topics = Topics::new(1, None);
        for topic in topics.all() {
            let kept_for = Vec::from_iter((*topic == topics.trade).then(|| "bench".to_owned()));
            let name = topic.to_string();
            let spec = TopicSpec { name, partitions: 1, retention_secs, kept_for };
            log.create(&spec).await.expect("a topic is created");
        }
        Self { log, folder, topics }
    }

    /// How the bench's group reads trades.
    pub(crate) fn settings(&self) -> TaskSettings {
        TaskSettings {
            group: "bench".to_owned(),
            topic: self.topics.trade.clone(),
            commit_every: EVERY,
            save_every: EVERY,
            poll_bytes: 1 << 20,
        }
    }

    /// What it does with them: candles of a minute, and rows of `kraken-62` behind them.
    pub(crate) fn river(&self, rows: bool, encoding: Encoding) -> MakeOperator {
        let topics = self.topics.clone();
        Box::new(move || operator(&topics, rows, encoding))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over lies in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn operator(
    topics: &Topics,
    rows: bool,
    encoding: Encoding,
) -> Result<Box<dyn Operator>, StreamError> {
    let lateness = Lateness { delay: 0, allowed: 0 };
    let bars = vec![Interval::MINUTE.into()];
    let settings = CandleSettings { bars, lateness, ahead: 60_000_000, encoding };
    let candles = CandleOperator::new(settings, topics.clone());
    if !rows {
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

/// A trade's record, 50 ms after it happened.
pub(crate) fn record(trade: &Trade, encoding: Encoding) -> Record {
    let at = Timestamp::from_micros(trade.time.micros() + 50_000);
    let key = product_id(&trade.instrument).into();
    let arrival = Arrival { event: FeedEvent::Trade(trade.clone()), at, backfilled: false };
    let mut value = Vec::new();
    encode_arrival(&arrival, encoding, &mut value);
    Record { key, value: value.into(), time: at }
}

/// Seeded walks of many instruments, in turns: each step is one trade of each of them.
pub(crate) struct Market {
    names: Vec<Instrument>,
    prices: Vec<f64>,
    seed: u64,
    step: i64,
    /// When the next step begins, microseconds.
    time: i64,
}

impl Market {
    pub(crate) fn new(instruments: usize) -> Self {
        let name = |i: usize| format!("A{i}-USD").parse().expect("an instrument");
        let names = (0..instruments).map(name).collect();
        Self { names, prices: vec![100.0; instruments], seed: 1, step: 0, time: OPENS }
    }

    /// How many steps were made.
    pub(crate) fn step(&self) -> i64 {
        self.step
    }

    /// When the next step begins.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.time)
    }

    /// One trade of each instrument; the next step begins `apart` microseconds later.
    pub(crate) fn trades(&mut self, apart: i64) -> impl Iterator<Item = Trade> + '_ {
        let (step, time) = (self.step, self.time);
        self.step += 1;
        self.time += apart;
        let Self { names, prices, seed, .. } = self;
        names.iter().zip(prices).enumerate().map(move |(i, (instrument, price))| {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let share = (*seed >> 11) as f64 / (1u64 << 53) as f64;
            *price *= 1.0 + (share - 0.5) * 0.001;
            Trade {
                instrument: instrument.clone(),
                time: Timestamp::from_micros(time + i as i64),
                id: Some(step),
                price: *price,
                quantity: share + 0.1,
                side: None,
            }
        })
    }
}

/// Seconds of CPU that this thread has used.
pub(crate) fn thread_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanos.unwrap_or(f64::NAN) / 1e9
}

/// Seconds of CPU that all threads of this process have used.
pub(crate) fn process_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Megabytes of memory that this process holds (10⁶ bytes).
pub(crate) fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    of("VmRSS:") * 1024.0 / 1e6
}

/// Megabytes that this process has handed to the operating system to write.
pub(crate) fn written() -> f64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    found.and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6
}
