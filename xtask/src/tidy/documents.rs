//! Rules about documents: every relative link leads to a file, every anchor to a heading.

use std::collections::BTreeSet;

use super::Violation;

/// Checks the links of one document. `files` are the files of the repository;
/// `read` gives the text of another document.
pub(crate) fn links(
    path: &str,
    text: &str,
    files: &BTreeSet<String>,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, target) in targets(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let at = format!("{path}:{line}");
        let (file, anchor) = match target.split_once('#') {
            Some((file, anchor)) => (file, Some(anchor)),
            None => (target.as_str(), None),
        };
        let resolved = if file.is_empty() { path.to_owned() } else { resolve(path, file) };
        let folder = format!("{}/", resolved.trim_end_matches('/'));
        if !files.contains(&resolved) && !files.iter().any(|f| f.starts_with(&folder)) {
            let message = format!("`{target}` leads nowhere");
            violations.push(Violation::new(at, "link", message));
            continue;
        }
        if let Some(anchor) = anchor {
            let other = if file.is_empty() { Some(text.to_owned()) } else { read(&resolved) };
            if !other.is_some_and(|text| headings(&text).contains(anchor)) {
                let message = format!("`{target}`: no heading `#{anchor}`");
                violations.push(Violation::new(at, "link", message));
            }
        }
    }
    violations
}

/// A relative target, seen from the folder of `path`.
fn resolve(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The lines outside fenced blocks, numbered from 1, with inline code blanked.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let parts: Vec<&str> = line.split('`').collect();
            let open = parts.len().is_multiple_of(2);
            let kept: Vec<&str> = parts
                .iter()
                .enumerate()
                .map(
                    |(n, part)| {
                        if n % 2 == 0 || (open && n + 1 == parts.len()) { part } else { "" }
                    },
                )
                .collect();
            lines.push((i + 1, kept.join("`")));
        }
    }
    lines
}

/// The targets of `[text](target)`, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let Some(end) = rest.find(')') else { break };
            let target = rest[..end].split_whitespace().next().unwrap_or("");
            found.push((number, target.to_owned()));
            rest = &rest[end..];
        }
    }
    found
}

/// The anchors that GitHub gives to a document's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = title
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        anchors.insert(anchor);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        let files = ["README.md", "docs/a.md", "docs/decisions/0001-x.md", "LICENSE-MIT"];
        let files = files.iter().map(|&f| f.to_owned()).collect();
        let read = |path: &str| (path == "README.md").then(|| "# Top\n## The `two` ways\n".into());
        links("docs/a.md", text, &files, read).into_iter().map(|v| v.message).collect()
    }

    #[test]
    fn good_links_pass() {
        let text = "# Own\n[r](../README.md) [d](decisions/) [o](decisions/0001-x.md)\n\
            [s](#own) [t](../README.md#the-two-ways) [w](https://example.org/x) ![i](a.md)\n\
            `[code](nowhere.md)`\n```\n[fenced](nowhere.md)\n```\n";
        assert_eq!(check(text), Vec::<String>::new());
    }

    #[test]
    fn a_dead_link_is_found() {
        assert_eq!(check("see [x](nowhere.md)"), ["`nowhere.md` leads nowhere"]);
        assert_eq!(check("see [x](README.md)"), ["`README.md` leads nowhere"]);
    }

    #[test]
    fn a_dead_anchor_is_found() {
        assert_eq!(check("[x](#missing)"), ["`#missing`: no heading `#missing`"]);
        assert_eq!(check("[x](../README.md#gone)"), ["`../README.md#gone`: no heading `#gone`"]);
    }
}
