//! `cargo xtask fuzz`: builds the fuzzer with edge counters and runs it.
//!
//! The fuzzer itself is the crate `fuzz`. This module is also the compiler wrapper
//! that has LLVM put the counters into the crates of the house, and only there: the
//! dependencies keep the artefacts of every other build.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Set for the wrapped build; its value names the wrapper's version.
const WRAPPER: &str = "FORETELL_FUZZ_WRAPPER";

/// What the compiler is told for a crate whose edges are counted. All of it is stable.
const COUNTERS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    // Arithmetic that wraps silently in a release build is a find here.
    "-Coverflow-checks=on",
    "-Cdebug-assertions=on",
];

/// Runs every target (or the one named) and says whether none failed.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<bool> {
    let wrapper = std::env::current_exe().context("failed to find this program")?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["run", "--release", "--quiet", "--bin", "foretell-fuzz", "--"])
        .args(arguments)
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env(WRAPPER, "1")
        .status()
        .context("failed to start cargo")?;
    Ok(status.success())
}

/// The compiler's command line, when cargo has called this program as its wrapper.
pub(crate) fn wrapped(arguments: &[String]) -> Option<(String, Vec<OsString>)> {
    std::env::var_os(WRAPPER)?;
    let (compiler, rest) = arguments.split_first()?;
    let mut all: Vec<OsString> = rest.iter().map(OsString::from).collect();
    if is_counted(rest) {
        all.extend(COUNTERS.iter().map(OsString::from));
    }
    Some((compiler.clone(), all))
}

/// Libraries of the house are counted; the fuzzer itself is not.
fn is_counted(arguments: &[String]) -> bool {
    let after = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let name = after("--crate-name").unwrap_or("");
    name.starts_with("foretell_") && name != "foretell_fuzz" && after("--crate-type") == Some("lib")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(line: &str) -> bool {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        is_counted(&words)
    }

    #[test]
    fn libraries_of_the_house_are_counted() {
        assert!(counted("--crate-name foretell_source --edition 2024 a.rs --crate-type lib"));
        assert!(!counted("--crate-name foretell_fuzz --crate-type lib"));
        assert!(!counted("--crate-name foretell --crate-type bin"));
        assert!(!counted("--crate-name serde --crate-type lib"));
        assert!(!counted("- --print cfg --crate-name ___ --crate-type bin"));
    }
}
