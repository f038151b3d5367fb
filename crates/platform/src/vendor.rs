//! What a vendor says of itself: Kraken's pairs and prices, and whether a pipeline's
//! market is there at all. Asks, stores nothing.

use foretell_market::{Clock, Instrument};
use foretell_source::kraken::{AssetPair, Session};
use foretell_source::{ExtractRequest, HttpSettings, KrakenSpec, SourceError, SourceSpec};
use serde::Serialize;
use url::Url;

use crate::clock::SystemClock;
use crate::doctor::Diagnosis;
use crate::error::PlatformError;
use crate::extract;
use crate::pipeline::{Pipeline, nearest};

/// A pair that can be traded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairView {
    /// Our name, where it has one.
    pub instrument: Option<Instrument>,
    /// The vendor's short name: what `pair` of a pipeline file says.
    pub pair: String,
    /// The vendor's key of the pair.
    pub key: String,
    /// The vendor's name of the base asset.
    pub base: String,
    /// The vendor's name of the quote currency.
    pub quote: String,
    /// `online` when it trades, where the vendor says so.
    pub status: Option<String>,
}

/// Present prices of a pair, in the quote currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TickerView {
    /// Our name, where it is known.
    pub instrument: Option<Instrument>,
    /// The vendor's name.
    pub pair: String,
    /// Price of the last trade.
    pub last: f64,
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Amount of the last 24 hours, base asset.
    pub volume_24h: f64,
    /// Highest price of the last 24 hours.
    pub high_24h: f64,
    /// Lowest price of the last 24 hours.
    pub low_24h: f64,
    /// First price of the UTC day.
    pub open_today: f64,
}

/// Kraken at an address, and the market that is meant there.
#[derive(Debug, Clone)]
pub struct KrakenMarket {
    spec: KrakenSpec,
    instrument: Option<Instrument>,
}

/// Somebody waits for the answer: one more attempt, not four.
fn impatient() -> HttpSettings {
    HttpSettings { max_attempts: 2, timeout_millis: 15_000, ..HttpSettings::default() }
}

fn asking(source: SourceError) -> PlatformError {
    PlatformError::Vendor(Box::new(source))
}

impl KrakenMarket {
    /// Kraken itself, without a pipeline.
    pub fn public() -> Self {
        Self { spec: KrakenSpec::default(), instrument: None }
    }

    /// The market of a pipeline.
    ///
    /// # Errors
    /// When the pipeline's source is another vendor or a file.
    pub fn of(pipeline: &Pipeline) -> Result<Self, PlatformError> {
        match extract::source_spec(&pipeline.source)? {
            SourceSpec::Kraken(spec) => {
                Ok(Self { spec, instrument: Some(pipeline.instrument.clone()) })
            }
            other => Err(PlatformError::Usage {
                message: format!(
                    "pairs and prices are asked of Kraken; pipeline `{}` has kind = \"{}\"",
                    pipeline.name,
                    other.kind()
                ),
                hint: "name a pipeline with kind = \"kraken\", or write `kraken` instead of a file"
                    .to_owned(),
            }),
        }
    }

    /// The same at another address.
    #[must_use]
    pub fn at(mut self, base_url: Option<Url>) -> Self {
        if let Some(base_url) = base_url {
            self.spec.base_url = base_url;
        }
        self
    }

    /// Every pair that Kraken trades, by its short name.
    ///
    /// # Errors
    /// When Kraken cannot be reached or understood.
    pub async fn pairs(&self) -> Result<Vec<PairView>, PlatformError> {
        let pairs = self.asset_pairs().await.map_err(asking)?;
        let view = |p: AssetPair| PairView {
            instrument: p.instrument(),
            pair: p.altname,
            key: p.key,
            base: p.base,
            quote: p.quote,
            status: p.status,
        };
        let mut views: Vec<PairView> = pairs.into_iter().map(view).collect();
        views.sort_by(|a, b| a.pair.cmp(&b.pair));
        Ok(views)
    }

    async fn asset_pairs(&self) -> Result<Vec<AssetPair>, SourceError> {
        let http = impatient();
        Session::new(&self.spec, &http)?.asset_pairs().await
    }

    /// The present prices of the pipeline's pair, or of `pair`.
    ///
    /// # Errors
    /// When no pair is meant, or Kraken cannot be reached or knows no such pair.
    pub async fn ticker(&self, pair: Option<&str>) -> Result<TickerView, PlatformError> {
        let own = self.instrument.as_ref().map(|i| self.spec.pair_of(i));
        let instrument =
            self.instrument.clone().filter(|_| pair.is_none() || pair == own.as_deref());
        let Some(wanted) = pair.map(str::to_owned).or(own) else {
            return Err(PlatformError::Usage {
                message: "no pair is named".to_owned(),
                hint: "add --pair XBTUSD (`foretell sources pairs kraken` lists them), or name a \
                       pipeline file"
                    .to_owned(),
            });
        };
        let http = impatient();
        let session = Session::new(&self.spec, &http).map_err(asking)?;
        let tickers = session.ticker(&wanted).await.map_err(asking)?;
        let Some((key, ticker)) = tickers.into_iter().next() else {
            let hint = "`foretell sources pairs kraken` lists what there is";
            return Err(PlatformError::not_found(format!("ticker of `{wanted}`"), hint));
        };
        Ok(TickerView {
            instrument,
            pair: key,
            last: ticker.last,
            bid: ticker.bid,
            ask: ticker.ask,
            volume_24h: ticker.volume,
            high_24h: ticker.high,
            low_24h: ticker.low,
            open_today: ticker.open,
        })
    }

