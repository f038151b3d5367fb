//! Models that were trained elsewhere, judged and served like our own.
//!
//! An [`ImportedModel`] is plain data: what it is fed with (columns, in its own order), what
//! it answers (a price or a log return), and the model itself: weights of a network, an
//! XGBoost document, or an ONNX graph. In an evaluation it learns one thing alone: in each
//! fold the spread of its errors on that fold's training rows, which gives it quantiles. What
//! it learnt before it came is not known here unless it is declared, and so it may not be
//! promoted on rows that it may have seen (see [`ImportedSettings::barred`]).

mod engine;

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_market::{Fingerprint, Timestamp};
use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

pub use engine::ImportedEngine;

use crate::estimator::check_training;
use crate::neural::layout;
use crate::quantiles::centred_quantiles;
use crate::state::{check_finite, check_offsets, damaged};
use crate::tensors::{self, Numbers, Tensor, none_left};
use crate::{
    Architecture, Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState,
    Quantiles, Schema,
};

/// The version of the stored form of [`ImportedModel`] that this program writes.
pub const IMPORTED_MODEL_VERSION: u64 = 1;
/// Nine quantiles of errors need some rows.
const MIN_ROWS: usize = 100;
/// The name of the tensor that holds a model in another program's format.
const FOREIGN: &str = "model";

/// A model that was trained elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedModel {
    /// Its name: letters, digits, dashes.
    pub name: String,
    /// The format it came in: `torch`, `xgboost` or `onnx`.
    pub format: String,
    /// The hash of the file it came in.
    pub origin: Fingerprint,
    /// The columns it is fed with, in its own order: `close[-1]` is the close one interval
    /// before the decision, `close` that of the decision itself.
    pub columns: Vec<String>,
    /// What its answer is.
    pub answers: Answers,
    /// The end of what it was trained on (UTC), where that is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_until: Option<Timestamp>,
    /// The model itself.
    pub body: Body,
}

/// What an imported model answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answers {
    /// The price at the horizon; `of` is the column with the price at the decision.
    Price {
        /// A column of the rows, such as `close`.
        of: String,
    },
    /// The log return over the horizon.
    LogReturn,
}

/// The model itself; what is large stands in tensors beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A network on a standardised window.
    Network {
        /// What goes in and what stands in a row.
        architecture: Architecture,
        /// The weights, in the layout of `NeuralState`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<Vec<f32>>,
        /// What is taken off each column.
        means: Vec<f64>,
        /// What each column is divided by then.
        scales: Vec<f64>,
        /// What is added to the answer, after it was multiplied.
        centre: f64,
        /// What the answer is multiplied by.
        spread: f64,
    },
    /// Trees in XGBoost's binary document (UBJSON).
    Xgboost {
        /// The document.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        document: Vec<u8>,
    },
    /// An ONNX graph of one input and one output.
    Onnx {
        /// The graph.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        graph: Vec<u8>,
    },
}

/// A window of one column in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceWindow {
    /// How many prices.
    pub length: usize,
    /// Whether the model sees the newest first.
    pub newest_first: bool,
}

/// An imported model as its own file describes it, beside the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    version: u64,
    imported: ImportedModel,
}

