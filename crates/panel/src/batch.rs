//! The door to Arrow: frames to record batches and back, NaN to null and back.
//!
//! Layout (version 1): `instrument` Utf8, `time`, `known_at`, `ingested_at`
//! Timestamp(µs, UTC), `flags` Int32, then every numeric column as nullable Float64.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use foretell_market::{Instrument, Interval, RowFlags, Timestamp};

use crate::{Column, Frame, FrameError, RowMeta};

/// The names of the leading columns that every stored frame has.
const META: [&str; 5] = ["instrument", "time", "known_at", "ingested_at", "flags"];

/// Why a record batch is no frame.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A leading column is absent or of another type.
    #[error("column `{name}` is missing or not of type {expected}")]
    Meta {
        /// The column.
        name: &'static str,
        /// The type it must have.
        expected: DataType,
    },
    /// A numeric column is of another type.
    #[error("column `{name}` is {found}, not Float64")]
    Numeric {
        /// The column.
        name: String,
        /// Its type.
        found: DataType,
    },
    /// The rows name several instruments, or one that cannot be read.
    #[error("the rows do not name one instrument: {0}")]
    Instrument(String),
    /// The rows do not form a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Arrow refused.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Frame {
    /// The Arrow schema of frames with these numeric columns.
    pub fn schema_of<'a>(columns: impl IntoIterator<Item = &'a str>) -> SchemaRef {
        let mut fields = vec![
            Field::new("instrument", DataType::Utf8, false),
            Field::new("time", time_type(), false),
            Field::new("known_at", time_type(), false),
            Field::new("ingested_at", time_type(), false),
            Field::new("flags", DataType::Int32, false),
        ];
        fields.extend(columns.into_iter().map(|c| Field::new(c, DataType::Float64, true)));
        Arc::new(Schema::new(fields))
    }

    /// This frame as one record batch.
    pub fn to_record_batch(&self) -> RecordBatch {
        let n = self.len();
        let times = |of: fn(&RowMeta) -> Timestamp| -> ArrayRef {
            let micros = self.rows().iter().map(|r| of(r).micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
        };
        let name = self.instrument().as_str();
        let flags = self.rows().iter().map(|r| r.flags.bits() as i32);
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, n))),
            times(|r| r.time),
            times(|r| r.known_at),
            times(|r| r.ingested_at),
            Arc::new(Int32Array::from_iter_values(flags)),
        ];
        for column in self.columns() {
            let present = column.values.iter().map(|v| (!v.is_nan()).then_some(*v));
            arrays.push(Arc::new(present.collect::<Float64Array>()));
        }
        let schema = Self::schema_of(self.columns().iter().map(|c| c.name.as_str()));
        RecordBatch::try_new(schema, arrays).expect("arrays are built to the schema")
    }

    /// The frame that a record batch holds; rows must be in time order.
    ///
    /// # Errors
    /// When columns are missing or of another type, or the rows form no frame.
    pub fn from_record_batch(batch: &RecordBatch, interval: Interval) -> Result<Self, BatchError> {
        let meta = |name: &'static str, expected: DataType| {
            let column = batch.column_by_name(name).filter(|c| *c.data_type() == expected);
            column.ok_or(BatchError::Meta { name, expected })
        };
        let times = |name| {
            meta(name, time_type()).map(|c| c.as_primitive::<TimestampMicrosecondType>().values())
        };
        let (time, known_at, ingested_at) =
            (times("time")?, times("known_at")?, times("ingested_at")?);
        let flags = meta("flags", DataType::Int32)?.as_primitive::<Int32Type>().values();
        let names = meta("instrument", DataType::Utf8)?.as_string::<i32>();
        let name = if batch.num_rows() == 0 { "" } else { names.value(0) };
        if let Some(other) = (0..names.len()).map(|i| names.value(i)).find(|n| *n != name) {
            return Err(BatchError::Instrument(format!("{name} and {other}")));
        }
        let instrument: Instrument =
            name.parse().map_err(|e| BatchError::Instrument(format!("{e}")))?;
        let row = |i: usize| RowMeta {
            time: Timestamp::from_micros(time[i]),
            known_at: Timestamp::from_micros(known_at[i]),
            ingested_at: Timestamp::from_micros(ingested_at[i]),
            flags: RowFlags::from_bits(flags[i] as u32),
        };
        let mut columns = Vec::new();
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            if META.contains(&field.name().as_str()) {
                continue;
            }
            let found = array.data_type().clone();
            let name = field.name().clone();
            let Some(numbers) = array.as_primitive_opt::<Float64Type>() else {
                return Err(BatchError::Numeric { name, found });
            };
            let values = if numbers.null_count() == 0 {
                numbers.values().clone()
            } else {
                numbers.iter().map(|v| v.unwrap_or(f64::NAN)).collect::<Vec<_>>().into()
            };
            columns.push(Column { name, values });
        }
        let rows = (0..batch.num_rows()).map(row).collect();
        Ok(Self::new(instrument, interval, rows, columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_arrow_and_nan_becomes_null() {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let columns =
            vec![Column::new("close", vec![1.0, f64::NAN]), Column::new("volume", vec![0.0, 2.0])];
        let rows = vec![at(1), at(4)];
        let frame = Frame::new("BTC-USD".parse().unwrap(), Interval::HOUR, rows, columns).unwrap();
        let batch = frame.to_record_batch();
        assert_eq!(batch.column_by_name("close").unwrap().null_count(), 1);
        let back = Frame::from_record_batch(&batch, Interval::HOUR).unwrap();
        assert_eq!(back.fingerprint(), frame.fingerprint());
        assert_eq!(back.rows(), frame.rows());
    }
}
