//! From layers and axes to SVG text.
//!
//! Lays out and writes; what is shown and why was decided before.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::axis::{Axis, Ruler, Scale, ticks};
use super::{Chart, Layer, Shape};
use crate::page::escape;
use crate::wording;

/// Width of a character of the charts' font, in pixels, on the safe side.
const CHARACTER: f64 = 6.9;

/// An `<svg>` element as it is written.
pub(crate) struct Svg(String);

impl Svg {
    pub(crate) fn new(title: &str, description: &str, width: f64, height: f64) -> Self {
        let (w, h) = (px(width), px(height));
        let (title, description) = (escape(title), escape(description));
        // The minimal width keeps labels readable on a telephone: the figure scrolls.
        let least = (width * 0.6).round();
        Self(format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{title}. {description}\" \
             viewBox=\"0 0 {w} {h}\" style=\"min-width:{least}px\" \
             xmlns=\"http://www.w3.org/2000/svg\">\
             <title>{title}</title><desc>{description}</desc>"
        ))
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(crate) fn escaped(&mut self, text: &str) {
        self.0.push_str(&escape(text));
    }

    pub(crate) fn rule(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        let (x1, y1, x2, y2) = (px(x1), px(y1), px(x2), px(y2));
        let _ = write!(
            self.0,
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        );
    }

    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let (x, y, text) = (px(x), px(y), escape(text));
        let _ = write!(
            self.0,
            "<text{class} x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }
}

/// A pixel coordinate to a tenth.
pub(crate) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The plot's rectangle and its two rulers.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Ruler,
    y: Ruler,
}

pub(crate) fn chart(chart: &Chart) -> String {
    let mut svg = Svg::new(&chart.title, &chart.description, chart.width, chart.height);
    let (Some(x_range), Some(y_range)) = (x_range(chart), y_range(chart)) else {
        svg.text("", chart.width / 2.0, chart.height / 2.0, "middle", "no data");
        return svg.finish();
    };
    let legend = legend_rows(chart);
    let bottom = chart.height - if chart.x.label.is_empty() { 22.0 } else { 40.0 };
    let top = 8.0 + 18.0 * legend.len() as f64 + if chart.y.label.is_empty() { 0.0 } else { 18.0 };
    let y_aim = (((bottom - top) / 44.0) as usize).clamp(2, 8);
    let y_ticks = ticks(&chart.y, y_range.0, y_range.1, y_aim);
    let y_ticks = if chart.y.bare { Vec::new() } else { y_ticks };
    let widest = y_ticks.iter().map(|t| t.label.chars().count()).max().unwrap_or(0);
    let left = if chart.y.bare { 12.0 } else { widest as f64 * CHARACTER + 14.0 };
    let left = left.max(chart.margin);
    let right = chart.width - 18.0;
    let x = Ruler::new(chart.x.scale, x_range.0, x_range.1, left, right);
    let y = Ruler::new(chart.y.scale, y_range.0, y_range.1, bottom, top);
    let plot = Plot { left, right, top, bottom, x, y };

    for tick in &y_ticks {
        let at = plot.y.pixel(tick.value);
        svg.rule("grid", left, at, right, at);
        svg.text("", left - 7.0, at + 4.0, "end", &tick.label);
    }
    x_axis(&mut svg, chart, &plot, x_range);
    let fixed = [chart.x.from, chart.x.to, chart.y.from, chart.y.to].iter().any(Option::is_some);
    if fixed {
        // An inner element cuts off what lies beyond fixed ends.
        let (w, h) = (px(right - left), px(bottom - top));
        let _ = write!(
            svg.0,
            "<svg x=\"{l}\" y=\"{t}\" width=\"{w}\" height=\"{h}\" viewBox=\"{l} {t} {w} {h}\">",
            l = px(left),
            t = px(top),
        );
    }
    for layer in &chart.layers {
        shape(&mut svg, chart, layer, &plot);
    }
    if fixed {
        svg.raw("</svg>");
    }
    svg.rule("axis", left, bottom, right, bottom);
    if !chart.y.label.is_empty() {
        svg.text("", 4.0, 14.0 + 18.0 * legend.len() as f64, "start", &chart.y.label);
    }
    write_legend(&mut svg, &legend);
    svg.finish()
}

