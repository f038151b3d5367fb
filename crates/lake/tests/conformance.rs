//! What every store under a lake must do, run against a local directory, memory, and
//! the emulators of S3 (moto) and Azure Blob (Azurite). No emulator of Google's store is
//! to be had that honours generation preconditions, so that one is not tested.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use arrow::datatypes::DataType;
use foretell_lake::{AsOf, CommitInfo, Lake, LakeError, Layer, rows_fingerprint};
use foretell_market::{Interval, Timestamp};
use foretell_panel::Frame;
use support::{Place, at, candles, closes, hours, info};

/// Runs a test on every kind of store.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::local()).await;
            })*
        }
        mod local_on_many_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Place::local()).await;
            })*
        }
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::memory()).await;
            })*
        }
        // One server for all cases: each has a prefix of its own.
        mod on_servers {
            #[tokio::test]
            async fn s3() {
                let server = foretell_testkit::Server::s3("lakes");
                $(eprintln!("case {}", stringify!($name));
                super::$name(super::Place::s3(&server, stringify!($name))).await;)*
            }

            #[tokio::test]
            async fn azure() {
                let server = foretell_testkit::Server::azure("lakes");
                $(eprintln!("case {}", stringify!($name));
                super::$name(super::Place::azure(&server, stringify!($name))).await;)*
            }
        }
    };
}

on_every_store!(
    a_table_begins_with_its_first_write,
    replacing_an_interval_keeps_the_rest,
    re_running_an_interval_changes_nothing,
    an_append_happens_once,
    wrong_columns_are_named_and_change_nothing,
    old_versions_stay_readable_by_number_and_by_commit_time,
    compaction_and_checkpoints_change_no_row,
    a_vacuum_keeps_what_is_referenced,
    artifacts_are_written_once_and_verified,
    keyed_layers_hold_one_row_per_key,
    disjoint_writers_both_succeed,
    a_stale_writer_gets_a_typed_conflict,
    layers_are_separate,
);

async fn a_table_begins_with_its_first_write(place: Place) {
    let table = place.lake().table(Layer::Clean, "BTC-USD-1h");
    assert!(!table.exists().await.unwrap());
    assert!(table.versions().await.unwrap().is_empty());
    let missing = table.read(AsOf::Latest, None).await.unwrap_err();
    assert!(matches!(missing, LakeError::NoTable { .. }), "{missing}");
    assert!(missing.to_string().contains("no table `clean/BTC-USD-1h`"), "{missing}");

    let batch = candles(0, 48, 1.0);
    assert_eq!(table.replace(hours(0, 48), &batch, &info(1)).await.unwrap(), 0);
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(read.schema(), table.schema(AsOf::Latest).await.unwrap());
    assert_eq!(rows_fingerprint(&read).unwrap(), rows_fingerprint(&batch).unwrap());
    let frame = Frame::from_record_batch(&read, Interval::HOUR).unwrap();
    let written = Frame::from_record_batch(&batch, Interval::HOUR).unwrap();
    assert_eq!(frame.fingerprint(), written.fingerprint());
    assert_eq!(frame.rows(), written.rows());
    assert_eq!(place.lake().tables(Layer::Clean).await.unwrap(), ["BTC-USD-1h"]);
}

async fn replacing_an_interval_keeps_the_rest(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    table.replace(hours(0, 10), &candles(0, 10, 1.0), &info(1)).await.unwrap();
    table.replace(hours(10, 20), &candles(10, 20, 2.0), &info(2)).await.unwrap();
    // The middle straddles both files; one of its hours has no row any more.
    table.replace(hours(8, 13), &candles(9, 13, 3.0), &info(3)).await.unwrap();
    let mut expected = vec![1.0; 8];
    expected.extend([3.0; 4]);
    expected.extend([2.0; 7]);
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(closes(&read), expected);
    assert_eq!(closes(&table.read(AsOf::Latest, Some(hours(7, 10))).await.unwrap()), [1.0, 3.0]);
    // An empty replacement removes the rows of its interval.
    table.replace(hours(0, 15), &candles(0, 0, 0.0), &info(4)).await.unwrap();
    assert_eq!(closes(&table.read(AsOf::Latest, None).await.unwrap()), [2.0; 5]);
    let late = table.replace(hours(0, 5), &candles(4, 6, 1.0), &info(5)).await.unwrap_err();
    assert!(late.to_string().contains("row 1 is of 2024-01-01T05:00:00Z, outside"), "{late}");
    let empty = table.replace(hours(5, 5), &candles(5, 5, 1.0), &info(5)).await.unwrap_err();
    assert!(matches!(empty, LakeError::EmptyInterval(_)), "{empty}");
}

