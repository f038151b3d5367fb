//! A saved state has the bits of the whole history, and golden hashes hold everywhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod market;

use foretell_feature::{
    ContextSpec, FeatureError, FeatureSet, FeatureSpec, LabelSpec, Params, ReturnWindows, RowState,
    RowStepper, compute, feature_row_as_known, kinds,
};
use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame};
use market::{data, frame};
use proptest::prelude::*;

fn shipped(name: &str) -> FeatureSet {
    FeatureSet::named(name, &Params::new()).unwrap()
}

/// The shipped sets, one with every kind of feature, and steps in a row.
fn every_set() -> Vec<FeatureSet> {
    let every: Vec<FeatureSpec> = kinds().map(|kind| FeatureSpec::new(kind.id, kind.id)).collect();
    let mut sets = FeatureSet::NAMES.map(shipped).to_vec();
    sets.push(FeatureSet::custom("every", &every).unwrap());
    sets.push(shipped("candle-base").windowed(3));
    sets
}

fn spec(returns: ReturnWindows) -> ContextSpec {
    ContextSpec { horizon: Interval::HOUR, season: Interval::DAY, ewma_lambda: 0.94, returns }
}

fn label() -> LabelSpec {
    LabelSpec { horizon: Interval::HOUR, price_column: "close".into() }
}

/// What a row of a frame brings.
fn values(stepper: &RowStepper, frame: &Frame, i: usize) -> Vec<f64> {
    stepper.inputs().iter().map(|name| frame.require(name).unwrap()[i]).collect()
}

fn text(state: &RowState) -> String {
    serde_json::to_string(state).unwrap()
}

/// A state that went through its saved form.
fn saved(state: &RowState) -> RowState {
    let read: RowState = serde_json::from_str(&text(state)).unwrap();
    assert_eq!(text(&read), text(state));
    read
}

fn canonical(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }
}

/// Bits of every column of a row.
fn row_bits(frame: &Frame, i: usize) -> Vec<u64> {
    frame.columns().iter().map(|c| canonical(c.values[i])).collect()
}

