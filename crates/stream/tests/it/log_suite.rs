//! What every log does, and what the embedded one does beside.

use std::sync::Arc;
use std::time::Duration;

use foretell_market::Timestamp;
use foretell_stream::{
    Ahead, Commit, Digest, EmbeddedLog, EmbeddedOptions, Log, LogError, Lost, Member, Polled,
    Record, TopicSpec,
};

pub(crate) fn record(key: &str, value: &str) -> Record {
    let time = Timestamp::from_secs(1_718_616_960);
    Record { key: key.to_owned().into(), value: value.to_owned().into(), time }
}

pub(crate) fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention_secs: None, kept_for: Vec::new() }
}

pub(crate) async fn values(log: &dyn Log, topic: &str, partition: u32) -> Vec<String> {
    let read = log.read(topic, partition, 0, 1 << 20, Duration::ZERO).await.unwrap();
    read.iter().map(|s| String::from_utf8(s.record.value.to_vec()).unwrap()).collect()
}

/// Polls until records come, giving back assignments on the way.
async fn records(member: &mut dyn Member) -> (u32, Vec<String>) {
    loop {
        match member.poll(1 << 20, Duration::from_secs(10)).await.unwrap() {
            Polled::Records(partition, records) => {
                let value = |r: &foretell_stream::Stored| {
                    String::from_utf8(r.record.value.to_vec()).unwrap()
                };
                return (partition, records.iter().map(value).collect());
            }
            Polled::Assigned(_) | Polled::Revoked(_) => {}
            Polled::Idle => panic!("nothing came"),
        }
    }
}

