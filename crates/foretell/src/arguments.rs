//! The command line as typed, before anything is looked up.

mod interop;
mod river;
mod simulate;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use foretell_market::{Instrument, Interval};

pub(crate) use interop::{
    AnswersArgument, ExportArguments, FormatArgument, ImportCommand, PredictArguments,
    RetrainArguments, WindowArguments,
};

pub(crate) use river::{
    LogArguments, PartArguments, PeriodArguments, ReplayArguments, UpArguments, ViewArguments,
};
pub(crate) use simulate::{SimulateArguments, Speed};

const EXTRACT_HELP: &str = "\
Examples:
  The shipped daily candles, as they lie in their file:
    foretell extract pipelines/btc-usd-daily.toml --output raw.csv
  The latest hours of a live market:
    foretell extract pipelines/kraken-btc-usd.toml --output latest.parquet
  Another file, read the way the pipeline declares (columns, time_format, zone):
    foretell extract my-btc.toml --input other.csv --json

When rows come out wrong, declare in [source] how the file is written, such as
  columns = { time = \"Date\", close = \"Last\" }, time_format = \"day-first\",
  zone = \"Europe/Paris\", time_is = \"close\", symbol = \"BTCUSDT\";
`foretell check` explains each key. Then: `foretell gate` checks the rows.";

const BACKFILL_HELP: &str = "\
Examples:
  Years of hourly candles of Binance (`from` of [source] says since when):
    foretell backfill pipelines/binance-btc-usdt.toml
    foretell run pipelines/binance-btc-usdt.toml --serve
  Kraken keeps 720 candles; older ones are built from its trades, which takes longer.
  In [source]: feed = \"trades\" and from = \"2024-01-01\", then
    foretell backfill my-kraken.toml

Ctrl-C loses nothing: the same command goes on. While it works it shows rows, how far it
has come and, once both ends are known, the share and the time left.";

const SEARCH_HELP: &str = "\
Examples:
  foretell search show btc-search
  foretell search show 01K9 --recipe \"gradient boosting, searched\" --fold 3 --json

A search stands under a model of the pipeline file:
  [[models]]
  kind = \"gradient_boosting\"
  [models.search]
  trials = 50
  [models.search.space]
  depth = [3, 10]
  eta = { from = 0.01, to = 0.3, log = true }
`foretell check` explains each key.";

/// Honest forecasts for markets, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "foretell",
    version,
    about,
    after_help = "Begin with:\n  foretell run pipelines/btc-usd-hourly.toml --serve\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 3 gate refused, \
                  4 no skill (with --require-skill), 130 interrupted."
)]
pub(crate) struct Arguments {
    /// Folder that holds everything Foretell stores.
    #[arg(long, global = true, default_value = ".foretell", env = "FORETELL_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// URL of the lake (s3://, az://, gs://, file://) when it is not in the data directory;
    /// keys come from the variables that the store's own tools read.
    #[arg(long, global = true, env = "FORETELL_LAKE", hide_env_values = true)]
    pub(crate) lake: Option<foretell_platform::Url>,
    /// Print JSON for machines.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more (-v, -vv) to standard error.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented pipeline file to start from.
    #[command(
        after_help = "Example:\n  foretell init my-btc.toml --instrument BTC-USD --input btc.csv"
    )]
    Init(InitArguments),
    /// Validate a pipeline file and explain every key.
    #[command(after_help = "Example:\n  foretell check pipelines/btc-usd-hourly.toml\n  \
                            foretell check --schema > pipeline.schema.json")]
    Check(CheckArguments),
    /// Run a pipeline: rows in, evaluated models and a forecast out.
    #[command(after_help = "Example:\n  foretell run pipelines/btc-usd-hourly.toml --serve")]
    Run(RunArguments),
    /// Take in the rows of a pipeline's source and write them as they came.
    ///
    /// Nothing is checked, mended or stored: this shows what the source gives and how it is
    /// read. The ending of --output names the format (.csv, .parquet, .json); times
    /// are UTC, keyed by the open of their interval.
    #[command(after_help = EXTRACT_HELP)]
    Extract(StationArguments),
    /// Check rows against the pipeline's expectations (exit code 3 when refused).
    #[command(
        after_help = "Example:\n  foretell gate pipelines/btc-usd-daily.toml --input raw.csv --output clean.parquet\n  foretell gate --replay 01K9…"
    )]
    Gate(GateArguments),
    /// Describe rows: types, missing values, quantiles, histograms, gaps.
    #[command(
        after_help = "Example:\n  foretell profile pipelines/btc-usd-hourly.toml --output profile.html"
    )]
    Profile(StationArguments),
    /// Compute the feature columns.
    #[command(
        after_help = "Example:\n  foretell features pipelines/btc-usd-hourly.toml --output features.parquet"
    )]
    Features(FeaturesArguments),
    /// Fit every model on all allowed rows and write it as a data file.
    #[command(
        after_help = "Example:\n  foretell train pipelines/btc-usd-hourly.toml --output models/"
    )]
    Train(StationArguments),
    /// Evaluate every model by walk-forward against the baselines.
    #[command(after_help = "Example:\n  foretell evaluate pipelines/btc-usd-hourly.toml\n  \
                            foretell evaluate pipelines/btc-usd-daily.toml --full\n  \
                            foretell evaluate pipelines/btc-usd-hourly.toml --lock-box")]
    Evaluate(EvaluateArguments),
    /// Show what each feature adds to a forecast, or what a model looks at.
    ///
    /// Of a forecast: base, parts of the features and the rest, in basis points of log
    /// return; they sum to the forecast. Of a model: the mean absolute parts (SHAP) on some of
    /// its latest rows, and what shuffling a feature does out of sample.
    #[command(after_help = "Example:\n  foretell explain f_0123…\n  \
                            foretell explain btc-usd-daily 4 --json")]
    Explain(ExplainArguments),
    /// Prove that no feature of a pipeline looks ahead.
    #[command(after_help = "Example:\n  foretell audit pipelines/btc-usd-hourly.toml")]
    Audit(StationArguments),
    /// Write the report of a run as one HTML page.
    #[command(after_help = "Example:\n  foretell report --output report.html")]
    Report(ReportArguments),
    /// Show the latest forecast of an instrument.
    #[command(after_help = "Example:\n  foretell forecast BTC-USD --horizon 1h --json")]
    Forecast(ForecastArguments),
    /// Serve the API over HTTP.
    #[command(after_help = "Example:\n  foretell serve --listen 127.0.0.1:8080")]
    Serve(ServeArguments),
    /// Follow live trades: candles, features and a forecast at every close, in one process.
    #[command(after_help = river::UP_HELP)]
    Up(UpArguments),
    /// Take live trades into a log that other processes read (see `foretell up`).
    #[command(after_help = river::PART_HELP)]
    Ingest(PartArguments),
    /// Make candles of the trades of a log that other processes write.
    #[command(after_help = river::PART_HELP)]
    Transform(PartArguments),
    /// Play a recorded period of the log again, as a job with topics of its own.
    #[command(after_help = river::REPLAY_HELP)]
    Replay(ReplayArguments),
    /// Compute a streamed period again in batch and compare it bit by bit.
    #[command(after_help = river::PARITY_HELP)]
    Parity(PeriodArguments),
    /// Take in new rows of a live pipeline and forecast from them.
    #[command(after_help = "Example:\n  foretell advance my-live.toml")]
    Advance(PipelineArgument),
    /// Fetch the whole history of a pipeline's source, piece by piece; the same command
    /// goes on where it was stopped.
    ///
    /// Each piece is committed before the next is asked for, so Ctrl-C or a failure loses
    /// nothing. Once it is complete, `run` and `advance` take in only what came since. A
    /// later call fetches what is new; with another beginning, lag or feed it starts anew
    /// and says so. Rows of another market need a pipeline of another name.
    #[command(after_help = BACKFILL_HELP)]
    Backfill(PipelineArgument),
    /// Recompute a forecast from the raw rows and compare it bit by bit.
    #[command(after_help = "Example:\n  foretell verify f_0123…")]
    Verify(IdArgument),
    /// Retrain a run and compare the hashes of its models.
    #[command(after_help = "Example:\n  foretell reproduce 01K9…")]
    Reproduce(IdArgument),
    /// List, promote and roll back model versions.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// List and show runs.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Show what searches for settings found, trial by trial.
    #[command(subcommand)]
    Search(SearchCommand),
    /// Ask a vendor what it trades, and at which prices.
    #[command(subcommand)]
    Sources(SourcesCommand),
    /// Take in a model of another program: PyTorch, XGBoost or ONNX.
    ///
    /// Its files are read as data; nothing in them is ever run. What is written is one
    /// safetensors file, for `predict` and for pipelines (`kind = "imported"` in [[models]]).
    #[command(subcommand, after_help = interop::IMPORT_HELP)]
    Import(ImportCommand),
    /// Show the next price after some, by an imported model.
    #[command(after_help = interop::PREDICT_HELP)]
    Predict(PredictArguments),
    /// Run a pipeline, judged on the last part of its rows.
    ///
    /// Everything is as in `run` (walk-forward, refits, the promotion rule), but
    /// `initial_train` of [evaluation] is set so that the last share of the rows is judged.
    #[command(
        after_help = "Example:\n  foretell retrain pipelines/btc-usd-daily.toml --test-size 0.2"
    )]
    Retrain(RetrainArguments),
    /// Show what is missing in the rows, since when, and what was filled.
    #[command(after_help = "Example:\n  foretell gaps btc-usd-hourly --open")]
    Gaps(GapsArguments),
    /// Play an exchange on this machine: its live protocol, its HTTP routes, faults on demand.
    ///
    /// Feeds that follow live trades are pointed at it to try them, to test them and to see
    /// what they do when a network fails.
    #[command(after_help = simulate::SIMULATE_HELP)]
    Simulate(SimulateArguments),
    /// Say what is installed, reachable or misconfigured, and the remedy.
    #[command(after_help = "Example:\n  foretell doctor\n  \
                            foretell doctor pipelines/kraken-btc-usd.toml")]
    Doctor(DoctorArguments),
    /// Write a completion script for a shell.
    #[command(
        after_help = "Example:\n  foretell completions bash > /etc/bash_completion.d/foretell"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The file to write; it must not exist yet.
    pub(crate) file: PathBuf,
    /// What is forecast.
    #[arg(long, default_value = "BTC-USD")]
    pub(crate) instrument: Instrument,
    /// The file with the rows, relative to the pipeline file.
    #[arg(long, default_value = "prices.csv")]
    pub(crate) input: String,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The pipeline file; without one every key is explained.
    pub(crate) pipeline: Option<PathBuf>,
    /// Print the JSON schema of pipeline files, for editors.
    #[arg(long)]
    pub(crate) schema: bool,
    /// Ask the vendor as well whether it has the market.
    #[arg(long, requires = "pipeline")]
    pub(crate) online: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Pipeline files whose vendors are asked whether their markets are there.
    pub(crate) pipelines: Vec<PathBuf>,
}

