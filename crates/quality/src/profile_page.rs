//! The profile as one page: key figures, checks, price, volume, gaps, columns.
//!
//! Shows what [`crate::profile`] and [`crate::gate`] found; finds nothing itself.

use std::collections::BTreeMap;

use foretell_panel::Gap;

use crate::chart::{Axis, Chart, Tone, at};
use crate::finding::{CheckStatus, GateOutcome};
use crate::page::{Mood, Page, Table, escape};
use crate::profile::{ColumnKind, ColumnProfile, Profile, Stretch};
use crate::{Severity, wording};

/// Rows of a table that lists things found.
const LISTED: usize = 20;

/// The profile, and the gate's judgement where there is one, as a self-contained HTML
/// page: no script, no network, light or dark as the reader's system has it.
pub fn profile_html(profile: &Profile, outcome: Option<&GateOutcome>, title: &str) -> String {
    let p = profile;
    let lead = format!(
        "{} · {} · {} · {}",
        p.instrument,
        p.interval,
        wording::counted(p.rows, "row", "rows"),
        p.origin
    );
    let mut page = Page::new(title, &lead);
    if let Some(outcome) = outcome {
        let (mood, text) = verdict(outcome);
        page = page.notice(mood, &text);
    }
    page = page.figures(key_figures(p));
    if let Some(outcome) = outcome {
        page = page.section("Checks", &checks(outcome));
    }
    if p.rows > 0 {
        page = page.section("Price and volume", &overview(p));
    }
    page = page.section("Gaps", &gaps(p));
    page = page.section("Columns", &columns(p));
    let described = p.log_return.iter().chain(&p.columns);
    let histograms: String = described.filter_map(histogram).collect();
    if !histograms.is_empty() {
        page = page.section("Distributions", &format!("<div class=\"pair\">{histograms}</div>"));
    }
    page.html()
}

fn verdict(outcome: &GateOutcome) -> (Mood, String) {
    let warned = outcome.count(CheckStatus::Warned);
    if outcome.blocked() {
        (Mood::Bad, format!("The gate refused this table. {}", outcome.summary()))
    } else if warned > 0 {
        (Mood::Warning, format!("The gate let this table through. {}", outcome.summary()))
    } else {
        (Mood::Good, format!("The gate let this table through. {}", outcome.summary()))
    }
}

fn key_figures(p: &Profile) -> Vec<(&'static str, String, String)> {
    let range = match (p.from, p.to) {
        (Some(from), Some(to)) => format!("{} to {}", from.date_string(), to.date_string()),
        _ => "no row".to_owned(),
    };
    let missing: usize = p.gaps.iter().map(|g| g.intervals).sum();
    vec![
        ("Quality score", format!("{:.1}", p.quality_score), "of 100".to_owned()),
        ("Rows", wording::count(p.rows as u128), range),
        (
            "Intervals covered",
            wording::percent(p.coverage()),
            format!(
                "{} of {}",
                wording::count(p.intervals_present as u128),
                wording::count(p.intervals_expected as u128)
            ),
        ),
        (
            "Gaps",
            wording::count(p.gaps.len() as u128),
            match missing {
                0 => "none missing".to_owned(),
                n => format!("{} missing", wording::intervals(n, p.interval)),
            },
        ),
        (
            "Cells missing",
            wording::percent(p.missing_share),
            format!("over {}", wording::counted(p.columns.len(), "column", "columns")),
        ),
        (
            "Duplicate rows",
            wording::count(p.duplicate_rows as u128),
            match p.conflicting_rows {
                0 => "none of one time differ".to_owned(),
                n => format!("{} more of one time differ", wording::count(n as u128)),
            },
        ),
    ]
}

fn badge(status: CheckStatus) -> String {
    match status {
        CheckStatus::Passed => Mood::Good.badge("passed"),
        CheckStatus::Warned => Mood::Warning.badge("warned"),
        CheckStatus::Blocked => Mood::Bad.badge("refused"),
        CheckStatus::Off => Mood::Plain.badge("off"),
    }
}

fn checks(outcome: &GateOutcome) -> String {
    let mut table = Table::new("What was expected of the rows", &["Check", "Result", "Seen"]);
    for check in &outcome.checks {
        table.row_of_html(vec![
            format!("<code>{}</code>", escape(&check.name)),
            badge(check.status),
            escape(&check.detail),
        ]);
    }
    let mut html = table.html();
    let rows: Vec<_> = outcome.findings.iter().filter(|f| f.position.is_some()).collect();
    if !rows.is_empty() {
        let caption = format!(
            "Rows with findings ({} shown of {} listed; {} in quarantine)",
            wording::count(rows.len().min(LISTED) as u128),
            wording::count(rows.len() as u128),
            wording::counted(outcome.quarantined.len(), "row", "rows"),
        );
        let mut table = Table::new(&caption, &["#Row", "Time", "Result", "Check", "Finding"]);
        for finding in rows.into_iter().take(LISTED) {
            let status = match finding.severity {
                Severity::Block => CheckStatus::Blocked,
                _ => CheckStatus::Warned,
            };
            table.row_of_html(vec![
                finding.position.map_or(String::new(), wording::count),
                finding.time.map_or(String::new(), foretell_market::Timestamp::human),
                badge(status),
                format!("<code>{}</code>", escape(&finding.check)),
                escape(&finding.message),
            ]);
        }
        html += &table.html();
    }
    html
}

