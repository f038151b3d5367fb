//! What the tests of the lake share: places to put one, and small tables.

#![allow(dead_code, reason = "every test file uses some of these")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimestampMicrosecondType};
use foretell_lake::{CommitInfo, Lake, raw_to_record_batch};
use foretell_market::{Interval, Timestamp};
use foretell_panel::{Column, Frame, RawTable, RowMeta};
use foretell_testkit::{AZURE_ACCOUNT, AZURE_KEY, Server};
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectMeta, ObjectStoreExt as _};
use tempfile::TempDir;
use url::Url;

/// 2024-01-01T00:00:00Z in seconds.
const START: i64 = 1_704_067_200;

/// An hour after the start of the test data.
pub(crate) fn hour(hour: i64) -> Timestamp {
    Timestamp::from_secs(START + hour * 3_600)
}

/// The hours from one to another, the last excluded.
pub(crate) fn hours(from: i64, to: i64) -> Range<Timestamp> {
    hour(from)..hour(to)
}

/// A time of a commit, long before the machine's clock.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(START - 1_000_000 + second)
}

/// The commit of a run at a second.
pub(crate) fn info(second: i64) -> CommitInfo {
    CommitInfo::new(format!("run-{second}"), at(second))
}

/// Hourly rows of one price, with a missing volume in every third.
pub(crate) fn candles(from: i64, to: i64, close: f64) -> RecordBatch {
    let rows: Vec<RowMeta> =
        (from..to).map(|h| RowMeta::at_close(hour(h), Interval::HOUR)).collect();
    let volume = (from..to).map(|h| if h % 3 == 0 { f64::NAN } else { h as f64 }).collect();
    let columns =
        vec![Column::new("close", vec![close; rows.len()]), Column::new("volume", volume)];
    let instrument = foretell_testkit::instrument();
    Frame::new(instrument, Interval::HOUR, rows, columns).unwrap().to_record_batch()
}

/// Raw rows of (hour, price), positions counted from 1.
pub(crate) fn raw(rows: &[(i64, f64)]) -> RecordBatch {
    let meta = |(h, _): &(i64, f64)| RowMeta::at_close(hour(*h), Interval::HOUR);
    raw_to_record_batch(&RawTable {
        instrument: foretell_testkit::instrument(),
        interval: Interval::HOUR,
        origin: "test".to_owned(),
        positions: (1..=rows.len() as u64).collect(),
        rows: rows.iter().map(meta).collect(),
        columns: vec![Column::new("close", rows.iter().map(|r| r.1).collect())],
        faults: vec![],
    })
}

/// The `close` column.
pub(crate) fn closes(batch: &RecordBatch) -> Vec<f64> {
    let column = batch.column_by_name("close").unwrap();
    column.as_primitive::<Float64Type>().values().to_vec()
}

/// The same rows with a column of another type.
pub(crate) fn with_column(batch: &RecordBatch, name: &str, to: &DataType) -> RecordBatch {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (vec![], vec![]);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let kind = if field.name() == name { to } else { field.data_type() };
        fields.push(Field::new(field.name(), kind.clone(), field.is_nullable()));
        columns.push(cast(column, kind).unwrap());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The same rows, known some hours later.
pub(crate) fn known_later(batch: &RecordBatch, hours: i64) -> RecordBatch {
    let index = batch.schema().index_of("known_at").unwrap();
    let known = batch.column(index).as_primitive::<TimestampMicrosecondType>();
    let later = known.values().iter().map(|t| t + hours * 3_600_000_000);
    let mut columns = batch.columns().to_vec();
    columns[index] =
        Arc::new(TimestampMicrosecondArray::from_iter_values(later).with_timezone("UTC"));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Where a test's lake lies.
#[derive(Debug)]
pub(crate) struct Place {
    store: Arc<DynObjectStore>,
    /// The directory, for a local lake.
    pub(crate) directory: Option<TempDir>,
    /// The address and its options, for a lake on a server.
    address: Option<(Url, BTreeMap<String, String>)>,
}

impl Place {
    /// A new directory, with a name that needs escaping in URLs.
    pub(crate) fn local() -> Self {
        Self::in_directory("a lake ü#1 %41")
    }

    /// A new directory that other tools find too: some take `%41` for `A`.
    pub(crate) fn shared() -> Self {
        Self::in_directory("a lake ü")
    }

    fn in_directory(prefix: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
        Self { store, directory: Some(directory), address: None }
    }

    /// A new store in memory.
    pub(crate) fn memory() -> Self {
        Self { store: Arc::new(InMemory::new()), directory: None, address: None }
    }

    /// A prefix of the bucket `lakes` on an S3 server.
    pub(crate) fn s3(server: &Server, prefix: &str) -> Self {
        let options = [
            ("aws_endpoint", server.url()),
            ("aws_allow_http", "true".to_owned()),
            ("aws_region", "us-east-1".to_owned()),
            ("aws_access_key_id", "anyone".to_owned()),
            ("aws_secret_access_key", "anything".to_owned()),
        ];
        Self::on_server(&format!("s3://lakes/{prefix}"), options)
    }

    /// A prefix of the container `lakes` on an Azure Blob server.
    pub(crate) fn azure(server: &Server, prefix: &str) -> Self {
        let options = [
            ("azure_storage_endpoint", format!("{}/{AZURE_ACCOUNT}", server.url())),
            ("azure_allow_http", "true".to_owned()),
            ("azure_storage_account_name", AZURE_ACCOUNT.to_owned()),
            ("azure_storage_account_key", AZURE_KEY.to_owned()),
        ];
        Self::on_server(&format!("az://lakes/{prefix}"), options)
    }

    fn on_server<const N: usize>(url: &str, options: [(&str, String); N]) -> Self {
        let url = Url::parse(url).unwrap();
        let options: BTreeMap<String, String> =
            options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (store, path) = object_store::parse_url_opts(&url, &options).unwrap();
        let store = Arc::new(PrefixStore::new(store, path));
        Self { store, directory: None, address: Some((url, options)) }
    }

    pub(crate) fn lake(&self) -> Lake {
        match (&self.directory, &self.address) {
            (Some(directory), _) => open(directory.path()),
            (_, Some((url, options))) => Lake::open(url, options).unwrap(),
            _ => Lake::with_store(Arc::clone(&self.store), "some/lake".into()),
        }
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    /// Overwrites every object under a folder of the lake.
    pub(crate) async fn damage(&self, folder: &str, bytes: &'static [u8]) {
        let objects: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        let inside = |o: &ObjectMeta| o.location.parts().any(|p| p.as_ref() == folder);
        for object in objects.into_iter().filter(inside) {
            self.store.put(&object.location, bytes.into()).await.unwrap();
        }
    }
}

/// The lake in a directory.
pub(crate) fn open(directory: &Path) -> Lake {
    Lake::open(&Url::from_directory_path(directory).unwrap(), &BTreeMap::new()).unwrap()
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs a Python program with arguments and returns what it printed.
#[track_caller]
pub(crate) fn python(program: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os("FORETELL_PYTHON")
        .map_or_else(|| repository().join(".venv/bin/python"), PathBuf::from);
    // A program that came to its end leaves at once: taking its thread pools down in
    // order is a race that pyarrow sometimes loses, with "terminate called".
    let program = format!("{program}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n");
    let output = Command::new(&python).arg("-c").arg(program).args(arguments).output();
    let Ok(output) = output else {
        panic!("{} cannot be run: run `make python`", python.display());
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python failed:\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}
