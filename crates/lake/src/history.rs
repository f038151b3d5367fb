//! Versions and their times: which version a read means, and what each commit says.

use foretell_market::{Fingerprint, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::log::{Log, Provenance};
use crate::{LakeError, Table};

/// The number of a commit, from 0.
pub type Version = u64;

/// How many commit files are read at once.
const READ_AHEAD: usize = 16;

/// Which version of a table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The last one there is. Steps that must be repeatable name a version instead.
    Latest,
    /// This one.
    Version(Version),
    /// The last one whose commit says that it was made at or before this time.
    Time(Timestamp),
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version.
    pub version: Version,
    /// When it was made, by the clock of its writer (UTC); `None` when another tool
    /// wrote no time.
    pub at: Option<Timestamp>,
    /// What was done, such as `REPLACE`, `APPEND` or `OPTIMIZE`.
    pub operation: Option<String>,
    /// The run that did it.
    pub run_id: Option<String>,
    /// Fingerprint of what the rows were made from.
    pub source: Option<Fingerprint>,
    /// Fingerprint of the rows that were written.
    pub rows: Option<Fingerprint>,
}

impl VersionInfo {
    fn new(version: Version, commit: Option<Provenance>) -> Self {
        let commit = commit.unwrap_or_default();
        let fingerprint = |text: Option<String>| text.and_then(|t| t.parse().ok());
        Self {
            version,
            at: commit.at(),
            operation: commit.operation,
            run_id: commit.foretell_run,
            source: fingerprint(commit.foretell_source),
            rows: fingerprint(commit.foretell_rows),
        }
    }
}

impl Provenance {
    /// The time that the commit carries, as precisely as it does.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        let millis = self.in_commit_timestamp.or(self.timestamp).map(Timestamp::from_millis);
        self.foretell_at.map(Timestamp::from_micros).or(millis)
    }
}

impl Table {
    /// The latest version and what its commit says; `None` when there is no table.
    ///
    /// # Errors
    /// When the store or the commit cannot be read.
    pub async fn latest(&self) -> Result<Option<VersionInfo>, LakeError> {
        self.check_name()?;
        let log = self.log();
        let Some(version) = log.versions().await?.last().copied() else { return Ok(None) };
        Ok(Some(VersionInfo::new(version, log.provenance(version).await?)))
    }

    /// Every version that the log tells of, oldest first; empty when there is no table.
    ///
    /// # Errors
    /// When the store or a commit cannot be read.
    pub async fn versions(&self) -> Result<Vec<VersionInfo>, LakeError> {
        self.check_name()?;
        let log = self.log();
        let versions = log.versions().await?;
        stream::iter(versions)
            .map(|version| async move {
                Ok(VersionInfo::new(version, log.provenance(version).await?))
            })
            .buffered(READ_AHEAD)
            .try_collect()
            .await
    }

    /// The version that a read means.
    ///
    /// # Errors
    /// When there is no table, or no such version.
    pub async fn resolve(&self, at: AsOf) -> Result<Version, LakeError> {
        self.check_name()?;
        match at {
            AsOf::Latest => Ok(self.state(None).await?.version()),
            AsOf::Version(version) => Ok(self.state(Some(version)).await?.version()),
            AsOf::Time(time) => version_at(&self.log(), time).await,
        }
    }
}

/// The last version whose commit was made at or before a time.
async fn version_at(log: &Log<'_>, time: Timestamp) -> Result<Version, LakeError> {
    let mut versions = log.versions().await?;
    versions.reverse();
    let table = log.table.to_owned();
    if versions.is_empty() {
        return Err(LakeError::NoTable { table });
    }
    let read = |version: Version| async move {
        let at = log.provenance(version).await?.and_then(|p| p.at());
        Ok::<_, LakeError>((version, at))
    };
    // From the newest back: recent times, which are asked for most, are found first.
    let mut commits = stream::iter(versions).map(read).buffered(READ_AHEAD);
    let mut first = "an unknown time".to_owned();
    while let Some((version, at)) = commits.try_next().await? {
        match at {
            Some(at) if at <= time => return Ok(version),
            Some(at) => first = at.to_string(),
            None => {}
        }
    }
    Err(LakeError::NoVersionAt { table, time, first })
}
