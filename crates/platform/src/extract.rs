//! The extract station: rows from the pipeline's source, as they came.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;

use foretell_market::{Clock, Timestamp};
use foretell_panel::RawTable;
use foretell_source::{
    BinanceSpec, CoinGeckoPlan, CoinGeckoSpec, ColumnMap, ExtractRequest, FileFormat, FileSpec,
    HttpSettings, KaggleSpec, KrakenHistory, KrakenSpec, Progress, RateBudget, Secret, SourceSpec,
    TimeFormat, TimeIs,
};
use url::Url;

use crate::error::PlatformError;
use crate::observer::{Event, Observer, Station};
use crate::pipeline::{FileForm, Pipeline, SourceKind, SourceSettings};

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
        Some(path) => SourceSpec::File(input_spec(&pipeline.source, path)?),
        None => source_spec(&pipeline.source)?,
    };
    let request = request(pipeline, since, clock.now());
    Ok(foretell_source::extract(&spec, &request, http, &Rows(observer)).await?)
}

/// What a pipeline asks its source for at an instant, from `since` on.
pub(crate) fn request(
    pipeline: &Pipeline,
    since: Option<Timestamp>,
    now: Timestamp,
) -> ExtractRequest<'_> {
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

/// A file in the place of the pipeline's own: read the way the pipeline declares, unless
/// it is one of our own tables, which say themselves what they are.
fn input_spec(settings: &SourceSettings, path: &Path) -> Result<FileSpec, PlatformError> {
    let fail = |source| PlatformError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(fail)?;
    let ours = bytes.windows(8).any(|part| part == b"known_at");
    match &settings.kind {
        SourceKind::File { form, .. } | SourceKind::Kaggle { form, .. } if !ours => {
            file_spec(path, form)
        }
        _ => Ok(FileSpec::at(path)),
    }
}

/// Whether a source sends its whole history each time.
pub(crate) fn is_whole(kind: &SourceKind) -> bool {
    matches!(kind, SourceKind::File { .. } | SourceKind::Kaggle { .. })
}

/// A file and how its rows are written.
fn file_spec(path: &Path, form: &FileForm) -> Result<FileSpec, PlatformError> {
    let format = form.format.as_deref().map(|f| match f {
        "parquet" => FileFormat::Parquet,
        "json" => FileFormat::Json,
        "coingecko" => FileFormat::CoinGecko,
        _ => FileFormat::Csv,
    });
    let time_format = form.time_format.as_deref().map(TimeFormat::from_str).transpose();
    let time_format = time_format.map_err(|e| PlatformError::Usage {
        message: format!("`time_format` of [source]: {e}"),
        hint: "leave it out to have it found".to_owned(),
    })?;
    Ok(FileSpec {
        format,
        columns: column_map(&form.columns)?,
        symbol: form.symbol.clone(),
        header: (!form.header.is_empty()).then(|| form.header.clone()),
        time_format,
        zone: Some(form.zone.clone()),
        time_is: if form.time_is_close { TimeIs::Close } else { TimeIs::Open },
        ..FileSpec::at(path)
    })
}

/// The source that a pipeline declares, with its keys from the environment.
pub(crate) fn source_spec(settings: &SourceSettings) -> Result<SourceSpec, PlatformError> {
    let mut spec = declared_spec(settings)?;
    match (&mut spec, &settings.kind) {
        (SourceSpec::CoinGecko(gecko), SourceKind::CoinGecko { key_env, .. }) => {
            gecko.key = key_env.as_deref().map(secret).transpose()?;
        }
        (SourceSpec::Kaggle(kaggle), SourceKind::Kaggle { key_env, user_env, .. }) => {
            kaggle.username = Some(variable(user_env)?);
            kaggle.key = Some(secret(key_env)?);
        }
        _ => {}
    }
    Ok(spec)
}

/// The source that a pipeline declares, without its keys.
pub(crate) fn declared_spec(settings: &SourceSettings) -> Result<SourceSpec, PlatformError> {
    let rate = |public: RateBudget| match settings.requests_per_minute {
        Some(requests) => RateBudget::per_minute(requests),
        None => public,
    };
    Ok(match &settings.kind {
        SourceKind::File { path, form } => SourceSpec::File(file_spec(path, form)?),
        SourceKind::Kraken { pair, trades, base_url } => SourceSpec::Kraken(KrakenSpec {
            base_url: url(base_url)?,
            pair: pair.clone(),
            history: if *trades { KrakenHistory::Trades } else { KrakenHistory::Ohlc },
            budget: rate(KrakenSpec::default().budget),
        }),
        SourceKind::Binance { symbol, base_url } => SourceSpec::Binance(BinanceSpec {
            base_url: url(base_url)?,
            symbol: symbol.clone(),
            budget: rate(BinanceSpec::default().budget),
        }),
        SourceKind::CoinGecko { coin, base_url, .. } => {
            let base_url = url(base_url)?;
            let public = CoinGeckoSpec::of(coin);
            SourceSpec::CoinGecko(CoinGeckoSpec {
                // Paying plans have an address and a header of their own.
                plan: match base_url.host_str() {
                    Some("pro-api.coingecko.com") => CoinGeckoPlan::Pro,
                    _ => CoinGeckoPlan::Demo,
                },
                base_url,
                budget: rate(public.budget),
                ..public
            })
        }
        SourceKind::Kaggle { dataset, file, base_url, form, .. } => {
            SourceSpec::Kaggle(KaggleSpec {
                base_url: url(base_url)?,
                dataset: dataset.clone(),
                version: None,
                username: None,
                key: None,
                file: file_spec(Path::new(file.as_deref().unwrap_or_default()), form)?,
                budget: rate(RateBudget { requests: 10, per_millis: 60_000 }),
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

pub(crate) fn url(text: &str) -> Result<Url, PlatformError> {
    Url::parse(text).map_err(|e| PlatformError::Usage {
        message: format!("`base_url` of [source] is no URL: {e}"),
        hint: "write it with its scheme, such as https://api.kraken.com".to_owned(),
    })
}

fn variable(name: &str) -> Result<String, PlatformError> {
    let refuse = |what: &str| PlatformError::Usage {
        message: format!("the environment variable {name} {what}"),
        hint: format!("set {name} to the vendor's key, or name another variable in the file"),
    };
    let value = std::env::var(name).map_err(|_| refuse("is not set"))?;
    // Keys are read from files, whose last line ends.
    match value.trim() {
        "" => Err(refuse("is empty")),
        key if key.chars().any(char::is_control) => Err(refuse("holds more than one line")),
        key => Ok(key.to_owned()),
    }
}

fn secret(name: &str) -> Result<Secret, PlatformError> {
    variable(name).map(Secret::new)
}
