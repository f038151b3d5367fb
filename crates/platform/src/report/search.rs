//! A search in the report: what was found, how the trials went, which settings mattered.

use foretell_quality::chart::{Axis, Chart, Ranking, Tone};
use foretell_quality::page::{Table, escape};

use crate::searches::{SearchTrialView, SearchView};
use crate::wording;

/// How many of the best trials the table lists.
const SHOWN: usize = 10;
/// Basis points of log return.
const BP: f64 = 1e4;

/// Everything about the search of one recipe.
pub(super) fn section(found: &SearchView) -> String {
    let mut html = format!("<p>{}.</p>", escape(&wording::search(found)));
    html.push_str(&history(found));
    html.push_str(&ranking(found).unwrap_or_default());
    html.push_str(&best(found).html());
    let luck = match found.deflated_sharpe {
        Some(p) => format!(
            " Its sign strategy has a deflated Sharpe ratio of {p:.3}: the probability that it is \
             better than the best of {} trials by luck.",
            found.tried
        ),
        None => String::new(),
    };
    html.push_str(&format!(
        "<p>Trials learn from earlier parts of the training rows and are judged on {} rows of {} \
         later parts, by the mean {} loss; the walk-forward evaluation above judges the search \
         and the model together, on rows that no trial has seen.{luck} Every trial is on record: \
         <code>foretell search show</code>.</p>",
        wording::thousands(found.judged),
        found.splits,
        escape(&found.objective),
    ));
    html
}

/// The objective of each trial in their order, with the best so far.
fn history(found: &SearchView) -> String {
    let of = |state: &'static str| {
        let trials = found.trials.iter().filter(move |t| t.state == state);
        trials.filter_map(|t| Some((t.number as f64, t.objective? * BP))).collect::<Vec<_>>()
    };
    let (complete, pruned) = (of("complete"), of("pruned"));
    let mut least = f64::INFINITY;
    let mut best: Vec<(f64, f64)> = Vec::new();
    for (number, value) in &complete {
        // In steps: what was best stays so until something better is found.
        best.extend(best.last().map(|(_, before)| (*number, *before)));
        least = least.min(*value);
        best.push((*number, least));
    }
    // A trial that went wrong would press the others into one line.
    let mut values: Vec<f64> = complete.iter().map(|c| c.1).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied().unwrap_or(least);
    let most = middle + 5.0 * (middle - least).max(1e-3 * middle.abs());
    let hidden = complete.iter().filter(|p| p.1 > most).count();
    let shown: Vec<(f64, f64)> = complete.into_iter().filter(|p| p.1 <= most).collect();
    let top = shown.iter().map(|p| p.1).fold(least, f64::max);
    best.retain(|p| p.1 <= most);
    let mut chart = Chart::new(
        format!("{}: trial by trial", found.recipe),
        "Mean loss of each complete trial on the inner rows, and the least so far; trials that \
         were given up early were judged on fewer rows and stand at the upper edge.",
    )
    .size(960, 300)
    .x(Axis::numbers("trial"))
    .y(Axis::numbers(format!("{} loss, bp of log return", found.objective)));
    if !pruned.is_empty() {
        let edge = pruned.into_iter().map(|(number, _)| (number, top));
        chart = chart.points("given up early", Tone::Grey, edge);
    }
    chart = chart.points("complete", Tone::Blue, shown);
    chart = chart.line("best so far", Tone::Orange, best);
    let mut html = chart.figure();
    if hidden > 0 {
        html.push_str(&format!("<p>{hidden} of the complete trials lie above the picture.</p>"));
    }
    html
}

fn ranking(found: &SearchView) -> Option<String> {
    let mut shown: Vec<&(String, f64)> = found.importance.iter().collect();
    shown.sort_by(|a, b| b.1.total_cmp(&a.1));
    shown.first()?;
    let mut ranking = Ranking::new(
        format!("{}: which settings mattered", found.recipe),
        "Share of each setting alone in the variance of the loss (functional analysis of \
         variance over a forest of the complete trials); the rest is in their interplay.",
        Axis::shares("share of variance"),
    );
    for (name, share) in shown {
        ranking = ranking.row(name, Tone::Blue, *share);
    }
    Some(ranking.figure())
}

fn best(found: &SearchView) -> Table {
    let mut table = Table::new("The best trials", &["#trial", "settings", "#loss, bp", "#splits"]);
    let mut ranked: Vec<&SearchTrialView> =
        found.trials.iter().filter(|t| t.state == "complete").collect();
    ranked
        .sort_by(|a, b| a.objective.partial_cmp(&b.objective).unwrap_or(std::cmp::Ordering::Equal));
    for trial in ranked.into_iter().take(SHOWN) {
        table.row([
            trial.number.to_string(),
            wording::settings(&trial.settings),
            trial.objective.map_or_else(|| "–".to_owned(), |v| format!("{:.4}", v * BP)),
            trial.splits.to_string(),
        ]);
    }
    table
}
