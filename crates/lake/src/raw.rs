//! Raw tables: rows as they came, as record batches and back.
//!
//! Layout (version 1): `position` Int64, `instrument` Utf8, `time`, `known_at`,
//! `ingested_at` Timestamp(µs, UTC), `flags` Int32, `faults` nullable Utf8 (a JSON
//! object of column and text), then every numeric column as nullable Float64.
//!
//! Several rows of one time are versions of it (or duplicates of one version), told apart
//! by `known_at` and `ingested_at`: see [`foretell_panel::Vintages`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::{CellFault, Column, RawTable, RowMeta};

use crate::schema::time_type;

/// The columns that every raw table begins with.
const LEADING: [&str; 7] =
    ["position", "instrument", "time", "known_at", "ingested_at", "flags", "faults"];

/// Why a record batch is no raw table.
#[derive(Debug, thiserror::Error)]
pub enum RawBatchError {
    /// A column is absent or of another type.
    #[error("column `{column}` of a raw table is missing or not of type {expected}")]
    Column {
        /// The column.
        column: String,
        /// The type it must have.
        expected: DataType,
    },
    /// A cell cannot be read.
    #[error("column `{column}` of a raw table, row {row}: {reason}")]
    Cell {
        /// The column.
        column: &'static str,
        /// Index of the row.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// Rows of two instruments.
    #[error("the rows are of {0} and of {1}: read one instrument at a time")]
    Instruments(Instrument, String),
}

/// The columns of a raw table with these numeric ones.
pub fn raw_schema<'a>(columns: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    let mut fields = vec![
        Field::new("position", DataType::Int64, false),
        Field::new("instrument", DataType::Utf8, false),
        Field::new("time", time_type(), false),
        Field::new("known_at", time_type(), false),
        Field::new("ingested_at", time_type(), false),
        Field::new("flags", DataType::Int32, false),
        Field::new("faults", DataType::Utf8, true),
    ];
    fields.extend(columns.into_iter().map(|c| Field::new(c, DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

/// A raw table as one record batch. The origin is not stored: it belongs to the run.
pub fn raw_to_record_batch(raw: &RawTable) -> RecordBatch {
    let n = raw.len();
    let times = |of: fn(&RowMeta) -> Timestamp| -> ArrayRef {
        let micros = raw.rows.iter().map(|r| of(r).micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let mut faults: BTreeMap<u64, BTreeMap<&str, &str>> = BTreeMap::new();
    for fault in &raw.faults {
        faults.entry(fault.position).or_default().insert(&fault.column, &fault.text);
    }
    let faults = raw.positions.iter().map(|position| {
        let cells = faults.get(position)?;
        Some(serde_json::to_string(cells).expect("texts by name are JSON"))
    });
    let name = raw.instrument.as_str();
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(raw.positions.iter().map(|p| *p as i64))),
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, n))),
        times(|r| r.time),
        times(|r| r.known_at),
        times(|r| r.ingested_at),
        Arc::new(Int32Array::from_iter_values(raw.rows.iter().map(|r| r.flags.bits() as i32))),
        Arc::new(faults.collect::<StringArray>()),
    ];
    for column in &raw.columns {
        let present = column.values.iter().map(|v| (!v.is_nan()).then_some(*v));
        arrays.push(Arc::new(present.collect::<Float64Array>()));
    }
    let schema = raw_schema(raw.columns.iter().map(|c| c.name.as_str()));
    RecordBatch::try_new(schema, arrays).expect("arrays are built to the schema")
}

