//! Bars by count as rows of tables of their own, `clean/live-bars-<kind>`.

use foretell_lake::Layer;
use foretell_market::{Candle, CountBar};
use foretell_stream::Counted;

use super::columns::{Cell, Kind, Rows, Tables, columns, text};

/// Adds a bar to the table of its kind. Its `time` is when its earliest trade happened, `end`
/// when its latest did; its number tells it from others of the same instrument.
pub(super) fn add(tables: &mut Tables, counted: &Counted) {
    let Counted { instrument, bar } = counted;
    let CountBar { spec, number, candle, end, notional, known_at, flags } = bar;
    let key = (Layer::Clean, format!("live-bars-{spec}"));
    let rows = tables.entry(key).or_insert_with(|| {
        use Kind::{Number, Text, Time, Whole};
        Rows::new(columns(&[
            ("time", Time),
            ("instrument", Text),
            ("known_at", Time),
            ("number", Whole),
            ("end", Time),
            ("open", Number),
            ("high", Number),
            ("low", Number),
            ("close", Number),
            ("volume", Number),
            ("notional", Number),
            ("vwap", Number),
            ("trades", Whole),
            ("flags", Whole),
        ]))
    });
    let whole = |n: u64| Cell::Whole(i64::try_from(n).unwrap_or(i64::MAX));
    let Candle { open_time, open, high, low, close, volume, trades } = *candle;
    let mut row = vec![
        Cell::Time(open_time),
        text(instrument.as_str()),
        Cell::Time(*known_at),
        whole(*number),
        Cell::Time(*end),
    ];
    row.extend([open, high, low, close, volume, *notional].map(Cell::Number));
    // Amounts of zero have no average.
    row.push(if volume > 0.0 { Cell::Number(notional / volume) } else { Cell::None });
    row.push(trades.map_or(Cell::None, whole));
    row.push(Cell::Whole(i64::from(flags.bits())));
    rows.cells.push(row);
}
