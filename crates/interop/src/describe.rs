//! What a model of another program is fed with and what it answers: an imported model.

use foretell_market::{Fingerprint, Timestamp};
use foretell_model::{Answers, Body, ImportedEngine, ImportedModel};

use crate::InteropError;
use crate::error::unsupported;
use crate::network::{Hyper, StateNetwork};
use crate::scaler::Scaler;
use crate::torch::StateDict;

/// What the user says of a model, beside its files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Described {
    /// The name it is to have.
    pub name: String,
    /// The columns it is fed with, in its order; a window of `price` when there are none.
    pub columns: Vec<String>,
    /// The column whose price it forecasts; nothing when it answers log returns.
    pub price: Option<String>,
    /// Steps of the window, where the files do not say.
    pub window: Option<usize>,
    /// The order of the window, where the user says.
    pub order: Option<Order>,
    /// The end of what it was trained on, where the user says.
    pub trained_until: Option<Timestamp>,
}

/// The order in time in which a network sees its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As time goes.
    OldestFirst,
    /// Against it.
    NewestFirst,
}

impl Described {
    fn model(
        &self,
        format: &str,
        bytes: &[u8],
        columns: Vec<String>,
        body: Body,
    ) -> Result<ImportedModel, InteropError> {
        let answers = match &self.price {
            Some(of) => Answers::Price { of: of.clone() },
            None => Answers::LogReturn,
        };
        let model = ImportedModel {
            name: self.name.clone(),
            format: format.to_owned(),
            origin: Fingerprint::of_bytes(bytes),
            columns,
            answers,
            trained_until: self.trained_until,
            body,
        };
        ImportedEngine::new(&model)?;
        Ok(model)
    }

    /// The columns: those named, or a window of the price.
    fn columns(&self, count: Option<usize>, order: Order) -> Result<Vec<String>, InteropError> {
        if !self.columns.is_empty() {
            return Ok(self.columns.clone());
        }
        let steps = self.window.or(count).filter(|n| (1..=100_000).contains(n));
        let Some(steps) = steps else {
            return Err(unsupported(
                "the files do not say which columns the model is fed with",
                "name them with --columns, or give --window for a window of prices",
            ));
        };
        let of = self.price.as_deref().unwrap_or("close");
        Ok(ImportedModel::window_columns(of, steps, order == Order::NewestFirst))
    }
}

/// A recurrent network of PyTorch with the scalers of its columns and of its answer; without
/// scalers it is fed with the columns as they are. Answers with the order that the scalers
/// show, where they show one; what the user says counts, and the oldest first where nobody does.
///
/// The order is seen from the scalers: the mean of what is forecast lies next to that of the
/// newest column, and the means go on evenly from there.
///
/// # Errors
/// When a file is refused, or they do not belong together.
pub fn torch_network(
    weights: &[u8],
    hyper: Option<&[u8]>,
    scalers: (Option<&[u8]>, Option<&[u8]>),
    described: &Described,
) -> Result<(ImportedModel, Option<Order>), InteropError> {
    let hyper = hyper.map(Hyper::read).transpose()?.unwrap_or_default();
    let network = StateNetwork::of(&StateDict::read(weights)?, &hyper)?;
    let of_columns = scalers.0.map(Scaler::read).transpose()?;
    let of_answer = scalers.1.map(Scaler::read).transpose()?;
    let scaled = of_columns.as_ref().map(|s| s.scales.len() / network.inputs.max(1));
    let seen = of_columns.as_ref().zip(of_answer.as_ref()).and_then(|(x, y)| order_of(x, y));
    let order = described.order.or(seen).unwrap_or(Order::OldestFirst);
    if network.inputs != 1 && described.columns.is_empty() {
        return Err(unsupported(
            format!("the network reads {} columns a step", network.inputs),
            "name all columns of the window with --columns, step by step",
        ));
    }
    let columns = described.columns(scaled, order)?;
    let (means, scales) = match of_columns {
        Some(x) if x.scales.len() == columns.len() => (x.shifts, x.scales),
        Some(x) => {
            return Err(unsupported(
                format!("the scaler has {} columns, the window {}", x.scales.len(), columns.len()),
                "give the scaler of these weights, or another --window",
            ));
        }
        None => (vec![0.0; columns.len()], vec![1.0; columns.len()]),
    };
    let (centre, spread) = match of_answer {
        Some(y) if y.scales.len() == 1 => (y.shifts[0], y.scales[0]),
        Some(y) => {
            return Err(unsupported(
                format!("the scaler of the answer has {} columns instead of one", y.scales.len()),
                "give the scaler of what is forecast as --y-scaler",
            ));
        }
        None => (0.0, 1.0),
    };
    let architecture = network.architecture(columns.len() / network.inputs.max(1));
    let StateNetwork { weights: numbers, .. } = network;
    let body = Body::Network { architecture, weights: numbers, means, scales, centre, spread };
    Ok((described.model("torch", weights, columns, body)?, seen))
}

/// The order that the means of the scalers show: of a price that trends they move evenly from
/// what is forecast to the oldest column.
fn order_of(columns: &Scaler, answer: &Scaler) -> Option<Order> {
    let (first, last) = (*columns.shifts.first()?, *columns.shifts.last()?);
    let [mean] = answer.shifts[..] else { return None };
    let steps = columns.shifts.windows(2).map(|pair| pair[1] - pair[0]);
    let even = steps.clone().all(|s| s > 0.0) || steps.clone().all(|s| s < 0.0);
    if columns.shifts.len() < 3 || !even {
        return None;
    }
    // One step further on one side is what is forecast.
    let step = (last - first) / (columns.shifts.len() - 1) as f64;
    let near = |place: f64| (mean - place).abs() < 0.5 * step.abs();
    match (near(first - step), near(last + step)) {
        (true, false) => Some(Order::NewestFirst),
        (false, true) => Some(Order::OldestFirst),
        _ => None,
    }
}

/// A model of XGBoost with one answer a row, from its JSON or UBJSON; its columns are those
/// named in the file where the user names none.
///
/// # Errors
/// When it is no such model.
pub fn xgboost_model(bytes: &[u8], described: &Described) -> Result<ImportedModel, InteropError> {
    let document = foretell_model::xgboost_to_ubjson(bytes)?;
    let named = foretell_model::xgboost_feature_names(bytes)?;
    let columns = match described.columns.is_empty() && described.window.is_none() {
        true if named.is_empty() => {
            return Err(unsupported(
                "the model was trained without names of its columns",
                "name them with --columns, or give --window for a window of prices",
            ));
        }
        true => named,
        false => described.columns(None, described.order.unwrap_or(Order::OldestFirst))?,
    };
    described.model("xgboost", bytes, columns, Body::Xgboost { document })
}

/// A graph of ONNX with one input and one answer a row.
///
/// # Errors
/// When it is no such graph, takes another number of columns, or this program was built
/// without the feature `onnx`.
pub fn onnx_model(bytes: &[u8], described: &Described) -> Result<ImportedModel, InteropError> {
    let order = described.order.unwrap_or(Order::OldestFirst);
    let columns = described.columns(None, order)?;
    described.model("onnx", bytes, columns, Body::Onnx { graph: bytes.to_vec() })
}
