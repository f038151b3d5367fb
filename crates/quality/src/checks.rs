//! The checks, each a function of rows that tells what it saw.
//!
//! No check knows its severity, and none changes a row: `gate` puts rows aside and
//! decides what a broken expectation does.

use std::collections::{BTreeMap, BTreeSet};

use foretell_market::Timestamp;
use foretell_panel::{Gap, RawTable};

use crate::wording::{self, exact};
use crate::{Duplicates, Expectations};

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Issue {
    /// The row of the raw table, where it is about one.
    pub(crate) row: Option<usize>,
    /// Its position, where it is about a row that the table does not hold.
    pub(crate) position: Option<u64>,
    pub(crate) column: Option<String>,
    pub(crate) message: String,
    /// Whether the row must be put aside.
    pub(crate) quarantine: bool,
    /// Whether it stops at a warning whatever the check's severity.
    pub(crate) only_warn: bool,
}

/// What a check saw: the issues, and a line for people in any case.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Verdict {
    pub(crate) detail: String,
    pub(crate) issues: Vec<Issue>,
    /// There was nothing to check.
    pub(crate) not_applicable: bool,
}

impl Verdict {
    fn of_rows(mut issues: Vec<Issue>, fine: impl Into<String>, wrong: &str) -> Self {
        if issues.is_empty() {
            return Self { detail: fine.into(), ..Self::default() };
        }
        for issue in &mut issues {
            issue.quarantine = issue.row.is_some();
        }
        let rows: BTreeSet<_> = issues.iter().map(|i| (i.row, i.position)).collect();
        let detail = format!("{} {wrong}", wording::counted(rows.len(), "row", "rows"));
        Self { detail, issues, not_applicable: false }
    }

    fn of_table(issues: Vec<Issue>, fine: impl Into<String>) -> Self {
        let words: Vec<_> = issues.iter().map(|i| i.message.as_str()).collect();
        let detail = if issues.is_empty() { fine.into() } else { words.join("; ") };
        Self { detail, issues, not_applicable: false }
    }

    fn nothing(detail: &str) -> Self {
        Self { detail: detail.to_owned(), not_applicable: true, ..Self::default() }
    }
}

fn table_issue(column: Option<&str>, message: String) -> Issue {
    Issue { column: column.map(str::to_owned), message, ..Issue::default() }
}

fn row_issue(row: usize, column: Option<&str>, message: String) -> Issue {
    Issue { row: Some(row), ..table_issue(column, message) }
}

/// The parts of the table fit each other; without this nothing can be indexed.
pub(crate) fn shape(raw: &RawTable) -> Vec<String> {
    let rows = raw.rows.len();
    let mut faults = Vec::new();
    if raw.positions.len() != rows {
        faults.push(format!("{} positions for {rows} rows", raw.positions.len()));
    }
    for (i, column) in raw.columns.iter().enumerate() {
        if column.values.len() != rows {
            faults.push(format!(
                "column `{}` has {} values for {rows} rows",
                column.name,
                column.values.len()
            ));
        }
        if raw.columns[..i].iter().any(|c| c.name == column.name) {
            faults.push(format!("column `{}` appears twice", column.name));
        }
    }
    faults
}

pub(crate) fn schema(raw: &RawTable, expectations: &Expectations) -> Verdict {
    let present: Vec<_> = raw.columns.iter().map(|c| c.name.as_str()).collect();
    let mut issues: Vec<_> =
        shape(raw).into_iter().map(|message| table_issue(None, message)).collect();
    for name in &expectations.required_columns {
        if raw.column(name).is_none() {
            let there = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
            let message = format!("column `{name}` is missing (there are: {there})");
            issues.push(table_issue(Some(name), message));
        }
    }
    Verdict::of_table(issues, format!("columns {}", present.join(", ")))
}

