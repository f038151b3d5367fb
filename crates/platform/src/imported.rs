//! Models of other programs: taken in from their files, kept, asked for the next price, and
//! put into the recipes of pipelines.
//!
//! An imported model is one safetensors file. `foretell import` writes it whole into the
//! folder `imported` of the data directory (or where it is told); it is never changed and is
//! read anew by whoever asks, so it needs no owner.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use foretell_interop::{Described, Scaler, onnx_model, torch_network, xgboost_model};
use foretell_market::{Fingerprint, Timestamp};
use foretell_model::evaluate::Recipe;
use foretell_model::{
    Answers, EstimatorSpec, ImportedEngine, ImportedModel, ImportedSettings, PriceWindow,
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::loaded::LoadedModels;
use crate::pipeline::Pipeline;
use crate::remote::client_token;
use crate::{named, wording};

pub use foretell_interop::Order;

/// The folder of a data directory that holds imported models.
const FOLDER: &str = "imported";
/// Where a server of this program is asked for the next price.
const PREDICT: &str = "/api/v1/predict";
/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// What is imported, and what the user says of it.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The files.
    pub from: ImportFrom,
    /// The name it is to have; that of the file when left out.
    pub name: Option<String>,
    /// Its columns in its own order; those that the files say when empty.
    pub columns: Vec<String>,
    /// The column whose price it answers; `None` when it answers log returns.
    pub price: Option<String>,
    /// Steps of a window of prices.
    pub window: Option<usize>,
    /// The order of the window.
    pub order: Option<Order>,
    /// The end of what it was trained on.
    pub trained_until: Option<Timestamp>,
    /// Where to write it instead of the data directory.
    pub output: Option<PathBuf>,
    /// Whether it may take the place of another one.
    pub replace: bool,
}

/// The files of a model.
#[derive(Debug, Clone)]
pub enum ImportFrom {
    /// A state dict of PyTorch.
    Torch {
        /// The weights.
        weights: PathBuf,
        /// The file of hyper-parameters, compared with the weights.
        hyper: Option<PathBuf>,
        /// The scaler of the columns.
        x_scaler: Option<PathBuf>,
        /// The scaler of what is forecast.
        y_scaler: Option<PathBuf>,
    },
    /// A model of XGBoost, as JSON or UBJSON.
    Xgboost(PathBuf),
    /// A graph of ONNX.
    Onnx(PathBuf),
}

impl ImportFrom {
    fn main(&self) -> &Path {
        match self {
            Self::Torch { weights: path, .. } | Self::Xgboost(path) | Self::Onnx(path) => path,
        }
    }
}

/// What was imported.
#[derive(Debug, Clone, Serialize)]
pub struct ImportDone {
    /// Its name.
    pub name: String,
    /// The format it came in.
    pub format: String,
    /// Its columns, in its own order.
    pub columns: Vec<String>,
    /// What it answers: `price` or `log_return`.
    pub answers: String,
    /// Whether its window has the newest price first; `None` when it reads no such window.
    pub newest_first: Option<bool>,
    /// Whether that was seen from the scalers, because nobody said.
    pub order_found: bool,
    /// Whether nobody and nothing says so, and the oldest first is a guess.
    pub order_assumed: bool,
    /// The end of what it was trained on, where declared.
    pub trained_until: Option<Timestamp>,
    /// The hash of what was written.
    pub hash: String,
    /// Where it was written.
    pub file: PathBuf,
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, PlatformError> {
    let unread = |source| PlatformError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unread)?.len();
    if size > MOST_BYTES {
        return Err(PlatformError::Usage {
            message: format!("{} has {} bytes", path.display(), wording::thousands(size)),
            hint: "files of models up to 1 GB are read".to_owned(),
        });
    }
    std::fs::read(path).map_err(unread)
}

