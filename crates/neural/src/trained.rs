//! A network that answers: made from stored weights or by training.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use crate::network::{Architecture, Network, Pass};
use crate::processor::Answer;
use crate::train::Examples;
use crate::vector::Level;

/// How many windows are answered at once.
const BATCH: usize = 32;

/// A network with its weights, ready to answer.
pub struct Trained {
    network: Network<f32>,
    /// Memory of the last single answer, for the next.
    spare: Mutex<Option<Pass<f32>>>,
}

/// Without the weights, which nobody reads.
impl fmt::Debug for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trained").field("architecture", self.architecture()).finish()
    }
}

impl Clone for Trained {
    fn clone(&self) -> Self {
        Self::of(self.network.clone())
    }
}

/// Why weights do not fill an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadWeights {
    /// The layers cannot stand as they do.
    Layers(String),
    /// There are another number of tensors.
    Count {
        /// How many the layers have.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tensor has another number of weights.
    Length {
        /// Its place, from 0.
        place: usize,
        /// How many weights its layer has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A weight is infinite or not a number.
    NotFinite {
        /// The place of its tensor, from 0.
        place: usize,
        /// Its position there.
        at: usize,
    },
}

impl fmt::Display for BadWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layers(why) => f.write_str(why),
            Self::Count { expected, found } => {
                write!(f, "the layers have {expected} tensors, there are {found}")
            }
            Self::Length { place, expected, found } => {
                write!(f, "tensor {place} has {found} weights, its layer has {expected}")
            }
            Self::NotFinite { place, at } => {
                write!(f, "weight {at} of tensor {place} is not a finite number")
            }
        }
    }
}

impl std::error::Error for BadWeights {}

impl Trained {
    pub(crate) fn of(network: Network<f32>) -> Self {
        Self { network, spare: Mutex::new(None) }
    }

    pub(crate) fn into_network(self) -> Network<f32> {
        self.network
    }

    /// With the weights that training begins with: those of PyTorch, uniform within
    /// `±1/√units` for recurrent layers and `±1/√inputs` for dense ones.
    pub fn random(architecture: &Architecture, seed: u64) -> Self {
        Self::of(Network::random(architecture, &mut ChaCha12Rng::seed_from_u64(seed)))
    }

    /// From weights that may be infinite or not a number: those of training that diverged.
    ///
    /// # Errors
    /// The place of a tensor with another length than its layer's, and that length.
    pub(crate) fn filled(
        architecture: &Architecture,
        weights: &[Vec<f32>],
    ) -> Result<Self, (usize, usize)> {
        let mut network = Network::zeros(architecture);
        network.set_parameters(weights)?;
        Ok(Self::of(network))
    }

    /// From weights in PyTorch's layout, layer by layer: of a recurrent layer the matrices
    /// of input and state (one row per gate and unit) and both biases, of a dense layer
    /// matrix and bias. Nothing is allocated before the lengths are found right.
    ///
    /// # Errors
    /// When the layers cannot stand in this order, or the weights do not fill them.
    pub fn new(architecture: &Architecture, weights: &[Vec<f32>]) -> Result<Self, BadWeights> {
        let lengths = architecture.lengths().map_err(BadWeights::Layers)?;
        if lengths.len() != weights.len() {
            return Err(BadWeights::Count { expected: lengths.len(), found: weights.len() });
        }
        for (place, (expected, weights)) in lengths.into_iter().zip(weights).enumerate() {
            let found = weights.len();
            if found != expected {
                return Err(BadWeights::Length { place, expected, found });
            }
            if let Some(at) = weights.iter().position(|w| !w.is_finite()) {
                return Err(BadWeights::NotFinite { place, at });
            }
        }
        let mut network = Network::zeros(architecture);
        network.set_parameters(weights).expect("the lengths are checked above");
        Ok(Self::of(network))
    }

    /// What goes in and what stands in a row.
    pub fn architecture(&self) -> &Architecture {
        &self.network.architecture
    }

    /// Every weight in the layout of [`Trained::new`].
    pub fn weights(&self) -> Vec<Vec<f32>> {
        self.network.parameters()
    }

    /// The answers to windows (each with all its steps, oldest first, each step with its
    /// inputs): one number per output of each window, window after window.
    ///
    /// # Panics
    /// When `windows` is no whole number of windows.
    pub fn answers(&self, windows: Vec<f32>) -> Vec<f32> {
        let (steps, inputs) = (self.architecture().steps, self.architecture().inputs);
        let len = windows.len() / (steps * inputs);
        assert_eq!(len * steps * inputs, windows.len(), "whole windows are asked");
        let examples = Examples { inputs: windows, targets: Vec::new(), len };
        if len == 1 {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            let pass = spare.get_or_insert_with(|| Pass::new(&self.network, 1, false));
            return self.answer(&examples, &[0], pass).collect();
        }
        let mut pass = Pass::new(&self.network, len.clamp(1, BATCH), false);
        let rows: Vec<usize> = (0..len).collect();
        let mut all = Vec::with_capacity(len * self.architecture().outputs());
        for rows in rows.chunks(BATCH) {
            all.extend(self.answer(&examples, rows, &mut pass));
        }
        all
    }

    fn answer<'p>(
        &self,
        examples: &Examples,
        rows: &[usize],
        pass: &'p mut Pass<f32>,
    ) -> impl Iterator<Item = f32> + 'p {
        Level::best().run(Answer { network: &self.network, examples, rows, pass });
        let (outputs, rows) = (self.architecture().outputs(), rows.len());
        let pass: &'p Pass<f32> = pass;
        (0..rows).flat_map(move |b| (0..outputs).map(move |j| pass.output().get(b, j)))
    }
}
