//! Another program on our topics: confluent-kafka, of Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use foretell_market::{FeedEvent, Timestamp};
use foretell_stream::codec::{Encoding, Instruments, decode_arrival};
use foretell_stream::{Log, partition_of};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::market::{FAULTS, arrivals, records};
use crate::river::{all, append, create, river};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn python() -> PathBuf {
    std::env::var_os("FORETELL_PYTHON")
        .map_or_else(|| repository().join(".venv/bin/python"), PathBuf::from)
}

/// Runs the other program with some input and gives back the lines it printed.
pub(crate) async fn client(cluster: &Cluster, arguments: &[&str], input: String) -> Vec<Value> {
    let python = python();
    let mut command = Command::new(&python);
    command
        .arg(repository().join("tests/reference/kafka_client.py"))
        .arg(cluster.broker.bootstrap_servers())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = move || {
        let Ok(mut child) = command.spawn() else {
            panic!("{} cannot be run: run `make python`", python.display());
        };
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python failed:\n{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_reads_what_we_write() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    create(&*log).await;
    append(&*log, &records(&arrivals(4, 300, FAULTS), Encoding::Json, 2)).await;
    river(log.clone(), Encoding::Json, 20_000).drain().await.unwrap();
    for topic in ["trade", "ohlcv", "feature"] {
        let mut ours = Vec::new();
        for partition in 0..2 {
            let from_here = log.read(topic, partition, 0, usize::MAX, std::time::Duration::ZERO);
            for stored in from_here.await.unwrap() {
                let micros = stored.record.time.micros();
                let header = (micros % 1000 != 0).then_some(micros);
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let (key, value) = (text(&stored.record.key), text(&stored.record.value));
                ours.push(json!([partition, stored.offset, key, value, micros / 1000, header]));
            }
        }
        assert!(ours.len() > 10, "{topic}: {}", ours.len());
        let count = ours.len().to_string();
        let mut theirs = client(&cluster, &["read", topic, &count], String::new()).await;
        let place = |record: &Value| (record[0].as_u64(), record[1].as_u64());
        theirs.sort_by_key(place);
        ours.sort_by_key(place);
        assert_eq!(theirs, ours, "{topic}");
        let first: Value = serde_json::from_str(theirs[0][3].as_str().unwrap()).unwrap();
        assert_eq!(first["product_id"], theirs[0][2], "the key is the product");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_read_what_another_program_writes() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    create(&*log).await;
    let start = 1_718_616_960_000i64;
    let trades: Vec<Value> = (0..400i64)
        .map(|i| {
            let product = ["BTC/USD", "ETH/USD", "SOL/EUR"][i as usize % 3];
            json!({
                "product_id": product, "quantity": 0.25, "price": 100.5 + i as f64,
                "timestamp_ms": start + i * 1700, "of_theirs": "a field we do not know",
            })
        })
        .collect();
    let input: String = trades.iter().map(|trade| format!("{trade}\n")).collect();
    let places = client(&cluster, &["write", "trade"], input).await;
    for place in places[0].as_array().unwrap() {
        let key = place[0].as_str().unwrap();
        assert_eq!(place[1], partition_of(key.as_bytes(), 2), "{key} goes where we put it");
    }
    let mut names = Instruments::default();
    let mut found: Vec<(i64, f64)> = Vec::new();
    for stored in all(&*log, "trade").await {
        let (record, at) = (&stored.record, stored.record.time);
        let arrival = decode_arrival(&record.value, at, 0, &mut names).unwrap();
        let FeedEvent::Trade(trade) = arrival.event else { panic!("it is a trade") };
        assert_eq!((trade.time, arrival.at), (at, at), "it arrived when it was written");
        found.push((trade.time.millis(), trade.price));
    }
    found.sort_by_key(|(time, _)| *time);
    let sent = (0..400i64).map(|i| (start + i * 1700, 100.5 + i as f64));
    assert_eq!(found, sent.collect::<Vec<_>>());
    river(log.clone(), Encoding::Json, 20_000).drain().await.unwrap();
    assert!(all(&*log, "refused").await.is_empty());
    let first = all(&*log, "ohlcv").await.remove(0);
    let first: Value = serde_json::from_slice(&first.record.value).unwrap();
    assert_eq!(first["start"], Timestamp::from_millis(start).millis());
}
