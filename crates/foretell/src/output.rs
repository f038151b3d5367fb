//! The one place that prints. Colour only on a terminal, and never alone in meaning.

use std::io::{IsTerminal as _, Write as _};

use foretell_platform::{
    ConfidenceSet, FailedLine, Overfitting, RanksView, RecipeLine, RunReport, VolatilitySkill,
    wording,
};
use serde::Serialize;

/// Prints a line for people. A closed pipe is no error: nobody reads any more.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a value as JSON.
pub(crate) fn say_json(value: &impl Serialize) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints how far long work is on standard error.
pub(crate) fn say_progress(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints a warning on standard error.
pub(crate) fn say_warning(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), " ! {message}");
}

/// Prints an error and what to do about it on standard error.
pub(crate) fn say_error(message: &str, hint: Option<&str>) {
    let mut stderr = std::io::stderr().lock();
    let red = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let word = if red { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    let _ = writeln!(stderr, "{word} {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "help: {hint}");
    }
}

/// A line in green or red, where there is a terminal; the words say the same.
pub(crate) fn green_or_red(line: &str, green: bool) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match (colour, green) {
        (false, _) => line.to_owned(),
        (true, true) => format!("\x1b[32m{line}\x1b[0m"),
        (true, false) => format!("\x1b[31m{line}\x1b[0m"),
    }
}

/// A whole number with commas.
pub(crate) fn thousands(n: u64) -> String {
    wording::thousands(n)
}

