//! The report of a run: one HTML page that needs no network and hides nothing.

mod comparison;
mod direction;
mod search;

use foretell_market::Timestamp;
use foretell_model::QUANTILE_LEVELS;
use foretell_model::evaluate::{Aspect, Evaluation, Promotion, RecipeEvaluation, VarianceProxy};
use foretell_panel::Frame;
use foretell_quality::chart::{Axis, Chart, Ranking, Tone, at};
use foretell_quality::page::{Mood, Page, Table, escape};
use foretell_quality::{CheckStatus, GateOutcome};

use crate::training::Refit;
use crate::views::{GapView, RecipeLine, RunReport};
use crate::wording;

/// What the report is made from.
pub(crate) struct Contents<'a> {
    pub(crate) report: &'a RunReport,
    pub(crate) price_column: &'a str,
    pub(crate) clean: &'a Frame,
    pub(crate) gate: &'a GateOutcome,
    /// The gaps that are open, in time order.
    pub(crate) gaps: &'a [GapView],
    pub(crate) evaluation: &'a Evaluation,
    pub(crate) promotion: &'a Promotion,
    pub(crate) refits: &'a [Refit],
}

/// How many of the last rows the price chart shows.
const SHOWN_ROWS: usize = 336;
/// How many gaps the report lists.
const SHOWN_GAPS: usize = 50;
/// How many features the importance chart shows.
const SHOWN_FEATURES: usize = 15;

/// The page.
pub(crate) fn html(contents: &Contents<'_>) -> String {
    let report = contents.report;
    let lead = format!(
        "{} · {} ahead · run {} · {} out-of-sample rows, {} refits",
        report.instrument,
        report.horizon,
        report.run,
        wording::thousands(report.rows as u64),
        report.refits
    );
    let mut page = Page::new(&format!("Foretell: {}", report.pipeline), &lead);
    if let Some(end) = report.historical_demo {
        let text = format!("Historical demo: the data ends {}; that is its present.", end.human());
        page = page.notice(Mood::Warning, &text);
    }
    let served_for_skill = contents.promotion.skilled || contents.promotion.spread.is_some();
    let mood = if served_for_skill { Mood::Good } else { Mood::Plain };
    page = page.notice(mood, &report.reason).figures(figures(contents));
    let champion = champion(contents);
    page = page
        .section("Price and forecasts", &price(contents, champion))
        .section("Models against the random walk", &models(contents))
        .section("Models against each other", &against_each_other(contents))
        .section("Up or down", &direction::section(contents))
        .section("Volatility", &volatility(contents))
        .section("Calibration", &calibration(contents, champion))
        .section("Residuals", &residuals(contents, champion));
    let importance: String =
        contents.refits.iter().filter_map(|r| comparison::features(contents, r)).collect();
    if !importance.is_empty() {
        page = page.section("What the models look at", &importance);
    }
    let searches: String = report.searches.iter().map(search::section).collect();
    if !searches.is_empty() {
        page = page.section("Settings that were searched for", &searches);
    }
    page.section("Quality of the rows", &quality(contents))
        .section("How this was judged", &method(contents))
        .html()
}

fn champion<'a>(contents: &'a Contents<'_>) -> &'a RecipeEvaluation {
    let found = contents.evaluation.recipe(&contents.report.champion);
    found.unwrap_or_else(|| contents.evaluation.random_walk())
}

fn number(report: &RunReport, pointer: &str) -> Option<f64> {
    report.forecast.pointer(pointer).and_then(serde_json::Value::as_f64)
}

fn figures(contents: &Contents<'_>) -> Vec<(&'static str, String, String)> {
    let report = contents.report;
    let level = format!("{:.0} %", report.level * 100.0);
    let price =
        |pointer: &str| number(report, pointer).map_or_else(|| "–".to_owned(), wording::price);
    let target = report.forecast.pointer("/target_time").and_then(|v| v.as_str());
    let target: Option<Timestamp> = target.and_then(|t| t.parse().ok());
    let of = champion(contents);
    vec![
        (
            "Forecast",
            price("/point"),
            target.map_or_else(String::new, |t| format!("for {}", t.human())),
        ),
        (
            "Interval",
            format!("{} … {}", price("/interval/lower"), price("/interval/upper")),
            format!("{level} of outcomes should fall inside"),
        ),
        (
            "Served",
            report.champion.clone(),
            match contents.evaluation.recipe(&report.champion) {
                Some(_) => format!("coverage {:.1} % of {level}", of.metrics.coverage * 100.0),
                None => "an earlier version: it failed in this run".to_owned(),
            },
        ),
        (
            "Best p-value",
            wording::p_value(contents.promotion.best_p),
            format!("level for this test {:.4}", contents.promotion.alpha_spent),
        ),
    ]
}

