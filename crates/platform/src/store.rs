//! The stores of a data directory, opened together: registry, lake, clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use foretell_lake::{AsOf, CommitInfo, Lake, LakeError, Layer, Version, raw_to_record_batch};
use foretell_market::{Clock, Fingerprint, Interval, RowFlags, Timestamp};
use foretell_panel::arrow::record_batch::RecordBatch;
use foretell_panel::{Arrival, Column, Frame, KnownAt, RawTable, RowMeta};
use foretell_quality::QuarantinedRow;
use foretell_registry::{ForecastFilter, Registry};
use foretell_source::HttpSettings;
use url::Url;

use crate::clock::StoreClock;
use crate::data_dir::DataDir;
use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::versions::{self, Versions};
use crate::{extract, market};

/// How many versions of a table lie between two rounds of upkeep.
const VERSIONS_BETWEEN_UPKEEP: Version = 32;
/// How old a file must be before upkeep may remove it.
const RETENTION: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// Everything that a use case reads and writes.
pub(crate) struct Store {
    pub(crate) dir: DataDir,
    pub(crate) registry: Registry,
    pub(crate) lake: Lake,
    /// Of one process and this store: see [`StoreClock`].
    pub(crate) clock: Arc<StoreClock>,
    /// One for the process: vendors' rate budgets are shared by everything it does.
    pub(crate) http: HttpSettings,
    /// The clean rows that were read last, by pipeline.
    kept: Mutex<BTreeMap<String, Kept>>,
    /// The pipelines whose forecasts this process has exported whole.
    exported: Mutex<BTreeSet<String>>,
    /// Of the raw rows that were read last, by pipeline: the version of their table and
    /// the latest instant at which one of them is known.
    pub(crate) heads: Mutex<BTreeMap<String, (Version, Timestamp)>>,
}

