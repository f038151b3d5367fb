//! The API: until Ctrl-C for `serve` and `run --serve`, and for other commands on the same
//! data directory as long as one is at work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foretell_platform::{
    Connection, Observer, PlatformError, RunOptions, Service, read_pipeline, read_text,
};
use foretell_server::{Server, ServerSettings, Token};
use tokio_util::sync::CancellationToken;

use super::{Session, pipelines};
use crate::arguments::ServeArguments;
use crate::output::{say, say_error, say_json};
use crate::progress::Progress;

fn settings(args: &ServeArguments) -> Result<ServerSettings, PlatformError> {
    let token = args.token_file.as_deref().map(token).transpose()?;
    Ok(ServerSettings { listen: args.listen, token, private: false })
}

fn token(path: &Path) -> Result<Token, PlatformError> {
    let text = read_text(path)?;
    let line = text.lines().next().unwrap_or_default();
    Token::new(line).map_err(|message| PlatformError::Usage {
        message: format!("{}: {message}", path.display()),
        hint: "make one with `openssl rand -hex 32 > token`".to_owned(),
    })
}

pub(super) async fn bind(args: &ServeArguments) -> Result<Server, PlatformError> {
    let hint = match args.listen.ip().is_loopback() {
        true => "name another port with --listen, or stop the other process",
        false => "give --token-file, or listen on 127.0.0.1",
    };
    Server::bind(settings(args)?).await.map_err(|error| {
        let source = std::error::Error::source(&error).map(|s| format!(": {s}"));
        let message = format!("{error}{}", source.unwrap_or_default());
        PlatformError::Usage { message, hint: hint.to_owned() }
    })
}

pub(super) async fn own(s: &Session, command: &str) -> Result<Arc<Service>, PlatformError> {
    match s.take(command).await? {
        Connection::Local(service) => Ok(Arc::new(*service)),
        Connection::Remote(remote) => {
            let owner = format!("{}, which serves {}", remote.describe(), remote.base());
            Err(PlatformError::InUse { path: s.data_dir.clone(), owner })
        }
    }
}

/// How long questions that are being answered may hold up the end of a command.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Does work on a data directory that this process owns, and answers the questions of
/// other commands on the same directory meanwhile.
pub(super) async fn while_at_work<T>(
    service: Box<Service>,
    work: impl AsyncFnOnce(&Service) -> Result<T, PlatformError>,
) -> Result<T, PlatformError> {
    let service: Arc<Service> = Arc::new(*service);
    let server = match Server::bind(ServerSettings::private()).await {
        Ok(server) => server,
        // Work does not depend on who may ask meanwhile.
        Err(error) => {
            tracing::warn!(%error, "other commands must wait until this one has ended");
            return work(&service).await;
        }
    };
    service.announce(&server.url(), false)?;
    let shutdown = CancellationToken::new();
    let answering = tokio::spawn(server.run(Arc::clone(&service), shutdown.clone()));
    let outcome = work(&service).await;
    service.stopping().stop();
    shutdown.cancel();
    if let Err(error) = finish(answering).await {
        tracing::warn!(error = error.chain(), "questions were not all answered");
    }
    outcome
}

/// Ends when Ctrl-C or a termination signal has come.
pub(super) async fn until_stopped(s: &Session) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !s.stop.is_stopped() {
        tick.tick().await;
    }
}

pub(super) async fn serve(s: &Session, args: ServeArguments) -> Result<(), PlatformError> {
    let server = bind(&args).await?;
    let service = own(s, "foretell serve").await?;
    service.announce(&server.url(), true)?;
    let url = server.url();
    if s.json {
        say_json(&serde_json::json!({ "serving": url }));
    } else {
        say(&format!(" serving      {url}   {}", service.state_line()));
        say("              Ctrl-C stops; nothing is lost");
    }
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&service).watch(shutdown.clone()));
    let answering = tokio::spawn(server.run(Arc::clone(&service), shutdown.clone()));
    until_stopped(s).await;
    service.stopping().stop();
    shutdown.cancel();
    let _ = watching.await;
    finish(answering).await
}

/// Waits for the last answers, but not for a client that does not read its own.
pub(super) async fn finish(
    mut answering: tokio::task::JoinHandle<Result<(), foretell_server::ServerError>>,
) -> Result<(), PlatformError> {
    match tokio::time::timeout(LAST_ANSWERS, &mut answering).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(PlatformError::Remote(error.to_string())),
        Ok(Err(error)) => Err(PlatformError::Remote(format!("the server panicked: {error}"))),
        Err(_) => {
            answering.abort();
            Ok(())
        }
    }
}

/// Serves from the start, so that the first forecast can be read while models train.
pub(super) async fn run_and_serve(
    s: &Session,
    file: &Path,
    options: RunOptions,
    args: ServeArguments,
) -> Result<(), PlatformError> {
    let (pipeline, _) = read_pipeline(file)?;
    let server = bind(&args).await?;
    let service = own(s, "foretell run --serve").await?;
    service.announce(&server.url(), true)?;
    let url = server.url();
    let shutdown = CancellationToken::new();
    let answering = tokio::spawn(server.run(Arc::clone(&service), shutdown.clone()));
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(s.json));
    let outcome = service.run(pipeline, options, observer, Arc::clone(&s.stop)).await;
    let watching = tokio::spawn(Arc::clone(&service).watch(shutdown.clone()));
    match outcome {
        Ok(report) => {
            pipelines::show(s, &report);
            if !s.json {
                let state = service.state_line();
                say(&format!(" serving    {url}   {state}   (Ctrl-C stops; nothing is lost)"));
            }
            until_stopped(s).await;
        }
        Err(error) => {
            service.stopping().stop();
            shutdown.cancel();
            let _ = watching.await;
            if let Err(second) = finish(answering).await {
                say_error(&second.chain(), None);
            }
            return Err(error);
        }
    }
    service.stopping().stop();
    shutdown.cancel();
    let _ = watching.await;
    finish(answering).await
}