fn price(contents: &Contents<'_>, champion: &RecipeEvaluation) -> String {
    let (clean, evaluation) = (contents.clean, contents.evaluation);
    let Some(prices) = clean.column(contents.price_column) else { return String::new() };
    let first = clean.len().saturating_sub(SHOWN_ROWS);
    let closes: Vec<(Timestamp, f64)> = (first..clean.len())
        .map(|i| (clean.rows()[i].time + clean.interval(), prices[i]))
        .collect();
    let begin = closes.first().map_or(Timestamp::MAX, |c| c.0);
    // The price at a decision turns its log returns back into prices.
    let price_at =
        |t: Timestamp| closes.binary_search_by_key(&t, |c| c.0).ok().map(|i| closes[i].1);
    let band: Vec<(f64, f64, f64)> = (0..evaluation.times.len())
        .filter(|&i| evaluation.times[i] >= begin)
        .filter_map(|i| {
            let base = price_at(evaluation.times[i])?;
            let x = at(evaluation.times[i] + evaluation.horizon);
            Some((x, base * champion.lower[i].exp(), base * champion.upper[i].exp()))
        })
        .collect();
    let level = format!("{:.0} % interval, out of sample", evaluation.level * 100.0);
    let title = format!("The last {} rows and what was forecast for them", closes.len());
    let description = "Line of prices with the band that was forecast one horizon earlier.";
    let mut chart = Chart::new(title, description)
        .size(960, 320)
        .x(Axis::time())
        .y(Axis::numbers(format!("price, {}", contents.report.instrument.quote())));
    if !band.is_empty() {
        chart = chart.band(level, Tone::Orange, band);
    }
    chart = chart.line("price", Tone::Blue, closes.iter().map(|(t, p)| (at(*t), *p)));
    let report = contents.report;
    let target = report.forecast.pointer("/target_time").and_then(|v| v.as_str());
    let target: Option<Timestamp> = target.and_then(|t| t.parse().ok());
    if let (Some(t), Some(point), Some(lower), Some(upper)) = (
        target,
        number(report, "/point"),
        number(report, "/interval/lower"),
        number(report, "/interval/upper"),
    ) {
        let half = clean.interval().secs() as f64 / 2.0;
        let x = at(t);
        chart = chart
            .band("forecast", Tone::Green, [(x - half, lower, upper), (x + half, lower, upper)])
            .points("", Tone::Green, [(x, point)]);
    }
    let mut html = chart.figure();
    if evaluation.times.iter().all(|t| *t < begin) {
        html.push_str(
            "<p>No out-of-sample forecast falls into these rows: they lie in the lock-box, which \
             an ordinary run never reads.</p>",
        );
    }
    html
}

fn models(contents: &Contents<'_>) -> String {
    let lines = &contents.report.table;
    let point = [
        "model",
        "#MAE bp",
        "#relative MAE",
        "#MASE",
        "#RMSSE",
        "#R² against 0",
        "#skill",
        "#p (DM-HLN, Holm)",
        "#lag-1 autocorrelation",
    ];
    let mut table = Table::new("The point forecast: out of sample, on identical rows", &point);
    let rest = [
        "model",
        "#CRPS bp",
        "#coverage",
        "#width bp",
        "#QLIKE lower by",
        "#p (QLIKE, Holm)",
        "#lag-1 autocorrelation",
        "#sign strategy after costs, bp",
        "#deflated Sharpe",
    ];
    let mut spread = Table::new("The distribution, and what trading on it would bring", &rest);
    for line in lines {
        table.row(point_cells(line));
        spread.row(spread_cells(line));
    }
    let mut ranking = Ranking::new(
        "Skill against the random walk, with its 90 % bootstrap interval",
        "Share by which the mean absolute error is smaller than the random walk's; below zero \
         is worse.",
        Axis::shares("skill"),
    );
    for line in lines.iter().filter(|l| l.skill.is_some_and(f64::is_finite)) {
        let tone = if line.skill > Some(0.0) { Tone::Blue } else { Tone::Orange };
        let skill = line.skill.unwrap_or_default();
        ranking = match line.skill_interval {
            Some(range) => ranking.row_within(&line.name, tone, skill, range),
            None => ranking.row(&line.name, tone, skill),
        };
    }
    let mut verdicts = Table::new(
        "The promotion rule, candidate by candidate",
        &[
            "candidate",
            "judged by",
            "#p vs random walk",
            "#p vs champion",
            "#p after Holm",
            "verdict",
        ],
    );
    for c in &contents.promotion.candidates {
        verdicts.row([
            c.name.clone(),
            match c.aspect {
                Aspect::Point => "its point".to_owned(),
                Aspect::Spread => "its spread".to_owned(),
            },
            wording::p_value(c.p_random_walk),
            c.p_champion.map_or_else(|| "–".to_owned(), wording::p_value),
            wording::p_value(c.p_holm),
            c.reason.clone(),
        ]);
    }
    let tables = table.html() + &spread.html() + &failed(contents);
    let tables = tables + &costs(contents) + &overfitting(contents);
    tables + &ranking.figure() + &verdicts.html()
}

