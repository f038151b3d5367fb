//! Reaching a data directory: by owning it, or through the API of whoever owns it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use crate::clock::SystemClock;
use crate::data_dir::{DataDir, Owner, Ownership};
use crate::error::PlatformError;
use crate::observer::Stop;
use crate::remote::Remote;
use crate::service::Service;

/// A data directory, either owned by this process or by one that answers for it.
#[derive(Debug)]
pub enum Connection {
    /// This process owns it.
    Local(Box<Service>),
    /// Another process owns it and serves its API.
    Remote(Remote),
}

/// Which data directory is meant, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The data directory.
    pub path: &'a Path,
    /// Where the lake lies, when not inside.
    pub lake: Option<&'a Url>,
    /// The command that asks, as other processes are told it.
    pub command: &'a str,
    /// Ends the waiting.
    pub stop: &'a Stop,
}

/// How long a process that serves no API (one that only answers a question, or is about
/// to serve) is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a directory that is taken is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Takes a data directory for work, or finds the process that serves it for good, which
/// does the work instead. A process that has it only for its own work is waited for;
/// `waiting` is told once for whom.
///
/// # Errors
/// When it cannot be opened, its owner does not answer, or the user stopped the waiting.
pub async fn connect(
    place: Place<'_>,
    waiting: impl Fn(&str),
) -> Result<Connection, PlatformError> {
    let mut told = false;
    reach(place, |owner| {
        let passing = owner.api.is_some() && !owner.lasting;
        if passing && !told {
            waiting(&format!("waiting for {} to end", owner.describe()));
            told = true;
        }
        if passing { Suits::Later } else { Suits::Now }
    })
    .await
}

/// [`connect`] for a question: any process that has the directory may answer it, and a
/// directory that does not exist is not made.
///
/// # Errors
/// As [`connect`], and when there is no such directory.
pub async fn connect_existing(place: Place<'_>) -> Result<Connection, PlatformError> {
    if !place.path.join("registry.sqlite").is_file() {
        return Err(PlatformError::not_found(
            format!("data directory {}", place.path.display()),
            "run a pipeline first (`foretell run pipelines/btc-usd-hourly.toml`), or name one \
             with --data-dir",
        ));
    }
    reach(place, |_| Suits::Now).await
}

/// Whether an owner's API is what is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Suits {
    Now,
    /// Not it: the directory is waited for.
    Later,
}

async fn reach(
    place: Place<'_>,
    mut suits: impl FnMut(&Owner) -> Suits,
) -> Result<Connection, PlatformError> {
    let mut silent_since = Instant::now();
    loop {
        place.stop.check()?;
        let owner = match DataDir::take(place.path, place.command)? {
            Ownership::Mine(dir) => {
                let clock = Arc::new(SystemClock);
                let service = Service::open(dir, place.lake, place.command, clock).await?;
                return Ok(Connection::Local(Box::new(service)));
            }
            Ownership::Theirs(owner) => owner,
        };
        match suits(&owner) {
            Suits::Later => silent_since = Instant::now(),
            Suits::Now => {
                // A note of a process that has just ended names an API that is gone.
                if let Some(remote) = Remote::of(&owner)?
                    && remote.answers().await
                {
                    return Ok(Connection::Remote(remote));
                }
            }
        }
        if silent_since.elapsed() > PATIENCE {
            let (path, owner) = (place.path.to_owned(), owner.describe());
            return Err(PlatformError::InUse { path, owner });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
