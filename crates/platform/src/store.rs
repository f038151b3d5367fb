//! The stores of a data directory, opened together: registry, lake, clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use foretell_lake::{AsOf, CommitInfo, Lake, LakeError, Layer, Version};
use foretell_market::{Clock, Fingerprint, Timestamp};
use foretell_panel::arrow::record_batch::RecordBatch;
use foretell_panel::{Frame, RawTable};
use foretell_registry::Registry;
use foretell_source::HttpSettings;
use url::Url;

use crate::data_dir::DataDir;
use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::raw_rows;

/// Everything that a use case reads and writes.
pub(crate) struct Store {
    pub(crate) dir: DataDir,
    pub(crate) registry: Registry,
    pub(crate) lake: Lake,
    pub(crate) clock: Arc<dyn Clock>,
    /// One for the process: vendors' rate budgets are shared by everything it does.
    pub(crate) http: HttpSettings,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the stores of a directory that this process owns.
    pub(crate) async fn open(dir: DataDir, clock: Arc<dyn Clock>) -> Result<Self, PlatformError> {
        let registry = Registry::open(&dir.registry()).await?;
        let lake = open_lake(&dir.lake())?;
        let store = Self { dir, registry, lake, clock, http: HttpSettings::default() };
        // Runs of a process that died are not running any more.
        store.registry.cancel_unfinished(store.clock.now()).await?;
        Ok(store)
    }

    /// What a commit of a run says of itself.
    pub(crate) fn commit(&self, run: &str, source: Option<Fingerprint>) -> CommitInfo {
        let mut info = CommitInfo::new(run, self.clock.now());
        info.source = source;
        info
    }

    /// Replaces the rows of a table over the span of `batch`; equal rows make no version.
    pub(crate) async fn put(
        &self,
        layer: Layer,
        name: &str,
        span: std::ops::Range<Timestamp>,
        batch: RecordBatch,
        info: &CommitInfo,
    ) -> Result<Version, PlatformError> {
        let what = format!("writing {layer}/{name}");
        let table = self.lake.table(layer, name);
        table.replace(span, &batch, info).await.map_err(PlatformError::lake(&what))
    }

    /// The raw rows of a pipeline as of a version, if it has any.
    pub(crate) async fn raw(
        &self,
        pipeline: &Pipeline,
        at: AsOf,
    ) -> Result<Option<(Version, RawTable)>, PlatformError> {
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        let read = match table.read_versioned(at, None).await {
            Err(LakeError::NoTable { .. }) => return Ok(None),
            other => other.map_err(PlatformError::lake("reading raw rows"))?,
        };
        let (version, batch) = read;
        let origin = format!("raw/{} version {version}", pipeline.name);
        let rows = raw_rows::from_batch(&batch, &pipeline.instrument, pipeline.interval, &origin);
        let rows =
            rows.map_err(|message| PlatformError::Mismatch(format!("{origin}: {message}")))?;
        Ok(Some((version, rows)))
    }

    /// Stores raw rows over the span from their first to their last interval, unless
    /// the very same rows are there. Returns the version that holds them.
    pub(crate) async fn put_raw(
        &self,
        pipeline: &Pipeline,
        rows: &RawTable,
        run: &str,
    ) -> Result<Version, PlatformError> {
        let Some(span) = span(rows.rows.iter().map(|r| r.time), pipeline) else {
            return Err(PlatformError::not_found(
                format!("row in {}", rows.origin),
                "check `from` and `to` of [source], and that the file is not empty",
            ));
        };
        if let Some((version, there)) = self.raw(pipeline, AsOf::Latest).await? {
            let inside = |t: &Timestamp| span.contains(t);
            if same_rows(rows, &there, inside) {
                return Ok(version);
            }
        }
        let info = self.commit(run, None);
        self.put(Layer::Raw, &pipeline.name, span, raw_rows::to_batch(rows), &info).await
    }

    /// Stores a frame of a derived layer over its own span.
    pub(crate) async fn put_frame(
        &self,
        layer: Layer,
        pipeline: &Pipeline,
        frame: &Frame,
        run: &str,
        source: Fingerprint,
    ) -> Result<Version, PlatformError> {
        let Some(span) = span(frame.rows().iter().map(|r| r.time), pipeline) else {
            return Err(PlatformError::not_found(
                format!("row for {layer}/{}", pipeline.name),
                "the rows are fewer than the features' warm-up",
            ));
        };
        let info = self.commit(run, Some(source));
        self.put(layer, &pipeline.name, span, frame.to_record_batch(), &info).await
    }

    /// The clean rows of a pipeline, if it has any.
    pub(crate) async fn clean(&self, pipeline: &Pipeline) -> Result<Option<Frame>, PlatformError> {
        let table = self.lake.table(Layer::Clean, &pipeline.name);
        let batch = match table.read(AsOf::Latest, None).await {
            Err(LakeError::NoTable { .. }) => return Ok(None),
            other => other.map_err(PlatformError::lake("reading clean rows"))?,
        };
        let frame = Frame::from_record_batch(&batch, pipeline.interval);
        frame.map(Some).map_err(|e| PlatformError::Mismatch(format!("clean rows: {e}")))
    }
}

fn open_lake(folder: &Path) -> Result<Lake, PlatformError> {
    let fail = |source| PlatformError::Read { path: folder.to_owned(), source };
    let absolute = std::fs::canonicalize(folder).map_err(fail)?;
    let url = Url::from_directory_path(&absolute).map_err(|()| PlatformError::Usage {
        message: format!("{} cannot be written as a URL", absolute.display()),
        hint: "name another --data-dir".to_owned(),
    })?;
    Lake::open(&url, &BTreeMap::new()).map_err(PlatformError::lake("opening it"))
}

fn span(
    times: impl Iterator<Item = Timestamp> + Clone,
    pipeline: &Pipeline,
) -> Option<std::ops::Range<Timestamp>> {
    Some(times.clone().min()?..times.max()? + pipeline.interval)
}

/// Whether stored rows of a span are the new ones; when they were taken in does not count.
fn same_rows(new: &RawTable, stored: &RawTable, inside: impl Fn(&Timestamp) -> bool) -> bool {
    let kept: Vec<usize> = (0..stored.len()).filter(|&i| inside(&stored.rows[i].time)).collect();
    if kept.len() != new.len() || new.columns.len() != stored.columns.len() {
        return false;
    }
    let mut order: Vec<usize> = (0..new.len()).collect();
    order.sort_by_key(|&i| (new.positions[i], new.rows[i].time));
    let mut there = kept;
    there.sort_by_key(|&i| (stored.positions[i], stored.rows[i].time));
    let same_meta = order.iter().zip(&there).all(|(&a, &b)| {
        let (x, y) = (new.rows[a], stored.rows[b]);
        new.positions[a] == stored.positions[b]
            && (x.time, x.known_at, x.flags) == (y.time, y.known_at, y.flags)
    });
    same_meta
        && new.faults == stored.faults
        && new.columns.iter().all(|column| {
            stored.column(&column.name).is_some_and(|values| {
                order.iter().zip(&there).all(|(&a, &b)| {
                    let (x, y): (f64, f64) = (column.values[a], values[b]);
                    x == y || (x.is_nan() && y.is_nan())
                })
            })
        })
}
