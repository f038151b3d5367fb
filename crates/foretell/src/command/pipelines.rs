//! `run`, `evaluate`, `advance`: a pipeline on the data directory.

use std::path::Path;
use std::sync::Arc;

use foretell_platform::{
    Connection, Observer, PlatformError, RunOptions, RunReport, Service, read_pipeline, stations,
    wording,
};

use super::{Session, serving};
use crate::arguments::{EvaluateArguments, PipelineArgument, RunArguments};
use crate::output::{comparison, failed, model_table, notes, run_report, say, say_json, thousands};
use crate::progress::Progress;

pub(super) async fn run(s: &Session, args: RunArguments) -> Result<(), PlatformError> {
    let replay = args.replay.as_deref();
    let file = replay.map(|meant| stations::quarantine_file(&s.data_dir, meant)).transpose()?;
    let mended = file.as_deref().map(stations::read_quarantine).transpose()?;
    let (require_skill, full) = (args.require_skill, args.full);
    let options = RunOptions { require_skill, lock_box: false, full, mended };
    if args.serve {
        return serving::run_and_serve(s, &args.pipeline, options, args.api).await;
    }
    let report = run_pipeline(s, &args.pipeline, options, "foretell run").await?;
    show(s, &report);
    Ok(())
}

/// Runs a pipeline here, or has the owner of the directory run it.
async fn run_pipeline(
    s: &Session,
    file: &Path,
    options: RunOptions,
    command: &str,
) -> Result<RunReport, PlatformError> {
    let (pipeline, _) = read_pipeline(file)?;
    let (progress, stop) = (Arc::new(Progress::new(s.json)), Arc::clone(&s.stop));
    match s.take(command).await? {
        Connection::Local(service) => {
            let work =
                async |service: &Service| service.run(pipeline, options, progress, stop).await;
            serving::while_at_work(service, work).await
        }
        Connection::Remote(remote) => remote.run(&pipeline, options, &*progress, &stop).await,
    }
}

pub(super) fn show(s: &Session, report: &RunReport) {
    if s.json { say_json(report) } else { run_report(report) }
}

pub(super) async fn evaluate(s: &Session, args: &EvaluateArguments) -> Result<(), PlatformError> {
    if args.lock_box {
        let options = RunOptions {
            require_skill: args.require_skill,
            lock_box: true,
            ..RunOptions::default()
        };
        let file = &args.station.pipeline;
        let report = run_pipeline(s, file, options, "foretell evaluate --lock-box").await?;
        show(s, &report);
        return Ok(());
    }
    let station = &args.station;
    let input = foretell_platform::StationInput::open(&station.pipeline, station.input.as_deref())?;
    let mut input = input.keeping_in(&s.data_dir);
    if args.full {
        input.pipeline = input.pipeline.in_full();
    }
    let progress = Arc::new(Progress::new(s.json));
    let output = station.output.as_deref();
    let (dir, stop) = (&s.data_dir, Arc::clone(&s.stop));
    let done = stations::evaluate(&input, output, dir, progress, stop).await?;
    if s.json {
        say_json(&done);
    } else {
        say(model_table(&done.table, done.level, Some(done.cost_bp)).trim_end());
        say(&format!(
            " {} out-of-sample rows · {} refits · {} (fits: seeds × folds)",
            thousands(done.rows as u64),
            done.refits,
            wording::seeds_of(&done.table)
        ));
        failed(&done.failed);
        comparison(&done.table, &done.confidence_sets, done.ranks.as_ref());
        notes(done.volatility.as_ref(), None);
        say(&format!(" verdict    {}", done.reason));
        if let Some(end) = done.historical_demo {
            say(&format!(" note       historical demo: the data ends {}", end.human()));
        }
    }
    if args.require_skill && !done.skill {
        return Err(PlatformError::NoSkill(done.reason));
    }
    Ok(())
}

pub(super) async fn advance(s: &Session, args: &PipelineArgument) -> Result<(), PlatformError> {
    let (pipeline, _) = read_pipeline(&args.pipeline)?;
    let progress = Arc::new(Progress::new(s.json));
    let done = match s.take("foretell advance").await? {
        Connection::Local(service) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            let work =
                async |service: &Service| service.advance(&pipeline, observer, &s.stop).await;
            serving::while_at_work(service, work).await?
        }
        Connection::Remote(remote) => remote.advance(&pipeline, &*progress, &s.stop).await?,
    };
    progress.clear();
    if s.json {
        say_json(&done);
    } else {
        say(&done.summary());
    }
    Ok(())
}

pub(super) async fn backfill(s: &Session, args: &PipelineArgument) -> Result<(), PlatformError> {
    let (pipeline, _) = read_pipeline(&args.pipeline)?;
    let progress = Arc::new(Progress::in_steps(s.json));
    let done = match s.take("foretell backfill").await? {
        Connection::Local(service) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            let stop = Arc::clone(&s.stop);
            let work = async |service: &Service| service.backfill(&pipeline, observer, stop).await;
            serving::while_at_work(service, work).await?
        }
        Connection::Remote(remote) => remote.backfill(&pipeline, &*progress, &s.stop).await?,
    };
    progress.clear();
    if s.json {
        say_json(&done);
    } else {
        say(&done.summary());
    }
    Ok(())
}
