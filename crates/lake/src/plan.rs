//! Planning a change: which files it reads, which it writes, which it replaces.
//!
//! A plan puts new data files into the store but commits nothing: until `write` names
//! them in a commit, no reader sees them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use foretell_market::{Fingerprint, FingerprintHasher, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use ulid::Ulid;

use crate::kernel::{DataFile, State};
use crate::table::blocking;
use crate::write::CommitInfo;
use crate::{LakeError, Table, Version, file, rows, schema};

/// How many data files are fetched at once.
const READ_AHEAD: usize = 8;

/// What is to become of a table.
#[derive(Debug, Clone)]
pub(crate) enum Change<'a> {
    /// These rows and none else in the interval.
    Replace(&'a Range<Timestamp>, &'a RecordBatch),
    /// These rows more.
    Append(&'a RecordBatch),
    /// The same, to this version alone; `None` is no table.
    AppendTo(Option<Version>, &'a RecordBatch),
    /// The same rows in fewer files.
    Compact,
}

/// A commit that is ready but for its version and time.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) operation: &'static str,
    pub(crate) creates: Option<SchemaRef>,
    pub(crate) removes: Vec<DataFile>,
    pub(crate) adds: Vec<NewFile>,
    /// Whether rows change, or only the files that hold them.
    pub(crate) data_change: bool,
    pub(crate) app_id: Option<String>,
    pub(crate) interval: Option<Range<Timestamp>>,
    pub(crate) rows: Option<Fingerprint>,
}

/// A data file that was put.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) name: String,
    path: Path,
    pub(crate) size: usize,
    pub(crate) stats: String,
}

impl Table {
    /// The commit that makes the change; `None` when there is nothing to change.
    pub(crate) async fn plan(
        &self,
        change: &Change<'_>,
        state: Option<&State>,
        info: &CommitInfo,
    ) -> Result<Option<Draft>, LakeError> {
        if let Some(reason) = state.and_then(State::foreign) {
            return Err(LakeError::Foreign { table: self.shown.clone(), reason });
        }
        let batch = match change {
            Change::Compact => return self.plan_compaction(state).await,
            Change::Replace(_, batch) | Change::Append(batch) | Change::AppendTo(_, batch) => {
                *batch
            }
        };
        let (schema, creates) = match state {
            Some(state) => (self.schema_of(state)?, None),
            None => {
                let schema = schema::of_new_table(batch)?;
                (Arc::clone(&schema), Some(schema))
            }
        };
        let aligned = schema::align(&self.shown, &schema, batch)?;
        let keyed = self.layer.is_keyed();
        let (batch, rows, duplicate) = blocking(move || {
            let batch = rows::sort(&aligned)?;
            let rows = rows::rows_fingerprint(&batch)?;
            let duplicate = keyed.then(|| rows::duplicate(&batch)).flatten();
            Ok((batch, rows, duplicate))
        })
        .await?;
        self.refuse_duplicate(duplicate)?;
        let draft = Draft { creates, data_change: true, rows: Some(rows), ..Draft::default() };
        match change {
            Change::Replace(interval, _) => {
                self.plan_replacement(draft, state, interval, batch, &schema).await
            }
            _ => self.plan_append(draft, state, batch, info).await,
        }
    }

    async fn plan_replacement(
        &self,
        mut draft: Draft,
        state: Option<&State>,
        interval: &Range<Timestamp>,
        batch: RecordBatch,
        schema: &SchemaRef,
    ) -> Result<Option<Draft>, LakeError> {
        draft.operation = "REPLACE";
        draft.interval = Some(interval.clone());
        let (mut inside, mut kept) = (Vec::new(), vec![batch]);
        if let Some(state) = state {
            let touched = state.files(Some(interval)).await.map_err(|e| self.unreadable(e))?;
            for (file, held) in self.fetch(touched, schema).await? {
                let rest = rows::outside(&held, interval)?;
                // The log's bounds are coarse: a file without a row of the interval stays.
                if rest.num_rows() == held.num_rows() {
                    continue;
                }
                inside.push(rows::between(&rows::sort(&held)?, interval));
                kept.push(rest);
                draft.removes.push(file);
            }
            let (schema, rows) = (Arc::clone(schema), draft.rows);
            let held = blocking(move || rows::rows_fingerprint(&rows::merge(&schema, inside)?));
            if Some(held.await?) == rows {
                return Ok(None);
            }
        }
        let schema = Arc::clone(schema);
        let whole = blocking(move || rows::merge(&schema, kept)).await?;
        draft.adds = self.put_files(&whole).await?;
        Ok(Some(draft))
    }