    /// Whether the pipeline's pair is there and trades, in words.
    async fn state(&self, instrument: &Instrument) -> Result<String, PlatformError> {
        let pairs = self.asset_pairs().await.map_err(asking)?;
        let wanted = self.spec.pair_of(instrument);
        let Some(found) = pairs.iter().find(|p| p.is_named(&wanted)) else {
            let what = format!("pair `{wanted}` at Kraken");
            return Err(PlatformError::not_found(what, near(&pairs, &wanted, instrument)));
        };
        let status = found.status.as_deref().unwrap_or("online");
        if status != "online" {
            let what = format!("trading in pair `{wanted}` now: Kraken says `{status}`");
            return Err(PlatformError::not_found(what, "wait, or choose another `pair`"));
        }
        let other = found.instrument().filter(|theirs| theirs != instrument);
        let other = other.map_or_else(String::new, |theirs| {
            format!(", which is {theirs}: the pipeline calls it {instrument}")
        });
        Ok(format!("Kraken trades pair {wanted}{other}"))
    }
}

/// What to write in the place of a pair that does not exist.
fn near(pairs: &[AssetPair], wanted: &str, instrument: &Instrument) -> String {
    // The name that somebody means who writes BTCUSD or BTC/USD is that of our instrument.
    let squeezed: String = wanted.chars().filter(char::is_ascii_alphanumeric).collect();
    let ours = |p: &&AssetPair| {
        p.instrument().is_some_and(|i| {
            i == *instrument || format!("{}{}", i.base(), i.quote()) == squeezed.to_uppercase()
        })
    };
    let names: Vec<&str> = pairs.iter().map(|p| p.altname.as_str()).collect();
    let found = pairs.iter().find(ours).map(|p| p.altname.as_str());
    match found.or_else(|| nearest(wanted, &names)) {
        Some(near) => format!("did you mean `pair = \"{near}\"`?"),
        None => "`foretell sources pairs kraken` lists what there is".to_owned(),
    }
}

/// Asks the vendor of a pipeline whether its market is there: Kraken's list of pairs, or
/// the latest rows of others.
///
/// # Errors
/// When the vendor cannot be reached, or has no such market (with the nearest it has).
pub async fn market_state(pipeline: &Pipeline) -> Result<String, PlatformError> {
    let spec = extract::source_spec(&pipeline.source)?;
    match &spec {
        SourceSpec::File(file) => {
            let there = file.path.is_file();
            let path = file.path.display();
            match there {
                true => Ok(format!("{path} is there; nothing is asked of a vendor")),
                false => Err(PlatformError::not_found(
                    format!("file {path}"),
                    "check `path` of [source]; it is relative to the pipeline file",
                )),
            }
        }
        SourceSpec::Kaggle(kaggle) => {
            Ok(format!("{} is fetched whole by a run; nothing was asked", kaggle.dataset))
        }
        SourceSpec::Kraken(_) => KrakenMarket::of(pipeline)?.state(&pipeline.instrument).await,
        SourceSpec::Binance(_) | SourceSpec::CoinGecko(_) => {
            let now = SystemClock.now();
            let whole = extract::request(pipeline, None, now);
            let latest = now.plus_secs(-3 * pipeline.interval.secs());
            let request = ExtractRequest { from: Some(latest), to: None, ..whole };
            let http = impatient();
            let rows = foretell_source::extract(&spec, &request, &http, &()).await;
            let rows = rows.map_err(asking)?;
            match rows.rows.iter().map(|r| r.time).max() {
                Some(last) => Ok(format!("{} has rows up to {}", spec.kind(), last.human())),
                None => Err(PlatformError::not_found(
                    format!("row of the last three intervals at {}", spec.kind()),
                    "the market may be closed: check its name in [source]",
                )),
            }
        }
    }
}

/// [`market_state`] among the findings of `doctor`.
pub async fn market_diagnosis(pipeline: &Pipeline) -> Diagnosis {
    let what = pipeline.name.clone();
    match market_state(pipeline).await {
        Ok(state) => Diagnosis { what, ok: true, state, remedy: None },
        Err(error) => Diagnosis { what, ok: false, state: error.chain(), remedy: error.hint() },
    }
}