pub(crate) fn types(raw: &RawTable, expectations: &Expectations) -> Verdict {
    let row_at: BTreeMap<u64, usize> =
        raw.positions.iter().enumerate().map(|(row, position)| (*position, row)).collect();
    let mut issues: Vec<Issue> = Vec::new();
    for fault in &raw.faults {
        let column = fault.column.as_str();
        let message = if fault.text.trim().is_empty() {
            format!("{column} is empty")
        } else {
            format!("{column} is not a number: `{}`", fault.text)
        };
        let row = row_at.get(&fault.position).copied();
        let position = Some(fault.position);
        // A row stands without a number that nobody requires; it does not stand without
        // a time, which is no column of the table.
        let optional = raw.column(column).is_some()
            && !expectations.required_columns.iter().any(|r| r == column);
        let quarantine = row.is_some() && !optional;
        let issue = table_issue(Some(column), message);
        issues.push(Issue { row, position, quarantine, only_warn: optional, ..issue });
    }
    for column in &raw.columns {
        for (row, value) in column.values.iter().enumerate().filter(|(_, v)| v.is_infinite()) {
            let message = format!("{} is not a finite number: {value}", column.name);
            let issue = row_issue(row, Some(&column.name), message);
            issues.push(Issue { quarantine: true, ..issue });
        }
    }
    issues.sort_by_key(|i| (i.row.map_or(i.position, |r| Some(raw.positions[r])), i.row));
    let verdict = Verdict::of_rows(
        issues.clone(),
        "every cell is empty or a number",
        "with a cell that is no number",
    );
    Verdict { issues, ..verdict }
}

pub(crate) fn off_grid(raw: &RawTable) -> Verdict {
    let interval = raw.interval;
    let off = |row: usize| {
        let time = raw.rows[row].time;
        (!interval.is_on_grid(time)).then(|| {
            let past = time.micros() - interval.floor(time).micros();
            let past = if past < 1_000_000 {
                format!("{} ms", exact(past as f64 / 1_000.0))
            } else {
                wording::span(past)
            };
            row_issue(row, None, format!("time {time} is {past} off the {interval} grid"))
        })
    };
    let issues = (0..raw.len()).filter_map(off).collect();
    Verdict::of_rows(issues, format!("every time is on the {interval} grid"), "off the grid")
}

pub(crate) fn unfinished(raw: &RawTable, as_of: Timestamp) -> Verdict {
    let late = |row: usize| {
        let close = raw.rows[row].time + raw.interval;
        (close > as_of).then(|| {
            let message = format!("its interval ends {close}, after the as-of time {as_of}");
            row_issue(row, None, message)
        })
    };
    let issues = (0..raw.len()).filter_map(late).collect();
    Verdict::of_rows(issues, "every interval had ended", "whose interval had not ended")
}

/// Rows where a column of `names` holds a number that is not accepted.
fn values(
    raw: &RawTable,
    names: &[String],
    accepts: impl Fn(f64) -> bool,
    says: impl Fn(&str, f64) -> String,
) -> Option<Vec<Issue>> {
    let columns: Vec<_> = raw.columns.iter().filter(|c| names.contains(&c.name)).collect();
    if columns.is_empty() {
        return None;
    }
    let mut issues = Vec::new();
    for row in 0..raw.len() {
        for column in &columns {
            let value = column.values[row];
            if value.is_finite() && !accepts(value) {
                issues.push(row_issue(row, Some(&column.name), says(&column.name, value)));
            }
        }
    }
    Some(issues)
}

pub(crate) fn min_price(raw: &RawTable, expectations: &Expectations) -> Verdict {
    let least = expectations.min_price.threshold;
    let says = |name: &str, v: f64| format!("{name} {} ≤ {}", exact(v), exact(least));
    match values(raw, &expectations.price_columns, |v| v > least, says) {
        Some(issues) => Verdict::of_rows(
            issues,
            format!("every price is above {}", exact(least)),
            &format!("with a price of {} or less", exact(least)),
        ),
        None => Verdict::nothing("there is no price column"),
    }
}

