//! A fully connected layer, forwards and backwards.

use burn_cubecl::CubeRuntime;
use foretell_neural::Activation;

use crate::matrix::{Matrix, forward, product, slope};

/// The outputs for some rows.
pub(crate) fn pass<R: CubeRuntime>(
    weights: &[Matrix<R>],
    activation: Option<Activation>,
    input: Matrix<R>,
) -> Matrix<R> {
    let sum = product(input, weights[0].clone().transpose()) + weights[1].clone();
    match activation {
        Some(activation) => forward(activation, sum),
        None => sum,
    }
}

/// The gradients of matrix and bias, and of the input where it is wanted, from the gradient
/// of the outputs.
pub(crate) fn back<R: CubeRuntime>(
    weights: &[Matrix<R>],
    activation: Option<Activation>,
    (input, output): (Matrix<R>, &Matrix<R>),
    mut gradient: Matrix<R>,
    wanted: bool,
) -> (Vec<Matrix<R>>, Option<Matrix<R>>) {
    if let Some(activation) = activation {
        gradient = gradient * slope(activation, output);
    }
    let below = wanted.then(|| product(gradient.clone(), weights[0].clone()));
    let bias = gradient.clone().sum_dim(0);
    (vec![product(gradient.transpose(), input), bias], below)
}
