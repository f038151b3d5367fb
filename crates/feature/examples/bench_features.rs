//! Times `coingecko-62` over 1,000,000 seeded hourly rows on one thread.
//!
//! Prints one line of JSON, each time the best of five runs: `seconds` of a plain
//! [`compute_with`] into new memory, `kept_seconds` over the memory of the result before
//! (a [`Workspace`] that is kept). `output_bytes` are those of the columns, `extra_bytes`
//! what the first run took at its peak beyond what was resident before it (Linux).
//! `bench/features.py` times pandas on the same shape, `bench/run.py` compares the two.
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and its own memory")]

use std::time::Instant;

use foretell_feature::{FeatureSet, Params, Workspace, compute_with};
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

/// The seconds of one computation; its result is dropped after the clock is read.
fn timed(set: &FeatureSet, frame: &Frame, workspace: &mut Workspace) -> f64 {
    let start = Instant::now();
    let features = compute_with(set, frame, workspace);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(features.expect("the frame has the set's columns").len(), ROWS);
    seconds
}

fn main() {
    let set = FeatureSet::named("coingecko-62", &Params::new()).expect("a shipped set");
    let frame = snapshots();
    // Forget the peak of making the data, so that the next peak is the computation's.
    let forgotten = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory("VmRSS");
    let (mut extra, mut output) = (0, 0);
    let mut plain = f64::INFINITY;
    for run in 0..RUNS {
        plain = plain.min(timed(&set, &frame, &mut Workspace::new()));
        if run == 0 {
            extra = memory("VmHWM").saturating_sub(before);
            output = ROWS * set.len() * size_of::<f64>();
        }
    }
    let mut kept = Workspace::new();
    timed(&set, &frame, &mut kept);
    let kept = (0..RUNS).map(|_| timed(&set, &frame, &mut kept)).fold(f64::INFINITY, f64::min);
    assert!(forgotten || extra == 0, "the peak could not be reset, so it is not the computation's");
    let rate = ROWS as f64 / plain;
    println!(
        "{{\"rows\":{ROWS},\"columns\":{},\"seconds\":{plain:.6},\"kept_seconds\":{kept:.6},\"rows_per_second\":{rate:.0},\
         \"output_bytes\":{output},\"extra_bytes\":{extra}}}",
        set.len()
    );
}
