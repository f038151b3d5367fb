//! Arguments of `import`, `predict`, `retrain` and `models export`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use foretell_market::Timestamp;

pub(super) const IMPORT_HELP: &str = "\
Examples:
  A recurrent network of PyTorch, with the scalers of its columns and of its answer:
    foretell import torch lstm_model.pth --hyper lstm_model_hyper_param.json \\
      --x-scaler X_scaler.pkl --y-scaler y_scaler.pkl --name amazon-lstm
  A model of XGBoost that answers log returns:
    foretell import xgboost model.ubj --answers log-return

Then: foretell predict --prices \"130.1,129.1,127.8,128,126.9,121.4,120\"

For a pipeline, write it beside the pipeline file and name it there:
  foretell import xgboost model.ubj --answers log-return --output pipelines/mine.safetensors
  [[models]]
  kind = \"imported\"
  model = \"mine.safetensors\"";

pub(super) const PREDICT_HELP: &str = "\
Examples:
  Seven prices, the oldest first:
    foretell predict --prices \"130.1,129.1,127.8,128,126.9,121.4,120\"
  The newest first, asked of a server:
    foretell predict --prices \"120,121.4,126.9,128,127.8,129.1,130.1\" --newest-first \\
      --host http://localhost:8080";

/// Models of other programs.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// A state dict of PyTorch: LSTM or GRU layers and a linear one.
    Torch {
        /// What `torch.save(model.state_dict(), path)` wrote.
        weights: PathBuf,
        /// JSON with input_size, hidden_size, num_stacked_layers; compared with the weights.
        #[arg(long)]
        hyper: Option<PathBuf>,
        /// The fitted scaler of the columns, as joblib wrote it.
        #[arg(long)]
        x_scaler: Option<PathBuf>,
        /// The fitted scaler of what is forecast, as joblib wrote it.
        #[arg(long)]
        y_scaler: Option<PathBuf>,
        #[command(flatten)]
        window: WindowArguments,
    },
    /// A model of XGBoost with one answer a row, as JSON or UBJSON.
    Xgboost {
        /// What `booster.save_model(path)` wrote.
        model: PathBuf,
        #[command(flatten)]
        window: WindowArguments,
    },
    /// A graph of ONNX with one input and one answer (in builds with `--features onnx`).
    Onnx {
        /// The graph.
        model: PathBuf,
        #[command(flatten)]
        window: WindowArguments,
    },
}

/// What a model is fed with and what it answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct WindowArguments {
    /// Its name; that of the file when left out.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Its columns in its own order, separated by commas, such as close[-1],close.
    #[arg(long, value_delimiter = ',', conflicts_with = "window")]
    pub(crate) columns: Vec<String>,
    /// How many prices it reads, when its columns are a window of prices.
    #[arg(long)]
    pub(crate) window: Option<usize>,
    /// Its window begins with the newest price.
    #[arg(long, conflicts_with = "oldest_first")]
    pub(crate) newest_first: bool,
    /// Its window begins with the oldest price.
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// What it answers: the price at the horizon, or the log return until then.
    #[arg(long, value_enum, default_value_t = AnswersArgument::Price)]
    pub(crate) answers: AnswersArgument,
    /// The column whose price it forecasts.
    #[arg(long, default_value = "close")]
    pub(crate) price: String,
    /// The end of what it was trained on. Without it the model is judged and served, but
    /// never promoted: it may have seen the rows it is judged on.
    #[arg(long, value_name = "TIME")]
    pub(crate) trained_until: Option<Timestamp>,
    /// Write it here instead of into the data directory.
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
    /// Put it in the place of another model that is there.
    #[arg(long)]
    pub(crate) replace: bool,
}

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswersArgument {
    /// The price at the horizon.
    Price,
    /// The log return until then.
    LogReturn,
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// The prices, separated by commas, the oldest first; asked for when left out, or read
    /// from the standard input.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) prices: Option<String>,
    /// The first price is the newest.
    #[arg(long)]
    pub(crate) newest_first: bool,
    /// The imported model, by name or, without --host, by file; the only one when left out.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Ask a `foretell serve` instead: its address.
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<foretell_platform::Url>,
}

/// Arguments of `retrain`.
#[derive(Debug, Args)]
pub(crate) struct RetrainArguments {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,
    /// The share of the rows, the last ones, that is judged.
    #[arg(long, default_value_t = 0.2)]
    pub(crate) test_size: f64,
}

/// Arguments of `models export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The model's name.
    pub(crate) name: String,
    /// The version's number; the champion when left out.
    pub(crate) version: Option<u32>,
    /// The form of the file.
    #[arg(long, value_enum)]
    pub(crate) format: FormatArgument,
    /// The file to write.
    #[arg(long)]
    pub(crate) output: PathBuf,
}

/// A form that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArgument {
    /// XGBoost's JSON, of gradient boosting.
    XgboostJson,
    /// XGBoost's UBJSON, of gradient boosting.
    Ubj,
    /// Tensors under PyTorch's names, of networks.
    Safetensors,
    /// Every number as JSON, of any kind.
    Json,
}
