//! Training: batches, early stopping and the learning rate, one epoch at a time.
//!
//! Everything drawn (the order of rows, what is dropped) comes from the seed and the
//! place of the draw, so that training which goes on from a [`Checkpoint`] ends in the
//! same weights as training that was never interrupted.

#![allow(clippy::inline_always, reason = "see vector.rs")]

use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha12Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::adam::{Adam, Rule};
use crate::loss::Loss;
use crate::network::{Architecture, Network, Pass};
use crate::panels::Panels;
use crate::trained::Trained;
use crate::vector::{Lane, Level, Task, Vector};

/// The most windows that one part of a batch has. Parts are the unit of work of a thread,
/// and their gradients are summed in order.
const PART: usize = 32;

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

/// A network under training.
#[derive(Debug)]
pub struct Training<'a> {
    plan: Plan,
    train: &'a Examples,
    validation: &'a Examples,
    level: Level,
    network: Network<f32>,
    adam: Adam<f32>,
    parts: Vec<Pass<f32>>,
    /// The threads beside the caller's, kept from batch to batch.
    pool: Option<ThreadPool>,
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
    /// Begins with random weights.
    pub fn new(
        architecture: &Architecture,
        plan: Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(plan.seed);
        let network = Network::random(architecture, &mut random);
        let batch = plan.batch.clamp(1, train.len.max(1));
        let count = batch.div_ceil(PART);
        let size = batch.div_ceil(count);
        let dropout = plan.dropout > 0.0;
        let others = plan.threads.min(count).saturating_sub(1);
        // A system that gives no more threads does the work in the caller's.
        let pool = (others > 0).then(|| ThreadPoolBuilder::new().num_threads(others).build());
        Self {
            pool: pool.and_then(Result::ok),
            adam: Adam::new(&network.weights),
            parts: (0..count).map(|_| Pass::new(&network, size, dropout)).collect(),
            order: (0..train.len).collect(),
            epoch: 0,
            rate: plan.learning_rate,
            best: None,
            waiting: 0,
            on_plateau: 0,
            ended: false,
            level: Level::best(),
            network,
            plan,
            train,
            validation,
        }
    }

    /// On another level of vectors than the best: for tests of the levels.
    #[cfg(test)]
    pub(crate) fn on(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// From the weights of another network: for tests against others' weights.
    #[cfg(test)]
    pub(crate) fn start_from(&mut self, network: &Network<f32>) {
        self.network = network.clone();
    }

    /// Begins with a network that answers every window about alike: the biases of the last
    /// layer. A network that is to answer quantiles of a distribution learns how they
    /// depend on the window, and need not find the distribution first.
    ///
    /// # Panics
    /// When there are not as many as outputs.
    pub fn begin_at(&mut self, answers: &[f32]) {
        let outputs = self.network.architecture.outputs();
        assert_eq!(answers.len(), outputs, "one answer per output");
        let bias = self.network.weights.last_mut().expect("a network has layers");
        for (column, answer) in answers.iter().enumerate() {
            bias.set(0, column, *answer);
        }
    }

    /// Where training stands, to go on from later.
    pub fn checkpoint(&self) -> Checkpoint {
        let flat = |all: &[Vec<Lane<f32>>]| all.iter().map(|m| m.concat()).collect();
        Checkpoint {
            epoch: self.epoch,
            rate: self.rate,
            weights: self.network.parameters(),
            steps: self.adam.steps,
            first: flat(&self.adam.first),
            second: flat(&self.adam.second),
            best: self.best.clone(),
            waiting: self.waiting,
            on_plateau: self.on_plateau,
            ended: self.ended,
        }
    }

    /// Goes on from a checkpoint of the same architecture and plan.
    ///
    /// # Errors
    /// When the shapes in it are others.
    pub fn resume(&mut self, from: &Checkpoint) -> Result<(), String> {
        let other = || "the checkpoint is of another network: delete it".to_owned();
        let mut network = self.network.clone();
        network.set_parameters(&from.weights).map_err(|_| other())?;
        let fits = |mine: &[Vec<Lane<f32>>], theirs: &[Vec<f32>]| {
            let same = |(a, b): (&Vec<Lane<f32>>, &Vec<f32>)| a.as_flattened().len() == b.len();
            mine.len() == theirs.len() && mine.iter().zip(theirs).all(same)
        };
        if !fits(&self.adam.first, &from.first) || !fits(&self.adam.second, &from.second) {
            return Err(other());
        }
        let fill = |mine: &mut [Vec<Lane<f32>>], theirs: &[Vec<f32>]| {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                mine.as_flattened_mut().copy_from_slice(theirs);
            }
        };
        fill(&mut self.adam.first, &from.first);
        fill(&mut self.adam.second, &from.second);
        self.adam.steps = from.steps;
        self.network = network;
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
    pub fn epoch(&mut self, stop: &AtomicBool) -> Option<Epoch> {
        if self.plan.shuffle {
            self.order = (0..self.train.len).collect();
            let mut random = self.random(self.epoch, 0, 0);
            self.order.shuffle(&mut random);
        }
        let batch: usize = self.plan.batch.clamp(1, self.train.len.max(1));
        let order = std::mem::take(&mut self.order);
        let mut sum = 0.0;
        for (number, rows) in order.chunks(batch).enumerate() {
            if stop.load(Ordering::Relaxed) {
                self.order = order;
                return None;
            }
            sum += self.batch(number, rows);
        }
        self.order = order;
        self.epoch += 1;
        let validation = match self.validation.len {
            0 => f64::NAN,
            _ => self.loss_of(self.validation),
        };
        let loss = sum / self.train.len as f64;
        self.ended = self.judge(loss, validation);
        Some(Epoch { loss, validation })
    }

    /// Keeps the best weights and lowers the rate; whether training is to end.
    fn judge(&mut self, loss: f64, validation: f64) -> bool {
        let watched = if self.validation.len == 0 { loss } else { validation };
        let gained = |best: &Best| watched < best.loss - self.plan.least_gain;
        if self.best.as_ref().is_none_or(gained) && watched.is_finite() {
            self.best = Some(Best { loss: watched, weights: self.network.parameters() });
            (self.waiting, self.on_plateau) = (0, 0);
            return false;
        }
        self.waiting += 1;
        self.on_plateau += 1;
        if self.plan.plateau > 0 && self.on_plateau >= self.plan.plateau {
            let lowest = self.plan.lowest_rate.min(self.rate);
            self.rate = (self.rate * self.plan.plateau_factor).max(lowest);
            self.on_plateau = 0;
        }
        self.plan.patience > 0 && self.waiting >= self.plan.patience
    }

    /// A source of chance that depends on nothing but its place.
    fn random(&self, epoch: usize, batch: usize, part: usize) -> ChaCha12Rng {
        let mut random = ChaCha12Rng::seed_from_u64(self.plan.seed ^ 0x005e_ed0f_7ea1);
        random.set_stream((epoch as u64) << 40 | (batch as u64) << 8 | part as u64);
        random
    }

    /// One step over some rows; the sum of their losses.
    pub(crate) fn batch(&mut self, number: usize, rows: &[usize]) -> f64 {
        let size = self.parts[0].output().rows();
        let chances: Vec<ChaCha12Rng> =
            (0..self.parts.len()).map(|part| self.random(self.epoch, number, part + 1)).collect();
        let mut work: Vec<Part<'_>> = Vec::with_capacity(self.parts.len());
        let parts = self.parts.iter_mut().zip(rows.chunks(size)).zip(chances);
        for ((pass, rows), random) in parts {
            let (network, examples) = (&self.network, self.train);
            let (loss, of, dropout) = (&self.plan.loss, 0, self.plan.dropout);
            work.push(Part { network, examples, rows, loss, of, dropout, random, pass });
        }
        let used = work.len();
        for part in &mut work {
            part.of = rows.len();
        }
        let level = self.level;
        let threads = self.plan.threads.clamp(1, used);
        let sum: f64 = match &self.pool {
            Some(pool) if threads > 1 => {
                let mut losses = vec![0.0; used];
                let share = used.div_ceil(threads);
                let mut shares = losses.chunks_mut(share);
                pool.in_place_scope(|scope| {
                    let mut work = work.into_iter();
                    let mine = (work.by_ref().take(share).collect(), shares.next());
                    for losses in shares {
                        let theirs = work.by_ref().take(share).collect();
                        scope.spawn(move |_| run_all(level, theirs, losses));
                    }
                    if let (work, Some(losses)) = mine {
                        run_all(level, work, losses);
                    }
                });
                losses.iter().sum()
            }
            _ => work.into_iter().map(|part| level.run(part)).sum(),
        };
        level.run(Step {
            network: &mut self.network,
            adam: &mut self.adam,
            parts: &mut self.parts[..used],
            rule: Rule { decay: self.plan.weight_decay, ..Rule::with_rate(self.rate) },
            clip: self.plan.clip,
        });
        sum
    }

    /// The mean loss over examples, nothing dropped.
    pub(crate) fn loss_of(&self, examples: &Examples) -> f64 {
        let mut pass = Pass::new(&self.network, PART.min(examples.len), false);
        let rows: Vec<usize> = (0..examples.len).collect();
        let sum: f64 = rows
            .chunks(PART)
            .map(|rows| {
                let (network, loss) = (&self.network, &self.plan.loss);
                self.level.run(Judge { network, examples, rows, loss, pass: &mut pass })
            })
            .sum();
        sum / examples.len as f64
    }

    /// The network as it is, with the weights of the last epoch.
    pub fn into_last(self) -> Trained {
        Trained::of(self.network)
    }

    /// The network with the weights of the best epoch.
    pub fn into_best(self) -> Trained {
        Trained::of(self.into_network())
    }

    fn into_network(mut self) -> Network<f32> {
        if let Some(best) = &self.best {
            self.network
                .set_parameters(&best.weights)
                .expect("the best weights are those of the same network");
        }
        self.network
    }

    /// The smallest loss so far, on the validation examples where there are any.
    pub fn best_loss(&self) -> Option<f64> {
        self.best.as_ref().map(|best| best.loss)
    }
}