async fn re_running_an_interval_changes_nothing(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    let batch = candles(0, 30, 1.0);
    table.replace(hours(0, 30), &batch, &info(1)).await.unwrap();
    assert_eq!(table.replace(hours(0, 30), &batch, &info(2)).await.unwrap(), 0);
    let part = batch.slice(3, 4);
    assert_eq!(table.replace(hours(3, 7), &part, &info(3)).await.unwrap(), 0);
    let nothing = candles(0, 0, 1.0);
    assert_eq!(table.replace(hours(40, 50), &nothing, &info(4)).await.unwrap(), 0);
    assert_eq!(table.versions().await.unwrap().len(), 1);
    assert!(table.is_latest(0).await.unwrap(), "what is kept of it in memory still holds");
    assert_eq!(table.replace(hours(3, 7), &candles(3, 7, 9.0), &info(5)).await.unwrap(), 1);
    assert!(!table.is_latest(0).await.unwrap() && table.is_latest(1).await.unwrap());
}

async fn an_append_happens_once(place: Place) {
    let table = place.lake().table(Layer::Raw, "t");
    let raw = support::raw(&[(0, 1.0), (0, 1.5), (1, 2.0)]);
    assert_eq!(table.append(&raw, &info(1)).await.unwrap(), 0);
    assert_eq!(table.append(&raw, &info(1)).await.unwrap(), 0);
    // Another run that saw the same rows is another arrival.
    assert_eq!(table.append(&raw, &info(2)).await.unwrap(), 1);
    assert_eq!(table.append(&raw, &info(2)).await.unwrap(), 1);
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(closes(&read), [1.0, 1.0, 1.5, 1.5, 2.0, 2.0]);
}

async fn wrong_columns_are_named_and_change_nothing(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    table.replace(hours(0, 5), &candles(0, 5, 1.0), &info(1)).await.unwrap();
    let integers = support::with_column(&candles(5, 6, 1.0), "close", &DataType::Int64);
    for error in [
        table.append(&integers, &info(2)).await.unwrap_err(),
        table.replace(hours(5, 6), &integers, &info(2)).await.unwrap_err(),
    ] {
        let text = "column `close` of table `clean/t` is Float64 but the rows bring Int64";
        assert!(error.to_string().contains(text), "{error}");
    }
    let fewer = candles(5, 6, 1.0).project(&[0, 1, 2, 3, 4]).unwrap();
    let error = table.append(&fewer, &info(2)).await.unwrap_err();
    assert!(error.to_string().contains("`close` of table `clean/t` is Float64"), "{error}");
    let raw = place.lake().table(Layer::Raw, "t");
    let error = raw.append(&candles(5, 6, 1.0), &info(2)).await.unwrap_err();
    assert!(error.to_string().contains("need a column `position` of type Int64"), "{error}");
    assert!(!raw.exists().await.unwrap());
    assert_eq!(table.versions().await.unwrap().len(), 1);
    for name in ["../x", "a/b", "_x", ""] {
        let error = place.lake().table(Layer::Clean, name).exists().await.unwrap_err();
        assert!(matches!(error, LakeError::Name(_)), "{error}");
    }
}

async fn old_versions_stay_readable_by_number_and_by_commit_time(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    for i in 0..4u32 {
        let batch = candles(0, 3, f64::from(i));
        let version = table.replace(hours(0, 3), &batch, &info(100 * i64::from(i))).await.unwrap();
        assert_eq!(version, u64::from(i));
    }
    let first = async |as_of| closes(&table.read(as_of, None).await.unwrap())[0];
    for i in 0..4u64 {
        assert_eq!(first(AsOf::Version(i)).await, i as f64);
        assert_eq!(first(AsOf::Time(at(100 * i as i64))).await, i as f64);
        assert_eq!(first(AsOf::Time(at(100 * i as i64 + 99))).await, i as f64);
    }
    let early = table.read(AsOf::Time(at(-1)), None).await.unwrap_err();
    assert!(matches!(early, LakeError::NoVersionAt { .. }), "{early}");
    let beyond = table.read(AsOf::Version(4), None).await.unwrap_err();
    assert!(beyond.to_string().contains("no version 4: its versions are 0 to 3"), "{beyond}");
    // A clock that steps back does not make time step back.
    table.replace(hours(0, 3), &candles(0, 3, 9.0), &info(50)).await.unwrap();
    assert_eq!(first(AsOf::Time(at(299))).await, 2.0);
    assert_eq!(first(AsOf::Time(at(300))).await, 9.0);
    let versions = table.versions().await.unwrap();
    let times: Vec<_> = versions.iter().map(|v| v.at.unwrap()).collect();
    assert_eq!(times, [0, 100, 200, 300, 300].map(at));
    assert_eq!(versions[1].run_id.as_deref(), Some("run-100"));
    assert_eq!(versions[1].operation.as_deref(), Some("REPLACE"));
    let rows = rows_fingerprint(&candles(0, 3, 1.0)).unwrap();
    assert_eq!((versions[1].rows, versions[1].source), (Some(rows), None));
}