/// A name that can be that of a file everywhere.
fn well_formed(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// The bytes of a scaler. It is read for itself first: a refusal is of this file.
fn scaler_of(path: Option<&Path>) -> Result<Option<Vec<u8>>, PlatformError> {
    let Some(path) = path else { return Ok(None) };
    let bytes = bytes_of(path)?;
    match Scaler::read(&bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(source) => Err(PlatformError::Interop {
            what: format!("{} was not imported", path.display()),
            source: Box::new(source),
        }),
    }
}

/// Takes a model of another program in. Nothing of its files is ever run.
///
/// # Errors
/// When a file is refused, or the model cannot be written.
pub fn import(data_dir: &Path, request: &ImportRequest) -> Result<ImportDone, PlatformError> {
    let main = request.from.main();
    let stem = || main.file_stem().unwrap_or_default().to_string_lossy().replace(['.', ' '], "-");
    let name = request.name.clone().unwrap_or_else(stem);
    if !well_formed(&name) {
        return Err(PlatformError::Usage {
            message: format!("`{name}` cannot be the name of a model"),
            hint: "give --name with up to 64 letters, digits and dashes".to_owned(),
        });
    }
    let described = Described {
        name: name.clone(),
        columns: request.columns.clone(),
        price: request.price.clone(),
        window: request.window,
        order: request.order,
        trained_until: request.trained_until,
    };
    let refused = |source| PlatformError::Interop {
        what: format!("{} was not imported", main.display()),
        source: Box::new(source),
    };
    let read = |path: &Option<PathBuf>| path.as_deref().map(bytes_of).transpose();
    let mut seen = None;
    let model = match &request.from {
        ImportFrom::Torch { weights, hyper, x_scaler, y_scaler } => {
            let (weights, hyper) = (bytes_of(weights)?, read(hyper)?);
            let (x, y) = (scaler_of(x_scaler.as_deref())?, scaler_of(y_scaler.as_deref())?);
            let scalers = (x.as_deref(), y.as_deref());
            let made = torch_network(&weights, hyper.as_deref(), scalers, &described);
            let (model, order) = made.map_err(refused)?;
            seen = order;
            model
        }
        ImportFrom::Xgboost(path) => {
            xgboost_model(&bytes_of(path)?, &described).map_err(refused)?
        }
        ImportFrom::Onnx(path) => onnx_model(&bytes_of(path)?, &described).map_err(refused)?,
    };
    let file = match &request.output {
        Some(path) => path.clone(),
        None => data_dir.join(FOLDER).join(format!("{name}.safetensors")),
    };
    let bytes = model.to_bytes();
    if !request.replace {
        check_free(&file, Fingerprint::of_bytes(&bytes))?;
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|source| PlatformError::Write { path: folder.to_owned(), source })?;
    write_atomically(&file, &bytes)?;
    let window = model.price_window();
    // Named columns say the order themselves.
    let unsaid = request.order.is_none() && request.columns.is_empty() && window.is_some();
    Ok(ImportDone {
        name,
        format: model.format.clone(),
        answers: match model.answers {
            Answers::Price { .. } => "price".to_owned(),
            Answers::LogReturn => "log_return".to_owned(),
        },
        newest_first: window.map(|w| w.newest_first),
        order_found: unsaid && seen.is_some(),
        order_assumed: unsaid && seen.is_none(),
        trained_until: model.trained_until,
        hash: model.hash().to_string(),
        columns: model.columns,
        file,
    })
}

/// Refuses to write over a file with other contents.
fn check_free(file: &Path, new: Fingerprint) -> Result<(), PlatformError> {
    let there = match std::fs::read(file) {
        Ok(bytes) => Fingerprint::of_bytes(&bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(PlatformError::Read { path: file.to_owned(), source }),
    };
    if there == new {
        return Ok(());
    }
    Err(PlatformError::Usage {
        message: format!("{} holds another model (hash {there}, not {new})", file.display()),
        hint: "give another --name or --output, or --replace it".to_owned(),
    })
}

/// Reads an imported model.
fn read(path: &Path) -> Result<ImportedModel, PlatformError> {
    let bytes = bytes_of(path)?;
    let what = format!("reading {}", path.display());
    ImportedModel::from_bytes(&bytes).map_err(PlatformError::model(what))
}

/// A recipe of a pipeline with its imported model in place, when it is one.
///
/// # Errors
/// When the model's file cannot be read.
pub(crate) fn loaded(pipeline: &Pipeline, recipe: &Recipe) -> Result<Recipe, PlatformError> {
    let EstimatorSpec::Imported(settings) = &recipe.spec else { return Ok(recipe.clone()) };
    let path = pipeline.file.parent().unwrap_or(Path::new("")).join(&settings.model);
    let model = match read(&path) {
        Err(PlatformError::Read { path, source })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            return Err(PlatformError::Usage {
                message: format!("`{}` needs {}, which is not there", recipe.name, path.display()),
                hint: "write it with `foretell import … --output FILE`, and name it in `model` \
                       relative to the pipeline file"
                    .to_owned(),
            });
        }
        read => read?,
    };
    let spec = EstimatorSpec::Imported(ImportedSettings::with(Arc::new(model)));
    Ok(Recipe { name: recipe.name.clone(), spec })
}

/// Prices in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct PricesGiven {
    /// The oldest first.
    ascending: Vec<f64>,
}