fn against_each_other(contents: &Contents<'_>) -> String {
    comparison::seeds(contents) + &comparison::sets(contents) + &comparison::ranks(contents)
}

/// The recipes that failed, and why.
fn failed(contents: &Contents<'_>) -> String {
    if contents.report.failed.is_empty() {
        return String::new();
    }
    let mut table = Table::new("Models that failed", &["model", "where and why"]);
    for line in &contents.report.failed {
        table.row([line.name.clone(), line.words()]);
    }
    table.html()
        + "<p>A model fails as a whole, whichever of its fits did, and with it the ensembles that \
           it is a member of. It has no version and cannot be promoted; the other models were \
           judged without it, and it counts as a try in the corrections.</p>"
}

/// The number of trials and what it does to the best of them.
fn overfitting(contents: &Contents<'_>) -> String {
    let Some(found) = &contents.report.overfitting else { return String::new() };
    format!(
        "<p>{}. The probability of backtest overfitting (PBO, combinatorially symmetric \
         cross-validation) is over every distinct recipe of the ledger that was judged on these \
         rows, by its gain in absolute error on the random walk.</p>",
        escape(&wording::overfitting(found))
    )
}

/// Whether the spread was forecastable: at the horizon recipe by recipe, and over spans.
fn volatility(contents: &Contents<'_>) -> String {
    let mut html = String::new();
    let judged = contents.evaluation.recipes.iter().filter_map(|r| Some((r, r.spread.as_ref()?)));
    let mut table = Table::new(
        "Variance of the horizon, from the quantiles of each recipe: rows do not overlap",
        &["model", "#rows", "#QLIKE", "#lower by", "#p (fixed smoothing, Holm)"],
    );
    let mut proxy = None;
    for (recipe, spread) in judged {
        proxy = Some(spread.proxy);
        let rival = !recipe.is_random_walk();
        table.row([
            recipe.name.clone(),
            wording::thousands(spread.rows as u64),
            format!("{:.4}", spread.qlike),
            or_dash(rival.then(|| wording::percent(spread.skill))),
            or_dash(rival.then(|| wording::p_value(spread.p_holm))),
        ]);
    }
    if let Some(proxy) = proxy {
        let seen = match proxy {
            VarianceProxy::RealisedVariance => {
                "the realised variance of the horizon, the sum of its squared one-interval returns"
            }
            VarianceProxy::SquaredReturn => {
                "the squared return of the horizon, the only proxy there is when nothing finer is \
                 recorded: unbiased, and noisy"
            }
        };
        html.push_str(&table.html());
        html.push_str(&format!("<p>Judged by {seen} (Patton 2011).</p>"));
    }
    if let Some(v) = &contents.evaluation.volatility {
        let span = v.span.map_or_else(|| "the horizon".to_owned(), |s| s.to_string());
        let ((previous, constant), corrected) = (v.p_holm(), v.p_holm_of_others());
        let title = format!("Realised variance of {} spans of {span}", v.rows);
        let mut heads = vec!["forecast".to_owned(), "#mean QLIKE".to_owned()];
        let judged = std::iter::once("EWMA").chain(v.others.iter().map(|o| o.name.as_str()));
        heads.extend(judged.map(|name| format!("#p of {name} against it")));
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut spans = Table::new(&title, &heads);
        // EWMA, and after it the p-values of the others against the same rival.
        let row = |name: &str, qlike: f64, p: Option<f64>, rival: Option<usize>| {
            let others = corrected.iter().map(|p| rival.map(|k| p[k]));
            let p = std::iter::once(p).chain(others);
            let p = p.map(|p| or_dash(p.map(wording::p_value)));
            [name.to_owned(), format!("{qlike:.4}")].into_iter().chain(p).collect::<Vec<_>>()
        };
        spans.row(row("exponentially weighted", v.qlike, None, Some(0)));
        spans.row(row("the span before", v.qlike_previous, Some(previous), Some(1)));
        spans.row(row("constant", v.qlike_constant, Some(constant), Some(2)));
        for other in &v.others {
            spans.row(row(&other.name, other.qlike, None, None));
        }
        html.push_str(&spans.html());
        html.push_str(
            "<p>Spans do not overlap; one with a missing interval is left out. Each forecast is \
             scaled on the training spans of its fold. One-sided, with fixed smoothing, after Holm \
             over every test of the table.</p>",
        );
    }
    if html.is_empty() { "<p>Nothing here forecasts volatility.</p>".to_owned() } else { html }
}