/// Commands on vendors.
#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// The pairs that Kraken trades, with the instrument that each is called here.
    #[command(after_help = "Example:\n  foretell sources pairs kraken\n  \
                            foretell sources pairs pipelines/kraken-btc-usd.toml --json")]
    Pairs(VendorArguments),
    /// Last price, bid, ask and 24-hour volume at Kraken.
    #[command(after_help = "Example:\n  foretell sources ticker pipelines/kraken-btc-usd.toml\n  \
                      foretell sources ticker kraken --pair XBTUSD --json")]
    Ticker {
        #[command(flatten)]
        vendor: VendorArguments,
        /// Kraken's name of the pair, instead of the pipeline's.
        #[arg(long)]
        pair: Option<String>,
    },
}

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct VendorArguments {
    /// A pipeline file with kind = "kraken", or the word `kraken`.
    #[arg(value_name = "PIPELINE|kraken")]
    pub(crate) of: PathBuf,
    /// Where Kraken's REST interface is, instead of the pipeline's `base_url`.
    #[arg(long)]
    pub(crate) base_url: Option<foretell_platform::Url>,
}

/// A pipeline file alone.
#[derive(Debug, Args)]
pub(crate) struct PipelineArgument {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,
}

/// Where the API is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    /// Address and port; a non-loopback address needs --token-file.
    #[arg(long, default_value = "127.0.0.1:8080", env = "FORETELL_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// File whose first line is the bearer token of the API.
    #[arg(long, env = "FORETELL_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,
    /// Go on serving the API until Ctrl-C.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Fail with exit code 4 when nothing beats the random walk.
    #[arg(long)]
    pub(crate) require_skill: bool,
    /// Judge with twenty seeds on every fold, whatever the file's bounds are; interrupted, the
    /// same command goes on where it was.
    #[arg(long)]
    pub(crate) full: bool,
    /// Put the mended rows of a run, or of a quarantine file, back before the gate.
    #[arg(long, value_name = "RUN|FILE")]
    pub(crate) replay: Option<String>,
    #[command(flatten)]
    pub(crate) api: ServeArguments,
}

