//! What holds of the gate whatever comes in.

use foretell_market::{Candle, Interval, RowFlags, Timestamp};
use foretell_panel::{CellFault, Column, Frame, RawTable, RowMeta};
use foretell_quality::{
    Check, Duplicates, Expectations, Fill, Severity, gate, profile, profile_html, replay,
};
use foretell_testkit::random_walk;
use proptest::prelude::*;
use proptest::sample::Index;

const NAMES: [&str; 5] = ["open", "high", "low", "close", "volume"];

/// A raw table from the rows of a frame, in order, at the lines of a file.
fn raw_of(frame: &Frame) -> RawTable {
    RawTable {
        instrument: frame.instrument().clone(),
        interval: frame.interval(),
        origin: "seeded".to_owned(),
        positions: (0..frame.len() as u64).map(|i| i + 2).collect(),
        rows: frame.rows().to_vec(),
        columns: frame.columns().to_vec(),
        faults: Vec::new(),
    }
}

fn values(raw: &RawTable) -> Vec<Vec<f64>> {
    raw.columns.iter().map(|c| c.values.to_vec()).collect()
}

fn with_values(raw: &mut RawTable, values: Vec<Vec<f64>>) {
    raw.columns = NAMES.iter().zip(values).map(|(n, v)| Column::new(*n, v)).collect();
}

/// The rows in another order.
fn reordered(raw: &RawTable, order: &[usize]) -> RawTable {
    let mut other = raw.clone();
    other.positions = order.iter().map(|&i| raw.positions[i]).collect();
    other.rows = order.iter().map(|&i| raw.rows[i]).collect();
    let columns = values(raw).into_iter().map(|c| order.iter().map(|&i| c[i]).collect());
    with_values(&mut other, columns.collect());
    other
}

/// Something done to a good table.
#[derive(Debug, Clone)]
enum Harm {
    Drop(Index),
    Repeat(Index),
    Set(Index, Index, f64),
    Spoil(Index, Index),
    Shift(Index, i64),
}

fn harm() -> impl Strategy<Value = Harm> {
    let strange = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(-0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        -1e3f64..1e6,
    ];
    prop_oneof![
        any::<Index>().prop_map(Harm::Drop),
        any::<Index>().prop_map(Harm::Repeat),
        (any::<Index>(), any::<Index>(), strange).prop_map(|(r, c, v)| Harm::Set(r, c, v)),
        (any::<Index>(), any::<Index>()).prop_map(|(r, c)| Harm::Spoil(r, c)),
        (any::<Index>(), -9_000i64..9_000).prop_map(|(r, s)| Harm::Shift(r, s)),
    ]
}

/// A table of candles to which things were done.
fn harmed() -> impl Strategy<Value = RawTable> {
    (2usize..60, any::<u64>(), prop::collection::vec(harm(), 0..12)).prop_map(|(n, seed, harms)| {
        let mut raw = raw_of(&random_walk(n, Interval::HOUR, 0.02, seed));
        for harm in harms {
            let rows = raw.len();
            match harm {
                Harm::Drop(row) if rows > 1 => {
                    let row = row.index(rows);
                    let order: Vec<usize> = (0..rows).filter(|i| *i != row).collect();
                    raw = reordered(&raw, &order);
                }
                Harm::Drop(_) => {}
                Harm::Repeat(row) => {
                    let order: Vec<usize> = (0..rows).chain([row.index(rows)]).collect();
                    raw = reordered(&raw, &order);
                    raw.positions[rows] = 1_000 + rows as u64;
                }
                Harm::Set(row, column, value) => {
                    let mut columns = values(&raw);
                    columns[column.index(5)][row.index(rows)] = value;
                    with_values(&mut raw, columns);
                }
                Harm::Spoil(row, column) => {
                    let (row, column) = (row.index(rows), column.index(5));
                    let mut columns = values(&raw);
                    columns[column][row] = f64::NAN;
                    with_values(&mut raw, columns);
                    raw.faults.push(CellFault {
                        position: raw.positions[row],
                        column: NAMES[column].to_owned(),
                        text: "n/a".to_owned(),
                    });
                }
                Harm::Shift(row, secs) => {
                    let row = row.index(rows);
                    raw.rows[row] =
                        RowMeta::at_close(raw.rows[row].time.plus_secs(secs), Interval::HOUR);
                }
            }
        }
        raw
    })
}

/// Warns of everything that can be warned of, so that rows go on.
fn lenient() -> Expectations {
    Expectations {
        types: Severity::Warn,
        max_null_share: Check::warn(0.01),
        min_rows: Check::warn(10),
        duplicates: Duplicates::KeepLast,
        ohlc: Check::warn(0.0),
        min_price: Check::warn(0.0),
        min_volume: Check::warn(0.0),
        ..Expectations::candles()
    }
}

fn late() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

