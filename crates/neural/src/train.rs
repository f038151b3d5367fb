//! Training: batches, early stopping and the learning rate, one epoch at a time.
//!
//! Everything drawn (the order of rows, what is dropped) comes from the seed and the
//! place of the draw, so that training which goes on from a [`Checkpoint`] ends in the
//! same weights as training that was never interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use crate::engine::{Batch, DeviceFailed, Engine, Moments};
use crate::loss::Loss;
use crate::network::Architecture;
use crate::processor::Processor;
use crate::trained::Trained;

/// Windows and what they should be answered with.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    /// Per window all steps, oldest first, each with its inputs.
    pub inputs: Vec<f32>,
    /// Per window its targets; the class for a classification.
    pub targets: Vec<f32>,
    /// How many windows.
    pub len: usize,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is made small.
    pub loss: Loss,
    /// Passes over all examples, at most.
    pub epochs: usize,
    /// Windows per step.
    pub batch: usize,
    /// Step size at the start.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The largest norm of all gradients together; 0 for no bound.
    pub clip: f64,
    /// The probability that an output between recurrent layers is dropped.
    pub dropout: f64,
    /// Whether rows come in a new order in each epoch.
    pub shuffle: bool,
    /// Epochs without a better validation loss before training ends; 0 for never.
    pub patience: usize,
    /// Epochs without a better validation loss before the step size falls; 0 for never.
    pub plateau: usize,
    /// What the step size is multiplied by then.
    pub plateau_factor: f64,
    /// What the step size never falls below by that.
    pub lowest_rate: f64,
    /// By how much a loss must be smaller than the best to count as better.
    pub least_gain: f64,
    /// Seeds everything that is drawn.
    pub seed: u64,
    /// Threads; they change nothing but the time.
    pub threads: usize,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Mean loss over the training examples, as they were seen.
    pub loss: f64,
    /// Mean loss over the validation examples after it; NaN without any.
    pub validation: f64,
}

/// Everything that training needs to go on after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    epoch: usize,
    rate: f64,
    weights: Vec<Vec<f32>>,
    steps: u64,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    best: Option<Best>,
    waiting: usize,
    on_plateau: usize,
    ended: bool,
}

/// The weights with the smallest validation loss so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    loss: f64,
    weights: Vec<Vec<f32>>,
}

/// A network under training: the order of rows, early stopping, the learning rate and the
/// best weights, over an engine that computes.
#[derive(Debug)]
pub struct Training<'a> {
    plan: Plan,
    architecture: Architecture,
    engine: Box<dyn Engine + 'a>,
    /// How many examples it learns from, and how many it is judged on.
    taught: usize,
    asked: usize,
    order: Vec<usize>,
    epoch: usize,
    rate: f64,
    best: Option<Best>,
    waiting: usize,
    on_plateau: usize,
    /// Patience is at its end.
    ended: bool,
}