pub(crate) fn min_volume(raw: &RawTable, expectations: &Expectations) -> Verdict {
    let least = expectations.min_volume.threshold;
    let says = |name: &str, v: f64| format!("{name} {} < {}", exact(v), exact(least));
    match values(raw, &expectations.volume_columns, |v| v >= least, says) {
        Some(issues) => Verdict::of_rows(
            issues,
            format!("every amount is at least {}", exact(least)),
            &format!("with an amount under {}", exact(least)),
        ),
        None => Verdict::nothing("there is no volume column"),
    }
}

pub(crate) fn ohlc(raw: &RawTable, tolerance: f64) -> Verdict {
    let columns = ["open", "high", "low", "close"].map(|name| raw.column(name));
    let [Some(open), Some(high), Some(low), Some(close)] = columns else {
        return Verdict::nothing("there are no open, high, low and close columns");
    };
    let mut issues = Vec::new();
    for row in 0..raw.len() {
        let (o, h, l, c) = (open[row], high[row], low[row], close[row]);
        // Each pair must rise from left to right. A missing value breaks nothing.
        let rules = [("high", h, "low", l), ("high", h, "open", o), ("high", h, "close", c)];
        let rules = rules
            .map(|(name, v, other, w)| (v < w - tolerance * w.abs(), name, v, '<', other, w))
            .into_iter()
            .chain(
                [("open", o), ("close", c)]
                    .map(|(other, w)| (l > w + tolerance * w.abs(), "low", l, '>', other, w)),
            );
        // The high under the low says all there is to say about the row.
        let mut broken = rules.filter(|(broken, ..)| *broken);
        if let Some((_, name, v, sign, other, w)) = broken.next() {
            let message = format!("{name} {} {sign} {other} {}", exact(v), exact(w));
            issues.push(row_issue(row, Some(name), message));
        }
    }
    Verdict::of_rows(
        issues,
        "low ≤ open, close ≤ high in every row",
        "breaking low ≤ open, close ≤ high",
    )
}

/// Whether two rows hold the same values; missing equals missing.
pub(crate) fn same_values(raw: &RawTable, a: usize, b: usize) -> bool {
    let equal = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
    raw.columns.iter().all(|c| equal(c.values[a], c.values[b]))
}

/// How many significant decimal digits a row carries over all columns.
fn digits(raw: &RawTable, row: usize) -> usize {
    let of = |value: f64| {
        let text = if value.is_finite() { format!("{value:e}") } else { String::new() };
        let mantissa = text.split('e').next().unwrap_or_default();
        mantissa.bytes().filter(u8::is_ascii_digit).count()
    };
    raw.columns.iter().map(|c| of(c.values[row])).sum()
}

/// What became of rows that share a time.
pub(crate) struct DuplicateVerdicts {
    pub(crate) exact: Verdict,
    pub(crate) conflicting: Verdict,
    /// Whether a conflict is left that the policy does not settle.
    pub(crate) unsettled: bool,
}

