//! The gate station: checks before anything is built on the rows.

use std::fmt;
use std::path::{Path, PathBuf};

use foretell_market::Timestamp;
use foretell_panel::{Frame, RawTable};
use foretell_quality::{
    CheckResult, CheckStatus, Duplicates, Expectations, Fill, GateOutcome, Severity, gate as judge,
};

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::pipeline::{GateSettings, Pipeline, Present};
use crate::stations::Quarantine;

/// A refusal of the gate, in words for people.
#[derive(Debug, Clone)]
pub struct GateRefusal {
    /// The run, or the file, that was refused.
    pub subject: String,
    /// What was refused, in the gate's own words: a line, then the rows.
    pub words: String,
    /// Where the bad rows were put aside.
    pub quarantine: Option<PathBuf>,
    /// Whether different rows of one time are among the reasons: a key decides them.
    pub duplicates: bool,
}

/// How many findings an error shows; the quarantine file has all.
const SHOWN: usize = 10;

impl fmt::Display for GateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, rows) = self.words.split_once('\n').unwrap_or((&self.words, ""));
        write!(f, "{head} ({}, nothing was written downstream)", self.subject)?;
        if rows.is_empty() { Ok(()) } else { write!(f, "\n{rows}") }
    }
}

impl GateRefusal {
    pub(crate) fn hint(&self) -> String {
        let which = match self.duplicates {
            true => {
                "say which of two rows of one time is kept with `duplicates` in [gate] \
                     (first, last or most-precise), or "
            }
            false => "",
        };
        let rest = match &self.quarantine {
            Some(path) => {
                // A run is known by its id, a file alone by its path.
                let (gate, replay) = match self.subject.strip_prefix("run ") {
                    Some(run) => ("foretell gate", run.to_owned()),
                    None => ("foretell gate <pipeline>", path.display().to_string()),
                };
                format!(
                    "see {}; mend the source, or mend the values there: `{gate} --replay \
                     {replay}` judges them again, `foretell run <pipeline> --replay {replay}` \
                     goes on with them",
                    path.display()
                )
            }
            None if self.duplicates => "mend the source".to_owned(),
            None => "mend the source, or declare the check `warn` or `off` in [gate]".to_owned(),
        };
        format!("{which}{rest}")
    }
}

/// The expectations that a pipeline's keys ask for.
///
/// # Errors
/// When `block`, `warn` or `off` name a check that does not exist.
pub fn expectations(settings: &GateSettings) -> Result<Expectations, PlatformError> {
    let mut e = match settings.expect.as_str() {
        "snapshots" => Expectations::snapshots(),
        _ => Expectations::candles(),
    };
    e.min_rows.threshold = settings.min_rows;
    e.max_null_share.threshold = settings.max_null_share;
    e.max_move.threshold = settings.max_move;
    e.max_staleness.threshold = settings.stale_after as f64;
    e.min_completeness.threshold = settings.min_completeness;
    e.duplicates = match settings.duplicates.as_str() {
        "first" => Duplicates::KeepFirst,
        "last" => Duplicates::KeepLast,
        "most-precise" => Duplicates::KeepMostPrecise,
        _ => Duplicates::Refuse,
    };
    e.fill = if settings.fill_previous { Fill::Previous } else { Fill::None };
    let wishes = [
        (&settings.block, Severity::Block),
        (&settings.warn, Severity::Warn),
        (&settings.off, Severity::Off),
    ];
    for (names, severity) in wishes {
        for name in names {
            *severity_of(&mut e, name)? = severity;
        }
    }
    Ok(e)
}

/// The checks whose severity can be declared.
const CHECKS: [&str; 14] = [
    "schema",
    "types",
    "max_null_share",
    "min_rows",
    "exact_duplicates",
    "off_grid",
    "unfinished",
    "max_gap",
    "ohlc",
    "min_price",
    "min_volume",
    "max_move",
    "max_staleness",
    "min_completeness",
];