/// The suite of the seam: every log passes it.
async fn suite(log: Arc<dyn Log>) {
    // Topics.
    log.create(&spec("a", 2)).await.unwrap();
    log.create(&spec("a", 2)).await.unwrap();
    log.create(&spec("b", 1)).await.unwrap();
    let refused = log.create(&spec("a", 3)).await.unwrap_err();
    assert!(matches!(refused, LogError::Partitions { found: 2, wanted: 3, .. }), "{refused}");
    assert_eq!(log.partitions("a").await.unwrap(), 2);
    let missing = log.append("none", 0, vec![record("k", "v")]).await.unwrap_err();
    assert!(matches!(missing, LogError::NoTopic(_)), "{missing}");
    let missing = log.append("a", 2, vec![record("k", "v")]).await.unwrap_err();
    assert!(matches!(missing, LogError::NoPartition { partition: 2, .. }), "{missing}");

    // Records stay in order, with key and time, and offsets grow.
    assert_eq!(log.bounds("a", 0).await.unwrap(), 0..0);
    log.append("a", 0, vec![record("k", "1"), record("l", "2")]).await.unwrap();
    log.append("a", 0, vec![record("k", "3")]).await.unwrap();
    log.append("a", 1, vec![record("m", "4")]).await.unwrap();
    let read = log.read("a", 0, 0, 1 << 20, Duration::ZERO).await.unwrap();
    assert_eq!(
        read.iter().map(|s| s.record.clone()).collect::<Vec<_>>(),
        [record("k", "1"), record("l", "2"), record("k", "3")]
    );
    assert!(read.is_sorted_by(|a, b| a.offset < b.offset));
    let from_second = log.read("a", 0, read[1].offset, 1 << 20, Duration::ZERO).await.unwrap();
    assert_eq!(from_second, read[1..]);

    // A commit moves state, outputs and offset together.
    let mut member = log.join("g", "a").await.unwrap();
    let mut assigned = Vec::new();
    while assigned.len() < 2 {
        if let Polled::Assigned(some) = member.poll(100, Duration::from_secs(10)).await.unwrap() {
            assigned.extend(some);
        }
    }
    assert!(assigned.iter().all(|a| a.next == 0 && a.state.is_empty()), "{assigned:?}");
    let next = read[1].offset + 1;
    let commit = Commit {
        next,
        state: vec![("s".into(), Some("one".into())), ("t".into(), Some("two".into()))],
        ahead: None,
        outputs: vec![("b".into(), 0, record("k", "out1")), ("b".into(), 0, record("k", "out2"))],
    };
    member.commit(0, commit).await.unwrap();
    let state = vec![("t".into(), None)];
    member.commit(0, Commit { next, state, ..Commit::default() }).await.unwrap();
    assert_eq!(values(&*log, "b", 0).await, ["out1", "out2"]);
    assert_eq!(log.committed("g", "a", 0).await.unwrap(), Some(next));
    assert_eq!(log.committed("g", "a", 1).await.unwrap(), None);
    assert_eq!(log.committed("other", "a", 0).await.unwrap(), None);
    member.leave().await.unwrap();

    // Whoever comes next goes on there.
    let mut member = log.join("g", "a").await.unwrap();
    let mut assigned = Vec::new();
    while assigned.len() < 2 {
        if let Polled::Assigned(some) = member.poll(100, Duration::from_secs(10)).await.unwrap() {
            assigned.extend(some);
        }
    }
    assigned.sort_by_key(|a| a.partition);
    assert_eq!((assigned[0].next, assigned[1].next), (next, 0));
    let state = [(bytes::Bytes::from("s"), bytes::Bytes::from("one"))];
    assert_eq!(assigned[0].state, state);
    let mut got = vec![records(&mut *member).await, records(&mut *member).await];
    got.sort();
    assert_eq!(got, [(0, vec!["3".to_owned()]), (1, vec!["4".to_owned()])]);

    // It is woken by what is written.
    let writer = Arc::clone(&log);
    let written = tokio::spawn(async move { writer.append("a", 1, vec![record("m", "5")]).await });
    assert_eq!(records(&mut *member).await, (1, vec!["5".to_owned()]));
    written.await.unwrap().unwrap();

    // Outputs go ahead of the state: whoever comes next is given the records since.
    let mut digest = Digest::default();
    digest.add("b", &record("k", "out3"));
    let ahead = Some(Ahead { of: next, digest });
    let outputs = vec![("b".into(), 0, record("k", "out3"))];
    let end = log.bounds("a", 0).await.unwrap().end;
    let commit = Commit { next: end, ahead, outputs, ..Commit::default() };
    member.commit(0, commit).await.unwrap();
    member.leave().await.unwrap();
    assert_eq!(values(&*log, "b", 0).await, ["out1", "out2", "out3"]);
    assert_eq!(log.committed("g", "a", 0).await.unwrap(), Some(end));
    let mut member = log.join("g", "a").await.unwrap();
    let mut assigned = Vec::new();
    while assigned.len() < 2 {
        if let Polled::Assigned(some) = member.poll(100, Duration::from_secs(10)).await.unwrap() {
            assigned.extend(some);
        }
    }
    assigned.sort_by_key(|a| a.partition);
    assert_eq!((assigned[0].next, assigned[0].ahead, assigned[0].lost), (end, ahead, None));
    assert_eq!((&assigned[0].state[..], assigned[1].ahead), (&state[..], None));
    let mut got = [records(&mut *member).await, records(&mut *member).await];
    got.sort();
    assert_eq!(got[0], (0, vec!["3".to_owned()]));
    member.leave().await.unwrap();
}

fn options(path: &std::path::Path) -> EmbeddedOptions {
    let sync_every = Some(Duration::from_millis(20));
    EmbeddedOptions { path: path.to_owned(), budget: None, sync_every }
}

#[tokio::test]
async fn the_embedded_log_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    suite(Arc::new(EmbeddedLog::open(options(folder.path())).unwrap())).await;
}

#[tokio::test]
async fn the_kafka_log_passes_the_suite() {
    let cluster = crate::cluster::Cluster::start().await;
    suite(cluster.log("one").await).await;
}

#[tokio::test]
async fn one_process_has_an_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    let second = EmbeddedLog::open(options(folder.path())).unwrap_err();
    assert!(matches!(second, LogError::InUse(_)), "{second}");
    drop(log);
    EmbeddedLog::open(options(folder.path())).unwrap();
}

