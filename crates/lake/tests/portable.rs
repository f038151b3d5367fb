//! A lake is a directory that can be copied and moved, that ages well, and whose time
//! is in its commits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use foretell_lake::{AsOf, LakeError, Layer, raw_from_record_batch};
use foretell_market::{Fingerprint, Interval};
use support::{Place, at, candles, closes, hours, info, open, repository};

/// Copies a directory; the n-th file gets a time of its own, in no order of sense.
fn copy(from: &Path, to: &Path, count: &mut u64) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries.iter().rev() {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(entry, &target, count);
            continue;
        }
        fs::copy(entry, &target).unwrap();
        *count += 1;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - *count * 86_400);
        File::options().write(true).open(&target).unwrap().set_modified(time).unwrap();
    }
}

#[tokio::test]
async fn a_copy_answers_the_same_at_every_time_and_version() {
    let place = Place::local();
    let lake = place.lake();
    let table = lake.table(Layer::Clean, "t");
    for i in 0..6u32 {
        let batch = candles(0, 4, f64::from(i));
        table.replace(hours(0, 4), &batch, &info(60 * i64::from(i))).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    let artifact = lake.put_artifact(&b"model"[..]).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let target = other.path().join("moved/somewhere else");
    copy(place.path(), &target, &mut 0);
    let original = place.path().to_owned();
    drop(place);
    assert!(!original.exists());

    let copied = open(&target);
    let table = copied.table(Layer::Clean, "t");
    for i in 0..6i64 {
        for as_of in [AsOf::Version(i as u64), AsOf::Time(at(60 * i)), AsOf::Time(at(60 * i + 59))]
        {
            let read = table.read(as_of, None).await.unwrap();
            assert_eq!(closes(&read), vec![i as f64; 4], "{as_of:?}");
        }
    }
    assert_eq!(copied.artifact(&artifact).await.unwrap(), &b"model"[..]);
    // The copy goes on living, and the log names no place.
    let next = table.replace(hours(2, 3), &candles(2, 3, 9.0), &info(1_000)).await.unwrap();
    assert_eq!(next, 6);
    for entry in fs::read_dir(target.join("clean/t/_delta_log")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(original.to_str().unwrap()), "{text}");
    }
}

/// The table of format 1 that `tests/data/lake-v1` holds; see its ORIGIN.md.
async fn write_golden(directory: &Path) {
    let lake = open(directory);
    let table = lake.table(Layer::Clean, "BTC-USD-1h");
    table.replace(hours(0, 6), &candles(0, 6, 1.0), &info(0)).await.unwrap();
    table.append(&candles(6, 8, 2.0), &info(60)).await.unwrap();
    table.checkpoint().await.unwrap();
    table.replace(hours(4, 7), &candles(4, 7, 3.0), &info(120)).await.unwrap();
    table.append(&candles(8, 9, 4.0), &info(180)).await.unwrap();
    table.compact(&info(240)).await.unwrap();
    let raw = support::raw(&[(0, 1.0), (0, 1.5), (1, 2.0)]);
    lake.table(Layer::Raw, "BTC-USD-1h").append(&raw, &info(0)).await.unwrap();
    lake.put_artifact(&b"a model of format 1"[..]).await.unwrap();
}

/// Checks every answer of the table of format 1.
async fn check_golden(directory: &Path) {
    let lake = open(directory);
    let table = lake.table(Layer::Clean, "BTC-USD-1h");
    let read = async |as_of| closes(&table.read(as_of, None).await.unwrap());
    let first = vec![1.0; 6];
    let second = [first.clone(), vec![2.0; 2]].concat();
    let third = [vec![1.0; 4], vec![3.0; 3], vec![2.0]].concat();
    assert_eq!(read(AsOf::Version(0)).await, first);
    assert_eq!(read(AsOf::Time(at(59))).await, first);
    assert_eq!(read(AsOf::Time(at(60))).await, second);
    assert_eq!(read(AsOf::Version(2)).await, third);
    let last = [third, vec![4.0]].concat();
    assert_eq!(read(AsOf::Version(3)).await, last);
    assert_eq!(read(AsOf::Latest).await, last);
    assert_eq!(table.resolve(AsOf::Time(at(1_000))).await.unwrap(), 4);
    // The stored hash of the rows: neither the format nor the fingerprint may drift.
    let fingerprint = table.fingerprint(AsOf::Version(0)).await.unwrap();
    let reference = repository().join("tests/data/reference/lake_fingerprint.json");
    let reference: serde_json::Value =
        serde_json::from_slice(&fs::read(reference).unwrap()).unwrap();
    assert_eq!(fingerprint.to_string(), reference["lake-v1/clean/BTC-USD-1h@0"]);
    assert_eq!(table.versions().await.unwrap()[0].rows, Some(fingerprint));
    let raw = lake.table(Layer::Raw, "BTC-USD-1h").read(AsOf::Latest, None).await.unwrap();
    let instrument = foretell_testkit::instrument();
    let raw = raw_from_record_batch(&raw, &instrument, Interval::HOUR, "golden").unwrap();
    assert_eq!(raw.positions, [1, 2, 3]);
    // Tables from before there were versions: all their rows, duplicates together.
    let known = foretell_panel::as_known(&raw.rows, foretell_panel::KnownAt::EVER);
    assert_eq!(known, [0, 1, 2]);
    assert_eq!(raw.column("close").unwrap(), [1.0, 1.5, 2.0]);
    let model = Fingerprint::of_bytes(b"a model of format 1");
    assert_eq!(lake.artifact(&model).await.unwrap(), &b"a model of format 1"[..]);
}

