//! Times `coingecko-62` over 1,000,000 seeded hourly rows on one thread.
//!
//! Prints one line of JSON: `fresh_seconds`, the best of five runs that take new memory
//! of the system each time; `seconds`, the best of five that write over the memory of
//! the result before (a [`Workspace`]); the bytes of the output columns; and how much
//! memory the first run took at its peak beyond what was resident before it (Linux).
//! `bench/features.py` times pandas on the same shape, `bench/run.py` compares the two.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and its own memory")]

use std::time::Instant;

use foretell_feature::{FeatureSet, Params, Workspace, compute, compute_with};
use foretell_market::Interval;
use foretell_panel::{Column, Frame};

const ROWS: usize = 1_000_000;
const RUNS: usize = 5;

fn snapshots() -> Frame {
    let walk = foretell_testkit::random_walk(ROWS, Interval::HOUR, 0.005, 20_240_101);
    let price = walk.column("close").expect("the walk has a close").to_vec();
    let market_cap = price.iter().map(|p| p * 19.6e6).collect();
    let volume = walk.column("volume").expect("the walk has a volume").iter();
    let total_volume = volume.map(|v| v * 1e9).collect();
    let columns = vec![
        Column::new("price", price),
        Column::new("market_cap", market_cap),
        Column::new("total_volume", total_volume),
    ];
    Frame::new(walk.instrument().clone(), Interval::HOUR, walk.rows().to_vec(), columns)
        .expect("the walk's rows are a frame's")
}

/// A field of `/proc/self/status` in bytes; zero where there is none.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn main() {
    let set = FeatureSet::named("coingecko-62", &Params::new()).expect("a shipped set");
    let frame = snapshots();
    // Forget the peak of making the data, so that the next peak is the computation's.
    let forgotten = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory("VmRSS");
    let mut extra = 0;
    let mut output = 0;
    let mut fresh = f64::INFINITY;
    for run in 0..RUNS {
        let start = Instant::now();
        let features = compute(&set, &frame).expect("the frame has the set's columns");
        fresh = fresh.min(start.elapsed().as_secs_f64());
        if run == 0 {
            output = features.columns().iter().map(|c| c.values.len() * 8).sum();
            extra = memory("VmHWM").saturating_sub(before);
        }
    }
    let mut best = f64::INFINITY;
    let mut workspace = Workspace::new();
    for _ in 0..=RUNS {
        let start = Instant::now();
        let features = compute_with(&set, &frame, &mut workspace);
        features.expect("the frame has the set's columns");
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert!(forgotten || extra == 0, "the peak could not be reset, so it is not the computation's");
    let rate = ROWS as f64 / best;
    println!(
        "{{\"rows\":{ROWS},\"columns\":{},\"seconds\":{best:.6},\"fresh_seconds\":{fresh:.6},\"rows_per_second\":{rate:.0},\
         \"output_bytes\":{output},\"extra_bytes\":{extra}}}",
        set.len()
    );
}
