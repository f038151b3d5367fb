//! What flows in a river, as its pipelines say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// The longest lateness that one of its pipelines allows, microseconds: all share their
    /// candles.
    allowed: i64,
    /// What the rows of a pipeline hold beside features, where a version has to read them and
    /// it is not what its file says.
    contexts: BTreeMap<String, Arc<[String]>>,
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
        let (mut names, mut rows) = (BTreeSet::new(), BTreeMap::new());
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
            let set = pipeline.features.feature_set()?.fingerprint();
            let whose = (pipeline.instrument.clone(), pipeline.interval, set);
            if let Some(other) = rows.insert(whose, name.clone()) {
                return refuse(
                    format!(
                        "`{other}` and `{name}` make rows of {} {} with the same features, which \
                         nobody could tell apart",
                        pipeline.instrument, pipeline.interval
                    ),
                    "follow one of them in a process and a data directory of its own",
                );
            }
        }
        let allowed = pipelines.iter().filter_map(|p| p.live.as_ref());
        let allowed = allowed.map(|live| live.lateness.micros()).max().unwrap_or(0);
        let (encoding, contexts) = (Encoding::Json, BTreeMap::new());
        Ok(Self { pipelines, url, encoding, job: None, allowed, contexts })
    }

    /// Some of its pipelines, by name, and all of them where none is named. They share their
    /// candles with the others as before.
    ///
    /// # Errors
    /// When it has no pipeline of a name.
    pub fn only(mut self, names: &[String]) -> Result<Self, PlatformError> {
        let known: BTreeSet<&str> = self.pipelines.iter().map(|p| p.name.as_str()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) {
            let known: Vec<&str> = known.into_iter().collect();
            let hint = format!("it follows {}", known.join(", "));
            return Err(PlatformError::not_found(
                format!("pipeline `{unknown}` in the river"),
                hint,
            ));
        }
        self.pipelines.retain(|p| names.is_empty() || names.contains(&p.name));
        Ok(self)
    }

    /// Makes the rows of a pipeline hold what a version reads that learnt on these columns:
    /// it outlives changes of the models in its file.
    pub(crate) fn read_by(&mut self, pipeline: &str, context_names: &[String]) {
        self.contexts.insert(pipeline.to_owned(), context_names.into());
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

    /// Whether a topic is one of the river itself, and not of a job.
    pub(super) fn owns(&self, topic: &TopicName) -> bool {
        self.topics().all().contains(&topic) || self.latest().as_ref() == Some(topic)
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

    /// What candles are made.
    pub(crate) fn candles(&self) -> CandleSettings {
        let intervals: BTreeSet<Interval> = self.pipelines.iter().map(|p| p.interval).collect();
        CandleSettings {
            bars: intervals.into_iter().map(BarSpec::from).collect(),
            lateness: Lateness { delay: 0, allowed: self.allowed },
            ahead: AHEAD_MICROS,
            encoding: self.encoding,
        }
    }

    /// The bars that the pass over trades for one interval makes of some instruments beside its
    /// candles. Each is made in one pass alone: that of the shortest interval of which a
    /// pipeline asks for it, unless it is an interval that some pipeline has of its own.
    pub(crate) fn further(&self, pass: BarSpec) -> BTreeMap<Instrument, Vec<BarSpec>> {
        let own: BTreeSet<Interval> = self.pipelines.iter().map(|p| p.interval).collect();
        let mut made: BTreeMap<(Instrument, String), (Interval, BarSpec)> = BTreeMap::new();
        for (pipeline, live) in self.live() {
            let lengths = live.intervals.iter().filter(|i| !own.contains(i));
            let bars = lengths.map(|i| BarSpec::from(*i));
            for bar in bars.chain(live.bars.iter().map(|count| BarSpec::from(*count))) {
                let here = (pipeline.interval, bar);
                let found = made.entry((pipeline.instrument.clone(), bar.to_string()));
                let shortest = found.or_insert(here);
                shortest.0 = shortest.0.min(pipeline.interval);
            }
        }
        let mut further: BTreeMap<Instrument, Vec<BarSpec>> = BTreeMap::new();
        for ((instrument, _), (interval, bar)) in made {
            if BarSpec::from(interval) == pass {
                further.entry(instrument).or_default().push(bar);
            }
        }
        further
    }

    /// What rows a pipeline reads.
    pub(crate) fn features(&self, pipeline: &Pipeline) -> Result<FeatureSettings, PlatformError> {
        let context = pipeline.context_spec();
        let context = match self.contexts.get(&pipeline.name) {
            Some(names) => context.reading(names),
            None => context,
        };
        Ok(FeatureSettings {
            interval: pipeline.interval,
            set: pipeline.features.feature_set()?,
            context,
            label: pipeline.label_spec(),
            allowed: self.allowed,
            encoding: self.encoding,
        })
    }

    /// How forecasts are made of them.
    pub(crate) fn forecasts(&self) -> ForecastSettings {
        ForecastSettings { allowed: self.allowed, topics: self.topics() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, instrument: &str, interval: &str, live: &str) -> Pipeline {
        let text = format!(
            "name = \"{name}\"\ninstrument = \"{instrument}\"\ninterval = \"{interval}\"\n\n\
             [source]\nkind = \"file\"\npath = \"rows.csv\"\n\n[label]\nhorizon = \"1d\"\n\n\
             [evaluation]\ninitial_train = \"180d\"\nrefit_every = \"30d\"\n\n\
             [live]\nvenue = \"kraken\"\n{live}\n"
        );
        Pipeline::parse(&text, std::path::Path::new("a.toml")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn further(plan: &RiverPlan, pass: &str) -> Vec<String> {
        let further = plan.further(pass.parse().expect("a bar")).into_iter();
        let named =
            further.flat_map(|(i, bars)| bars.into_iter().map(move |bar| format!("{i} {bar}")));
        named.collect()
    }

    #[test]
    fn rows_that_nobody_could_tell_apart_are_refused() {
        let two = |interval: &str| {
            let first = pipeline("a", "BTC-USD", "1h", "");
            RiverPlan::new(vec![first, pipeline("b", "BTC-USD", interval, "")], None)
        };
        assert!(two("2h").is_ok());
        let refused = two("1h").unwrap_err().to_string();
        assert!(refused.contains("`a` and `b` make rows of BTC-USD 1h"), "{refused}");
    }

    #[test]
    fn a_job_may_not_write_where_the_river_does() {
        let plan = RiverPlan::new(vec![pipeline("a", "BTC-USD", "1h", "")], None).unwrap();
        let owned = |job: &str| {
            let job = plan.clone().as_job(job).topics();
            job.all().into_iter().filter(|topic| plan.owns(topic)).count()
        };
        assert_eq!((owned("again"), owned("latest")), (0, 1));
    }

    #[test]
    fn each_bar_is_made_in_one_pass_alone() {
        let pipelines = vec![
            pipeline("a", "BTC-USD", "1h", "intervals = [\"1d\"]\nbars = [\"tick-100\"]"),
            pipeline("b", "BTC-USD", "1m", "intervals = [\"5m\", \"1h\"]\nbars = [\"tick-100\"]"),
            pipeline("c", "ETH-USD", "1h", "intervals = [\"5m\"]\nbars = [\"volume-2.50\"]"),
        ];
        let plan = RiverPlan::new(pipelines, None).unwrap();
        assert_eq!(plan.candles().bars.len(), 2, "a pass for 1m and one for 1h");
        // The shortest that asks makes it, and nobody makes again what has a pass of its own.
        assert_eq!(further(&plan, "1m"), ["BTC-USD 5m", "BTC-USD tick-100"]);
        assert_eq!(further(&plan, "1h"), ["BTC-USD 1d", "ETH-USD 5m", "ETH-USD volume-2.5"]);
    }
}
