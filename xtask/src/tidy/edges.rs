//! Who may depend on whom: the crates of the house and what they take from outside.
//!
//! Development dependencies are free, except that `testkit` must be one.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};

use super::Violation;
use super::map::Map;

/// A member of the workspace and its dependencies, by package name.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The folder of its manifest.
    pub(crate) folder: std::path::PathBuf,
    /// Normal and build dependencies.
    pub(crate) uses: BTreeSet<String>,
}

/// The members as `cargo metadata` lists them.
pub(crate) fn members(metadata: &Metadata) -> Vec<Member> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| Member {
            name: package.name.to_string(),
            folder: package.manifest_path.with_file_name("").into_std_path_buf(),
            uses: package
                .dependencies
                .iter()
                .filter(|d| d.kind != DependencyKind::Development)
                .map(|d| d.name.clone())
                .collect(),
        })
        .collect()
}

/// The name without `foretell-`; the binary keeps its own.
fn short(name: &str) -> &str {
    name.strip_prefix("foretell-").unwrap_or(name)
}

/// Compares the workspace with the map.
pub(crate) fn check(map: &Map, members: &[Member]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let house: BTreeSet<&str> = members.iter().map(|m| m.name.as_str()).collect();
    let there: BTreeSet<&str> = members.iter().map(|m| short(&m.name)).collect();
    for room in map.rooms.keys().filter(|r| !there.contains(r.as_str())) {
        violations.push(Violation::new(
            super::MAP,
            "map",
            format!("crate `{room}` is on the map but not in the workspace: mend one of them"),
        ));
    }
    let used: BTreeSet<&str> =
        members.iter().flat_map(|m| m.uses.iter().map(String::as_str)).collect();
    for gone in map.only_in.keys().filter(|d| !used.contains(d.as_str())) {
        violations.push(Violation::new(
            super::MAP,
            "map",
            format!("dependency `{gone}` is on the map but nobody uses it: take it off"),
        ));
    }
    for member in members {
        let name = short(&member.name);
        let Some(room) = map.rooms.get(name) else {
            violations.push(Violation::new(
                &member.name,
                "map",
                format!("not in the table of crates of {}: add its row", super::MAP),
            ));
            continue;
        };
        for used in &member.uses {
            let target = short(used);
            if house.contains(used.as_str()) {
                if !room.may_use.contains(target) {
                    violations.push(Violation::new(
                        &member.name,
                        "edge",
                        format!("must not use `{target}`: the edge is not on the map"),
                    ));
                }
                continue;
            }
            if map.only_in.get(used).is_some_and(|only| !only.contains(name)) {
                violations.push(Violation::new(
                    &member.name,
                    "deny-list",
                    format!("must not use `{used}`: the map allows it elsewhere only"),
                ));
            }
            if room.pure && !map.pure_may_use.contains(used) {
                violations.push(Violation::new(
                    &member.name,
                    "pure-floor",
                    format!("belongs to the pure floor, which may not use `{used}`"),
                ));
            }
        }
    }
    violations
}

/// Checks one member's manifest: the lints of the workspace, and for a crate of the
/// pure floor a `clippy.toml` of its own.
pub(crate) fn manifest(map: &Map, name: &str, text: &str, has_clippy: bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    let manifest: toml::Table = text.parse().unwrap_or_default();
    let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        let message = "does not take the lints of the workspace: add `[lints] workspace = true`";
        violations.push(Violation::new(name, "lints", message));
    }
    if map.rooms.get(short(name)).is_some_and(|room| room.pure) && !has_clippy {
        let message =
            "belongs to the pure floor and has no clippy.toml that forbids clock and files";
        violations.push(Violation::new(name, "pure-floor", message));
    }
    violations
}

/// Packages that tests would build with other features than the program does.
///
/// `cargo build --workspace` leaves development dependencies out of feature
/// resolution, `cargo nextest run --workspace` does not: a feature that only a test
/// asks for builds the package, and all that stands on it, a second time.
pub(crate) fn feature_drift(program: &str, tests: &str) -> Vec<Violation> {
    let (program, tests) = (features(program), features(tests));
    let mut violations = Vec::new();
    for (package, wanted) in &program {
        let Some(with_tests) = tests.get(package) else { continue };
        for extra in with_tests.difference(wanted) {
            violations.push(Violation::new(
                package.clone(),
                "one-build",
                format!(
                    "is built with [{extra}] for tests only: give a normal dependency of the \
                     workspace the same features, or `make test` rebuilds it"
                ),
            ));
        }
    }
    violations
}

