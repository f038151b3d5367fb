//! `cargo xtask fuzz`: builds the fuzzer with coverage counters and runs it.
//!
//! The fuzzer itself is the crate `fuzz`; this module only starts it.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Runs every target (or the one named) and says whether none failed.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<bool> {
    let seconds: u64 = crate::option(arguments, "--seconds", Some(60))?;
    let seed: u64 = crate::option(arguments, "--seed", Some(1))?;
    let target: String = crate::option(arguments, "--target", Some("all".to_owned()))?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["run", "--release", "--quiet", "--bin", "foretell-fuzz", "--"])
        .args(["--seconds", &seconds.to_string(), "--seed", &seed.to_string()])
        .args(["--target", &target])
        .status()
        .context("failed to start cargo")?;
    Ok(status.success())
}
