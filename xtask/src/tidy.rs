//! `cargo xtask tidy`: the rules of the house that no compiler holds.
//!
//! Each rule is a pure function from text or metadata to violations, with a test
//! that plants one. This module only gathers the facts and prints.

mod documents;
mod edges;
mod licences;
mod map;
mod sources;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// A rule that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// File and line, or the crate.
    pub(crate) at: String,
    /// The rule's short name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Violation {
    pub(crate) fn new(
        at: impl Into<String>,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { at: at.into(), rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.at, self.message, self.rule)
    }
}

/// Where the map of the house is written.
const MAP: &str = "docs/architecture.md";

/// Checks the whole repository; false when a rule is broken.
pub(crate) fn run(root: &Path) -> anyhow::Result<bool> {
    let mut violations = Vec::new();
    let mut warnings = Vec::new();

    let text =
        std::fs::read_to_string(root.join(MAP)).with_context(|| format!("{MAP} cannot be read"))?;
    let map = map::Map::parse(&text)?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .context("`cargo metadata` failed")?;
    let members = edges::members(&metadata);
    violations.extend(edges::check(&map, &members));
    for member in &members {
        let manifest = std::fs::read_to_string(member.folder.join("Cargo.toml"))?;
        let has_clippy = member.folder.join("clippy.toml").exists();
        violations.extend(edges::manifest(&map, &member.name, &manifest, has_clippy));
    }

    let policy = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let policy = licences::Policy::parse(&policy)?;
    let everything = feature_tree(root, "normal,build,dev", &["--target", "all"])?;
    violations.extend(licences::check(&policy, &licences::packages(&metadata, &everything)));
    violations.extend(edges::feature_drift(
        &feature_tree(root, "normal,build", &[])?,
        &feature_tree(root, "normal,build,dev", &[])?,
    ));

    let files = tracked(root)?;
    for file in &files {
        let path = root.join(file);
        let Ok(bytes) = std::fs::read(&path) else {
            // A tracked file may be deleted in the working tree.
            continue;
        };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let found = sources::check(file, &text);
        warnings.extend(found.warnings);
        violations.extend(found.violations);
        if file.ends_with(".md") {
            violations.extend(documents::links(file, &text, &files, |other| {
                std::fs::read_to_string(root.join(other)).ok()
            }));
        }
    }

    violations.sort();
    for warning in &warnings {
        println!("warning: {warning}");
    }
    for violation in &violations {
        println!("error: {violation}");
    }
    println!(
        "tidy: {} files, {} crates, {} packages: {}",
        files.len(),
        members.len(),
        metadata.packages.len(),
        if violations.is_empty() {
            "every rule is kept".to_owned()
        } else {
            format!("{} broken", violations.len())
        }
    );
    Ok(violations.is_empty())
}

/// The files git knows, and the new ones that it does not ignore.
fn tracked(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("failed to start git, which tidy needs for the list of files")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(list.split('\0').filter(|f| !f.is_empty()).map(str::to_owned).collect())
}

/// Lines `package version|features`, as cargo would build the whole workspace.
fn feature_tree(root: &Path, edges: &str, more: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["tree", "--workspace", "--prefix", "none", "--format", "{p}|{f}"])
        .args(["--edges", edges])
        .args(more)
        .output()
        .context("failed to start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("cargo tree printed no UTF-8")
}
