//! The gated recurrent unit, forwards and backwards through time.
//!
//! Source: K. Cho et al., EMNLP 2014, in the form that cuDNN and PyTorch compute, with
//! the gates in PyTorch's order (reset, update, new) and both of its biases:
//!
//! ```text
//! r, z = σ(W x + b + U h + d)
//! n = act(Wₙ x + bₙ + r (Uₙ h + dₙ))
//! h' = (1 − z) n + z h
//! ```

#![allow(clippy::inline_always, reason = "see vector.rs")]

use crate::lstm::Weights;
use crate::panels::{Panels, add_outer, add_product, add_rows, fill_rows};
use crate::real::Real;
use crate::vector::{LANES, Vector};
use crate::{Activation, Steps};

/// Reset, update, new.
pub(crate) const GATES: usize = 3;

/// What a pass forwards leaves behind, all rows of all steps, step after step.
#[derive(Debug)]
pub(crate) struct Trace<T> {
    /// What the input sends to the gates; after the pass the gates after their
    /// activation; on the way back the gradients before it.
    gates: Panels<T>,
    /// What the last output sends to the gates; on the way back its gradient.
    recurrent: Panels<T>,
    /// The outputs.
    pub(crate) output: Panels<T>,
    /// The gradient of the outputs, from above.
    pub(crate) gradient: Panels<T>,
    /// On the way back: the gradient of the output of the step before.
    recurrent_gradient: Panels<T>,
}

impl<T: Real> Trace<T> {
    pub(crate) fn new(steps: Steps, units: usize) -> Self {
        Self {
            gates: Panels::zeros(steps.rows(), GATES, units),
            recurrent: Panels::zeros(steps.rows(), GATES, units),
            output: Panels::zeros(steps.rows(), 1, units),
            gradient: Panels::zeros(steps.rows(), 1, units),
            recurrent_gradient: Panels::zeros(steps.batch, 1, units),
        }
    }
}

/// Fills the trace from the inputs of all steps.
#[inline(always)]
pub(crate) fn forward<T: Real, V: Vector<T>>(
    weights: &Weights<'_, T>,
    activation: Activation,
    steps: Steps,
    input: &Panels<T>,
    trace: &mut Trace<T>,
) {
    fill_rows(&mut trace.gates, 0..steps.rows(), weights.bias);
    fill_rows(&mut trace.recurrent, 0..steps.rows(), weights.recurrent_bias);
    add_product::<T, V>((&mut trace.gates, 0), (input, 0), steps.rows(), weights.input);
    let per_gate = trace.output.panels();
    let one = V::splat(T::of(1.0));
    for t in 0..steps.count {
        let first = t * steps.batch;
        if t > 0 {
            let before = (&trace.output, first - steps.batch);
            let to = (&mut trace.recurrent, first);
            add_product::<T, V>(to, before, steps.batch, weights.recurrent);
        }
        for p in 0..per_gate {
            for r in first..first + steps.batch {
                let own = |g: usize| V::load(&trace.gates.panel(g * per_gate + p)[r]);
                let from = |g: usize| V::load(&trace.recurrent.panel(g * per_gate + p)[r]);
                let reset = own(0).add(from(0)).sigmoid();
                let update = own(1).add(from(1)).sigmoid();
                let new = activation.forward(reset.muladd(from(2), own(2)));
                let mut output = one.sub(update).mul(new);
                if t > 0 {
                    let before = V::load(&trace.output.panel(p)[r - steps.batch]);
                    output = update.muladd(before, output);
                }
                for (g, value) in [reset, update, new].into_iter().enumerate() {
                    value.store(&mut trace.gates.panel_mut(g * per_gate + p)[r]);
                }
                output.store(&mut trace.output.panel_mut(p)[r]);
            }
        }
    }
}

/// Adds the gradients of the weights (input, recurrent, bias, recurrent bias) from
/// `trace.gradient`, and the gradient of the input where there is a layer below.
#[inline(always)]
pub(crate) fn backward<T: Real, V: Vector<T>>(
    weights: &Weights<'_, T>,
    activation: Activation,
    steps: Steps,
    input: &Panels<T>,
    trace: &mut Trace<T>,
    gradients: &mut [Panels<T>],
    below: Option<&mut Panels<T>>,
) {
    let per_gate = trace.output.panels();
    let one = V::splat(T::of(1.0));
    trace.recurrent_gradient.clear();
    for t in (0..steps.count).rev() {
        let first = t * steps.batch;
        for p in 0..per_gate {
            for b in 0..steps.batch {
                let r = first + b;
                let gate = |g: usize| V::load(&trace.gates.panel(g * per_gate + p)[r]);
                let (reset, update, new) = (gate(0), gate(1), gate(2));
                let sent = V::load(&trace.recurrent.panel(2 * per_gate + p)[r]);
                let from_above = V::load(&trace.gradient.panel(p)[r]);
                let output = from_above.add(V::load(&trace.recurrent_gradient.panel(p)[b]));
                let before = if t > 0 {
                    V::load(&trace.output.panel(p)[r - steps.batch])
                } else {
                    V::splat(T::ZERO)
                };
                let to_new = output.mul(one.sub(update)).mul(activation.slope(new));
                let slope = update.mul(one.sub(update));
                let to_update = output.mul(before.sub(new)).mul(slope);
                let to_reset = to_new.mul(sent).mul(reset).mul(one.sub(reset));
                output.mul(update).store(&mut trace.recurrent_gradient.panel_mut(p)[b]);
                for (g, value) in [to_reset, to_update, to_new].into_iter().enumerate() {
                    value.store(&mut trace.gates.panel_mut(g * per_gate + p)[r]);
                }
                let back = [to_reset, to_update, to_new.mul(reset)];
                for (g, value) in back.into_iter().enumerate() {
                    value.store(&mut trace.recurrent.panel_mut(g * per_gate + p)[r]);
                }
            }
        }
        if t > 0 {
            let to = (&mut trace.recurrent_gradient, 0);
            let sent = (&trace.recurrent, first);
            add_product::<T, V>(to, sent, steps.batch, weights.recurrent_transposed);
        }
    }
    let (rows, batch) = (steps.rows(), steps.batch);
    add_outer::<T, V>(&mut gradients[0], (input, 0), (&trace.gates, 0), rows);
    let before = (&trace.output, 0);
    add_outer::<T, V>(&mut gradients[1], before, (&trace.recurrent, batch), rows - batch);
    add_rows::<T, V>(&mut gradients[2], &trace.gates);
    add_rows::<T, V>(&mut gradients[3], &trace.recurrent);
    if let Some(below) = below {
        below.clear();
        add_product::<T, V>((below, 0), (&trace.gates, 0), rows, weights.input_transposed);
    }
}

/// The shapes of the four weights: rows, blocks, columns.
pub(crate) fn shapes(inputs: usize, units: usize) -> [(usize, usize, usize); 4] {
    let rows = |columns: usize| columns.div_ceil(LANES) * LANES;
    [
        (rows(inputs), GATES, units),
        (rows(units), GATES, units),
        (1, GATES, units),
        (1, GATES, units),
    ]
}
