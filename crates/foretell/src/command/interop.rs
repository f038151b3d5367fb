//! Models of other programs: `import`, `predict`, `models export`; and `retrain`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::Arc;

use foretell_platform::{
    Connection, Direction, ExportFormat, ImportDone, ImportFrom, ImportRequest, Observer, Order,
    PlatformError, PricesGiven, RunOptions, Service, export as exported, import as take_in,
    predict as predicted, predict_at, predict_by, with_test_size, wording, write_file,
};
use serde_json::json;

use super::{Session, pipelines, serving};
use crate::arguments::{
    AnswersArgument, ExportArguments, FormatArgument, ImportCommand, PredictArguments,
    RetrainArguments, WindowArguments,
};
use crate::output::{green_or_red, say, say_json, say_progress};
use crate::progress::Progress;

/// The longest line of prices that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

pub(super) fn import(s: &Session, command: ImportCommand) -> Result<(), PlatformError> {
    let (from, window) = match command {
        ImportCommand::Torch { weights, hyper, x_scaler, y_scaler, window } => {
            (ImportFrom::Torch { weights, hyper, x_scaler, y_scaler }, window)
        }
        ImportCommand::Xgboost { model, window } => (ImportFrom::Xgboost(model), window),
        ImportCommand::Onnx { model, window } => (ImportFrom::Onnx(model), window),
    };
    let WindowArguments {
        name,
        columns,
        window,
        newest_first,
        oldest_first,
        answers,
        price,
        trained_until,
        output,
        replace,
    } = window;
    let request = ImportRequest {
        from,
        name,
        columns,
        price: (answers == AnswersArgument::Price).then_some(price),
        window,
        order: match (newest_first, oldest_first) {
            (true, _) => Some(Order::NewestFirst),
            (_, true) => Some(Order::OldestFirst),
            _ => None,
        },
        trained_until,
        output,
        replace,
    };
    let done = take_in(&s.data_dir, &request)?;
    if s.json {
        say_json(&done);
    } else {
        show_import(&done);
    }
    Ok(())
}

fn show_import(done: &ImportDone) {
    let hash = done.hash.chars().take(12).collect::<String>();
    say(&format!("{}  from {}, hash {hash}…   → {}", done.name, done.format, done.file.display()));
    say(&format!("  reads      {}", done.columns.join(", ")));
    if let Some(newest_first) = done.newest_first {
        let order = if newest_first { "the newest price first" } else { "the oldest price first" };
        let (before, behind) = match (done.order_found, done.order_assumed) {
            (true, _) => ("", " (seen from the scalers)"),
            (_, true) => ("assumed: ", "; if not, import it with --newest-first --replace"),
            _ => ("", ""),
        };
        say(&format!("  order      {before}{order}{behind}"));
    }
    say(&format!("  answers    {}", done.answers.replace('_', " ")));
    match done.trained_until {
        Some(until) => say(&format!("  trained    until {}", until.human())),
        None => say("  trained    until when is not declared: it is judged, but never promoted \
             (--trained-until)"),
    }
}

pub(super) async fn predict(s: &Session, args: PredictArguments) -> Result<(), PlatformError> {
    let text = match args.prices {
        Some(text) => text,
        None => asked(args.newest_first)?,
    };
    let prices: PricesGiven = text.parse()?;
    let prices = if args.newest_first { prices.newest_first() } else { prices };
    let model = args.model.as_deref();
    // On this machine a model may also be named by its file.
    let file = model.map(Path::new).filter(|path| path.is_file());
    let answer = match (&args.host, file) {
        (Some(host), _) => {
            if std::io::stderr().is_terminal() && !s.json {
                say_progress("Querying host..");
            }
            s.stop.or_stopped(predict_at(host, model, &prices)).await?
        }
        (None, Some(file)) => predict_by(file, &prices)?,
        (None, None) => predicted(&s.data_dir, model, &prices)?,
    };
    match s.json {
        true => say_json(&answer),
        false => show_direction(answer.direction, answer.price),
    }
    Ok(())
}

fn show_direction(direction: Direction, price: f64) {
    let price = (price * 1e5).round() / 1e5;
    match direction {
        Direction::Increases => say(&green_or_red(&format!("price increases to {price}"), true)),
        Direction::Decreases => say(&green_or_red(&format!("price decreases to {price}"), false)),
        Direction::Stays => say(&format!("price stays at {price}")),
    }
}

/// Asks for prices on a terminal, or reads the line that stands on the standard input.
fn asked(newest_first: bool) -> Result<String, PlatformError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let order = if newest_first { "the newest first" } else { "the oldest first" };
        say_progress(&format!("Prices, {order}, separated by commas:"));
    }
    let mut line = String::new();
    let read = stdin.lock().take(LONGEST_LINE).read_line(&mut line);
    read.map_err(|source| PlatformError::Read { path: "the standard input".into(), source })?;
    if line.is_empty() {
        return Err(PlatformError::Usage {
            message: "there are no prices".to_owned(),
            hint: "give them with --prices \"a,b,c,…\", or as a line on the standard input"
                .to_owned(),
        });
    }
    Ok(line)
}

pub(super) async fn retrain(s: &Session, args: &RetrainArguments) -> Result<(), PlatformError> {
    let progress = Arc::new(Progress::new(s.json));
    let split = with_test_size(&args.pipeline, args.test_size, &*progress);
    let split = s.stop.or_stopped(split).await?;
    progress.clear();
    if !s.json {
        say(&format!(
            "judged on the last {:.0} %: {} of {} rows, from {} on (initial_train = {})",
            100.0 * args.test_size,
            wording::thousands(split.judged as u64),
            wording::thousands(split.rows as u64),
            split.judged_from.human(),
            split.initial_train
        ));
    }
    let options = RunOptions::default();
    let (progress, stop) = (Arc::new(Progress::new(s.json)), Arc::clone(&s.stop));
    let report = match s.take("foretell retrain").await? {
        Connection::Local(service) => {
            let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
            let pipeline = split.pipeline;
            let work =
                async |service: &Service| service.run(pipeline, options, observer, stop).await;
            serving::while_at_work(service, work).await?
        }
        Connection::Remote(remote) => {
            remote.run(&split.pipeline, options, &*progress, &stop).await?
        }
    };
    pipelines::show(s, &report);
    Ok(())
}

pub(super) async fn export(s: &Session, args: &ExportArguments) -> Result<(), PlatformError> {
    let (name, version) = (&args.name, args.version);
    let put = async |connection| match connection {
        Connection::Local(service) => service.model_file(name, version).await,
        Connection::Remote(remote) => remote.model_file(name, version).await,
    };
    let stored = s.question("foretell models export", put).await?;
    let format = match args.format {
        FormatArgument::XgboostJson => ExportFormat::XgboostJson,
        FormatArgument::Ubj => ExportFormat::Ubjson,
        FormatArgument::Safetensors => ExportFormat::Safetensors,
        FormatArgument::Json => ExportFormat::Json,
    };
    let bytes = exported(&stored, format)?;
    write_file(&args.output, &bytes)?;
    match s.json {
        true => say_json(&json!({ "written": args.output, "format": format.name() })),
        false => {
            let size = wording::thousands(bytes.len() as u64);
            say(&format!("wrote {} ({}, {size} bytes)", args.output.display(), format.name()));
        }
    }
    Ok(())
}
