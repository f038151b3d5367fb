//! What the river writes, and that it writes the same however it is cut.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foretell_feature::{ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows};
use foretell_market::{Bar, Interval, Lateness, RowFlags, Timestamp};
use foretell_stream::codec::{
    Encoding, Instruments, decode_features, decode_ohlcv, encode_arrival,
};
use foretell_stream::{
    CandleOperator, CandleSettings, Chain, EmbeddedLog, EmbeddedOptions, FeatureOperator,
    FeatureSettings, Log, Ohlcv, Operator, Record, Stored, StreamError, Task, TaskSettings,
    TopicSpec, Topics, View,
};
use proptest::prelude::*;

use crate::market::{FAULTS, Faults, arrivals, instruments, records};

pub(crate) const LATENESS: Lateness = Lateness { delay: 0, allowed: 60_000_000 };

pub(crate) fn topics() -> Topics {
    Topics::new(2, None)
}

pub(crate) fn candle_settings(encoding: Encoding) -> CandleSettings {
    let bars = ["1m", "1h", "tick-50"].map(|bar| bar.parse().unwrap()).to_vec();
    CandleSettings { bars, lateness: LATENESS, ahead: 60_000_000, encoding }
}

pub(crate) fn feature_settings(encoding: Encoding) -> FeatureSettings {
    FeatureSettings {
        interval: Interval::MINUTE,
        set: FeatureSet::named("kraken-62", &Params::new()).unwrap(),
        context: ContextSpec {
            horizon: Interval::from_secs(300).unwrap(),
            season: Interval::from_secs(1800).unwrap(),
            ewma_lambda: 0.94,
            returns: ReturnWindows::default(),
        },
        label: LabelSpec {
            horizon: Interval::from_secs(300).unwrap(),
            price_column: "close".into(),
        },
        allowed: LATENESS.allowed,
        encoding,
    }
}

pub(crate) fn open(path: &Path) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { path: path.to_owned(), budget: None, sync_every: None };
    Arc::new(EmbeddedLog::open(options).unwrap())
}

pub(crate) async fn create(log: &dyn Log) {
    for name in topics().all() {
        let spec = TopicSpec {
            name: name.to_string(),
            partitions: 2,
            retention_secs: None,
            kept_for: Vec::new(),
        };
        log.create(&spec).await.unwrap();
    }
}

pub(crate) async fn append(log: &dyn Log, records: &[(u32, Record)]) {
    for partition in 0..2 {
        let own = records.iter().filter(|(p, _)| *p == partition).map(|(_, r)| r.clone());
        let own: Vec<Record> = own.collect();
        if !own.is_empty() {
            log.append(&topics().trade, partition, own).await.unwrap();
        }
    }
}

fn operator(encoding: Encoding) -> Result<Box<dyn Operator>, StreamError> {
    let candles = CandleOperator::new(candle_settings(encoding), topics());
    let features = FeatureOperator::new(feature_settings(encoding), topics())?;
    Ok(Box::new(Chain::new(candles, topics().ohlcv.clone(), features)))
}

/// The whole river in one task.
pub(crate) fn river(log: Arc<dyn Log>, encoding: Encoding, poll_bytes: usize) -> Task {
    river_saving(log, encoding, poll_bytes, Duration::from_millis(2))
}

/// The same, with its state saved rarely.
pub(crate) fn river_saving(
    log: Arc<dyn Log>,
    encoding: Encoding,
    poll_bytes: usize,
    save_every: Duration,
) -> Task {
    let settings = TaskSettings {
        group: "river".to_owned(),
        topic: topics().trade.clone(),
        commit_every: Duration::ZERO,
        save_every,
        poll_bytes,
    };
    Task::new(log, topics(), settings, Box::new(move || operator(encoding)))
}

/// Everything in a topic.
pub(crate) async fn all(log: &dyn Log, topic: &str) -> Vec<Stored> {
    let mut out = Vec::new();
    for partition in 0..2 {
        let mut from = 0;
        loop {
            let some = log.read(topic, partition, from, 1 << 20, Duration::ZERO).await.unwrap();
            let Some(last) = some.last() else { break };
            from = last.offset + 1;
            out.extend(some);
        }
    }
    out
}

/// What was written about each instrument, in order.
pub(crate) async fn written(log: &dyn Log) -> Vec<Vec<Record>> {
    let mut out = Vec::new();
    for topic in [&topics().ohlcv, &topics().feature, &topics().refused] {
        let stored = all(log, topic).await;
        for instrument in instruments() {
            let key = foretell_stream::codec::product_id(&instrument);
            let own = stored.iter().filter(|s| s.record.key == key);
            out.push(own.map(|s| s.record.clone()).collect());
        }
    }
    out
}

/// What an uninterrupted run writes.
pub(crate) async fn reference(records: &[(u32, Record)], encoding: Encoding) -> Vec<Vec<Record>> {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    append(&*log, records).await;
    river(log.clone(), encoding, 1 << 20).drain().await.unwrap();
    written(&*log).await
}

