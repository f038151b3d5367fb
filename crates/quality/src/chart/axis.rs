//! Axes: the range they show, where their ticks stand and what the ticks say.
//!
//! Numbers only; draws nothing.

use foretell_market::Timestamp;

use crate::wording;

/// How values are laid along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; values of zero or less are not shown.
    Log,
    /// Equal steps for equal times, in seconds since the epoch, labelled in UTC.
    Time,
    /// Powers of ten given as their exponents, labelled with the value.
    Exponent,
}

/// One axis: its label, scale and, where they are fixed, its ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) scale: Scale,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) percent: bool,
    pub(crate) bare: bool,
}

impl Axis {
    fn of(label: impl Into<String>, scale: Scale) -> Self {
        let label = label.into();
        Self { label, scale, from: None, to: None, percent: false, bare: false }
    }

    /// An axis of numbers, labelled with a quantity and its unit.
    pub fn numbers(label: impl Into<String>) -> Self {
        Self::of(label, Scale::Linear)
    }

    /// A logarithmic axis of positive numbers.
    pub fn log(label: impl Into<String>) -> Self {
        Self::of(label, Scale::Log)
    }

    /// A time axis in UTC; its values are those of [`crate::chart::at`].
    pub fn time() -> Self {
        Self::of("", Scale::Time)
    }

    /// An axis whose values are decimal exponents, labelled with the powers.
    pub fn exponents(label: impl Into<String>) -> Self {
        Self::of(label, Scale::Exponent)
    }

    /// An axis of shares of one, labelled in percent.
    pub fn shares(label: impl Into<String>) -> Self {
        Self { percent: true, ..Self::of(label, Scale::Linear) }
    }

    /// Fixes the lower end.
    #[must_use]
    pub fn from(mut self, value: f64) -> Self {
        self.from = Some(value);
        self
    }

    /// Fixes the upper end.
    #[must_use]
    pub fn to(mut self, value: f64) -> Self {
        self.to = Some(value);
        self
    }

    /// Draws no ticks, for an axis whose height means nothing.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }
}

/// A range of one axis laid on pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ruler {
    pub(crate) low: f64,
    pub(crate) high: f64,
    log: bool,
    start: f64,
    end: f64,
}

impl Ruler {
    /// Lays `low..high` (data units, low < high) on the pixels from `start` to `end`.
    pub(crate) fn new(scale: Scale, low: f64, high: f64, start: f64, end: f64) -> Self {
        Self { low, high, log: scale == Scale::Log, start, end }
    }

    /// The pixel of a value; NaN where a value cannot be shown.
    pub(crate) fn pixel(&self, value: f64) -> f64 {
        let (low, high, value) = if self.log {
            if value <= 0.0 {
                return f64::NAN;
            }
            (self.low.ln(), self.high.ln(), value.ln())
        } else {
            (self.low, self.high, value)
        };
        self.start + (value - low) / (high - low) * (self.end - self.start)
    }
}

/// A tick: its value and label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// About `aim` ticks at round values within `low..=high`.
pub(crate) fn ticks(axis: &Axis, low: f64, high: f64, aim: usize) -> Vec<Tick> {
    let aim = aim.max(2);
    match axis.scale {
        Scale::Linear => linear(low, high, aim, axis.percent),
        Scale::Time => time(low, high, aim),
        Scale::Log => powers(low.log10(), high.log10(), aim)
            .into_iter()
            .map(|(exponent, label)| Tick { value: 10f64.powf(exponent), label })
            .collect(),
        Scale::Exponent => {
            powers(low, high, aim).into_iter().map(|(value, label)| Tick { value, label }).collect()
        }
    }
}

