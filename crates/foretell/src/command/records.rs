//! What is kept: models, runs, gaps. Works while another process owns the directory,
//! through its API.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_market::Timestamp;
use foretell_platform::{
    Connection, GapQuery, GapView, ModelDetail, ModelView, PlatformError, RunDetail, RunView,
    StepView, read_pipeline, wording,
};

use super::Session;
use crate::arguments::{GapsArguments, ModelsCommand, RunsCommand};
use crate::output::{aligned, model_table, say, say_json, thousands};

pub(super) async fn models(s: &Session, command: ModelsCommand) -> Result<(), PlatformError> {
    let asking = "foretell models";
    let (name, version) = match command {
        ModelsCommand::List => {
            let put = async |connection| match connection {
                Connection::Local(service) => service.models().await,
                Connection::Remote(remote) => remote.models().await,
            };
            let models = s.question(asking, put).await?;
            match s.json {
                true => say_json(&models),
                false => list_models(&models),
            }
            return Ok(());
        }
        ModelsCommand::Show { name, version } => {
            let put = async |connection| match connection {
                Connection::Local(service) => service.model_detail(&name, version).await,
                Connection::Remote(remote) => remote.model_detail(&name, version).await,
            };
            let detail = s.question(asking, put).await?;
            match s.json {
                true => say_json(&detail),
                false => show_model(&detail),
            }
            return Ok(());
        }
        ModelsCommand::Export(args) => return super::interop::export(s, &args).await,
        ModelsCommand::Promote { name, version } => (name, Some(version)),
        ModelsCommand::Rollback { name } => (name, None),
    };
    // Not asked again: a roll-back that was done and not answered would be done twice.
    let model = match s.ask(asking).await? {
        Connection::Local(service) => service.promote(&name, version).await?,
        Connection::Remote(remote) => s.stop.or_stopped(remote.promote(&name, version)).await?,
    };
    if s.json {
        say_json(&model);
    } else {
        let (name, version, recipe) = (&model.name, model.version, &model.recipe);
        say(&format!("champion of {name} is now version {version} ({recipe})"));
    }
    Ok(())
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// The note under a list that shows historical demos: whose data ends when.
fn say_demos<'a>(ends: impl Iterator<Item = (&'a str, Option<Timestamp>)>) {
    let mut latest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for (name, end) in ends {
        if let Some(end) = end {
            let known = latest.entry(name).or_insert(end);
            *known = end.max(*known);
        }
    }
    for (name, end) in latest {
        say(&format!(" note   {name} is a historical demo: its data ends {}", end.human()));
    }
}

