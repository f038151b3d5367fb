//! Times boosting on the data that `bench/boosting_sets.py` wrote, with the 50 recorded
//! parameter sets, and prints one line of JSON:
//! `cargo run --release -p foretell-model --example bench_boosting_sets -- DATA.bin SETS.json [THREADS]`.

#![allow(clippy::disallowed_methods, reason = "a bench is a program of its own")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hessboost::config::{TrainingParams, TreeMethod};
use hessboost::data::{BinnedMatrix, DMatrix};
use hessboost::error::HessboostError;
use hessboost::model::Iterations;
use hessboost::training::train;
use serde::Deserialize;

/// One set of the file.
#[derive(Deserialize)]
struct Set {
    rounds: usize,
    depth: usize,
    eta: f64,
    subsample: f64,
    column_sample: f64,
}

/// Numbers of the file, taken from its front.
fn take(bytes: &mut &[u8], count: usize) -> Option<Vec<f32>> {
    let (mine, rest) = bytes.split_at_checked(4 * count)?;
    *bytes = rest;
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Some(mine.chunks_exact(4).map(number).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name the file that bench/boosting_sets.py wrote")?;
    let sets = arguments.next().ok_or("name bench/boosting_sets.json")?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let sets: Vec<Set> = serde_json::from_slice(&std::fs::read(sets)?)?;
    let file = std::fs::read(path)?;
    let (head, mut bytes) = file.split_at_checked(12).ok_or("the file is cut off")?;
    let size = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let (rows, test_rows, columns) = (size(0) as usize, size(4) as usize, size(8) as usize);
    let cut = "the file is cut off";
    let x = take(&mut bytes, rows * columns).ok_or(cut)?;
    let y = take(&mut bytes, rows).ok_or(cut)?;
    let test_x = take(&mut bytes, test_rows * columns).ok_or(cut)?;
    let test_y = take(&mut bytes, test_rows).ok_or(cut)?;
    let test = DMatrix::from_dense(&test_x, test_rows, columns)?;

    let start = Instant::now();
    // A search bins its columns once; so does the peer.
    let data = DMatrix::from_dense(&x, rows, columns)?.with_labels(&y)?;
    let data = BinnedMatrix::new(&data, TrainingParams::default().max_bin)?;
    // As many sets at once as there are threads, one thread each, as a search has its trials.
    let next = AtomicUsize::new(0);
    let errors = Mutex::new(vec![f64::NAN; sets.len()]);
    let work = || -> Result<(), HessboostError> {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(set) = sets.get(place) else { return Ok(()) };
            let mut params = TrainingParams::default();
            params.tree_method = TreeMethod::Hist;
            params.max_depth = NonZeroUsize::new(set.depth);
            params.eta = set.eta;
            params.subsample = set.subsample;
            params.colsample_bytree = set.column_sample;
            params.nthread = NonZeroUsize::new(1);
            let model = train(&params, &data, set.rounds)?;
            let predicted = model.predict(&test, Iterations::Best)?;
            let pairs = predicted.as_slice().iter().zip(&test_y);
            let squares: f64 = pairs.map(|(p, y)| (f64::from(*p) - f64::from(*y)).powi(2)).sum();
            let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
            errors[place] = (squares / test_rows as f64).sqrt();
        }
    };
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        working.into_iter().try_for_each(|one| one.join().expect("it does not panic"))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    let line = serde_json::json!({
        "peer": "foretell", "threads": threads, "seconds": seconds, "rmse": errors,
    });
    #[allow(clippy::print_stdout, reason = "the line is what the example is for")]
    {
        println!("{line}");
    }
    Ok(())
}