fn x_axis(svg: &mut Svg, chart: &Chart, plot: &Plot, range: (f64, f64)) {
    let room = if chart.x.scale == Scale::Time { 84.0 } else { 78.0 };
    let aim = (((plot.right - plot.left) / room) as usize).clamp(2, 12);
    let mut edge = f64::NEG_INFINITY;
    for tick in ticks(&chart.x, range.0, range.1, aim) {
        let at = plot.x.pixel(tick.value);
        svg.rule("grid", at, plot.top, at, plot.bottom);
        let half = tick.label.chars().count() as f64 * CHARACTER / 2.0;
        // A label that would run into its neighbour or out of the drawing is left out.
        if at - half > (edge + 6.0).max(0.0) && at + half < chart.width {
            svg.text("", at, plot.bottom + 15.0, "middle", &tick.label);
            edge = at + half;
        }
    }
    if !chart.x.label.is_empty() {
        let middle = (plot.left + plot.right) / 2.0;
        svg.text("", middle, plot.bottom + 34.0, "middle", &chart.x.label);
    }
}

/// The least and largest of what an axis must show, widened where they are equal. A
/// fixed end that the scale cannot show is as good as none.
fn range(axis: &Axis, values: impl Iterator<Item = f64>, pad: f64) -> Option<(f64, f64)> {
    let log = axis.scale == Scale::Log;
    let shows = |v: &f64| v.is_finite() && (!log || *v > 0.0);
    let (from, to) = (axis.from.filter(shows), axis.to.filter(shows));
    let (low, high) = values
        .filter(shows)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let (low, high) = match (low.is_finite(), from, to) {
        (true, from, to) => (from.unwrap_or(low), to.unwrap_or(high)),
        (false, Some(from), Some(to)) => (from, to),
        _ => return None,
    };
    let (low, high) = (low.min(high), low.max(high));
    // Margins are taken in the units that are equal on the axis.
    let (mut a, mut b) = if log { (low.ln(), high.ln()) } else { (low, high) };
    if b - a <= 1e-12 * a.abs().max(b.abs()) {
        let by = if log { 0.1 } else { (0.05 * a.abs()).max(0.5) };
        (a, b) = (a - by, b + by);
    }
    let width = b - a;
    if from.is_none() && pad > 0.0 && (log || low != 0.0) {
        a -= pad * width;
    }
    if to.is_none() && pad > 0.0 && (log || high != 0.0) {
        b += pad * width;
    }
    let (low, high) = if log { (a.exp(), b.exp()) } else { (a, b) };
    // Ends at the limit of what numbers can say leave no room to draw in.
    let drawable = (high - low).is_finite() && high > low && (!log || low > 0.0);
    drawable.then_some((low, high))
}

fn x_range(chart: &Chart) -> Option<(f64, f64)> {
    let mut values = Vec::new();
    for layer in &chart.layers {
        match &layer.shape {
            Shape::Line { points, .. } | Shape::Points(points) => {
                values.extend(points.iter().map(|p| p.0));
            }
            Shape::Band(points) => values.extend(points.iter().map(|p| p.0)),
            Shape::Bars(bars) => values.extend(bars.iter().flat_map(|b| [b.0, b.1])),
            Shape::Spans(spans) => values.extend(spans.iter().flat_map(|s| [s.0, s.1])),
            Shape::Upright(x) => values.push(*x),
            Shape::Level(_) | Shape::Diagonal => {}
        }
    }
    let scattered = chart.layers.iter().any(|l| matches!(l.shape, Shape::Points(_)));
    range(&chart.x, values.into_iter(), if scattered { 0.02 } else { 0.0 })
}

