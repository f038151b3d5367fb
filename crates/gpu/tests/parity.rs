//! A software Vulkan device against PyTorch's numbers and against the processor.
//!
//! `apt-get install mesa-vulkan-drivers libvulkan1` brings such a device. The tests of CUDA
//! need a card: they run with `FORETELL_TEST_CUDA=1`.

use std::sync::atomic::AtomicBool;

use foretell_gpu::GraphicsCards;
use foretell_neural::{
    Accelerator as _, Activation, Architecture, Batch, Device, Examples, Layer, Loss, Plan,
    Trained, Training,
};
use foretell_testkit::{normal, rng};
use serde::Deserialize;

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
    curve: Vec<f64>,
}

fn narrow(all: &[f64]) -> Vec<f32> {
    all.iter().map(|v| *v as f32).collect()
}

impl Case {
    fn all() -> Vec<Self> {
        let text = include_str!("../../../tests/data/reference/neural.json");
        serde_json::from_str::<Reference>(text).expect("the reference is JSON").cases
    }

    fn loss(&self) -> Loss {
        match (&self.loss[..], &self.levels) {
            ("pinball", Some(levels)) => Loss::Pinball(levels.clone()),
            ("cross_entropy", _) => Loss::CrossEntropy,
            _ => Loss::Squared,
        }
    }

    fn examples(&self) -> Examples {
        let (inputs, targets) = (narrow(&self.inputs), narrow(&self.targets));
        Examples { inputs, targets, len: self.rows }
    }

    fn start(&self) -> Trained {
        let weights: Vec<Vec<f32>> = self.weights.iter().map(|w| narrow(w)).collect();
        Trained::new(&self.architecture, &weights).expect("the weights fit")
    }
}

fn plan(loss: Loss, rate: f64) -> Plan {
    Plan {
        loss,
        epochs: 5,
        batch: 16,
        learning_rate: rate,
        weight_decay: 0.0,
        clip: 1.0,
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

/// The largest difference over the norm of what is expected.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
    let off = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
    off.fold(0.0, f64::max) / norm.max(1e-12)
}

fn answers_and_gradients_are_pytorchs(device: Device) {
    for case in Case::all() {
        let (examples, none, start) = (case.examples(), Examples::default(), case.start());
        let answers = GraphicsCards.answers(device, &start, examples.inputs.clone());
        let answers = answers.unwrap_or_else(|missing| panic!("{missing}"));
        for (found, expected) in answers.iter().zip(&case.answers) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{}: {found}", case.name);
        }
        let plan = Plan { clip: 0.0, ..plan(case.loss(), 0.01) };
        let engine = GraphicsCards.engine(device, &start, &plan, &examples, &none);
        let mut engine = engine.unwrap_or_else(|missing| panic!("{missing}"));
        let rows: Vec<usize> = (0..case.batch).collect();
        engine.step(&Batch { epoch: 0, number: 0, rows: &rows, rate: 0.01 }).expect("it steps");
        // After one step the first moment is a tenth of the gradient.
        let moments = engine.moments().expect("the device answers");
        assert_eq!(moments.first.len(), case.gradients.len());
        for (w, (found, expected)) in moments.first.iter().zip(&case.gradients).enumerate() {
            let found: Vec<f32> = found.iter().map(|m| m * 10.0).collect();
            let off = distance(&found, expected);
            assert!(off < 1e-4, "{}, weight {w}: {off:e}", case.name);
        }
    }
}

fn twenty_steps_are_pytorchs(device: Device) {
    for case in Case::all() {
        let (examples, none, start) = (case.examples(), Examples::default(), case.start());
        let plan = plan(case.loss(), 0.01);
        let engine = GraphicsCards.engine(device, &start, &plan, &examples, &none);
        let mut engine = engine.unwrap_or_else(|missing| panic!("{missing}"));
        for (number, expected) in case.curve.iter().enumerate().take(20) {
            let first = number * case.batch % case.rows;
            let rows: Vec<usize> = (first..first + case.batch).collect();
            engine.step(&Batch { epoch: 0, number, rows: &rows, rate: 0.01 }).expect("it steps");
            let found = engine.losses().expect("the device answers") / case.batch as f64;
            let off = (found - expected).abs();
            assert!(off < 1e-4, "{}, step {number}: {found} {expected}", case.name);
        }
    }
}

/// Networks of each kind, with sizes that fill no tile.
fn architectures() -> Vec<Architecture> {
    let lstm = |units, activation| Layer::Lstm { units, activation };
    let gru = |units, activation| Layer::Gru { units, activation };
    let dense = |units, activation| Layer::Dense { units, activation };
    let of =
        |inputs, steps, layers: &[Layer]| Architecture { inputs, steps, layers: layers.into() };
    vec![
        of(2, 4, &[lstm(5, Activation::Tanh), lstm(19, Activation::Tanh), dense(1, None)]),
        of(17, 3, &[gru(6, Activation::Tanh), dense(4, Some(Activation::Tanh)), dense(1, None)]),
        of(5, 4, &[gru(7, Activation::Tanh), gru(9, Activation::Tanh), dense(1, None)]),
        of(9, 1, &[dense(18, Some(Activation::Relu)), dense(1, None)]),
        of(3, 5, &[lstm(6, Activation::Relu), dense(1, None)]),
        of(8, 12, &[lstm(64, Activation::Tanh), dense(1, None)]),
        // A decomposition: one linear layer.
        of(24, 1, &[dense(1, None)]),
    ]
}

