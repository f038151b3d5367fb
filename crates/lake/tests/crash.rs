//! A writer that dies at any step: the last version stays readable, and the next
//! write succeeds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use foretell_lake::{AsOf, Lake, LakeError, Layer, Table};
use foretell_market::{Fingerprint, Timestamp};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, DynObjectStore, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use support::{candles, closes, hours, info};

/// Whether the operation at which the writer dies was done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    After,
}

/// A store whose operations all fail from the n-th on, as for a killed process.
#[derive(Debug)]
struct FaultyStore {
    inner: Arc<DynObjectStore>,
    left: AtomicUsize,
    death: Death,
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

fn dead() -> Error {
    Error::Generic { store: "faulty", source: "the writer was killed".into() }
}

impl FaultyStore {
    fn new(inner: Arc<DynObjectStore>, operations: usize, death: Death) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicUsize::new(operations), death })
    }

    /// Whether the operation may be done, and whether its answer arrives.
    fn step(&self) -> (bool, bool) {
        let take = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(1) => (self.death == Death::After, false),
            Ok(_) => (true, true),
            Err(_) => (false, false),
        }
    }

    async fn run<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let (done, answered) = self.step();
        if !done {
            return Err(dead());
        }
        let result = operation.await;
        if answered { result } else { Err(dead()) }
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.run(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.run(self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.run(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.step() {
            (true, true) => self.inner.delete_stream(locations),
            (true, false) => {
                let done = self.inner.delete_stream(locations);
                done.map(|_| Err(dead())).boxed()
            }
            _ => stream::once(async { Err(dead()) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step() {
            (true, true) => self.inner.list(prefix),
            _ => stream::once(async { Err(dead()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(self.inner.copy_opts(from, to, options)).await
    }
}

/// Where the table lies.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Memory,
    Local,
}

/// A write that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Create,
    Append,
    Replace,
    Compact,
    Checkpoint,
    Vacuum,
}

impl Write {
    /// The rows of the table when the write went through.
    fn rows(self) -> Vec<f64> {
        match self {
            Self::Create => vec![5.0; 3],
            Self::Append => vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 5.0],
            Self::Replace => vec![1.0, 1.0, 5.0, 5.0, 2.0, 2.0],
            Self::Compact | Self::Checkpoint | Self::Vacuum => {
                vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
            }
        }
    }

    async fn run(self, table: &Table) -> std::result::Result<(), LakeError> {
        let info = info(9);
        match self {
            Self::Create => table.replace(hours(0, 3), &candles(0, 3, 5.0), &info).await.map(drop),
            Self::Append => table.append(&candles(6, 7, 5.0), &info).await.map(drop),
            Self::Replace => table.replace(hours(2, 4), &candles(2, 4, 5.0), &info).await.map(drop),
            Self::Compact => table.compact(&info).await.map(drop),
            Self::Checkpoint => table.checkpoint().await.map(drop),
            Self::Vacuum => {
                let retention = std::time::Duration::from_secs(60);
                table.vacuum(&[], Timestamp::MAX, retention).await.map(drop)
            }
        }
    }
}

/// Writes the table as it was before the write, and answers its rows.
async fn before(write: Write, store: &Arc<DynObjectStore>) -> Vec<f64> {
    if write == Write::Create {
        return vec![];
    }
    let table = table(Arc::clone(store));
    table.append(&candles(0, 3, 7.0), &info(0)).await.expect("a good store");
    table.append(&candles(3, 6, 2.0), &info(1)).await.expect("a good store");
    table.replace(hours(0, 3), &candles(0, 3, 1.0), &info(2)).await.expect("a good store");
    vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
}

fn table(store: Arc<DynObjectStore>) -> Table {
    Lake::with_store(store, "lake".into()).table(Layer::Clean, "t")
}

async fn latest(table: &Table) -> Vec<f64> {
    match table.read(AsOf::Latest, None).await {
        Ok(batch) => closes(&batch),
        Err(LakeError::NoTable { .. }) => vec![],
        Err(error) => panic!("the last version is unreadable: {error}"),
    }
}

/// Kills the write at its first operation, its second, and so on until it succeeds.
async fn kill_at_every_step(write: Write, death: Death, kind: Kind) {
    for operations in 1.. {
        let directory = tempfile::tempdir().expect("a directory");
        let store: Arc<DynObjectStore> = match kind {
            Kind::Memory => Arc::new(InMemory::new()),
            Kind::Local => {
                let local = LocalFileSystem::new_with_prefix(directory.path());
                Arc::new(local.expect("the directory exists"))
            }
        };
        let old = before(write, &store).await;
        let healthy = table(Arc::clone(&store));
        let faulty = FaultyStore::new(Arc::clone(&store), operations, death);
        let result = write.run(&table(faulty)).await;
        let found = latest(&healthy).await;
        let new = write.rows();
        match &result {
            Ok(()) => assert_eq!(found, new, "{write:?} succeeded"),
            Err(_) => assert!(found == old || found == new, "{write:?} {operations}: {found:?}"),
        }
        // Whatever was left behind, the same write and another one go through.
        write.run(&healthy).await.expect("the next write succeeds");
        assert_eq!(latest(&healthy).await, new, "{write:?} after {operations} operations");
        healthy.append(&candles(50, 51, 8.0), &info(20)).await.expect("the next write succeeds");
        assert_eq!(latest(&healthy).await.last(), Some(&8.0));
        if result.is_ok() {
            assert!(operations > 2, "{write:?} was never killed");
            return;
        }
        assert!(operations < 200, "{write:?} never succeeds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_creation_harms_nothing() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Create, Death::Before, kind).await;
        kill_at_every_step(Write::Create, Death::After, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_append_harms_nothing_and_is_not_done_twice() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Append, Death::Before, kind).await;
        kill_at_every_step(Write::Append, Death::After, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replacement_harms_nothing() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Replace, Death::Before, kind).await;
        kill_at_every_step(Write::Replace, Death::After, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_compaction_harms_nothing() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Compact, Death::Before, kind).await;
        kill_at_every_step(Write::Compact, Death::After, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_checkpoint_harms_nothing() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Checkpoint, Death::Before, kind).await;
        kill_at_every_step(Write::Checkpoint, Death::After, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_vacuum_harms_nothing() {
    for kind in [Kind::Memory, Kind::Local] {
        kill_at_every_step(Write::Vacuum, Death::Before, kind).await;
        kill_at_every_step(Write::Vacuum, Death::After, kind).await;
    }
}

#[tokio::test]
async fn a_killed_artifact_is_absent_or_whole() {
    for operations in 1..=2 {
        for death in [Death::Before, Death::After] {
            let store: Arc<DynObjectStore> = Arc::new(InMemory::new());
            let faulty = FaultyStore::new(Arc::clone(&store), operations, death);
            let put = Lake::with_store(faulty, "lake".into()).put_artifact(&b"model"[..]).await;
            let lake = Lake::with_store(store, "lake".into());
            match lake.artifact(&Fingerprint::of_bytes(b"model")).await {
                Ok(bytes) => assert_eq!(bytes, &b"model"[..]),
                Err(error) => assert!(put.is_err(), "{error}"),
            }
            lake.put_artifact(&b"model"[..]).await.expect("the next write succeeds");
        }
    }
}
