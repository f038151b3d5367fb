//! Layers in a row, their weights, and one pass forwards and backwards.

#![allow(clippy::inline_always, reason = "see vector.rs")]

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::panels::Panels;
use crate::real::Real;
use crate::vector::{LANES, Vector};
use crate::{Activation, Steps, dense, gru, lstm};

/// The most weights of a network. This crate is for small ones; a stored file that claims
/// more is damaged.
const MOST_WEIGHTS: usize = 100_000_000;

/// One layer. Recurrent ones come first; the dense ones after them see the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// Long short-term memory.
    Lstm {
        /// Outputs.
        units: usize,
        /// What cell and output pass through.
        activation: Activation,
    },
    /// Gated recurrent unit.
    Gru {
        /// Outputs.
        units: usize,
        /// What the new state passes through.
        activation: Activation,
    },
    /// Fully connected.
    Dense {
        /// Outputs.
        units: usize,
        /// What they pass through; nothing for a linear layer.
        activation: Option<Activation>,
    },
}

impl Layer {
    /// How many outputs.
    pub fn units(self) -> usize {
        match self {
            Self::Lstm { units, .. } | Self::Gru { units, .. } | Self::Dense { units, .. } => units,
        }
    }

    /// Whether it runs over the steps.
    pub fn is_recurrent(self) -> bool {
        !matches!(self, Self::Dense { .. })
    }

    /// The shapes of its weights.
    fn shapes(self, inputs: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Lstm { units, .. } => lstm::shapes(inputs, units).into(),
            Self::Gru { units, .. } => gru::shapes(inputs, units).into(),
            Self::Dense { units, .. } => dense::shapes(inputs, units).into(),
        }
    }
}

/// What goes in and what stands in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Numbers per step.
    pub inputs: usize,
    /// Steps of a window; 1 without a recurrent layer.
    pub steps: usize,
    /// The layers, the first one first.
    pub layers: Vec<Layer>,
}

impl Architecture {
    /// How many numbers come out.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(self.inputs, |l| l.units())
    }

    /// How many weights each tensor has, in the order of [`crate::Trained::new`].
    ///
    /// # Errors
    /// Why the layers cannot stand as they do, or that they have too many weights.
    pub fn lengths(&self) -> Result<Vec<usize>, String> {
        let empty = self.inputs == 0 || self.steps == 0 || self.layers.is_empty();
        if empty || self.layers.iter().any(|l| l.units() == 0) {
            return Err("inputs, steps and units must be 1 or more".to_owned());
        }
        if !self.layers.is_sorted_by_key(|l| !l.is_recurrent()) {
            return Err("recurrent layers stand before dense ones".to_owned());
        }
        if self.steps > 1 && !self.layers[0].is_recurrent() {
            return Err("a network without a recurrent layer sees one step".to_owned());
        }
        let mut lengths = Vec::new();
        let mut total = 0usize;
        for (l, layer) in self.layers.iter().enumerate() {
            let (inputs, units) = (self.inputs_of(l), layer.units());
            let gates = match layer {
                Layer::Lstm { .. } => 4,
                Layer::Gru { .. } => 3,
                Layer::Dense { .. } => 1,
            };
            let rows = units.checked_mul(gates);
            let product = |columns: usize| rows.and_then(|rows| rows.checked_mul(columns));
            let sizes = match layer.is_recurrent() {
                true => vec![product(inputs), product(units), rows, rows],
                false => vec![product(inputs), rows],
            };
            for size in sizes {
                let sum = size.and_then(|size| total.checked_add(size));
                let bounded = sum.filter(|sum| *sum <= MOST_WEIGHTS);
                total = bounded
                    .ok_or("give fewer units: the layers have over a hundred million weights")?;
                lengths.extend(size);
            }
        }
        Ok(lengths)
    }

    /// Per layer: how many inputs it has.
    fn inputs_of(&self, layer: usize) -> usize {
        if layer == 0 { self.inputs } else { self.layers[layer - 1].units() }
    }
}

/// A network with its weights.
#[derive(Debug, Clone)]
pub(crate) struct Network<T> {
    pub(crate) architecture: Architecture,
    /// The weights, layer by layer: of an LSTM or GRU input, recurrent and both biases,
    /// of a dense layer input and bias.
    pub(crate) weights: Vec<Panels<T>>,
    /// The matrices among them transposed, at the same places.
    transposed: Vec<Panels<T>>,
    /// The first weight of each layer.
    first: Vec<usize>,
}

