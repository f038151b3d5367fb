//! What a live feed of trades brings: trades, signs of life, and what it knows to have missed.

use serde::{Deserialize, Serialize};

use crate::{Instrument, Timestamp, Trade};

/// One thing that a feed says about one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeedEvent {
    /// A trade, as the venue reports it.
    Trade(Trade),
    /// The feed is up, and no trade before `time` is still expected: what moves event time
    /// on where nobody trades.
    Heartbeat {
        /// What the feed follows.
        instrument: Instrument,
        /// Event time has come this far (UTC).
        time: Timestamp,
    },
    /// The feed was down or skipped trades: what happened in `[from, to)` is not known.
    Gap {
        /// What the feed follows.
        instrument: Instrument,
        /// The first instant that is not known (UTC).
        from: Timestamp,
        /// The end of it, exclusive (UTC).
        to: Timestamp,
        /// Why, in words for an operator.
        reason: String,
    },
    /// Every trade of `[from, to)` has been back-filled since; they came before this event.
    Repaired {
        /// What the feed follows.
        instrument: Instrument,
        /// Start of what is whole again (UTC).
        from: Timestamp,
        /// The end of it, exclusive (UTC).
        to: Timestamp,
    },
    /// The venue numbers its trades anew: the ids of trades from `time` on are of a new
    /// numbering, and say nothing about those before.
    Renumbered {
        /// What the feed follows.
        instrument: Instrument,
        /// When the first trade with a new number happened (UTC).
        time: Timestamp,
        /// How that was noticed, in words for an operator.
        reason: String,
    },
}

impl FeedEvent {
    /// The instrument it is about.
    pub fn instrument(&self) -> &Instrument {
        match self {
            Self::Trade(trade) => &trade.instrument,
            Self::Heartbeat { instrument, .. }
            | Self::Gap { instrument, .. }
            | Self::Repaired { instrument, .. }
            | Self::Renumbered { instrument, .. } => instrument,
        }
    }
}

/// An event with the instant at which it reached this system, which is when anything made
/// from it could be known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// What came.
    pub event: FeedEvent,
    /// When it came, by the clock of the machine that took it in (UTC).
    pub at: Timestamp,
    /// It was fetched after the fact, to repair a gap.
    #[serde(default)]
    pub backfilled: bool,
}
