//! The Delta log as JSON: the few actions that commits here are made of, and their
//! atomic publication.
//!
//! Only commit files are written here, each with put-if-absent, which is what makes a
//! commit atomic: see the *Delta Transaction Log Protocol*
//! (<https://github.com/delta-io/delta/blob/master/PROTOCOL.md>). Reading a table's
//! state (checkpoints, reconciliation of actions, features) is left to `kernel`.

use std::collections::BTreeMap;

use object_store::path::Path;
use object_store::{DynObjectStore, Error, ObjectStoreExt as _, PutMode};
use serde::{Deserialize, Serialize};

use crate::{LakeError, Version};

/// The newest table format that this build writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The property of a table that holds its format.
pub(crate) const FORMAT_PROPERTY: &str = "foretell.format";

/// One line of a commit file. Actions that are not understood here are skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_info: Option<Provenance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<MetaData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Transaction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Remove>,
}

/// `commitInfo`: when, by whom and why. The `foretell…` fields are ours; other tools
/// carry them along.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Provenance {
    /// Milliseconds since the epoch, by the clock of the committer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<i64>,
    /// The same, where a table demands it in this form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_commit_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    /// Tools write texts, lists and booleans here; it is for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation_parameters: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine_info: Option<String>,
    /// Unique per attempt: tells our own commit from another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn_id: Option<String>,
    /// Microseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_run: Option<String>,
    /// Fingerprint of what the rows were made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_source: Option<String>,
    /// Fingerprint of the rows that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_rows: Option<String>,
    /// Start of the interval that was replaced, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_from: Option<i64>,
    /// End of that interval (excluded), microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foretell_to: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: u32,
    pub(crate) min_writer_version: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaData {
    pub(crate) id: String,
    pub(crate) format: Format,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) configuration: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_time: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// `txn`: an append that must not happen twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transaction {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    /// Relative to the table, percent-encoded.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extended_file_metadata: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<i64>,
}

/// How a commit ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The version is ours.
    Committed,
    /// The version is another writer's.
    Taken,
}

/// The log of one table: its place in a store, and its name for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log<'a> {
    pub(crate) store: &'a DynObjectStore,
    pub(crate) table: &'a str,
    /// The table's directory.
    pub(crate) root: &'a Path,
}

impl Log<'_> {
    fn directory(&self) -> Path {
        self.root.clone().join("_delta_log")
    }

    fn path(&self, version: Version) -> Path {
        self.directory().join(format!("{version:020}.json"))
    }

    fn failed(&self, action: &str) -> impl FnOnce(Error) -> LakeError + use<> {
        let action = format!("{action} of table `{}`", self.table);
        move |source| LakeError::Store { action, source }
    }

    /// The versions that have a commit file, in order; empty when there is no table.
    pub(crate) async fn versions(&self) -> Result<Vec<Version>, LakeError> {
        let listed = self.store.list_with_delimiter(Some(&self.directory())).await;
        let listed = listed.map_err(self.failed("listing the log"))?;
        let version = |meta: &object_store::ObjectMeta| {
            let digits = meta.location.filename()?.strip_suffix(".json")?;
            let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<Version>().ok().filter(|_| plain)
        };
        let mut versions: Vec<Version> = listed.objects.iter().filter_map(version).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Whether a version has a commit file; asks for that one file alone.
    pub(crate) async fn has(&self, version: Version) -> Result<bool, LakeError> {
        match self.store.head(&self.path(version)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(self.failed(&format!("looking for commit {version}"))(source)),
        }
    }

    /// The actions of a version; `None` when it has no commit file.
    pub(crate) async fn read(&self, version: Version) -> Result<Option<Vec<Action>>, LakeError> {
        let path = self.path(version);
        let bytes = async { self.store.get(&path).await?.bytes().await }.await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(self.failed(&format!("reading commit {version}"))(source)),
        };
        let mut actions = Vec::new();
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            actions.push(serde_json::from_slice(line).map_err(|e| LakeError::Commit {
                table: self.table.to_owned(),
                version,
                line: i + 1,
                reason: e.to_string(),
            })?);
        }
        Ok(Some(actions))
    }

    /// The `commitInfo` of a version; `None` when the commit file or the action is absent.
    pub(crate) async fn provenance(
        &self,
        version: Version,
    ) -> Result<Option<Provenance>, LakeError> {
        let actions = self.read(version).await?.unwrap_or_default();
        Ok(actions.into_iter().find_map(|a| a.commit_info))
    }

    /// Publishes a version unless it exists. The whole commit is one object that is put
    /// only if absent, so that it is there entirely or not at all.
    pub(crate) async fn commit(
        &self,
        version: Version,
        actions: &[Action],
    ) -> Result<Outcome, LakeError> {
        let mut body = Vec::new();
        for action in actions {
            // Plain structs of texts and numbers always serialise.
            serde_json::to_writer(&mut body, action).map_err(|e| LakeError::Commit {
                table: self.table.to_owned(),
                version,
                line: 0,
                reason: e.to_string(),
            })?;
            body.push(b'\n');
        }
        let path = self.path(version);
        match self.store.put_opts(&path, body.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Outcome::Committed),
            Err(Error::AlreadyExists { .. }) => {
                // A store may repeat a request whose answer was lost: then it is ours.
                let ours = actions.iter().find_map(|a| a.commit_info.as_ref()?.txn_id.as_ref());
                let found = self.provenance(version).await?.and_then(|p| p.txn_id);
                let same = ours.is_some() && ours == found.as_ref();
                Ok(if same { Outcome::Committed } else { Outcome::Taken })
            }
            Err(source) => Err(self.failed(&format!("writing commit {version}"))(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn commit_by(txn_id: &str) -> Vec<Action> {
        let info = Provenance { txn_id: Some(txn_id.to_owned()), ..Provenance::default() };
        vec![Action { commit_info: Some(info), ..Action::default() }]
    }

    #[tokio::test]
    async fn a_version_is_taken_once_and_a_repeated_request_is_ours() {
        let (store, root) = (InMemory::new(), Path::from("t"));
        let log = Log { store: &store, table: "raw/t", root: &root };
        assert_eq!(log.commit(0, &commit_by("a")).await.unwrap(), Outcome::Committed);
        assert_eq!(log.commit(0, &commit_by("b")).await.unwrap(), Outcome::Taken);
        assert_eq!(log.commit(0, &commit_by("a")).await.unwrap(), Outcome::Committed);
        assert_eq!(log.versions().await.unwrap(), vec![0]);
    }

    #[tokio::test]
    async fn other_files_are_no_versions_and_a_torn_line_is_named() {
        let (store, root) = (InMemory::new(), Path::from("t"));
        for name in ["_last_checkpoint", "00000000000000000003.checkpoint.parquet", "x.json"] {
            store.put(&Path::from(format!("t/_delta_log/{name}")), "x".into()).await.unwrap();
        }
        let body = "{\"unknown\":{}}\n{\"add\":";
        store
            .put(&Path::from("t/_delta_log/00000000000000000004.json"), body.into())
            .await
            .unwrap();
        let log = Log { store: &store, table: "raw/t", root: &root };
        assert_eq!(log.versions().await.unwrap(), vec![4]);
        let message = log.read(4).await.unwrap_err().to_string();
        assert!(
            message.starts_with("commit 4 of table `raw/t` cannot be read: line 2"),
            "{message}"
        );
        assert!(log.read(5).await.unwrap().is_none());
    }
}
