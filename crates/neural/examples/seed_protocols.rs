//! Two published networks trained as their own programs train them, faults included, on
//! closes read from standard input (one a line, oldest first): what `bench/seeds.py` sets
//! against the corrected form. Prints one line of JSON per network:
//! `cargo run --release -p foretell-neural --example seed_protocols < closes.txt`.
//!
//! The faults are theirs and kept on purpose: scalers see the test rows, early stopping
//! and the choice of the best epoch do too, and the first network reads time backwards.
//! What differs: weights begin as PyTorch's do, also where Keras trains; the seven-price
//! network has one scaler where its program fits one to each column, all but equal.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench is a program of its own"
)]

use std::error::Error;
use std::io::Read as _;
use std::sync::atomic::AtomicBool;

use foretell_neural::{Activation, Architecture, Examples, Layer, Loss, Plan, Trained, Training};

/// A protocol as published.
struct Protocol {
    name: &'static str,
    window: usize,
    layers: Vec<Layer>,
    /// Share of the windows that are trained on; the rest is the test.
    train: f64,
    newest_first: bool,
    scaler: Scaler,
    epochs: usize,
    batch: usize,
    /// Early stopping and a falling step size, both decided by the test rows.
    watches_test: bool,
}

#[derive(Clone, Copy)]
enum Scaler {
    /// To 0 and 1, over all rows.
    MinMax,
    /// To mean 0 and deviation 1, over all rows.
    Standard,
}

fn protocols() -> Vec<Protocol> {
    let relu = |units| vec![Layer::Lstm { units, activation: Activation::Relu }];
    let main_crypto = |name, window, units, batch| Protocol {
        name,
        window,
        layers: relu(units),
        train: 0.7,
        newest_first: true,
        scaler: Scaler::MinMax,
        epochs: 100,
        batch,
        watches_test: true,
    };
    vec![
        main_crypto("MainCrypto, 32 units, window 14", 14, 32, 2),
        main_crypto("MainCrypto, 350 units, window 2", 2, 350, 10),
        Protocol {
            name: "Amazon, 10 layers of 10, window 7",
            window: 7,
            layers: vec![Layer::Lstm { units: 10, activation: Activation::Tanh }; 10],
            train: 0.9,
            newest_first: false,
            scaler: Scaler::Standard,
            epochs: 10,
            batch: 16,
            watches_test: false,
        },
    ]
}

/// Mean squared error, mean absolute error and R² against the mean of the test rows.
fn scores(found: &[f64], truth: &[f64]) -> serde_json::Value {
    let n = truth.len() as f64;
    let mse = found.iter().zip(truth).map(|(f, t)| (f - t).powi(2)).sum::<f64>() / n;
    let mae = found.iter().zip(truth).map(|(f, t)| (f - t).abs()).sum::<f64>() / n;
    let mean = truth.iter().sum::<f64>() / n;
    let variance = truth.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / n;
    serde_json::json!({ "mse": mse, "rmse": mse.sqrt(), "mae": mae, "r2": 1.0 - mse / variance })
}

fn run(protocol: &Protocol, closes: &[f64]) -> Result<serde_json::Value, Box<dyn Error>> {
    let mut closes = closes.to_vec();
    if protocol.newest_first {
        closes.reverse();
    }
    let n = closes.len() as f64;
    let (shift, scale) = match protocol.scaler {
        Scaler::MinMax => {
            let least = closes.iter().copied().fold(f64::INFINITY, f64::min);
            (least, closes.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least)
        }
        Scaler::Standard => {
            let mean = closes.iter().sum::<f64>() / n;
            (mean, (closes.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n).sqrt())
        }
    };
    let scaled: Vec<f32> = closes.iter().map(|c| ((c - shift) / scale) as f32).collect();
    let windows = closes.len() - protocol.window;
    let cut = (windows as f64 * protocol.train) as usize;
    let examples = |from: usize, to: usize| Examples {
        inputs: (from..to).flat_map(|i| scaled[i..i + protocol.window].to_vec()).collect(),
        targets: (from..to).map(|i| scaled[i + protocol.window]).collect(),
        len: to - from,
    };
    let (train, test) = (examples(0, cut), examples(cut, windows));
    let mut layers = protocol.layers.clone();
    layers.push(Layer::Dense { units: 1, activation: None });
    let architecture = Architecture { inputs: 1, steps: protocol.window, layers };
    let truth: Vec<f64> = (cut..windows).map(|i| closes[i + protocol.window]).collect();
    let last: Vec<f64> = (cut..windows).map(|i| closes[i + protocol.window - 1]).collect();
    let stop = AtomicBool::new(false);
    let mut all = Vec::new();
    for seed in 1..=3 {
        let plan = Plan {
            loss: Loss::Squared,
            epochs: protocol.epochs,
            batch: protocol.batch,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            clip: 0.0,
            dropout: 0.0,
            shuffle: true,
            patience: if protocol.watches_test { 8 } else { 0 },
            plateau: if protocol.watches_test { 5 } else { 0 },
            plateau_factor: 1e-4,
            lowest_rate: 1e-6,
            least_gain: if protocol.watches_test { 1e-4 } else { 0.0 },
            seed,
            threads: 1,
        };
        let none = Examples::default();
        let watched = if protocol.watches_test { &test } else { &none };
        let mut training = Training::new(&architecture, plan, &train, watched);
        while training.goes_on() {
            training.epoch(&stop)?.ok_or("nobody stopped it")?;
        }
        let epochs = training.epochs_done();
        let network: Trained = match protocol.watches_test {
            true => training.into_best()?,
            false => training.into_last()?,
        };
        let answers = network.answers(test.inputs.clone());
        let found: Vec<f64> = answers.iter().map(|a| f64::from(*a) * scale + shift).collect();
        let mut result = scores(&found, &truth);
        result["epochs"] = epochs.into();
        all.push(result);
    }
    Ok(serde_json::json!({
        "protocol": protocol.name,
        "train_rows": cut,
        "test_rows": windows - cut,
        "seeds": all,
        "persistence": scores(&last, &truth),
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let closes = text.lines().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    for protocol in protocols() {
        println!("{}", run(&protocol, &closes)?);
    }
    Ok(())
}
