//! Writing: append, replacement of an interval, and the loop that commits a planned
//! change or gives way to another writer.
//!
//! Data files are put first, under names that were never used; the commit that names
//! them is put last and only if its version is free. Whatever fails in between leaves
//! files that no version names, which a vacuum removes.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use foretell_market::{Fingerprint, Timestamp};
use ulid::Ulid;

use crate::kernel::State;
use crate::log::{
    Action, Add, FORMAT, FORMAT_PROPERTY, Format, MetaData, Outcome, Protocol, Provenance, Remove,
    Transaction,
};
use crate::plan::{Change, Draft};
use crate::{LakeError, Table, Version, rows, schema};

/// How often a commit is tried again when other writers take its version.
const ATTEMPTS: u32 = 32;

/// What a commit records beside the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The run that writes, by the registry's id.
    pub run_id: String,
    /// The time of the commit by the caller's clock (UTC). Times never step back: a
    /// commit with an earlier clock than the version before takes that version's time.
    pub at: Timestamp,
    /// Fingerprint of what the rows were made from, if there is one to record.
    pub source: Option<Fingerprint>,
    /// The version that the rows were computed from. When set, a later change of the
    /// same interval by another writer is a conflict; otherwise only one that happens
    /// during the call.
    pub based_on: Option<Version>,
}

impl CommitInfo {
    /// A commit of a run at a time.
    pub fn new(run_id: impl Into<String>, at: Timestamp) -> Self {
        Self { run_id: run_id.into(), at, source: None, based_on: None }
    }

    /// The same with the fingerprint of what the rows were made from.
    pub fn with_source(mut self, source: Fingerprint) -> Self {
        self.source = Some(source);
        self
    }

    /// The same with the version that the rows were computed from.
    pub fn based_on(mut self, version: Version) -> Self {
        self.based_on = Some(version);
        self
    }
}

/// How a change ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) version: Version,
    pub(crate) removed: usize,
    pub(crate) added: usize,
}

impl Table {
    /// Makes the rows of an interval (its end excluded) be exactly these, atomically;
    /// rows outside of it stay. Makes the table when it is absent. When the interval
    /// holds the same rows already, nothing is written: re-running is free.
    ///
    /// # Errors
    /// When a row lies outside the interval, the columns differ from the table's, a key
    /// is not unique, another writer changed the same interval ([`LakeError::Conflict`]),
    /// or the store fails. The table then stays as it was.
    pub async fn replace(
        &self,
        interval: Range<Timestamp>,
        batch: &RecordBatch,
        info: &CommitInfo,
    ) -> Result<Version, LakeError> {
        if interval.start >= interval.end {
            return Err(LakeError::EmptyInterval(interval));
        }
        schema::check_layer(self.layer, &batch.schema())?;
        let outside = |t: &i64| !(interval.start.micros()..interval.end.micros()).contains(t);
        let times = rows::micros(batch, "time").unwrap_or_default();
        if let Some(row) = times.iter().position(outside) {
            let time = Timestamp::from_micros(times[row]);
            return Err(LakeError::OutOfInterval { row, time, interval });
        }
        Ok(self.transact(Change::Replace(&interval, batch), info).await?.version)
    }

    /// Adds rows, atomically. Makes the table when it is absent. The same rows of the
    /// same run are added once, however often the call is repeated.
    ///
    /// # Errors
    /// When the columns differ from the table's, a key is there already, or the store
    /// fails. The table then stays as it was.
    pub async fn append(
        &self,
        batch: &RecordBatch,
        info: &CommitInfo,
    ) -> Result<Version, LakeError> {
        schema::check_layer(self.layer, &batch.schema())?;
        Ok(self.transact(Change::Append(batch), info).await?.version)
    }

