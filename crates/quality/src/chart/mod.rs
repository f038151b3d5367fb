//! Charts as inline SVG: lines, bands, bars, points, spans and rules on two axes.
//!
//! A [`Chart`] is built layer by layer and drawn at once; a [`Ranking`] compares named
//! values. Colours come from CSS variables in [`STYLE`], so that one drawing serves
//! light and dark; every chart has a title and a description for those who do not see
//! it. No script, no network, no file.

mod axis;
mod draw;
mod places;
mod ranking;

pub use axis::{Axis, Scale};
pub use places::Places;
pub use ranking::Ranking;

use foretell_market::Timestamp;

/// The style sheet that every chart needs once per page.
pub const STYLE: &str = include_str!("chart.css");

/// A place on a time axis: seconds since the epoch (UTC).
pub fn at(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}

/// Which of the palette's colours a layer takes. The palette is told apart by people
/// with colour-blindness, in light and in dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The subject of the chart.
    Blue,
    /// What it is compared with.
    Orange,
    /// A third thing.
    Green,
    /// A fourth thing.
    Violet,
    /// What is wrong.
    Red,
    /// What stands in the background.
    Grey,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Blue => "t-blue",
            Self::Orange => "t-orange",
            Self::Green => "t-green",
            Self::Violet => "t-violet",
            Self::Red => "t-red",
            Self::Grey => "t-grey",
        }
    }
}

/// What is drawn, in data units.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// x and y; a y that is no number breaks the line.
    Line { points: Vec<(f64, f64)>, dashed: bool },
    /// x, lower and upper; a bound that is no number breaks the band.
    Band(Vec<(f64, f64, f64)>),
    /// From x to x, from zero to y.
    Bars(Vec<(f64, f64, f64)>),
    /// x and y.
    Points(Vec<(f64, f64)>),
    /// From x to x over the whole height.
    Spans(Vec<(f64, f64)>),
    /// A level over the whole width.
    Level(f64),
    /// An upright at one x over the whole height.
    Upright(f64),
    /// y = x where both axes show it.
    Diagonal,
}

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) tone: Tone,
    pub(crate) shape: Shape,
}

/// A chart of two axes. Layers are drawn in the order in which they are added, spans
/// and bands best first. A layer with an empty name is left out of the legend.
#[derive(Debug, Clone)]
pub struct Chart {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) margin: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) layers: Vec<Layer>,
}

impl Chart {
    /// An empty chart of 960 by 300 with two number axes. The title stands above it
    /// ([`Chart::figure`]); the description says in words what it shows.
    pub fn new(title: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            description: description.into(),
            width: 960.0,
            height: 300.0,
            margin: 0.0,
            x: Axis::numbers(""),
            y: Axis::numbers(""),
            layers: Vec::new(),
        }
    }

    /// Sets width and height in CSS pixels, at least 160 by 80.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (f64::from(width.max(160)), f64::from(height.max(80)));
        self
    }

    /// Sets the least room left of the plot in CSS pixels, so that charts that stand
    /// above one another begin at one place.
    #[must_use]
    pub fn margin(mut self, left: u32) -> Self {
        self.margin = f64::from(left);
        self
    }

    /// Sets the horizontal axis.
    #[must_use]
    pub fn x(mut self, axis: Axis) -> Self {
        self.x = axis;
        self
    }

    /// Sets the vertical axis.
    #[must_use]
    pub fn y(mut self, axis: Axis) -> Self {
        self.y = axis;
        self
    }

    fn layer(mut self, name: impl Into<String>, tone: Tone, shape: Shape) -> Self {
        self.layers.push(Layer { name: name.into(), tone, shape });
        self
    }

    /// Adds a line through (x, y); a y that is NaN leaves a hole. Lines of more points
    /// than pixels are thinned without losing an extreme.
    #[must_use]
    pub fn line(
        self,
        name: impl Into<String>,
        tone: Tone,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points = points.into_iter().collect();
        self.layer(name, tone, Shape::Line { points, dashed: false })
    }

    /// Adds a dashed line through (x, y), as [`Chart::line`].
    #[must_use]
    pub fn dashed_line(
        self,
        name: impl Into<String>,
        tone: Tone,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points = points.into_iter().collect();
        self.layer(name, tone, Shape::Line { points, dashed: true })
    }

    /// Adds a band between two bounds: (x, lower, upper).
    #[must_use]
    pub fn band(
        self,
        name: impl Into<String>,
        tone: Tone,
        points: impl IntoIterator<Item = (f64, f64, f64)>,
    ) -> Self {
        self.layer(name, tone, Shape::Band(points.into_iter().collect()))
    }

    /// Adds bars from zero: (from x, to x, y).
    #[must_use]
    pub fn bars(
        self,
        name: impl Into<String>,
        tone: Tone,
        bars: impl IntoIterator<Item = (f64, f64, f64)>,
    ) -> Self {
        self.layer(name, tone, Shape::Bars(bars.into_iter().collect()))
    }

    /// Adds points at (x, y).
    #[must_use]
    pub fn points(
        self,
        name: impl Into<String>,
        tone: Tone,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.layer(name, tone, Shape::Points(points.into_iter().collect()))
    }

    /// Shades stretches of the horizontal axis: (from x, to x). None is drawn thinner
    /// than it can be seen.
    #[must_use]
    pub fn spans(
        self,
        name: impl Into<String>,
        tone: Tone,
        spans: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.layer(name, tone, Shape::Spans(spans.into_iter().collect()))
    }

    /// Rules a dashed line at one y.
    #[must_use]
    pub fn level(self, name: impl Into<String>, tone: Tone, y: f64) -> Self {
        self.layer(name, tone, Shape::Level(y))
    }

    /// Rules a dashed line at one x.
    #[must_use]
    pub fn upright(self, name: impl Into<String>, tone: Tone, x: f64) -> Self {
        self.layer(name, tone, Shape::Upright(x))
    }

    /// Rules the dashed line y = x, on which a perfect calibration lies.
    #[must_use]
    pub fn diagonal(self, name: impl Into<String>, tone: Tone) -> Self {
        self.layer(name, tone, Shape::Diagonal)
    }

    /// The chart as an `<svg>` element, without its visible title.
    pub fn svg(&self) -> String {
        draw::chart(self)
    }

    /// The chart as a `<figure>` with its title as caption.
    pub fn figure(&self) -> String {
        figure(&self.title, &self.svg())
    }
}

pub(crate) fn figure(title: &str, svg: &str) -> String {
    let title = crate::page::escape(title);
    format!("<figure class=\"chart\"><figcaption>{title}</figcaption>{svg}</figure>\n")
}
