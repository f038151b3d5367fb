//! Arguments of the live river: `up`, `ingest`, `transform`, and `--log` of others.

use std::path::PathBuf;

use clap::Args;
use foretell_market::Interval;
use foretell_platform::river::LogAddress;

use super::ServeArguments;

pub(super) const UP_HELP: &str = "\
A pipeline says whom it follows in its file:
  [live]
  venue = \"kraken\"        # or binance, coinbase
  lateness = \"30s\"        # for how long a closed candle still takes late trades

Examples:
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
    #[arg(long, default_value_t, env = "FORETELL_LOG")]
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

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Pipeline files with a table [live].
    #[arg(required = true)]
    pub(crate) pipelines: Vec<PathBuf>,
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