/// Times and marks of the rows of a raw table, in their order.
///
/// # Errors
/// When one of those columns is missing or of another type.
pub fn raw_row_metas(batch: &RecordBatch) -> Result<Vec<RowMeta>, RawBatchError> {
    let times = |column: &str| {
        find(batch, column, time_type())
            .map(|c| c.as_primitive::<TimestampMicrosecondType>().values())
    };
    let (time, known_at, ingested_at) = (times("time")?, times("known_at")?, times("ingested_at")?);
    let flags = find(batch, "flags", DataType::Int32)?.as_primitive::<Int32Type>().values();
    let row = |i: usize| RowMeta {
        time: Timestamp::from_micros(time[i]),
        known_at: Timestamp::from_micros(known_at[i]),
        ingested_at: Timestamp::from_micros(ingested_at[i]),
        flags: RowFlags::from_bits(flags[i] as u32),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// The named rows of a raw table, in the order given.
///
/// # Errors
/// When Arrow refuses, which it does for rows that are not there.
pub fn raw_take(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, ArrowError> {
    if rows.len() == batch.num_rows() && rows.iter().enumerate().all(|(i, row)| i == *row) {
        return Ok(batch.clone());
    }
    let rows = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
    take_record_batch(batch, &rows)
}

/// Compares rows of two raw tables by their values: the numbers of the second table's
/// columns, by name, and whether a cell could not be read. Missing equals missing.
#[derive(Debug)]
pub struct RawComparison<'a> {
    columns: Vec<(Option<&'a Float64Array>, &'a Float64Array)>,
    faults: Option<(&'a StringArray, &'a StringArray)>,
}

impl<'a> RawComparison<'a> {
    /// Pairs the columns of two tables.
    pub fn new(stored: &'a RecordBatch, arriving: &'a RecordBatch) -> Self {
        let numbers = |batch: &'a RecordBatch, name: &str| {
            batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Float64Type>())
        };
        let schema = arriving.schema();
        let names = schema.fields().iter().map(|f| f.name().as_str());
        let columns = names
            .filter(|name| !LEADING.contains(name))
            .filter_map(|name| Some((numbers(stored, name), numbers(arriving, name)?)))
            .collect();
        let faults = |batch: &'a RecordBatch| {
            batch.column_by_name("faults").and_then(|c| c.as_string_opt::<i32>())
        };
        Self { columns, faults: faults(stored).zip(faults(arriving)) }
    }

    /// Whether a stored row and an arriving one hold the same.
    pub fn is_same(&self, stored: usize, arriving: usize) -> bool {
        let number = |array: &Float64Array, row: usize| {
            (array.is_valid(row) && !array.value(row).is_nan()).then(|| array.value(row))
        };
        let same = |(a, b): &(Option<&Float64Array>, &Float64Array)| {
            a.and_then(|a| number(a, stored)) == number(b, arriving)
        };
        self.columns.iter().all(same)
            && self.faults.is_none_or(|(a, b)| a.is_valid(stored) == b.is_valid(arriving))
    }
}

/// A column of a raw table by its name and type.
fn find<'a>(
    batch: &'a RecordBatch,
    column: &str,
    expected: DataType,
) -> Result<&'a ArrayRef, RawBatchError> {
    let found = batch.column_by_name(column).filter(|c| *c.data_type() == expected);
    found.ok_or_else(|| RawBatchError::Column { column: column.to_owned(), expected })
}

/// A position for each row alone. Every answer of an origin counts from 1, so rows of
/// several ingests share positions: the row taken in last keeps its own, which is where it
/// stands in the origin as it is now, and the others go behind all.
fn own_positions(positions: &[i64], rows: &[RowMeta]) -> Vec<u64> {
    let mut own: Vec<u64> = positions.iter().map(|p| *p as u64).collect();
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(rows[i].ingested_at));
    let mut behind = own.iter().copied().max().unwrap_or(0);
    let mut taken = BTreeSet::new();
    for i in order {
        if !taken.insert(own[i]) {
            behind += 1;
            own[i] = behind;
        }
    }
    own
}

