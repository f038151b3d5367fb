//! What a data directory is asked: forecasts, proofs, reports. Works while another process
//! owns the directory, through its API.

use std::path::PathBuf;
use std::sync::Arc;

use foretell_market::Instrument;
use foretell_platform::{Connection, Observer, PlatformError, Proof, Service, write_file};

use super::{Session, rivers, serving};
use crate::arguments::{ForecastArguments, LogArguments, ReportArguments};
use crate::output::{forecast_line, say, say_json};
use crate::progress::Progress;

pub(super) async fn forecast(s: &Session, args: &ForecastArguments) -> Result<(), PlatformError> {
    if let Some(log) = &args.log {
        let log = LogArguments { log: log.clone(), instance: args.instance.clone() };
        let files: Vec<PathBuf> = args.subjects.iter().map(PathBuf::from).collect();
        return rivers::forecast(s, &files, &log, args.view, &args.api).await;
    }
    let [subject] = args.subjects.as_slice() else {
        return Err(PlatformError::Usage {
            message: "one instrument is asked for at a time".to_owned(),
            hint: "pipeline files are followed with --log kafka://host:9092".to_owned(),
        });
    };
    let instrument: Instrument = subject.parse().map_err(|error| PlatformError::Usage {
        message: format!("{error}"),
        hint: "such as BTC-USD; pipeline files are followed with --log kafka://host:9092"
            .to_owned(),
    })?;
    let (instrument, pipeline) = (&instrument, args.pipeline.as_deref());
    let put = async |connection| match connection {
        Connection::Local(service) => {
            let view = service.forecast(instrument, args.horizon, pipeline)?;
            Ok(foretell_server::forecast_json(view))
        }
        Connection::Remote(remote) => remote.forecast(instrument, args.horizon, pipeline).await,
    };
    let view = s.question("foretell forecast", put).await?;
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
    let put = async |connection| match connection {
        Connection::Local(service) => {
            serving::while_at_work(service, async |service| service.verify(id).await).await
        }
        Connection::Remote(remote) => remote.verify(id).await,
    };
    let proof = s.question("foretell verify", put).await?;
    show_proof(s, &proof, "forecast")
}

pub(super) async fn reproduce(s: &Session, id: &str) -> Result<(), PlatformError> {
    let (progress, stop) = (Arc::new(Progress::new(s.json)), Arc::clone(&s.stop));
    let proof = match s.take("foretell reproduce").await? {
        Connection::Local(service) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            let work = async |service: &Service| service.reproduce(id, observer, stop).await;
            serving::while_at_work(service, work).await?
        }
        Connection::Remote(remote) => remote.reproduce(id, &*progress, &stop).await?,
    };
    progress.clear();
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

pub(super) async fn report(s: &Session, args: &ReportArguments) -> Result<(), PlatformError> {
    let run = args.run.as_deref();
    let put = async |connection| match connection {
        Connection::Local(service) => match run {
            Some(id) => service.report(id).await,
            None => service.latest_report().await,
        },
        Connection::Remote(remote) => remote.report(run).await,
    };
    let html = s.question("foretell report", put).await?;
    write_file(&args.output, html.as_bytes())?;
    if s.json {
        say_json(&serde_json::json!({ "written": args.output }));
    } else {
        say(&format!("wrote {}", args.output.display()));
    }
    Ok(())
}
