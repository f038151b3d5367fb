//! Which branches an input took, when the code under test was built to say so.
//!
//! `cargo xtask fuzz` has the crates of the house built with LLVM's sanitizer
//! coverage: every edge owns a byte that counts how often it was taken. Built
//! without it, nothing registers here and the fuzzer mutates blindly.
#![expect(unsafe_code, reason = "the interface of LLVM's sanitizer coverage is C")]

use std::sync::Mutex;

/// Start and length of each crate's counters.
static REGIONS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by the constructor of each instrumented crate, before `main`.
///
/// # Safety
/// `start..stop` is a static array of counters, as LLVM promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let (start, stop) = (start as usize, stop as usize);
    let mut regions = REGIONS.lock().expect("no constructor panics");
    if start < stop && !regions.iter().any(|&(known, _)| known == start) {
        regions.push((start, stop - start));
    }
}

/// What has been reached so far: per edge, the sets of counts seen.
#[derive(Debug, Default)]
pub struct Coverage {
    seen: Vec<u8>,
}

impl Coverage {
    /// Nothing reached yet.
    pub fn new() -> Self {
        Self { seen: vec![0; counters()] }
    }

    /// Whether the code was built with counters.
    pub fn is_measured(&self) -> bool {
        !self.seen.is_empty()
    }

    /// The number of edges reached, and of all edges.
    pub fn edges(&self) -> (usize, usize) {
        (self.seen.iter().filter(|&&s| s != 0).count(), self.seen.len())
    }

    /// Clears the counters before a run.
    pub fn clear(&self) {
        visit(|counters| counters.fill(0));
    }

    /// Takes the counters of the last run in; whether an edge was taken as often as
    /// never before.
    pub fn absorb(&mut self) -> bool {
        self.take_in(bucket)
    }

    /// Takes the counters of the last run in; whether an edge was taken for the first
    /// time.
    pub fn absorb_edges(&mut self) -> bool {
        self.take_in(|count| u8::from(count > 0))
    }

    fn take_in(&mut self, class: fn(u8) -> u8) -> bool {
        let mut news = false;
        let mut place = 0;
        visit(|counters| {
            for (&count, seen) in counters.iter().zip(&mut self.seen[place..]) {
                let bucket = class(count);
                news |= *seen & bucket != bucket;
                *seen |= bucket;
            }
            place += counters.len();
        });
        news
    }
}

/// Counts fall into eight classes, so that one more turn of a loop is no news.
fn bucket(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}

fn counters() -> usize {
    REGIONS.lock().expect("no holder panics").iter().map(|&(_, length)| length).sum()
}

fn visit(mut each: impl FnMut(&mut [u8])) {
    for &(start, length) in REGIONS.lock().expect("no holder panics").iter() {
        // SAFETY: LLVM registered this static array. Instrumented code writes to it
        // on this thread only, and none runs while the slice lives: the targets are
        // called between, never during, a visit.
        each(unsafe { std::slice::from_raw_parts_mut(start as *mut u8, length) });
    }
}
