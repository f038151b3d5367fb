//! Of which market the stored rows of a pipeline are: rows of two are never joined.
//!
//! A raw table holds one history under the pipeline's name, and an API sends only parts
//! of one. So the first rows are noted with their market, and a file that asks an API for
//! another one is refused before anything is written. A file source sends its whole
//! history each time and retracts what is gone: it may follow anything.

use std::path::PathBuf;

use foretell_market::{Interval, Timestamp};
use foretell_source::{BackfillCursor, BackfillRequest};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::{backfill, extract};

/// The version of [`Market`] that this code writes.
const VERSION: u32 = 1;

/// Hosts of one vendor that serve the very same markets: a country or a paying plan
/// decides which of them answers.
const SAME: [&[&str]; 2] = [
    &["api.binance.com", "data-api.binance.vision"],
    &["api.coingecko.com", "pro-api.coingecko.com"],
];

/// What tells the rows of one history from those of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Market {
    /// Version of this form.
    version: u32,
    /// The kind of source.
    source: String,
    /// The host that is asked; empty for a file.
    host: String,
    /// The vendor's name of the market.
    market: String,
    /// The length of a candle or sample.
    interval: Interval,
}

impl Market {
    fn of(pipeline: &Pipeline) -> Result<Self, PlatformError> {
        let spec = extract::declared_spec(&pipeline.source)?;
        // Which span is wanted is no part of it.
        let request = extract::request(pipeline, None, Timestamp::from_secs(0));
        Ok(Self::of_request(&BackfillRequest::of(&spec, &request)))
    }

    fn of_request(request: &BackfillRequest) -> Self {
        let host = Url::parse(&request.base_url).ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
        let same = SAME.iter().find(|hosts| hosts.contains(&host));
        Self {
            version: VERSION,
            source: request.source.clone(),
            host: same.map_or(host, |hosts| hosts[0]).to_owned(),
            market: request.market.clone(),
            interval: request.interval,
        }
    }

    /// In words, with what is needed to tell it from another.
    fn told(&self, other: &Self, with_vendor: bool) -> String {
        let vendor = match self.source.as_str() {
            "kraken" => "Kraken",
            "binance" => "Binance",
            "coingecko" => "CoinGecko",
            "kaggle" => "Kaggle",
            _ => "the file",
        };
        let mut told = match with_vendor {
            true => format!("{vendor} {}", self.market),
            false => self.market.clone(),
        };
        if self.source == other.source && self.host != other.host {
            told.push_str(&format!(" at {}", self.host));
        }
        if self.interval != other.interval {
            told.push_str(&format!(" every {}", self.interval));
        }
        told
    }
}

fn note_of(store: &Store, pipeline: &Pipeline) -> PathBuf {
    store.dir.file("markets", &format!("{}.json", pipeline.name))
}

/// What the stored rows are of, where that was written down: with them, or, before this
/// was, with the place of a back-fill.
fn noted(store: &Store, pipeline: &Pipeline) -> Result<Option<Market>, PlatformError> {
    let path = note_of(store, pipeline);
    let Ok(bytes) = std::fs::read(&path) else {
        let place = backfill::stored_place(store, pipeline).ok().flatten();
        return Ok(place.map(|place: BackfillCursor| Market::of_request(&place.request)));
    };
    let market = serde_json::from_slice::<Market>(&bytes).ok();
    let market = market.filter(|market| market.version == VERSION);
    market.map(Some).ok_or_else(|| PlatformError::Usage {
        message: format!("{} does not say of which market the rows are", path.display()),
        hint: "use the version of foretell that wrote it, or remove it if the rows are those \
               that the file asks for"
            .to_owned(),
    })
}

/// Refuses a pipeline that asks an API for another market than its stored rows are of. A
/// data directory of before, which says nothing of it, is accepted.
///
/// # Errors
/// [`PlatformError::Usage`] with both markets, before anything was fetched or written.
pub(crate) async fn check(store: &Store, pipeline: &Pipeline) -> Result<(), PlatformError> {
    if extract::is_whole(&pipeline.source.kind) {
        return Ok(());
    }
    let asked = Market::of(pipeline)?;
    let Some(stored) = noted(store, pipeline)?.filter(|stored| *stored != asked) else {
        return Ok(());
    };
    if !store.has_raw(pipeline).await? {
        return Ok(());
    }
    let other_vendor = asked.source != stored.source;
    Err(PlatformError::Usage {
        message: format!(
            "the rows of pipeline `{}` are of {}, the file now asks for {}",
            pipeline.name,
            stored.told(&asked, true),
            asked.told(&stored, other_vendor),
        ),
        hint: "give the pipeline another `name`, or name another --data-dir".to_owned(),
    })
}

/// Writes down of which market the rows are that are about to be stored.
///
/// # Errors
/// When the note cannot be written.
pub(crate) fn keep(store: &Store, pipeline: &Pipeline) -> Result<(), PlatformError> {
    let market = Market::of(pipeline)?;
    if noted(store, pipeline).ok().flatten().as_ref() == Some(&market)
        && note_of(store, pipeline).is_file()
    {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&market).unwrap_or_default();
    write_atomically(&note_of(store, pipeline), &bytes)
}