/// Decoded rows with the version that they are.
#[derive(Clone)]
struct Kept {
    version: Version,
    interval: Interval,
    rows: Arc<Frame>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the stores of a directory that this process owns.
    pub(crate) async fn open(
        dir: DataDir,
        lake: Option<&Url>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PlatformError> {
        let registry = Registry::open(&dir.registry()).await?;
        let lake = match lake {
            Some(url) => {
                Lake::open(url, &store_options()).map_err(PlatformError::lake("opening it"))?
            }
            None => open_lake(&dir.lake())?,
        };
        // Waits differ from process to process, so that many do not come back together.
        let jitter_seed = clock.now().micros().unsigned_abs() ^ u64::from(std::process::id());
        let http = HttpSettings { jitter_seed, ..HttpSettings::default() };
        let clock = Arc::new(StoreClock::new(clock));
        let store = Self {
            dir,
            registry,
            lake,
            clock,
            http,
            kept: Mutex::default(),
            exported: Mutex::default(),
            heads: Mutex::default(),
        };
        // Runs of a process that died are not running any more.
        store.registry.cancel_unfinished(store.clock.now()).await?;
        store.set_clock().await?;
        Ok(store)
    }

    /// Puts the clock behind everything that is stored: what was read and taken in.
    async fn set_clock(&self) -> Result<(), PlatformError> {
        let read = self.registry.params_named("read_at").await?;
        let read = read.values().filter_map(|at| at.parse().ok()).max();
        read.into_iter().for_each(|at| self.clock.is_past(at));
        let failed = |e| PlatformError::lake("looking for the latest rows")(e);
        for name in self.lake.tables(Layer::Raw).await.map_err(failed)? {
            let latest = self.lake.table(Layer::Raw, &name).latest().await.map_err(failed)?;
            latest.and_then(|v| v.at).into_iter().for_each(|at| self.clock.is_past(at));
        }
        Ok(())
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

    /// The versions of a pipeline's raw rows as of a version of their table, as they were
    /// known at an instant on both clocks, if there is a table.
    pub(crate) async fn versions(
        &self,
        pipeline: &Pipeline,
        at: AsOf,
        known: KnownAt,
    ) -> Result<Option<Versions>, PlatformError> {
        let Some((version, batch)) = self.raw_batch(pipeline, at, None).await? else {
            return Ok(None);
        };
        let versions = Versions::new(pipeline, version, batch, known)?;
        let latest = versions.rows.iter().map(|r| r.known_at).max();
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let head = (version, latest.unwrap_or(Timestamp::MIN));
        // Reading an old version says nothing of the present one.
        match heads.get(&pipeline.name) {
            Some((newer, _)) if *newer > version => {}
            _ => drop(heads.insert(pipeline.name.clone(), head)),
        }
        drop(heads);
        Ok(Some(versions))
    }

    /// Raw rows of a pipeline as of a version, every version of them, if there is a table.
    async fn raw_batch(
        &self,
        pipeline: &Pipeline,
        at: AsOf,
        span: Option<std::ops::Range<Timestamp>>,
    ) -> Result<Option<(Version, RecordBatch)>, PlatformError> {
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        match table.read_versioned(at, span).await {
            Err(LakeError::NoTable { .. }) => Ok(None),
            other => other.map(Some).map_err(PlatformError::lake("reading raw rows")),
        }
    }

    /// Whether any raw rows are stored.
    pub(crate) async fn has_raw(&self, pipeline: &Pipeline) -> Result<bool, PlatformError> {
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        match table.sample(AsOf::Latest).await {
            Err(LakeError::NoTable { .. }) => Ok(false),
            other => {
                let rows = other.map_err(PlatformError::lake("reading raw rows"))?;
                Ok(rows.num_rows() > 0)
            }
        }
    }

    /// Some raw rows of a table that is there.
    async fn some_raw(&self, pipeline: &Pipeline) -> Result<RecordBatch, PlatformError> {
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        table.sample(AsOf::Latest).await.map_err(PlatformError::lake("reading raw rows"))
    }

    /// How many rows taking these in would add.
    pub(crate) async fn changes(
        &self,
        pipeline: &Pipeline,
        rows: &RawTable,
    ) -> Result<usize, PlatformError> {
        let now = self.clock.now();
        Ok(self.additions(pipeline, rows, false, now).await?.1.map_or(0, |added| added.len()))
    }

    /// The present version of the raw table, and what these rows add to it. Reads no more
    /// than the span of the rows, unless they are a whole history.
    async fn additions(
        &self,
        pipeline: &Pipeline,
        rows: &RawTable,
        whole: bool,
        now: Timestamp,
    ) -> Result<(Option<Version>, Option<RawTable>), PlatformError> {
        let Some(span) = span(rows.rows.iter().map(|r| r.time), pipeline) else {
            return Ok((None, None));
        };
        let arrival = match extract::is_whole(&pipeline.source.kind) {
            true => Arrival::Import { whole },
            false => Arrival::Vendor,
        };
        let span = (!whole).then_some(span);
        let stored = self.raw_batch(pipeline, AsOf::Latest, span).await?;
        let version = stored.as_ref().map(|(version, _)| *version);
        let batch = match stored {
            Some((_, batch)) => {
                // Rows of another instrument under this name are refused before anything;
                // where the span holds none, some of the others tell.
                let some = match batch.num_rows() {
                    0 => self.some_raw(pipeline).await?,
                    _ => batch.slice(0, 1),
                };
                versions::table(pipeline, &some, "the stored rows")?;
                batch
            }
            None => raw_to_record_batch(rows).slice(0, 0),
        };
        Ok((version, versions::added(rows, &batch, arrival, now)?))
    }

    /// Stores raw rows and answers with the version of the table that holds them: the
    /// present one when nothing is new. Rows that are there with other values get another
    /// version, marked as corrected; what is stored stays as it is. Of a source that sends
    /// its whole history (`whole`) the rows that are gone are retracted.
    pub(crate) async fn put_raw(
        &self,
        pipeline: &Pipeline,
        rows: &RawTable,
        whole: bool,
        run: &str,
    ) -> Result<Version, PlatformError> {
        if rows.is_empty() {
            return Err(PlatformError::not_found(
                format!("row in {}", rows.origin),
                "check `from` and `to` of [source], and that the file is not empty",
            ));
        }
        let now = self.clock.stamp();
        let additions = self.additions(pipeline, rows, whole, now).await?;
        market::keep(self, pipeline)?;
        let added = match additions {
            (Some(version), None) => return Ok(version),
            (_, added) => added.unwrap_or_else(|| rows.clone()),
        };
        self.append_raw(pipeline, &added, CommitInfo::new(run, now)).await
    }

    /// Appends versions of raw rows, in a commit that is as late as they are.
    async fn append_raw(
        &self,
        pipeline: &Pipeline,
        rows: &RawTable,
        info: CommitInfo,
    ) -> Result<Version, PlatformError> {
        let what = format!("writing {}/{}", Layer::Raw, pipeline.name);
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        let added = table.append(&raw_to_record_batch(rows), &info).await;
        added.map_err(PlatformError::lake(&what))
    }

    /// Stores mended rows of a quarantine as versions of those they were, and answers with
    /// the version of the table that holds them. They hold until the origin sends others
    /// than those that were mended.
    pub(crate) async fn put_mended(
        &self,
        pipeline: &Pipeline,
        mended: &[QuarantinedRow],
        run: &str,
    ) -> Result<Version, PlatformError> {
        let now = self.clock.stamp();
        let Some(there) = self.versions(pipeline, AsOf::Latest, KnownAt::instant(now)).await?
        else {
            return Err(PlatformError::not_found(
                format!("raw row of `{}`", pipeline.name),
                "run the pipeline first",
            ));
        };
        let Some(rows) = there.mended(pipeline, mended, now)? else { return Ok(there.version) };
        self.append_raw(pipeline, &rows, CommitInfo::new(run, now)).await
    }

    /// Stores a frame of a derived layer in place of what was derived before: it was
    /// made from all rows there are.
    pub(crate) async fn put_frame(
        &self,
        layer: Layer,
        name: &str,
        frame: &Frame,
        run: &str,
        source: Fingerprint,
    ) -> Result<Version, PlatformError> {
        if frame.is_empty() {
            return Err(PlatformError::not_found(
                format!("row for {layer}/{name}"),
                "the rows are fewer than the features' warm-up",
            ));
        }
        let info = self.commit(run, Some(source));
        let span = Timestamp::MIN..Timestamp::MAX;
        self.put(layer, name, span, frame.to_record_batch(), &info).await
    }

    /// Keeps the derived tables small: one checkpoint and one vacuum every so many
    /// versions. Versions that datasets were made from stay readable, and raw rows are
    /// never removed: forecasts are proved from them. Answers with the version that holds
    /// the rows now.
    pub(crate) async fn tidy_up(
        &self,
        layer: Layer,
        name: &str,
        version: Version,
    ) -> Result<Version, PlatformError> {
        if version == 0 || !version.is_multiple_of(VERSIONS_BETWEEN_UPKEEP) {
            return Ok(version);
        }
        let table = self.lake.table(layer, name);
        let info = CommitInfo::new("upkeep", self.clock.now());
        let compacted = table.compact(&info).await;
        let compacted = compacted.map_err(PlatformError::lake("putting files together"))?;
        table.checkpoint().await.map_err(PlatformError::lake("writing a checkpoint"))?;
        if layer != Layer::Raw {
            let layer_name = layer.to_string();
            let kept = self.registry.referenced_versions(&layer_name, name).await?;
            let kept: Vec<Version> = kept.into_iter().collect();
            let vacuumed = table.vacuum(&kept, self.clock.now(), RETENTION).await;
            vacuumed.map_err(PlatformError::lake("removing old files"))?;
        }
        Ok(compacted.version)
    }

    /// Writes the forecasts of a pipeline as a table that other tools read. The registry
    /// holds them; this is an export. Once this process has made it whole, forecasts of the
    /// decision `made` and later ones alone are written again.
    pub(crate) async fn export_forecasts(
        &self,
        pipeline: &Pipeline,
        made: Option<Timestamp>,
        run: &str,
    ) -> Result<(), PlatformError> {
        let name = &pipeline.name;
        // Until it has succeeded the next one is whole again.
        let before = self.exported.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let made = made.filter(|_| before);
        let filter =
            ForecastFilter { model: Some(name.clone()), from: made, ..ForecastFilter::default() };
        let mut records = self.registry.forecasts(&filter).await?;
        records.sort_by(|a, b| (a.as_of, &a.id).cmp(&(b.as_of, &b.id)));
        let mut rows: BTreeMap<Timestamp, (RowMeta, [f64; 5])> = BTreeMap::new();
        for record in &records {
            let f = crate::forecasting::StoredForecast::read(record)?.forecast;
            let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
            let (lower, upper) = f.interval.as_ref().map(|i| (i.lower, i.upper)).unzip();
            let values =
                [of(f.point), of(lower), of(upper), f.base_price, f64::from(f.model.version)];
            let time = f.as_of - pipeline.interval;
            let (known_at, ingested_at) = (f.known_at, f.made_at);
            let meta = RowMeta { time, known_at, ingested_at, flags: RowFlags::NONE };
            // Of several forecasts of one decision the one made last stands in the export.
            let newer = rows.get(&time).is_none_or(|(m, _)| m.ingested_at <= ingested_at);
            if newer {
                rows.insert(time, (meta, values));
            }
        }
        let names = ["point", "lower", "upper", "base_price", "model_version"];
        let columns = names.iter().enumerate().map(|(k, name)| {
            Column::new(*name, rows.values().map(|(_, values)| values[k]).collect())
        });
        let metas = rows.values().map(|(meta, _)| *meta).collect();
        let instrument = pipeline.instrument.clone();
        let frame = Frame::new(instrument, pipeline.interval, metas, columns.collect());
        let frame = frame.map_err(|e| PlatformError::Mismatch(format!("forecasts: {e}")))?;
        let from = made.map_or(Timestamp::MIN, |made| made - pipeline.interval);
        if !frame.is_empty() {
            let info = self.commit(run, Some(frame.fingerprint()));
            let (span, batch) = (from..Timestamp::MAX, frame.to_record_batch());
            let version = self.put(Layer::Forecasts, name, span, batch, &info).await?;
            self.tidy_up(Layer::Forecasts, name, version).await?;
        }
        self.exported.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        Ok(())
    }

    fn kept(&self, pipeline: &Pipeline) -> Option<Kept> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&pipeline.name).filter(|kept| kept.interval == pipeline.interval).cloned()
    }