/// Judges the rows of one time; `sorted` is in order of time, then of the origin.
pub(crate) fn duplicates(
    raw: &RawTable,
    sorted: &[usize],
    policy: Duplicates,
) -> DuplicateVerdicts {
    let (mut exact_issues, mut conflicts) = (Vec::new(), Vec::new());
    let mut unsettled = false;
    for group in sorted.chunk_by(|a, b| raw.rows[*a].time == raw.rows[*b].time) {
        let mut distinct: Vec<usize> = Vec::new();
        for &row in group {
            match distinct.iter().find(|kept| same_values(raw, **kept, row)) {
                Some(kept) => {
                    let of = wording::count(raw.positions[*kept]);
                    exact_issues.push(row_issue(row, None, format!("repeats row {of}")));
                }
                None => distinct.push(row),
            }
        }
        if distinct.len() < 2 {
            continue;
        }
        let kept = match policy {
            Duplicates::Refuse => None,
            Duplicates::KeepFirst => distinct.first().copied(),
            Duplicates::KeepLast => distinct.last().copied(),
            Duplicates::KeepMostPrecise => {
                let most = distinct.iter().map(|&r| digits(raw, r)).max();
                let mut best = distinct.iter().filter(|&&r| Some(digits(raw, r)) == most);
                best.next().copied().filter(|_| best.next().is_none())
            }
        };
        unsettled |= kept.is_none();
        for &row in distinct.iter().filter(|r| Some(**r) != kept) {
            let other = distinct.iter().find(|r| **r != row).copied().unwrap_or(row);
            let other = kept.unwrap_or(other);
            let message = conflict(raw, row, other, kept.is_some());
            // A conflict that the declared policy settles is a warning.
            let only_warn = kept.is_some();
            conflicts.push(Issue { only_warn, ..row_issue(row, None, message) });
        }
    }
    DuplicateVerdicts {
        exact: Verdict::of_rows(
            exact_issues,
            "no row repeats another",
            "repeating another, put aside",
        ),
        conflicting: Verdict::of_rows(
            conflicts,
            "no two rows of one time differ",
            if unsettled {
                "of one time with different values; declare `duplicates` to say which to keep"
            } else {
                "of one time with different values, put aside as declared"
            },
        ),
        unsettled,
    }
}

fn conflict(raw: &RawTable, row: usize, other: usize, settled: bool) -> String {
    let differing = raw.columns.iter().find(|c| {
        let (a, b) = (c.values[row], c.values[other]);
        a != b && !(a.is_nan() && b.is_nan())
    });
    let values = differing.map_or(String::new(), |c| {
        format!(" {} {} against {}", c.name, exact(c.values[row]), exact(c.values[other]))
    });
    let fate = if settled { ", which is kept" } else { "" };
    format!("same time as row {}{fate}:{values}", wording::count(raw.positions[other]))
}

pub(crate) fn min_rows(rows: usize, least: usize) -> Verdict {
    let message = format!(
        "{} after quarantine, {} are needed",
        wording::counted(rows, "row", "rows"),
        wording::count(least as u128)
    );
    let issues = if rows < least { vec![table_issue(None, message)] } else { Vec::new() };
    Verdict::of_table(issues, wording::counted(rows, "row", "rows"))
}

pub(crate) fn nulls(raw: &RawTable, rows: &[usize], expectations: &Expectations) -> Verdict {
    if rows.is_empty() {
        return Verdict::nothing("there is no row");
    }
    let most = expectations.max_null_share.threshold;
    let mut issues = Vec::new();
    let mut worst = (0.0, None);
    for column in &raw.columns {
        let empty = rows.iter().filter(|&&r| column.values[r].is_nan()).count();
        let share = empty as f64 / rows.len() as f64;
        if share > worst.0 {
            worst = (share, Some(column.name.as_str()));
        }
        if share > most {
            let message = format!(
                "column `{}` is empty in {} of {} rows ({}, at most {} allowed)",
                column.name,
                wording::count(empty as u128),
                wording::count(rows.len() as u128),
                wording::percent(share),
                wording::percent(most)
            );
            let only_warn = !expectations.required_columns.contains(&column.name);
            issues.push(Issue { only_warn, ..table_issue(Some(&column.name), message) });
        }
    }
    let fine = match worst {
        (share, Some(name)) => format!("at most {} empty (`{name}`)", wording::percent(share)),
        _ => "no cell is empty".to_owned(),
    };
    Verdict::of_table(issues, fine)
}

