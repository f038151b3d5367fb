//! What a data directory is asked: forecasts, proofs, models, runs, reports. Works
//! while another process owns the directory, through its API.

use std::sync::Arc;

use foretell_platform::{
    Connection, ModelView, PlatformError, Proof, connect_existing, write_file,
};

use super::Session;
use crate::arguments::{ForecastArguments, ModelsCommand, ReportArguments, RunsCommand};
use crate::output::{aligned, forecast_line, say, say_json};
use crate::progress::Progress;

pub(super) async fn forecast(s: &Session, args: &ForecastArguments) -> Result<(), PlatformError> {
    let view = match connect_existing(&s.data_dir, s.lake.as_ref(), "foretell forecast").await? {
        Connection::Local(service) => foretell_server::forecast_json(service.forecast(
            &args.instrument,
            args.horizon,
            args.pipeline.as_deref(),
        )?),
        Connection::Remote(remote) => {
            let pipeline = args.pipeline.as_deref();
            remote.forecast(&args.instrument, args.horizon, pipeline).await?
        }
    };
    if s.json {
        say_json(&view);
        return Ok(());
    }
    say(&forecast_line(&view));
    let text = |pointer: &str| view.pointer(pointer).map_or_else(String::new, plain);
    let of = |pointer: &str| text(pointer).chars().take(12).collect::<String>();
    say(&format!("  made at    {} from rows known at {}", text("/made_at"), text("/as_of")));
    say(&format!(
        "  model      {} version {} ({}), hash {}…",
        text("/model/name"),
        text("/model/version"),
        text("/model/alias"),
        of("/model/hash")
    ));
    say(&format!(
        "  interval   {}, realised coverage {} over {}",
        text("/interval/method"),
        text("/interval/realised_coverage"),
        text("/interval/over")
    ));
    say(&format!("  dataset    {}…   features {}…", of("/dataset"), of("/features/set")));
    say(&format!("  id         {}   (`foretell verify` recomputes it)", text("/id")));
    if view.pointer("/historical_demo").is_some_and(|v| v == true) {
        say("  note       historical demo: the present is the end of the data");
    }
    Ok(())
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) async fn verify(s: &Session, id: &str) -> Result<(), PlatformError> {
    let proof = match connect_existing(&s.data_dir, s.lake.as_ref(), "foretell verify").await? {
        Connection::Local(service) => service.verify(id).await?,
        Connection::Remote(remote) => remote.verify(id).await?,
    };
    show_proof(s, &proof, "forecast")
}

pub(super) async fn reproduce(s: &Session, id: &str) -> Result<(), PlatformError> {
    let proof = match connect_existing(&s.data_dir, s.lake.as_ref(), "foretell reproduce").await? {
        Connection::Local(service) => {
            service.reproduce(id, Arc::new(Progress::new(s.json)), Arc::clone(&s.stop)).await?
        }
        Connection::Remote(remote) => remote.reproduce(id).await?,
    };
    show_proof(s, &proof, "run")
}

fn show_proof(s: &Session, proof: &Proof, what: &str) -> Result<(), PlatformError> {
    if s.json {
        say_json(proof);
    } else {
        for check in &proof.checks {
            let short = |text: &str| text.chars().take(20).collect::<String>();
            match check.equal {
                true => say(&format!(" ✔ {:<28} {}", check.what, short(&check.stored))),
                false => say(&format!(
                    " ✘ {:<28} stored {}, recomputed {}",
                    check.what, check.stored, check.recomputed
                )),
            }
        }
    }
    if proof.matches {
        if !s.json {
            say(&format!("{what} {} recomputes to the bit", proof.subject));
        }
        return Ok(());
    }
    let differing: Vec<&str> =
        proof.checks.iter().filter(|c| !c.equal).map(|c| c.what.as_str()).collect();
    Err(PlatformError::Mismatch(format!(
        "{what} {} does not recompute: {} differ",
        proof.subject,
        differing.join(", ")
    )))
}

