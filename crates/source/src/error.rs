//! What can go wrong between a vendor's bytes and rows, in words for people.
//!
//! Every message names the origin (a file, or a vendor and a URL without secrets),
//! the line or row, the field, and a remedy. Nothing here decides about retries.

use std::fmt;
use std::path::PathBuf;

use foretell_market::Timestamp;

/// Where in the origin something stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Line of a text file, 1-based, header included.
    Line(u64),
    /// Row or array element, 1-based.
    Row(u64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Line(n) => write!(f, "line {n}"),
            Position::Row(n) => write!(f, "row {n}"),
        }
    }
}

/// Bytes that were read but not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// A path, or `vendor URL` without secrets.
    pub origin: String,
    /// Where in it, if a place can be named.
    pub position: Option<Position>,
    /// The column, key or setting.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Malformed {
    pub(crate) fn new(
        origin: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Malformed {
        Malformed {
            origin: origin.to_owned(),
            position: None,
            field: None,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn line(mut self, line: u64) -> Self {
        self.position = Some(Position::Line(line));
        self
    }

    pub(crate) fn row(mut self, row: u64) -> Self {
        self.position = Some(Position::Row(row));
        self
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "`{field}`: ")?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl From<Malformed> for SourceError {
    fn from(malformed: Malformed) -> Self {
        SourceError::Malformed(Box::new(malformed))
    }
}

/// Why a source gave no rows.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read ({error}); check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The bytes are not what they should be.
    #[error("{0}")]
    Malformed(Box<Malformed>),
    /// A setting of the source makes no sense.
    #[error("setting `{field}` of the source: {problem}; {remedy}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to write.
        remedy: String,
    },
    /// The vendor could not be reached, or did not answer in time or at all.
    #[error("{vendor} {url}: {problem} (after {attempts} attempts); {remedy}")]
    Unavailable {
        /// The vendor.
        vendor: &'static str,
        /// What was asked, without secrets.
        url: String,
        /// What happened the last time.
        problem: String,
        /// How often it was tried.
        attempts: u32,
        /// What to do.
        remedy: String,
    },
    /// The vendor answered with an error of its own.
    #[error("{vendor} {url}: refused: {message}; {remedy}")]
    Refused {
        /// The vendor.
        vendor: &'static str,
        /// What was asked, without secrets.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the vendor said, cut to 200 characters.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// The vendor asks for fewer requests, longer than we are willing to wait.
    #[error(
        "{vendor} {url}: rate limit ({message}, after {attempts} attempts); {}",
        wait_remedy(*retry_after)
    )]
    RateLimited {
        /// The vendor.
        vendor: &'static str,
        /// What was asked, without secrets.
        url: String,
        /// What the vendor said.
        message: String,
        /// How often it was tried.
        attempts: u32,
        /// Seconds that the vendor asks us to wait, if it says so.
        retry_after: Option<u64>,
    },
    /// The vendor does not keep rows that old on this route.
    #[error("{vendor} keeps this route's rows from {oldest} on, not from {from}; {remedy}")]
    TooOld {
        /// The vendor.
        vendor: &'static str,
        /// What was asked for.
        from: Timestamp,
        /// About the oldest there is.
        oldest: Timestamp,
        /// What to do.
        remedy: String,
    },
}

fn wait_remedy(retry_after: Option<u64>) -> String {
    match retry_after {
        Some(secs) => format!("run it again in {secs} seconds"),
        None => "run it again later, or lower `requests_per_minute` of [source]".to_owned(),
    }
}

/// A text cut to so many characters, on one line, for messages.
pub(crate) fn excerpt(text: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.chars().take(limit).map(clean).collect();
    if text.chars().nth(limit).is_some() {
        cut.push('…');
    }
    cut
}

impl SourceError {
    /// The same error with the origin that the caller knows, such as a path or URL.
    pub(crate) fn of(mut self, origin: &str) -> Self {
        if let SourceError::Malformed(malformed) = &mut self {
            origin.clone_into(&mut malformed.origin);
        }
        self
    }
}
