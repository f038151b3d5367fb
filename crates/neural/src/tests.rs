//! Against PyTorch, against numerical gradients, and against themselves on every level
//! of vectors.

use crate::Activation;
use crate::adam::{Adam, Rule};
use crate::engine::{Batch, Engine as _};
use crate::loss::Loss;
use crate::network::{Architecture, Layer, Network, Pass};
use crate::panels::{Panels, add_outer, add_product};
use crate::processor::{Processor, dropout_factors};
use crate::real::Real;
use crate::train::{Examples, Plan, Training, chance};
use crate::trained::Trained;
use crate::vector::{LANES, Lane, Level, Task, Vector};
use foretell_testkit::{normal, rng};
use proptest::prelude::*;
use serde::Deserialize;
use std::sync::atomic::AtomicBool;

/// Never raised.
static GO: AtomicBool = AtomicBool::new(false);

/// What `tests/reference/neural.py` wrote.
#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    architecture: Architecture,
    loss: String,
    levels: Option<Vec<f64>>,
    weights: Vec<Vec<f64>>,
    inputs: Vec<f64>,
    targets: Vec<f64>,
    rows: usize,
    batch: usize,
    answers: Vec<f64>,
    gradients: Vec<Vec<f64>>,
    after_adamw: Vec<Vec<f64>>,
    curve: Vec<f64>,
}

impl Case {
    fn all() -> Vec<Self> {
        let text = include_str!("../../../tests/data/reference/neural.json");
        serde_json::from_str::<Reference>(text).unwrap().cases
    }

    fn loss(&self) -> Loss {
        match (&self.loss[..], &self.levels) {
            ("pinball", Some(levels)) => Loss::Pinball(levels.clone()),
            ("cross_entropy", _) => Loss::CrossEntropy,
            _ => Loss::Squared,
        }
    }

    fn network<T: Real>(&self) -> Network<T> {
        let mut network = Network::zeros(&self.architecture);
        let weights: Vec<Vec<T>> =
            self.weights.iter().map(|w| w.iter().map(|v| T::of(*v)).collect()).collect();
        network.set_parameters(&weights).unwrap();
        network
    }

    /// A pass over the first batch with the gradients of its loss.
    fn pass<T: Real, V: Vector<T>>(&self, network: &Network<T>) -> Pass<T> {
        let mut pass = Pass::new(network, self.batch, false);
        let (steps, inputs) = (self.architecture.steps, self.architecture.inputs);
        for b in 0..self.batch {
            for t in 0..steps {
                for c in 0..inputs {
                    let value = self.inputs[(b * steps + t) * inputs + c];
                    pass.input.set(t * self.batch + b, c, T::of(value));
                }
            }
        }
        pass.forward::<V>(network);
        let outputs = self.architecture.outputs();
        let targets = self.targets.len() / self.rows;
        for b in 0..self.batch {
            let answers: Vec<f64> = (0..outputs).map(|j| pass.output().get(b, j).into()).collect();
            let target = &self.targets[b * targets..(b + 1) * targets];
            for (j, slope) in self.slopes(&answers, target).into_iter().enumerate() {
                pass.output_gradient().set(b, j, T::of(slope / self.batch as f64));
            }
        }
        pass.backward::<V>(network);
        pass
    }

    /// The gradient of a window's loss, written down a second time.
    fn slopes(&self, answers: &[f64], target: &[f64]) -> Vec<f64> {
        let n = answers.len() as f64;
        match (&self.loss[..], &self.levels) {
            ("pinball", Some(levels)) => (answers.iter().zip(levels))
                .map(|(a, q)| if target[0] > *a { -q / n } else { (1.0 - q) / n })
                .collect(),
            ("cross_entropy", _) => {
                let sum: f64 = answers.iter().map(|a| a.exp()).sum();
                let right = target[0] as usize;
                let own = |j: usize| f64::from(u8::from(j == right));
                answers.iter().enumerate().map(|(j, a)| a.exp() / sum - own(j)).collect()
            }
            _ => answers.iter().zip(target).map(|(a, y)| 2.0 * (a - y) / n).collect(),
        }
    }
}

