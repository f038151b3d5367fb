//! Sets: their lists, their parameters, their hashes and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use foretell_feature::{
    Fallback, FeatureError, FeatureSet, FeatureSpec, LabelSpec, Params, catalogue, compute, kinds,
    labels,
};
use foretell_market::Interval;
use foretell_panel::Column;
use foretell_testkit::random_walk;

fn shipped(name: &str, params: &Params) -> Result<FeatureSet, FeatureError> {
    FeatureSet::named(name, params)
}

#[test]
fn the_two_seed_sets_have_62_columns_each() {
    for (name, first, last) in
        [("coingecko-62", "price", "price_bb_position"), ("kraken-62", "open", "weekday")]
    {
        let set = shipped(name, &Params::new()).unwrap();
        let names = set.names();
        assert_eq!((names.len(), names[0], names[61]), (62, first, last));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 62);
    }
}

#[test]
fn every_feature_has_a_definition_a_source_and_its_warm_up() {
    for name in FeatureSet::NAMES {
        let set = shipped(name, &Params::new()).unwrap();
        for doc in set.definitions() {
            assert!(!doc.definition.is_empty() && !doc.source.is_empty(), "{}", doc.name);
            assert!(!doc.recursive || doc.kind != "rolling_mean");
        }
        let deepest = set.definitions().iter().map(|d| d.warm_up).max();
        assert_eq!(deepest, Some(set.warm_up()));
    }
    let ids: BTreeSet<&str> = kinds().map(|k| k.id).collect();
    assert_eq!(ids.len(), kinds().count(), "ids are unique");
    for kind in kinds().filter(|k| k.memory == foretell_feature::Memory::Recursive) {
        assert!(kind.definition.contains("origin"), "{} names no origin", kind.id);
    }
}

#[test]
fn the_warm_up_is_where_each_feature_begins() {
    // On candles without a gap the first value stands exactly after the warm-up.
    let frame = random_walk(120, Interval::HOUR, 0.01, 5);
    for kind in kinds() {
        let set = FeatureSet::custom("one", &[FeatureSpec::new("x", kind.id)]).unwrap();
        let features = compute(&set, &frame).unwrap();
        let column = features.column("x").unwrap();
        let first = column.iter().position(|v| v.is_finite());
        assert_eq!(first, Some(set.warm_up()), "{}", kind.id);
        assert!(column[set.warm_up()..].iter().all(|v| v.is_finite()), "{}", kind.id);
    }
}

#[test]
fn the_hash_covers_parameters_names_and_order_but_not_the_sets_name() {
    let spec = |window: f64| FeatureSpec::new("m", "rolling_mean").with("window", window);
    let hash =
        |name: &str, specs: &[FeatureSpec]| FeatureSet::custom(name, specs).unwrap().fingerprint();
    let one = hash("a", &[spec(3.0)]);
    assert_eq!(one, hash("b", &[spec(3.0)]));
    assert_ne!(one, hash("a", &[spec(4.0)]));
    assert_ne!(one, hash("a", &[spec(3.0).with("column", "open")]));
    assert_ne!(one, hash("a", &[FeatureSpec { name: "n".into(), ..spec(3.0) }]));
    let other = FeatureSpec::new("h", "hour");
    assert_ne!(
        hash("a", &[spec(3.0), other.clone()]),
        hash("a", &[other, spec(3.0)]),
        "columns are in another order"
    );
    // A default that is written down is the same feature.
    let plain = FeatureSpec::new("m", "rolling_mean");
    assert_eq!(hash("a", &[plain]), hash("a", &[spec(24.0)]));
}

#[test]
fn parameters_of_a_shipped_set_are_open_unless_a_name_states_them() {
    let base = shipped("coingecko-62", &Params::new()).unwrap();
    let wider = Params::new().with("bb_width.window", 20.0).with("bb_width.sigmas", 2.5);
    let set = shipped("coingecko-62", &wider).unwrap();
    assert_ne!(set.fingerprint(), base.fingerprint());
    let doc = set.definitions().into_iter().find(|d| d.name == "bb_width").unwrap();
    assert_eq!(doc.warm_up, 19);
    let message = |params: Params| shipped("coingecko-62", &params).unwrap_err().to_string();
    let text = message(Params::new().with("price_lag_3h.steps", 4.0));
    assert!(text.contains("no value for it but the one in its name"), "{text}");
    let text = message(Params::new().with("bb_widht.window", 4.0));
    assert!(text.contains("no such feature in the set `coingecko-62`"), "{text}");
    let text = message(Params::new().with("bb_width.windw", 4.0));
    assert!(text.contains("it takes `column`, `window`, `sigmas`"), "{text}");
}