/// Windows whose target is the mean of their last step.
fn examples(architecture: &Architecture, len: usize, seed: u64) -> Examples {
    let mut random = rng(seed);
    let window = architecture.inputs * architecture.steps;
    let inputs: Vec<f32> = (0..len * window).map(|_| normal(&mut random) as f32).collect();
    let last = |w: &[f32]| w[window - architecture.inputs..].iter().sum::<f32>();
    let target = |w: &[f32]| last(w) / architecture.inputs as f32;
    let targets = inputs.chunks(window).map(target).collect();
    Examples { inputs, targets, len }
}

fn on<'a>(
    device: Device,
    architecture: &Architecture,
    plan: &Plan,
    (train, checks): (&'a Examples, &'a Examples),
) -> Training<'a> {
    if device == Device::Cpu {
        return Training::new(architecture, plan.clone(), train, checks);
    }
    let start = Trained::random(architecture, plan.seed);
    let engine = GraphicsCards.engine(device, &start, plan, train, checks);
    let engine = engine.unwrap_or_else(|missing| panic!("{missing}"));
    Training::on(engine, architecture, plan.clone(), train, checks)
}

/// Twenty steps of five epochs, in the same order of rows and with the same draws, then the
/// answers of the stored weights by the processor's kernels.
fn training_is_the_processors(device: Device) {
    for (a, architecture) in architectures().iter().enumerate() {
        let (data, checks) = (examples(architecture, 120, 1), examples(architecture, 50, 2));
        let dropout = if a == 0 { 0.3 } else { 0.0 };
        let plan = Plan { batch: 33, dropout, weight_decay: 0.1, ..plan(Loss::Squared, 0.003) };
        let mut here = on(Device::Cpu, architecture, &plan, (&data, &checks));
        let mut there = on(device, architecture, &plan, (&data, &checks));
        while here.goes_on() {
            let expected = here.epoch(&GO).expect("it trains").expect("nobody stops it");
            let found = there.epoch(&GO).expect("it trains").expect("nobody stops it");
            assert!((found.loss - expected.loss).abs() < 1e-4, "{architecture:?}: {found:?}");
            let off = (found.validation - expected.validation).abs();
            assert!(off < 1e-4, "{architecture:?}: {found:?} {expected:?}");
        }
        let here = here.into_best().expect("it trained").answers(checks.inputs.clone());
        let there = there.into_best().expect("it trained").answers(checks.inputs.clone());
        for (found, expected) in there.iter().zip(&here) {
            assert!((found - expected).abs() < 1e-4, "{architecture:?}: {found} {expected}");
        }
    }
}

fn interrupted_training_ends_in_the_same_weights(device: Device) {
    let architecture = &architectures()[0];
    let (data, checks) = (examples(architecture, 90, 1), examples(architecture, 30, 2));
    let plan = Plan { dropout: 0.1, plateau: 1, epochs: 4, ..plan(Loss::Squared, 0.05) };
    let mut whole = on(device, architecture, &plan, (&data, &checks));
    let mut stored = Vec::new();
    while whole.goes_on() {
        let checkpoint = whole.checkpoint().expect("the device answers");
        stored.push(serde_json::to_string(&checkpoint).expect("plain numbers"));
        whole.epoch(&GO).expect("it trains");
    }
    let expected = whole.into_best().expect("it trained").weights();
    for checkpoint in stored {
        let mut later = on(device, architecture, &plan, (&data, &checks));
        let checkpoint = serde_json::from_str(&checkpoint).expect("a checkpoint");
        later.resume(&checkpoint).expect("the checkpoint fits");
        while later.goes_on() {
            later.epoch(&GO).expect("it trains");
        }
        assert_eq!(later.into_best().expect("it trained").weights(), expected);
    }
    let small = &architectures()[1];
    let data = examples(small, 90, 1);
    let none = Examples::default();
    let mut other = on(device, small, &plan, (&data, &none));
    let here = examples(architecture, 90, 1);
    let checkpoint = on(device, architecture, &plan, (&here, &none)).checkpoint();
    assert!(other.resume(&checkpoint.expect("the device answers")).is_err());
}

#[test]
fn wgpu_answers_and_gradients_are_those_of_pytorch() {
    answers_and_gradients_are_pytorchs(Device::Wgpu);
}

#[test]
fn wgpu_the_loss_over_twenty_steps_is_that_of_pytorch() {
    twenty_steps_are_pytorchs(Device::Wgpu);
}

#[test]
fn wgpu_training_is_that_of_the_processor() {
    training_is_the_processors(Device::Wgpu);
}

#[test]
fn wgpu_training_that_was_interrupted_ends_in_the_same_weights() {
    interrupted_training_ends_in_the_same_weights(Device::Wgpu);
}

/// All of it on a card: `FORETELL_TEST_CUDA=1 cargo test -p foretell-gpu --features gpu`.
#[test]
fn cuda_is_pytorch_and_the_processor() {
    if std::env::var_os("FORETELL_TEST_CUDA").is_none() {
        return;
    }
    answers_and_gradients_are_pytorchs(Device::Cuda);
    twenty_steps_are_pytorchs(Device::Cuda);
    training_is_the_processors(Device::Cuda);
    interrupted_training_ends_in_the_same_weights(Device::Cuda);
}

#[test]
fn the_processor_is_no_card_and_a_missing_one_names_the_remedy() {
    let architecture = &architectures()[0];
    let data = examples(architecture, 20, 1);
    let plan = plan(Loss::Squared, 0.01);
    let start = Trained::random(architecture, 1);
    let refused = GraphicsCards.engine(Device::Cpu, &start, &plan, &data, &data).unwrap_err();
    assert_eq!(refused.to_string(), "the processor is no graphics card");
    if let Err(missing) = GraphicsCards.engine(Device::Cuda, &start, &plan, &data, &data) {
        assert!(missing.to_string().contains("device = \"wgpu\""), "{missing}");
    }
}
