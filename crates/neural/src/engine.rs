//! What moves the weights: the kernels of this crate, or a device that another crate
//! brings.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::train::{Examples, Plan};
use crate::trained::Trained;

/// Where a network is trained. It is always asked on the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The kernels of this crate.
    #[default]
    Cpu,
    /// A graphics card of NVIDIA.
    Cuda,
    /// Any graphics card, through Vulkan, Metal or Direct3D.
    Wgpu,
}

impl Device {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        })
    }
}

/// Why a device cannot be had, or did not do its work, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFailed(String);

impl DeviceFailed {
    /// With a message that names the remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for DeviceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceFailed {}

/// One step of training.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The number of the batch in it, from 0.
    pub number: usize,
    /// The examples that are learnt from.
    pub rows: &'a [usize],
    /// The step size.
    pub rate: f64,
}

/// The running means of the gradients and their squares, in an engine's own layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Steps done.
    pub steps: u64,
    /// Means of the gradients.
    pub first: Vec<Vec<f32>>,
    /// Means of their squares.
    pub second: Vec<Vec<f32>>,
}

/// A network with its optimiser, where they are computed. [`crate::Training`] decides what
/// is done when.
pub trait Engine: fmt::Debug {
    /// Every weight in the layout of [`Trained::new`].
    ///
    /// # Errors
    /// When the device fails.
    fn weights(&self) -> Result<Vec<Vec<f32>>, DeviceFailed>;

    /// Sets every weight.
    ///
    /// # Errors
    /// When the device fails, or the shapes are others.
    fn set_weights(&mut self, weights: &[Vec<f32>]) -> Result<(), DeviceFailed>;

    /// The state of the optimiser.
    ///
    /// # Errors
    /// When the device fails.
    fn moments(&self) -> Result<Moments, DeviceFailed>;

    /// Goes on from weights and moments of an engine of the same kind; nothing changes when
    /// they do not fit.
    ///
    /// # Errors
    /// When the device fails, or the shapes are others.
    fn resume(&mut self, weights: &[Vec<f32>], moments: &Moments) -> Result<(), DeviceFailed>;

    /// Moves the weights once; may return before the device has done so.
    ///
    /// # Errors
    /// When the device fails.
    fn step(&mut self, batch: &Batch<'_>) -> Result<(), DeviceFailed>;

    /// The sum of the losses of all rows of the steps since it was last asked.
    ///
    /// # Errors
    /// When the device fails.
    fn losses(&mut self) -> Result<f64, DeviceFailed>;

    /// The mean loss over the validation examples, nothing dropped.
    ///
    /// # Errors
    /// When the device fails.
    fn validation_loss(&mut self) -> Result<f64, DeviceFailed>;
}

/// Makes engines of other devices than the processor.
pub trait Accelerator: fmt::Debug + Send + Sync {
    /// An engine that begins with the weights of a network.
    ///
    /// # Errors
    /// When there is no such device: what was looked for, what was found, what helps.
    fn engine<'a>(
        &self,
        device: Device,
        start: &Trained,
        plan: &Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Result<Box<dyn Engine + 'a>, DeviceFailed>;
}
