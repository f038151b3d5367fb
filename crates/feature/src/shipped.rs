//! The lists behind the shipped names.

use crate::set::FeatureSpec;

/// The features of a shipped set, or `None` for an unknown name.
pub(crate) fn list(name: &str) -> Option<Vec<FeatureSpec>> {
    match name {
        "coingecko-62" => Some(coingecko()),
        _ => None,
    }
}

/// The 62 columns of hourly snapshots with price, market capitalisation and volume.
fn coingecko() -> Vec<FeatureSpec> {
    let feature = |name: &str, kind: &str| FeatureSpec::new(name, kind);
    let price = |name: String, kind: &str| FeatureSpec::new(name, kind).with("column", "price");
    let volume =
        |name: String, kind: &str| FeatureSpec::new(name, kind).with("column", "total_volume");
    let mut set: Vec<FeatureSpec> = ["price", "market_cap", "total_volume"]
        .map(|column| feature(column, "column").with("column", column))
        .to_vec();
    set.push(feature("hour", "hour"));
    set.push(feature("day_of_week", "weekday"));
    for (name, kind) in [
        ("hour_sin", "hour_sin"),
        ("hour_cos", "hour_cos"),
        ("day_sin", "weekday_sin"),
        ("day_cos", "weekday_cos"),
    ] {
        set.push(feature(name, kind));
    }
    for h in [1, 3, 6, 12, 24] {
        set.push(price(format!("price_lag_{h}h"), "lag").with("steps", f64::from(h)));
        set.push(volume(format!("volume_lag_{h}h"), "lag").with("steps", f64::from(h)));
    }
    for h in [3, 6, 12, 24] {
        for statistic in ["mean", "std", "min", "max"] {
            let name = format!("price_rolling_{statistic}_{h}h");
            let kind = format!("rolling_{statistic}");
            set.push(price(name, &kind).with("window", f64::from(h)));
        }
        let name = format!("volume_rolling_mean_{h}h");
        set.push(volume(name, "rolling_mean").with("window", f64::from(h)));
    }
    for h in [1, 3, 6, 12, 24] {
        set.push(price(format!("price_change_{h}h"), "change").with("steps", f64::from(h)));
    }
    for h in [3, 6, 12] {
        set.push(price(format!("momentum_{h}h"), "difference").with("steps", f64::from(h)));
    }
    for h in [6, 12, 24] {
        set.push(price(format!("volatility_{h}h"), "volatility").with("window", f64::from(h)));
    }
    let ratio = volume("volume_price_ratio".to_owned(), "ratio").with("by", "price");
    set.push(ratio);
    set.push(volume("volume_change_1h".to_owned(), "change").with("steps", 1.0));
    for h in [6, 12, 24] {
        set.push(price(format!("sma_{h}h"), "rolling_mean").with("window", f64::from(h)));
    }
    for h in [6, 12] {
        set.push(price(format!("ema_{h}h"), "ewm_mean").with("span", f64::from(h)));
    }
    set.push(price("bb_middle".to_owned(), "rolling_mean").with("window", 12.0));
    for (name, kind) in [
        ("bb_upper", "bollinger_upper"),
        ("bb_lower", "bollinger_lower"),
        ("bb_width", "bollinger_width"),
        ("price_bb_position", "bollinger_position"),
    ] {
        set.push(price(name.to_owned(), kind).with("window", 12.0).with("sigmas", 2.0));
    }
    set
}
