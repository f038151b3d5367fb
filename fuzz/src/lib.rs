//! Fuzz targets of the readers that meet foreign bytes, and the engine that drives them.
//!
//! A target promises more than "no panic": every refusal names where and what. The
//! kept inputs lie in `fuzz/corpus/<target>`; a test replays them all. Ships with
//! nothing.

mod coverage;
mod engine;
mod mutate;
mod targets;

use std::path::{Path, PathBuf};

pub use coverage::Coverage;
pub use engine::{Outcome, SLOW, Target, distil, drive, run};
pub use mutate::{Dice, MAX_LENGTH, mutate};
pub use targets::targets;

/// The folder of the kept inputs.
pub fn corpus_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The kept inputs of a target with their file names, in order of name.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn corpus(target: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(corpus_dir().join(target))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}