    /// [`Table::append()`] to one version alone, `None` where there is no table yet: for whoever
    /// chose the rows by what that version holds.
    ///
    /// # Errors
    /// As [`Table::append()`], and [`LakeError::Conflict`] when the table has another version.
    pub async fn append_to(
        &self,
        version: Option<Version>,
        batch: &RecordBatch,
        info: &CommitInfo,
    ) -> Result<Version, LakeError> {
        schema::check_layer(self.layer, &batch.schema())?;
        Ok(self.transact(Change::AppendTo(version, batch), info).await?.version)
    }

    /// Plans and commits a change; plans again when another writer took the version
    /// without touching the same rows.
    pub(crate) async fn transact(
        &self,
        change: Change<'_>,
        info: &CommitInfo,
    ) -> Result<Done, LakeError> {
        self.check_name()?;
        let mut base: Option<Option<Version>> = info.based_on.map(Some);
        for _ in 0..ATTEMPTS {
            let state = match self.state(None).await {
                Ok(state) => Some(state),
                Err(LakeError::NoTable { .. }) => None,
                Err(error) => return Err(error),
            };
            let seen = state.as_ref().map(State::version);
            if let Change::AppendTo(wanted, _) = change
                && wanted != seen
            {
                let (table, winner) = (self.shown.clone(), seen.unwrap_or_default());
                return Err(LakeError::Conflict { table, base: wanted, winner });
            }
            let Some(draft) = self.plan(&change, state.as_ref(), info).await? else {
                return Ok(Done { version: seen.unwrap_or_default(), removed: 0, added: 0 });
            };
            let base = *base.get_or_insert(seen);
            if let (Change::Replace(interval, _), Some(seen)) = (&change, seen)
                && let Err(conflict) = self.check_conflicts(interval, base, seen).await
            {
                self.discard(&draft.adds).await;
                return Err(conflict);
            }
            let version = seen.map_or(0, |v| v + 1);
            let actions = self.actions(&draft, seen, info).await?;
            match self.log().commit(version, &actions).await? {
                Outcome::Committed => {
                    let (removed, added) = (draft.removes.len(), draft.adds.len());
                    tracing::debug!(table = self.shown, version, removed, added, "committed");
                    return Ok(Done { version, removed, added });
                }
                Outcome::Taken => self.discard(&draft.adds).await,
            }
        }
        Err(LakeError::Busy { table: self.shown.clone(), attempts: ATTEMPTS })
    }

    /// Fails when a commit after `base` changed rows of the interval.
    async fn check_conflicts(
        &self,
        interval: &Range<Timestamp>,
        base: Option<Version>,
        seen: Version,
    ) -> Result<(), LakeError> {
        for winner in base.map_or(0, |b| b + 1)..=seen {
            let actions = self.log().read(winner).await?;
            if actions.is_none_or(|actions| changes(&actions, interval)) {
                return Err(LakeError::Conflict { table: self.shown.clone(), base, winner });
            }
        }
        Ok(())
    }

