//! The shipped set of hourly snapshots: its columns, its nulls and its rows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use foretell_feature::{
    ContextSpec, FeatureError, FeatureRow, FeatureSet, FeatureSpec, LabelSpec, Params,
    ReturnWindows, assemble, compute, context, feature_row, labels,
};
use foretell_market::{Interval, RowFlags};
use foretell_panel::{Column, Frame};
use proptest::prelude::*;

/// Snapshots with price, market capitalisation and volume, without the rows of `holes`.
fn snapshots(n: usize, holes: &[usize], seed: u64) -> Frame {
    let walk = foretell_testkit::random_walk(n, Interval::HOUR, 0.01, seed);
    let take = |name: &str| walk.column(name).unwrap().to_vec();
    let cap = take("close").iter().map(|p| p * 19e6).collect();
    let columns = vec![
        Column::new("price", take("close")),
        Column::new("market_cap", cap),
        Column::new("total_volume", take("volume")),
    ];
    let whole =
        Frame::new(walk.instrument().clone(), Interval::HOUR, walk.rows().to_vec(), columns);
    whole.unwrap().filter(|i, _| !holes.contains(&i))
}

fn hours(h: i64) -> Interval {
    Interval::from_secs(h * 3600).unwrap()
}

#[test]
fn the_set_has_its_62_columns_and_a_warm_up_of_24() {
    let set = FeatureSet::named("coingecko-62", &Params::new()).unwrap();
    assert_eq!((set.len(), set.warm_up()), (62, 24));
    assert_eq!(set.inputs(), ["price", "market_cap", "total_volume"]);
    let features = compute(&set, &snapshots(60, &[40], 1)).unwrap();
    let whole = |i: usize| features.columns().iter().all(|c| c.values[i].is_finite());
    let rows: Vec<usize> = (0..features.len()).filter(|&i| whole(i)).collect();
    // Row 40 is missing; the 24 rows after it have it in a window.
    assert_eq!(rows, (24..40).collect::<Vec<_>>());
}

/// Windows that reach into a gap.
const WINDOWS: ReturnWindows = ReturnWindows { lags: 40, cascade: true };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_feature_row_has_the_bits_of_the_dataset(
        holes in prop::collection::vec(0usize..180, 0..3), seed in 0u64..1000, season in 1i64..30
    ) {
        let frame = snapshots(180, &holes, seed);
        let set = FeatureSet::named("coingecko-62", &Params::new()).unwrap();
        let spec = ContextSpec { horizon: hours(1), season: hours(season), ewma_lambda: 0.94, returns: WINDOWS };
        let label = LabelSpec { horizon: hours(1), price_column: "price".into() };
        let features = compute(&set, &frame).unwrap();
        let context = context(&frame, "price", &spec).unwrap();
        let dataset = assemble(&frame, &features, &context, &label, &set).unwrap();
        let mut served = 0;
        for row in frame.rows() {
            let at = row.time + Interval::HOUR;
            let Ok(row) = feature_row(&set, &frame, &spec, &label, at) else { continue };
            let i = dataset.labels.iter().position(|l| l.start == at);
            prop_assert!(i.is_some(), "{at} is served but not in the dataset");
            let i = i.unwrap();
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&row.features), bits(dataset.features.row(i)));
            prop_assert_eq!(bits(&row.context), bits(dataset.context.row(i)));
            prop_assert_eq!(row.base_price.to_bits(), dataset.base_prices[i].to_bits());
            prop_assert_eq!(row.flags, dataset.flags[i]);
            served += 1;
        }
        prop_assert_eq!(served, dataset.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_dataset_holds_no_row_that_a_late_row_had_changed(
        late in prop::collection::vec((0usize..150, 1i64..40), 1..4), seed in 0u64..1000,
    ) {
        // Some rows became known hours after their close: decisions in between could
        // not use them, and a served row of that time is made without them.
        let frame = snapshots(150, &[], seed);
        let mut rows = frame.rows().to_vec();
        for (row, delay) in late {
            rows[row].known_at = rows[row].known_at.plus_secs(delay * 3600);
            rows[row].flags |= RowFlags::LATE;
        }
        let (instrument, columns) = (frame.instrument().clone(), frame.columns().to_vec());
        let frame = Frame::new(instrument, frame.interval(), rows, columns).unwrap();
        let label = LabelSpec { horizon: hours(1), price_column: "price".into() };
        let spec = ContextSpec { horizon: hours(1), season: hours(24), ewma_lambda: 0.94, returns: WINDOWS };
        for name in ["coingecko-62", "windows"] {
            let set = if name == "windows" {
                let specs = [FeatureSpec::new("m", "rolling_mean").with("column", "price")];
                FeatureSet::custom(name, &specs).unwrap()
            } else {
                FeatureSet::named(name, &Params::new()).unwrap()
            };
            let features = compute(&set, &frame).unwrap();
            let context = context(&frame, "price", &spec).unwrap();
            let dataset = assemble(&frame, &features, &context, &label, &set).unwrap();
            for i in 0..dataset.len() {
                let row = feature_row(&set, &frame, &spec, &label, dataset.labels[i].start).unwrap();
                let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&row.features), bits(dataset.features.row(i)));
                prop_assert_eq!(bits(&row.context), bits(dataset.context.row(i)));
                prop_assert_eq!(row.flags, dataset.flags[i]);
            }
        }
    }
}

