//! The page and its charts: self-contained, well formed, accessible.

use foretell_market::Interval;
use foretell_quality::chart::{Axis, Chart, Ranking, Tone};
use foretell_quality::page::{Mood, Page, Table, escape};
use foretell_quality::{Expectations, gate, profile, profile_html};
use proptest::prelude::*;

use crate::support::{candles, noon, table};

/// Whether every element is closed in order, no attribute is broken and no coordinate is
/// not a number.
pub(crate) fn well_formed(html: &str) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (text, tail) = rest.split_at(start);
        if text.contains('>') && open.last().is_none_or(|o| o != "style") {
            return Err(format!("a stray > in `{text}`"));
        }
        let end = tail.find('>').ok_or("an element is not closed")?;
        let (tag, after) = (&tail[1..end], &tail[end + 1..]);
        rest = after;
        if tag.starts_with('!') {
            continue;
        }
        if tag.contains('<') || tag.matches('"').count() % 2 == 1 {
            return Err(format!("a broken element <{tag}>"));
        }
        if tag.contains("=\"NaN") || tag.contains("=\"inf") || tag.contains("NaN ") {
            return Err(format!("a coordinate that is no number in <{tag}>"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            match open.pop() {
                Some(opened) if opened == closed => {}
                other => return Err(format!("</{closed}> closes {other:?}")),
            }
        } else if !tag.ends_with('/') && !["meta", "br", "link"].contains(&name) {
            open.push(name.to_owned());
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

fn shown(hostile: &str) -> String {
    let mut raw = candles(&[
        (5, "2024-02-11T03:00,48130.5,48110,48202.5,48150,1"),
        (7, ""),
        (9, "2024-02-11T07:00,48050,48090,48040,<b>&\"',1"),
    ]);
    raw.origin = hostile.to_owned();
    let outcome = gate(&raw, &Expectations::candles(), noon());
    profile_html(&profile(&raw), Some(&outcome), hostile)
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let html = shown("Profile");
    well_formed(&html).unwrap();
    let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http:", "https:", "<script", "<link", "@import", "url(", "src="] {
        assert!(!elsewhere.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("prefers-color-scheme: dark"));
}

#[test]
fn the_page_tells_what_was_found() {
    let html = shown("Profile of hourly BTC/USD");
    for expected in [
        "<title>Profile of hourly BTC/USD</title>",
        "The gate refused this table.",
        "high 48,110.0 &lt; low 48,202.5",
        "close is not a number: `&lt;b&gt;&amp;&quot;&#39;`",
        "Price (close), USD",
        "Where rows are missing",
        "2024-02-11 05:00 UTC",
        "<th scope=\"row\">volume</th>",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
}

#[test]
fn every_chart_is_told_in_words_too() {
    let html = shown("Profile");
    let charts = html.matches("<svg class=\"chart\"").count();
    // Price, volume, gaps, and a histogram per column and of the returns.
    assert_eq!(charts, 3 + 5 + 1);
    assert_eq!(html.matches("role=\"img\" aria-label=").count(), charts);
    assert_eq!(html.matches("<desc>").count(), charts);
    assert_eq!(html.matches("<figcaption>").count(), charts);
    assert_eq!(html.matches("<table>").count(), html.matches("<caption>").count());
}

#[test]
fn hostile_texts_are_shown_and_not_obeyed() {
    let html = shown("</title><script>alert(1)</script>\u{1}");
    well_formed(&html).unwrap();
    assert!(!html.contains("<script"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}"));
}

#[test]
fn a_table_without_rows_has_a_page() {
    let raw = table(Interval::HOUR, "time,open,high,low,close,volume");
    let profile = profile(&raw);
    assert_eq!((profile.quality_score, profile.from), (0.0, None));
    let html = profile_html(&profile, None, "Nothing");
    well_formed(&html).unwrap();
    assert!(html.contains("There is no row."));
}

#[test]
fn a_chart_of_nothing_says_so() {
    let svg = Chart::new("Empty", "Nothing is drawn.").line("price", Tone::Blue, []).svg();
    well_formed(&svg).unwrap();
    assert!(svg.contains("no data"));
    well_formed(&Ranking::new("Empty", "Nothing.", Axis::numbers("gain")).figure()).unwrap();
}

#[test]
fn a_hole_breaks_the_line_and_the_band() {
    let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 2.0), (4.0, 1.0)];
    let band = points.map(|(x, y)| (x, y - 1.0, y + 1.0));
    let svg = Chart::new("Hole", "x").band("b", Tone::Blue, band).line("l", Tone::Blue, points);
    let svg = svg.svg();
    let path = |class: &str| {
        let at = svg.find(&format!("<path class=\"{class} t-blue\" d=\"")).unwrap();
        svg[at..].split('"').nth(3).unwrap().to_owned()
    };
    assert_eq!(path("line").matches('M').count(), 2);
    assert_eq!(path("band").matches('Z').count(), 2);
}

#[test]
fn thinning_keeps_the_extremes() {
    let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
    (points[54_321].1, points[54_322].1) = (10.0, -10.0);
    let whole = Chart::new("Long", "x").line("l", Tone::Blue, points);
    let svg = whole.svg();
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
    // The plot is as high as the extremes, with a margin of 5 % on both sides.
    let path = svg.split("<path class=\"line t-blue\" d=\"").nth(1).unwrap();
    let heights: Vec<f64> = path
        .split('"')
        .next()
        .unwrap()
        .split(['M', 'L'])
        .filter_map(|p| p.split(' ').nth(1)?.parse().ok())
        .collect();
    let highest = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let lowest = heights.iter().copied().fold(0.0, f64::max);
    assert!(lowest - highest > 200.0, "{highest} to {lowest}");
}

#[test]
fn tables_and_notices_are_safe() {
    let mut table = Table::new("A & B", &["Name", "#Value"]);
    table.row(["<x>", "1"]).row_of_html(vec![Mood::Good.badge("fine"), "2".to_owned()]);
    let html = Page::new("P", "lead").notice(Mood::Bad, "<!>").section("S", &table.html()).html();
    well_formed(&html).unwrap();
    assert!(html.contains("<td class=\"number\">1</td>"));
    assert!(html.contains("&lt;x&gt;") && html.contains("&lt;!&gt;"));
    assert_eq!(escape("a<b>\"'&"), "a&lt;b&gt;&quot;&#39;&amp;");
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1e6f64..1e6,
        1 => any::<f64>(),
        1 => prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(1e300)],
    ]
}

proptest! {
    #[test]
    fn whatever_is_drawn_is_well_formed(
        points in prop::collection::vec((number(), number(), number()), 0..60),
        x in 0u8..5, y in 0u8..5, width in 0u32..1200, height in 0u32..500, fixed: bool,
    ) {
        let axis = |kind: u8| match kind {
            0 => Axis::numbers("<unit>"),
            1 => Axis::log(""),
            2 => Axis::shares(""),
            3 => Axis::exponents(""),
            _ => Axis::time(),
        };
        let y = if fixed { axis(y).from(0.0).to(1.0) } else { axis(y) };
        let pairs = || points.iter().map(|p| (p.0, p.1));
        let chart = Chart::new("T<", "D\"")
            .size(width, height)
            .x(axis(x))
            .y(y)
            .spans("s", Tone::Grey, pairs())
            .band("b", Tone::Blue, points.clone())
            .bars("r", Tone::Green, points.clone())
            .line("l", Tone::Blue, pairs())
            .dashed_line("d", Tone::Orange, pairs())
            .points("p", Tone::Violet, pairs())
            .level("v", Tone::Red, 0.5)
            .upright("u", Tone::Red, 0.5)
            .diagonal("y = x", Tone::Grey);
        well_formed(&chart.figure()).map_err(TestCaseError::fail)?;
        let mut ranking = Ranking::new("R", "D", axis(x));
        for (i, (a, b, c)) in points.iter().enumerate().take(8) {
            ranking = ranking.row_within(format!("m{i}"), Tone::Blue, *a, (*b, *c));
        }
        well_formed(&ranking.svg()).map_err(TestCaseError::fail)?;
    }
}
