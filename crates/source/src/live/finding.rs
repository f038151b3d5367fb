//! What a feed hands on: arrivals, and what an operator should know.

use std::fmt;

use foretell_market::{Arrival, Instrument, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::excerpt;

/// How much of a message a finding shows, in characters.
const SHOWN: usize = 200;

/// One thing that a feed yields.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedItem {
    /// For the log: an event with the instant of its arrival.
    Arrival(Arrival),
    /// For the operator.
    Finding(Finding),
}

/// What kind of trouble it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A message that is not what the protocol says.
    Malformed,
    /// A price or quantity that is no positive number.
    BadNumber,
    /// A time before `earliest` or too far ahead of our clock.
    BadTime,
    /// A trade of a symbol that was not asked for.
    UnknownSymbol,
    /// A trade whose number cannot be in this place.
    StrangeNumber,
    /// The venue does not give us an instrument.
    Refused,
    /// The venue said something in words: a warning, an error, a maintenance.
    Notice,
    /// The connection could not be made or ended.
    Disconnected,
    /// Missing trades could not be fetched this time.
    RepairFailed,
}

impl FindingKind {
    /// Its name, as it is stored and counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadNumber => "bad_number",
            Self::BadTime => "bad_time",
            Self::UnknownSymbol => "unknown_symbol",
            Self::StrangeNumber => "strange_number",
            Self::Refused => "refused",
            Self::Notice => "notice",
            Self::Disconnected => "disconnected",
            Self::RepairFailed => "repair_failed",
        }
    }
}

/// One trouble of a feed, in words for an operator. The feed went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was found, by our clock (UTC).
    pub at: Timestamp,
    /// The venue.
    pub venue: String,
    /// What it is about, where that is known.
    pub instrument: Option<Instrument>,
    /// Its kind.
    pub kind: FindingKind,
    /// What was wrong, with an excerpt of the message.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.venue, self.kind.name())?;
        if let Some(instrument) = &self.instrument {
            write!(f, " {instrument}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// A trouble before anybody knows when and at which venue it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What it is about, where that is known.
    pub instrument: Option<Instrument>,
    /// Its kind.
    pub kind: FindingKind,
    /// What was wrong.
    pub detail: String,
}

impl Trouble {
    pub(crate) fn new(kind: FindingKind, detail: impl AsRef<str>) -> Self {
        Self { instrument: None, kind, detail: excerpt(detail.as_ref(), SHOWN) }
    }

    pub(crate) fn of(mut self, instrument: &Instrument) -> Self {
        self.instrument = Some(instrument.clone());
        self
    }

    /// A message that is not understood, with its beginning.
    pub(crate) fn malformed(problem: &str, message: &[u8]) -> Self {
        let shown = excerpt(&String::from_utf8_lossy(message), 120);
        Self::new(FindingKind::Malformed, format!("{problem}: {shown}"))
    }

    pub(crate) fn found(self, at: Timestamp, venue: &str) -> Finding {
        let Self { instrument, kind, detail } = self;
        Finding { at, venue: venue.to_owned(), instrument, kind, detail }
    }
}