fn severity_of<'e>(e: &'e mut Expectations, name: &str) -> Result<&'e mut Severity, PlatformError> {
    let known: [(&str, &mut Severity); 14] = [
        ("schema", &mut e.schema),
        ("types", &mut e.types),
        ("max_null_share", &mut e.max_null_share.severity),
        ("min_rows", &mut e.min_rows.severity),
        ("exact_duplicates", &mut e.exact_duplicates),
        ("off_grid", &mut e.off_grid),
        ("unfinished", &mut e.unfinished),
        ("max_gap", &mut e.max_gap.severity),
        ("ohlc", &mut e.ohlc.severity),
        ("min_price", &mut e.min_price.severity),
        ("min_volume", &mut e.min_volume.severity),
        ("max_move", &mut e.max_move.severity),
        ("max_staleness", &mut e.max_staleness.severity),
        ("min_completeness", &mut e.min_completeness.severity),
    ];
    let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
    let found = known.into_iter().find(|(n, _)| *n == name);
    found.map(|(_, severity)| severity).ok_or_else(|| PlatformError::Usage {
        message: format!("[gate] names the check `{name}`, which does not exist"),
        hint: format!("the checks are {}", names.join(", ")),
    })
}

/// The present of a pipeline: the clock, or the close of the last row of a
/// historical demo.
pub(crate) fn present(pipeline: &Pipeline, raw: &RawTable, now: Timestamp) -> Timestamp {
    match pipeline.as_of {
        Present::Now => now,
        Present::EndOfData => {
            let last = raw.rows.iter().map(|r| r.time + pipeline.interval).max();
            last.map_or(now, |close| close.min(now))
        }
    }
}

/// Judges raw rows.
///
/// # Errors
/// When the pipeline's keys name a check that does not exist.
pub(crate) fn gate(
    pipeline: &Pipeline,
    raw: &RawTable,
    as_of: Timestamp,
) -> Result<GateOutcome, PlatformError> {
    Ok(judge(raw, &expectations(&pipeline.gate)?, as_of))
}

/// The rows that the gate's rules about rows leave, whatever its rules about the table
/// say: what earlier rows looked like is not refused any more. `None` when no rows can be
/// told apart (duplicates that no declared policy settles).
///
/// # Errors
/// When the pipeline's keys name a check that does not exist.
pub(crate) fn clean_only(
    pipeline: &Pipeline,
    raw: &RawTable,
    as_of: Timestamp,
) -> Result<Option<Frame>, PlatformError> {
    let mut expectations = expectations(&pipeline.gate)?;
    for name in CHECKS {
        let severity = severity_of(&mut expectations, name)?;
        if *severity == Severity::Block {
            *severity = Severity::Warn;
        }
    }
    Ok(judge(raw, &expectations, as_of).clean)
}

/// The clean rows of an outcome, or the refusal; bad rows go to `quarantine` first.
///
/// # Errors
/// [`PlatformError::Gate`] when a blocking check failed.
pub(crate) fn admit(
    outcome: GateOutcome,
    raw: &RawTable,
    subject: &str,
    quarantine: Option<&Path>,
) -> Result<(Frame, GateOutcome), PlatformError> {
    let mut put_aside = None;
    if let Some(path) = quarantine.filter(|_| !outcome.quarantined.is_empty()) {
        let (format, origin) = (1, raw.origin.clone());
        let file = Quarantine { format, origin, rows: outcome.quarantined.clone() };
        write_atomically(path, &serde_json::to_vec_pretty(&file).unwrap_or_default())?;
        put_aside = Some(path.to_owned());
    }
    match outcome.clean.clone() {
        Some(frame) => Ok((frame, outcome)),
        None => {
            let words = outcome.refusal(SHOWN).unwrap_or_default();
            let blocks =
                |c: &CheckResult| c.name == "duplicates" && c.status == CheckStatus::Blocked;
            Err(PlatformError::Gate(Box::new(GateRefusal {
                subject: subject.to_owned(),
                words,
                quarantine: put_aside,
                duplicates: outcome.checks.iter().any(blocks),
            })))
        }
    }
}