    /// The clean rows of a pipeline, if it has any. They are kept in memory and read again
    /// when their table has moved on.
    pub(crate) async fn clean(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Option<Arc<Frame>>, PlatformError> {
        let table = self.lake.table(Layer::Clean, &pipeline.name);
        if let Some(kept) = self.kept(pipeline) {
            let latest = table.is_latest(kept.version).await;
            if latest.map_err(PlatformError::lake("looking for new clean rows"))? {
                return Ok(Some(kept.rows));
            }
        }
        let (version, batch) = match table.read_versioned(AsOf::Latest, None).await {
            Err(LakeError::NoTable { .. }) => return Ok(None),
            other => other.map_err(PlatformError::lake("reading clean rows"))?,
        };
        let interval = pipeline.interval;
        let rows = Frame::from_record_batch(&batch, interval);
        let rows = rows.map_err(|e| PlatformError::Mismatch(format!("clean rows: {e}")))?;
        let kept = Kept { version, interval, rows: Arc::new(rows) };
        let rows = Arc::clone(&kept.rows);
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(pipeline.name.clone(), kept);
        Ok(Some(rows))
    }
}

/// The settings of object stores, under the names that their own tools use.
fn store_options() -> BTreeMap<String, String> {
    let known = |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|p| name.starts_with(p));
    std::env::vars()
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect()
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