impl ImportedModel {
    /// The bytes to store: safetensors.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (imported, tensors) = self.detached();
        let described = Described { version: IMPORTED_MODEL_VERSION, imported };
        let json = serde_json::to_string(&described).expect("a model is plain data");
        tensors::write(&json, &tensors)
    }

    /// Reads stored bytes and checks that the model in them answers.
    ///
    /// # Errors
    /// [`ModelError::NewerVersion`] when a newer program wrote them,
    /// [`ModelError::Damaged`] when they are cut off or do not hold together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        /// Only the version, so that a newer file is recognised whatever else it holds.
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let (json, tensors) = tensors::read(bytes)?;
        let unreadable = |e: serde_json::Error| damaged("__metadata__.foretell", &e.to_string());
        let found = serde_json::from_str::<Version>(&json).map_err(unreadable)?.version;
        if found > IMPORTED_MODEL_VERSION {
            let (what, known) = ("imported model", IMPORTED_MODEL_VERSION);
            return Err(ModelError::NewerVersion { what, found, known });
        }
        let mut imported = serde_json::from_str::<Described>(&json).map_err(unreadable)?.imported;
        imported.attach(tensors)?;
        ImportedEngine::new(&imported)?;
        Ok(imported)
    }

    /// The hash of everything stored.
    pub fn hash(&self) -> Fingerprint {
        Fingerprint::of_bytes(&self.to_bytes())
    }

    /// The window it reads, when it reads one column step by step and answers its price.
    pub fn price_window(&self) -> Option<PriceWindow> {
        let Answers::Price { of } = &self.answers else { return None };
        let length = self.columns.len();
        let named = |behind: usize| match behind {
            0 => of.clone(),
            behind => format!("{of}[-{behind}]"),
        };
        let is = |newest_first: bool| {
            let behind = |i: usize| if newest_first { i } else { length - 1 - i };
            self.columns.iter().enumerate().all(|(i, name)| *name == named(behind(i)))
        };
        let order = [true, false].into_iter().find(|newest_first| is(*newest_first))?;
        Some(PriceWindow { length, newest_first: order })
    }

    /// The columns of a window of one column, in one order of time.
    pub fn window_columns(of: &str, length: usize, newest_first: bool) -> Vec<String> {
        let named = |behind: usize| match behind {
            0 => of.to_owned(),
            behind => format!("{of}[-{behind}]"),
        };
        match newest_first {
            true => (0..length).map(named).collect(),
            false => (0..length).rev().map(named).collect(),
        }
    }

    /// The same without what stands in tensors, and these.
    pub(crate) fn detached(&self) -> (Self, Vec<Tensor>) {
        let foreign = |bytes: &[u8]| {
            let (name, shape) = (FOREIGN.to_owned(), vec![bytes.len()]);
            vec![Tensor { name, shape, numbers: Numbers::U8(bytes.to_vec()) }]
        };
        let (body, tensors) = match &self.body {
            Body::Network { architecture, weights, means, scales, centre, spread } => {
                let body = Body::Network {
                    architecture: architecture.clone(),
                    weights: Vec::new(),
                    means: means.clone(),
                    scales: scales.clone(),
                    centre: *centre,
                    spread: *spread,
                };
                (body, layout::tensors(architecture, weights))
            }
            Body::Xgboost { document } => {
                (Body::Xgboost { document: Vec::new() }, foreign(document))
            }
            Body::Onnx { graph } => (Body::Onnx { graph: Vec::new() }, foreign(graph)),
        };
        (Self { body, ..self.clone() }, tensors)
    }

    /// Puts the tensors of a file into their places.
    ///
    /// # Errors
    /// When they are not exactly those that the body has.
    pub(crate) fn attach(
        &mut self,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        match &mut self.body {
            Body::Network { architecture, weights, .. } => {
                *weights = layout::weights(architecture, tensors)?;
            }
            Body::Xgboost { document: bytes } | Body::Onnx { graph: bytes } => {
                let missing = || damaged(FOREIGN, "the model itself is missing");
                let tensor = tensors.remove(FOREIGN).ok_or_else(missing)?;
                none_left(&tensors)?;
                let Numbers::U8(raw) = tensor.numbers else { return Err(missing()) };
                *bytes = raw;
            }
        }
        Ok(())
    }
}

/// The settings of the kind `imported`. In a file: `kind = "imported"`, `model` the path of
/// what `foretell import` wrote. Whoever builds the estimator puts the model in first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedSettings {
    /// Where the model is; its own name once it is there.
    pub model: String,
    /// The hash of the model, once it is there: it decides the forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Fingerprint>,
    /// The end of what it was trained on, where that is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_until: Option<Timestamp>,
    /// The model itself, which its hash stands for.
    #[serde(skip)]
    pub loaded: Option<Arc<ImportedModel>>,
}

/// Two are the same when their models have the same hash.
impl PartialEq for ImportedSettings {
    fn eq(&self, other: &Self) -> bool {
        (&self.model, self.hash, self.trained_until)
            == (&other.model, other.hash, other.trained_until)
    }
}

impl ImportedSettings {
    /// With the model in its place.
    pub fn with(model: Arc<ImportedModel>) -> Self {
        Self {
            model: model.name.clone(),
            hash: Some(model.hash()),
            trained_until: model.trained_until,
            loaded: Some(model),
        }
    }

    /// Why it may not be promoted on rows from `first` on: it may have learnt from them.
    pub fn barred(&self, first: Option<Timestamp>) -> Option<String> {
        match (self.trained_until, first) {
            (None, _) => Some(
                "what it learnt from is not known: import it with the end of its training"
                    .to_owned(),
            ),
            (Some(until), Some(first)) if first < until => Some(format!(
                "it learnt from rows until {}, and is judged from {} on",
                until.human(),
                first.human()
            )),
            _ => None,
        }
    }
}

/// Learns the spread of an imported model's errors.
#[derive(Debug)]
pub(crate) struct ImportedEstimator {
    spec: EstimatorSpec,
    settings: ImportedSettings,
}

impl ImportedEstimator {
    pub(crate) fn new(settings: ImportedSettings) -> Self {
        Self { spec: EstimatorSpec::Imported(settings.clone()), settings }
    }
}