fn list_models(models: &[ModelView]) {
    let head = ["model", "version", "recipe", "alias", "skill", "p", "fitted as of", "hash"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for m in models {
        rows.push(vec![
            m.name.clone(),
            m.version.to_string(),
            m.recipe.clone(),
            m.aliases.join(" "),
            or_dash(m.skill.map(wording::percent)),
            or_dash(m.p_value.map(wording::p_value)),
            match m.includes_lock_box {
                true => format!("{}, lock-box included", m.fitted_as_of.human()),
                false => m.fitted_as_of.human(),
            },
            m.hash.chars().take(12).collect(),
        ]);
    }
    say(aligned(&rows).trim_end());
    say_demos(models.iter().map(|m| (m.name.as_str(), m.historical_demo)));
}

fn show_model(detail: &ModelDetail) {
    let m = &detail.model;
    let alias = match m.aliases.is_empty() {
        true => String::new(),
        false => format!(" ({})", m.aliases.join(", ")),
    };
    say(&format!("{} version {}{alias}  {}", m.name, m.version, m.recipe));
    if let (Some(line), Some(level)) = (&detail.evaluation, detail.level) {
        let judged = match (m.skill, detail.passed) {
            (None, _) => "the rival of all others",
            (Some(_), true) => "passed the promotion rule",
            (Some(_), false) => "did not pass the promotion rule",
        };
        say(&format!("  judged       out of sample: {judged}"));
        say(model_table(std::slice::from_ref(line), level, None).trim_end());
    }
    if let Some(spread) = &m.spread {
        say(&format!("               {}", spread.sentence()));
    }
    say(&format!("  fitted       as of {}", m.fitted_as_of.human()));
    let lock_box = if m.includes_lock_box { ", the opened lock-box included" } else { "" };
    say(&format!(
        "  learnt from  {} … {}{lock_box}",
        detail.train_from.human(),
        detail.train_to.human()
    ));
    say(&format!("  estimator    {}", detail.spec));
    say(&format!("  run          {}   (`foretell reproduce` fits it again)", m.run));
    say(&format!("  registered   {}", m.created_at.human()));
    say(&format!("  hash         {}", m.hash));
    say(&format!("  dataset      {}", m.dataset));
    say(&format!("  features     {}", detail.feature_set));
    for champion in detail.champions.iter().take(10) {
        let (version, at) = (champion.version, champion.at.human());
        say(&format!("  champion     version {version} since {at}"));
    }
    super::explaining::show_features(detail);
    say_demos(std::iter::once((m.name.as_str(), m.historical_demo)));
}

pub(super) async fn runs(s: &Session, command: RunsCommand) -> Result<(), PlatformError> {
    let asking = "foretell runs";
    match command {
        RunsCommand::List => {
            let put = async |connection| match connection {
                Connection::Local(service) => service.runs().await,
                Connection::Remote(remote) => remote.runs().await,
            };
            let runs = s.question(asking, put).await?;
            match s.json {
                true => say_json(&runs),
                false => list_runs(&runs),
            }
        }
        RunsCommand::Show { id } => {
            let put = async |connection| match connection {
                Connection::Local(service) => service.run_detail(&id).await,
                Connection::Remote(remote) => remote.run_detail(&id).await,
            };
            let detail = s.question(asking, put).await?;
            match s.json {
                true => say_json(&detail),
                false => show_run(&detail),
            }
        }
    }
    Ok(())
}

fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<String> {
    let micros = to?.micros() - from?.micros();
    Some(format!("{:.1} s", micros as f64 / 1e6))
}

fn list_runs(runs: &[RunView]) {
    let head = ["run", "pipeline", "kind", "status", "started", "took"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in runs {
        rows.push(vec![
            run.id.clone(),
            run.pipeline.clone(),
            run.kind.clone(),
            run.status.clone(),
            run.started_at.human(),
            or_dash(seconds(Some(run.started_at), run.finished_at)),
        ]);
    }
    say(aligned(&rows).trim_end());
    say_demos(runs.iter().map(|r| (r.pipeline.as_str(), r.historical_demo)));
}

fn step_line(step: &StepView) -> String {
    let mark = match step.status.as_str() {
        "succeeded" => "✔",
        "running" | "pending" | "retrying" => "▸",
        _ => "✘",
    };
    let took = seconds(step.started_at, step.finished_at).unwrap_or_default();
    let again = match step.attempt {
        0 | 1 => String::new(),
        n => format!("   attempt {n}"),
    };
    let error = step.error.as_ref().map_or_else(String::new, |e| format!("   {e}"));
    format!("  {mark} {:<10} {:<10} {took}{again}{error}", step.name, step.status)
}

fn show_run(detail: &RunDetail) {
    let run = &detail.run;
    say(&format!("run {}  {} of {}  {}", run.id, run.kind, run.pipeline, run.status));
    let took = seconds(Some(run.started_at), run.finished_at);
    let took = took.map_or_else(String::new, |t| format!(", took {t}"));
    say(&format!("  started    {}{took}", run.started_at.human()));
    say(&format!("  pipeline   {}", detail.file));
    if let Some(end) = run.historical_demo {
        say(&format!("  note       historical demo: the data ends {}", end.human()));
    }
    if let Some(error) = &run.error {
        say(&format!("  error      {error}"));
    }
    for step in &detail.steps {
        say(&step_line(step));
    }
    for artifact in &detail.artifacts {
        say(&format!("  {:<28} {}", artifact.name, artifact.place));
    }
    for (name, value) in &detail.params {
        say(&format!("  {name:<28} {value}"));
    }
    for (name, value) in &detail.metrics {
        say(&format!("  {name:<44} {value}"));
    }
    if !detail.models.is_empty() {
        list_models(&detail.models);
    }
}

pub(super) async fn gaps(s: &Session, args: GapsArguments) -> Result<(), PlatformError> {
    // A file stands for the pipeline that it describes.
    let pipeline = match args.pipeline {
        Some(text) if Path::new(&text).is_file() => Some(read_pipeline(Path::new(&text))?.0.name),
        other => other,
    };
    let limit = Some(args.limit);
    let query = GapQuery { instrument: None, pipeline, open: args.open, limit };
    let put = async |connection| match connection {
        Connection::Local(service) => service.gaps(&query).await,
        Connection::Remote(remote) => remote.gaps(&query).await,
    };
    let gaps = s.question("foretell gaps", put).await?;
    match s.json {
        true => say_json(&gaps),
        false => list_gaps(&gaps, args.limit),
    }
    Ok(())
}

fn list_gaps(gaps: &[GapView], limit: u32) {
    if gaps.is_empty() {
        say("no gap is on record");
        return;
    }
    let head = ["pipeline", "from", "to", "intervals", "first seen", "by run", "closed", "by run"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for gap in gaps {
        rows.push(vec![
            gap.pipeline.clone(),
            gap.from.human(),
            gap.to.human(),
            format!("{} × {}", thousands(gap.intervals), gap.interval),
            gap.first_seen_at.human(),
            gap.first_seen_by.clone(),
            match (gap.closed_at, gap.partly) {
                (None, _) => "open".to_owned(),
                (Some(at), false) => at.human(),
                (Some(at), true) => format!("{} in part", at.human()),
            },
            or_dash(gap.closed_by.clone()),
        ]);
    }
    say(aligned(&rows).trim_end());
    let open: Vec<&GapView> = gaps.iter().filter(|g| g.closed_at.is_none()).collect();
    let missing: u64 = open.iter().map(|g| g.intervals).sum();
    let (count, missing) = (thousands(open.len() as u64), thousands(missing));
    say(&format!(" {count} open, {missing} intervals missing; a gap is kept, not filled"));
    if gaps.len() as u64 == u64::from(limit) {
        say(&format!(" note   the latest {limit} are shown; --limit shows more"));
    }
}
