//! The shipped set of hourly snapshots: its columns, its nulls and its rows.

use foretell_feature::{
    ContextSpec, FeatureSet, LabelSpec, Params, assemble, compute, context, feature_row,
};
use foretell_market::Interval;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_feature_row_has_the_bits_of_the_dataset(
        holes in prop::collection::vec(0usize..180, 0..3), seed in 0u64..1000, season in 1i64..30
    ) {
        let frame = snapshots(180, &holes, seed);
        let set = FeatureSet::named("coingecko-62", &Params::new()).unwrap();
        let spec = ContextSpec { horizon: hours(1), season: hours(season), ewma_lambda: 0.94 };
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
