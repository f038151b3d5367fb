//! The `foretell` binary: parses arguments, calls the platform, prints.

mod arguments;
mod command;
mod output;
mod progress;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use foretell_platform::PlatformError;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    quiet_caught_panics();
    start_logs(arguments.verbose);
    // Two workers serve the API and read the lake; models have threads of their own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(command::execute(arguments));
            // Work that was given up computes on; nobody waits for it.
            runtime.shutdown_background();
            outcome
        }
        Err(source) => {
            output::say_error(&format!("failed to start: {source}"), None);
            return ExitCode::FAILURE;
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &PlatformError) -> ExitCode {
    output::say_error(&error.chain(), error.hint().as_deref());
    ExitCode::from(error.exit_code())
}

/// The Parquet decoder panics on some damaged files. That is caught where it is called and
/// becomes an error; its own words would only frighten.
fn quiet_caught_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let caught = info.location().is_some_and(|l| l.file().contains("/parquet-"));
        if !caught {
            print(info);
        }
    }));
}

/// Structured logs go to standard error; `RUST_LOG` overrides the level.
fn start_logs(verbose: u8) {
    let level = match verbose {
        // The table format's library logs as errors what it also returns as errors.
        0 => "warn,delta_kernel=off",
        1 => "info,hyper=warn,sqlx=warn,delta_kernel=off",
        _ => "debug,hyper=info,sqlx=info,delta_kernel=warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .init();
}
