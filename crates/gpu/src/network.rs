//! Layers in a row, one pass forwards and backwards over a batch.

use burn_cubecl::CubeRuntime;
use foretell_neural::{Architecture, Layer};

use crate::matrix::{Matrix, rows};
use crate::{dense, gru, lstm};

/// How many steps a window has and how many windows are seen at once. Matrices of all steps
/// have the windows of the first step first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) count: usize,
    pub(crate) batch: usize,
}

/// The gradient of a layer's outputs.
#[derive(Debug)]
pub(crate) enum Above<R: CubeRuntime> {
    /// Of all steps.
    All(Matrix<R>),
    /// Of the last step; the layer above saw no other.
    Last(Matrix<R>),
}

impl<R: CubeRuntime> Above<R> {
    /// Of one step.
    pub(crate) fn at(&self, steps: Steps, t: usize) -> Matrix<R> {
        match self {
            Self::All(all) => rows(all, t * steps.batch, steps.batch),
            Self::Last(last) if t + 1 == steps.count => last.clone(),
            Self::Last(last) => last.zeros_like(),
        }
    }

    /// Of one step, with what comes from the step after it.
    pub(crate) fn plus(&self, steps: Steps, t: usize, later: Matrix<R>) -> Matrix<R> {
        match self {
            Self::All(_) => self.at(steps, t) + later,
            Self::Last(_) => later,
        }
    }
}

/// What a layer leaves behind.
#[derive(Debug)]
enum Trace<R: CubeRuntime> {
    Lstm(lstm::Trace<R>),
    Gru(gru::Trace<R>),
    Dense(Matrix<R>),
}

impl<R: CubeRuntime> Trace<R> {
    fn output(&self) -> &Matrix<R> {
        match self {
            Self::Lstm(trace) => &trace.output,
            Self::Gru(trace) => &trace.output,
            Self::Dense(output) => output,
        }
    }
}

/// A pass forwards: what each layer was given and what it left behind.
#[derive(Debug)]
pub(crate) struct Pass<R: CubeRuntime> {
    layers: Vec<(Matrix<R>, Trace<R>)>,
}

/// The weights of each layer.
fn of_layers<'w, R: CubeRuntime>(
    architecture: &Architecture,
    weights: &'w [Matrix<R>],
) -> Vec<&'w [Matrix<R>]> {
    let mut rest = weights;
    let mut all = Vec::with_capacity(architecture.layers.len());
    for layer in &architecture.layers {
        let (own, others) = rest.split_at(if layer.is_recurrent() { 4 } else { 2 });
        all.push(own);
        rest = others;
    }
    all
}

impl<R: CubeRuntime> Pass<R> {
    /// Answers windows, all of the first step first. The outputs of the i-th layer are
    /// multiplied by the i-th factor where there is one.
    pub(crate) fn forwards(
        architecture: &Architecture,
        weights: &[Matrix<R>],
        batch: usize,
        input: Matrix<R>,
        factors: &[Matrix<R>],
    ) -> Self {
        let steps = Steps { count: architecture.steps, batch };
        let mut layers: Vec<(Matrix<R>, Trace<R>)> = Vec::new();
        let mut input = input;
        let layered = architecture.layers.iter().zip(of_layers(architecture, weights));
        for (l, (layer, weights)) in layered.enumerate() {
            let trace = match layer {
                Layer::Lstm { activation, .. } => {
                    Trace::Lstm(lstm::pass(weights, *activation, steps, input.clone()))
                }
                Layer::Gru { activation, .. } => {
                    Trace::Gru(gru::pass(weights, *activation, steps, input.clone()))
                }
                Layer::Dense { activation, .. } => {
                    // Of a recurrent layer below, the last step.
                    let first = input.dims()[0] - batch;
                    input = rows(&input, first, batch);
                    Trace::Dense(dense::pass(weights, *activation, input.clone()))
                }
            };
            let mut output = trace.output().clone();
            if let Some(factor) = factors.get(l) {
                output = output * factor.clone();
            }
            layers.push((std::mem::replace(&mut input, output), trace));
        }
        Self { layers }
    }

    /// The answers: one row per window.
    pub(crate) fn answers(&self) -> Matrix<R> {
        self.layers.last().expect("a network has layers").1.output().clone()
    }

    /// The gradients of all weights, in their order, from that of the answers.
    pub(crate) fn backwards(
        self,
        architecture: &Architecture,
        weights: &[Matrix<R>],
        batch: usize,
        gradient: Matrix<R>,
        factors: &[Matrix<R>],
    ) -> Vec<Matrix<R>> {
        let steps = Steps { count: architecture.steps, batch };
        let of_layers = of_layers(architecture, weights);
        let mut above = Above::All(gradient);
        let mut all = Vec::new();
        for (l, (input, trace)) in self.layers.into_iter().enumerate().rev() {
            let (layer, weights, wanted) = (architecture.layers[l], of_layers[l], l > 0);
            let (gradients, below) = match (trace, layer) {
                (Trace::Lstm(trace), Layer::Lstm { activation, .. }) => {
                    lstm::back(weights, activation, steps, (input, trace), &above, wanted)
                }
                (Trace::Gru(trace), Layer::Gru { activation, .. }) => {
                    gru::back(weights, activation, steps, (input, trace), &above, wanted)
                }
                (Trace::Dense(output), Layer::Dense { activation, .. }) => {
                    let (Above::All(gradient) | Above::Last(gradient)) = above;
                    dense::back(weights, activation, (input, &output), gradient, wanted)
                }
                _ => unreachable!("traces are made from the layers"),
            };
            all.push(gradients);
            let Some(mut below) = below else { break };
            if let Some(factor) = factors.get(l - 1) {
                below = below * factor.clone();
            }
            let seen_last = !layer.is_recurrent() && architecture.layers[l - 1].is_recurrent();
            above = if seen_last { Above::Last(below) } else { Above::All(below) };
        }
        all.into_iter().rev().flatten().collect()
    }
}
