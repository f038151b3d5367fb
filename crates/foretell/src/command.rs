//! One function per verb: resolve, call the platform, print.

mod files;
mod pipelines;
mod questions;
mod records;
mod serving;
mod sources;
mod stations;

use std::sync::Arc;

use clap::CommandFactory as _;
use foretell_platform::{Connection, Place, PlatformError, Stop, connect, connect_existing};

use crate::arguments::{Arguments, Command};
use crate::output::say_warning;

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

    /// Takes the data directory for work, or finds who does the work; waits its turn.
    async fn take(&self, command: &str) -> Result<Connection, PlatformError> {
        connect(self.place(command), say_warning).await
    }
}

pub(crate) async fn execute(arguments: Arguments) -> Result<(), PlatformError> {
    let Arguments { data_dir, lake, json, command, .. } = arguments;
    let session = Session { data_dir, lake, json, stop: Arc::new(Stop::default()) };
    stop_on_interrupt(Arc::clone(&session.stop));
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
        Command::Audit(args) => stations::audit(&session, &args).await,
        Command::Report(args) => questions::report(&session, &args).await,
        Command::Forecast(args) => questions::forecast(&session, &args).await,
        Command::Serve(args) => serving::serve(&session, args).await,
        Command::Advance(args) => pipelines::advance(&session, &args).await,
        Command::Backfill(args) => pipelines::backfill(&session, &args).await,
        Command::Verify(args) => questions::verify(&session, &args.id).await,
        Command::Reproduce(args) => questions::reproduce(&session, &args.id).await,
        Command::Models(args) => records::models(&session, args).await,
        Command::Runs(args) => records::runs(&session, args).await,
        Command::Gaps(args) => records::gaps(&session, args).await,
        Command::Sources(args) => sources::sources(&session, args).await,
        Command::Doctor(args) => files::doctor(&session, &args).await,
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "foretell", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// The first Ctrl-C asks the work to stop at the next safe point; the second ends
/// the process at once (what was committed is kept either way).
fn stop_on_interrupt(stop: Arc<Stop>) {
    // Listened to before anything begins: until then Ctrl-C would end the process outright.
    let interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    let Ok(mut interrupt) = interrupt else { return };
    tokio::spawn(async move {
        while interrupt.recv().await.is_some() {
            if stop.is_stopped() {
                std::process::exit(130);
            }
            stop.stop();
        }
    });
}
