//! What a log on Kafka does beside the suite: fences, rebalances, outages, kills.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foretell_stream::codec::Encoding;
use foretell_stream::{Assignment, Commit, KafkaLog, Log, LogError, Lost, Member, Polled};

use krafka::testing::{ApiKey, Control};

use crate::cluster::{Cluster, Network, options};
use crate::log_suite::{record, spec, values};
use crate::market::{FAULTS, Numbers, arrivals, records};
use crate::river::{append, create, reference, river, written};

async fn assigned(member: &mut dyn Member) -> Vec<Assignment> {
    loop {
        match member.poll(1 << 20, Duration::from_secs(20)).await.unwrap() {
            Polled::Assigned(assigned) => return assigned,
            Polled::Idle => panic!("nothing was assigned"),
            Polled::Revoked(_) | Polled::Records(..) => {}
        }
    }
}

fn commit(next: u64, value: &str) -> Commit {
    Commit {
        next,
        state: vec![("s".into(), Some(value.to_owned().into()))],
        ahead: None,
        outputs: vec![("b".into(), 0, record("k", value))],
    }
}

async fn topics(log: &dyn Log) {
    log.create(&spec("a", 1)).await.unwrap();
    log.create(&spec("b", 1)).await.unwrap();
    log.append("a", 0, (0..9).map(|i| record("k", &i.to_string())).collect()).await.unwrap();
}

#[tokio::test]
async fn a_river_on_kafka_writes_what_it_writes_here() {
    let cluster = Cluster::start().await;
    for (seed, encoding) in [(5, Encoding::Avro), (6, Encoding::Json)] {
        let cluster = if seed == 5 { &cluster } else { &Cluster::start().await };
        let all = records(&arrivals(seed, 700, FAULTS), encoding, 2);
        let whole = reference(&all, encoding).await;
        let log = cluster.log("one").await;
        create(&*log).await;
        for piece in all.chunks(all.len() / 3) {
            append(&*log, piece).await;
            river(log.clone(), encoding, 20_000).drain().await.unwrap();
        }
        assert_eq!(written(&*log).await, whole);
    }
}

#[tokio::test]
async fn two_processes_under_one_name_fence_each_other() {
    let cluster = Cluster::start().await;
    let (first, second) = (cluster.log("one").await, cluster.log("one").await);
    topics(&*first).await;
    let mut old = first.join("g", "a").await.unwrap();
    assigned(&mut *old).await;
    old.commit(0, commit(1, "old")).await.unwrap();
    let mut new = second.join("g", "a").await.unwrap();
    let state = assigned(&mut *new).await;
    assert_eq!(state[0].next, 1);
    let refused = old.commit(0, commit(2, "late")).await.unwrap_err();
    assert!(matches!(refused, LogError::Fenced(_)), "{refused}");
    assert!(refused.to_string().contains("give each its own"), "{refused}");
    new.commit(0, commit(2, "new")).await.unwrap();
    assert_eq!(values(&*first, "b", 0).await, ["old", "new"]);
    new.leave().await.unwrap();
}

