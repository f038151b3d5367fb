//! Times boosting on the data that `bench/boosting.py` wrote, with the settings of that
//! script, and prints one line of JSON:
//! `cargo run --release -p foretell-model --example bench_boosting -- DATA.bin [THREADS] [REPEATS]`.

#![allow(clippy::disallowed_methods, reason = "a bench is a program of its own")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Instant;

use hessboost::config::{TrainingParams, TreeMethod};
use hessboost::data::DMatrix;
use hessboost::model::Iterations;
use hessboost::training::train;

const DEPTH: usize = 6;
const ETA: f64 = 0.1;
const ROUNDS: usize = 200;

/// Numbers of the file, taken from its front.
fn take(bytes: &mut &[u8], count: usize) -> Option<Vec<f32>> {
    let (mine, rest) = bytes.split_at_checked(4 * count)?;
    *bytes = rest;
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Some(mine.chunks_exact(4).map(number).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name the file that bench/boosting.py wrote")?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let repeats: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let file = std::fs::read(path)?;
    let (head, mut bytes) = file.split_at_checked(12).ok_or("the file is cut off")?;
    let size = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let (rows, test_rows, columns) = (size(0) as usize, size(4) as usize, size(8) as usize);
    let cut = "the file is cut off";
    let x = take(&mut bytes, rows * columns).ok_or(cut)?;
    let y = take(&mut bytes, rows).ok_or(cut)?;
    let test_x = take(&mut bytes, test_rows * columns).ok_or(cut)?;
    let test_y = take(&mut bytes, test_rows).ok_or(cut)?;

    let mut params = TrainingParams::default();
    params.tree_method = TreeMethod::Hist;
    params.max_depth = NonZeroUsize::new(DEPTH);
    params.eta = ETA;
    params.nthread = NonZeroUsize::new(threads);
    let mut seconds = Vec::new();
    let mut rmse = f64::NAN;
    for _ in 0..repeats {
        let start = Instant::now();
        let data = DMatrix::from_dense(&x, rows, columns)?.with_labels(&y)?;
        let model = train(&params, &data, ROUNDS)?;
        seconds.push(start.elapsed().as_secs_f64());
        let test = DMatrix::from_dense(&test_x, test_rows, columns)?;
        let predicted = model.predict(&test, Iterations::Best)?;
        let errors = predicted.as_slice().iter().zip(&test_y);
        let squares: f64 = errors.map(|(p, y)| (f64::from(*p) - f64::from(*y)).powi(2)).sum();
        rmse = (squares / test_rows as f64).sqrt();
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let all: Vec<String> = seconds.iter().map(|s| format!("{s:.3}")).collect();
    #[allow(clippy::print_stdout, reason = "the line is what the example is for")]
    {
        println!(
            "{{\"peer\": \"foretell\", \"threads\": {threads}, \"seconds\": {best:.3}, \
             \"all_seconds\": [{}], \"rmse\": {rmse}}}",
            all.join(", ")
        );
    }
    Ok(())
}
