//! The best values that the samplers find on the functions of `tests/reference/search.py`, as
//! that script prints its own: `cargo run --release -p foretell-model --example bench_search --
//! [TRIALS] [SEEDS]`.

#![allow(clippy::disallowed_methods, reason = "a bench is a program of its own")]

#[path = "../tests/functions/mod.rs"]
mod functions;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use foretell_model::search::Sampler;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let trials: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let seeds: u64 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let samplers = [("tpe", Sampler::Tpe), ("cmaes", Sampler::CmaEs)];
    let mut best: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    let start = Instant::now();
    for (name, sampler) in samplers {
        for function in functions::functions() {
            let found = |seed| functions::best_of(&function, sampler, trials, 1, seed);
            let values = (0..seeds).map(found).collect();
            best.entry(name).or_default().insert(function.name, values);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let line = serde_json::json!({ "peer": "foretell", "seconds": seconds, "best": best });
    #[allow(clippy::print_stdout, reason = "the line is what the example is for")]
    {
        println!("{line}");
    }
    Ok(())
}