#[test]
fn refusals_name_the_feature_and_the_remedy() {
    let message = |spec: FeatureSpec| FeatureSet::custom("x", &[spec]).unwrap_err().to_string();
    let new = FeatureSpec::new;
    let cases = [
        (new("m", "roling_mean"), "did you mean `rolling_mean`?"),
        (new("m", "rolling_mean").with("window", 0.0), "write a whole number from 1 to 10000"),
        (new("m", "rolling_mean").with("window", 2.5), "write a whole number"),
        (new("m", "rolling_mean").with("window", "3"), "write a whole number"),
        (new("m", "rolling_mean").with("window", f64::NAN), "write a whole number"),
        (new("m", "rolling_mean").with("column", 3.0), "write a column's name"),
        (new("m", "sar").with("maximum", -1.0), "write a number from 0 to 1000"),
        (new("m", "hour").with("window", 3.0), "it takes `offset`"),
    ];
    for (spec, part) in cases {
        let text = message(spec);
        assert!(text.starts_with("feature `m`") && text.contains(part), "{text}");
    }
    let twice = [new("m", "hour"), new("m", "day")];
    assert_eq!(
        FeatureSet::custom("x", &twice).unwrap_err(),
        FeatureError::DuplicateFeature("m".into())
    );
    assert_eq!(FeatureSet::custom("x", &[]).unwrap_err(), FeatureError::Empty);
    let unknown = shipped("coingeko", &Params::new()).unwrap_err().to_string();
    assert!(unknown.contains("`coingecko-62`, `kraken-62`, `candle-base`"), "{unknown}");
    let set = FeatureSet::custom("x", &[new("m", "rolling_mean").with("column", "price")]);
    let missing = compute(&set.unwrap(), &random_walk(5, Interval::HOUR, 0.01, 1)).unwrap_err();
    assert!(missing.to_string().contains("there is no column `price`"), "{missing}");
}

#[test]
fn extreme_parameters_and_short_frames_do_not_panic() {
    for kind in kinds() {
        for largest in [false, true] {
            let mut spec = FeatureSpec::new("x", kind.id);
            for p in kind.parameters {
                match p.fallback {
                    Fallback::Column(_) => {}
                    Fallback::Count { min, max, .. } => {
                        spec = spec.with(p.name, f64::from(if largest { max } else { min }));
                    }
                    Fallback::Number { min, max, .. } => {
                        spec = spec.with(p.name, if largest { max } else { min });
                    }
                }
            }
            let set = FeatureSet::custom("x", &[spec]).unwrap();
            for rows in [0, 1, 2, 40] {
                let features = compute(&set, &random_walk(rows, Interval::HOUR, 0.01, 2)).unwrap();
                assert_eq!(features.len(), rows);
            }
        }
    }
}

#[test]
fn the_page_of_features_is_up_to_date() {
    let page = include_str!("../FEATURES.md");
    assert!(
        page == catalogue(),
        "write it anew: cargo run --release -p foretell-feature --example catalogue > \
         crates/feature/FEATURES.md"
    );
}

/// Each step of a window is the feature as it was so many intervals ago, the oldest
/// first, and null where an interval between is missing.
#[test]
fn a_window_holds_the_last_steps_of_every_feature_the_oldest_first() {
    let specs = [FeatureSpec::new("close", "column").with("column", "close")];
    let set = FeatureSet::custom("closes", &specs).unwrap().windowed(3);
    assert_eq!(set.names(), ["close[-2]", "close[-1]", "close"]);
    assert_eq!(set.warm_up(), 2);
    // Six closes, the fourth hour missing: [1..6] in windows of three.
    let all = random_walk(7, Interval::HOUR, 0.01, 3);
    let closes: Vec<f64> = (1..=6).map(f64::from).collect();
    let frame = all.filter(|i, _| i != 3);
    let frame = frame.with_columns(vec![Column::new("close", closes)]).unwrap();
    let windows = compute(&set, &frame).unwrap();
    let row = |i: usize| windows.columns().iter().map(|c| c.values[i]).collect::<Vec<_>>();
    assert_eq!(row(2), [1.0, 2.0, 3.0]);
    assert!(row(0)[0].is_nan() && row(0)[1].is_nan() && row(0)[2] == 1.0);
    // The row after the missing hour is the fourth close; its past step is not there.
    assert!(row(3)[1].is_nan() && row(3)[0] == 3.0 && row(3)[2] == 4.0);
    assert_eq!(row(5), [4.0, 5.0, 6.0]);
    let one = FeatureSet::custom("closes", &specs).unwrap();
    assert_ne!(one.fingerprint(), set.fingerprint());
    assert_eq!(one.clone().windowed(1).fingerprint(), one.fingerprint());
}

/// [1..6] in windows of two: what a network sees, and what it is to answer with.
#[test]
fn windows_of_two_closes_are_answered_with_the_third() {
    let specs = [FeatureSpec::new("close", "column").with("column", "close")];
    let set = FeatureSet::custom("closes", &specs).unwrap().windowed(2);
    let closes: Vec<f64> = (1..=6).map(f64::from).collect();
    let frame = random_walk(6, Interval::HOUR, 0.01, 3);
    let frame = frame.with_columns(vec![Column::new("close", closes.clone())]).unwrap();
    let windows = compute(&set, &frame).unwrap();
    let label = LabelSpec { horizon: Interval::HOUR, price_column: "close".to_owned() };
    let labels = labels(&frame, &label).unwrap();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (i, label) in labels.iter().enumerate() {
        let row: Vec<f64> = windows.columns().iter().map(|c| c.values[i]).collect();
        if row.iter().all(|v| v.is_finite()) && label.value.is_finite() {
            x.push(row);
            // A label is the log return from the last close of the window.
            y.push((closes[i] * libm::exp(label.value)).round());
        }
    }
    assert_eq!(x, [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0]]);
    assert_eq!(y, [3.0, 4.0, 5.0, 6.0]);
}
