//! Automation of the repository: `cargo xtask <command>`.
//!
//! Nothing that ships depends on this crate, and it depends on no crate of the
//! house: what it knows about them it reads from `cargo metadata`, from the files
//! and from `docs/architecture.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod features;
mod fuzz;
mod load;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  tidy                            hold the rules of the house: crate edges, dependency lists,
                                  licences, module headers, file sizes, names, links
  fuzz [--seconds N] [--target T] [--seed N] [--keep]
                                  mutate the kept inputs of fuzz/corpus for N seconds per target
  features                        build, lint and test every optional feature, one after another;
                                  from nothing an hour on two cores, most of it `gpu` (Burn);
                                  FORETELL_TEST_CUDA=1 runs its tests on an NVIDIA card as well
  load --url URL [--rate N] [--seconds N] [--connections N]
                                  send GET requests at a fixed rate, print latencies as JSON
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((compiler, rest)) = fuzz::wrapped(&arguments) {
        let status = std::process::Command::new(compiler).args(rest).status();
        let code = status.ok().and_then(|s| u8::try_from(s.code()?).ok());
        return ExitCode::from(code.unwrap_or(101));
    }
    let outcome = match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "tidy" => no_more(rest).and_then(|()| tidy::run(&root())),
            "features" => no_more(rest).and_then(|()| features::run(&root())),
            "fuzz" => fuzz::run(&root(), rest),
            "load" => load::run(rest),
            "help" | "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            other => Err(anyhow::anyhow!("unknown command `{other}`\n\n{HELP}")),
        },
        None => Err(anyhow::anyhow!("no command given\n\n{HELP}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The root of the repository: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies inside the repository").to_path_buf()
}

fn no_more(rest: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(rest.is_empty(), "unexpected argument `{}`", rest[0]);
    Ok(())
}

/// The value of `--name`, parsed; `default` when it is not given.
fn option<T: std::str::FromStr>(
    arguments: &[String],
    name: &str,
    default: Option<T>,
) -> anyhow::Result<T> {
    match arguments.iter().position(|a| a == name) {
        Some(i) => {
            let value =
                arguments.get(i + 1).ok_or_else(|| anyhow::anyhow!("`{name}` needs a value"))?;
            value.parse().map_err(|_| anyhow::anyhow!("`{name} {value}` cannot be read"))
        }
        None => default.ok_or_else(|| anyhow::anyhow!("`{name}` is missing")),
    }
}