#[tokio::test]
async fn work_that_a_rebalance_overtook_is_void_and_done_again() {
    let cluster = Cluster::start().await;
    let (first, second) = (cluster.log("one").await, cluster.log("two").await);
    topics(&*first).await;
    let mut one = first.join("g", "a").await.unwrap();
    assigned(&mut *one).await;
    one.commit(0, commit(1, "1")).await.unwrap();
    // Another member takes the partition, goes on with it and leaves.
    let mut two = second.join("g", "a").await.unwrap();
    let state = assigned(&mut *two).await;
    assert_eq!((state[0].next, &state[0].state[0].1[..]), (1, &b"1"[..]));
    two.commit(0, commit(4, "4")).await.unwrap();
    two.leave().await.unwrap();
    let refused = one.commit(0, commit(2, "2")).await.unwrap_err();
    assert!(matches!(refused, LogError::Rebalanced { .. }), "{refused}");
    assert_eq!(values(&*first, "b", 0).await, ["1", "4"], "nothing of it is there");
    let state = assigned(&mut *one).await;
    assert_eq!((state[0].next, &state[0].state[0].1[..]), (4, &b"4"[..]));
    one.commit(0, commit(5, "5")).await.unwrap();
    assert_eq!(values(&*first, "b", 0).await, ["1", "4", "5"]);
    one.leave().await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_there_once() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    let lost = || Control::ApplyThen(Box::new(Control::Disconnect));
    cluster.broker.on_once(ApiKey::EndTxn, move |_| lost());
    member.commit(0, commit(1, "1")).await.unwrap();
    cluster.broker.on_once(ApiKey::EndTxn, |_| Control::Disconnect);
    member.commit(0, commit(2, "2")).await.unwrap();
    cluster.broker.on_once(ApiKey::Produce, move |_| lost());
    member.commit(0, commit(3, "3")).await.unwrap();
    assert_eq!(values(&*log, "b", 0).await, ["1", "2", "3"]);
    assert_eq!(log.committed("g", "a", 0).await.unwrap(), Some(3));
    member.leave().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_the_cluster_ended_by_its_timeout_is_void_and_done_again() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    let away = Duration::from_secs(4);
    let (began, weak) = (std::time::Instant::now(), Arc::downgrade(&cluster.broker));
    cluster.broker.on(ApiKey::EndTxn, move |_| {
        if began.elapsed() < away {
            return Control::Disconnect;
        }
        if let Some(broker) = weak.upgrade() {
            broker.abort_transaction("g-one");
        }
        Control::Pass
    });
    let refused = member.commit(0, commit(1, "void")).await.unwrap_err();
    assert!(matches!(refused, LogError::Rebalanced { .. }), "{refused}");
    cluster.broker.clear_hooks();
    let state = assigned(&mut *member).await;
    assert_eq!((state[0].next, state[0].state.len()), (0, 0));
    member.commit(0, commit(1, "1")).await.unwrap();
    assert_eq!(values(&*log, "b", 0).await, ["1"]);
    member.leave().await.unwrap();
}

#[tokio::test]
async fn what_is_not_committed_is_seen_by_nobody() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let other = cluster.broker.kafka().connect().await.unwrap();
    let other = other.producer().build_transactional("other").await.unwrap();
    for (value, commit) in [("taken back", false), ("kept", true)] {
        other.begin().unwrap();
        let _ = other.send(krafka::Record::new("b", value).partition(0)).await.unwrap();
        assert!(values(&*log, "b", 0).await.is_empty());
        let ended = if commit { other.commit().await } else { other.abort().await };
        ended.unwrap();
    }
    assert_eq!(values(&*log, "b", 0).await, ["kept"]);
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_poll_that_is_dropped_has_done_nothing() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    let mut numbers = Numbers(3);
    let mut got = Vec::new();
    let mut assigned = 0;
    while got.len() < 9 {
        let poll = member.poll(2, Duration::from_secs(10));
        let limit = Duration::from_micros(numbers.below(3000));
        match tokio::time::timeout(limit, poll).await {
            Err(_) => {}
            Ok(polled) => match polled.unwrap() {
                Polled::Records(_, records) => {
                    got.extend(records.iter().map(|r| r.record.value.clone()));
                }
                Polled::Assigned(_) => assigned += 1,
                Polled::Revoked(_) | Polled::Idle => panic!("nothing else happens here"),
            },
        }
    }
    assert_eq!(assigned, 1);
    assert_eq!(got, (0..9).map(|i| bytes::Bytes::from(i.to_string())).collect::<Vec<_>>());
    member.leave().await.unwrap();
}

