//! Small neural networks, trained on the processor.
//!
//! The networks of this field have 10 to 350 units and see 2 to 64 windows at once:
//! frameworks spend their time on dispatch. Here a pass forwards and backwards is one
//! piece of code over matrices in panels of 16 columns ([`panels`]), on whatever vectors
//! the processor has ([`vector`]), without an allocation in the loop. A batch is cut into
//! fixed parts whose gradients are summed in order, so that the number of threads changes
//! nothing but the time.
//!
//! The loop of training ([`Training`]) knows no kernel: an [`Engine`] moves the weights, that
//! of the processor here, that of a graphics card in another crate.

mod adam;
mod dense;
mod engine;
mod gru;
mod loss;
mod lstm;
mod network;
mod panels;
mod processor;
mod real;
mod train;
mod trained;
mod vector;

pub use engine::{Accelerator, Batch, Device, DeviceFailed, Engine, Moments};
pub use loss::Loss;
pub use network::{Architecture, Layer};
pub use processor::dropout_factors;
pub use train::{Checkpoint, Epoch, Examples, Plan, Training};
pub use trained::{BadWeights, Trained};

use real::Real;
use vector::Vector;

/// The function that cell and output of a recurrent layer, or a dense one, pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The hyperbolic tangent.
    Tanh,
    /// Zero below zero; what the `activation="relu"` of Keras does.
    Relu,
}

impl Activation {
    /// The function.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    fn forward<T: Real, V: Vector<T>>(self, x: V) -> V {
        match self {
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
        }
    }

    /// Its slope, from its value.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    fn slope<T: Real, V: Vector<T>>(self, y: V) -> V {
        let one = V::splat(T::of(1.0));
        match self {
            Self::Tanh => one.sub(y.mul(y)),
            Self::Relu => y.where_positive(one),
        }
    }
}

/// How many steps a window has and how many windows are seen at once. Matrices of all
/// steps have the windows of the first step first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    count: usize,
    batch: usize,
}

impl Steps {
    fn rows(self) -> usize {
        self.count * self.batch
    }
}

#[cfg(test)]
mod tests;
