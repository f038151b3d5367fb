//! From a frame to its features.

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::{Column, Frame, FrameError, RowMeta};

use crate::FeatureError;
use crate::set::FeatureSet;
use crate::stage::evaluate;
use crate::workspace::Workspace;

/// Computes every feature of a set.
///
/// The result has the frame's rows (a missing interval has no row) and one column per
/// feature, NaN while it warms up, when its window has a missing interval, and where
/// its value would not be finite. A row's `known_at` is the latest of all rows that its
/// features read, and its flags are those of its window, or-ed. Columns share memory:
/// with each other, and with the frame where a feature is a column itself.
///
/// # Errors
/// When the frame lacks a column that the set reads.
pub fn compute(set: &FeatureSet, frame: &Frame) -> Result<Frame, FeatureError> {
    compute_with(set, frame, &mut Workspace::new())
}

/// [`compute()`], in the memory of an earlier result where that is gone.
///
/// # Errors
/// Those of [`compute()`].
pub fn compute_with(
    set: &FeatureSet,
    frame: &Frame,
    workspace: &mut Workspace,
) -> Result<Frame, FeatureError> {
    let evaluated = evaluate(set, frame, workspace)?;
    let columns = set.features.iter().map(|f| Column {
        name: f.name.clone(),
        values: evaluated[f.node].clone().expect("the values of a feature are kept"),
    });
    Ok(over_windows(frame, set.warm_up(), set.is_recursive(), columns.collect())?)
}

/// A frame of columns whose values read a window of `warm_up + 1` intervals: each row has
/// the latest known-at time and all flags of its window; of all earlier rows for the
/// known-at time when a column is recursive.
pub(crate) fn over_windows(
    frame: &Frame,
    warm_up: usize,
    recursive: bool,
    columns: Vec<Column>,
) -> Result<Frame, FrameError> {
    match window_meta(frame, warm_up, recursive) {
        None => frame.with_columns(columns),
        Some(rows) => Frame::new(frame.instrument().clone(), frame.interval(), rows, columns),
    }
}

/// The rows of [`over_windows`]; `None` when they are those of the frame, as in an
/// ordinary history.
fn window_meta(frame: &Frame, warm_up: usize, recursive: bool) -> Option<Vec<RowMeta>> {
    let rows = frame.rows();
    let reach = warm_up as i64 * frame.interval().micros();
    let (mut marks, mut ordered) = (0, true);
    let mut latest = Timestamp::from_micros(i64::MIN);
    for row in rows {
        marks |= row.flags.bits();
        ordered &= latest <= row.known_at;
        latest = row.known_at;
    }
    let unmarked = marks == 0;
    if ordered && unmarked {
        return None;
    }
    let mut out = Vec::with_capacity(rows.len());
    // For each flag, the time of the last row that carried it.
    let mut marked = [i64::MIN; 32];
    let mut any = 0u32;
    // The row with the latest known-at time among those still inside the window.
    let mut latest = 0;
    for (i, row) in rows.iter().enumerate() {
        let from = row.time.micros().saturating_sub(reach);
        let mut bits = row.flags.bits();
        any |= bits;
        while bits != 0 {
            marked[bits.trailing_zeros() as usize] = row.time.micros();
            bits &= bits - 1;
        }
        let mut flags = 0;
        let mut candidates = any;
        while candidates != 0 {
            let bit = candidates.trailing_zeros();
            flags |= u32::from(marked[bit as usize] >= from) << bit;
            candidates &= candidates - 1;
        }
        if row.known_at >= rows[latest].known_at {
            latest = i;
        } else if !recursive && rows[latest].time.micros() < from {
            let first = rows[..=i].partition_point(|r| r.time.micros() < from);
            latest = (first..=i).max_by_key(|&j| rows[j].known_at).unwrap_or(i);
        }
        let known_at = rows[latest].known_at;
        out.push(RowMeta { known_at, flags: RowFlags::from_bits(flags), ..*row });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::Interval;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_carries_the_marks_and_the_latest_instant_of_its_window(
            rows in prop::collection::vec((1i64..4, 0i64..50_000, 0u32..8), 0..120),
            warm_up in 0usize..12, marked in any::<bool>(), late in any::<bool>(),
        ) {
            let mut hour = 0;
            let rows = rows.into_iter().map(|(step, delay, flags)| {
                hour += step;
                let row = RowMeta::at_close(Timestamp::from_secs(hour * 3600), Interval::HOUR);
                let known_at = row.known_at.plus_secs(if late { delay } else { 0 });
                let flags = RowFlags::from_bits(if marked && flags < 3 { flags } else { 0 });
                RowMeta { known_at, flags, ..row }
            });
            let rows: Vec<RowMeta> = rows.collect();
            let instrument = "BTC-USD".parse().unwrap();
            let frame = Frame::new(instrument, Interval::HOUR, rows.clone(), vec![]).unwrap();
            for recursive in [false, true] {
                let found = over_windows(&frame, warm_up, recursive, vec![]).unwrap();
                let found = found.rows();
                for (i, row) in rows.iter().enumerate() {
                    let from = row.time.plus_secs(-(warm_up as i64) * 3600);
                    let window = || rows[..=i].iter().filter(|r| r.time >= from);
                    let flags = window().fold(0, |all, r| all | r.flags.bits());
                    let known = if recursive {
                        rows[..=i].iter().map(|r| r.known_at).max()
                    } else {
                        window().map(|r| r.known_at).max()
                    };
                    prop_assert_eq!(found[i].flags.bits(), flags);
                    prop_assert_eq!(Some(found[i].known_at), known);
                    prop_assert_eq!((found[i].time, found[i].ingested_at), (row.time, row.ingested_at));
                }
            }
        }
    }
}
