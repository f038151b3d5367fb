//! Python `deltalake` reads what the lake wrote, and the lake reads what it wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use foretell_lake::{AsOf, LakeError, Layer, rows_fingerprint};
use foretell_market::Timestamp;
use support::{Place, at, candles, closes, hours, info, python};

/// Prints version, rows, and the closes in time order of the table at a path.
const READ: &str = r#"
import sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
rows = table.to_pyarrow_table().sort_by("time")
names = ",".join(str(field.type) for field in rows.schema)
print(table.version(), rows.num_rows, names)
print(*rows["close"].to_pylist())
print(*[t.strftime("%Y-%m-%dT%H:%M") for t in rows["time"].to_pylist()])
print(rows["volume"].null_count)
"#;

fn python_closes(path: &str) -> (u64, Vec<f64>) {
    let printed = python(READ, &[path]);
    let lines: Vec<&str> = printed.lines().collect();
    let number = lines[0].split(' ').next().unwrap().parse().unwrap();
    (number, lines[1].split(' ').map(|c| c.parse().unwrap()).collect())
}

#[tokio::test]
async fn python_reads_every_version_that_we_wrote() {
    let place = Place::shared();
    let table = place.lake().table(Layer::Clean, "BTC-USD-1h");
    let path = place.path().join("clean/BTC-USD-1h");
    let path = path.to_str().unwrap();
    table.replace(hours(0, 24), &candles(0, 24, 1.0), &info(1)).await.unwrap();
    for hour in 24..30 {
        table.append(&candles(hour, hour + 1, 2.0), &info(hour)).await.unwrap();
    }
    table.replace(hours(20, 26), &candles(20, 26, 3.0), &info(40)).await.unwrap();
    table.checkpoint().await.unwrap();
    table.compact(&info(50)).await.unwrap();
    table.replace(hours(0, 1), &candles(0, 1, 4.0), &info(60)).await.unwrap();
    table.checkpoint().await.unwrap();
    table.append(&candles(30, 31, 5.0), &info(61)).await.unwrap();

    let versions = table.versions().await.unwrap();
    assert_eq!(versions.len(), 11);
    let printed = python(
        "import sys; from deltalake import DeltaTable\n\
         for version in range(11):\n \
         rows = DeltaTable(sys.argv[1], version=version).to_pyarrow_table()\n \
         print(*rows.sort_by('time')['close'].to_pylist())",
        &[path],
    );
    for (info, line) in versions.iter().zip(printed.lines()) {
        let ours = closes(&table.read(AsOf::Version(info.version), None).await.unwrap());
        let theirs: Vec<f64> = line.split(' ').map(|c| c.parse().unwrap()).collect();
        assert_eq!(theirs, ours, "version {}", info.version);
    }
    assert_eq!(printed.lines().count(), versions.len());
    assert_eq!(python_closes(path).0, 10);

    let printed = python(READ, &[path]);
    let lines: Vec<&str> = printed.lines().collect();
    let time = "timestamp[us, tz=UTC]";
    let types = format!("string,{time},{time},{time},int32,double,double");
    assert_eq!(lines[0], format!("10 31 {types}"));
    assert!(lines[2].starts_with("2024-01-01T00:00 2024-01-01T01:00"), "{}", lines[2]);
    // Every third volume is missing, and Python sees it as missing.
    assert_eq!(lines[3], "11");

    // Its history shows our commits, with the times of our clock.
    let printed = python(
        "import sys; from deltalake import DeltaTable\n\
         for h in reversed(DeltaTable(sys.argv[1]).history()):\n \
         print(h['version'], h['timestamp'], h['operation'], h['foretellRun'])",
        &[path],
    );
    let first = format!("0 {} REPLACE run-1", at(1).millis());
    assert_eq!(printed.lines().next(), Some(first.as_str()));
    assert_eq!(printed.lines().count(), 11);
}

/// Writes a table of hourly rows in several commits, as other tools would.
const WRITE: &str = r#"
import sys, datetime as dt
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
path = sys.argv[1]
start = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
def rows(a, b, close):
    n = b - a
    return pa.table({
        "instrument": pa.array(["BTC-USD"] * n),
        "time": pa.array([start + dt.timedelta(hours=h) for h in range(a, b)], pa.timestamp("us", "UTC")),
        "known_at": pa.array([start + dt.timedelta(hours=h + 1) for h in range(a, b)], pa.timestamp("us", "UTC")),
        "ingested_at": pa.array([start] * n, pa.timestamp("us", "UTC")),
        "flags": pa.array([0] * n, pa.int32()),
        "close": pa.array([close] * n, pa.float64()),
        "volume": pa.array([None if h % 3 == 0 else float(h) for h in range(a, b)], pa.float64()),
    })
write_deltalake(path, rows(0, 10, 1.0))                                        # 0
write_deltalake(path, rows(10, 20, 2.0), mode="append")                        # 1
DeltaTable(path).create_checkpoint()
write_deltalake(path, rows(20, 22, 3.0), mode="append")                        # 2
DeltaTable(path).delete("close = 2.0 and time >= '2024-01-01T15:00:00Z'")      # 3
write_deltalake(path, rows(0, 4, 9.0), mode="overwrite")                       # 4
write_deltalake(path, rows(4, 6, 8.0), mode="append")                          # 5
DeltaTable(path).optimize.compact()                                            # 6
DeltaTable(path).create_checkpoint()
"#;

