//! What to extract, from where: plain data, and the one function that does it.
//!
//! Settings arrive fully resolved (paths, base URLs, keys): nothing here reads the
//! environment or the machine's clock.

use foretell_market::{Instrument, Interval, Timestamp};
use foretell_panel::RawTable;
use serde::{Deserialize, Serialize};

use crate::SourceError;
use crate::backfill::{Backfill, joined};
use crate::binance::{self, BinanceSpec};
use crate::coingecko::{self, CoinGeckoSpec};
use crate::file::FileSpec;
use crate::http::HttpSettings;
use crate::kaggle::{self, KaggleSpec};
use crate::kraken::{self, KrakenHistory, KrakenSpec, oldest_ohlc};

/// Where rows come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SourceSpec {
    /// A file on this machine.
    File(FileSpec),
    /// Kraken's bars, or bars from its trades.
    Kraken(KrakenSpec),
    /// Binance's bars.
    Binance(BinanceSpec),
    /// CoinGecko's snapshots, sampled onto the grid.
    CoinGecko(CoinGeckoSpec),
    /// A file of a Kaggle dataset.
    Kaggle(KaggleSpec),
}

impl SourceSpec {
    /// The kind's name, as pipelines write it.
    pub fn kind(&self) -> &'static str {
        match self {
            SourceSpec::File(_) => "file",
            SourceSpec::Kraken(_) => "kraken",
            SourceSpec::Binance(_) => "binance",
            SourceSpec::CoinGecko(_) => "coingecko",
            SourceSpec::Kaggle(_) => "kaggle",
        }
    }

    /// Refuses what the source cannot give, whatever its vendor answers.
    ///
    /// # Errors
    /// [`SourceError::Setting`] with the setting, what is wrong and what to write.
    pub fn check(&self, interval: Interval, from: Option<Timestamp>) -> Result<(), SourceError> {
        let asks_an_api = !self.is_whole();
        if let Some(from) = from.filter(|from| asks_an_api && from.micros() < 0) {
            return Err(SourceError::Setting {
                field: "from",
                problem: format!("{} is before 1970", from.human()),
                remedy: "no vendor has rows of then: write a later time".to_owned(),
            });
        }
        match self {
            SourceSpec::File(_) => Ok(()),
            SourceSpec::Kraken(spec) => kraken::check(spec, interval, from),
            SourceSpec::Binance(_) => binance::check(interval),
            SourceSpec::CoinGecko(spec) => coingecko::check(spec, interval),
            SourceSpec::Kaggle(spec) => kaggle::check(spec),
        }
    }

    /// The oldest open time that the source still has at an instant, where it keeps no more
    /// than the latest rows.
    pub fn oldest(&self, interval: Interval, now: Timestamp) -> Option<Timestamp> {
        match self {
            SourceSpec::Kraken(KrakenSpec { history: KrakenHistory::Ohlc, .. }) => {
                Some(oldest_ohlc(interval, now))
            }
            _ => None,
        }
    }

    /// Whether the source sends its whole history each time.
    pub fn is_whole(&self) -> bool {
        matches!(self, SourceSpec::File(_) | SourceSpec::Kaggle(_))
    }
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
/// Long fetches that should survive an interruption go piece by piece instead: see
/// [`crate::Backfill`].
///
/// # Errors
/// [`SourceError`] when the source cannot be reached or understood at all; single bad
/// cells are faults of the table instead.
pub async fn extract(
    spec: &SourceSpec,
    request: &ExtractRequest<'_>,
    http: &HttpSettings,
    progress: &dyn Progress,
) -> Result<RawTable, SourceError> {
    let mut backfill = Backfill::open(spec, *request, http, None)?;
    let to = backfill.cursor().to;
    let total = request.from.map(|from| request.interval.steps(from, to).max(0) as u64);
    let mut pieces = Vec::new();
    let mut done = 0;
    while let Some(piece) = backfill.step().await? {
        done += piece.len() as u64;
        progress.rows(done, total);
        pieces.push(piece);
    }
    Ok(joined(pieces).unwrap_or_else(|| RawTable {
        instrument: request.instrument.clone(),
        interval: request.interval,
        origin: "an empty time range".to_owned(),
        positions: Vec::new(),
        rows: Vec::new(),
        columns: Vec::new(),
        faults: Vec::new(),
    }))
}
