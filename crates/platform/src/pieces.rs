//! Finished fits of a long evaluation as files, until the work that needs them is done.
//!
//! The name of a file is the fingerprint of everything that decides its content, so that what
//! is found is of use whoever left it, and what does not fit is never found.

use std::path::{Path, PathBuf};

use foretell_model::evaluate::FinishedFits;

/// The folder of the pieces in a data directory.
const FOLDER: &str = "evaluations";

/// The finished fits of one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    folder: PathBuf,
}

impl Pieces {
    /// Those of a pipeline that is worked on in some way, under a data directory. Nothing is
    /// made before there is something to keep.
    pub(crate) fn of(data_dir: &Path, pipeline: &str, work: &str) -> Self {
        Self { folder: data_dir.join(FOLDER).join(format!("{pipeline}.{work}")) }
    }

    /// Removes them: the work is done.
    pub(crate) fn remove(&self) {
        // What stays behind takes room and does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
        // The folder above only when no other work has pieces there.
        let _ = self.folder.parent().map(std::fs::remove_dir);
    }
}

impl FinishedFits for Pieces {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(key)).ok()
    }

    fn keep(&self, key: &str, piece: &[u8]) {
        // A full disk is no reason to stop: without the piece the fit is made once more.
        let made = std::fs::create_dir_all(&self.folder).is_ok();
        if made {
            let _ = crate::data_dir::write_atomically(&self.folder.join(key), piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_until_they_are_removed_and_only_by_their_own_work() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = Pieces::of(folder.path(), "btc", "run");
        assert!(pieces.load("a").is_none());
        pieces.keep("a", b"one");
        pieces.keep("a", b"two");
        assert_eq!(pieces.load("a").as_deref(), Some(&b"two"[..]));
        assert!(Pieces::of(folder.path(), "btc", "evaluate").load("a").is_none());
        pieces.remove();
        assert!(pieces.load("a").is_none());
        pieces.remove();
    }
}
