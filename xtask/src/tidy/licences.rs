//! What the dependencies are: their licences, their sources, the banned ones.
//!
//! The policy is `deny.toml`, which `cargo deny` reads too; this module needs no
//! further tool and no network.

use std::collections::BTreeSet;

use anyhow::Context as _;
use cargo_metadata::Metadata;

use super::Violation;

/// The parts of `deny.toml` that are held here.
#[derive(Debug)]
pub(crate) struct Policy {
    allow: BTreeSet<String>,
    deny: BTreeSet<String>,
}

/// A package of the dependency tree.
#[derive(Debug)]
pub(crate) struct Package {
    name: String,
    licence: Option<String>,
    source: Option<String>,
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

impl Policy {
    /// Reads the allowed licences and the banned packages.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let value: toml::Table = text.parse().context("deny.toml is not TOML")?;
        let list = |table: &str, key: &str| -> anyhow::Result<BTreeSet<String>> {
            let list = value
                .get(table)
                .and_then(|t| t.get(key))
                .and_then(toml::Value::as_array)
                .with_context(|| format!("deny.toml has no list {table}.{key}"))?;
            Ok(list
                .iter()
                .filter_map(|v| v.as_str().or_else(|| v.get("crate")?.as_str()))
                .map(str::to_owned)
                .collect())
        };
        Ok(Self { allow: list("licenses", "allow")?, deny: list("bans", "deny")? })
    }
}

/// The packages that some target and some test really builds: those `cargo tree`
/// shows. (`cargo metadata` also lists what only an unused feature would bring.)
pub(crate) fn packages(metadata: &Metadata, tree: &str) -> Vec<Package> {
    let built: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.trim_start_matches('v')))
        })
        .collect();
    metadata
        .packages
        .iter()
        .filter(|p| built.contains(&(p.name.as_str(), p.version.to_string().as_str())))
        .map(|p| Package {
            name: p.name.to_string(),
            licence: p.license.clone(),
            source: p.source.as_ref().map(|s| s.repr.clone()),
        })
        .collect()
}

/// Compares the packages with the policy.
pub(crate) fn check(policy: &Policy, packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        let mut broken = |message: String| {
            violations.push(Violation::new(&package.name, "deny.toml", message));
        };
        match &package.licence {
            Some(licence) if is_allowed(licence, &policy.allow) => {}
            Some(licence) => broken(format!("licence `{licence}` is not on the list")),
            None => broken("names no licence".to_owned()),
        }
        if policy.deny.contains(&package.name) {
            broken("is banned".to_owned());
        }
        if package.source.as_deref().is_some_and(|s| s != CRATES_IO) {
            broken(format!("comes from {:?}, not from crates.io", package.source));
        }
    }
    violations
}

/// Whether an SPDX expression can be met from the list. Precedence as SPDX has it:
/// `WITH` binds first, then `AND`, then `OR`; the old `/` means `OR`.
fn is_allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut place = 0;
    let allowed = any_of(&words, &mut place, allow);
    allowed && place == words.len()
}

fn any_of(words: &[&str], place: &mut usize, allow: &BTreeSet<String>) -> bool {
    let mut allowed = all_of(words, place, allow);
    while words.get(*place) == Some(&"OR") {
        *place += 1;
        allowed |= all_of(words, place, allow);
    }
    allowed
}

fn all_of(words: &[&str], place: &mut usize, allow: &BTreeSet<String>) -> bool {
    let mut allowed = one(words, place, allow);
    while words.get(*place) == Some(&"AND") {
        *place += 1;
        allowed &= one(words, place, allow);
    }
    allowed
}

fn one(words: &[&str], place: &mut usize, allow: &BTreeSet<String>) -> bool {
    let Some(&word) = words.get(*place) else { return false };
    *place += 1;
    if word == "(" {
        let allowed = any_of(words, place, allow);
        let closed = words.get(*place) == Some(&")");
        *place += 1;
        return allowed && closed;
    }
    let mut name = word.to_owned();
    if words.get(*place) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*place + 1).unwrap_or(&""));
        *place += 2;
    }
    allow.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [bans]\ndeny = [{ crate = \"openssl\", reason = \"r\" }]",
        )
        .unwrap()
    }

    fn package(name: &str, licence: Option<&str>, source: &str) -> Package {
        Package {
            name: name.to_owned(),
            licence: licence.map(str::to_owned),
            source: Some(source.to_owned()),
        }
    }

    #[test]
    fn expressions_are_read_with_their_precedence() {
        let allow = policy().allow;
        for good in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "MIT AND Apache-2.0",
            "(GPL-3.0 OR MIT) AND Apache-2.0",
            "GPL-3.0 AND ISC OR MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allow), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT WITH something", "", "MIT MIT"] {
            assert!(!is_allowed(bad, &allow), "{bad}");
        }
    }

    #[test]
    fn each_planted_package_is_found() {
        let found = check(
            &policy(),
            &[
                package("good", Some("MIT"), CRATES_IO),
                package("copyleft", Some("GPL-3.0"), CRATES_IO),
                package("unnamed", None, CRATES_IO),
                package("openssl", Some("MIT"), CRATES_IO),
                package("forked", Some("MIT"), "git+https://example.org/forked"),
            ],
        );
        let names: Vec<&str> = found.iter().map(|v| v.at.as_str()).collect();
        assert_eq!(names, ["copyleft", "unnamed", "openssl", "forked"]);
    }
}