fn y_range(chart: &Chart) -> Option<(f64, f64)> {
    let mut values = Vec::new();
    for layer in &chart.layers {
        match &layer.shape {
            Shape::Line { points, .. } | Shape::Points(points) => {
                values.extend(points.iter().map(|p| p.1));
            }
            Shape::Band(points) => values.extend(points.iter().flat_map(|p| [p.1, p.2])),
            Shape::Bars(bars) => {
                values.extend(bars.iter().map(|b| b.2));
                values.push(0.0);
            }
            Shape::Level(y) => values.push(*y),
            // A drawing of spans alone has a height that means nothing.
            Shape::Spans(_) if chart.y.bare => values.extend([0.0, 1.0]),
            Shape::Spans(_) | Shape::Upright(_) | Shape::Diagonal => {}
        }
    }
    range(&chart.y, values.into_iter(), 0.05)
}

fn shape(svg: &mut Svg, chart: &Chart, layer: &Layer, plot: &Plot) {
    let tone = layer.tone.class();
    match &layer.shape {
        Shape::Line { points, dashed } => {
            let points = points.iter().map(|(x, y)| (plot.x.pixel(*x), plot.y.pixel(*y)));
            let path = line_path(&thinned(points.collect()));
            let class = if *dashed { "line dashed" } else { "line" };
            if !path.is_empty() {
                let _ = write!(svg.0, "<path class=\"{class} {tone}\" d=\"{path}\"/>");
            }
        }
        Shape::Band(points) => {
            let path = band_path(points, plot);
            if !path.is_empty() {
                let _ = write!(svg.0, "<path class=\"band {tone}\" d=\"{path}\"/>");
            }
        }
        Shape::Bars(bars) => {
            for (from, to, value) in bars {
                bar(svg, chart, layer, plot, (*from, *to, *value));
            }
        }
        Shape::Points(points) => {
            let mut drawn = BTreeSet::new();
            let few = points.len() <= 200;
            for (x, y) in points {
                let (cx, cy) = (plot.x.pixel(*x), plot.y.pixel(*y));
                // Points on one another are drawn once.
                let cell = ((cx * 2.0).round() as i64, (cy * 2.0).round() as i64);
                if !(cx.is_finite() && cy.is_finite() && drawn.insert(cell)) {
                    continue;
                }
                let r = if few { 3.5 } else { 1.8 };
                let (cx, cy) = (px(cx), px(cy));
                let _ = write!(
                    svg.0,
                    "<circle class=\"point {tone}\" cx=\"{cx}\" cy=\"{cy}\" r=\"{r}\""
                );
                if few {
                    let (x, y) = (value(&chart.x, *x), value(&chart.y, *y));
                    svg.raw("><title>");
                    svg.escaped(&format!("{}: {x}, {y}", layer.name));
                    svg.raw("</title></circle>");
                } else {
                    svg.raw("/>");
                }
            }
        }
        Shape::Spans(spans) => shaded(svg, chart, layer, plot, spans),
        Shape::Level(y) => {
            let y = plot.y.pixel(*y);
            if y.is_finite() {
                svg.rule(&format!("rule {tone}"), plot.left, y, plot.right, y);
            }
        }
        Shape::Upright(x) => {
            let x = plot.x.pixel(*x);
            if x.is_finite() {
                svg.rule(&format!("rule {tone}"), x, plot.top, x, plot.bottom);
            }
        }
        Shape::Diagonal => {
            let (low, high) = (plot.x.low.max(plot.y.low), plot.x.high.min(plot.y.high));
            if low < high {
                let class = format!("rule {tone}");
                let (x1, y1) = (plot.x.pixel(low), plot.y.pixel(low));
                svg.rule(&class, x1, y1, plot.x.pixel(high), plot.y.pixel(high));
            }
        }
    }
}