/// Every gradient in PyTorch's layout.
fn gradients<T: Real>(network: &Network<T>, pass: &Pass<T>) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for (layer, kind) in network.architecture.layers.iter().enumerate() {
        for _ in 0..if kind.is_recurrent() { 4 } else { 2 } {
            let place = all.len();
            let values = network.logical(layer, place, &pass.gradients[place]);
            all.push(values.into_iter().map(Into::into).collect());
        }
    }
    all
}

/// The largest difference over the norm of what is expected.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    worst / norm.max(1e-12)
}

#[test]
fn answers_and_gradients_are_those_of_pytorch_in_64_bits() {
    for case in Case::all() {
        let network = case.network::<f64>();
        let pass = case.pass::<f64, Lane<f64>>(&network);
        let outputs = case.architecture.outputs();
        for (i, expected) in case.answers.iter().enumerate() {
            let found = pass.output().get(i / outputs, i % outputs);
            assert!((found - expected).abs() < 1e-9, "{}: {found} {expected}", case.name);
        }
        for (w, (found, expected)) in
            gradients(&network, &pass).iter().zip(&case.gradients).enumerate()
        {
            let off = distance(found, expected);
            assert!(off < 1e-6, "{}, weight {w}: {off:e}", case.name);
        }
    }
}

struct InThirtyTwo<'a>(&'a Case);

impl Task<f32> for InThirtyTwo<'_> {
    type Output = Vec<Vec<f64>>;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    fn run<V: Vector<f32>>(self) -> Self::Output {
        let network = self.0.network::<f32>();
        let pass = self.0.pass::<f32, V>(&network);
        gradients(&network, &pass)
    }
}

#[test]
fn gradients_are_those_of_pytorch_in_32_bits_on_every_level() {
    for case in Case::all() {
        for level in Level::all() {
            let found = level.run(InThirtyTwo(&case));
            for (w, (found, expected)) in found.iter().zip(&case.gradients).enumerate() {
                let off = distance(found, expected);
                assert!(off < 1e-4, "{}, {level:?}, weight {w}: {off:e}", case.name);
            }
        }
    }
}

#[test]
fn three_steps_of_adamw_are_those_of_pytorch() {
    for case in Case::all() {
        let mut network = case.network::<f64>();
        let mut given = case.network::<f64>();
        given.set_parameters(&case.gradients).unwrap();
        let mut adam = Adam::new(&network.weights);
        let rule = Rule { decay: 0.1, ..Rule::with_rate(0.01) };
        for _ in 0..3 {
            adam.step::<Lane<f64>>(&rule, 1.0, &mut network.weights, &given.weights);
        }
        for (w, (found, expected)) in network.parameters().iter().zip(&case.after_adamw).enumerate()
        {
            let off = distance(found, expected);
            assert!(off < 1e-6, "{}, weight {w}: {off:e}", case.name);
        }
    }
}

#[test]
fn the_loss_over_fifty_steps_is_that_of_pytorch() {
    for case in Case::all() {
        for level in Level::all() {
            let examples = Examples {
                inputs: case.inputs.iter().map(|v| *v as f32).collect(),
                targets: case.targets.iter().map(|v| *v as f32).collect(),
                len: case.rows,
            };
            let plan = Plan { batch: case.batch, clip: 1.0, ..plan(case.loss(), 0.01) };
            let nothing = Examples::default();
            let start = Trained::of(case.network());
            let mut engine = Processor::new(start, &plan, &examples, &nothing).on(level);
            for (number, expected) in case.curve.iter().enumerate() {
                let (step, first) = (number, number * case.batch % case.rows);
                let rows: Vec<usize> = (first..first + case.batch).collect();
                engine.step(&Batch { epoch: 0, number, rows: &rows, rate: 0.01 }).unwrap();
                let found = engine.losses().unwrap() / case.batch as f64;
                let off = (found - expected).abs();
                assert!(off < 1e-3, "{}, {level:?}, step {step}: {found} {expected}", case.name);
            }
        }
    }
}

