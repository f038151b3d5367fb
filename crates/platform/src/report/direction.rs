//! The part of the report that judges every recipe as a classifier of direction: the
//! probability of a rise that its quantiles imply, and how often it came true.

use foretell_quality::chart::{Axis, Chart, Tone};
use foretell_quality::page::Table;

use super::{Contents, or_dash};
use crate::views::RecipeLine;
use crate::wording;

/// Who says nearly nothing of the direction would be a point or two in the picture.
const LEAST_GROUPS: usize = 3;

/// More curves than these cannot be told apart.
const SHOWN_CURVES: usize = 4;

/// The table and the picture; a sentence where no price moved.
pub(super) fn section(contents: &Contents<'_>) -> String {
    let lines = &contents.report.table;
    let judged = || lines.iter().filter_map(|l| Some((l, l.classifier.as_ref()?)));
    let Some((_, first)) = judged().next() else {
        return "<p>No price moved: there is no direction to forecast.</p>".to_owned();
    };
    let head = [
        "model",
        "#log loss",
        "#skill",
        "#p (Holm)",
        "#Brier",
        "#reliability",
        "#resolution",
        "#MCC",
        "#right signs",
    ];
    let title = "The probability of a rise: out of sample, on rows that moved";
    let mut table = Table::new(title, &head);
    table.row([
        "base rate".to_owned(),
        format!("{:.4}", first.base_log_loss),
        "–".to_owned(),
        "–".to_owned(),
        format!("{:.4}", first.base_brier),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
    ]);
    for (line, c) in judged() {
        table.row([
            line.name.clone(),
            format!("{:.4}", c.log_loss),
            wording::percent(c.log_loss_skill),
            or_dash(c.p_holm.map(wording::p_value)),
            format!("{:.4}", c.brier),
            format!("{:.4}", c.reliability),
            format!("{:.4}", c.resolution),
            or_dash(c.mcc.map(wording::correlation)),
            or_dash(line.directional_accuracy.map(wording::percent)),
        ]);
    }
    let unmoved = match first.unmoved {
        0 => String::new(),
        n => format!(" {} rows that did not move are left out.", wording::thousands(n as u64)),
    };
    format!(
        "{}<p>The base rate is the share of rises in the training rows of each fold; {:.1} % of \
         these {} rows rose.{unmoved} A log loss of 0.6931 is a coin's; skill is the share by which \
         it is lower than the base rate's. Reliability is best at zero, of resolution more is \
         better: the parts of the Brier score over ten groups of similar probabilities. MCC is the correlation of \
         \u{201c}a rise is more probable than a fall\u{201d} with a rise, absent for a model that \
         always says the same. The test (DM-HLN on log losses) is against the base rate, Holm over \
         the models of this table; it promotes nobody.</p>{}",
        table.html(),
        first.rises * 100.0,
        wording::thousands(first.rows as u64),
        calibration(lines)
    )
}

/// How often probabilities come true, group by group.
fn calibration(lines: &[RecipeLine]) -> String {
    let tones = [Tone::Blue, Tone::Orange, Tone::Green, Tone::Violet];
    let judged = lines.iter().filter_map(|l| Some((&l.name, l.classifier.as_ref()?)));
    let mut best: Vec<_> = judged.filter(|(_, c)| c.curve.len() >= LEAST_GROUPS).collect();
    if best.is_empty() {
        return String::new();
    }
    best.sort_by(|a, b| a.1.log_loss.total_cmp(&b.1.log_loss));
    best.truncate(SHOWN_CURVES);
    let shown: Vec<_> = best.into_iter().map(|(name, c)| (name, &c.curve)).collect();
    let mut chart = Chart::new(
        "How often a probability of a rise comes true",
        "Share of rises against the mean probability in ten groups of equally many forecasts; \
         calibrated probabilities lie on the diagonal.",
    )
    .size(720, 420)
    .x(Axis::shares("probability of a rise"))
    .y(Axis::shares("rises"))
    .diagonal("perfect", Tone::Grey);
    for ((name, curve), tone) in shown.iter().zip(tones.iter().cycle()) {
        let points = || curve.iter().map(|g| (g.probability, g.rises));
        chart = chart.line(name.as_str(), *tone, points()).points("", *tone, points());
    }
    let rows = shown.iter().flat_map(|(_, curve)| curve.iter().map(|g| g.rows));
    let (least, most) = rows.fold((usize::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
    format!(
        "{}<p>Each point is a group of {} to {} forecasts; with {} of them a share of rises has a \
         standard error of up to {:.0} percentage points. Drawn are the models of the lowest log \
         loss, {SHOWN_CURVES} at most, whose probabilities differ.</p>",
        chart.figure(),
        wording::thousands(least as u64),
        wording::thousands(most as u64),
        wording::thousands(least as u64),
        // Of independent rows: the root of p (1 - p) / n is largest at one half.
        50.0 / (least as f64).sqrt()
    )
}
