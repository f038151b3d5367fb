//! Quarantined rows go back through the gate once they are mended.

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::RawTable;
use foretell_quality::{
    Check, Expectations, GateOutcome, QuarantinedRow, ReplayError, gate, mend, replay,
};

use crate::support::{candles, noon};

fn mended_at() -> Timestamp {
    noon().plus_secs(3_600)
}

/// One bad candle and one unreadable cell.
fn bad() -> RawTable {
    candles(&[
        (5, "2024-02-11T03:00,48030,48110,48202.5,48040,1.5"),
        (9, "2024-02-11T07:00,48070,48100,48050,broken,1.5"),
    ])
}

fn refused(raw: &RawTable) -> GateOutcome {
    gate(raw, &Expectations::candles(), noon())
}

fn set(row: &mut QuarantinedRow, column: &str, value: f64) {
    let cell = row.values.iter_mut().find(|v| v.column == column).unwrap();
    (cell.value, cell.text) = (Some(value), None);
}

/// What someone makes of the quarantine: the low and the close as they were meant.
fn mended(raw: &RawTable) -> Vec<QuarantinedRow> {
    let mut rows = refused(raw).quarantined;
    assert_eq!(rows.len(), 2);
    set(&mut rows[0], "low", 48_010.0);
    set(&mut rows[0], "high", 48_060.0);
    set(&mut rows[1], "close", 48_080.0);
    rows
}

#[test]
fn mended_rows_pass_and_say_that_they_were_corrected() {
    let raw = bad();
    assert!(refused(&raw).blocked());
    let rows = mended(&raw);
    let outcome = replay(&raw, &rows, &Expectations::candles(), mended_at(), noon()).unwrap();
    let (frame, good) = (outcome.clean.unwrap(), refused(&candles(&[])).clean.unwrap());
    for column in good.columns() {
        assert_eq!(frame.column(&column.name), good.column(&column.name), "{}", column.name);
    }
    let corrected: Vec<usize> =
        (0..12).filter(|&i| frame.rows()[i].flags.contains(RowFlags::CORRECTED)).collect();
    assert_eq!(corrected, [3, 7]);
    let row = frame.rows()[3];
    // Nobody could have used the row before it was mended.
    assert_eq!((row.known_at, row.ingested_at), (mended_at(), mended_at()));
    assert_eq!(frame.rows()[4], good.rows()[4]);
}

#[test]
fn the_quarantine_survives_being_written_down() {
    let rows = refused(&bad()).quarantined;
    let json = serde_json::to_string(&rows).unwrap();
    let back: Vec<QuarantinedRow> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, rows);
    assert_eq!(back[1].values[3].text.as_deref(), Some("broken"));
    assert_eq!(back[1].reason(), "types: close is not a number: `broken`");
}

#[test]
fn a_row_put_back_as_it_was_is_judged_as_it_was() {
    let raw = candles(&[(5, "2024-02-11T03:00,48030,48110,48202.5,48040,1.5")]);
    let refused = refused(&raw);
    let again =
        replay(&raw, &refused.quarantined, &Expectations::candles(), mended_at(), noon()).unwrap();
    assert_eq!(again.findings, refused.findings);
    assert_eq!(again.quarantined, refused.quarantined);
    let tolerant = Expectations { ohlc: Check::off(0.0), ..Expectations::candles() };
    let let_through =
        replay(&raw, &refused.quarantined, &tolerant, mended_at(), noon()).unwrap().clean.unwrap();
    assert_eq!(let_through.rows()[3].flags, RowFlags::NONE, "nothing was corrected");
}

#[test]
fn an_imported_row_keeps_its_declared_known_at() {
    let mut raw = bad();
    for row in &mut raw.rows {
        row.flags = RowFlags::BACKFILLED;
    }
    let table = mend(&raw, &mended(&raw), mended_at()).unwrap();
    assert_eq!(table.rows[3].known_at, raw.rows[3].known_at);
    assert_eq!(table.rows[3].ingested_at, mended_at());
    assert!(table.rows[3].flags.contains(RowFlags::CORRECTED | RowFlags::BACKFILLED));
}

#[test]
fn rows_of_a_table_that_is_gone_stand_for_themselves() {
    let raw = bad();
    let rows = mended(&raw);
    let mut empty = raw.clone();
    empty.positions.clear();
    empty.rows.clear();
    empty.faults.clear();
    for column in &mut empty.columns {
        column.values = Vec::new().into();
    }
    let table = mend(&empty, &rows, mended_at()).unwrap();
    assert_eq!(table.positions, [5, 9]);
    assert_eq!(table.column("low").unwrap(), [48_010.0, 48_050.0]);
}

#[test]
fn a_row_is_known_again_by_its_time_when_positions_have_shifted() {
    let raw = bad();
    let rows = mended(&raw);
    // The next answer begins three rows later: place 5 is a healthy row's.
    let mut later = raw.clone();
    let keep = 3..raw.len();
    later.rows = raw.rows[keep.clone()].to_vec();
    later.positions.truncate(later.rows.len());
    for column in &mut later.columns {
        column.values = column.values[keep.clone()].to_vec().into();
    }
    for fault in &mut later.faults {
        fault.position -= 3;
    }
    let table = mend(&later, &rows, mended_at()).unwrap();
    let is_mended = |i: &usize| table.rows[*i].flags.contains(RowFlags::MENDED);
    assert_eq!((0..table.len()).filter(is_mended).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(table.column("low").unwrap()[0], 48_010.0);
    assert_eq!(table.column("close").unwrap()[4], 48_080.0);
    assert_eq!((table.len(), table.faults.len()), (later.len(), 0));
}

#[test]
fn a_mended_time_moves_its_row_whatever_its_position() {
    let mut raw = bad();
    let mut rows = mended(&raw);
    let stood = rows[0].time;
    rows[0].time = stood.plus_secs(-240 * 3_600);
    raw.positions.iter_mut().for_each(|p| *p += 40);
    raw.faults.iter_mut().for_each(|f| f.position += 40);
    let table = mend(&raw, &rows, mended_at()).unwrap();
    assert_eq!(table.len(), raw.len());
    assert_eq!(table.rows[3].time, rows[0].time);
    assert!(table.rows.iter().all(|r| r.time != stood));
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let raw = bad();
    let error = |rows: &[QuarantinedRow]| mend(&raw, rows, mended_at()).unwrap_err().to_string();
    let mut rows = mended(&raw);
    rows[1] = rows[0].clone();
    assert_eq!(error(&rows), "row 5 is there twice among the mended rows: keep one of them");
    let unmended = refused(&raw).quarantined;
    assert_eq!(
        error(&unmended),
        "mended row 9 still holds `broken` in `close`: give a number and remove the text"
    );
    let mut rows = mended(&raw);
    rows[0].values[1].column = "hihg".to_owned();
    assert_eq!(
        error(&rows),
        "mended row 5 has a column `hihg` that the table does not have (open, high, low, close, \
         volume)"
    );
    let mut broken = raw.clone();
    broken.positions.pop();
    assert!(matches!(mend(&broken, &[], mended_at()), Err(ReplayError::Shape(_))));
}