#[tokio::test]
async fn trades_become_candles_and_rows_with_their_corrections() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let all_arrivals = arrivals(7, 1500, FAULTS);
    append(&*log, &records(&all_arrivals, Encoding::Json, 2)).await;
    let view = Arc::new(View::new(100));
    let shown = Arc::clone(&view);
    let mut task =
        river(log.clone(), Encoding::Json, 1 << 16).on_commit(Box::new(move |written| {
            for (topic, _, record) in written {
                if **topic == *"feature" {
                    shown.take(decode_features(&record.value).unwrap());
                }
            }
        }));
    task.drain().await.unwrap();

    let mut names = Instruments::default();
    let mut seen = [0; 7];
    for stored in all(&*log, "ohlcv").await {
        let Record { value, time, .. } = &stored.record;
        let closed = match decode_ohlcv(value, *time, &mut names).unwrap() {
            Ohlcv::Closed(closed) => closed,
            Ohlcv::Counted(counted) => {
                assert_eq!(counted.bar.candle.trades, Some(50));
                seen[6] += 1;
                continue;
            }
        };
        match closed.bar {
            Bar::Candle(v) => {
                seen[0] += 1;
                seen[1] += usize::from(v.flags.contains(RowFlags::CORRECTED));
                seen[2] += usize::from(v.flags.contains(RowFlags::TAINTED));
            }
            Bar::Silent { .. } => seen[3] += 1,
            Bar::TooLate { .. } => seen[4] += 1,
        }
    }
    let rows = all(&*log, "feature").await;
    let rows: Vec<_> = rows.iter().map(|s| decode_features(&s.record.value).unwrap()).collect();
    seen[5] = rows.iter().filter(|r| r.version > 1).count();
    assert!(seen.iter().all(|n| *n > 0), "every case occurs: {seen:?}");
    assert!(rows.len() > 300, "{}", rows.len());

    for instrument in instruments() {
        let now = Timestamp::from_micros(i64::MAX);
        let newest = rows.iter().filter(|r| r.row.instrument == instrument);
        let newest = newest.max_by_key(|r| (r.row.as_of, r.version)).unwrap();
        let found = view.latest(&instrument, Interval::MINUTE, now, None).unwrap();
        assert_eq!(*found, newest.row);
    }
    assert!(all(&*log, "refused").await.is_empty());
}

#[tokio::test]
async fn what_is_not_understood_is_put_aside_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let good = arrivals(1, 60, Faults { late: 0, twice: 0, quiet: 0, gaps: 0 });
    let mut bad: Vec<Record> = [
        r#"{"product_id":"BTC/USD","price":-1.0,"quantity":1,"timestamp_ms":1718616990000}"#,
        r#"{"product_id":"BTC/USD","price":1.0,"quantity":-1,"timestamp_ms":1718616990000}"#,
        r#"{"product_id":"BTC/USD","price":1.0,"quantity":1,"timestamp_ms":1000}"#,
        r#"{"product_id":"BTC/USD","price":1.0,"quantity":1,"timestamp_ms":1918616990000}"#,
        r#"{"product_id":"bitcoin","price":1.0,"quantity":1,"timestamp_ms":1718616990000}"#,
        r#"{"product_id":"BTC/USD","price":1.0,"quantity":1}"#,
        r#"{"product_id":"BTC/USD"}"#,
        r#"{"product_id":"BTC/USD","price":NaN,"quantity":1,"timestamp_ms":1718616990000}"#,
        "not a record",
        "",
    ]
    .iter()
    .map(|text| Record {
        key: "BTC/USD".into(),
        value: text.as_bytes().into(),
        time: Timestamp::from_secs(1_718_617_000),
    })
    .collect();
    let mut cut = Vec::new();
    encode_arrival(&good[0], Encoding::Avro, &mut cut);
    cut.truncate(cut.len() - 3);
    bad.push(Record { value: cut.into(), ..bad[0].clone() });
    let partition = foretell_stream::partition_of(b"BTC/USD", 2);
    let mut mixed = records(&good, Encoding::Avro, 2);
    mixed.extend(bad.iter().map(|r| (partition, r.clone())));
    let clean = reference(&records(&good, Encoding::Avro, 2), Encoding::Json).await;
    append(&*log, &mixed).await;
    river(log.clone(), Encoding::Json, 1 << 16).drain().await.unwrap();

    let refused = all(&*log, "refused").await;
    let reasons: Vec<String> = refused
        .iter()
        .map(|s| {
            let value: serde_json::Value = serde_json::from_slice(&s.record.value).unwrap();
            value["reason"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected = [
        "price -1 is not a positive number",
        "quantity -1 is not a number of zero or more",
        "is before 2000",
        "is ahead of its arrival",
        "`bitcoin` is not an instrument",
        "a trade without `timestamp_ms`",
        "neither a trade",
        "JSON: ",
        "neither a JSON object nor Avro",
        "neither a JSON object nor Avro",
        "cut short",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for (reason, part) in reasons.iter().zip(expected) {
        assert!(reason.contains(part), "{reason} has no {part}");
    }
    let found = written(&*log).await;
    assert_eq!(found[..6], clean[..6], "the rest went on");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_river_writes_the_same_however_it_is_cut(
        seed in any::<u64>(), cuts in prop::collection::vec(0usize..2400, 0..4),
        poll in 200usize..20_000, late in 0u64..60, json in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let encoding = if json { Encoding::Json } else { Encoding::Avro };
            let all = records(&arrivals(seed, 700, Faults { late, ..FAULTS }), encoding, 2);
            let whole = reference(&all, encoding).await;
            let folder = tempfile::tempdir().unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(all.len())).collect();
            cuts.extend([0, all.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                // Each piece finds a log and a state as they were left.
                let log = open(folder.path());
                create(&*log).await;
                append(&*log, &all[pair[0]..pair[1]]).await;
                river(log.clone(), encoding, poll).drain().await.unwrap();
            }
            let log = open(folder.path());
            assert_eq!(written(&*log).await, whole);
        });
    }
}