/// Room left of every time chart, so that one time stands at one place.
const MARGIN: u32 = 66;

/// The time axis of all charts of the page.
fn times(p: &Profile) -> Axis {
    let first = p.overview.stretches.first().map_or(p.from, |s| Some(s.from));
    match (first, p.to) {
        (Some(from), Some(to)) => Axis::time().from(at(from)).to(at(to + p.interval)),
        _ => Axis::time(),
    }
}

/// Gaps beyond this many are shown as the share of intervals missing per stretch: each
/// on its own, drawn as thin as can be seen, they would look like more than they are.
const SPANS: usize = 60;

/// The gaps as spans: all when they are few, else those of a whole stretch.
fn gap_spans(p: &Profile) -> Vec<(f64, f64)> {
    let few = p.gaps.len() <= SPANS;
    let seen = |g: &&Gap| few || g.to.secs() - g.from.secs() >= p.overview.stretch_secs;
    p.gaps.iter().filter(seen).map(|g| (at(g.from), at(g.to))).collect()
}

/// The share of intervals missing in each stretch that misses some: from, to, share.
fn missing_shares(p: &Profile) -> Vec<(f64, f64, f64)> {
    let length = p.overview.stretch_secs.max(1);
    let mut missing: BTreeMap<i64, i64> = BTreeMap::new();
    for gap in &p.gaps {
        let (mut from, to) = (gap.from.secs(), gap.to.secs());
        while from < to {
            let stretch = from.div_euclid(length);
            let end = to.min((stretch + 1) * length);
            *missing.entry(stretch).or_default() += end - from;
            from = end;
        }
    }
    let share = |(stretch, secs): (i64, i64)| {
        let from = (stretch * length) as f64;
        (from, from + length as f64, secs as f64 / length as f64)
    };
    missing.into_iter().map(share).collect()
}

/// A price that grew many times over is read in ratios.
fn price_axis(stretches: &[Stretch]) -> Axis {
    let low = stretches.iter().filter_map(|s| s.low).fold(f64::INFINITY, f64::min);
    let high = stretches.iter().filter_map(|s| s.high).fold(0.0, f64::max);
    if low > 0.0 && high / low > 20.0 { Axis::log("logarithmic") } else { Axis::numbers("") }
}

fn overview(p: &Profile) -> String {
    let o = &p.overview;
    let stretches = &o.stretches;
    let middle = |from| at(from) + o.stretch_secs as f64 / 2.0;
    let number = |v: Option<f64>| v.unwrap_or(f64::NAN);
    let length = wording::span(o.stretch_secs * 1_000_000);
    let mut html = String::new();
    if let Some(price) = &o.price {
        let description = format!(
            "The last {price} of each stretch of {length} as a line, with the range from the \
             lowest to the highest price as a band; shaded stretches have no rows."
        );
        // Stretches without rows break the line where a gap is at least one stretch long.
        let mut line = Vec::new();
        let mut band = Vec::new();
        let mut before: Option<i64> = None;
        for s in stretches {
            if before.is_some_and(|b| s.from.secs() > b + o.stretch_secs) {
                line.push((middle(s.from), f64::NAN));
                band.push((middle(s.from), f64::NAN, f64::NAN));
            }
            line.push((middle(s.from), number(s.last)));
            band.push((middle(s.from), number(s.low), number(s.high)));
            before = Some(s.from.secs());
        }
        let spans = gap_spans(p);
        let chart = Chart::new(format!("Price ({price}), {}", p.instrument.quote()), description)
            .size(960, 320)
            .margin(MARGIN)
            .x(times(p))
            .y(price_axis(stretches))
            .band("lowest to highest", Tone::Blue, band)
            .line(price.clone(), Tone::Blue, line)
            .spans(if spans.is_empty() { "" } else { "gap" }, Tone::Red, spans);
        html += &chart.figure();
    }
    if let Some(volume) = &o.volume {
        let description = format!("The {volume} of each stretch of {length} as bars.");
        let bars = stretches.iter().map(|s| {
            let from = at(s.from);
            (from, from + o.stretch_secs as f64, number(s.volume))
        });
        let title = match volume.as_str() {
            "volume" => format!("Volume per {length}"),
            name => format!("Volume ({name}), last of each {length}"),
        };
        let chart = Chart::new(title, description)
            .size(960, 190)
            .margin(MARGIN)
            .x(times(p))
            .y(Axis::numbers("").from(0.0))
            .bars(volume.clone(), Tone::Grey, bars);
        html += &chart.figure();
    }
    html
}

