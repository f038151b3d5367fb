//! One function per verb: resolve, call the platform, print.

mod demo;
mod explaining;
mod files;
mod interop;
mod pipelines;
mod questions;
mod records;
mod rivers;
mod searches;
mod serving;
mod simulating;
mod sources;
mod stations;

use std::sync::Arc;

use clap::CommandFactory as _;
use foretell_platform::river::Part;
use foretell_platform::{Connection, Place, PlatformError, Stop, connect, connect_existing};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};
use crate::output::say_warning;

/// How many owners may end before a question is given up.
const ASKED_AGAIN: u32 = 8;

/// What every verb is given.
pub(crate) struct Session {
    pub(crate) data_dir: std::path::PathBuf,
    pub(crate) lake: Option<foretell_platform::Url>,
    pub(crate) json: bool,
    pub(crate) stop: Arc<Stop>,
}

impl Session {
    fn place<'a>(&'a self, command: &'a str) -> Place<'a> {
        let (path, lake) = (self.data_dir.as_path(), self.lake.as_ref());
        Place { path, lake, command, stop: &self.stop }
    }

    /// Asks a data directory that exists, whoever owns it.
    async fn ask(&self, command: &str) -> Result<Connection, PlatformError> {
        connect_existing(self.place(command)).await
    }

    /// Asks a question that may be asked twice. A command that owns the directory only for
    /// its own work may end between its sign of life and its answer: then whoever has the
    /// directory next is asked, and that may be this process.
    async fn question<T>(
        &self,
        command: &str,
        put: impl AsyncFn(Connection) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let mut left = ASKED_AGAIN;
        loop {
            match put(self.ask(command).await?).await {
                Err(PlatformError::Gone(_)) if left > 0 => left -= 1,
                answer => return answer,
            }
        }
    }

    /// Takes the data directory for work, or finds who does the work; waits its turn.
    async fn take(&self, command: &str) -> Result<Connection, PlatformError> {
        connect(self.place(command), say_warning).await
    }
}

pub(crate) async fn execute(arguments: Arguments) -> Result<(), PlatformError> {
    let Arguments { data_dir, lake, json, command, .. } = arguments;
    let session = Session { data_dir, lake, json, stop: Arc::new(Stop::default()) };
    stop_on_signals(&session.stop);
    match command {
        Command::Init(args) => files::init(&session, &args),
        Command::Check(args) => files::check(&session, &args).await,
        Command::Run(args) => pipelines::run(&session, args).await,
        Command::Extract(args) => stations::extract(&session, &args).await,
        Command::Gate(args) => stations::gate(&session, args).await,
        Command::Profile(args) => stations::profile(&session, &args).await,
        Command::Features(args) => stations::features(&session, &args).await,
        Command::Train(args) => stations::train(&session, &args).await,
        Command::Evaluate(args) => pipelines::evaluate(&session, &args).await,
        Command::Explain(args) => explaining::explain(&session, &args).await,
        Command::Audit(args) => stations::audit(&session, &args).await,
        Command::Report(args) => questions::report(&session, &args).await,
        Command::Forecast(args) => questions::forecast(&session, &args).await,
        Command::Serve(args) => serving::serve(&session, args).await,
        Command::Up(args) => rivers::up(&session, args).await,
        Command::Ingest(args) => rivers::part(&session, Part::Ingest, &args).await,
        Command::Transform(args) => rivers::part(&session, Part::Transform, &args).await,
        Command::Replay(args) => rivers::replay(&session, args).await,
        Command::Parity(args) => rivers::parity(&session, args).await,
        Command::Advance(args) => pipelines::advance(&session, &args).await,
        Command::Backfill(args) => pipelines::backfill(&session, &args).await,
        Command::Verify(args) => questions::verify(&session, &args.id).await,
        Command::Reproduce(args) => questions::reproduce(&session, &args.id).await,
        Command::Import(args) => interop::import(&session, args),
        Command::Predict(args) => interop::predict(&session, args).await,
        Command::Retrain(args) => interop::retrain(&session, &args).await,
        Command::Models(args) => records::models(&session, args).await,
        Command::Runs(args) => records::runs(&session, args).await,
        Command::Search(command) => searches::search(&session, command).await,
        Command::Gaps(args) => records::gaps(&session, args).await,
        Command::Sources(args) => sources::sources(&session, args).await,
        Command::Simulate(args) => simulating::simulate(&session, args).await,
        Command::Doctor(args) => files::doctor(&session, &args).await,
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "foretell", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// The first Ctrl-C or termination signal asks the work to stop at the next safe point; the
/// second ends the process at once (what was committed is kept either way).
fn stop_on_signals(stop: &Arc<Stop>) {
    // Exit codes as shells tell them: 128 and the signal's number.
    for (kind, code) in [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143)] {
        // Listened to before anything begins, or the signal would end the process outright;
        // and until the end, or a second one would be swallowed.
        let Ok(mut signals) = signal(kind) else { continue };
        let stop = Arc::clone(stop);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if stop.is_stopped() {
                    std::process::exit(code);
                }
                stop.stop();
            }
        });
    }
}