async fn compaction_and_checkpoints_change_no_row(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    for hour in 0..12 {
        table.append(&candles(hour, hour + 1, hour as f64), &info(hour)).await.unwrap();
    }
    let before = table.fingerprint(AsOf::Latest).await.unwrap();
    assert!(table.checkpoint().await.unwrap());
    assert!(!table.checkpoint().await.unwrap());
    assert_eq!(table.fingerprint(AsOf::Latest).await.unwrap(), before);
    let done = table.compact(&info(100)).await.unwrap();
    assert_eq!((done.version, done.files_before, done.files_after), (12, 12, 1));
    assert_eq!(table.fingerprint(AsOf::Latest).await.unwrap(), before);
    let again = table.compact(&info(101)).await.unwrap();
    assert_eq!((again.version, again.files_before), (12, 0));
    assert!(table.checkpoint().await.unwrap());
    assert_eq!(table.fingerprint(AsOf::Latest).await.unwrap(), before);
    for version in 0..12 {
        let read = table.read(AsOf::Version(version), None).await.unwrap();
        assert_eq!(read.num_rows() as u64, version + 1);
    }
    // Writing goes on after a checkpoint.
    table.replace(hours(3, 5), &candles(3, 5, 70.0), &info(102)).await.unwrap();
    let read = table.read(AsOf::Latest, Some(hours(2, 6))).await.unwrap();
    assert_eq!(closes(&read), [2.0, 70.0, 70.0, 5.0]);
    // An append that was done before the checkpoint is still known.
    assert_eq!(table.append(&candles(2, 3, 2.0), &info(2)).await.unwrap(), 13);
}

async fn a_vacuum_keeps_what_is_referenced(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    for i in 0..5 {
        table.replace(hours(0, 3), &candles(0, 3, i as f64), &info(i)).await.unwrap();
    }
    // Files are written by the machine's clock, removed by the commits'.
    let now = Timestamp::MAX;
    let day = Duration::from_secs(86_400);
    let young = table.vacuum(&[1], at(10), day).await.unwrap();
    assert_eq!((young.removed.len(), young.too_young), (0, 3));
    let error = table.vacuum(&[9], now, day).await.unwrap_err();
    assert!(matches!(error, LakeError::NoVersion { asked: 9, .. }), "{error}");

    let report = table.vacuum(&[1], now, day).await.unwrap();
    assert_eq!((report.kept.as_slice(), report.removed.len()), ([1, 4].as_slice(), 3));
    assert!(report.bytes > 0);
    for (version, close) in [(1, 1.0), (4, 4.0)] {
        let read = table.read(AsOf::Version(version), None).await.unwrap();
        assert_eq!(closes(&read), [close; 3]);
    }
    let gone = table.read(AsOf::Version(2), None).await.unwrap_err();
    assert!(matches!(gone, LakeError::Gone { version: 2, .. }), "{gone}");
    let gone = table.vacuum(&[2], now, day).await.unwrap_err();
    assert!(matches!(gone, LakeError::Gone { version: 2, .. }), "{gone}");
    assert!(table.vacuum(&[1], now, day).await.unwrap().removed.is_empty());
}

async fn artifacts_are_written_once_and_verified(place: Place) {
    let lake = place.lake();
    let fingerprint = lake.put_artifact(&b"a model"[..]).await.unwrap();
    assert_eq!(lake.put_artifact(&b"a model"[..]).await.unwrap(), fingerprint);
    assert_eq!(lake.artifact(&fingerprint).await.unwrap(), &b"a model"[..]);
    let other = foretell_market::Fingerprint::of_bytes(b"never stored");
    let error = lake.artifact(&other).await.unwrap_err();
    assert!(matches!(error, LakeError::NoArtifact(f) if f == other), "{error}");
    place.damage("artifacts", b"b model").await;
    for error in [
        lake.artifact(&fingerprint).await.unwrap_err(),
        lake.put_artifact(&b"a model"[..]).await.unwrap_err(),
    ] {
        assert!(matches!(error, LakeError::DamagedArtifact { .. }), "{error}");
    }
}