#[tokio::test]
async fn the_lake_of_format_1_stays_readable() {
    let golden = repository().join("tests/data/lake-v1");
    let scratch = tempfile::tempdir().unwrap();
    copy(&golden, scratch.path(), &mut 0);
    check_golden(scratch.path()).await;
    let table = open(scratch.path()).table(Layer::Clean, "BTC-USD-1h");
    table.replace(hours(0, 1), &candles(0, 1, 6.0), &info(300)).await.unwrap();
    assert_eq!(closes(&table.read(AsOf::Latest, None).await.unwrap())[..2], [6.0, 1.0]);
}

#[tokio::test]
async fn this_build_still_writes_format_1() {
    // Set FORETELL_GOLDEN to a new directory to keep what is written there.
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("FORETELL_GOLDEN").map(std::path::PathBuf::from);
    let directory = kept.as_deref().unwrap_or(scratch.path());
    write_golden(directory).await;
    check_golden(directory).await;
}

#[tokio::test]
async fn a_later_format_is_refused_by_name() {
    let place = Place::local();
    let table = place.lake().table(Layer::Clean, "t");
    table.append(&candles(0, 1, 1.0), &info(0)).await.unwrap();
    let commit = place.path().join("clean/t/_delta_log/00000000000000000000.json");
    let text = fs::read_to_string(&commit).unwrap();
    let later = text.replace(r#""foretell.format":"1""#, r#""foretell.format":"2""#);
    assert_ne!(later, text);
    fs::write(&commit, later).unwrap();
    let error = table.read(AsOf::Latest, None).await.unwrap_err();
    assert!(matches!(error, LakeError::Format { known: 1, .. }), "{error}");
    let error = table.append(&candles(1, 2, 1.0), &info(1)).await.unwrap_err();
    assert!(matches!(error, LakeError::Format { .. }), "{error}");
}

#[tokio::test]
async fn damaged_files_are_errors_that_name_them() {
    let place = Place::local();
    let table = place.lake().table(Layer::Clean, "t");
    table.append(&candles(0, 3, 1.0), &info(0)).await.unwrap();
    table.append(&candles(3, 6, 1.0), &info(1)).await.unwrap();
    let commit = place.path().join("clean/t/_delta_log/00000000000000000001.json");
    let whole = fs::read(&commit).unwrap();
    fs::write(&commit, &whole[..whole.len() / 2]).unwrap();
    let error = table.read(AsOf::Latest, None).await.unwrap_err();
    assert!(matches!(error, LakeError::Log { .. }), "{error}");
    let error = table.versions().await.unwrap_err();
    assert!(error.to_string().contains("commit 1 of table `clean/t`"), "{error}");
    assert_eq!(table.read(AsOf::Version(0), None).await.unwrap().num_rows(), 3);
    fs::write(&commit, &whole).unwrap();
    for entry in fs::read_dir(place.path().join("clean/t")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "parquet") {
            fs::write(path, b"PAR1 not really").unwrap();
        }
    }
    for error in [
        table.read(AsOf::Latest, None).await.unwrap_err(),
        table.replace(hours(0, 1), &candles(0, 1, 2.0), &info(2)).await.unwrap_err(),
    ] {
        assert!(matches!(error, LakeError::Parquet { .. }), "{error}");
        assert!(error.to_string().starts_with("data file `part-"), "{error}");
    }
}
