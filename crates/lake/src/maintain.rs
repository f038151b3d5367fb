//! Upkeep: compaction, checkpoints, and a vacuum that keeps what is referenced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foretell_market::Timestamp;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::kernel::State;
use crate::plan::{Change, Draft};
use crate::write::CommitInfo;
use crate::{LakeError, Table, Version, file, rows};

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// The version that holds the compacted files; the one before when there was
    /// nothing to do.
    pub version: Version,
    /// How many files were put together.
    pub files_before: usize,
    /// Into how many.
    pub files_after: usize,
}

/// What a vacuum did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacuumReport {
    /// The versions that are certain to stay readable, the latest among them.
    pub kept: Vec<Version>,
    /// The files that were removed, relative to the table, sorted.
    pub removed: Vec<String>,
    /// How many bytes they held.
    pub bytes: u64,
    /// How many files no kept version needs, but are too young to be removed.
    pub too_young: usize,
}

impl Table {
    /// Puts small files together, and larger ones only once those below them hold as much:
    /// a row is written again as often as its file doubles, however often this is called.
    /// Rows and fingerprints stay the same; older versions stay readable until a vacuum.
    ///
    /// # Errors
    /// When there is no table, it is another tool's, or the store fails.
    pub async fn compact(&self, info: &CommitInfo) -> Result<Compaction, LakeError> {
        self.state(None).await?;
        let done = self.transact(Change::Compact, info).await?;
        let (files_before, files_after) = (done.removed, done.added);
        Ok(Compaction { version: done.version, files_before, files_after })
    }

    pub(crate) async fn plan_compaction(
        &self,
        state: Option<&State>,
    ) -> Result<Option<Draft>, LakeError> {
        let Some(state) = state else { return Ok(None) };
        let schema = self.schema_of(state)?;
        let most = file::rows_per_file(&schema) as u64;
        let mut small = state.files(None).await.map_err(|e| self.unreadable(e))?;
        small.retain(|file| file.rows.is_none_or(|rows| rows < most / 2));
        small.sort_by_key(|file| file.rows);
        let rows: Vec<u64> = small.iter().map(|file| file.rows.unwrap_or(0)).collect();
        small.truncate(tier(&rows));
        if small.len() < 2 {
            return Ok(None);
        }
        let (removes, held): (Vec<_>, Vec<_>) =
            self.fetch(small, &schema).await?.into_iter().unzip();
        let whole = rows::merge(&schema, held)?;
        let adds = self.put_files(&whole).await?;
        Ok(Some(Draft { operation: "OPTIMIZE", removes, adds, ..Draft::default() }))
    }

    /// Writes the state of the latest version into one file, so that reading it need not
    /// go through every commit. Answers whether one was written.
    ///
    /// # Errors
    /// When there is no table, or the store fails.
    pub async fn checkpoint(&self) -> Result<bool, LakeError> {
        self.state(None).await?.checkpoint().await.map_err(|e| self.unreadable(e))
    }

    /// Removes data files that neither the latest version nor any of `keep` needs and
    /// that are older than the retention, both by the time of the file and, where a
    /// commit removed it, by the time of that commit. Versions beside those kept may
    /// become unreadable. The log itself is never touched.
    ///
    /// # Errors
    /// When there is no table, a version to keep does not exist or is unreadable
    /// already, or the store fails. Nothing is removed before every version was read.
    pub async fn vacuum(
        &self,
        keep: &[Version],
        now: Timestamp,
        retention: Duration,
    ) -> Result<VacuumReport, LakeError> {
        let latest = self.state(None).await?;
        let mut kept: BTreeSet<Version> = keep.iter().copied().collect();
        kept.insert(latest.version());
        let found = self.data_files().await?;
        let mut needed: BTreeSet<Path> = BTreeSet::new();
        for &version in &kept {
            let state = self.state(Some(version)).await?;
            for data in state.files(None).await.map_err(|e| self.unreadable(e))? {
                let path = self.file_path(&data);
                if !found.contains_key(&path) {
                    let (table, file) = (self.shown.clone(), data.path);
                    return Err(LakeError::Gone { table, version, file });
                }
                needed.insert(path);
            }
        }
        let removed_at = self.removal_times().await?;
        let micros = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(now.micros().saturating_sub(micros));
        let mut report = VacuumReport {
            kept: kept.into_iter().collect(),
            removed: vec![],
            bytes: 0,
            too_young: 0,
        };
        for (path, (written, size)) in found {
            if needed.contains(&path) {
                continue;
            }
            let since = removed_at.get(&path).map_or(written, |removed| written.max(*removed));
            if since > before {
                report.too_young += 1;
                continue;
            }
            self.lake.store.delete(&path).await.map_err(|source| LakeError::Store {
                action: format!("removing `{path}`"),
                source,
            })?;
            report.bytes += size;
            report.removed.push(path.filename().unwrap_or_default().to_owned());
        }
        report.removed.sort();
        Ok(report)
    }

