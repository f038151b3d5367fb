//! Long short-term memory, forwards and backwards through time: the equations of
//! `neural::lstm`, the gates in PyTorch's order (input, forget, cell, output).

use burn_cubecl::CubeRuntime;
use burn_tensor::Tensor;
use foretell_neural::Activation;

use crate::matrix::{Matrix, block, forward, logistic, logistic_slope, product, rows, slope};
use crate::network::{Above, Steps};

/// What one time step leaves behind.
#[derive(Debug)]
struct Step<R: CubeRuntime> {
    input: Matrix<R>,
    forget: Matrix<R>,
    new: Matrix<R>,
    out: Matrix<R>,
    cell: Matrix<R>,
    /// The cell after the activation.
    bent: Matrix<R>,
}

/// What a pass forwards leaves behind.
#[derive(Debug)]
pub(crate) struct Trace<R: CubeRuntime> {
    steps: Vec<Step<R>>,
    /// The outputs of all steps.
    pub(crate) output: Matrix<R>,
}

/// A pass over the inputs of all steps.
pub(crate) fn pass<R: CubeRuntime>(
    weights: &[Matrix<R>],
    activation: Activation,
    steps: Steps,
    input: Matrix<R>,
) -> Trace<R> {
    let units = weights[1].dims()[1];
    let bias = weights[2].clone() + weights[3].clone();
    let projected = product(input, weights[0].clone().transpose()) + bias;
    let recurrent = weights[1].clone().transpose();
    let mut traces: Vec<Step<R>> = Vec::with_capacity(steps.count);
    let mut outputs: Vec<Matrix<R>> = Vec::with_capacity(steps.count);
    for t in 0..steps.count {
        let mut gates = rows(&projected, t * steps.batch, steps.batch);
        if let Some(before) = outputs.last() {
            gates = gates + product(before.clone(), recurrent.clone());
        }
        let new = forward(activation, block(&gates, 2, units));
        let open = logistic(gates);
        let (input, forget) = (block(&open, 0, units), block(&open, 1, units));
        let out = block(&open, 3, units);
        let mut cell = input.clone() * new.clone();
        if let Some(before) = traces.last() {
            cell = cell + forget.clone() * before.cell.clone();
        }
        let bent = forward(activation, cell.clone());
        outputs.push(out.clone() * bent.clone());
        traces.push(Step { input, forget, new, out, cell, bent });
    }
    Trace { steps: traces, output: Tensor::cat(outputs, 0) }
}

/// The gradients of the weights (input, recurrent, bias, recurrent bias), and of the inputs
/// where they are wanted, from the gradient of the outputs.
pub(crate) fn back<R: CubeRuntime>(
    weights: &[Matrix<R>],
    activation: Activation,
    steps: Steps,
    (input, trace): (Matrix<R>, Trace<R>),
    above: &Above<R>,
    wanted: bool,
) -> (Vec<Matrix<R>>, Option<Matrix<R>>) {
    let mut all: Vec<Matrix<R>> = Vec::with_capacity(steps.count);
    // What the step after sends to output and cell.
    let mut later: Option<(Matrix<R>, Matrix<R>)> = None;
    for t in (0..steps.count).rev() {
        let step = &trace.steps[t];
        let (to_output, to_cell) = match later.take() {
            Some((output, cell)) => (above.plus(steps, t, output), Some(cell)),
            None => (above.at(steps, t), None),
        };
        let mut cell = to_output.clone() * step.out.clone() * slope(activation, &step.bent);
        if let Some(to_cell) = to_cell {
            cell = cell + to_cell;
        }
        let to_out = to_output * step.bent.clone() * logistic_slope(&step.out);
        let to_input = cell.clone() * step.new.clone() * logistic_slope(&step.input);
        let to_new = cell.clone() * step.input.clone() * slope(activation, &step.new);
        let to_forget = match t {
            0 => step.forget.zeros_like(),
            _ => cell.clone() * trace.steps[t - 1].cell.clone() * logistic_slope(&step.forget),
        };
        let gates = Tensor::cat(vec![to_input, to_forget, to_new, to_out], 1);
        if t > 0 {
            let output = product(gates.clone(), weights[1].clone());
            later = Some((output, cell * step.forget.clone()));
        }
        all.push(gates);
    }
    all.reverse();
    gradients(weights, steps, Tensor::cat(all, 0), None, (input, &trace.output), wanted)
}

/// The gradients of a recurrent layer's weights from those of what reaches its gates: from
/// the input, and from the output before where that is something else.
pub(crate) fn gradients<R: CubeRuntime>(
    weights: &[Matrix<R>],
    steps: Steps,
    gates: Matrix<R>,
    recurrent: Option<Matrix<R>>,
    (input, output): (Matrix<R>, &Matrix<R>),
    wanted: bool,
) -> (Vec<Matrix<R>>, Option<Matrix<R>>) {
    let recurrent = recurrent.unwrap_or_else(|| gates.clone());
    let earlier = (steps.count - 1) * steps.batch;
    let of_recurrent = match earlier {
        0 => weights[1].zeros_like(),
        _ => {
            let later = rows(&recurrent, steps.batch, earlier);
            product(later.transpose(), rows(output, 0, earlier))
        }
    };
    let below = wanted.then(|| product(gates.clone(), weights[0].clone()));
    let (bias, recurrent_bias) = (gates.clone().sum_dim(0), recurrent.sum_dim(0));
    (vec![product(gates.transpose(), input), of_recurrent, bias, recurrent_bias], below)
}
