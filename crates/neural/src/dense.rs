//! A fully connected layer, forwards and backwards.

#![allow(clippy::inline_always, reason = "see vector.rs")]

use crate::Activation;
use crate::panels::{Panels, add_outer, add_product, add_rows, fill_rows};
use crate::real::Real;
use crate::vector::{LANES, Vector};

/// The weights of a layer: one row per column of the input, and the bias.
pub(crate) struct Weights<'a, T> {
    pub(crate) input: &'a Panels<T>,
    pub(crate) bias: &'a Panels<T>,
    /// The first, transposed.
    pub(crate) input_transposed: &'a Panels<T>,
}

/// What a pass forwards leaves behind.
#[derive(Debug)]
pub(crate) struct Trace<T> {
    /// The outputs; those of the network are its answer.
    pub(crate) output: Panels<T>,
    /// The gradient of the outputs, from above.
    pub(crate) gradient: Panels<T>,
}

impl<T: Real> Trace<T> {
    pub(crate) fn new(rows: usize, outputs: usize) -> Self {
        let all = || Panels::zeros(rows, 1, outputs);
        Self { output: all(), gradient: all() }
    }
}

/// Fills the trace from as many rows of the input, the first of which is given.
#[inline(always)]
pub(crate) fn forward<T: Real, V: Vector<T>>(
    weights: &Weights<'_, T>,
    activation: Option<Activation>,
    input: (&Panels<T>, usize),
    trace: &mut Trace<T>,
) {
    let rows = trace.output.rows();
    fill_rows(&mut trace.output, 0..rows, weights.bias);
    add_product::<T, V>((&mut trace.output, 0), input, rows, weights.input);
    let Some(activation) = activation else { return };
    for lane in trace.output.data_mut() {
        activation.forward(V::load(lane)).store(lane);
    }
}

/// Adds the gradients of the weights (input, bias) from `trace.gradient`, and the
/// gradient of the input, from the given row on, where there is a layer below.
#[inline(always)]
pub(crate) fn backward<T: Real, V: Vector<T>>(
    weights: &Weights<'_, T>,
    activation: Option<Activation>,
    input: (&Panels<T>, usize),
    trace: &mut Trace<T>,
    gradients: &mut [Panels<T>],
    below: Option<(&mut Panels<T>, usize)>,
) {
    if let Some(activation) = activation {
        for (gradient, output) in trace.gradient.data_mut().iter_mut().zip(trace.output.data()) {
            V::load(gradient).mul(activation.slope(V::load(output))).store(gradient);
        }
    }
    let rows = trace.output.rows();
    add_outer::<T, V>(&mut gradients[0], input, (&trace.gradient, 0), rows);
    add_rows::<T, V>(&mut gradients[1], &trace.gradient);
    if let Some(below) = below {
        add_product::<T, V>(below, (&trace.gradient, 0), rows, weights.input_transposed);
    }
}

/// The shapes of the two weights: rows, blocks, columns.
pub(crate) fn shapes(inputs: usize, outputs: usize) -> [(usize, usize, usize); 2] {
    [(inputs.div_ceil(LANES) * LANES, 1, outputs), (1, 1, outputs)]
}