proptest! {
    #[test]
    fn every_row_goes_on_or_is_put_aside_and_what_goes_on_is_good(raw in harmed()) {
        let outcome = gate(&raw, &lenient(), late());
        let Some(frame) = &outcome.clean else {
            return Err(TestCaseError::fail("nothing blocks"));
        };
        prop_assert_eq!(frame.len() + outcome.quarantined.len(), raw.len());
        prop_assert!(outcome.quarantined.iter().all(|q| !q.reasons.is_empty()));
        let column = |name: &str, i: usize| frame.column(name).unwrap()[i];
        for (i, row) in frame.rows().iter().enumerate() {
            let candle = Candle {
                open_time: row.time,
                open: column("open", i),
                high: column("high", i),
                low: column("low", i),
                close: column("close", i),
                volume: column("volume", i),
                trades: None,
            };
            let whole = NAMES.iter().all(|n| !column(n, i).is_nan());
            prop_assert!(!whole || candle.check().is_ok(), "{candle:?}");
            prop_assert!(NAMES.iter().all(|n| !column(n, i).is_infinite()));
        }
        // Rows and gaps together are the whole axis.
        let missing: usize = outcome.gaps.iter().map(|g| g.intervals).sum();
        if let (Some(first), Some(last)) = (frame.rows().first(), frame.rows().last()) {
            let axis = frame.interval().steps(first.time, last.time) as usize + 1;
            prop_assert_eq!(frame.len() + missing, axis);
        }
    }

    #[test]
    fn a_blocked_table_has_a_finding_that_says_why(raw in harmed()) {
        let outcome = gate(&raw, &Expectations::candles(), late());
        prop_assert_eq!(outcome.blocked(), outcome.blocking().count() > 0);
        prop_assert_eq!(outcome.checks.len(), 16);
        for row in &outcome.quarantined {
            prop_assert!(raw.positions.contains(&row.position));
        }
    }

    #[test]
    fn what_passed_once_passes_again_unchanged(raw in harmed()) {
        let frame = gate(&raw, &lenient(), late()).clean.unwrap();
        let again = gate(&raw_of(&frame), &lenient(), late());
        prop_assert!(again.quarantined.is_empty());
        prop_assert_eq!(again.clean.unwrap().fingerprint(), frame.fingerprint());
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        n in 2usize..50, seed: u64, order in any::<prop::sample::Selector>(),
    ) {
        let raw = raw_of(&random_walk(n, Interval::HOUR, 0.02, seed));
        // A shuffle by drawing places.
        let mut keyed: Vec<usize> = (0..n).collect();
        keyed.sort_by_key(|i| (i * 7_919 + order.select(0..n)) % n);
        let (a, b) = (gate(&raw, &lenient(), late()), gate(&reordered(&raw, &keyed), &lenient(), late()));
        prop_assert_eq!(a.clean.unwrap().fingerprint(), b.clean.unwrap().fingerprint());
    }

    #[test]
    fn filling_leaves_every_observed_row_as_it_was(raw in harmed(), limit in 0usize..6) {
        let fills = Expectations { fill: Fill::Previous, fill_limit: limit, ..lenient() };
        let (kept, filled) = (gate(&raw, &lenient(), late()), gate(&raw, &fills, late()));
        let (kept_frame, frame) = (kept.clean.unwrap(), filled.clean.unwrap());
        let observed = frame.filter(|_, row| !row.flags.contains(RowFlags::FILLED));
        prop_assert_eq!(observed.fingerprint(), kept_frame.fingerprint());
        let fillable: usize =
            kept.gaps.iter().map(|g| g.intervals).filter(|n| *n <= limit).sum();
        prop_assert_eq!(filled.filled, fillable);
        prop_assert_eq!(frame.len(), kept_frame.len() + fillable);
        prop_assert_eq!(filled.gaps, kept.gaps);
    }

    #[test]
    fn rows_mended_to_what_they_were_meant_to_be_pass(
        n in 12usize..50, seed: u64, harms in prop::collection::vec((any::<Index>(), 0usize..5), 1..6),
    ) {
        let good = raw_of(&random_walk(n, Interval::HOUR, 0.02, seed));
        let mut columns = values(&good);
        for (row, column) in &harms {
            columns[*column][row.index(n)] = -1.0;
        }
        let mut raw = good.clone();
        with_values(&mut raw, columns);
        let refused = gate(&raw, &Expectations::candles(), late());
        prop_assert!(refused.blocked());
        let mut rows = refused.quarantined;
        for row in &mut rows {
            let i = good.positions.iter().position(|p| *p == row.position).unwrap();
            for cell in &mut row.values {
                cell.value = good.column(&cell.column).map(|c| c[i]);
            }
        }
        let outcome = replay(&raw, &rows, &Expectations::candles(), late(), late()).unwrap();
        let frame = outcome.clean.unwrap();
        for name in NAMES {
            prop_assert_eq!(frame.column(name), good.column(name));
        }
        let mended = RowFlags::CORRECTED | RowFlags::MENDED;
        let marked = frame.rows().iter().filter(|r| r.flags == mended).count();
        prop_assert_eq!(marked, rows.len());
    }

    #[test]
    fn any_table_has_a_profile_and_a_page(raw in harmed()) {
        let profile = profile(&raw);
        prop_assert!((0.0..=100.0).contains(&profile.quality_score));
        prop_assert_eq!(profile.rows, raw.len());
        for column in &profile.columns {
            prop_assert_eq!(column.count + column.missing + column.infinite, raw.len());
            let counted: u64 = column.histogram.counts.iter().sum();
            prop_assert!(counted == column.count as u64 || column.histogram.counts.is_empty());
            prop_assert!(column.quantiles.windows(2).all(|w| w[0].1 <= w[1].1));
        }
        let back: foretell_quality::Profile =
            serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
        prop_assert!(back == profile, "the profile does not survive JSON");
        let outcome = gate(&raw, &Expectations::candles(), late());
        let html = profile_html(&profile, Some(&outcome), "Profile");
        crate::page::well_formed(&html).map_err(TestCaseError::fail)?;
    }
}
