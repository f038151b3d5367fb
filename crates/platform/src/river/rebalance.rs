//! The lake's copy by processes that come, go and die while records come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foretell_lake::{AsOf, Lake, Layer};
use foretell_market::{Arrival, FeedEvent, Instrument, Timestamp, Trade};
use foretell_panel::arrow::array::AsArray as _;
use foretell_panel::arrow::datatypes::Int64Type;
use foretell_stream::codec::{Encoding, encode_arrival, product_id};
use foretell_stream::{
    GroupProtocol, KafkaLog, KafkaOptions, Log, Record, TopicSpec, partition_of,
};
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::columns::Trades;
use super::lake::copy_every;
use crate::SystemClock;
use crate::error::PlatformError;

const PARTITIONS: u32 = 4;
const GROUP: &str = "lake-trade";
const TOPIC: &str = "trade";
const WRITE_EVERY: Duration = Duration::from_millis(40);

/// A broker, a lake, and the records so far.
struct Scene {
    broker: Arc<FakeBroker>,
    writer: Arc<KafkaLog>,
    lake: Lake,
    written: i64,
    _folder: tempfile::TempDir,
}

/// A process that copies.
struct Copier {
    stop: watch::Sender<bool>,
    work: JoinHandle<Result<(), PlatformError>>,
}

async fn connect(broker: &FakeBroker, instance: &str) -> Arc<KafkaLog> {
    let url = format!("kafka://{}", broker.bootstrap_servers());
    let options = KafkaOptions { groups: GroupProtocol::Broker, ..KafkaOptions::new(instance) };
    Arc::new(KafkaLog::connect(&url, options).await.unwrap())
}

impl Scene {
    async fn new() -> Self {
        let broker = Arc::new(FakeBroker::start().await.unwrap());
        // It compares the epoch of a member with the generation of groups of the older protocol.
        let weak = Arc::downgrade(&broker);
        broker.on(ApiKey::TxnOffsetCommit, move |_| {
            if let Some(broker) = weak.upgrade() {
                broker.with_state(|state| {
                    for group in state.groups.values_mut() {
                        let newest = group.consumer_members.values().map(|m| m.member_epoch).max();
                        group.generation_id = newest.unwrap_or(group.generation_id);
                    }
                });
            }
            Control::Pass
        });
        let writer = connect(&broker, "writer").await;
        let spec = TopicSpec {
            name: TOPIC.to_owned(),
            partitions: PARTITIONS,
            retention_secs: None,
            kept_for: Vec::new(),
        };
        writer.create(&spec).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = crate::Url::from_directory_path(folder.path()).unwrap();
        let lake = Lake::open(&url, &BTreeMap::new()).unwrap();
        Self { broker, writer, lake, written: 0, _folder: folder }
    }

    /// Trades of enough instruments for every partition.
    async fn write(&mut self, count: i64) {
        let mut all = vec![Vec::new(); PARTITIONS as usize];
        for n in self.written..self.written + count {
            let instrument: Instrument = format!("A{}-USD", n % 64).parse().unwrap();
            let key = product_id(&instrument);
            let time = Timestamp::from_micros(1_718_616_960_000_000 + n * 1000);
            let (id, price, quantity) = (Some(n), 100.0, 0.5);
            let trade = Trade { instrument, time, id, price, quantity, side: None };
            let arrival = Arrival { event: FeedEvent::Trade(trade), at: time, backfilled: false };
            let mut value = Vec::new();
            encode_arrival(&arrival, Encoding::Json, &mut value);
            let partition = partition_of(key.as_bytes(), PARTITIONS) as usize;
            all[partition].push(Record { key: key.into(), value: value.into(), time });
        }
        for (partition, records) in all.into_iter().enumerate() {
            assert!(!records.is_empty(), "partition {partition} has an instrument");
            self.writer.append(TOPIC, partition as u32, records).await.unwrap();
        }
        self.written += count;
    }

    /// Starts a process and waits until it has its share of the work.
    async fn start(&self, instance: &str, of: usize) -> Copier {
        let log = connect(&self.broker, instance).await;
        let (stop, stopped) = watch::channel(false);
        let lake = self.lake.clone();
        let work = tokio::spawn(async move {
            let clock = Arc::new(SystemClock);
            let sink = Box::<Trades>::default();
            copy_every(WRITE_EVERY, log, lake, clock, (GROUP, TOPIC), sink, stopped).await
        });
        self.shared_by(of).await;
        Copier { stop, work }
    }

    /// Waits until so many members have the same number of partitions each.
    async fn shared_by(&self, members: usize) {
        until("the work is shared", async || {
            self.broker.with_state(|state| {
                let Some(group) = state.groups.get(GROUP) else { return false };
                let share = PARTITIONS as usize / members;
                group.consumer_members.len() == members
                    && group.consumer_members.values().all(|m| {
                        let of = |held: &std::collections::HashMap<String, Vec<i32>>| {
                            held.get(TOPIC).map_or(0, Vec::len)
                        };
                        of(&m.owned) == share && of(&m.assignment) == share
                    })
            })
        })
        .await;
    }

