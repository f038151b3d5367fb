//! Imported models that are read once and answer many times.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::PlatformError;
use crate::imported::Served;

/// How many models are kept: one may hold as much memory as its file has bytes.
const MOST: usize = 4;

/// The models that answered last, the latest first.
#[derive(Debug, Default)]
pub(crate) struct LoadedModels(Mutex<VecDeque<Loaded>>);

/// A model and which file it was read from.
#[derive(Debug, Clone)]
struct Loaded {
    file: PathBuf,
    stamp: Stamp,
    model: Arc<Served>,
}

/// What changes with a file: a model that is imported anew is read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    written: Option<SystemTime>,
    /// Files are replaced as a whole: another one has another number, where there are such.
    number: u64,
}

impl Stamp {
    fn of(file: &Path) -> Result<Self, PlatformError> {
        let unread = |source| PlatformError::Read { path: file.to_owned(), source };
        let found = std::fs::metadata(file).map_err(unread)?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let number = 0;
        Ok(Self { bytes: found.len(), written: found.modified().ok(), number })
    }
}

impl LoadedModels {
    /// The model in a file, read from it only when it has changed or is not among those that
    /// answered last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn get(&self, file: &Path) -> Result<Arc<Served>, PlatformError> {
        let stamp = Stamp::of(file)?;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |l: &Loaded| l.file == file && l.stamp == stamp;
        {
            let mut kept = lock();
            if let Some(place) = kept.iter().position(is_it)
                && let Some(found) = kept.remove(place)
            {
                let model = Arc::clone(&found.model);
                kept.push_front(found);
                return Ok(model);
            }
        }
        // Read without the lock: the others need not wait.
        let model = Arc::new(Served::read(file)?);
        let mut kept = lock();
        kept.retain(|l| l.file != file);
        kept.push_front(Loaded { file: file.to_owned(), stamp, model: Arc::clone(&model) });
        kept.truncate(MOST);
        Ok(model)
    }
}
