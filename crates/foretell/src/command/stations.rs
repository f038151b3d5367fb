//! One station on a file: `extract`, `gate`, `profile`, `features`, `train`, `audit`.

use std::path::Path;

use foretell_platform::stations::Trained;
use foretell_platform::{Connection, PlatformError, StationInput, stations, wording};

use super::{Session, rivers};
use crate::arguments::{FeaturesArguments, GateArguments, LogArguments, StationArguments};
use crate::output::{aligned, aligned_left, say, say_json};
use crate::progress::Progress;

fn input(args: &StationArguments) -> Result<StationInput, PlatformError> {
    StationInput::open(&args.pipeline, args.input.as_deref())
}

fn written(output: Option<&Path>) -> String {
    output.map_or_else(String::new, |path| format!("   → {}", path.display()))
}

pub(super) async fn extract(s: &Session, args: &StationArguments) -> Result<(), PlatformError> {
    let input = input(args)?;
    let progress = Progress::new(s.json);
    let done =
        s.stop.or_stopped(stations::extract(&input, args.output.as_deref(), &progress)).await?;
    progress.clear();
    if s.json {
        say_json(&done);
    } else {
        say(&format!("{}{}", done.summary, written(args.output.as_deref())));
    }
    Ok(())
}

pub(super) async fn gate(s: &Session, args: GateArguments) -> Result<(), PlatformError> {
    let replay = args.replay.as_deref();
    let file = replay.map(|meant| stations::quarantine_file(&s.data_dir, meant)).transpose()?;
    let rows = args.input.as_deref();
    let input = match &args.pipeline {
        Some(pipeline) => StationInput::open(pipeline, rows)?,
        None => of_quarantine(s, file.as_deref().unwrap_or(Path::new("")), rows).await?,
    };
    let output = args.output.as_deref();
    let progress = Progress::new(s.json);
    let done =
        s.stop.or_stopped(stations::gate(&input, file.as_deref(), output, &progress)).await?;
    progress.clear();
    if s.json {
        say_json(&done);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = done
        .checks
        .iter()
        .map(|c| vec![c.name.clone(), c.status.to_string(), c.detail.clone()])
        .collect();
    say(aligned_left(&rows).trim_end());
    say(&format!("{}{}", done.summary, written(output)));
    Ok(())
}

/// The pipeline of the run whose rows a quarantine file holds, as the run had it.
async fn of_quarantine(
    s: &Session,
    file: &Path,
    input: Option<&Path>,
) -> Result<StationInput, PlatformError> {
    let run = file.file_stem().unwrap_or_default().to_string_lossy();
    let put = async |connection| match connection {
        Connection::Local(service) => service.run_detail(&run).await,
        Connection::Remote(remote) => remote.run_detail(&run).await,
    };
    let detail = s.question("foretell gate", put).await.map_err(|_| PlatformError::Usage {
        message: format!("{} does not tell its pipeline", file.display()),
        hint: "name it: `foretell gate <pipeline> --replay <file>`".to_owned(),
    })?;
    StationInput::of_run(&detail, input)
}

pub(super) async fn profile(s: &Session, args: &StationArguments) -> Result<(), PlatformError> {
    let input = input(args)?;
    let output = args.output.as_deref();
    let progress = Progress::new(s.json);
    let profile = s.stop.or_stopped(stations::profile(&input, output, &progress)).await?;
    progress.clear();
    if s.json {
        say_json(&profile.profile);
        return Ok(());
    }
    say(&format!("{}{}", profile.summary, written(output)));
    Ok(())
}

pub(super) async fn features(s: &Session, args: &FeaturesArguments) -> Result<(), PlatformError> {
    if let Some(log) = &args.log {
        let log = LogArguments { log: log.clone(), instance: args.instance.clone() };
        return rivers::features(s, &args.station.pipeline, &log).await;
    }
    let input = input(&args.station)?;
    if args.list {
        let listed = stations::feature_list(&input)?;
        if s.json {
            say_json(&listed);
            return Ok(());
        }
        for feature in &listed {
            say(&format!("{}  (warm-up {} rows)", feature.name, feature.warm_up));
            say(&format!("    {}", feature.definition));
            say(&format!("    source: {}", feature.source));
        }
        return Ok(());
    }
    let output = args.station.output.as_deref();
    let progress = Progress::new(s.json);
    let done = s.stop.or_stopped(stations::features(&input, output, &progress)).await?;
    progress.clear();
    if s.json {
        say_json(&done);
    } else {
        say(&format!("{}{}", done.summary, written(output)));
    }
    Ok(())
}

pub(super) async fn train(s: &Session, args: &StationArguments) -> Result<(), PlatformError> {
    let input = input(args)?.keeping_in(&s.data_dir);
    let output = args.output.as_deref();
    let stop = std::sync::Arc::clone(&s.stop);
    let progress = std::sync::Arc::new(Progress::new(s.json));
    let models = stations::train(&input, output, progress, stop).await?;
    if s.json {
        say_json(&models);
        return Ok(());
    }
    let mut rows = vec![vec!["model".to_owned(), "rows".to_owned(), "hash".to_owned()]];
    let mut failed = Vec::new();
    for trained in &models {
        match trained {
            Trained::Model(model) => {
                let rows_of = wording::thousands(model.rows as u64);
                rows.push(vec![model.name.clone(), rows_of, model.hash[..12].to_owned()]);
            }
            Trained::Failed(line) => failed.push(format!("{} {}", line.name, line.words())),
        }
    }
    say(aligned(&rows).trim_end());
    for line in failed {
        say(&line);
    }
    say(&format!("fitted on every allowed row{}", written(output)));
    Ok(())
}

pub(super) async fn audit(s: &Session, args: &StationArguments) -> Result<(), PlatformError> {
    let input = input(args)?;
    let progress = Progress::new(s.json);
    let report = s.stop.or_stopped(stations::audit(&input, &progress)).await?;
    progress.clear();
    if s.json {
        say_json(&report);
    } else {
        say(&report.summary);
    }
    match report.offenders.is_empty() {
        true => Ok(()),
        false => Err(PlatformError::Mismatch(format!(
            "these features look ahead: {}",
            report.offenders.join(", ")
        ))),
    }
}