pub(super) async fn models(s: &Session, command: ModelsCommand) -> Result<(), PlatformError> {
    let connection = connect_existing(&s.data_dir, s.lake.as_ref(), "foretell models").await?;
    let (name, version) = match command {
        ModelsCommand::List => {
            let models = match connection {
                Connection::Local(service) => service.models().await?,
                Connection::Remote(remote) => remote.models().await?,
            };
            list_models(s, &models);
            return Ok(());
        }
        ModelsCommand::Promote { name, version } => (name, Some(version)),
        ModelsCommand::Rollback { name } => (name, None),
    };
    let model = match connection {
        Connection::Local(service) => service.promote(&name, version).await?,
        Connection::Remote(remote) => remote.promote(&name, version).await?,
    };
    if s.json {
        say_json(&model);
    } else {
        let (name, version, recipe) = (&model.name, model.version, &model.recipe);
        say(&format!("champion of {name} is now version {version} ({recipe})"));
    }
    Ok(())
}

fn list_models(s: &Session, models: &[ModelView]) {
    if s.json {
        say_json(&models);
        return;
    }
    let head = ["model", "version", "recipe", "alias", "skill", "p", "fitted as of", "hash"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for m in models {
        let percent = |v: f64| foretell_platform::wording::percent(v);
        rows.push(vec![
            m.name.clone(),
            m.version.to_string(),
            m.recipe.clone(),
            m.aliases.join(" "),
            m.skill.map_or_else(|| "–".to_owned(), percent),
            m.p_value.map_or_else(|| "–".to_owned(), foretell_platform::wording::p_value),
            match m.includes_lock_box {
                true => format!("{}, lock-box included", m.fitted_as_of.human()),
                false => m.fitted_as_of.human(),
            },
            m.hash.chars().take(12).collect(),
        ]);
    }
    say(aligned(&rows).trim_end());
}

pub(super) async fn runs(s: &Session, command: RunsCommand) -> Result<(), PlatformError> {
    let connection = connect_existing(&s.data_dir, s.lake.as_ref(), "foretell runs").await?;
    match command {
        RunsCommand::List => {
            let runs = match connection {
                Connection::Local(service) => service.runs().await?,
                Connection::Remote(remote) => remote.runs().await?,
            };
            if s.json {
                say_json(&runs);
                return Ok(());
            }
            let mut rows =
                vec![["run", "pipeline", "status", "started"].map(str::to_owned).to_vec()];
            for run in &runs {
                let started = run.started_at.human();
                rows.push(vec![run.id.clone(), run.pipeline.clone(), run.status.clone(), started]);
            }
            say(aligned(&rows).trim_end());
        }
        RunsCommand::Show { id } => {
            let detail = match connection {
                Connection::Local(service) => service.run_detail(&id).await?,
                Connection::Remote(remote) => remote.run_detail(&id).await?,
            };
            if s.json {
                say_json(&detail);
                return Ok(());
            }
            let run = &detail.run;
            say(&format!("run {}  {}  {}", run.id, run.pipeline, run.status));
            if let Some(error) = &run.error {
                say(&format!("  error      {error}"));
            }
            for (name, value) in &detail.params {
                say(&format!("  {name:<28} {value}"));
            }
            for (name, value) in &detail.metrics {
                say(&format!("  {name:<44} {value}"));
            }
            list_models(s, &detail.models);
        }
    }
    Ok(())
}

pub(super) async fn report(s: &Session, args: &ReportArguments) -> Result<(), PlatformError> {
    let run = args.run.as_deref();
    let html = match connect_existing(&s.data_dir, s.lake.as_ref(), "foretell report").await? {
        Connection::Local(service) => match run {
            Some(id) => service.report(id).await?,
            None => service.latest_report().await?,
        },
        Connection::Remote(remote) => remote.report(run).await?,
    };
    write_file(&args.output, html.as_bytes())?;
    if s.json {
        say_json(&serde_json::json!({ "written": args.output }));
    } else {
        say(&format!("wrote {}", args.output.display()));
    }
    Ok(())
}