    async fn plan_append(
        &self,
        mut draft: Draft,
        state: Option<&State>,
        batch: RecordBatch,
        info: &CommitInfo,
    ) -> Result<Option<Draft>, LakeError> {
        draft.operation = "APPEND";
        let times = rows::micros(&batch, "time").unwrap_or_default();
        let span = match (times.first(), times.last()) {
            (Some(first), Some(last)) => {
                Some(Timestamp::from_micros(*first)..Timestamp::from_micros(last + 1))
            }
            _ => None,
        };
        let mut once = FingerprintHasher::new("append/1");
        once.text(&info.run_id);
        if let Some(rows) = &draft.rows {
            once.fingerprint(rows);
        }
        let app_id = format!("foretell/{}", once.finish());
        if let Some(state) = state {
            let done = state.has_transaction(app_id.clone()).await;
            if done.map_err(|e| self.unreadable(e))? || span.is_none() {
                return Ok(None);
            }
            if self.layer.is_keyed() {
                let held = self.rows_of(state, span.as_ref()).await?;
                let both = rows::merge(&batch.schema(), vec![held, batch.clone()])?;
                self.refuse_duplicate(rows::duplicate(&both))?;
            }
        }
        draft.adds = self.put_files(&batch).await?;
        draft.app_id = Some(app_id);
        draft.interval = span;
        Ok(Some(draft))
    }

    fn refuse_duplicate(&self, duplicate: Option<String>) -> Result<(), LakeError> {
        let Some(value) = duplicate else { return Ok(()) };
        let key = "(instrument, time, known_at)".to_owned();
        Err(LakeError::Duplicate { table: self.shown.clone(), key, value })
    }

    /// The rows of data files, in the columns of the table.
    pub(crate) async fn fetch(
        &self,
        files: Vec<DataFile>,
        schema: &SchemaRef,
    ) -> Result<Vec<(DataFile, RecordBatch)>, LakeError> {
        let fetch = |data: DataFile| async move {
            let path = self.file_path(&data);
            let bytes = async { self.lake.store.get(&path).await?.bytes().await };
            let bytes = bytes.await.map_err(|source| {
                let action = format!("reading `{}` of table `{}`", data.path, self.shown);
                LakeError::Store { action, source }
            })?;
            let (table, schema) = (self.shown.clone(), Arc::clone(schema));
            blocking(move || {
                let decoded = file::decode(bytes).map_err(|source| LakeError::Parquet {
                    table: table.clone(),
                    file: data.path.clone(),
                    source,
                })?;
                let aligned: Result<Vec<_>, _> =
                    decoded.iter().map(|batch| schema::align(&table, &schema, batch)).collect();
                Ok((data, rows::merge(&schema, aligned?)?))
            })
            .await
        };
        stream::iter(files).map(fetch).buffered(READ_AHEAD).try_collect().await
    }

    /// Puts rows, which must be in canonical order, into new data files.
    pub(crate) async fn put_files(&self, batch: &RecordBatch) -> Result<Vec<NewFile>, LakeError> {
        let mut files = Vec::new();
        for piece in file::pieces(batch) {
            let name = format!("part-{}.parquet", Ulid::generate().to_string().to_lowercase());
            let (table, shown) = (self.shown.clone(), name.clone());
            let (bytes, stats) = blocking(move || {
                let stats = file::statistics(&piece);
                let bytes = file::encode(&piece);
                let bytes =
                    bytes.map_err(|source| LakeError::Parquet { table, file: shown, source })?;
                Ok((bytes, stats))
            })
            .await?;
            let (path, size) = (self.root.clone().join(name.as_str()), bytes.len());
            self.lake.store.put(&path, bytes.into()).await.map_err(|source| LakeError::Store {
                action: format!("writing `{name}` of table `{}`", self.shown),
                source,
            })?;
            files.push(NewFile { name, path, size, stats });
        }
        Ok(files)
    }

    /// Takes files back that no commit names. A file that stays is left to a vacuum.
    pub(crate) async fn discard(&self, files: &[NewFile]) {
        for file in files {
            if let Err(error) = self.lake.store.delete(&file.path).await {
                tracing::debug!(file = file.name, %error, "a file without a version stays");
            }
        }
    }
}
