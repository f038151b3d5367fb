//! The live river: `up`, and its parts as processes of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_market::Clock as _;
use foretell_platform::river::{
    ForecastsReplayed, LogAddress, Part, Recorded, ReplayOptions, RiverOptions, RiverPlan,
    RiverStatus, run_part,
};
use foretell_platform::{
    Connection, Listener, Observer, PlatformError, Remote, SystemClock, Told, Url, read_pipeline,
    wording,
};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::serving::{bind, finish, own, until_stopped};
use super::{Session, demo};
use crate::arguments::{
    LogArguments, PartArguments, PeriodArguments, ReplayArguments, ServeArguments, UpArguments,
    ViewArguments,
};
use crate::output::{forecast_line, say, say_json};
use crate::progress::Progress;

fn plan(files: &[PathBuf], feed: Option<Url>) -> Result<RiverPlan, PlatformError> {
    let pipelines = files.iter().map(|file| read_pipeline(file).map(|(pipeline, _)| pipeline));
    RiverPlan::new(pipelines.collect::<Result<_, _>>()?, feed)
}

fn options(log: &LogArguments) -> RiverOptions {
    RiverOptions { log: log.log.clone(), instance: log.instance.clone(), ..RiverOptions::default() }
}

/// Rows in memory, of those that serve.
fn viewed(options: RiverOptions, view: ViewArguments) -> RiverOptions {
    RiverOptions { rows_in_memory: view.view_rows as usize, ..options }
}

pub(super) async fn up(s: &Session, args: UpArguments) -> Result<(), PlatformError> {
    // Its exchange plays as long as the river runs.
    let demo = match args.demo {
        true => Some(demo::open(&s.data_dir.join("demo")).await?),
        false => None,
    };
    let plan = match &demo {
        Some(demo) => {
            let feed = demo.exchange.socket_url();
            plan(std::slice::from_ref(&demo.pipeline), Some(feed.clone()))?
        }
        None => plan(&args.pipelines, args.feed.feed.clone())?,
    };
    let options = RiverOptions {
        retain: Some(args.retain),
        budget: args.log_budget.map(|megabytes| megabytes.saturating_mul(1_000_000)),
        ..viewed(options(&args.log), args.view)
    };
    serve(s, "foretell up", plan, options, &args.api, true).await
}

/// `forecast` of pipeline files on a cluster: what needs the data directory.
pub(super) async fn forecast(
    s: &Session,
    files: &[PathBuf],
    log: &LogArguments,
    view: ViewArguments,
    api: &ServeArguments,
) -> Result<(), PlatformError> {
    log.log.must_be_shared()?;
    let options = viewed(options(log), view);
    serve(s, "foretell forecast", plan(files, None)?, options, api, false).await
}

/// Runs a river, or the part of it that owns the data directory, and the API.
async fn serve(
    s: &Session,
    command: &str,
    plan: RiverPlan,
    options: RiverOptions,
    api: &ServeArguments,
    everything: bool,
) -> Result<(), PlatformError> {
    let server = bind(api).await?;
    let service = own(s, command).await?;
    service.announce(&server.url(), true)?;
    let url = server.url();
    let shutdown = CancellationToken::new();
    let answering = tokio::spawn(server.run(Arc::clone(&service), shutdown.clone()));
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(s.json));
    let watched = plan.pipelines().iter().map(|p| format!("{} {}", p.instrument, p.interval));
    let watched = watched.collect::<Vec<_>>().join(", ");
    let work = async {
        let stop = Arc::clone(&s.stop);
        let ready = service.ready_river(plan, options, everything, observer, stop).await?;
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
        let shown = (!s.json).then(|| tokio::spawn(show_forecasts(service.listen())));
        let outcome = ready.until(until_stopped(s)).await;
        if let Some(shown) = shown {
            shown.abort();
        }
        outcome
    };
    let outcome = work.await;
    service.stopping().stop();
    shutdown.cancel();
    let finished = finish(answering).await;
    outcome.and(finished)
}