#[test]
fn a_row_says_what_is_missing_and_survives_its_saved_form() {
    let frame = snapshots(80, &[60], 3);
    let set = FeatureSet::named("coingecko-62", &Params::new()).unwrap();
    let spec = ContextSpec {
        horizon: hours(1),
        season: hours(24),
        ewma_lambda: 0.94,
        returns: ReturnWindows::default(),
    };
    let label = LabelSpec { horizon: hours(1), price_column: "price".into() };
    let at = |i: usize| frame.rows()[i].time + Interval::HOUR;
    let row = feature_row(&set, &frame, &spec, &label, at(50)).unwrap();
    assert_eq!((row.gaps_in_window, row.filled_in_window, row.names.len()), (0, 0, 62));
    assert_eq!(row.base_price, frame.column("price").unwrap()[50]);
    let read: FeatureRow = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
    assert_eq!(read, row);
    assert_eq!(read.hash(), row.hash());
    let mut other = row.clone();
    other.features[7] += 1e-9;
    assert_ne!(other.hash(), row.hash());

    let text = feature_row(&set, &frame, &spec, &label, at(65)).unwrap_err().to_string();
    assert!(text.contains("window of 25 intervals has 1 missing intervals"), "{text}");
    let never = at(50).plus_secs(60);
    let error = feature_row(&set, &frame, &spec, &label, never).unwrap_err();
    assert!(matches!(error, FeatureError::NoRow { .. }), "{error}");
}

#[test]
fn lengths_that_do_not_fit_the_grid_are_refused() {
    let frame = snapshots(40, &[], 3);
    let spec = |horizon: Interval, season: Interval, ewma_lambda: f64| {
        context(
            &frame,
            "price",
            &ContextSpec { horizon, season, ewma_lambda, returns: ReturnWindows::default() },
        )
        .unwrap_err()
        .to_string()
    };
    let odd = Interval::from_secs(5400).unwrap();
    assert!(spec(odd, hours(24), 0.9).contains("horizon 90m does not fit the 1h grid"));
    assert!(spec(hours(2), odd, 0.9).contains("season 90m does not fit"));
    assert!(spec(hours(5), hours(3), 0.9).contains("must not be shorter than the horizon"));
    assert!(spec(hours(1), hours(3), 1.0).contains("write a number between 0 and 1"));
    let label = LabelSpec { horizon: odd, price_column: "price".into() };
    assert!(labels(&frame, &label).is_err());
}