/// The round step (1, 2, 2.5 or 5 times a power of ten) that gives at most `aim` steps.
fn round_step(span: f64, aim: usize) -> f64 {
    let rough = span / aim as f64;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|f| f * power >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

fn linear(low: f64, high: f64, aim: usize, percent: bool) -> Vec<Tick> {
    let step = round_step(high - low, aim);
    if !(step.is_finite() && step > 0.0) {
        return Vec::new();
    }
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let unit = if percent { step * 100.0 } else { step };
    // 2.5 needs one decimal more than its power of ten.
    let decimals = (0..12).find(|d| {
        let scaled = unit * 10f64.powi(*d);
        (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
    });
    let decimals = decimals.unwrap_or(12) as usize;
    let largest = low.abs().max(high.abs());
    if last.saturating_sub(first) > 100 {
        // The step is lost in the size of the numbers.
        return Vec::new();
    }
    let tick = |i: i64| {
        let value = i as f64 * step;
        let label = if percent {
            format!("{} %", grouped(value * 100.0, decimals))
        } else if largest >= 1e6 && step >= 1e4 {
            compact(value)
        } else if largest < 1e-4 {
            if i == 0 { "0".to_owned() } else { format!("{value:.1e}").replace('-', "−") }
        } else {
            grouped(value, decimals)
        };
        Tick { value, label }
    };
    (first..=last).map(tick).collect()
}

fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse::<u64>().map_or_else(|_| whole.to_owned(), wording::count);
    let point = if rest.is_empty() { "" } else { "." };
    let zero = text.bytes().all(|b| b == b'0' || b == b'.');
    let sign = if value < 0.0 && !zero { "−" } else { "" };
    format!("{sign}{whole}{point}{rest}")
}

/// `1.5 M`, `20 bn`: large round numbers in few characters.
pub(crate) fn compact(value: f64) -> String {
    for (unit, name) in [(1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k")] {
        if value.abs() >= unit {
            return format!("{} {name}", wording::rounded(value / unit, 4));
        }
    }
    wording::rounded(value, 4)
}

/// Exponents with labels: whole powers, with 2 and 5 between them when there are few.
fn powers(low: f64, high: f64, aim: usize) -> Vec<(f64, String)> {
    // No number lies beyond these powers, and the ends may be anything.
    let (low, high) = (low.max(-324.0), high.min(309.0));
    let span = high - low;
    if span.is_nan() || span <= 0.0 {
        return Vec::new();
    }
    if span < 0.7 {
        // Within less than a decade round values say more than powers.
        let values = linear(10f64.powf(low), 10f64.powf(high), aim, false);
        return values.into_iter().map(|t| (t.value.log10(), t.label)).collect();
    }
    let step = (span / aim as f64).ceil().max(1.0) as i64;
    let factors: &[f64] = if span < aim as f64 / 2.5 {
        &[1.0, 2.0, 5.0]
    } else if span < aim as f64 / 1.5 {
        &[1.0, 3.0]
    } else {
        &[1.0]
    };
    let mut ticks = Vec::new();
    for exponent in low.floor() as i64..=high.ceil() as i64 {
        if exponent.rem_euclid(step) != 0 {
            continue;
        }
        for factor in factors {
            let place = exponent as f64 + factor.log10();
            if place >= low - 1e-9 && place <= high + 1e-9 {
                ticks.push((place, compact(factor * 10f64.powi(exponent as i32))));
            }
        }
    }
    ticks
}

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn time(low: f64, high: f64, aim: usize) -> Vec<Tick> {
    // Beyond the calendar there is nothing to label.
    let (low, high) =
        (low.max(Timestamp::MIN.secs() as f64), high.min(Timestamp::MAX.secs() as f64));
    let span = high - low;
    let steps = [
        1,
        2,
        5,
        10,
        30,
        60,
        120,
        300,
        600,
        1_800,
        3_600,
        7_200,
        10_800,
        21_600,
        43_200,
        DAY,
        2 * DAY,
        3 * DAY,
        7 * DAY,
        14 * DAY,
    ];
    let fits = |step: &i64| span / *step as f64 <= aim as f64;
    match steps.into_iter().find(fits) {
        Some(step) => {
            // Weeks begin on Monday; the epoch was a Thursday.
            let origin = if step % (7 * DAY) == 0 { 4 * DAY } else { 0 };
            let first = ((low - origin as f64) / step as f64).ceil() as i64;
            let last = ((high - origin as f64) / step as f64).floor() as i64;
            let instants = (first..=last).map(|i| origin + i * step);
            instants.map(|secs| Tick { value: secs as f64, label: instant(secs, step) }).collect()
        }
        None => months(low, high, aim),
    }
}

fn instant(secs: i64, step: i64) -> String {
    let t = Timestamp::from_secs(secs);
    let of_day = secs.rem_euclid(DAY);
    if step >= DAY || of_day == 0 {
        let month = MONTHS[t.month() as usize - 1];
        if t.month() == 1 && t.day() <= (step / DAY).max(1) as u32 {
            return format!("{} {month} {}", t.day(), t.year());
        }
        return format!("{} {month}", t.day());
    }
    if step < 60 {
        format!("{:02}:{:02}:{:02}", t.hour(), of_day / 60 % 60, of_day % 60)
    } else {
        format!("{:02}:{:02}", t.hour(), of_day / 60 % 60)
    }
}

fn months(low: f64, high: f64, aim: usize) -> Vec<Tick> {
    let span_months = (high - low) / (30.44 * DAY as f64);
    let steps = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200];
    let step = steps.into_iter().find(|s| span_months / f64::from(*s) <= aim as f64);
    let step = step.unwrap_or(1_200);
    let start = Timestamp::from_secs(low as i64);
    let mut month = (start.year() * 12 + start.month() as i32 - 1).div_euclid(step) * step;
    let mut ticks = Vec::new();
    while let Some(t) =
        Timestamp::from_ymd_hms(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1, 0, 0, 0)
    {
        let value = t.secs() as f64;
        if value > high || ticks.len() > 4 * aim {
            break;
        }
        if value >= low {
            let label = match (step >= 12, month.rem_euclid(12)) {
                (true, _) | (false, 0) => t.year().to_string(),
                (false, m) => MONTHS[m as usize].to_owned(),
            };
            ticks.push(Tick { value, label });
        }
        month += step;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis, low: f64, high: f64, aim: usize) -> Vec<String> {
        ticks(axis, low, high, aim).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        let numbers = Axis::numbers("");
        assert_eq!(labels(&numbers, 0.0, 100.0, 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&numbers, -0.3, 0.3, 4), ["−0.2", "0.0", "0.2"]);
        assert_eq!(
            labels(&numbers, 41_000.0, 49_000.0, 4),
            ["42,000", "44,000", "46,000", "48,000"]
        );
        assert_eq!(labels(&numbers, 0.0, 3e9, 3), ["0", "1 bn", "2 bn", "3 bn"]);
        assert_eq!(
            labels(&Axis::shares(""), 0.0, 1.0, 4),
            ["0 %", "25 %", "50 %", "75 %", "100 %"]
        );
        assert_eq!(labels(&Axis::log(""), 1.0, 1e4, 5), ["1", "10", "100", "1 k", "10 k"]);
    }

    #[test]
    fn time_ticks_stand_at_calendar_boundaries() {
        let secs = |text: &str| text.parse::<Timestamp>().unwrap().secs() as f64;
        let axis = Axis::time();
        let years = labels(&axis, secs("2021-03-01"), secs("2024-08-01"), 5);
        assert_eq!(years, ["2022", "2023", "2024"]);
        let months = labels(&axis, secs("2023-11-15"), secs("2024-03-15"), 6);
        assert_eq!(months, ["Dec", "2024", "Feb", "Mar"]);
        let hours = labels(&axis, secs("2024-01-04"), secs("2024-01-05"), 5);
        assert_eq!(hours, ["4 Jan", "06:00", "12:00", "18:00", "5 Jan"]);
        let weeks = labels(&axis, secs("2024-02-01"), secs("2024-02-29"), 5);
        assert_eq!(weeks, ["5 Feb", "12 Feb", "19 Feb", "26 Feb"]);
    }

    proptest! {
        #[test]
        fn ticks_rise_within_the_range_and_are_few(
            low in -1e9f64..1e9, span in 1e-6f64..1e10, aim in 2usize..12, kind in 0u8..4,
        ) {
            let axis = match kind {
                0 => Axis::numbers(""),
                1 => Axis::log(""),
                2 => Axis::time(),
                _ => Axis::shares(""),
            };
            let low = if kind == 1 { low.abs() + 1e-3 } else { low };
            // A span below the precision of the ends is widened by the drawing.
            let high = low + span.max(low.abs() * 1e-9).max(if kind == 2 { 10.0 } else { 0.0 });
            let ticks = ticks(&axis, low, high, aim);
            let slack = 1e-6 * (high - low);
            prop_assert!(ticks.len() <= 4 * aim + 3, "{} ticks", ticks.len());
            prop_assert!(ticks.iter().all(|t| t.value >= low - slack && t.value <= high + slack));
            prop_assert!(ticks.windows(2).all(|w| w[0].value < w[1].value));
        }

        #[test]
        fn a_ruler_maps_its_ends_and_keeps_order(
            low in 0.1f64..1e6, span in 0.1f64..1e6, share in 0.0f64..1.0, log: bool,
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let ruler = Ruler::new(scale, low, low + span, 10.0, 110.0);
            prop_assert!((ruler.pixel(low) - 10.0).abs() < 1e-6);
            prop_assert!((ruler.pixel(low + span) - 110.0).abs() < 1e-6);
            let pixel = ruler.pixel(low + share * span);
            prop_assert!((10.0 - 1e-6..=110.0 + 1e-6).contains(&pixel));
        }
    }
}