impl Estimator for ImportedEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    fn min_rows(&self) -> usize {
        MIN_ROWS
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        context.go_on(0, 1)?;
        check_training(self, train)?;
        let Some(model) = self.settings.loaded.clone() else {
            return Err(ModelError::Setting {
                kind: "imported".to_owned(),
                field: "model".to_owned(),
                value: self.settings.model.clone(),
                remedy: "the model was not loaded; name the file that `foretell import` wrote"
                    .to_owned(),
            });
        };
        // Rows that it has seen would make its errors too small: they count only where there
        // are too few others.
        let until = model.trained_until;
        let unseen = (0..train.len()).filter(|i| until.is_none_or(|t| train.labels[*i].start >= t));
        let unseen: Vec<usize> = unseen.collect();
        let rows = if unseen.len() >= MIN_ROWS { train.select(&unseen) } else { train.clone() };
        let mut state = ImportedState { model, offsets: [0.0; LEVELS] };
        let fitted = Imported::new(state.clone(), Schema::of(train))?;
        let answers = fitted.medians(&rows.features)?;
        let errors: Vec<f64> =
            rows.labels.iter().zip(&answers).map(|(label, answer)| label.value - answer).collect();
        state.offsets = centred_quantiles(&errors);
        context.progress.steps(1, 1);
        Ok(Box::new(Imported { state, ..fitted }))
    }
}

/// An imported model with the spread of its errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedState {
    /// The model.
    pub model: Arc<ImportedModel>,
    /// Quantiles of its errors on the training rows around its answer, log return.
    pub offsets: [f64; LEVELS],
}

/// An imported model on rows with certain columns.
#[derive(Debug)]
pub(crate) struct Imported {
    state: ImportedState,
    schema: Schema,
    engine: ImportedEngine,
    /// Where each of its columns stands in a row.
    places: Vec<usize>,
    /// Where the price at the decision stands, when it answers a price.
    price: Option<usize>,
}

impl Imported {
    /// From what is stored.
    ///
    /// # Errors
    /// When the parts do not hold together, or the rows lack a column.
    pub(crate) fn new(state: ImportedState, schema: Schema) -> Result<Self, ModelError> {
        check_offsets(&state.offsets)?;
        let model = &state.model;
        let engine = ImportedEngine::new(model)?;
        let place = |name: &String| {
            let found = schema.feature_names.iter().position(|n| n == name);
            found.ok_or_else(|| ModelError::Schema {
                difference: format!(
                    "`{}` reads the column `{name}`: choose in [features] a `set` that has it and \
                     a `window` that reaches as far back",
                    model.name
                ),
            })
        };
        let places = model.columns.iter().map(place).collect::<Result<_, _>>()?;
        let price = match &model.answers {
            Answers::Price { of } => Some(place(of)?),
            Answers::LogReturn => None,
        };
        Ok(Self { state, schema, engine, places, price })
    }

    /// Its answer for each row as a log return.
    ///
    /// # Errors
    /// When an answer is no number, or no price where it should be one.
    fn medians(&self, features: &Matrix) -> Result<Vec<f64>, ModelError> {
        let mut fed = Vec::with_capacity(self.places.len());
        let median = |i: usize| {
            let row = features.row(i);
            fed.clear();
            fed.extend(self.places.iter().map(|place| row[*place]));
            let answer = self.engine.answer(&fed)?;
            let Some(price) = self.price.map(|place| row[place]) else { return Ok(answer) };
            if answer > 0.0 && price > 0.0 {
                return Ok(libm::log(answer / price));
            }
            let message = format!(
                "`{}` answers {answer} where the price is {price}: prices are above 0; import it \
                 with `--answers log-return` if that is what it says",
                self.state.model.name
            );
            Err(ModelError::Numerical { kind: "imported".to_owned(), message })
        };
        (0..features.rows()).map(median).collect()
    }
}

impl Fitted for Imported {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        let medians = self.medians(features)?;
        Quantiles::located(medians.into_iter().map(|m| (m, 1.0)), &self.state.offsets)
    }

    fn state(&self) -> ModelState {
        ModelState::Imported(self.state.clone())
    }

    /// Empty: it does not explain itself by the columns here.
    fn importance(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// Refuses scalers of a network that cannot be used.
fn check_scalers(
    columns: usize,
    means: &[f64],
    scales: &[f64],
    answer: [f64; 2],
) -> Result<(), ModelError> {
    if means.len() != columns || scales.len() != columns {
        return Err(damaged("means", &format!("the model has {columns} columns")));
    }
    check_finite("means", means)?;
    check_finite("scales", scales)?;
    check_finite("centre", &answer)?;
    match scales.iter().chain([&answer[1]]).position(|s| *s <= 0.0) {
        Some(j) => Err(damaged(&format!("scales[{j}]"), "the scale is not over 0")),
        None => Ok(()),
    }
}