/// Shades spans; those that would fall on one another are drawn as one.
fn shaded(svg: &mut Svg, chart: &Chart, layer: &Layer, plot: &Plot, spans: &[(f64, f64)]) {
    let mut sorted: Vec<_> = spans.iter().filter(|s| s.0.is_finite() && s.1.is_finite()).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let edges = |from: f64, to: f64| {
        let (a, b) = (plot.x.pixel(from), plot.x.pixel(to));
        (a, b.max(a + 1.5))
    };
    // From, to and how many.
    let mut merged: Vec<(f64, f64, usize)> = Vec::new();
    for &&(from, to) in &sorted {
        match merged.last_mut() {
            Some(last) if edges(from, to).0 < edges(last.0, last.1).1 + 0.5 => {
                (last.1, last.2) = (last.1.max(to), last.2 + 1);
            }
            _ => merged.push((from, to, 1)),
        }
    }
    for (from, to, count) in merged {
        let (a, b) = edges(from, to);
        if !(a.is_finite() && b.is_finite()) {
            continue;
        }
        let (y, h, x, w) = (px(plot.top), px(plot.bottom - plot.top), px(a), px(b - a));
        let tone = layer.tone.class();
        let _ = write!(
            svg.0,
            "<rect class=\"span {tone}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><title>"
        );
        let (from, to) = (value(&chart.x, from), value(&chart.x, to));
        let times = if count > 1 { format!(" ({count})") } else { String::new() };
        svg.escaped(&format!("{}{times}: {from} to {to}", layer.name));
        svg.raw("</title></rect>");
    }
}

fn bar(svg: &mut Svg, chart: &Chart, layer: &Layer, plot: &Plot, bar: (f64, f64, f64)) {
    let (from, to, height) = bar;
    let (a, b) = (plot.x.pixel(from), plot.x.pixel(to));
    let ground = if chart.y.scale == Scale::Log { plot.y.low } else { 0.0 };
    let base = plot.y.pixel(ground.clamp(plot.y.low, plot.y.high));
    let tip = plot.y.pixel(height);
    if height == 0.0 || !(a.is_finite() && b.is_finite() && tip.is_finite()) {
        return;
    }
    let gap = if b - a > 4.0 { 1.0 } else { 0.0 };
    let _ = write!(
        svg.0,
        "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>",
        layer.tone.class(),
        px(a + gap / 2.0),
        px(tip.min(base)),
        px((b - a - gap).max(0.8)),
        px((base - tip).abs().max(0.6)),
    );
    let (from, to, height) = (value(&chart.x, from), value(&chart.x, to), value(&chart.y, height));
    svg.escaped(&format!("{from} to {to}: {height}"));
    svg.raw("</title></rect>");
}

/// A value in words, as its axis would label it.
fn value(axis: &Axis, value: f64) -> String {
    match axis.scale {
        Scale::Time => foretell_market::Timestamp::from_micros((value * 1e6) as i64).human(),
        Scale::Exponent => wording::rounded(10f64.powf(value), 4),
        _ if axis.percent => wording::percent(value),
        _ => wording::rounded(value, 5),
    }
}

/// Thins a line to the first, lowest, highest and last point of each pixel column
/// (Jugel et al., 2014, "M4"): the drawing stays the same to the pixel.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= 2_000 {
        return points;
    }
    let column = |p: &(f64, f64)| if p.1.is_finite() { p.0.floor() } else { f64::NAN };
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        if group.len() <= 4 {
            kept.extend_from_slice(group);
            continue;
        }
        let by_height = |a: &&usize, b: &&usize| group[**a].1.total_cmp(&group[**b].1);
        let all: Vec<usize> = (0..group.len()).collect();
        let mut chosen = BTreeSet::from([0, group.len() - 1]);
        chosen.extend(all.iter().min_by(by_height).copied());
        chosen.extend(all.iter().max_by(by_height).copied());
        kept.extend(chosen.into_iter().map(|i| group[i]));
    }
    kept
}

