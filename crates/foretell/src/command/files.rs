//! `init`, `check`, `doctor`: files and settings, nothing stored.

use std::path::Path;

use foretell_platform::{
    PlatformError, data_dir_state, market_diagnosis, market_state, pipeline, read_pipeline,
    write_new_file,
};

use super::Session;
use crate::arguments::{CheckArguments, DoctorArguments, InitArguments};
use crate::output::{say, say_json};

pub(super) fn init(session: &Session, args: &InitArguments) -> Result<(), PlatformError> {
    let name = args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let text = pipeline::template(&name, args.instrument.as_str(), &args.input);
    write_new_file(&args.file, text.as_bytes())?;
    let file = args.file.display();
    if session.json {
        say_json(&serde_json::json!({ "written": args.file }));
    } else {
        say(&format!("wrote {file}"));
        say(&format!("next: edit it, then `foretell check {file}` and `foretell run {file}`"));
    }
    Ok(())
}

pub(super) async fn check(session: &Session, args: &CheckArguments) -> Result<(), PlatformError> {
    if args.schema {
        say_json(&pipeline::json_schema());
        return Ok(());
    }
    let Some(file) = &args.pipeline else {
        say(pipeline::reference().trim_end());
        return Ok(());
    };
    let (parsed, _) = read_pipeline(file)?;
    foretell_platform::expectations(&parsed.gate)?;
    let online = match args.online {
        true => Some(session.stop.or_stopped(market_state(&parsed)).await?),
        false => None,
    };
    if session.json {
        let mut shown = serde_json::to_value(&parsed).unwrap_or_default();
        if let Some(state) = online {
            shown["online"] = state.into();
        }
        say_json(&shown);
        return Ok(());
    }
    say(pipeline::reference().trim_end());
    say("");
    say(&explain(&parsed, file));
    if let Some(state) = online {
        say(&format!("  online: {state}"));
    }
    Ok(())
}

/// What a pipeline will do, in a few sentences.
fn explain(p: &foretell_platform::Pipeline, file: &Path) -> String {
    let models: Vec<&str> = p.models.iter().map(|m| m.name.as_str()).collect();
    let lock_box = p.lock_box.map_or_else(String::new, |b| {
        format!("\n  {} to {} is a lock-box that `run` never reads", b.from, b.to)
    });
    let mut bounds = String::new();
    let judged = &p.evaluation;
    if judged.seeds > 1 {
        bounds.push_str(&format!(", {} seeds where a model draws", judged.seeds));
    }
    if let Some(folds) = judged.folds {
        bounds.push_str(&format!(", the last {folds} refits alone"));
    }
    if let Some(epochs) = judged.epochs {
        bounds.push_str(&format!(", at most {epochs} epochs"));
    }
    if let Some(budget) = judged.time_budget {
        bounds.push_str(&format!(", no further seed after {budget}"));
    }
    format!(
        "{} is valid: pipeline `{}`\n  forecasts {} {} ahead from {} rows, as log returns of \
         `{}`\n  features: {}\n  models: {} and always the random walk\n  walk-forward: first \
         fit after {}, refit every {}, intervals of {:.0} %{bounds}{lock_box}\n  promotes at a \
         family-wise rate of {}",
        file.display(),
        p.name,
        p.instrument,
        p.label.horizon,
        p.interval,
        p.label.price,
        p.features.set,
        models.join(", "),
        p.evaluation.walk_forward.initial_train,
        p.evaluation.walk_forward.refit_every,
        p.evaluation.coverage * 100.0,
        p.alpha,
    )
}

pub(super) async fn doctor(session: &Session, args: &DoctorArguments) -> Result<(), PlatformError> {
    let mut findings = data_dir_state(&session.data_dir);
    for file in &args.pipelines {
        let (parsed, _) = read_pipeline(file)?;
        let asked = async { Ok(market_diagnosis(&parsed).await) };
        findings.push(session.stop.or_stopped(asked).await?);
    }
    if session.json {
        say_json(&findings);
        return Ok(());
    }
    for finding in &findings {
        let mark = if finding.ok { "✔" } else { "!" };
        say(&format!(" {mark} {:<16} {}", finding.what, finding.state));
        if let Some(remedy) = &finding.remedy {
            say(&format!("   remedy           {remedy}"));
        }
    }
    Ok(())
}
