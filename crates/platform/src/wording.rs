//! Numbers as people read them.

use foretell_model::evaluate::mcs::{Loss, MostDifferent};
use foretell_model::evaluate::{ConfidenceSet, SpreadSkill, VolatilitySkill};
pub use foretell_quality::wording::count as thousands;

use crate::searches::SearchView;
use crate::views::{Overfitting, RanksView, RecipeLine, SeedsLine};

/// A price with commas and as many decimals as its size asks for.
pub fn price(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        v if v >= 10_000.0 => 0,
        v if v >= 100.0 => 2,
        v if v >= 1.0 => 4,
        _ => 8,
    };
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = thousands(whole.parse::<u64>().unwrap_or(0));
    let sign = if value < 0.0 { "−" } else { "" };
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{dot}{fraction}")
}

/// A share as a signed percentage with one decimal.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let sign = if share < 0.0 { "−" } else { "" };
    format!("{sign}{:.1} %", share.abs() * 100.0)
}

/// Basis points, signed, with two decimals.
pub fn basis_points(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{:.2}", value.abs())
}

/// The line under a table on the number of trials and what it does to the best of them.
pub fn overfitting(found: &Overfitting) -> String {
    let pbo = match found.probability {
        None => "PBO –".to_owned(),
        Some(p) => format!("PBO {p:.3} over {} trials on these rows", found.trials),
    };
    let flag = match found.probability {
        Some(p) if p > 0.5 => {
            ", a red flag: what is best in one half of the time is more often than not below \
             the median in the other"
        }
        _ => "",
    };
    let spreads = match found.spread_probability {
        None => String::new(),
        Some(p) => {
            let flag = if p > 0.5 { ", a red flag" } else { "" };
            format!(" · of spreads {p:.3} over {}{flag}", found.spread_trials)
        }
    };
    let ratios = match found.recipes {
        1 => "1 trial".to_owned(),
        n => format!("{n} trials"),
    };
    format!(
        "overfitting: {pbo}{flag}{spreads} · the deflated Sharpe ratio counts {ratios} of the ledger"
    )
}

/// The line under a table on a search for settings.
pub fn search(found: &SearchView) -> String {
    let (all, complete) = (found.trials.len(), found.count("complete"));
    let Some(best) = found.best_trial() else {
        return format!("search of `{}`: none of {all} trials ended well", found.recipe);
    };
    let luck = match found.probability {
        None => String::new(),
        Some(p) => {
            let flag = if p > 0.5 { ", a red flag" } else { "" };
            format!(
                " · PBO {p:.3} over {} trials of this kind on the same inner rows{flag}",
                found.counted
            )
        }
    };
    format!(
        "search of `{}`: trial {} of {all} ({complete} complete) found {}{luck}",
        found.recipe,
        best.number,
        settings(&best.settings),
    )
}

/// Settings as one line: `depth 4, eta 0.0312`.
pub fn settings(of: &std::collections::BTreeMap<String, serde_json::Value>) -> String {
    let value = |v: &serde_json::Value| match (v.as_i64(), v.as_f64()) {
        (None, Some(number)) => rounded(number),
        _ => v.as_str().map_or_else(|| v.to_string(), str::to_owned),
    };
    let pairs = of.iter().map(|(name, v)| format!("{name} {}", value(v)));
    pairs.collect::<Vec<_>>().join(", ")
}

/// A number with four digits that count.
fn rounded(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&size) {
        return format!("{value:.3e}");
    }
    let places = (3.0 - size).max(0.0) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The name of the statistic that a confidence set was made by.
pub fn statistic(of: MostDifferent) -> &'static str {
    match of {
        MostDifferent::FromTheMean => "T_max",
        MostDifferent::OfAPair => "T_R",
    }
}

/// What a confidence set was made by.
pub fn loss(of: Loss) -> &'static str {
    match of {
        Loss::AbsoluteError => "absolute error",
        Loss::Crps => "CRPS",
    }
}

/// The line under a table on the recipes that cannot be told from the best. Where both
/// statistics give one set they are said together.
pub fn confidence_sets(found: &[ConfidenceSet]) -> Option<String> {
    let level = found.first()?.level;
    let mut parts: Vec<(Loss, &[String], Vec<&str>)> = Vec::new();
    for set in found {
        let same = parts.iter_mut().find(|(l, inside, _)| *l == set.loss && *inside == set.inside);
        match same {
            Some((_, _, names)) => names.push(statistic(set.statistic)),
            None => parts.push((set.loss, &set.inside, vec![statistic(set.statistic)])),
        }
    }
    let said = |(of, inside, names): &(Loss, &[String], Vec<&str>)| {
        format!("{} (by {}, {})", inside.join(", "), loss(*of), names.join(" and "))
    };
    let said: Vec<String> = parts.iter().map(said).collect();
    Some(format!("model confidence set at {:.0} %: {}", level * 100.0, said.join(" · ")))
}

