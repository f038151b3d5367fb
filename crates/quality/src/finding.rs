//! What the gate found: findings, check results, quarantined rows, and the whole.
//!
//! Plain data for reports and errors. Decides nothing.

use std::fmt;

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::{CellFault, Frame, Gap, RawTable};
use serde::{Deserialize, Serialize};

use crate::{Severity, wording};

/// Something wrong, where and what. Findings of one check beyond the first
/// [`crate::MAX_FINDINGS`] are counted in its [`CheckResult`] and not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check that found it, as in [`CheckResult::name`].
    pub check: String,
    /// What it does to the run: block or warn.
    pub severity: Severity,
    /// Where in the origin: line of a file or element of an array, 1-based.
    pub position: Option<u64>,
    /// The row's time.
    pub time: Option<Timestamp>,
    /// The column it is about.
    pub column: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

/// Writes `row 11,204  2024-02-11 03:00 UTC  high 48,110.0 < low 48,202.5`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "row {}  ", wording::count(position))?;
        }
        if let Some(time) = self.time {
            write!(f, "{}  ", time.human())?;
        }
        f.write_str(&self.message)
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Nothing was wrong.
    Passed,
    /// Something was wrong that does not stop the run.
    Warned,
    /// Something was wrong that stops the run.
    Blocked,
    /// The check was switched off, or there was nothing that it applies to.
    Off,
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Blocked => "blocked",
            Self::Off => "off",
        })
    }
}

/// One check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check: the key of its expectation.
    pub name: String,
    /// How it ended.
    pub status: CheckStatus,
    /// How many things were wrong, listed or not.
    pub found: usize,
    /// What was seen, in words, also when it passed.
    pub detail: String,
}

/// Why a row was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The check.
    pub check: String,
    /// What is wrong, in words.
    pub message: String,
}

/// One value of a row put aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantinedValue {
    /// The column.
    pub column: String,
    /// The number; `None` where there was none or none could be read.
    pub value: Option<f64>,
    /// What stood there when it was no finite number, cut to 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A row that was put aside, with all that is needed to mend it and gate it again
/// (see [`crate::replay`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// Where in the origin it stood: line of a file or element of an array, 1-based.
    pub position: u64,
    /// Start of its interval (UTC).
    pub time: Timestamp,
    /// [`QuarantinedRow::time`] as it stood, by which the row is found when its time was
    /// mended. Absent in files from before it was written: then the time counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood_at: Option<Timestamp>,
    /// When a decision could have used it.
    pub known_at: Timestamp,
    /// When it was taken in.
    pub ingested_at: Timestamp,
    /// Its marks, as [`RowFlags::bits`].
    pub flags: u32,
    /// Every column's value, in the table's order.
    pub values: Vec<QuarantinedValue>,
    /// Why it was put aside, in the order of the checks.
    pub reasons: Vec<Reason>,
}

impl QuarantinedRow {
    /// The value of a column as a number; NaN where there is none.
    pub fn value(&self, column: &str) -> f64 {
        let cell = self.values.iter().find(|v| v.column == column);
        cell.and_then(|v| v.value).unwrap_or(f64::NAN)
    }

    /// All reasons in one line.
    pub fn reason(&self) -> String {
        let words: Vec<_> =
            self.reasons.iter().map(|r| format!("{}: {}", r.check, r.message)).collect();
        words.join("; ")
    }

    pub(crate) fn of(
        raw: &RawTable,
        row: usize,
        faults: &[&CellFault],
        reasons: Vec<Reason>,
    ) -> Self {
        let (position, meta) = (raw.positions[row], raw.rows[row]);
        let values = raw.columns.iter().map(|c| {
            let value = c.values[row];
            let text = faults.iter().find(|f| f.column == c.name).map(|f| f.text.clone());
            QuarantinedValue {
                column: c.name.clone(),
                value: value.is_finite().then_some(value),
                text: text.or_else(|| value.is_infinite().then(|| value.to_string())),
            }
        });
        Self {
            position,
            time: meta.time,
            stood_at: Some(meta.time),
            known_at: meta.known_at,
            ingested_at: meta.ingested_at,
            flags: meta.flags.bits(),
            values: values.collect(),
            reasons,
        }
    }

    pub(crate) fn marks(&self) -> RowFlags {
        RowFlags::from_bits(self.flags)
    }
}

