//! What the gate lets through, puts aside and refuses, told in its own words.

use std::fmt::Write as _;

use crate::support::{candles, noon, table};
use expect_test::{Expect, expect};
use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::RawTable;
use foretell_quality::{
    Check, CheckStatus, Duplicates, Expectations, Fill, GateOutcome, Severity, gate,
};

/// Everything that is not as it should be, in text.
fn told(outcome: &GateOutcome) -> String {
    let mut text = match &outcome.clean {
        Some(frame) => format!("{} of {} rows pass\n", frame.len(), outcome.rows_in),
        None => format!("none of {} rows passes\n", outcome.rows_in),
    };
    for check in &outcome.checks {
        if matches!(check.status, CheckStatus::Warned | CheckStatus::Blocked) {
            let _ = writeln!(text, "{} {}: {}", check.name, check.status, check.detail);
        }
    }
    for finding in outcome.findings.iter().filter(|f| f.position.is_some()) {
        let _ = writeln!(text, "  {finding}");
    }
    for row in &outcome.quarantined {
        let _ = writeln!(text, "aside: {} ({})", row.position, row.reason());
    }
    text
}

#[track_caller]
fn check(raw: &RawTable, expectations: &Expectations, expected: &Expect) -> GateOutcome {
    let outcome = gate(raw, expectations, noon());
    expected.assert_eq(&told(&outcome));
    outcome
}