/// The candles of 2016 and their snapshot columns, with holes in rows and values.
fn torn(first: usize, len: usize, rows: &[usize], cells: &[(usize, usize)]) -> Frame {
    let whole = frame(data!("features/bitfinex_btcusd_1h_2016.csv")).slice(first..first + len);
    let mut columns: Vec<(String, Vec<f64>)> =
        whole.columns().iter().map(|c| (c.name.clone(), c.values.to_vec())).collect();
    let close = whole.column("close").unwrap();
    let volume = whole.column("volume").unwrap();
    let dollars = close.iter().zip(volume).map(|(p, v)| p * v).collect();
    columns.push(("price".into(), close.to_vec()));
    columns.push(("market_cap".into(), close.iter().map(|p| p * 15.7e6).collect()));
    columns.push(("total_volume".into(), dollars));
    for (row, column) in cells {
        let n = columns.len();
        columns[column % n].1[row % len] = f64::NAN;
    }
    let mut meta = whole.rows().to_vec();
    for (row, _) in cells {
        meta[row % len].flags |= RowFlags::FILLED;
        let known_at = &mut meta[row % len].known_at;
        *known_at = *known_at + Interval::DAY;
    }
    let columns = columns.into_iter().map(|(n, v)| Column::new(n, v)).collect();
    let whole = Frame::new(whole.instrument().clone(), whole.interval(), meta, columns).unwrap();
    whole.filter(|i, _| !rows.contains(&i))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_saved_state_has_the_bits_of_the_whole_history(
        first in 0usize..150,
        holes in prop::collection::vec(0usize..200, 0..4),
        cells in prop::collection::vec((0usize..200, 0usize..8), 0..3),
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let frame = torn(first, 200, &holes, &cells);
        let spec = spec(ReturnWindows::default());
        for set in every_set() {
            let whole = compute(&set, &frame).unwrap();
            let mut stepper = RowStepper::new(&set, &spec, &label(), Interval::HOUR).unwrap();
            let mut state = stepper.origin(frame.instrument().clone());
            for i in 0..frame.len() {
                let values = values(&stepper, &frame, i);
                stepper.feed(&mut state, frame.rows()[i], &values).unwrap();
                let streamed: Vec<u64> = stepper.features().map(canonical).collect();
                prop_assert_eq!(streamed, row_bits(&whole, i), "{} row {}", set.name(), i);
                if cuts.contains(&i) {
                    state = saved(&state);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_live_decision_is_the_decision_of_the_whole_history(
        first in 0usize..150,
        holes in prop::collection::vec(0usize..160, 0..3),
        cells in prop::collection::vec((0usize..160, 0usize..8), 0..2),
        cuts in prop::collection::vec(0usize..160, 0..6),
        windows in 0usize..3, season in prop_oneof![Just(1i64), Just(24), 2i64..40],
    ) {
        let frame = torn(first, 160, &holes, &cells);
        let returns = ReturnWindows { lags: [0, 1, 30][windows], cascade: windows == 1 };
        let season = Interval::from_secs(season * 3600).unwrap();
        let spec = ContextSpec { season, ..spec(returns) };
        let mut decided = 0;
        for name in FeatureSet::NAMES {
            let set = shipped(name);
            let mut stepper = RowStepper::new(&set, &spec, &label(), Interval::HOUR).unwrap();
            let mut state = stepper.origin(frame.instrument().clone());
            for i in 0..frame.len() {
                let values = values(&stepper, &frame, i);
                let decision = stepper.push(&mut state, frame.rows()[i], &values).unwrap();
                if cuts.contains(&i) {
                    state = saved(&state);
                }
                if i < 100 {
                    continue;
                }
                let past = frame.slice(0..i + 1);
                let at = frame.rows()[i].time + Interval::HOUR;
                let whole = feature_row_as_known(&set, &past, &spec, &label(), at, Timestamp::MAX);
                match (&decision, &whole) {
                    (Ok(live), Ok(whole)) => {
                        prop_assert_eq!(live.hash(), whole.hash(), "{} {}", name, at);
                        prop_assert_eq!(live, whole);
                        decided += 1;
                    }
                    (Err(live), Err(whole)) => {
                        prop_assert_eq!(live.to_string(), whole.to_string());
                    }
                    _ => prop_assert!(false, "{name} {at}: {decision:?} against {whole:?}"),
                }
            }
        }
        prop_assert!(decided > 0 || !holes.is_empty() || !cells.is_empty());
    }
}

#[test]
fn a_state_refuses_what_it_does_not_belong_to() {
    let frame = torn(0, 100, &[], &[]);
    let spec = spec(ReturnWindows::default());
    let made = |name: &str, spec: &ContextSpec| {
        RowStepper::new(&shipped(name), spec, &label(), Interval::HOUR).unwrap()
    };
    let mut stepper = made("kraken-62", &spec);
    let mut state = stepper.origin(frame.instrument().clone());
    for i in 0..60 {
        let values = values(&stepper, &frame, i);
        stepper.feed(&mut state, frame.rows()[i], &values).unwrap();
    }
    let before = text(&state);
    let refused = |stepper: &mut RowStepper, state: &mut RowState, row: usize| {
        let values = values(stepper, &frame, row);
        let error = stepper.push(state, frame.rows()[row], &values).unwrap_err();
        assert!(matches!(error, FeatureError::State(_)), "{error}");
        error.to_string()
    };
    let found = refused(&mut stepper, &mut state, 59);
    assert!(found.contains("is not after the last row"), "{found}");
    for mut other in
        [made("candle-base", &spec), made("kraken-62", &ContextSpec { ewma_lambda: 0.9, ..spec })]
    {
        let found = refused(&mut other, &mut state, 60);
        assert!(found.contains("it is of another set, context, label or interval"), "{found}");
    }
    assert_eq!(text(&state), before);
    assert_eq!(state.through(), Some(frame.rows()[59].time));
    let newer = before.replace("\"version\":2", "\"version\":9");
    let mut newer: RowState = serde_json::from_str(&newer).unwrap();
    assert!(refused(&mut stepper, &mut newer, 60).contains("version 9 is not known"));
}

#[test]
fn the_bits_of_each_set_are_the_same_on_every_machine() {
    let snapshots = frame(data!("features/coingecko_btc_1h_2021.csv"));
    let candles = frame(data!("features/bitfinex_btcusd_1h_2016.csv"));
    let found = [("coingecko-62", &snapshots), ("kraken-62", &candles), ("candle-base", &candles)]
        .map(|(name, frame)| {
            let set = shipped(name);
            let hash = compute(&set, frame).unwrap().fingerprint();
            format!("{name} set {} bits {hash}", set.fingerprint())
        });
    let expected = data!("features/golden_hashes.txt");
    // After a deliberate change: raise KERNEL_VERSION and write the left side down.
    assert_eq!(found.join("\n"), expected.trim_end());
}