fn plan(loss: Loss, rate: f64) -> Plan {
    Plan {
        loss,
        epochs: 5,
        batch: 16,
        learning_rate: rate,
        weight_decay: 0.0,
        clip: 0.0,
        dropout: 0.0,
        shuffle: true,
        patience: 0,
        plateau: 0,
        plateau_factor: 0.5,
        lowest_rate: 0.0,
        least_gain: 0.0,
        seed: 7,
        threads: 1,
    }
}

fn architectures() -> Vec<Architecture> {
    let lstm = |units, activation| Layer::Lstm { units, activation };
    let gru = |units, activation| Layer::Gru { units, activation };
    let dense = |units, activation| Layer::Dense { units, activation };
    let of =
        |inputs, steps, layers: &[Layer]| Architecture { inputs, steps, layers: layers.into() };
    vec![
        of(2, 4, &[lstm(5, Activation::Tanh), lstm(19, Activation::Tanh), dense(1, None)]),
        of(17, 3, &[gru(6, Activation::Tanh), dense(4, Some(Activation::Tanh)), dense(1, None)]),
        of(9, 1, &[dense(18, Some(Activation::Tanh)), dense(1, None)]),
        of(3, 5, &[lstm(6, Activation::Relu), dense(1, None)]),
    ]
}