async fn keyed_layers_hold_one_row_per_key(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    table.append(&candles(0, 5, 1.0), &info(1)).await.unwrap();
    let error = table.append(&candles(4, 6, 2.0), &info(2)).await.unwrap_err();
    let text = "(BTC-USD, 2024-01-01T04:00:00Z, 2024-01-01T05:00:00Z)";
    assert!(matches!(error, LakeError::Duplicate { .. }), "{error}");
    assert!(error.to_string().contains(text), "{error}");
    // A correction is another row, known later; a decision sees what it could know.
    let correction = support::known_later(&candles(4, 5, 7.0), 10);
    table.append(&correction, &info(3)).await.unwrap();
    let all = table.read(AsOf::Latest, Some(hours(4, 5))).await.unwrap();
    assert_eq!(closes(&all), [1.0, 7.0]);
    let known = |hour| foretell_lake::as_known_at(&all, support::hour(hour)).unwrap();
    assert_eq!(closes(&known(5)), [1.0]);
    assert_eq!(closes(&known(15)), [7.0]);
}

async fn disjoint_writers_both_succeed(place: Place) {
    let lake = place.lake();
    let writers = (0..8i64).map(|i| {
        let table = lake.table(Layer::Clean, "t");
        tokio::spawn(async move {
            let (from, to) = (10 * i, 10 * i + 10);
            table.replace(hours(from, to), &candles(from, to, i as f64), &info(i)).await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let table = lake.table(Layer::Clean, "t");
    let expected: Vec<f64> = (0..80).map(|h| f64::from(h / 10)).collect();
    assert_eq!(closes(&table.read(AsOf::Latest, None).await.unwrap()), expected);
    assert_eq!(table.versions().await.unwrap().len(), 8);
}

async fn a_stale_writer_gets_a_typed_conflict(place: Place) {
    let table = place.lake().table(Layer::Clean, "t");
    let base = table.replace(hours(0, 5), &candles(0, 5, 1.0), &info(1)).await.unwrap();
    table.replace(hours(3, 5), &candles(3, 5, 2.0), &info(2)).await.unwrap();
    let stale = info(3).based_on(base);
    let error = table.replace(hours(4, 5), &candles(4, 5, 3.0), &stale).await.unwrap_err();
    assert!(error.is_conflict());
    assert!(matches!(error, LakeError::Conflict { base: Some(0), winner: 1, .. }), "{error}");
    // Nothing of it stays, a write of other rows goes through, and so does a retry.
    assert_eq!(table.versions().await.unwrap().len(), 2);
    assert_eq!(table.replace(hours(0, 1), &candles(0, 1, 4.0), &stale).await.unwrap(), 2);
    let fresh = info(4).based_on(2);
    assert_eq!(table.replace(hours(4, 5), &candles(4, 5, 3.0), &fresh).await.unwrap(), 3);
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(closes(&read), [4.0, 1.0, 1.0, 2.0, 3.0]);
    // A compaction in between is no conflict.
    let table = place.lake().table(Layer::Clean, "u");
    table.append(&candles(0, 5, 1.0), &info(1)).await.unwrap();
    let base = table.append(&candles(5, 9, 1.0), &info(1)).await.unwrap();
    table.compact(&info(2)).await.unwrap();
    let stale = info(3).based_on(base);
    assert_eq!(table.replace(hours(4, 5), &candles(4, 5, 3.0), &stale).await.unwrap(), 3);
}

async fn layers_are_separate(place: Place) {
    let lake: Lake = place.lake();
    lake.table(Layer::Clean, "t").append(&candles(0, 1, 1.0), &info(1)).await.unwrap();
    lake.table(Layer::Features, "t").append(&candles(0, 2, 2.0), &info(1)).await.unwrap();
    lake.table(Layer::Datasets, "t").append(&candles(0, 3, 3.0), &info(1)).await.unwrap();
    lake.table(Layer::Forecasts, "t").append(&candles(0, 4, 4.0), &info(1)).await.unwrap();
    lake.table(Layer::Raw, "t").append(&support::raw(&[(0, 0.5)]), &info(1)).await.unwrap();
    for layer in Layer::ALL {
        assert_eq!(lake.tables(layer).await.unwrap(), ["t"], "{layer}");
    }
    let rows =
        async |layer| lake.table(layer, "t").read(AsOf::Latest, None).await.unwrap().num_rows();
    assert_eq!((rows(Layer::Clean).await, rows(Layer::Forecasts).await), (1, 4));
    let source = foretell_market::Fingerprint::of_bytes(b"snapshot");
    let derived = CommitInfo::new("run-9", at(9)).with_source(source);
    let table = lake.table(Layer::Datasets, "t");
    table.append(&candles(3, 4, 3.0), &derived).await.unwrap();
    assert_eq!(table.versions().await.unwrap()[1].source, Some(source));
}
