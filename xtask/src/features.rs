//! `cargo xtask features`: builds and lints every optional feature of the binary.
//!
//! They are off in `make` and in `.ci/run`, because what they bring takes minutes; on a
//! schedule of its own this keeps them compiling, and runs the tests that they switch on.
//! Those of `gpu` ask a Vulkan device; where the machine has none, Mesa's software one is
//! installed first, as the test environment does with what it needs.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Runs clippy and the tests of the crates that have the feature, for each feature.
pub(crate) fn run(root: &Path) -> anyhow::Result<bool> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("`cargo metadata` failed")?;
    let packages: Vec<(String, Vec<String>)> = metadata
        .workspace_packages()
        .iter()
        .map(|p| (p.name.to_string(), p.features.keys().cloned().collect()))
        .collect();
    // Tests ask the pinned peers and servers, as those of `make test` do.
    let servers = Command::new("make").current_dir(root).arg("servers").status();
    let mut good = servers.is_ok_and(|status| status.success());
    for (feature, owners) in by_feature(&packages) {
        println!("== {feature}: {}", owners.join(", "));
        if feature == "gpu" {
            vulkan();
        }
        for work in [&["clippy", "--all-targets"][..], &["test", "--no-fail-fast"]] {
            good &= cargo(root, work, &owners, &feature)?;
        }
    }
    Ok(good)
}

/// Installs a software Vulkan device on a Debian without any driver. Where that is not
/// possible, the tests say what they miss.
fn vulkan() {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has =
        |folder: &str| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some());
    if drivers.into_iter().any(has) {
        return;
    }
    println!("   no Vulkan driver: apt-get install mesa-vulkan-drivers libvulkan1");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()
    };
    let packages = ["install", "-y", "-qq", "--no-install-recommends", "mesa-vulkan-drivers"];
    let done =
        apt(&["update", "-qq"]).and_then(|_| apt(&[&packages[..], &["libvulkan1"]].concat()));
    if !done.is_ok_and(|status| status.success()) {
        println!("   that failed: the tests on a device will, too");
    }
}

/// Each optional feature with the packages that have it, in order of name.
fn by_feature(packages: &[(String, Vec<String>)]) -> Vec<(String, Vec<String>)> {
    let mut features: Vec<&String> = packages.iter().flat_map(|(_, all)| all).collect();
    features.retain(|name| *name != "default");
    features.sort();
    features.dedup();
    let owners = |feature: &String| {
        let has = packages.iter().filter(|(_, all)| all.contains(feature));
        has.map(|(name, _)| name.clone()).collect()
    };
    features.into_iter().map(|feature| (feature.clone(), owners(feature))).collect()
}

fn cargo(root: &Path, work: &[&str], packages: &[String], feature: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(work).arg("--release");
    for package in packages {
        command.args(["--package", package, "--features", &format!("{package}/{feature}")]);
    }
    if work[0] == "clippy" {
        command.args(["--", "-D", "warnings"]);
    }
    Ok(command.status().context("failed to start cargo")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_grouped_with_their_packages() {
        let package = |name: &str, features: &[&str]| {
            (name.to_owned(), features.iter().map(|f| (*f).to_owned()).collect())
        };
        let packages = [package("a", &["onnx", "default"]), package("b", &["gpu", "onnx"])];
        let named = |name: &str, owners: &[&str]| package(name, owners);
        assert_eq!(by_feature(&packages), [named("gpu", &["b"]), named("onnx", &["a", "b"])]);
    }
}