#[tokio::test]
async fn a_member_that_was_followed_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    log.create(&spec("a", 1)).await.unwrap();
    let mut first = log.join("g", "a").await.unwrap();
    let mut second = log.join("g", "a").await.unwrap();
    let commit = || Commit {
        next: 1,
        outputs: vec![("a".into(), 0, record("k", "v"))],
        ..Commit::default()
    };
    let fenced = first.commit(0, commit()).await.unwrap_err();
    assert!(matches!(fenced, LogError::Fenced(_)), "{fenced}");
    assert!(values(&log, "a", 0).await.is_empty());
    second.commit(0, commit()).await.unwrap();
    assert_eq!(values(&log, "a", 0).await, ["v"]);
}

#[tokio::test]
async fn records_go_when_they_are_old_and_read_and_offsets_stay() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    let kept = TopicSpec {
        retention_secs: Some(60),
        kept_for: vec!["lake".to_owned()],
        ..spec("trade", 1)
    };
    log.create(&kept).await.unwrap();
    for value in ["1", "2", "3"] {
        log.append("trade", 0, vec![record("k", value)]).await.unwrap();
    }
    let later = Timestamp::from_secs(1_718_616_960 + 3600);
    assert_eq!(log.expire(later).unwrap(), 0, "the lake has not read it");
    let mut lake = log.join("lake", "trade").await.unwrap();
    lake.commit(0, Commit { next: 2, ..Commit::default() }).await.unwrap();
    assert_eq!(log.expire(Timestamp::from_secs(1_718_616_960)).unwrap(), 0, "it is young");
    assert_eq!(log.expire(later).unwrap(), 2);
    lake.commit(0, Commit { next: 3, ..Commit::default() }).await.unwrap();
    log.expire(later).unwrap();
    assert_eq!(log.bounds("trade", 0).await.unwrap(), 2..3);
    drop((lake, log));
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    assert_eq!(log.append("trade", 0, vec![record("k", "4")]).await.unwrap(), 3);
    assert_eq!(values(&log, "trade", 0).await, ["3", "4"]);
}

#[tokio::test]
async fn at_its_budget_a_log_takes_nothing_in_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Some(1 << 20);
    let log = EmbeddedLog::open(EmbeddedOptions { budget, ..options(folder.path()) }).unwrap();
    log.create(&spec("trade", 1)).await.unwrap();
    let many: Vec<Record> = (0..1000).map(|i| record("k", &format!("{i:0>1000}"))).collect();
    let mut written = 0;
    let refused = loop {
        match log.append("trade", 0, many.clone()).await {
            Ok(_) => written += 1000,
            Err(refused) => break refused,
        }
        assert!(written < 5_000_000, "the budget is never reached");
    };
    assert!(matches!(refused, LogError::Full { budget: 1_048_576, .. }), "{refused}");
    assert_eq!(log.bounds("trade", 0).await.unwrap(), 0..written);
}

#[tokio::test]
async fn settings_of_a_topic_change_under_those_who_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    log.create(&spec("trade", 1)).await.unwrap();
    let mut member = log.join("g", "trade").await.unwrap();
    assert!(matches!(member.poll(100, Duration::ZERO).await.unwrap(), Polled::Assigned(_)));
    log.append("trade", 0, vec![record("k", "1")]).await.unwrap();
    assert_eq!(records(&mut *member).await, (0, vec!["1".to_owned()]));
    log.create(&TopicSpec { retention_secs: Some(60), ..spec("trade", 1) }).await.unwrap();
    assert_eq!(log.append("trade", 0, vec![record("k", "2")]).await.unwrap(), 1);
    assert_eq!(records(&mut *member).await, (0, vec!["2".to_owned()]));
    let later = Timestamp::from_secs(1_718_616_960 + 3600);
    assert_eq!(log.expire(later).unwrap(), 1);
    drop((member, log));
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    assert_eq!(log.bounds("trade", 0).await.unwrap(), 1..2, "the settings were kept");
}