#[tokio::test]
async fn an_offset_that_was_moved_by_hand_is_noticed_and_one_that_was_forgotten_is_known() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    member.commit(0, commit(3, "3")).await.unwrap();
    member.leave().await.unwrap();
    let offset = |change: &dyn Fn(&mut i64)| {
        cluster.broker.with_state(|state| {
            let offsets = &mut state.groups.get_mut("g").unwrap().offsets;
            change(&mut offsets.get_mut(&("a".to_owned(), 0)).unwrap().offset);
        });
    };
    offset(&|at| *at = 1);
    let mut member = log.join("g", "a").await.unwrap();
    let refused = loop {
        match member.poll(100, Duration::from_secs(20)).await {
            Ok(Polled::Idle) => panic!("nothing was said"),
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, LogError::Damaged(_)), "{refused}");
    assert!(refused.to_string().contains("Set the offset back to 3"), "{refused}");
    member.leave().await.unwrap();
    cluster.broker.with_state(|state| state.groups.get_mut("g").unwrap().offsets.clear());
    let mut member = log.join("g", "a").await.unwrap();
    let found = assigned(&mut *member).await;
    assert_eq!((found[0].next, &found[0].state[0].1[..]), (3, &b"3"[..]));
    member.leave().await.unwrap();
}

#[tokio::test]
async fn records_that_went_before_they_were_read_are_told_of() {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    for value in ["9", "10"] {
        log.append("a", 0, vec![record("k", value)]).await.unwrap();
    }
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    member.commit(0, commit(3, "3")).await.unwrap();
    member.leave().await.unwrap();
    cluster.broker.with_state(|state| {
        let partition = &mut state.topics.get_mut("a").unwrap().partitions[0];
        partition.log_start_offset = 9;
        // A batch begins with its offset.
        partition.log.retain(|batch| batch[..8] >= 9u64.to_be_bytes()[..]);
    });
    assert_eq!(log.bounds("a", 0).await.unwrap(), 9..11);
    assert_eq!(values(&*log, "a", 0).await, ["9", "10"]);
    let mut member = log.join("g", "a").await.unwrap();
    let given = assigned(&mut *member).await.remove(0);
    assert_eq!((given.next, given.lost), (9, Some(Lost { from: 3, to: 9 })));
    member.leave().await.unwrap();
    let warnings = warnings.lock().unwrap();
    assert!(warnings.iter().any(|w| w.contains("6 offsets from 3 on are gone")), "{warnings:?}");
}

#[tokio::test]
async fn a_member_that_the_retention_overtakes_hears_of_it() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    member.commit(0, commit(3, "3")).await.unwrap();
    let mut read = 0;
    while read < 9 {
        if let Polled::Records(_, some) = member.poll(100, Duration::from_secs(20)).await.unwrap() {
            read += some.len();
        }
    }
    // The offset that it reads next is not there any more.
    cluster.broker.with_state(|state| {
        let partition = &mut state.topics.get_mut("a").unwrap().partitions[0];
        (partition.log_start_offset, partition.next_offset) = (5, 5);
        partition.log.clear();
    });
    let void = member.poll(100, Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(void, LogError::Rebalanced { .. }), "{void}");
    let given = assigned(&mut *member).await.remove(0);
    assert_eq!((given.next, given.lost), (5, Some(Lost { from: 3, to: 5 })));
    assert_eq!(&given.state[0].1[..], b"3");
    log.append("a", 0, vec![record("k", "new")]).await.unwrap();
    let found = member.poll(100, Duration::from_secs(20)).await.unwrap();
    assert!(matches!(&found, Polled::Records(0, some) if some[0].offset == 5), "{found:?}");
    member.leave().await.unwrap();
}

#[tokio::test]
async fn a_changelog_that_was_deleted_is_noticed() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    topics(&*log).await;
    let mut member = log.join("g", "a").await.unwrap();
    assigned(&mut *member).await;
    member.commit(0, commit(3, "3")).await.unwrap();
    member.leave().await.unwrap();
    cluster.broker.with_state(|state| state.topics.remove("g-a-changelog").unwrap());
    let log = cluster.log("two").await;
    let mut member = log.join("g", "a").await.unwrap();
    let refused = loop {
        match member.poll(100, Duration::from_secs(20)).await {
            Ok(Polled::Idle) => panic!("nothing was said"),
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, LogError::Damaged(_)), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("g-a-changelog says nothing") && text.contains("--delete-offsets"),
        "{text}"
    );
    member.leave().await.unwrap();
    // The remedy.
    cluster.broker.with_state(|state| state.groups.get_mut("g").unwrap().offsets.clear());
    let mut member = log.join("g", "a").await.unwrap();
    let given = assigned(&mut *member).await.remove(0);
    assert_eq!((given.next, given.state.len(), given.lost), (0, 0, None));
    member.leave().await.unwrap();
}

