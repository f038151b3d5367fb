//! What to extract, from where: plain data, and the one function that does it.
//!
//! Settings arrive fully resolved (paths, base URLs, keys): nothing here reads the
//! environment or the machine's clock.

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_panel::RawTable;
use serde::{Deserialize, Serialize};

use crate::SourceError;
use crate::file::{self, FileSpec};
use crate::http::HttpSettings;

/// Where rows come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SourceSpec {
    /// A file on this machine.
    File(FileSpec),
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy)]
pub struct ExtractRequest<'a> {
    /// The instrument.
    pub instrument: &'a Instrument,
    /// The length of a candle or sample.
    pub interval: Interval,
    /// First open time wanted; `None` is the beginning of what the source has.
    pub from: Option<Timestamp>,
    /// Open times wanted lie before this instant; `None` is up to `now`.
    pub to: Option<Timestamp>,
    /// Seconds between an interval's end and the instant its row is held to be known.
    pub lag: i64,
    /// The present: bars that close later are still forming and are dropped, and it
    /// is the ingest time of every row.
    pub now: Timestamp,
}

/// Hears how many rows have been read so far.
pub trait Progress: Send + Sync {
    /// `done` rows of `total`, where the total is known.
    fn rows(&self, done: u64, total: Option<u64>);
}

/// Says nothing.
impl Progress for () {
    fn rows(&self, _done: u64, _total: Option<u64>) {}
}

/// Fetches or reads the rows that the request wants, in the order the source has them.
///
/// # Errors
/// [`SourceError`] when the source cannot be reached or understood at all; single bad
/// cells are faults of the table instead.
pub async fn extract(
    spec: &SourceSpec,
    request: &ExtractRequest<'_>,
    _http: &HttpSettings,
    progress: &dyn Progress,
) -> Result<RawTable, SourceError> {
    let table = match spec {
        SourceSpec::File(spec) => file::load(spec, request).await?,
    };
    progress.rows(table.len() as u64, Some(table.len() as u64));
    Ok(table)
}
