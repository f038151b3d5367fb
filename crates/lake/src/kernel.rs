//! The door to `delta_kernel`: the state of a table at a version, its rows, and
//! checkpoints. Nothing else in the house names the kernel.
//!
//! The kernel is synchronous and asks an executor to run its reads. It is called on
//! a blocking thread and uses the caller's runtime; only when that runtime has a
//! single thread, on which the kernel would wait for itself, a small one of its own.

use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
use delta_kernel::engine::arrow_data::EngineDataArrowExt as _;
use delta_kernel::expressions::Scalar;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::snapshot::CheckpointWriteResult;
use delta_kernel::{
    Engine, Expression, KernelError, KernelResult, Predicate, PredicateRef, Snapshot, SnapshotRef,
};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use foretell_market::Timestamp;
use object_store::DynObjectStore;
use object_store::path::Path;
use tokio::runtime::{Handle, RuntimeFlavor};
use url::Url;

use crate::Version;

/// How many files the kernel reads at once; by default it is a thousand, which on a
/// local directory means as many threads.
const READ_AHEAD: NonZero<usize> = NonZero::new(8).expect("not zero");

/// How many rows the kernel hands over at once.
const BATCH_ROWS: NonZero<usize> = NonZero::new(65_536).expect("not zero");

/// A live data file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Relative to the table, percent-encoded, as the log names it.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: i64,
    /// Rows, where the log tells.
    pub(crate) rows: Option<u64>,
}

/// A table at one version.
#[derive(Clone)]
pub(crate) struct State {
    engine: Arc<dyn Engine>,
    snapshot: SnapshotRef,
}

/// Runs kernel work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> KernelResult<T> + Send + 'static,
) -> KernelResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A decoder that meets bytes it did not expect may give up by panicking; nothing
        // was written by then.
        Err(error) if error.is_panic() => Err(KernelError::generic(
            "a file of the table is damaged, its decoder gave up: restore it from a copy",
        )),
        Err(error) => Err(KernelError::generic(format!("a task died: {error}"))),
    }
}

/// The executor for the runtime that the caller is on.
fn executor() -> KernelResult<Arc<TokioMultiThreadExecutor>> {
    static OWN: OnceLock<Arc<TokioMultiThreadExecutor>> = OnceLock::new();
    let handle = Handle::current();
    if handle.runtime_flavor() == RuntimeFlavor::MultiThread {
        return Ok(Arc::new(TokioMultiThreadExecutor::new(handle)));
    }
    if let Some(own) = OWN.get() {
        return Ok(Arc::clone(own));
    }
    let own = Arc::new(TokioMultiThreadExecutor::new_owned_runtime(Some(1), Some(8))?);
    // When two threads come here at once, the loser's runtime must not be dropped on a
    // runtime thread; keeping it costs one idle thread, once.
    if let Err(own) = OWN.set(Arc::clone(&own)) {
        std::mem::forget(own);
    }
    Ok(Arc::clone(OWN.get().unwrap_or(&own)))
}

/// The state of the table at a path of the store, at a version or the latest.
pub(crate) async fn open(
    store: Arc<DynObjectStore>,
    root: &Path,
    version: Option<Version>,
) -> KernelResult<State> {
    // The kernel maps the path of a URL onto the store, except that `file:` goes to the
    // machine's root; the store here begins at the lake. The end of the host makes the
    // kernel sort listings itself, which a directory does not.
    let url = Url::parse(&format!("lake://tables--x-s3/{root}/"))?;
    let executor = executor()?;
    blocking(move || {
        let engine: Arc<dyn Engine> = Arc::new(
            DefaultEngineBuilder::new(store)
                .with_task_executor(executor)
                .with_buffer_size(READ_AHEAD)
                .with_batch_size(BATCH_ROWS)
                .build(),
        );
        let builder = Snapshot::builder_for(url);
        let builder = match version {
            Some(version) => builder.at_version(version),
            None => builder,
        };
        let snapshot = builder.build(engine.as_ref())?;
        Ok(State { engine, snapshot })
    })
    .await
}