/// Rows of cells as aligned text; the first column is flushed left, others right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |j: usize| {
        rows.iter().filter_map(|r| r.get(j)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (j, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[j].saturating_sub(cell.chars().count()));
            let gap = if j == 0 { "" } else { "   " };
            match j {
                0 => line.push_str(&format!("{cell}{pad}")),
                _ => line.push_str(&format!("{gap}{pad}{cell}")),
            }
        }
        out.push(' ');
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Rows of cells with every column flushed left.
pub(crate) fn aligned_left(rows: &[Vec<String>]) -> String {
    let width = |j: usize| {
        rows.iter().filter_map(|r| r.get(j)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(j, cell)| {
            format!("{cell}{}", " ".repeat(width(j).saturating_sub(cell.chars().count())))
        });
        out.push_str(&format!(" {}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    out
}

/// The closing table: every recipe against the random walk on the same rows. What the sign
/// strategies paid is said where it is known.
pub(crate) fn model_table(lines: &[RecipeLine], level: f64, cost_bp: Option<f64>) -> String {
    // A spread has its own column and p-value: its point is the random walk's. They take the
    // place of the relative error, which is one minus the skill: 120 columns are a terminal.
    let spreads = lines.iter().any(|l| l.spread_p.is_some());
    let mut head = vec!["model".to_owned()];
    let seeded = lines.iter().any(|l| l.seeds.is_some());
    if seeded {
        head.push("fits".to_owned());
    }
    head.push("MAE bp".to_owned());
    if !spreads {
        head.push("relative".to_owned());
    }
    head.extend([
        "CRPS bp".to_owned(),
        if spreads { "skill" } else { "skill vs random walk" }.to_owned(),
        if spreads { "p (Holm)" } else { "p (DM, Holm)" }.to_owned(),
    ]);
    if spreads {
        head.extend(["QLIKE lower".to_owned(), "p (QLIKE)".to_owned()]);
    }
    head.extend([
        match spreads {
            true => format!("in {:.0} %", level * 100.0),
            false => format!("coverage of {:.0} %", level * 100.0),
        },
        match (spreads, cost_bp) {
            (false, None) => "sign strategy after costs".to_owned(),
            (false, Some(cost)) => format!("sign strategy after {cost} bp"),
            (true, None) => "signs".to_owned(),
            (true, Some(cost)) => format!("signs, {cost} bp"),
        },
    ]);
    let mut rows = vec![head];
    for line in lines {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let point = line.spread_p.is_none();
        let mut row = vec![line.name.clone()];
        if seeded {
            let ran = line.seeds.as_ref().map(|s| format!("{}×{}", s.seeds, s.folds));
            row.push(or_dash(ran));
        }
        row.push(format!("{:.1}", line.mae_bp));
        if !spreads {
            row.push(or_dash(line.relative_mae.map(|v| format!("{v:.3}"))));
        }
        row.extend([
            format!("{:.1}", line.crps_bp),
            or_dash(line.skill.filter(|_| point).map(wording::percent)),
            or_dash(line.p_value.filter(|_| point).map(wording::p_value)),
        ]);
        if spreads {
            row.push(or_dash(line.qlike_skill.map(wording::percent)));
            row.push(or_dash(line.spread_p.map(wording::p_value)));
        }
        row.push(format!("{:.1}", line.coverage * 100.0));
        row.push(or_dash(line.after_cost_bp.map(|v| format!("{} bp", wording::basis_points(v)))));
        rows.push(row);
    }
    aligned(&rows)
}

/// What a run ended with, for people.
pub(crate) fn run_report(report: &RunReport) {
    say("");
    say(model_table(&report.table, report.level, Some(report.cost_bp)).trim_end());
    if report.rows > 0 {
        say(&format!(
            " {} out-of-sample rows · {} refits · {} (fits: seeds × folds) · dataset {}",
            thousands(report.rows as u64),
            report.refits,
            wording::seeds_of(&report.table),
            report.dataset.short()
        ));
    }
    if let Some(text) = &report.lock_box {
        say(&format!(" {text}"));
    }
    if !report.refit_includes_lock_box.is_empty() {
        let names = report.refit_includes_lock_box.join(", ");
        say(&format!(" the final refits of {names} include the opened lock-box"));
    }
    failed(&report.failed);
    comparison(&report.table, &report.confidence_sets, report.ranks.as_ref());
    notes(report.volatility.as_ref(), report.overfitting.as_ref());
    for found in &report.searches {
        say(&format!(" {}", wording::search(found)));
    }
    say(&format!(" verdict    {}", report.reason));
    if !report.forecast.is_null() {
        say(&format!(" forecast   {}", forecast_line(&report.forecast)));
    }
    if let Some(end) = report.historical_demo {
        say(&format!(" note       historical demo: the data ends {}", end.human()));
    }
    if !report.report.is_empty() {
        say(&format!(" report     {}", report.report));
    }
    say(&format!(" run        {}   {:.1} s", report.run, report.seconds));
}

/// What stands under a table of the models that failed.
pub(crate) fn failed(lines: &[FailedLine]) {
    for line in lines {
        say(&format!(" {} {}", line.name, line.words()));
    }
}

/// What stands under a table of its seeds: a line for each model that was fitted with several.
fn seeds(lines: &[RecipeLine]) {
    for (name, s) in lines.iter().filter_map(|l| Some((&l.name, l.seeds.as_ref()?))) {
        if s.seeds < 2 {
            continue;
        }
        let two = |v: f64| format!("{v:.2}");
        say(&format!(
            " {name}, {} seeds × {} folds: MAE {} bp, CRPS {} bp, skill {}",
            s.seeds,
            s.folds,
            wording::within(two(s.mae_bp.0), s.mae_bp.1.map(two)),
            wording::within(two(s.crps_bp.0), s.crps_bp.1.map(two)),
            wording::percent_within(s.skill.0, s.skill.1),
        ));
    }
}

/// How seeds differ, which recipes cannot be told from the best, how they rank, and what the
/// best of them says of the direction.
pub(crate) fn comparison(lines: &[RecipeLine], sets: &[ConfidenceSet], ranks: Option<&RanksView>) {
    seeds(lines);
    if let Some(text) = wording::confidence_sets(sets) {
        say(&format!(" {text}"));
    }
    if let Some(found) = ranks {
        say(&format!(" {}", wording::ranks(found)));
    }
    if let Some(text) = wording::direction(lines) {
        say(&format!(" {text}"));
    }
}

/// What stands under a table of models beside its verdict.
pub(crate) fn notes(volatility: Option<&VolatilitySkill>, overfitting: Option<&Overfitting>) {
    if let Some(found) = volatility {
        say(&format!(" {}", wording::volatility(found)));
    }
    if let Some(found) = overfitting {
        say(&format!(" {}", wording::overfitting(found)));
    }
}

/// A forecast as one line, from its JSON.
pub(crate) fn forecast_line(forecast: &serde_json::Value) -> String {
    let text = |pointer: &str| {
        forecast.pointer(pointer).and_then(|v| v.as_str()).unwrap_or("–").to_owned()
    };
    let price = |pointer: &str| {
        let number = forecast.pointer(pointer).and_then(serde_json::Value::as_f64);
        number.map_or_else(|| "–".to_owned(), wording::price)
    };
    if let Some(reason) = forecast.pointer("/abstained").and_then(|v| v.as_str()) {
        return format!("{}: abstains, {reason}", text("/instrument"));
    }
    let p = forecast.pointer("/skill/p_value").and_then(serde_json::Value::as_f64);
    let own = forecast.pointer("/skill/own_test").and_then(serde_json::Value::as_bool);
    let own = if own == Some(true) { ", own test, uncorrected" } else { "" };
    let p = p.map_or_else(String::new, |p| format!(" ({}{own})", wording::p_statement(p)));
    // A significant p-value that promoted nobody never stands behind "no better".
    let withheld = forecast.pointer("/skill/withheld").and_then(|v| v.as_str());
    let point = withheld.map_or_else(|| text("/skill/verdict") + &p, str::to_owned);
    let spread = forecast.get("skill").and_then(wording::spread);
    let spread = spread.map_or_else(String::new, |said| format!("; {said}"));
    let level = forecast.pointer("/interval/level").and_then(serde_json::Value::as_f64);
    format!(
        "{}  {}  {}   {:.0} %: {} … {}   {point}{spread}",
        text("/instrument"),
        text("/target_time").replace('T', " ").replace(":00Z", " UTC"),
        price("/point"),
        level.unwrap_or(0.9) * 100.0,
        price("/interval/lower"),
        price("/interval/upper"),
    )
}
