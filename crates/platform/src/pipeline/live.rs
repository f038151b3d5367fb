//! The table `[live]`: whose trades are followed, and what is made of them beside candles.

use foretell_market::{CountSpec, Interval};
use serde::Serialize;

use super::Sections;
use super::diagnostic::Diagnostic;
use super::section::Section;

/// Whose trades are followed live, how patiently, and what is made of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveSettings {
    /// The venue's name.
    pub venue: String,
    /// For how long after its close a candle still takes late trades.
    pub lateness: Interval,
    /// Further lengths of candles, beside the pipeline's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
    /// Bars by count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<CountSpec>,
}

impl LiveSettings {
    /// Reads the table, where the file has it.
    pub(super) fn read(sections: &mut Sections<'_, '_>, own: Interval) -> Option<Self> {
        sections.root.iter().find(|(key, _)| key.get_ref() == "live")?;
        let live = sections.open("live");
        let faults = &mut *sections.faults;
        let before = faults.len();
        let settings = Self {
            venue: live.text("venue", faults),
            lateness: live.interval("lateness", faults).unwrap_or(Interval::MINUTE),
            intervals: parsed(live.texts("intervals", faults)),
            bars: parsed(live.texts("bars", faults)),
        };
        if faults.len() == before {
            check_lists(&live, own, faults);
        }
        Some(settings)
    }
}

/// The values of texts that their key has checked.
fn parsed<T: std::str::FromStr>(texts: Vec<String>) -> Vec<T> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// Nothing is asked for twice, however it is written.
fn check_lists(live: &Section<'_>, own: Interval, faults: &mut Vec<Diagnostic>) {
    let mut seen: Vec<String> = Vec::new();
    for (text, span) in live.elements("intervals") {
        let Ok(interval) = text.parse::<Interval>() else { continue };
        let label = "leave it out".to_owned();
        if interval == own {
            let message =
                format!("`{text}` in `intervals` of [live] is the pipeline's own interval");
            faults.push(Diagnostic { message, span, label });
        } else if seen.contains(&interval.to_string()) {
            let message = format!("`{text}` stands twice in `intervals` of [live]");
            faults.push(Diagnostic { message, span, label });
        } else {
            seen.push(interval.to_string());
        }
    }
    for (text, span) in live.elements("bars") {
        let Ok(bar) = text.parse::<CountSpec>() else { continue };
        if seen.contains(&bar.to_string()) {
            let message = format!("`{text}` stands twice in `bars` of [live]");
            faults.push(Diagnostic { message, span, label: "leave it out".to_owned() });
        } else {
            seen.push(bar.to_string());
        }
    }
}
