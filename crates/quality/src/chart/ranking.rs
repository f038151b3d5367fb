//! Named values compared as lying bars, with whiskers where they are uncertain.
//!
//! Only draws what it is given, in the order given.

use super::draw::{Svg, px};
use super::{Axis, Scale, Tone, axis, figure};
use crate::wording;

/// Named values as lying bars from zero, such as the importance of features or the
/// skill of models.
#[derive(Debug, Clone)]
pub struct Ranking {
    title: String,
    description: String,
    axis: Axis,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    name: String,
    value: f64,
    range: Option<(f64, f64)>,
    tone: Tone,
}

const WIDTH: f64 = 960.0;
const ROW: f64 = 24.0;

impl Ranking {
    /// An empty ranking on an axis of numbers or shares; bars begin at zero, so that no
    /// other scale can be used and a linear one is.
    pub fn new(title: impl Into<String>, description: impl Into<String>, axis: Axis) -> Self {
        let axis = Axis { scale: Scale::Linear, ..axis };
        Self { title: title.into(), description: description.into(), axis, rows: Vec::new() }
    }

    /// Adds a bar.
    #[must_use]
    pub fn row(mut self, name: impl Into<String>, tone: Tone, value: f64) -> Self {
        self.rows.push(Row { name: name.into(), value, range: None, tone });
        self
    }

    /// Adds a bar with the interval that its value is known to.
    #[must_use]
    pub fn row_within(
        mut self,
        name: impl Into<String>,
        tone: Tone,
        value: f64,
        range: (f64, f64),
    ) -> Self {
        self.rows.push(Row { name: name.into(), value, range: Some(range), tone });
        self
    }

    /// The ranking as an `<svg>` element, without its visible title.
    pub fn svg(&self) -> String {
        let shown = |v: f64| v.is_finite();
        let ends = self.rows.iter().flat_map(|r| {
            let (a, b) = r.range.unwrap_or((r.value, r.value));
            [r.value, a, b]
        });
        let (low, high) = ends
            .filter(|v| shown(*v))
            .fold((0.0f64, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = (self.axis.from.unwrap_or(low), self.axis.to.unwrap_or(high));
        let drawable = high > low && (high - low).is_finite();
        let (low, high) = if drawable { (low, high) } else { (0.0, 1.0) };
        let names = self.rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0);
        let left = (names as f64 * 7.0 + 16.0).clamp(60.0, 300.0);
        let (right, top) = (76.0, 6.0);
        let bottom = top + ROW * self.rows.len() as f64;
        let height = bottom + if self.axis.label.is_empty() { 24.0 } else { 42.0 };
        let ruler = axis::Ruler::new(self.axis.scale, low, high, left, WIDTH - right);
        let mut svg = Svg::new(&self.title, &self.description, WIDTH, height);
        for tick in axis::ticks(&self.axis, low, high, 6) {
            let x = ruler.pixel(tick.value);
            svg.rule("grid", x, top, x, bottom);
            svg.text("", x, bottom + 15.0, "middle", &tick.label);
        }
        let zero = ruler.pixel(0.0f64.clamp(low, high));
        for (i, row) in self.rows.iter().enumerate() {
            let middle = top + ROW * (i as f64 + 0.5);
            svg.text("name", left - 8.0, middle + 4.0, "end", &row.name);
            if !shown(row.value) {
                svg.text("", zero + 6.0, middle + 4.0, "start", "–");
                continue;
            }
            let end = ruler.pixel(row.value.clamp(low, high));
            let value = if self.axis.percent {
                wording::percent(row.value)
            } else {
                wording::rounded(row.value, 3)
            };
            svg.raw(&format!(
                "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>",
                row.tone.class(),
                px(zero.min(end)),
                px(middle - 7.5),
                px((end - zero).abs().max(0.5)),
                px(15.0),
            ));
            svg.escaped(&format!("{}: {value}", row.name));
            svg.raw("</title></rect>");
            let mut edge = end.max(zero);
            if let Some((a, b)) = row.range.filter(|(a, b)| shown(*a) && shown(*b)) {
                let (a, b) = (ruler.pixel(a.clamp(low, high)), ruler.pixel(b.clamp(low, high)));
                svg.raw(&format!(
                    "<path class=\"whisker\" d=\"M{a} {y}H{b}M{a} {t}v8M{b} {t}v8\"/>",
                    a = px(a),
                    b = px(b),
                    y = px(middle),
                    t = px(middle - 4.0),
                ));
                edge = edge.max(b);
            }
            svg.text("value", edge + 6.0, middle + 4.0, "start", &value);
        }
        svg.rule("axis", zero, top, zero, bottom);
        if !self.axis.label.is_empty() {
            let middle = (left + WIDTH - right) / 2.0;
            svg.text("", middle, bottom + 35.0, "middle", &self.axis.label);
        }
        svg.finish()
    }

    /// The ranking as a `<figure>` with its title as caption.
    pub fn figure(&self) -> String {
        figure(&self.title, &self.svg())
    }
}
