//! Numbers and spans of time in the words of findings and pages.
//!
//! Only text for people: nothing here is parsed again.

use foretell_market::Interval;

/// A whole number with thousands separated by commas.
pub fn count(n: impl Into<u128>) -> String {
    grouped(&n.into().to_string())
}

/// `1 row`, `2 rows`, `26,280 rows`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n as u128), if n == 1 { one } else { many })
}

/// A measured value as it stands, thousands separated, at least one decimal:
/// `48,110.0`.
pub fn exact(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value != 0.0 && (value.abs() >= 1e15 || value.abs() < 1e-9) {
        return format!("{value:e}");
    }
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |d| ("−", d));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    format!("{sign}{}.{decimals}", grouped(whole))
}

/// A value to about `digits` significant digits, thousands separated.
pub fn rounded(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "–".to_owned() } else { value.to_string() };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-7..=15).contains(&magnitude) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    let decimals = (digits as i32 - 1 - magnitude).clamp(0, 12) as usize;
    let text = format!("{:.decimals$}", value.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let decimals = decimals.trim_end_matches('0');
    let sign = if value < 0.0 { "−" } else { "" };
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{decimals}", grouped(whole))
}

/// A share of one in percent: `99.2 %`, `50 %`; never rounded to 0 or 100 when it is
/// neither.
pub fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if !value.is_finite() {
        return "–".to_owned();
    }
    for decimals in 1..6 {
        let text = format!("{value:.decimals$}");
        let shown: f64 = text.parse().unwrap_or(value);
        if (shown == 0.0) == (value == 0.0) && (shown == 100.0) == (value == 100.0) {
            let text = text.strip_suffix(".0").unwrap_or(&text);
            return format!("{} %", text.replace('-', "−"));
        }
    }
    format!("{value:e} %")
}

/// A length of time in its two largest units: `7 h`, `2 d 3 h`, `45 s`.
pub fn span(micros: i64) -> String {
    let secs = micros / 1_000_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(u, _)| secs >= *u).unwrap_or(3);
    let (unit, name) = units[first];
    let rest = secs % unit;
    match units.get(first + 1) {
        Some((next, next_name)) if rest >= *next => {
            format!("{} {name} {} {next_name}", count((secs / unit) as u128), rest / next)
        }
        _ => format!("{} {name}", count((secs / unit) as u128)),
    }
}

/// The length of a number of intervals.
pub fn intervals(n: usize, interval: Interval) -> String {
    span((n as i64).saturating_mul(interval.micros()))
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(exact(48_110.0), "48,110.0");
        assert_eq!(exact(48_202.5), "48,202.5");
        assert_eq!(exact(-0.001), "−0.001");
        assert_eq!(exact(1e20), "1e20");
        assert_eq!(count(26_280u64), "26,280");
        assert_eq!(rounded(123_456.789, 4), "123,457");
        assert_eq!(rounded(0.000_123_456, 4), "0.0001235");
        assert_eq!(rounded(-2.5, 4), "−2.5");
        assert_eq!(rounded(f64::NAN, 4), "–");
    }

    #[test]
    fn a_share_is_never_rounded_to_all_or_nothing() {
        assert_eq!(percent(0.992), "99.2 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.99998), "99.998 %");
        assert_eq!(percent(0.0001), "0.01 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn spans_name_two_units() {
        assert_eq!(intervals(7, Interval::HOUR), "7 h");
        assert_eq!(intervals(51, Interval::HOUR), "2 d 3 h");
        assert_eq!(span(45_000_000), "45 s");
        assert_eq!(span(0), "0 s");
    }
}