/// Reads prices: a list of numbers above 0, the oldest first unless said otherwise.
///
/// # Errors
/// [`PlatformError::Prices`] when they are not.
pub fn prices_of(list: &[f64], newest_first: bool) -> Result<PricesGiven, PlatformError> {
    if let Some(i) = list.iter().position(|p| !(p.is_finite() && *p > 0.0)) {
        let (place, price) = (i + 1, list[i]);
        let message = format!("Price {place} is {price}: prices are finite numbers above 0.");
        return Err(PlatformError::Prices(message));
    }
    let mut ascending = list.to_vec();
    if newest_first {
        ascending.reverse();
    }
    Ok(PricesGiven { ascending })
}

impl PricesGiven {
    /// The latest price.
    ///
    /// # Errors
    /// When there is none.
    pub fn latest(&self) -> Result<f64, PlatformError> {
        let none = || PlatformError::Prices(NO_LIST.to_owned());
        self.ascending.last().copied().ok_or_else(none)
    }
}

/// What is said of what is no list of numbers.
pub const NO_LIST: &str = "Prices should be a list of floats.";

impl std::str::FromStr for PricesGiven {
    type Err = PlatformError;

    /// Numbers with commas between, the oldest first.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let numbers: Result<Vec<f64>, _> = text.split(',').map(|p| p.trim().parse()).collect();
        let numbers = numbers.map_err(|_| PlatformError::Prices(NO_LIST.to_owned()))?;
        prices_of(&numbers, false)
    }
}

impl PricesGiven {
    /// The same prices read the other way round: the first is the newest.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.ascending.reverse();
        self
    }
}

/// Whether the next price is above the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Above.
    Increases,
    /// Below.
    Decreases,
    /// The same.
    Stays,
}

impl Direction {
    /// Of a price after another.
    pub fn of(next: f64, latest: f64) -> Self {
        match next.total_cmp(&latest) {
            std::cmp::Ordering::Greater => Self::Increases,
            std::cmp::Ordering::Less => Self::Decreases,
            std::cmp::Ordering::Equal => Self::Stays,
        }
    }
}

/// The next price by an imported model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// The model.
    pub model: String,
    /// Its hash.
    pub hash: String,
    /// The next price.
    pub price: f64,
    /// The latest of the prices given.
    pub latest: f64,
    /// Whether the next is above it.
    pub direction: Direction,
}

/// The next price after some by an imported model of a data directory, or by the only one
/// there is. Names are no paths: they may come from a client of a server.
///
/// # Errors
/// [`PlatformError::Prices`] when there are too few or too many, and when there is no such
/// model or it reads something else than a window of prices.
pub fn predict(
    data_dir: &Path,
    model: Option<&str>,
    prices: &PricesGiven,
) -> Result<Predicted, PlatformError> {
    predict_by(&file_of(data_dir, model)?, prices)
}