/// Arguments of a station that works on a file.
#[derive(Debug, Args)]
pub(crate) struct StationArguments {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,
    /// Take the rows from this file instead of the pipeline's source.
    #[arg(long)]
    pub(crate) input: Option<PathBuf>,
    /// Write the result here; the ending names the format.
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `gate`.
#[derive(Debug, Args)]
pub(crate) struct GateArguments {
    /// The pipeline file; with the run of --replay that run's own when left out.
    #[arg(required_unless_present = "replay")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Take the rows from this file instead of the pipeline's source.
    #[arg(long)]
    pub(crate) input: Option<PathBuf>,
    /// Write the result here; the ending names the format.
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
    /// Put the mended rows of a run, or of a quarantine file, back and check everything
    /// again.
    #[arg(long, value_name = "RUN|FILE")]
    pub(crate) replay: Option<String>,
}

/// Arguments of `features`.
#[derive(Debug, Args)]
pub(crate) struct FeaturesArguments {
    #[command(flatten)]
    pub(crate) station: StationArguments,
    /// List the features with their definitions and sources instead.
    #[arg(long)]
    pub(crate) list: bool,
    /// Compute them live from the candles of this log, kafka://host:9092, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["list", "input", "output"])]
    pub(crate) log: Option<foretell_platform::river::LogAddress>,
    /// With --log: the name of this process there.
    #[arg(long, requires = "log", default_value = "foretell")]
    pub(crate) instance: String,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    #[command(flatten)]
    pub(crate) station: StationArguments,
    /// Open the lock-box: once per recipe, and kept for ever.
    #[arg(long, conflicts_with_all = ["input", "output"])]
    pub(crate) lock_box: bool,
    /// Judge with twenty seeds on every fold, whatever the file's bounds are; interrupted, the
    /// same command goes on where it was.
    #[arg(long, conflicts_with = "lock_box")]
    pub(crate) full: bool,
    /// Fail with exit code 4 when nothing beats the random walk.
    #[arg(long)]
    pub(crate) require_skill: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A forecast's id or its beginning (f_…), or a model's name.
    pub(crate) subject: String,
    /// The model's version; the champion when left out.
    pub(crate) version: Option<u32>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The run, or the beginning of its id; the latest when left out.
    pub(crate) run: Option<String>,
    /// Where to write the page.
    #[arg(long, default_value = "report.html")]
    pub(crate) output: PathBuf,
}

/// Arguments of `forecast`.
#[derive(Debug, Args)]
pub(crate) struct ForecastArguments {
    /// What is forecast, such as BTC-USD; with --log pipeline files.
    #[arg(required = true, value_name = "INSTRUMENT|PIPELINES")]
    pub(crate) subjects: Vec<String>,
    /// How far ahead; the shortest horizon when left out.
    #[arg(long)]
    pub(crate) horizon: Option<Interval>,
    /// Whose forecast, when several pipelines forecast the same.
    #[arg(long)]
    pub(crate) pipeline: Option<String>,
    /// Forecast live from the rows of this log, kafka://host:9092, until Ctrl-C: the part of
    /// a river that owns the data directory.
    #[arg(long, conflicts_with_all = ["horizon", "pipeline"])]
    pub(crate) log: Option<foretell_platform::river::LogAddress>,
    /// With --log: the name of this process there.
    #[arg(long, requires = "log", default_value = "foretell")]
    pub(crate) instance: String,
    #[command(flatten)]
    pub(crate) view: ViewArguments,
    #[command(flatten)]
    pub(crate) api: ServeArguments,
}

/// An id.
#[derive(Debug, Args)]
pub(crate) struct IdArgument {
    /// The id.
    pub(crate) id: String,
}

/// Arguments of `gaps`.
#[derive(Debug, Args)]
pub(crate) struct GapsArguments {
    /// The pipeline's name, or its file; all pipelines when left out.
    pub(crate) pipeline: Option<String>,
    /// Only those that are still missing.
    #[arg(long)]
    pub(crate) open: bool,
    /// The latest so many.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

/// Commands on models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Every version, newest first.
    List,
    /// One version with its evidence.
    Show {
        /// The model's name.
        name: String,
        /// The version's number; the champion when left out.
        version: Option<u32>,
    },
    /// Make a version the champion by hand; the audit trail keeps it.
    Promote {
        /// The model's name.
        name: String,
        /// The version's number.
        version: u32,
    },
    /// Make the champion before the present one champion again.
    Rollback {
        /// The model's name.
        name: String,
    },
    /// Write a version as a file that other programs read.
    #[command(
        after_help = "Example:\n  foretell models export btc-usd-hourly --format safetensors --output net.safetensors"
    )]
    Export(ExportArguments),
}

/// Commands on runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// The latest runs.
    List,
    /// One run with its stations, parameters and metrics.
    Show {
        /// The run's id, or the beginning of it.
        id: String,
    },
}

/// Commands on searches.
#[derive(Debug, Subcommand)]
pub(crate) enum SearchCommand {
    /// The best settings of every search of a run, and the trials of its final refits.
    #[command(after_help = SEARCH_HELP)]
    Show(SearchShowArguments),
}

/// Arguments of `search show`.
#[derive(Debug, Args)]
pub(crate) struct SearchShowArguments {
    /// A run's id or the beginning of it; or a pipeline's name or file: its latest run that
    /// searched.
    #[arg(value_name = "RUN|PIPELINE")]
    pub(crate) of: String,
    /// Of this recipe alone.
    #[arg(long)]
    pub(crate) recipe: Option<String>,
    /// Of this fold of the walk-forward evaluation alone, with its trials; 0 is the final
    /// refit.
    #[arg(long)]
    pub(crate) fold: Option<u64>,
}
