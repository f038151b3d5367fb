//! The gated recurrent unit, forwards and backwards through time: the equations of
//! `neural::gru`, the gates in PyTorch's order (reset, update, new).

use burn_cubecl::CubeRuntime;
use burn_tensor::Tensor;
use foretell_neural::Activation;

use crate::lstm::gradients;
use crate::matrix::{
    Matrix, block, forward, logistic, logistic_slope, one_minus, product, rows, slope,
};
use crate::network::{Above, Steps};

/// What one time step leaves behind.
#[derive(Debug)]
struct Step<R: CubeRuntime> {
    reset: Matrix<R>,
    update: Matrix<R>,
    new: Matrix<R>,
    /// What the output before sends to the new state, before the reset.
    sent: Matrix<R>,
    output: Matrix<R>,
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
    let projected = product(input, weights[0].clone().transpose()) + weights[2].clone();
    let recurrent = weights[1].clone().transpose();
    let mut traces: Vec<Step<R>> = Vec::with_capacity(steps.count);
    for t in 0..steps.count {
        let own = rows(&projected, t * steps.batch, steps.batch);
        let from = match traces.last() {
            Some(before) => product(before.output.clone(), recurrent.clone()) + weights[3].clone(),
            None => weights[3].clone().expand([steps.batch, 3 * units]),
        };
        let open = logistic(own.clone() + from.clone());
        let (reset, update) = (block(&open, 0, units), block(&open, 1, units));
        let sent = block(&from, 2, units);
        let new = forward(activation, block(&own, 2, units) + reset.clone() * sent.clone());
        let mut output = one_minus(update.clone()) * new.clone();
        if let Some(before) = traces.last() {
            output = output + update.clone() * before.output.clone();
        }
        traces.push(Step { reset, update, new, sent, output });
    }
    let output = Tensor::cat(traces.iter().map(|step| step.output.clone()).collect(), 0);
    Trace { steps: traces, output }
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
    let (mut own, mut from) = (Vec::new(), Vec::new());
    // What the step after sends to the output.
    let mut later: Option<Matrix<R>> = None;
    for t in (0..steps.count).rev() {
        let step = &trace.steps[t];
        let output = match later.take() {
            Some(output) => above.plus(steps, t, output),
            None => above.at(steps, t),
        };
        let difference = match t {
            0 => step.new.clone().neg(),
            _ => trace.steps[t - 1].output.clone() - step.new.clone(),
        };
        let to_new = output.clone() * one_minus(step.update.clone()) * slope(activation, &step.new);
        let to_update = output.clone() * difference * logistic_slope(&step.update);
        let to_reset = to_new.clone() * step.sent.clone() * logistic_slope(&step.reset);
        let back = to_new.clone() * step.reset.clone();
        let sent = Tensor::cat(vec![to_reset.clone(), to_update.clone(), back], 1);
        if t > 0 {
            let through = product(sent.clone(), weights[1].clone());
            later = Some(through + output * step.update.clone());
        }
        own.push(Tensor::cat(vec![to_reset, to_update, to_new], 1));
        from.push(sent);
    }
    own.reverse();
    from.reverse();
    let (own, from) = (Tensor::cat(own, 0), Tensor::cat(from, 0));
    gradients(weights, steps, own, Some(from), (input, &trace.output), wanted)
}
