//! The part of the report that compares recipes with each other: seeds, the model confidence
//! set, ranks over the folds, and what their features are worth.

use foretell_model::evaluate::PermutationImportance;
use foretell_quality::chart::{Axis, Places, Ranking, Tone};
use foretell_quality::page::Table;

use super::{Contents, SHOWN_FEATURES, or_dash};
use crate::training::Refit;
use crate::wording;

/// How often each recipe was fitted, and how much of its result is the draw.
pub(super) fn seeds(contents: &Contents<'_>) -> String {
    let head = ["model", "seeds × folds", "#MAE bp", "#skill", "#CRPS bp"];
    let mut table = Table::new("Seeds: means and standard deviations, where a model draws", &head);
    for line in &contents.report.table {
        let Some(s) = &line.seeds else { continue };
        let two = |v: f64| format!("{v:.2}");
        let skill = line.skill.map(|_| wording::percent_within(s.skill.0, s.skill.1));
        table.row([
            line.name.clone(),
            wording::seeds(s),
            wording::within(two(s.mae_bp.0), s.mae_bp.1.map(two)),
            or_dash(skill),
            wording::within(two(s.crps_bp.0), s.crps_bp.1.map(two)),
        ]);
    }
    table.html()
        + "<p>The first seed is the one that is tested, promoted and served; the others say how far \
           its result could have come out otherwise.</p>"
}

/// Which recipes cannot be told from the best.
pub(super) fn sets(contents: &Contents<'_>) -> String {
    let (sets, evaluation) = (&contents.report.confidence_sets, contents.evaluation);
    let Some(first) = sets.first() else { return String::new() };
    let titles: Vec<String> = sets
        .iter()
        .map(|s| format!("#p ({}, {})", wording::loss(s.loss), wording::statistic(s.statistic)))
        .collect();
    let mut head = vec!["model"];
    head.extend(titles.iter().map(String::as_str));
    let level = format!("{:.0} %", first.level * 100.0);
    let title =
        format!("Model confidence set at {level}: a p below {:.1} is out", 1.0 - first.level);
    let mut table = Table::new(&title, &head);
    for (i, recipe) in evaluation.recipes.iter().enumerate() {
        let p = |s: &foretell_model::evaluate::ConfidenceSet| {
            let out = if s.inside.contains(&recipe.name) { "" } else { " out" };
            s.p_values.get(i).map_or_else(|| "–".to_owned(), |p| wording::p_value(*p) + out)
        };
        table.row(std::iter::once(recipe.name.clone()).chain(sets.iter().map(p)));
    }
    table.html()
        + "<p>With this confidence the best recipe is among those that are left (Hansen, Lunde and \
           Nason 2011; stationary bootstrap, the same rows for all). A large set says that these \
           rows cannot tell them apart.</p>"
}

/// Who is first how often.
pub(super) fn ranks(contents: &Contents<'_>) -> String {
    let Some(found) = &contents.report.ranks else { return String::new() };
    let test = found.p_value.map_or_else(String::new, wording::p_statement);
    let chart = Places::new(
        format!("Mean rank by absolute error over {} folds", found.folds),
        "Mean rank of each model with an interval of the critical difference around it; two \
         whose intervals overlap cannot be told apart.",
        found.critical_difference,
        found.mean.iter().cloned(),
    );
    let mut table = Table::new("Mean ranks", &["model", "#mean rank", "#behind the best"]);
    let best = found.mean.first().map_or(f64::NAN, |(_, rank)| *rank);
    for (name, rank) in &found.mean {
        let behind = rank - best;
        let far = if behind >= found.critical_difference { " *" } else { "" };
        table.row([name.clone(), format!("{rank:.2}"), format!("{behind:.2}{far}")]);
    }
    format!(
        "{}{}<p>Friedman's test that all are alike: {test}. Critical difference {:.2} at {:.0} % \
         (Nemenyi; Demšar 2006); * lies farther behind. Folds follow one another in time and are \
         taken as independent here.</p>",
        chart.figure(),
        table.html(),
        found.critical_difference,
        found.level * 100.0
    )
}

/// What a recipe's features are worth: by its own parts, by shuffling, or, where neither is
/// known, by its own measure.
pub(super) fn features(contents: &Contents<'_>, refit: &Refit) -> Option<String> {
    let judged = contents.evaluation.recipe(&refit.recipe.name);
    let shuffled = judged.map_or(&[][..], |r| &r.permutation);
    let html = parts(refit).unwrap_or_default() + &shuffling(refit, shuffled).unwrap_or_default();
    if html.is_empty() { own_measure(refit) } else { Some(html) }
}

fn parts(refit: &Refit) -> Option<String> {
    let shown: Vec<_> = refit.shap.iter().filter(|(_, v)| *v > 0.0).take(SHOWN_FEATURES).collect();
    if shown.is_empty() {
        return None;
    }
    let mut ranking = Ranking::new(
        format!("{}: what its features add to a forecast", refit.recipe.name),
        "Mean absolute Shapley value (SHAP) over some of the latest rows, basis points of log \
         return; it says what the model uses, not what is true.",
        Axis::numbers("mean |SHAP|, bp"),
    );
    for (name, value) in shown {
        ranking = ranking.row(name, Tone::Blue, *value);
    }
    Some(ranking.figure())
}

fn shuffling(refit: &Refit, found: &[PermutationImportance]) -> Option<String> {
    let shuffles = found.first()?.shuffles;
    let mut ranking = Ranking::new(
        format!("{}: how much worse it is when a feature is shuffled", refit.recipe.name),
        "Growth of the mean absolute error out of sample, in the last fold, with one standard \
         deviation over shuffles and seeds; about zero is worth nothing.",
        Axis::numbers(format!("growth of the error, bp, mean of {shuffles} shuffles")),
    );
    for p in found.iter().take(SHOWN_FEATURES) {
        let tone = if p.mean_bp > 0.0 { Tone::Blue } else { Tone::Orange };
        ranking = match p.deviation_bp.is_finite() {
            true => {
                let range = (p.mean_bp - p.deviation_bp, p.mean_bp + p.deviation_bp);
                ranking.row_within(&p.feature, tone, p.mean_bp, range)
            }
            false => ranking.row(&p.feature, tone, p.mean_bp),
        };
    }
    Some(ranking.figure())
}

fn own_measure(refit: &Refit) -> Option<String> {
    let shown: Vec<_> =
        refit.importance.iter().filter(|(_, v)| *v > 0.0).take(SHOWN_FEATURES).collect();
    if shown.is_empty() {
        return None;
    }
    let mut ranking = Ranking::new(
        format!("{}: the {} features it uses most", refit.recipe.name, shown.len()),
        "Share of the model's own measure of importance; it says what was used, not what is true.",
        Axis::shares("share of importance"),
    );
    for (name, value) in shown {
        ranking = ranking.row(name, Tone::Blue, *value);
    }
    Some(ranking.figure())
}
