//! A saved state has the bits of the whole history, and golden hashes hold everywhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod market;

use foretell_feature::{
    ContextSpec, FeatureError, FeatureSet, FeatureState, LabelSpec, Params, ReturnWindows,
    RowState, compute, feature_row_as_known,
};
use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::{Column, Frame};
use market::{data, frame};
use proptest::prelude::*;

fn shipped(name: &str) -> FeatureSet {
    FeatureSet::named(name, &Params::new()).unwrap()
}

/// Bits of every column of a row.
fn row_bits(frame: &Frame, i: usize) -> Vec<u64> {
    let canonical = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
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
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(frame.len())).collect();
        cuts.extend([0, frame.len()]);
        cuts.sort_unstable();
        for name in FeatureSet::NAMES {
            let set = shipped(name);
            let whole = compute(&set, &frame).unwrap();
            let mut state =
                FeatureState::new(&set, frame.instrument().clone(), frame.interval());
            for pair in cuts.windows(2) {
                let part = state.advance(&set, &frame.slice(pair[0]..pair[1])).unwrap();
                prop_assert_eq!(part.len(), pair[1] - pair[0]);
                for i in 0..part.len() {
                    let j = pair[0] + i;
                    prop_assert_eq!(part.rows()[i], whole.rows()[j], "{} row {}", name, j);
                    prop_assert_eq!(row_bits(&part, i), row_bits(&whole, j), "{} row {}", name, j);
                }
                // The state goes through its saved form each time.
                let saved = serde_json::to_string(&state).unwrap();
                let read: FeatureState = serde_json::from_str(&saved).unwrap();
                prop_assert_eq!(&read, &state);
                state = read;
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
        windows in any::<bool>(),
    ) {
        let frame = torn(first, 160, &holes, &cells);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(frame.len())).collect();
        cuts.extend([0, frame.len()]);
        cuts.sort_unstable();
        let returns = ReturnWindows { lags: if windows { 30 } else { 0 }, cascade: false };
        let day = Interval::DAY;
        let spec = ContextSpec { horizon: Interval::HOUR, season: day, ewma_lambda: 0.94, returns };
        let label = LabelSpec { horizon: Interval::HOUR, price_column: "close".into() };
        let mut decided = 0;
        for name in FeatureSet::NAMES {
            let set = shipped(name);
            let mut state = RowState::new(&set, &spec, frame.instrument().clone(), Interval::HOUR);
            let mut live = Vec::new();
            for pair in cuts.windows(2) {
                let next = frame.slice(pair[0]..pair[1]);
                live.extend(state.advance(&set, &spec, &label, &next).unwrap());
                let saved = serde_json::to_string(&state).unwrap();
                state = serde_json::from_str(&saved).unwrap();
            }
            prop_assert_eq!(live.len(), frame.len());
            for (i, (at, decision)) in live.into_iter().enumerate().skip(100) {
                let past = frame.slice(0..i + 1);
                let whole = feature_row_as_known(&set, &past, &spec, &label, at, Timestamp::MAX);
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
    let set = shipped("kraken-62");
    let mut state = FeatureState::new(&set, frame.instrument().clone(), Interval::HOUR);
    state.advance(&set, &frame.slice(0..60)).unwrap();
    let before = state.clone();
    let refused = |state: &mut FeatureState, set: &FeatureSet, next: &Frame| {
        let error = state.advance(set, next).unwrap_err();
        assert!(matches!(error, FeatureError::State(_)), "{error}");
        error.to_string()
    };
    let text = refused(&mut state, &set, &frame.slice(59..70));
    assert!(text.contains("is not after the last row"), "{text}");
    let text = refused(&mut state, &shipped("candle-base"), &frame.slice(60..70));
    assert!(text.contains("it is of set"), "{text}");
    assert_eq!(state, before);
    assert_eq!(state.through(), Some(frame.rows()[59].time));
    let saved = serde_json::to_string(&state).unwrap().replace("\"version\":1", "\"version\":9");
    let mut newer: FeatureState = serde_json::from_str(&saved).unwrap();
    assert!(refused(&mut newer, &set, &frame.slice(60..70)).contains("version 9 is not known"));
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
