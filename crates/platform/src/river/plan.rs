//! What flows in a river, as its pipelines say.

use std::collections::{BTreeMap, BTreeSet};

use foretell_market::{BarSpec, Instrument, Interval, Lateness};
use foretell_source::live::{FeedSpec, Venue};
use foretell_stream::codec::Encoding;
use foretell_stream::{CandleSettings, FeatureSettings, TopicName, Topics};
use url::Url;

use crate::error::PlatformError;
use crate::live_forecasts::ForecastSettings;
use crate::pipeline::{LiveSettings, Pipeline};

/// How many partitions topics have: so many processes can share the work. It never changes.
const PARTITIONS: u32 = 4;
/// How far a trade's time may be ahead of its arrival.
pub(super) const AHEAD_MICROS: i64 = 60_000_000;

/// The pipelines of a river and how it is laid out.
#[derive(Debug, Clone)]
pub struct RiverPlan {
    pipelines: Vec<Pipeline>,
    /// Another address of every venue's socket, such as a simulator's.
    url: Option<Url>,
    /// How records are written.
    pub encoding: Encoding,
    /// A back-fill with topics of its own.
    job: Option<String>,
}

impl RiverPlan {
    /// A river of these pipelines, whose files must have a table `[live]`.
    ///
    /// # Errors
    /// When one of them cannot be followed live; the remedy is in the hint.
    pub fn new(pipelines: Vec<Pipeline>, url: Option<Url>) -> Result<Self, PlatformError> {
        if pipelines.is_empty() {
            return Err(PlatformError::Usage {
                message: "no pipeline to follow".to_owned(),
                hint: "name pipeline files with a table [live], such as \
                       pipelines/kraken-btc-usd.toml"
                    .to_owned(),
            });
        }
        let mut names = BTreeSet::new();
        for pipeline in &pipelines {
            let name = &pipeline.name;
            let refuse = |message: String, hint: &str| {
                Err(PlatformError::Usage { message, hint: hint.to_owned() })
            };
            if pipeline.live.is_none() {
                return refuse(
                    format!("pipeline `{name}` does not say whose trades it follows"),
                    "add a table to its file:\n  [live]\n  venue = \"kraken\"",
                );
            }
            if pipeline.gate.expect != "candles" {
                return refuse(
                    format!("pipeline `{name}` forecasts from snapshots, not from candles"),
                    "trades make candles: set `expect = \"candles\"` in [gate] and a set of \
                     features that reads them",
                );
            }
            if !names.insert(name.clone()) {
                return refuse(
                    format!("two pipelines are named `{name}`"),
                    "give one another name",
                );
            }
        }
        Ok(Self { pipelines, url, encoding: Encoding::Json, job: None })
    }

    /// The same as a job with topics and groups of its own.
    #[must_use]
    pub fn as_job(mut self, job: &str) -> Self {
        self.job = Some(job.to_owned());
        self
    }

    /// The pipelines.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// The names of its topics.
    pub fn topics(&self) -> Topics {
        Topics::new(PARTITIONS, self.job.as_deref())
    }

    /// The topic that keeps the latest row of each instrument, where the log has such topics. A
    /// back-fill's rows are of the past.
    pub(super) fn latest(&self) -> Option<TopicName> {
        self.job.is_none().then(|| "feature_latest".into())
    }

    /// The name of a consumer group; a back-fill has groups of its own.
    pub(crate) fn group(&self, name: &str) -> String {
        self.job.as_ref().map_or_else(|| name.to_owned(), |job| format!("{name}_{job}"))
    }

    /// What is followed, a feed for each venue.
    ///
    /// # Errors
    /// When the address is none of a socket.
    pub(crate) fn feeds(&self) -> Result<Vec<FeedSpec>, PlatformError> {
        let mut by_venue: BTreeMap<&str, BTreeSet<Instrument>> = BTreeMap::new();
        for (pipeline, live) in self.live() {
            by_venue.entry(&live.venue).or_default().insert(pipeline.instrument.clone());
        }
        let mut feeds = Vec::new();
        for (name, instruments) in by_venue {
            let venue = Venue::named(name).ok_or_else(|| PlatformError::Usage {
                message: format!("no feed of live trades is known for `{name}`"),
                hint: "kraken, binance and coinbase have one".to_owned(),
            })?;
            let venue = match &self.url {
                Some(url) => venue.at(url.clone())?,
                None => venue,
            };
            let instruments = instruments.into_iter().collect();
            feeds.push(FeedSpec { venue, instruments, after: BTreeMap::new() });
        }
        Ok(feeds)
    }

    fn live(&self) -> impl Iterator<Item = (&Pipeline, &LiveSettings)> {
        self.pipelines.iter().filter_map(|p| p.live.as_ref().map(|live| (p, live)))
    }

    /// The longest lateness that one of them allows, microseconds: all share their candles.
    fn allowed(&self) -> i64 {
        self.live().map(|(_, live)| live.lateness.micros()).max().unwrap_or(0)
    }

    /// What candles are made.
    pub(crate) fn candles(&self) -> CandleSettings {
        let intervals: BTreeSet<Interval> = self.pipelines.iter().map(|p| p.interval).collect();
        CandleSettings {
            bars: intervals.into_iter().map(BarSpec::from).collect(),
            lateness: Lateness { delay: 0, allowed: self.allowed() },
            ahead: AHEAD_MICROS,
            encoding: self.encoding,
        }
    }

    /// What rows a pipeline reads.
    pub(crate) fn features(&self, pipeline: &Pipeline) -> Result<FeatureSettings, PlatformError> {
        Ok(FeatureSettings {
            interval: pipeline.interval,
            set: pipeline.features.feature_set()?,
            context: pipeline.context_spec(),
            label: pipeline.label_spec(),
            allowed: self.allowed(),
            encoding: self.encoding,
        })
    }

    /// How forecasts are made of them.
    pub(crate) fn forecasts(&self) -> ForecastSettings {
        ForecastSettings { allowed: self.allowed(), topics: self.topics() }
    }
}
