//! Mean ranks on a line with the distance below which two of them mean nothing.
//!
//! Every name has a dot with an interval of the critical difference around it: two whose
//! intervals overlap cannot be told apart (Demšar 2006, as an interval plot). The interval of
//! the best is shaded over the whole height.

use super::draw::{Svg, px};
use super::{Scale, Tone, axis, figure};
use crate::wording;

/// Mean ranks of named things, 1 being the best.
#[derive(Debug, Clone)]
pub struct Places {
    title: String,
    description: String,
    critical_difference: f64,
    rows: Vec<(String, f64)>,
}

const WIDTH: f64 = 960.0;
const ROW: f64 = 24.0;

impl Places {
    /// Mean ranks in the order in which they are drawn, and by how much two must differ.
    pub fn new(
        title: impl Into<String>,
        description: impl Into<String>,
        critical_difference: f64,
        rows: impl IntoIterator<Item = (String, f64)>,
    ) -> Self {
        let rows = rows.into_iter().collect();
        Self { title: title.into(), description: description.into(), critical_difference, rows }
    }

    /// The places as an `<svg>` element, without its visible title.
    pub fn svg(&self) -> String {
        let half = self.critical_difference / 2.0;
        let names = self.rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0);
        let left = (names as f64 * 7.0 + 16.0).clamp(60.0, 300.0);
        let (right, top) = (76.0, 6.0);
        let bottom = top + ROW * self.rows.len() as f64;
        let mut svg = Svg::new(&self.title, &self.description, WIDTH, bottom + 42.0);
        let ends = self.rows.iter().flat_map(|(_, rank)| [rank - half, rank + half]);
        let (low, high) = ends.fold((1.0f64, 1.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let drawable = high > low && (high - low).is_finite();
        if !drawable {
            svg.text("", WIDTH / 2.0, top + ROW, "middle", "no data");
            return svg.finish();
        }
        let ruler = axis::Ruler::new(Scale::Linear, low, high, left, WIDTH - right);
        let best = self.rows.iter().map(|r| r.1).fold(f64::INFINITY, f64::min);
        let (from, to) = (ruler.pixel(best - half), ruler.pixel(best + half));
        svg.raw(&format!(
            "<rect class=\"span {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            Tone::Grey.class(),
            px(from),
            px(top),
            px(to - from),
            px(bottom - top),
        ));
        for tick in axis::ticks(&super::Axis::numbers(""), low, high, 6) {
            let x = ruler.pixel(tick.value);
            svg.rule("grid", x, top, x, bottom);
            svg.text("", x, bottom + 15.0, "middle", &tick.label);
        }
        for (i, (name, rank)) in self.rows.iter().enumerate() {
            let middle = top + ROW * (i as f64 + 0.5);
            svg.text("name", left - 8.0, middle + 4.0, "end", name);
            let (a, b, at) =
                (ruler.pixel(rank - half), ruler.pixel(rank + half), ruler.pixel(*rank));
            // Whoever the best cannot be told from has its colour.
            let tone =
                if rank - best < self.critical_difference { Tone::Blue } else { Tone::Orange };
            let value = wording::rounded(*rank, 3);
            svg.raw(&format!(
                "<path class=\"whisker\" d=\"M{a} {y}H{b}M{a} {t}v8M{b} {t}v8\"/>\
                 <circle class=\"point {class}\" cx=\"{at}\" cy=\"{y}\" r=\"5\"><title>",
                a = px(a),
                b = px(b),
                at = px(at),
                y = px(middle),
                t = px(middle - 4.0),
                class = tone.class(),
            ));
            svg.escaped(&format!("{name}: {value}"));
            svg.raw("</title></circle>");
            svg.text("value", b + 6.0, middle + 4.0, "start", &value);
        }
        let middle = (left + WIDTH - right) / 2.0;
        svg.text("", middle, bottom + 35.0, "middle", "mean rank, 1 is the most accurate");
        svg.finish()
    }

    /// The places as a `<figure>` with its title as caption.
    pub fn figure(&self) -> String {
        figure(&self.title, &self.svg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_on_the_line_with_its_rank() {
        let rows = [("a & b".to_owned(), 1.25), ("c".to_owned(), 3.5)];
        let svg = Places::new("Ranks", "By error.", 1.0, rows).svg();
        assert!(svg.contains("a &amp; b: 1.25") && svg.contains("c: 3.5"), "{svg}");
        // The far one is not of the best one's colour.
        assert!(svg.contains("point t-blue") && svg.contains("point t-orange"), "{svg}");
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>"), "{svg}");
        let nothing = Places::new("Ranks", "By error.", 0.0, Vec::new()).svg();
        assert!(nothing.contains("no data"), "{nothing}");
    }
}
