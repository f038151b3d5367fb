//! What makes an imported model answer: our kernels for networks, `hessboost` for XGBoost's
//! documents, and with the feature `onnx` a runtime for graphs.

use std::fmt;

use foretell_neural::{BadWeights, Trained};
use hessboost::model::{BoostedModel, Iterations, ModelFormat};

use super::{Answers, Body, ImportedModel, check_scalers};
use crate::ModelError;
use crate::state::damaged;

#[cfg(feature = "onnx")]
mod onnx;

/// An imported model, ready to answer.
pub struct ImportedEngine {
    name: String,
    columns: usize,
    runs: Runs,
}

enum Runs {
    Network {
        network: Box<Trained>,
        means: Vec<f64>,
        scales: Vec<f64>,
        centre: f64,
        spread: f64,
    },
    Xgboost(Box<BoostedModel>),
    #[cfg(feature = "onnx")]
    Onnx(onnx::Graph),
}

impl fmt::Debug for ImportedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImportedEngine({}, {} columns)", self.name, self.columns)
    }
}

impl ImportedEngine {
    /// Makes a model answer.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] when its parts do not hold together, [`ModelError::Schema`]
    /// when it takes another number of columns than it names.
    pub fn new(model: &ImportedModel) -> Result<Self, ModelError> {
        let (name, columns) = (model.name.clone(), model.columns.len());
        if columns == 0 {
            return Err(damaged("columns", "there is none"));
        }
        let signature = |takes: usize| match takes == columns {
            true => Ok(()),
            false => Err(ModelError::Schema {
                difference: format!("`{name}` takes {takes} columns, {columns} are named"),
            }),
        };
        let runs = match &model.body {
            Body::Network { architecture, weights, means, scales, centre, spread } => {
                let takes = architecture.inputs.checked_mul(architecture.steps);
                signature(takes.unwrap_or(usize::MAX))?;
                check_scalers(columns, means, scales, [*centre, *spread])?;
                if architecture.outputs() != 1 {
                    return Err(damaged("architecture.layers", "it has more than one answer"));
                }
                let network = Trained::new(architecture, weights).map_err(|bad| match bad {
                    BadWeights::Layers(_) => damaged("architecture.layers", &bad.to_string()),
                    _ => damaged("weights", &bad.to_string()),
                })?;
                Runs::Network {
                    network: Box::new(network),
                    means: means.clone(),
                    scales: scales.clone(),
                    centre: *centre,
                    spread: *spread,
                }
            }
            Body::Xgboost { document } => {
                let trees = BoostedModel::decode(document, ModelFormat::XgboostUbjson)
                    .map_err(|e| damaged("XGBoost document", &e.to_string()))?;
                signature(trees.n_features())?;
                if trees.prediction_width() != 1 {
                    let message = format!(
                        "it answers {} numbers a row; only models of one answer are imported",
                        trees.prediction_width()
                    );
                    return Err(damaged("XGBoost document", &message));
                }
                check_objective(trees.objective().name(), &model.answers)?;
                Runs::Xgboost(Box::new(trees))
            }
            #[cfg(feature = "onnx")]
            Body::Onnx { graph } => Runs::Onnx(onnx::Graph::read(graph, columns)?),
            #[cfg(not(feature = "onnx"))]
            Body::Onnx { .. } => {
                return Err(ModelError::Setting {
                    kind: "imported".to_owned(),
                    field: "format".to_owned(),
                    value: "onnx".to_owned(),
                    remedy: "this program was built without ONNX; build it with `--features onnx`"
                        .to_owned(),
                });
            }
        };
        Ok(Self { name, columns, runs })
    }

    /// The answer for one row of its columns, in its own order and unit.
    ///
    /// # Errors
    /// When the row has another length or a number that is not finite, and when the answer
    /// is not finite.
    pub fn answer(&self, row: &[f64]) -> Result<f64, ModelError> {
        if row.len() != self.columns {
            let difference = format!("{} columns then, {} now", self.columns, row.len());
            return Err(ModelError::Schema { difference });
        }
        if let Some(i) = row.iter().position(|v| !v.is_finite()) {
            let column = format!("input {i} of {}", self.name);
            return Err(ModelError::NotFinite { row: 0, column, value: row[i] });
        }
        let answer = match &self.runs {
            Runs::Network { network, means, scales, centre, spread } => {
                let scaled = row.iter().zip(means).zip(scales).map(|((v, mean), scale)| {
                    // In 64 bits before it is rounded, as scikit-learn's scalers are.
                    ((v - mean) / scale) as f32
                });
                centre + spread * f64::from(network.answers(scaled.collect())[0])
            }
            Runs::Xgboost(trees) => {
                let narrow: Vec<f32> = row.iter().map(|v| *v as f32).collect();
                let answer = trees.predict_row(&narrow, Iterations::Best);
                f64::from(answer.map_err(|e| ModelError::Boosting(e.to_string()))?)
            }
            #[cfg(feature = "onnx")]
            Runs::Onnx(graph) => graph.answer(row)?,
        };
        if answer.is_finite() {
            return Ok(answer);
        }
        let message = format!("`{}` answers {answer}, which is no number to serve", self.name);
        Err(ModelError::Numerical { kind: "imported".to_owned(), message })
    }
}

/// Refuses trees whose answer is neither a price nor a log return: classes, ranks, hazards.
fn check_objective(name: &str, answers: &Answers) -> Result<(), ModelError> {
    let remedy = match (name, answers) {
        (
            "reg:squarederror"
            | "reg:linear"
            | "reg:absoluteerror"
            | "reg:pseudohubererror"
            | "reg:quantileerror",
            _,
        )
        | ("reg:gamma" | "reg:tweedie", Answers::Price { .. }) => return Ok(()),
        ("reg:gamma" | "reg:tweedie", Answers::LogReturn) => {
            "its answers are above 0, so it can forecast a price (`--answers price`) and no return"
        }
        _ => {
            "its answer is no price and no return; train it with reg:squarederror, \
             reg:absoluteerror, reg:pseudohubererror or reg:quantileerror"
        }
    };
    Err(ModelError::Setting {
        kind: "imported".to_owned(),
        field: "objective".to_owned(),
        value: name.to_owned(),
        remedy: remedy.to_owned(),
    })
}