/// The raw table that a record batch holds, in the order of its rows. `instrument`
/// names what an empty batch is of; `origin` is what findings will name.
///
/// # Errors
/// When columns are missing or of another type, or rows are of another instrument.
pub fn raw_from_record_batch(
    batch: &RecordBatch,
    instrument: &Instrument,
    interval: Interval,
    origin: impl Into<String>,
) -> Result<RawTable, RawBatchError> {
    let rows = raw_row_metas(batch)?;
    let positions = find(batch, "position", DataType::Int64)?.as_primitive::<Int64Type>().values();
    let positions = own_positions(positions, &rows);
    let names = find(batch, "instrument", DataType::Utf8)?.as_string::<i32>();
    if let Some(other) = names.iter().flatten().find(|n| *n != instrument.as_str()) {
        return Err(RawBatchError::Instruments(instrument.clone(), other.to_owned()));
    }
    let cells = find(batch, "faults", DataType::Utf8)?.as_string::<i32>();
    let mut faults = Vec::new();
    for (row, text) in cells.iter().enumerate() {
        let Some(text) = text else { continue };
        let cells: BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|e| RawBatchError::Cell { column: "faults", row, reason: e.to_string() })?;
        let position = positions[row];
        faults.extend(cells.into_iter().map(|(column, text)| CellFault { position, column, text }));
    }
    faults.sort_by_key(|fault| fault.position);
    let mut columns = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        if LEADING.contains(&field.name().as_str()) {
            continue;
        }
        let Some(numbers) = array.as_primitive_opt::<Float64Type>() else {
            let (column, expected) = (field.name().clone(), DataType::Float64);
            return Err(RawBatchError::Column { column, expected });
        };
        let values = numbers.iter().map(|v| v.unwrap_or(f64::NAN)).collect();
        columns.push(Column::new(field.name().clone(), values));
    }
    Ok(RawTable {
        instrument: instrument.clone(),
        interval,
        origin: origin.into(),
        positions,
        rows,
        columns,
        faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_ingests_have_positions_of_their_own_and_faults_stay_with_their_row() {
        let row = |hour: i64, ingest: i64| RowMeta {
            ingested_at: Timestamp::from_secs(ingest),
            ..RowMeta::at_close(Timestamp::from_secs(hour * 3600), Interval::HOUR)
        };
        let table = |positions: Vec<u64>, rows: Vec<RowMeta>, bad: u64| RawTable {
            instrument: "BTC-USD".parse().unwrap(),
            interval: Interval::HOUR,
            origin: "an answer".to_owned(),
            columns: vec![Column::new("close", vec![f64::NAN; rows.len()])],
            positions,
            rows,
            faults: vec![CellFault {
                position: bad,
                column: "close".to_owned(),
                text: format!("bad {bad}"),
            }],
        };
        let first = raw_to_record_batch(&table(vec![1, 2], vec![row(0, 10), row(1, 10)], 1));
        let second = raw_to_record_batch(&table(vec![1, 2], vec![row(2, 20), row(3, 20)], 2));
        let both = arrow::compute::concat_batches(&first.schema(), [&first, &second]).unwrap();
        let instrument = "BTC-USD".parse().unwrap();
        let raw = raw_from_record_batch(&both, &instrument, Interval::HOUR, "").unwrap();
        assert_eq!(raw.positions, [3, 4, 1, 2], "the latest answer keeps its places");
        let faults: Vec<_> = raw.faults.iter().map(|f| (f.position, f.text.as_str())).collect();
        assert_eq!(faults, [(2, "bad 2"), (3, "bad 1")]);
    }

    #[test]
    fn a_raw_table_survives_with_its_faults_and_duplicates() {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let fault = |position, column: &str, text: &str| CellFault {
            position,
            column: column.to_owned(),
            text: text.to_owned(),
        };
        let raw = RawTable {
            instrument: "BTC-USD".parse().unwrap(),
            interval: Interval::HOUR,
            origin: "x.csv".to_owned(),
            positions: vec![2, 3, 4],
            rows: vec![at(5), at(5), at(1)],
            columns: vec![Column::new("close", vec![1.0, f64::NAN, 3.0])],
            faults: vec![fault(3, "close", "n/a"), fault(4, "open", "\"quoted\", ü")],
        };
        let batch = raw_to_record_batch(&raw);
        let back = raw_from_record_batch(&batch, &raw.instrument, raw.interval, "x.csv").unwrap();
        assert_eq!((&back.positions, &back.rows), (&raw.positions, &raw.rows));
        assert_eq!(back.faults, raw.faults);
        assert_eq!(back.column("close").unwrap()[2], 3.0);
        assert!(back.column("close").unwrap()[1].is_nan());
        let other = "ETH-USD".parse().unwrap();
        let error = raw_from_record_batch(&batch, &other, raw.interval, "").unwrap_err();
        assert!(error.to_string().contains("ETH-USD and of BTC-USD"), "{error}");
    }
}
