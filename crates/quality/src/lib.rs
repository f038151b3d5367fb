//! Expectations and profile: what is wrong with these rows, and how they look.
//!
//! [`gate`] holds a raw table against declared [`Expectations`] and gives clean rows or
//! a refusal, with findings, quarantined rows and gaps; [`replay`] takes mended rows
//! through it again. [`profile`] describes a table, [`profile_html`] shows it as one
//! page. [`chart`] draws the charts of every page of the house and [`page`] sets them.
//! Fetches and writes nothing; reads no clock.

pub mod chart;
mod checks;
mod expectations;
mod finding;
mod gate;
pub mod page;
mod profile;
mod profile_page;
mod replay;
pub mod stats;
pub mod wording;

pub use expectations::{
    Check, CheckSetting, Duplicates, ExpectationError, ExpectationKind, ExpectationSettings,
    Expectations, Fill, Severity,
};
pub use finding::{
    CheckResult, CheckStatus, Finding, GateOutcome, GateReport, QuarantinedRow, QuarantinedValue,
    Reason,
};
pub use gate::{MAX_FINDINGS, gate};
pub use profile::{
    BINS, ColumnKind, ColumnProfile, Overview, PROBABILITIES, Profile, Stretch, profile,
};
pub use profile_page::profile_html;
pub use replay::{ReplayError, mend, replay};
