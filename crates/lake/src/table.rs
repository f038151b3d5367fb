//! A table: reading its rows as of a version or a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use delta_kernel::KernelError;
use foretell_market::{Fingerprint, Timestamp};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _};

use crate::kernel::{self, DataFile, State};
use crate::log::{FORMAT, FORMAT_PROPERTY, Log};
use crate::{AsOf, Lake, LakeError, Layer, Version, name, rows};

/// A versioned table of rows in time. It need not exist: the first write makes it.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) lake: Lake,
    pub(crate) layer: Layer,
    name: String,
    /// Layer and name, for errors.
    pub(crate) shown: String,
    pub(crate) root: Path,
}

impl Table {
    pub(crate) fn new(lake: Lake, layer: Layer, name: &str) -> Self {
        let root = Path::from(layer.as_str()).join(name);
        Self { lake, layer, name: name.to_owned(), shown: format!("{layer}/{name}"), root }
    }

    /// The table's name in its layer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer that the table belongs to.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    pub(crate) fn check_name(&self) -> Result<(), LakeError> {
        name::check(&self.name)
    }

    pub(crate) fn log(&self) -> Log<'_> {
        Log { store: self.lake.store.as_ref(), table: &self.shown, root: &self.root }
    }

    pub(crate) fn unreadable(&self, source: KernelError) -> LakeError {
        LakeError::Log { table: self.shown.clone(), source: Box::new(source) }
    }

    /// Whether the table has a version.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn exists(&self) -> Result<bool, LakeError> {
        self.check_name()?;
        Ok(!self.log().versions().await?.is_empty())
    }

    /// Whether the table has gained no version after this one, which it has: for whoever
    /// keeps the rows of a version in memory. Costs one request, however long the table's
    /// history is.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn is_latest(&self, version: Version) -> Result<bool, LakeError> {
        self.check_name()?;
        Ok(!self.log().has(version + 1).await?)
    }

    /// The state at a version or the latest.
    pub(crate) async fn state(&self, version: Option<Version>) -> Result<State, LakeError> {
        self.check_name()?;
        let open = || kernel::open(Arc::clone(&self.lake.store), &self.root, version);
        let source = match open().await {
            Ok(state) => return self.of_known_format(state),
            Err(source) => source,
        };
        // Only after a failure is it worth asking why.
        let versions = self.log().versions().await?;
        let table = self.shown.clone();
        match (versions.first(), versions.last(), version) {
            (Some(&first), Some(&last), Some(asked)) if !(first..=last).contains(&asked) => {
                Err(LakeError::NoVersion { table, asked, first, last })
            }
            (None, ..) => Err(LakeError::NoTable { table }),
            // The first commit may have come between the failure and the listing.
            _ if matches!(source, KernelError::EmptyLog) => {
                self.of_known_format(open().await.map_err(|e| self.unreadable(e))?)
            }
            _ => Err(self.unreadable(source)),
        }
    }

    fn of_known_format(&self, state: State) -> Result<State, LakeError> {
        let Some(found) = state.property(FORMAT_PROPERTY) else { return Ok(state) };
        if found.parse::<u32>().is_ok_and(|f| f <= FORMAT) {
            return Ok(state);
        }
        Err(LakeError::Format { table: self.shown.clone(), found, known: FORMAT })
    }

    async fn state_at(&self, at: AsOf) -> Result<State, LakeError> {
        let version = match at {
            AsOf::Latest => None,
            AsOf::Version(version) => Some(version),
            AsOf::Time(_) => Some(self.resolve(at).await?),
        };
        self.state(version).await
    }

    /// The rows as of a version or a time, in canonical order: by time, then by
    /// instrument, known_at, position and the other columns. With an interval only the
    /// rows whose `time` lies in it, its end excluded.
    ///
    /// # Errors
    /// When there is no table or no such version, or its files cannot be read.
    pub async fn read(
        &self,
        at: AsOf,
        interval: Option<Range<Timestamp>>,
    ) -> Result<RecordBatch, LakeError> {
        Ok(self.read_versioned(at, interval).await?.1)
    }

    /// [`Table::read`] with the version that was read: the name under which the same
    /// rows can be read again.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub async fn read_versioned(
        &self,
        at: AsOf,
        interval: Option<Range<Timestamp>>,
    ) -> Result<(Version, RecordBatch), LakeError> {
        let state = self.state_at(at).await?;
        let batch = self.rows_of(&state, interval.as_ref()).await?;
        Ok((state.version(), batch))
    }

    /// The rows of the smallest data file as of a version or a time, in canonical order:
    /// what kind of rows the table holds, without reading them all.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub async fn sample(&self, at: AsOf) -> Result<RecordBatch, LakeError> {
        let state = self.state_at(at).await?;
        let schema = self.schema_of(&state)?;
        let files = state.files(None).await.map_err(|e| self.unreadable(e))?;
        let smallest = files.into_iter().min_by_key(|file| file.size);
        let read = self.fetch(smallest.into_iter().collect(), &schema).await?;
        rows::merge(&schema, read.into_iter().map(|(_, batch)| batch).collect())
    }

    pub(crate) async fn rows_of(
        &self,
        state: &State,
        interval: Option<&Range<Timestamp>>,
    ) -> Result<RecordBatch, LakeError> {
        let schema = self.schema_of(state)?;
        let batches = self.pieces_of(state, interval, &schema).await?;
        let whole = blocking(move || rows::merge(&schema, batches)).await?;
        Ok(match interval {
            Some(interval) => rows::between(&whole, interval),
            None => whole,
        })
    }

    /// The rows in pieces. Plain files of our own are fetched side by side; what other
    /// tools may have done to a file (deletion vectors, partitions, other columns than
    /// today's) is left to the kernel, which reads one file after the other.
    async fn pieces_of(
        &self,
        state: &State,
        interval: Option<&Range<Timestamp>>,
        schema: &SchemaRef,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let failed = if state.property(FORMAT_PROPERTY).is_some() && state.foreign().is_none() {
            let files = state.files(interval).await.map_err(|e| self.unreadable(e))?;
            match self.fetch(files, schema).await {
                Ok(pieces) => return Ok(pieces.into_iter().map(|(_, batch)| batch).collect()),
                Err(LakeError::Schema { .. }) => None,
                Err(error) => Some(error),
            }
        } else {
            None
        };
        let error = match failed {
            Some(error) => error,
            None => match state.rows(interval).await {
                Ok(batches) => return Ok(batches),
                Err(source) => self.unreadable(source),
            },
        };
        Err(self.gone(state).await.unwrap_or(error))
    }

    pub(crate) fn schema_of(&self, state: &State) -> Result<SchemaRef, LakeError> {
        state.schema().map_err(|e| self.unreadable(e))
    }

    /// After a failed read: a vacuumed file is told from a damaged one or a failing store.
    async fn gone(&self, state: &State) -> Option<LakeError> {
        for file in state.files(None).await.ok()? {
            let path = self.file_path(&file);
            if let Err(Error::NotFound { .. }) = self.lake.store.head(&path).await {
                let (table, version) = (self.shown.clone(), state.version());
                return Some(LakeError::Gone { table, version, file: file.path });
            }
        }
        None
    }

    /// Where a data file lies in the store.
    pub(crate) fn file_path(&self, file: &DataFile) -> Path {
        let decoded = Path::from_url_path(&file.path).unwrap_or_default();
        decoded.parts().fold(self.root.clone(), Path::join)
    }

    /// The columns as of a version or a time.
    ///
    /// # Errors
    /// When there is no table or no such version.
    pub async fn schema(&self, at: AsOf) -> Result<SchemaRef, LakeError> {
        self.schema_of(&self.state_at(at).await?)
    }

    /// The fingerprint of all rows as of a version or a time (see
    /// [`crate::rows_fingerprint`]): equal after a compaction, a checkpoint or a copy.
    ///
    /// # Errors
    /// As [`Table::read`], or when another tool stored a type that has no fingerprint.
    pub async fn fingerprint(&self, at: AsOf) -> Result<Fingerprint, LakeError> {
        let batch = self.read(at, None).await?;
        blocking(move || rows::rows_fingerprint(&batch)).await
    }
}

/// Runs work that keeps a core busy on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
) -> Result<T, LakeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A decoder that meets bytes it did not expect may give up by panicking.
        Err(error) if error.is_panic() => Err(LakeError::Undecodable(error.to_string())),
        Err(error) => Err(LakeError::Task(error.to_string())),
    }
}
