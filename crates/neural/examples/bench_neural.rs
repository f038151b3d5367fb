//! Times one epoch of training and one answer, on the networks that `bench/neural.py`
//! times with PyTorch, and prints one line of JSON:
//! `cargo run --release -p foretell-neural --example bench_neural -- NAME [THREADS] [REPEATS]`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is a program of its own"
)]

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use foretell_neural::{Activation, Architecture, Examples, Layer, Loss, Plan, Trained, Training};

/// What is trained: the same table stands in `bench/neural.py`.
struct Case {
    name: &'static str,
    inputs: usize,
    units: usize,
    layers: usize,
    steps: usize,
    batch: usize,
    rows: usize,
}

const CASES: [Case; 4] = [
    Case { name: "main-crypto", inputs: 1, units: 32, layers: 1, steps: 14, batch: 2, rows: 3_600 },
    Case { name: "amazon", inputs: 1, units: 10, layers: 10, steps: 7, batch: 16, rows: 6_500 },
    Case { name: "day", inputs: 8, units: 64, layers: 1, steps: 24, batch: 64, rows: 20_000 },
    Case { name: "hour", inputs: 8, units: 64, layers: 1, steps: 60, batch: 64, rows: 20_000 },
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
    let name = arguments.next().ok_or("name a case of bench/neural.py")?;
    let threads: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let repeats: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let case = CASES.iter().find(|case| case.name == name).ok_or("there is no such case")?;

    let lstm = Layer::Lstm { units: case.units, activation: Activation::Tanh };
    let mut layers = vec![lstm; case.layers];
    layers.push(Layer::Dense { units: 1, activation: None });
    let architecture = Architecture { inputs: case.inputs, steps: case.steps, layers };
    let examples = Examples {
        inputs: noise(case.rows * case.steps * case.inputs),
        targets: noise(case.rows),
        len: case.rows,
    };
    let none = Examples::default();
    let plan = Plan {
        loss: Loss::Squared,
        epochs: usize::MAX,
        batch: case.batch,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        clip: 0.0,
        dropout: 0.0,
        shuffle: true,
        patience: 0,
        plateau: 0,
        plateau_factor: 1.0,
        lowest_rate: 0.0,
        least_gain: 0.0,
        seed: 1,
        threads,
    };
    let stop = AtomicBool::new(false);
    let mut training = Training::new(&architecture, plan, &examples, &none);
    let mut seconds = Vec::new();
    let mut loss = f64::NAN;
    // The first epoch warms the caches, here as there.
    for repeat in 0..=repeats {
        let start = Instant::now();
        loss = training.epoch(&stop)?.ok_or("nobody stopped it")?.loss;
        if repeat > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);

    let network: Trained = training.into_best()?;
    let window = noise(case.steps * case.inputs);
    let mut answers = Vec::new();
    let mut sum = 0.0;
    for _ in 0..2_000 {
        let input = window.clone();
        let start = Instant::now();
        sum += network.answers(input)[0];
        answers.push(start.elapsed().as_secs_f64());
    }
    answers.sort_by(f64::total_cmp);
    let result = serde_json::json!({
        "threads": threads,
        "seconds": best,
        "windows_per_second": case.rows as f64 / best,
        "loss": loss,
        "answer_seconds": answers[answers.len() / 2],
        "answer": sum / 2_000.0,
    });
    println!("{result}");
    Ok(())
}
