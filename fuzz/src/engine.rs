//! The loop: take an input, change it, run the target, keep what reached new code.
//!
//! A panic or an input that takes longer than [`SLOW`] is a failure; it is made
//! smaller and handed back. An input that kills the whole process (a stack overflow,
//! memory) is on disk before it runs.

use std::io::{Seek as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::mutate::{Dice, mutate};

/// A target: a name, the function that must not panic, the words of its language.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads the bytes and panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Words worth inserting.
    pub words: &'static [&'static str],
}

/// No input of 64 KiB may take longer.
pub const SLOW: Duration = Duration::from_secs(2);

/// What became of one target.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs tried.
    pub executions: u64,
    /// The kept inputs: the corpus and what reached new code.
    pub kept: Vec<Vec<u8>>,
    /// Edges reached and all edges; 0 of 0 when the build does not count.
    pub edges: (usize, usize),
    /// The input that broke the target, and how.
    pub failure: Option<(Vec<u8>, String)>,
}

/// Runs a target until the time is over, `limit` inputs are tried, or it fails.
///
/// # Errors
/// When the last input cannot be written to `last`.
pub fn drive(
    target: &Target,
    corpus: Vec<Vec<u8>>,
    seed: u64,
    time: Duration,
    limit: u64,
    last: &mut std::fs::File,
) -> std::io::Result<Outcome> {
    let start = Instant::now();
    let mut dice = Dice::new(seed);
    let mut coverage = Coverage::new();
    let mut outcome = Outcome { executions: 0, kept: Vec::new(), edges: (0, 0), failure: None };
    let mut first: std::collections::VecDeque<Vec<u8>> = corpus.into();
    if first.is_empty() {
        first.push_back(Vec::new());
    }
    while outcome.executions < limit && start.elapsed() < time {
        let from_corpus = first.pop_front();
        let is_new = from_corpus.is_none();
        let input = from_corpus.unwrap_or_else(|| {
            let parent = choose(&mut dice, &outcome.kept);
            let other = choose(&mut dice, &outcome.kept);
            mutate(&mut dice, parent, other, target.words)
        });
        last.rewind()?;
        last.set_len(0)?;
        last.write_all(&input)?;
        coverage.clear();
        outcome.executions += 1;
        if let Some(message) = run(target, &input) {
            let small = shrink(target, input);
            outcome.failure = Some((small, message));
            break;
        }
        let news = coverage.absorb();
        if !is_new || news {
            outcome.kept.push(input);
        }
    }
    outcome.edges = coverage.edges();
    Ok(outcome)
}

/// The fewest and shortest of these inputs that together reach every edge they reach
/// (greedily, beyond the edges that `base` reaches).
pub fn distil(target: &Target, base: &[Vec<u8>], mut inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut coverage = Coverage::new();
    let mut adds = |input: &Vec<u8>| {
        coverage.clear();
        run(target, input);
        coverage.absorb_edges()
    };
    for input in base {
        adds(input);
    }
    inputs.sort_by_key(Vec::len);
    inputs.retain(adds);
    inputs
}

/// Late additions are chosen more often: they stand at the frontier.
fn choose<'a>(dice: &mut Dice, kept: &'a [Vec<u8>]) -> &'a [u8] {
    let a = dice.below(kept.len());
    let b = dice.below(kept.len());
    let index = if dice.below(2) == 0 { a } else { a.max(b) };
    kept.get(index).map_or(&[], Vec::as_slice)
}

/// What is wrong with the target on this input, if anything.
pub fn run(target: &Target, input: &[u8]) -> Option<String> {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    match result {
        Err(panic) => Some(text_of(&*panic)),
        Ok(()) if start.elapsed() > SLOW => {
            Some(format!("took {:.1} s for {} bytes", start.elapsed().as_secs_f64(), input.len()))
        }
        Ok(()) => None,
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}

/// A smaller input that still fails: pieces are cut out while it does.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut piece = input.len() / 2;
    while piece > 0 && Instant::now() < deadline {
        let mut at = 0;
        while at < input.len() && Instant::now() < deadline {
            let mut smaller = input.clone();
            smaller.drain(at..(at + piece).min(input.len()));
            if run(target, &smaller).is_some() {
                input = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive_here(target: &Target, seed: u64) -> Outcome {
        let corpus = vec![b"price = 17\n".to_vec()];
        let mut last = tempfile::tempfile().unwrap();
        drive(target, corpus, seed, Duration::from_secs(60), 200_000, &mut last).unwrap()
    }

    /// A reader with a planted bug: it divides by the price.
    fn planted(bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some(value) = text.strip_prefix("price = ")
            && let Ok(price) = value.trim().parse::<i64>()
        {
            assert!(price != 0, "division by zero");
        }
    }

    #[test]
    fn a_planted_bug_is_found_and_made_small() {
        let target = Target { name: "planted", run: planted, words: &["price"] };
        let (input, message) = drive_here(&target, 3).failure.expect("the bug is found");
        assert_eq!(message, "division by zero");
        let text = String::from_utf8(input).unwrap();
        assert!(text.starts_with("price = ") && text.len() <= 10, "{text:?}");
    }

    #[test]
    fn a_run_repeats() {
        let target = Target { name: "planted", run: planted, words: &[] };
        let (a, b) = (drive_here(&target, 5), drive_here(&target, 5));
        assert_eq!((a.executions, a.failure), (b.executions, b.failure));
    }
}
