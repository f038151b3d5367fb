//! Irregular snapshots sampled onto the grid of intervals, without looking ahead.
//!
//! The row of interval `[t, t+i)` is what was known at its end `t+i`: the last
//! snapshot at or before it, with its age then. A row is known at `t+i`, never before
//! the snapshot was taken. A snapshot older than the interval itself is not carried
//! on: an interval in which nothing was observed has no row, it is a gap.

use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::{Column, as_of};

use super::wire::{MarketChart, Snapshot};
use crate::rows::Rows;

/// The complete intervals that end at or before `until`: columns `price`,
/// `market_cap`, `total_volume`, `age_seconds`; rows whose snapshot is older than half
/// an interval carry [`RowFlags::STALE_SAMPLE`]. Positions are 1-based snapshots.
///
/// Of snapshots with one time the last in the answer counts.
pub fn sample(chart: &MarketChart, interval: Interval, until: Timestamp) -> Rows {
    let mut order: Vec<usize> = (0..chart.snapshots.len()).collect();
    order.sort_by_key(|&i| chart.snapshots[i].time);
    let observed: Vec<Timestamp> = order.iter().map(|&i| chart.snapshots[i].time).collect();
    // Only ends with a snapshot in the interval before them can have a row.
    let mut ends: Vec<Timestamp> = Vec::new();
    for &time in &observed {
        let floor = interval.floor(time);
        let end = if floor == time { floor } else { floor + interval };
        if end <= until && ends.last() != Some(&end) {
            ends.push(end);
        }
    }
    let mut rows = Rows::default();
    let mut values: [Vec<f64>; 4] = Default::default();
    for (end, found) in ends.iter().zip(as_of(&observed, &ends)) {
        let Some(found) = found else { continue };
        let Snapshot { price, market_cap, total_volume, .. } = chart.snapshots[order[found.index]];
        let age = found.age_micros as f64 / 1e6;
        let stale = found.age_micros * 2 > interval.micros();
        rows.times.push(*end - interval);
        rows.positions.push(order[found.index] as u64 + 1);
        rows.flags.push(if stale { RowFlags::STALE_SAMPLE } else { RowFlags::NONE });
        for (column, value) in values.iter_mut().zip([price, market_cap, total_volume, age]) {
            column.push(value);
        }
    }
    let names = ["price", "market_cap", "total_volume", "age_seconds"];
    rows.columns = names.iter().zip(values).map(|(n, v)| Column::new(*n, v)).collect();
    rows
}
