//! The extract station: rows from the pipeline's source, as they came, and the
//! back-fill of long histories piece by piece.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use foretell_market::{Clock, Timestamp};
use foretell_panel::RawTable;
use foretell_source::{
    Backfill, BackfillCursor, BinanceSpec, CoinGeckoSpec, ColumnMap, ExtractRequest, FileFormat,
    FileSpec, HttpSettings, KaggleSpec, KrakenHistory, KrakenSpec, Progress, RateBudget, Secret,
    SourceSpec, TimeFormat, TimeIs,
};
use url::Url;

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::{Pipeline, SourceKind};
use crate::service::Service;

/// Rows done, as events.
struct Rows<'a>(&'a dyn Observer);

impl Progress for Rows<'_> {
    fn rows(&self, done: u64, total: Option<u64>) {
        let doing = "rows".to_owned();
        self.0.event(Event::Progress { station: Station::Extract, doing, done, total });
    }
}

/// Takes in the pipeline's rows, or those of `input` instead of its source.
///
/// # Errors
/// When the source cannot be read or reached, or sends what cannot be understood.
pub(crate) async fn extract(
    pipeline: &Pipeline,
    input: Option<&Path>,
    since: Option<Timestamp>,
    clock: &dyn Clock,
    http: &HttpSettings,
    observer: &dyn Observer,
) -> Result<RawTable, PlatformError> {
    let spec = match input {
        Some(path) => SourceSpec::File(input_spec(&pipeline.source.kind, path)?),
        None => source_spec(&pipeline.source.kind)?,
    };
    let request = request(pipeline, since, clock.now());
    Ok(foretell_source::extract(&spec, &request, http, &Rows(observer)).await?)
}

fn request(pipeline: &Pipeline, since: Option<Timestamp>, now: Timestamp) -> ExtractRequest<'_> {
    let settings = &pipeline.source;
    // CoinGecko is asked for a number of days back, the others for a first instant.
    let days_back = match &settings.kind {
        SourceKind::CoinGecko { days, .. } => Some(now.plus_secs(-i64::from(*days) * 86_400)),
        _ => None,
    };
    ExtractRequest {
        instrument: &pipeline.instrument,
        interval: pipeline.interval,
        from: since.max(settings.from.or(days_back)),
        to: settings.to,
        lag: settings.lag_secs,
        now,
    }
}

/// What a back-fill did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BackfillDone {
    /// Rows taken in this time.
    pub rows: usize,
    /// Pieces fetched this time.
    pub pieces: usize,
    /// Whether everything that was wanted is there.
    pub done: bool,
}