/// The line under a table on the mean ranks over the folds.
pub fn ranks(found: &RanksView) -> String {
    let mean: Vec<String> =
        found.mean.iter().map(|(name, rank)| format!("{name} {rank:.1}")).collect();
    let test = found.p_value.map_or_else(String::new, |p| format!("Friedman {}, ", p_statement(p)));
    format!(
        "mean rank over {} folds: {} ({test}critical difference {:.1})",
        found.folds,
        mean.join(", "),
        found.critical_difference
    )
}

/// The line under a table on the direction: the recipe of the lowest log loss among those that
/// say anything of it, against the base rate.
pub fn direction(lines: &[RecipeLine]) -> Option<String> {
    let judged = lines.iter().filter_map(|l| Some((&l.name, l.classifier.as_ref()?)));
    let tested = judged.filter_map(|(name, c)| Some((name, c, c.p_holm?)));
    let (name, c, p) = tested.min_by(|a, b| a.1.log_loss.total_cmp(&b.1.log_loss))?;
    let mcc = c.mcc.map_or_else(|| "–".to_owned(), correlation);
    Some(format!(
        "up or down: lowest log loss {:.4} by {name} (base rate {:.4}, {} after Holm; Brier score {:.4}, \
         MCC {mcc})",
        c.log_loss,
        c.base_log_loss,
        p_statement(p),
        c.brier,
    ))
}

/// A correlation, signed, with three decimals.
pub fn correlation(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{:.3}", value.abs())
}

/// Seeds × folds of a recipe; one that draws nothing has one seed and says so.
pub fn seeds(line: &SeedsLine) -> String {
    let drawn = if line.draws { "" } else { " (draws nothing)" };
    format!("{} × {}{drawn}", line.seeds, line.folds)
}

/// What is said of seeds under a table.
pub fn seeds_of(lines: &[RecipeLine]) -> String {
    match lines.iter().filter_map(|l| Some(l.seeds.as_ref()?.seeds)).max() {
        None | Some(1) => "one seed".to_owned(),
        Some(n) => format!("up to {n} seeds, the first is tested and served"),
    }
}

/// A mean with its deviation, where there is one.
pub fn within(value: String, deviation: Option<String>) -> String {
    match deviation {
        Some(deviation) => format!("{value} ± {deviation}"),
        None => value,
    }
}

/// A share with its deviation, where there is one: `0.42 ± 0.05 %`.
pub fn percent_within(share: f64, deviation: Option<f64>) -> String {
    let sign = if share < 0.0 { "−" } else { "" };
    match deviation {
        Some(d) => format!("{sign}{:.2} ± {:.2} %", share.abs() * 100.0, d * 100.0),
        None => percent(share),
    }
}

/// The line under a table on the realised variance of spans.
pub fn volatility(found: &VolatilitySkill) -> String {
    let span = found.span.map_or_else(|| "horizon".to_owned(), |s| s.to_string());
    let (previous, constant) = found.p_holm();
    let against = |rival: f64| {
        let difference = found.qlike - rival;
        let sign = if difference < 0.0 { "−" } else { "+" };
        format!("{sign}{:.3}", difference.abs())
    };
    let mut words = format!(
        "volatility: realised variance of {} spans of {span}, QLIKE of EWMA {} against the span \
         before ({}), {} against a constant ({})",
        thousands(found.rows as u64),
        against(found.qlike_previous),
        p_statement(previous),
        against(found.qlike_constant),
        p_statement(constant)
    );
    for (other, p_value) in found.others.iter().zip(found.p_values_of_others()) {
        let difference = other.qlike - found.qlike;
        let sign = if difference < 0.0 { "−" } else { "+" };
        words.push_str(&format!(
            "; {} {sign}{:.3} against EWMA (lower than all three: {})",
            other.name,
            difference.abs(),
            p_statement(p_value)
        ));
    }
    words
}

/// What is said of a spread in a stored or served forecast, from its JSON.
pub fn spread(skill: &serde_json::Value) -> Option<String> {
    let spread: SpreadSkill = serde_json::from_value(skill.get("spread")?.clone()).ok()?;
    Some(spread.sentence())
}

