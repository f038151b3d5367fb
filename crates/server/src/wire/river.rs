//! The live river as an operator reads it.

use std::collections::BTreeMap;

use foretell_platform::river::RiverView;
use serde::Serialize;
use utoipa::ToSchema;

/// The live river of this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct River {
    /// Its feeds, one for each venue.
    feeds: Vec<Feed>,
    /// Its consumer groups and how far they are behind.
    groups: Vec<Group>,
    /// Events that were stored since the process began.
    appended: u64,
    /// The log is at its disk budget: nothing is taken in.
    full: bool,
    /// Records written since the process began, by topic.
    written: BTreeMap<String, u64>,
    /// Bars made since the process began, corrections of candles among them, by what closes
    /// them: `1m`, `tick-100`.
    bars: BTreeMap<String, u64>,
    /// Feature row versions that are in memory, for questions about rows.
    rows_in_memory: u64,
    /// The latest findings of feeds, newest first.
    findings: Vec<Finding>,
}

/// A feed of live trades.
#[derive(Debug, Serialize, ToSchema)]
struct Feed {
    /// The venue.
    venue: String,
    /// What it has counted: trades, gaps, connections.
    counts: BTreeMap<String, u64>,
    /// Findings by kind.
    findings: BTreeMap<String, u64>,
}

/// A consumer group.
#[derive(Debug, Serialize, ToSchema)]
struct Group {
    /// Its name.
    group: String,
    /// What it reads.
    topic: String,
    /// Offsets that it has not committed yet, over all partitions.
    lag: u64,
}

/// A trouble of a feed, which went on.
#[derive(Debug, Serialize, ToSchema)]
struct Finding {
    /// When it was found, RFC 3339 (UTC).
    at: String,
    /// The venue.
    venue: String,
    /// What it is about, where that is known.
    instrument: Option<String>,
    /// Its kind.
    kind: String,
    /// What was wrong.
    detail: String,
}

impl From<RiverView> for River {
    fn from(view: RiverView) -> Self {
        let feeds = view.feeds.into_iter().map(|feed| Feed {
            venue: feed.venue,
            counts: feed.counts,
            findings: feed.findings,
        });
        let groups = view.groups.into_iter();
        let groups = groups.map(|g| Group { group: g.group, topic: g.topic, lag: g.lag });
        let findings = view.findings.into_iter().map(|f| Finding {
            at: f.at.to_string(),
            venue: f.venue,
            instrument: f.instrument.map(|i| i.to_string()),
            kind: f.kind,
            detail: f.detail,
        });
        Self {
            feeds: feeds.collect(),
            groups: groups.collect(),
            appended: view.appended,
            full: view.full,
            written: view.written,
            bars: view.bars,
            rows_in_memory: view.rows_in_memory,
            findings: findings.collect(),
        }
    }
}