/// What the gate let through and what it found.
#[derive(Debug, Clone)]
pub struct GateOutcome {
    /// The clean rows in time order; `None` when a check blocked.
    pub clean: Option<Frame>,
    /// What was wrong, check by check.
    pub findings: Vec<Finding>,
    /// Rows put aside, in order of position.
    pub quarantined: Vec<QuarantinedRow>,
    /// Runs of missing intervals among the rows that were left, filled ones included.
    pub gaps: Vec<Gap>,
    /// Every check and how it ended.
    pub checks: Vec<CheckResult>,
    /// How many rows came in.
    pub rows_in: usize,
    /// How many rows were filled in, each marked [`RowFlags::FILLED`].
    pub filled: usize,
}

impl GateOutcome {
    /// Whether the run must stop.
    pub fn blocked(&self) -> bool {
        self.clean.is_none()
    }

    /// The findings that stop the run.
    pub fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Block)
    }

    /// How many checks ended in one way.
    pub fn count(&self, status: CheckStatus) -> usize {
        self.checks.iter().filter(|c| c.status == status).count()
    }

    /// One line for people: `14 checks passed · 1 warning: 3 gaps (7 h) kept as gaps`.
    pub fn summary(&self) -> String {
        let passed = self.count(CheckStatus::Passed);
        let mut parts = vec![format!("{} passed", wording::counted(passed, "check", "checks"))];
        for (status, one, many) in [
            (CheckStatus::Warned, "warning", "warnings"),
            (CheckStatus::Blocked, "refusal", "refusals"),
        ] {
            let ended = self.checks.iter().filter(|c| c.status == status);
            let details: Vec<_> = ended.map(|c| c.detail.as_str()).collect();
            if !details.is_empty() {
                let counted = wording::counted(details.len(), one, many);
                parts.push(format!("{counted}: {}", details.join("; ")));
            }
        }
        parts.join(" · ")
    }

    /// What to say when the run stops: how many rows were refused, and the first
    /// findings that stop it, a line each. `None` when nothing blocked.
    ///
    /// ```text
    /// gate refused 2 of 26,280 rows
    ///   row 11,204  2024-02-11 03:00 UTC  high 48,110.0 < low 48,202.5
    ///   row 19,877  2025-02-06 12:00 UTC  close is not a number: `n/a`
    /// ```
    pub fn refusal(&self, lines: usize) -> Option<String> {
        if !self.blocked() {
            return None;
        }
        let blocked: Vec<&CheckResult> =
            self.checks.iter().filter(|c| c.status == CheckStatus::Blocked).collect();
        let refused = |q: &&QuarantinedRow| {
            q.reasons.iter().any(|r| blocked.iter().any(|c| c.name == r.check))
        };
        let mut text = match self.quarantined.iter().filter(refused).count() {
            0 => format!(
                "gate refused the table of {}",
                wording::counted(self.rows_in, "row", "rows")
            ),
            n => {
                let of = wording::counted(self.rows_in, "row", "rows");
                format!("gate refused {} of {of}", wording::count(n as u128))
            }
        };
        for finding in self.blocking().take(lines) {
            text += &format!("\n  {finding}");
        }
        let found: usize = blocked.iter().map(|c| c.found).sum();
        let listed = self.blocking().count().min(lines);
        if found > listed {
            text += &format!("\n  and {} more", wording::count((found - listed) as u128));
        }
        Some(text)
    }

    /// The outcome without its rows, for storing and showing.
    pub fn report(&self) -> GateReport {
        GateReport {
            version: 1,
            blocked: self.blocked(),
            rows_in: self.rows_in,
            rows_clean: self.clean.as_ref().map(Frame::len),
            rows_quarantined: self.quarantined.len(),
            rows_filled: self.filled,
            checks: self.checks.clone(),
            findings: self.findings.clone(),
            gaps: self.gaps.clone(),
        }
    }
}

/// A [`GateOutcome`] without its rows, as stored with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// The version of this layout: 1.
    pub version: u32,
    /// Whether the run was stopped.
    pub blocked: bool,
    /// How many rows came in.
    pub rows_in: usize,
    /// How many went on, filled ones included; none when blocked.
    pub rows_clean: Option<usize>,
    /// How many were put aside.
    pub rows_quarantined: usize,
    /// How many were filled in.
    pub rows_filled: usize,
    /// Every check and how it ended.
    pub checks: Vec<CheckResult>,
    /// What was wrong.
    pub findings: Vec<Finding>,
    /// Runs of missing intervals.
    pub gaps: Vec<Gap>,
}
