//! Raw rows as a table of the lake, and back: nothing of what arrived is lost.
//!
//! Layout (version 1): the columns of a stored frame, `position` Int64 (place in
//! the origin) and `faults` Utf8 (JSON of the cells that could not be read, or null).

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_market::{Instrument, Interval, RowFlags, Timestamp};
use foretell_panel::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use foretell_panel::arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, TimestampMicrosecondType,
};
use foretell_panel::{CellFault, Column, Frame, RawTable, RowMeta};

/// Raw rows as one record batch.
pub(crate) fn to_batch(raw: &RawTable) -> RecordBatch {
    let mut faults: BTreeMap<u64, Vec<(&str, &str)>> = BTreeMap::new();
    for fault in &raw.faults {
        faults.entry(fault.position).or_default().push((&fault.column, &fault.text));
    }
    let fault_text = raw.positions.iter().map(|position| {
        faults.get(position).map(|cells| serde_json::to_string(cells).unwrap_or_default())
    });
    let times = |of: fn(&RowMeta) -> Timestamp| -> ArrayRef {
        let micros = raw.rows.iter().map(|r| of(r).micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let name = raw.instrument.as_str();
    let flags = raw.rows.iter().map(|r| r.flags.bits() as i32);
    let positions = raw.positions.iter().map(|p| *p as i64);
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, raw.len()))),
        times(|r| r.time),
        times(|r| r.known_at),
        times(|r| r.ingested_at),
        Arc::new(Int32Array::from_iter_values(flags)),
        Arc::new(Int64Array::from_iter_values(positions)),
        Arc::new(fault_text.collect::<StringArray>()),
    ];
    for column in &raw.columns {
        let present = column.values.iter().map(|v| (!v.is_nan()).then_some(*v));
        arrays.push(Arc::new(present.collect::<Float64Array>()));
    }
    let frame = Frame::schema_of(raw.columns.iter().map(|c| c.name.as_str()));
    let mut fields: Vec<Arc<Field>> = frame.fields()[..5].to_vec();
    fields.push(Arc::new(Field::new("position", DataType::Int64, false)));
    fields.push(Arc::new(Field::new("faults", DataType::Utf8, true)));
    fields.extend_from_slice(&frame.fields()[5..]);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .expect("arrays are built to the schema")
}

/// The raw rows of a record batch, in the order in which they arrived.
pub(crate) fn from_batch(
    batch: &RecordBatch,
    instrument: &Instrument,
    interval: Interval,
    origin: &str,
) -> Result<RawTable, String> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| format!("the raw table has no column `{name}`"))
    };
    let time_of = |name: &str| -> Result<Vec<Timestamp>, String> {
        let array = column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        let array = array.ok_or_else(|| format!("column `{name}` holds no times"))?;
        Ok(array.values().iter().map(|t| Timestamp::from_micros(*t)).collect())
    };
    let (times, known, ingested) =
        (time_of("time")?, time_of("known_at")?, time_of("ingested_at")?);
    let flags = column("flags")?.as_primitive_opt::<Int32Type>().ok_or("flags are no numbers")?;
    let positions = column("position")?.as_primitive_opt::<Int64Type>();
    let positions = positions.ok_or("positions are no numbers")?;
    let faults = column("faults")?.as_string_opt::<i32>().ok_or("faults are no texts")?;
    let mut order: Vec<usize> = (0..batch.num_rows()).collect();
    order.sort_by_key(|&i| (ingested[i], positions.value(i), times[i]));
    let row = |i: usize| RowMeta {
        time: times[i],
        known_at: known[i],
        ingested_at: ingested[i],
        flags: RowFlags::from_bits(flags.value(i) as u32),
    };
    let mut cells = Vec::new();
    for &i in order.iter().filter(|&&i| faults.is_valid(i)) {
        let listed: Vec<(String, String)> =
            serde_json::from_str(faults.value(i)).map_err(|e| format!("faults: {e}"))?;
        let position = positions.value(i) as u64;
        cells.extend(listed.into_iter().map(|(column, text)| CellFault { position, column, text }));
    }
    let mut columns = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(numbers) = array.as_primitive_opt::<Float64Type>() else { continue };
        let value = |&i: &usize| if numbers.is_null(i) { f64::NAN } else { numbers.value(i) };
        columns.push(Column::new(field.name().clone(), order.iter().map(value).collect()));
    }
    Ok(RawTable {
        instrument: instrument.clone(),
        interval,
        origin: origin.to_owned(),
        positions: order.iter().map(|&i| positions.value(i) as u64).collect(),
        rows: order.iter().map(|&i| row(i)).collect(),
        columns,
        faults: cells,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_arrived_is_lost() {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let fault = CellFault { position: 3, column: "close".to_owned(), text: "12,5".to_owned() };
        let raw = RawTable {
            instrument: "BTC-USD".parse().unwrap(),
            interval: Interval::HOUR,
            origin: "x.csv".to_owned(),
            positions: vec![2, 3, 4],
            rows: vec![at(5), at(4), at(4)],
            columns: vec![Column::new("close", vec![1.0, f64::NAN, 3.0])],
            faults: vec![fault],
        };
        let back = from_batch(&to_batch(&raw), &raw.instrument, raw.interval, "x.csv").unwrap();
        // Rows come back by arrival: ingest time, then place in the origin.
        assert_eq!(back.positions, [3, 4, 2]);
        assert_eq!(back.rows, [at(4), at(4), at(5)]);
        assert_eq!(back.faults, raw.faults);
        let close = back.column("close").unwrap();
        assert!(close[0].is_nan() && close[1] == 3.0 && close[2] == 1.0);
    }
}
