//! Every column of the shipped sets against pandas and TA-Lib, on real prices with real
//! gaps. The reference columns are made by `tests/reference/features.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod market;

use foretell_feature::{
    ContextSpec, FeatureSet, FeatureSpec, LabelSpec, Params, ReturnWindows, compute, context,
    labels,
};
use foretell_market::Interval;
use foretell_panel::{Column, Frame};
use market::{assert_column, data, frame, table};

const SNAPSHOTS: &str = data!("features/coingecko_btc_1h_2021.csv");
const CANDLES_2013: &str = data!("features/bitfinex_btcusd_1h_2013.csv");
const CANDLES_2016: &str = data!("features/bitfinex_btcusd_1h_2016.csv");

/// Compares all columns of a frame; reference columns named `x_…` are left to others.
fn assert_features(features: &Frame, reference: &str) {
    let expected = table(reference);
    let plain = expected.iter().skip(1).filter(|(name, _)| !name.starts_with("x_"));
    let names: Vec<&str> = plain.clone().map(|(name, _)| name.as_str()).collect();
    let ours: Vec<&str> = features.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(ours, names);
    for (name, values) in plain {
        assert_column(name, features.column(name).unwrap(), values);
    }
}

fn shipped(name: &str) -> FeatureSet {
    FeatureSet::named(name, &Params::new()).unwrap()
}

#[test]
fn the_snapshot_columns_are_those_of_pandas() {
    let set = shipped("coingecko-62");
    assert_eq!((set.len(), set.warm_up()), (62, 24));
    let features = compute(&set, &frame(SNAPSHOTS)).unwrap();
    assert_features(&features, data!("reference/features_coingecko.csv"));
}

#[test]
fn the_stream_columns_are_those_of_ta_lib() {
    let set = shipped("kraken-62");
    assert_eq!((set.len(), set.warm_up()), (62, 29));
    let features = compute(&set, &frame(CANDLES_2016)).unwrap();
    assert_features(&features, data!("reference/features_kraken_2016.csv"));
    let features = compute(&set, &frame(CANDLES_2013)).unwrap();
    assert_features(&features, data!("reference/features_kraken_2013.csv"));
}

#[test]
fn the_candle_columns_are_those_of_pandas() {
    let set = shipped("candle-base");
    assert_eq!((set.len(), set.warm_up()), (41, 72));
    assert!(!set.is_recursive());
    let features = compute(&set, &frame(CANDLES_2016)).unwrap();
    assert_features(&features, data!("reference/features_candle_base_2016.csv"));
    let features = compute(&set, &frame(CANDLES_2013)).unwrap();
    assert_features(&features, data!("reference/features_candle_base_2013.csv"));
}

#[test]
fn other_parameters_are_those_of_ta_lib_too() {
    let new = FeatureSpec::new;
    let specs = [
        new("x_sar_0", "sar").with("acceleration", 0.0).with("maximum", 0.0),
        new("x_sar_fast", "sar").with("acceleration", 0.3).with("maximum", 0.1),
        new("x_sarext", "sarext")
            .with("start", -100.0)
            .with("offset_on_reverse", 0.01)
            .with("acceleration_init_long", 0.03)
            .with("acceleration_long", 0.02)
            .with("acceleration_max_long", 0.3)
            .with("acceleration_init_short", 0.05)
            .with("acceleration_short", 0.01)
            .with("acceleration_max_short", 0.1),
        new("x_t3_0", "t3").with("volume_factor", 0.0),
        new("x_trima_odd", "trima").with("period", 9.0),
        new("x_adx_5", "adx").with("period", 5.0),
        new("x_plus_dm_2", "plus_dm").with("period", 2.0),
        new("x_ultosc", "ultosc").with("first", 9.0).with("second", 3.0).with("third", 5.0),
        new("x_adosc", "adosc").with("fast", 12.0).with("slow", 5.0),
        new("x_ppo", "ppo").with("fast", 9.0).with("slow", 4.0),
    ];
    let set = FeatureSet::custom("other", &specs).unwrap();
    for (candles, reference) in [
        (CANDLES_2013, data!("reference/features_kraken_2013.csv")),
        (CANDLES_2016, data!("reference/features_kraken_2016.csv")),
    ] {
        let features = compute(&set, &frame(candles)).unwrap();
        let expected = table(reference);
        for column in features.columns() {
            let (_, values) = expected.iter().find(|(name, _)| *name == column.name).unwrap();
            assert_column(&column.name, &column.values, values);
        }
    }
}

#[test]
fn a_market_that_stands_still_is_read_as_ta_lib_reads_it() {
    let set = shipped("kraken-62");
    let features = compute(&set, &frame(data!("features/flat_btcusd_1h.csv"))).unwrap();
    for (name, values) in table(data!("reference/features_kraken_flat.csv")).iter().skip(1) {
        assert_column(name, features.column(name).unwrap(), values);
    }
}

#[test]
fn features_without_a_unit_do_not_depend_on_the_unit() {
    // Prices in another unit, a power of two so that nothing is rounded: a coin of a
    // thousandth of a cent has the same indicators to the bit.
    let candles = frame(CANDLES_2016);
    let columns = candles.columns().iter().map(|c| {
        let unit = if c.name == "volume" { 1.0 } else { 1.0 / 1_073_741_824.0 };
        Column::new(c.name.clone(), c.values.iter().map(|v| v * unit).collect())
    });
    let (instrument, rows) = (candles.instrument().clone(), candles.rows().to_vec());
    let tiny = Frame::new(instrument, candles.interval(), rows, columns.collect()).unwrap();
    let unitless = "ADX AROON_Up AROON_Down AROONOSC BOP CCI CMO DX MFI MINUS_DI PLUS_DI PPO ROC \
                    ROCP ROCR ROCR100 RSI Stoch_K Stoch_D StochF_K StochF_D StochRSI_K StochRSI_D \
                    ULTOSC WILLR AD NATR ADOSC OBV";
    let stream: Vec<&str> = unitless.split_whitespace().collect();
    for (name, columns) in [("kraken-62", stream), ("candle-base", shipped("candle-base").names())]
    {
        let set = shipped(name);
        let (a, b) = (compute(&set, &candles).unwrap(), compute(&set, &tiny).unwrap());
        for column in columns {
            let bits = |f: &Frame| -> Vec<u64> {
                let values = f.column(column).unwrap();
                values.iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect()
            };
            assert!(bits(&a) == bits(&b), "{column}");
        }
    }
}

#[test]
fn context_and_labels_are_those_of_pandas() {
    let frame = frame(SNAPSHOTS);
    let hours = |h: i64| Interval::from_secs(h * 3600).unwrap();
    let spec = ContextSpec {
        horizon: hours(2),
        season: hours(24),
        ewma_lambda: 0.94,
        returns: ReturnWindows::default(),
    };
    let columns = context(&frame, "price", &spec).unwrap();
    let expected = table(data!("reference/features_coingecko_context.csv"));
    for name in ContextSpec::NAMES {
        let (_, values) = expected.iter().find(|(n, _)| n == name).unwrap();
        assert_column(name, columns.column(name).unwrap(), values);
    }
    let label = LabelSpec { horizon: hours(2), price_column: "price".into() };
    let found = labels(&frame, &label).unwrap();
    let (_, values) = expected.iter().find(|(n, _)| n == "label").unwrap();
    let ours: Vec<f64> = found.iter().map(|l| l.value).collect();
    assert_column("label", &ours, values);
    for (row, label) in frame.rows().iter().zip(&found) {
        assert_eq!(label.start, row.time + Interval::HOUR);
        assert_eq!(label.end, label.start + hours(2));
    }
}
