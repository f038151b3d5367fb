//! Three processes share the work of one group; one of them dies.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use foretell_market::{Arrival, FeedEvent, Instrument};
use foretell_stream::codec::Encoding;
use foretell_stream::{
    CandleOperator, EmbeddedLog, EmbeddedOptions, GroupProtocol, KafkaLog, KafkaOptions, Log,
    Record, Task, TaskSettings, Topics,
};

use crate::cluster::{Cluster, options};
use crate::log_suite::spec;
use crate::market::{FAULTS, arrivals, records};
use crate::river::candle_settings;

const PARTITIONS: u32 = 6;
/// Names the cluster and the process in a replica.
const REPLICA: &str = "FORETELL_TEST_REPLICA";

fn topics() -> Topics {
    Topics::new(PARTITIONS, None)
}

fn transform(log: Arc<dyn Log>) -> Task {
    let settings = TaskSettings {
        group: "transform".to_owned(),
        topic: topics().trade.clone(),
        commit_every: Duration::from_millis(20),
        save_every: Duration::from_millis(50),
        poll_bytes: 2000,
    };
    let make = || -> Result<Box<dyn foretell_stream::Operator>, _> {
        Ok(Box::new(CandleOperator::new(candle_settings(Encoding::Avro), topics())))
    };
    Task::new(log, topics(), settings, Box::new(make))
}

/// Enough instruments for every partition.
fn trades() -> Vec<(u32, Record)> {
    let mut all: Vec<Arrival> = Vec::new();
    for n in 0..6 {
        for mut arrival in arrivals(100 + n, 250, FAULTS) {
            let event = &mut arrival.event;
            let (FeedEvent::Trade(foretell_market::Trade { instrument, .. })
            | FeedEvent::Heartbeat { instrument, .. }
            | FeedEvent::Gap { instrument, .. }
            | FeedEvent::Repaired { instrument, .. }
            | FeedEvent::Renumbered { instrument, .. }) = event;
            let name = format!("{}{n}-{}", instrument.base(), instrument.quote());
            *instrument = name.parse::<Instrument>().unwrap();
            all.push(arrival);
        }
    }
    all.sort_by_key(|a| a.at);
    records(&all, Encoding::Avro, PARTITIONS)
}

async fn write(log: &dyn Log, records: &[(u32, Record)]) {
    for partition in 0..PARTITIONS {
        let own = records.iter().filter(|(p, _)| *p == partition).map(|(_, r)| r.clone());
        log.append("trade", partition, own.collect()).await.unwrap();
    }
}

/// The candles of each instrument, in order.
async fn candles(log: &dyn Log) -> BTreeMap<bytes::Bytes, Vec<Record>> {
    let mut out: BTreeMap<_, Vec<Record>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut from = 0;
        loop {
            let some = log.read("ohlcv", partition, from, 1 << 20, Duration::ZERO).await.unwrap();
            let Some(last) = some.last() else { break };
            from = last.offset + 1;
            for stored in some {
                out.entry(stored.record.key.clone()).or_default().push(stored.record);
            }
        }
    }
    out
}

/// What a replica does. Without the variable there is nothing to do.
#[tokio::test]
async fn a_replica() {
    let Ok(given) = std::env::var(REPLICA) else { return };
    let (instance, url) = given.split_once(' ').unwrap();
    let options = KafkaOptions { groups: GroupProtocol::Broker, ..options(instance) };
    let log = Arc::new(KafkaLog::connect(url, options).await.unwrap());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    transform(log).run(stopped).await.unwrap();
}

fn start(cluster: &Cluster, instance: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "replicas::a_replica", "--nocapture"])
        .env(REPLICA, format!("{instance} {}", cluster.url()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The members of the group with what they have and own up to.
fn members(cluster: &Cluster) -> BTreeMap<String, Vec<i32>> {
    cluster.broker.with_state(|state| {
        let Some(group) = state.groups.get("transform") else { return BTreeMap::new() };
        let of = |held: &std::collections::HashMap<String, Vec<i32>>| {
            held.get("trade").cloned().unwrap_or_default()
        };
        let settled = |m: &krafka::testing::ConsumerGroupMemberState| {
            if of(&m.owned) == of(&m.assignment) { of(&m.assignment) } else { Vec::new() }
        };
        group.consumer_members.iter().map(|(id, m)| (id.clone(), settled(m))).collect()
    })
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

async fn everything_is_worked_on(log: &dyn Log) {
    for partition in 0..PARTITIONS {
        let end = log.bounds("trade", partition).await.unwrap().end;
        until("everything is worked on", async || {
            log.committed("transform", "trade", partition).await.unwrap() == Some(end)
        })
        .await;
    }
}

/// A replica that is killed with the test.
struct Replica(Child);

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_share_the_work_and_two_take_over_when_one_dies() {
    let all = trades();
    let used: BTreeSet<u32> = all.iter().map(|(partition, _)| *partition).collect();
    assert_eq!(used.len(), PARTITIONS as usize, "every partition has trades");
    let folder = tempfile::tempdir().unwrap();
    let alone = EmbeddedOptions { path: folder.path().to_owned(), budget: None, sync_every: None };
    let alone = Arc::new(EmbeddedLog::open(alone).unwrap());
    let cluster = Cluster::start().await;
    let log = cluster.log("writer").await;
    for topic in topics().all() {
        alone.create(&spec(topic, PARTITIONS)).await.unwrap();
        log.create(&spec(topic, PARTITIONS)).await.unwrap();
    }
    write(&*alone, &all).await;
    transform(alone.clone()).drain().await.unwrap();
    let whole = candles(&*alone).await;

    let mut ids: Vec<String> = Vec::new();
    let mut replicas = Vec::new();
    for instance in ["a", "b", "c"] {
        replicas.push(Replica(start(&cluster, instance)));
        until("a replica joins", async || members(&cluster).len() > ids.len()).await;
        ids.extend(
            members(&cluster).into_keys().filter(|id| !ids.contains(id)).collect::<Vec<_>>(),
        );
    }
    let shares = |of: usize, each: usize| {
        let found = members(&cluster);
        found.len() == of && found.values().all(|partitions| partitions.len() == each)
    };
    let mut pieces = all.chunks(all.len().div_ceil(3));
    // The work goes on while it is shared out.
    write(&*log, pieces.next().unwrap()).await;
    until("three share six partitions", async || shares(3, 2)).await;
    // Each of them has a state that others need to go on with its work.
    everything_is_worked_on(&*log).await;
    write(&*log, pieces.next().unwrap()).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(replicas.remove(1));
    cluster.forget("transform", &ids[1], "b");
    write(&*log, pieces.next().unwrap()).await;
    until("two share six partitions", async || shares(2, 3)).await;
    everything_is_worked_on(&*log).await;
    assert_eq!(candles(&*log).await, whole);
}
