//! Numbers as people read them.

pub use foretell_quality::wording::count as thousands;

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

    #[test]
    fn numbers_read_well() {
        assert_eq!(price(109_541.2), "109,541");
        assert_eq!(price(7_195.245), "7,195.24");
        assert_eq!(price(f64::NAN), "–");
        assert_eq!(percent(-0.004), "−0.4 %");
        assert_eq!(p_value(0.714), "0.71");
        assert_eq!(p_value(0.0004), "< 0.001");
        assert_eq!(p_statement(0.0004), "p < 0.001");
        assert_eq!(p_statement(0.714), "p = 0.71");
    }
}
