//! `search show`: what searches for settings found, and every trial of them.

use std::path::Path;

use foretell_platform::{
    Connection, PlatformError, SearchDetail, SearchView, read_pipeline, wording,
};

use super::Session;
use crate::arguments::{SearchCommand, SearchShowArguments};
use crate::output::{aligned_left, say, say_json};

pub(super) async fn search(s: &Session, command: SearchCommand) -> Result<(), PlatformError> {
    let SearchCommand::Show(args) = command;
    // A file stands for the pipeline that it describes.
    let of = match Path::new(&args.of).is_file() {
        true => read_pipeline(Path::new(&args.of))?.0.name,
        false => args.of.clone(),
    };
    let put = async |connection| match connection {
        Connection::Local(service) => service.searches(&of).await,
        Connection::Remote(remote) => remote.searches(&of).await,
    };
    let mut detail = s.question("foretell search", put).await?;
    let asked = |v: &SearchView| {
        args.recipe.as_ref().is_none_or(|name| *name == v.recipe)
            && args.fold.is_none_or(|fold| fold == v.fold.unwrap_or_default())
    };
    detail.searches.retain(asked);
    if detail.searches.is_empty() {
        return Err(PlatformError::NotFound {
            what: "search of that recipe and fold".to_owned(),
            hint: format!("`foretell search show {}` lists them all", args.of),
        });
    }
    match s.json {
        true => say_json(&detail),
        false => show(&detail, &args),
    }
    Ok(())
}

fn show(detail: &SearchDetail, args: &SearchShowArguments) {
    say(&format!("run {}  {}", detail.run, detail.pipeline));
    let mut rows = vec![
        ["recipe", "fold", "trials", "pruned", "failed", "loss bp", "PBO", "found"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for found in &detail.searches {
        let best = found.best_trial();
        let number = |v: Option<f64>, places: usize| {
            v.map_or_else(|| "–".to_owned(), |v| format!("{v:.places$}"))
        };
        rows.push(vec![
            found.recipe.clone(),
            found.fold.map_or_else(|| "refit".to_owned(), |f| f.to_string()),
            found.trials.len().to_string(),
            found.count("pruned").to_string(),
            found.count("failed").to_string(),
            number(best.and_then(|b| b.objective).map(|v| v * 1e4), 4),
            number(found.probability, 3),
            best.map_or_else(|| "–".to_owned(), |b| wording::settings(&b.settings)),
        ]);
    }
    say(aligned_left(&rows).trim_end());
    // Trials are listed of the refits, or of the fold that was asked for.
    for found in detail.searches.iter().filter(|v| args.fold.is_some() || v.fold.is_none()) {
        trials(found);
    }
}

fn trials(found: &SearchView) {
    let place = found.fold.map_or_else(|| "final refit".to_owned(), |f| format!("fold {f}"));
    say(&format!(
        "\n{}, {place}: {} rows in {} splits, mean {} loss",
        found.recipe, found.judged, found.splits, found.objective
    ));
    let mut rows =
        vec![["", "trial", "state", "splits", "loss bp", "settings"].map(str::to_owned).to_vec()];
    for trial in &found.trials {
        let best = Some(trial.number) == found.best;
        rows.push(vec![
            if best { "★" } else { "" }.to_owned(),
            trial.number.to_string(),
            trial.state.clone(),
            trial.splits.to_string(),
            trial.objective.map_or_else(|| "–".to_owned(), |v| format!("{:.4}", v * 1e4)),
            match &trial.error {
                None => wording::settings(&trial.settings),
                Some(error) => format!("{}: {error}", wording::settings(&trial.settings)),
            },
        ]);
    }
    say(aligned_left(&rows).trim_end());
    let shares =
        found.importance.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0));
    let shares: Vec<String> = shares.collect();
    if !shares.is_empty() {
        say(&format!(" share of the variance of the loss: {}", shares.join(", ")));
    }
    if let Some(p) = found.deflated_sharpe {
        say(&format!(
            " deflated Sharpe ratio of the best trial's signs: {p:.3} over {} trials on these rows",
            found.tried
        ));
    }
}