    /// The data files that lie in the table's directory: when written, how large.
    async fn data_files(&self) -> Result<BTreeMap<Path, (Timestamp, u64)>, LakeError> {
        let failed = |source| {
            let action = format!("listing the files of table `{}`", self.shown);
            LakeError::Store { action, source }
        };
        let mut files = BTreeMap::new();
        let mut listed = self.lake.store.list(Some(&self.root));
        while let Some(meta) = listed.try_next().await.map_err(failed)? {
            // Names with an underscore or a dot in front are other tools' business.
            let inner = meta.location.prefix_match(&self.root);
            let hidden =
                inner.is_none_or(|mut parts| parts.any(|p| p.as_ref().starts_with(['_', '.'])));
            if !hidden && meta.location.as_ref().ends_with(".parquet") {
                let written = Timestamp::from_micros(meta.last_modified.timestamp_micros());
                files.insert(meta.location, (written, meta.size));
            }
        }
        Ok(files)
    }

    /// When a commit last removed a file from the table, by the commits' own clocks.
    async fn removal_times(&self) -> Result<BTreeMap<Path, Timestamp>, LakeError> {
        let mut times = BTreeMap::new();
        for version in self.log().versions().await? {
            for action in self.log().read(version).await?.unwrap_or_default() {
                let Some(removed) = action.remove else { continue };
                let Some(at) = removed.deletion_timestamp else { continue };
                let file = crate::kernel::DataFile { path: removed.path, size: 0, rows: None };
                times.insert(self.file_path(&file), Timestamp::from_millis(at));
            }
        }
        Ok(times)
    }
}

/// Files of so few rows are put together whatever those beside them hold.
const TINY: u64 = 64;

/// How many of the smallest files are put together, given the rows of each, ascending:
/// up to the first that holds more than twice what all before it hold. Size-tiered
/// compaction, as log-structured merge trees do it: O'Neil et al., "The log-structured
/// merge-tree", *Acta Informatica* 33 (1996).
fn tier(rows: &[u64]) -> usize {
    let mut below = 0u64;
    let grows = |(i, rows): (usize, &u64)| {
        let fits = i == 0 || *rows <= below.saturating_mul(2).max(TINY);
        below = below.saturating_add(*rows);
        fits
    };
    rows.iter().enumerate().map(grows).take_while(|fits| *fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_put_together_without_the_large_one() {
        assert_eq!(tier(&[]), 0);
        assert_eq!(tier(&[10]), 1);
        assert_eq!(tier(&[1, 1, 1, 1, 26_000]), 4);
        assert_eq!(tier(&[1, 1, 1, 1, 8, 26_000]), 5);
        assert_eq!(tier(&[100, 100, 100]), 3);
        assert_eq!(tier(&[1, 26_000]), 1, "a single row waits for others");
    }

    /// One row per version, compacted each 32: what an hourly pipeline does.
    #[test]
    fn the_rows_written_grow_by_the_logarithm_of_the_table() {
        let (mut files, mut written) = (vec![26_000u64], 0u64);
        for _ in 0..1_000 {
            files.extend([1; 32]);
            files.sort_unstable();
            let taken = tier(&files);
            let whole: u64 = files.drain(..taken).sum();
            written += whole;
            files.push(whole);
            files.sort_unstable();
        }
        assert_eq!(files.iter().sum::<u64>(), 58_000);
        // 32,000 rows came in a thousand rounds; writing all again would be 42 million.
        assert!(written < 32_000 * 15, "{written}");
        assert!(files.len() < 16, "{files:?}");
    }
}