fn run_all(level: Level, work: Vec<Part<'_>>, losses: &mut [f64]) {
    for (part, loss) in work.into_iter().zip(losses) {
        *loss = level.run(part);
    }
}

/// Puts windows into the rows of a pass; rows that are left over stay as they are.
fn gather(pass: &mut Pass<f32>, examples: &Examples, rows: &[usize]) {
    let batch = pass.output().rows();
    let inputs = pass.input.columns();
    let steps = pass.input.rows() / batch;
    for (b, row) in rows.iter().enumerate() {
        let window = &examples.inputs[row * steps * inputs..(row + 1) * steps * inputs];
        for (t, step) in window.chunks_exact(inputs).enumerate() {
            for (p, values) in step.chunks(super::vector::LANES).enumerate() {
                pass.input.panel_mut(p)[t * batch + b][..values.len()].copy_from_slice(values);
            }
        }
    }
}

/// Forwards, loss, backwards over some windows of a batch.
struct Part<'w> {
    network: &'w Network<f32>,
    examples: &'w Examples,
    rows: &'w [usize],
    loss: &'w Loss,
    /// How many windows the whole batch has.
    of: usize,
    dropout: f64,
    random: ChaCha12Rng,
    pass: &'w mut Pass<f32>,
}

impl Task<f32> for Part<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector<f32>>(mut self) -> f64 {
        gather(self.pass, self.examples, self.rows);
        if self.dropout > 0.0 {
            self.pass.draw(self.dropout, &mut self.random);
        }
        self.pass.forward::<V>(self.network);
        let sum = self.loss.of(self.pass, self.examples, self.rows, Some(self.of));
        self.pass.gradients.iter_mut().for_each(Panels::clear);
        self.pass.backward::<V>(self.network);
        sum
    }
}