#[tokio::test]
async fn we_read_every_version_that_python_wrote_and_write_on() {
    let place = Place::shared();
    let path = place.path().join("clean/theirs");
    python(WRITE, &[path.to_str().unwrap()]);
    let table = place.lake().table(Layer::Clean, "theirs");
    let read = async |version| closes(&table.read(AsOf::Version(version), None).await.unwrap());
    let ones_and_twos = [vec![1.0; 10], vec![2.0; 10]].concat();
    assert_eq!(read(0).await, vec![1.0; 10]);
    assert_eq!(read(1).await, ones_and_twos);
    assert_eq!(read(2).await, [ones_and_twos.clone(), vec![3.0; 2]].concat());
    assert_eq!(read(3).await, [vec![1.0; 10], vec![2.0; 5], vec![3.0; 2]].concat());
    assert_eq!(read(4).await, vec![9.0; 4]);
    assert_eq!(read(5).await, [vec![9.0; 4], vec![8.0; 2]].concat());
    assert_eq!(read(6).await, [vec![9.0; 4], vec![8.0; 2]].concat());
    let part = table.read(AsOf::Version(3), Some(hours(8, 21))).await.unwrap();
    assert_eq!(closes(&part), [vec![1.0; 2], vec![2.0; 5], vec![3.0]].concat());

    // The same logical rows have the same fingerprint, whoever wrote them.
    let ours = candles(0, 4, 9.0);
    let theirs = table.read(AsOf::Version(4), None).await.unwrap();
    assert_eq!(rows_fingerprint(&theirs).unwrap(), rows_fingerprint(&ours).unwrap());

    // Their commits carry times too.
    let versions = table.versions().await.unwrap();
    assert!(versions.iter().all(|v| v.at.is_some() && v.run_id.is_none()), "{versions:?}");
    let last = versions.last().unwrap();
    assert_eq!(table.resolve(AsOf::Time(last.at.unwrap())).await.unwrap(), last.version);

    // Writing on is possible, and they read it.
    let next = table.replace(hours(3, 7), &candles(3, 7, 5.0), &info(1)).await.unwrap();
    assert_eq!(next, last.version + 1);
    table.compact(&info(2)).await.unwrap();
    table.checkpoint().await.unwrap();
    let (version, closes) = python_closes(path.to_str().unwrap());
    assert!(version >= next);
    assert_eq!(closes, [vec![9.0; 3], vec![5.0; 4]].concat());
}

#[tokio::test]
async fn python_writes_on_in_a_table_that_we_made() {
    let place = Place::shared();
    let table = place.lake().table(Layer::Clean, "shared");
    table.replace(hours(0, 5), &candles(0, 5, 1.0), &info(1)).await.unwrap();
    let program = r#"
import sys
from deltalake import DeltaTable, write_deltalake
rows = DeltaTable(sys.argv[1]).to_pyarrow_table().slice(0, 2)
write_deltalake(sys.argv[1], rows, mode="append")
"#;
    python(program, &[place.path().join("clean/shared").to_str().unwrap()]);
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!((read.num_rows(), table.versions().await.unwrap().len()), (7, 2));
    // A stranger's commit is a conflict for whoever began before it: it does not say
    // which rows it meant.
    let stale = info(2).based_on(0);
    let error = table.replace(hours(4, 5), &candles(4, 5, 2.0), &stale).await.unwrap_err();
    assert!(matches!(error, LakeError::Conflict { winner: 1, .. }), "{error}");
    table.replace(hours(0, 2), &candles(0, 2, 3.0), &info(3)).await.unwrap();
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(closes(&read), [3.0, 3.0, 1.0, 1.0, 1.0]);
}

#[tokio::test]
async fn tables_with_features_beyond_ours_are_read_but_not_written() {
    let place = Place::shared();
    let path = place.path().join("clean/parted");
    let program = r#"
import sys, datetime as dt
import pyarrow as pa
from deltalake import write_deltalake
time = [dt.datetime(2024, 1, d, tzinfo=dt.timezone.utc) for d in (1, 2, 3)]
known = pa.array(time, pa.timestamp("us", "UTC"))
rows = pa.table({"instrument": ["A-B"] * 3, "time": known, "known_at": known,
                 "day": ["x y", "y", "y"], "close": [1.0, 2.0, 3.0]})
write_deltalake(sys.argv[1], rows, partition_by=["day"])
"#;
    python(program, &[path.to_str().unwrap()]);
    let table = place.lake().table(Layer::Clean, "parted");
    let read = table.read(AsOf::Latest, None).await.unwrap();
    assert_eq!(closes(&read), [1.0, 2.0, 3.0]);
    let now = Timestamp::from_secs(0);
    let interval = now..Timestamp::MAX;
    let error = table.replace(interval, &read, &info(1)).await.unwrap_err();
    assert!(matches!(error, LakeError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("it is partitioned by day"), "{error}");
}
