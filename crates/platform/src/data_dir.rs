//! The data directory: one folder that holds everything, owned by one process.
//!
//! Layout (version 1): `lock`, `owner.json` (who owns it and where its API is),
//! `registry.sqlite`, `lake/`, `quarantine/`, `reports/`, `backfill/`, and while long work is under
//! way `checkpoints/` and `evaluations/`. Paths stored inside are relative to it, so it can be moved
//! or copied.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use foretell_market::{Clock as _, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::error::PlatformError;

/// Who owns a data directory.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// The command, such as `foretell serve`.
    pub command: String,
    /// Base URL of its API, when it serves one.
    pub api: Option<String>,
    /// What a request that changes something must carry: only who may read the data
    /// directory knows it.
    pub secret: Option<String>,
    /// Since when it has it (UTC).
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Whether it serves until somebody stops it, and then works for other commands too.
    #[serde(default)]
    pub lasting: bool,
}

impl Owner {
    /// This process, which serves nothing yet.
    pub(crate) fn of_this_process(command: &str, since: Timestamp) -> Self {
        let (pid, command) = (std::process::id(), command.to_owned());
        Self { pid, command, since: Some(since), ..Self::default() }
    }

    /// Who it is and since when, for people.
    pub fn describe(&self) -> String {
        if self.command.is_empty() {
            return "another process".to_owned();
        }
        let since = self.since.map_or_else(String::new, |t| format!(", since {}", t.human()));
        format!("`{}` (process {}{since})", self.command, self.pid)
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, command, api, lasting, .. } = self;
        write!(f, "Owner({pid}, {command}, {api:?}, {lasting})")
    }
}

/// A data directory owned by this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    since: Timestamp,
    /// Held for its lock.
    _lock: File,
}

/// What became of the wish to own a data directory.
#[derive(Debug)]
pub enum Ownership {
    /// This process owns it now.
    Mine(DataDir),
    /// Another one does.
    Theirs(Owner),
}

impl DataDir {
    /// Takes the directory, making it when absent, or tells who has it.
    ///
    /// # Errors
    /// When the directory cannot be made or its files cannot be written.
    pub fn take(path: &Path, command: &str) -> Result<Ownership, PlatformError> {
        let write = |path: PathBuf| move |source| PlatformError::Write { path, source };
        fs::create_dir_all(path).map_err(write(path.to_owned()))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(write(lock_path.clone()))?;
        if lock.try_lock().is_err() {
            return Ok(Ownership::Theirs(owner_of(path)));
        }
        for folder in ["lake", "quarantine", "reports", "backfill", "markets"] {
            fs::create_dir_all(path.join(folder)).map_err(write(path.join(folder)))?;
        }
        let since = SystemClock.now();
        let taken = Self { path: path.to_owned(), since, _lock: lock };
        taken.announce(&Owner::of_this_process(command, since))?;
        Ok(Ownership::Mine(taken))
    }

    /// Who owns a directory now, if anyone; changes nothing.
    pub fn owner(path: &Path) -> Option<Owner> {
        let lock = File::open(path.join("lock")).ok()?;
        match lock.try_lock_shared() {
            Ok(()) => None,
            Err(_) => Some(owner_of(path)),
        }
    }

    /// Tells other processes who owns the directory and where its API is.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn announce(&self, owner: &Owner) -> Result<(), PlatformError> {
        let json = serde_json::to_vec_pretty(owner).unwrap_or_default();
        // The secret must not lie open for a moment: the file is its user's from the start.
        replace(&self.path.join("owner.json"), &json, Some(0o600))
    }

    /// Since when this process has it (UTC).
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The registry's database file.
    pub fn registry(&self) -> PathBuf {
        self.path.join("registry.sqlite")
    }

    /// The folder of the lake.
    pub fn lake(&self) -> PathBuf {
        self.path.join("lake")
    }

    /// A file that belongs to a run, such as its report.
    pub fn file(&self, folder: &str, name: &str) -> PathBuf {
        self.path.join(folder).join(name)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // The note is a courtesy; the lock itself ends with the file handle.
        let _ = fs::remove_file(self.path.join("owner.json"));
    }
}

fn owner_of(path: &Path) -> Owner {
    let text = fs::read_to_string(path.join("owner.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Writes a file so that a reader sees the old or the new content, never a part.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), PlatformError> {
    replace(path, bytes, None)
}

/// [`write_atomically`], with the access rights that the file is made with.
fn replace(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), PlatformError> {
    let fail = |source| PlatformError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.join(format!(".{name}.{}.partial", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true);
        match mode {
            // What a process of this number left behind may be open to others.
            Some(mode) => {
                let _ = fs::remove_file(&partial);
                options.create_new(true).mode(mode);
            }
            None => {
                options.create(true).truncate(true);
            }
        }
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&partial);
        fail(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_owns_it_and_the_others_learn_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let Ownership::Mine(mine) = DataDir::take(&path, "foretell serve").unwrap() else {
            panic!("nobody else has it");
        };
        let api = Some("http://127.0.0.1:8080".to_owned());
        let command = "foretell serve".to_owned();
        let owner = Owner {
            pid: 7,
            command,
            api,
            secret: Some("s".to_owned()),
            since: Some(Timestamp::from_secs(0)),
            lasting: true,
        };
        mine.announce(&owner).unwrap();
        let Ownership::Theirs(found) = DataDir::take(&path, "foretell run").unwrap() else {
            panic!("it is taken");
        };
        assert_eq!(found, owner);
        let words = "`foretell serve` (process 7, since 1970-01-01 00:00 UTC)";
        assert_eq!(found.describe(), words);
        drop(mine);
        assert!(matches!(DataDir::take(&path, "foretell run").unwrap(), Ownership::Mine(_)));
    }

    #[test]
    fn the_note_with_the_secret_is_made_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.json");
        // Left behind, and open to others.
        let partial = format!(".owner.json.{}.partial", std::process::id());
        fs::write(folder.path().join(partial), b"old").unwrap();
        replace(&path, b"secret", Some(0o600)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        let mode = |path: &Path| {
            let rights = fs::metadata(path).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::mode(&rights) & 0o777
        };
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"old").unwrap();
        assert!(write_atomically(&folder.path().join("absent/a.json"), b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