impl<T: Real> Network<T> {
    /// With every weight zero.
    pub(crate) fn zeros(architecture: &Architecture) -> Self {
        let (mut weights, mut transposed, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (l, layer) in architecture.layers.iter().enumerate() {
            first.push(weights.len());
            for (rows, blocks, columns) in layer.shapes(architecture.inputs_of(l)) {
                let weight = Panels::zeros(rows, blocks, columns);
                let back = weight.panels() * LANES;
                // Biases are never transposed.
                let back = if rows == 1 { 0 } else { back };
                transposed.push(Panels::zeros(back, 1, if rows == 1 { 0 } else { rows }));
                weights.push(weight);
            }
        }
        Self { architecture: architecture.clone(), weights, transposed, first }
    }

    /// With PyTorch's initial weights: uniform within `±1/√units` for recurrent layers
    /// and `±1/√inputs` for dense ones.
    pub(crate) fn random(architecture: &Architecture, random: &mut impl Rng) -> Self {
        let mut network = Self::zeros(architecture);
        for (l, layer) in architecture.layers.iter().enumerate() {
            let inputs = architecture.inputs_of(l);
            let reach = if layer.is_recurrent() { layer.units() } else { inputs };
            let reach = 1.0 / (reach.max(1) as f64).sqrt();
            for place in network.places(l) {
                let rows = network.used_rows(l, place);
                let weight = &mut network.weights[place];
                for column in 0..weight.blocks() * weight.columns() {
                    for row in 0..rows {
                        let value = (2.0 * random.random::<f64>() - 1.0) * reach;
                        weight.set(row, column, T::of(value));
                    }
                }
            }
        }
        network.refresh();
        network
    }

    /// The places of a layer's weights.
    fn places(&self, layer: usize) -> std::ops::Range<usize> {
        let end = self.first.get(layer + 1).copied().unwrap_or(self.weights.len());
        self.first[layer]..end
    }

    /// How many rows of a weight are in use.
    pub(crate) fn used_rows(&self, layer: usize, place: usize) -> usize {
        match place - self.first[layer] {
            0 => self.architecture.inputs_of(layer),
            1 if self.architecture.layers[layer].is_recurrent() => {
                self.architecture.layers[layer].units()
            }
            _ => 1,
        }
    }

    /// Every weight in use, layer by layer, in PyTorch's layout: a matrix has one row per
    /// output (gates one after another) and one column per input.
    pub(crate) fn parameters(&self) -> Vec<Vec<T>> {
        let mut all = Vec::with_capacity(self.weights.len());
        for l in 0..self.architecture.layers.len() {
            for place in self.places(l) {
                all.push(self.logical(l, place, &self.weights[place]));
            }
        }
        all
    }

    /// A matrix of the shape of a weight in PyTorch's layout.
    pub(crate) fn logical(&self, layer: usize, place: usize, matrix: &Panels<T>) -> Vec<T> {
        let rows = self.used_rows(layer, place);
        let columns = matrix.blocks() * matrix.columns();
        let mut values = Vec::with_capacity(rows * columns);
        for column in 0..columns {
            values.extend((0..rows).map(|row| matrix.get(row, column)));
        }
        values
    }

    /// Sets every weight from what [`Network::parameters`] gives.
    ///
    /// # Errors
    /// The place and the length that it should have, when one has another.
    pub(crate) fn set_parameters(&mut self, all: &[Vec<T>]) -> Result<(), (usize, usize)> {
        if all.len() != self.weights.len() {
            return Err((all.len(), self.weights.len()));
        }
        for l in 0..self.architecture.layers.len() {
            for place in self.places(l) {
                let rows = self.used_rows(l, place);
                let weight = &mut self.weights[place];
                let columns = weight.blocks() * weight.columns();
                if all[place].len() != rows * columns {
                    return Err((place, rows * columns));
                }
                for (i, value) in all[place].iter().enumerate() {
                    weight.set(i % rows, i / rows, *value);
                }
            }
        }
        self.refresh();
        Ok(())
    }

    /// Brings the transposed weights up to date.
    pub(crate) fn refresh(&mut self) {
        // The first weight of the first layer is never needed: nothing lies below it.
        for place in 1..self.weights.len() {
            if self.weights[place].rows() > 1 {
                self.weights[place].transpose_into(&mut self.transposed[place]);
            }
        }
    }

    fn recurrent(&self, layer: usize) -> lstm::Weights<'_, T> {
        let first = self.first[layer];
        lstm::Weights {
            input: &self.weights[first],
            recurrent: &self.weights[first + 1],
            bias: &self.weights[first + 2],
            recurrent_bias: &self.weights[first + 3],
            input_transposed: &self.transposed[first],
            recurrent_transposed: &self.transposed[first + 1],
        }
    }

