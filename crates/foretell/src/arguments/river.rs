//! Arguments of the live river: `up`, `ingest`, `transform`, and `--log` of others.

use std::path::PathBuf;

use clap::Args;
use foretell_market::{Interval, Timestamp};
use foretell_platform::river::LogAddress;

use super::ServeArguments;

pub(super) const UP_HELP: &str = "\
A pipeline says whom it follows in its file:
  [live]
  venue = \"kraken\"        # or binance, coinbase
  lateness = \"30s\"        # for how long a closed candle still takes late trades
  intervals = [\"5m\"]      # further candles of the same trades
  bars = [\"tick-100\"]     # bars by count: tick-, volume-<base amount>, dollar-<quote amount>

Examples:
  To see one at once, without a network:
    foretell up --demo
  Trades of Kraken to forecasts on http://127.0.0.1:8080, nothing else needed:
    foretell up pipelines/kraken-btc-usd.toml
  Without a network, from an exchange on this machine:
    foretell simulate kraken --rate 20 --port 9300 &
    foretell up pipelines/kraken-btc-usd.toml --feed ws://127.0.0.1:9300/v2
  What comes out, as it comes:
    curl -N http://127.0.0.1:8080/api/v1/stream

A pipeline that has not run yet is run first. Ctrl-C loses nothing: what was read is
committed, and the next start goes on behind it and fetches the trades it missed.";

pub(super) const PART_HELP: &str = "\
Parts of a river share their work over a Kafka cluster, each in as many processes as there
are partitions (4):
  foretell ingest    my.toml --log kafka://broker:9092
  foretell transform my.toml --log kafka://broker:9092 --instance t1
  foretell transform my.toml --log kafka://broker:9092 --instance t2
  foretell features  my.toml --log kafka://broker:9092
  foretell forecast  my.toml --log kafka://broker:9092
Start `forecast` first: it owns the data directory, so it has the champion, gives the
others the past and copies everything to the lake. Without a cluster, `foretell up` runs
all of them in one process.";

/// Where the log is and who this process is there.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArguments {
    /// The log: kafka://host:9092[,host:9092], or `embedded` in the data directory.
    #[arg(long, default_value_t, env = "FORETELL_LOG", hide_env_values = true)]
    pub(crate) log: LogAddress,
    /// The name of this process on a cluster: its own among those that do the same work, and
    /// the same after a restart.
    #[arg(long, default_value = "foretell", env = "FORETELL_INSTANCE")]
    pub(crate) instance: String,
}

/// Another address of the venue.
#[derive(Debug, Clone, Args)]
pub(crate) struct FeedArguments {
    /// Address of the venue's socket instead of its public one, such as a simulator's.
    #[arg(long, value_name = "URL")]
    pub(crate) feed: Option<foretell_platform::Url>,
}

/// How much of the feature rows is in memory.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ViewArguments {
    /// Feature row versions in memory per instrument, interval and feature set, for questions
    /// about rows; older ones are read from the lake. A row of 62 features takes about 1 kB.
    #[arg(long, default_value_t = 1_000, value_name = "ROWS",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) view_rows: u32,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Pipeline files with a table [live].
    #[arg(required_unless_present = "demo")]
    pub(crate) pipelines: Vec<PathBuf>,
    /// Show a river of seeded trades from an exchange on this machine: no network, no file.
    #[arg(long, conflicts_with_all = ["pipelines", "feed"])]
    pub(crate) demo: bool,
    #[command(flatten)]
    pub(crate) feed: FeedArguments,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    /// Records of the embedded log older than this go; trades not before the lake has them.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    pub(crate) retain: Interval,
    /// How many megabytes the embedded log may hold; at that ingest waits, and says so.
    #[arg(long, value_name = "MB")]
    pub(crate) log_budget: Option<u64>,
    #[command(flatten)]
    pub(crate) view: ViewArguments,
    #[command(flatten)]
    pub(crate) api: ServeArguments,
}

/// Arguments of a part of a river.
#[derive(Debug, Args)]
pub(crate) struct PartArguments {
    /// Pipeline files with a table [live].
    #[arg(required = true)]
    pub(crate) pipelines: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) feed: FeedArguments,
    #[command(flatten)]
    pub(crate) log: LogArguments,
}

pub(super) const REPLAY_HELP: &str = "\
Examples:
  The last hour again, a thousand times as fast, and its topics removed at the end:
    foretell replay my.toml --from 2026-11-21T10:00:00Z --to 2026-11-21T11:00:00Z --speed 1000
  As fast as it goes, with topics that stay (trade_check, ohlcv_check, feature_check …):
    foretell replay my.toml --from 2026-11-21 --to 2026-11-22 --job check --keep

It reads the log of the data directory, or of --log, and writes nothing else there: what its
rows are forecast from goes to a topic of the job, not to the registry, the board or clients.
While `foretell up` runs on the data directory, that process is asked to do it, for the
pipelines that it follows under these names.";

pub(super) const PARITY_HELP: &str = "\
Example:
  foretell parity my.toml --from 2026-11-21T10:00:00Z --to 2026-11-21T11:00:00Z

Every version of every candle is made again from the trades of its window in the order in
which they came, and every feature row by the batch functions from the candles that were
known then. Exit code 1 when one differs. While `foretell up` runs on the data directory, that
process is asked to do it, for the pipelines that it follows under these names.";

/// How fast a replay is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times(pub(crate) Option<f64>);

impl std::str::FromStr for Times {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self(None));
        }
        let times = text.parse::<f64>().ok().filter(|times| times.is_finite() && *times > 0.0);
        let times = times.ok_or("write a number above 0, such as 1000, or max")?;
        Ok(Self(Some(times)))
    }
}

/// A recorded period.
#[derive(Debug, Args)]
pub(crate) struct PeriodArguments {
    /// Pipeline files with a table [live].
    #[arg(required = true)]
    pub(crate) pipelines: Vec<PathBuf>,
    /// The period's first instant of event time: a date (UTC) or RFC 3339.
    #[arg(long)]
    pub(crate) from: Timestamp,
    /// The first instant after it.
    #[arg(long)]
    pub(crate) to: Timestamp,
    #[command(flatten)]
    pub(crate) log: LogArguments,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    pub(crate) period: PeriodArguments,
    /// So many times as fast as it came, or `max`.
    #[arg(long, default_value = "max")]
    pub(crate) speed: Times,
    /// The version that forecasts; the champion of now when left out.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) version: Option<u32>,
    /// The name of the job, which its topics end with; a new one when left out. What a job of
    /// this name left is removed first.
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Leave the job's topics in the log.
    #[arg(long)]
    pub(crate) keep: bool,
}
