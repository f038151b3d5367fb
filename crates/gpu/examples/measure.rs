//! Times training on the processor and on a card, and compares their answers:
//! `cargo run --release -p foretell-gpu --features gpu --example measure -- DEVICE [CASE]`
//! with `cuda` or `wgpu` and `small` or `large`; prints one line of JSON per case.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is a program of its own"
)]

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use foretell_gpu::GraphicsCards;
use foretell_neural::{
    Accelerator as _, Activation, Architecture, Device, Examples, Layer, Loss, Plan, Trained,
    Training,
};

struct Case {
    name: &'static str,
    inputs: usize,
    units: usize,
    layers: usize,
    steps: usize,
    batch: usize,
    /// Examples of an epoch: a few batches.
    rows: usize,
}

const CASES: [Case; 2] = [
    Case { name: "small", inputs: 8, units: 64, layers: 1, steps: 24, batch: 64, rows: 640 },
    Case { name: "large", inputs: 32, units: 512, layers: 2, steps: 60, batch: 256, rows: 1_024 },
];

/// Numbers between −1 and 1 that repeat on every machine.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let device = match arguments.next().as_deref() {
        Some("cuda") => Device::Cuda,
        Some("wgpu") => Device::Wgpu,
        _ => return Err("name a device: cuda or wgpu".into()),
    };
    let only = arguments.next();
    for case in CASES.iter().filter(|case| only.as_deref().is_none_or(|name| name == case.name)) {
        let cpu = epoch(case, Device::Cpu)?;
        let card = epoch(case, device)?;
        let windows = noise(case.batch * case.steps * case.inputs);
        let (here, there) =
            (cpu.1.answers(windows.clone()), GraphicsCards.answers(device, &cpu.1, windows)?);
        let off = here.iter().zip(&there).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let mut trained = 0.0f32;
        for (a, b) in cpu.1.weights().iter().flatten().zip(card.1.weights().iter().flatten()) {
            trained = trained.max((a - b).abs());
        }
        println!(
            "{}",
            serde_json::json!({
                "case": case.name, "device": device.to_string(),
                "cpu_seconds": cpu.0, "device_seconds": card.0, "times": cpu.0 / card.0,
                "answers_apart": off, "trained_weights_apart": trained,
            })
        );
    }
    Ok(())
}

/// The seconds of the second of two epochs, and what they came to. The first compiles the
/// card's kernels.
fn epoch(case: &Case, device: Device) -> Result<(f64, Trained), Box<dyn Error>> {
    let lstm = Layer::Lstm { units: case.units, activation: Activation::Tanh };
    let mut layers = vec![lstm; case.layers];
    layers.push(Layer::Dense { units: 1, activation: None });
    let architecture = Architecture { inputs: case.inputs, steps: case.steps, layers };
    let inputs = noise(case.rows * case.steps * case.inputs);
    let examples = Examples { inputs, targets: noise(case.rows), len: case.rows };
    let none = Examples::default();
    let plan = Plan {
        loss: Loss::Squared,
        epochs: 2,
        batch: case.batch,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        clip: 1.0,
        dropout: 0.0,
        shuffle: true,
        patience: 0,
        plateau: 0,
        plateau_factor: 1.0,
        lowest_rate: 0.0,
        least_gain: 0.0,
        seed: 1,
        threads: std::thread::available_parallelism()?.get(),
    };
    let mut training = match device {
        Device::Cpu => Training::new(&architecture, plan, &examples, &none),
        card => {
            let start = Trained::random(&architecture, plan.seed);
            let engine = GraphicsCards.engine(card, &start, &plan, &examples, &none)?;
            Training::on(engine, &architecture, plan, &examples, &none)
        }
    };
    let stop = AtomicBool::new(false);
    training.epoch(&stop)?.ok_or("nobody stopped it")?;
    let start = Instant::now();
    training.epoch(&stop)?.ok_or("nobody stopped it")?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((seconds, training.into_last()?))
}
