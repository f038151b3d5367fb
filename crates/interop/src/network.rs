//! Which network a state dict holds: recurrent layers and the linear layer behind them.

use std::collections::BTreeSet;

use foretell_model::{Activation, Architecture, Layer};
use serde::Deserialize;

use crate::InteropError;
use crate::error::{damaged, unsupported};
use crate::torch::{StateDict, Tensor};

/// What a file of hyper-parameters says of a recurrent network; compared with the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Hyper {
    /// Columns of a step.
    pub input_size: Option<usize>,
    /// Units of each layer.
    pub hidden_size: Option<usize>,
    /// Recurrent layers.
    #[serde(alias = "num_layers")]
    pub num_stacked_layers: Option<usize>,
}

impl Hyper {
    /// Reads a JSON object with `input_size`, `hidden_size` and `num_stacked_layers` (or
    /// `num_layers`); other keys are passed over.
    ///
    /// # Errors
    /// When it is no such object.
    pub fn read(bytes: &[u8]) -> Result<Self, InteropError> {
        serde_json::from_slice(bytes).map_err(|e| {
            let place = format!("line {}, column {}", e.line(), e.column());
            damaged("file of hyper-parameters", place, &e.to_string())
        })
    }
}

/// A network of recurrent layers with one linear layer behind the last step.
#[derive(Debug, Clone, PartialEq)]
pub struct StateNetwork {
    /// The layers, the first one first.
    pub layers: Vec<Layer>,
    /// Columns of a step.
    pub inputs: usize,
    /// The weights in the order of [`foretell_model::NeuralState`].
    pub weights: Vec<Vec<f32>>,
}

fn two(tensor: &Tensor) -> Option<(usize, usize)> {
    match tensor.shape[..] {
        [rows, columns] => Some((rows, columns)),
        _ => None,
    }
}

fn narrow(tensor: &Tensor) -> Vec<f32> {
    tensor.numbers.iter().map(|v| *v as f32).collect()
}

impl StateNetwork {
    /// Finds the layers in a state dict.
    ///
    /// # Errors
    /// When it holds layers that are not read, or they disagree with the hyper-parameters.
    pub fn of(state: &StateDict, hyper: &Hyper) -> Result<Self, InteropError> {
        let other = |message: String| {
            unsupported(
                message,
                "torch.nn.LSTM or torch.nn.GRU with one torch.nn.Linear on the last step is read; \
                 export other networks to ONNX (`foretell import onnx`)",
            )
        };
        let Some(first) = state.tensors.iter().find(|t| t.name.ends_with("weight_ih_l0")) else {
            return Err(other("the state dict has no recurrent layer (`…weight_ih_l0`)".into()));
        };
        let module = &first.name[..first.name.len() - "weight_ih_l0".len()];
        let wrong = |name: &str| damaged("state dict", format!("`{name}`"), "its shape is another");
        let mut used = BTreeSet::new();
        let (mut layers, mut weights, mut inputs) = (Vec::new(), Vec::new(), None);
        for l in 0.. {
            let name = format!("{module}weight_ih_l{l}");
            let Some(input) = state.tensor(&name) else { break };
            let again = format!("{module}weight_hh_l{l}");
            let recurrent = state.tensor(&again).ok_or_else(|| wrong(&again))?;
            let (rows, columns) = two(input).ok_or_else(|| wrong(&name))?;
            let (same, units) = two(recurrent).ok_or_else(|| wrong(&again))?;
            let layer = match (same == rows && units > 0).then(|| rows / units.max(1)) {
                Some(4) if rows == 4 * units => Layer::Lstm { units, activation: Activation::Tanh },
                Some(3) if rows == 3 * units => Layer::Gru { units, activation: Activation::Tanh },
                _ => return Err(other(format!("`{module}` is neither an LSTM nor a GRU"))),
            };
            inputs.get_or_insert(columns);
            weights.extend([narrow(input), narrow(recurrent)]);
            used.extend([name, again]);
            for which in ["ih", "hh"] {
                let name = format!("{module}bias_{which}_l{l}");
                weights.push(match state.tensor(&name) {
                    Some(bias) if bias.shape == [rows] => narrow(bias),
                    Some(_) => return Err(wrong(&name)),
                    None => vec![0.0; rows],
                });
                used.insert(name);
            }
            layers.push(layer);
        }
        let rest: Vec<&Tensor> = state.tensors.iter().filter(|t| !used.contains(&t.name)).collect();
        let linear = rest.iter().find(|t| t.name.ends_with("weight") && t.shape.len() == 2);
        let Some(linear) = linear else {
            return Err(other(
                "the state dict has no linear layer behind the recurrent ones".into(),
            ));
        };
        let (units, columns) = two(linear).ok_or_else(|| wrong(&linear.name))?;
        let bias = format!("{}bias", linear.name.trim_end_matches("weight"));
        let extra = rest.iter().find(|t| t.name != linear.name && t.name != bias);
        if let Some(extra) = extra {
            return Err(other(format!("the state dict has `{}` as well", extra.name)));
        }
        weights.push(narrow(linear));
        weights.push(match state.tensor(&bias) {
            Some(bias) if bias.shape == [units] => narrow(bias),
            Some(_) => return Err(wrong(&bias)),
            None => vec![0.0; units],
        });
        let hidden = layers.last().map_or(0, |l| l.units());
        if columns != hidden {
            return Err(other(format!(
                "`{}` takes {columns} numbers, the last step has {hidden}",
                linear.name
            )));
        }
        let found = Hyper {
            input_size: inputs,
            hidden_size: Some(hidden),
            num_stacked_layers: Some(layers.len()),
        };
        for (key, said, there) in [
            ("input_size", hyper.input_size, found.input_size),
            ("hidden_size", hyper.hidden_size, found.hidden_size),
            ("num_stacked_layers", hyper.num_stacked_layers, found.num_stacked_layers),
        ] {
            if let (Some(said), Some(there)) = (said, there)
                && said != there
            {
                return Err(unsupported(
                    format!("the hyper-parameters say `{key}` = {said}, the weights {there}"),
                    "give the file that belongs to these weights",
                ));
            }
        }
        layers.push(Layer::Dense { units, activation: None });
        Ok(Self { layers, inputs: inputs.unwrap_or(1), weights })
    }

    /// The network on windows of so many steps.
    pub fn architecture(&self, steps: usize) -> Architecture {
        Architecture { inputs: self.inputs, steps, layers: self.layers.clone() }
    }
}