/// Windows whose target is the mean of their last step, with some noise.
fn examples(architecture: &Architecture, len: usize, seed: u64) -> Examples {
    let mut random = rng(seed);
    let window = architecture.inputs * architecture.steps;
    let inputs: Vec<f32> = (0..len * window).map(|_| normal(&mut random) as f32).collect();
    let last = |w: &[f32]| w[window - architecture.inputs..].iter().sum::<f32>();
    let target = |w: &[f32]| last(w) / architecture.inputs as f32;
    let targets = inputs.chunks(window).map(target).collect();
    Examples { inputs, targets, len }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for architecture in architectures() {
        let mut random = rng(3);
        let mut network = Network::<f64>::random(&architecture, &mut random);
        let data = examples(&architecture, 4, 5);
        let mut pass = Pass::new(&network, 4, false);
        let (steps, inputs) = (architecture.steps, architecture.inputs);
        for (i, value) in data.inputs.iter().enumerate() {
            let (b, t, c) = (i / inputs / steps, i / inputs % steps, i % inputs);
            pass.input.set(t * 4 + b, c, f64::from(*value));
        }
        let mut loss = |network: &Network<f64>, gradient: bool| {
            pass.forward::<Lane<f64>>(network);
            let error = |b: usize, pass: &Pass<f64>| pass.output().get(b, 0) - 0.3;
            let sum: f64 = (0..4).map(|b| error(b, &pass).powi(2)).sum();
            if gradient {
                for b in 0..4 {
                    let slope = 2.0 * error(b, &pass);
                    pass.output_gradient().set(b, 0, slope);
                }
                pass.backward::<Lane<f64>>(network);
                return (sum, gradients(network, &pass));
            }
            (sum, Vec::new())
        };
        let (_, found) = loss(&network, true);
        let weights = network.parameters();
        for (w, weight) in weights.iter().enumerate() {
            for i in (0..weight.len()).step_by(7) {
                let mut moved = weights.clone();
                let mut at = |by: f64| {
                    moved[w][i] = weight[i] + by;
                    network.set_parameters(&moved).unwrap();
                    loss(&network, false).0
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                let off = (slope - found[w][i]).abs();
                assert!(off < 1e-6, "{:?}, weight {w}[{i}]: {slope} {}", architecture, found[w][i]);
            }
        }
        network.set_parameters(&weights).unwrap();
    }
}

#[test]
fn threads_change_nothing() {
    let architecture = &architectures()[0];
    let (data, checks) = (examples(architecture, 500, 1), examples(architecture, 60, 2));
    let train = |threads| {
        let plan = Plan { batch: 130, dropout: 0.2, threads, ..plan(Loss::Squared, 0.01) };
        let mut training = Training::new(architecture, plan, &data, &checks);
        while training.goes_on() {
            training.epoch(&GO).unwrap().unwrap();
        }
        training.into_best().unwrap().weights()
    };
    let one = train(1);
    assert_eq!(one, train(2));
    assert_eq!(one, train(3));
    assert_eq!(one, train(16));
}

#[test]
fn training_that_was_interrupted_ends_in_the_same_weights() {
    let architecture = &architectures()[1];
    let (data, checks) = (examples(architecture, 200, 1), examples(architecture, 60, 2));
    let plan = Plan { dropout: 0.1, plateau: 1, epochs: 6, ..plan(Loss::Squared, 0.05) };
    let mut whole = Training::new(architecture, plan.clone(), &data, &checks);
    let mut stored = Vec::new();
    while whole.goes_on() {
        stored.push(serde_json::to_string(&whole.checkpoint().unwrap()).unwrap());
        whole.epoch(&GO).unwrap().unwrap();
    }
    assert_eq!(stored.len(), 6);
    let expected = whole.into_best().unwrap().weights();
    for checkpoint in stored {
        let mut later = Training::new(architecture, plan.clone(), &data, &checks);
        later.resume(&serde_json::from_str(&checkpoint).unwrap()).unwrap();
        while later.goes_on() {
            later.epoch(&GO).unwrap().unwrap();
        }
        assert_eq!(later.into_best().unwrap().weights(), expected);
    }
    let mut other = Training::new(&architectures()[0], plan, &data, &checks);
    let checkpoint = Training::new(architecture, self::plan(Loss::Squared, 0.1), &data, &checks);
    assert!(other.resume(&checkpoint.checkpoint().unwrap()).is_err());
}

#[test]
fn the_factors_that_are_told_are_those_that_training_draws() {
    let architecture = &architectures()[0];
    let plan = Plan { batch: 70, dropout: 0.3, ..plan(Loss::Squared, 0.01) };
    // Three parts of 24, 24 and 22 windows.
    let rows: Vec<usize> = (0..70).collect();
    let batch = Batch { epoch: 3, number: 2, rows: &rows, rate: 0.01 };
    let told = dropout_factors(architecture, &plan, 500, &batch);
    assert_eq!(told.len(), 1);
    let units = architecture.layers[0].units();
    assert_eq!(told[0].len(), architecture.steps * 70 * units);
    let network = Network::<f32>::random(architecture, &mut rng(1));
    for (part, first) in [0, 24, 48].into_iter().enumerate() {
        let mut pass = Pass::new(&network, 24, true);
        pass.draw(0.3, &mut chance(plan.seed, 3, 2, part + 1));
        for (t, b) in [(0, 0), (1, 5), (3, 21)] {
            for u in 0..units {
                let told = told[0][(t * 70 + first + b) * units + u];
                assert_eq!(told, pass.factor(0).get(t * 24 + b, u));
            }
        }
    }
}

#[test]
fn every_architecture_learns_what_is_planted_and_stops_early_on_noise() {
    for architecture in architectures() {
        let (data, checks) = (examples(&architecture, 1_000, 1), examples(&architecture, 300, 2));
        let plan = Plan { epochs: 60, patience: 10, ..plan(Loss::Squared, 0.01) };
        let mut training = Training::new(&architecture, plan.clone(), &data, &checks);
        while training.goes_on() {
            training.epoch(&GO).unwrap().unwrap();
        }
        let variance = checks.targets.iter().map(|y| y * y).sum::<f32>() / checks.len as f32;
        let left = training.best_loss().unwrap() / f64::from(variance);
        assert!(left < 0.1, "{architecture:?}: {left}");
        let mut random = rng(9);
        let mut noise = data.clone();
        noise.targets.iter_mut().for_each(|y| *y = normal(&mut random) as f32);
        let mut training = Training::new(&architecture, plan, &noise, &checks);
        while training.goes_on() {
            training.epoch(&GO).unwrap().unwrap();
        }
        assert!(training.epochs_done() < 60, "{architecture:?}");
    }
}

#[test]
fn a_window_alone_is_answered_to_the_bit_as_among_others() {
    for architecture in architectures() {
        let data = examples(&architecture, 41, 3);
        let none = Examples::default();
        let training = Training::new(&architecture, plan(Loss::Squared, 0.01), &data, &none);
        let network = training.into_best().unwrap();
        let together = network.answers(data.inputs.clone());
        let window = architecture.steps * architecture.inputs;
        for (i, one) in data.inputs.chunks(window).enumerate() {
            let outputs = architecture.outputs();
            let expected = &together[i * outputs..(i + 1) * outputs];
            assert_eq!(network.answers(one.to_vec()), expected, "{architecture:?}, window {i}");
        }
    }
}

proptest! {
    #[test]
    fn products_equal_plain_loops(
        rows in 1usize..20, inner in 1usize..40, blocks in 1usize..4, columns in 1usize..40,
        seed in 0u64..1000,
    ) {
        let mut random = rng(seed);
        let mut a = Panels::<f32>::zeros(rows, 1, inner);
        let mut b = Panels::<f32>::zeros(inner.div_ceil(LANES) * LANES, blocks, columns);
        for r in 0..rows {
            (0..inner).for_each(|k| a.set(r, k, normal(&mut random) as f32));
        }
        for k in 0..inner {
            (0..blocks * columns).for_each(|c| b.set(k, c, normal(&mut random) as f32));
        }
        for level in Level::all() {
            let (product, outer) = level.run(Products(&a, &b));
            for r in 0..rows {
                for c in 0..blocks * columns {
                    let sum: f64 =
                        (0..inner).map(|k| f64::from(a.get(r, k)) * f64::from(b.get(k, c))).sum();
                    prop_assert!((f64::from(product.get(r, c)) - sum).abs() < 1e-4);
                }
            }
            for k in 0..inner {
                for c in 0..blocks * columns {
                    let sum: f64 = (0..rows)
                        .map(|r| f64::from(a.get(r, k)) * f64::from(product.get(r, c)))
                        .sum();
                    prop_assert!((f64::from(outer.get(k, c)) - sum).abs() < 1e-3);
                }
            }
            // What fills up panels stays zero.
            for panel in 0..product.panels() {
                let used = (columns - panel % product.panels_of_block() * LANES).min(LANES);
                for lane in product.panel(panel) {
                    prop_assert!(lane[used..].iter().all(|v| *v == 0.0));
                }
            }
        }
    }

    #[test]
    fn functions_are_those_of_64_bits(x in -40.0f32..40.0) {
        for level in Level::all() {
            let [exp, tanh, sigmoid] = level.run(Functions(x));
            let wide = f64::from(x);
            prop_assert!((f64::from(exp) / wide.exp() - 1.0).abs() < 3e-7);
            prop_assert!((f64::from(tanh) - wide.tanh()).abs() < 2e-7);
            prop_assert!((f64::from(sigmoid) - 1.0 / (1.0 + (-wide).exp())).abs() < 2e-7);
        }
    }
}

struct Products<'a>(&'a Panels<f32>, &'a Panels<f32>);

impl Task<f32> for Products<'_> {
    type Output = (Panels<f32>, Panels<f32>);

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    fn run<V: Vector<f32>>(self) -> Self::Output {
        let Self(a, b) = self;
        let mut product = Panels::zeros(a.rows(), b.blocks(), b.columns());
        add_product::<f32, V>((&mut product, 0), (a, 0), a.rows(), b);
        let mut outer = Panels::zeros(b.rows(), b.blocks(), b.columns());
        add_outer::<f32, V>(&mut outer, (a, 0), (&product, 0), a.rows());
        (product, outer)
    }
}

struct Functions(f32);

impl Task<f32> for Functions {
    type Output = [f32; 3];

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    fn run<V: Vector<f32>>(self) -> Self::Output {
        let x = V::splat(self.0);
        [x.exp(), x.tanh(), x.sigmoid()].map(|v| {
            let mut lane = [0.0; LANES];
            v.store(&mut lane);
            lane[0]
        })
    }
}
