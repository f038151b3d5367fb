//! The lists behind the shipped names.

use crate::set::FeatureSpec;

/// The features of a shipped set, or `None` for an unknown name.
pub(crate) fn list(name: &str) -> Option<Vec<FeatureSpec>> {
    match name {
        "coingecko-62" => Some(coingecko()),
        "kraken-62" => Some(kraken()),
        "candle-base" => Some(candle_base()),
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

/// The 62 columns of a stream of candles: the candle, its close time and the
/// indicators of TA-Lib. SAR, SAREXT and T3 take that library's defaults, where the
/// stream's own code passes zeros (see the notes of [`crate::catalogue()`]).
fn kraken() -> Vec<FeatureSpec> {
    let feature = |name: &str, kind: &str| FeatureSpec::new(name, kind);
    let periods = |name: &str, kind: &str, period: u32| {
        FeatureSpec::new(name, kind).with("period", f64::from(period))
    };
    let mut set: Vec<FeatureSpec> = ["open", "high", "low", "close", "volume"]
        .map(|column| feature(column, "column").with("column", column))
        .to_vec();
    set.push(feature("timestamp_ms", "timestamp_ms").with("offset", 1.0));
    set.push(periods("ADX", "adx", 14));
    set.push(feature("APO", "apo").with("fast", 12.0).with("slow", 26.0));
    for (name, kind) in
        [("AROON_Up", "aroon_up"), ("AROON_Down", "aroon_down"), ("AROONOSC", "aroonosc")]
    {
        set.push(periods(name, kind, 14));
    }
    set.push(feature("BOP", "bop"));
    for (name, kind) in [
        ("CCI", "cci"),
        ("CMO", "cmo"),
        ("DX", "dx"),
        ("MFI", "mfi"),
        ("MINUS_DI", "minus_di"),
        ("MINUS_DM", "minus_dm"),
        ("MOM", "mom"),
        ("PLUS_DI", "plus_di"),
        ("PLUS_DM", "plus_dm"),
    ] {
        set.push(periods(name, kind, 14));
    }
    set.push(feature("PPO", "ppo").with("fast", 12.0).with("slow", 26.0));
    for (name, kind) in
        [("ROC", "roc"), ("ROCP", "rocp"), ("ROCR", "rocr"), ("ROCR100", "rocr100"), ("RSI", "rsi")]
    {
        set.push(periods(name, kind, 14));
    }
    set.push(periods("Stoch_K", "stoch_k", 14).with("smooth", 3.0));
    set.push(periods("Stoch_D", "stoch_d", 14).with("smooth", 3.0).with("signal", 3.0));
    set.push(periods("StochF_K", "stochf_k", 5));
    set.push(periods("StochF_D", "stoch_d", 5).with("smooth", 1.0).with("signal", 3.0));
    set.push(periods("StochRSI_K", "stochrsi_k", 14).with("window", 5.0));
    set.push(periods("StochRSI_D", "stochrsi_d", 14).with("window", 5.0).with("signal", 3.0));
    let windows =
        |spec: FeatureSpec| spec.with("first", 7.0).with("second", 14.0).with("third", 28.0);
    set.push(windows(feature("ULTOSC", "ultosc")));
    set.push(periods("WILLR", "willr", 14));
    set.push(feature("AD", "ad"));
    set.push(periods("ATR", "atr", 14));
    set.push(periods("NATR", "natr", 14));
    set.push(feature("TRANGE", "true_range"));
    let band = |name: &str, kind: &str| feature(name, kind).with("window", 5.0);
    set.push(band("BB_Upper", "bbands_upper").with("sigmas", 2.0));
    set.push(band("BB_Middle", "bbands_middle"));
    set.push(band("BB_Lower", "bbands_lower").with("sigmas", 2.0));
    for period in [7, 14, 28] {
        set.push(periods(&format!("EMA_{period}"), "ema", period));
    }
    set.push(periods("MA", "sma", 30));
    set.push(periods("MIDPOINT", "midpoint", 30));
    set.push(periods("MIDPRICE", "midprice", 30));
    set.push(feature("SAR", "sar"));
    set.push(feature("SAREXT", "sarext"));
    for period in [7, 14, 28] {
        set.push(periods(&format!("SMA_{period}"), "sma", period));
    }
    set.push(periods("T3", "t3", 5));
    set.push(periods("TRIMA", "trima", 30));
    set.push(periods("WMA", "wma", 30));
    set.push(feature("ADOSC", "adosc").with("fast", 3.0).with("slow", 10.0));
    set.push(feature("OBV", "obv"));
    for field in ["hour", "day", "month", "weekday"] {
        set.push(feature(field, field).with("offset", 1.0));
    }
    set
}

/// Columns of candles without any price level, for forecasts of log returns.
fn candle_base() -> Vec<FeatureSpec> {
    let feature = |name: &str, kind: &str| FeatureSpec::new(name, kind);
    let over = |kind: &str, window: u32| {
        FeatureSpec::new(format!("{kind}_{window}"), kind).with("window", f64::from(window))
    };
    let mut set = Vec::new();
    for steps in [1, 2, 3, 6, 12, 24, 48] {
        let name = format!("log_return_{steps}");
        set.push(FeatureSpec::new(name, "log_change").with("steps", f64::from(steps)));
    }
    for steps in [1, 2, 3, 4, 5, 6, 12, 24] {
        let name = format!("log_return_1_lag_{steps}");
        set.push(FeatureSpec::new(name, "lagged_log_return").with("steps", f64::from(steps)));
    }
    set.extend([6, 12, 24, 72].map(|n| over("realized_volatility", n)));
    set.push(
        feature("volatility_ratio_6_24", "volatility_ratio").with("fast", 6.0).with("slow", 24.0),
    );
    set.push(feature("log_range", "log_range"));
    set.extend([6, 24].map(|n| over("parkinson_volatility", n)));
    for kind in ["log_body", "close_position", "upper_wick", "lower_wick"] {
        set.push(feature(kind, kind));
    }
    set.extend([6, 24, 72].map(|n| over("mean_distance", n)));
    set.extend([24, 72].map(|n| over("channel_position", n)));
    set.push(over("drawdown", 24));
    set.push(over("rally", 24));
    for window in [24, 72] {
        let spec = FeatureSpec::new(format!("volume_z_score_{window}"), "z_score");
        set.push(spec.with("column", "volume").with("window", f64::from(window)));
    }
    set.push(over("up_share", 14));
    for kind in ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"] {
        set.push(feature(kind, kind));
    }
    set
}