/// [`predict`] by a model that may be in memory already.
///
/// # Errors
/// As [`predict`].
pub(crate) fn predict_loaded(
    loaded: &LoadedModels,
    data_dir: &Path,
    model: Option<&str>,
    prices: &PricesGiven,
) -> Result<Predicted, PlatformError> {
    loaded.get(&file_of(data_dir, model)?)?.predict(prices)
}

/// The next price after some by the imported model in a file.
///
/// # Errors
/// As [`predict`].
pub fn predict_by(file: &Path, prices: &PricesGiven) -> Result<Predicted, PlatformError> {
    Served::read(file)?.predict(prices)
}

/// An imported model that can answer prices with a price.
#[derive(Debug)]
pub(crate) struct Served {
    name: String,
    hash: String,
    window: PriceWindow,
    engine: ImportedEngine,
}

impl Served {
    /// Reads one from its file.
    ///
    /// # Errors
    /// When it cannot be read, or reads something else than a window of prices.
    pub(crate) fn read(file: &Path) -> Result<Self, PlatformError> {
        let imported = read(file)?;
        let name = imported.name.clone();
        let Some(window) = imported.price_window() else {
            let columns = imported.columns.join(", ");
            return Err(PlatformError::Usage {
                message: format!("`{name}` reads {columns}: no window of prices"),
                hint: "let it take part in a pipeline: kind = \"imported\" in [[models]]"
                    .to_owned(),
            });
        };
        let failed = PlatformError::model(format!("`{name}`"));
        let engine = ImportedEngine::new(&imported).map_err(failed)?;
        Ok(Self { name, hash: imported.hash().to_string(), window, engine })
    }

    /// The next price after some.
    ///
    /// # Errors
    /// When there are too few or too many, or the model does not answer.
    pub(crate) fn predict(&self, prices: &PricesGiven) -> Result<Predicted, PlatformError> {
        let PriceWindow { length, newest_first } = self.window;
        if prices.ascending.len() != length {
            return Err(PlatformError::Prices(format!("Exactly {length} prices are required.")));
        }
        let mut row = prices.ascending.clone();
        if newest_first {
            row.reverse();
        }
        let failed = PlatformError::model(format!("`{}`", self.name));
        let price = self.engine.answer(&row).map_err(failed)?;
        let latest = prices.latest()?;
        Ok(Predicted {
            model: self.name.clone(),
            hash: self.hash.clone(),
            price,
            latest,
            direction: Direction::of(price, latest),
        })
    }
}

/// The file of an imported model.
fn file_of(data_dir: &Path, model: Option<&str>) -> Result<PathBuf, PlatformError> {
    let folder = data_dir.join(FOLDER);
    let listed = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".safetensors")?.to_owned()))
        .filter(|name| well_formed(name))
        .collect();
    names.sort_unstable();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let how =
        "take one in: `foretell import torch lstm_model.pth --hyper … --x-scaler … --y-scaler …`";
    let name = match (model, &known[..]) {
        (Some(name), _) if known.contains(&name) => name,
        (Some(name), _) => return Err(named::unknown("imported model", name, &known, how)),
        (None, [only]) => only,
        (None, []) => return Err(PlatformError::not_found("imported model", how)),
        (None, several) => {
            return Err(PlatformError::Usage {
                message: format!("there are several imported models: {}", several.join(", ")),
                hint: "name one with --model".to_owned(),
            });
        }
    };
    Ok(folder.join(format!("{name}.safetensors")))
}