pub(crate) fn gaps(gaps: &[Gap], raw: &RawTable, tolerated: usize) -> Verdict {
    let missing: usize = gaps.iter().map(|g| g.intervals).sum();
    let longest = gaps.iter().map(|g| g.intervals).max().unwrap_or(0);
    let words = |kept: &str| {
        format!(
            "{} ({}) {kept}",
            wording::counted(gaps.len(), "gap", "gaps"),
            wording::intervals(missing, raw.interval)
        )
    };
    let mut issues = Vec::new();
    if longest > tolerated {
        let kept = if gaps.len() == 1 { "kept as a gap" } else { "kept as gaps" };
        let mut message = words(&format!("{kept}, not filled"));
        if let Some(gap) = gaps.iter().find(|g| g.intervals == longest && gaps.len() > 1) {
            message += &format!(
                "; the longest, {}, begins {}",
                wording::intervals(longest, raw.interval),
                gap.from.human()
            );
        }
        issues.push(table_issue(None, message));
    }
    let fine =
        if gaps.is_empty() { "no interval is missing".to_owned() } else { words("tolerated") };
    Verdict::of_table(issues, fine)
}

pub(crate) fn completeness(raw: &RawTable, sorted: &[usize], least: f64) -> Verdict {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return Verdict::nothing("there is no row");
    };
    let (first, last) = (raw.rows[*first].time, raw.rows[*last].time);
    let expected = raw.interval.steps(first, last) as usize + 1;
    let share = sorted.len() as f64 / expected as f64;
    let words = format!(
        "{} of {} intervals ({})",
        wording::count(sorted.len() as u128),
        wording::count(expected as u128),
        wording::percent(share)
    );
    let message = format!("{words} are there, {} are expected", wording::percent(least));
    let issues = if share < least { vec![table_issue(None, message)] } else { Vec::new() };
    Verdict::of_table(issues, words)
}

pub(crate) fn moves(raw: &RawTable, sorted: &[usize], expectations: &Expectations) -> Verdict {
    let Some(prices) = raw.column(&expectations.price_column) else {
        return Verdict::nothing("there is no price column to follow");
    };
    let most = expectations.max_move.threshold;
    let (mut issues, mut largest) = (Vec::new(), 0.0f64);
    let mut before: Option<usize> = None;
    for &row in sorted.iter().filter(|&&r| prices[r].is_finite() && prices[r] > 0.0) {
        if let Some(before) = before {
            let change = prices[row] / prices[before] - 1.0;
            largest = largest.max(change.abs());
            if change.abs() > most {
                let column = expectations.price_column.as_str();
                let message = format!(
                    "{column} {} after {} ({}{})",
                    exact(prices[row]),
                    exact(prices[before]),
                    if change > 0.0 { "+" } else { "" },
                    wording::percent(change)
                );
                issues.push(row_issue(row, Some(column), message));
            }
        }
        before = Some(row);
    }
    if issues.is_empty() {
        return Verdict::of_table(issues, format!("largest move {}", wording::percent(largest)));
    }
    let moves = wording::counted(issues.len(), "move", "moves");
    let detail = format!(
        "{moves} over {}, the largest {}",
        wording::percent(most),
        wording::percent(largest)
    );
    Verdict { detail, issues, not_applicable: false }
}

pub(crate) fn staleness(raw: &RawTable, sorted: &[usize], as_of: Timestamp, most: f64) -> Verdict {
    let Some(last) = sorted.last() else {
        return Verdict::nothing("there is no row");
    };
    let close = raw.rows[*last].time + raw.interval;
    let age = (as_of.micros() - close.micros()).max(0);
    let words = if age == 0 {
        format!("the last row closed at the as-of time, {}", close.human())
    } else {
        format!("the last row closed {} ago, {}", wording::span(age), close.human())
    };
    let stale = age as f64 / raw.interval.micros() as f64 > most;
    let message = format!("{words}; at most {} are expected", {
        let allowed = (most * raw.interval.micros() as f64) as i64;
        wording::span(allowed)
    });
    let issues = if stale { vec![table_issue(None, message)] } else { Vec::new() };
    Verdict::of_table(issues, words)
}
