//! Latest rows as a compacted topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foretell_stream::codec::{Encoding, decode_features, product_id};
use foretell_stream::{
    CandleOperator, Chain, FeatureOperator, Log, Operator, StreamError, Task, TaskSettings,
};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::foreign::client;
use crate::log_suite::spec;
use crate::market::{FAULTS, Faults, arrivals, records};
use crate::river::{all, append, candle_settings, create, feature_settings, open, topics};

const LATEST: &str = "feature_latest";
const ALLOWED: i64 = 300_000_000;

fn river(log: Arc<dyn Log>) -> Task {
    let settings = TaskSettings {
        group: "river".to_owned(),
        topic: topics().trade.clone(),
        commit_every: Duration::ZERO,
        save_every: Duration::from_millis(2),
        poll_bytes: 20_000,
    };
    let make = || -> Result<Box<dyn Operator>, StreamError> {
        let mut candles = candle_settings(Encoding::Json);
        let mut features = feature_settings(Encoding::Json);
        // So late that newer rows are there already.
        (candles.lateness.allowed, features.allowed) = (ALLOWED, ALLOWED);
        let candles = CandleOperator::new(candles, topics());
        let features = FeatureOperator::new(features, topics())?;
        let features = features.keeping_latest(Some(LATEST.into()));
        Ok(Box::new(Chain::new(candles, topics().ohlcv.clone(), features)))
    };
    Task::new(log, topics(), settings, Box::new(make))
}

/// The last version of the newest row of each instrument, by the key of its latest row.
async fn newest(log: &dyn Log) -> BTreeMap<String, String> {
    let mut newest = BTreeMap::new();
    for stored in all(log, "feature").await {
        let value = stored.record.value;
        let record = decode_features(&value).unwrap();
        let (row, version) = (record.row, record.version);
        let key = format!("{} {} {}", product_id(&row.instrument), row.interval, row.feature_set);
        let place = (row.as_of, version);
        let text = String::from_utf8(value.to_vec()).unwrap();
        let known = newest.entry(key).or_insert((place, String::new()));
        if place >= known.0 {
            *known = (place, text);
        }
    }
    newest.into_iter().map(|(key, (_, text))| (key, text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_of_a_key_is_the_latest_row_also_for_another_program() {
    let cluster = Cluster::start().await;
    let log = cluster.log("one").await;
    create(&*log).await;
    assert!(log.create_latest(&spec(LATEST, 2)).await.unwrap());
    assert!(log.create_latest(&spec(LATEST, 2)).await.unwrap(), "it is there alike");
    let all_records = records(&arrivals(9, 900, Faults { late: 150, ..FAULTS }), Encoding::Json, 2);
    let mut corrections = 0;
    // Each piece is worked on by a process of its own, which knows what the last one committed.
    for piece in all_records.chunks(all_records.len().div_ceil(6)) {
        append(&*log, piece).await;
        river(log.clone()).drain().await.unwrap();
        let written = all(&*log, LATEST).await;
        let last: BTreeMap<String, String> = written
            .iter()
            .map(|stored| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(&stored.record.key), text(&stored.record.value))
            })
            .collect();
        assert_eq!(last, newest(&*log).await);
        corrections = all(&*log, "feature").await.len() - written.len();
    }
    assert!(corrections > 10, "{corrections} rows were not the latest any more");
    let count = all(&*log, LATEST).await.len().to_string();
    let theirs = client(&cluster, &["read", LATEST, &count], String::new()).await;
    let mut last = BTreeMap::new();
    let mut ordered: Vec<&Value> = theirs.iter().collect();
    ordered.sort_by_key(|record| (record[0].as_u64(), record[1].as_u64()));
    for record in ordered {
        let (key, value) = (record[2].as_str().unwrap(), record[3].as_str().unwrap());
        last.insert(key.to_owned(), value.to_owned());
    }
    assert_eq!(last, newest(&*log).await);
    assert!(last.len() >= 3, "one for each instrument: {:?}", last.keys());
}

#[tokio::test]
async fn the_embedded_log_has_no_such_topic() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    assert!(!log.create_latest(&spec(LATEST, 2)).await.unwrap());
    assert!(log.partitions(LATEST).await.is_err());
}