/// The next price after some by a server of this program: `POST /api/v1/predict`, below the
/// address that is given. Other servers have no such place, and may read prices in another
/// order.
///
/// # Errors
/// [`PlatformError::Prices`] when the server refuses them, and when it does not answer or is
/// another one.
pub async fn predict_at(
    host: &Url,
    model: Option<&str>,
    prices: &PricesGiven,
) -> Result<Predicted, PlatformError> {
    #[derive(Deserialize)]
    struct Refusal {
        detail: Option<serde_json::Value>,
    }
    let address = address_of(host);
    let failed = |what: String| PlatformError::Remote(format!("Request failed: {address}: {what}"));
    let mut body = serde_json::json!({ "prices": prices.ascending });
    if let Some(model) = model {
        body["model"] = model.into();
    }
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(60))
        .build()
        .map_err(|e| PlatformError::Remote(format!("no HTTP client: {e}")))?;
    let mut request = client.post(address.clone()).json(&body);
    if let Some(token) = client_token()? {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.map_err(|e| failed(e.to_string()))?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(|e| failed(e.to_string()))?;
    if status.is_success() {
        let predicted = serde_json::from_slice(&bytes).ok();
        let foreign = || failed("what answers there is no `foretell serve`".to_owned());
        return predicted.filter(|p: &Predicted| p.price.is_finite()).ok_or_else(foreign);
    }
    let refusal = serde_json::from_slice(&bytes).ok().and_then(|r: Refusal| r.detail);
    match refusal.map(|detail| detail_of(&detail)) {
        Some(detail) if status.as_u16() == 422 => Err(PlatformError::Prices(detail)),
        Some(detail) => Err(failed(format!("{status}: {detail}"))),
        None => Err(failed(format!("it answered {status}: is it `foretell serve`?"))),
    }
}

/// Where a server is asked, whether its own address is given or that of one of the places
/// where it answers.
fn address_of(host: &Url) -> Url {
    let mut address = host.clone();
    let path = host.path().trim_end_matches('/');
    let known = [PREDICT, "/predict_next_price"];
    let root = known.iter().find_map(|place| path.strip_suffix(place)).unwrap_or(path);
    address.set_path(&format!("{root}{PREDICT}"));
    address
}

/// What a server says of a refusal: its text, or any JSON; without what a terminal obeys.
fn detail_of(detail: &serde_json::Value) -> String {
    let text = detail.as_str().map_or_else(|| detail.to_string(), str::to_owned);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(1_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_in_the_order_of_time() {
        let given: PricesGiven = " 1.5, 2,3e0".parse().unwrap();
        assert_eq!(given.ascending, [1.5, 2.0, 3.0]);
        assert_eq!(given.clone().newest_first().ascending, [3.0, 2.0, 1.5]);
        assert_eq!(given.newest_first().latest().unwrap(), 1.5);
        for bad in ["", "1,,2", "1;2", "a", "1,b"] {
            let error = bad.parse::<PricesGiven>().unwrap_err().to_string();
            assert_eq!(error, "Prices should be a list of floats.", "{bad}");
        }
        for bad in ["1,NaN", "inf,1", "0,1", "-1,2"] {
            let error = bad.parse::<PricesGiven>().unwrap_err().to_string();
            assert!(error.contains("finite numbers above 0"), "{bad}: {error}");
        }
        assert!(prices_of(&[], false).unwrap().latest().is_err());
    }

    #[test]
    fn a_server_is_asked_at_its_own_place() {
        for (given, asked) in [
            ("http://h:1", "http://h:1/api/v1/predict"),
            ("http://h:1/", "http://h:1/api/v1/predict"),
            ("http://h/predict_next_price", "http://h/api/v1/predict"),
            ("https://h/behind/api/v1/predict", "https://h/behind/api/v1/predict"),
            ("https://h/behind/", "https://h/behind/api/v1/predict"),
        ] {
            assert_eq!(address_of(&Url::parse(given).unwrap()).as_str(), asked);
        }
    }

    #[test]
    fn a_refusal_may_be_any_json() {
        // As FastAPI refuses a body.
        let list = serde_json::json!([{ "loc": ["body", "prices"], "msg": "field required" }]);
        assert!(detail_of(&list).contains("field required"));
        assert_eq!(detail_of(&serde_json::json!("no\u{1b}[31m")), "no?[31m");
    }

    #[test]
    fn names_are_no_paths() {
        for bad in ["", "../a", "a/b", "a.b", "a b", "ü"] {
            assert!(!well_formed(bad), "{bad}");
        }
        assert!(well_formed("amazon-lstm_2"));
    }
}