/// Collects what was warned of.
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("foretell")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_cluster_that_goes_away_is_waited_for_and_nothing_is_lost_or_doubled() {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    let cluster = Cluster::start().await;
    let network = Network::before(&cluster).await;
    let all = records(&arrivals(21, 900, FAULTS), Encoding::Avro, 2);
    let whole = reference(&all, Encoding::Avro).await;
    let log = cluster.log("one").await;
    create(&*log).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut task = river(log.clone(), Encoding::Avro, 3000);
    let work = tokio::spawn(async move { task.run(stopped).await });
    let mut numbers = Numbers(9);
    for (n, piece) in all.chunks(all.len().div_ceil(4)).enumerate() {
        // The last time for longer than a transaction may take.
        let away = Duration::from_millis(if n == 3 { 8000 } else { 1500 });
        // Somewhere in the work on what was written before.
        tokio::time::sleep(Duration::from_millis(numbers.below(300))).await;
        network.go_away();
        let back = async {
            tokio::time::sleep(away).await;
            network.come_back();
        };
        // Whether the river is at work just then or not, somebody asks the cluster something.
        let asked = async { log.committed("river", "trade", 0).await.unwrap() };
        tokio::join!(back, append(&*log, piece), asked);
    }
    // Everything that was written is worked on.
    for partition in 0..2 {
        let end = log.bounds("trade", partition).await.unwrap().end;
        let read = async {
            while log.committed("river", "trade", partition).await.unwrap() != Some(end) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    }
    stop.send(true).unwrap();
    work.await.unwrap().unwrap();
    assert_eq!(written(&*log).await, whole);
    let warnings = warnings.lock().unwrap();
    let told = warnings.iter().filter(|w| w.contains("does not answer")).count();
    assert!(told > 0, "{warnings:#?}");
}

/// Names the cluster in the process that is to be killed.
const CLUSTER: &str = "FORETELL_TEST_KAFKA";
const KILLS: usize = 20;

/// What the killed process does. Without the variable there is nothing to do.
#[tokio::test]
async fn a_process_on_kafka_that_is_killed() {
    let Ok(url) = std::env::var(CLUSTER) else { return };
    let log = Arc::new(KafkaLog::connect(&url, options("one")).await.unwrap());
    println!("ready");
    // Little at a time, so that there are many points to be killed at.
    river(log, Encoding::Avro, 600).drain().await.unwrap();
    println!("done");
    loop {
        std::thread::park();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_kafka_it_writes_what_it_would_have_written() {
    let cluster = Cluster::start().await;
    let all = records(&arrivals(12, 1200, FAULTS), Encoding::Avro, 2);
    let whole = reference(&all, Encoding::Avro).await;
    assert!(whole.iter().map(Vec::len).sum::<usize>() > 800);
    let log = cluster.log("writer").await;
    create(&*log).await;
    let mut numbers = Numbers(std::process::id().into());
    let mut unfinished = 0;
    for piece in all.chunks(all.len().div_ceil(KILLS)) {
        append(&*log, piece).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka::a_process_on_kafka_that_is_killed", "--nocapture"])
            .env(CLUSTER, cluster.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let moment = Duration::from_micros(numbers.below(600_000));
        // The cluster is in this process: nothing may stand in its way.
        let died = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stdout).lines();
            while !lines.next().unwrap().unwrap().ends_with("ready") {}
            // The moment of the kill is what is random here; nothing waits for it.
            std::thread::sleep(moment);
            child.kill().unwrap();
            child.wait().unwrap();
            !lines.any(|line| line.unwrap().ends_with("done"))
        });
        unfinished += usize::from(died.await.unwrap());
    }
    let last = cluster.log("one").await;
    river(last, Encoding::Avro, 1 << 16).drain().await.unwrap();
    assert_eq!(written(&*log).await, whole);
    assert!(unfinished > KILLS / 4, "{unfinished} of {KILLS} died at work");
}