/// A p-value: two decimals, or a bound when it is small.
pub fn p_value(p: f64) -> String {
    match p {
        p if p.is_nan() => "–".to_owned(),
        p if p < 0.001 => "< 0.001".to_owned(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// A p-value as a statement: `p = 0.34`, `p < 0.001`.
pub fn p_statement(p: f64) -> String {
    match p_value(p) {
        bound if bound.starts_with('<') => format!("p {bound}"),
        value => format!("p = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who says nothing of the direction is not named, however the others fare.
    #[test]
    fn the_best_classifier_of_direction_is_told_with_its_test() {
        let skill = |log_loss: f64, p: Option<f64>| {
            serde_json::json!({
                "rows": 90, "unmoved": 1, "rises": 0.55, "log_loss": log_loss, "base_log_loss": 0.69,
                "log_loss_skill": 0.0, "brier": 0.2475, "base_brier": 0.25, "brier_skill": 0.01,
                "reliability": 0.0, "resolution": 0.0, "uncertainty": 0.25, "within": 0.0,
                "mcc": p.map(|_| -0.08), "p_value": p, "p_holm": p, "curve": [],
            })
        };
        let line = |name: &str, classifier: serde_json::Value| -> RecipeLine {
            let line = serde_json::json!({
                "name": name, "mae_bp": 1.0, "crps_bp": 1.0, "coverage": 0.9, "width_bp": 1.0,
                "classifier": classifier,
            });
            serde_json::from_value(line).unwrap()
        };
        let mut lines = vec![line("still", skill(0.5, None)), line("old", serde_json::Value::Null)];
        assert_eq!(direction(&lines), None);
        lines.push(line("a", skill(0.7, Some(1.0))));
        lines.push(line("b", skill(0.6882, Some(0.64))));
        assert_eq!(
            direction(&lines).as_deref(),
            Some(
                "up or down: lowest log loss 0.6882 by b (base rate 0.6900, p = 0.64 after Holm; \
                 Brier score 0.2475, MCC −0.080)"
            )
        );
    }

    #[test]
    fn overfitting_is_flagged_above_one_half_only() {
        let of = |probability, spread_probability| Overfitting {
            probability,
            trials: 7,
            spread_probability,
            spread_trials: 2,
            recipes: 12,
        };
        let said = |probability| overfitting(&of(probability, None));
        assert_eq!(
            said(Some(0.124)),
            "overfitting: PBO 0.124 over 7 trials on these rows · the deflated Sharpe ratio \
             counts 12 trials of the ledger"
        );
        let spreads = overfitting(&of(Some(0.124), Some(0.7)));
        assert!(spreads.contains("rows · of spreads 0.700 over 2, a red flag · "), "{spreads}");
        assert!(said(Some(0.51)).contains("PBO 0.510 over 7 trials on these rows, a red flag"));
        assert!(!said(Some(0.5)).contains("red flag") && said(None).contains("PBO –"));
    }

    #[test]
    fn settings_read_well() {
        let of = [
            ("depth", 4.into()),
            ("eta", 0.031_249_9.into()),
            ("lambda", 123_456.0.into()),
            ("units", vec![32, 16].into()),
            ("word", "relu".into()),
            ("zero", 0.0.into()),
        ];
        let of = of.map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value));
        let said = "depth 4, eta 0.03125, lambda 123456, units [32,16], word relu, zero 0";
        assert_eq!(settings(&of.into()), said);
        assert_eq!((rounded(0.5), rounded(1e-9)), ("0.5".to_owned(), "1.000e-9".to_owned()));
    }

    #[test]
    fn sets_of_one_loss_that_agree_are_said_once() {
        let set = |loss, statistic, inside: &[&str]| ConfidenceSet {
            loss,
            statistic,
            level: 0.9,
            p_values: Vec::new(),
            inside: inside.iter().map(|name| (*name).to_owned()).collect(),
        };
        let (mean, pair) = (MostDifferent::FromTheMean, MostDifferent::OfAPair);
        let found = [
            set(Loss::AbsoluteError, mean, &["a", "b"]),
            set(Loss::AbsoluteError, pair, &["a", "b"]),
            set(Loss::Crps, mean, &["b"]),
            set(Loss::Crps, pair, &["a", "b"]),
        ];
        assert_eq!(
            confidence_sets(&found).as_deref(),
            Some(
                "model confidence set at 90 %: a, b (by absolute error, T_max and T_R) · b (by \
                 CRPS, T_max) · a, b (by CRPS, T_R)"
            )
        );
        assert!(confidence_sets(&[]).is_none());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(price(109_541.2), "109,541");
        assert_eq!(price(7_195.245), "7,195.24");
        assert_eq!(price(f64::NAN), "–");
        assert_eq!(percent(-0.004), "−0.4 %");
        assert_eq!(percent_within(-0.0042, Some(0.0005)), "−0.42 ± 0.05 %");
        assert_eq!(percent_within(-0.0042, None), "−0.4 %");
        assert_eq!(p_value(0.714), "0.71");
        assert_eq!(p_value(0.0004), "< 0.001");
        assert_eq!(p_statement(0.0004), "p < 0.001");
        assert_eq!(p_statement(0.714), "p = 0.71");
    }
}
