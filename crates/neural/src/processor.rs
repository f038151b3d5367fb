//! The processor as an engine: fused kernels, on threads of this machine.

#![allow(clippy::inline_always, reason = "see vector.rs")]

use rand_chacha::ChaCha12Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::adam::{Adam, Rule};
use crate::engine::{Batch, DeviceFailed, Engine, Moments};
use crate::loss::Loss;
use crate::network::{Architecture, Network, Pass, draw};
use crate::panels::Panels;
use crate::train::{Examples, Plan, chance};
use crate::trained::Trained;
use crate::vector::{Lane, Level, Task, Vector};

/// The most windows that one part of a batch has. Parts are the unit of work of a thread,
/// and their gradients are summed in order.
const PART: usize = 32;

/// How many parts a batch has, and how many windows each, the last one perhaps fewer.
fn parts(plan: &Plan, taught: usize) -> (usize, usize) {
    let batch = plan.batch.clamp(1, taught.max(1));
    let count = batch.div_ceil(PART);
    (count, batch.div_ceil(count))
}

/// What the processor multiplies outputs with in a step that drops some: for each recurrent
/// layer but the last one number per output, all windows of the first time step first. An
/// engine that uses them learns from the same draws.
pub fn dropout_factors(
    architecture: &Architecture,
    plan: &Plan,
    taught: usize,
    batch: &Batch<'_>,
) -> Vec<Vec<f32>> {
    let recurrent = architecture.layers.iter().filter(|l| l.is_recurrent());
    let mut units: Vec<usize> = recurrent.map(|l| l.units()).collect();
    units.pop();
    let (steps, windows) = (architecture.steps, batch.rows.len());
    let mut all: Vec<Vec<f32>> = units.iter().map(|u| vec![0.0; steps * windows * u]).collect();
    let (_, size) = parts(plan, taught);
    for (part, rows) in batch.rows.chunks(size).enumerate() {
        let mut random = chance(plan.seed, batch.epoch, batch.number, part + 1);
        for (factors, units) in all.iter_mut().zip(&units) {
            let mut drawn = Panels::<f32>::zeros(steps * size, 1, *units);
            draw(&mut drawn, plan.dropout, &mut random);
            for (t, b) in (0..steps).flat_map(|t| (0..rows.len()).map(move |b| (t, b))) {
                let row = (t * windows + part * size + b) * units;
                let values = (0..*units).map(|u| drawn.get(t * size + b, u));
                factors[row..row + units].iter_mut().zip(values).for_each(|(to, v)| *to = v);
            }
        }
    }
    all
}

/// A network whose weights are moved by this crate's kernels.
#[derive(Debug)]
pub(crate) struct Processor<'a> {
    plan: Plan,
    train: &'a Examples,
    validation: &'a Examples,
    level: Level,
    pub(crate) network: Network<f32>,
    adam: Adam<f32>,
    parts: Vec<Pass<f32>>,
    /// The threads beside the caller's, kept from batch to batch.
    pool: Option<ThreadPool>,
    /// The sum of losses that [`Engine::losses`] has not handed out yet.
    losses: f64,
}

impl<'a> Processor<'a> {
    /// Begins with the weights of a network.
    pub(crate) fn new(
        start: Trained,
        plan: &Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Self {
        let network = start.into_network();
        let (count, size) = parts(plan, train.len);
        let dropout = plan.dropout > 0.0;
        let others = plan.threads.min(count).saturating_sub(1);
        // A system that gives no more threads does the work in the caller's.
        let pool = (others > 0).then(|| ThreadPoolBuilder::new().num_threads(others).build());
        Self {
            pool: pool.and_then(Result::ok),
            adam: Adam::new(&network.weights),
            parts: (0..count).map(|_| Pass::new(&network, size, dropout)).collect(),
            level: Level::best(),
            losses: 0.0,
            network,
            plan: plan.clone(),
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

    /// The mean loss over examples, nothing dropped.
    fn loss_of(&self, examples: &Examples) -> f64 {
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
}

impl Engine for Processor<'_> {
    fn weights(&self) -> Result<Vec<Vec<f32>>, DeviceFailed> {
        Ok(self.network.parameters())
    }

    fn set_weights(&mut self, weights: &[Vec<f32>]) -> Result<(), DeviceFailed> {
        let other = |_| DeviceFailed::new("the weights are those of another network");
        self.network.set_parameters(weights).map_err(other)
    }

    fn moments(&self) -> Result<Moments, DeviceFailed> {
        let flat = |all: &[Vec<Lane<f32>>]| all.iter().map(|m| m.concat()).collect();
        let adam = &self.adam;
        Ok(Moments { steps: adam.steps, first: flat(&adam.first), second: flat(&adam.second) })
    }

    fn resume(&mut self, weights: &[Vec<f32>], moments: &Moments) -> Result<(), DeviceFailed> {
        let fits = |mine: &[Vec<Lane<f32>>], theirs: &[Vec<f32>]| {
            let same = |(a, b): (&Vec<Lane<f32>>, &Vec<f32>)| a.as_flattened().len() == b.len();
            mine.len() == theirs.len() && mine.iter().zip(theirs).all(same)
        };
        if !fits(&self.adam.first, &moments.first) || !fits(&self.adam.second, &moments.second) {
            return Err(DeviceFailed::new("the moments are those of another network"));
        }
        let mut network = self.network.clone();
        let other = |_| DeviceFailed::new("the weights are those of another network");
        network.set_parameters(weights).map_err(other)?;
        let fill = |mine: &mut [Vec<Lane<f32>>], theirs: &[Vec<f32>]| {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                mine.as_flattened_mut().copy_from_slice(theirs);
            }
        };
        fill(&mut self.adam.first, &moments.first);
        fill(&mut self.adam.second, &moments.second);
        self.adam.steps = moments.steps;
        self.network = network;
        Ok(())
    }

    fn step(&mut self, batch: &Batch<'_>) -> Result<(), DeviceFailed> {
        let rows = batch.rows;
        let size = self.parts[0].output().rows();
        let chance = |part| chance(self.plan.seed, batch.epoch, batch.number, part + 1);
        let chances: Vec<ChaCha12Rng> = (0..self.parts.len()).map(chance).collect();
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
            rule: Rule { decay: self.plan.weight_decay, ..Rule::with_rate(batch.rate) },
            clip: self.plan.clip,
        });
        self.losses += sum;
        Ok(())
    }

    fn losses(&mut self) -> Result<f64, DeviceFailed> {
        Ok(std::mem::take(&mut self.losses))
    }

    fn validation_loss(&mut self) -> Result<f64, DeviceFailed> {
        Ok(self.loss_of(self.validation))
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
            for (p, values) in step.chunks(crate::vector::LANES).enumerate() {
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
