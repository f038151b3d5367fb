//! Random corrections: every row to learn from is the row that would have been served.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use foretell_feature::{
    ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows, assemble, assemble_vintage, compute,
    context, feature_row, join_vintages, labels,
};
use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame, KnownAt, RawTable, RowMeta, Vintages, as_known};
use proptest::prelude::*;

/// Hourly candles with further versions: (hour, hours after the close, factor).
fn versions(n: usize, corrections: &[(usize, i64, f64)], seed: u64) -> RawTable {
    let walk = foretell_testkit::random_walk(n, Interval::HOUR, 0.01, seed);
    let mut rows = walk.rows().to_vec();
    let mut columns: Vec<Vec<f64>> = walk.columns().iter().map(|c| c.values.to_vec()).collect();
    for (k, (hour, later, factor)) in corrections.iter().enumerate() {
        let first = rows[*hour];
        // Half an hour past the close: between two decisions.
        let known_at = first.known_at.plus_secs(later * 3_600 + 1_800 + k as i64);
        let flags = RowFlags::CORRECTED;
        rows.push(RowMeta { known_at, ingested_at: known_at, flags, ..first });
        columns.iter_mut().for_each(|values| values.push(values[*hour] * factor));
    }
    let names = walk.columns().iter().map(|c| c.name.clone());
    RawTable {
        instrument: walk.instrument().clone(),
        interval: Interval::HOUR,
        origin: String::new(),
        positions: (1..=rows.len() as u64).collect(),
        rows,
        columns: names.zip(columns).map(|(name, values)| Column::new(name, values)).collect(),
        faults: Vec::new(),
    }
}

fn frame(raw: &RawTable, mut rows: Vec<usize>) -> Frame {
    rows.sort_by_key(|&i| raw.rows[i].time);
    raw.frame_of(&rows).unwrap()
}

fn settings() -> (FeatureSet, ContextSpec, LabelSpec) {
    let set = FeatureSet::named("candle-base", &Params::new()).unwrap();
    let (horizon, season) = (Interval::HOUR, Interval::from_secs(24 * 3_600).unwrap());
    let label = LabelSpec { horizon, price_column: "close".into() };
    (
        set,
        ContextSpec {
            horizon,
            season,
            ewma_lambda: 0.94,
            returns: ReturnWindows { lags: 3, cascade: true },
        },
        label,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn each_decision_has_the_features_of_what_was_known_when_it_was_taken(
        corrections in prop::collection::vec((0usize..260, 0i64..40, 0.98f64..1.02), 1..6),
        seed in 0u64..1000, most in prop_oneof![Just(500usize), 1usize..3],
    ) {
        let raw = versions(260, &corrections, seed);
        let (set, context_spec, label) = settings();
        let history = Vintages::new(&raw.rows, KnownAt::EVER);
        let latest = frame(&raw, history.latest());
        let (spans, grouped) = history.spans(most);
        let part = |span| {
            let seen = frame(&raw, history.rows_of(span));
            assemble_vintage(&seen, span, &history, &context_spec, &label, &set).unwrap()
        };
        let parts: Vec<_> = spans.iter().map(part).collect();
        let made = join_vintages(&parts, &latest, &history, &label).unwrap();
        let d = &made.dataset;
        prop_assert!(d.len() > 150 && d.labels.is_sorted_by(|a, b| a.start < b.start));
        prop_assert_eq!(made.features.len(), made.rows.len());
        let now = labels(&latest, &label).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (i, label_of) in d.labels.iter().enumerate() {
            let (at, time) = (label_of.start, label_of.start - Interval::HOUR);
            let decided = history.decided_at(time).unwrap();
            if grouped == 0 {
                let known = KnownAt { known_by: decided, taken_in_by: Timestamp::MAX };
                let seen = frame(&raw, as_known(&raw.rows, known));
                let served = feature_row(&set, &seen, &context_spec, &label, at).unwrap();
                prop_assert_eq!(bits(&served.features), bits(d.features.row(i)));
                prop_assert_eq!(bits(&served.context), bits(d.context.row(i)));
                prop_assert_eq!(served.base_price.to_bits(), d.base_prices[i].to_bits());
                prop_assert_eq!(served.flags, d.flags[i]);
            }
            // The label is the latest one, and no decision uses it before it was known.
            let latest_label = now.iter().find(|l| l.start == at).unwrap();
            prop_assert_eq!(latest_label.value.to_bits(), label_of.value.to_bits());
            prop_assert!(label_of.end >= latest_label.end);
            if label_of.value.is_finite() {
                let price = |t: Timestamp| {
                    latest.rows().iter().find(|r| r.time == t).unwrap().known_at
                };
                let known = price(time).max(price(time + label.horizon));
                let first = latest.rows().iter().map(|r| r.time).find(|t| {
                    *t > time && history.decided_at(*t).unwrap() >= known
                });
                let newest = latest.rows().last().unwrap().time;
                let expected = first.unwrap_or(newest) + Interval::HOUR;
                prop_assert_eq!(label_of.end, expected);
            }
        }
    }
}

#[test]
fn without_corrections_the_one_vintage_is_the_plain_dataset() {
    let raw = versions(260, &[], 5);
    let (set, context_spec, label) = settings();
    let history = Vintages::new(&raw.rows, KnownAt::EVER);
    let clean = frame(&raw, history.latest());
    let (spans, _) = history.spans(500);
    let part = assemble_vintage(&clean, &spans[0], &history, &context_spec, &label, &set).unwrap();
    let made = join_vintages(&[part], &clean, &history, &label).unwrap();
    let features = compute(&set, &clean).unwrap();
    let context = context(&clean, "close", &context_spec).unwrap();
    let plain = assemble(&clean, &features, &context, &label, &set).unwrap();
    assert_eq!(made.dataset.fingerprint(), plain.fingerprint());
    assert_eq!(made.features.fingerprint(), features.fingerprint());
}
