//! The fuzzer: `cargo xtask fuzz` builds it with counters and runs it.
//!
//! It writes to `fuzz/` only: a failing input to `fuzz/corpus/<target>`, where
//! `make test` replays it until it is mended, and the input under way to
//! `fuzz/artifacts`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use foretell_fuzz::{Target, corpus, corpus_dir, distil, drive, targets};

struct Arguments {
    seconds: u64,
    seed: u64,
    target: String,
    keep: bool,
}

fn main() -> ExitCode {
    match arguments().and_then(|a| run(&a)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut parsed = Arguments { seconds: 60, seed: 1, target: "all".to_owned(), keep: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--seconds" => parsed.seconds = value()?.parse().context("--seconds")?,
            "--seed" => parsed.seed = value()?.parse().context("--seed")?,
            "--target" => parsed.target = value()?,
            "--keep" => parsed.keep = true,
            _ => bail!("unknown argument `{word}`; known are --seconds, --seed, --target, --keep"),
        }
    }
    Ok(parsed)
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen: Vec<Target> = targets()
        .into_iter()
        .filter(|t| arguments.target == "all" || arguments.target == t.name)
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = targets().iter().map(|t| t.name).collect();
        bail!("no target `{}`; there are {}", arguments.target, names.join(", "));
    }
    // A panic is reported once, with the input; not at every step of shrinking it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut sound = true;
    for target in chosen {
        sound &= fuzz(&target, arguments)?;
    }
    Ok(sound)
}

fn fuzz(target: &Target, arguments: &Arguments) -> anyhow::Result<bool> {
    let artifacts = corpus_dir().with_file_name("artifacts");
    std::fs::create_dir_all(&artifacts).context("failed to make fuzz/artifacts")?;
    let last = artifacts.join(format!("{}.last", target.name));
    let mut file = std::fs::File::create(&last).context("failed to make the last-input file")?;
    let start = Instant::now();
    let inputs = corpus(target.name)?.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    let known = inputs.clone();
    let time = Duration::from_secs(arguments.seconds);
    let outcome = drive(target, inputs, arguments.seed, time, u64::MAX, &mut file)?;
    let (reached, all) = outcome.edges;
    println!(
        "{:<12} {:>9} inputs in {:>4.0} s · corpus {} → {} · edges {reached} of {all}{}",
        target.name,
        outcome.executions,
        start.elapsed().as_secs_f64(),
        known.len(),
        outcome.kept.len(),
        if all == 0 { " (built without counters)" } else { "" },
    );
    if arguments.keep {
        let found = outcome.kept.into_iter().skip(known.len()).collect();
        for input in distil(target, &known, found) {
            save(target, "found", &input)?;
        }
    }
    let Some((input, message)) = outcome.failure else { return Ok(true) };
    let path = save(target, "crash", &input)?;
    println!(
        "{:<12} FAILED: {message}\n             input of {} bytes kept as {path}",
        target.name,
        input.len()
    );
    Ok(false)
}

/// Writes an input to the corpus under a name made of its content.
fn save(target: &Target, kind: &str, input: &[u8]) -> anyhow::Result<String> {
    let hash = foretell_market::Fingerprint::of_bytes(input).to_string();
    let name = format!("{kind}-{}", &hash[..16]);
    let folder = corpus_dir().join(target.name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(&name), input).with_context(|| format!("failed to write {name}"))?;
    Ok(format!("fuzz/corpus/{}/{name}", target.name))
}
