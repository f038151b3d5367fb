//! The live river: `up`, and its parts as processes of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_platform::river::{LogAddress, Part, RiverOptions, RiverPlan, RiverStatus, run_part};
use foretell_platform::{Observer, PlatformError, SystemClock, Url, read_pipeline, wording};
use tokio_util::sync::CancellationToken;

use super::Session;
use super::serving::{bind, finish, own, until_stopped};
use crate::arguments::{LogArguments, PartArguments, UpArguments};
use crate::output::{say, say_json};
use crate::progress::Progress;

fn plan(files: &[PathBuf], feed: Option<Url>) -> Result<RiverPlan, PlatformError> {
    let pipelines = files.iter().map(|file| read_pipeline(file).map(|(pipeline, _)| pipeline));
    RiverPlan::new(pipelines.collect::<Result<_, _>>()?, feed)
}

fn options(log: &LogArguments) -> RiverOptions {
    RiverOptions { log: log.log.clone(), instance: log.instance.clone(), ..RiverOptions::default() }
}

pub(super) async fn up(s: &Session, args: UpArguments) -> Result<(), PlatformError> {
    let plan = plan(&args.pipelines, args.feed.feed.clone())?;
    let options = RiverOptions {
        retain: Some(args.retain),
        budget: args.log_budget.map(|megabytes| megabytes.saturating_mul(1_000_000)),
        ..options(&args.log)
    };
    let server = bind(&args.api).await?;
    let service = own(s, "foretell up").await?;
    service.announce(&server.url(), true)?;
    let url = server.url();
    let shutdown = CancellationToken::new();
    let answering = tokio::spawn(server.run(Arc::clone(&service), shutdown.clone()));
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(s.json));
    let watched = plan.pipelines().iter().map(|p| format!("{} {}", p.instrument, p.interval));
    let watched = watched.collect::<Vec<_>>().join(", ");
    let work = async {
        let stop = Arc::clone(&s.stop);
        let ready = service.ready_river(plan, options, observer, stop).await?;
        if s.json {
            say_json(&serde_json::json!({ "serving": url, "river": ready.started }));
        } else {
            let history = wording::thousands(ready.started.history as u64);
            let log = match ready.started.log.as_str() {
                "embedded" => format!("log in {}", s.data_dir.join("log").display()),
                cluster => format!("log on {cluster}"),
            };
            say(&format!(" river        {watched} · {log} · {history} candles of the past"));
            say(&format!(" serving      {url}   {}", service.state_line()));
            say("              Ctrl-C stops; nothing is lost");
        }
        ready.until(until_stopped(s)).await
    };
    let outcome = work.await;
    service.stopping().stop();
    shutdown.cancel();
    let finished = finish(answering).await;
    outcome.and(finished)
}

pub(super) async fn part(
    s: &Session,
    part: Part,
    args: &PartArguments,
) -> Result<(), PlatformError> {
    run(s, part, &args.pipelines, args.feed.feed.clone(), &args.log).await
}

/// `features` of pipeline files on a cluster.
pub(super) async fn features(
    s: &Session,
    file: &Path,
    log: &LogArguments,
) -> Result<(), PlatformError> {
    run(s, Part::Features, &[file.to_owned()], None, log).await
}

async fn run(
    s: &Session,
    part: Part,
    files: &[PathBuf],
    feed: Option<Url>,
    log: &LogArguments,
) -> Result<(), PlatformError> {
    let plan = plan(files, feed)?;
    let options = options(log);
    if options.log != LogAddress::Embedded {
        let what = match part {
            Part::Ingest => "venues → trade",
            Part::Transform => "trade → ohlcv",
            Part::Features => "ohlcv → feature",
        };
        if s.json {
            say_json(&serde_json::json!({ "log": options.log.to_string(), "work": what }));
        } else {
            say(&format!(" river        {what} on {} as {}", options.log, options.instance));
            say("              Ctrl-C stops; nothing is lost");
        }
    }
    let status = Arc::new(RiverStatus::default());
    run_part(part, &plan, &options, Arc::new(SystemClock), status, until_stopped(s)).await
}