    fn dense(&self, layer: usize) -> dense::Weights<'_, T> {
        let first = self.first[layer];
        dense::Weights {
            input: &self.weights[first],
            bias: &self.weights[first + 1],
            input_transposed: &self.transposed[first],
        }
    }
}

/// What a layer leaves behind.
#[derive(Debug)]
enum Trace<T> {
    Lstm(lstm::Trace<T>),
    Gru(gru::Trace<T>),
    Dense(dense::Trace<T>),
}

impl<T: Real> Trace<T> {
    #[inline(always)]
    fn output(&self) -> &Panels<T> {
        match self {
            Self::Lstm(trace) => &trace.output,
            Self::Gru(trace) => &trace.output,
            Self::Dense(trace) => &trace.output,
        }
    }

    #[inline(always)]
    fn gradient(&mut self) -> &mut Panels<T> {
        match self {
            Self::Lstm(trace) => &mut trace.gradient,
            Self::Gru(trace) => &mut trace.gradient,
            Self::Dense(trace) => &mut trace.gradient,
        }
    }
}

/// The memory of a pass over a fixed number of windows.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    steps: Steps,
    /// One row per step and window, see [`Steps`].
    pub(crate) input: Panels<T>,
    traces: Vec<Trace<T>>,
    /// What is left of the outputs of the recurrent layers but the last, and by how much
    /// each was multiplied; empty without dropout.
    dropped: Vec<Dropped<T>>,
    /// The gradients of the weights.
    pub(crate) gradients: Vec<Panels<T>>,
}

#[derive(Debug)]
struct Dropped<T> {
    factor: Panels<T>,
    output: Panels<T>,
}

/// Draws the factors of one layer's outputs.
pub(crate) fn draw<T: Real>(factors: &mut Panels<T>, rate: f64, random: &mut impl Rng) {
    let kept = T::of(1.0 / (1.0 - rate));
    for factor in factors.data_mut().iter_mut().flatten() {
        *factor = if random.random::<f64>() < rate { T::ZERO } else { kept };
    }
}

impl<T: Real> Pass<T> {
    /// Memory for a pass over `batch` windows, with dropout or without.
    pub(crate) fn new(network: &Network<T>, batch: usize, dropout: bool) -> Self {
        let architecture = &network.architecture;
        let steps = Steps { count: architecture.steps, batch };
        let trace = |layer: &Layer| match layer {
            Layer::Lstm { units, .. } => Trace::Lstm(lstm::Trace::new(steps, *units)),
            Layer::Gru { units, .. } => Trace::Gru(gru::Trace::new(steps, *units)),
            Layer::Dense { units, .. } => Trace::Dense(dense::Trace::new(batch, *units)),
        };
        let recurrent = architecture.layers.iter().filter(|l| l.is_recurrent()).count();
        let between = architecture.layers[..recurrent.saturating_sub(1)].iter();
        let blank = |layer: &Layer| Dropped {
            factor: Panels::zeros(steps.rows(), 1, layer.units()),
            output: Panels::zeros(steps.rows(), 1, layer.units()),
        };
        let alike = |w: &Panels<T>| Panels::zeros(w.rows(), w.blocks(), w.columns());
        Self {
            steps,
            input: Panels::zeros(steps.rows(), 1, architecture.inputs),
            traces: architecture.layers.iter().map(trace).collect(),
            dropped: if dropout { between.map(blank).collect() } else { Vec::new() },
            gradients: network.weights.iter().map(alike).collect(),
        }
    }

    /// Draws which outputs are dropped in the next pass forwards: each with probability
    /// `rate`, the others grow so that the sum stays the same on average.
    pub(crate) fn draw(&mut self, rate: f64, random: &mut impl Rng) {
        for dropped in &mut self.dropped {
            draw(&mut dropped.factor, rate, random);
        }
    }

    /// The factors of a layer's outputs: for tests of what is drawn.
    #[cfg(test)]
    pub(crate) fn factor(&self, layer: usize) -> &Panels<T> {
        &self.dropped[layer].factor
    }

    /// The answers: one row per window.
    pub(crate) fn output(&self) -> &Panels<T> {
        self.traces.last().map_or(&self.input, Trace::output)
    }

    /// The gradient of the answers, to be set before going back.
    pub(crate) fn output_gradient(&mut self) -> &mut Panels<T> {
        self.traces.last_mut().expect("a network has layers").gradient()
    }