#[test]
fn good_candles_pass_every_check() {
    let outcome = check(
        &candles(&[]),
        &Expectations::candles(),
        &expect![[r#"
        12 of 12 rows pass
    "#]],
    );
    assert_eq!(outcome.count(CheckStatus::Passed), outcome.checks.len());
    assert_eq!(outcome.checks.len(), 16);
    let frame = outcome.clean.unwrap();
    assert_eq!(frame.column("close").unwrap()[0], 48_010.0);
    assert_eq!(frame.rows()[0].time, "2024-02-11T00:00:00Z".parse().unwrap());
}

#[test]
fn candles_that_contradict_themselves_block() {
    let raw = candles(&[
        (5, "2024-02-11T03:00,48130.5,48110,48202.5,48150,1"),
        (7, "2024-02-11T05:00,48050,48080,48030,48090,1"),
        (8, "2024-02-11T06:00,48050,48090,48060,48090,1"),
        (9, "2024-02-11T07:00,48050,48090,48040,broken,1"),
    ]);
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        none of 12 rows passes
        types blocked: 1 row with a cell that is no number
        ohlc blocked: 3 rows breaking low ≤ open, close ≤ high
        min_rows blocked: 8 rows after quarantine, 10 are needed
        max_gap warned: 2 gaps (4 h) kept as gaps, not filled; the longest, 3 h, begins 2024-02-11 05:00 UTC
        min_completeness warned: 8 of 12 intervals (66.7 %) are there, 90 % are expected
          row 9  2024-02-11 07:00 UTC  close is not a number: `broken`
          row 5  2024-02-11 03:00 UTC  high 48,110.0 < low 48,202.5
          row 7  2024-02-11 05:00 UTC  high 48,080.0 < close 48,090.0
          row 8  2024-02-11 06:00 UTC  low 48,060.0 > open 48,050.0
        aside: 5 (ohlc: high 48,110.0 < low 48,202.5)
        aside: 7 (ohlc: high 48,080.0 < close 48,090.0)
        aside: 8 (ohlc: low 48,060.0 > open 48,050.0)
        aside: 9 (types: close is not a number: `broken`)
    "#]],
    );
}

#[test]
fn a_declared_tolerance_lets_rounding_pass() {
    let raw = candles(&[(5, "2024-02-11T03:00,48050,48080,48030,48080.01,1")]);
    let strict = gate(&raw, &Expectations::candles(), noon());
    assert!(strict.blocked());
    let tolerant = Expectations { ohlc: Check::block(1e-6), ..Expectations::candles() };
    check(
        &raw,
        &tolerant,
        &expect![[r#"
        12 of 12 rows pass
    "#]],
    );
}

#[test]
fn a_warned_row_is_put_aside_and_leaves_a_gap() {
    let raw = candles(&[(5, "2024-02-11T03:00,48130.5,48110,48202.5,48150,1")]);
    let warns = Expectations { ohlc: Check::warn(0.0), ..Expectations::candles() };
    let outcome = check(
        &raw,
        &warns,
        &expect![[r#"
        11 of 12 rows pass
        ohlc warned: 1 row breaking low ≤ open, close ≤ high
        max_gap warned: 1 gap (1 h) kept as a gap, not filled
          row 5  2024-02-11 03:00 UTC  high 48,110.0 < low 48,202.5
        aside: 5 (ohlc: high 48,110.0 < low 48,202.5)
    "#]],
    );
    assert_eq!(outcome.gaps.len(), 1);
    let aside = &outcome.quarantined[0];
    assert_eq!(aside.time, "2024-02-11T03:00:00Z".parse().unwrap());
    assert_eq!(aside.value("low"), 48_202.5);
    assert_eq!(aside.values.len(), 5);
}

#[test]
fn prices_and_amounts_that_cannot_be_block() {
    let raw = candles(&[
        (3, "2024-02-11T01:00,0,48040,0,48010,1"),
        (4, "2024-02-11T02:00,48020,48050,48000,48030,-2"),
        (6, "2024-02-11T04:00,48040,inf,48020,48050,1"),
    ]);
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        none of 12 rows passes
        types blocked: 1 row with a cell that is no number
        min_price blocked: 1 row with a price of 0.0 or less
        min_volume blocked: 1 row with an amount under 0.0
        min_rows blocked: 9 rows after quarantine, 10 are needed
        max_gap warned: 2 gaps (3 h) kept as gaps, not filled; the longest, 2 h, begins 2024-02-11 01:00 UTC
        min_completeness warned: 9 of 12 intervals (75 %) are there, 90 % are expected
          row 6  2024-02-11 04:00 UTC  high is not a finite number: inf
          row 3  2024-02-11 01:00 UTC  open 0.0 ≤ 0.0
          row 3  2024-02-11 01:00 UTC  low 0.0 ≤ 0.0
          row 4  2024-02-11 02:00 UTC  volume −2.0 < 0.0
        aside: 3 (min_price: open 0.0 ≤ 0.0; min_price: low 0.0 ≤ 0.0)
        aside: 4 (min_volume: volume −2.0 < 0.0)
        aside: 6 (types: high is not a finite number: inf)
    "#]],
    );
}

#[test]
fn a_missing_column_blocks_and_names_what_is_there() {
    let raw = table(Interval::HOUR, "time,open,close\n2024-02-11T00:00,1,2");
    let outcome = gate(&raw, &Expectations::candles(), noon());
    let schema: Vec<_> = outcome.findings.iter().filter(|f| f.check == "schema").collect();
    assert_eq!(schema[0].message, "column `high` is missing (there are: open, close)");
    assert_eq!(schema.len(), 3);
    assert!(outcome.blocked());
}

#[test]
fn a_table_that_does_not_fit_itself_is_refused_and_not_looked_into() {
    let mut raw = candles(&[]);
    raw.columns[2].values = vec![1.0].into();
    raw.columns[4].name = "open".to_owned();
    raw.positions.pop();
    let expectations = Expectations { schema: Severity::Off, ..Expectations::candles() };
    for expectations in [expectations, Expectations::candles()] {
        let outcome = gate(&raw, &expectations, noon());
        assert!(outcome.blocked());
        assert_eq!(outcome.checks.len(), 1);
        let message = outcome.findings[0].message.as_str();
        assert_eq!(message, "11 positions for 12 rows");
    }
}

#[test]
fn nothing_is_too_few_rows() {
    let empty = table(Interval::HOUR, "time,open,high,low,close,volume");
    check(
        &empty,
        &Expectations::candles(),
        &expect![[r#"
        none of 0 rows passes
        min_rows blocked: 0 rows after quarantine, 10 are needed
    "#]],
    );
}

#[test]
fn newest_first_is_sorted_and_only_noted() {
    let mut lines: Vec<String> = Vec::new();
    for hour in (0..12).rev() {
        lines.push(format!("2024-02-11T{hour:02}:00,{0},{0},{0},{0},1", 48_000 + hour));
    }
    let text = format!("time,open,high,low,close,volume\n{}", lines.join("\n"));
    let outcome = check(
        &table(Interval::HOUR, &text),
        &Expectations::candles(),
        &expect![[r#"
        12 of 12 rows pass
    "#]],
    );
    let order = outcome.checks.iter().find(|c| c.name == "order").unwrap();
    assert_eq!(
        (order.status, order.detail.as_str()),
        (CheckStatus::Passed, "newest first; sorted")
    );
    assert_eq!(outcome.clean.unwrap().column("close").unwrap()[0], 48_000.0);
}

#[test]
fn a_row_that_repeats_another_is_put_aside_with_a_warning() {
    let raw = candles(&[(4, "2024-02-11T01:00,48010,48040,47990,48020,1.5")]);
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        11 of 12 rows pass
        exact_duplicates warned: 1 row repeating another, put aside
        max_gap warned: 1 gap (1 h) kept as a gap, not filled
          row 4  2024-02-11 01:00 UTC  repeats row 3
        aside: 4 (exact_duplicates: repeats row 3)
    "#]],
    );
}

/// Two hours of Binance BTCUSDT as Crypto-Historical-Data publishes them: each twice,
/// rounded the second time (andrewsiah/crypto-historical-data, prices are facts).
fn binance_twice() -> RawTable {
    let mut raw = String::from("time,open,high,low,close,volume\n");
    raw += "2020-08-31T23:00,11651.39,11689.68,11647.61,11649.51,1554.036207\n\
            2020-08-31T23:00,11651.38,11689.68,11647.61,11649.51,1554.04\n\
            2020-08-31T22:00,11632.61,11685.65,11621.23,11651.38,1382.976214\n\
            2020-08-31T22:00,11632.61,11685.65,11621.23,11651.38,1382.98\n";
    for hour in 10..22 {
        let _ = writeln!(raw, "2020-08-31T{hour}:00,11632,11685,11621,11651,1");
    }
    table(Interval::HOUR, &raw)
}

#[test]
fn rows_that_contradict_each_other_block_until_it_is_said_which_to_keep() {
    let raw = binance_twice();
    let end = "2020-09-01T00:00:00Z".parse().unwrap();
    let outcome = gate(&raw, &Expectations::candles(), end);
    expect![[r#"
        none of 16 rows passes
        duplicates blocked: 4 rows of one time with different values; declare `duplicates` to say which to keep
          row 4  2020-08-31 22:00 UTC  same time as row 5: volume 1,382.976214 against 1,382.98
          row 5  2020-08-31 22:00 UTC  same time as row 4: volume 1,382.98 against 1,382.976214
          row 2  2020-08-31 23:00 UTC  same time as row 3: open 11,651.39 against 11,651.38
          row 3  2020-08-31 23:00 UTC  same time as row 2: open 11,651.38 against 11,651.39
        aside: 2 (duplicates: same time as row 3: open 11,651.39 against 11,651.38)
        aside: 3 (duplicates: same time as row 2: open 11,651.38 against 11,651.39)
        aside: 4 (duplicates: same time as row 5: volume 1,382.976214 against 1,382.98)
        aside: 5 (duplicates: same time as row 4: volume 1,382.98 against 1,382.976214)
    "#]]
    .assert_eq(&told(&outcome));
    for (duplicates, kept) in [
        (Duplicates::KeepMostPrecise, 1_554.036207),
        (Duplicates::KeepFirst, 1_554.036207),
        (Duplicates::KeepLast, 1_554.04),
    ] {
        let declared = Expectations { duplicates, ..Expectations::candles() };
        let outcome = gate(&raw, &declared, end);
        assert_eq!(outcome.quarantined.len(), 2, "{duplicates:?}");
        let frame = outcome.clean.unwrap();
        assert_eq!(frame.column("volume").unwrap().last(), Some(&kept), "{duplicates:?}");
    }
}

#[test]
fn equally_precise_rows_that_differ_still_block() {
    let raw = candles(&[(4, "2024-02-11T01:00,48010,48040,47990,48020,2.5")]);
    let duplicates = Duplicates::KeepMostPrecise;
    let declared = Expectations { duplicates, ..Expectations::candles() };
    let outcome = gate(&raw, &declared, noon());
    assert!(outcome.blocked());
    assert_eq!(outcome.blocking().count(), 2);
}

#[test]
fn times_between_grid_points_are_put_aside() {
    let raw = candles(&[(4, "2024-02-11T02:07,48020,48050,48000,48030,1.5")]);
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        11 of 12 rows pass
        off_grid warned: 1 row off the grid
        max_gap warned: 1 gap (1 h) kept as a gap, not filled
          row 4  2024-02-11 02:07 UTC  time 2024-02-11T02:07:00Z is 7 min off the 1h grid
        aside: 4 (off_grid: time 2024-02-11T02:07:00Z is 7 min off the 1h grid)
    "#]],
    );
}

#[test]
fn a_bar_that_is_still_forming_is_put_aside() {
    let as_of = noon().plus_secs(-1);
    let outcome = gate(&candles(&[]), &Expectations::candles(), as_of);
    assert_eq!(outcome.clean.as_ref().map(foretell_panel::Frame::len), Some(11));
    let reason = outcome.quarantined[0].reason();
    assert_eq!(
        reason,
        "unfinished: its interval ends 2024-02-11T12:00:00Z, after the as-of time \
         2024-02-11T11:59:59Z"
    );
}

#[test]
fn empty_cells_over_one_percent_block() {
    let raw = candles(&[(4, "2024-02-11T02:00,48020,48050,48000,,1.5")]);
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        none of 12 rows passes
        max_null_share blocked: column `close` is empty in 1 of 12 rows (8.3 %, at most 1 % allowed)
    "#]],
    );
    let allowed = Expectations { max_null_share: Check::block(0.1), ..Expectations::candles() };
    let outcome = gate(&raw, &allowed, noon());
    assert!(outcome.clean.unwrap().column("close").unwrap()[2].is_nan());
}

#[test]
fn a_column_that_nobody_requires_only_warns() {
    let mut text = String::from("time,open,high,low,close,volume,trades\n");
    for hour in 0..12 {
        let trades = if hour == 3 { "many" } else { "" };
        let _ = writeln!(text, "2024-02-11T{hour:02}:00,2,3,1,2,1,{trades}");
    }
    check(
        &table(Interval::HOUR, &text),
        &Expectations::candles(),
        &expect![[r#"
        12 of 12 rows pass
        types warned: 1 row with a cell that is no number
        max_null_share warned: column `trades` is empty in 12 of 12 rows (100 %, at most 1 % allowed)
          row 5  2024-02-11 03:00 UTC  trades is not a number: `many`
    "#]],
    );
}

#[test]
fn a_fault_in_a_row_that_was_never_read_blocks() {
    let mut raw = candles(&[]);
    raw.faults.push(foretell_panel::CellFault {
        position: 99,
        column: "time".to_owned(),
        text: "30/02/2024".to_owned(),
    });
    check(
        &raw,
        &Expectations::candles(),
        &expect![[r#"
        none of 12 rows passes
        types blocked: 1 row with a cell that is no number
          row 99  time is not a number: `30/02/2024`
    "#]],
    );
}

#[test]
fn moves_over_half_and_an_old_end_warn() {
    let raw = candles(&[(8, "2024-02-11T06:00,48060,80000,48040,79000,1.5")]);
    let as_of = noon().plus_secs(2 * 3_600);
    assert_eq!(gate(&candles(&[]), &Expectations::candles(), as_of).findings, []);
    let outcome = gate(&raw, &Expectations::candles(), as_of.plus_secs(1_800));
    expect![[r#"
        12 of 12 rows pass
        max_move warned: 1 move over 50 %, the largest 64.4 %
        max_staleness warned: the last row closed 2 h 30 min ago, 2024-02-11 12:00 UTC; at most 2 h are expected
          row 8  2024-02-11 06:00 UTC  close 79,000.0 after 48,060.0 (+64.4 %)
    "#]]
    .assert_eq(&told(&outcome));
}

#[test]
fn gaps_are_filled_only_where_declared_and_marked() {
    let raw = candles(&[(4, ""), (7, ""), (8, "")]);
    let kept = gate(&raw, &Expectations::candles(), noon());
    assert_eq!((kept.filled, kept.gaps.len()), (0, 2));
    let fills = Expectations {
        fill: Fill::Previous,
        fill_limit: 1,
        min_rows: Check::block(5),
        ..Expectations::candles()
    };
    let outcome = check(
        &raw,
        &fills,
        &expect![[r#"
        10 of 9 rows pass
        max_gap warned: 2 gaps (3 h); 1 interval filled from the row before and marked
        min_completeness warned: 9 of 12 intervals (75 %) are there, 90 % are expected
    "#]],
    );
    let frame = outcome.clean.unwrap();
    let filled = &frame.rows()[2];
    assert_eq!(filled.time, "2024-02-11T02:00:00Z".parse().unwrap());
    assert_eq!(filled.known_at, "2024-02-11T03:00:00Z".parse().unwrap());
    assert_eq!(filled.flags, RowFlags::FILLED);
    assert_eq!(frame.rows().iter().filter(|r| r.flags != RowFlags::NONE).count(), 1);
    for column in ["open", "high", "low", "close"] {
        assert_eq!(frame.column(column).unwrap()[2], 48_020.0, "{column}");
    }
    assert_eq!(frame.column("volume").unwrap()[2], 0.0);
    assert_eq!(outcome.gaps, kept.gaps, "a filled gap is a record all the same");
    // A row that was corrected later has no lag to hand on.
    let mut corrected = raw.clone();
    let before =
        corrected.rows.iter_mut().find(|r| r.time == "2024-02-11T01:00:00Z".parse().unwrap());
    let before = before.unwrap();
    before.flags |= RowFlags::CORRECTED;
    before.known_at = "2024-02-11T09:30:00Z".parse().unwrap();
    let known_at = before.known_at;
    let frame = gate(&corrected, &fills, noon()).clean.unwrap();
    assert_eq!(frame.rows()[2].known_at, known_at);
}

#[test]
fn snapshots_stand_still_when_filled() {
    let mut text = String::from("time,price,market_cap,total_volume\n");
    for hour in (0..12).filter(|h| *h != 5) {
        let _ = writeln!(text, "2024-02-11T{hour:02}:00,{},{},7", 100 + hour, 1_000 + hour);
    }
    let fills = Expectations { fill: Fill::Previous, ..Expectations::snapshots() };
    let outcome = gate(&table(Interval::HOUR, &text), &fills, noon());
    let frame = outcome.clean.unwrap();
    let at = |column: &str| frame.column(column).unwrap()[5];
    assert_eq!((at("price"), at("market_cap"), at("total_volume")), (104.0, 1_004.0, 7.0));
}

#[test]
fn what_is_switched_off_is_said_to_be_off() {
    let off = Expectations {
        ohlc: Check::off(0.0),
        max_gap: Check::off(0),
        unfinished: Severity::Off,
        ..Expectations::candles()
    };
    let raw = candles(&[(5, "2024-02-11T03:00,48130.5,48110,48202.5,48150,1"), (7, "")]);
    let outcome = gate(&raw, &off, noon());
    assert!(outcome.findings.is_empty());
    assert_eq!(outcome.count(CheckStatus::Off), 3);
    assert_eq!(outcome.gaps.len(), 1, "gaps are records whatever is declared");
}

#[test]
fn findings_are_counted_beyond_the_first_hundred() {
    let mut text = String::from("time,open,high,low,close,volume\n");
    for row in 0..300 {
        let time = Timestamp::from_secs(1_707_609_600 + 3_600 * row).to_string();
        let _ = writeln!(text, "{},2,1,3,2,1", time.trim_end_matches('Z'));
    }
    let outcome = gate(&table(Interval::HOUR, &text), &Expectations::candles(), noon());
    let ohlc = outcome.checks.iter().find(|c| c.name == "ohlc").unwrap();
    assert_eq!(ohlc.found, 300);
    assert_eq!(outcome.findings.iter().filter(|f| f.check == "ohlc").count(), 100);
    assert_eq!(outcome.quarantined.len(), 300);
}

#[test]
fn a_refusal_names_the_first_rows_and_counts_the_rest() {
    let raw = candles(&[
        (5, "2024-02-11T03:00,48130.5,48110,48202.5,48150,1"),
        (9, "2024-02-11T07:00,48050,48090,48040,n/a,1"),
    ]);
    let outcome = gate(&raw, &Expectations::candles(), noon());
    expect![[r#"
        gate refused 2 of 12 rows
          row 9  2024-02-11 07:00 UTC  close is not a number: `n/a`
          row 5  2024-02-11 03:00 UTC  high 48,110.0 < low 48,202.5"#]]
    .assert_eq(&outcome.refusal(5).unwrap());
    expect![[r#"
        gate refused 2 of 12 rows
          row 9  2024-02-11 07:00 UTC  close is not a number: `n/a`
          and 1 more"#]]
    .assert_eq(&outcome.refusal(1).unwrap());
    let short =
        table(Interval::HOUR, "time,open,high,low,close,volume\n2024-02-11T00:00,1,1,1,1,1");
    expect![[r#"
        gate refused the table of 1 row
          1 row after quarantine, 10 are needed"#]]
    .assert_eq(&gate(&short, &Expectations::candles(), noon()).refusal(5).unwrap());
    assert_eq!(gate(&candles(&[]), &Expectations::candles(), noon()).refusal(5), None);
}

#[test]
fn the_report_round_trips_and_the_summary_is_one_line() {
    let raw = candles(&[(4, "")]);
    let outcome = gate(&raw, &Expectations::candles(), noon());
    assert_eq!(
        outcome.summary(),
        "15 checks passed · 1 warning: 1 gap (1 h) kept as a gap, not filled"
    );
    let json = serde_json::to_string(&outcome.report()).unwrap();
    let back: foretell_quality::GateReport = serde_json::from_str(&json).unwrap();
    assert_eq!(back, outcome.report());
}
