//! Raw tables from small texts, for the tests of the gate and the profile.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{CellFault, Column, RawTable, RowMeta};

/// Reads `time,column,…` text: times as RFC 3339 without seconds (`2024-02-11T03:00`),
/// cells that are empty as missing, cells that are no number as faults. Positions are
/// lines, the header being line 1.
pub(crate) fn table(interval: Interval, text: &str) -> RawTable {
    let mut lines = text.trim().lines().map(str::trim);
    let headers: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); headers.len()];
    let (mut positions, mut rows, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (i, line) in lines.enumerate() {
        let position = i as u64 + 2;
        let mut cells = line.split(',');
        let time = cells.next().unwrap();
        let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
        let time: Timestamp = format!("{time}{seconds}Z").parse().unwrap();
        positions.push(position);
        rows.push(RowMeta::at_close(time, interval));
        for ((cell, column), name) in cells.zip(&mut columns).zip(&headers) {
            column.push(match cell.parse() {
                Ok(value) => value,
                Err(_) if cell.is_empty() => f64::NAN,
                Err(_) => {
                    let (column, text) = ((*name).to_owned(), cell.to_owned());
                    faults.push(CellFault { position, column, text });
                    f64::NAN
                }
            });
        }
    }
    let columns = headers.iter().zip(columns).map(|(name, v)| Column::new(*name, v)).collect();
    let instrument = "BTC-USD".parse().unwrap();
    let origin = "prices.csv".to_owned();
    RawTable { instrument, interval, origin, positions, rows, columns, faults }
}

/// Twelve good hourly candles from 2024-02-11 00:00, one a line, with changes: a line
/// number (2 is the first candle) and what stands there instead; nothing removes it.
pub(crate) fn candles(changes: &[(usize, &str)]) -> RawTable {
    let mut lines = vec!["time,open,high,low,close,volume".to_owned()];
    for hour in 0..12 {
        let open = 48_000 + 10 * hour;
        let (high, low, close) = (open + 30, open - 20, open + 10);
        lines.push(format!("2024-02-11T{hour:02}:00,{open},{high},{low},{close},1.5"));
    }
    for (line, text) in changes {
        lines[line - 1] = (*text).to_owned();
    }
    let lines: Vec<String> = lines.into_iter().filter(|l| !l.is_empty()).collect();
    table(Interval::HOUR, &lines.join("\n"))
}

/// The end of the last of the candles.
pub(crate) fn noon() -> Timestamp {
    "2024-02-11T12:00:00Z".parse().unwrap()
}