    /// Answers `input`; dropout takes place when memory for it is there.
    #[inline(always)]
    pub(crate) fn forward<V: Vector<T>>(&mut self, network: &Network<T>) {
        let steps = self.steps;
        for l in 0..self.traces.len() {
            let (below, own) = self.traces.split_at_mut(l);
            let input = match l {
                0 => &self.input,
                _ => self.dropped.get(l - 1).map_or_else(|| below[l - 1].output(), |d| &d.output),
            };
            match (network.architecture.layers[l], &mut own[0]) {
                (Layer::Lstm { activation, .. }, Trace::Lstm(trace)) => {
                    lstm::forward::<T, V>(&network.recurrent(l), activation, steps, input, trace);
                }
                (Layer::Gru { activation, .. }, Trace::Gru(trace)) => {
                    gru::forward::<T, V>(&network.recurrent(l), activation, steps, input, trace);
                }
                (Layer::Dense { activation, .. }, Trace::Dense(trace)) => {
                    // Of a recurrent layer below, the last step.
                    let from = input.rows() - steps.batch;
                    dense::forward::<T, V>(&network.dense(l), activation, (input, from), trace);
                }
                _ => unreachable!("traces are made from the layers"),
            }
            if let Some(dropped) = self.dropped.get_mut(l) {
                let all = dropped.output.data_mut().iter_mut().zip(dropped.factor.data());
                for ((to, factor), from) in all.zip(own[0].output().data()) {
                    V::load(from).mul(V::load(factor)).store(to);
                }
            }
        }
    }

    /// Adds to the gradients of the weights from the gradient of the answers.
    #[inline(always)]
    pub(crate) fn backward<V: Vector<T>>(&mut self, network: &Network<T>) {
        let steps = self.steps;
        for l in (0..self.traces.len()).rev() {
            let (lower, own) = self.traces.split_at_mut(l);
            let places = network.places(l);
            let gradients = &mut self.gradients[places];
            let layer = network.architecture.layers[l];
            match &mut own[0] {
                Trace::Dense(trace) => {
                    let Layer::Dense { activation, .. } = layer else {
                        unreachable!("made from it")
                    };
                    let weights = network.dense(l);
                    let Some(below) = lower.last_mut() else {
                        let input = (&self.input, 0);
                        dense::backward::<T, V>(
                            &weights, activation, input, trace, gradients, None,
                        );
                        continue;
                    };
                    let from = below.output().rows() - steps.batch;
                    below.gradient().clear();
                    match below {
                        Trace::Lstm(below) => {
                            let input = (&below.output, from);
                            let to = Some((&mut below.gradient, from));
                            dense::backward::<T, V>(
                                &weights, activation, input, trace, gradients, to,
                            );
                        }
                        Trace::Gru(below) => {
                            let input = (&below.output, from);
                            let to = Some((&mut below.gradient, from));
                            dense::backward::<T, V>(
                                &weights, activation, input, trace, gradients, to,
                            );
                        }
                        Trace::Dense(below) => {
                            let input = (&below.output, from);
                            let to = Some((&mut below.gradient, from));
                            dense::backward::<T, V>(
                                &weights, activation, input, trace, gradients, to,
                            );
                        }
                    }
                }
                recurrent => {
                    let weights = network.recurrent(l);
                    let dropped = if l == 0 { None } else { self.dropped.get(l - 1) };
                    // The output below is read and its gradient written.
                    let (input, below) = match lower.last_mut() {
                        None => (&self.input, None),
                        Some(Trace::Lstm(t)) => (&t.output, Some(&mut t.gradient)),
                        Some(Trace::Gru(t)) => (&t.output, Some(&mut t.gradient)),
                        Some(Trace::Dense(t)) => (&t.output, Some(&mut t.gradient)),
                    };
                    let input = dropped.map_or(input, |d| &d.output);
                    match (recurrent, layer) {
                        (Trace::Lstm(trace), Layer::Lstm { activation, .. }) => {
                            lstm::backward::<T, V>(
                                &weights, activation, steps, input, trace, gradients, below,
                            );
                        }
                        (Trace::Gru(trace), Layer::Gru { activation, .. }) => {
                            gru::backward::<T, V>(
                                &weights, activation, steps, input, trace, gradients, below,
                            );
                        }
                        _ => unreachable!("traces are made from the layers"),
                    }
                    if let (Some(dropped), Some(below)) = (dropped, lower.last_mut()) {
                        let all = below.gradient().data_mut().iter_mut();
                        for (gradient, factor) in all.zip(dropped.factor.data()) {
                            V::load(gradient).mul(V::load(factor)).store(gradient);
                        }
                    }
                }
            }
        }
    }
}
