//! Evaluates the baselines on a seeded random walk, or on the `close` column of a CSV
//! file of hourly candles without gaps, and prints the closing table:
//! `cargo run --release --example evaluate_walk -- candles.csv 1 random_forest`
//! (file, horizon in hours, further kinds).

#![allow(clippy::print_stdout, reason = "an example prints")]
#![allow(clippy::disallowed_methods, reason = "an example has arguments, files and a clock")]

#[path = "../tests/markets/mod.rs"]
mod markets;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use foretell_market::Interval;
use foretell_model::evaluate::{EvaluationPlan, Walked, decide_promotion, judge, walk};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let closes = match arguments.first().filter(|a| a.as_str() != "-") {
        Some(path) => closes_of(&std::fs::read_to_string(path).expect("the file can be read")),
        None => markets::random_walk(17_000, 1),
    };
    let steps = arguments.get(1).map_or(1, |a| a.parse().expect("a number of hours"));
    let rows = markets::dataset(&closes, steps);
    let returns = markets::returns(&closes);
    let mut recipes = markets::baselines();
    recipes.extend(arguments.iter().skip(2).map(|kind| markets::recipe(kind)));
    let plan = EvaluationPlan { threads: 2, ..markets::plan(180, 30) };
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let Walked { walk, trials, .. } =
        walk(&rows, Some(&returns), &recipes, &plan, &stop, &()).expect("recipes fit");
    let fitted = started.elapsed();
    let mut evaluation = judge(&walk, trials, &plan).expect("forecasts can be judged");
    evaluation.volatility = walk.volatility(&rows, &returns, Interval::DAY);
    println!(
        "{} rows, {} folds, block {:.0}; fitted in {fitted:.2?}, judged in {:.2?}\n",
        evaluation.times.len(),
        evaluation.folds.len(),
        evaluation.block_length,
        started.elapsed() - fitted
    );
    println!(
        "{:<18}{:>8}{:>9}{:>22}{:>8}{:>7}{:>7}{:>7}{:>9}{:>10}{:>8}{:>8}{:>7}",
        "model",
        "MAE bp",
        "relative",
        "skill % [90 %]",
        "p Holm",
        "dir %",
        "PT p",
        "cover",
        "width bp",
        "score bp",
        "CRPS bp",
        "indep p",
        "DSR"
    );
    for r in &evaluation.recipes {
        let (m, v) = (&r.metrics, &r.versus_random_walk);
        let skill = format!(
            "{:.2} [{:.2}, {:.2}]",
            100.0 * v.skill,
            100.0 * v.skill_interval.lower,
            100.0 * v.skill_interval.upper
        );
        println!(
            "{:<18}{:>8.2}{:>9.4}{skill:>22}{:>8.3}{:>7.1}{:>7.3}{:>7.1}{:>9.1}{:>10.1}{:>8.2}{:>8.3}{:>7.2}",
            r.name,
            m.mae_bp,
            m.relative_mae,
            v.p_holm,
            100.0 * m.directional_accuracy,
            m.direction.pesaran_timmermann_p,
            100.0 * m.coverage,
            m.width_bp,
            1e4 * m.interval_score,
            1e4 * m.crps,
            r.adaptive.tests.independence.p_value,
            r.sharpe.deflated
        );
        println!(
            "{:18}CRPS skill {:.2} % (p = {:.3}); own {:.1} %, {:.1} bp wide; rolling {:.1} to {:.1} %; unbounded {}; lag-1 of d {:.3}",
            "",
            100.0 * v.crps_skill,
            v.crps_p_value,
            100.0 * r.own.coverage,
            r.own.width_bp,
            100.0 * r.adaptive.rolling.lowest,
            100.0 * r.adaptive.rolling.highest,
            r.adaptive.unbounded_rows,
            v.lag1_autocorrelation
        );
    }
    let rival = &evaluation.rival;
    println!(
        "\nrolling quantiles: cover {:.1} %, width {:.1} bp, score {:.1} bp, rolling {:.1} to {:.1} %",
        100.0 * rival.coverage,
        rival.width_bp,
        1e4 * rival.interval_score,
        100.0 * rival.rolling.lowest,
        100.0 * rival.rolling.highest
    );
    if let Some(v) = &evaluation.volatility {
        println!(
            "volatility over {} days: QLIKE {:.4}, day before {:.4} (p = {:.3}), constant {:.4} (p = {:.3})",
            v.rows,
            v.qlike,
            v.qlike_previous,
            v.p_holm().0,
            v.qlike_constant,
            v.p_holm().1
        );
    }
    let decision = decide_promotion(&evaluation, None, 0.1, 0);
    println!("promote: {} ({})", decision.winner, decision.reason);
    let stored = serde_json::to_string(&evaluation).expect("it can be stored").len();
    let summary = serde_json::to_string(&evaluation.summary()).expect("it can be stored").len();
    println!("stored: {stored} bytes, summary {summary} bytes");
}

/// The `close` column of a CSV text.
fn closes_of(text: &str) -> Vec<f64> {
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let column = header.split(',').position(|c| c.trim() == "close").expect("a `close` column");
    let close = |line: &str| line.split(',').nth(column).and_then(|c| c.trim().parse().ok());
    lines.filter(|l| !l.is_empty()).map(|l| close(l).expect("a price")).collect()
}