/// A topic that is removed leaves nothing behind, on either log.
async fn removal(log: Arc<dyn Log>) {
    log.create(&spec("passing", 2)).await.unwrap();
    log.create(&spec("staying", 2)).await.unwrap();
    for topic in ["passing", "staying"] {
        log.append(topic, 0, vec![record("k", "1"), record("k", "2")]).await.unwrap();
        let mut member = log.join(&format!("g-{topic}"), topic).await.unwrap();
        let state = vec![("s".into(), Some("1".into()))];
        while !matches!(
            member.poll(1000, Duration::from_secs(5)).await.unwrap(),
            Polled::Records(0, _)
        ) {}
        member.commit(0, Commit { next: 1, state, ..Commit::default() }).await.unwrap();
        member.leave().await.unwrap();
    }
    log.remove("passing").await.unwrap();
    log.remove("passing").await.unwrap();
    assert!(matches!(log.partitions("passing").await, Err(LogError::NoTopic(_))));
    assert_eq!(values(&*log, "staying", 0).await, ["1", "2"]);
    assert_eq!(log.committed("g-staying", "staying", 0).await.unwrap(), Some(1));
    log.create(&spec("passing", 3)).await.unwrap();
    assert_eq!(log.partitions("passing").await.unwrap(), 3);
    assert_eq!(log.bounds("passing", 0).await.unwrap(), 0..0);
}

#[tokio::test]
async fn a_topic_that_is_removed_from_the_embedded_log_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    removal(Arc::new(log.clone())).await;
    assert_eq!(log.committed("g-passing", "passing", 0).await.unwrap(), None);
    drop(log);
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    assert_eq!(log.bounds("passing", 0).await.unwrap(), 0..0);
    assert_eq!(log.bounds("staying", 0).await.unwrap(), 0..2);
}

#[tokio::test]
async fn a_topic_that_is_removed_from_a_cluster_leaves_nothing() {
    let cluster = crate::cluster::Cluster::start().await;
    removal(cluster.log("one").await).await;
}

#[tokio::test]
async fn what_went_unread_is_told_of_at_the_assignment_and_between_two_polls() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).unwrap();
    log.create(&TopicSpec { retention_secs: Some(60), ..spec("trade", 1) }).await.unwrap();
    let append = async |values: [&str; 3]| {
        for value in values {
            log.append("trade", 0, vec![record("k", value)]).await.unwrap();
        }
        // All but the last one go.
        log.expire(Timestamp::from_secs(1_718_616_960 + 3600)).unwrap();
    };
    let assigned = async |member: &mut dyn Member| match member.poll(100, Duration::ZERO).await {
        Ok(Polled::Assigned(assigned)) => (assigned[0].next, assigned[0].lost),
        other => panic!("{other:?}"),
    };
    let mut old = log.join("old", "trade").await.unwrap();
    assert_eq!(assigned(&mut *old).await, (0, None));
    old.commit(0, Commit { next: 1, ..Commit::default() }).await.unwrap();
    drop(old);
    append(["0", "1", "2"]).await;
    let mut old = log.join("old", "trade").await.unwrap();
    assert_eq!(assigned(&mut *old).await, (2, Some(Lost { from: 1, to: 2 })));
    // A group that begins has lost nothing.
    let mut new = log.join("new", "trade").await.unwrap();
    assert_eq!(assigned(&mut *new).await, (2, None));
    assert_eq!(records(&mut *new).await, (0, vec!["2".to_owned()]));
    append(["3", "4", "5"]).await;
    let void = new.poll(100, Duration::ZERO).await.unwrap_err();
    assert!(matches!(void, LogError::Rebalanced { .. }), "{void}");
    // What it did since then was not committed, and is void.
    assert_eq!(assigned(&mut *new).await, (5, Some(Lost { from: 2, to: 5 })));
    assert_eq!(records(&mut *new).await, (0, vec!["5".to_owned()]));
}