fn gaps(p: &Profile) -> String {
    let (Some(from), Some(to)) = (p.from, p.to) else {
        return "<p>There is no row.</p>".to_owned();
    };
    if p.gaps.is_empty() {
        return format!("<p>Every interval from {} to {} has a row.</p>", from.human(), to.human());
    }
    let missing: usize = p.gaps.iter().map(|g| g.intervals).sum();
    let words = format!(
        "{}, {} in all, of {} intervals. A gap stays a gap: nothing is invented in its place.",
        wording::counted(p.gaps.len(), "gap", "gaps"),
        wording::intervals(missing, p.interval),
        wording::count(p.intervals_expected as u128)
    );
    let chart = if p.gaps.len() <= SPANS {
        Chart::new("Where rows are missing", words.clone())
            .size(960, 92)
            .margin(MARGIN)
            .x(times(p))
            .y(Axis::numbers("").bare())
            .spans("rows", Tone::Grey, [(at(from), at(to + p.interval))])
            .spans("missing", Tone::Red, gap_spans(p))
    } else {
        let length = wording::span(p.overview.stretch_secs * 1_000_000);
        Chart::new(format!("Share of intervals missing, per {length}"), words.clone())
            .size(960, 150)
            .margin(MARGIN)
            .x(times(p))
            .y(Axis::shares("").from(0.0).to(1.0))
            .bars("missing", Tone::Red, missing_shares(p))
    };
    let mut longest: Vec<_> = p.gaps.iter().collect();
    longest.sort_by_key(|g| (std::cmp::Reverse(g.intervals), g.from));
    let shown = longest.len().min(12);
    let caption = match shown {
        n if n == longest.len() => "Gaps, the longest first".to_owned(),
        n => format!("The {n} longest gaps"),
    };
    let mut table = Table::new(&caption, &["First missing", "Next row", "#Intervals", "#Length"]);
    for gap in longest.into_iter().take(shown) {
        table.row([
            gap.from.human(),
            gap.to.human(),
            wording::count(gap.intervals as u128),
            wording::intervals(gap.intervals, p.interval),
        ]);
    }
    format!("<p>{}</p>\n{}{}", escape(&words), chart.figure(), table.html())
}

const fn kind(column: &ColumnProfile) -> &'static str {
    match column.kind {
        ColumnKind::Empty => "empty",
        ColumnKind::Constant => "constant",
        ColumnKind::Integer => "whole numbers",
        ColumnKind::Number => "numbers",
    }
}

fn columns(p: &Profile) -> String {
    let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| wording::rounded(v, 5));
    let count = |n: usize| wording::count(n as u128);
    let mut cells = Table::new(
        "What the cells hold",
        &[
            "Column",
            "Holds",
            "#Values",
            "#Missing",
            "#Unreadable",
            "#Zeros",
            "#Negative",
            "#Distinct",
        ],
    );
    let mut spread = Table::new(
        "How the values are spread",
        &["Column", "#Least", "#5 %", "#25 %", "#Median", "#75 %", "#95 %", "#Largest"],
    );
    let mut shape = Table::new(
        "Moments",
        &["Column", "#Mean", "#Standard deviation", "#Skewness", "#Excess kurtosis"],
    );
    for c in p.columns.iter().chain(&p.log_return) {
        let share = c.missing as f64 / p.rows.max(1) as f64;
        let missing = match c.missing {
            0 => "0".to_owned(),
            n => format!("{} ({})", count(n), wording::percent(share)),
        };
        cells.row([
            c.name.clone(),
            kind(c).to_owned(),
            count(c.count),
            missing,
            count(c.unreadable),
            count(c.zeros),
            count(c.negative),
            count(c.distinct),
        ]);
        let quantile =
            |p: f64| c.quantiles.iter().find(|(probability, _)| *probability == p).map(|q| q.1);
        spread.row([
            c.name.clone(),
            number(c.min),
            number(quantile(0.05)),
            number(quantile(0.25)),
            number(quantile(0.5)),
            number(quantile(0.75)),
            number(quantile(0.95)),
            number(c.max),
        ]);
        shape.row([
            c.name.clone(),
            number(c.mean),
            number(c.std),
            number(c.skewness),
            number(c.excess_kurtosis),
        ]);
    }
    cells.html() + &spread.html() + &shape.html()
}

fn histogram(column: &ColumnProfile) -> Option<String> {
    let h = &column.histogram;
    if h.counts.is_empty() {
        return None;
    }
    let bars = h.counts.iter().zip(h.edges.windows(2)).map(|(n, e)| (e[0], e[1], *n as f64));
    let returns = column.name == "log return";
    let (axis, remark) = match (h.log10, returns) {
        (true, _) => (Axis::exponents(""), ", logarithmic axis"),
        (false, true) => (Axis::numbers(""), " of one interval, logarithmic count"),
        (false, false) => (Axis::numbers(""), ""),
    };
    // What matters of returns is their tails, seen only where counts are logarithmic.
    let rows = if returns { Axis::log("rows").from(0.8) } else { Axis::numbers("rows").from(0.0) };
    let description = format!(
        "Histogram of {} values of {} in {} bins of equal width{remark}.",
        wording::count(column.count as u128),
        column.name,
        h.counts.len()
    );
    let chart = Chart::new(format!("{}{remark}", column.name), description)
        .size(470, 210)
        .x(axis)
        .y(rows)
        .bars(column.name.clone(), Tone::Blue, bars);
    Some(chart.figure())
}