fn line_path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for (i, (x, y)) in points.iter().enumerate() {
        if !(x.is_finite() && y.is_finite()) {
            pen_down = false;
            continue;
        }
        let _ = write!(path, "{}{} {}", if pen_down { "L" } else { "M" }, px(*x), px(*y));
        let alone = points.get(i + 1).is_none_or(|n| !(n.0.is_finite() && n.1.is_finite()));
        if alone && !pen_down {
            // A point between two holes would not be seen.
            path.push_str("h.1");
        }
        pen_down = true;
    }
    path
}

fn band_path(points: &[(f64, f64, f64)], plot: &Plot) -> String {
    let pixels = points
        .iter()
        .map(|(x, low, high)| (plot.x.pixel(*x), plot.y.pixel(*low), plot.y.pixel(*high)));
    let pixels: Vec<_> = pixels.collect();
    let shown = |p: &(f64, f64, f64)| p.0.is_finite() && p.1.is_finite() && p.2.is_finite();
    let mut path = String::new();
    for run in pixels.split(|p| !shown(p)).filter(|run| !run.is_empty()) {
        let upper = thinned(run.iter().map(|p| (p.0, p.2)).collect());
        let mut lower = thinned(run.iter().map(|p| (p.0, p.1)).collect());
        lower.reverse();
        for (i, (x, y)) in upper.into_iter().chain(lower).enumerate() {
            let _ = write!(path, "{}{} {}", if i == 0 { "M" } else { "L" }, px(x), px(y));
        }
        path.push('Z');
    }
    path
}

/// One entry of the legend and where it stands.
struct Entry<'a> {
    layer: &'a Layer,
    x: f64,
}

/// The legend, row by row; a single layer needs none.
fn legend_rows(chart: &Chart) -> Vec<Vec<Entry<'_>>> {
    let named: Vec<&Layer> = chart.layers.iter().filter(|l| !l.name.is_empty()).collect();
    if named.len() < 2 {
        return Vec::new();
    }
    let mut rows: Vec<Vec<Entry<'_>>> = vec![Vec::new()];
    let mut x = 4.0;
    for layer in named {
        let width = 26.0 + layer.name.chars().count() as f64 * CHARACTER + 14.0;
        let last = rows.len() - 1;
        if x + width > chart.width && !rows[last].is_empty() {
            rows.push(Vec::new());
            x = 4.0;
        }
        let last = rows.len() - 1;
        rows[last].push(Entry { layer, x });
        x += width;
    }
    rows
}

fn write_legend(svg: &mut Svg, rows: &[Vec<Entry<'_>>]) {
    for (i, row) in rows.iter().enumerate() {
        let y = 12.0 + 18.0 * i as f64;
        for Entry { layer, x } in row {
            let tone = layer.tone.class();
            let swatch = match &layer.shape {
                Shape::Line { dashed, .. } => {
                    let class = if *dashed { "line dashed" } else { "line" };
                    format!("<path class=\"{class} {tone}\" d=\"M{} {}h20\"/>", px(*x), px(y - 4.0))
                }
                Shape::Level(_) | Shape::Upright(_) | Shape::Diagonal => {
                    format!("<path class=\"rule {tone}\" d=\"M{} {}h20\"/>", px(*x), px(y - 4.0))
                }
                Shape::Points(_) => format!(
                    "<circle class=\"point {tone}\" cx=\"{}\" cy=\"{}\" r=\"4\"/>",
                    px(x + 10.0),
                    px(y - 4.0)
                ),
                Shape::Band(_) | Shape::Bars(_) | Shape::Spans(_) => {
                    let class = match layer.shape {
                        Shape::Bars(_) => "bar",
                        Shape::Band(_) => "band",
                        _ => "span",
                    };
                    format!(
                        "<rect class=\"{class} {tone}\" x=\"{}\" y=\"{}\" width=\"20\" \
                         height=\"10\"/>",
                        px(*x),
                        px(y - 9.0)
                    )
                }
            };
            svg.raw(&swatch);
            svg.text("name", x + 26.0, y, "start", &layer.name);
        }
    }
}
