//! What a pipeline file says of a network.

use foretell_neural::{Activation, Device};
use serde::{Deserialize, Serialize};

/// What training makes small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The pinball loss of nine quantiles: the network forecasts a distribution.
    #[default]
    Pinball,
    /// The squared error: the network forecasts the mean, and the quantiles are those of
    /// its residuals on the validation rows.
    Squared,
    /// The cross-entropy of classes that the outcomes are cut into: the network forecasts
    /// the probability of each, and inside a class the learnt outcomes speak
    /// (see [`super::Classes`]).
    Classes,
}

/// Classes that are not told otherwise: falls and rises.
pub(crate) const FALL_OR_RISE: usize = 2;

fn fall_or_rise() -> usize {
    FALL_OR_RISE
}

/// Left out of what is stored, so that settings without classes keep their hash.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_fall_or_rise(classes: &usize) -> bool {
    *classes == FALL_OR_RISE
}

/// A network of recurrent layers (LSTM or GRU) and a linear one after the last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecurrentSettings {
    /// Units of each layer, the first one first (1 to 20 layers of 1 to 4,096).
    pub units: Vec<usize>,
    /// What cell and output pass through.
    pub activation: Activation,
    /// The probability that an output between layers is dropped while training.
    pub dropout: f64,
    /// What training makes small.
    pub objective: Objective,
    /// Into how many classes outcomes are cut (2 to 21), where classes are learnt.
    #[serde(default = "fall_or_rise", skip_serializing_if = "is_fall_or_rise")]
    pub classes: usize,
    /// Passes over the training rows, at most.
    pub epochs: usize,
    /// Windows per step.
    pub batch: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW).
    pub weight_decay: f64,
    /// The largest norm of the gradient; 0 for no bound.
    pub clip: f64,
    /// Share of the training rows, the last ones, that decide when to stop.
    pub validation: f64,
    /// Epochs without a better validation loss before training ends; 0 for never.
    pub patience: usize,
    /// Epochs without a better validation loss before the step size falls; 0 for never.
    pub plateau: usize,
    /// What the step size is multiplied by then.
    pub plateau_factor: f64,
    /// Where it is trained. The numbers differ in their last digits, so it is a part of the
    /// recipe.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
}

impl Default for RecurrentSettings {
    fn default() -> Self {
        let of = PerceptronSettings::default();
        Self {
            units: vec![32],
            activation: Activation::Tanh,
            dropout: 0.0,
            objective: of.objective,
            classes: of.classes,
            epochs: of.epochs,
            batch: of.batch,
            learning_rate: of.learning_rate,
            weight_decay: of.weight_decay,
            clip: of.clip,
            validation: of.validation,
            patience: of.patience,
            plateau: of.plateau,
            plateau_factor: of.plateau_factor,
            device: of.device,
        }
    }
}

/// A multilayer perceptron over all columns of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerceptronSettings {
    /// Units of each hidden layer, the first one first (1 to 20 layers of 1 to 4,096).
    pub units: Vec<usize>,
    /// What they pass through.
    pub activation: Activation,
    /// What training makes small.
    pub objective: Objective,
    /// Into how many classes outcomes are cut (2 to 21), where classes are learnt.
    #[serde(default = "fall_or_rise", skip_serializing_if = "is_fall_or_rise")]
    pub classes: usize,
    /// Passes over the training rows, at most.
    pub epochs: usize,
    /// Rows per step.
    pub batch: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW).
    pub weight_decay: f64,
    /// The largest norm of the gradient; 0 for no bound.
    pub clip: f64,
    /// Share of the training rows, the last ones, that decide when to stop.
    pub validation: f64,
    /// Epochs without a better validation loss before training ends; 0 for never.
    pub patience: usize,
    /// Epochs without a better validation loss before the step size falls; 0 for never.
    pub plateau: usize,
    /// What the step size is multiplied by then.
    pub plateau_factor: f64,
    /// Where it is trained. The numbers differ in their last digits, so it is a part of the
    /// recipe.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
}

impl Default for PerceptronSettings {
    fn default() -> Self {
        Self {
            units: vec![32],
            activation: Activation::Relu,
            objective: Objective::Pinball,
            classes: FALL_OR_RISE,
            epochs: 50,
            batch: 64,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            clip: 1.0,
            validation: 0.15,
            patience: 5,
            plateau: 3,
            plateau_factor: 0.5,
            device: Device::Cpu,
        }
    }
}

/// A linear forecaster on trend and rest of each column's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecompositionSettings {
    /// Steps of the moving average that is taken for the trend.
    pub kernel: usize,
    /// What training makes small.
    pub objective: Objective,
    /// Into how many classes outcomes are cut (2 to 21), where classes are learnt.
    #[serde(default = "fall_or_rise", skip_serializing_if = "is_fall_or_rise")]
    pub classes: usize,
    /// Passes over the training rows, at most.
    pub epochs: usize,
    /// Windows per step.
    pub batch: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW).
    pub weight_decay: f64,
    /// The largest norm of the gradient; 0 for no bound.
    pub clip: f64,
    /// Share of the training rows, the last ones, that decide when to stop.
    pub validation: f64,
    /// Epochs without a better validation loss before training ends; 0 for never.
    pub patience: usize,
    /// Epochs without a better validation loss before the step size falls; 0 for never.
    pub plateau: usize,
    /// What the step size is multiplied by then.
    pub plateau_factor: f64,
    /// Where it is trained. The numbers differ in their last digits, so it is a part of the
    /// recipe.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
}

impl Default for DecompositionSettings {
    fn default() -> Self {
        let of = PerceptronSettings::default();
        Self {
            kernel: 25,
            objective: of.objective,
            classes: of.classes,
            epochs: of.epochs,
            batch: of.batch,
            learning_rate: of.learning_rate,
            weight_decay: of.weight_decay,
            clip: of.clip,
            validation: of.validation,
            patience: of.patience,
            plateau: of.plateau,
            plateau_factor: of.plateau_factor,
            device: of.device,
        }
    }
}
