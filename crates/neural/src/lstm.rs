//! Long short-term memory, forwards and backwards through time.
//!
//! Source: S. Hochreiter and J. Schmidhuber, *Neural Computation* 9(8), 1997, with the
//! forget gate of Gers, Schmidhuber and Cummins (2000). Gates stand in PyTorch's order
//! (input, forget, cell, output) and have both of its biases, so that its weights and its
//! optimiser steps carry over:
//!
//! ```text
//! i, f, o = σ(W x + b + U h + d)    g = act(…)
//! c' = f c + i g                     h' = o act(c')
//! ```

#![allow(clippy::inline_always, reason = "see vector.rs")]

use crate::panels::{Panels, add_outer, add_product, add_rows, fill_rows};
use crate::real::Real;
use crate::vector::{LANES, Vector};
use crate::{Activation, Steps};

/// Input, forget, cell, output.
pub(crate) const GATES: usize = 4;

/// The weights of a layer: those of the input, those of the last output (both with one
/// row per column of what they are multiplied by), and the two biases.
pub(crate) struct Weights<'a, T> {
    pub(crate) input: &'a Panels<T>,
    pub(crate) recurrent: &'a Panels<T>,
    pub(crate) bias: &'a Panels<T>,
    pub(crate) recurrent_bias: &'a Panels<T>,
    /// The first two, transposed.
    pub(crate) input_transposed: &'a Panels<T>,
    pub(crate) recurrent_transposed: &'a Panels<T>,
}

/// What a pass forwards leaves behind, all rows of all steps, step after step.
#[derive(Debug)]
pub(crate) struct Trace<T> {
    /// The gates after their activation; on the way back the gradients before it.
    gates: Panels<T>,
    /// The cells.
    cell: Panels<T>,
    /// The cells after the activation.
    bent: Panels<T>,
    /// The outputs.
    pub(crate) output: Panels<T>,
    /// The gradient of the outputs, from above.
    pub(crate) gradient: Panels<T>,
    /// On the way back: the gradient of the cell and of the output of the step before.
    cell_gradient: Panels<T>,
    recurrent_gradient: Panels<T>,
}

impl<T: Real> Trace<T> {
    pub(crate) fn new(steps: Steps, units: usize) -> Self {
        let all = || Panels::zeros(steps.rows(), 1, units);
        let one = || Panels::zeros(steps.batch, 1, units);
        Self {
            gates: Panels::zeros(steps.rows(), GATES, units),
            cell: all(),
            bent: all(),
            output: all(),
            gradient: all(),
            cell_gradient: one(),
            recurrent_gradient: one(),
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
    // A step's gates stay in the nearest cache from the first product to the last use.
    let per_gate = trace.output.panels();
    for t in 0..steps.count {
        let first = t * steps.batch;
        fill_rows(&mut trace.gates, first..first + steps.batch, weights.bias);
        let gates = (&mut trace.gates, first);
        add_product::<T, V>(gates, (input, first), steps.batch, weights.input);
        if t > 0 {
            let before = (&trace.output, first - steps.batch);
            let gates = (&mut trace.gates, first);
            add_product::<T, V>(gates, before, steps.batch, weights.recurrent);
        }
        for p in 0..per_gate {
            let bias = |g: usize| V::load(&weights.recurrent_bias.panel(g * per_gate + p)[0]);
            let bias = [bias(0), bias(1), bias(2), bias(3)];
            for r in first..first + steps.batch {
                let gate = |g: usize| V::load(&trace.gates.panel(g * per_gate + p)[r]).add(bias[g]);
                let (i, f, o) = (gate(0).sigmoid(), gate(1).sigmoid(), gate(3).sigmoid());
                let g = activation.forward(gate(2));
                let mut cell = i.mul(g);
                if t > 0 {
                    cell = f.muladd(V::load(&trace.cell.panel(p)[r - steps.batch]), cell);
                }
                let bent = activation.forward(cell);
                for (g, value) in [i, f, g, o].into_iter().enumerate() {
                    value.store(&mut trace.gates.panel_mut(g * per_gate + p)[r]);
                }
                cell.store(&mut trace.cell.panel_mut(p)[r]);
                bent.store(&mut trace.bent.panel_mut(p)[r]);
                o.mul(bent).store(&mut trace.output.panel_mut(p)[r]);
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
    trace.cell_gradient.clear();
    trace.recurrent_gradient.clear();
    for t in (0..steps.count).rev() {
        let first = t * steps.batch;
        for p in 0..per_gate {
            for b in 0..steps.batch {
                let r = first + b;
                let gate = |g: usize| V::load(&trace.gates.panel(g * per_gate + p)[r]);
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                let bent = V::load(&trace.bent.panel(p)[r]);
                let from_above = V::load(&trace.gradient.panel(p)[r]);
                let output = from_above.add(V::load(&trace.recurrent_gradient.panel(p)[b]));
                let later = V::load(&trace.cell_gradient.panel(p)[b]);
                let cell = output.mul(o).muladd(activation.slope(bent), later);
                let to_output = output.mul(bent).mul(o).mul(one.sub(o));
                let to_input = cell.mul(g).mul(i).mul(one.sub(i));
                let to_cell = cell.mul(i).mul(activation.slope(g));
                let to_forget = if t > 0 {
                    let before = V::load(&trace.cell.panel(p)[r - steps.batch]);
                    cell.mul(before).mul(f).mul(one.sub(f))
                } else {
                    V::splat(T::ZERO)
                };
                cell.mul(f).store(&mut trace.cell_gradient.panel_mut(p)[b]);
                let all = [to_input, to_forget, to_cell, to_output];
                for (g, value) in all.into_iter().enumerate() {
                    value.store(&mut trace.gates.panel_mut(g * per_gate + p)[r]);
                }
            }
        }
        if t > 0 {
            trace.recurrent_gradient.clear();
            let to = (&mut trace.recurrent_gradient, 0);
            let gates = (&trace.gates, first);
            add_product::<T, V>(to, gates, steps.batch, weights.recurrent_transposed);
        }
    }
    let (rows, batch) = (steps.rows(), steps.batch);
    add_outer::<T, V>(&mut gradients[0], (input, 0), (&trace.gates, 0), rows);
    let before = (&trace.output, 0);
    add_outer::<T, V>(&mut gradients[1], before, (&trace.gates, batch), rows - batch);
    add_rows::<T, V>(&mut gradients[2], &trace.gates);
    add_rows::<T, V>(&mut gradients[3], &trace.gates);
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