    /// The lines of the commit after version `before`.
    async fn actions(
        &self,
        draft: &Draft,
        before: Option<Version>,
        info: &CommitInfo,
    ) -> Result<Vec<Action>, LakeError> {
        let last = match before {
            Some(version) => self.log().provenance(version).await?.and_then(|p| p.at()),
            None => None,
        };
        let at = last.map_or(info.at, |last| last.max(info.at));
        let millis = at.millis();
        let text = |f: &Fingerprint| f.to_string();
        let provenance = Provenance {
            timestamp: Some(millis),
            in_commit_timestamp: None,
            operation: Some(draft.operation.to_owned()),
            operation_parameters: Some(serde_json::json!({})),
            engine_info: Some(format!("foretell/{}", env!("CARGO_PKG_VERSION"))),
            txn_id: Some(Ulid::generate().to_string()),
            foretell_at: Some(at.micros()),
            foretell_run: Some(info.run_id.clone()),
            foretell_source: info.source.as_ref().map(text),
            foretell_rows: draft.rows.as_ref().map(text),
            foretell_from: draft.interval.as_ref().map(|i| i.start.micros()),
            foretell_to: draft.interval.as_ref().map(|i| i.end.micros()),
        };
        let mut actions = vec![Action { commit_info: Some(provenance), ..Action::default() }];
        if let Some(schema) = &draft.creates {
            let protocol = Some(Protocol { min_reader_version: 1, min_writer_version: 2 });
            let meta_data = Some(MetaData {
                id: table_id(),
                format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
                schema_string: schema::to_delta(schema)?,
                partition_columns: Vec::new(),
                configuration: configuration(),
                created_time: Some(millis),
            });
            actions.push(Action { protocol, ..Action::default() });
            actions.push(Action { meta_data, ..Action::default() });
        }
        if let Some(app_id) = draft.app_id.clone() {
            let txn = Some(Transaction { app_id, version: 1, last_updated: Some(millis) });
            actions.push(Action { txn, ..Action::default() });
        }
        for file in &draft.removes {
            let remove = Some(Remove {
                path: file.path.clone(),
                deletion_timestamp: Some(millis),
                data_change: draft.data_change,
                extended_file_metadata: Some(true),
                partition_values: Some(BTreeMap::new()),
                size: Some(file.size),
            });
            actions.push(Action { remove, ..Action::default() });
        }
        for file in &draft.adds {
            let add = Some(Add {
                path: file.name.clone(),
                partition_values: BTreeMap::new(),
                size: file.size as i64,
                modification_time: millis,
                data_change: draft.data_change,
                stats: Some(file.stats.clone()),
            });
            actions.push(Action { add, ..Action::default() });
        }
        Ok(actions)
    }
}

/// Whether a commit changed rows of an interval; in doubt it did.
fn changes(actions: &[Action], interval: &Range<Timestamp>) -> bool {
    let changed = |a: &Action| {
        a.add.as_ref().is_some_and(|f| f.data_change)
            || a.remove.as_ref().is_some_and(|f| f.data_change)
    };
    if actions.iter().any(|a| a.meta_data.is_some()) && !actions.iter().any(changed) {
        return true;
    }
    if !actions.iter().any(changed) {
        return false;
    }
    let info = actions.iter().find_map(|a| a.commit_info.as_ref());
    match info.and_then(|i| i.foretell_from.zip(i.foretell_to)) {
        Some((from, to)) => from < interval.end.micros() && to > interval.start.micros(),
        // Another tool's commit does not say which rows it meant.
        None => true,
    }
}

/// A new identity in the form of a GUID.
fn table_id() -> String {
    let hex = format!("{:032x}", u128::from(Ulid::generate()));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The properties of a new table. The log is kept whole, because versions are found by
/// the times that its commits carry.
fn configuration() -> BTreeMap<String, String> {
    [
        (FORMAT_PROPERTY, FORMAT.to_string().as_str()),
        ("delta.enableExpiredLogCleanup", "false"),
        ("delta.logRetentionDuration", "interval 36500 days"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(from: Option<i64>, to: Option<i64>, data_change: bool) -> Vec<Action> {
        let info = Provenance { foretell_from: from, foretell_to: to, ..Provenance::default() };
        let add = Add {
            path: "x".to_owned(),
            partition_values: BTreeMap::new(),
            size: 1,
            modification_time: 0,
            data_change,
            stats: None,
        };
        vec![
            Action { commit_info: Some(info), ..Action::default() },
            Action { add: Some(add), ..Action::default() },
        ]
    }

    #[test]
    fn only_a_change_of_the_same_rows_conflicts() {
        let interval = Timestamp::from_micros(10)..Timestamp::from_micros(20);
        assert!(!changes(&commit(Some(0), Some(10), true), &interval));
        assert!(changes(&commit(Some(0), Some(11), true), &interval));
        assert!(!changes(&commit(Some(20), Some(30), true), &interval));
        assert!(changes(&commit(None, None, true), &interval));
        assert!(!changes(&commit(None, None, false), &interval));
    }

    #[test]
    fn a_table_id_looks_like_a_guid() {
        let id = table_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
