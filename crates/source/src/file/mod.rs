//! Files of prices: what they are, how they are unpacked, which reader reads them.
//!
//! Reading is pure (`bytes → rows`); only [`load`] touches the disk.

mod archive;
mod cells;
mod columns;
mod csv;
mod json;
mod parquet;
mod time;

use std::io::Read;
use std::path::PathBuf;

use ::bytes::Bytes;
use flate2::read::MultiGzDecoder;
use foretell_market::Instrument;
use foretell_panel::RawTable;
use serde::{Deserialize, Serialize};

pub(crate) use self::archive::Archive;
pub use self::cells::Found;
pub use self::columns::ColumnMap;
pub use self::csv::read_csv;
pub use self::json::read_json;
pub use self::parquet::read_parquet;
pub use self::time::{TimeFormat, TimeFormatError, is_zone};

pub(crate) use self::json::broken as broken_json;

use crate::coingecko;
use crate::error::Malformed;
use crate::rows::TimeIs;
use crate::{ExtractRequest, SourceError};

/// The most that a file may unpack to, so that a small archive cannot fill the memory.
const MAX_BYTES: u64 = 4 << 30;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Separated text with a header line, plain, gzip or zip.
    Csv,
    /// A Parquet table.
    Parquet,
    /// A JSON array of rows or objects, plain or gzip.
    Json,
    /// A recorded answer of CoinGecko's `market_chart`, plain or gzip.
    CoinGecko,
}

/// A file of prices, as declared; what is left out is found by looking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// The file.
    pub path: PathBuf,
    /// What it holds; `None` looks at its content.
    #[serde(default)]
    pub format: Option<FileFormat>,
    /// Column names by role.
    #[serde(default)]
    pub columns: ColumnMap,
    /// The names of the columns of a file without a header line, or of the values of
    /// JSON rows.
    #[serde(default)]
    pub header: Option<Vec<String>>,
    /// The symbol wanted from a file of several.
    #[serde(default)]
    pub symbol: Option<String>,
    /// How times are written.
    #[serde(default)]
    pub time_format: Option<TimeFormat>,
    /// The IANA zone of times without an offset; `None` is UTC.
    #[serde(default)]
    pub zone: Option<String>,
    /// Whether times are the start or the end of intervals.
    #[serde(default)]
    pub time_is: TimeIs,
}

impl FileSpec {
    /// A file about which nothing is declared.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            columns: ColumnMap::default(),
            header: None,
            symbol: None,
            time_format: None,
            zone: None,
            time_is: TimeIs::Open,
        }
    }
}

/// Reads the file and keeps the rows that the request wants.
///
/// # Errors
/// When the file cannot be opened, or see [`read_file`].
pub(crate) async fn load(
    spec: &FileSpec,
    request: &ExtractRequest<'_>,
) -> Result<RawTable, SourceError> {
    let unreadable = |error| SourceError::Unreadable { path: spec.path.clone(), error };
    let bytes = tokio::fs::read(&spec.path).await.map_err(unreadable)?;
    read_off_thread(Bytes::from(bytes), spec.clone(), request).await
}

/// [`read_file`] on a thread for long work: a large table would hold up everything else
/// that runs on this one.
pub(crate) async fn read_off_thread(
    bytes: Bytes,
    spec: FileSpec,
    request: &ExtractRequest<'_>,
) -> Result<RawTable, SourceError> {
    let instrument = request.instrument.clone();
    let &ExtractRequest { interval, from, to, lag, now, .. } = request;
    let read = tokio::task::spawn_blocking(move || {
        let instrument = &instrument;
        read_file(bytes, &spec, &ExtractRequest { instrument, interval, from, to, lag, now })
    });
    read.await.expect("readers do not panic and are not cancelled")
}

/// Turns a file's bytes into the rows that the request wants.
///
/// # Errors
/// [`SourceError::Malformed`] when the bytes cannot be understood at all; single bad
/// cells are faults of the table instead.
pub fn read_file(
    bytes: Bytes,
    spec: &FileSpec,
    request: &ExtractRequest<'_>,
) -> Result<RawTable, SourceError> {
    let origin = spec.path.display().to_string();
    let bytes = unpacked(bytes, &origin)?;
    let (rows, found) = match spec.format.unwrap_or_else(|| detect(&bytes)) {
        FileFormat::Csv => read_csv(&bytes, spec)?,
        FileFormat::Json => read_json(&bytes, spec)?,
        FileFormat::Parquet => read_parquet(bytes, spec)?,
        FileFormat::CoinGecko => {
            let chart = coingecko::parse_market_chart(&bytes).map_err(|e| e.of(&origin))?;
            // A recording does not know what came after it: its last interval is not
            // complete before a later snapshot says so.
            let until = chart.last().map_or(request.now, |last| last.min(request.now));
            let rows = coingecko::sample(&chart, request.interval, until);
            return rows.into_table(origin, TimeIs::Open, request);
        }
    };
    // Only our own tables write instruments as we do; vendors' names may be anything.
    let other = found.symbol.filter(|symbol| {
        let named = symbol.parse::<Instrument>().ok();
        !rows.known_at.is_empty() && named.is_some_and(|named| named != *request.instrument)
    });
    if let Some(other) = other {
        let problem = format!("the rows are of {other}, not of {}", request.instrument);
        let remedy = "give the file of that instrument, or another pipeline";
        return Err(Malformed::new(&origin, problem, remedy).field("instrument").into());
    }
    rows.into_table(origin, spec.time_is, request)
}

/// What unpacked bytes look like: Parquet's magic, a JSON object or array, else text.
fn detect(bytes: &[u8]) -> FileFormat {
    if bytes.starts_with(b"PAR1") {
        return FileFormat::Parquet;
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    match text.first() {
        Some(b'[') => FileFormat::Json,
        Some(b'{') => FileFormat::CoinGecko,
        _ => FileFormat::Csv,
    }
}

/// The bytes themselves, what the gzip stream holds, or the only file of a zip archive.
fn unpacked(bytes: Bytes, origin: &str) -> Result<Bytes, SourceError> {
    // An archive of no file begins with the end of its list.
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(archive::only_file(origin, bytes)?);
    }
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(&bytes[..]).take(MAX_BYTES + 1).read_to_end(&mut plain);
    match read {
        Ok(n) if n as u64 > MAX_BYTES => Err(Malformed::new(
            origin,
            format!("the gzip stream unpacks to more than {MAX_BYTES} bytes"),
            "split the file",
        )
        .into()),
        Ok(_) => Ok(Bytes::from(plain)),
        Err(error) => Err(Malformed::new(
            origin,
            format!("the gzip stream is damaged or cut off ({error})"),
            "fetch or pack the file again",
        )
        .into()),
    }
}

/// The bytes as text without a byte order mark.
fn text_of<'a>(bytes: &'a [u8], origin: &str) -> Result<&'a str, SourceError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let problem = "the text is UTF-16";
        return Err(Malformed::new(origin, problem, "save the file as UTF-8").line(1).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() as u64 + 1;
        Malformed::new(origin, "the text is not UTF-8", "save the file as UTF-8").line(line)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('<') {
        let problem = "this is a web page, not data";
        let remedy = "download the file itself, not the page about it";
        return Err(Malformed::new(origin, problem, remedy).line(1).into());
    }
    if text.trim().is_empty() {
        return Err(Malformed::new(origin, "the file is empty", "give a file with data").into());
    }
    Ok(text)
}