/// Forwards and loss only.
struct Judge<'w> {
    network: &'w Network<f32>,
    examples: &'w Examples,
    rows: &'w [usize],
    loss: &'w Loss,
    pass: &'w mut Pass<f32>,
}

impl Task<f32> for Judge<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector<f32>>(self) -> f64 {
        gather(self.pass, self.examples, self.rows);
        self.pass.forward::<V>(self.network);
        self.loss.of(self.pass, self.examples, self.rows, None)
    }
}

/// Forwards only; the answers stay in the pass.
pub(crate) struct Answer<'w> {
    pub(crate) network: &'w Network<f32>,
    pub(crate) examples: &'w Examples,
    pub(crate) rows: &'w [usize],
    pub(crate) pass: &'w mut Pass<f32>,
}

impl Task<f32> for Answer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<f32>>(self) {
        gather(self.pass, self.examples, self.rows);
        self.pass.forward::<V>(self.network);
    }
}

/// Sums the gradients of the parts in order, bounds them, and moves the weights.
struct Step<'w> {
    network: &'w mut Network<f32>,
    adam: &'w mut Adam<f32>,
    parts: &'w mut [Pass<f32>],
    rule: Rule,
    clip: f64,
}

impl Task<f32> for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<f32>>(self) {
        let (first, others) = self.parts.split_first_mut().expect("a batch has a part");
        for other in others {
            for (sum, more) in first.gradients.iter_mut().zip(&other.gradients) {
                for (sum, more) in sum.data_mut().iter_mut().zip(more.data()) {
                    V::load(sum).add(V::load(more)).store(sum);
                }
            }
        }
        let mut scale = 1.0;
        if self.clip > 0.0 {
            let norm = norm::<V>(&first.gradients);
            scale = (self.clip / (norm + 1e-6)).min(1.0);
        }
        self.adam.step::<V>(&self.rule, scale, &mut self.network.weights, &first.gradients);
        self.network.refresh();
    }
}

/// The Euclidean norm of all gradients together.
#[inline(always)]
fn norm<V: Vector<f32>>(gradients: &[Panels<f32>]) -> f64 {
    let mut sums = V::splat(0.0);
    for lane in gradients.iter().flat_map(Panels::data) {
        let lane = V::load(lane);
        sums = lane.muladd(lane, sums);
    }
    let mut lane = [0.0f32; 16];
    sums.store(&mut lane);
    lane.iter().map(|v| f64::from(*v)).sum::<f64>().sqrt()
}
