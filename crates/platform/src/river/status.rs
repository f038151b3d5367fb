//! What a river is doing, for operators: feeds, lag, what was refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foretell_market::{BarSpec, Instrument, Timestamp};
use foretell_source::live::{FeedCounts, FeedTally, Finding};
use foretell_stream::{Log, TopicName};
use serde::{Deserialize, Serialize};

/// How many findings are kept to be shown.
const SHOWN: usize = 100;

/// Counters that the parts of a river share with whoever watches it.
#[derive(Debug, Default)]
pub struct RiverStatus {
    feeds: Mutex<BTreeMap<String, FeedTally>>,
    findings: Mutex<Findings>,
    groups: Mutex<BTreeSet<(String, TopicName)>>,
    appended: AtomicU64,
    full: AtomicBool,
    written: Mutex<BTreeMap<String, u64>>,
    bars: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Findings {
    counts: BTreeMap<(String, &'static str), u64>,
    latest: VecDeque<Finding>,
}

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedView {
    /// The venue.
    pub venue: String,
    /// What it has counted, by name: trades, gaps, connections.
    pub counts: BTreeMap<String, u64>,
    /// Findings by kind.
    pub findings: BTreeMap<String, u64>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The group.
    pub group: String,
    /// What it reads.
    pub topic: String,
    /// Offsets that it has not committed yet, over all partitions.
    pub lag: u64,
}

/// A trouble of a feed, which went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// When it was found (UTC).
    pub at: Timestamp,
    /// The venue.
    pub venue: String,
    /// What it is about, where that is known.
    pub instrument: Option<Instrument>,
    /// Its kind.
    pub kind: String,
    /// What was wrong.
    pub detail: String,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let Finding { at, venue, instrument, kind, detail } = finding.clone();
        Self { at, venue, instrument, kind: kind.name().to_owned(), detail }
    }
}

/// A river as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RiverView {
    /// Its feeds.
    pub feeds: Vec<FeedView>,
    /// Its consumer groups.
    pub groups: Vec<GroupView>,
    /// Events that ingest has stored since the process began.
    pub appended: u64,
    /// The log is at its disk budget: nothing is taken in.
    pub full: bool,
    /// Records written since the process began, by topic; `refused` among them.
    pub written: BTreeMap<String, u64>,
    /// Bars made since the process began, corrections of candles among them, by what closes
    /// them: `1m`, `tick-100`.
    #[serde(default)]
    pub bars: BTreeMap<String, u64>,
    /// Feature row versions that are in memory.
    #[serde(default)]
    pub rows_in_memory: u64,
    /// The latest findings of feeds, newest first.
    pub findings: Vec<FindingView>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RiverStatus {
    /// The counters of a new feed.
    pub(super) fn feed(&self, venue: &str) -> FeedTally {
        locked(&self.feeds).entry(venue.to_owned()).or_default().clone()
    }

    /// A group that is at work.
    pub(super) fn group(&self, group: &str, topic: &TopicName) {
        locked(&self.groups).insert((group.to_owned(), topic.clone()));
    }

    /// The groups at work, those that read first before those that read what they write.
    pub(super) fn groups(&self) -> Vec<(String, TopicName)> {
        let mut groups: Vec<(String, TopicName)> = locked(&self.groups).iter().cloned().collect();
        let order = |topic: &str| {
            let rank = |name| topic.starts_with(name);
            ["trade", "ohlcv", "feature", "forecast"].into_iter().position(rank)
        };
        groups.sort_by_key(|(_, topic)| order(topic));
        groups
    }

    pub(super) fn found(&self, finding: Finding) {
        let mut findings = locked(&self.findings);
        *findings.counts.entry((finding.venue.clone(), finding.kind.name())).or_default() += 1;
        findings.latest.push_front(finding);
        findings.latest.truncate(SHOWN);
    }

    pub(super) fn appended(&self, events: usize) {
        self.appended.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Whether the log is at its budget; answers with what it was before.
    pub(super) fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::Relaxed)
    }

    pub(super) fn wrote(&self, topic: &str, records: u64) {
        let mut written = locked(&self.written);
        match written.get_mut(topic) {
            Some(count) => *count += records,
            None => {
                written.insert(topic.to_owned(), records);
            }
        }
    }

    /// A bar was made.
    pub(super) fn barred(&self, by: BarSpec) {
        *locked(&self.bars).entry(by.to_string()).or_default() += 1;
    }

    /// Everything as it is now. A group whose lag cannot be asked for is left out.
    pub async fn view(&self, log: &dyn Log) -> RiverView {
        let findings: Vec<FindingView>;
        let counts;
        {
            let kept = locked(&self.findings);
            findings = kept.latest.iter().map(FindingView::from).collect();
            counts = kept.counts.clone();
        }
        let tallies: Vec<(String, FeedCounts)> =
            locked(&self.feeds).iter().map(|(v, t)| (v.clone(), t.counts())).collect();
        let feeds = tallies.into_iter().map(|(venue, tally)| {
            let numbers = serde_json::to_value(tally).unwrap_or_default();
            let of_venue = counts.iter().filter(|((name, _), _)| *name == venue);
            FeedView {
                counts: serde_json::from_value(numbers).unwrap_or_default(),
                findings: of_venue.map(|((_, kind), n)| ((*kind).to_owned(), *n)).collect(),
                venue,
            }
        });
        let mut view = RiverView {
            feeds: feeds.collect(),
            groups: Vec::new(),
            appended: self.appended.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
            written: locked(&self.written).clone(),
            bars: locked(&self.bars).clone(),
            rows_in_memory: 0,
            findings,
        };
        let groups: Vec<(String, TopicName)> = locked(&self.groups).iter().cloned().collect();
        for (group, topic) in groups {
            match lag(log, &group, &topic).await {
                Ok(lag) => {
                    view.groups.push(GroupView { group, topic: topic.to_string(), lag });
                }
                Err(error) => tracing::warn!(group, %error, "its lag is not known"),
            }
        }
        view
    }
}

/// How far a group is behind the end of its topic.
async fn lag(log: &dyn Log, group: &str, topic: &str) -> Result<u64, foretell_stream::LogError> {
    let mut behind = 0;
    for partition in 0..log.partitions(topic).await? {
        let bounds = log.bounds(topic, partition).await?;
        let at = log.committed(group, topic, partition).await?.unwrap_or(bounds.start);
        behind += bounds.end.saturating_sub(at.max(bounds.start));
    }
    Ok(behind)
}
