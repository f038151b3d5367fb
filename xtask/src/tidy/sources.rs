//! Rules about one file's text: header, size, names, forgotten work, machine paths.

use super::Violation;

/// What one file showed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) violations: Vec<Violation>,
    pub(crate) warnings: Vec<Violation>,
}

/// A file over this is refused.
const MAX_LINES: usize = 1000;
/// A file over this is pointed at.
const WARN_LINES: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers"];

/// Marks of unfinished work. Written in halves, so that this file passes itself.
const UNFINISHED: [&str; 4] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ig", "nore"),
    concat!("dbg", "!("),
];

/// Places of one machine. Written in halves, too.
const MACHINE: [&str; 5] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
];

/// Checks one text file; `path` is relative to the root, with `/`.
pub(crate) fn check(path: &str, text: &str) -> Found {
    let mut found = Found::default();
    if path.ends_with(".rs") {
        rust(path, text, &mut found);
    }
    if !is_recorded(path) {
        found.violations.extend(machine_paths(path, text));
    }
    found
}

/// Recorded data is kept byte for byte, whatever it says.
fn is_recorded(path: &str) -> bool {
    ["data/", "tests/data/", "fuzz/corpus/"].iter().any(|p| path.starts_with(p))
        && !path.ends_with(".md")
}

fn rust(path: &str, text: &str, found: &mut Found) {
    let first = text.lines().find(|l| !l.trim().is_empty() && !l.starts_with("#!"));
    if !first.is_some_and(|l| l.starts_with("//!")) {
        found.violations.push(Violation::new(
            path,
            "header",
            "begins without `//!`: say what the module is and what it must not do",
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        let message = format!("has {lines} lines, over {MAX_LINES}: split it by concept");
        found.violations.push(Violation::new(path, "size", message));
    } else if lines > WARN_LINES {
        let message = format!("has {lines} lines, over {WARN_LINES}");
        found.warnings.push(Violation::new(path, "size", message));
    }
    for part in path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) {
            let message = format!("`{part}` names no concept");
            found.violations.push(Violation::new(path, "name", message));
        }
    }
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{path}:{}", number + 1);
        for mark in UNFINISHED {
            if line.contains(mark) {
                let message = format!("`{mark}` is unfinished work");
                found.violations.push(Violation::new(at(), "unfinished", message));
            }
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(i) = words.iter().position(|&w| w == "mod")
            && let Some(name) = words.get(i + 1)
            && EMPTY_NAMES.contains(&name.trim_end_matches([';', '{']))
            && !line.trim_start().starts_with("//")
        {
            let message = format!("`mod {name}` names no concept");
            found.violations.push(Violation::new(at(), "name", message));
        }
    }
}

/// A path of one machine at the start of a word.
fn machine_paths(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for place in MACHINE {
            let starts_a_word = |(i, _): (usize, &str)| {
                i == 0 || {
                    let before = line.as_bytes()[i - 1];
                    !(before.is_ascii_alphanumeric() || b"/._-~}$".contains(&before))
                }
            };
            if line.match_indices(place).any(starts_a_word) {
                violations.push(Violation::new(
                    format!("{path}:{}", number + 1),
                    "machine-path",
                    format!("`{place}` is a place on one machine"),
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(path, text).violations.iter().map(|v| v.rule).collect()
    }

    #[test]
    fn a_plain_module_is_clean() {
        assert!(rules("crates/a/src/b.rs", "//! What it is.\n\nmod commonplace;\n").is_empty());
        assert!(rules("crates/a/src/b.rs", "#!/usr/bin/env x\n\n//! What it is.\n").is_empty());
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(rules("a.rs", "use std::fmt;\n//! Late.\n"), ["header"]);
        assert_eq!(rules("a.rs", ""), ["header"]);
    }

    #[test]
    fn long_files_are_found() {
        let text = |n: usize| "//! Long.\n".repeat(n);
        assert_eq!(rules("a.rs", &text(1001)), ["size"]);
        let found = check("a.rs", &text(1000));
        assert!(found.violations.is_empty());
        assert_eq!(found.warnings.len(), 1);
        assert!(check("a.rs", &text(800)).warnings.is_empty());
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(rules("crates/a/src/utils.rs", "//! A.\n"), ["name"]);
        assert_eq!(rules("crates/a/src/helpers/b.rs", "//! A.\n"), ["name"]);
        assert_eq!(rules("a.rs", "//! A.\npub(crate) mod common;\n"), ["name"]);
        assert_eq!(rules("a.rs", "//! A.\nmod manager {\n"), ["name"]);
    }

    #[test]
    fn unfinished_work_is_found() {
        for mark in UNFINISHED {
            let text = format!("//! A.\nfn a() {{ {mark}\n");
            assert_eq!(rules("a.rs", &text), ["unfinished"], "{mark}");
        }
    }

    #[test]
    fn machine_paths_are_found() {
        for place in MACHINE {
            assert_eq!(rules("a.md", &format!("see `{place}x`")), ["machine-path"], "{place}");
            assert_eq!(rules("a.md", &format!("{place}x")), ["machine-path"], "{place}");
            assert!(rules("a.md", &format!("https://example.org{place}x")).is_empty());
            assert!(rules("a.md", &format!("$X{place}x net{place}")).is_empty());
            assert!(rules("tests/data/a.json", &format!("\"{place}x\"")).is_empty());
            assert_eq!(rules("tests/data/ORIGIN.md", place), ["machine-path"]);
        }
    }
}