impl<'a> Training<'a> {
    /// Begins on the processor with random weights.
    pub fn new(
        architecture: &Architecture,
        plan: Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Self {
        let start = Trained::random(architecture, plan.seed);
        let engine = Processor::new(start, &plan, train, validation);
        Self::on(Box::new(engine), architecture, plan, train, validation)
    }

    /// Begins with the weights of an engine that was made for the same architecture, plan
    /// and examples.
    pub fn on(
        engine: Box<dyn Engine + 'a>,
        architecture: &Architecture,
        plan: Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Self {
        Self {
            architecture: architecture.clone(),
            engine,
            taught: train.len,
            asked: validation.len,
            order: (0..train.len).collect(),
            epoch: 0,
            rate: plan.learning_rate,
            best: None,
            waiting: 0,
            on_plateau: 0,
            ended: false,
            plan,
        }
    }

    /// Begins with a network that answers every window about alike: the biases of the last
    /// layer. A network that is to answer quantiles of a distribution learns how they
    /// depend on the window, and need not find the distribution first.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When there are not as many as outputs.
    pub fn begin_at(&mut self, answers: &[f32]) -> Result<(), DeviceFailed> {
        assert_eq!(answers.len(), self.architecture.outputs(), "one answer per output");
        let mut weights = self.engine.weights()?;
        let bias = weights.last_mut().expect("a network has layers");
        bias.copy_from_slice(answers);
        self.engine.set_weights(&weights)
    }

    /// Where training stands, to go on from later.
    ///
    /// # Errors
    /// When the device fails.
    pub fn checkpoint(&self) -> Result<Checkpoint, DeviceFailed> {
        let Moments { steps, first, second } = self.engine.moments()?;
        Ok(Checkpoint {
            epoch: self.epoch,
            rate: self.rate,
            weights: self.engine.weights()?,
            steps,
            first,
            second,
            best: self.best.clone(),
            waiting: self.waiting,
            on_plateau: self.on_plateau,
            ended: self.ended,
        })
    }

    /// Goes on from a checkpoint of the same architecture, plan and device.
    ///
    /// # Errors
    /// When the shapes in it are others.
    pub fn resume(&mut self, from: &Checkpoint) -> Result<(), String> {
        let other = |_| "the checkpoint is of another network: delete it".to_owned();
        let (first, second) = (from.first.clone(), from.second.clone());
        let moments = Moments { steps: from.steps, first, second };
        self.engine.resume(&from.weights, &moments).map_err(other)?;
        self.epoch = from.epoch;
        self.rate = from.rate;
        self.best.clone_from(&from.best);
        self.waiting = from.waiting;
        self.on_plateau = from.on_plateau;
        self.ended = from.ended;
        Ok(())
    }

    /// Whether another epoch is to follow.
    pub fn goes_on(&self) -> bool {
        !self.ended && self.epoch < self.plan.epochs
    }

    /// How many epochs are done.
    pub fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// One pass over all examples; `None` when the stop flag was raised in it.
    ///
    /// # Errors
    /// When the device fails.
    pub fn epoch(&mut self, stop: &AtomicBool) -> Result<Option<Epoch>, DeviceFailed> {
        if self.plan.shuffle {
            self.order = (0..self.taught).collect();
            self.order.shuffle(&mut chance(self.plan.seed, self.epoch, 0, 0));
        }
        let batch: usize = self.plan.batch.clamp(1, self.taught.max(1));
        for (number, rows) in self.order.chunks(batch).enumerate() {
            if stop.load(Ordering::Relaxed) {
                // What was learnt since the last epoch is told by nobody.
                self.engine.losses()?;
                return Ok(None);
            }
            self.engine.step(&Batch { epoch: self.epoch, number, rows, rate: self.rate })?;
        }
        let sum = self.engine.losses()?;
        self.epoch += 1;
        let validation = match self.asked {
            0 => f64::NAN,
            _ => self.engine.validation_loss()?,
        };
        let loss = sum / self.taught as f64;
        self.ended = self.judge(loss, validation)?;
        Ok(Some(Epoch { loss, validation }))
    }

    /// Keeps the best weights and lowers the rate; whether training is to end.
    fn judge(&mut self, loss: f64, validation: f64) -> Result<bool, DeviceFailed> {
        let watched = if self.asked == 0 { loss } else { validation };
        let gained = |best: &Best| watched < best.loss - self.plan.least_gain;
        if self.best.as_ref().is_none_or(gained) && watched.is_finite() {
            self.best = Some(Best { loss: watched, weights: self.engine.weights()? });
            (self.waiting, self.on_plateau) = (0, 0);
            return Ok(false);
        }
        self.waiting += 1;
        self.on_plateau += 1;
        if self.plan.plateau > 0 && self.on_plateau >= self.plan.plateau {
            let lowest = self.plan.lowest_rate.min(self.rate);
            self.rate = (self.rate * self.plan.plateau_factor).max(lowest);
            self.on_plateau = 0;
        }
        Ok(self.plan.patience > 0 && self.waiting >= self.plan.patience)
    }

    fn trained(&self, weights: &[Vec<f32>]) -> Result<Trained, DeviceFailed> {
        Trained::filled(&self.architecture, weights)
            .map_err(|_| DeviceFailed::new("the engine has the weights of another network"))
    }

    /// The network as it is, with the weights of the last epoch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn into_last(self) -> Result<Trained, DeviceFailed> {
        self.trained(&self.engine.weights()?)
    }

    /// The network with the weights of the best epoch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn into_best(self) -> Result<Trained, DeviceFailed> {
        match &self.best {
            Some(best) => self.trained(&best.weights),
            None => self.into_last(),
        }
    }

    /// The smallest loss so far, on the validation examples where there are any.
    pub fn best_loss(&self) -> Option<f64> {
        self.best.as_ref().map(|best| best.loss)
    }
}

/// A source of chance that depends on nothing but its place.
pub(crate) fn chance(seed: u64, epoch: usize, batch: usize, part: usize) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed ^ 0x005e_ed0f_7ea1);
    random.set_stream((epoch as u64) << 40 | (batch as u64) << 8 | part as u64);
    random
}
