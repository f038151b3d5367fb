//! `run`, `evaluate`, `advance`: a pipeline on the data directory.

use std::path::Path;
use std::sync::Arc;

use foretell_platform::{
    Connection, Observer, PlatformError, RunOptions, RunReport, connect, read_pipeline, stations,
};

use super::{Session, serving};
use crate::arguments::{EvaluateArguments, PipelineArgument, RunArguments};
use crate::output::{model_table, notes, run_report, say, say_json};
use crate::progress::Progress;

pub(super) async fn run(s: &Session, args: RunArguments) -> Result<(), PlatformError> {
    let mended = args.replay.as_deref().map(stations::read_quarantine).transpose()?;
    let options = RunOptions { require_skill: args.require_skill, lock_box: false, mended };
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
    let (pipeline, text) = read_pipeline(file)?;
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(s.json));
    match connect(&s.data_dir, s.lake.as_ref(), command).await? {
        Connection::Local(service) => {
            service.run(pipeline, options, observer, Arc::clone(&s.stop)).await
        }
        Connection::Remote(remote) => {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            remote.run(&text, &file.to_string_lossy(), options, observer, &s.stop).await
        }
    }
}

pub(super) fn show(s: &Session, report: &RunReport) {
    if s.json { say_json(report) } else { run_report(report) }
}

pub(super) async fn evaluate(s: &Session, args: &EvaluateArguments) -> Result<(), PlatformError> {
    if args.lock_box {
        let options =
            RunOptions { require_skill: args.require_skill, lock_box: true, mended: None };
        let file = &args.station.pipeline;
        let report = run_pipeline(s, file, options, "foretell evaluate --lock-box").await?;
        show(s, &report);
        return Ok(());
    }
    let station = &args.station;
    let input = foretell_platform::StationInput::open(&station.pipeline, station.input.as_deref())?;
    let progress = Arc::new(Progress::new(s.json));
    let output = station.output.as_deref();
    let done = stations::evaluate(&input, output, progress, Arc::clone(&s.stop)).await?;
    if s.json {
        say_json(&done);
    } else {
        say(model_table(&done.table, done.level, done.cost_bp).trim_end());
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
    match connect(&s.data_dir, s.lake.as_ref(), "foretell advance").await? {
        Connection::Local(service) => {
            let progress: Arc<dyn Observer> = Arc::new(Progress::new(s.json));
            let done = service.advance(&pipeline, progress).await?;
            if s.json {
                say_json(&done);
            } else {
                say(&done.summary());
            }
            Ok(())
        }
        Connection::Remote(_) => Err(PlatformError::Usage {
            message: "the process that owns the data directory advances its pipelines itself"
                .to_owned(),
            hint: "`foretell serve` takes in new rows of every live pipeline".to_owned(),
        }),
    }
}

pub(super) async fn backfill(s: &Session, args: &PipelineArgument) -> Result<(), PlatformError> {
    let (pipeline, _) = read_pipeline(&args.pipeline)?;
    match connect(&s.data_dir, s.lake.as_ref(), "foretell backfill").await? {
        Connection::Local(service) => {
            let progress: Arc<dyn Observer> = Arc::new(Progress::in_steps(s.json));
            let done = service.backfill(&pipeline, progress, Arc::clone(&s.stop)).await?;
            if s.json {
                say_json(&done);
            } else {
                say(&done.summary());
            }
            Ok(())
        }
        Connection::Remote(remote) => Err(PlatformError::InUse {
            path: s.data_dir.clone(),
            owner: format!("a process that serves {}", remote.base()),
        }),
    }
}
