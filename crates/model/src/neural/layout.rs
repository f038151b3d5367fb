//! Where the weights of a network stand in a file: the names and shapes of PyTorch.
//!
//! `torch.nn.LSTM` under the name `lstm` (`torch.nn.GRU` under `gru`) and `torch.nn.Linear`
//! under the name `fc` load them by `load_state_dict`. Of several dense layers the i-th is
//! `fc.{2i}`, as in a `torch.nn.Sequential` with an activation between each two.

use std::collections::BTreeMap;

use foretell_neural::{Architecture, Layer};

use crate::ModelError;
use crate::state::damaged;
use crate::tensors::{Numbers, Tensor, none_left, take};

/// The name and shape of each tensor, in the order of [`foretell_neural::Trained::new`].
///
/// # Errors
/// When the layers cannot stand as they do.
fn places(architecture: &Architecture) -> Result<Vec<(String, Vec<usize>)>, ModelError> {
    architecture.lengths().map_err(|why| damaged("architecture.layers", &why))?;
    let mut places = Vec::new();
    let mut inputs = architecture.inputs;
    let (mut recurrent, mut dense) = (0, 0);
    let several = architecture.layers.iter().filter(|l| !l.is_recurrent()).count() > 1;
    for layer in &architecture.layers {
        let units = layer.units();
        let (module, gates) = match layer {
            Layer::Lstm { .. } => ("lstm", 4),
            Layer::Gru { .. } => ("gru", 3),
            Layer::Dense { .. } => ("fc", 1),
        };
        if layer.is_recurrent() {
            let rows = gates * units;
            for (what, shape) in [
                ("weight_ih", vec![rows, inputs]),
                ("weight_hh", vec![rows, units]),
                ("bias_ih", vec![rows]),
                ("bias_hh", vec![rows]),
            ] {
                places.push((format!("{module}.{what}_l{recurrent}"), shape));
            }
            recurrent += 1;
        } else {
            let at = if several { format!("{module}.{}", 2 * dense) } else { module.to_owned() };
            places.push((format!("{at}.weight"), vec![units, inputs]));
            places.push((format!("{at}.bias"), vec![units]));
            dense += 1;
        }
        inputs = units;
    }
    Ok(places)
}

/// The weights as named tensors.
///
/// # Panics
/// When they do not fill the architecture: a model that was built has checked that.
pub(crate) fn tensors(architecture: &Architecture, weights: &[Vec<f32>]) -> Vec<Tensor> {
    let places = places(architecture).expect("a network that was built has layers");
    assert_eq!(places.len(), weights.len(), "a network that was built has its weights");
    let tensor = |((name, shape), values): ((String, Vec<usize>), &Vec<f32>)| Tensor {
        name,
        shape,
        numbers: Numbers::F32(values.clone()),
    };
    places.into_iter().zip(weights).map(tensor).collect()
}

/// The weights from the tensors of a file: exactly those that the layers have.
///
/// # Errors
/// When one is missing, has another shape, or is too many.
pub(crate) fn weights(
    architecture: &Architecture,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let places = places(architecture)?;
    let weights = places
        .iter()
        .map(|(name, shape)| take(&mut tensors, name, shape))
        .collect::<Result<_, _>>()?;
    none_left(&tensors)?;
    Ok(weights)
}