/// The feature sets with which each package is built (host and target may differ).
fn features(tree: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (package, set) in tree.lines().filter_map(|line| line.split_once('|')) {
        // `name v1.0.0 (proc-macro)|default,std (*)`: only name, version and set count.
        let name: Vec<&str> = package.split(' ').take(2).collect();
        let set = set.split(' ').next().unwrap_or("");
        sets.entry(name.join(" ")).or_default().insert(set.to_owned());
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Map {
        Map::parse(
            "
| floor | crate | pure | may also use |
|---|---|---|---|
| 0 | `market` | yes | – |
| 1 | `panel` | yes | – |
| 2 | `model` | yes | `panel` |
| 2 | `lake` | – | `panel` |
| dev | `testkit` | – | `panel` |

| dependency | only in |
|---|---|
| `tokio` | `lake` |
| `hessboost` | `model` |

| the pure floor may use |
|---|
| `serde`, `hessboost` |
",
        )
        .unwrap()
    }

    fn house() -> Vec<Member> {
        vec![
            member("foretell-market", &["serde"]),
            member("foretell-panel", &["foretell-market", "serde"]),
            member("foretell-model", &["foretell-market", "foretell-panel", "hessboost"]),
            member("foretell-lake", &["foretell-market", "foretell-panel", "tokio"]),
            member("foretell-testkit", &["foretell-market", "foretell-panel"]),
        ]
    }

    fn member(name: &str, uses: &[&str]) -> Member {
        let uses = uses.iter().map(|&u| u.to_owned()).collect();
        Member { name: name.to_owned(), folder: name.into(), uses }
    }

    fn rules(violations: &[Violation]) -> Vec<(&str, &str)> {
        violations.iter().map(|v| (v.at.as_str(), v.rule)).collect()
    }

    #[test]
    fn the_house_as_drawn_is_clean() {
        assert_eq!(check(&map(), &house()), []);
    }

    #[test]
    fn an_edge_that_is_not_listed_is_found() {
        let mut house = house();
        house[1].uses.insert("foretell-model".to_owned());
        assert_eq!(rules(&check(&map(), &house)), [("foretell-panel", "edge")]);
    }

    #[test]
    fn testkit_is_a_development_dependency_only() {
        let mut house = house();
        house[3].uses.insert("foretell-testkit".to_owned());
        assert_eq!(rules(&check(&map(), &house)), [("foretell-lake", "edge")]);
    }

    #[test]
    fn a_dependency_outside_its_crates_is_found() {
        let mut house = house();
        house[3].uses.insert("hessboost".to_owned());
        assert_eq!(rules(&check(&map(), &house)), [("foretell-lake", "deny-list")]);
    }

    #[test]
    fn the_pure_floor_takes_only_what_is_listed() {
        let mut house = house();
        house[2].uses.extend(["tokio".to_owned(), "tempfile".to_owned()]);
        assert_eq!(
            rules(&check(&map(), &house)),
            [
                ("foretell-model", "pure-floor"),
                ("foretell-model", "deny-list"),
                ("foretell-model", "pure-floor"),
            ]
        );
    }

    #[test]
    fn crates_and_table_must_agree() {
        let mut house = house();
        house.pop();
        house.push(member("foretell-annex", &[]));
        assert_eq!(
            rules(&check(&map(), &house)),
            [("docs/architecture.md", "map"), ("foretell-annex", "map")]
        );
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_found() {
        let mut house = house();
        house[3].uses.remove("tokio");
        assert_eq!(rules(&check(&map(), &house)), [("docs/architecture.md", "map")]);
    }

    #[test]
    fn every_manifest_takes_the_lints_and_a_pure_crate_its_own_list() {
        let good = "[package]\npublish.workspace = true\n[lints]\nworkspace = true\n";
        assert_eq!(manifest(&map(), "foretell-market", good, true), []);
        assert_eq!(manifest(&map(), "foretell-lake", good, false), []);
        let found = manifest(&map(), "foretell-market", good, false);
        assert_eq!(rules(&found), [("foretell-market", "pure-floor")]);
        let found =
            manifest(&map(), "foretell-lake", "[package]\npublish.workspace = true\n", false);
        assert_eq!(rules(&found), [("foretell-lake", "lints")]);
    }

    #[test]
    fn a_feature_for_tests_only_is_found() {
        let program = "a v1.0.0|std\nb v2.0.0 (proc-macro)|\na v1.0.0|std (*)";
        assert_eq!(feature_drift(program, program), []);
        let tests = "a v1.0.0|alloc,std (*)\nb v2.0.0 (proc-macro)|\nd v1.0.0|std";
        assert_eq!(rules(&feature_drift(program, tests)), [("a v1.0.0", "one-build")]);
    }
}