/// Accuracy is not profit, and the page says so.
fn costs(contents: &Contents<'_>) -> String {
    let report = contents.report;
    let best =
        report.table.iter().filter_map(|l| l.after_cost_bp).fold(f64::NEG_INFINITY, f64::max);
    if !best.is_finite() {
        return String::new();
    }
    format!(
        "<p>The sign strategy is what trading the sign of each forecast, one {} late and at {} bp a \
         turn, would have brought per row: at best {} bp. A forecast can be more accurate \
         than the random walk and still not pay its costs.</p>",
        contents.clean.interval(),
        report.cost_bp,
        wording::basis_points(best)
    )
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

fn point_cells(line: &RecipeLine) -> Vec<String> {
    let three = |value: Option<f64>| or_dash(value.map(|v| format!("{v:.3}")));
    vec![
        line.name.clone(),
        format!("{:.2}", line.mae_bp),
        three(line.relative_mae),
        three(line.mase),
        three(line.rmsse),
        or_dash(line.r2_zero.map(wording::percent)),
        or_dash(line.skill.map(wording::percent)),
        or_dash(line.p_value.map(wording::p_value)),
        or_dash(line.lag1.map(|a| format!("{a:.2}"))),
    ]
}

fn spread_cells(line: &RecipeLine) -> Vec<String> {
    vec![
        line.name.clone(),
        format!("{:.2}", line.crps_bp),
        format!("{:.1} %", line.coverage * 100.0),
        format!("{:.0}", line.width_bp),
        or_dash(line.qlike_skill.map(wording::percent)),
        or_dash(line.spread_p.map(wording::p_value)),
        or_dash(line.spread_lag1.map(|a| format!("{a:.2}"))),
        or_dash(line.after_cost_bp.map(wording::basis_points)),
        or_dash(line.deflated_sharpe.map(|p| format!("{p:.2}"))),
    ]
}

fn calibration(contents: &Contents<'_>, champion: &RecipeEvaluation) -> String {
    let evaluation = contents.evaluation;
    let n = evaluation.outcomes.len().max(1) as f64;
    let share = |recipe: &RecipeEvaluation, level: usize| {
        let below = (0..evaluation.outcomes.len())
            .filter(|&i| evaluation.outcomes[i] <= recipe.quantiles_of(i)[level])
            .count();
        below as f64 / n
    };
    let tones = [Tone::Blue, Tone::Orange, Tone::Green, Tone::Violet, Tone::Red, Tone::Grey];
    let mut chart = Chart::new(
        "Calibration of the nine quantiles",
        "Share of outcomes below each quantile against its level; a calibrated model lies on \
         the diagonal.",
    )
    .size(460, 380)
    .x(Axis::shares("level of the quantile").from(0.0).to(1.0))
    .y(Axis::shares("outcomes below it").from(0.0).to(1.0))
    .diagonal("perfect", Tone::Grey);
    for (recipe, tone) in evaluation.recipes.iter().zip(tones.iter().cycle()) {
        let points: Vec<(f64, f64)> = QUANTILE_LEVELS
            .iter()
            .enumerate()
            .map(|(k, level)| (*level, share(recipe, k)))
            .collect();
        chart = chart.line(&recipe.name, *tone, points);
    }
    let rolling = rolling_coverage(contents, champion);
    let mut table = Table::new(
        "Intervals: coverage and width together",
        &["model", "#coverage", "#width bp", "#interval score bp", "#before calibration"],
    );
    let mut rows: Vec<_> =
        evaluation.recipes.iter().map(|r| (r.name.as_str(), &r.adaptive, Some(&r.own))).collect();
    rows.push(("rolling quantiles (rival)", &evaluation.rival, None));
    for (name, report, own) in rows {
        table.row([
            name.to_owned(),
            format!("{:.1} %", report.coverage * 100.0),
            format!("{:.0}", report.width_bp),
            format!("{:.1}", report.interval_score * 1e4),
            own.map_or_else(|| "–".to_owned(), |o| format!("{:.1} %", o.coverage * 100.0)),
        ]);
    }
    let tests = &champion.adaptive.tests;
    let note = format!(
        "<p>{}: Christoffersen's test of coverage and independence p = {}, Kupiec's test of \
         coverage p = {}. There is no pass mark: markets drift, and the drift is shown.</p>",
        escape(&champion.name),
        wording::p_value(tests.christoffersen.p_value),
        wording::p_value(tests.kupiec.p_value),
    );
    format!("<div class=\"pair\">{}{}</div>{}{note}", chart.figure(), rolling, table.html())
}

fn rolling_coverage(contents: &Contents<'_>, champion: &RecipeEvaluation) -> String {
    let evaluation = contents.evaluation;
    let window = 500.min(evaluation.outcomes.len().max(1));
    let inside: Vec<f64> = (0..evaluation.outcomes.len())
        .map(|i| {
            let y = evaluation.outcomes[i];
            f64::from(u8::from(champion.lower[i] <= y && y <= champion.upper[i]))
        })
        .collect();
    let mut sum: f64 = inside.iter().take(window.saturating_sub(1)).sum();
    let mut points = Vec::new();
    for i in window.saturating_sub(1)..inside.len() {
        sum += inside[i];
        points.push((at(evaluation.times[i]), sum / window as f64));
        sum -= inside[i + 1 - window];
    }
    Chart::new(
        format!("Coverage over the last {window} forecasts"),
        "Rolling share of outcomes inside the served interval; the rule is its aim.",
    )
    .size(460, 380)
    .x(Axis::time())
    .y(Axis::shares("outcomes inside"))
    .line(&champion.name, Tone::Blue, points)
    .level("aim", Tone::Grey, evaluation.level)
    .figure()
}

fn residuals(contents: &Contents<'_>, champion: &RecipeEvaluation) -> String {
    let evaluation = contents.evaluation;
    let errors: Vec<f64> =
        evaluation.outcomes.iter().zip(&champion.median).map(|(y, m)| (y - m) * 1e4).collect();
    let mut sorted = errors.clone();
    sorted.sort_by(f64::total_cmp);
    let quantile = |p: f64| sorted[((sorted.len() - 1) as f64 * p) as usize];
    if sorted.is_empty() {
        return String::new();
    }
    // The tails are cut from the picture and counted under it.
    let edge = quantile(0.995).abs().max(quantile(0.005).abs()).max(1e-9);
    let bins = 60;
    let width = 2.0 * edge / f64::from(bins);
    let mut counts = vec![0usize; bins as usize];
    let mut outside = 0;
    for error in &errors {
        let bin = ((error + edge) / width).floor();
        if (0.0..f64::from(bins)).contains(&bin) {
            counts[bin as usize] += 1;
        } else {
            outside += 1;
        }
    }
    let bars = counts.iter().enumerate().map(|(k, count)| {
        let from = -edge + k as f64 * width;
        (from, from + width, *count as f64)
    });
    let histogram = Chart::new(
        format!("Errors of {}", champion.name),
        "Histogram of outcome minus forecast in basis points of log return.",
    )
    .size(460, 300)
    .x(Axis::numbers("outcome − forecast, bp"))
    .y(Axis::numbers("forecasts"))
    .bars("", Tone::Blue, bars);
    let monthly = monthly_loss(contents);
    format!(
        "<div class=\"pair\">{}{monthly}</div><p>{outside} of {} errors lie outside the \
         picture.</p>",
        histogram.figure(),
        wording::thousands(errors.len() as u64)
    )
}

/// Relative error per refit period, so that a lucky stretch is seen as one.
fn monthly_loss(contents: &Contents<'_>) -> String {
    let evaluation = contents.evaluation;
    let tones = [Tone::Blue, Tone::Orange, Tone::Green, Tone::Violet, Tone::Red];
    let mut chart = Chart::new(
        "Error relative to the random walk, fold by fold",
        "Mean absolute error of each model over that of the random walk in each refit period; \
         below one is better.",
    )
    .size(460, 300)
    .x(Axis::time())
    .y(Axis::numbers("relative MAE"))
    .level("random walk", Tone::Grey, 1.0);
    let rivals = evaluation.recipes.iter().filter(|r| !r.is_random_walk());
    // A model many times worse than the rest would press the others into one line.
    let shown = rivals.filter(|r| r.metrics.relative_mae < 1.3);
    for (recipe, tone) in shown.zip(tones.iter().cycle()) {
        let points = evaluation
            .folds
            .iter()
            .zip(&recipe.folds)
            .map(|(fold, metrics)| (at(fold.fit_at), metrics.relative_mae));
        chart = chart.line(&recipe.name, *tone, points);
    }
    chart.figure()
}

fn quality(contents: &Contents<'_>) -> String {
    let mut table = Table::new("Checks of the gate", &["check", "status", "what was seen"]);
    for check in &contents.gate.checks {
        let mood = match check.status {
            CheckStatus::Passed => Mood::Good,
            CheckStatus::Warned => Mood::Warning,
            CheckStatus::Blocked => Mood::Bad,
            CheckStatus::Off => Mood::Plain,
        };
        let badge = mood.badge(&check.status.to_string());
        table.row_of_html(vec![escape(&check.name), badge, escape(&check.detail)]);
    }
    table.html() + &gaps(contents)
}

/// Every gap is a record: the table shows the latest, and where the others are.
fn gaps(contents: &Contents<'_>) -> String {
    if contents.gaps.is_empty() {
        return String::new();
    }
    let heads = ["from", "to", "#intervals", "first seen", "by run"];
    let mut table = Table::new("Gaps, kept as gaps", &heads);
    let hidden = contents.gaps.len().saturating_sub(SHOWN_GAPS);
    for gap in &contents.gaps[hidden..] {
        table.row([
            gap.from.human(),
            gap.to.human(),
            gap.intervals.to_string(),
            gap.first_seen_at.human(),
            gap.first_seen_by.clone(),
        ]);
    }
    let (report, more) = (
        contents.report,
        match hidden {
            0 => String::new(),
            n => format!("{} earlier ones are not shown. ", wording::thousands(n as u64)),
        },
    );
    let (name, instrument) = (escape(&report.pipeline), escape(report.instrument.as_str()));
    table.html()
        + &format!(
            "<p>{more}Each is a record, closed when a later run finds it filled: <code>foretell \
             gaps {name}</code>, or <a href=\"/api/v1/gaps/{instrument}\">/api/v1/gaps/\
             {instrument}</a> where this page is served.</p>"
        )
}

fn method(contents: &Contents<'_>) -> String {
    let (report, evaluation) = (contents.report, contents.evaluation);
    let folds = &evaluation.folds;
    let range = match (folds.first(), evaluation.times.last()) {
        (Some(first), Some(last)) => {
            format!("{} to {}", first.fit_at.human(), last.human())
        }
        _ => "no fold".to_owned(),
    };
    let purged: usize = folds.iter().map(|f| f.purged).sum();
    let mut lock_box =
        report.lock_box.clone().unwrap_or_else(|| "no lock-box is declared".to_owned());
    if !report.refit_includes_lock_box.is_empty() {
        let names = report.refit_includes_lock_box.join(", ");
        lock_box.push_str(&format!(
            "; the final refits of {names}, which have opened it, include it, the evaluation does \
             not"
        ));
    }
    format!(
        "<p>Walk-forward evaluation from {range}: at each of {} refits the models learn only from \
         labels that had ended ({purged} rows were purged), and forecast until the next refit. \
         Everything that is fitted is fitted inside the fold. Significance is the one-sided \
         Diebold–Mariano test with the correction of Harvey, Leybourne and Newbold, after Holm over \
         all candidates and with the error rate spent over all retrains. Intervals are adaptive \
         conformal. Seeds: {}. Lock-box: {}.</p><p>Dataset {}.</p>",
        folds.len(),
        wording::seeds_of(&report.table),
        escape(&lock_box),
        report.dataset
    )
}