/// What is true of the files that may hold rows of an interval.
fn predicate(interval: Option<&Range<Timestamp>>) -> Option<PredicateRef> {
    let interval = interval?;
    let time = || Expression::column(["time"]);
    let at = |t: Timestamp| Expression::literal(Scalar::Timestamp(t.micros()));
    let (from, to) = (at(interval.start), at(interval.end));
    Some(Arc::new(Predicate::and(Predicate::ge(time(), from), Predicate::lt(time(), to))))
}

impl State {
    /// The version.
    pub(crate) fn version(&self) -> Version {
        self.snapshot.version()
    }

    /// The columns.
    pub(crate) fn schema(&self) -> KernelResult<SchemaRef> {
        let schema: Schema = self.snapshot.schema().as_ref().try_into_arrow()?;
        Ok(Arc::new(schema))
    }

    /// A property of the table.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        self.snapshot.table_configuration().metadata().configuration().get(name).cloned()
    }

    /// Why the JSON commits of `log` would be wrong for this table, if they would.
    pub(crate) fn foreign(&self) -> Option<String> {
        let table = self.snapshot.table_configuration();
        let protocol = table.protocol();
        let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
        let harmless = |name: &str| ["appendOnly", "invariants"].contains(&name);
        let features = protocol.writer_features().unwrap_or_default();
        let features: Vec<&str> =
            features.iter().map(AsRef::as_ref).filter(|name| !harmless(name)).collect();
        let partitions = table.metadata().partition_columns();
        if !features.is_empty() {
            Some(format!("it uses {}", features.join(", ")))
        } else if (3..7).contains(&writer) || (2..3).contains(&reader) {
            Some(format!("its protocol is reader {reader}, writer {writer}"))
        } else if !partitions.is_empty() {
            Some(format!("it is partitioned by {}", partitions.join(", ")))
        } else if self.property("delta.appendOnly").as_deref() == Some("true") {
            Some("it is append-only".to_owned())
        } else {
            None
        }
    }

    /// Whether the log holds this transaction of an append.
    pub(crate) async fn has_transaction(&self, app_id: String) -> KernelResult<bool> {
        let Self { engine, snapshot } = self.clone();
        blocking(move || Ok(snapshot.get_app_id_version(&app_id, engine.as_ref())?.is_some())).await
    }

    /// The live files, or those of them that may hold rows of an interval.
    pub(crate) async fn files(
        &self,
        interval: Option<&Range<Timestamp>>,
    ) -> KernelResult<Vec<DataFile>> {
        fn collect(files: &mut Vec<DataFile>, file: ScanFile) {
            let rows = file.stats.map(|s| s.num_records);
            files.push(DataFile { path: file.path, size: file.size, rows });
        }
        let (Self { engine, snapshot }, predicate) = (self.clone(), predicate(interval));
        blocking(move || {
            let scan = snapshot.scan_builder().with_predicate(predicate).build()?;
            let mut files = Vec::new();
            for metadata in scan.scan_metadata(engine.as_ref())? {
                files = metadata?.visit_scan_files(files, collect)?;
            }
            files.sort_by(|a: &DataFile, b| a.path.cmp(&b.path));
            Ok(files)
        })
        .await
    }

    /// The rows, in pieces and in any order. With an interval some rows outside of it
    /// may be left out, and some may come along.
    pub(crate) async fn rows(
        &self,
        interval: Option<&Range<Timestamp>>,
    ) -> KernelResult<Vec<RecordBatch>> {
        let (Self { engine, snapshot }, predicate) = (self.clone(), predicate(interval));
        blocking(move || {
            let scan = snapshot.scan_builder().with_predicate(predicate).build()?;
            scan.execute(engine)?.map(|data| data?.try_into_record_batch()).collect()
        })
        .await
    }

    /// Writes a checkpoint of this version; `false` when there is one.
    pub(crate) async fn checkpoint(&self) -> KernelResult<bool> {
        let Self { engine, snapshot } = self.clone();
        blocking(move || {
            let (result, _) = snapshot.checkpoint(engine.as_ref(), None)?;
            Ok(matches!(result, CheckpointWriteResult::Written))
        })
        .await
    }
}