impl Service {
    /// Fetches the history of a pipeline's source piece by piece. Each piece is
    /// committed to the lake with the place to go on from, so that a stop or a failure
    /// loses nothing and the same call continues.
    ///
    /// # Errors
    /// When the source fails for good or the user stopped it; what was committed stays.
    pub async fn backfill(
        &self,
        pipeline: &Pipeline,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<BackfillDone, PlatformError> {
        let (clock, name) = (&*self.store.clock, &pipeline.name);
        let _turn = self.turns.take("backfill", name, clock, &*observer, &stop).await?;
        let record = self.begin(pipeline, "backfill").await?;
        let outcome = self.pieces(&record.id, pipeline, &*observer, &stop).await;
        self.end(&record.id, outcome.as_ref().err()).await?;
        outcome
    }

    async fn pieces(
        &self,
        run: &str,
        pipeline: &Pipeline,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<BackfillDone, PlatformError> {
        let store = &self.store;
        let spec = source_spec(&pipeline.source.kind)?;
        let place = store.dir.file("backfill", &format!("{}.json", pipeline.name));
        let cursor: Option<BackfillCursor> = std::fs::read(&place)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|cursor: &BackfillCursor| !cursor.done);
        let request = request(pipeline, None, store.clock.now());
        let mut backfill = Backfill::open(&spec, request, &store.http, cursor)?;
        let mut done = BackfillDone { rows: 0, pieces: 0, done: false };
        observer.event(Event::Started { station: Station::Extract });
        loop {
            stop.check()?;
            let Some(rows) = backfill.step().await? else { break };
            if !rows.is_empty() {
                store.put_raw(pipeline, &rows, false, run).await?;
            }
            // The rows first, the place after them: a kill in between fetches them again.
            let cursor = serde_json::to_vec(backfill.cursor()).unwrap_or_default();
            write_atomically(&place, &cursor)?;
            done.rows += rows.len();
            done.pieces += 1;
            Rows(observer).rows(done.rows as u64, None);
        }
        done.done = true;
        Ok(done)
    }
}

/// A file in the place of the pipeline's own: read the way the pipeline declares, unless
/// it is one of our own tables, which say themselves what they are.
fn input_spec(kind: &SourceKind, path: &Path) -> Result<FileSpec, PlatformError> {
    let fail = |source| PlatformError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(fail)?;
    let ours = bytes.windows(8).any(|part| part == b"known_at");
    match source_spec(kind)? {
        SourceSpec::File(declared) if !ours => Ok(FileSpec { path: path.to_owned(), ..declared }),
        _ => Ok(FileSpec::at(path)),
    }
}

/// Whether a source sends its whole history each time.
pub(crate) fn is_whole(kind: &SourceKind) -> bool {
    matches!(kind, SourceKind::File { .. } | SourceKind::Kaggle { .. })
}

fn source_spec(kind: &SourceKind) -> Result<SourceSpec, PlatformError> {
    Ok(match kind {
        SourceKind::File {
            path,
            format,
            columns,
            time_format,
            zone,
            symbol,
            header,
            time_is_close,
        } => {
            let format = format.as_deref().map(|f| match f {
                "parquet" => FileFormat::Parquet,
                "json" => FileFormat::Json,
                "coingecko" => FileFormat::CoinGecko,
                _ => FileFormat::Csv,
            });
            let time_format = time_format.as_deref().map(TimeFormat::from_str).transpose();
            let time_format = time_format.map_err(|e| PlatformError::Usage {
                message: format!("`time_format` of [source]: {e}"),
                hint: "leave it out to have it found".to_owned(),
            })?;
            SourceSpec::File(FileSpec {
                format,
                columns: column_map(columns)?,
                symbol: symbol.clone(),
                header: (!header.is_empty()).then(|| header.clone()),
                time_format,
                zone: Some(zone.clone()),
                time_is: if *time_is_close { TimeIs::Close } else { TimeIs::Open },
                ..FileSpec::at(path)
            })
        }
        SourceKind::Kraken { pair, trades, base_url } => SourceSpec::Kraken(KrakenSpec {
            base_url: url(base_url)?,
            pair: pair.clone(),
            history: if *trades { KrakenHistory::Trades } else { KrakenHistory::Ohlc },
            ..KrakenSpec::default()
        }),
        SourceKind::Binance { symbol, base_url } => SourceSpec::Binance(BinanceSpec {
            base_url: url(base_url)?,
            symbol: symbol.clone(),
            ..BinanceSpec::default()
        }),
        SourceKind::CoinGecko { coin, base_url, key_env, .. } => {
            SourceSpec::CoinGecko(CoinGeckoSpec {
                base_url: url(base_url)?,
                key: key_env.as_deref().map(secret).transpose()?,
                ..CoinGeckoSpec::of(coin)
            })
        }
        SourceKind::Kaggle { dataset, file, base_url, key_env, user_env } => {
            SourceSpec::Kaggle(KaggleSpec {
                base_url: url(base_url)?,
                dataset: dataset.clone(),
                version: None,
                username: Some(variable(user_env)?),
                key: Some(secret(key_env)?),
                file: FileSpec::at(file.as_deref().unwrap_or_default()),
                budget: RateBudget { requests: 10, per_seconds: 60 },
            })
        }
    })
}

/// Our names of columns to the file's; names that are none of ours are further columns.
fn column_map(columns: &BTreeMap<String, String>) -> Result<ColumnMap, PlatformError> {
    let known = serde_json::to_value(ColumnMap::default()).unwrap_or_default();
    let mut map = serde_json::Map::new();
    let mut extra = serde_json::Map::new();
    for (ours, theirs) in columns {
        let place = if known.get(ours).is_some() { &mut map } else { &mut extra };
        place.insert(ours.clone(), theirs.clone().into());
    }
    map.insert("extra".to_owned(), extra.into());
    serde_json::from_value(map.into()).map_err(|e| PlatformError::Usage {
        message: format!("`columns` of [source]: {e}"),
        hint: "write { close = \"Last\", time = \"Date\" }: our name, then the file's".to_owned(),
    })
}

fn url(text: &str) -> Result<Url, PlatformError> {
    Url::parse(text).map_err(|e| PlatformError::Usage {
        message: format!("`base_url` of [source] is no URL: {e}"),
        hint: "write it with its scheme, such as https://api.kraken.com".to_owned(),
    })
}

fn variable(name: &str) -> Result<String, PlatformError> {
    std::env::var(name).map_err(|_| PlatformError::Usage {
        message: format!("the environment variable {name} is not set"),
        hint: format!("set {name} to the vendor's key, or name another variable in the file"),
    })
}

fn secret(name: &str) -> Result<Secret, PlatformError> {
    variable(name).map(Secret::new)
}