    /// Ends a process at once; what a coordinator's timers do about it comes with it.
    fn kill(&self, copier: &Copier, instance: &str, others: &[String]) {
        copier.work.abort();
        self.broker.with_state(|state| {
            let group = state.groups.get_mut(GROUP).unwrap();
            group.consumer_members.retain(|id, _| others.contains(id));
            group.group_epoch += 1;
        });
        self.broker.abort_transaction(&format!("{GROUP}-{instance}"));
    }

    fn members(&self) -> Vec<String> {
        self.broker.with_state(|state| {
            let group = state.groups.get(GROUP);
            group.map_or_else(Vec::new, |g| g.consumer_members.keys().cloned().collect())
        })
    }

    /// Waits until everything so far is committed.
    async fn copied(&self) {
        for partition in 0..PARTITIONS {
            let end = self.writer.bounds(TOPIC, partition).await.unwrap().end;
            until("everything is copied", async || {
                self.writer.committed(GROUP, TOPIC, partition).await.unwrap() == Some(end)
            })
            .await;
        }
    }

    /// The offsets that the lake has of a partition, in order.
    async fn offsets(&self, partition: u32) -> Vec<i64> {
        let table = self.lake.table(Layer::Raw, &format!("live-trade-{partition}"));
        let rows = table.read(AsOf::Latest, None).await.unwrap();
        let positions = rows.column_by_name("position").unwrap();
        let mut offsets = positions.as_primitive::<Int64Type>().values().to_vec();
        offsets.sort_unstable();
        offsets
    }
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_in_the_lake_once_whoever_joins_leaves_or_dies() {
    let mut scene = Scene::new().await;
    scene.write(400).await;
    let first = scene.start("a", 1).await;
    scene.write(400).await;
    let a = scene.members();
    // Another joins while records come.
    let second = scene.start("b", 2).await;
    let b: Vec<String> = scene.members().into_iter().filter(|id| !a.contains(id)).collect();
    scene.write(400).await;
    scene.copied().await;
    scene.write(400).await;
    // The first dies with what it has not written or not committed.
    scene.kill(&first, "a", &b);
    scene.write(400).await;
    scene.shared_by(1).await;
    let third = scene.start("c", 2).await;
    scene.write(400).await;
    // The second leaves: it writes what it has.
    second.stop.send_replace(true);
    second.work.await.unwrap().unwrap();
    scene.write(400).await;
    scene.shared_by(1).await;
    scene.copied().await;
    third.stop.send_replace(true);
    third.work.await.unwrap().unwrap();

    let mut count = 0;
    for partition in 0..PARTITIONS {
        let end = scene.writer.bounds(TOPIC, partition).await.unwrap().end as i64;
        assert_eq!(scene.offsets(partition).await, (0..end).collect::<Vec<_>>());
        count += end;
    }
    assert_eq!(count, scene.written);
}

/// Two that copy the same records at the same time, as when one does not know yet that its
/// partitions are the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_write_the_same_rows_at_once_write_them_once() {
    let mut scene = Scene::new().await;
    scene.write(800).await;
    let mut copiers = Vec::new();
    for group in ["lake-one", "lake-two", "lake-three"] {
        let log = connect(&scene.broker, "same").await;
        let (stop, stopped) = watch::channel(false);
        let lake = scene.lake.clone();
        let work = tokio::spawn(async move {
            let sink = Box::<Trades>::default();
            let clock = Arc::new(SystemClock);
            copy_every(WRITE_EVERY, log, lake, clock, (group, TOPIC), sink, stopped).await
        });
        copiers.push((group, Copier { stop, work }));
    }
    for _ in 0..5 {
        scene.write(200).await;
        let end = scene.writer.bounds(TOPIC, 0).await.unwrap().end;
        until("one of them has copied it", async || {
            scene.writer.committed("lake-one", TOPIC, 0).await.unwrap() == Some(end)
        })
        .await;
    }
    for (group, Copier { stop, work }) in copiers {
        for partition in 0..PARTITIONS {
            let end = scene.writer.bounds(TOPIC, partition).await.unwrap().end;
            until("everything is copied", async || {
                scene.writer.committed(group, TOPIC, partition).await.unwrap() == Some(end)
            })
            .await;
        }
        stop.send_replace(true);
        work.await.unwrap().unwrap();
    }
    for partition in 0..PARTITIONS {
        let end = scene.writer.bounds(TOPIC, partition).await.unwrap().end as i64;
        assert_eq!(scene.offsets(partition).await, (0..end).collect::<Vec<_>>());
    }
}