/// A line for each forecast as it is made.
async fn show_forecasts(mut told: Listener) {
    loop {
        match told.recv().await {
            Ok(told) => {
                if let Told::Forecast(view) = &*told {
                    say(&forecast_line(&foretell_server::forecast_json((**view).clone())));
                }
            }
            // A terminal that is slower than the market misses lines.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
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

/// Who does work on a recorded period.
enum Worker {
    /// This process, on the log of a data directory that it owns, or of a cluster.
    Here(Recorded),
    /// The process that runs the river of the data directory.
    There(Remote),
}

/// Finds who has the log of the data directory. That of a cluster is read here, with the
/// champions of the data directory where they are asked for: then whoever owns that is asked.
async fn worker(
    s: &Session,
    command: &str,
    plan: &RiverPlan,
    log: &LogArguments,
    champions: bool,
) -> Result<Worker, PlatformError> {
    let connection = match (&log.log, champions) {
        (LogAddress::Embedded, _) => Some(s.take(command).await?),
        (LogAddress::Kafka(_), false) => None,
        (LogAddress::Kafka(_), true) => match s.ask(command).await {
            // Nothing ran here: there is no champion.
            Err(PlatformError::NotFound { .. }) => None,
            found => Some(found?),
        },
    };
    let service = match connection {
        Some(Connection::Remote(remote)) => return Ok(Worker::There(remote)),
        Some(Connection::Local(service)) => Some(Arc::new(*service)),
        None => None,
    };
    let opened = log.log.open(&s.data_dir, &log.instance, None).await?;
    let recorded = Recorded::on(opened.log, plan.clone());
    Ok(Worker::Here(match service {
        Some(service) => recorded.with(service),
        None => recorded,
    }))
}

pub(super) async fn replay(s: &Session, args: ReplayArguments) -> Result<(), PlatformError> {
    let PeriodArguments { pipelines, from, to, log } = args.period;
    let (plan, version) = (plan(&pipelines, None)?, args.version);
    let job = args.job.unwrap_or_else(|| ReplayOptions::new_job(SystemClock.now()));
    let options = ReplayOptions { from, to, speed: args.speed.0, job, keep: args.keep };
    options.check()?;
    let progress = Arc::new(Progress::new(s.json));
    let report = match worker(s, "foretell replay", &plan, &log, true).await? {
        Worker::Here(recorded) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            recorded.replay(options.clone(), version, observer, Arc::clone(&s.stop)).await?
        }
        Worker::There(remote) => {
            let address = log.log.to_string();
            remote.replay(&plan, &address, &options, version, &*progress, &s.stop).await?
        }
    };
    progress.clear();
    if s.json {
        say_json(&report);
        return Ok(());
    }
    let (events, history) = (wording::thousands(report.events), wording::thousands(report.history));
    say(&format!(
        " replayed     {events} events in {:.1} s, on {history} candles of the past",
        report.seconds
    ));
    for (topic, records) in &report.written {
        say(&format!("              {} records of {topic}", wording::thousands(*records)));
    }
    for of in &report.forecasts {
        say(&format!("              {}", replayed_line(of)));
    }
    if !options.keep {
        say("              its topics are removed; --keep leaves them");
    }
    Ok(())
}

/// What became of the forecasts of a pipeline.
fn replayed_line(of: &ForecastsReplayed) -> String {
    let [forecasts, outcomes, same, differing, unrecorded] =
        [of.forecasts, of.outcomes, of.same, of.differing, of.unrecorded].map(wording::thousands);
    let name = &of.pipeline;
    let Some(version) = of.version else {
        return format!("{name}: no champion in the data directory, nothing was forecast");
    };
    format!(
        "{name} v{version}: {forecasts} forecasts, {outcomes} outcomes; of the river's own \
         {same} are the same, {differing} differ, {unrecorded} it did not make"
    )
}

pub(super) async fn parity(s: &Session, args: PeriodArguments) -> Result<(), PlatformError> {
    let plan = plan(&args.pipelines, None)?;
    let period = (args.from, args.to);
    let progress = Arc::new(Progress::new(s.json));
    let report = match worker(s, "foretell parity", &plan, &args.log, false).await? {
        Worker::Here(recorded) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            recorded.parity(period, observer, Arc::clone(&s.stop)).await?
        }
        Worker::There(remote) => {
            let address = args.log.log.to_string();
            remote.parity(&plan, &address, period, &*progress, &s.stop).await?
        }
    };
    progress.clear();
    if s.json {
        say_json(&report);
    } else {
        let [trades, candles, rows] =
            [report.trades, report.candles, report.rows].map(wording::thousands);
        let mark = if report.is_equal() { "✔" } else { "✘" };
        let outcome = match report.different {
            0 => "equal, to the bit".to_owned(),
            n => format!("{} differ", wording::thousands(n)),
        };
        say(&format!(
            " {mark} parity     {candles} candle versions and {rows} rows made again from {trades} trades: {outcome}"
        ));
        if report.gone > 0 {
            let gone = wording::thousands(report.gone);
            say(&format!(
                "              {gone} candles are older than the log's trades: not compared"
            ));
        }
        for line in &report.differences {
            say(&format!("              {line}"));
        }
    }
    if report.is_equal() {
        return Ok(());
    }
    Err(PlatformError::Mismatch(format!("{} records differ from their batch", report.different)))
}
